"""Mismatch: factors on device parameters from standard normal numbers."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from neurosim.profile import Quantity


def spread_factor(quantity: Quantity, z: np.ndarray) -> np.ndarray:
    """The value of each device, from its standard normal number z; same shape and dtype as z.

    With mean m and standard deviation s of the quantity:

    normal: ``m + s z``; lognormal: ``m exp(q z - q^2 / 2)`` with ``q^2 = ln(1 + (s/m)^2)``, so that mean and standard
    deviation are m and s; uniform: ``m + s sqrt(3) (2 Phi(z) - 1)`` with Phi the normal distribution function.

    >>> spread_factor(Quantity(value=2.0, cv=0.5), np.array([-1.0, 0.0, 1.0]))
    array([1., 2., 3.])
    """
    mean, sd = z.dtype.type(quantity.value), z.dtype.type(quantity.spread)
    if quantity.distribution == "normal":
        return mean + sd * z
    if quantity.distribution == "uniform":
        return mean + sd * z.dtype.type(np.sqrt(3)) * (2 * ndtr(z) - 1)
    width = z.dtype.type(log_width(quantity))
    return mean * np.exp(width * z - width * width / 2)


def log_width(quantity: Quantity) -> float:
    """Standard deviation of the logarithm of a lognormal quantity: ``q^2 = ln(1 + (s/m)^2)``."""
    return float(np.sqrt(np.log1p((quantity.spread / quantity.value) ** 2)))


def decay_with_factor(decay: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The decay per step of a time constant times `factor`: ``exp(-dt / (m tau)) = (exp(-dt / tau))^(1/m)``."""
    return np.power(decay, 1 / factor)
