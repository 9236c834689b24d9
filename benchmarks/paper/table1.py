"""Accuracy on dies with mismatch, method by method: table 1 of Buechel, Faber and Muir (ICLR 2022), and our rows.

Every method is trained with the same epochs, batches and seeds, with the settings that `sweep` chose for it or the
published ones, and tested on the same dies at zeta = 0, .1, .2, .3, .5 and .7.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.paper.cells import Cell, choice, result_of
from benchmarks.paper.jobs import common, in_processes, spoken
from benchmarks.paper.protocol import LEVELS, METHODS, experiment, method


def half_width(means: Sequence[float]) -> float:
    """Half of the 95 % interval of their mean, by Student's t; nan where they are fewer than three."""
    from scipy.stats import t

    count = len(means)
    return np.nan if count < 3 else float(t.ppf(0.975, count - 1) * np.std(means, ddof=1) / count**0.5)


def statistics(results: Sequence[Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """Mean, sd, least and 5th percentile in percent at each level, over all dies of all seeds; and the interval.

    low, high: of the mean over seeds, 95 %, by Student's t where there are three seeds or more; nan otherwise.
    """
    found = {}
    for level in map(str, LEVELS):
        seeds = [100 * np.array(result["right"][level]) / result["samples"] for result in results]
        means, dies = np.array([each.mean() for each in seeds]), np.concatenate(seeds)
        half = half_width(means)
        found[level] = {"mean": float(means.mean()), "sd": float(dies.std(ddof=1)) if dies.size > 1 else 0.0,
                        "min": float(dies.min()), "p5": float(np.percentile(dies, 5)),
                        "low": float(means.mean() - half), "high": float(means.mean() + half)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common(parser)
    parser.add_argument("--epochs", type=int, help="default: the published budget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    parser.add_argument("--dies", type=int, default=100, help="default: 100")
    parser.add_argument("--test-samples", type=int, default=0, help="test samples that count (default: all)")
    parser.add_argument("--train-samples", type=int, default=0, help="training samples of an epoch (default: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    options = parser.parse_args()
    asked = experiment(options.experiment)
    epochs = options.epochs or asked.epochs
    cells = {(name, seed): Cell(asked, name, method(name).recipe,
                                choice(asked, name, method(name).settings(asked.task), epochs, options.train_samples),
                                seed, epochs, options.dies, options.test_samples, options.device,
                                options.train_samples)
             for seed in options.seeds for name in options.methods or METHODS}
    found: dict[str, list[dict[str, object]]] = {}
    done = dict(in_processes(result_of, cells, options.work, options.jobs, f"table 1, {asked.name}"))
    for name, seed in cells:  # not as they came: a sum depends on the order
        found.setdefault(name, []).append(done[name, seed])
    table = {name: statistics(results) for name, results in found.items()}
    if options.json:
        json.dump(table, sys.stdout, indent=1)
        print()
        return 0
    print(f"{asked.name}: mean / least of {options.dies} dies x {len(options.seeds)} seeds, percent")
    print(f"{'':24}", *(f"{f'zeta {level:g}':>13}" for level in LEVELS))
    for name in (name for name in METHODS if name in table):
        print(f"{name:24}", *(f"{table[name][str(z)]['mean']:6.2f}/{table[name][str(z)]['min']:6.2f}" for z in LEVELS))
    return 0


if __name__ == "__main__":
    sys.exit(spoken(main))
