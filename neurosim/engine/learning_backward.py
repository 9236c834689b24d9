"""Populations that learn, backward: blocks of samples from the last time step to the first.

The equations of `learning_forward`, differentiated by hand; g_x is the gradient of the loss to x:

    ``g_s_t = out_t + rows g_I_{t+1} + (1 - beta_a) g_a_{t+1} + resets``;  ``g_u_t = g_s_t h(u_t)``
    ``g_v_t = beta g_v_{t+1} + g_u_t du/dv``;  ``g_a_t = beta_a g_a_{t+1} + adaptation g_B_t``
    ``g_i_t = alpha g_i_{t+1} + gain g_v_t``;  ``g_I_t = gain_syn g_i_t``

with h the surrogate. The recurrent product costs more than all the rest. Only where h is not zero does a neuron need
its row of it: where those are few, they are computed one by one. The gradient of the rows grows by one row for every
spike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.engine.ahead import ask_row
from neurosim.engine.arrays import LANES
from neurosim.engine.compiling import gradient, part, widest_vectors
from neurosim.engine.learning_forward import SAMPLES, SUBTRACT_NOW, TRIANGLE, Neurons, State
from neurosim.engine.learning_membrane import before_reset, lean, lean_adaptive, through_spike
from neurosim.engine.neurons import HOLD, NONE, SUBTRACT, ZERO
from neurosim.engine.panels import add_product, set_product

SPARSE = 0.2  # share of neurons with a derivative up to which only their rows of the recurrent product are computed
STEPS = 4  # so many give the gradient of the weights in one product
BUSY = 0.3  # spikes per neuron and step from which on one product is quicker than a row of the gradient for each spike


# of each byte: how many bits are set, and which; without a branch for each bit
_HOW_MANY = np.array([bits.bit_count() for bits in range(256)])
_WHICH = np.array([[*(b for b in range(8) if bits >> b & 1), *(b for b in range(8) if not bits >> b & 1)]
                   for bits in range(256)])


class Carry(NamedTuple):
    """Gradients that go from step to step, `[batch, neurons]` each: to membrane, synaptic current and adaptation of the
    step before, and to its spikes."""

    v: np.ndarray
    synaptic: np.ndarray
    adapted: np.ndarray
    spent: np.ndarray


@part
def _sparse_products(total, rows, after, mask):
    """``total[b, i] += rows[i] . after[b]`` where the bit b of `mask[i]` is set."""
    zero = rows.dtype.type(0)
    for i in range(mask.size):
        row = rows[i]
        for k in range(_HOW_MANY[mask[i]]):
            b = _WHICH[mask[i], k]
            dot = zero
            for j in range(row.size):
                dot += row[j] * after[b, j]
            total[b, i] += dot


@part
def _arriving(total, grad, t, first, readout, grad_output):
    """The gradient to the spikes of one step, from outside the population."""
    for b in range(total.shape[0]):
        if grad.size:
            step = t if grad.shape[0] > 1 else 0
            for n in range(total.shape[1]):
                total[b, n] = grad[step, first + b, n]
        else:
            for n in range(total.shape[1]):
                total[b, n] = 0
    if grad_output.size:
        step = t if grad_output.shape[0] > 1 else 0
        add_product(total, grad_output[step, first:first + total.shape[0]], readout)


@part
def _weights(sum_rows, row_t, pointers, indices, slot, dense, row):
    """``sum_rows += spikes^T g`` of one step: a row for each spike, or at high rates one product."""
    samples, size = row.shape
    begin, end = pointers[slot], pointers[slot + samples]
    if end - begin > dense * samples * size:
        for n in range(size):
            for b in range(samples):
                row_t[n, b] = 0
        for b in range(samples):
            for e in range(pointers[slot + b], pointers[slot + b + 1]):
                row_t[indices[e], b] = 1
        add_product(sum_rows, row_t, row)
    else:
        for b in range(samples):
            for e in range(pointers[slot + b], pointers[slot + b + 1]):
                for n in range(size):
                    sum_rows[indices[e], n] += row[b, n]


@part
def _products(weight_sum, inputs, t, steps, first, samples, slopes, inputs_t):
    """``weight_sum += inputs^T slopes`` of the steps that the ring holds, from t on."""
    channels, filled = weight_sum.shape[0], steps * samples
    turned = inputs_t[:channels * filled].reshape(channels, filled)
    for step in range(steps):
        for b in range(samples):
            for c in range(channels):
                turned[c, step * samples + b] = inputs[t + step, first + b, c]
    add_product(weight_sum, turned, slopes[:filled])


@part
def _classes(readout_sum, grad_output, pointers, indices, slot, wide):
    """``readout_sum += spikes^T grad_output`` of one step of a sample, `LANES` classes at a time."""
    for c in range(readout_sum.shape[1]):
        wide[c] = grad_output[c] if c < grad_output.size else 0
    for e in range(pointers[slot], pointers[slot + 1]):
        for c in range(0, readout_sum.shape[1], LANES):
            for k in range(LANES):
                readout_sum[indices[e], c + k] += wide[c + k]


@part
def _adaptations(adapted, initial, beta_adaptation, pointers, indices):
    """``adapted[t + 1]`` = a_t, again from the spikes."""
    one = adapted.dtype.type(1)
    samples, size = initial.shape
    for b in range(samples):
        for n in range(size):
            adapted[0, b, n] = initial[b, n]
    for t in range(adapted.shape[0] - 1):
        for b in range(samples):
            for n in range(size):
                adapted[t + 1, b, n] = beta_adaptation[n] * adapted[t, b, n]
            for e in range(pointers[t * samples + b], pointers[t * samples + b + 1]):
                adapted[t + 1, b, indices[e]] += one - beta_adaptation[indices[e]]


@gradient
def _backward_block(first, neurons, to_rows, rule, values, currents, synaptics, initial, inputs, weight_back,
                    grad_inputs, grad, readout, grad_output, mask, active, pointers, indices, counts, carry, sums,
                    weight_sum, readout_sum, adapted, total, outside, slopes, whole, spikes_t, inputs_t, limit, wide,
                    to_start):
    """Go back through the samples `first` to `first + carry.v.shape[0]`; see `backward_blocks`."""
    widest_vectors()
    rows, _, alpha, gain_syn, beta, gain, _, threshold, beta_adaptation, adaptation, v_reset = neurons
    zero, one = values.dtype.type(0), values.dtype.type(1)
    least = values.dtype.type(1e-30 if values.itemsize == 4 else 1e-290)  # what decays to denormal numbers gets slow
    slope, height = values.dtype.type(rule.slope), values.dtype.type(rule.height)
    samples, size = carry.v.shape
    times, rung = values.shape[0], whole if whole else samples
    ring = slopes.shape[0] // rung
    alike = grad_output.shape[0] == 1 and grad.shape[0] < 2  # from outside the same comes at every step
    adaptive = adaptation.size > 0
    spent_counts = adaptive or (rule.attached and (rule.reset == SUBTRACT or rule.reset == ZERO))
    plain = (rule.surrogate == TRIANGLE and alpha.size + sums.gain.size + sums.leak.size + sums.threshold.size
             + sums.beta.size + sums.adaptation.size + sums.beta_adaptation.size == 0)
    quick = plain and not rule.relative and not spent_counts and (rule.reset == SUBTRACT or rule.reset == NONE)
    quick_adaptive = plain and rule.relative and adaptive and rule.reset == SUBTRACT
    if adaptive:
        _adaptations(adapted, initial.adapted, beta_adaptation, pointers, indices)
    for t in range(times - 1, -1, -1):
        at = t % ring * rung + (first if whole else 0)
        block = slopes[at:at + samples]
        if not alike:
            _arriving(total, grad, t, first, readout, grad_output)
        elif t + 1 == times:
            _arriving(outside, grad, t, first, readout, grad_output)
        start = outside if alike else total
        whole_product = rows.size > 0 and t + 1 < times and active[t] > SPARSE * size
        at = (t + 1) % ring * rung + (first if whole else 0)
        if whole_product:
            set_product(total, start, slopes[at:at + samples], to_rows)
        elif alike:
            for b in range(samples):
                for n in range(size):
                    total[b, n] = outside[b, n]
        if rows.size and t + 1 < times and not whole_product:
            _sparse_products(total, rows, slopes[at:at + samples], mask[t])
        if readout_sum.size and grad_output.shape[0] > 1:
            for b in range(samples):
                _classes(readout_sum, grad_output[t, first + b], pointers, indices, (t + 1) * samples + b, wide)
        for b in range(samples):
            sample = first + b
            begin, end = pointers[t * samples + b], pointers[t * samples + b + 1]  # the spikes of the step before
            gv, row, g, now = carry.v[b], block[b], total[b], values[t, sample]
            if t > 0:
                ask_row(values, t - 1, sample)
            if quick or quick_adaptive:
                if quick:
                    lean(gv, row, g, now, threshold, mask[t], np.uint8(1 << b), slope, height, beta, gain, least)
                else:
                    lean_adaptive(gv, carry.adapted[b], carry.spent[b], row, g, now, threshold, adaptation,
                                  beta_adaptation, adapted[t + 1, b], mask[t], np.uint8(1 << b), slope, height, beta,
                                  gain, rule.attached, least, pointers, indices, t * samples + b)
                if sums.bias.size:
                    for n in range(size):
                        sums.bias[n] += row[n]
                continue
            before = values[t - 1, sample] if t > 0 else initial.v[b]
            if spent_counts:
                for n in range(size):
                    g[n] += carry.spent[b, n]
            if adaptive:
                for n in range(size):
                    limit[n] = threshold[n] + adaptation[n] * adapted[t + 1, b, n]
            reach = limit if adaptive else threshold
            if rule.reset == SUBTRACT_NOW:
                before_reset(row, now, g, gv, before, threshold, pointers, indices, (t + 1) * samples + b,
                              rule.attached, sums.threshold)
                now = row
            through_spike(g, gv, now, reach, mask[t], np.uint8(1 << b), rule.surrogate, slope, height, rule.relative)
            # g is now the gradient to the limit B
            if rule.reset == SUBTRACT:
                for e in range(begin, end):
                    g[indices[e]] -= gv[indices[e]]
            elif rule.reset == SUBTRACT_NOW:
                for n in range(size):
                    g[n] -= gv[n] if before[n] > threshold[n] else zero
            elif rule.reset == HOLD:
                for e in range(begin, end):
                    if sums.v_reset.size:
                        sums.v_reset[indices[e]] += gv[indices[e]]
                    gv[indices[e]] = 0
            if sums.threshold.size:
                for n in range(size):
                    sums.threshold[n] += g[n]
            if adaptive:
                ga, spent = carry.adapted[b], carry.spent[b]
                if sums.adaptation.size:
                    for n in range(size):
                        sums.adaptation[n] += g[n] * adapted[t + 1, b, n]
                if sums.beta_adaptation.size:
                    for n in range(size):
                        sums.beta_adaptation[n] += (ga[n] + adaptation[n] * g[n]) * adapted[t, b, n]
                    for e in range(begin, end):
                        i = indices[e]
                        sums.beta_adaptation[i] -= ga[i] + adaptation[i] * g[i]
                for n in range(size):
                    both = ga[n] + adaptation[n] * g[n]
                    spent[n] = (one - beta_adaptation[n]) * both
                    ga[n] = beta_adaptation[n] * both
            elif spent_counts:
                for n in range(size):
                    carry.spent[b, n] = 0
            if rule.attached and rule.reset == SUBTRACT:
                for n in range(size):
                    carry.spent[b, n] -= reach[n] * gv[n]
            elif rule.attached and rule.reset == ZERO:
                for n in range(size):
                    carry.spent[b, n] += beta[n] * (v_reset[n] - before[n]) * gv[n]
            if sums.beta.size:
                for n in range(size):
                    sums.beta[n] += gv[n] * before[n]
                if rule.reset == ZERO:
                    for e in range(begin, end):
                        sums.beta[indices[e]] += gv[indices[e]] * (v_reset[indices[e]] - before[indices[e]])
            if sums.leak.size:
                for n in range(size):
                    sums.leak[n] += gv[n]
            if alpha.size:
                gs = carry.synaptic[b]
                if sums.gain.size:
                    for n in range(size):
                        sums.gain[n] += gv[n] * synaptics[t, sample, n]
                for n in range(size):
                    gs[n] += gain[n] * gv[n]
                if sums.gain_syn.size:
                    for n in range(size):
                        sums.gain_syn[n] += gs[n] * currents[t, sample, n]
                if sums.alpha.size:
                    last = synaptics[t - 1, sample] if t > 0 else initial.synaptic[b]
                    for n in range(size):
                        sums.alpha[n] += gs[n] * last[n]
                for n in range(size):
                    row[n] = gain_syn[n] * gs[n]
                    gs[n] = alpha[n] * gs[n] if abs(gs[n]) > least else zero
                    gv[n] = beta[n] * gv[n] if abs(gv[n]) > least else zero
            else:
                if sums.gain.size:
                    for n in range(size):
                        sums.gain[n] += gv[n] * currents[t, sample, n]
                for n in range(size):
                    row[n] = gain[n] * gv[n]
                    gv[n] = beta[n] * gv[n] if abs(gv[n]) > least else zero
            if sums.bias.size:
                for n in range(size):
                    sums.bias[n] += row[n]
            if rule.reset == ZERO:
                for e in range(begin, end):
                    if sums.v_reset.size:
                        sums.v_reset[indices[e]] += gv[indices[e]]
                    gv[indices[e]] = 0
        if sums.rows.size:
            _weights(sums.rows, spikes_t, pointers, indices, t * samples, BUSY, block)
        if weight_sum.size and t % ring == 0:
            _products(weight_sum, inputs, t, min(ring, times - t), first, samples, slopes, inputs_t)
        if grad_inputs.size:
            target = grad_inputs[t, first:first + samples]
            for b in range(samples):
                for c in range(target.shape[1]):
                    target[b, c] = 0
            add_product(target, block, weight_back)
    if readout_sum.size and grad_output.shape[0] == 1:
        for b in range(samples):
            for n in range(size):
                for c in range(grad_output.shape[2]):
                    readout_sum[n, c] += counts[b, n] * grad_output[0, first + b, c]
    if to_start and rows.size:
        at = first if whole else 0
        add_product(carry.spent, slopes[at:at + samples], to_rows)


@part
def _fold(sums):
    """What a group has summed, the second of two, goes to the total, the first."""
    flat, half = sums.reshape(sums.size), sums.size // 2
    for k in range(half):
        flat[k] += flat[half + k]
        flat[half + k] = 0


@gradient
def backward_blocks(begin, end, edges, neurons, to_rows, rule, values, currents, synaptics, initial, inputs,
                    weight_back, grad_inputs, grad, readout, grad_output, masks, active, pointers, indices, counts,
                    carry, sums, weight_sum, readout_sum, adapted, total, outside, slopes, whole, spikes_t, inputs_t,
                    limit, wide, to_start):
    """Go back through the groups `begin` to `end - 1`, the blocks `edges[group]` to `edges[group + 1] - 1` each.

    values `[time, batch, neurons]`: the membranes. to_rows: rows transposed. grad: the gradient to the spikes, of the
    same shape, or of one step that stands for all, or of size 0. readout `[classes, neurons]` with grad_output `[time,
    batch, classes]`, of all steps or of one, or of size 0. initial: the state that the run started from; carry:
    gradients to the last state in, to the first one out (that to its spikes is whole with `to_start` only). sums:
    gradients of the parameters `[group, ...]`, or `[2, ...]`, the total and room for that of a group; weight_sum
    `[group, channels, neurons]` for inputs `[time, batch, channels]`, and readout_sum `[group, neurons, classes in
    whole LANES]` likewise: added to what is there, and those of size 0 are left out. slopes: gradients to the current,
    `[time * batch, neurons]` with whole = batch, or with whole 0 a ring of `STEPS` steps of a block. grad_inputs: as
    inputs, from weight_back `[neurons, channels]`, or of size 0.
    """
    (batch, size), slots = carry.v.shape, sums.rows.shape[0]
    for group in range(begin, end):
        g = min(group, slots - 1)
        own = Neurons(sums.rows[g], sums.bias[g], sums.alpha[g], sums.gain_syn[g], sums.beta[g], sums.gain[g],
                      sums.leak[g], sums.threshold[g], sums.beta_adaptation[g], sums.adaptation[g], sums.v_reset[g])
        for i in range(edges[group], edges[group + 1]):
            a, b = i * SAMPLES, min((i + 1) * SAMPLES, batch)
            _backward_block(
                a, neurons, to_rows, rule, values, currents, synaptics,
                State(initial.v[a:b], initial.synaptic[a:b], initial.adapted[a:b], initial.spent[a:b],
                      initial.resting[a:b]),
                inputs, weight_back, grad_inputs, grad, readout, grad_output, masks[i], active[i], pointers[i], indices,
                counts[a:b], Carry(carry.v[a:b], carry.synaptic[a:b], carry.adapted[a:b], carry.spent[a:b]), own,
                weight_sum[g], readout_sum[g], adapted, total[:b - a], outside[:b - a], slopes, whole,
                spikes_t[:size * (b - a)].reshape(size, b - a), inputs_t, limit, wide, to_start)
        if slots < edges.size - 1 and group > 0:
            _fold(sums.rows)
            _fold(sums.bias)
            _fold(sums.alpha)
            _fold(sums.gain_syn)
            _fold(sums.beta)
            _fold(sums.gain)
            _fold(sums.leak)
            _fold(sums.threshold)
            _fold(sums.beta_adaptation)
            _fold(sums.adaptation)
            _fold(sums.v_reset)
            _fold(weight_sum)
            _fold(readout_sum)
