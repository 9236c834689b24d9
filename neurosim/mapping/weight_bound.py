"""How well any base currents could make the weights of a core: a lower bound of the error of `base_currents`.

The sums of four base currents are 16 values, one of them 0. Whatever the currents are, they cannot do better than 16
values that are free but for the 0: the optimal quantiser in one dimension, which dynamic programming finds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurosim.mapping.circuit import WordArray
from neurosim.mapping.configuration import Configuration
from neurosim.network import Network

_BINS = 512


def least_error(weights: np.ndarray, bases: int = 4) -> float:
    """A squared error that no choice of base currents and masks gets below.

    weights: magnitudes, any shape, 0 or more. ``D_k(j) = min_i D_{k-1}(i) + C(i, j)`` over weights in order, C(i, j)
    the squared deviation of weights i to j - 1 from their mean and ``D_1(j)`` their sum of squares. It is the optimum
    of free values where there are 512 different weights or fewer. More are taken in 512 groups of neighbours; where a
    group could be cut it is left out of the sum, so what is found is a bound still.

    >>> round(least_error(np.array([1.0, 2.0, 4.0]), bases=1), 6)
    3.0
    """
    values, counts = np.unique(np.asarray(weights, np.float64).reshape(-1), return_counts=True)
    grouped = values.size > _BINS
    edges = np.linspace(0, values.size, min(_BINS, values.size) + 1).astype(np.int64)
    scale = values[-1] if values.size and values[-1] > 0 else 1.0
    moments = (np.concatenate([[0.0], np.cumsum(counts * (values / scale) ** k)]) for k in range(3))
    number, first, second = (moment[edges] for moment in moments)
    parts = number[None, :] - number[:, None]
    cost = second[None, :] - second[:, None] - (first[None, :] - first[:, None]) ** 2 / np.maximum(parts, 1)
    cost = np.where(parts >= 0, np.maximum(cost, 0), np.inf)
    if grouped:  # the group at the cut is left out: C(i + 1, j)
        cost = np.concatenate([cost[1:], np.full((1, cost.shape[1]), np.inf)])
        np.fill_diagonal(cost, 0)
    best = second
    for _ in range((1 << bases) - 1):
        best = (best[:, None] + cost).min(axis=0)
    return float(best[-1] * scale**2) * (1 - 1e-9)


def core_errors(network: Network, configuration: Configuration, arrays: Sequence[WordArray], bases: int
                ) -> dict[int, tuple[float, float]]:
    """For each core the error of its weights, and what no base currents get below; both root mean squares, relative to
    that of the weights."""
    cores = np.unique(np.concatenate([place[:, 0] for place in configuration.places.values()]))
    found = {}
    for core in cores.tolist():
        wanted, made = [], []
        for array in arrays:
            here = configuration.places[array.layer][:, 0] == core
            wanted.append(network[array.layer].weights()[array.parameter][here].reshape(-1))
            made.append(array.nominal[here].reshape(-1))
        weights = np.concatenate(wanted).astype(np.float64)
        size = np.sum(weights**2)
        if size > 0:
            off = np.sum((weights - np.concatenate(made)) ** 2)
            found[core] = float(np.sqrt(off / size)), float(np.sqrt(least_error(weights, bases) / size))
    return found
