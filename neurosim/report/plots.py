"""Plots over dies; each draws on the Axes it is given and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neurosim.deployment import Pareto, Run
from neurosim.deployment.sweep import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: distinct under the common kinds of colour blindness (Okabe and Ito)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Runs = Mapping[str, Run]


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def plot_accuracy(runs: Runs, axes: Axes) -> Axes:
    """Every die as a dot, with the box of quartiles, per run; a line where the network itself stands."""
    jitter = np.random.default_rng(0)
    for i, run in enumerate(runs.values()):
        accuracy = 100 * run.accuracy.values
        axes.scatter(i + 0.32 * (jitter.random(accuracy.size) - 0.5), accuracy, s=6, color=_colour(i), alpha=0.45,
                     linewidths=0, rasterized=accuracy.size > 2000)
        axes.boxplot(accuracy, positions=[i], widths=0.5, showfliers=False, medianprops={"color": "black"})
        axes.hlines(100 * run.ideal_accuracy, i - 0.4, i + 0.4, colors="grey", linestyles="dashed",
                    label="the network itself" if i == 0 else None)
    axes.set_xticks(range(len(runs)), list(runs), rotation=20 if len(runs) > 2 else 0, ha="right" if len(runs) > 2
                    else "center")
    axes.set_ylabel("accuracy of a die (%)")
    axes.legend(frameon=False, loc="lower left")
    return axes


def plot_yield(runs: Runs, axes: Axes) -> Axes:
    """Yield: the share of dies that reach an accuracy, against that accuracy."""
    for i, (name, run) in enumerate(runs.items()):
        ordered = np.sort(run.accuracy.values)
        share = 1 - np.arange(ordered.size) / ordered.size
        axes.step(100 * np.concatenate([[min(ordered[0], 0.999)], ordered]), 100 * np.concatenate([[1.0], share]),
                  where="pre", color=_colour(i), label=name)
    axes.set_xlabel("accuracy asked for (%)")
    axes.set_ylabel("yield (% of dies)")
    axes.set_ylim(-2, 102)
    axes.legend(frameon=False, loc="lower left")
    return axes


def plot_spikes(runs: Runs, axes: Axes) -> Axes:
    """Mean firing of each population: spikes per neuron and step, with the 5th to 95th percentile over dies."""
    layers = list(dict.fromkeys(str(layer) for run in runs.values() for layer in run.dataset["layer"].values))
    width = 0.8 / max(1, len(runs))
    for i, (name, run) in enumerate(runs.items()):
        data = run.dataset
        share = 100 * data["spikes"] / (data["neurons"] * data.attrs["samples"] * data.attrs["steps"])
        where = [layers.index(str(layer)) + (i - (len(runs) - 1) / 2) * width for layer in data["layer"].values]
        mean = share.mean("die").values
        low, high = (np.percentile(share.values, q, axis=0) for q in (5, 95))
        axes.bar(where, mean, width, color=_colour(i), label=name, yerr=np.maximum([mean - low, high - mean], 0),
                 error_kw={"linewidth": 1})
    axes.set_xticks(range(len(layers)), layers)
    axes.set_ylabel("neurons that fire in a step (%)")
    axes.legend(frameon=False)
    return axes


def plot_pareto(found: Pareto, axes: Axes) -> Axes:
    """Energy per sample against mean accuracy of every setting, with the interval over dies and the worst die; the
    front as a line, numbered, its settings in the legend."""
    accuracy = 100 * found.dataset["accuracy"]
    mean, intervals = accuracy.mean("die").values, 100 * found.intervals()
    energy = found.dataset["energy"].mean("die")
    joules = energy.sel(bound="nominal").values
    front = found.front
    axes.errorbar(joules, mean, yerr=np.abs(intervals.T - mean), fmt="o", markersize=4, color=COLOURS[5], elinewidth=1,
                  label="a setting: mean over dies, 95 % interval")
    axes.scatter(joules, accuracy.min("die").values, marker="_", color="grey", label="its worst die")
    axes.plot(joules[front], mean[front], "o-", color=COLOURS[0], label="front")
    for number, point in enumerate(front, start=1):
        axes.annotate(str(number), (joules[point], mean[point]), textcoords="offset points", xytext=(4, 5), fontsize=8)
        axes.plot([], [], " ", label=f"{number}: {label(found.settings[point])}")
    if joules.max() > 3 * joules.min() > 0:
        axes.set_xscale("log")
    axes.set_xlabel("energy per sample (J, nominal coefficients)")
    axes.set_ylabel("accuracy (%)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return axes


def plot_energy(runs: Runs, axes: Axes) -> Axes:
    """Where the energy of a sample goes: shares of the components, mean over dies, with the whole written above and its
    range by the low and high coefficients. Only runs whose chip type prices its events."""
    priced = {name: run.energy.mean("die") for name, run in runs.items() if "price" in run.dataset}
    parts = {name: mean.sel(bound="nominal").sum("place") for name, mean in priced.items()}
    names = [str(c) for c in next(iter(parts.values()))["component"].values] if parts else []
    bottoms = np.zeros(len(parts))
    shown = [c for c in names if any(float(part.sel(component=c)) > 0 for part in parts.values())]
    for i, component in enumerate(shown):
        shares = np.array([100 * float(part.sel(component=component) / part.sum()) for part in parts.values()])
        axes.bar(range(len(parts)), shares, 0.6, bottom=bottoms, color=_colour(i), label=component,
                 hatch="//" if i >= len(COLOURS) else None, edgecolor="white", linewidth=0.5)
        bottoms += shares
    for i, mean in enumerate(priced.values()):
        low, nominal, high = mean.sum(["place", "component"]).values
        axes.annotate(f"{nominal:.2g} J\n{low:.1g} to {high:.1g}", (i, 101), ha="center", va="bottom", fontsize=7)
    axes.set_xticks(range(len(parts)), list(parts), rotation=20 if len(parts) > 2 else 0,
                    ha="right" if len(parts) > 2 else "center")
    axes.set_ylim(0, 118)
    axes.set_ylabel("share of the energy of a sample (%)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes
