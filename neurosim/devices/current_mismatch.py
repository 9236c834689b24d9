"""How currents of transistors drawn alike differ: within a core, between cores, between dies; area and temperature.

A threshold voltage that is off by dV shifts a subthreshold current by ``ln(I'/I) = kappa dV / U_T``: lognormal, and
proportional to 1/T. dV falls as 1 / sqrt(W L).

Source: Pelgrom, Duinmaijer, Welbers, IEEE J. Solid-State Circuits 24, 1433 (1989).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from neurosim.profile import Circuit, Variation


def current_factor(circuit: Circuit, variation: Variation, device: np.ndarray, core: np.ndarray | float,
                   die: np.ndarray | float) -> np.ndarray:
    """What the currents are multiplied by, from standard normal numbers of device, core and die; float64, broadcast.

    The mean is 1 for lognormal factors, ``prod exp(q z - q^2 / 2)`` with ``q^2 = ln(1 + cv^2) (T_nominal / T)^2``; the
    device's q falls as 1 / sqrt(area), those of core and die, which come from the bias generator, do not. With
    distribution "truncated_normal" each factor is ``1 + q t(z)``, with t a normal number cut at plus and minus the
    profile's truncation and ``q = cv / sd(t) T_nominal / T``, so that mean and spread are those that are stated. The
    profile has no cv that would make a current negative.
    """
    mismatch = circuit.mismatch
    out = np.ones(())
    for width, z in zip(current_widths(circuit, variation), (device, core, die), strict=True):
        if not width:
            continue
        z = np.asarray(z, np.float64)
        if mismatch.distribution == "lognormal":
            out = out * np.exp(width * z - width * width / 2)
        else:
            out = out * (1 + width * _truncated(z, mismatch.truncation.value))
    return np.broadcast_to(out, np.broadcast_shapes(np.shape(device), np.shape(core), np.shape(die)))


def current_widths(circuit: Circuit, variation: Variation) -> tuple[float, float, float]:
    """The widths q of the factors of device, core and die at the operating temperature; see `current_factor`."""
    spreads = np.array([variation.device, variation.core, variation.die])
    lognormal = circuit.mismatch.distribution == "lognormal"
    plain = np.sqrt(np.log1p(spreads * spreads)) if lognormal else spreads / circuit.mismatch.cut_sd
    device, core, die = (plain * circuit.cooling).tolist()
    return device / float(np.sqrt(circuit.area_of(variation))), core, die


def _truncated(z: np.ndarray, most: float) -> np.ndarray:
    """Standard normal numbers as ones cut to [-most, most], by the distribution function."""
    low, high = ndtr(-most), ndtr(most)
    return ndtri(low + ndtr(z) * (high - low))


def leakage_at(circuit: Circuit) -> float:
    """I0 at the operating temperature, A: doubled every so many kelvins above the nominal one."""
    temperature = circuit.temperature
    warmer = temperature.operating.value - temperature.nominal.value
    return circuit.transistor.i0.value * 2.0 ** (warmer / temperature.i0_doubling.value)


def bias_ratio(circuit: Circuit) -> float:
    """A bias current at the operating temperature over that at the nominal one: ``(T / T_nominal)^exponent``."""
    temperature = circuit.temperature
    return (temperature.operating.value / temperature.nominal.value) ** temperature.bias_exponent.value
