"""Subthreshold neurons over all time steps: membranes and synapses in normalised currents, events in, events out.

Times are in steps. A membrane is ``v = ln(I / Ig)`` and its currents are in units of its leak Itau:

    ``dv/dt = rate (a / (1 + x) + Ia(v) - leak)``,  x = e^v,  v >= floor,
    ``a = max(drive + gated x / (x + gate), least)``,  ``Ia = gain e^(power v) [/ (1 + e^(slope (middle - x)))]``

A synapse is ``y = I / Ig >= floor``. It decays exactly; the pulses that begin in a step begin together with the step
and add their currents (`pulse`). The membrane sees the mean of each synapse over the step.

Within a step a membrane takes as many sub-steps as it needs: each changes v by about 1 at most, and is a step of
the exponential Rosenbrock method of order three, exprb32 of Hochbruck, Ostermann and Schweitzer, SIAM J. Numer. Anal.
47, 786 (2009); where its embedded error estimate is too large, half the sub-step is tried again. The moment at which v
crosses the threshold comes from the cubic through both ends of the sub-step with their slopes, in t as a function of v;
the refractory period begins there, and the adaptation's pulse too.

All neurons try a whole step at once, in vector code; those that need more are gathered and go on together.
tests/reference holds the slow twin in numpy.
"""

from __future__ import annotations

import numpy as np

from neurosim.engine.arrays import aligned
from neurosim.engine.compiling import kernel, scalar_part, widest_vectors
from neurosim.engine.events import add_rows
from neurosim.engine.maths import exp, log
from neurosim.engine.neurons import Spikes

#: rows of `cells`, the parameters of the membranes
RATE, LEAST, FLOOR, THRESHOLD, GATE, GAIN, SLOPE, MIDDLE, RESET, REFRACTORY, BIAS, ADAPT_ENTER, ADAPT_DECAY, \
    ADAPT_FLOOR, ADAPT_MEAN, ADAPT_OFFSET, ADAPT_GROWTH, ADAPT_RATE, ADAPT_LEAK, CELL_ROWS = range(20)
#: rows of `synapses[type]`: leak within half the pulse; decay from there to the end of the step; least current;
#: weight of the mean over the step: ``mean y - offset`` for y at its end; leak within the pulse, in time constants
ENTER, DECAY, Y_FLOOR, MEAN, OFFSET, PULSE_LEAK, SYNAPSE_ROWS = range(7)
#: rows of the state of the membranes: what a sub-step reads and writes
V, LEFT, LIMIT, CROSSED, DRIVE, GATED, LEAK, REST, F, F_SLOPE, MOVED, STATE_ROWS = range(12)
_CARRIED = F  # the rows before this one go along with a neuron
_MOVED = RESET  # the rows of cells before this one are what sub-steps read
_LANES = 8
_MOST = 1.0  # what v moves in a sub-step, about
_ALLOWED = 0.02  # error estimate of a sub-step, in v
_SHORTEST = 1 / 8192  # of a step: a sub-step that short is taken as it is


@kernel
def pulse(y, growth, leak, g):
    """Synapses y = I / Ig after a pulse, between the two halves of the leak (each ``y e^(-leak / 2)``, not done here).

    growth = Iw t kappa / (C UT), leak = t / tau. Without leak ``y' + ln y' = y + ln y + growth``, and ``g = ln(y'/y)``
    solves ``g + y (e^g - 1) = growth``: three steps of Halley's method from the smaller of two upper bounds, the growth
    where I << Ig and the linear filter where I >> Ig. For growth up to 30 and y from 1e-6 to 1e3 they end within 1e-11.
    With leak, y + ln y loses leak (1 + <y>); the two halves lose it with the mean of y and y' instead of
    ``<y> = (y' - y) (1 + (y + y') / 2) / growth``. The last loop mends that to first order in the leak.
    g `[n]` is to work in. Loops this short let the processor work at several vectors at once.
    """
    widest_vectors()
    real = y.dtype.type
    half, one, zero, least = real(0.5), real(1), real(0), real(1e-3)
    for n in range(y.size):
        g[n] = min(growth[n], log(one + growth[n] / y[n]))
    for _ in range(3):
        for n in range(y.size):
            e = y[n] * exp(g[n])
            slope = one + e
            off = g[n] + (e - y[n]) - growth[n]
            g[n] = g[n] - off * slope / (slope * slope - half * off * e)
    for n in range(y.size):
        end = y[n] * exp(g[n])
        middle = half * (y[n] + end)
        off = leak[n] * ((end - y[n]) * (one + middle) / max(growth[n], least) - middle) / (one + end)
        off = off if growth[n] > least else zero
        y[n] = end * (one - off * (one - half * off))


