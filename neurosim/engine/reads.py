"""Reading crossbar tiles: sums of currents, read noise, converters; tile by tile, added up as digital numbers.

A weight matrix lies on tiles. Tile t holds the inputs from `bounds[t]` to `bounds[t + 1]`; what lies side by side
over the outputs needs no cut here, as each output has converters of its own. For one vector of inputs x

    ``I_t = x rows``,  ``I_t += sqrt(x^2 variance) n``,  ``y = sum_t worth_t code(I_t) + offset_t sum(x)``

over the rows of tile t, with n standard normal: the sum of independent Gaussian currents is Gaussian, so one number
per output has the exact distribution of one per device. The code is a whole number (`convert`); without converters
it is I_t itself. Where no input is active nothing is read, and y is 0: no converter adds its offset or its noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from neurosim.engine.arrays import aligned
from neurosim.engine.compiling import kernel, widest_vectors
from neurosim.engine.panels import ROWS, set_part

_AT_ONCE = 1 << 16  # sums that are to stay in the second-level cache
EXACT, UNIFORM, SAR, RAMP, PIPELINE = range(5)
Currents = Callable[[int, np.ndarray], np.ndarray]
CONVERTERS = {"uniform": UNIFORM, "sar": SAR, "ramp": RAMP, "pipeline": PIPELINE}


class Tiles(NamedTuple):
    """A matrix on its tiles as the kernels read it; w outputs, padded to whole vectors; floats of one dtype.

    rows `[inputs, w]`: effective conductances in any unit. variance `[inputs, w]`: of one read of them, size 0 where
    the devices have none; floor `[tiles, w]`: of a sum without inputs, size 0 where reads have no noise at all. bounds
    int64 `[tiles + 1]`. worth `[tiles, w]`: weight per code (per unit without converters). offset `[tiles, w]`:
    digital weight of an input, or size 0. gain `[tiles, w]`: codes per unit; shift `[tiles, w]`: offset in codes.
    table `[tiles, k, w]`: what is particular to each converter, by kind. codes int64 `[3]`: kind, lowest and highest
    code. half: what is added before rounding down, 1/2 or 0. combined `[columns of an output]`: where devices of one
    column are in several outputs, rows, variance, floor and noise are those of each column, one width of outputs apart,
    and an output is their sum with these factors; else of size 0. Where each column is converted, the numbers of an
    output lie one width of outputs apart, and are added up.
    """

    rows: np.ndarray
    variance: np.ndarray
    floor: np.ndarray
    bounds: np.ndarray
    worth: np.ndarray
    offset: np.ndarray
    gain: np.ndarray
    shift: np.ndarray
    table: np.ndarray
    codes: np.ndarray
    half: float
    combined: np.ndarray = np.empty(0, np.float32)


class Recurrence(NamedTuple):
    """Recurrent weights that are read within the time loop of a population.

    noise `[batch * time, tiles w]`: row (b, t) for the spikes of step t. scratch `[3, w]`. outside int64 `[1]`: counts
    conversions outside the range.
    """

    tiles: Tiles
    noise: np.ndarray
    scratch: np.ndarray
    outside: np.ndarray


class Room(NamedTuple):
    """Scratch for some vectors: sums `[2, some, w]`, squared `[some, inputs]`, inputs `[some]`, found `[w]`."""

    sums: np.ndarray
    squared: np.ndarray
    inputs: np.ndarray
    found: np.ndarray


@kernel
def _sar(x, found, table, low, n):
    """Successive approximation: bit by bit, the highest first, the capacitor stays on where the rest is not below it.

    table `[bits, w]`: each capacitor in codes.
    """
    for k in range(table.shape[0] - 1, -1, -1):
        worth = x.dtype.type(1 << k)
        for i in range(n):
            on = x[i] - low >= table[k, i]
            x[i] -= table[k, i] if on else x.dtype.type(0)
            found[i] += worth if on else x.dtype.type(0)
    for i in range(n):
        x[i] = found[i] + low


@kernel
def _ramp(x, table, low, n):
    """A counter that runs while a ramp rises to the input: how many of its levels are not above it.

    table `[levels, w]`: rising levels in codes; looked for from where an even ramp has it.
    """
    levels = table.shape[0]
    for i in range(n):
        value = x[i] - low
        k = min(max(np.int64(np.floor(value)), 0), levels)
        while k < levels and table[k, i] <= value:
            k += 1
        while k > 0 and table[k - 1, i] > value:
            k -= 1
        x[i] = k + low


@kernel
def _pipeline(x, found, table, low, high, half, n):
    """Stages of 1.5 bits with residues, ``r <- 2 (1 + a) r - d (1 + b)``, d = -1, 0, 1 by comparators at -1/4 and 1/4;
    a flash of 1.5 bits at the end.

    table `[4 stages, w]`: of each stage a, b, and the offsets of its two comparators in units of the reference.
    Source: Lewis et al., IEEE J. Solid-State Circuits 27, 351 (1992).
    """
    stages = table.shape[0] // 4
    zero, one, two, quarter = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2), x.dtype.type(0.25)
    top = x.dtype.type(1 << stages)
    middle = x.dtype.type((low + high + 1) // 2)
    for i in range(n):
        x[i] = (x[i] - half - middle) / top
    for s in range(stages):
        for i in range(n):
            above = one if x[i] >= quarter + table[4 * s + 2, i] else zero
            below = one if x[i] < table[4 * s + 3, i] - quarter else zero
            d = above - below
            x[i] = two * (one + table[4 * s, i]) * x[i] - d * (one + table[4 * s + 1, i])
            found[i] = two * found[i] + d
    for i in range(n):
        above = one if x[i] >= one - half else zero
        below = one if x[i] < -half else zero
        x[i] = found[i] + (above - below) + middle


@kernel
def convert(x, found, gain, shift, table, codes, half, n):
    """Currents `x[:n]` to codes, in place; how many lay outside the range. found: scratch `[w]`.

    uniform: ``floor(gain x + shift + half)``; the others compare the same number with their own levels. Codes end at
    the lowest and the highest one.
    """
    widest_vectors()
    low, high = x.dtype.type(codes[1]), x.dtype.type(codes[2])
    above = high + x.dtype.type(1)
    outside = 0
    if codes[0] == UNIFORM:
        for i in range(n):
            value = gain[i] * x[i] + shift[i] + half
            outside += (value < low) | (value >= above)
            x[i] = min(max(np.floor(value), low), high)
        return outside
    for i in range(n):
        value = gain[i] * x[i] + shift[i] + half
        outside += (value < low) | (value >= above)
        x[i] = value
        found[i] = x.dtype.type(0)
    if codes[0] == SAR:
        _sar(x, found, table, low, n)
    elif codes[0] == RAMP:
        _ramp(x, table, low, n)
    else:
        _pipeline(x, found, table, codes[1], codes[2], half, n)
    for i in range(n):
        x[i] = min(max(x[i], low), high)
    return outside


@kernel
def _combine(sums, factors):
    """Columns of outputs to outputs, in their place; how many there are."""
    if not factors.size:
        return sums.size
    width = sums.size // factors.size
    for n in range(width):
        sums[n] = factors[0] * sums[n]
    for k in range(1, factors.size):
        for n in range(width):
            sums[n] += factors[k] * sums[k * width + n]
    return width


@kernel
def read_events(current, tiles, noise, scratch, pointers, indices, step, counts):
    """``current += y`` for the events of a step. noise `[steps, tiles w]`; scratch `[3, w]`; counts int64 `[1]`:
    conversions outside the range."""
    width = tiles.rows.shape[1]
    sums, spread, found = scratch[0], scratch[1], scratch[2]
    e, end = pointers[step], pointers[step + 1]
    if e == end:
        return
    zero = current.dtype.type(0)
    for t in range(tiles.worth.shape[0]):
        first = e
        for n in range(width):
            sums[n] = zero
        if tiles.floor.size:
            for n in range(width):
                spread[n] = tiles.floor[t, n]
        while e < end and indices[e] < tiles.bounds[t + 1]:
            i = indices[e]
            for n in range(width):
                sums[n] += tiles.rows[i, n]
            if tiles.variance.size:
                for n in range(width):
                    spread[n] += tiles.variance[i, n]
            e += 1
        if tiles.floor.size:
            for n in range(width):
                sums[n] += np.sqrt(spread[n]) * noise[step, t * width + n]
        columns = _combine(sums, tiles.combined)
        if tiles.codes[0] != EXACT:
            counts[0] += convert(sums, found, tiles.gain[t], tiles.shift[t], tiles.table[t], tiles.codes, tiles.half,
                                 columns)
        for first_column in range(0, columns, current.size):
            for n in range(current.size):
                current[n] += tiles.worth[t, first_column + n] * sums[first_column + n]
        if tiles.offset.size:
            active = current.dtype.type(e - first)
            for n in range(current.size):
                current[n] += tiles.offset[t, n] * active


@kernel
def gather_reads(pointers, indices, tiles, noise, bias, scratch, out, counts):
    """``out[i] = bias + y`` for the events of every step i: `engine.gather` through tiles. out `[steps, w]`."""
    for i in range(out.shape[0]):
        for n in range(out.shape[1]):
            out[i, n] = bias[n]
        read_events(out[i], tiles, noise, scratch, pointers, indices, i, counts)


@kernel
def _finish_tile(sums, spread, found, noise, read, tiles, t, inputs, driven, out, counts):
    """One tile's sums `[vectors, w]` (and variances, and sums of inputs) to numbers, added to out where driven."""
    widest_vectors()
    width, outputs = sums.shape[1], out.shape[1]
    for i in range(sums.shape[0]):
        if not driven[i]:
            continue
        x = sums[i]
        if tiles.floor.size:
            floor, z = tiles.floor[t], noise[i, read, t * width:(t + 1) * width]
            if spread.size:
                sampled = spread[i]
                for n in range(width):
                    x[n] += np.sqrt(sampled[n] + floor[n]) * z[n]
            else:
                for n in range(width):
                    x[n] += np.sqrt(floor[n]) * z[n]
        columns = _combine(x, tiles.combined)
        if tiles.codes[0] != EXACT:
            counts[0] += convert(x, found, tiles.gain[t], tiles.shift[t], tiles.table[t], tiles.codes, tiles.half,
                                 columns)
        total = out[i]
        for first in range(0, columns, outputs):
            worth, column = tiles.worth[t, first:first + outputs], x[first:first + outputs]
            for n in range(outputs):
                total[n] += worth[n] * column[n]
        if tiles.offset.size:
            for n in range(outputs):
                total[n] += tiles.offset[t, n] * inputs[i]


