"""Figures of how steady a network is: accuracy under attack, and its loss in random directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neurosim.report.style import LINE, blank, colour, label_ends, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = (("attacked", "attacked", "-"), ("corner_mean", "random corner", "--"), ("gaussian_mean", "Gaussian", ":"))


@styled
def plot_attack(attacks: Mapping[str, Mapping[str, object]]) -> Figure:
    """Accuracy against the size of a change, the worst one and random ones (mean, and down to the least).

    Parameters
    ----------
    attacks:
        What `neurosim attack` found, by the name of the model. Of several models: the attacked, and beside it, dotted,
        Gaussian changes of the same size.

    >>> found = {"accuracy": 0.9, "unit": "of each parameter", "points": [{"size": 0.1, "attacked": 0.5,
    ...     "corner_mean": 0.88, "corner_least": 0.8, "gaussian_mean": 0.86, "gaussian_least": 0.7}]}
    >>> plot_attack({"mine": found}).axes[0].lines[0].get_ydata().tolist()
    [90.0, 50.0]
    """
    figure, [axes] = blank(2.8)
    ends = []
    for i, (name, found) in enumerate(attacks.items()):
        points = found["points"]
        sizes = [0.0, *(point["size"] for point in points)]
        for j, (key, said, style) in enumerate(_LINES):
            if len(attacks) > 1 and key == "corner_mean":
                continue
            ink = colour(i if len(attacks) > 1 else j)
            values = [100 * v for v in (found["accuracy"], *(point[key] for point in points))]
            axes.plot(sizes, values, style, marker="o", markersize=3, color=ink)
            least = key.replace("mean", "least")
            if least != key and len(attacks) == 1:
                low = [100 * v for v in (found["accuracy"], *(point[least] for point in points))]
                axes.fill_between(sizes, low, values, color=ink, alpha=0.15, linewidth=0)
            if len(attacks) == 1 or key == "attacked":
                ends.append((values[-1], said if len(attacks) == 1 else name, ink))
    units = {str(found.get("unit", "")) for found in attacks.values()}
    axes.set_xlabel(f"size of the change: {', '.join(sorted(units))}" if any(units) else "size of the change")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(bottom=0)
    label_ends(axes, ends)
    return figure


@styled
def plot_landscape(landscapes: Mapping[str, Mapping[str, object]]) -> Figure:
    """Loss along random directions: thin lines, and their mean; a flat valley stands for parameters that may spread.

    Parameters
    ----------
    landscapes:
        What `neurosim landscape` found, by the name of the model.

    >>> found = {"steps": [-1.0, 0.0, 1.0], "size": 0.2, "losses": [[2.0, 1.0, 2.0], [4.0, 1.0, 4.0]], "slope": 2.0}
    >>> plot_landscape({"mine": found}).axes[0].lines[-1].get_ydata().tolist()
    [3.0, 1.0, 3.0]
    """
    figure, [axes] = blank(2.8)
    axes.axvline(0, color=LINE, linewidth=0.8)
    ends = []
    for i, (name, found) in enumerate(landscapes.items()):
        losses = np.array(found["losses"])
        axes.plot(found["steps"], losses.T, color=colour(i), linewidth=0.6, alpha=0.45)
        axes.plot(found["steps"], losses.mean(axis=0), color=colour(i), linewidth=2)
        ends.append((losses.mean(axis=0)[-1], name, colour(i)))
    found = next(iter(landscapes.values()))
    axes.set_xlabel(f"step, in units of {found['size']:g} {found.get('unit', '')}".rstrip())
    axes.set_ylabel("cross-entropy")
    axes.set_ylim(bottom=0)
    label_ends(axes, ends)
    return figure
