"""Worst-case attacks and loss landscapes of networks that `table1` trained: figures 3, S3, S5 and table S1.

Accuracy on the test samples under attack on the task's loss and on the KL divergence, under random corners of the same
box, and under Gaussian mismatch of the same size; and the loss along random directions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.paper.cells import RESULTS, Cell, budget_of, choice, part, trained_for, write
from benchmarks.paper.jobs import common, in_processes, spoken
from benchmarks.paper.protocol import METHODS, experiment, method
from neurosim.training import Attack, Objective, landscape, vulnerability

SIZES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
DRAWS = 10


def curves_of(cell: Cell, work: Path) -> dict[str, object]:
    """Attacks and landscape of one network."""
    trained, task = trained_for(cell, work)
    inputs, labels = map(torch.tensor, part(task.test, cell.samples))

    def objective(x: torch.Tensor, y: torch.Tensor) -> Objective:
        return Objective(trained.model, x, y, trained.settings["readout"])

    found = {loss: vulnerability(objective, inputs, labels, SIZES, how=Attack(loss=loss), draws=DRAWS).as_dict()
             for loss in ("task", "kl")}
    around = landscape(objective, inputs, labels)
    return {**found, "landscape": {"steps": around.steps, "losses": around.losses}, "flatness": around.slope}


def curves(cells: Sequence[Cell], work: Path, jobs: int) -> dict[str, object]:
    """Those of every network, into one file."""
    about = cells[0]
    asked = {"experiment": about.experiment.name, "epochs": about.epochs, "seed": about.seed, "samples": about.samples,
             **({"train_samples": about.train_samples} if about.train_samples else {})}
    file = RESULTS / "curves" / f"{about.experiment.name}-{budget_of(asked)}-{about.seed}.json"
    found: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
    entries: Mapping[str, object] = found.get("methods", {}) if found.get("asked") == asked else {}
    todo = {cell.method: cell for cell in cells if entries.get(cell.method, {}).get("settings") != dict(cell.settings)}
    for name, result in in_processes(curves_of, todo, work, jobs, f"curves of {about.experiment.name}"):
        entries = {**entries, name: {"settings": dict(todo[name].settings), **result}}
        entries = {of: entries[of] for of in METHODS if of in entries}
        write(file, {"asked": asked, "methods": entries})
    return {"asked": asked, "methods": entries}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common(parser)
    parser.add_argument("--epochs", type=int, help="default: the published budget")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--test-samples", type=int, default=0, help="test samples that count (default: all)")
    parser.add_argument("--train-samples", type=int, default=0, help="as table1 was told (default: all)")
    options = parser.parse_args()
    asked = experiment(options.experiment)
    epochs = options.epochs or asked.epochs
    cells = [Cell(asked, name, method(name).recipe,
                  choice(asked, name, method(name).settings(asked.task), epochs, options.train_samples), options.seed,
                  epochs, samples=options.test_samples, train_samples=options.train_samples)
             for name in options.methods or METHODS]
    found = curves(cells, options.work, options.jobs)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return 0
    print(f"{asked.name}: accuracy under attack on the task's loss / mean over random corners, percent; flatness")
    print(f"{'':24}", *(f"{size:>13g}" for size in SIZES))
    for name, entry in found["methods"].items():
        print(f"{name:24}", *(f"{100 * p['attacked']:6.2f}/{100 * p['corner_mean']:6.2f}"
                              for p in entry["task"]["points"]), f"{entry['flatness']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(spoken(main))
