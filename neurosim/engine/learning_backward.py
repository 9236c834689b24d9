"""Populations that learn, backward: one block of samples from the last time step to the first.

The equations of `learning_forward`, differentiated by hand; g_x is the gradient of the loss to x:

    ``g_s_t = out_t + rows g_I_{t+1} + (1 - beta_a) g_a_{t+1} + resets``;  ``g_u_t = g_s_t h(u_t)``
    ``g_v_t = beta g_v_{t+1} + g_u_t du/dv``;  ``g_a_t = beta_a g_a_{t+1} + adaptation g_B_t``
    ``g_i_t = alpha g_i_{t+1} + gain g_v_t``;  ``g_I_t = gain_syn g_i_t``

with h the surrogate. Only where h is not zero does a neuron need its row of the recurrent product, which costs more
than all the rest; the gradient of the rows grows by one row for every spike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurosim.engine.compiling import gradient, part, widest_vectors
from neurosim.engine.learning_forward import FAST_SIGMOID, TRIANGLE
from neurosim.engine.neurons import HOLD, SUBTRACT, ZERO


class Carry(NamedTuple):
    """Gradients that go from step to step, `[batch, neurons]` each: to membrane, synaptic current and adaptation of the
    step before, and to its spikes."""

    v: np.ndarray
    synaptic: np.ndarray
    adapted: np.ndarray
    spent: np.ndarray


@part
def _products(recurrent, rows, after, mask, samples):
    """``recurrent[b, i] = rows[i] . after[b]`` where the bit b of `mask[i]` is set; the other entries are anything."""
    zero = rows.dtype.type(0)
    for i in range(mask.size):
        left = mask[i]
        if left == 0:
            continue
        many = 0
        while left:
            left &= left - np.uint8(1)
            many += 1
        row = rows[i]
        if many > 4 and samples == 8:
            s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
            for j in range(row.size):
                w = row[j]
                s0 += w * after[0, j]
                s1 += w * after[1, j]
                s2 += w * after[2, j]
                s3 += w * after[3, j]
                s4 += w * after[4, j]
                s5 += w * after[5, j]
                s6 += w * after[6, j]
                s7 += w * after[7, j]
            recurrent[0, i], recurrent[1, i], recurrent[2, i], recurrent[3, i] = s0, s1, s2, s3
            recurrent[4, i], recurrent[5, i], recurrent[6, i], recurrent[7, i] = s4, s5, s6, s7
        else:
            for b in range(samples):
                if (mask[i] >> b) & 1:
                    total = zero
                    for j in range(row.size):
                        total += row[j] * after[b, j]
                    recurrent[b, i] = total


@part
def _through_spike(total, shifted, mask, bit, kind, slope, height, half_pi):
    """``total = total h(shifted)``, where the neuron can fire at all."""
    zero, one = total.dtype.type(0), total.dtype.type(1)
    if kind == TRIANGLE:
        for n in range(total.size):
            h = one - slope * abs(shifted[n])
            total[n] *= height * h if (h > zero) & (mask[n] & bit != 0) else zero
    elif kind == FAST_SIGMOID:
        for n in range(total.size):
            x = one + slope * abs(shifted[n])
            total[n] *= height / (x * x) if mask[n] & bit != 0 else zero
    else:
        for n in range(total.size):
            x = half_pi * slope * shifted[n]
            total[n] *= height / (one + x * x) if mask[n] & bit != 0 else zero


@part
def _arriving(total, grad, t, sample, readout, grad_output):
    """The gradient to the spikes of one step, from outside the population."""
    if grad.size:
        step = t if grad.shape[0] > 1 else 0
        for n in range(total.size):
            total[n] = grad[step, sample, n]
    else:
        for n in range(total.size):
            total[n] = 0
    if grad_output.size:
        for c in range(readout.shape[0]):
            weight = grad_output[t, sample, c]
            for n in range(total.size):
                total[n] += weight * readout[c, n]


@part
def _adaptations(adapted, initial, beta_adaptation, pointers, indices):
    """``adapted[t + 1]`` = a_t, again from the spikes."""
    one = adapted.dtype.type(1)
    times, samples, size = adapted.shape
    for b in range(samples):
        for n in range(size):
            adapted[0, b, n] = initial[b, n]
    for t in range(times - 1):
        for b in range(samples):
            for n in range(size):
                adapted[t + 1, b, n] = beta_adaptation[n] * adapted[t, b, n]
            for e in range(pointers[t * samples + b], pointers[t * samples + b + 1]):
                adapted[t + 1, b, indices[e]] += one - beta_adaptation[indices[e]]


@gradient
def backward_block(first, neurons, rule, values, currents, synaptics, initial, grad, readout, grad_output, mask,
                   pointers, indices, carry, sums, readout_sum, recurrent, adapted, total, shifted, limit):
    """Go back through the samples `first` to `first + carry.v.shape[0]`.

    values `[time, batch, neurons]`: the membranes; each step leaves the gradient to the current behind. grad: that
    of the spikes, of the same shape, or of one step that stands for all, or of size 0. readout `[classes, neurons]`
    with grad_output `[time, batch, classes]`, or of size 0. initial: the state that the block started from; carry:
    gradients to the last state in, to the first one out (without the recurrent product of its spikes). sums: gradients
    of the parameters, and readout_sum `[neurons, classes]`, added to what is there; those of size 0 are left out.
    """
    widest_vectors()
    rows, _, alpha, gain_syn, beta, gain, _, threshold, beta_adaptation, adaptation, v_reset = neurons
    one = values.dtype.type(1)
    slope, height = values.dtype.type(rule.slope), values.dtype.type(rule.height)
    half_pi = values.dtype.type(np.pi / 2)
    samples, size = carry.v.shape
    times = values.shape[0]
    adaptive = adaptation.size > 0
    spent_counts = adaptive or (rule.attached and (rule.reset == SUBTRACT or rule.reset == ZERO))
    if adaptive:
        _adaptations(adapted, initial.adapted, beta_adaptation, pointers, indices)
    for t in range(times - 1, -1, -1):
        again = rows.size > 0 and t + 1 < times
        if again:
            _products(recurrent, rows, values[t + 1, first:first + samples], mask[t], samples)
        for b in range(samples):
            sample = first + b
            begin, end = pointers[t * samples + b], pointers[t * samples + b + 1]  # the spikes of the step before
            gv, row = carry.v[b], values[t, sample]
            before = values[t - 1, sample] if t > 0 else initial.v[b]
            _arriving(total, grad, t, sample, readout, grad_output)
            if readout_sum.size and grad_output.size:
                for e in range(pointers[(t + 1) * samples + b], pointers[(t + 1) * samples + b + 1]):
                    for c in range(readout_sum.shape[1]):
                        readout_sum[indices[e], c] += grad_output[t, sample, c]
            if again:
                for n in range(size):
                    total[n] += recurrent[b, n]
            if spent_counts:
                for n in range(size):
                    total[n] += carry.spent[b, n]
            if adaptive:
                for n in range(size):
                    limit[n] = threshold[n] + adaptation[n] * adapted[t + 1, b, n]
            else:
                for n in range(size):
                    limit[n] = threshold[n]
            if rule.relative:
                for n in range(size):
                    shifted[n] = (row[n] - limit[n]) / limit[n]
            else:
                for n in range(size):
                    shifted[n] = row[n] - limit[n]
            _through_spike(total, shifted, mask[t], np.uint8(1 << b), rule.surrogate, slope, height, half_pi)
            if rule.relative:  # u = v / B - 1
                for n in range(size):
                    gu = total[n] / limit[n]
                    gv[n] += gu
                    total[n] = -gu * (shifted[n] + one)
            else:
                for n in range(size):
                    gv[n] += total[n]
                    total[n] = -total[n]
            # total is now the gradient to the limit B
            if rule.reset == SUBTRACT:
                for e in range(begin, end):
                    total[indices[e]] -= gv[indices[e]]
            elif rule.reset == HOLD:
                for e in range(begin, end):
                    if sums.v_reset.size:
                        sums.v_reset[indices[e]] += gv[indices[e]]
                    gv[indices[e]] = 0
            if sums.threshold.size:
                for n in range(size):
                    sums.threshold[n] += total[n]
            if adaptive:
                ga, spent = carry.adapted[b], carry.spent[b]
                for n in range(size):
                    ga[n] += adaptation[n] * total[n]
                if sums.adaptation.size:
                    for n in range(size):
                        sums.adaptation[n] += total[n] * adapted[t + 1, b, n]
                if sums.beta_adaptation.size:
                    for n in range(size):
                        sums.beta_adaptation[n] += ga[n] * adapted[t, b, n]
                    for e in range(begin, end):
                        sums.beta_adaptation[indices[e]] -= ga[indices[e]]
                for n in range(size):
                    spent[n] = (one - beta_adaptation[n]) * ga[n]
                    ga[n] *= beta_adaptation[n]
            elif spent_counts:
                for n in range(size):
                    carry.spent[b, n] = 0
            if rule.attached and rule.reset == SUBTRACT:
                for n in range(size):
                    carry.spent[b, n] -= limit[n] * gv[n]
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
                for n in range(size):
                    gs[n] += gain[n] * gv[n]
                    row[n] = gain_syn[n] * gs[n]
                if sums.gain.size:
                    for n in range(size):
                        sums.gain[n] += gv[n] * synaptics[t, sample, n]
                if sums.gain_syn.size:
                    for n in range(size):
                        sums.gain_syn[n] += gs[n] * currents[t, sample, n]
                if sums.alpha.size:
                    last = synaptics[t - 1, sample] if t > 0 else initial.synaptic[b]
                    for n in range(size):
                        sums.alpha[n] += gs[n] * last[n]
                for n in range(size):
                    gs[n] *= alpha[n]
            else:
                if sums.gain.size:
                    for n in range(size):
                        sums.gain[n] += gv[n] * currents[t, sample, n]
                for n in range(size):
                    row[n] = gain[n] * gv[n]
            if sums.bias.size:
                for n in range(size):
                    sums.bias[n] += row[n]
            for n in range(size):
                gv[n] *= beta[n]
            if rule.reset == ZERO:
                for e in range(begin, end):
                    if sums.v_reset.size:
                        sums.v_reset[indices[e]] += gv[indices[e]]
                    gv[indices[e]] = 0
            if sums.rows.size:
                for e in range(begin, end):
                    for n in range(size):
                        sums.rows[indices[e], n] += row[n]