@scalar_part
def _flow(v, drive, gated, leak, rate, least, gate, gain, slope, middle, power, sigmoid, gating, real):
    """``f = dv/dt`` and df/dv at v."""
    one, x = real(1), exp(v)
    share = one / (one + x)
    a, a_slope = drive, real(0)
    if gating:
        through = x / (x + gate)
        a += gated * through
        a_slope = gated * through * (one - through) if a > least else a_slope
    a = max(a, least)
    feedback = gain * exp(power * v)
    feedback_slope = power * feedback
    if sigmoid:
        on = one / (one + exp(slope * (middle - x)))
        feedback_slope = on * (feedback_slope + feedback * (one - on) * slope * x)
        feedback *= on
    f = rate * (a * share + feedback - leak)
    return f, rate * ((a_slope - a * x * share) * share + feedback_slope)


@scalar_part
def _phi(z, real):
    """``phi_1(z) = (e^z - 1) / z`` for z <= 1, from the Pade approximant (2, 3) of e^z: 3e-4 at 1, 4e-5 at -1."""
    one = real(1)
    above = one - z * (real(1 / 10) - z * real(1 / 60))
    return above / (one - z * (real(3 / 5) - z * (real(3 / 20) - z * real(1 / 60))))


@kernel
def _whole(state, cells, width, power, sigmoid, gating):
    """The rest of the step at once, for the neurons where that is good; the others stay as they are."""
    widest_vectors()
    v, left, drive, gated, leak = state[V], state[LEFT], state[DRIVE], state[GATED], state[LEAK]
    fs, slopes, moves = state[F], state[F_SLOPE], state[MOVED]
    rate, least, floor, threshold = cells[RATE], cells[LEAST], cells[FLOOR], cells[THRESHOLD]
    gate, gain, slope, middle = cells[GATE], cells[GAIN], cells[SLOPE], cells[MIDDLE]
    real = v.dtype.type
    zero, one, most, allowed = real(0), real(1), real(_MOST), real(_ALLOWED)
    third, quarter = real(1 / 3), real(1 / 4)
    for n in range(width):
        f, slope_f = _flow(v[n], drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                           power, sigmoid, gating, real)
        fs[n] = f
        slopes[n] = slope_f
        moves[n] = left[n] * f * _phi(left[n] * slope_f, real)
    for n in range(width):
        begin, h, f, slope_f, moved = v[n], left[n], fs[n], slopes[n], moves[n]
        reached = begin + moved
        f_end, _ = _flow(reached, drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                         power, sigmoid, gating, real)
        z = h * slope_f
        more = h * (f_end - f - slope_f * moved) * third / (one - quarter * z)
        end = max(reached + more, floor[n])
        good = (h * abs(f) <= most) & (z <= one) & (abs(more) <= allowed) & (end <= threshold[n])
        stays = (begin <= floor[n]) & (f <= zero)
        v[n] = end if good else begin
        left[n] = zero if good | stays else h


@kernel
def _advance(state, cells, count, power, sigmoid, gating):
    """One sub-step of the first `count` membranes.

    ``v_1 = v + h phi_1(h J) f + h 2 phi_3(h J) r`` with J = df/dv, and r what J did not foresee of f; ``2 phi_3`` as
    1/3 over ``1 - h J / 4``. The last term is the error estimate of what stands before it.
    """
    v, left, limit, crossed = state[V], state[LEFT], state[LIMIT], state[CROSSED]
    drive, gated, leak = state[DRIVE], state[GATED], state[LEAK]
    rate, least, floor, threshold = cells[RATE], cells[LEAST], cells[FLOOR], cells[THRESHOLD]
    gate, gain, slope, middle = cells[GATE], cells[GAIN], cells[SLOPE], cells[MIDDLE]
    real = v.dtype.type
    zero, one, two, three, none = real(0), real(1), real(2), real(3), real(-1)
    most, allowed, tiny = real(_MOST), real(_ALLOWED), real(1e-30)
    third, quarter, half, shortest = real(1 / 3), real(1 / 4), real(1 / 2), real(_SHORTEST)
    for n in range(count):
        begin, remaining = v[n], left[n]
        f, slope_f = _flow(begin, drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                           power, sigmoid, gating, real)
        h = min(min(remaining, limit[n]), min(most / max(abs(f), tiny), one / max(slope_f, tiny)))
        z = h * slope_f
        moved = h * f * _phi(z, real)
        reached = begin + moved
        f_end, _ = _flow(reached, drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                         power, sigmoid, gating, real)
        more = h * (f_end - f - slope_f * moved) * third / (one - quarter * z)
        good = (abs(more) <= allowed) | (h <= shortest)
        end = max(reached + more, floor[n])
        f_end = f_end + slope_f * more
        # the cubic t(v) through both ends, with slopes 1/f
        over = good & (end > threshold[n])
        span = max(end - begin, tiny)
        s = (threshold[n] - begin) / span
        r = one - s
        at = span * s * r * (r / max(f, tiny) - s / max(f_end, tiny)) + h * s * s * (three - two * s)
        at = h * s if (f <= zero) | (f_end <= zero) else at
        at = min(max(at, zero), h)
        stays = (begin <= floor[n]) & (f <= zero)
        crossed[n] = remaining - at if over else none
        v[n] = end if good else begin
        limit[n] = remaining if good else h * half
        after = remaining - h if good else remaining
        left[n] = zero if stays else after


