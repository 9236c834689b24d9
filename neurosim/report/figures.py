"""Plots as figures: an SVG element for the page, SVG and PNG files for slides and papers. The same bytes each time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.deployment import Run
from neurosim.errors import NeurosimError
from neurosim.report.plots import plot_accuracy, plot_spikes, plot_yield
from neurosim.writing import written_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

PLOTS: dict[str, Callable[..., object]] = {"accuracy": plot_accuracy, "yield": plot_yield, "spikes": plot_spikes}


@contextmanager
def _drawn(name: str, runs: Mapping[str, Run]) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": f"neurosim {name}", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False}):
        figure = Figure(figsize=(8, 4), layout="constrained")
        PLOTS[name](runs, figure.subplots())
        yield figure


def svg(name: str, runs: Mapping[str, Run]) -> str:
    """A plot as text in SVG."""
    stream = io.StringIO()
    with _drawn(name, runs) as figure:
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def write_figures(runs: Mapping[str, Run], folder: str | os.PathLike[str]) -> list[Path]:
    """Write every plot of `runs` as `NAME.svg` and `NAME.png` into a folder, which is made where it is missing."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NeurosimError("is a file", where=str(folder), allowed="a folder for the figures")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in PLOTS:
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            path = folder / f"{name}.{suffix}"
            with _drawn(name, runs) as figure, written_beside(path) as temporary:
                figure.savefig(temporary, format=suffix, dpi=160, metadata=metadata)
            written.append(path)
    return written
