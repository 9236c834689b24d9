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
MILO = load_profile("reram_milo").crossbar.iv
LAWS = {"cubic": CUBIC, "table": TABLE, "terms": MILO}


def test_the_cubic_is_its_formula():
    g, v = np.array([[1e-6], [2e-4]]), np.linspace(-1, 1, 21)
    np.testing.assert_allclose(current(CUBIC, g, v), g * (v - 0.25 * v**3), rtol=1e-14)
    np.testing.assert_allclose(slope(CUBIC, g, v), g * (1 - 0.75 * v**2), rtol=1e-13)
    even = IV(polynomial=(0.3,), v_max=1.0)
    np.testing.assert_allclose(current(even, g, v), g * (v + 0.3 * v**2), rtol=1e-14)


def test_terms_of_the_logarithm_are_the_published_fit():
    """I = G V + NL2 V^2 + NL3 V^3 by Milo, IRPS 2021; at 225 uS the fit is made linear; beyond, as at the ends."""
    g, v = np.array([[62.5e-6], [93.9e-6], [225e-6]]), np.linspace(-0.5, 0.5, 11)
    log = np.log10(g)
    second = 1.388e-4 * log**3 + 1.541e-3 * log**2 + 5.711e-3 * log + 7.063e-3
    third = 8.871e-5 * log**2 + 6.7919e-4 * log + 1.2968e-3
    found = current(MILO, g, v)
    np.testing.assert_allclose(found, g * v + second * v**2 + third * v**3, rtol=1e-12)
    bent = np.abs(found / g - v).max(axis=1)
    assert bent[2] < 0.005
    assert bent[0] > 0.1
    for outside, end in ((20e-6, 50e-6), (300e-6, 225e-6)):
        held = current(MILO, np.array(end), v) * outside / end
        np.testing.assert_allclose(current(MILO, np.array(outside), v), held)
    assert (current(MILO, np.zeros(11), v) == 0).all()


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
    ({"terms": [[1e-3]], "range": [1e-6, 1e-4]}, "rises with voltage up to v_max"),
    ({"terms": [[1e-9]]}, "range = .* with terms"),
    ({"terms": [[1e-9]], "range": [1e-4, 1e-6]}, "low < high"),
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
