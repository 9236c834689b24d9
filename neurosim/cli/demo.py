"""`neurosim demo`: the whole road once, on real data, in about a minute."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.deploy import as_dict
from neurosim.cli.output import JSON, command_line, print_json, print_table
from neurosim.cli.train import trained_network

RECIPES: dict[str, dict[str, float]] = {"standard": {}, "forward_noise": {"eta": 0.2, "average": 0.99},
                                        "robust": {"eta": 0.3}}
#: seconds after programming at which each chip is used; None for one that does not drift
PROFILES = {"pcm_hermes": 86400.0, "dynap_se2": None}


def demo(
    folder: Path = typer.Option(Path("neurosim-demo"), "--out", "-o", help="Folder for models, runs and the report."),
    dies: int = typer.Option(300, help="Dies of each chip type."),
    epochs: int = typer.Option(None, help="Of training; default: that of the task."),
    seed: int = typer.Option(0, help="Of training and of the dies."),
    as_json: bool = JSON,
) -> None:
    """Train the digits in three ways, deploy each on a crossbar and a mixed-signal chip, write a report."""
    from neurosim.deployment import deploy
    from neurosim.mapping import map_network
    from neurosim.profile import load_profile
    from neurosim.report import write_report
    from neurosim.tasks import load_task

    folder.mkdir(parents=True, exist_ok=True)
    task = load_task("digits")
    chips = [load_profile(name) for name in PROFILES]
    runs = {}
    for recipe, settings in RECIPES.items():
        network = trained_network(task, recipe, seed, epochs=epochs, settings=settings, command=command_line())
        network.save(folder / f"{recipe}.h5")
        for chip in chips:
            run = deploy(map_network(network, chip), task.test.inputs, task.test.labels, dies, seed,
                         time=PROFILES[chip.name],
                         about={"task": task.name, "recipe": recipe, "command": command_line(),
                                "data_source": task.citation})
            run.save(folder / f"{recipe}-{chip.name}.nc")
            runs[f"{recipe}, {chip.name}"] = run
    runs = {f"{recipe}, {chip}": runs[f"{recipe}, {chip}"] for chip in PROFILES for recipe in RECIPES}
    report = write_report(runs, folder / "report.html",
                          f"One network, {dies} dies of each chip: trained without noise, with noise, and to be robust",
                          figures=folder / "figures")
    if as_json:
        print_json({"report": str(report), "runs": {name: as_dict(run) for name, run in runs.items()}})
        return
    rows = []
    for name, run in runs.items():
        mean, _, least, low, share = run.summary()
        rows.append((*name.split(", "), f"{run.ideal_accuracy:.1%}", f"{mean.value:.1%}", f"{low.value:.1%}",
                     f"{least.value:.1%}", f"{share.value:.1%}"))
    print_table(["recipe", "chip", "network itself", "mean die", "5th percentile", "worst die", "yield"], rows,
                f"digits, {task.test.labels.size} test samples, {dies} dies of each chip, the crossbar a day after "
                "programming; yield at 95 % of the network's own accuracy", numbers_from=2)
    typer.echo(f"report: {report}")
