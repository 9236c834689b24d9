"""Populations that learn, on threads: forward over all time steps, and back.

Blocks of eight samples (`learning_forward`, `learning_backward`) are shared out in groups that follow from the batch
alone, and sums are taken in their order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from neurosim.engine.arrays import aligned
from neurosim.engine.learning_backward import Carry, backward_block
from neurosim.engine.learning_buffers import take
from neurosim.engine.learning_forward import Neurons, Rule, State, forward_block

_SAMPLES = 8  # of a block: one bit each in a byte
_GROUPS = 16  # at most; each has gradient sums of its own
_ROWS = 4096  # of a matrix product at a time
_BUSY = 0.3  # spikes per neuron and step from which on a dense product is quicker than one row for each spike


@dataclass(frozen=True)
class Record:
    """What a run gives, and what the way back needs.

    spikes `[time, batch, neurons]`, output `[time, batch, classes]`, state: the last one; masks, pointers and indices
    are those of the blocks.
    """

    spikes: np.ndarray
    output: np.ndarray
    state: State
    initial: State
    potentials: np.ndarray
    currents: np.ndarray
    synaptics: np.ndarray
    masks: Sequence[np.ndarray]
    pointers: Sequence[np.ndarray]
    indices: Sequence[np.ndarray]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas", internal_api="openblas")


def _share(work: Callable[[int], object], count: int, threads: int) -> list[object]:
    """`work(0)` ... `work(count - 1)`, in order. The threads end with the call: a process may fork after it."""
    if min(threads, count) < 2:
        return [work(i) for i in range(count)]
    with ThreadPoolExecutor(min(threads, count)) as pool:
        return list(pool.map(work, range(count)))


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray, threads: int) -> None:
    """``out = left right``: left `[rows, k]`, right `[k, columns]`, by chunks of rows."""
    def work(chunk: int) -> None:
        part = slice(chunk * _ROWS, (chunk + 1) * _ROWS)
        np.matmul(left[part], right, out=out[part])

    with _blas().limit(limits=1):
        _share(work, -(-left.shape[0] // _ROWS), threads)


def product_over_rows(left: np.ndarray, right: np.ndarray, threads: int) -> np.ndarray:
    """``left^T right``: left `[rows, m]`, right `[rows, n]` -> `[m, n]`, summed by chunks of rows."""
    def work(chunk: int) -> np.ndarray:
        part = slice(chunk * _ROWS, (chunk + 1) * _ROWS)
        return left[part].T @ right[part]

    with _blas().limit(limits=1):
        parts = _share(work, -(-left.shape[0] // _ROWS), threads)
    return sum(parts, start=np.zeros((left.shape[1], right.shape[1]), right.dtype))


def _blocks(batch: int) -> list[slice]:
    return [slice(first, min(first + _SAMPLES, batch)) for first in range(0, batch, _SAMPLES)]


def _copy(array: np.ndarray) -> np.ndarray:
    copied = aligned(array.shape, array.dtype)
    copied[...] = array
    return copied


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    array = aligned(shape, dtype)
    array[...] = 0
    return array


def forward(drive: np.ndarray, neurons: Neurons, state: State, rule: Rule, readout: np.ndarray, threads: int, *,
            inputs: np.ndarray | None = None, weight: np.ndarray | None = None, keep: bool = False,
            keep_currents: bool = False, keep_synaptics: bool = False) -> Record:
    """Run a population from `state`.

    Parameters
    ----------
    drive:
        `[time, batch, neurons]`; of size 0 where inputs `[time, batch, channels]` and weight `[channels, neurons]` are
        given in its place.
    readout:
        `[neurons, classes]`, by which the spikes are multiplied as well, or of size 0.
    keep, keep_currents, keep_synaptics:
        What the way back needs: always the first; the others for gradients of gains and of synaptic decays.
    """
    dtype, (batch, size) = state.v.dtype, state.v.shape
    times = (drive if inputs is None else inputs).shape[0]
    shape, nothing = (times, batch, size), np.empty((0, 0, 0), dtype)
    spikes = take(shape, dtype)
    potentials = take(shape, dtype) if keep or inputs is not None else nothing
    currents, synaptics = (take(shape, dtype) if wanted else nothing for wanted in (keep_currents, keep_synaptics))
    output = np.zeros((times, batch, readout.shape[1]), dtype)
    if inputs is not None:
        product(inputs.reshape(times * batch, -1), weight, potentials.reshape(times * batch, size), threads)
        drive = nothing
    last = State(*map(_copy, state))
    blocks = _blocks(batch)
    masks, pointers, indices = ([None] * len(blocks) for _ in range(3))

    def work(i: int) -> None:
        block = blocks[i]
        samples = block.stop - block.start
        masks[i] = aligned((times, size) if keep else (0, size), np.uint8)
        flags = np.zeros((size + 7) // 8, np.uint64)
        pointers[i] = np.zeros((times + 1) * samples + 1, np.int64)
        found = np.empty((times + 1) * samples * size, np.int32)  # pages that no spike reaches are never there
        forward_block(drive, block.start, neurons, State(*(a[block] for a in last)), rule, spikes, potentials, currents,
                      synaptics, keep, masks[i], readout, output, pointers[i], found, np.zeros(size, np.int64),
                      aligned((size,), dtype), aligned((size,), dtype), flags.view(np.uint8)[:size], flags,
                      np.empty(flags.size, np.int64))
        indices[i] = found[: pointers[i][-1]].copy()

    _share(work, len(blocks), threads)
    return Record(spikes, output, last, state, potentials, currents, synaptics, masks, pointers, indices)


def backward(record: Record, neurons: Neurons, rule: Rule, values: np.ndarray, grad: np.ndarray, readout: np.ndarray,
             grad_output: np.ndarray, carry: Carry, wanted: Sequence[str], threads: int
             ) -> tuple[Neurons, np.ndarray, Carry]:
    """Gradients of a run: of the parameters that are `wanted`, of the readout, and of the initial state.

    Parameters
    ----------
    values:
        The record's potentials, or a copy: the gradient to the drive takes their place.
    grad, grad_output:
        Gradients to the spikes and to the output; of size 0 where there are none. One step of grad may stand for all.
    carry:
        Gradients to the last state.
    wanted:
        Fields of `Neurons`, and "readout", "spent" (the gradient to the spikes of the initial state).
    """
    dtype, (times, batch, size) = values.dtype, values.shape
    blocks = _blocks(batch)
    groups = np.array_split(np.arange(len(blocks)), min(len(blocks), _GROUPS))
    dense = sum(i.size for i in record.indices) > _BUSY * values.size
    by_class = np.ascontiguousarray(readout.T)
    first = Carry(*map(_copy, carry))

    def work(g: int) -> tuple[Neurons, np.ndarray]:
        sums = Neurons(*(_zeros(array.shape if name in wanted and not (dense and name == "rows") else (0,) * array.ndim,
                                dtype) for name, array in neurons._asdict().items()))
        readout_sum = _zeros(readout.shape if "readout" in wanted else (0, 0), dtype)
        for i in groups[g]:
            block = blocks[i]
            samples = block.stop - block.start
            adapted = take((times + 1, samples, size) if neurons.adaptation.size else (0, 0, 0), dtype)
            backward_block(block.start, neurons, rule, values, record.currents, record.synaptics,
                           State(*(a[block] for a in record.initial)), grad, by_class, grad_output, record.masks[i],
                           record.pointers[i], record.indices[i], Carry(*(a[block] for a in first)), sums, readout_sum,
                           _zeros((samples, size), dtype), adapted, *(aligned((size,), dtype) for _ in range(3)))
        return sums, readout_sum

    parts = _share(work, len(groups), threads)
    sums, readout_sum = parts[0]
    for more, more_readout in parts[1:]:
        for total, part in zip((*sums, readout_sum), (*more, more_readout), strict=True):
            total += part
    if dense and "rows" in wanted:
        sums = sums._replace(rows=record.initial.spent.T @ values[0] + product_over_rows(
            record.spikes[:-1].reshape(-1, size), values[1:].reshape(-1, size), threads))
    if "spent" in wanted and neurons.rows.size:
        first = first._replace(spent=first.spent + values[0] @ neurons.rows.T)
    return sums, readout_sum, first
