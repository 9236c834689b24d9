"""Populations that learn, forward: one block of samples over all time steps, with what the way back needs.

One kernel for all spiking populations of `neurosim.network.layers` whose resets act on the step after the spike; a
part that a population does not have is an array of size 0:

    ``i_t = alpha i_{t-1} + gain_syn (x_t + bias + s_{t-1} rows)``         (else: i_t is that input itself)
    ``a_t = beta_a a_{t-1} + (1 - beta_a) s_{t-1}``;  ``B_t = threshold + adaptation a_t``
    ``v_t = beta v_{t-1} + gain i_t + leak - reset(s_{t-1})``;  ``s_t = [v_t > B_t]`` of the neurons that do not rest

tests/training holds them to the same equations in torch, spike for spike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.engine.compiling import distinct, part, widest_vectors
from neurosim.engine.events import add_rows
from neurosim.engine.neurons import HOLD, SUBTRACT, ZERO, emit


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
    """reset: of `RESET_CODES`; attached: whether a gradient flows through the spike that resets; refractory: steps;
    surrogate: of `SURROGATES`, with its slope and height; relative: ``u = (v - B) / B`` instead of ``v - B``."""

    reset: int
    attached: bool
    refractory: int
    surrogate: int
    slope: float
    height: float
    relative: bool


TRIANGLE, FAST_SIGMOID, ARCTAN = range(3)
SURROGATES = {"triangle": TRIANGLE, "fast_sigmoid": FAST_SIGMOID, "arctan": ARCTAN}


@part
def _potential(v, current, spent, limit, beta, gain, leak, v_reset, reset):
    """One step of the membrane, with the reset of the step before."""
    zero = v.dtype.type(0)
    if reset == SUBTRACT:
        for n in range(v.size):
            v[n] = (beta[n] * v[n] + (gain[n] * current[n] + leak[n])) - spent[n] * limit[n]
    elif reset == ZERO:
        for n in range(v.size):
            before = v_reset[n] if spent[n] > zero else v[n]
            v[n] = beta[n] * before + (gain[n] * current[n] + leak[n])
    elif reset == HOLD:
        for n in range(v.size):
            after = beta[n] * v[n] + (gain[n] * current[n] + leak[n])
            v[n] = v_reset[n] if spent[n] > zero else after
    else:
        for n in range(v.size):
            v[n] = beta[n] * v[n] + (gain[n] * current[n] + leak[n])


@part
def _spike(v, limit, spent, resting, fired):
    """Who fires: above its limit, and not at rest."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if resting.size:
        for n in range(v.size):
            spike = (resting[n] == zero) & (v[n] > limit[n])
            fired[n] = spike
            spent[n] = one if spike else zero
    else:
        for n in range(v.size):
            spike = v[n] > limit[n]
            fired[n] = spike
            spent[n] = one if spike else zero


@part
def _rest(resting, spent, rest):
    """How long each still rests."""
    zero, one = resting.dtype.type(0), resting.dtype.type(1)
    for n in range(resting.size):
        left = (resting[n] + rest * spent[n]) - one
        resting[n] = left if left > zero else zero


@part
def _mark(mask, v, limit, resting, bit, triangle, slope, relative):
    """Set `bit` of the neurons whose surrogate derivative is not zero."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    if not triangle:
        for n in range(v.size):
            mask[n] |= bit
    elif relative:
        for n in range(v.size):
            mask[n] |= bit if abs(v[n] - limit[n]) * slope < abs(limit[n]) else np.uint8(0)
    else:
        for n in range(v.size):
            mask[n] |= bit if abs(v[n] - limit[n]) * slope < one else np.uint8(0)
    if resting.size:
        for n in range(v.size):
            mask[n] &= np.uint8(255) if resting[n] == zero else ~bit


@distinct
def forward_block(drive, first, neurons, state, rule, spikes, potentials, currents, synaptics, keep, mask, readout,
                  output, pointers, indices, counts, current, limit, fired, flags, busy):
    """Run the samples `first` to `first + state.v.shape[0]`, at most eight; the state goes in and comes out.

    drive `[time, batch, neurons]`, or of size 0: it lies where the potentials go. Written: spikes; if `keep`, the
    potentials and mask `[time, neurons]`, a bit for each sample with a derivative; where not of size 0, currents (those
    before the synapse) and synaptics; output `[time, batch, classes]`, the spikes times readout `[neurons, classes]`,
    added to what is there; and the events, of step t and sample b in the slot (t + 1) samples + b, with those of the
    state in front. All but the mask and the events are of the whole batch.
    """
    widest_vectors()
    rows, bias, alpha, gain_syn, beta, gain, leak, threshold, beta_adaptation, adaptation, v_reset = neurons
    v, synaptic, adapted, spent, resting = state
    one = v.dtype.type(1)
    rest, slope = v.dtype.type(rule.refractory), v.dtype.type(rule.slope)
    samples, size = v.shape
    for b in range(samples):
        for n in range(size):
            fired[n] = spent[b, n] > v.dtype.type(0)
        emit(flags, busy, pointers, indices, b, counts)
    for t in range(spikes.shape[0]):
        for b in range(samples):
            slot, sample = t * samples + b, first + b
            given = drive[t, sample] if drive.size else potentials[t, sample]
            if bias.size:
                for n in range(size):
                    current[n] = bias[n] + given[n]
                if rows.size:
                    add_rows(current, current, rows, pointers, indices, slot)
            elif rows.size:
                add_rows(current, given, rows, pointers, indices, slot)
            else:
                for n in range(size):
                    current[n] = given[n]
            if currents.size:
                for n in range(size):
                    currents[t, sample, n] = current[n]
            if alpha.size:
                for n in range(size):
                    synaptic[b, n] = alpha[n] * synaptic[b, n] + gain_syn[n] * current[n]
                    current[n] = synaptic[b, n]
                if synaptics.size:
                    for n in range(size):
                        synaptics[t, sample, n] = current[n]
            if adaptation.size:
                for n in range(size):
                    adapted[b, n] = beta_adaptation[n] * adapted[b, n] + (one - beta_adaptation[n]) * spent[b, n]
                    limit[n] = threshold[n] + adaptation[n] * adapted[b, n]
            elif t == 0:
                for n in range(size):
                    limit[n] = threshold[n]
            _potential(v[b], current, spent[b], limit, beta, gain, leak, v_reset, rule.reset)
            _spike(v[b], limit, spent[b], resting[b], fired)
            emit(flags, busy, pointers, indices, slot + samples, counts)
            for n in range(size):
                spikes[t, sample, n] = spent[b, n]
            if keep:
                for n in range(size):
                    potentials[t, sample, n] = v[b, n]
                if b == 0:
                    for n in range(size):
                        mask[t, n] = 0
                _mark(mask[t], v[b], limit, resting[b], np.uint8(1 << b), rule.surrogate == TRIANGLE, slope,
                      rule.relative)
            _rest(resting[b], spent[b], rest)
            if readout.size:
                for e in range(pointers[slot + samples], pointers[slot + samples + 1]):
                    for c in range(output.shape[2]):
                        output[t, sample, c] += readout[indices[e], c]
