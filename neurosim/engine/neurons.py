"""Populations of neurons over all time steps: events in, events out.

The equations are those of `neurosim.network.layers`; tests/reference holds the slow twin in numpy. Every population
takes its input in one of two ways, or both: as events with the weight rows of the layer in front (`pointers`,
`indices`, `rows`: fused, the current never leaves the cache), and as a dense `drive [batch, time, neurons]`; the part
that is not there has size 0. Parameters are `[neurons]`. A spiking population returns its events, pointers and indices,
and how often each neuron fired, int64 `[neurons]`.

What makes these loops quick: a loop over neurons has no branch that the vectoriser cannot turn into a selection, no
reference counts (see `compiling`), and whole vectors where the parameters are `padded`; and the spikes are found
without a branch for each neuron.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from neurosim.engine.arrays import aligned
from neurosim.engine.compiling import kernel, part, widest_vectors
from neurosim.engine.events import add_rows
from neurosim.engine.reads import Recurrence, read_events

SUBTRACT, ZERO, HOLD, NONE = range(4)
RESET_CODES = {"subtract": SUBTRACT, "zero": ZERO, "hold": HOLD, "none": NONE}
#: what a trace has of each neuron: its input (behind the synaptic filter), its membrane, its threshold
TRACED = ("current", "membrane", "threshold")
_BYTES, _TOP, _ONE = np.uint64(0x0101010101010101), np.uint64(56), np.uint64(1)
Spikes = tuple[np.ndarray, np.ndarray, np.ndarray]


@part
def _input(current, bias, drive, rows, pointers, indices, batch, time, step):
    """Bias, drive and weighted input spikes of one step."""
    if drive.size:
        for n in range(current.size):
            current[n] = bias[n] + drive[batch, time, n]
        if rows.size:
            add_rows(current, current, rows, pointers, indices, step)
    else:
        add_rows(current, bias, rows, pointers, indices, step)


def _recurrent(current, recurrent, pointers, indices, time, step):
    """Weighted spikes of this population's own previous step: exact rows, or a crossbar that is read.

    Which of the two is settled when a kernel is compiled, by the type of `recurrent`.
    """
    raise TypeError("for compiled kernels only")


@overload(_recurrent, inline="always")
def _choose(current, recurrent, pointers, indices, time, step):
    if isinstance(recurrent, types.Array):
        def exact(current, recurrent, pointers, indices, time, step):
            if recurrent.size and time > 0:
                add_rows(current, current, recurrent, pointers, indices, step - 1)

        return exact

    def read(current, recurrent, pointers, indices, time, step):
        if time > 0:
            read_events(current, recurrent.tiles, recurrent.noise, recurrent.scratch, pointers, indices, step - 1,
                        recurrent.outside)

    return read


@part
def emit(flags, busy, pointers, indices, step, counts):
    """Append the neurons that fired: one byte of `flags` for each neuron, eight in a word.

    First the words that are not zero, without branches; then their set bytes, from the lowest (the first neuron's, as
    bytes lie on every machine that numba compiles for).
    """
    found = 0
    for w in range(flags.size):
        busy[found] = w
        found += flags[w] != 0
    at = pointers[step]
    for i in range(found):
        word = flags[busy[i]]
        while word:
            below = (word & (~word + _ONE)) - _ONE  # all bits below the lowest flag; its full bytes are counted
            n = 8 * busy[i] + np.int64(((below & _BYTES) * _BYTES) >> _TOP)
            indices[at] = n
            counts[n] += 1
            at += 1
            word &= word - _ONE
    pointers[step + 1] = at


@part
def _membrane(v, fired, current, beta, gain, leak, threshold, v_reset, reset, delay):
    """One step of the membrane: decay, input, reset, and the (strict) comparison with the threshold.

    With `delay` a reset acts on the step after the spike. A soft reset without delay leaves alone a neuron whose
    spent charge was taken already, as snnTorch does.
    """
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if reset == SUBTRACT and delay:
        for n in range(v.size):
            spent = threshold[n] if v[n] > threshold[n] else zero
            after = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - spent
            fired[n] = after > threshold[n]
            v[n] = after
    elif reset == SUBTRACT:
        for n in range(v.size):
            before = one if v[n] > threshold[n] else zero
            after = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - before * threshold[n]
            now = one if after > threshold[n] else zero
            fired[n] = after > threshold[n]
            v[n] = after - (now - before) * threshold[n]
    elif reset == ZERO and delay:
        for n in range(v.size):
            before = v_reset[n] if v[n] > threshold[n] else v[n]
            after = beta[n] * before + (gain[n] * current[n] + leak[n])
            fired[n] = after > threshold[n]
            v[n] = after
    elif reset == HOLD and delay:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            after = v_reset[n] if v[n] > threshold[n] else after
            fired[n] = after > threshold[n]
            v[n] = after
    elif reset == NONE:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            fired[n] = after > threshold[n]
            v[n] = after
    else:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            after = v_reset[n] if reset == HOLD and v[n] > threshold[n] else after
            fired[n] = after > threshold[n]
            v[n] = v_reset[n] if after > threshold[n] else after


@part
def _keep(trace, b, t, current, v, limit):
    """The end of a step: `TRACED`."""
    for n in range(v.size):
        trace[b, t, 0, n] = current[n]
        trace[b, t, 1, n] = v[n]
        trace[b, t, 2, n] = limit[n]


@kernel
def _integrate_and_fire(pointers, indices, rows, drive, bias, alpha, beta, threshold, gain_syn, gain, leak, v_reset,
                        recurrent_rows, reset, delay, batches, times, v, current, synaptic, fired, flags, busy,
                        out_pointers, out_indices, counts, trace):
    widest_vectors()
    for b in range(batches):
        for n in range(v.size):
            v[n] = 0
            synaptic[n] = 0
        for t in range(times):
            step = b * times + t
            _input(current, bias, drive, rows, pointers, indices, b, t, step)
            _recurrent(current, recurrent_rows, out_pointers, out_indices, t, step)
            if alpha.size:
                for n in range(v.size):
                    now = alpha[n] * synaptic[n] + gain_syn[n] * current[n]
                    synaptic[n] = now
                    current[n] = now
            _membrane(v, fired, current, beta, gain, leak, threshold, v_reset, reset, delay)
            emit(flags, busy, out_pointers, out_indices, step, counts)
            if trace is not None:  # another kernel, without a trace
                _keep(trace, b, t, current, v, threshold)


@kernel
def _adaptive(pointers, indices, rows, drive, bias, beta, beta_adaptation, threshold, adaptation, gain, recurrent_rows,
              refractory, batches, times, v, current, adapted, limit, spent, resting, fired, flags, busy,
              out_pointers, out_indices, counts, trace):
    widest_vectors()
    zero, one = v.dtype.type(0), v.dtype.type(1)
    rest = v.dtype.type(refractory)
    for b in range(batches):
        for n in range(v.size):
            v[n] = 0
            adapted[n] = 0
            spent[n] = 0
            resting[n] = 0
        for t in range(times):
            step = b * times + t
            _input(current, bias, drive, rows, pointers, indices, b, t, step)
            _recurrent(current, recurrent_rows, out_pointers, out_indices, t, step)
            for n in range(v.size):
                adapted[n] = beta_adaptation[n] * adapted[n] + (one - beta_adaptation[n]) * spent[n]
                limit[n] = threshold[n] + adaptation[n] * adapted[n]
            for n in range(v.size):
                v[n] = (beta[n] * v[n] + gain[n] * current[n]) - spent[n] * limit[n]
            for n in range(v.size):
                spike = (resting[n] == zero) & (v[n] > limit[n])
                fired[n] = spike
                spent[n] = one if spike else zero
                left = resting[n] + (rest if spike else zero) - one
                resting[n] = left if left > zero else zero
            emit(flags, busy, out_pointers, out_indices, step, counts)
            if trace is not None:
                _keep(trace, b, t, current, v, limit)


@kernel
def leaky_integrator(pointers, indices, rows, drive, bias, beta, gain, out):
    """Leaky integrator (`LeakyIntegrator`): the membrane itself is the output, `out [batch, time, neurons]`."""
    widest_vectors()
    for b in range(out.shape[0]):
        for t in range(out.shape[1]):
            v = out[b, t]
            _input(v, bias, drive, rows, pointers, indices, b, t, b * out.shape[1] + t)
            if t == 0:
                for n in range(v.size):
                    v[n] = gain[n] * v[n]
            else:
                for n in range(v.size):
                    v[n] = beta[n] * out[b, t - 1, n] + gain[n] * v[n]


def _state(like: np.ndarray, rows: int, steps: int) -> tuple[np.ndarray, ...]:
    """What a spiking kernel works on: `rows` state variables; flags, their words, and the busy ones; room for events.

    There is room for every neuron at every step; memory that no spike reaches is never touched and costs nothing.
    """
    size = like.size
    variables = [aligned(like.shape, like.dtype) for _ in range(rows)]
    flags = np.zeros((size + 7) // 8, np.uint64)
    pointers = np.zeros(steps + 1, np.int64)
    return (*variables, flags.view(np.uint8)[:size], flags, np.empty(flags.size, np.int64), pointers,
            np.empty(steps * size, np.int32), np.zeros(size, np.int64))


def _spikes(state: tuple[np.ndarray, ...]) -> Spikes:
    pointers, indices, counts = state[-3:]
    return pointers, indices[: pointers[-1]], counts


def lif(pointers: np.ndarray, indices: np.ndarray, rows: np.ndarray, drive: np.ndarray, bias: np.ndarray,
        beta: np.ndarray, threshold: np.ndarray, gain: np.ndarray, v_reset: np.ndarray,
        recurrent_rows: np.ndarray | Recurrence, reset: int, delay: bool, batches: int, times: int,
        trace: np.ndarray | None = None) -> Spikes:
    """Leaky integrate and fire (`LIF`). `recurrent_rows [from, to]`, or of size 0, or read from a crossbar;
    `reset` one of `RESET_CODES`. trace `[batch, time, 3, width]` gets the end of each step: `TRACED`."""
    none, state = beta[:0], _state(beta, 3, batches * times)
    _integrate_and_fire(pointers, indices, rows, drive, bias, none, beta, threshold, none, gain, np.zeros_like(beta),
                        v_reset, recurrent_rows, reset, delay, batches, times, *state, trace)
    return _spikes(state)


def cuba_lif(pointers: np.ndarray, indices: np.ndarray, rows: np.ndarray, drive: np.ndarray, bias: np.ndarray,
             alpha: np.ndarray, beta: np.ndarray, threshold: np.ndarray, gain_syn: np.ndarray, gain: np.ndarray,
             leak: np.ndarray, v_reset: np.ndarray, recurrent_rows: np.ndarray | Recurrence, reset: int, delay: bool,
             batches: int, times: int, trace: np.ndarray | None = None) -> Spikes:
    """Current-based LIF (`CubaLIF`): the synaptic current decays with `alpha`, the membrane with `beta`."""
    state = _state(beta, 3, batches * times)
    _integrate_and_fire(pointers, indices, rows, drive, bias, alpha, beta, threshold, gain_syn, gain, leak, v_reset,
                        recurrent_rows, reset, delay, batches, times, *state, trace)
    return _spikes(state)


def adaptive_lif(pointers: np.ndarray, indices: np.ndarray, rows: np.ndarray, drive: np.ndarray, bias: np.ndarray,
                 beta: np.ndarray, beta_adaptation: np.ndarray, threshold: np.ndarray, adaptation: np.ndarray,
                 gain: np.ndarray, recurrent_rows: np.ndarray | Recurrence, refractory: int, batches: int,
                 times: int, trace: np.ndarray | None = None) -> Spikes:
    """LIF with adaptive threshold and refractory period (`AdaptiveLIF`)."""
    state = _state(beta, 6, batches * times)
    _adaptive(pointers, indices, rows, drive, bias, beta, beta_adaptation, threshold, adaptation, gain, recurrent_rows,
              refractory, batches, times, *state, trace)
    return _spikes(state)
