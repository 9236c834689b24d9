"""Subthreshold neurons that learn: the way back through `engine.dpi`.

Each step is taken as linear around what it did, in logarithms of currents, so that gradients are of order one:

* membrane ``v = ln(I / Ig)``: ``dv_1 = E dv_0 + phi df`` with E = e^z, phi = h phi_1(z), z = h df/dv, at most 1, and
  df the change of the slope with inputs and parameters, all in the middle between both ends of the step; the end is
  the threshold where the neuron fired, and h what is left of the step after its rest;
* spike ``ds/dv = 1 / (1 + steepness |u|)^2`` with ``u = ln(I / I_threshold)`` at the end of the step, or where it fired
  as far as the slope of the middle would have led; its reset lets nothing through;
* synapse ``w = ln y``: ``dw_1 = ((1 + y_0) dw_0 + dgrowth) / (1 + y_1)``, which is the derivative of the exact pulse;
  decay is a constant. At its floor a synapse forgets (dw_0 is lost), but a pulse that does not lift it still learns.
  The floor of the membrane is transparent, or a silent neuron would stay so.

tests/reference has the same in torch. Sums are over samples and steps, in their order.
"""

from __future__ import annotations

import numpy as np

from neurosim.engine.compiling import gradient, scalar_part, widest_vectors
from neurosim.engine.dpi_steps import (
    ADAPT_DECAY,
    ADAPT_FLOOR,
    ADAPT_GROWTH,
    ADAPT_MEAN,
    ADAPT_OFFSET,
    BIAS,
    DECAY,
    DRIVE,
    ENTER,
    FLOOR,
    GAIN,
    GATE,
    GATED,
    LEAST,
    MEAN,
    MIDDLE,
    OFFSET,
    RATE,
    REFRACTORY,
    RESET,
    SLOPE,
    THRESHOLD,
    Y_FLOOR,
)
from neurosim.engine.maths import exp

#: rows of the work space
_G_DRIVE, _G_GATED, _G_LEAK, _G_SPIKE, _LAMBDA, _NU, _DRIVE, _LEAK_IN, _GATED_IN, _BEFORE, _WORK_ROWS = range(11)
_TARGET_ROWS = np.array([_G_DRIVE, _G_LEAK, _G_GATED])  # in the order of DRIVE, LEAK, GATED, as those of _DRIVE


@scalar_part
def _grown(z, real):
    """``phi_1(z) = (e^z - 1) / z``, for z <= 1."""
    one = real(1)
    near = one + z * (real(1 / 2) + z * (real(1 / 6) + z * (real(1 / 24) + z * (real(1 / 120) + z * real(1 / 720)))))
    small = abs(z) < real(0.25)
    return near if small else (exp(z) - one) / (one if small else z)


@gradient
def _membrane(trace, before, cells, work, spikes, power, sigmoid, gating, steepness, first, sums):
    """The step of the membranes: from the gradients of its end and its spikes to those of its beginning and inputs."""
    widest_vectors()
    rate, least, threshold, gate = cells[RATE], cells[LEAST], cells[THRESHOLD], cells[GATE]
    gain, slope, middle, floor = cells[GAIN], cells[SLOPE], cells[MIDDLE], cells[FLOOR]
    real = rate.dtype.type
    zero, one, half, lowest = real(0), real(1), real(0.5), real(-30)
    for n in range(spikes.size):
        begin = floor[n] if first else before[0, n]
        waited = zero if first else before[1, n]
        fired = spikes[n] > zero
        end = threshold[n] if fired else trace[0, n]
        h = max(one - waited, zero)
        v = half * (begin + end)
        x = exp(v)
        share = one / (one + x)
        a, through, a_slope = work[_DRIVE, n], zero, zero
        if gating:
            through = x / (x + gate[n])
            a += work[_GATED_IN, n] * through
            a_slope = work[_GATED_IN, n] * through * (one - through)
        open_ = a > least[n]
        a_slope = a_slope if open_ else zero
        a = max(a, least[n])
        raw = exp(power * v)
        on, on_slope = one, zero
        if sigmoid:
            on = one / (one + exp(slope[n] * (middle[n] - x)))
            on_slope = on * (one - on)
        feedback = gain[n] * raw * on
        feedback_slope = power * feedback + gain[n] * raw * on_slope * slope[n] * x
        f = a * share + feedback - work[_LEAK_IN, n]
        steep = rate[n] * ((a_slope - a * x * share) * share + feedback_slope)
        z = min(max(h * steep, lowest), one)
        u = max(begin + h * rate[n] * f - threshold[n], zero) if fired else threshold[n] - trace[0, n]
        surrogate = one / ((one + steepness * u) * (one + steepness * u))
        from_spike = work[_G_SPIKE, n] * surrogate
        back = from_spike if fired else work[_LAMBDA, n] + from_spike
        sums[THRESHOLD, n] -= from_spike
        sums[RESET, n] += work[_LAMBDA, n] if fired else zero
        sums[REFRACTORY, n] -= back * rate[n] * f * exp(half * z) if (waited > zero) & (waited < one) else zero
        moved = back * h * _grown(z, real)
        work[_LAMBDA, n] = exp(z) * back
        pushed = moved * rate[n]
        into = pushed * share if open_ else zero
        sums[RATE, n] += moved * f
        sums[LEAST, n] += zero if open_ else pushed * share
        sums[GAIN, n] += pushed * raw * on
        if sigmoid:
            sums[SLOPE, n] += pushed * gain[n] * raw * on_slope * (x - middle[n])
            sums[MIDDLE, n] -= pushed * gain[n] * raw * on_slope * slope[n]
        if gating:
            sums[GATE, n] -= into * work[_GATED_IN, n] * x / ((x + gate[n]) * (x + gate[n]))
        sums[BIAS, n] += into
        work[_G_DRIVE, n] = into
        work[_G_GATED, n] = into * through
        work[_G_LEAK, n] = -pushed


