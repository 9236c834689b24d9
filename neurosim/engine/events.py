"""Spikes as events: from and to dense arrays, and the product of spikes with a weight matrix."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _count(dense):
    total = 0
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            total += dense[i, j] != 0
    return total


@njit(nogil=True, cache=True)
def _fill(dense, pointers, indices):
    at = 0
    pointers[0] = 0
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            if dense[i, j] != 0:
                indices[at] = j
                at += 1
        pointers[i + 1] = at


def to_events(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Events of an array `[steps, neurons]` of zeros and ones: pointers int64 `[steps + 1]`, indices int32."""
    pointers = np.empty(dense.shape[0] + 1, np.int64)
    indices = np.empty(_count(dense), np.int32)
    _fill(dense, pointers, indices)
    return pointers, indices


@njit(nogil=True, cache=True)
def scatter(pointers, indices, out):
    """Write events into `out [steps, neurons]` as zeros and ones."""
    out[:] = 0
    for i in range(out.shape[0]):
        for e in range(pointers[i], pointers[i + 1]):
            out[i, indices[e]] = 1


@njit(nogil=True, cache=True)
def gather(pointers, indices, rows, bias, out):
    """``out[i] = bias + sum of rows[j] over the events j of step i``: spikes times a weight matrix.

    rows `[in, out]` (the weight transposed, so that one spike reads one contiguous row), out `[steps, out]`.
    """
    for i in range(out.shape[0]):
        current = out[i]
        current[:] = bias
        for e in range(pointers[i], pointers[i + 1]):
            row = rows[indices[e]]
            for n in range(current.size):
                current[n] += row[n]
