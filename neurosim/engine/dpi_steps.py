"""One step of subthreshold neurons, in vector code: pulses and decay of synapses, membranes, what a spike does.

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

What is computed for a neuron never depends on those beside it. Divisions cost most here, so several share one where
their product cannot overflow.
"""

from __future__ import annotations

from neurosim.engine.compiling import kernel, scalar_part, widest_vectors
from neurosim.engine.maths import exp, exp_within, fma, log

#: rows of `cells`, the parameters of the membranes
RATE, LEAST, FLOOR, THRESHOLD, GAIN, GATE, SLOPE, MIDDLE, RESET, REFRACTORY, BIAS, ADAPT_ENTER, ADAPT_DECAY, \
    ADAPT_FLOOR, ADAPT_MEAN, ADAPT_OFFSET, ADAPT_GROWTH, ADAPT_RATE, ADAPT_LEAK, CELL_ROWS = range(20)
#: rows of `synapses[type]`: leak within half the pulse; decay from there to the end of the step; least current;
#: weight of the mean over the step: ``mean y - offset`` for y at its end; leak within the pulse, in time constants
ENTER, DECAY, Y_FLOOR, MEAN, OFFSET, PULSE_LEAK, SYNAPSE_ROWS = range(7)
#: rows of the state of the membranes: what a sub-step reads and writes; the later ones are `whole`'s own
V, LEFT, LIMIT, REST, DRIVE, LEAK, GATED, CROSSED, F, F_SLOPE, REACHED, SHARE, STATE_ROWS = range(13)
_SHORTEST = 1 / 8192  # of a step: a sub-step that short is taken as it is
_ALLOWED = 0.02  # error estimate of a sub-step, in v; v itself moves by about 1 at most


@kernel
def pulse(y, growth, leak, g):
    """Synapses y = I / Ig after a pulse, between the two halves of the leak (each ``y e^(-leak / 2)``, not done here).

    growth = Iw t kappa / (C UT), leak = t / tau. Without leak ``y' + ln y' = y + ln y + growth``, and ``g = ln(y'/y)``
    solves ``g + y (e^g - 1) = growth``: three steps of Halley's method from the smaller of two upper bounds, the growth
    where I << Ig and the linear filter where I >> Ig. The third moves g by less than 2e-3, and they end within 1e-11,
    for growth up to 3000 and y from 1e-7 to 1e4.
    With leak, y + ln y loses leak (1 + <y>); the two halves lose it with the mean of y and y' instead of
    ``<y> = (y' - y) (1 + (y + y') / 2) / growth``. The last loop mends that to first order in the leak.
    g `[n]` is to work in. Loops this short let the processor work at several vectors at once.
    """
    widest_vectors()
    real = y.dtype.type
    half, third, one, zero, least = real(0.5), real(1 / 3), real(1), real(0), real(1e-3)
    for n in range(y.size):
        g[n] = min(growth[n], log(one + growth[n] / y[n]))
    for _ in range(2):
        for n in range(y.size):
            e = y[n] * exp_within(g[n])
            slope = one + e
            off = (g[n] - growth[n]) + (e - y[n])
            g[n] -= off * slope / fma(slope, slope, -half * off * e)
    for n in range(y.size):
        e = y[n] * exp_within(g[n])
        slope = one + e
        off = (g[n] - growth[n]) + (e - y[n])
        d = -off * slope / fma(slope, slope, -half * off * e)
        end = fma(e, d * fma(d, half * fma(d, third, one), one), e)
        middle, grown = half * (y[n] + end), max(growth[n], least)
        off = leak[n] * fma(end - y[n], one + middle, -middle * grown) / (grown * (one + end))
        off = off if growth[n] > least else zero
        y[n] = end * fma(-off, fma(-half, off, one), one)


@scalar_part
def _flow(v, drive, gated, leak, rate, least, gate, gain, slope, middle, power, sigmoid, gating, real):
    """``f = dv/dt`` and df/dv at v, which lies within +-87, or what comes of it is not used."""
    one, x, feedback = real(1), exp_within(v), gain * exp_within(power * v)
    share = one / (one + x)
    a, a_slope = drive, real(0)
    if gating:
        through = x / (x + gate)
        a += gated * through
        a_slope = gated * through * (one - through) if a > least else a_slope
    a = max(a, least)
    feedback_slope = power * feedback
    if sigmoid:
        on = one / (one + exp(slope * (middle - x)))
        feedback_slope = on * (feedback_slope + feedback * (one - on) * slope * x)
        feedback *= on
    f = rate * (fma(a, share, feedback) - leak)
    return f, rate * fma(fma(-a * x, share, a_slope), share, feedback_slope)


@scalar_part
def _growths(z, real):
    """``phi_1(z) = (e^z - 1) / z`` for z <= 1, from the Pade approximant (2, 3) of e^z: 3e-4 at 1, 4e-5 at -1; and
    ``2 phi_3(z)`` as 1/3 over ``1 - z / 4``."""
    one, z = real(1), max(z, real(-1e8))
    above = fma(-z, fma(-z, real(1 / 60), real(1 / 10)), one)
    below = fma(-z, fma(-z, fma(-z, real(1 / 60), real(3 / 20)), real(3 / 5)), one)
    last = fma(-z, real(1 / 4), one)
    share = one / (below * last)
    return above * last * share, real(1 / 3) * below * share


