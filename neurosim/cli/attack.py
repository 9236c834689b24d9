"""`neurosim attack`: how accuracy falls with the size of the worst change, and of random ones."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neurosim.cli.deploy import samples_of
from neurosim.cli.output import JSON, command_line, print_json, print_table, write_json
from neurosim.errors import NeurosimError
from neurosim.writing import refuse_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import torch

    from neurosim.network import Network


def attack(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    profile: str = typer.Option(None, help="Chip type: its devices are attacked, and sizes count in units of the "
                                           "spread that the profile says for each. Default: the parameters themselves, "
                                           "and sizes are relative to each, as published."),
    size: list[float] = typer.Option([], help="Half the width of the box; several may be given. Default: 0.005 to 0.5, "
                                              "with a profile 0.1 to 3."),
    loss: str = typer.Option("task", help="What the attack makes large: task, kl, kl_floor, reverse_kl, js, l2."),
    steps: int = typer.Option(10, help="Steps of the attack."),
    restarts: int = typer.Option(1, help="Starts of the attack; the worst end counts."),
    draws: int = typer.Option(10, help="Random changes of each size, for comparison."),
    samples: int = typer.Option(None, help="Only so many of the samples, spread over all of them."),
    inputs: Path = typer.Option(None, help=r"An .npz file with inputs \[time, sample, ...] and labels \[sample]; "
                                           "default: the test samples of the model's task."),
    seed: int = typer.Option(0, help="Of the attack's start and of the random changes."),
    out: Path = typer.Option(None, "--out", "-o", help="A file for what was found (JSON), for `neurosim report`."),
    plot: Path = typer.Option(None, help="A file for the plot: .svg, .png or .pdf."),
    as_json: bool = JSON,
) -> None:
    """Accuracy against the size of a worst-case attack on the parameters, and of random changes of the same size."""
    import torch

    from neurosim.deployment.run import versions
    from neurosim.network import Network
    from neurosim.profile import profile_path
    from neurosim.report import refuse_plot, save_figure
    from neurosim.training import Attack, vulnerability
    from neurosim.training.vulnerable import DEVICE_SIZES, SIZES

    network = Network.load(model)
    x, y = some_samples(network, inputs, samples)
    if out is not None:
        refuse_place(out, model, inputs, profile and profile_path(profile))
    if plot is not None:
        refuse_plot(plot)
    with progress("attack") as tick:
        found = vulnerability(objective_of_model(network, profile, x), torch.tensor(x, dtype=torch.float32),
                              torch.tensor(y), size or (SIZES if profile is None else DEVICE_SIZES),
                              how=Attack(steps=steps, loss=loss, restarts=restarts), draws=draws, seed=seed, tick=tick)
    unit = unit_of(profile)
    result = {"model": str(model), "profile": profile, "unit": unit, **found.as_dict()}
    if out is not None:
        write_json({"kind": "attack", "command": command_line(), "network_hash": network.hash,
                    "versions": versions(), **result}, out)
    if plot is not None:
        from neurosim.report import plot_attack

        save_figure(plot_attack({model.stem: result}), plot)
    if as_json:
        print_json({**result, **({"plot": str(plot)} if plot is not None else {})})
        return
    rows = [("0", *[f"{found.accuracy:.2%}"] * 5)]
    rows += [(f"{p.size:g}", *(f"{value:.2%}" for value in (p.attacked, p.corner_mean, p.corner_least, p.gaussian_mean,
                                                          p.gaussian_least))) for p in found.points]
    print_table(["size", "attacked", "random corner", "worst of them", "Gaussian", "worst of them"], rows,
                f"{model.name}: accuracy of {found.samples} samples; size: {unit}; {found.draws} random changes each",
                numbers_from=0)


def some_samples(network: Network, inputs: Path | None, samples: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels: all, or so many of them, spread over all."""
    from neurosim.deployment.plan import checked_labels
    from neurosim.network.forward import compile_inputs

    x, y, _ = samples_of(network, inputs)
    compile_inputs(network, x)  # refuses what is no input
    y = checked_labels(y, x.shape[1], math.prod(network.output_shape))
    if samples is None:
        return x, y
    if not 1 <= samples <= y.size:
        raise NeurosimError(f"samples is {samples}", where="--samples", allowed=f"1 to {y.size}")
    chosen = [i * y.size // samples for i in range(samples)]
    return x[:, chosen], y[chosen]


def unit_of(profile: str | None) -> str:
    """What a change of size 1 is."""
    return "of each parameter" if profile is None else f"spreads of each device of {profile}"


def objective_of_model(network: Network, profile: str | None, inputs: np.ndarray) -> Callable[..., object]:
    """What is attacked: the parameters of the network as a module, or the devices of a chip."""

    import torch

    from neurosim.network import DPINeuron
    from neurosim.profile import load_profile
    from neurosim.training import Objective, OnChip, SpikingNetwork

    circuits = any(isinstance(node.layer, DPINeuron) for node in network.nodes)
    if circuits and profile is None:
        raise NeurosimError("what spreads in circuits, a chip type says", where="attack",
                            hint="name it: --profile dynap_se2")
    module = SpikingNetwork.from_network(network.folded(), dtype=torch.float64 if circuits else torch.float32).eval()
    known = network.provenance  # what the torch module did, or what it was trained with
    mean = known.get("readout", known.get("settings", {}).get("readout")) == "mean"
    scale = known.get("scale", 1.0)

    def readout(output: torch.Tensor) -> torch.Tensor:
        if network.readout == "sum":
            return output.mean(dim=0) if mean else scale * output.sum(dim=0)
        return scale * output.amax(dim=0) if network.readout == "max" else output[-1]

    if profile is None:
        return lambda x, y: Objective(module, x, y, readout)
    chip = OnChip(module, load_profile(profile), inputs[:, :8], dt=network.dt, mode="nominal").eval()
    return lambda x, y: chip.objective(chip, x, y, readout)


@contextmanager
def progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; call it with (done, in all)."""
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        row = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)