@kernel
def tile_codes(sums, found, tiles, t):
    """The codes of a tile's sums `[steps, w]`, in their place. found: scratch `[w]`."""
    for i in range(sums.shape[0]):
        convert(sums[i], found, tiles.gain[t], tiles.shift[t], tiles.table[t], tiles.codes, tiles.half, sums.shape[1])


@kernel
def mark_driven(x, positions, driven):
    """`driven_rows`, into driven; the result is how many."""
    count = 0
    for first in range(0, x.shape[0], positions):
        found, i = False, first
        while not found and i < first + positions:
            for value in x[i]:
                if value != 0:
                    found = True
                    break
            i += 1
        driven[first:first + positions] = found
        count += positions if found else 0
    return count


def driven_rows(x: np.ndarray, positions: int = 1) -> np.ndarray:
    """Which vectors of inputs `[steps, inputs]` are read, bool `[steps]`: those with an active input in any of the
    `positions` vectors, one after the other, that belong together.

    >>> driven_rows(np.array([[0.0, 0.5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), 2)
    array([ True,  True, False, False])
    """
    driven = np.empty(x.shape[0], np.bool_)
    mark_driven(x, positions, driven)
    return driven


@kernel
def read_vectors(x, tiles, noise, read, room, driven, out, counts):
    """``out += y`` for vectors of any numbers, some of them at a time: see `dense_reads`; room: `Room`."""
    widest_vectors()
    scratch, squared, inputs = room.sums, room.squared, room.inputs
    zero = x.dtype.type(0)
    for first in range(0, x.shape[0], squared.shape[0]):
        some = x[first:first + squared.shape[0]]
        sums, spread = scratch[0, :some.shape[0]], scratch[1, :some.shape[0] if tiles.variance.size else 0]
        for i in range(spread.shape[0]):
            for n in range(x.shape[1]):
                squared[i, n] = some[i, n] * some[i, n]
        for t in range(tiles.worth.shape[0]):
            begin, end = tiles.bounds[t], tiles.bounds[t + 1]
            for i in range(sums.shape[0]):
                for n in range(sums.shape[1]):
                    sums[i, n] = zero
            set_part(sums, sums, some, tiles.rows, begin, end)
            for i in range(spread.shape[0]):
                for n in range(spread.shape[1]):
                    spread[i, n] = zero
            if tiles.variance.size:
                set_part(spread, spread, squared, tiles.variance, begin, end)
            if tiles.offset.size:
                for i in range(some.shape[0]):
                    inputs[i] = zero
                    for n in range(begin, end):
                        inputs[i] += some[i, n]
            own = slice(first, first + some.shape[0])
            _finish_tile(sums, spread, room.found, noise[own], read, tiles, t, inputs, driven[own], out[own], counts)


