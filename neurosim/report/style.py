"""How every figure looks, and how it is kept: colours, type, a blank figure; SVG, PNG, PDF, the same bytes each time.

The colours are distinct under the common kinds of colour blindness. On the page each of them is a CSS variable, so that
a figure is dark where the page is.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from neurosim.errors import NeurosimError
from neurosim.writing import refuse_place, written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
#: Okabe and Ito's, the yellow left out
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a93")
INK, MUTED, LINE, PAPER = "#1d1d1f", "#6b6b72", "#d8d8de", "#fefefe"
#: the name of each on the page
VARIABLES = {**{colour: f"--c{i}" for i, colour in enumerate(COLOURS)}, INK: "--ink", MUTED: "--muted", LINE: "--line",
             PAPER: "--paper"}
#: inches; a telephone shows it at about its own size
WIDTH = 4.6
SMALL = 8.2
#: what a file says of itself, left out: no date, no version
METADATA: dict[str, dict[str, object]] = {
    ".svg": {"Date": None, "Creator": None, "Format": None, "Type": None}, ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
_STYLE = {
    "font.size": 9.0, "axes.labelsize": 9.0, "axes.titlesize": 9.0, "legend.fontsize": SMALL,
    "axes.titlelocation": "left", "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": LINE,
    "axes.titlecolor": INK, "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED, "axes.facecolor": "none", "figure.facecolor": PAPER,
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": LINE,
    "grid.linewidth": 0.5, "axes.linewidth": 0.7, "lines.linewidth": 1.4, "legend.frameon": False,
    "legend.handlelength": 1.4, "axes.axisbelow": True, "svg.hashsalt": "neurosim", "axes.unicode_minus": True}


def colour(index: int) -> str:
    """The colour of the series of this number."""
    return COLOURS[index % len(COLOURS)]


def styled(plot: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """A function that draws a figure, drawing it in the style of this package, whatever the user's own is."""
    @wraps(plot)
    def drawn(*arguments: Given.args, **options: Given.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return plot(*arguments, **options)

    return drawn


def blank(height: float = 2.9, rows: int = 1, columns: int = 1, grid: str = "y",
          **options: object) -> tuple[Figure, Sequence[Axes]]:
    """A figure of the usual width and its axes, in one row after the other; grid: "x", "y" or "" for lines behind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options).reshape(-1)
    for one in axes:
        one.tick_params(labelsize=SMALL, length=2.5, width=0.7)
        if grid:
            one.grid(axis=grid)
    return figure, axes


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names right of the axes where lines end, (height, name, colour), moved apart where they would touch."""
    low, high = axes.get_ylim()
    height = axes.figure.get_figheight() * 72 * 0.72  # points that the axes are high, about
    gap, last = (high - low) * 1.25 * SMALL / height, -float("inf")
    for y, name, ink in sorted(ends):
        last = max(y, last + gap)
        axes.annotate(name, (1.01, last), xycoords=("axes fraction", "data"), va="center", color=ink, fontsize=SMALL,
                      annotation_clip=False)


def refuse_plot(path: str | os.PathLike[str]) -> None:
    """Raise where no figure can be written: before long work, which it is to show."""
    if Path(path).suffix not in METADATA:
        raise NeurosimError(f"{Path(path).name} names no kind of picture", where="plot", allowed=", ".join(METADATA))
    refuse_place(path)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a .svg, .png or .pdf file, beside and renamed; the same bytes each time.

    Raises
    ------
    NeurosimError
        Another suffix, or a folder that is not there.
    """
    import matplotlib

    path = Path(path)
    refuse_plot(path)
    with matplotlib.rc_context(_STYLE), written_beside(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=METADATA[path.suffix])
    return path


def as_svg(figure: Figure, name: str, described: str) -> str:
    """A figure as an SVG element for the page: text as text, colours by their variables, identifiers with its name."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata=METADATA[".svg"], transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg"):], flags=re.DOTALL)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: (\d[\d.]*px)[^;\"]*", r"font-size: \1", text)
    text = re.sub(r"#[0-9a-f]{6}\b", lambda hit: f"var({VARIABLES[hit[0]]})" if hit[0] in VARIABLES else hit[0], text)
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg [^>]*', lambda hit: re.sub(
        r' (width|height)="[^"]*"', "", hit[0]) + f' role="img" aria-label="{described}"', text, count=1)
