"""Populations of neurons over all time steps: one kernel per neuron model, event in, event out.

The equations are those of `neurosim.network.layers`; tests/reference holds the slow twin in numpy. Every kernel
takes its input in one of two ways: as events with the weight rows of the layer in front (`pointers`, `indices`,
`rows`: fused, the current never leaves the cache), and/or as a dense `drive [batch, time, neurons]`; the part that
is not there has size 0. Parameters are `[neurons]`. A spiking kernel writes its events into `out_pointers` and
`out_indices`, and adds to `counts [neurons]`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SUBTRACT, ZERO, HOLD, NONE = range(4)
RESET_CODES = {"subtract": SUBTRACT, "zero": ZERO, "hold": HOLD, "none": NONE}


@njit(inline="always")
def _add_rows(current, rows, pointers, indices, step):
    for e in range(pointers[step], pointers[step + 1]):
        row = rows[indices[e]]
        for n in range(current.size):
            current[n] += row[n]


@njit(inline="always")
def _input(current, bias, drive, rows, pointers, indices, batch, time, step):
    """Bias, drive and weighted input spikes of one step."""
    if drive.size:
        now = drive[batch, time]
        for n in range(current.size):
            current[n] = bias[n] + now[n]
    else:
        for n in range(current.size):
            current[n] = bias[n]
    if rows.size:
        _add_rows(current, rows, pointers, indices, step)


@njit(inline="always")
def _recurrent(current, rows, pointers, indices, time, step):
    """Weighted spikes of this population's own previous step."""
    if rows.size and time > 0:
        _add_rows(current, rows, pointers, indices, step - 1)


@njit(inline="always")
def _emit(fired, words, size, pointers, indices, step, counts):
    """Append the neurons whose flag is set; eight flags are looked at together (`words` is `fired` as uint64)."""
    at = pointers[step]
    for w in range(words.size):
        if words[w]:
            for n in range(8 * w, min(8 * w + 8, size)):
                if fired[n]:
                    indices[at] = n
                    counts[n] += 1
                    at += 1
    pointers[step + 1] = at


@njit(inline="always")
def _membrane(v, current, beta, gain, leak, threshold, v_reset, reset, delay):
    """One step of the membrane: the reset of the last spike (if delayed), decay, input."""
    if reset == SUBTRACT:
        for n in range(v.size):
            spent = threshold[n] if v[n] > threshold[n] else v.dtype.type(0)
            v[n] = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - spent
    elif reset == ZERO and delay:
        for n in range(v.size):
            before = v_reset[n] if v[n] > threshold[n] else v[n]
            v[n] = beta[n] * before + (gain[n] * current[n] + leak[n])
    elif reset == HOLD:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            v[n] = v_reset[n] if v[n] > threshold[n] else after
    else:
        for n in range(v.size):
            v[n] = beta[n] * v[n] + (gain[n] * current[n] + leak[n])


@njit(inline="always")
def _fire(v, before, fired, threshold, v_reset, reset, delay):
    """Compare with the threshold (strictly); without delay the reset acts here.

    A soft reset without delay leaves alone a neuron whose spent charge `_membrane` took already, as snnTorch does.
    """
    if delay or reset == NONE:
        for n in range(v.size):
            fired[n] = v[n] > threshold[n]
    elif reset == SUBTRACT:
        for n in range(v.size):
            fired[n] = v[n] > threshold[n]
            twice = (1 if v[n] > threshold[n] else 0) - (1 if before[n] > threshold[n] else 0)
            v[n] = v[n] - twice * threshold[n]
    else:
        for n in range(v.size):
            fired[n] = v[n] > threshold[n]
            v[n] = v_reset[n] if v[n] > threshold[n] else v[n]


