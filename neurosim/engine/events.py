"""Spikes as events: from and to dense arrays, counted, and their product with a weight matrix."""

from __future__ import annotations

import numpy as np

from neurosim.engine.compiling import kernel, part, widest_vectors


@kernel
def _count(dense):
    total = 0
    for i in range(dense.shape[0]):
        for j in range(dense.shape[1]):
            total += dense[i, j] != 0
    return total


@kernel
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


@kernel
def scatter(pointers, indices, out):
    """Write events into `out [steps, neurons]`: how often each neuron fired in each step."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = 0
        for e in range(pointers[i], pointers[i + 1]):
            out[i, indices[e]] += 1


@kernel
def tally(pointers, indices, out):
    """Count the events of each neuron: `out[b, n]` over the steps of sample b, which are equally many for all."""
    times = (pointers.size - 1) // out.shape[0]
    for b in range(out.shape[0]):
        for n in range(out.shape[1]):
            out[b, n] = 0
        for e in range(pointers[b * times], pointers[(b + 1) * times]):
            out[b, indices[e]] += 1


@part
def add_rows(current, start, rows, pointers, indices, step):
    """``current = start + the rows of a step's events``, in their order.

    Four rows at a time quarter the traffic of `current`; what is over four comes first, on the way from `start`.
    """
    e, end = pointers[step], pointers[step + 1]
    over = (end - e) & 3
    if over == 3:
        i, j, k = indices[e], indices[e + 1], indices[e + 2]
        for n in range(current.size):
            current[n] = ((start[n] + rows[i, n]) + rows[j, n]) + rows[k, n]
    elif over == 2:
        i, j = indices[e], indices[e + 1]
        for n in range(current.size):
            current[n] = (start[n] + rows[i, n]) + rows[j, n]
    elif over == 1:
        i = indices[e]
        for n in range(current.size):
            current[n] = start[n] + rows[i, n]
    else:
        for n in range(current.size):
            current[n] = start[n]
    e += over
    while e < end:
        i, j, k, m = indices[e], indices[e + 1], indices[e + 2], indices[e + 3]
        for n in range(current.size):
            current[n] = (((current[n] + rows[i, n]) + rows[j, n]) + rows[k, n]) + rows[m, n]
        e += 4


@kernel
def gather(pointers, indices, rows, bias, out):
    """``out[i] = bias + sum of rows[j] over the events j of step i``: spikes times a weight matrix.

    rows `[in, out]` (the weight transposed, so that one spike reads one contiguous row), out `[steps, out]`.
    """
    widest_vectors()
    for i in range(out.shape[0]):
        add_rows(out[i], bias, rows, pointers, indices, i)


@kernel
def survey(values, active, magnitudes, squares, most):
    """Count each column of `values [steps, inputs]`, on top of what is there: how often it is not 0 (active, int64),
    the sums of ``|x|`` and ``x^2``, and the largest ``|x|`` (float64). The result is in how many steps any is not 0.
    """
    widest_vectors()
    busy = 0
    for i in range(values.shape[0]):
        found = 0
        for j in range(values.shape[1]):
            size = abs(np.float64(values[i, j]))
            here = size != 0
            found += here
            active[j] += here
            magnitudes[j] += size
            squares[j] += size * size
            most[j] = size if size > most[j] else most[j]
        busy += found > 0
    return busy
