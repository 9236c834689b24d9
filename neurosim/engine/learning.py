"""Populations that learn, on threads: forward over all time steps, and back.

Blocks of eight samples (`learning_forward`, `learning_backward`) are shared out in groups that follow from the batch
alone, and sums are taken in their order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from neurosim.engine.arrays import aligned
from neurosim.engine.learning_backward import Carry, backward_block
from neurosim.engine.learning_buffers import take
from neurosim.engine.learning_forward import Neurons, Rule, State, forward_block

_SAMPLES = 8  # of a block: one bit each in a byte
_GROUPS = 8  # at most; each has gradient sums of its own


@dataclass(frozen=True)
class Record:
    """What a run gives, and what the way back needs.

    spikes `[time, batch, neurons]`, output `[time, batch, classes]`, state: the last one; the sequences
    have one item for each block.
    """

    spikes: np.ndarray
    output: np.ndarray
    state: State
    initial: State
    potentials: np.ndarray
    currents: np.ndarray
    synaptics: np.ndarray
    masks: Sequence[np.ndarray]
    active: Sequence[np.ndarray]
    pointers: Sequence[np.ndarray]
    indices: Sequence[np.ndarray]


def _share(work: Callable[[int], object], count: int, threads: int) -> list[object]:
    """`work(0)` ... `work(count - 1)`, in order. The threads end with the call: a process may fork after it."""
    if min(threads, count) < 2:
        return [work(i) for i in range(count)]
    with ThreadPoolExecutor(min(threads, count)) as pool:
        return list(pool.map(work, range(count)))


def _blocks(batch: int) -> tuple[list[slice], list[np.ndarray]]:
    """The samples of each block, and the blocks of each group."""
    blocks = [slice(first, min(first + _SAMPLES, batch)) for first in range(0, batch, _SAMPLES)]
    return blocks, np.array_split(np.arange(len(blocks)), min(len(blocks), _GROUPS))


def _copy(array: np.ndarray) -> np.ndarray:
    copied = aligned(array.shape, array.dtype)
    copied[...] = array
    return copied


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    array = aligned(shape, dtype)
    array[...] = 0
    return array


def forward(drive: np.ndarray, inputs: np.ndarray, weight: np.ndarray, neurons: Neurons, state: State, rule: Rule,
            readout: np.ndarray, threads: int, *, keep: bool = False, keep_currents: bool = False,
            keep_synaptics: bool = False) -> Record:
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
    times = (drive if drive.size else inputs).shape[0]
    shape, nothing = (times, batch, size), np.empty((0, 0, 0), dtype)
    spikes, potentials = take(shape, dtype), take((times if keep else 2, batch, size), dtype)
    currents, synaptics = (take(shape, dtype) if wanted else nothing for wanted in (keep_currents, keep_synaptics))
    output = np.zeros((times, batch, readout.shape[1]), dtype)
    last = State(*map(_copy, state))
    blocks, groups = _blocks(batch)
    masks, active, pointers, indices = ([None] * len(blocks) for _ in range(4))

    def work(g: int) -> None:
        flags, counts = np.zeros((size + 7) // 8, np.uint64), np.zeros(size, np.int64)
        busy, limit, current = np.empty(flags.size, np.int64), aligned((size,), dtype), aligned((_SAMPLES, size), dtype)
        found = np.empty((times + 1) * _SAMPLES * size, np.int32)  # pages that no spike reaches are never there
        for i in groups[g]:
            block = blocks[i]
            samples = block.stop - block.start
            masks[i], active[i] = aligned((times, size) if keep else (0, size), np.uint8), np.zeros(times, np.int64)
            pointers[i] = np.zeros((times + 1) * samples + 1, np.int64)
            forward_block(drive, inputs, weight, block.start, neurons, State(*(a[block] for a in last)), rule, spikes,
                          potentials, currents, synaptics, masks[i], active[i], readout, output, pointers[i], found,
                          counts, current[:samples], limit, flags.view(np.uint8)[:size], flags, busy)
            indices[i] = found[: pointers[i][-1]].copy()

    _share(work, len(groups), threads)
    return Record(spikes, output, last, state, potentials, currents, synaptics, masks, active, pointers, indices)


def backward(record: Record, inputs: np.ndarray, weight: np.ndarray, neurons: Neurons, rule: Rule, values: np.ndarray,
             grad: np.ndarray, readout: np.ndarray, grad_output: np.ndarray, carry: Carry, wanted: Sequence[str],
             threads: int) -> dict[str, np.ndarray]:
    """Gradients of a run.

    Parameters
    ----------
    inputs, weight, neurons, rule, readout:
        As in `forward`.
    values:
        The record's potentials, or a copy: the gradient to the drive takes their place.
    grad, grad_output:
        Gradients to the spikes and to the output; of size 0 where there are none. One step of grad may stand for all.
    carry:
        Gradients to the last state.
    wanted:
        Of what: "inputs" (the drive, where there is no weight), "weight", "readout", fields of `Neurons` and `State`.
    """
    dtype, (times, batch, size) = values.dtype, values.shape
    blocks, groups = _blocks(batch)
    by_class, to_rows, back = (_copy(matrix.T) for matrix in (readout, neurons.rows, weight))
    first = Carry(*map(_copy, carry))
    grad_inputs = take(inputs.shape if "inputs" in wanted and weight.size else (0, 0, 0), dtype)

    none = [np.empty((0,) * ndim, dtype) for ndim in range(3)]

    def sums_of(name: str, array: np.ndarray) -> np.ndarray:
        return _zeros(array.shape, dtype) if name in wanted and array.size else none[array.ndim]

    def work(g: int) -> tuple[np.ndarray, ...]:
        sums = Neurons(*(sums_of(name, array) for name, array in neurons._asdict().items()))
        weight_sum, readout_sum = sums_of("weight", weight), sums_of("readout", readout)
        adapted = take((times + 1, _SAMPLES, size) if neurons.adaptation.size else (0, 0, 0), dtype)
        total, limit = aligned((_SAMPLES, size), dtype), aligned((size,), dtype)
        turned = [aligned((width * _SAMPLES,), dtype) for width in (size, weight.shape[0])]
        for i in groups[g]:
            block = blocks[i]
            samples = block.stop - block.start
            spikes_t, inputs_t = (a[: a.size // _SAMPLES * samples].reshape(-1, samples) for a in turned)
            backward_block(block.start, neurons, to_rows, rule, values, record.currents, record.synaptics,
                           State(*(a[block] for a in record.initial)), inputs, back, grad_inputs, grad, by_class,
                           grad_output, record.masks[i], record.active[i], record.pointers[i], record.indices[i],
                           Carry(*(a[block] for a in first)), sums, weight_sum, readout_sum, adapted,
                           total[:samples], spikes_t, inputs_t, limit)
        return *sums, weight_sum, readout_sum

    totals, *others = _share(work, len(groups), threads)
    for parts in others:
        for total, part in zip(totals, parts, strict=True):
            total += part
    found = dict(zip((*Neurons._fields, "weight", "readout"), totals, strict=True))
    found |= {**first._asdict(), "inputs": grad_inputs if weight.size else values}
    if "spent" in wanted and neurons.rows.size:
        found["spent"] = first.spent + values[0] @ to_rows
    return found
