"""`neurosim train`: a task and a recipe to a model file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from neurosim.cli.chip import READING, chip_of
from neurosim.cli.config import merged
from neurosim.cli.output import JSON, command_line, key_values, print_json, seconds
from neurosim.errors import NeurosimError, did_you_mean
from neurosim.writing import refuse_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import nn

    from neurosim.network import Network
    from neurosim.profile import Profile
    from neurosim.tasks import Task
    from neurosim.training import OnChip, Trained

#: what `trained_network` gives itself, to the model and to `neurosim.training.train`
_OF_SIZE = ("task", "channels", "classes", "seed", "profile", "dt")
_OF_TRAINING = ("model", "inputs", "labels", "recipe", "seed", "device", "validation", "checkpoint", "resume",
                "metrics", "teacher", "progress", "tick")
_TEXTS = ("task", "recipe", "out", "profile", "level", "on_chip", "device", "teacher", "wires")
_RANGED = 64  # samples that ranges of converters are found from


def train(
    task: str = typer.Argument(None, help="Name of a task; see `neurosim data list`."),
    recipe: str = typer.Option(None, help="How to train: standard, dropout, forward_noise, adversarial, hybrid, awp, "
                                          "amp, sam, asam, abcd, entropy_sgd, robust. Default: standard."),
    out: Path = typer.Option(None, "--out", "-o", help="The model file to write (HDF5); metrics and, until it is "
                                                       "whole, a checkpoint lie beside it."),
    config: Path = typer.Option(None, help="A .toml file with the same options: task, recipe, out, profile, level, "
                                           "on_chip, adc_bits, dac_bits, wires, epochs, seed, device, teacher, and "
                                           r"tables \[setting], \[size], \[task_option], \[chip_option], \[set]. The "
                                           "command line counts more."),
    resume: bool = typer.Option(False, "--resume", help="Go on where an interrupted run stands: the same result as "
                                                        "without the interruption."),
    profile: str = typer.Option(None, help="Chip type; a network that it cannot hold is refused before training."),
    level: str = typer.Option(None, help="neuron (default), or circuit: neurons and synapses as the currents of the "
                                         "chip type, which --profile must name."),
    on_chip: str = typer.Option(None, "--on-chip", help="Train on the chip type: nominal devices, dies of a lot "
                                                        "(sampled), a new die at each step (noise), or attacked "
                                                        "devices (attack). Recipes then move devices, in units of "
                                                        "their spread. Default: none; at the level of circuits noise "
                                                        "for the recipe standard, nominal for others."),
    chip_option: list[str] = typer.Option([], help="KEY=VALUE for --on-chip: dies, per_step, seed, programming, time, "
                                                   "attack_size, attack_steps, exact_forward, reads, learn_ranges."),
    adc_bits: int = typer.Option(None, help="Train with converters of so many bits: the profile's adc.bits. With this, "
                                            "--dac-bits or --wires, --on-chip trains with every read (reads=true)."),
    dac_bits: int = typer.Option(None, help="Bits of inputs that are no spikes: the profile's dac.bits."),
    wires: str = typer.Option(None, help="none, column, full or nonlinear: the profile's wires.level."),
    change: list[str] = typer.Option([], "--set", help="KEY=VALUE of the profile, such as crossbar.levels=16."),
    epochs: int = typer.Option(None, help="Default: that of the task."),
    teacher: Path = typer.Option(None, help="A model file whose answers the recipe robust holds the network to."),
    seed: int = typer.Option(None, help="Of the weights, the order of samples, and the recipe's noise. Default: 0."),
    device: str = typer.Option(None, help="cpu or cuda. Default: cpu."),
    setting: list[str] = typer.Option([], help="KEY=VALUE for the recipe or the trainer, such as eta=0.3."),
    size: list[str] = typer.Option([], help="KEY=VALUE for the model, such as hidden=32."),
    task_option: list[str] = typer.Option([], help="KEY=VALUE for the task, such as coding=latency."),
    as_json: bool = JSON,
) -> None:
    """Train a network on a task and write it as a model file."""
    from neurosim.mapping import map_network
    from neurosim.network import Network
    from neurosim.network.forward import run
    from neurosim.profile import profile_path
    from neurosim.tasks import load_task
    from neurosim.training.samples import device_of

    given = merged(config, {
        "task": task, "recipe": recipe, "out": out, "profile": profile, "level": level, "epochs": epochs, "seed": seed,
        "device": device, "teacher": teacher, "setting": key_values(setting, "--setting"),
        "size": key_values(size, "--size"), "task_option": key_values(task_option, "--task-option"), "on_chip": on_chip,
        "chip_option": key_values(chip_option, "--chip-option"), "set": key_values(change, "--set"),
        "adc_bits": adc_bits, "dac_bits": dac_bits, "wires": wires})
    for name, value in {"recipe": "standard", "seed": 0, "device": "cpu", "level": "neuron"}.items():
        given.setdefault(name, value)
    for name in ("task", "out"):
        if name not in given:
            raise NeurosimError(f"{name} is missing", where="train", hint="see neurosim train --help")
    for name in _TEXTS:
        if not isinstance(given.get(name, ""), (str, Path)):
            raise NeurosimError(f"{name} is {given[name]!r}", where="train", allowed="a text")
    device_of(given["device"])
    out = Path(given["out"])
    chip = _chip(given)
    refuse_place(out, config, given.get("teacher"), chip and profile_path(given["profile"]))
    clean = Network.load(given["teacher"]) if "teacher" in given else None
    checkpoint = out.with_name(out.name + ".checkpoint")
    if given["level"] != "neuron":
        _refuse_level(given["level"], chip)
        given = _of_circuits(given)
    data = load_task(given["task"], **given["task_option"])
    asked = {name: given.get(name) for name in ("recipe", "epochs", "seed", "setting", "size", "level")}
    if "on_chip" in given:
        asked |= {"on_chip": given["on_chip"], "chip": chip and chip.hash, "chip_option": given["chip_option"]}
    if clean is not None:
        asked["teacher"] = clean.hash
    there = _finished(out, asked, data) if out.exists() else None
    network = there if resume and not checkpoint.exists() else None
    if network is None:
        network = trained_network(data, given["recipe"], given["seed"], chip, given.get("epochs"), given["device"],
                                  given["setting"], given["size"], command_line(), {"asked": asked},
                                  given.get("on_chip"), given["chip_option"], given["level"], checkpoint=checkpoint,
                                  resume=resume, metrics=metrics_file(out), teacher=_teacher(clean))
        network.save(out)
    checkpoint.unlink(missing_ok=True)
    placed = map_network(network, chip) if given["level"] == "circuit" else None
    best = network.provenance["at_best_epoch"]
    accuracy = float((run(network, data.test.inputs).prediction == data.test.labels).mean())
    if as_json:
        print_json({"model": str(out), "metrics": str(metrics_file(out)), "hash": network.hash,
                    "test_accuracy": accuracy, "best": best, "best_epoch": network.provenance["best_epoch"],
                    "mapping": placed.table() if placed else None})
    else:
        typer.echo(f"{out}: {given['recipe']} on {given['task']}, best epoch {network.provenance['best_epoch']}, test "
                   f"accuracy {accuracy:.2%} (the network itself, on no chip)")
        if placed:
            typer.echo(str(placed))


def _teacher(network: Network | None) -> nn.Module | None:
    """A trained network as a module, to be compared with."""
    import torch

    from neurosim.training import SpikingNetwork

    return None if network is None else SpikingNetwork.from_network(network, dtype=torch.float32)


def _chip(given: dict[str, object]) -> Profile | None:
    """The chip type; what is said of its reads is trained with."""
    reading = {name: given[name] for name in READING if name in given}
    if reading and "on_chip" not in given:
        raise NeurosimError(f"{', '.join(reading)} without on_chip", where="train",
                            hint="say how to train on the chip: --on-chip nominal|sampled|noise|attack")
    if "profile" not in given:
        if given["set"]:
            raise NeurosimError("--set without a profile", where="train", hint="say --profile NAME")
        return None
    if reading:
        given["chip_option"] = {"reads": True, **given["chip_option"]}
    return chip_of(given["profile"], given["set"], reading)


def _refuse_level(level: object, chip: Profile | None) -> None:
    if level != "circuit":
        raise NeurosimError(f"level is {level!r}", where="--level", allowed="neuron, circuit")
    if chip is None or chip.circuit is None:
        raise NeurosimError("the level of circuits needs a chip of circuits", where="--level", allowed="a --profile "
                            "with a [circuit] section", hint="take --profile dynap_se2")


def _of_circuits(given: Mapping[str, object]) -> dict[str, object]:
    """What is asked, with what the level of circuits says where the user says nothing: they train on their dies."""
    from neurosim.training import circuit_defaults

    usual = circuit_defaults(given["task"])
    mode = given.get("on_chip", "noise" if given["recipe"] == "standard" else "nominal")
    return {**given, "on_chip": mode, "task_option": {**usual.task, **given["task_option"]},
            "chip_option": {**(usual.chip if mode == "noise" else {}), **given["chip_option"]}}


def _finished(out: Path, asked: Mapping[str, object], data: Task) -> Network:
    """The model of the same training that is whole already; refuses any other file in its place."""
    from neurosim.deployment.plan import differences
    from neurosim.network import Network

    hint = "choose another --out, or delete it"
    try:
        network = Network.load(out)
    except NeurosimError:
        raise NeurosimError("is there already, and no model that can be read", where=str(out), hint=hint) from None
    found = {**network.provenance.get("asked", {}), "task_hash": network.provenance.get("task_hash")}
    wanted = {**asked, "task_hash": data.hash}
    if found != wanted:
        raise NeurosimError(f"holds the model of another training ({differences(found, wanted)})", where=str(out),
                            hint=hint)
    return network


def metrics_file(out: Path) -> Path:
    """Where the metrics of a model's training lie."""
    return out.with_name(out.stem + ".metrics.jsonl")


