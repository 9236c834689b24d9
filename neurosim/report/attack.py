"""The plot of `neurosim attack`: accuracy against the size of a change, the worst and random ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.report.plots import COLOURS
from neurosim.writing import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = (("attacked", "attack", "-"), ("corner_mean", "random corner of the box, mean", "--"),
          ("gaussian_mean", "Gaussian of this standard deviation, mean", ":"))
_METADATA = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}


def plot_attack(found: Mapping[str, object], axes: Axes, unit: str = "") -> Axes:
    """Accuracy against size, of what `neurosim.training.Vulnerability.as_dict` gives; random ones with their least."""
    points = found["points"]
    sizes = [0.0, *(point["size"] for point in points)]
    for (name, label, style), colour in zip(_LINES, COLOURS, strict=False):
        values = [100 * v for v in (found["accuracy"], *(point[name] for point in points))]
        axes.plot(sizes, values, style, marker="o", markersize=3, color=colour, label=label)
        least = name.replace("mean", "least")
        if least != name:
            low = [100 * v for v in (found["accuracy"], *(point[least] for point in points))]
            axes.fill_between(sizes, low, values, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(f"size: {unit}" if unit else "size")
    axes.set_ylabel("accuracy (%)")
    axes.legend(frameon=False, loc="lower left")
    return axes


def write_attack_plot(found: Mapping[str, object], path: str | os.PathLike[str], unit: str = "") -> Path:
    """Write `plot_attack` as a .svg, .png or .pdf file; the same bytes each time."""
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    with matplotlib.rc_context({"svg.hashsalt": "neurosim attack", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False}), written_beside(path) as temporary:
        figure = Figure(figsize=(8, 4), layout="constrained")
        plot_attack(found, figure.subplots(), unit)
        figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=_METADATA[path.suffix])
    return path