@gradient
def _synapse(y, before, synapse, mu, to, linear, first, grown, sums):
    """The step of a synapse: `to` is the gradient of what it drives, grown gets that of the growth of its pulses."""
    widest_vectors()
    enter, decay, floor, mean = synapse[ENTER], synapse[DECAY], synapse[Y_FLOOR], synapse[MEAN]
    real = floor.dtype.type
    zero, one, nearly = real(0), real(1), real(1.00001)
    for n in range(y.size):
        old = (floor[n] if first else before[n]) * enter[n]
        new = y[n] / decay[n]
        back = mu[n] + to[n] * mean[n] * y[n]
        sums[MEAN, n] += to[n] * y[n]
        sums[OFFSET, n] -= to[n]
        share = one / new if linear else one / (one + new)
        carried = back * share * (old if linear else one + old)
        rests = y[n] <= floor[n] * nearly
        carried = zero if rests else carried
        grown[n] = back * share
        sums[Y_FLOOR, n] += back / floor[n] if rests else zero
        sums[DECAY, n] += zero if rests else back / decay[n]
        sums[ENTER, n] += carried / enter[n]
        mu[n] = carried


@gradient
def _adaptation(adapted, before, cells, spikes, work, first, sums):
    """The step of the adaptation, once the membrane's is done: its leak reaches the adaptation before the spike."""
    widest_vectors()
    decay, floor, mean = cells[ADAPT_DECAY], cells[ADAPT_FLOOR], cells[ADAPT_MEAN]
    real = floor.dtype.type
    zero, one, nearly = real(0), real(1), real(1.00001)
    for n in range(spikes.size):
        decayed = (floor[n] if first else before[n]) * decay[n]
        rests = decayed <= floor[n] * nearly
        pre = max(decayed, floor[n])
        fired = spikes[n] > zero
        nu, share = work[_NU, n], one / (one + adapted[n])
        sums[ADAPT_GROWTH, n] += nu * share * spikes[n]
        nu = nu * share * (one + pre) if fired else nu
        nu += work[_G_LEAK, n] * mean[n] * pre
        sums[ADAPT_MEAN, n] += work[_G_LEAK, n] * pre
        sums[ADAPT_OFFSET, n] -= work[_G_LEAK, n]
        sums[ADAPT_FLOOR, n] += nu / floor[n] if rests else zero
        sums[ADAPT_DECAY, n] += zero if rests else nu / decay[n]
        work[_NU, n] = zero if rests else nu