def trained_network(data: Task, recipe: str, seed: int, chip: Profile | None = None, epochs: int | None = None,
                    device: str = "cpu", settings: Mapping[str, object] | None = None,
                    size: Mapping[str, object] | None = None, command: str = "",
                    about: Mapping[str, object] | None = None, on_chip: str | None = None,
                    chip_options: Mapping[str, object] | None = None, level: str = "neuron", **more: object
                    ) -> Network:
    """Build the task's default model, train it, and give it as a network that says where it comes from.

    about: more for its provenance. on_chip, chip_options: see `OnChip`. level: "circuit" trains the currents of `chip`.
    more: checkpoint, resume, metrics and teacher of `neurosim.training.train`.
    """
    from neurosim.mapping import map_network
    from neurosim.training import DEFAULTS, as_network, build, build_circuit, circuit_defaults, to_network
    from neurosim.training import train as run_training

    for where, given, reserved in (("setting", settings, _OF_TRAINING), ("size", size, _OF_SIZE)):
        for name in given or {}:
            if name in reserved:
                raise NeurosimError(f"{name} is no setting to give here", where=f"train, {where}",
                                    hint="it has an option of its own, or follows from the task")
    if level == "circuit":
        defaults = circuit_defaults(data.name)
        model = build_circuit(data.name, data.channels, len(data.classes), seed, chip, data.dt, **(size or {}))
    else:
        defaults = DEFAULTS[data.name]
        model = build(data.name, data.channels, len(data.classes), seed, **(size or {}))
    reads = bool((chip_options or {}).get("reads"))
    sample = data.train.inputs[:, :_RANGED] if reads else data.validation.inputs[:, :8]
    options = {**defaults.training, **(settings or {})}
    if on_chip is not None or chip_options:
        model = _on_chip(model, chip, sample, on_chip, chip_options or {}, dt=data.dt,
                         readout=options.get("readout", "sum"))
    elif chip is not None:
        map_network(as_network(model, sample, data.dt), chip)
    if epochs is not None:
        options["epochs"] = epochs
    with _progress(recipe) as follow:
        trained: Trained = run_training(
            model, data.train.inputs, data.train.labels, recipe=recipe, seed=seed, device=device,
            validation=(data.validation.inputs, data.validation.labels), **follow, **more, **options)
    return to_network(trained, sample, data.dt, task=data.name, task_settings=dict(data.settings),
                      task_hash=data.hash, citation=data.citation, command=command, **(about or {}))


