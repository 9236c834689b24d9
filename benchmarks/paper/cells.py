"""One cell of the comparison: a network trained with one method and seed, and its accuracy on dies.

A cell is a pure function of (experiment, settings, epochs, seed, dies, versions), and its result a small JSON file of
right answers; where that file is there and says the same, nothing is computed. Training goes on from its checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import nn

from benchmarks import harness
from benchmarks.paper.protocol import EXPERIMENTS, LEVELS, TEST_LOT, Experiment
from neurosim.deployment import deploy
from neurosim.errors import NeurosimError
from neurosim.mapping import map_network
from neurosim.network import Network
from neurosim.profile import load_profile
from neurosim.tasks import Split, Task, load_task
from neurosim.training import DEFAULTS, Trained, build, moved, to_network, train
from neurosim.training.deviations import gaussian, relative
from neurosim.training.monitoring import accuracy
from neurosim.writing import written_beside

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Cell:
    """What is trained, and on how many dies it is tested.

    samples, train_samples: of the test and the training set, spread over it; all if 0.
    """

    experiment: Experiment
    method: str
    recipe: str
    settings: Mapping[str, object]
    seed: int
    epochs: int
    dies: int = 100
    samples: int = 0
    device: str = "cpu"
    train_samples: int = 0

    @property
    def file(self) -> Path:
        """Where its result lies."""
        folder = RESULTS / "table1" / f"{self.experiment.name}-{budget_of(self.asked)}"
        return folder / f"{self.method}-{self.seed}.json"

    @property
    def asked(self) -> dict[str, object]:
        """All that its result depends on."""
        return {"experiment": self.experiment.name, "method": self.method, "recipe": self.recipe,
                "settings": dict(self.settings), "seed": self.seed, "epochs": self.epochs, "dies": self.dies,
                "lot": TEST_LOT, "test_samples": self.samples, "levels": list(LEVELS),
                **({"train_samples": self.train_samples} if self.train_samples else {})}


def budget_of(asked: Mapping[str, object]) -> str:
    """Epochs, and of how many samples where not of all; part of a name.

    >>> budget_of({"epochs": 20}), budget_of({"epochs": 5, "train_samples": 1000})
    ('20', '5-of-1000')
    """
    return f"{asked['epochs']}-of-{asked['train_samples']}" if "train_samples" in asked else str(asked["epochs"])


def result_of(cell: Cell, work: Path, tick: Callable[[int, int], None] | None = None) -> dict[str, object]:
    """The result of a cell, computed unless it is there."""
    if cell.file.exists():
        found = json.loads(cell.file.read_text())
        if found["asked"] == cell.asked:
            return found
    trained, task = trained_for(cell, work, tick)
    dies = list(right_on_dies(trained.model, network_of(trained, task), cell, task))
    at_best = {name: values[trained.best_epoch - 1] for name, values in trained.history.items()}
    result = {"asked": cell.asked, "trainer": dict(trained.settings), "best_epoch": trained.best_epoch,
              "at_best_epoch": at_best, "samples": len(part(task.test, cell.samples)[1]), "task_hash": task.hash,
              "right": dict(zip(map(str, LEVELS), dies, strict=True)),
              "versions": harness.versions("neurosim-dies", "torch", "numpy", "numba")}
    write(cell.file, result)
    return result


def write(path: Path, result: Mapping[str, object]) -> None:
    """A result as JSON, one list to a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    with written_beside(path) as temporary:
        temporary.write_text("{\n" + body + "\n}\n")


@cache
def task_of(name: str) -> Task:
    """The data of an experiment, read once in a process."""
    return load_task(EXPERIMENTS[name].task, **EXPERIMENTS[name].options)


