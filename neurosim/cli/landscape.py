"""`neurosim landscape`: the loss along random directions around a network."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.attack import objective_of_model, progress, some_samples, unit_of
from neurosim.cli.output import JSON, command_line, print_json, write_json
from neurosim.writing import refuse_place


def landscape(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    out: Path = typer.Option(..., "--out", "-o", help="The file to write (JSON), for `neurosim report`."),
    profile: str = typer.Option(None, help="Chip type: its devices are moved, by spreads of each. Default: the "
                                           "parameters themselves, relative to each, as published."),
    size: float = typer.Option(None, help="Standard deviation of a direction; default 0.2, with a profile 1."),
    directions: int = typer.Option(5, help="How many directions."),
    points: int = typer.Option(50, help="Steps along each."),
    furthest: float = typer.Option(2.0, help="The steps go from minus this to this."),
    samples: int = typer.Option(None, help="Only so many of the samples, spread over all of them."),
    seed: int = typer.Option(0, help="Of the directions."),
    inputs: Path = typer.Option(None, help=r"An .npz file with inputs \[time, sample, ...] and labels \[sample]; "
                                           "default: the test samples of the model's task."),
    as_json: bool = JSON,
) -> None:
    """Loss along random directions of the parameters: how flat the place is where training ended."""
    import torch

    from neurosim.deployment.run import versions
    from neurosim.network import Network
    from neurosim.profile import profile_path
    from neurosim.training import landscape as along

    network = Network.load(model)
    x, y = some_samples(network, inputs, samples)
    refuse_place(out, model, inputs, profile and profile_path(profile))
    with progress("landscape") as tick:
        found = along(objective_of_model(network, profile, x), torch.tensor(x, dtype=torch.float32), torch.tensor(y),
                      size if size is not None else 0.2 if profile is None else 1.0, directions=directions,
                      points=points, furthest=furthest, seed=seed, tick=tick)
    result = {"model": str(model), "profile": profile, "unit": unit_of(profile), **found.as_dict()}
    write_json({"kind": "landscape", "command": command_line(), "network_hash": network.hash,
                "versions": versions(), **result}, out)
    if as_json:
        print_json({"landscape": str(out), **result})
        return
    ends = [row[i] for row in found.losses for i in (0, -1)]
    typer.echo(f"cross-entropy of {found.samples} samples: {found.centre:.3g} in the middle, "
               f"{sum(ends) / len(ends):.3g} at the ends of {directions} directions, "
               f"slope {found.slope:.3g}; stored in {out}")