def _on_chip(model: nn.Module, chip: Profile | None, sample: np.ndarray, mode: str | None,
             options: Mapping[str, object], **more: object) -> OnChip:
    """The model on its chip type."""
    from neurosim.training import Attack, OnChip

    if chip is None or mode is None:
        raise NeurosimError(f"{'profile' if chip is None else 'on_chip'} is missing", where="train on a chip",
                            hint="say --profile NAME --on-chip nominal|sampled|noise|attack")
    known = ("dies", "per_step", "seed", "programming", "time", "attack_size", "attack_steps", "exact_forward", "reads",
             "learn_ranges")
    for name in options:
        if name not in known:
            raise NeurosimError(f"there is no option {name!r}", where="train on a chip", allowed=", ".join(known),
                                hint=did_you_mean(name, list(known)))
    own = {name: value for name, value in options.items() if not name.startswith("attack_")}
    if own.get("time") is not None:
        own["time"] = seconds(str(own["time"]), "--chip-option time")
    attack = Attack(options.get("attack_size", 1.0), options.get("attack_steps", 3))
    return OnChip(model, chip, sample, mode=mode, attack=attack, **more, **own)


@contextmanager
def _progress(recipe: str) -> Iterator[dict[str, Callable[..., None]]]:
    """A bar on a terminal: epoch, loss, accuracy clean and under mismatch, time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task(f"training, {recipe}", total=None, at="")

        def progress(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            said = [f"epoch {epoch}/{epochs}", f"loss {metrics['loss']:.3f}"]
            said += [f"{word} {metrics[name]:.1%}" for name, word in
                     (("validation_accuracy", "clean"), ("noisy_validation_accuracy", "noisy")) if name in metrics]
            bar.update(row, at=", ".join(said))

        def tick(done: int, total: int) -> None:
            bar.update(row, completed=done, total=total)

        yield {"progress": progress, "tick": tick}
