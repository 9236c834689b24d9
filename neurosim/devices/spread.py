"""Spreads: values of devices around a mean from standard normal numbers, in three distributions."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from neurosim.profile import Quantity


def spread_around(mean: np.ndarray, sd: np.ndarray, distribution: str, z: np.ndarray) -> np.ndarray:
    """Values of mean m and standard deviation s, from standard normal z; shapes broadcast, in the dtype of z.

    normal: ``m + s z``; lognormal: ``m exp(q z - q^2 / 2)`` with ``q^2 = ln(1 + (s/m)^2)``, so that mean and standard
    deviation are m and s (0 where m is 0); uniform: ``m + s sqrt(3) (2 Phi(z) - 1)`` with Phi the normal distribution
    function.
    """
    if distribution == "normal":
        return mean + sd * z
    if distribution == "uniform":
        return mean + sd * z.dtype.type(np.sqrt(3)) * (2 * ndtr(z) - 1)
    tiny = np.finfo(z.dtype).tiny
    width = np.sqrt(np.log1p(np.square(np.asarray(sd / np.maximum(mean, tiny), np.float64)))).astype(z.dtype)
    return _lognormal(mean, width, z)


def _lognormal(mean: np.ndarray, width: np.ndarray, z: np.ndarray) -> np.ndarray:
    return mean * np.exp(width * z - width * width / 2)


def spread_factor(quantity: Quantity, z: np.ndarray) -> np.ndarray:
    """The value of each device, from its standard normal number z; same shape and dtype as z.

    >>> spread_factor(Quantity(value=2.0, cv=0.5), np.array([-1.0, 0.0, 1.0]))
    array([1., 2., 3.])
    """
    mean = z.dtype.type(quantity.value)
    if quantity.distribution == "normal":
        value = z.dtype.type(quantity.spread) * z
        value += mean
        return value
    if quantity.distribution == "lognormal":
        return _lognormal(mean, z.dtype.type(log_width(quantity)), z)
    return spread_around(mean, z.dtype.type(quantity.spread), quantity.distribution, z)


def log_width(quantity: Quantity) -> float:
    """Standard deviation of the logarithm of a lognormal quantity: ``q^2 = ln(1 + (s/m)^2)``."""
    return float(np.sqrt(np.log1p((quantity.spread / quantity.value) ** 2)))


def decay_with_factor(decay: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The decay per step of a time constant times `factor`: ``exp(-dt / (m tau)) = (exp(-dt / tau))^(1/m)``."""
    return np.power(decay, 1 / factor)
