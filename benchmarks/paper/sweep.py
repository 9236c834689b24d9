"""Choose the settings of every method on validation data: the same budget for each candidate of each method.

A candidate is trained for `--epochs` epochs with one seed. Its score is the mean validation accuracy over the levels of
mismatch {0, .1, .2, .3, .5, .7}, over 10 draws each (the same for all); the best one is what `table1` trains with, if
no sweep is nearer to its budget. No test data are looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.paper.cells import RESULTS, Cell, budget_of, part, trained_for, write
from benchmarks.paper.jobs import common, in_processes, spoken
from benchmarks.paper.protocol import LEVELS, METHODS, experiment, method
from neurosim.training.deviations import relative
from neurosim.training.monitoring import noisy_accuracy

DRAWS, LOT = 10, 7
_MOST = 1500  # validation samples of a score; only Fashion-MNIST has more


def score(cell: Cell, work: Path) -> list[float]:
    """Validation accuracy at every level, mean over draws."""
    trained, task = trained_for(cell, work)
    inputs, labels = part(task.validation, min(_MOST, len(task.validation)))
    samples = (torch.tensor(inputs), torch.tensor(labels))
    parameters = {name: value.detach() for name, value in trained.model.named_parameters()}
    readout = trained.settings["readout"]
    return [noisy_accuracy(trained.model, parameters, samples, readout, relative, level, DRAWS if level else 1, LOT)
            for level in LEVELS]


def sweep(name: str, methods: Sequence[str], epochs: int, seed: int, work: Path, jobs: int,
          train_samples: int = 0) -> dict[str, object]:
    """Scores of all candidates, and what is chosen; adds to the file of the budget, where it is there."""
    budget = {"epochs": epochs, "seed": seed, "draws": DRAWS, "levels": list(LEVELS),
              **({"train_samples": train_samples} if train_samples else {})}
    file = RESULTS / "sweep" / f"{name}-{budget_of(budget)}.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    if found.get("budget") != budget:
        found = {"budget": budget, "scores": {}, "chosen": {}}
    todo = {}
    for of in methods:
        candidates = method(of).settings(experiment(name).task)
        if len(candidates) > 1 and [entry["settings"] for entry in found["scores"].get(of, [])] != candidates:
            for number, settings in enumerate(candidates):
                todo[of, number] = Cell(experiment(name), f"{of}_{number}", method(of).recipe, settings, seed, epochs,
                                        train_samples=train_samples)
    done: dict[str, dict[int, dict[str, object]]] = {}
    for (of, number), accuracies in in_processes(score, todo, work, jobs, f"sweep of {name}"):
        done.setdefault(of, {})[number] = {"settings": dict(todo[of, number].settings), "accuracy": accuracies}
        if len(done[of]) == len(method(of).candidates):
            found["scores"][of] = [done[of][i] for i in sorted(done[of])]
            best = max(found["scores"][of], key=lambda entry: sum(entry["accuracy"]))
            found["chosen"][of] = best["settings"]
            for part in ("scores", "chosen"):  # not as they came
                found[part] = {name: found[part][name] for name in METHODS if name in found[part]}
            write(file, found)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common(parser)
    parser.add_argument("--epochs", type=int, default=20, help="budget of every candidate (default 20)")
    parser.add_argument("--seed", type=int, default=100, help="not one of those that are tested (default 100)")
    parser.add_argument("--train-samples", type=int, default=0, help="training samples of an epoch (default: all)")
    options = parser.parse_args()
    found = sweep(options.experiment, options.methods or list(METHODS), options.epochs, options.seed, options.work,
                  options.jobs, options.train_samples)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
        print()
    else:
        for of, entries in found["scores"].items():
            for entry in entries:
                mark = "*" if entry["settings"] == found["chosen"][of] else " "
                print(f"{mark} {of:16} {entry['settings']!s:40}", *(f"{100 * a:6.2f}" for a in entry["accuracy"]))
    return 0


if __name__ == "__main__":
    sys.exit(spoken(main))
