"""`neurosim map`: what a model becomes on a chip, and for a chip of circuits the configuration to write into it."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.output import JSON, key_values, print_json
from neurosim.errors import NeurosimError
from neurosim.writing import refuse_place


def map_model(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    profile: str = typer.Option(..., help="Chip type: a name, or a .toml file."),
    level: str = typer.Option(None, help="neuron or circuit; default: what the model's layers are of."),
    change: list[str] = typer.Option([], "--set", help="KEY=VALUE of the profile, such as crossbar.levels=16."),
    out: Path = typer.Option(None, "--out", "-o", help="Level circuit: the configuration to write (JSON)."),
    as_json: bool = JSON,
) -> None:
    """Place a model on a chip type, or say why it does not fit."""
    from neurosim.mapping import map_network
    from neurosim.network import Network
    from neurosim.profile import load_profile, profile_path

    if out is not None:
        refuse_place(out, model, profile_path(profile))
    chip = load_profile(profile)
    if change:
        chip = chip.with_values(key_values(change, "--set"))
    mapped = map_network(Network.load(model), chip, level)
    if out is not None:
        if mapped.configuration is None:
            raise NeurosimError("a mapping at the level of neurons has no configuration", where="--out",
                                hint="leave --out away, or train with --level circuit")
        mapped.configuration.save(out)
    if as_json:
        print_json({"model": str(model), "profile": chip.name, "hash": mapped.hash, "devices": mapped.devices,
                    "arrays": mapped.table(), "configuration": None if out is None else str(out)})
    else:
        typer.echo(str(mapped))
        if out is not None:
            typer.echo(f"configuration in {out}")
