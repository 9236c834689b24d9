"""`neurosim pareto`: energy against accuracy and yield over settings of a chip type and a network."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.deploy import samples_of
from neurosim.cli.output import JSON, print_json, print_table


def pareto(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    profile: str = typer.Option(..., help="Chip type: a name, or a .toml file; it must price its events."),
    vary: list[str] = typer.Option(..., help="KEY=LOW:HIGH[:STEP] or KEY=A,B,C, a key of the profile such as "
                                             "crossbar.levels, or neuron.threshold_scale; may be repeated."),
    out: Path = typer.Option(..., "--out", "-o", help="The file to write (netCDF); goes on if interrupted."),
    dies: int = typer.Option(200, help="How many dies; the same ones at every setting."),
    seed: int = typer.Option(0, help="The production lot, and what is drawn of settings."),
    method: str = typer.Option("grid", help="grid, random, latin (hypercube), or optuna: by what was found so far."),
    points: int = typer.Option(None, help="How many settings, for all but grid."),
    time: float = typer.Option(None, help="Seconds after programming, for chips that drift."),
    accuracy: float = typer.Option(None, help="What a good die reaches; default: 95 % of the network's own accuracy."),
    share: float = typer.Option(0.95, help="Which share of dies is to be good."),
    inputs: Path = typer.Option(None, help="An .npz file with inputs and labels; default: the model's task."),
    plot: Path = typer.Option(None, help="Draw the points and the front (.svg, .png or .pdf)."),
    threads: int = typer.Option(None, help="Default: all cores."),
    as_json: bool = JSON,
) -> None:
    """Find the settings that nothing beats in energy and accuracy both, and the cheapest one that will do."""
    from neurosim.deployment import guided, parse_range, settings
    from neurosim.deployment import pareto as search
    from neurosim.deployment.sweep import label
    from neurosim.network import Network
    from neurosim.network.forward import run
    from neurosim.profile import load_profile
    from neurosim.report import write_pareto

    network, chip = Network.load(model), load_profile(profile)
    ranges = [parse_range(text) for text in vary]
    chosen = guided(ranges, points, seed) if method == "optuna" else settings(ranges, method, points, seed)
    samples, labels, _ = samples_of(network, inputs)
    found = search(network, chip, chosen, samples, labels, dies, seed, out=out, time=time, threads=threads)
    if plot is not None:
        write_pareto(found, plot)
    wanted = accuracy
    if wanted is None:
        wanted = 0.95 * float((run(network, samples).prediction == labels).mean())
    front, intervals = found.front, found.intervals()
    data = found.dataset
    mean = data["energy"].mean("die")
    rows = [{"setting": setting, "on_front": point in front,
             "accuracy": {"mean": float(data["accuracy"][point].mean()), "low": float(intervals[point, 0]),
                          "high": float(intervals[point, 1]), "min": float(data["accuracy"][point].min())},
             "yield": float((data["accuracy"][point] >= wanted).mean()),
             "energy": {str(bound): float(mean.sel(bound=bound)[point]) for bound in data["bound"].values}}
            for point, setting in enumerate(found.settings)]
    if as_json:
        print_json({"pareto": str(out), "accuracy_wanted": wanted, "share_wanted": share, "points": rows,
                    "cheapest": found.cheapest(wanted, share), "choice": found.choice(wanted, share)})
        return
    print_table(["setting", "front", "mean accuracy", "worst die", f"yield at {wanted:.1%}", "energy per sample (J)"],
                [(label(row["setting"]), "*" if row["on_front"] else "",
                  f"{row['accuracy']['mean']:.2%} [{row['accuracy']['low']:.2%}, {row['accuracy']['high']:.2%}]",
                  f"{row['accuracy']['min']:.2%}", f"{row['yield']:.1%}",
                  f"{row['energy']['nominal']:.3g} [{row['energy']['low']:.3g}, {row['energy']['high']:.3g}]")
                 for row in sorted(rows, key=lambda row: row["energy"]["nominal"])], numbers_from=2)
    typer.echo(found.choice(wanted, share))
