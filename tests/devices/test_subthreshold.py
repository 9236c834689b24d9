"""The integrator's node equation: against scipy's Radau, and against its transistors in ngspice."""

from __future__ import annotations

from pathlib import Path

import dpi_spice as spice
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurosim.devices import drain_current, integrated, thermal_voltage, time_constant

I_TAU, I_GAIN, CAPACITOR, PULSE = 86.9e-12, 8.69e-9, 24.5e-12, 1e-5
TEMPERATURE = spice.UT / thermal_voltage(1.0)
TAU = time_constant(CAPACITOR, I_TAU, kappa=spice.KAPPA, temperature=TEMPERATURE)


def test_pulses_of_any_kind_follow_the_differential_equation() -> None:
    rng = np.random.default_rng(0)
    start, weight, time = (np.exp(rng.uniform(low, high, 20)) for low, high in ((-12, 5), (-5, 9), (-8, 2)))
    found = np.log(integrated(start, weight, time, i_tau=1.0, i_gain=1.0, tau=1.0))
    wanted = [solve_ivp(lambda _, u, a=a: a / (1 + np.exp(u)) - 1, (0, t), [np.log(x)], method="Radau", rtol=1e-11,
                        atol=1e-12).y[0, -1] for x, a, t in zip(start, weight, time, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("start", [1e-12, 1e-9, 1e-6])
def test_no_input_is_exact_decay_and_balance_stays(start: float) -> None:
    given = {"i_tau": I_TAU, "i_gain": I_GAIN, "tau": TAU}
    np.testing.assert_allclose(integrated(start, 0.0, 3 * TAU, **given), start * np.exp(-3), rtol=1e-12)
    balance = I_TAU * (1 + start / I_GAIN)
    np.testing.assert_allclose(integrated(start, balance, 3 * TAU, **given), start, rtol=1e-7)


def test_a_saturated_transistor_and_its_early_effect() -> None:
    law = {"i_0": spice.I_0, "kappa": spice.KAPPA, "temperature": TEMPERATURE}
    saturated = drain_current(0.4, 0.0, 1.8, **law)
    np.testing.assert_allclose(saturated, spice.I_0 * np.exp(spice.KAPPA * 0.4 / spice.UT), rtol=1e-12)
    assert drain_current(0.4, 0.0, 0.0, **law) == 0
    assert drain_current(0.4, 0.0, 0.1, **law) > 0.98 * saturated
    np.testing.assert_allclose(drain_current(0.4, 0.0, 1.8, early=20.0, aspect=2.0, **law), 2 * 1.09 * saturated)


@pytest.mark.parametrize(("start", "weight"), [
    (0.5e-12, 1e-9), (0.5e-12, 15e-9), (0.5e-12, 1e-6), (50e-12, 50e-9), (2e-9, 100e-9), (20e-9, 1e-9)])
def test_a_pulse_and_the_decay_after_it_are_those_of_the_transistors(tmp_path: Path, start: float,
                                                                     weight: float) -> None:
    time, current = spice.run(tmp_path, start, weight, I_TAU, I_GAIN, CAPACITOR, PULSE, after=2e-3)
    given = {"i_tau": I_TAU, "i_gain": I_GAIN, "tau": TAU}
    top = integrated(start, weight, PULSE, **given)
    np.testing.assert_allclose(np.interp(PULSE, time, current), top, rtol=5e-3)
    later = PULSE + 2e-3
    if top > 20 * spice.I_0:  # nearer to I_0 the transistor of the leak is not saturated
        np.testing.assert_allclose(np.interp(later, time, current), integrated(top, 0.0, 2e-3, **given), rtol=5e-3)
