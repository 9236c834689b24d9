"""Cells: every scheme stands for the weight, lies on its tiles whole, and passes noise on as its formula says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurosim as ns
from neurosim.mapping import DeviceArray
from neurosim.profile.schema_crossbar import Cells

PCM = ns.load_profile("pcm_hermes")
KINDS = ("pair", "two_sided", "offset", "single")
US = 1e-6


def mapped(weight: np.ndarray, **values: object) -> ns.MappedNetwork:
    """On PCM with other values of [crossbar]; keys of cells as cells_NAME."""
    keys = {f"crossbar.{name.replace('cells_', 'cells.')}": value for name, value in values.items()}
    layer = ns.Linear(weight) if weight.ndim == 2 else ns.Conv2d(weight)
    shape = weight.shape[1:] if weight.ndim == 2 else (weight.shape[1], 9, 9)
    return ns.map_network(ns.Network.sequential([layer], shape, dt=1e-3), PCM.with_values(keys))


def placed(weight: np.ndarray, **values: object) -> DeviceArray:
    (array,) = mapped(weight, **values).arrays
    return array


def weights(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * (rng.random(shape) < 0.8)


shapes = {"outputs": st.integers(1, 23), "inputs": st.integers(1, 23), "rows": st.integers(1, 9),
          "columns": st.integers(8, 25), "scale": st.sampled_from(["tile", "column"]),
          "g_min": st.sampled_from([0.0, 1 * US]), "seed": st.integers(0, 99)}


def group_spans(weight: np.ndarray, array: DeviceArray, scale: str) -> np.ndarray:
    """Largest magnitude of what shares a scale with each weight."""
    largest, tile = np.empty_like(weight), array.tiling
    for o in range(0, weight.shape[0], tile.tile_outputs):
        for i in range(0, weight.shape[1], tile.tile_inputs):
            part = np.abs(weight[o:o + tile.tile_outputs, i:i + tile.tile_inputs])
            largest[o:o + tile.tile_outputs, i:i + tile.tile_inputs] = (
                part.max() if scale == "tile" else part.max(1, keepdims=True))
    return largest


@given(kind=st.sampled_from(KINDS), fill=st.sampled_from(["low", "high", "even"]),
       significances=st.sampled_from([[1.0], [1.0, 1.0], [1.0, 4.0], [3.0, 1.0, 2.0]]), **shapes)
def test_every_scheme_stands_for_the_weight(kind, fill, significances, outputs, inputs, rows, columns, scale, g_min,
                                            seed):
    weight = weights(seed, (outputs, inputs))
    array = placed(weight, cells_kind=kind, cells_fill=fill, cells_significances=significances, rows=rows,
                   columns=columns, scale=scale, g_min=g_min)
    g_max = np.float32(PCM.crossbar.g_max.value)
    largest = group_spans(weight, array, scale)
    assert (np.abs(array.nominal - weight) <= 1e-5 * largest).all()
    assert array.error < 1e-14
    assert array.targets.min() >= np.float32(g_min)
    assert array.targets.max() <= g_max * (1 + 1e-6)
    assert array.targets.size == array.devices
    devices = len(significances)
    if kind == "pair":
        plus, minus = array.own.reshape(2, devices, outputs, inputs)
        assert ((plus == np.float32(g_min)).all(0) | (minus == np.float32(g_min)).all(0)).all()
    if kind == "two_sided" and devices == 1:
        np.testing.assert_allclose(array.own.sum(0), g_min + g_max, rtol=1e-6)
    if kind == "offset":
        assert array.reference.shape == (devices, array.tiles_out, inputs)
        assert (array.reference == array.reference[:, :1, :1]).all()
    if fill != "even":
        # at most one device of a leg stands between the ends
        legs = array.own.reshape(-1, devices, outputs, inputs)
        between = (legs > g_min + 1e-5 * g_max) & (legs < g_max * (1 - 1e-5))
        assert between.sum(1).max() <= 1


@given(kind=st.sampled_from(KINDS), levels=st.integers(2, 6), slices=st.integers(1, 4), **shapes)
def test_slices_are_digits(kind, levels, slices, outputs, inputs, rows, columns, scale, g_min, seed):
    if kind == "offset" and levels**slices < 3:
        levels = 3
    weight = weights(seed, (outputs, inputs))
    array = placed(weight, cells_kind=kind, cells_slices=slices, levels=levels, rows=rows, columns=columns, scale=scale,
                   g_min=g_min)
    digits = (array.targets.astype(float) - g_min) / (PCM.crossbar.g_max.value - g_min) * (levels - 1)
    np.testing.assert_allclose(digits, np.rint(digits), atol=1e-5)
    largest = group_spans(weight, array, scale)
    steps = levels**slices - 1  # of a leg
    whole = {"pair": steps, "two_sided": steps / 2, "offset": steps // 2, "single": steps / 2}[kind]
    assert (np.abs(array.nominal - weight) <= (0.5 / whole + 2e-5) * largest).all()
    if kind in ("pair", "offset"):
        assert (np.abs(array.nominal) <= 1e-6 * largest)[weight == 0].all()


def test_a_balanced_number_digit_by_digit():
    """4 levels, 3 slices: 63 is the largest magnitude; 38 = 2 + 1 x 4 + 2 x 16."""
    array = placed(np.array([[63.0, -38.0]]), levels=4, cells_slices=3, cells_kind="pair")
    step = PCM.crossbar.g_max.value / 3
    np.testing.assert_allclose(array.own[:3, 0, 0] / step, 3, rtol=1e-6)
    np.testing.assert_allclose(array.own[3:, 0, 1] / step, [2, 1, 2], rtol=1e-6)
    np.testing.assert_array_equal(array.coefficients, [1, 4, 16, -1, -4, -16])
    np.testing.assert_allclose(array.nominal, [[63, -38]], rtol=1e-6)


def test_pairs_fill_in_the_order_of_significance():
    """Half of the range of significances 1 and 3 (total 4): 2 is 1 + 1/3 x 3, or 2/3 x 3, or half of each."""
    for fill, shares in {"low": [1, 1 / 3], "high": [0, 2 / 3], "even": [0.5, 0.5]}.items():
        array = placed(np.array([[1.0, 0.5]]), cells_significances=[1.0, 3.0], cells_fill=fill)
        np.testing.assert_allclose(array.own[:2, 0, 1] / PCM.crossbar.g_max.value, shares, rtol=1e-6)


def test_a_single_device_takes_the_whole_range():
    """Weights from -1 to 3: the least at g_min, the largest at g_max, 0 a quarter of the way."""
    array = placed(np.array([[-1.0, 3.0, 0.0]]), cells_kind="single", g_min=2 * US)
    np.testing.assert_allclose((array.own[0, 0] - 2 * US) / (8.35 * US), [0, 1, 0.25], atol=1e-6)
    np.testing.assert_allclose(array.nominal, [[-1, 3, 0]], atol=1e-6)


@given(kind=st.sampled_from(KINDS), devices=st.integers(1, 3), kernel=st.booleans(), **shapes)
def test_tiles_hold_every_device_once_and_multiply(kind, devices, kernel, outputs, inputs, rows, columns, scale, g_min,
                                                   seed):
    """Column currents of the physical tiles, put together by their columns, are the product with the weight."""
    shape = (outputs, inputs) if not kernel else (outputs, inputs, 2, 3)
    weight = weights(seed, shape)
    array = placed(weight, cells_kind=kind, cells_significances=[1.0] * devices, rows=rows, columns=columns,
                   scale=scale, g_min=g_min)
    matrix = weight.reshape(outputs, -1)
    planes = array.planes(array.targets).reshape(-1, *matrix.shape)
    scale_of = np.broadcast_to(array.scale, shape).reshape(matrix.shape)
    back, held = np.full_like(planes, np.nan), 0
    x = np.random.default_rng(seed).normal(size=matrix.shape[1])
    product = np.zeros(outputs)
    tiles = list(array.tiling.tiles())
    assert len(tiles) == array.tiles
    for tile in tiles:
        found = tile.gather(planes)
        assert found.shape[0] <= rows
        assert found.shape[1] == tile.columns <= columns
        held += found.size
        tile.scatter(found, back)
        currents = x[tile.inputs] @ found
        scales = scale_of[tile.outputs, tile.inputs]
        assert (scales == scales[:, :1]).all()
        product[tile.outputs] += scales[:, 0] * (array.coefficients @ currents[tile.column])
        if array.offset is not None:
            offset = np.broadcast_to(array.offset, shape).reshape(matrix.shape)
            product[tile.outputs] += offset[tile.outputs, tile.inputs] @ x[tile.inputs]
    assert held == array.devices
    np.testing.assert_array_equal(back, planes)
    np.testing.assert_allclose(product, matrix @ x, atol=2e-5 * (1 + np.abs(matrix).max()) * np.sqrt(x.size))


def test_all_zero_and_one_sided_weights():
    for kind in KINDS:
        for weight in (np.zeros((2, 3)), np.ones((2, 3)), -np.ones((2, 3))):
            np.testing.assert_allclose(placed(weight, cells_kind=kind).nominal, weight, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("significances", [[1.0], [1.0, 2.0]])
def test_write_noise_reaches_the_weight_as_its_formula_says(kind, significances):
    """Of constant sigma: the variance of w is scale^2 sum c^2 sigma^2; a shared reference correlates outputs."""
    sigma = 0.2 * US
    weight = np.random.default_rng(0).uniform(-1, 1, (100, 300))
    net = mapped(weight, cells_kind=kind, cells_significances=significances, cells_fill="even", g_min=3 * US,
                 rows=512, columns=512, **{"programming.sigma": sigma})
    (array,) = net.arrays
    dies = ns.Dies(net, 5)
    noise = np.stack([dies.parameters(die)["linear"]["weight"] - array.nominal for die in range(30)]) / array.scale
    expected = sigma * np.sqrt((array.coefficients.astype(float) ** 2).sum())
    independent = noise - noise.mean(axis=1, keepdims=True) if kind == "offset" else noise
    share = 0.5 * (1 - 1 / 100) if kind == "offset" else 1.0  # the reference goes with the mean over outputs
    assert abs(independent.std() / (expected * np.sqrt(share)) - 1) < 4 / np.sqrt(2 * 0.99 * noise.size)
    correlation = np.corrcoef(noise[:, 0].reshape(-1), noise[:, 1].reshape(-1))[0, 1]
    assert abs(correlation - (0.5 if kind == "offset" else 0)) < 4 / np.sqrt(noise[:, 0].size)


def test_what_cannot_be_a_cell_is_refused():
    with pytest.raises(ns.NeurosimError, match=r"crossbar\.cells.*levels under \[crossbar\]"):
        PCM.with_values({"crossbar.cells.slices": 2})
    with pytest.raises(ns.NeurosimError, match="not both"):
        PCM.with_values({"crossbar.cells.slices": 2, "crossbar.levels": 4, "crossbar.cells.significances": [1.0, 2.0]})
    with pytest.raises(ns.NeurosimError, match="at least 5, the columns of one weight"):
        PCM.with_values({"crossbar.cells.slices": 5, "crossbar.cells.kind": "single", "crossbar.levels": 4,
                         "crossbar.columns": 4})
    with pytest.raises(ns.NeurosimError, match="3 levels or more"):
        PCM.with_values({"crossbar.cells.kind": "offset", "crossbar.levels": 2})
    assert Cells().own_columns == 2
