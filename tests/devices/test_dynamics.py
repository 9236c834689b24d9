"""Write dynamics: closed forms, scipy's integrator, and the marks of a memristor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurosim.devices import dynamics, stanford_pku, vteam
from neurosim.errors import NeurosimError
from neurosim.profile import load_profile

VTEAM = load_profile("vteam").crossbar.dynamics
PKU = load_profile("stanford_pku").crossbar.dynamics
NM = 1e-9


def with_values(**values: object) -> object:
    return load_profile("vteam").with_values({f"crossbar.vteam.{k}": v for k, v in values.items()}).crossbar.dynamics


def test_vteam_moves_as_its_equation_says():
    w = np.array([1.0, 2.0]) * NM
    np.testing.assert_allclose(vteam.rate(VTEAM, w, np.float64(0.04)), 5e-4, rtol=1e-12)  # twice v_off
    np.testing.assert_allclose(vteam.rate(VTEAM, w, np.float64(0.08)), 1.5e-3, rtol=1e-12)
    np.testing.assert_allclose(vteam.rate(VTEAM, w, np.float64(-0.4)), -10.0, rtol=1e-12)  # twice v_on
    np.testing.assert_allclose(vteam.rate(VTEAM, w, np.float64(-0.6)), -80.0, rtol=1e-12)  # 2^3
    for v in (-0.2, -0.1, 0.0, 0.01, 0.02):
        assert (vteam.rate(VTEAM, w, np.float64(v)) == 0).all()
    np.testing.assert_allclose(1 / vteam.current(VTEAM, np.array([0, 1.5, 3]) * NM, 1.0), [50, 525, 1000])
    steep = with_values(resistance="exponential")
    np.testing.assert_allclose(1 / vteam.current(steep, np.array([0, 1.5, 3]) * NM, 1.0), [50, np.sqrt(5e4), 1000])


def test_a_constant_voltage_moves_vteam_in_a_straight_line_to_its_end():
    time = np.linspace(0, 8e-6, 81)
    trace = dynamics.simulate(VTEAM, time, np.full(81, 0.04), np.array([0.0, 1.0 * NM]))
    np.testing.assert_allclose(trace.state, np.minimum(np.array([0, 1 * NM]) + 5e-4 * time[:, None], 3 * NM), rtol=1e-9)
    np.testing.assert_allclose(trace.current[-1], 0.04 / 1000, rtol=1e-9)


@pytest.mark.parametrize(("window", "order", "x", "rising", "factor"), [
    ("joglekar", 2, 0.25, True, 1 - 0.5**4), ("joglekar", 1, 1.0, True, 0.0),
    ("biolek", 2, 0.25, True, 1 - 0.25**4), ("biolek", 1, 0.25, False, 1 - 0.75**2),
    ("prodromakis", 1, 0.25, True, 1 - (0.0625 + 0.75)), ("prodromakis", 3, 0.0, False, 0.0),
])
def test_windows(window, order, x, rising, factor):
    v = np.float64(0.04 if rising else -0.4)
    free = vteam.rate(VTEAM, np.array(x * 3 * NM), v)
    found = vteam.rate(with_values(window=window, window_order=order), np.array(x * 3 * NM), v)
    assert found == pytest.approx(factor * free, abs=1e-15 * abs(free))


def test_the_ends_of_stanford_pku_have_the_stated_resistance():
    for gap, ohm in zip(stanford_pku.ends(PKU), (542, 218.6e3), strict=True):
        assert 0.1 / float(stanford_pku.current(PKU, np.array(gap), np.float64(0.1))) == pytest.approx(ohm, rel=2e-3)
    assert float(stanford_pku.temperature(PKU, np.array(0.2 * NM), np.float64(0.5))) == pytest.approx(
        298 + 0.5 * 1e-3 * np.exp(-0.8) * np.sinh(2.0) * 2100)


def test_stanford_pku_moves_as_its_equation_says():
    """gap 1 nm, 1.5 V: gamma = 16 - 0.8; worked out with rounded physical constants."""
    t = 298 + 1.5 * 1e-3 * np.exp(-4.0) * np.sinh(6.0) * 2100
    kt = 8.617333e-5 * t
    expected = -10 * np.exp(-0.6 / kt) * np.sinh(15.2 * 0.25 / 12 * 1.5 / kt)
    assert float(stanford_pku.rate(PKU, np.array(1 * NM), np.float64(1.5))) == pytest.approx(expected, rel=1e-5)
    assert stanford_pku.rate(PKU, np.array(1 * NM), np.float64(-1.5)) > 0
    assert stanford_pku.rate(PKU, np.array(1 * NM), np.float64(0.9)) == 0  # 15.2 * 0.9 / 12 nm < 1.4e9 V/m


@pytest.mark.parametrize(("model", "amplitude", "period", "share"), [
    (VTEAM, 0.24, 4e-7, 0.6), (with_values(window="biolek", resistance="exponential"), 0.25, 4e-7, 0.5),
    (PKU, 1.4, 1e-6, 0.9), (PKU, -1.25, 1e-6, 0.1), (PKU, -1.6, 1e-5, 0.5)])
def test_against_scipy(model, amplitude, period, share):
    """LSODA, until the state comes to an end of its range; within 0.3 % of the range."""
    law = dynamics.law(model)
    low, high = law.ends(model)
    time, voltage = dynamics.sweep(amplitude, period)
    start = low + share * (high - low)

    def rate(t: float, x: np.ndarray) -> np.ndarray:
        return law.rate(model, x, np.interp(t, time, voltage))

    def at_an_end(t: float, x: np.ndarray) -> float:
        return float(min(x[0] - low, high - x[0]))

    at_an_end.terminal = True
    found = solve_ivp(rate, (0, time[-1]), [start], t_eval=time, events=at_an_end, method="LSODA", rtol=1e-8,
                      atol=1e-8 * high, max_step=time[1])
    trace = dynamics.simulate(model, time, voltage, np.array([start]))
    assert found.success
    before = found.y[0]
    assert len(before) > 40
    assert np.abs(trace.state[:len(before), 0] - before).max() < 3e-3 * (high - low)
    assert np.ptp(before) > 0.05 * (high - low)


@pytest.mark.parametrize("model", [VTEAM, PKU])
def test_a_pinched_loop_that_closes_with_frequency(model):
    """The marks of a memristor: no current at 0 V, two branches, less area the faster the sweep."""
    middle = np.mean(dynamics.law(model).ends(model), keepdims=True)
    areas = []
    for faster in (1, 1e3 if model is VTEAM else 1e9):
        time, voltage = dynamics.sweep(model.amplitude.value, model.period.value / faster)
        voltage[200] = 0.0
        trace = dynamics.simulate(model, time, voltage, middle)
        assert trace.current[0, 0] == trace.current[200, 0] == 0
        areas.append(dynamics.loop_area(voltage, trace.current[:, 0]))
        if faster == 1:
            size = np.abs(trace.current[:, 0])
            for forth, home in ((size[10:100], size[190:100:-1]), (size[210:300], size[390:300:-1])):
                memory = (np.abs(forth - home) / np.maximum(forth, home)).max()  # at the same voltages
                assert memory > 0.3
    assert areas[0] > 0
    assert areas[1] < 0.05 * areas[0]


def test_below_its_thresholds_vteam_is_a_resistor():
    time, voltage = dynamics.sweep(0.019, 1e-3)
    trace = dynamics.simulate(VTEAM, time, voltage, np.array([1.5 * NM]))
    np.testing.assert_allclose(trace.current[:, 0], voltage / 525, rtol=1e-12)
    assert dynamics.loop_area(voltage, trace.current[:, 0]) < 1e-12


def test_pulses_move_the_state_step_by_step():
    time, voltage = dynamics.pulses(np.full(5, 0.04), 1e-7)
    assert (np.diff(time) > 0).all()
    trace = dynamics.simulate(VTEAM, time, voltage, np.array([0.0]))
    each = len(time) // 5
    steps = np.diff(np.concatenate([[0.0], trace.state[each - 1::each, 0]]))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    np.testing.assert_allclose(steps[0], 5e-4 * 1e-7, rtol=0.02)  # edges of a hundredth


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(NeurosimError, match="too fast to follow"):
        dynamics.simulate(PKU, *dynamics.sweep(80.0, 1e-3), np.array([1.7 * NM]))
    profile = load_profile("vteam")
    for change, said in (({"vteam.k_on": 10.0}, "k_on below 0"), ({"vteam.r_off": 10.0}, "more than r_on"),
                         ({"vteam.width": 3.0}, "3 nm is 3e-9"),
                         ({"stanford_pku": PKU.model_dump(exclude_none=True)}, "one model of a device")):
        with pytest.raises(NeurosimError, match=said):
            profile.with_values({f"crossbar.{key}": value for key, value in change.items()})
