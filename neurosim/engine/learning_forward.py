"""Populations that learn, forward: blocks of samples over all time steps, with what the way back needs.

One kernel for all spiking populations of `neurosim.network.layers`; a part that a population does not have is an array
of size 0:

    ``i_t = alpha i_{t-1} + gain_syn (x_t + bias + s_{t-1} rows)``         (else: i_t is that input itself)
    ``a_t = beta_a a_{t-1} + (1 - beta_a) s_{t-1}``;  ``B_t = threshold + adaptation a_t``
    ``v_t = beta v_{t-1} + gain i_t + leak - reset(s_{t-1})``;  ``s_t = [v_t > B_t]`` of the neurons that do not rest

A reset to a value before the decay gives the same spikes on the step after as at once. A soft reset at once is a rule
of its own, `SUBTRACT_NOW`: ``v_t`` above is then compared, and what stays is ``v_t - (s_t - r_t) B``, with
``r_t = [v_{t-1} > B]`` in the place of the reset, as in `neurosim.engine.neurons`.

tests/training holds them to the same equations in torch, spike for spike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.engine.arrays import LANES
from neurosim.engine.compiling import distinct, part, widest_vectors
from neurosim.engine.events import add_rows
from neurosim.engine.neurons import HOLD, RESET_CODES, SUBTRACT, ZERO, emit
from neurosim.engine.panels import add_product


class Neurons(NamedTuple):
    """Parameters of a population: `[neurons]`, or of size 0 where it has none; rows `[from, to]`."""

    rows: np.ndarray
    bias: np.ndarray
    alpha: np.ndarray
    gain_syn: np.ndarray
    beta: np.ndarray
    gain: np.ndarray
    leak: np.ndarray
    threshold: np.ndarray
    beta_adaptation: np.ndarray
    adaptation: np.ndarray
    v_reset: np.ndarray


class State(NamedTuple):
    """What a population remembers, `[batch, neurons]` each: membrane, synaptic current, adaptation, the last spikes,
    and the steps that a neuron still rests (infinitely many: it is dropped out)."""

    v: np.ndarray
    synaptic: np.ndarray
    adapted: np.ndarray
    spent: np.ndarray
    resting: np.ndarray


class Rule(NamedTuple):
    """reset: of `RESET_CODES`, or `SUBTRACT_NOW`; attached: whether a gradient flows through the spike that resets;
    refractory: steps; surrogate: of `SURROGATES`, with its slope and height; relative: ``u = (v - B) / B`` instead of
    ``v - B``."""

    reset: int
    attached: bool
    refractory: int
    surrogate: int
    slope: float
    height: float
    relative: bool


SAMPLES = 8  # of a block: one bit each in a byte
SUBTRACT_NOW = 1 + max(RESET_CODES.values())
TRIANGLE, FAST_SIGMOID, ARCTAN = range(3)
SURROGATES = {"triangle": TRIANGLE, "fast_sigmoid": FAST_SIGMOID, "arctan": ARCTAN}


@part
def _potential(now, v, current, spent, limit, beta, gain, leak, v_reset, reset):
    """One step of the membrane, from v to `now`, with the reset of the step before."""
    zero = v.dtype.type(0)
    if reset == SUBTRACT:
        for n in range(v.size):
            now[n] = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - spent[n] * limit[n]
    elif reset == SUBTRACT_NOW:
        for n in range(v.size):
            again = limit[n] if v[n] > limit[n] else zero
            now[n] = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - again
    elif reset == ZERO:
        for n in range(v.size):
            before = v_reset[n] if spent[n] > zero else v[n]
            now[n] = beta[n] * before + (gain[n] * current[n] + leak[n])
    elif reset == HOLD:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            now[n] = v_reset[n] if spent[n] > zero else after
    else:
        for n in range(v.size):
            now[n] = beta[n] * v[n] + (gain[n] * current[n] + leak[n])


@part
def _spike(v, limit, resting, spikes, fired):
    """Who fires: above its limit, and not at rest."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if resting.size:
        for n in range(v.size):
            spike = (resting[n] == zero) & (v[n] > limit[n])
            fired[n] = spike
            spikes[n] = one if spike else zero
    else:
        for n in range(v.size):
            spike = v[n] > limit[n]
            fired[n] = spike
            spikes[n] = one if spike else zero


@part
def _rest(resting, spikes, rest):
    """How long each rests from the next step on."""
    zero, one = resting.dtype.type(0), resting.dtype.type(1)
    for n in range(resting.size):
        left = (resting[n] + rest * spikes[n]) - one
        resting[n] = left if left > zero else zero