@kernel
def _wait(state, count):
    """A step begins: neurons in their refractory period sit it out."""
    left, rest = state[LEFT], state[REST]
    zero, one = left.dtype.type(0), left.dtype.type(1)
    for n in range(count):
        waits = rest[n]
        left[n] = max(one - waits, zero)
        rest[n] = max(waits - one, zero)


@kernel
def _fire(state, cells, adapted, fired, n, to, one_y, one_growth, one_g):
    """A spike of neuron n, which stands in column `to` of the state, with state[CROSSED] of the step left."""
    real = adapted.dtype.type
    one, zero = real(1), real(0)
    left = state[CROSSED, to] - cells[REFRACTORY, n]
    state[V, to] = cells[RESET, n]
    state[LEFT, to] = max(left, zero)
    state[REST, to] = max(-left, zero)
    state[LIMIT, to] = one
    fired[n] += 1
    if cells[ADAPT_GROWTH, n] > zero:
        # back from the end of the step to the spike, the pulse between two halves of its leak, and forth again
        back = exp(state[CROSSED, to] * cells[ADAPT_RATE, n]) * cells[ADAPT_ENTER, n]
        one_y[0], one_growth[0] = adapted[n] * back, cells[ADAPT_GROWTH, n]
        pulse(one_y, one_growth, cells[ADAPT_LEAK, n:n + 1], one_g)
        adapted[n] = max(one_y[0] / back, cells[ADAPT_FLOOR, n])


@kernel
def _synapses(y, growth, g, synapse, pulsed, linear):
    """The pulses that begin with the step, where there are any (the familiar jump if `linear`); decay to its end."""
    widest_vectors()
    enter, decay, floor = synapse[ENTER], synapse[DECAY], synapse[Y_FLOOR]
    for n in range(y.size):
        y[n] *= enter[n]
    if pulsed and linear:
        for n in range(y.size):
            y[n] += growth[n]
    elif pulsed:
        pulse(y, growth, synapse[PULSE_LEAK], g)
    for n in range(y.size):
        y[n] = max(y[n] * decay[n], floor[n])


@kernel
def _simulate(pointers, indices, rows, recurrent, inputs_at, recurrent_at, targets, current, cells, synapses, linear,
              power, sigmoid, adapts, batches, times, y, growth, g, nothing, state, adapted, packed, packed_cells, busy,
              places, fired, out_pointers, out_indices, counts, trace):
    zero = nothing[0]
    width = cells.shape[1]
    gating = False
    for s in range(targets.size):
        gating |= targets[s] == GATED
    for b in range(batches):
        for n in range(width):
            state[V, n] = cells[FLOOR, n]
            state[REST, n] = zero
            adapted[n] = cells[ADAPT_FLOOR, n]
        for s in range(targets.size):
            for n in range(width):
                y[s, n] = synapses[s, Y_FLOOR, n]
        for t in range(times):
            step = b * times + t
            _currents(state, cells, current, b, t)
            for s in range(targets.size):
                found = 0
                if inputs_at[s] >= 0 and pointers[step + 1] > pointers[step]:
                    add_rows(growth, nothing, rows[inputs_at[s]], pointers, indices, step)
                    found = 1
                if recurrent_at[s] >= 0 and t > 0 and out_pointers[step] > out_pointers[step - 1]:
                    add_rows(growth, growth if found else nothing, recurrent[recurrent_at[s]], out_pointers,
                             out_indices, step - 1)
                    found = 1
                _synapses(y[s], growth, g, synapses[s], found > 0, linear)
                _give(state[targets[s]], y[s], synapses[s, MEAN], synapses[s, OFFSET])
            if adapts:
                for n in range(width):
                    adapted[n] = max(adapted[n] * cells[ADAPT_DECAY, n], cells[ADAPT_FLOOR, n])
                _give(state[LEAK], adapted, cells[ADAPT_MEAN], cells[ADAPT_OFFSET])
            _wait(state, width)
            _whole(state, cells, width, power, sigmoid, gating)
            found = 0
            for n in range(width):
                busy[found] = n
                found += state[LEFT, n] > zero
            out_pointers[step + 1] = out_pointers[step]
            if found:
                _finish(state, cells, busy, found, adapted, packed, packed_cells, places, fired, growth, g, power,
                        sigmoid, gating)
                at = out_pointers[step]
                for j in range(found):
                    n = busy[j]
                    counts[n] += fired[n]
                    while fired[n]:
                        out_indices[at] = n
                        at += 1
                        fired[n] -= 1
                out_pointers[step + 1] = at
            if trace.size:
                for n in range(width):
                    trace[b, t, 0, n] = state[V, n]
                    trace[b, t, 1, n] = state[REST, n]
                    trace[b, t, 2, n] = adapted[n]
                for s in range(targets.size):
                    for n in range(width):
                        trace[b, t, 3 + s, n] = y[s, n]


