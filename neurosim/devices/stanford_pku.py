"""The Stanford-PKU model: a conducting filament that ends in a gap, which field and heat open and close.

With the gap g and the voltage v,

    i = i0 exp(-g / g0) sinh(v / v0)
    T = T0 + v i R_th
    dg/dt = -velocity exp(-E_a / kT) sinh(gamma hop q v / (thickness kT)),   gamma = gamma0 - beta (g / g1)^alpha

gamma is 0 where the enhanced field ``gamma |v| / thickness`` is below its least; the gap stays between its ends. The
random part of the gap is left out: the statistics of what is written are [crossbar.programming].

Sources: Jiang et al., IEEE Trans. Electron Devices 63, 1884 (2016); Chen and Yu, IEEE Trans. Electron Devices 62, 4022
(2015).
"""

from __future__ import annotations

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from neurosim.profile import StanfordPKU

_VOLTS_PER_KELVIN = Boltzmann / elementary_charge


def ends(model: StanfordPKU) -> tuple[float, float]:
    """The least and the largest gap, in metres."""
    return model.gap_min.value, model.gap_max.value


def current(model: StanfordPKU, gap: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Current in A at a gap under voltage v; shapes broadcast."""
    return model.i0.value * np.exp(-gap / model.g0.value) * np.sinh(v / model.v0.value)


def temperature(model: StanfordPKU, gap: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Kelvins of the filament."""
    return model.temperature.value + v * current(model, gap, v) * model.thermal_resistance.value


def rate(model: StanfordPKU, gap: np.ndarray, v: np.ndarray) -> np.ndarray:
    """d gap / dt in m/s at a gap under voltage v; shapes broadcast."""
    thermal = temperature(model, gap, v) * _VOLTS_PER_KELVIN
    gamma = model.gamma0.value - model.beta.value * (gap / model.g1.value) ** model.alpha.value
    gamma = np.where(gamma * np.abs(v) / model.thickness.value < model.field_min.value, 0.0, gamma)
    pull = np.sinh(gamma * model.hop.value / model.thickness.value * v / thermal)
    return -model.velocity.value * np.exp(-model.activation.value / thermal) * pull