@gradient
def backward(trace, spikes, grad, current, recurrent, recurrent_at, targets, cells, synapses, linear, power, sigmoid,
             gating, adapts, steepness, target_rows, mu, work, grown, grad_current, cell_sums, synapse_sums):
    """Gradients of some samples, from `grad [batch, time, width]` of the spikes.

    trace `[batch, time, 3 + types, width]` is what `dpi.simulate` recorded, spikes `[batch, time, width]` how often
    each neuron fired. grown `[type, batch, time, width]` gets the gradients of the growths, grad_current those of the
    currents (or is of size 0), cell_sums and synapse_sums are added to. mu `[types, width]` and work are to work in.
    """
    widest_vectors()
    zero, one, tiny = cells.dtype.type(0), cells.dtype.type(1), cells.dtype.type(1e-30)
    width = cells.shape[1]
    for b in range(trace.shape[0]):
        for n in range(width):
            work[_LAMBDA, n] = zero
            work[_NU, n] = zero
        for s in range(mu.shape[0]):
            for n in range(width):
                mu[s, n] = zero
        for t in range(trace.shape[1] - 1, -1, -1):
            first = t == 0
            last = trace[b, t - 1 if t > 0 else 0]
            for n in range(width):
                work[_G_SPIKE, n] = grad[b, t, n]
            if t + 1 < trace.shape[1]:
                for s in range(targets.size):
                    if recurrent_at[s] >= 0:
                        _spread(recurrent[recurrent_at[s]], grown[s, b, t + 1], work[_G_SPIKE])
            for n in range(width):
                work[_DRIVE, n] = cells[BIAS, n]
                work[_GATED_IN, n] = zero
                work[_LEAK_IN, n] = one
            if current.size:
                for n in range(width):
                    work[_DRIVE, n] += current[b, t, n]
            for s in range(targets.size):
                into = work[_DRIVE + targets[s] - DRIVE]
                for n in range(width):
                    into[n] += synapses[s, MEAN, n] * trace[b, t, 3 + s, n] - synapses[s, OFFSET, n]
            if adapts:
                for n in range(width):
                    old = cells[ADAPT_FLOOR, n] if first else last[2, n]
                    old = max(old * cells[ADAPT_DECAY, n], cells[ADAPT_FLOOR, n])
                    work[_LEAK_IN, n] += cells[ADAPT_MEAN, n] * old - cells[ADAPT_OFFSET, n]
                    work[_G_SPIKE, n] += work[_NU, n] * cells[ADAPT_GROWTH, n] / (one + trace[b, t, 2, n])
            _membrane(trace[b, t], last, cells, work, spikes[b, t], power, sigmoid, gating, steepness, first, cell_sums)
            if adapts:
                _adaptation(trace[b, t, 2], last[2], cells, spikes[b, t], work, first, cell_sums)
            if grad_current.size:
                for n in range(width):
                    grad_current[b, t, n] = work[_G_DRIVE, n]
            for s in range(targets.size):
                _synapse(trace[b, t, 3 + s], last[3 + s], synapses[s], mu[s], work[target_rows[targets[s] - DRIVE]],
                         linear, first, grown[s, b, t], synapse_sums[s])
        for n in range(width):
            cell_sums[FLOOR, n] += work[_LAMBDA, n]
            cell_sums[ADAPT_FLOOR, n] += work[_NU, n] / max(cells[ADAPT_FLOOR, n], tiny)
        for s in range(targets.size):
            for n in range(width):
                synapse_sums[s, Y_FLOOR, n] += mu[s, n] / synapses[s, Y_FLOOR, n]


@gradient
def _spread(rows, grown, out):
    """``out += rows grown``: what the growths of the step after want of the spikes of this one."""
    for j in range(out.size):
        total = out[j]
        for n in range(grown.size):
            total += rows[j, n] * grown[n]
        out[j] = total


def gradients(trace: np.ndarray, spikes: np.ndarray, grad: np.ndarray, current: np.ndarray, recurrent: np.ndarray,
              recurrent_at: np.ndarray, targets: np.ndarray, cells: np.ndarray, synapses: np.ndarray, linear: bool,
              power: float, sigmoid: bool, adapts: bool, steepness: float
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of growths `[type, batch, time, width]`, currents, cells and synapses; see `backward`."""
    batch, time, _, width = trace.shape
    types, dtype = targets.size, cells.dtype
    grown = np.empty((types, batch, time, width), dtype)
    grad_current = np.empty_like(current)
    sums = np.zeros_like(cells), np.zeros_like(synapses)
    gating = bool((targets == GATED).any())
    backward(trace, spikes, grad, current, recurrent, recurrent_at, targets, cells, synapses, linear,
             dtype.type(power), sigmoid, gating, adapts, dtype.type(steepness), _TARGET_ROWS,
             np.empty((types, width), dtype), np.zeros((_WORK_ROWS, width), dtype), grown, grad_current, *sums)
    return grown, grad_current, *sums
