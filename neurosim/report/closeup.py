"""Figures of one die: what makes it worse, what its neurons do, what its tiles hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from neurosim.deployment import Examination
from neurosim.errors import NeurosimError
from neurosim.report.style import COLOURS, INK, LINE, MUTED, PAPER, SMALL, blank, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 8  # parts of a kind that are shown
_NEURONS = 256  # of a population in a raster


@styled
def plot_parts(found: Examination) -> Figure:
    """What the die would gain with each part as it was meant: a bar; hollow, the same on the die in the middle.

    The largest parts of each kind: all devices, arrays, tiles and groups of neurons.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import examine
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped, inputs = ns.map_network(net, ns.load_profile("mismatch")), np.ones((20, 2, 2)) * np.eye(2)
    >>> seen = examine(ns.deploy(mapped, inputs, [0, 1], dies=3), mapped, inputs, [0, 1])
    >>> plot_parts(seen).axes[0].get_xlabel()
    'accuracy gained with the part as meant (points)'
    """
    kinds, gain, control = found.dataset["kind"].values, 100 * found.gain, 100 * found.control
    shown: list[int | None] = []
    for group in (("all",), ("array",), ("tile", "neurons")):
        of = np.flatnonzero(np.isin(kinds, group))
        shown += [*([None] if shown and of.size else []), *of[np.argsort(-gain[of], kind="stable")][:_ROWS].tolist()]
    culprits = {found.culprit("array"), found.culprit("tile", "neurons")}
    figure, [axes] = blank(0.8 + 0.19 * len(shown), grid="x")
    for row, part in enumerate(shown):
        if part is None:
            continue
        axes.barh(row, gain[part], 0.62, color=COLOURS[1] if part in culprits else COLOURS[6])
        axes.plot(control[part], row, "o", markersize=4, color=PAPER, markeredgecolor=INK, markeredgewidth=0.9)
    axes.axvline(0, color=LINE, linewidth=0.9)
    named = [(row, part) for row, part in enumerate(shown) if part is not None]
    axes.set_yticks([row for row, _ in named], [found.dataset["name"].values[part] for _, part in named])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("accuracy gained with the part as meant (points)")
    axes.set_title(f"die {found.die}; ○ die {found.dataset.attrs['control_die']}, in the middle", color=MUTED,
                   fontsize=SMALL)
    return figure


def _layers(found: Examination) -> list[tuple[int, str]]:
    names = [str(name) for name in found.dataset.data_vars if str(name).startswith("spikes_")]
    if not names:
        raise NeurosimError("the network has no neurons that spike", where="plot")
    return [(int(name.rpartition("_")[2]), str(found.dataset[name].attrs["layer"])) for name in names]


@styled
def plot_raster(found: Examination) -> Figure:
    """Spikes of one sample: left in the network itself, right on the die, a row of plots for each population.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import examine
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped, inputs = ns.map_network(net, ns.load_profile("mismatch")), np.ones((20, 2, 2)) * np.eye(2)
    >>> seen = examine(ns.deploy(mapped, inputs, [0, 1], dies=3), mapped, inputs, [0, 1])
    >>> [axes.get_title("left") for axes in plot_raster(seen).axes]
    ['the network itself', 'die 0']
    """
    layers = _layers(found)
    figure, axes = blank(0.75 + 1.15 * len(layers), rows=len(layers), columns=2, grid="", sharex=True)
    dt = float(found.dataset.attrs["dt"])
    for row, (i, layer) in enumerate(layers):
        for column, prefix in enumerate(("ideal_", "")):
            one, spikes = axes[2 * row + column], found.dataset[f"{prefix}spikes_{i}"].values
            shown = np.linspace(0, spikes.shape[1] - 1, min(spikes.shape[1], _NEURONS)).astype(int)
            time, neuron = np.nonzero(spikes[:, shown])
            size = np.clip(100 / max(shown.size, 1), 1.2, 7)
            one.scatter(1e3 * dt * time, shown[neuron], s=size**2, marker="|", linewidths=0.8,
                        color=COLOURS[1] if column else INK, rasterized=time.size > 4000)
            one.set_xlim(0, 1e3 * dt * spikes.shape[0])
            one.set_ylim(-0.7, spikes.shape[1] - 0.3)
            one.yaxis.get_major_locator().set_params(integer=True, nbins=4)
            if column:
                one.tick_params(labelleft=False)
            else:
                one.set_ylabel(f"{layer}, neuron")
            if row == 0:
                one.set_title(f"die {found.die}" if column else "the network itself",
                              color=COLOURS[1] if column else INK)
            if row == len(layers) - 1:
                one.set_xlabel("time (ms)")
    return figure


@styled
def plot_traces(found: Examination) -> Figure:
    """What lies in the neuron of each population that the die changes most, over time: input and membrane with its
    threshold (of circuits, currents in amperes); grey in the network itself.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import examine
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped, inputs = ns.map_network(net, ns.load_profile("mismatch")), np.ones((20, 2, 2)) * np.eye(2)
    >>> seen = examine(ns.deploy(mapped, inputs, [0, 1], dies=3), mapped, inputs, [0, 1])
    >>> [axes.get_ylabel() for axes in plot_traces(seen).axes]
    ['current', 'membrane']
    """
    from matplotlib.ticker import EngFormatter

    layers, dt = _layers(found), 1e3 * float(found.dataset.attrs["dt"])
    rows = []
    for i, layer in layers:
        about = found.dataset[f"trace_{i}"].attrs
        rows += [(i, layer, about, q, what) for q, what in enumerate(json.loads(about["quantities"]))
                 if what != "threshold"]
    figure, axes = blank(0.55 + 0.95 * len(rows), rows=len(rows), grid="", sharex=True)
    for one, (i, layer, about, q, what) in zip(axes, rows, strict=True):
        names = json.loads(about["quantities"])
        neuron = np.atleast_1d(about["neurons"])[0]
        values, ideal = (found.dataset[f"{prefix}trace_{i}"].values[:, :, 0] for prefix in ("", "ideal_"))
        time = dt * np.arange(1, values.shape[1] + 1)
        one.plot(time, ideal[q], color=MUTED, linewidth=0.9, alpha=0.8)
        one.plot(time, values[q], color=COLOURS[1], linewidth=1.2)
        if what == "membrane":
            if "threshold" in names:
                one.plot(time, values[names.index("threshold")], color=LINE, linewidth=0.8)
            fired = np.flatnonzero(found.dataset[f"spikes_{i}"].values[:, neuron])
            if fired.size:  # a line of no points outside the axes would take all their room
                one.plot(time[fired], np.full(fired.size, 1.06), "|", color=COLOURS[1], markersize=5,
                         transform=one.get_xaxis_transform(), clip_on=False)
        if about["units"]:
            one.yaxis.set_major_formatter(EngFormatter(str(about["units"])))
        one.set_ylabel(what)
        one.yaxis.get_major_locator().set_params(nbins=4)
        if q == 0:
            one.set_title(f"{layer}, neuron {neuron}", fontsize=SMALL, pad=7)
    axes[-1].set_xlabel("time (ms)")
    figure.align_ylabels()
    return figure


@styled
def plot_tiles(found: Examination) -> Figure:
    """Conductances on the tiles of the die as they lie there (rows are inputs), and what differs from those meant.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import examine
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> mapped, inputs = ns.map_network(net, ns.load_profile("pcm_hermes")), np.ones((20, 2, 2)) * np.eye(2)
    >>> seen = examine(ns.deploy(mapped, inputs, [0, 1], dies=3), mapped, inputs, [0, 1])
    >>> [axes.get_title("left") for axes in plot_tiles(seen).axes[:2]]
    ['linear/weight', 'less than meant | more']
    """
    count = sum(str(name).startswith("tile_") for name in found.dataset.data_vars)
    if not count:
        raise NeurosimError("the chip type has no tiles of conductances", where="plot_tiles")
    tiles = [(found.dataset[f"tile_{j}"], found.dataset[f"meant_{j}"]) for j in range(count)]
    most = max(1e6 * float(tile.max()) for tile, _ in tiles)
    off = max(1e6 * float(np.percentile(np.abs(tile.values - meant.values), 99)) for tile, meant in tiles) or 1.0
    figure, axes = blank(0.35 + 1.5 * count, rows=count, columns=2, grid="")
    for j, (tile, meant) in enumerate(tiles):
        for one, values, kind, low, high in (
                (axes[2 * j], tile.values, "viridis", 0, most),
                (axes[2 * j + 1], tile.values - meant.values, "RdBu_r", -off, off)):
            image = one.imshow(1e6 * values, aspect="auto", cmap=kind, vmin=low, vmax=high, interpolation="nearest")
            bar = figure.colorbar(image, ax=one, pad=0.02, aspect=12)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=SMALL - 0.5, length=2)
            bar.set_label("µS", fontsize=SMALL)
            one.spines[:].set_visible(False)
            for axis in (one.xaxis, one.yaxis):
                axis.get_major_locator().set_params(integer=True, nbins=4)
        axes[2 * j].set_title(str(tile.attrs["tile"]))
        axes[2 * j].set_ylabel("row (input)")
        if j == 0:
            axes[1].set_title("less than meant | more", color=MUTED)
    for one in axes[-2:]:
        one.set_xlabel("column")
    return figure
