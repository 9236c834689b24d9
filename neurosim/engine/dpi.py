"""Subthreshold neurons over all time steps: events in, events out; `dpi_steps` has the equations.

Populations run side by side: samples of a die, and dies. Their neurons stand in one row, a population after the other,
and try the step in vector code, as many as stay in the cache at a time. Those that need several sub-steps are gathered
from all populations and go on together: one population has few of them, too few to fill vectors and to have several
vectors under way. What a neuron does, bit for bit, does not depend on who stands beside it.
tests/reference holds the slow twin in numpy.
"""

from __future__ import annotations

import numpy as np

from neurosim.engine.arrays import aligned
from neurosim.engine.compiling import kernel
from neurosim.engine.dpi_steps import (
    ADAPT_ENTER,
    ADAPT_FLOOR,
    ADAPT_GROWTH,
    ADAPT_LEAK,
    ADAPT_RATE,
    BIAS,
    CELL_ROWS,
    CROSSED,
    DRIVE,
    F_SLOPE,
    FLOOR,
    GATE,
    GATED,
    LEAK,
    LEFT,
    LIMIT,
    REACHED,
    REFRACTORY,
    RESET,
    REST,
    SHARE,
    STATE_ROWS,
    SYNAPSE_ROWS,
    Y_FLOOR,
    F,
    V,
    adaptation_step,
    advance,
    pulse,
    synapse_step,
    wait,
    whole,
)
from neurosim.engine.events import add_rows
from neurosim.engine.marks import WORD, above, at_most
from neurosim.engine.maths import exp
from neurosim.engine.neurons import Spikes

_LANES = 16
TOGETHER = 2048  # neurons side by side, about
_AT_A_TIME = 256  # of them, for what is done to all


@kernel
def _begin(state, y, adapted, own_cells, own_synapses, cells, synapses, first, members, batches, width):
    """A group of populations: each gets the parameters of its die, and stands at rest."""
    one, zero = state.dtype.type(1), state.dtype.type(0)
    for m in range(members):
        die, at = (first + m) // batches, m * width
        for i in range(CELL_ROWS):
            for n in range(width):
                own_cells[i, at + n] = cells[die, i, n]
        for s in range(y.shape[0]):
            for i in range(SYNAPSE_ROWS):
                for n in range(width):
                    own_synapses[s, i, at + n] = synapses[die, s, i, n]
            for n in range(width):
                y[s, at + n] = synapses[die, s, Y_FLOOR, n]
        for n in range(width):
            state[V, at + n] = cells[die, FLOOR, n]
            state[REST, at + n] = zero
            state[LIMIT, at + n] = one
            adapted[at + n] = cells[die, ADAPT_FLOOR, n]


@kernel
def _simulate(pointers, indices, rows, recurrent, inputs_at, recurrent_at, targets, current, cells, synapses, linear,
              power, sigmoid, adapts, first, members, at_a_time, batches, times, y, growth, g, nothing, state, adapted,
              own_cells, own_synapses, packed, packed_cells, busy, places, hits, fired,
              out_pointers, out_indices, counts, trace):
    """The populations first, first + 1, ..., numbered by die and sample; their events are in the order of steps."""
    zero, width = nothing[0], cells.shape[2]
    gating = False
    for s in range(targets.size):
        gating |= targets[s] == GATED
    _begin(state, y, adapted, own_cells, own_synapses, cells, synapses, first, members, batches, width)
    out_pointers[0] = 0
    for t in range(times):
        for a in range(0, members, at_a_time):
            b = min(a + at_a_time, members)
            begin, end = a * width, b * width
            _currents(state, own_cells, current, begin, end, first + a, t, width)
            for s in range(targets.size):
                found = 0
                for m in range(a, b):
                    found += _deliver(growth[m * width:(m + 1) * width], nothing, pointers, indices, rows, recurrent,
                                      inputs_at[s], recurrent_at[s], first + m, batches, times, t, m, members,
                                      out_pointers, out_indices)
                synapse_step(y[s, begin:end], growth[begin:end], g[begin:end], own_synapses[s], begin, end, found > 0,
                             linear, state[targets[s], begin:end])
            if adapts:
                adaptation_step(adapted[begin:end], own_cells, begin, end, state[LEAK, begin:end])
            wait(state, begin, end)
            whole(state, own_cells, begin, end, power, sigmoid, gating)
        found = above(state[LEFT], members * width, zero, busy)
        if found:
            _finish(state, own_cells, busy, found, adapted, packed, packed_cells, places, hits, fired, growth, power,
                    sigmoid, gating, adapts)
        j = 0
        for m in range(members):
            step, die = t * members + m, (first + m) // batches
            at, end = out_pointers[step], (m + 1) * width
            while j < found and busy[j] < end:
                n = busy[j] - m * width
                often = fired[busy[j]]
                fired[busy[j]] = 0
                counts[die, n] += often
                out_indices[at] = n
                at += often > 0
                while often > 1:
                    out_indices[at] = n
                    at += 1
                    often -= 1
                j += 1
            out_pointers[step + 1] = at
        if trace.size:
            for m in range(members):
                now = trace[first + m, t]
                for n in range(width):
                    now[0, n] = state[V, m * width + n]
                    now[1, n] = state[REST, m * width + n]
                    now[2, n] = adapted[m * width + n]
                    for s in range(targets.size):
                        now[3 + s, n] = y[s, m * width + n]


