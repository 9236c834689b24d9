"""Populations that learn, on threads: forward over all time steps, and back.

Blocks of eight samples (`learning_forward`, `learning_backward`) are shared out in groups that follow from the batch
alone, and sums are taken in their order: results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from neurosim.engine.arrays import LANES, aligned
from neurosim.engine.learning_backward import STEPS, Carry, backward_blocks
from neurosim.engine.learning_buffers import copied, take
from neurosim.engine.learning_forward import SAMPLES, Neurons, Rule, State, forward_blocks

_GROUPS = 8  # at most; each has gradient sums of its own


@dataclass(frozen=True)
class Record:
    """What a run gives, and what the way back needs.

    spikes `[time, batch, neurons]`, or of two steps only; output `[time, batch, classes]`, state: the last one; counts
    `[batch, neurons]`: of the spikes; masks, active and pointers have one row for each block, indices one array for
    each of the parts: groups of blocks, from one to another, that were worked on in one go.
    """

    spikes: np.ndarray
    output: np.ndarray
    state: State
    initial: State
    potentials: np.ndarray
    currents: np.ndarray
    synaptics: np.ndarray
    masks: np.ndarray
    active: np.ndarray
    pointers: np.ndarray
    counts: np.ndarray
    indices: Sequence[np.ndarray]
    parts: Sequence[tuple[int, int]]


def _share(work: Callable[..., object], parts: Sequence[tuple], threads: int) -> list[object]:
    """`work(*part)` of each, in order, also here. The threads end with the call: a process may fork after it."""
    if min(threads, len(parts)) < 2:
        return [work(*part) for part in parts]
    done, left = [None] * len(parts), iter(range(len(parts)))

    def some() -> None:
        for i in left:  # whoever is free takes the next
            done[i] = work(*parts[i])

    with ThreadPoolExecutor(min(threads, len(parts)) - 1) as pool:
        others = [pool.submit(some) for _ in range(min(threads, len(parts)) - 1)]
        some()
        for other in others:
            other.result()
    return done


def _edges(batch: int) -> np.ndarray:
    """The first block of each group, and where the last one ends."""
    blocks = -(-batch // SAMPLES)
    groups = np.arange(min(blocks, _GROUPS) + 1)
    whole, over = divmod(blocks, groups[-1])
    return groups * whole + np.minimum(groups, over)


def _in_lanes(array: np.ndarray) -> np.ndarray:
    """With zeros behind the last axis, so that it is whole `LANES`."""
    wide = aligned((*array.shape[:-1], array.shape[-1] + -array.shape[-1] % LANES), array.dtype)
    wide[..., :array.shape[-1]] = array
    wide[..., array.shape[-1]:] = 0
    return wide


def forward(drive: np.ndarray, inputs: np.ndarray, weight: np.ndarray, neurons: Neurons, state: State, rule: Rule,
            readout: np.ndarray, threads: int, *, spikes: bool = True, keep: bool = False, keep_currents: bool = False,
            keep_synaptics: bool = False) -> Record:
    """Run a population from `state`.

    Parameters
    ----------
    drive:
        `[time, batch, neurons]`; of size 0 where inputs `[time, batch, channels]` and weight `[channels, neurons]` are
        given in its place.
    readout:
        `[neurons, classes]`, by which the spikes are multiplied as well, or of size 0.
    spikes:
        Whether those of all steps are wanted; writing them takes time.
    keep, keep_currents, keep_synaptics:
        What the way back needs: always the first; the others for gradients of gains and of synaptic decays.
    """
    dtype, (batch, size) = state.v.dtype, state.v.shape
    times = (drive if drive.size else inputs).shape[0]
    shape, nothing = (times, batch, size), np.empty((0, 0, 0), dtype)
    fired, potentials = (take((times if wanted else 2, batch, size), dtype) for wanted in (spikes, keep))
    currents, synaptics = (take(shape, dtype) if wanted else nothing for wanted in (keep_currents, keep_synaptics))
    output, wide = take((times, batch, readout.shape[1]), dtype), _in_lanes(readout)
    last, edges = State(*map(copied, state)), _edges(batch)
    groups, blocks = edges.size - 1, edges[-1]
    parts = [(0, groups)] if threads == 1 else [(g, g + 1) for g in range(groups)]
    masks, active = take((blocks, times if keep else 0, size), np.dtype(np.uint8)), np.zeros((blocks, times), np.int64)
    counts = aligned((batch, size), np.dtype(np.int64))
    pointers = np.empty((blocks, (times + 1) * SAMPLES + 1), np.int64)

    def work(begin: int, end: int) -> np.ndarray:
        flags = np.zeros((size + 7) // 8, np.uint64)
        begin, end = edges[begin], edges[end]
        # pages that no spike reaches are never there
        found = np.empty((end - begin) * (times + 1) * SAMPLES * size, np.int32)
        count = forward_blocks(
            begin, end, drive, inputs, weight, neurons, last, rule, fired, potentials, currents, synaptics, masks,
            active, wide, output, pointers, found, counts, aligned((SAMPLES, size), dtype), aligned((size,), dtype),
            aligned((wide.shape[1],), dtype), flags.view(np.uint8)[:size], flags, np.empty(flags.size, np.int64))
        return found[:count].copy()

    return Record(fired, output, last, state, potentials, currents, synaptics, masks, active, pointers, counts,
                  _share(work, parts, threads), parts)


def backward(record: Record, inputs: np.ndarray, weight: np.ndarray, neurons: Neurons, to_rows: np.ndarray, rule: Rule,
             grad: np.ndarray, readout: np.ndarray, grad_output: np.ndarray, carry: Carry, wanted: Sequence[str],
             threads: int) -> dict[str, np.ndarray]:
    """Gradients of a run.

    Parameters
    ----------
    inputs, weight, neurons, rule, readout:
        As in `forward`; to_rows: the neurons' rows transposed.
    grad, grad_output:
        Gradients to the spikes and to the output; of size 0 where there are none. One step may stand for all.
    carry:
        Gradients to the last state; those to the first take their place.
    wanted:
        Of what: "inputs" (the drive, where there is no weight), "weight", "readout", fields of `Neurons` and `State`.
    """
    values = record.potentials
    dtype, (times, batch, size) = values.dtype, values.shape
    edges, nothing = _edges(batch), np.empty((0, 0, 0), dtype)
    of_inputs, of_drive = (take(shape, dtype) if "inputs" in wanted and there else nothing for shape, there in
                           ((inputs.shape, weight.size), (values.shape, not weight.size)))
    by_class = copied(readout.T)
    back = copied((weight if of_inputs.size else weight[:0]).T)
    groups, classes = edges.size - 1, np.empty((readout.shape[0], readout.shape[1] + -readout.shape[1] % LANES), dtype)
    slots = groups if len(record.parts) > 1 else min(groups, 2)

    def sums_of(name: str, array: np.ndarray) -> np.ndarray:
        return take((slots, *(array.shape if name in wanted else (0,) * array.ndim)), dtype)

    sums = Neurons(*(sums_of(name, array) for name, array in neurons._asdict().items()))
    weight_sum, readout_sum = sums_of("weight", weight), sums_of("readout", classes)

    def work(begin: int, end: int, indices: np.ndarray) -> None:
        for array in (*sums, weight_sum, readout_sum):
            array[begin:end] = 0
        slopes = of_drive.reshape(-1, size) if of_drive.size else aligned((STEPS * SAMPLES, size), dtype)
        adapted = take((times + 1, SAMPLES, size) if neurons.adaptation.size else (0, 0, 0), dtype)
        total, outside = aligned((2, SAMPLES, size), dtype)
        turned = (aligned((width * SAMPLES,), dtype) for width in (size, STEPS * weight.shape[0]))
        backward_blocks(begin, end, edges, neurons, to_rows, rule, values, record.currents, record.synaptics,
                        record.initial, inputs, back, of_inputs, grad, by_class, grad_output, record.masks,
                        record.active, record.pointers, indices, record.counts, carry, sums, weight_sum, readout_sum,
                        adapted, total, outside, slopes, batch if of_drive.size else 0, *turned,
                        aligned((size,), dtype), aligned(classes.shape[1:], dtype), "spent" in wanted)

    _share(work, [(*part, indices) for part, indices in zip(record.parts, record.indices, strict=True)], threads)
    found = {name: array.sum(axis=0, out=take(array.shape[1:], dtype)) for name, array in
             zip((*Neurons._fields, "weight", "readout"), (*sums, weight_sum, readout_sum), strict=True) if array.size}
    if "readout" in found:
        found["readout"] = np.ascontiguousarray(found["readout"][:, :readout.shape[1]])
    return found | {**carry._asdict(), "inputs": of_inputs if weight.size else of_drive}