def trained_for(cell: Cell, work: Path, tick: Callable[[int, int], None] | None = None) -> tuple[Trained, Task]:
    """The trained module of a cell: read from the work folder, or trained there."""
    task, experiment = task_of(cell.experiment.name), cell.experiment
    model = build(experiment.task, task.channels, len(task.classes), cell.seed, **experiment.size)
    said = json.dumps({name: cell.asked[name] for name in ("recipe", "settings", "epochs", "seed", "train_samples")
                       if name in cell.asked}, sort_keys=True)
    # methods with the same settings are one network: what was chosen is now and then what was published
    key = f"{experiment.name}-{cell.epochs}-{cell.recipe}-{crc32(said.encode()):08x}-{cell.seed}"
    kept = work / f"{key}.pt"
    if kept.exists() and (found := torch.load(kept, weights_only=True))["asked"] == said:
        model.load_state_dict(found["state"])
        return Trained(model.eval(), found["best_epoch"], {name: tuple(v) for name, v in found["history"].items()},
                       cell.recipe, found["settings"], cell.seed, found["data_hash"]), task
    work.mkdir(parents=True, exist_ok=True)
    options = {**DEFAULTS[experiment.task].training, "epochs": cell.epochs, **cell.settings}
    trained = train(model, *part(task.train, cell.train_samples), recipe=cell.recipe, seed=cell.seed,
                    validation=(task.validation.inputs, task.validation.labels), device=cell.device,
                    checkpoint=work / f"{key}.checkpoint", resume=True, metrics=work / f"{key}.jsonl", tick=tick,
                    **options)
    with written_beside(kept) as temporary:
        torch.save({"asked": said, "state": trained.model.state_dict(), "best_epoch": trained.best_epoch,
                    "history": {name: list(v) for name, v in trained.history.items()},
                    "settings": dict(trained.settings), "data_hash": trained.data_hash}, temporary)
    (work / f"{key}.checkpoint").unlink(missing_ok=True)
    return trained, task


def network_of(trained: Trained, task: Task) -> Network | None:
    """The network for deployment; None for a module that no chip can hold (statistics of the batch)."""
    if any(getattr(layer, "track_running_stats", True) is False for layer in trained.model.modules()):
        return None
    return to_network(trained, task.validation.inputs[:, :8], task.dt)


def part(split: Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of `count` samples, spread over a split; of all where it is 0."""
    if not 0 <= count <= len(split):
        raise NeurosimError(f"{count} samples asked for", where="benchmarks.paper",
                            allowed=f"1 to {len(split)}, or all: 0")
    if count in (0, len(split)):
        return split.inputs, split.labels
    chosen = np.arange(count) * len(split) // count
    return np.ascontiguousarray(split.inputs[:, chosen]), split.labels[chosen]


def right_on_dies(model: nn.Module, network: Network | None, cell: Cell, task: Task) -> list[list[int]]:
    """Right answers of every die at every level, on the simulator; see `right_in_torch` for what it cannot run."""
    inputs, labels = part(task.test, cell.samples)
    found = []
    for level in LEVELS:
        dies = cell.dies if level else 1
        if network is None:
            found.append(right_in_torch(model, inputs, labels, level, dies))
            continue
        mapped = map_network(network, load_profile("mismatch").with_mismatch(level))
        run = deploy(mapped, inputs, labels, dies=dies, seed=TEST_LOT, threads=1, progress=False)
        found.append(np.rint(run.accuracy.values * labels.size).astype(int).tolist())
    return found


def right_in_torch(model: nn.Module, inputs: np.ndarray, labels: np.ndarray, level: float, dies: int) -> list[int]:
    """Right answers of each die where every parameter is times N(1, level^2), in batches of up to 1000 samples."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    samples = (torch.tensor(inputs), torch.tensor(labels))

    def readout(output: torch.Tensor) -> torch.Tensor:
        return output.sum(dim=0)

    found = []
    for die in range(dies):
        generator = torch.Generator().manual_seed((TEST_LOT << 32) + die)
        other = moved(parameters, gaussian(parameters, relative, level, generator))
        found.append(round(accuracy(model, other, samples, readout) * labels.size))
    return found


def choice(experiment: Experiment, method: str, candidates: list[dict[str, object]], epochs: int,
           train_samples: int = 0) -> dict[str, object]:
    """The settings that its sweep (or that of `chosen_on`) chose; the only candidate where there was nothing to choose.

    Of several sweeps among these candidates that with the largest budget not above `epochs` of `train_samples`; the
    smallest where all are above it.

    Raises
    ------
    NeurosimError
        There are several candidates and no sweep among them yet.
    """
    if len(candidates) == 1:
        return candidates[0]
    name = experiment.chosen_on or experiment.name
    sweeps = {size_of(found["budget"]): found["chosen"][method]
              for file in (RESULTS / "sweep").glob(f"{name}-*.json") if (found := json.loads(file.read_text()))
              and [entry["settings"] for entry in found["scores"].get(method, [])] == candidates}
    if not sweeps:
        raise NeurosimError(f"nobody has chosen among the settings of {method}", where=f"experiment {experiment.name}",
                            hint=f"python -m benchmarks.paper.sweep {name} --methods {method}")
    asked = size_of({"epochs": epochs, "train_samples": train_samples})
    return sweeps[max((size for size in sweeps if size <= asked), default=min(sweeps))]


def size_of(budget: Mapping[str, object]) -> tuple[float, float]:
    """A budget to compare with others: epochs, samples of each."""
    return budget["epochs"], budget.get("train_samples") or inf
