"""Run dies on threads: over dies, or over blocks of samples when there are fewer dies than threads.

The result of a die does not depend on either: blocks follow from the network, counts are integers. The caller holds
BLAS to one thread. Circuits of few samples run several dies side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from neurosim.deployment.calibration import Calibration
from neurosim.deployment.plan import Plan
from neurosim.energy import Activity, Metrics, metrics
from neurosim.engine.dpi import TOGETHER
from neurosim.network.activity import stacked, together
from neurosim.network.circuit_dies import run_circuits, side_by_side
from neurosim.network.forward import Block, Forward, Step, compile_steps, run_block


@dataclass(frozen=True, eq=False)
class Counts:
    """What some dies did; every array has the dies first.

    correct `[die]` and spikes `[die, layer]`, int64; events `[die, place, event]`, float64, see `energy.ledger`;
    stages `[die, stage]`, correct before, and after each step of calibration; conversions (of currents) and saturated
    (those out of the converter's range) `[die, array]`, int64;
    prediction `[die, sample]` int32, or `[die, 0]` where it is not kept;
    sample_events `[die, sample, place, event]`, or `[die, 0, place, event]`.
    """

    correct: np.ndarray
    spikes: np.ndarray
    events: np.ndarray
    conversions: np.ndarray
    saturated: np.ndarray
    stages: np.ndarray
    prediction: np.ndarray
    sample_events: np.ndarray


def run_dies(plan: Plan, numbers: Sequence[int], pool: ThreadPoolExecutor, threads: int) -> Iterator[Counts]:
    """The counts of each die, in order; `pool` has `threads` workers."""
    together = min(_together(plan), -(-len(numbers) // threads))
    if together > 1:
        groups = [numbers[start:start + together] for start in range(0, len(numbers), together)]
        for counts in map(partial(_group, plan), groups) if threads == 1 else pool.map(partial(_group, plan), groups):
            yield from counts
    elif threads == 1:
        yield from (_die(plan, die) for die in numbers)
    elif len(numbers) >= threads:
        yield from pool.map(lambda die: _die(plan, die), numbers)
    else:
        for die in numbers:
            yield _die(plan, die, pool)


def run_nominal(plan: Plan, pool: ThreadPoolExecutor) -> tuple[Counts, Metrics]:
    """The network itself, without any chip."""
    network = plan.mapped.network
    parts = _run(plan, compile_steps(network, None, np.dtype(plan.precision)), pool)
    fired = {name: sum(part.spikes[name] for part in parts) for name in parts[0].spikes}
    drives = {name: together(part.drives[name] for part in parts) for name in parts[0].drives}
    return _counts(plan, None, parts), metrics(network, fired, drives, plan.labels.size, plan.steps)


def predictions(plan: Plan, die: int | None) -> np.ndarray:
    """The class that a die gives each sample, after calibration, int64 `[sample]`; None: the network itself.

    The caller holds BLAS to one thread."""
    dtype = np.dtype(plan.precision)
    steps = compile_steps(plan.mapped.network, None, dtype) if die is None else compiled(plan, die)
    return np.concatenate([part.prediction for part in _run(plan, steps)])


def compiled(plan: Plan, die: int, keep: Sequence[str] = ()) -> list[Step]:
    """A calibrated die as kernel calls."""
    return _compile(plan, die, plan.calibration, keep)


def _die(plan: Plan, die: int, pool: ThreadPoolExecutor | None = None) -> Counts:
    """One die; with a calibration also without it, and after each of its steps."""
    if plan.calibration is None:
        return _counts(plan, die, _run(plan, _compile(plan, die, None), pool))
    stages = []
    for stage in plan.calibration.stages():
        parts = _run(plan, _compile(plan, die, stage), pool)
        stages.append(np.count_nonzero(np.concatenate([part.prediction for part in parts]) == plan.labels))
    return replace(_counts(plan, die, parts), stages=np.array([stages], np.int64))


def _together(plan: Plan) -> int:
    """How many dies side by side fill the kernel of a network of circuits; one where the samples do."""
    network = plan.mapped.network
    if plan.calibration is not None or plan.keep_events or not side_by_side(network):
        return 1
    widest = max(plan.spiking.values())
    return max(1, TOGETHER // (widest * max(block.batch for block in plan.blocks)))


def _group(plan: Plan, numbers: Sequence[int]) -> list[Counts]:
    """Several dies of a network of circuits, side by side."""
    dtype = np.dtype(plan.precision)
    dies = [plan.dies.as_run(die, dtype)[0] for die in numbers]
    blocks = [run_circuits(plan.mapped.network, dies, block, dtype) for block in plan.blocks]
    return [_counts(plan, die, list(parts)) for die, parts in zip(numbers, zip(*blocks, strict=True), strict=True)]


def _compile(plan: Plan, die: int, calibration: Calibration | None, keep: Sequence[str] = ()) -> list[Step]:
    dtype = np.dtype(plan.precision)
    made = plan.dies.as_run(die, dtype) if calibration is None else calibration.die(plan.dies, die, dtype)
    return compile_steps(plan.mapped.network, made[0], dtype, keep, made[1])


def _run(plan: Plan, steps: list[Step], pool: ThreadPoolExecutor | None = None) -> list[Forward]:
    def one(block: Block) -> Forward:
        return run_block(plan.mapped.network, steps, block, np.dtype(plan.precision), by_sample=plan.keep_events)

    return list(map(one, plan.blocks) if pool is None else pool.map(one, plan.blocks))


def _counts(plan: Plan, die: int | None, parts: list[Forward]) -> Counts:
    prediction = np.concatenate([part.prediction for part in parts])
    fired = {name: sum(part.spikes[name] for part in parts) for name in plan.spiking}
    names = {array.name: f"{array.layer}/recurrent" if array.parameter.startswith("recurrent") else array.layer
             for array in plan.mapped.weights}
    drives = {array: together(part.drives[name] for part in parts) for array, name in names.items()}
    energy = plan.mapped.profile.energy
    priced = die is not None and energy is not None and energy.cell is not None
    devices = cache(lambda name: plan.dies.conductances(die, name)) if priced else None
    events = plan.ledger.count(Activity(plan.labels.size, plan.steps, fired, drives), devices)
    each = np.empty((0, *events.shape))
    if plan.keep_events and die is not None:
        each = plan.ledger.count(Activity(
            1, plan.steps, {name: np.stack([of for part in parts for of in part.spikes_of_samples[name]])
                            for name in plan.spiking},
            {array: stacked(of for part in parts for of in part.drives_of_samples[name])
             for array, name in names.items()}), devices)
    converted = np.array([sum((part.saturation[array.name].currents for part in parts if array.name in part.saturation),
                              start=np.zeros(2, np.int64)) for array in plan.mapped.weights], np.int64).reshape(-1, 2)
    return Counts(
        np.array([np.count_nonzero(prediction == plan.labels)]),
        np.array([[count.sum() for count in fired.values()]], np.int64).reshape(1, -1), events[None],
        *converted.T[:, None], np.empty((1, 0), np.int64),
        prediction[None, :].astype(np.int32) if plan.keep_predictions else np.empty((1, 0), np.int32), each[None])