@kernel
def _currents(state, cells, current, b, t):
    drive, gated, leak, bias = state[DRIVE], state[GATED], state[LEAK], cells[BIAS]
    zero, one = drive.dtype.type(0), drive.dtype.type(1)
    for n in range(drive.size):
        drive[n] = bias[n]
        gated[n] = zero
        leak[n] = one
    if current.size:
        for n in range(drive.size):
            drive[n] += current[b, t, n]


@kernel
def _give(to, y, mean, offset):
    """The mean of a synapse over the step, added to what it drives."""
    for n in range(y.size):
        to[n] += mean[n] * y[n] - offset[n]


@kernel
def _finish(state, cells, busy, found, adapted, packed, packed_cells, places, fired, growth, g, power, sigmoid, gating):
    """The neurons that need several sub-steps, side by side; who is done makes room for the last one."""
    zero, one = packed.dtype.type(0), packed.dtype.type(1)
    for j in range(found):
        places[j] = busy[j]
    for i in range(_CARRIED):
        for j in range(found):
            packed[i, j] = state[i, busy[j]]
    for i in range(_MOVED):
        for j in range(found):
            packed_cells[i, j] = cells[i, busy[j]]
    for j in range(found):
        packed[LIMIT, j] = one
    active = found
    while active > 0:
        whole = active + (-active) % _LANES
        for j in range(active, whole):
            packed[LEFT, j] = zero
        _advance(packed, packed_cells, whole, power, sigmoid, gating)
        j = 0
        while j < active:
            n = places[j]
            if packed[CROSSED, j] >= zero:
                _fire(packed, cells, adapted, fired, n, j, growth[:1], g[:1], state[MOVED, :1])
            if packed[LEFT, j] > zero:
                j += 1
                continue
            state[V, n] = packed[V, j]
            state[REST, n] = packed[REST, j]
            active -= 1
            places[j] = places[active]
            for i in range(_CARRIED):
                packed[i, j] = packed[i, active]
            for i in range(_MOVED):
                packed_cells[i, j] = packed_cells[i, active]


def simulate(pointers: np.ndarray, indices: np.ndarray, rows: np.ndarray, recurrent: np.ndarray,
             inputs_at: np.ndarray, recurrent_at: np.ndarray, targets: np.ndarray, current: np.ndarray,
             cells: np.ndarray, synapses: np.ndarray, linear: bool, power: float, sigmoid: bool, adapts: bool,
             batches: int, times: int, most: int, trace: np.ndarray | None = None) -> Spikes:
    """Run a population; returns its events (pointers, indices) and how often each neuron fired.

    rows `[kind, inputs, width]` and recurrent `[kind, width, width]` hold growths of pulses (`pulse`; jumps in y where
    `linear`); inputs_at, recurrent_at, targets `[type]`: which kind a synapse type takes, or -1, and the row of the
    state that it drives. current `[batch, time, width]` or of size 0, in units of Itau. cells `[CELL_ROWS, width]`,
    synapses `[type, SYNAPSE_ROWS, width]`; width is a whole number of vectors. most: how often a neuron can fire in a
    step. trace `[batch, time, 3 + types, width]` gets the end of each step: v, steps still to rest, AHP, synapses.
    """
    width, types = cells.shape[1], targets.size

    def room(*shape: int) -> np.ndarray:
        out = aligned(shape, cells.dtype)
        out.fill(0)
        return out

    places = [np.zeros(width + 1, np.int64) for _ in range(3)]
    events = (np.zeros(batches * times + 1, np.int64), np.empty(batches * times * width * most, np.int32),
              np.zeros(width, np.int64))
    _simulate(pointers, indices, rows, recurrent, inputs_at, recurrent_at, targets, current, cells, synapses, linear,
              cells.dtype.type(power), sigmoid, adapts, batches, times, room(types, width), room(width), room(width),
              room(width), room(STATE_ROWS, width), room(width), room(STATE_ROWS, width), room(_MOVED, width), *places,
              *events, room(0, 0, 0, 0) if trace is None else trace)
    return events[0], events[1][:events[0][-1]], events[2]