def room(tiles: Tiles, vectors: int) -> Room:
    """What `read_vectors` works in."""
    (inputs, width), dtype = tiles.rows.shape, tiles.rows.dtype
    some = min(vectors, max(ROWS, _AT_ONCE // width))
    return Room(aligned((2, some, width), dtype), np.empty((some, inputs), dtype), np.empty(some, dtype),
                np.empty(width, dtype))


def dense_reads(x: np.ndarray, tiles: Tiles, noise: np.ndarray, read: int, out: np.ndarray, counts: np.ndarray,
                driven: np.ndarray, currents: Currents | None = None) -> None:
    """``out += y`` for inputs x `[vectors, inputs]` that are any numbers; driven, bool `[vectors]`: which are read.

    noise `[vectors, reads, tiles w]`, of which this is the read `read`. currents: what gives a tile's sums where they
    are no product, ``currents(tile, x of its rows)``.
    """
    if currents is None:
        read_vectors(x, tiles, noise, read, room(tiles, x.shape[0]), driven, out, counts)
        return
    found, inputs = np.empty(tiles.rows.shape[1], x.dtype), np.empty(x.shape[0], x.dtype)
    none = np.empty((0, 0), x.dtype)
    for t in range(tiles.worth.shape[0]):
        rows = slice(tiles.bounds[t], tiles.bounds[t + 1])
        spread = np.square(x[:, rows]) @ tiles.variance[rows] if tiles.variance.size else none
        np.sum(x[:, rows], axis=1, out=inputs)
        _finish_tile(currents(t, x[:, rows]), spread, found, noise, read, tiles, t, inputs, driven, out, counts)


def input_codes(x: np.ndarray, full_scale: float, bits: int, signed: bool) -> tuple[np.ndarray, float, int]:
    """Codes of inputs (whole numbers, as floats), the input of a code, and how many were cut off.

    Codes are -2^(bits-1) + 1 to 2^(bits-1) - 1, or 0 to 2^bits - 1 where inputs have no sign; the largest is the full
    scale.

    >>> input_codes(np.array([0.5, -2.0]), 1.0, 3, True)
    (array([ 2., -3.]), 0.3333333333333333, 1)
    """
    top = (1 << (bits - 1 if signed else bits)) - 1
    step = full_scale / top
    codes = np.rint(x * x.dtype.type(1 / step))
    low = -top if signed else 0
    outside = int(np.count_nonzero((codes > top) | (codes < low)))
    return np.clip(codes, low, top, out=codes), step, outside
