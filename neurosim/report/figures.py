"""Plots as figures: an SVG element for the page, SVG and PNG files for slides and papers. The same bytes each time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neurosim.deployment import Pareto, Run
from neurosim.errors import NeurosimError
from neurosim.report.plots import plot_accuracy, plot_energy, plot_pareto, plot_spikes, plot_yield
from neurosim.writing import written_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

PLOTS: dict[str, Callable[..., object]] = {"accuracy": plot_accuracy, "yield": plot_yield, "spikes": plot_spikes,
                                           "energy": plot_energy}


@contextmanager
def _drawn(name: str, draw: Callable[..., object], what: object) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": f"neurosim {name}", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False}):
        figure = Figure(figsize=(8, 4), layout="constrained")
        draw(what, figure.subplots())
        yield figure


def _save(name: str, draw: Callable[..., object], what: object, path: Path) -> None:
    dates = {".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    with _drawn(name, draw, what) as figure, written_beside(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=dates[path.suffix])


def svg(name: str, runs: Mapping[str, Run]) -> str:
    """A plot as text in SVG."""
    stream = io.StringIO()
    with _drawn(name, PLOTS[name], runs) as figure:
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def write_figures(runs: Mapping[str, Run], folder: str | os.PathLike[str]) -> list[Path]:
    """Write every plot of `runs` as `NAME.svg` and `NAME.png` into a folder, which is made where it is missing.

    That of energy only where a chip type prices its events, that of spikes where there are any.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NeurosimError("is a file", where=str(folder), allowed="a folder for the figures")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in PLOTS:
        if name in ("energy", "spikes") and not any(_has(run, name) for run in runs.values()):
            continue
        for suffix in ("svg", "png"):
            _save(name, PLOTS[name], runs, folder / f"{name}.{suffix}")
            written.append(folder / f"{name}.{suffix}")
    return written


def _has(run: Run, name: str) -> bool:
    return "price" in run.dataset if name == "energy" else run.spikes.sizes["layer"] > 0


def write_pareto(found: Pareto, path: str | os.PathLike[str]) -> Path:
    """Draw a search over settings into a file; its suffix says how (.svg, .png, .pdf)."""
    path = Path(path)
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise NeurosimError(f"no figure is called {path.name!r}", where="plot", allowed="NAME.svg, NAME.png, NAME.pdf")
    _save("pareto", plot_pareto, found, path)
    return path
