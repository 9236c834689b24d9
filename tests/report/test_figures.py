"""Figures show the numbers of their results, whatever the user's style is, and are the same bytes each time."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import report_cases as cases
from matplotlib.figure import Figure

from neurosim.deployment import Examination
from neurosim.errors import NeurosimError
from neurosim.report import (
    plot_accuracy,
    plot_attack,
    plot_energy,
    plot_landscape,
    plot_pareto,
    plot_parts,
    plot_raster,
    plot_spikes,
    plot_sweep,
    plot_tiles,
    plot_traces,
    plot_yield,
    save_figure,
)
from neurosim.report.contents import contents
from neurosim.report.results import gather


def named():
    return dict(zip("ab", cases.runs(), strict=True))


def test_accuracy_has_a_dot_for_every_die():
    axes = plot_accuracy(named()).axes[0]
    for dots, run in zip(axes.collections, cases.runs(), strict=True):
        np.testing.assert_allclose(np.sort(dots.get_offsets()[:, 0]), np.sort(100 * run.accuracy.values))
    said = {text.get_text() for text in axes.texts}
    assert {f"{100 * f(run.accuracy.values):.1f}" for run in cases.runs() for f in (np.mean, np.min)} <= said


def test_yield_is_that_of_the_run():
    run = cases.runs()[0]
    curve = plot_yield(named()).axes[0].lines[0]
    for x, y in list(zip(*curve.get_data(), strict=True))[1:-1]:
        assert y == pytest.approx(100 * run.yield_at(x / 100 - 1e-12))


def test_spikes_are_shares_of_neurons_and_steps():
    data = cases.runs()[0].dataset
    expected = 100 * data["spikes"].mean("die").values / (data["neurons"].values * 12 * 30)
    np.testing.assert_allclose(plot_spikes(named()).axes[0].lines[0].get_xdata(), expected)


def test_energy_is_whole():
    axes = plot_energy(named()).axes[0]
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100), "one priced run"
    with pytest.raises(NeurosimError, match="prices its events"):
        plot_energy({"a": cases.runs()[0]})


def test_front_and_sweep():
    found = cases.search("crossbar.levels=4,8,16", "neuron.threshold_scale=1,1.2")
    front = next(line for line in plot_pareto(found).axes[0].lines if line.get_label() == "front")
    joules = found.dataset["energy"].sel(bound="nominal").mean("die").values
    np.testing.assert_allclose(front.get_xdata(), joules[found.front])
    lines = plot_sweep(found, "crossbar.levels").axes[0].lines
    accuracy = found.dataset["accuracy"].values
    np.testing.assert_allclose(lines[0].get_ydata(), 100 * accuracy[::2].mean(axis=1))
    np.testing.assert_allclose(lines[1].get_ydata(), 100 * accuracy[::2].min(axis=1))
    np.testing.assert_allclose(lines[2].get_ydata(), 100 * accuracy[1::2].mean(axis=1))
    assert plot_sweep(cases.search("time=300,86400,2592000"), "time").axes[0].get_xscale() == "log"
    with pytest.raises(NeurosimError, match="was not varied"):
        plot_sweep(found, "time")


def test_attack_goes_from_size_zero_on():
    attacked, corner, gaussian = plot_attack({"mine": cases.ATTACK}).axes[0].get_lines()
    assert list(attacked.get_xdata()) == [0, 0.1, 0.4]
    assert list(attacked.get_ydata()) == pytest.approx([90, 80, 50])
    assert list(corner.get_ydata()) == pytest.approx([90, 88, 88])
    assert list(gaussian.get_ydata()) == pytest.approx([90, 86, 86])
    assert len(plot_attack({"a": cases.ATTACK, "b": cases.ATTACK}).axes[0].get_lines()) == 4
    assert len(plot_attack({str(i): cases.ATTACK for i in range(9)}).axes[0].get_lines()) == 18


def test_what_counts_in_other_units_has_a_figure_of_its_own():
    device = {"unit": "spreads of each device of pcm_hermes", "profile": "pcm_hermes"}
    found = gather([cases.ATTACK, {**cases.ATTACK, **device}, cases.LANDSCAPE, {**cases.LANDSCAPE, "size": 1.0}])
    assert list(found.attacks) == ["steady", "steady, pcm_hermes"]
    shown = {one.name: one.draw().axes[0].get_xlabel() for one in contents(found)}
    assert shown == {"attack-1": "size of the change: of each parameter",
                     "attack-2": "size of the change: spreads of each device of pcm_hermes",
                     "landscape-1": "step, in units of 0.2 of each parameter",
                     "landscape-2": "step, in units of 1 of each parameter"}


def test_landscape_has_every_direction_and_their_mean():
    lines = plot_landscape({"mine": cases.LANDSCAPE}).axes[0].lines
    np.testing.assert_allclose([line.get_ydata() for line in lines[1:3]], cases.LANDSCAPE["losses"])
    np.testing.assert_allclose(lines[3].get_ydata(), np.mean(cases.LANDSCAPE["losses"], axis=0))


def test_a_die_is_shown_as_it_was_examined():
    die = cases.die()
    widths = [bar.get_width() for bar in plot_parts(die).axes[0].patches]
    assert widths[0] == pytest.approx(100 * die.gain[0])
    assert set(np.round(widths, 9)) <= set(np.round(100 * die.gain, 9))
    raster = plot_raster(die)
    for axes, name in zip(raster.axes, ("ideal_spikes_0", "spikes_0", "ideal_spikes_1", "spikes_1"), strict=True):
        assert len(axes.collections[0].get_offsets()) == die.dataset[name].values.sum()
    np.testing.assert_allclose(plot_traces(die).axes[0].lines[1].get_ydata(), die.dataset["trace_0"].values[0, :, 0])
    image, difference = (axes.images[0].get_array() for axes in plot_tiles(die).axes[:2])
    np.testing.assert_allclose(image, 1e6 * die.dataset["tile_0"].values)
    np.testing.assert_allclose(difference, 1e6 * (die.dataset["tile_0"] - die.dataset["meant_0"]).values)


def test_a_silent_neuron_leaves_every_trace_its_room():
    data = cases.die().dataset.copy(deep=True)
    data["spikes_0"][:] = 0
    figure = plot_traces(Examination(data))
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.get_position().height > 0.1


def test_the_users_style_neither_enters_nor_changes():
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        figure = plot_yield(named())
    assert isinstance(figure, Figure)
    assert figure.axes[0].xaxis.label.get_size() == plot_yield(named()).axes[0].xaxis.label.get_size() < 12
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_files_are_the_same_each_time(tmp_path, suffix, begins):
    first, second = (save_figure(plot_attack({"mine": cases.ATTACK}), tmp_path / f"{name}.{suffix}").read_bytes()
                     for name in "ab")
    assert first.startswith(begins)
    assert first == second