@kernel
def _currents(state, cells, current, begin, end, first, t, width):
    drive, gated = state[DRIVE, begin:end], state[GATED, begin:end]
    leak, bias = state[LEAK, begin:end], cells[BIAS, begin:end]
    zero, one = drive.dtype.type(0), drive.dtype.type(1)
    for n in range(drive.size):
        drive[n] = bias[n]
        gated[n] = zero
        leak[n] = one
    if current.size:
        for m in range(drive.size // width):
            for n in range(width):
                drive[m * width + n] += current[first + m, t, n]


@kernel
def _deliver(growth, nothing, pointers, indices, rows, recurrent, input_at, recurrent_at, population, batches, times, t,
             m, members, out_pointers, out_indices):
    """What the events of a step add to the synapses of one type of a population; whether there are any."""
    die, source = population // batches, min(population // batches, pointers.shape[0] - 1)
    step, before = (population - die * batches) * times + t, (t - 1) * members + m
    found = 0
    if input_at >= 0 and pointers[source, step + 1] > pointers[source, step]:
        add_rows(growth, nothing, rows[die, input_at], pointers[source], indices, step)
        found = 1
    if recurrent_at >= 0 and t > 0 and out_pointers[before + 1] > out_pointers[before]:
        add_rows(growth, growth if found else nothing, recurrent[die, recurrent_at], out_pointers, out_indices, before)
        found = 1
    if not found:
        for n in range(growth.size):
            growth[n] = nothing[n]
    return found


@kernel
def _finish(state, cells, busy, found, adapted, packed, packed_cells, places, hits, fired, work, power, sigmoid, gating,
            adapts):
    """The neurons that need several sub-steps, side by side; who is done makes room for the last one."""
    real = packed.dtype.type
    zero, none = real(0), real(-0.5)
    carried, moved = (GATED + 1, RESET) if gating or sigmoid else (GATED, GATE)
    for j in range(found):
        places[j] = busy[j]
    for i in range(carried):
        for j in range(found):
            packed[i, j] = state[i, busy[j]]
    for i in range(moved):
        for j in range(found):
            packed_cells[i, j] = cells[i, busy[j]]
    active, left = found, packed[LEFT]
    while active > 0:
        whole_vectors = active + (-active) % _LANES
        for j in range(active, whole_vectors):
            left[j] = zero
        advance(packed, packed_cells, whole_vectors, power, sigmoid, gating)
        count = above(packed[CROSSED], active, none, hits)
        if count:
            _fire(packed, cells, state, adapted, fired, hits, places, count, work, adapts)
        count = at_most(left, active, zero, hits)
        while count > 0:  # the last first: what then stands last is not done
            count -= 1
            active -= 1
            j = hits[count]
            n = places[j]
            state[V, n] = packed[V, j]
            state[REST, n] = packed[REST, j]
            places[j] = places[active]
            for i in range(carried):
                packed[i, j] = packed[i, active]
            for i in range(moved):
                packed_cells[i, j] = packed_cells[i, active]


@kernel
def _fire(packed, cells, state, adapted, fired, hits, places, count, back, adapts):
    """Spikes of neurons that stand in columns `hits`, with packed[CROSSED] of the step left."""
    real = adapted.dtype.type
    one, zero = real(1), real(0)
    y, growth, leak, g = state[F, :count], state[F_SLOPE, :count], state[REACHED, :count], state[SHARE, :count]
    for i in range(count):
        to = hits[i]
        n = places[to]
        left = packed[CROSSED, to] - cells[REFRACTORY, n]
        packed[V, to] = cells[RESET, n]
        packed[LEFT, to] = max(left, zero)
        packed[REST, to] = max(-left, zero)
        packed[LIMIT, to] = one
        fired[n] += 1
        if adapts:
            # back from the end of the step to the spike, the pulse between two halves of its leak, and forth again
            back[i] = exp(packed[CROSSED, to] * cells[ADAPT_RATE, n]) * cells[ADAPT_ENTER, n]
            y[i], growth[i], leak[i] = adapted[n] * back[i], cells[ADAPT_GROWTH, n], cells[ADAPT_LEAK, n]
    if adapts:
        pulse(y, growth, leak, g)
        for i in range(count):
            n = places[hits[i]]
            if growth[i] > zero:
                adapted[n] = max(y[i] / back[i], cells[ADAPT_FLOOR, n])


@kernel
def _by_population(pointers, indices, members, sizes, out):
    """Events in the order of steps, sorted by population; sizes `[member, time]` gets how many each step has."""
    at = 0
    for m in range(members):
        for t in range(sizes.shape[1]):
            begin, end = pointers[t * members + m], pointers[t * members + m + 1]
            sizes[m, t] = end - begin
            for e in range(begin, end):
                out[at] = indices[e]
                at += 1


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
    (found,) = simulate_dies(pointers[None], indices, rows[None], recurrent[None], inputs_at, recurrent_at, targets,
                             current, cells[None], synapses[None], linear, power, sigmoid, adapts, batches, times, most,
                             trace)
    return found


def simulate_dies(pointers: np.ndarray, indices: np.ndarray, rows: np.ndarray, recurrent: np.ndarray,
                  inputs_at: np.ndarray, recurrent_at: np.ndarray, targets: np.ndarray, current: np.ndarray,
                  cells: np.ndarray, synapses: np.ndarray, linear: bool, power: float, sigmoid: bool, adapts: bool,
                  batches: int, times: int, most: int, trace: np.ndarray | None = None) -> list[Spikes]:
    """The same for many dies at once: rows, recurrent, cells and synapses have a die axis before all others.

    pointers `[1 or die, batch * time + 1]`: the events of all dies, or of each, in one `indices`; current and trace
    `[die * batch, ...]`.
    """
    dies, width, types = cells.shape[0], cells.shape[2], targets.size
    at_a_time, populations = max(1, _AT_A_TIME // width), dies * batches
    group = max(1, min(populations, TOGETHER // width))
    lanes = group * width + WORD + _LANES  # no power of 2: rows would share the same few places of the cache

    def room(*shape: int) -> np.ndarray:
        out = aligned(shape, cells.dtype)
        out.fill(0)
        return out

    rooms = (room(types, lanes), room(lanes), room(lanes), room(width), room(STATE_ROWS, lanes), room(lanes),
             room(CELL_ROWS, lanes), room(types, SYNAPSE_ROWS, lanes), room(STATE_ROWS, lanes), room(RESET, lanes))
    places = [np.zeros(lanes, np.uint32) for _ in range(3)]
    sizes, counts = np.empty((populations, times), np.int64), np.zeros((dies, width), np.int64)
    made = np.zeros(group * times + 1, np.int64), np.empty(group * times * width * most + 1, np.int32)
    events = []
    for first in range(0, populations, group):
        members = min(group, populations - first)
        _simulate(pointers, indices, rows, recurrent, inputs_at, recurrent_at, targets, current, cells, synapses,
                  linear, cells.dtype.type(power), sigmoid, adapts, first, members, at_a_time, batches, times, *rooms,
                  *places, np.zeros(lanes, np.int64), *made, counts, room(0, 0, 0, 0) if trace is None else trace)
        events.append(np.empty(made[0][members * times], np.int32))
        _by_population(*made, members, sizes[first:first + members], events[-1])
    joint, ends = np.concatenate(events), np.concatenate([[0], np.cumsum(sizes)])
    steps = batches * times
    own = [ends[die * steps:(die + 1) * steps + 1] for die in range(dies)]
    return [(at - at[0], joint[at[0]:at[-1]], count) for at, count in zip(own, counts, strict=True)]
