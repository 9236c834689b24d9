"""`neurosim examine`: one die of a run, closely."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from neurosim.cli.deploy import samples_of
from neurosim.cli.output import JSON, command_line, print_json, print_table
from neurosim.writing import refuse_place


def examine(
    model: Path = typer.Argument(help="The model file that was deployed."),
    run: Path = typer.Argument(help="The run file that `neurosim deploy` wrote of it."),
    out: Path = typer.Option(..., "--out", "-o", help="The file to write (netCDF), for `neurosim report`."),
    die: int = typer.Option(None, help="Number of the die; default: the worst."),
    sample: int = typer.Option(None, help="Whose spikes and currents are kept; default: the first that only the die "
                                          "gets wrong."),
    inputs: Path = typer.Option(None, help="The .npz file that was deployed on; default: the test samples of the "
                                           "model's task."),
    threads: int = typer.Option(None, help="Default: all cores."),
    as_json: bool = JSON,
) -> None:
    """Find what makes a die worse than the others: each part in turn replaced by devices as they were meant."""
    from neurosim.deployment import examine as look
    from neurosim.deployment import load_run
    from neurosim.mapping import map_network
    from neurosim.network import Network
    from neurosim.profile.load import parse_profile

    refuse_place(out, model, run, inputs)
    network, found = Network.load(model), load_run(run)
    chip = parse_profile(json.loads(found.dataset.attrs["profile_json"]), f"{run}, profile_json")
    mapped = map_network(network, chip)
    x, y, _ = samples_of(network, inputs)
    seen = look(found, mapped, x, y, die, sample=sample, threads=threads, about={"command": command_line()})
    seen.save(out)
    data = seen.dataset
    columns = ("devices", "repaired", "spoiled")
    rows = [{"name": str(data["name"].values[i]), "kind": str(data["kind"].values[i]),
             **{column: int(data[column].values[i]) for column in columns},
             "gain": float(seen.gain[i]), "control": float(seen.control[i]), "chance": float(seen.chance[i])}
            for i in range(data.sizes["part"])]
    if as_json:
        print_json({"examination": str(out), "die": seen.die, "accuracy": seen.accuracy, "parts": rows,
                    "found": seen.sentences()})
        return
    print_table(["part", "devices", "repaired", "spoiled", "gain", "on the die in the middle"],
                [(row["name"], row["devices"], row["repaired"], row["spoiled"], f"{row['gain']:+.2%}",
                  f"{row['control']:+.2%}") for row in sorted(rows, key=lambda row: -row["gain"])[:15]], numbers_from=1)
    typer.echo(" ".join(seen.sentences()))
