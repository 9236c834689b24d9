"""Write docs/paper.md: what was measured beside what was published. Nothing in it is typed by hand but the words.

    python -m benchmarks.paper.page [--check]

With --check nothing is written, and the exit code is 1 where the page is not that of the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.paper import published
from benchmarks.paper.cells import RESULTS, budget_of
from benchmarks.paper.protocol import EXPERIMENTS, LEVELS, METHODS
from benchmarks.paper.table1 import half_width, statistics
from neurosim.writing import written_beside

PAGE = Path(__file__).parents[2] / "docs" / "paper.md"

HEAD = f"""# The paper's tables, run again

The experiments of {published.SOURCE}, arXiv:2106.05009,
with neurosim's recipes and its simulated dies. This page is written by `python -m benchmarks.paper.page` from the files
in `benchmarks/paper/results`; each of them says its settings, seed and versions.

    python -m benchmarks.paper.sweep ecg --epochs 8        # settings of every method, on validation data
    python -m benchmarks.paper.table1 ecg --seeds 0 1 2    # trains and tests; goes on where it was stopped
    python -m benchmarks.paper.curves ecg                  # worst-case attacks, loss landscapes
    python -m benchmarks.paper.pcm --cifar FOLDER          # a residual network on phase-change memory over a year
    python -m benchmarks.paper.beyond neurons              # thresholds and time constants; or dynap, or pcm

How it is done: every method has the same network, initial weights for a seed, order of batches, epochs and learning
rates. A die multiplies every weight and bias by N(1, zeta^2), once; die k is the same for every method, and its
deviations scale with zeta. Settings were chosen among at most four a method on validation data, each candidate with the
same budget. No test data entered a choice but one: `robust_strong`, that is `robust` with eta = 0.7 whatever was
chosen, was added after `robust` had been tested at zeta 0.7 on ECG. (On speech ten updates a batch were tried, too,
after the test of five; they were no better, and five stayed.) Methods named `..._published` have the published setting.
In a cell: mean +- standard deviation, least die, over all dies and seeds, in percent; n is the number of seeds.
Published cells are over 2 networks x 100 draws.

