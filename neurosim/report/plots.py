"""Figures of runs: how accurate the dies are, how many are good, what fires, where the energy goes.

Each takes runs by the name to be shown and returns a matplotlib figure; `save_figure` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neurosim.deployment import Run
from neurosim.errors import NeurosimError
from neurosim.report.style import COLOURS, INK, LINE, MUTED, PAPER, SMALL, blank, colour, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Runs = Mapping[str, Run]
_LITTLE = 0.02  # a component that is nowhere a larger share is shown with the rest


def joules(value: float) -> str:
    """An energy as people read it.

    >>> joules(3.21e-8), joules(9.996e-4), joules(0.0)
    ('32.1 nJ', '1 mJ', '0 J')
    """
    if not value:
        return "0 J"
    value = float(f"{value:.3g}")  # first: 999.6 µJ are 1 mJ
    power = min(max(int(np.floor(np.log10(abs(value)) / 3)), -6), 0)
    return f"{value / 1000.0**power:.3g} {['', 'm', 'µ', 'n', 'p', 'f', 'a'][-power]}J"


def _rows(axes: Axes, names: list[str]) -> None:
    """Names of runs as the rows of a figure, the first on top; a long one on two lines."""
    axes.set_yticks(range(len(names)), [name.replace(", ", "\n", 1) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


@styled
def plot_accuracy(runs: Runs) -> Figure:
    """Every die as a dot, the quartiles as a bar, per run; a mark where the network itself stands.

    Returns the figure. On the right: mean over dies, and the worst of them.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped = ns.map_network(net, ns.load_profile("mismatch"))
    >>> run = ns.deploy(mapped, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3, seed=7)
    >>> plot_accuracy({"mine": run}).axes[0].get_xlabel()
    'accuracy of a die (%)'
    """
    figure, [axes] = blank(0.85 + 0.46 * len(runs), grid="x")
    jitter = np.random.default_rng(0)
    for i, run in enumerate(runs.values()):
        accuracy = 100 * run.accuracy.values
        axes.scatter(accuracy, i + 0.44 * (jitter.random(accuracy.size) - 0.5), s=5, color=colour(i), alpha=0.4,
                     linewidths=0, rasterized=accuracy.size > 2000)
        low, middle, high = np.percentile(accuracy, (25, 50, 75))
        axes.plot([low, high], [i, i], color=INK, linewidth=3, solid_capstyle="butt")
        axes.plot(middle, i, "o", color=PAPER, markeredgecolor=INK, markersize=4, markeredgewidth=1)
        axes.plot([100 * run.ideal_accuracy] * 2, [i - 0.34, i + 0.34], color=MUTED, linewidth=1.2)
        for column, value in ((1.12, accuracy.mean()), (1.25, accuracy.min())):
            axes.annotate(f"{value:.1f}", (column, i), xycoords=("axes fraction", "data"), ha="right", va="center",
                          fontsize=SMALL)
    for column, head in ((1.12, "mean"), (1.25, "worst")):
        axes.annotate(head, (column, 1.0), xycoords="axes fraction", ha="right", va="bottom", fontsize=SMALL,
                      color=MUTED)
    axes.annotate("| the network itself   ● median, bar: quartiles", (0, 1.0), xycoords="axes fraction", va="bottom",
                  fontsize=SMALL, color=MUTED)
    _rows(axes, list(runs))
    axes.set_xlabel("accuracy of a die (%)")
    return figure


@styled
def plot_yield(runs: Runs) -> Figure:
    """Yield: the share of dies that reach an accuracy, against that accuracy.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped = ns.map_network(net, ns.load_profile("mismatch"))
    >>> run = ns.deploy(mapped, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3, seed=7)
    >>> float(plot_yield({"mine": run}).axes[0].lines[0].get_ydata()[-1])  # all three dies reach 100 %
    100.0
    """
    figure, [axes] = blank(2.7)
    for i, (name, run) in enumerate(runs.items()):
        reached, counts = np.unique(run.accuracy.values, return_counts=True)
        share = 100 * np.cumsum(counts[::-1])[::-1] / run.accuracy.size
        start = min(other.accuracy.values.min() for other in runs.values()) - 0.01
        axes.step(100 * np.array([max(start, 0), *reached, reached[-1]]), [100, *share, share[-1]],
                  where="pre", color=colour(i), label=name, zorder=3)
        axes.plot([100 * reached[-1]] * 2, [share[-1], 0], color=colour(i), linewidth=0.8, zorder=2)
    axes.set_xlabel("accuracy asked for (%)")
    axes.set_ylabel("yield (% of dies)")
    axes.set_ylim(0, 103)
    legend = axes.legend(loc="lower left", labelcolor="linecolor")
    legend.set_zorder(4)
    return figure


@styled
def plot_spikes(runs: Runs) -> Figure:
    """How often the neurons of each population fire: mean over dies, and the 5th to 95th percentile as a line.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped = ns.map_network(net, ns.load_profile("mismatch"))
    >>> run = ns.deploy(mapped, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3, seed=7)
    >>> [label.get_text() for label in plot_spikes({"mine": run}).axes[0].get_yticklabels()]
    ['lif']
    """
    layers = list(dict.fromkeys(str(layer) for run in runs.values() for layer in run.dataset["layer"].values))
    if not layers:
        raise NeurosimError("no run has neurons that spike", where="plot_spikes")
    figure, [axes] = blank(0.9 + 0.14 * len(layers) * (len(runs) + 1.5) + 0.16 * -(-len(runs) // 2), grid="x")
    for i, (name, run) in enumerate(runs.items()):
        data = run.dataset
        share = 100 * data["spikes"] / (data["neurons"] * data.attrs["samples"] * data.attrs["steps"])
        aside = 0.7 * (i - (len(runs) - 1) / 2) / len(runs)
        where = [layers.index(str(layer)) + aside for layer in data["layer"].values]
        mean = share.mean("die").values
        low, high = (np.percentile(share.values, q, axis=0) for q in (5, 95))
        axes.hlines(where, low, high, color=colour(i), linewidth=1.4)
        axes.plot(mean, where, "o", color=colour(i), markersize=4, label=name)
    _rows(axes, layers)
    axes.set_xlim(left=0)
    axes.set_xlabel("neurons that fire in a step (%)")
    figure.legend(loc="outside lower left", ncols=2, labelcolor="linecolor")
    return figure


@styled
def plot_energy(runs: Runs) -> Figure:
    """Where the energy of a sample goes: shares of the components, mean over dies; the whole on the right, with its
    range by the low and high coefficients. Only runs whose chip type prices its events.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped = ns.map_network(net, ns.load_profile("pcm_hermes"))
    >>> run = ns.deploy(mapped, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3, seed=7)
    >>> plot_energy({"mine": run}).axes[0].get_xlabel()
    'share of the energy of a sample (%)'
    """
    priced = {name: run.energy.mean("die") for name, run in runs.items() if "price" in run.dataset}
    if not priced:
        raise NeurosimError("no chip type of these runs prices its events", where="plot_energy",
                            hint="give its profile an [energy] section")
    parts = {name: mean.sel(bound="nominal").sum("place") for name, mean in priced.items()}
    names = [str(c) for c in next(iter(parts.values()))["component"].values]
    largest = {c: max(float(part.sel(component=c) / part.sum()) for part in parts.values()) for c in names}
    shown = [c for c in sorted(names, key=lambda c: -largest[c])[:len(COLOURS) - 1] if largest[c] > _LITTLE]
    rest = [c for c in names if c not in shown and largest[c] > 0]
    figure, [axes] = blank(1.0 + 0.42 * len(parts) + 0.16 * (len(shown) // 4 + 1), grid="")
    lefts = np.zeros(len(parts))
    stacked = [(c, [c], colour(i)) for i, c in enumerate(shown)]
    stacked += [("the rest", rest, COLOURS[-1])] if rest else []
    for said, components, ink in stacked:
        shares = np.array([100 * float(part.sel(component=components).sum() / part.sum()) for part in parts.values()])
        axes.barh(range(len(parts)), shares, 0.55, left=lefts, color=ink, label=said, edgecolor=PAPER, linewidth=0.7)
        for row, (left, share) in enumerate(zip(lefts, shares, strict=True)):
            if share >= 12:
                axes.annotate(f"{share:.0f}", (left + share / 2, row), ha="center", va="center", fontsize=SMALL,
                              color=PAPER)
        lefts += shares
    for i, mean in enumerate(priced.values()):
        low, nominal, high = mean.sum(["place", "component"]).values
        axes.annotate(f"{joules(nominal)}\n{joules(low)} to {joules(high)}", (1.02, i),
                      xycoords=("axes fraction", "data"), va="center", fontsize=SMALL - 0.5)
    _rows(axes, list(parts))
    axes.set_xlim(0, 100)
    axes.spines["bottom"].set_color(LINE)
    axes.set_xlabel("share of the energy of a sample (%)")
    figure.legend(loc="outside lower left", ncols=4, labelcolor="linecolor")
    return figure
