"""Plots of runs, and one self-contained HTML page. Reads results, computes nothing that is not in them."""

from neurosim.report.attack import plot_attack, write_attack_plot
from neurosim.report.device import plot_loop, plot_state, write_device_plot
from neurosim.report.figures import write_figures, write_pareto
from neurosim.report.page import write_report
from neurosim.report.plots import plot_accuracy, plot_energy, plot_pareto, plot_spikes, plot_yield

__all__ = [
    "plot_accuracy", "plot_attack", "plot_energy", "plot_loop", "plot_pareto", "plot_spikes", "plot_state",
    "plot_yield", "write_attack_plot", "write_device_plot", "write_figures", "write_pareto", "write_report",
]
