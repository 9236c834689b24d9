"""Currents that do not follow Ohm's law: the formula, the measured points, and a derivative that is the derivative."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from neurosim.devices import current, slope
from neurosim.errors import NeurosimError
from neurosim.profile import IV, load_profile

CUBIC = IV(polynomial=(0.0, -0.25), v_max=1.0)
VOLTS = (0.0, 0.1, 0.25, 0.5)
#: sinh-like, one conductance steeper than the other
ROWS = tuple(tuple(g * 0.1 * np.sinh(v / b) * b / 0.1 for v in VOLTS) for g, b in ((1e-6, 0.2), (1e-4, 1.0)))
TABLE = IV(table={"conductance": (1e-6, 1e-4), "voltage": VOLTS, "current": ROWS}, v_max=0.5)
LAWS = {"cubic": CUBIC, "table": TABLE}


def test_the_cubic_is_its_formula():
    g, v = np.array([[1e-6], [2e-4]]), np.linspace(-1, 1, 21)
    np.testing.assert_allclose(current(CUBIC, g, v), g * (v - 0.25 * v**3), rtol=1e-14)
    np.testing.assert_allclose(slope(CUBIC, g, v), g * (1 - 0.75 * v**2), rtol=1e-13)
    even = IV(polynomial=(0.3,), v_max=1.0)
    np.testing.assert_allclose(current(even, g, v), g * (v + 0.3 * v**2), rtol=1e-14)


def test_a_table_goes_through_its_points_and_is_linear_in_the_conductance_between():
    for g, row in zip((1e-6, 1e-4), ROWS, strict=True):
        np.testing.assert_allclose(current(TABLE, np.array(g), np.array(VOLTS)), row, rtol=1e-12)
        np.testing.assert_allclose(current(TABLE, np.array(g), -np.array(VOLTS)), np.negative(row), rtol=1e-12)
    v = np.linspace(0, 0.5, 13)
    low, high = (PchipInterpolator(VOLTS, row)(v) for row in ROWS)
    g = 0.75 * 1e-6 + 0.25 * 1e-4
    np.testing.assert_allclose(current(TABLE, np.array(g), v), 0.75 * low + 0.25 * high, rtol=1e-12)
    np.testing.assert_allclose(current(TABLE, np.array(5e-7), v), low / 2, rtol=1e-12)
    np.testing.assert_allclose(current(TABLE, np.array(3e-4), v), 3 * high, rtol=1e-12)
    assert (current(TABLE, np.zeros(3), np.array([0.1, 0.2, 0.3])) == 0).all()


@pytest.mark.parametrize("law", LAWS)
@given(g=st.floats(1e-7, 5e-4), v=st.floats(-1.5, 1.5))
def test_slope_is_the_derivative_and_positive(law, g, v):
    iv, h = LAWS[law], 1e-6
    near = min(abs(abs(v) - knot) for knot in (*VOLTS, 1.0))
    found = float(slope(iv, np.array(g), np.array(v)))
    assert found > 0
    if near > 2 * h:
        rise = float(current(iv, np.array(g), np.array(v + h)) - current(iv, np.array(g), np.array(v - h))) / (2 * h)
        assert found == pytest.approx(rise, rel=1e-5, abs=1e-4 * g)


def test_beyond_v_max_it_is_a_straight_line():
    for iv in LAWS.values():
        v = np.array([1.0, 2.0, 3.0]) * iv.v_max.value
        found = current(iv, np.array(1e-5), v)
        np.testing.assert_allclose(found[2] - found[1], found[1] - found[0], rtol=1e-12)
        assert found[1] > found[0]


POINTS = {"conductance": [1e-6], "voltage": [0.0, 1.0], "current": [[0.0, 1e-6]]}


@pytest.mark.parametrize(("change", "said"), [
    ({"polynomial": [0.0, -0.5]}, "rises with voltage up to v_max"),
    ({}, "one of them"),
    ({"table": {**POINTS, "current": [[0.0, -1e-6]]}}, "currents that rise"),
    ({"table": {**POINTS, "voltage": [0.1, 1.0]}}, "0 itself"),
    ({"table": POINTS, "v_max": 2.0}, "within the table"),
    ({"table": {**POINTS, "conductance": [2e-6, 1e-6], "current": [[0.0, 1e-6]] * 2}}, "rising order"),
    ({"table": {**POINTS, "current": [[0.0, 1e-6, 2e-6]]}}, "1 rows of 2 currents"),
])
def test_what_is_no_current_is_refused(change, said):
    with pytest.raises(NeurosimError, match=said):
        load_profile("generic_inverse").with_values({"crossbar.iv": {"v_max": 1.0, **change}})
