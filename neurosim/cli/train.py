"""`neurosim train`: a task and a recipe to a model file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neurosim.cli.output import JSON, command_line, key_values, print_json
from neurosim.errors import NeurosimError

if TYPE_CHECKING:
    from neurosim.network import Network
    from neurosim.profile import Profile
    from neurosim.tasks import Task


def train(
    task: str = typer.Argument(help="Name of a task; see `neurosim data list`."),
    recipe: str = typer.Option("standard", help="How to train; see neurosim.training.recipes."),
    out: Path = typer.Option(..., "--out", "-o", help="The model file to write (HDF5)."),
    profile: str = typer.Option(None, help="Chip type; a network that it cannot hold is refused before training."),
    epochs: int = typer.Option(None, help="Default: that of the task."),
    seed: int = typer.Option(0, help="Of the weights, the order of samples, and the recipe's noise."),
    device: str = typer.Option("cpu", help="cpu or cuda."),
    setting: list[str] = typer.Option([], help="KEY=VALUE for the recipe or the trainer, such as eta=0.3."),
    size: list[str] = typer.Option([], help="KEY=VALUE for the model, such as hidden=32."),
    task_option: list[str] = typer.Option([], help="KEY=VALUE for the task, such as coding=latency."),
    as_json: bool = JSON,
) -> None:
    """Train a network on a task and write it as a model file."""
    from neurosim.profile import load_profile
    from neurosim.tasks import load_task

    chip = load_profile(profile) if profile else None
    if not out.parent.is_dir():
        raise NeurosimError(f"the folder {out.parent} does not exist", where=str(out), hint="make it first")
    data = load_task(task, **key_values(task_option, "--task-option"))
    network = trained_network(data, recipe, seed, chip, epochs, device, key_values(setting, "--setting"),
                              key_values(size, "--size"), command_line())
    network.save(out)
    best = network.provenance["at_best_epoch"]
    from neurosim.network.forward import run

    accuracy = float((run(network, data.test.inputs).prediction == data.test.labels).mean())
    if as_json:
        print_json({"model": str(out), "hash": network.hash, "test_accuracy": accuracy, "best": best,
                    "best_epoch": network.provenance["best_epoch"]})
    else:
        typer.echo(f"{out}: {recipe} on {task}, best epoch {network.provenance['best_epoch']}, test accuracy "
                   f"{accuracy:.2%} (the network itself, on no chip)")


def trained_network(data: Task, recipe: str, seed: int, chip: Profile | None = None, epochs: int | None = None,
                    device: str = "cpu", settings: Mapping[str, object] | None = None,
                    size: Mapping[str, object] | None = None, command: str = "") -> Network:
    """Build the task's default model, train it, and give it as a network that says where it comes from."""
    from neurosim.mapping import map_network
    from neurosim.training import DEFAULTS, as_network, build, to_network
    from neurosim.training import train as run_training

    model = build(data.name, data.channels, len(data.classes), seed, **(size or {}))
    sample = data.validation.inputs[:, :8]
    if chip is not None:
        map_network(as_network(model, sample, data.dt), chip)
    options = {**DEFAULTS[data.name].training, **(settings or {})}
    if epochs is not None:
        options["epochs"] = epochs
    with _bar() as bar:
        trained = run_training(model, data.train.inputs, data.train.labels, recipe=recipe, seed=seed, device=device,
                               validation=(data.validation.inputs, data.validation.labels),
                               progress=_follow(bar, recipe), **options)
    return to_network(trained, sample, data.dt, task=data.name, task_settings=dict(data.settings),
                      task_hash=data.hash, citation=data.citation, command=command)


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TextColumn("{task.fields[at]}"), TimeRemainingColumn(), console=Console(stderr=True),
                    disable=not sys.stderr.isatty())


def _follow(bar: Progress, recipe: str) -> Callable[[int, int, Mapping[str, float]], None]:
    row = bar.add_task(f"training, {recipe}", total=None, at="")

    def progress(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        bar.update(row, completed=epoch, total=epochs, at=f"loss {metrics['loss']:.3f}, validation "
                                                          f"{metrics['validation_accuracy']:.1%}")

    return progress
