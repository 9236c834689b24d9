"""How the experiments' commands run: their common options, cells in processes side by side, errors as one sentence."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import harness
from benchmarks.paper.protocol import EXPERIMENTS, METHODS
from neurosim.errors import NeurosimError

Key, Job, Found = TypeVar("Key"), TypeVar("Job"), TypeVar("Found")


def common(parser: argparse.ArgumentParser) -> None:
    """The options that all commands have."""
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD",
                        help=f"default: all ({', '.join(METHODS)})")
    parser.add_argument("--work", type=Path, default=Path("paper-work"),
                        help="folder for models and checkpoints (default paper-work)")
    parser.add_argument("--jobs", type=int, default=harness.cores(),
                        help="processes side by side, one thread each (default: one a core)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else there")


def in_processes(work_on: Callable[[Job, Path], Found], jobs: Mapping[Key, Job], work: Path, processes: int,
                 title: str) -> Iterator[tuple[Key, Found]]:
    """The results of all jobs as they come, each computed by `work_on(job, work)` in a process of one thread."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[last]}"))
    context = multiprocessing.get_context("spawn")
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar, \
            ProcessPoolExecutor(max(1, processes), context, torch.set_num_threads, (1,)) as pool:
        row = bar.add_task(title, total=len(jobs), last="")
        waiting = {pool.submit(work_on, job, work): key for key, job in jobs.items()}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
                bar.update(row, advance=1, last=str(waiting[future]))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def spoken(main: Callable[[], int]) -> int:
    """`main`'s exit code; 2 and one sentence when the input is wrong."""
    try:
        return main()
    except NeurosimError as error:
        print(error, file=sys.stderr)
        return 2
