"""Wires against one sparse nodal system (tests/reference/wires_nodal.py), which shares nothing with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wires_nodal import currents, effective_by_adjoint, nodal, nonlinear_currents

import neurosim as ns
from neurosim.devices import nonlinear_wires, wires

CLOSE = 1e-10


def tile(seed: int, m: int, n: int, zeros: float = 0.2, open_segments: float = 0.0) -> tuple[np.ndarray, ...]:
    """Devices and segments over many decades; some devices at 0, some segments open."""
    rng = np.random.default_rng(seed)
    g = rng.uniform(0, 1, (m, n)) * 10 ** rng.uniform(-6, -3)
    g[rng.random((m, n)) < zeros] = 0
    wire = []
    for _ in range(2):
        segment = wires.segments(rng.uniform(0.5, 1.5, (m, n)) * 10 ** rng.uniform(-2, 3), (m, n)).copy()
        segment[rng.random((m, n)) < open_segments] = 0
        wire.append(segment)
    return g, *wire


def assert_close(found: np.ndarray, expected: np.ndarray, limit: float = CLOSE) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= limit * np.abs(expected).max(initial=0)


sizes = st.integers(1, 12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=sizes, n=sizes, broken=st.sampled_from([0.0, 0.05, 0.3]))
def test_full_is_the_nodal_solution(seed, m, n, broken):
    g, row, column = tile(seed, m, n, open_segments=broken)
    expected, expected_ports = nodal(g, row, column)
    assert_close(wires.effective(g, row, column), expected)
    found, ports = wires.with_ports(g, row, column)
    assert_close(found, expected)
    assert_close(ports, expected_ports)


@pytest.mark.parametrize(("m", "n"), [(72, 72), (120, 30), (30, 120)])
def test_full_is_the_nodal_solution_of_larger_tiles(m, n):
    g, row, column = tile(m, m, n)
    assert_close(wires.effective(g, row, column), effective_by_adjoint(g, row, column))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=sizes, n=sizes)
def test_column_is_the_nodal_solution_with_ideal_word_lines(seed, m, n):
    """A chain has a closed solution by hand as well: the dense tridiagonal matrix of each bit line."""
    g, row, column = tile(seed, m, n)
    found, ports = wires.with_ports(g, None, column)
    for j in range(n):
        below = column[:, j]
        above = np.concatenate([[0], below[:-1]])
        matrix = np.diag(g[:, j] + above + below) - np.diag(below[:-1], 1) - np.diag(below[:-1], -1)
        assert_close(found[:, j], below[-1] * np.linalg.solve(matrix, np.diag(g[:, j]))[-1], 1e-9)
    assert_close(ports.sum(axis=0), found.sum(axis=1), 1e-9)
    row_found = wires.effective(g, row, None)
    assert_close(row_found, wires._turned(wires.effective(wires._turned(g), None, wires._turned(row))))


@pytest.mark.parametrize("wire", ["row", "column"])
def test_ideal_wires_are_the_limit_of_good_ones(wire):
    g, row, column = tile(5, 12, 9)
    given = {"row": row, "column": column}
    nearly = {**given, wire: np.full_like(row, 1e9)}
    assert_close(wires.effective(g, **{**given, wire: None}), nodal(g, nearly["row"], nearly["column"])[0], 1e-6)
    np.testing.assert_array_equal(wires.effective(g, None, None), g)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("off", ["grounded", "floating", "gated"])
def test_rows_that_are_off(off, seed):
    g, row, column = tile(seed, 14, 11, open_segments=0.05 * (seed % 2))
    rng = np.random.default_rng(seed)
    v, driven = rng.normal(size=14), rng.random(14) < 0.5
    expected = currents(g, row, column, v, driven, off)
    if off == "gated":
        found = wires.effective(*wires.gated(g, row, column, driven)).T @ v[driven]
    else:
        effective, ports = wires.with_ports(g, row, column)
        at = np.where(driven, v, 0) if off == "grounded" else wires.floating_rows(ports, v, driven)
        found = effective.T @ at
    assert_close(found, expected, 1e-9)


def test_row_off_states_differ_and_only_grounded_is_linear():
    """Two inputs alone and together: superposition holds for grounded rows only."""
    g, row, column = (np.full((8, 8), 2e-4), np.full((8, 8), 0.1), np.full((8, 8), 0.1))
    sets = [np.arange(8) < 3, np.arange(8) >= 5]
    both = sets[0] | sets[1]
    ones = np.ones(8)
    for off, linear in (("grounded", True), ("floating", False), ("gated", False)):
        parts = sum(currents(g, row, column, ones, active, off) for active in sets)
        whole = currents(g, row, column, ones, both, off)
        assert (np.abs(parts / whole - 1).max() < 1e-9) == linear


def test_no_driven_row_gives_no_current():
    g, row, column = tile(3, 6, 4)
    none = np.zeros(6, bool)
    assert wires.effective(*wires.gated(g, row, column, none)).shape == (0, 4)
    assert not wires.floating_rows(wires.with_ports(g, row, column)[1], np.ones(6), none).any()


LAWS = {
    "sinh": nonlinear_wires.DeviceLaw(lambda g, v: g * np.sinh(4 * v) / 4, lambda g, v: g * np.cosh(4 * v)),
    "cubic": nonlinear_wires.DeviceLaw(lambda g, v: g * (v - 0.25 * v**3), lambda g, v: g * (1 - 0.75 * v**2)),
    "lopsided": nonlinear_wires.DeviceLaw(lambda g, v: g * (v + 0.3 * v * v), lambda g, v: g * (1 + 0.6 * v)),
    "linear": nonlinear_wires.DeviceLaw(lambda g, v: g * v, lambda g, v: g + 0 * v),
}


@pytest.mark.parametrize("name", LAWS)
def test_nonlinear_is_newton_on_all_nodes(name):
    law, rng = LAWS[name], np.random.default_rng(1)
    m, n = 12, 9
    g = rng.uniform(0, 2e-4, (m, n))
    g[rng.random((m, n)) < 0.2] = 0
    row, column = (wires.segments(rng.uniform(5, 50, (m, n)), (m, n)) for _ in range(2))
    v = rng.uniform(-0.5, 0.5, (3, m))
    ideal = np.full((m, n), 1e8)
    for a, b in ((row, column), (None, column), (row, None)):
        found = nonlinear_wires.nonlinear_currents(g, a, b, v, law)
        full_a, full_b = ideal if a is None else a, ideal if b is None else b
        expected = np.stack([nonlinear_currents(lambda u: law.current(g, u), lambda u: law.slope(g, u), full_a, full_b,
                                                one, g.shape) for one in v])
        assert_close(found, expected, 1e-9 if a is not None and b is not None else 1e-5)
    found = nonlinear_wires.nonlinear_currents(g, None, None, v, law)
    assert_close(found, law.current(g[None], v[:, :, None]).sum(1))
    if name == "linear":
        assert_close(nonlinear_wires.nonlinear_currents(g, row, column, v, law), v @ wires.effective(g, row, column))


@pytest.mark.parametrize(("change", "said"), [
    ({"g": np.full((2, 2), -1.0)}, "no finite matrix"), ({"g": np.full((2, 2), np.nan)}, "no finite matrix"),
    ({"row": np.ones((3, 2))}, "row segments are no conductances"),
    ({"column": np.array([[1.0, np.inf], [1.0, 1.0]])}, "some column segments have no resistance"),
])
def test_what_is_no_tile_is_refused(change, said):
    with pytest.raises(ns.NeurosimError, match=said):
        wires.effective(**{"g": np.ones((2, 2)), "row": np.ones((2, 2)), "column": np.ones((2, 2)), **change})
    with pytest.raises(ns.NeurosimError, match="below 0 ohm"):
        wires.segments(-1.0, (2, 2))
