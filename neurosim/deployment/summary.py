"""Statistics over dies, each with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from neurosim.errors import NeurosimError

_RESAMPLES = 2000


@dataclass(frozen=True)
class Statistic:
    """One number over dies, and the interval that holds it with the stated confidence (low = high for one die)."""

    name: str
    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.name:24} {self.value:7.2%}   [{self.low:.2%}, {self.high:.2%}]"


def summarise(accuracy: np.ndarray, threshold: float, confidence: float = 0.95) -> tuple[Statistic, ...]:
    """Mean, standard deviation, minimum, 5th percentile and yield (share of dies at or above `threshold`).

    accuracy `[die]`. Intervals: percentile bootstrap over dies, 2000 resamples, fixed seed. They say how far the dies
    that were drawn stand for all dies of the type, on the same test samples; that of the minimum reaches only as low
    as the worst die that was seen.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.

    >>> mean, *_ = summarise(np.array([0.9, 0.8, 0.7, 0.8]), threshold=0.8)
    >>> round(mean.value, 3), round(mean.low, 3), round(mean.high, 3)
    (0.8, 0.725, 0.875)
    """
    accuracy = np.asarray(accuracy, np.float64)
    if not 0 < confidence < 1:
        raise NeurosimError(f"confidence is {confidence!r}", where="summary", allowed="between 0 and 1")
    if not 0 <= threshold <= 1:
        raise NeurosimError(f"threshold is {threshold!r}", where="summary", allowed="an accuracy from 0 to 1")
    statistics: list[tuple[str, Callable[..., np.ndarray]]] = [
        ("mean", np.mean),
        ("sd", lambda a, axis: np.std(a, axis=axis, ddof=1) if a.shape[axis] > 1 else np.zeros(a.shape[:-1])),
        ("min", np.min),
        ("5th percentile", lambda a, axis: np.percentile(a, 5, axis=axis)),
        (f"yield at {threshold:.1%}", lambda a, axis: np.mean(a >= threshold, axis=axis)),
    ]
    found = []
    for name, statistic in statistics:
        value = low = high = float(statistic(accuracy, axis=-1))
        if accuracy.size > 1 and np.ptp(accuracy):
            interval = bootstrap((accuracy,), statistic, n_resamples=_RESAMPLES, confidence_level=confidence,
                                 method="percentile", vectorized=True, batch=100,
                                 rng=np.random.default_rng(0)).confidence_interval
            low, high = float(interval.low), float(interval.high)
        found.append(Statistic(name, value, low, high, confidence))
    return tuple(found)
