"""Recurrent cells over all time steps: RNN, GRU, LSTM.

The equations are those of `neurosim.network.recurrent`. The weighted input of all steps comes in as one array, from one
BLAS product; what is left for each step is the product with the state, for all samples at once, and the gates. Their
sigmoids are ``(1 + tanh(x / 2)) / 2``: numpy's tanh is vectorised on every machine, the C library's exp is not. The
product with the state is a function argument, so that a crossbar can stand in for BLAS; an Elman network on crossbar
tiles whose currents are products is one kernel, some samples at a time over all their steps.

Here, `drive [batch, time, gates * units]` lies in the order of memory; `bias [gates * units]`; the gates one after the
other; `out [batch, time, units]` is written.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurosim.engine.arrays import LANES, aligned
from neurosim.engine.compiling import kernel, widest_vectors
from neurosim.engine.maths import tanh
from neurosim.engine.panels import ROWS
from neurosim.engine.reads import Tiles, mark_driven, read_vectors, room

#: ``product(state [batch, units], step)`` gives a new or reused array `[batch, gates * units]`, free to be changed
Product = Callable[[np.ndarray, int], np.ndarray]


def exact_product(rows: np.ndarray, batch: int) -> Product:
    """``state rows``, with rows `[units, gates * units]` (the recurrent weight transposed)."""
    buffer = np.empty((batch, rows.shape[1]), rows.dtype)

    def product(state: np.ndarray, step: int) -> np.ndarray:
        return np.matmul(state, rows, out=buffer)

    return product


@kernel
def _add(product, drive, bias, first, last, half, step):
    """``half (product + bias + drive)`` in the place of the product's numbers from `first` to `last`."""
    for b in range(product.shape[0]):
        for n in range(first, last):
            product[b, n] = half * ((product[b, n] + bias[n]) + drive[b, step, n])


@kernel
def _candidate(product, gates, drive, bias, into, step):
    """The GRU's ``n`` before its tanh: ``drive + r (product + bias)``."""
    half = into.dtype.type(0.5)
    units = into.shape[1]
    for b in range(into.shape[0]):
        for n in range(units):
            reset = half * gates[b, n] + half
            into[b, n] = drive[b, step, 2 * units + n] + reset * (product[b, 2 * units + n] + bias[2 * units + n])


@kernel
def _blend(gates, candidate, state, out, step):
    """The GRU's new state, ``n + z (state - n)``."""
    half = out.dtype.type(0.5)
    units = candidate.shape[1]
    for b in range(candidate.shape[0]):
        for n in range(units):
            keep = half * gates[b, units + n] + half
            state[b, n] = candidate[b, n] + keep * (state[b, n] - candidate[b, n])
            out[b, step, n] = state[b, n]


@kernel
def _remember(gates, cell):
    """The LSTM's new cell, ``f c + i g``; gates after their tanh, in the order i, f, g, o."""
    half = cell.dtype.type(0.5)
    units = cell.shape[1]
    for b in range(cell.shape[0]):
        for n in range(units):
            let_in = half * gates[b, n] + half
            keep = half * gates[b, units + n] + half
            cell[b, n] = keep * cell[b, n] + let_in * gates[b, 2 * units + n]


@kernel
def _show(gates, squashed, state, out, step):
    """The LSTM's new state, ``o tanh(c)``."""
    half = out.dtype.type(0.5)
    units = squashed.shape[1]
    for b in range(squashed.shape[0]):
        for n in range(units):
            state[b, n] = (half * gates[b, 3 * units + n] + half) * squashed[b, n]
            out[b, step, n] = state[b, n]


@kernel
def _rnn_reads(drive, bias, tiles, noise, relu, room, driven, total, state, out, counts):
    """Elman network whose recurrent weights are read from tiles, `state.shape[0]` samples at a time.

    noise `[batch, time, tiles w]`. Before the first step there is no state, and nothing is read. The result is how many
    states were.
    """
    widest_vectors()
    zero, units, reads = out.dtype.type(0), out.shape[2], 0
    for first in range(0, out.shape[0], state.shape[0]):
        some = min(state.shape[0], out.shape[0] - first)
        now, sums = state[:some], total[:some]
        for step in range(out.shape[1]):
            for b in range(some):
                for n in range(sums.shape[1]):
                    sums[b, n] = zero
            if step > 0:
                reads += mark_driven(now, 1, driven)
                read_vectors(now, tiles, noise[first:first + some], step, room, driven, sums, counts)
            for b in range(some):
                line, given, new, to = sums[b], drive[first + b, step], now[b], out[first + b, step]
                for n in range(units):
                    new[n] = (line[n] + bias[n]) + given[n]
                if relu:
                    for n in range(units):
                        new[n] = max(new[n], zero)
                else:
                    for n in range(units):
                        new[n] = tanh(new[n])
                for n in range(units):
                    to[n] = new[n]
    return reads


def rnn_reads(drive: np.ndarray, bias: np.ndarray, tiles: Tiles, noise: np.ndarray, relu: bool, out: np.ndarray,
              counts: np.ndarray) -> int:
    """`rnn` with recurrent weights on crossbar tiles: how many states were read, and `out`.

    noise `[batch, time, tiles w]`; counts as of `dense_reads`.
    """
    some, units = min(out.shape[0], ROWS), out.shape[2]
    total = aligned((some, units + -units % LANES), out.dtype)
    state = aligned((some, units), out.dtype)
    return _rnn_reads(drive, bias, tiles, noise, relu, room(tiles, some), np.empty(some, np.bool_), total, state, out,
                      counts)


def rnn(drive: np.ndarray, bias: np.ndarray, product: Product, relu: bool, out: np.ndarray) -> None:
    """Elman network (`RNN`)."""
    batch, times, units = out.shape
    state = np.zeros((batch, units), out.dtype)
    for step in range(times):
        total = product(state, step)
        _add(total, drive, bias, 0, units, out.dtype.type(1), step)
        if relu:
            np.maximum(total, 0, out=state)
        else:
            np.tanh(total, out=state)
        out[:, step] = state


def gru(drive: np.ndarray, bias: np.ndarray, product: Product, out: np.ndarray) -> None:
    """Gated recurrent unit (`GRU`); gates r, z, n."""
    batch, times, units = out.shape
    state, candidate = np.zeros((2, batch, units), out.dtype)
    gates = np.empty((batch, 2 * units), out.dtype)
    for step in range(times):
        total = product(state, step)
        _add(total, drive, bias, 0, 2 * units, out.dtype.type(0.5), step)
        np.tanh(total[:, :2 * units], out=gates)
        _candidate(total, gates, drive, bias, candidate, step)
        np.tanh(candidate, out=candidate)
        _blend(gates, candidate, state, out, step)


def lstm(drive: np.ndarray, bias: np.ndarray, product: Product, out: np.ndarray) -> None:
    """Long short-term memory (`LSTM`); gates i, f, g, o."""
    batch, times, units = out.shape
    state, cell, squashed = np.zeros((3, batch, units), out.dtype)
    half, one = out.dtype.type(0.5), out.dtype.type(1)
    for step in range(times):
        gates = product(state, step)
        for gate, factor in enumerate((half, half, one, half)):
            _add(gates, drive, bias, gate * units, (gate + 1) * units, factor, step)
        np.tanh(gates, out=gates)
        _remember(gates, cell)
        np.tanh(cell, out=squashed)
        _show(gates, squashed, state, out, step)
