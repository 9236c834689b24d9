"""The figure of `neurosim device`: the loop of current against voltage, and the state over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurosim.report.style import COLOURS, MUTED, SMALL, blank, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from neurosim.devices.dynamics import Trace


@styled
def plot_device(trace: Trace, title: str = "") -> Figure:
    """Current against voltage, sizes on a logarithmic axis where they span more than two decades; below it the state in
    nm over time, with the voltage behind it.

    >>> import numpy as np
    >>> from neurosim.devices.dynamics import Trace
    >>> time = np.linspace(0, 1, 5)
    >>> trace = Trace(time, np.sin(6 * time), 1e-6 * np.sin(6 * time), 1e-9 * time)
    >>> [axes.get_xlabel() for axes in plot_device(trace).axes]
    ['voltage (V)', 'time (s)', '']
    """
    figure, (loop, state) = blank(4.6, rows=2)
    _loop(trace, loop)
    _state(trace, state)
    loop.set_title(title)
    return figure


def _loop(trace: Trace, axes: Axes) -> None:
    size = np.abs(trace.current)
    if (wide := size.max() > 100 * np.median(size[size > 0])):
        axes.set_yscale("log")
    axes.plot(trace.voltage, np.where(size > 1e-9 * size.max(), size, np.nan) if wide else trace.current, linewidth=1)
    axes.set_xlabel("voltage (V)")
    axes.set_ylabel("size of the current (A)" if wide else "current (A)")


def _state(trace: Trace, axes: Axes) -> None:
    behind = axes.twinx()
    behind.plot(trace.time, trace.voltage, color=MUTED, linewidth=0.7)
    behind.set_ylabel("voltage (V)", color=MUTED)
    behind.tick_params(labelsize=SMALL)
    axes.plot(trace.time, 1e9 * trace.state, color=COLOURS[0])
    axes.set_xlabel("time (s)")
    axes.set_ylabel("state (nm)")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
