"""Plots of `neurosim device`: the loop of current against voltage, and the state over time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.report.plots import COLOURS
from neurosim.writing import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neurosim.devices.dynamics import Trace

_METADATA = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}


def plot_loop(trace: Trace, axes: Axes) -> Axes:
    """Current against voltage; sizes on a logarithmic axis where they span more than two decades."""
    size = np.abs(trace.current)
    if (wide := size.max() > 100 * np.median(size[size > 0])):
        axes.set_yscale("log")
    axes.plot(trace.voltage, np.where(size > 1e-9 * size.max(), size, np.nan) if wide else trace.current, linewidth=1)
    axes.set_xlabel("voltage (V)")
    axes.set_ylabel("size of the current (A)" if wide else "current (A)")
    return axes


def plot_state(trace: Trace, axes: Axes) -> Axes:
    """State in nm over time, with the voltage behind it."""
    behind = axes.twinx()
    behind.plot(trace.time, trace.voltage, color="grey", linewidth=0.7)
    behind.set_ylabel("voltage (V)", color="grey")
    axes.plot(trace.time, 1e9 * trace.state, color=COLOURS[0])
    axes.set_xlabel("time (s)")
    axes.set_ylabel("state (nm)")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    return axes


def write_device_plot(trace: Trace, path: str | os.PathLike[str], title: str) -> Path:
    """Write both plots side by side as a .svg, .png or .pdf file; the same bytes each time."""
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in _METADATA:
        raise NeurosimError(f"{path.name} names no kind of picture", where="plot", allowed=", ".join(_METADATA))
    with matplotlib.rc_context({"svg.hashsalt": "neurosim device", "font.size": 10}), written_beside(path) as temporary:
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        plot_loop(trace, left)
        plot_state(trace, right)
        figure.suptitle(title)
        figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=_METADATA[path.suffix])
    return path