@njit(nogil=True, cache=True)
def lif(pointers, indices, rows, drive, bias, beta, threshold, gain, v_reset, recurrent_rows, reset, delay, batches,
        times, out_pointers, out_indices, counts):
    """Leaky integrate and fire (`LIF`). `recurrent_rows [from, to]` or of size 0; `reset` one of `RESET_CODES`."""
    size = beta.size
    v, current, before = np.empty_like(beta), np.empty_like(beta), np.empty_like(beta)
    leak = np.zeros_like(beta)
    fired = np.zeros((size + 7) // 8 * 8, np.uint8)
    words = fired.view(np.uint64)
    out_pointers[0] = 0
    for b in range(batches):
        v[:] = 0
        for t in range(times):
            step = b * times + t
            _input(current, bias, drive, rows, pointers, indices, b, t, step)
            _recurrent(current, recurrent_rows, out_pointers, out_indices, t, step)
            if not delay:
                before[:] = v
            _membrane(v, current, beta, gain, leak, threshold, v_reset, reset, delay)
            _fire(v, before, fired, threshold, v_reset, reset, delay)
            _emit(fired, words, size, out_pointers, out_indices, step, counts)


@njit(nogil=True, cache=True)
def cuba_lif(pointers, indices, rows, drive, bias, alpha, beta, threshold, gain_syn, gain, leak, v_reset,
             recurrent_rows, reset, delay, batches, times, out_pointers, out_indices, counts):
    """Current-based LIF (`CubaLIF`): the synaptic current decays with `alpha`, the membrane with `beta`."""
    size = beta.size
    v, current, before = np.empty_like(beta), np.empty_like(beta), np.empty_like(beta)
    synaptic = np.empty_like(beta)
    fired = np.zeros((size + 7) // 8 * 8, np.uint8)
    words = fired.view(np.uint64)
    out_pointers[0] = 0
    for b in range(batches):
        v[:] = 0
        synaptic[:] = 0
        for t in range(times):
            step = b * times + t
            _input(current, bias, drive, rows, pointers, indices, b, t, step)
            _recurrent(current, recurrent_rows, out_pointers, out_indices, t, step)
            for n in range(size):
                synaptic[n] = alpha[n] * synaptic[n] + gain_syn[n] * current[n]
            if not delay:
                before[:] = v
            _membrane(v, synaptic, beta, gain, leak, threshold, v_reset, reset, delay)
            _fire(v, before, fired, threshold, v_reset, reset, delay)
            _emit(fired, words, size, out_pointers, out_indices, step, counts)


@njit(nogil=True, cache=True)
def adaptive_lif(pointers, indices, rows, drive, bias, beta, beta_adaptation, threshold, adaptation, gain,
                 recurrent_rows, refractory, batches, times, out_pointers, out_indices, counts):
    """LIF with adaptive threshold and refractory period (`AdaptiveLIF`)."""
    size = beta.size
    v, current, adapted = np.empty_like(beta), np.empty_like(beta), np.empty_like(beta)
    spent = np.empty_like(beta)
    resting = np.empty(size, np.int32)
    fired = np.zeros((size + 7) // 8 * 8, np.uint8)
    words = fired.view(np.uint64)
    one = beta.dtype.type(1)
    out_pointers[0] = 0
    for b in range(batches):
        v[:] = 0
        adapted[:] = 0
        spent[:] = 0
        resting[:] = 0
        for t in range(times):
            step = b * times + t
            _input(current, bias, drive, rows, pointers, indices, b, t, step)
            _recurrent(current, recurrent_rows, out_pointers, out_indices, t, step)
            for n in range(size):
                adapted[n] = beta_adaptation[n] * adapted[n] + (one - beta_adaptation[n]) * spent[n]
                limit = threshold[n] + adaptation[n] * adapted[n]
                v[n] = (beta[n] * v[n] + gain[n] * current[n]) - spent[n] * limit
                spike = resting[n] == 0 and v[n] > limit
                fired[n] = spike
                spent[n] = one if spike else one - one
                left = resting[n] + (refractory if spike else 0) - 1
                resting[n] = max(left, 0)
            _emit(fired, words, size, out_pointers, out_indices, step, counts)


@njit(nogil=True, cache=True)
def leaky_integrator(pointers, indices, rows, drive, bias, beta, gain, out):
    """Leaky integrator (`LeakyIntegrator`): the membrane itself is the output, `out [batch, time, neurons]`."""
    v, current = np.empty_like(beta), np.empty_like(beta)
    for b in range(out.shape[0]):
        v[:] = 0
        for t in range(out.shape[1]):
            _input(current, bias, drive, rows, pointers, indices, b, t, b * out.shape[1] + t)
            for n in range(v.size):
                v[n] = beta[n] * v[n] + gain[n] * current[n]
                out[b, t, n] = v[n]
