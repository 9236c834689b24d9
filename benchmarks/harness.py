"""What all benchmarks share: contestants timed in turn, the machine and the versions, one form of result.

A result is one object: `name, machine, versions, settings, results, bars, missing`. A bar is a figure that is held to
a limit: `what, value, at_least` or `at_most, holds`. What is measured never enters here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table


def arguments(description: str) -> argparse.Namespace:
    """`--json` and `--quick` from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else there")
    parser.add_argument("--quick", action="store_true", help="the same with fewer repetitions, under a minute")
    return parser.parse_args()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, object]:
    """Processor, cores, memory and system; no name that points to a computer."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    found: dict[str, object] = {"processor": model, "architecture": platform.machine(), "cores": cores(),
                                "system": platform.system()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gib"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    if hasattr(os, "getloadavg"):
        found["load_before"] = round(os.getloadavg()[0], 2)
    return found


def versions(*packages: str) -> dict[str, str]:
    """Of python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def missing(*modules: str) -> list[str]:
    """Those of the peers that are not installed."""
    return [module for module in modules if find_spec(module) is None]


def seconds(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Times of each contestant; one run each to warm up, then all in turn (A B A B ...), `rounds` times."""
    for run in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def spread(times: Sequence[float], unit: float = 1.0) -> dict[str, float]:
    """Median, least and largest of some times, in `unit` seconds."""
    return {"median": float(np.median(times)) / unit, "least": min(times) / unit, "largest": max(times) / unit}


def bar(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> dict[str, object]:
    """A figure and its limit.

    >>> bar("how many times faster", 31.0, at_least=20)["holds"]
    True
    """
    limit = {"at_least": at_least} if at_least is not None else {"at_most": at_most}
    holds = value >= at_least if at_least is not None else value <= at_most
    return {"what": what, "value": value, **limit, "holds": bool(holds)}


def finish(result: Mapping[str, object], rows: Sequence[Sequence[str]], as_json: bool) -> int:
    """Print a result: as JSON, or as a table of `rows` (the first is its head) and the bars. 1 if a bar is missed."""
    if as_json:
        json.dump(result, sys.stdout, indent=1)
        print()
    else:
        console = Console()
        table = Table(*rows[0], title=str(result["name"]))
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
        for entry in result["bars"]:
            limit = f"at least {entry['at_least']:g}" if "at_least" in entry else f"at most {entry['at_most']:g}"
            console.print(f"{entry['what']}: {entry['value']:.4g} ({limit}: {'holds' if entry['holds'] else 'MISSED'})",
                          highlight=False)
        for peer in result["missing"]:
            console.print(f"missing: {peer}, so not measured")
    return 0 if all(entry["holds"] for entry in result["bars"]) else 1


def run(description: str, measure: Callable[[bool], Mapping[str, object]],
        table: Callable[[Mapping[str, object]], Sequence[Sequence[str]]]) -> int:
    """A whole benchmark: options read (`measure` gets whether it is to be quick), the result printed; see `finish`.

    description: the module's docstring, of which `--help` shows the first line.
    """
    options = arguments(description.splitlines()[0])
    result = measure(options.quick)
    return finish(result, table(result), options.json)
