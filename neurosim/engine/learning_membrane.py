"""Populations that learn, backward, one step of a sample's membranes: through the spike, the reset and the decay.

Parts of `learning_backward`, whose equations these are; g_x is the gradient of the loss to x. Most populations need no
gradients of their decays and limits: for those there are loops that do it all at once.
"""

from __future__ import annotations

import numpy as np

from neurosim.engine.compiling import part
from neurosim.engine.learning_forward import FAST_SIGMOID, TRIANGLE


@part
def through_spike(total, gv, v, limit, mask, bit, kind, slope, height, relative):
    """From the gradient to the spikes to that of membranes, added to gv, and of limits, in the place of `total`."""
    zero, one, half_pi = v.dtype.type(0), v.dtype.type(1), v.dtype.type(np.pi / 2)
    if relative:  # u = v / B - 1
        for n in range(v.size):
            inverse = one / limit[n]
            x = slope * abs(v[n] * inverse - one)
            if kind == TRIANGLE:
                h = max(zero, one - x)
            elif kind == FAST_SIGMOID:
                h = one / ((one + x) * (one + x))
            else:
                h = one / (one + (half_pi * x) * (half_pi * x))
            g = total[n] * (height * inverse * h) if mask[n] & bit != 0 else zero
            gv[n] += g
            total[n] = -g * (v[n] * inverse)
    elif kind == TRIANGLE:
        for n in range(v.size):
            h = one - slope * abs(v[n] - limit[n])
            g = total[n] * (height * h) if (h > zero) & (mask[n] & bit != 0) else zero
            gv[n] += g
            total[n] = -g
    elif kind == FAST_SIGMOID:
        for n in range(v.size):
            x = one + slope * abs(v[n] - limit[n])
            g = total[n] * (height / (x * x)) if mask[n] & bit != 0 else zero
            gv[n] += g
            total[n] = -g
    else:
        for n in range(v.size):
            x = half_pi * slope * (v[n] - limit[n])
            g = total[n] * (height / (one + x * x)) if mask[n] & bit != 0 else zero
            gv[n] += g
            total[n] = -g


@part
def lean(gv, row, total, v, threshold, mask, bit, slope, height, beta, gain, least):
    """`through_spike` for the triangle, and one step back, of a membrane alone: what most populations have."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    for n in range(v.size):
        h = one - slope * abs(v[n] - threshold[n])
        g = gv[n] + (total[n] * (height * h) if (h > zero) & (mask[n] & bit != 0) else zero)
        row[n] = gain[n] * g
        gv[n] = beta[n] * g if abs(g) > least else zero


@part
def before_reset(compared, v, total, gv, before, threshold, pointers, indices, slot, attached, sum_threshold):
    """Back through ``v - (s - r) B``, a soft reset at once, to the membrane that was compared."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    for n in range(v.size):
        again = one if before[n] > threshold[n] else zero
        compared[n] = v[n] - again * threshold[n]
        if sum_threshold.size:
            sum_threshold[n] += again * gv[n]
        if attached:
            total[n] -= threshold[n] * gv[n]
    for e in range(pointers[slot], pointers[slot + 1]):
        compared[indices[e]] += threshold[indices[e]]
        if sum_threshold.size:
            sum_threshold[indices[e]] -= gv[indices[e]]


@part
def lean_adaptive(gv, ga, spent, row, total, v, threshold, adaptation, beta_adaptation, adapted, mask, bit, slope,
                  height, beta, gain, attached, least, pointers, indices, slot):
    """`lean` for an adaptive limit, a triangle of ``v / B - 1`` and a soft reset: what an LSNN has."""
    zero, one = v.dtype.type(0), v.dtype.type(1)
    held = one if attached else zero
    for n in range(v.size):
        limit = threshold[n] + adaptation[n] * adapted[n]
        inverse = one / limit
        at = v[n] * inverse
        h = one - slope * abs(at - one)
        g = (total[n] + spent[n]) * (height * inverse * h) if (h > zero) & (mask[n] & bit != 0) else zero
        both = ga[n] - adaptation[n] * (g * at)
        gv[n] += g
        ga[n] = beta_adaptation[n] * both
        spent[n] = (one - beta_adaptation[n]) * both - held * (limit * gv[n])
    for e in range(pointers[slot], pointers[slot + 1]):  # the reset took the limit away from who had fired
        i = indices[e]
        through = adaptation[i] * gv[i]
        ga[i] -= beta_adaptation[i] * through
        spent[i] -= (one - beta_adaptation[i]) * through
    for n in range(v.size):
        row[n] = gain[n] * gv[n]
        gv[n] = beta[n] * gv[n] if abs(gv[n]) > least else zero
