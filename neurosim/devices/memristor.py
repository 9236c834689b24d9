"""Memristors: what is written is not what was meant, and it drifts."""

from __future__ import annotations

import numpy as np


def programmed(target: np.ndarray, sigma: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Conductances after programming, in siemens: ``max(target + sigma z, 0)``; sigma below 0 counts as 0.

    Source: Joshi et al., Nat. Commun. 11, 2473 (2020), and the sources of each profile's sigma.
    """
    return np.maximum(target + np.maximum(sigma, 0) * z, 0)


def drift_exponent(mean: np.ndarray, sd: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The drift exponent of each device, ``|mean + sd z|``: fixed from one programming to the next."""
    return np.abs(mean + sd * z)


def drifted(conductance: np.ndarray, exponent: np.ndarray, time: float, t0: float) -> np.ndarray:
    """Conductances `time` seconds after programming, ``g (time / t0)^(-exponent)``.

    Source: Nandakumar et al., ICECS 2019; Joshi et al. 2020.
    """
    ratio = conductance.dtype.type(np.log(time / t0))
    return conductance * np.exp(-exponent * ratio)
