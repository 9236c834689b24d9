"""Placing a network on a chip: what it becomes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurosim as ns
from neurosim.mapping import DeviceArray
from neurosim.mapping.wiring import fan_out
from neurosim.network.forward import run

PCM = ns.load_profile("pcm_hermes")


def network(weight: np.ndarray, **lif: object) -> ns.Network:
    return ns.Network.sequential([ns.Linear(weight), ns.LIF(**{"beta": 0.9, **lif})], weight.shape[1:], dt=1e-3)


@given(outputs=st.integers(1, 40), inputs=st.integers(1, 40), rows=st.integers(1, 16), pairs=st.integers(1, 16),
       scale=st.sampled_from(["tile", "column"]), levels=st.sampled_from([None, 2, 5, 16, 256]),
       g_min=st.sampled_from([0.0, 1e-6]), seed=st.integers(0, 99))
def test_pairs_stand_for_the_weight(outputs, inputs, rows, pairs, scale, levels, g_min, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, inputs)) * (rng.random((outputs, inputs)) < 0.8)
    values = {"crossbar.rows": rows, "crossbar.columns": 2 * pairs, "crossbar.scale": scale, "crossbar.g_min": g_min}
    profile = PCM.with_values({**values, **({"crossbar.levels": levels} if levels else {})})
    (array,) = ns.map_network(network(weight), profile).arrays
    g_max = profile.crossbar.g_max.value
    assert array.tiles == -(-inputs // rows) * -(-outputs // pairs)
    assert array.devices == 2 * weight.size
    assert array.own.min() >= np.float32(g_min)
    assert array.own.max() <= np.float32(g_max) * (1 + 1e-6)
    assert (array.own.min(axis=0) == np.float32(g_min)).all(), "one-sided: one device stands at g_min"
    # the largest magnitude of what shares a scale is g_max, and nothing moves by more than half a level
    largest = np.empty_like(weight)
    for o in range(0, outputs, pairs):
        for i in range(0, inputs, rows):
            tile = np.abs(weight[o:o + pairs, i:i + rows])
            largest[o:o + pairs, i:i + rows] = tile.max() if scale == "tile" else tile.max(1, keepdims=True)
    step = largest / (2 * (levels - 1)) if levels else 0.0
    assert (np.abs(array.nominal - weight) <= step + 2e-6 * largest).all()
    expected = np.sqrt(np.mean((array.nominal - weight) ** 2) / np.mean(weight**2)) if weight.any() else 0.0
    assert array.error == pytest.approx(expected, abs=1e-6)


def test_mixed_signal_weights_take_their_levels():
    weight = np.linspace(-1, 1, 64).reshape(2, 32)
    (array, *_) = ns.map_network(network(weight), ns.load_profile("dynap_se2")).arrays
    steps = array.nominal * 15
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-5)
    assert 0.01 < array.error < 0.1


def test_recurrent_and_convolution_weights_are_arrays_too():
    rng = np.random.default_rng(0)
    net = ns.Network.sequential({
        "conv": ns.Conv2d(rng.normal(size=(4, 2, 3, 3))), "a": ns.LIF(0.9), "flat": ns.Flatten(),
        "fc": ns.Linear(rng.normal(size=(5, 64)), np.ones(5)), "b": ns.LIF(0.9, recurrent=rng.normal(size=(5, 5)))},
        (2, 6, 6), dt=1e-3)
    names = [array.name for array in ns.map_network(net, PCM).arrays]
    assert names == ["conv/weight", "fc/weight", "b/recurrent"]
    names = [array.name for array in ns.map_network(net, ns.load_profile("mismatch")).arrays]
    assert names == ["conv/weight", "fc/weight", "fc/bias", "b/recurrent"]


def test_what_the_chip_cannot_hold_is_refused_with_all_reasons():
    net = ns.Network.sequential({
        "fc": ns.Linear(np.ones((1500, 70))), "slow": ns.LIF(beta=1.0),
        "out": ns.Linear(np.ones((3, 1500))), "leaky": ns.LeakyIntegrator(0.5)}, (70,), dt=1e-3)
    with pytest.raises(ns.NeurosimError) as error:
        ns.map_network(net, ns.load_profile("dynap_se2"))
    text = str(error.value)
    for reason in ("1503 neurons", "layer slow: neuron", "70 synapses, the chip 64", "a time constant of inf s",
                   "layer leaky: the chip has no LeakyIntegrator", "the network ends in a LeakyIntegrator"):
        assert reason in text, reason
    with pytest.raises(ns.NeurosimError, match=r"map_network: profile is 'dynap_se2' .*load_profile"):
        ns.map_network(net, "dynap_se2")
    with pytest.raises(ns.NeurosimError, match=r"currents reach no population"):
        ns.map_network(ns.Network.sequential([ns.Linear(np.eye(2)), ns.Linear(np.eye(2)), ns.LIF(0.9)], (2,), 1e-3),
                       ns.load_profile("dynap_se2"))


def test_fan_in_counts_synapses_that_are_there():
    weight = np.zeros((2, 100))
    weight[:, :40] = 1.0
    recurrent = np.ones((2, 2))
    mapped = ns.map_network(network(weight, recurrent=recurrent), ns.load_profile("dynap_se2"))
    assert mapped.devices > 0
    weight[1, 40:63] = 1.0
    with pytest.raises(ns.NeurosimError, match="neuron 1 has 65 synapses"):
        ns.map_network(network(weight, recurrent=recurrent), ns.load_profile("dynap_se2"))


def test_table_and_text_show_every_array():
    mapped = ns.map_network(network(np.eye(3)), PCM.with_values({"crossbar.levels": 16}))
    (row,) = mapped.table()
    assert row["array"] == "linear/weight"
    assert row["devices"] == 18
    assert "linear/weight" in str(mapped)
    assert "write noise once per programming" in str(mapped)


def test_the_hash_follows_network_and_profile():
    one = ns.map_network(network(np.eye(3)), PCM)
    assert one.hash == ns.map_network(network(np.eye(3)), PCM).hash
    assert one.hash != ns.map_network(network(2 * np.eye(3)), PCM).hash
    assert one.hash != ns.map_network(network(np.eye(3)), PCM.with_values({"crossbar.levels": 16})).hash


@given(height=st.integers(3, 7), width=st.integers(3, 7), kernel=st.integers(1, 3), stride=st.integers(1, 2),
       padding=st.integers(0, 2), dilation=st.integers(1, 2), seed=st.integers(0, 9))
def test_fan_out_of_a_convolution_is_what_an_impulse_reaches(height, width, kernel, stride, padding, dilation, seed):
    if dilation * (kernel - 1) + 1 > min(height, width) + 2 * padding:
        kernel = 1
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 2, (3, 2, kernel, kernel)).astype(float)
    layer = ns.Conv2d(weight, stride=stride, padding=padding, dilation=dilation)
    synapses, rows = fan_out(layer, layer.weight, (2, height, width), 1)
    impulses = np.eye(2 * height * width).reshape(1, -1, 2, height, width)
    reached = run(ns.Network.sequential([layer], (2, height, width), 1.0), impulses).output[0]
    np.testing.assert_array_equal(synapses, reached.reshape(len(synapses), -1).sum(1))
    ones = ns.Conv2d(np.ones((1, 2, kernel, kernel)), stride=stride, padding=padding, dilation=dilation)
    reached = run(ns.Network.sequential([ones], (2, height, width), 1.0), impulses).output[0]
    np.testing.assert_array_equal(rows, reached.reshape(len(rows), -1).sum(1))


def test_ideal_changes_nothing():
    rng = np.random.default_rng(0)
    net = network(rng.normal(size=(20, 10)), recurrent=rng.normal(size=(20, 20)), bias=rng.normal(size=20))
    dies = ns.Dies(ns.map_network(net, ns.load_profile("ideal")), seed=1)
    assert dies.parameters(0) == {}
    assert not any(isinstance(array, DeviceArray) for array in dies.mapped.arrays)