@kernel
def whole(state, cells, begin, end, power, sigmoid, gating):
    """The rest of the step at once, for the neurons where that is good; the others stay as they are."""
    widest_vectors()
    v, left, drive = state[V, begin:end], state[LEFT, begin:end], state[DRIVE, begin:end]
    gated, leak = state[GATED, begin:end], state[LEAK, begin:end]
    fs, slopes = state[F, begin:end], state[F_SLOPE, begin:end]
    reached, shares = state[REACHED, begin:end], state[SHARE, begin:end]
    rate, least = cells[RATE, begin:end], cells[LEAST, begin:end]
    floor, threshold = cells[FLOOR, begin:end], cells[THRESHOLD, begin:end]
    gate, gain = cells[GATE, begin:end], cells[GAIN, begin:end]
    slope, middle = cells[SLOPE, begin:end], cells[MIDDLE, begin:end]
    real = v.dtype.type
    zero, one, allowed = real(0), real(1), real(_ALLOWED)
    for n in range(v.size):
        f, slope_f = _flow(v[n], drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                           power, sigmoid, gating, real)
        growth, share = _growths(left[n] * slope_f, real)
        fs[n] = f
        slopes[n] = slope_f
        reached[n] = v[n] + left[n] * f * growth
        shares[n] = share
    for n in range(v.size):
        start, h, f, slope_f, end = v[n], left[n], fs[n], slopes[n], reached[n]
        f_end, _ = _flow(end, drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                         power, sigmoid, gating, real)
        more = h * fma(-slope_f, end - start, f_end - f) * shares[n]
        end = max(end + more, floor[n])
        good = (h * abs(f) <= one) & (h * slope_f <= one) & (abs(more) <= allowed) & (end <= threshold[n])
        stays = (start <= floor[n]) & (f <= zero)
        v[n] = end if good else start
        left[n] = zero if good | stays else h


@kernel
def advance(state, cells, count, power, sigmoid, gating):
    """One sub-step of the first `count` membranes; nothing moves where no time is left.

    ``v_1 = v + h phi_1(h J) f + h 2 phi_3(h J) r`` with J = df/dv, and r what J did not foresee of f. The last term is
    the error estimate of what stands before it.
    """
    widest_vectors()
    v, left, limit, crossed = state[V], state[LEFT], state[LIMIT], state[CROSSED]
    drive, gated, leak = state[DRIVE], state[GATED], state[LEAK]
    rate, least, floor, threshold = cells[RATE], cells[LEAST], cells[FLOOR], cells[THRESHOLD]
    gate, gain, slope, middle = cells[GATE], cells[GAIN], cells[SLOPE], cells[MIDDLE]
    real = v.dtype.type
    zero, half, one, two, three, none = real(0), real(0.5), real(1), real(2), real(3), real(-1)
    allowed, tiny, shortest = real(_ALLOWED), real(1e-15), real(_SHORTEST)
    for n in range(count):
        f, slope_f = _flow(v[n], drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                           power, sigmoid, gating, real)
        h = min(min(left[n], limit[n]), one / max(max(abs(f), slope_f), tiny))
        growth, share = _growths(h * slope_f, real)
        start, remaining, end = v[n], left[n], v[n] + h * f * growth
        f_end, _ = _flow(end, drive[n], gated[n], leak[n], rate[n], least[n], gate[n], gain[n], slope[n], middle[n],
                         power, sigmoid, gating, real)
        more = h * fma(-slope_f, end - start, f_end - f) * share
        good = (abs(more) <= allowed) | (h <= shortest)
        end = max(end + more, floor[n])
        f_end = fma(slope_f, more, f_end)
        # the cubic t(v) through both ends, with slopes 1/f
        over = good & (end > threshold[n])
        span = max(end - start, tiny)
        s = (threshold[n] - start) / span
        r = one - s
        both = max(f, tiny) * max(f_end, tiny)
        at = span * s * r * fma(r, f_end, -s * f) / both + h * s * s * fma(-two, s, three)
        at = h * s if (f <= zero) | (f_end <= zero) else at
        at = min(max(at, zero), h)
        stays = (start <= floor[n]) & (f <= zero)
        crossed[n] = remaining - at if over else none
        v[n] = end if good else start
        limit[n] = remaining if good else h * half
        after = remaining - h if good else remaining
        left[n] = zero if stays else after


@kernel
def wait(state, begin, end):
    """A step begins: neurons in their refractory period sit it out."""
    left, rest = state[LEFT, begin:end], state[REST, begin:end]
    zero, one = left.dtype.type(0), left.dtype.type(1)
    for n in range(left.size):
        waits = rest[n]
        left[n] = max(one - waits, zero)
        rest[n] = max(waits - one, zero)


@kernel
def synapse_step(y, growth, g, synapse, begin, end, pulsed, linear, to):
    """The pulses that begin with the step, where there are any (the familiar jump if `linear`); decay to its end; the
    mean over the step is added to what the synapse drives."""
    widest_vectors()
    enter, decay, floor = synapse[ENTER, begin:end], synapse[DECAY, begin:end], synapse[Y_FLOOR, begin:end]
    mean, offset = synapse[MEAN, begin:end], synapse[OFFSET, begin:end]
    for n in range(y.size):
        y[n] *= enter[n]
    if pulsed and linear:
        for n in range(y.size):
            y[n] += growth[n]
    elif pulsed:
        pulse(y, growth, synapse[PULSE_LEAK, begin:end], g)
    for n in range(y.size):
        y[n] = max(y[n] * decay[n], floor[n])
        to[n] += fma(mean[n], y[n], -offset[n])


@kernel
def adaptation_step(y, cells, begin, end, to):
    """The same for the adaptation, whose pulses came with the spikes."""
    widest_vectors()
    decay, floor = cells[ADAPT_DECAY, begin:end], cells[ADAPT_FLOOR, begin:end]
    mean, offset = cells[ADAPT_MEAN, begin:end], cells[ADAPT_OFFSET, begin:end]
    for n in range(y.size):
        y[n] = max(y[n] * decay[n], floor[n])
        to[n] += fma(mean[n], y[n], -offset[n])
