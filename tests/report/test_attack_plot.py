"""The plot of accuracy against size."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from neurosim.report import plot_attack, write_attack_plot

FOUND = {"accuracy": 0.9, "points": [
    {"size": size, "attacked": 0.9 - size, "corner_mean": 0.88, "corner_least": 0.8, "gaussian_mean": 0.86,
     "gaussian_least": 0.7} for size in (0.1, 0.4)]}


def test_lines_are_the_accuracies_from_size_zero_on():
    axes = plot_attack(FOUND, Figure().subplots(), "of each parameter")
    attacked, corner, gaussian = axes.get_lines()
    assert list(attacked.get_xdata()) == [0, 0.1, 0.4]
    assert list(attacked.get_ydata()) == pytest.approx([90, 80, 50])
    assert list(corner.get_ydata()) == pytest.approx([90, 88, 88])
    assert list(gaussian.get_ydata()) == pytest.approx([90, 86, 86])
    assert axes.get_xlabel() == "size: of each parameter"


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_files_are_the_same_each_time(tmp_path, suffix, begins):
    first, second = (write_attack_plot(FOUND, tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first.startswith(begins)
    assert first == second
