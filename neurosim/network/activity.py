"""What drives a layer with weights, counted: how often each of its inputs is active, and how strongly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neurosim import engine


@dataclass(frozen=True, eq=False)
class Drive:
    """Of each input of a layer with weights, over all samples and steps of a run; of recurrent weights, whose inputs
    arrive a step later, over all steps but the last.

    active: in how many (sample, step) it was not 0, int64 `[inputs]`. magnitudes, squares: the sums of ``|x|`` and of
    ``x^2``, float64 `[inputs]`. peak: the largest ``|x|`` of any. reads: in how many (sample, step) any was not 0.
    """

    active: np.ndarray
    magnitudes: np.ndarray
    squares: np.ndarray
    peak: float
    reads: int


def spike_drive(active: np.ndarray, reads: int) -> Drive:
    """The drive of spikes: all of size 1."""
    weight = active.astype(np.float64)
    return Drive(active, weight, weight, 1.0, int(reads))


def value_drive(signal: np.ndarray) -> Drive:
    """The drive of a dense signal `[samples * steps, *shape]`.

    >>> value_drive(np.array([[0.5, -2.0], [0.0, 0.0]])).squares
    array([0.25, 4.  ])
    """
    flat = np.ascontiguousarray(signal).reshape(signal.shape[0], math.prod(signal.shape[1:]))
    active = np.zeros(flat.shape[1], np.int64)
    magnitudes, squares, most = np.zeros((3, active.size))
    reads = engine.survey(flat, active, magnitudes, squares, most)
    return Drive(active, magnitudes, squares, float(most.max(initial=0.0)), int(reads))


def stacked(drives: Iterable[Drive]) -> Drive:
    """The drives of several samples, each for itself: arrays `[sample, inputs]`, reads `[sample]`, the peak of all."""
    parts = list(drives)
    return Drive(np.stack([p.active for p in parts]), np.stack([p.magnitudes for p in parts]),
                 np.stack([p.squares for p in parts]), max(p.peak for p in parts), np.array([p.reads for p in parts]))


def together(drives: Iterable[Drive]) -> Drive:
    """The drive of several blocks of samples."""
    parts = list(drives)
    if len(parts) == 1:
        return parts[0]
    return Drive(sum(p.active for p in parts), sum(p.magnitudes for p in parts), sum(p.squares for p in parts),
                 max(p.peak for p in parts), sum(p.reads for p in parts))