Budgets are in epochs, for all alike; what a batch costs is each method's own. In passes forward and back: `standard`,
`dropout` and `forward_noise` 1; `sam` and `asam` 2; `abcd` 4, of which two updates come; `robust` 5,
each an update; `entropy_sgd` 10; those that attack about 11 (`python -m benchmarks.attack_cost`). Where epochs are few,
several updates with a batch are an advantage of their own: a table with five times the epochs, where there is one,
shows what `standard` and `forward_noise` make of as many updates as `robust`.
"""


def number(value: float) -> str:
    return f"{value:.2f}"


def spoken_budget(budget: str) -> str:
    """`5-of-1000` in words.

    >>> spoken_budget("1"), spoken_budget("5-of-1000")
    ('1 epoch', '5 epochs of 1000 samples')
    """
    epochs, _, samples = budget.partition("-of-")
    return f"{epochs} epoch{'' if epochs == '1' else 's'}{f' of {samples} samples' if samples else ''}"


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def tables(root: Path = RESULTS) -> Iterator[str]:
    """A section for each experiment and budget that has results."""
    for folder in sorted((root / "table1").glob("*-*"), key=lambda path: path.name):
        name, _, budget = folder.name.partition("-")
        results: dict[str, list[Mapping[str, object]]] = {}
        for file in sorted(folder.glob("*.json")):
            found = json.loads(file.read_text())
            results.setdefault(found["asked"]["method"], []).append(found)
        full, said, about = EXPERIMENTS[name].epochs, spoken_budget(budget), EXPERIMENTS[name].about
        yield f"## {name}, {said}\n"
        beside = "the published budget" if budget == str(full) else f"the published budget is {full}"
        tested = {found["samples"] for of in results.values() for found in of}
        chosen = f" Settings as chosen on {EXPERIMENTS[name].chosen_on}." if EXPERIMENTS[name].chosen_on else ""
        yield (f"{about[0].upper()}{about[1:]}. {said[0].upper()}{said[1:]} ({beside}), "
               f"{' or '.join(map(str, sorted(tested)))} test samples.{chosen}\n")
        yield row(["method", "setting", "n", *(f"zeta {level:g}" for level in LEVELS)])
        yield row(["---"] * (3 + len(LEVELS)))
        other = published.TABLE_1.get(EXPERIMENTS[name].data, {})
        for method in (method for method in METHODS if method in results):
            cells = statistics(results[method])
            setting = " ".join(f"{key}={value}" for key, value in results[method][0]["asked"]["settings"].items())
            yield row([method, setting or "defaults", str(len(results[method])), *(
                f"{number(cells[str(z)]['mean'])} +- {number(cells[str(z)]['sd'])}, {number(cells[str(z)]['min'])}"
                for z in LEVELS)])
            if (of := method.removesuffix("_published")) in other and (of != method or of == "standard"):
                yield row([f"*{of}, as printed*", "", "2", *(
                    f"*{number(mean)} +- {number(sd)}, {number(least)}*" for mean, sd, least in other[of])])
        yield ""
        if missing := [method for method in METHODS if method not in results]:
            yield f"Not run yet at this budget: {', '.join(missing)}.\n"
        yield from intervals(results)
        yield from rivals(results)
    if missing := [name for name in EXPERIMENTS if not list((root / "table1").glob(f"{name}-[0-9]*"))]:
        yield f"Not run yet: {', '.join(missing)}.\n"


def rivals(results: Mapping[str, list[Mapping[str, object]]]) -> Iterator[str]:
    """robust beside the best of all others at each level: by the mean, and by the 5th percentile of the dies."""
    if "robust" not in results or len(results) < 2:
        return

    def means(method: str, level: str) -> dict[int, float]:
        return {found["asked"]["seed"]: 100 * np.mean(found["right"][level]) / found["samples"]
                for found in results[method]}

    cells = {method: statistics(found) for method, found in results.items()}
    others = [method for method in METHODS if method in cells and METHODS[method].recipe != "robust"]
    yield (f"robust beside the best of {', '.join(others)} at each level. Difference: of the means, by seeds that both "
           "have, with its 95 % interval (Student's t) where there are three:\n")
    yield row(["zeta", "robust, mean", "best rival", "its mean", "difference", "robust, 5th percentile", "best rival",
               "its 5th percentile"])
    yield row(["---"] * 8)
    for level in map(str, LEVELS):
        best = max(others, key=lambda name: cells[name][level]["mean"])
        low = max(others, key=lambda name: cells[name][level]["p5"])
        ours, theirs = means("robust", level), means(best, level)
        apart = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        half = half_width(apart)
        interval = "" if np.isnan(half) else f" [{np.mean(apart) - half:+.2f}, {np.mean(apart) + half:+.2f}]"
        yield row([level, number(cells["robust"][level]["mean"]), best, number(cells[best][level]["mean"]),
                   f"{np.mean(apart):+.2f}{interval}" if apart else "", number(cells["robust"][level]["p5"]), low,
                   number(cells[low][level]["p5"])])
    yield ""


def intervals(results: Mapping[str, list[Mapping[str, object]]]) -> Iterator[str]:
    """95 % intervals of the mean over seeds, and the 5th percentile of dies, where there are three seeds."""
    several = {method: statistics(found) for method, found in results.items() if len(found) > 2}
    if not several:
        return
    yield "95 % interval of the mean over seeds (Student's t); 5th percentile of the dies:\n"
    yield row(["method", *(f"zeta {level:g}" for level in LEVELS)])
    yield row(["---"] * (1 + len(LEVELS)))
    for method in (method for method in METHODS if method in several):
        cells = several[method]
        yield row([method, *(f"[{number(cells[str(z)]['low'])}, {number(cells[str(z)]['high'])}]; "
                             f"{number(cells[str(z)]['p5'])}" for z in LEVELS)])
    yield ""


def sweeps(root: Path = RESULTS) -> Iterator[str]:
    """What was chosen among."""
    files = sorted((root / "sweep").glob("*-*.json"))
    if not files:
        return
    yield "## What the settings were chosen among\n"
    yield ("Validation accuracy at each level, mean over draws; the one in bold was taken, in tables of this budget "
           "and above, up to the next budget that a method has here.\n")
    for file in files:
        found = json.loads(file.read_text())
        (name, _, budget), seed = file.stem.partition("-"), found["budget"]["seed"]
        yield f"**{name}**, {spoken_budget(budget)} a candidate, seed {seed}:\n"
        yield row(["method", "setting", *(f"zeta {level:g}" for level in LEVELS), "mean"])
        yield row(["---"] * (3 + len(LEVELS)))
        for method in (method for method in METHODS if method in found["scores"]):
            for entry in found["scores"][method]:
                setting = " ".join(f"{key}={value}" for key, value in entry["settings"].items()) or "defaults"
                bold = f"**{setting}**" if entry["settings"] == found["chosen"][method] else setting
                mean = sum(entry["accuracy"]) / len(entry["accuracy"])
                yield row([method, bold, *(number(100 * a) for a in entry["accuracy"]), number(100 * mean)])
        yield ""


def curves(root: Path = RESULTS) -> Iterator[str]:
    """Worst-case attacks and loss landscapes."""
    for file in sorted((root / "curves").glob("*.json")):
        found = json.loads(file.read_text())
        name = found["asked"]["experiment"]
        sizes = [f"{point['size']:g}" for point in next(iter(found["methods"].values()))["task"]["points"]]
        asked = found["asked"]
        yield f"## Worst case: {name}, {spoken_budget(budget_of(asked))}, seed {asked['seed']}\n"
        yield ("Test accuracy when every parameter may move by up to the given share of itself: attacked (10 steps up "
               "the task's loss / up the KL divergence from the network itself) / mean over random corners of the same "
               "box. Flatness: mean |dL/dalpha| of the test loss along N(0, (0.2 |theta|)^2), table S1.\n")
        yield row(["method", *sizes, "flatness", "*published*"])
        yield row(["---"] * (3 + len(sizes)))
        flat = published.FLATNESS.get(EXPERIMENTS[name].data, {})
        for method, entry in found["methods"].items():
            points = zip(entry["task"]["points"], entry["kl"]["points"], strict=True)
            other = flat.get(method.removesuffix("_published"))
            yield row([method, *(f"{number(100 * task['attacked'])} / {number(100 * kl['attacked'])} / "
                                 f"{number(100 * task['corner_mean'])}" for task, kl in points),
                       f"{entry['flatness']:.4f}", "" if other is None else f"*{other:.4f}*"])
        yield ""


def pcm(root: Path = RESULTS) -> Iterator[str]:
    """The residual network on phase-change memory."""
    for file in sorted((root / "pcm").glob("*.json")):
        found = json.loads(file.read_text())
        asked, variants = found["asked"], found["variants"]
        times = list(next(iter(variants.values()))["right"])
        trained = f"{asked['train_samples']} training images" if asked["train_samples"] else "all training images"
        tested = next(iter(variants.values()))["samples"]
        yield f"## Phase-change memory over a year: {asked['task']}\n"
        yield (f"Residual network with {asked['blocks']} blocks a stage, {asked['epochs']} epochs of {trained}, seed "
               f"{asked['seed']}; {asked['dies']} dies of pcm_joshi, {tested} test images, global drift compensation: "
               "mean +- standard deviation, least die. `noise` and `attacked` go on from `standard`.\n")
        if asked["task"] != "cifar10":
            yield "CIFAR-10 was not at hand: these are the figures of another data set, by the same command.\n"
        yield row(["", "itself", *times])
        yield row(["---"] * (2 + len(times)))
        for name, entry in variants.items():
            shares = [100 * np.array(entry["right"][time]) / entry["samples"] for time in times]
            yield row([name, number(100 * entry["itself"] / entry["samples"]), *(
                f"{number(share.mean())} +- {number(share.std(ddof=1))}, {number(share.min())}" for share in shares)])
        yield ""


_BEYOND = {
    "neurons": ("thresholds and time constants, too", "ECG, LSNN; every weight and bias times N(1, s^2), every "
                "threshold and time constant times a lognormal number of the same spread s; trained for s = 0.3"),
    "dynap": ("circuits of a DYNAP-SE2", "Digits on circuits; every current of every bias and synapse as the profile "
              "dynap_se2 spreads it"),
    "pcm": ("phase-change memory with 8-bit converters", "Speech, LSNN, on pcm_joshi an hour after programming, 8-bit "
            "converters, global drift compensation"),
}


def beyond(root: Path = RESULTS) -> Iterator[str]:
    """What the paper leaves as future work."""
    for file in sorted((root / "beyond").glob("*.json")):
        found = json.loads(file.read_text())
        asked, ways = found["asked"], found["ways"]
        title, about = _BEYOND[asked["scenario"]]
        columns = list(next(iter(ways.values()))["right"])
        epochs = f"{asked['epochs']} epochs" if asked["epochs"] else "the task's epochs"
        yield f"## Beyond weights: {title}\n"
        yield (f"{about}. {epochs[0].upper()}{epochs[1:]}, seed {asked['seed']}, {asked['dies']} dies: mean +- "
               "standard deviation, least die.\n")
        yield row(["trained", "itself", *(f"s = {column}" if column else "on dies" for column in columns)])
        yield row(["---"] * (2 + len(columns)))
        for name, entry in ways.items():
            shares = [100 * np.array(entry["right"][column]) / entry["samples"] for column in columns]
            yield row([name, number(100 * entry["itself"] / entry["samples"]), *(
                f"{number(share.mean())} +- {number(share.std(ddof=1))}, {number(share.min())}" for share in shares)])
        yield ""


def text(root: Path = RESULTS) -> str:
    """The page."""
    return "\n".join([HEAD, *tables(root), *curves(root), *pcm(root), *beyond(root), *sweeps(root)]).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    if parser.parse_args().check:
        return int(not PAGE.exists() or PAGE.read_text() != text())
    with written_beside(PAGE) as temporary:
        temporary.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
