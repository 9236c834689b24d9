"""`neurosim pareto`: energy against accuracy and yield over settings of a chip type and a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from neurosim.cli.deploy import samples_of
from neurosim.cli.output import JSON, command_line, print_json, print_table, seconds
from neurosim.errors import NeurosimError, whole

if TYPE_CHECKING:
    from neurosim.deployment import Pareto


def pareto(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    profile: str = typer.Option(..., help="Chip type: a name, or a .toml file."),
    vary: list[str] = typer.Option(..., help="KEY=LOW:HIGH[:STEP] or KEY=A,B,C, a key of the profile such as "
                                             "crossbar.levels, or neuron.threshold_scale, mismatch, time (1h,30d); may "
                                             "be repeated."),
    out: Path = typer.Option(..., "--out", "-o", help="The file to write (netCDF); goes on if interrupted."),
    dies: int = typer.Option(200, help="How many dies; the same ones at every setting."),
    seed: int = typer.Option(0, help="The production lot, and what is drawn of settings."),
    method: str = typer.Option("grid", help="grid, random, latin (hypercube), or optuna: by what was found so far."),
    points: int = typer.Option(None, help="How many settings, for all but grid."),
    time: str = typer.Option(None, help="After programming, for chips that drift: 3600, 90s, 20min, 1h, 30d, 1y."),
    accuracy: float = typer.Option(None, help="What a good die reaches; default: 95 % of the network's own accuracy."),
    share: float = typer.Option(0.95, help="Which share of dies is to be good."),
    inputs: Path = typer.Option(None, help="An .npz file with inputs and labels; default: the model's task."),
    plot: Path = typer.Option(None, help="Draw the points and the front (.svg, .png or .pdf)."),
    threads: int = typer.Option(None, help="Default: all cores."),
    as_json: bool = JSON,
) -> None:
    """Find the settings that nothing beats in energy and accuracy both, and the cheapest one that will do.

    Conditions are varied the same way: time after programming, mismatch, a temperature.
    """
    from neurosim.deployment import guided, parse_range, settings
    from neurosim.deployment import pareto as search
    from neurosim.deployment.sweep import label
    from neurosim.network import Network
    from neurosim.network.forward import run
    from neurosim.profile import load_profile
    from neurosim.report import plot_pareto, plot_sweep, refuse_plot, save_figure

    for name, value in (("--accuracy", accuracy), ("--share", share)):
        if value is not None and not 0 <= value <= 1:
            raise NeurosimError(f"it is {value:g}", where=name, allowed="0 to 1")
    if plot is not None:
        refuse_plot(plot)
    dies = whole("--dies", dies)
    network, chip = Network.load(model), load_profile(profile)
    ranges = [parse_range(_in_seconds(text)) for text in vary]
    chosen = guided(ranges, points, seed) if method == "optuna" else settings(ranges, method, points, seed)
    samples, labels, _ = samples_of(network, inputs)
    found = search(network, chip, chosen, samples, labels, dies, seed, out=out, threads=threads,
                   time=None if time is None else seconds(time), about={"model": model.name, "command": command_line()})
    if plot is not None:
        save_figure(plot_pareto(found) if found.has_front else plot_sweep(found, next(iter(found.settings[0]))), plot)
    wanted = accuracy
    if wanted is None:
        wanted = 0.95 * float((run(network, samples).prediction == labels).mean())
    rows = [_row(found, point, wanted) for point in range(len(found.settings))]
    chosen_sentence = found.choice(wanted, share) if found.has_front else None
    if as_json:
        print_json({"pareto": str(out), "accuracy_wanted": wanted, "share_wanted": share, "points": rows,
                    "cheapest": found.cheapest(wanted, share) if found.has_front else None, "choice": chosen_sentence})
        return
    if found.has_front:
        rows.sort(key=lambda row: row["energy"]["nominal"])
    print_table(["setting", "front", "mean accuracy", "worst die", f"yield at {wanted:.1%}", "energy per sample (J)"],
                [(label(row["setting"]), "*" if row["on_front"] else "",
                  f"{row['accuracy']['mean']:.2%} [{row['accuracy']['low']:.2%}, {row['accuracy']['high']:.2%}]",
                  f"{row['accuracy']['min']:.2%}", f"{row['yield']:.1%}",
                  "{nominal:.3g} [{low:.3g}, {high:.3g}]".format(**row["energy"]) if row["energy"] else "not priced")
                 for row in rows], numbers_from=2)
    typer.echo(chosen_sentence or f"see it with: neurosim report {out} --out report.html")


def _row(found: Pareto, point: int, wanted: float) -> dict[str, Any]:
    accuracy, (low, high) = found.dataset["accuracy"][point], found.intervals()[point]
    energy = found.dataset["energy"][point].mean("die") if "energy" in found.dataset else None
    return {"setting": found.settings[point], "on_front": found.has_front and point in found.front,
            "accuracy": {"mean": float(accuracy.mean()), "low": float(low), "high": float(high),
                         "min": float(accuracy.min())},
            "yield": float((accuracy >= wanted).mean()),
            "energy": None if energy is None else {str(bound): float(energy.sel(bound=bound))
                                                   for bound in energy["bound"].values}}


def _in_seconds(text: str) -> str:
    """`time=1h,30d` with every time in seconds; anything else as it is."""
    key, _, values = text.partition("=")
    if key != "time" or ":" in values:
        return text
    return f"{key}={','.join(repr(seconds(value)) for value in values.split(','))}"
