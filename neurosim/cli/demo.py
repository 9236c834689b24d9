"""`neurosim demo`: the whole road once, on real data, in about a minute and a half."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from neurosim.cli.attack import objective_of_model, some_samples, unit_of
from neurosim.cli.deploy import as_dict
from neurosim.cli.output import JSON, command_line, print_json, print_table, write_json
from neurosim.cli.train import trained_network
from neurosim.errors import whole
from neurosim.writing import made_folder

RECIPES: dict[str, dict[str, float]] = {"standard": {}, "forward_noise": {"eta": 0.2, "average": 0.99},
                                        "robust": {"eta": 0.4}}
#: seconds after programming at which each chip is used; None for one that does not drift
PROFILES = {"pcm_hermes": 86400.0, "dynap_se2": None}
#: what is varied, of which recipe, on which chip: in each search the same dies at every setting
SEARCHES = {"time": ("robust", "pcm_hermes", ["time=3600,86400,2592000,31557600"]),
            "mismatch": ("robust", "mismatch", ["mismatch=0:0.5:0.1"]),
            "thresholds": ("robust", "dynap_se2", ["neuron.threshold_scale=0.7:1.3:0.1"])}
#: recipes that are attacked, and looked around from; of how many samples, in which sizes
ATTACKED, SAMPLES, SIZES = ("standard", "robust"), 200, (0.02, 0.05, 0.1, 0.2, 0.3)
_SEARCHED = 20  # dies of a search, at most

if TYPE_CHECKING:
    from neurosim.network import Network
    from neurosim.report import Result


def demo(
    folder: Path = typer.Option(Path("neurosim-demo"), "--out", "-o", help="Folder for models, runs and the report."),
    dies: int = typer.Option(300, help="Dies of each chip type."),
    epochs: int = typer.Option(None, help="Of training; default: that of the task."),
    seed: int = typer.Option(0, help="Of training and of the dies."),
    as_json: bool = JSON,
) -> None:
    """Train the digits in three ways, deploy each on a crossbar and a mixed-signal chip, write a report."""
    from neurosim.deployment import deploy, examine
    from neurosim.mapping import map_network
    from neurosim.profile import load_profile
    from neurosim.report import write_report
    from neurosim.tasks import load_task

    dies = whole("--dies", dies)
    made_folder(folder)
    task = load_task("digits")
    chips = [load_profile(name) for name in PROFILES]
    runs, networks = {}, {}
    for recipe, settings in RECIPES.items():
        network = trained_network(task, recipe, seed, epochs=epochs, settings=settings, command=command_line())
        network.save(folder / f"{recipe}.h5")
        networks[recipe] = network
        for chip in chips:
            run = deploy(map_network(network, chip), task.test.inputs, task.test.labels, dies, seed,
                         time=PROFILES[chip.name],
                         about={"task": task.name, "recipe": recipe, "command": command_line(),
                                "data_source": task.citation})
            run.save(folder / f"{recipe}-{chip.name}.nc")
            runs[f"{recipe}, {chip.name}"] = run
    runs = {f"{recipe}, {chip}": runs[f"{recipe}, {chip}"] for chip in PROFILES for recipe in RECIPES}
    worst = min(runs, key=lambda name: float(runs[name].accuracy.min()))
    recipe, chip = worst.split(", ")
    die = examine(runs[worst], map_network(networks[recipe], load_profile(chip)), task.test.inputs, task.test.labels,
                  about={"command": command_line()})
    die.save(folder / "worst-die.nc")
    others = [die, *_searches(networks, folder, min(dies, _SEARCHED), seed), *_around(networks, folder, seed)]
    report = write_report([*runs.values(), *others], folder / "report.html",
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


def _searches(networks: dict[str, Network], folder: Path, dies: int, seed: int) -> list[Result]:
    """Accuracy over time and mismatch, and against energy; a file for each."""
    from neurosim.deployment import pareto, parse_range, settings
    from neurosim.profile import load_profile

    found = []
    for name, (recipe, chip, ranges) in SEARCHES.items():
        x, y = some_samples(networks[recipe], None, None)
        one = pareto(networks[recipe], load_profile(chip), settings([parse_range(text) for text in ranges]), x, y, dies,
                     seed, time=PROFILES.get(chip) if name != "time" else None,
                     about={"model": f"{recipe}.h5", "command": command_line()})
        one.save(folder / f"{name}.nc")
        found.append(one)
    return found


def _around(networks: dict[str, Network], folder: Path, seed: int) -> list[Result]:
    """What attacks and random directions do to the networks themselves; a file for each."""
    import torch

    from neurosim.training import landscape, vulnerability

    found = []
    for recipe in ATTACKED:
        x, y = some_samples(networks[recipe], None, SAMPLES)
        objective = objective_of_model(networks[recipe], None, x)
        given = objective, torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        for kind, one in (("attack", vulnerability(*given, SIZES, draws=3, seed=seed)),
                          ("landscape", landscape(*given, directions=3, points=21, seed=seed))):
            result = {"kind": kind, "model": f"{recipe}.h5", "unit": unit_of(None), "command": command_line(),
                      "network_hash": networks[recipe].hash, **one.as_dict()}
            write_json(result, folder / f"{recipe}-{kind}.json")
            found.append(result)
    return found
