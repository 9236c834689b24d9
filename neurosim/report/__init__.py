"""Figures of results, and one self-contained HTML page. Reads results, computes nothing that is not in them.

Every `plot_*` takes results and returns a matplotlib figure; `save_figure` writes one, `write_report` all on a page.
"""

from neurosim.report.closeup import plot_parts, plot_raster, plot_tiles, plot_traces
from neurosim.report.device import plot_device
from neurosim.report.page import write_report
from neurosim.report.plots import plot_accuracy, plot_energy, plot_spikes, plot_yield
from neurosim.report.results import Result, load
from neurosim.report.robustness import plot_attack, plot_landscape
from neurosim.report.style import refuse_plot, save_figure
from neurosim.report.trade import plot_pareto, plot_sweep

__all__ = [
    "Result", "load", "plot_accuracy", "plot_attack", "plot_device", "plot_energy", "plot_landscape", "plot_pareto",
    "plot_parts", "plot_raster", "plot_spikes", "plot_sweep", "plot_tiles", "plot_traces", "plot_yield", "refuse_plot",
    "save_figure",
    "write_report",
]