@part
def _mark(mask, v, limit, resting, bit, triangle, slope, relative):
    """Set `bit` of the neurons whose surrogate derivative is not zero."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    others = np.uint8(bit - np.uint8(1))  # the bits of the samples before
    if not triangle:
        for n in range(v.size):
            mask[n] = (mask[n] & others) | bit
    elif relative:
        for n in range(v.size):
            near = abs(v[n] - limit[n]) * slope < abs(limit[n])
            mask[n] = (mask[n] & others) | (bit if near else np.uint8(0))
    else:
        for n in range(v.size):
            near = abs(v[n] - limit[n]) * slope < one
            mask[n] = (mask[n] & others) | (bit if near else np.uint8(0))
    if resting.size:
        for n in range(v.size):
            mask[n] &= np.uint8(255) if resting[n] == zero else others


@part
def _given(current, bias, drive, t, first, inputs, weight):
    """The current from outside of all samples: bias, drive, and inputs times weight."""
    for b in range(current.shape[0]):
        if drive.size and bias.size:
            for n in range(current.shape[1]):
                current[b, n] = bias[n] + drive[t, first + b, n]
        elif drive.size:
            for n in range(current.shape[1]):
                current[b, n] = drive[t, first + b, n]
        elif bias.size:
            for n in range(current.shape[1]):
                current[b, n] = bias[n]
        else:
            for n in range(current.shape[1]):
                current[b, n] = 0
    if weight.size:
        add_product(current, inputs[t, first:first + current.shape[0]], weight)


@part
def _read_out(output, readout, pointers, indices, slot, sums):
    """``output = spikes readout``, `LANES` classes at a time."""
    for c in range(sums.size):
        sums[c] = 0
    for e in range(pointers[slot], pointers[slot + 1]):
        for c in range(0, sums.size, LANES):
            for k in range(LANES):
                sums[c + k] += readout[indices[e], c + k]
    for c in range(output.size):
        output[c] = sums[c]


@distinct
def _forward_block(drive, inputs, weight, first, neurons, state, rule, spikes, potentials, currents, synaptics, mask,
                   active, readout, output, pointers, indices, counts, current, limit, sums, fired, flags, busy):
    """Run the samples `first` to `first + state.v.shape[0]`, at most eight; see `forward_blocks`."""
    widest_vectors()
    rows, bias, alpha, gain_syn, beta, gain, leak, threshold, beta_adaptation, adaptation, v_reset = neurons
    v, synaptic, adapted, spent, resting = state
    zero, one = v.dtype.type(0), v.dtype.type(1)
    rest, slope = v.dtype.type(rule.refractory), v.dtype.type(rule.slope)
    samples, size = v.shape
    ring, kept, times = potentials.shape[0], spikes.shape[0], active.size
    for b in range(samples):
        for n in range(size):
            fired[n] = spent[b, n] > zero
        emit(flags, busy, pointers, indices, b, counts[b])
        for n in range(size):
            counts[b, n] = 0
    for t in range(times):
        _given(current, bias, drive, t, first, inputs, weight)
        for b in range(samples):
            slot, sample, x = t * samples + b, first + b, current[b]
            before = spikes[(t - 1) % kept, sample] if t > 0 else spent[b]
            last = potentials[(t - 1) % ring, sample] if t > 0 else v[b]
            now, emitted = potentials[t % ring, sample], spikes[t % kept, sample]
            if rows.size:
                add_rows(x, x, rows, pointers, indices, slot)
            if currents.size:
                for n in range(size):
                    currents[t, sample, n] = x[n]
            if alpha.size:
                for n in range(size):
                    x[n] = alpha[n] * synaptic[b, n] + gain_syn[n] * x[n]
                    synaptic[b, n] = x[n]
                if synaptics.size:
                    for n in range(size):
                        synaptics[t, sample, n] = x[n]
            if adaptation.size:
                for n in range(size):
                    adapted[b, n] = beta_adaptation[n] * adapted[b, n] + (one - beta_adaptation[n]) * before[n]
                    limit[n] = threshold[n] + adaptation[n] * adapted[b, n]
            reach = limit if adaptation.size else threshold
            _potential(now, last, x, before, reach, beta, gain, leak, v_reset, rule.reset)
            _spike(now, reach, resting[b], emitted, fired)
            emit(flags, busy, pointers, indices, slot + samples, counts[b])
            if mask.size:
                _mark(mask[t], now, reach, resting[b], np.uint8(1 << b), rule.surrogate == TRIANGLE, slope,
                      rule.relative)
                if b == 0:
                    for n in range(size):
                        active[t] += mask[t, n]
            if rule.reset == SUBTRACT_NOW:
                for n in range(size):
                    again = one if last[n] > threshold[n] else zero
                    now[n] = now[n] - (emitted[n] - again) * threshold[n]
            _rest(resting[b], emitted, rest)
            if readout.size:
                _read_out(output[t, sample], readout, pointers, indices, slot + samples, sums)
    for b in range(samples):
        for n in range(size):
            v[b, n] = potentials[(times - 1) % ring, first + b, n]
            spent[b, n] = spikes[(times - 1) % kept, first + b, n]


@distinct
def forward_blocks(begin, end, drive, inputs, weight, neurons, state, rule, spikes, potentials, currents, synaptics,
                   masks, active, readout, output, pointers, indices, counts, current, limit, sums, fired, flags, busy):
    """Run the blocks `begin` to `end - 1`, of `SAMPLES` samples each, the last one perhaps fewer.

    drive `[time, batch, neurons]`, or inputs `[time, batch, channels]` with weight `[channels, neurons]`; the other of
    size 0. The state goes in and comes out. Written: spikes and potentials, of all steps or, as a ring, of two; where
    not of size 0, masks `[block, time, neurons]` (a bit for each sample with a derivative); active `[block, time]` (how
    many neurons of the first sample those are); currents (before the synapse) and synaptics; output `[time, batch,
    classes]`, the spikes times readout `[neurons, classes in whole LANES]`; counts `[batch, neurons]`, how often each
    fired; and the events, those of step t and sample b of a block in the slot (t + 1) samples + b of its row of
    pointers, with those of the state in front. The events of all these blocks follow each other; how many they are is
    returned.
    """
    at, times, batch = 0, active.shape[1], state.v.shape[0]
    for i in range(begin, end):
        a, b = i * SAMPLES, min((i + 1) * SAMPLES, batch)
        pointers[i, 0] = at
        _forward_block(drive, inputs, weight, a, neurons,
                       State(state.v[a:b], state.synaptic[a:b], state.adapted[a:b], state.spent[a:b],
                             state.resting[a:b]),
                       rule, spikes, potentials, currents, synaptics, masks[i], active[i], readout, output, pointers[i],
                       indices, counts[a:b], current[:b - a], limit, sums, fired, flags, busy)
        at = pointers[i, (times + 1) * (b - a)]
    return at
