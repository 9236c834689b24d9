"""Settings that are chosen by what those before them gave: a search for the front of accuracy and energy, with optuna.

The only file that knows optuna, which is an extra.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from neurosim.deployment.sweep import Range, Setting, refuse_ranges
from neurosim.errors import NeurosimError, whole


@dataclass(frozen=True)
class Guided:
    """A search over the values of `ranges`: `points` different settings. Made by `guided`."""

    ranges: tuple[Range, ...]
    points: int
    seed: int


def guided(ranges: Sequence[Range], points: int | None, seed: int = 0) -> Guided:
    """A search for `pareto` in the place of settings.

    What it asks for follows from `seed` and from what it was told, so that an interrupted search goes the same way
    again.

    Source: multi-objective tree-structured Parzen estimator; Ozaki et al., J. Artif. Intell. Res. 73, 1209 (2022).

    Raises
    ------
    NeurosimError
        optuna is not installed; ranges or points that cannot be.
    """
    refuse_ranges(ranges)
    if points is None or points < 1:
        raise NeurosimError(f"{points} points of a search with optuna", where="pareto", allowed="--points of 1 or more")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise NeurosimError("optuna is not installed", where="--method optuna",
                            hint="pip install 'neurosim-dies[optuna]', or --method random") from None
    return Guided(tuple(ranges), min(points, math.prod(len(entry.values) for entry in ranges)),
                  whole("seed", seed, "pareto", 0, 64))


def each_value(found: Guided) -> list[Setting]:
    """Settings that have each value of each range once: what is to be refused is refused by one of them, mostly."""
    first = {entry.key: entry.values[0] for entry in found.ranges}
    return [first, *({**first, entry.key: value} for entry in found.ranges for value in entry.values[1:])]


def search(found: Guided, evaluate: Callable[[Setting], tuple[float, float]]) -> None:
    """Evaluate one setting after the other; `evaluate` gives mean accuracy (the more the better) and mean energy in
    joules (the less the better). In the place of one that was there already, another is drawn."""
    import optuna

    sizes = [len(entry.values) for entry in found.ranges]
    # places in a range, not values: it is in order, and its steps need not be even
    choices = {entry.key: optuna.distributions.IntDistribution(0, len(entry.values) - 1) for entry in found.ranges}
    folded = (found.seed ^ found.seed >> 32) & 0xffffffff  # it takes 32 bits
    sampler = optuna.samplers.TPESampler(seed=folded, n_startup_trials=max(1, min(10, found.points // 3)))
    drawn, seen = np.random.default_rng(found.seed), set()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        while len(seen) < found.points:
            trial = study.ask(choices)
            place = tuple(trial.params[key] for key in choices)
            if place in seen:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                while place in seen:
                    place = tuple(int(i) for i in drawn.integers(sizes))
                study.enqueue_trial(dict(zip(choices, place, strict=True)))
                trial = study.ask(choices)
            seen.add(place)
            setting = {entry.key: entry.values[i] for entry, i in zip(found.ranges, place, strict=True)}
            study.tell(trial, evaluate(setting))
    finally:
        optuna.logging.set_verbosity(before)
