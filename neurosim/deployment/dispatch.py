"""Run a mapped network on many dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from neurosim.deployment.execute import Counts, run_dies, run_nominal
from neurosim.deployment.plan import make_plan, threads_of
from neurosim.deployment.run import Run, already_there, make_run
from neurosim.deployment.store import begin, finish, joined, resume, write_chunk
from neurosim.errors import whole
from neurosim.mapping import MappedNetwork

_CHUNK = 64
_KEPT = 10.0  # seconds after which what is finished of a chunk is written, so that a kill costs no more


def deploy(mapped: MappedNetwork, inputs: np.ndarray, labels: Sequence[int] | np.ndarray,
           dies: int | Sequence[int] = 100, seed: int = 0, *, out: str | os.PathLike[str] | None = None,
           time: float | None = None, programming: int = 0, keep_predictions: bool = False,
           keep_events: bool = False, calibrate: Sequence[str] = (),
           threads: int | None = None, chunk: int = _CHUNK, precision: str = "float32", progress: bool | None = None,
           about: Mapping[str, object] | None = None) -> Run:
    """Run a network on many dies of its chip type.

    Parameters
    ----------
    mapped:
        From `map_network`.
    inputs:
        `[time, batch, *input_shape]`; zeros and ones run as events.
    labels:
        `[batch]`, the right classes.
    dies:
        How many (dies 0, 1, ...), or the numbers of the dies.
    seed:
        The production lot. Die k of a seed is the same die in every run.
    out:
        File to write (netCDF / HDF5). An interrupted run with the same `out` goes on where it was; a
        finished one is returned. A run of something else is never overwritten.
    time:
        Seconds after programming, for chips that drift.
    programming:
        Which programming of the dies; see `Dies`.
    calibrate:
        Steps that each die takes after programming, in their order: "gdc", "gdc_column", "adc", "scale", "batchnorm",
        "remap" (see `neurosim.deployment.calibration`). `Run.calibration` has the accuracy before, and after each.
    keep_predictions:
        Also store the class that each die gives each sample.
    keep_events:
        Also store the events of each sample, for `Run.sample_energy`: 96 bytes for each die, sample and place.
    threads:
        Worker threads; default: all cores. Results do not depend on it, nor on `chunk`.
    chunk:
        Dies per file while the run goes on; fewer where it is interrupted, or where they take long.
    precision:
        "float32" or "float64".
    progress:
        A progress bar on stderr; default: when stderr is a terminal.
    about:
        More to be written into the results: task, recipe, command.

    Raises
    ------
    NeurosimError
        Inputs, labels or dies that cannot be; an `out` that holds something else.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped = ns.map_network(net, ns.load_profile("mismatch"))
    >>> run = ns.deploy(mapped, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3, seed=7)
    >>> run.accuracy.values
    array([1., 1., 1.])
    """
    plan = make_plan(mapped, inputs, labels, dies, seed, time, programming, precision, keep_predictions,
                     keep_events, calibrate)
    threads = threads_of(threads, "deploy")
    chunk = max(whole("chunk", chunk, "deploy"), threads)
    done: dict[int, Counts] = {}
    target = Path(out) if out is not None else None
    if target is not None:
        if (found := already_there(target, plan)) is not None:
            return found
        done = resume(target, plan)
    todo = [number for number in plan.numbers if number not in done]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool, _bar(progress) as bar:
        nominal, needs = run_nominal(plan, pool)
        if target is not None:
            begin(target, plan)
        task = bar.add_task(f"dies of {mapped.profile.name}", total=len(plan.numbers),
                            completed=len(plan.numbers) - len(todo))
        made: dict[int, Counts] = {}
        kept = monotonic()
        try:
            for start in range(0, len(todo), chunk):
                numbers = todo[start:start + chunk]
                for number, counts in zip(numbers, run_dies(plan, numbers, pool, threads), strict=True):
                    made[number] = counts
                    bar.advance(task)
                    if number == numbers[-1] or monotonic() > kept + _KEPT:
                        if target is not None:
                            write_chunk(target, made)
                        done.update(made)
                        made, kept = {}, monotonic()
        finally:
            if target is not None and made:
                write_chunk(target, made)
    run = make_run(plan, joined(done, list(plan.numbers)), nominal, needs, about or {})
    if target is not None:
        run.save(target)
        finish(target)
    return run


def _bar(wanted: bool | None) -> Progress:
    show = sys.stderr.isatty() if wanted is None else wanted
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=Console(stderr=True), disable=not show)
