"""What the paper leaves as future work: more than weights attacked, circuits, and crossbars with converters.

`neurons`   ECG, LSNN: mismatch of weights, biases, thresholds and time constants alike; trained on the plain
            parameters, and on the devices with noise and with an attack on all of them
`dynap`     digits at circuit level on dynap_se2: currents of every bias and synapse
`pcm`       speech, LSNN on pcm_joshi with 8-bit converters, an hour after programming, drift compensated

    python -m benchmarks.paper.beyond neurons [--epochs N] [--dies N]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.paper.cells import RESULTS, write
from benchmarks.paper.jobs import in_processes, spoken
from neurosim.cli.train import trained_network
from neurosim.deployment import deploy
from neurosim.mapping import map_network
from neurosim.network import Network
from neurosim.profile import Profile, load_profile
from neurosim.tasks import load_task
from neurosim.training import circuit_defaults

LOT = 1
_SPREADS = {"weight": "normal", "bias": "normal", "threshold": "lognormal", "tau_mem": "lognormal",
            "tau_adaptation": "lognormal"}


@dataclass(frozen=True)
class Way:
    """How to train: a recipe, and a mode of `OnChip` where it sees the devices."""

    recipe: str
    on_chip: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A chip type with changes, the task, the ways to train for it; levels: of mismatch, where that is varied."""

    task: str
    profile: str
    ways: Mapping[str, Way]
    changes: Mapping[str, object] = field(default_factory=dict)
    levels: tuple[float, ...] = ()
    level: str = "neuron"
    time: float | None = None
    calibrate: tuple[str, ...] = ()

    def chip(self, mismatch: float | None = None) -> Profile:
        """The chip type; with a relative mismatch of everything that a neuron has."""
        values = dict(self.changes)
        if mismatch is not None:
            spread = {"value": 1.0, "cv": mismatch, "source": f"set: {mismatch:g}"}
            values |= {f"mismatch.{name}": {**spread, "distribution": kind} for name, kind in _SPREADS.items()}
        profile = load_profile(self.profile)
        return profile.with_values(values) if values else profile


ON_DEVICES = {"standard": Way("standard"), "noise on devices": Way("forward_noise", "nominal"),
              "attack on devices": Way("hybrid", "nominal", {"steps": 3}),
              "robust on devices": Way("robust", "nominal")}
SCENARIOS = {
    "neurons": Scenario("ecg", "mismatch", {**ON_DEVICES, "robust on weights": Way("robust")},
                        levels=(0.1, 0.2, 0.3, 0.5)),
    "dynap": Scenario("digits", "dynap_se2", ON_DEVICES, level="circuit"),
    "pcm": Scenario("speech", "pcm_joshi", ON_DEVICES,
                    {"adc.bits": 8, "dac.bits": 8, "dac.v_read": {"value": 0.2, "source": "set: 0.2 V"}}, time=3600.0,
                    calibrate=("gdc",)),
}
#: the mismatch that `neurons` is trained for
TRAINED_FOR = 0.3


@dataclass(frozen=True)
class Job:
    scenario: str
    way: str
    seed: int
    epochs: int | None
    dies: int


def result_of(job: Job, work: Path) -> dict[str, object]:
    """A network trained one way, and its right answers on dies."""
    scenario, way = SCENARIOS[job.scenario], SCENARIOS[job.scenario].ways[job.way]
    task = load_task(scenario.task, **(circuit_defaults(scenario.task).task if scenario.level == "circuit" else {}))
    chip = scenario.chip(TRAINED_FOR if scenario.levels else None)
    work.mkdir(parents=True, exist_ok=True)
    file = work / f"beyond-{job.scenario}-{job.way.replace(' ', '_')}-{job.seed}-{job.epochs or 'full'}.h5"
    if not file.exists():
        checkpoint = file.with_suffix(".checkpoint")
        trained_network(task, way.recipe, job.seed, chip if way.on_chip or scenario.level == "circuit" else None,
                        job.epochs, settings=way.settings, on_chip=way.on_chip, level=scenario.level,
                        checkpoint=checkpoint, resume=True).save(file)
        checkpoint.unlink(missing_ok=True)
    network, labels = Network.load(file), task.test.labels
    right, itself = {}, 0
    for level in scenario.levels or (None,):
        mapped = map_network(network, scenario.chip(level))
        run = deploy(mapped, task.test.inputs, labels, dies=job.dies, seed=LOT, time=scenario.time, threads=1,
                     calibrate=scenario.calibrate, progress=False)
        right["" if level is None else str(level)] = np.rint(run.accuracy.values * labels.size).astype(int).tolist()
        itself = round(run.ideal_accuracy * labels.size)
    return {"recipe": way.recipe, "on_chip": way.on_chip, "settings": dict(network.provenance["settings"]),
            "samples": int(labels.size), "itself": itself, "right": right}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--epochs", type=int, help="default: that of the task")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--dies", type=int, default=200, help="default: 200")
    parser.add_argument("--work", type=Path, default=Path("paper-work"))
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (default 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenario = SCENARIOS[options.scenario]
    file = RESULTS / "beyond" / f"{options.scenario}-{options.epochs or 'full'}-{options.seed}.json"
    asked = {"scenario": options.scenario, "seed": options.seed, "epochs": options.epochs, "dies": options.dies,
             "lot": LOT, "trained_for": TRAINED_FOR if scenario.levels else None}
    found = json.loads(file.read_text()) if file.exists() else {}
    ways = found.get("ways", {}) if found.get("asked") == asked else {}
    todo = {name: Job(options.scenario, name, options.seed, options.epochs, options.dies)
            for name in scenario.ways if name not in ways}
    for name, result in in_processes(result_of, todo, options.work, options.jobs, options.scenario):
        ways = {of: {**ways, name: result}[of] for of in scenario.ways if of in {**ways, name: result}}
        write(file, {"asked": asked, "ways": ways})
    if options.json:
        json.dump({"asked": asked, "ways": ways}, sys.stdout, indent=1)
        print()
        return 0
    print(f"{options.scenario}: mean / least of {options.dies} dies, percent")
    for name, entry in ways.items():
        shares = [100 * np.array(right) / entry["samples"] for right in entry["right"].values()]
        print(f"{name:20}{100 * entry['itself'] / entry['samples']:8.2f}",
              *(f"{share.mean():6.2f}/{share.min():6.2f}" for share in shares))
    return 0


if __name__ == "__main__":
    sys.exit(spoken(main))
