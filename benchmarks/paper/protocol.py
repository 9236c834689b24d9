"""What is compared: experiments (data and network), methods, and the settings that each method may choose from.

Every method gets as many epochs, the same batches, and a sweep of up to four settings on validation data. Where the
published setting is another (or is known to be a handicap, see docs/paper.md), it stands beside as a method of its own,
`..._published`, with nothing to choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.paper.published import LEVELS
from neurosim.errors import NeurosimError, did_you_mean
from neurosim.training import DEFAULTS

__all__ = ["EXPERIMENTS", "LEVELS", "METHODS", "TEST_LOT", "Experiment", "Method", "experiment", "method"]
#: the lot of dies on which everything is tested: die k is the same for every method, and scaled with the level
TEST_LOT = 1


@dataclass(frozen=True)
class Experiment:
    """task and options: of `load_task`; size: of the model; data: its name in `published`; chosen_on: the experiment
    whose sweep chose the settings, its own where that is empty."""

    name: str
    task: str
    data: str
    options: Mapping[str, object] = field(default_factory=dict)
    size: Mapping[str, object] = field(default_factory=dict)
    about: str = ""
    chosen_on: str = ""

    @property
    def epochs(self) -> int:
        """The published budget."""
        return sum(count for count, _ in DEFAULTS[self.task].training["learning_rate"])


EXPERIMENTS = {experiment.name: experiment for experiment in (
    Experiment("ecg", "ecg", "ecg", about="MIT-BIH beats, split at random over beats, as published"),
    Experiment("ecg_patient", "ecg", "", {"split": "patient"},
               about="MIT-BIH beats, no patient in both training and test: validation, which shares patients with "
               "training, stands far above the test", chosen_on="ecg"),
    Experiment("speech", "speech", "speech", about="the test part of Speech Commands v0.02, split by speaker: absolute "
               "figures do not compare with the published ones, differences between methods do"),
    Experiment("fmnist", "fmnist", "fmnist", about="Fashion-MNIST, normalised features with statistics of training"),
    Experiment("fmnist_batch", "fmnist", "fmnist", {}, {"statistics": "batch"},
               about="Fashion-MNIST, statistics of the batch at hand in testing, too, as published",
               chosen_on="fmnist"),
)}


@dataclass(frozen=True)
class Method:
    """A recipe with the settings to choose from (the first is taken where no sweep has chosen).

    tasks: settings that differ for a task.
    """

    recipe: str
    candidates: Sequence[Mapping[str, object]] = ({},)
    tasks: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def settings(self, task: str) -> list[dict[str, object]]:
        """The candidates for a task."""
        return [{**candidate, **self.tasks.get(task, {})} for candidate in self.candidates]


METHODS: dict[str, Method] = {
    "standard": Method("standard"),
    "dropout": Method("dropout", ({"p": 0.3}, {"p": 0.1}, {"p": 0.5})),
    "awp": Method("awp", ({"size": 0.1}, {"size": 0.05}, {"size": 0.2})),
    "amp": Method("amp", ({"epsilon": 0.05}, {"epsilon": 0.02}, {"epsilon": 0.1})),
    "forward_noise": Method("forward_noise", ({"eta": 0.5}, {"eta": 0.3}, {"eta": 0.7})),
    "adversarial": Method("adversarial", ({"beta": 0.25}, {"beta": 0.5}, {"beta": 0.25, "size": 0.2})),
    "hybrid": Method("hybrid", ({"eta": 0.5}, {"eta": 0.3}, {"eta": 0.5, "beta": 0.25})),
    "abcd": Method("abcd", ({"eta": 0.1}, {"eta": 0.01}, {"eta": 1.0})),
    "entropy_sgd": Method("entropy_sgd", ({"rate": 0.1}, {"rate": 0.01}, {"rate": 0.1, "gamma0": 0.1})),
    "sam": Method("sam", ({"rho": 0.05}, {"rho": 0.2}, {"rho": 0.01})),
    "asam": Method("asam", ({"rho": 0.5}, {"rho": 1.0}, {"rho": 2.0})),
    "robust": Method("robust", ({"eta": 0.6}, {"eta": 0.7}, {"eta": 0.4})),
    "robust_strong": Method("robust", ({"eta": 0.7},)),  # beside the choice: for dies far from what was meant
    "dropout_published": Method("dropout", ({"p": 0.3, "rescale": False, "shared": True},)),
    "awp_published": Method("awp", ({"size": 0.2, "gamma": 0.1},), {"speech": {"inputs": 0.01}}),
    "amp_published": Method("amp", ({"epsilon": 0.02, "relative": False},),
                            {"speech": {"epsilon": 0.01}, "fmnist": {"epsilon": 0.005}}),
    "forward_noise_published": Method("forward_noise", ({"eta": 0.3},)),
    "adversarial_published": Method("adversarial", ({"beta": 0.25},), {"speech": {"beta": 0.5}}),
    "hybrid_published": Method("hybrid", ({"eta": 0.3, "beta": 0.1},), {"speech": {"beta": 0.5}}),
}


def experiment(name: str) -> Experiment:
    """An experiment by its name."""
    if name not in EXPERIMENTS:
        raise NeurosimError(f"there is no experiment {name!r}", where="benchmarks.paper",
                            allowed=", ".join(EXPERIMENTS), hint=did_you_mean(name, list(EXPERIMENTS)))
    return EXPERIMENTS[name]


def method(name: str) -> Method:
    """A method by its name."""
    if name not in METHODS:
        raise NeurosimError(f"there is no method {name!r}", where="benchmarks.paper", allowed=", ".join(METHODS),
                            hint=did_you_mean(name, list(METHODS)))
    return METHODS[name]
