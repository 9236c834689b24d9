"""Figures of a search over settings: energy against accuracy, and accuracy against time, mismatch or temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neurosim.deployment import Pareto
from neurosim.deployment.sweep import label
from neurosim.errors import NeurosimError
from neurosim.report.style import COLOURS, MUTED, SMALL, blank, colour, label_ends, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOMENTS = {"1 s": 1.0, "1 min": 60.0, "1 h": 3600.0, "1 day": 86400.0, "1 month": 30 * 86400.0,
            "1 year": 365.25 * 86400.0, "10 years": 3652.5 * 86400.0}


@styled
def plot_pareto(found: Pareto) -> Figure:
    """Energy per sample against mean accuracy of every setting, with the interval over dies and the worst die; the
    front as a line, its settings named below.

    Raises
    ------
    NeurosimError
        The chip type prices nothing.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import pareto, parse_range, settings
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> chosen = settings([parse_range("crossbar.levels=4,16")])
    >>> found = pareto(net, ns.load_profile("pcm_hermes"), chosen, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3)
    >>> plot_pareto(found).axes[0].get_ylabel()
    'accuracy (%)'
    """
    from matplotlib.ticker import EngFormatter, LogLocator

    accuracy = 100 * found.dataset["accuracy"]
    front = found.front
    mean, intervals = accuracy.mean("die").values, 100 * found.intervals()
    joules = found.dataset["energy"].mean("die").sel(bound="nominal").values
    figure, [axes] = blank(3.0 + 0.15 * len(front))
    axes.errorbar(joules, mean, yerr=np.abs(intervals.T - mean), fmt="o", markersize=4, color=COLOURS[5], elinewidth=1,
                  label="a setting: mean over dies, 95 % interval")
    axes.scatter(joules, accuracy.min("die").values, marker="_", color=MUTED, linewidths=1, label="its worst die")
    axes.plot(joules[front], mean[front], "o-", color=COLOURS[0], label="front", markersize=5)
    for number, point in enumerate(front, start=1):
        axes.annotate(str(number), (joules[point], mean[point]), textcoords="offset points", xytext=(-3, 6),
                      fontsize=SMALL, color=COLOURS[0], ha="right")
        axes.plot([], [], " ", label=f"{number}  {label(found.settings[point])}")
    if joules.max() > 3 * joules.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(EngFormatter("J"))
    axes.set_xlabel("energy per sample (nominal coefficients)")
    axes.set_ylabel("accuracy (%)")
    figure.legend(loc="outside lower left", labelspacing=0.3)
    return figure


@styled
def plot_sweep(found: Pareto, key: str) -> Figure:
    """Accuracy against one key that was varied: mean over dies, the 5th to 95th percentile, and the worst die dotted.

    A line for every combination of the other keys. `time` is on a logarithmic axis.

    >>> import numpy as np, neurosim as ns
    >>> from neurosim.deployment import pareto, parse_range, settings
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> chosen = settings([parse_range("mismatch=0:0.4:0.2")])
    >>> found = pareto(net, ns.load_profile("mismatch"), chosen, np.ones((20, 2, 2)) * np.eye(2), [0, 1], dies=3)
    >>> plot_sweep(found, "mismatch").axes[0].lines[0].get_xdata().tolist()
    [0.0, 0.2, 0.4]
    """
    keys = list(found.settings[0])
    if key not in keys:
        raise NeurosimError(f"{key} was not varied", where="plot_sweep", allowed=", ".join(keys))
    lines: dict[str, list[int]] = {}
    for point, setting in enumerate(found.settings):
        lines.setdefault(label({k: v for k, v in setting.items() if k != key}), []).append(point)
    figure, [axes] = blank(2.7)
    ends = []
    for i, (name, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda point: found.settings[point][key])
        x = [found.settings[point][key] for point in points]
        accuracy = 100 * found.dataset["accuracy"].values[points]
        low, high = np.percentile(accuracy, (5, 95), axis=1)
        axes.plot(x, accuracy.mean(axis=1), "o-", markersize=3.5, color=colour(i), zorder=3)
        axes.fill_between(x, low, high, color=colour(i), alpha=0.15, linewidth=0)
        axes.plot(x, accuracy.min(axis=1), ":", color=colour(i), linewidth=1)
        ends += [(accuracy[-1].mean(), name or "mean die", colour(i))]
        ends += [] if name else [(accuracy[-1].min(), "worst die", colour(i)), (low[-1], "5th percentile", MUTED)]
    if key == "time":
        _time(axes, [setting[key] for setting in found.settings])
    else:
        axes.set_xlabel(key)
    label_ends(axes, ends)
    axes.set_ylabel("accuracy (%)")
    return figure


def _time(axes: Axes, times: list[float]) -> None:
    axes.set_xscale("log")
    low, high = min(times) / 1.3, max(times) * 1.3
    shown = {name: value for name, value in _MOMENTS.items() if low <= value <= high}
    axes.set_xticks(list(shown.values()), list(shown))
    axes.minorticks_off()
    axes.set_xlabel("time after programming")

