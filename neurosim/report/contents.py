"""Which figures a report has: those that the given results can fill, each with what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurosim.deployment import Examination
from neurosim.report.closeup import plot_parts, plot_raster, plot_tiles, plot_traces
from neurosim.report.plots import plot_accuracy, plot_energy, plot_spikes, plot_yield
from neurosim.report.results import Found, Results
from neurosim.report.robustness import plot_attack, plot_landscape
from neurosim.report.trade import plot_pareto, plot_sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Shown:
    """A figure: its name in files, the section that it stands in, how it is drawn, a title, and what it says."""

    name: str
    section: str
    draw: Callable[[], Figure]
    title: str
    says: str


def contents(results: Results) -> Iterator[Shown]:
    """Every figure that these results can fill, in the order of the page."""
    yield from _runs(results)
    for number, (name, die) in enumerate(results.dies.items(), start=1):
        yield from _die(die, name, "" if len(results.dies) == 1 else f"-{number}")
    for number, (name, found) in enumerate(results.searches.items(), start=1):
        tail = "" if len(results.searches) == 1 else f"-{number}"
        for key in found.conditions:
            yield Shown(f"{_plain(key)}{tail}", "conditions", lambda found=found, key=key: plot_sweep(found, key),
                        f"{name}: accuracy against {key}",
                        "The same dies at every value. Line: mean over dies; band: 5th to 95th percentile; dotted: the "
                        "worst die.")
        if found.has_front:
            yield Shown(f"pareto{tail}", "pareto", lambda found=found: plot_pareto(found),
                        f"{name}: energy and accuracy",
                        "Every setting with the same dies. The front is what no other setting beats in both.")
    for tail, found in _alike(results.attacks, "unit"):
        yield Shown(f"attack{tail}", "robustness", lambda found=found: plot_attack(found),
                    "The worst change, and random ones",
                    "Accuracy when every parameter may move by so much: as an attack finds it, and at random "
                    "(Gaussian: dotted). What lies far below random is there to be trained away.")
    for tail, found in _alike(results.landscapes, "unit", "size"):
        yield Shown(f"landscape{tail}", "robustness", lambda found=found: plot_landscape(found), "Loss landscape",
                    "Cross-entropy along random directions, each as long as that mismatch; thick: their mean. It shows "
                    "the same thing as mismatch does, from aside.")


def _runs(results: Results) -> Iterator[Shown]:
    runs = results.runs
    if not runs:
        return
    yield Shown("accuracy", "accuracy", lambda: plot_accuracy(runs), "Accuracy of every die",
                "One dot is one die. Its devices are drawn once and never again; the network is the same on all.")
    yield Shown("yield", "accuracy", lambda: plot_yield(runs), "Yield",
                "The share of dies that reach an accuracy: choose what you need on the axis below and read off how "
                "many dies have it.")
    if any("price" in run.dataset for run in runs.values()):
        yield Shown("energy", "energy", lambda: plot_energy(runs), "Where the energy goes",
                    "Events counted on each die times the coefficients of its profile. The range is that of the "
                    "coefficients, not of the dies. Compare chip types only where their profiles price the same "
                    "events.")
    if any(run.spikes.sizes["layer"] for run in runs.values()):
        yield Shown("spikes", "activity", lambda: plot_spikes(runs), "How often neurons fire",
                    "Dot: mean over dies; line: 5th to 95th percentile of dies.")


def _die(die: Examination, name: str, tail: str) -> Iterator[Shown]:
    section, attrs = f"die{tail}", die.dataset.attrs
    yield Shown(f"parts{tail}", section, lambda: plot_parts(die), f"What makes die {die.die} of {name} what it is",
                "The die was run again with one part in turn replaced by devices as they were meant. Bar: what it "
                "gains; circle: the same on the die in the middle; coloured: parts that stand out.")
    if any(str(variable).startswith("spikes_") for variable in die.dataset.data_vars):
        yield Shown(f"raster{tail}", section, lambda: plot_raster(die), "Its spikes",
                    f"Sample {attrs['sample']}, of class {attrs['label']}: in the network itself, and on this die.")
        yield Shown(f"traces{tail}", section, lambda: plot_traces(die), "Currents and membranes",
                    "The neuron of each population whose spikes the die changes most. Grey: in the network itself; "
                    "ticks: its spikes on the die.")
    if "tile_0" in die.dataset:
        yield Shown(f"tiles{tail}", section, lambda: plot_tiles(die), "Its tiles",
                    "Conductances as they lie on the chip at the time of the run; right, what differs from those "
                    "meant.")


def _alike(found: Mapping[str, Found], *keys: str) -> Iterator[tuple[str, dict[str, Found]]]:
    """Results that one axis can have, together, each with what tells its figure's name from the others'."""
    groups: dict[tuple[object, ...], dict[str, Found]] = {}
    for name, one in found.items():
        groups.setdefault(tuple(one.get(key) for key in keys), {})[name] = one
    for number, group in enumerate(groups.values(), start=1):
        yield "" if len(groups) == 1 else f"-{number}", group


def _plain(key: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in key)
