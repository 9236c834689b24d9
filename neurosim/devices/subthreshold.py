"""Subthreshold transistors and the differential-pair integrator they make: the laws behind `engine.dpi`, in SI units.

In float64 and exact to rounding; what checks the kernels, and what designs biases. Sources: Enz, Krummenacher, Vittoz,
Analog Integr. Circuits Signal Process. 8, 83 (1995), weak inversion; Bartolozzi and Indiveri, Neural Comput. 19, 2581
(2007); Chicca et al., Proc. IEEE 102, 1367 (2014).
"""

from __future__ import annotations

import numpy as np

from neurosim.network.circuit_layers import BOLTZMANN_PER_CHARGE


def thermal_voltage(temperature: float) -> float:
    """``k T / q`` in volts.

    >>> round(thermal_voltage(300.0), 6)
    0.025852
    """
    return BOLTZMANN_PER_CHARGE * temperature


def drain_current(gate: np.ndarray, source: np.ndarray, drain: np.ndarray, *, i_0: float, kappa: float,
                  temperature: float, aspect: float = 1.0, early: float | None = None) -> np.ndarray:
    """Current of an n-transistor in weak inversion, A; voltages against the bulk (for a p-transistor: mirrored).

    ``i_0 aspect e^(kappa Vg / UT) (e^(-Vs / UT) - e^(-Vd / UT)) [1 + (Vd - Vs) / early]``

    aspect is W/L; early the Early voltage, None for an ideal current source.

    >>> bool(np.isclose(drain_current(0.4, 0.0, 1.0, i_0=5e-13, kappa=0.7, temperature=300.0), 2.53e-8, rtol=1e-2))
    True
    """
    volt = thermal_voltage(temperature)
    gate, source, drain = (np.asarray(v, np.float64) for v in (gate, source, drain))
    current = i_0 * aspect * np.exp((kappa * gate - source) / volt) * -np.expm1((source - drain) / volt)
    return current if early is None else current * (1 + (drain - source) / early)


def time_constant(capacitor: np.ndarray, i_tau: np.ndarray, *, kappa: float, temperature: float) -> np.ndarray:
    """``tau = C UT / (kappa Itau)``, s."""
    return capacitor * thermal_voltage(temperature) / (kappa * i_tau)


def integrated(current: np.ndarray, weight: np.ndarray, duration: np.ndarray, *, i_tau: np.ndarray, i_gain: np.ndarray,
               tau: np.ndarray) -> np.ndarray:
    """Output of a differential-pair integrator `duration` s after it was `current`, the input being `weight`; A.

    ``tau d(ln I)/dt = a / (1 + I/Ig) - 1`` with a = Iw/Itau has, with x = I/Ig and x_oo = a - 1, the implicit solution

        ``ln(x / x_0) - a ln((x_oo - x) / (x_oo - x_0)) = (a - 1) t / tau``,

    found by Newton steps in ln x, and bisection where one leaves the bracket. a is held 1e-7 away from 1, where the
    formula is 0 = 0. Arguments are scalars or arrays that fit together; with weight 0 it is the exact decay.

    >>> float(integrated(5e-13, 15e-9, 1e-5, i_tau=86.9e-12, i_gain=8.69e-9, tau=0.01).round(15))
    5.94e-13
    """
    x_0, a, t, gain = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (
        current / np.asarray(i_gain), weight / np.asarray(i_tau), duration / np.asarray(tau), i_gain)))
    a = np.where(np.abs(a - 1) < 1e-7, 1 + 1e-7, a)
    x_oo, begin = a - 1, np.log(x_0)
    rising = x_0 < x_oo
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        end = np.where(x_oo > 0, np.log(x_oo), -np.inf)
        low, high = np.where(rising, begin, np.maximum(end, begin - t)), np.where(rising, end, begin)
        v = np.clip(begin + t * (a / (1 + x_0) - 1), low, high)
        for _ in range(200):
            x = np.exp(v)
            late = (v - begin - a * np.log((x_oo - x) / (x_oo - x_0))) / x_oo - t  # time to get to v, less t
            beyond = ~(late <= 0)
            low, high = np.where(beyond == rising, low, v), np.where(beyond == rising, v, high)
            following = v - late * (a / (1 + x) - 1)
            following = np.where((following > low) & (following < high), following, (low + high) / 2)
            if np.all(np.abs(following - v) <= 1e-15 * np.maximum(1, np.abs(v))):
                break
            v = following
    return np.exp(v) * gain
