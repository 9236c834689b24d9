"""Settings, the same dies at each of them, the front and the choice."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import neurosim as ns
from neurosim.deployment import Pareto, guided, load_pareto, pareto, parse_range, settings
from neurosim.deployment.guided import search
from neurosim.deployment.sweep import at_setting
from neurosim.errors import NeurosimError
from neurosim.report import plot_pareto, save_figure


def network() -> ns.Network:
    rng = np.random.default_rng(0)
    return ns.Network.sequential({"in": ns.Linear(rng.normal(size=(20, 8))), "hidden": ns.LIF(0.8),
                                  "out": ns.Linear(rng.normal(size=(10, 20))), "classes": ns.LIF(0.8)}, (8,), dt=1e-3)


def data() -> tuple[np.ndarray, np.ndarray]:
    inputs = (np.random.default_rng(1).random((15, 30, 8)) < 0.3).astype(np.float32)
    from neurosim.network.forward import run

    return inputs, run(network(), inputs).prediction


def made(accuracy: list[list[float]], energy: list[float]) -> Pareto:
    points, dies = len(accuracy), len(accuracy[0])
    joules = np.broadcast_to(np.array(energy)[:, None, None] * np.array([0.5, 1, 2]), (points, dies, 3))
    return Pareto(xr.Dataset(
        {"accuracy": (("point", "die"), np.array(accuracy)), "energy": (("point", "die", "bound"), joules),
         "k": (("point",), np.arange(points, dtype=float))},
        {"die": np.arange(dies), "bound": ["low", "nominal", "high"]}, {"keys": json.dumps(["k"])}))


@pytest.mark.parametrize(("text", "values"), [
    ("a.b=4:10", tuple(range(4, 11))), ("a=4:10:3", (4, 7, 10)), ("a=4:9:3", (4, 7)), ("a=8,16,32", (8, 16, 32)),
    ("a=0.8:1.4:0.2", (0.8, 1.0, 1.2, 1.4)), ("a=1e-6", (1e-6,))])
def test_ranges(text: str, values: tuple[float, ...]) -> None:
    assert parse_range(text).values == values


@pytest.mark.parametrize("text", ["a", "=1:2", "a=", "a=1:2:3:4", "a=3:1", "a=1:2:0", "a=x", "a=0:inf", "a=0:nan:0.1",
                                  "a=0:1:nan", "a=8:1e12"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(NeurosimError, match=r"--vary: .*KEY=LOW:HIGH"):
        parse_range(text)


def test_grid() -> None:
    assert settings([parse_range("a=1:2"), parse_range("b=5,7")]) == [
        {"a": 1, "b": 5}, {"a": 1, "b": 7}, {"a": 2, "b": 5}, {"a": 2, "b": 7}]


@given(points=st.integers(1, 30), seed=st.integers(0, 5))
def test_drawn_settings(points: int, seed: int) -> None:
    ranges = [parse_range("a=0:9"), parse_range("b=0:9")]
    drawn = settings(ranges, "random", points, seed)
    assert len(drawn) == points == len({tuple(setting.items()) for setting in drawn})
    assert drawn == settings(ranges, "random", points, seed)
    latin = settings(ranges, "latin", 10, seed)
    for key in ("a", "b"):
        assert sorted(setting[key] for setting in latin) == list(range(10)), "each value once"


def test_settings_that_cannot_be() -> None:
    for arguments in (([],), ([parse_range("a=1"), parse_range("a=2")],), ([parse_range("a=1")], "annealing"),
                      ([parse_range("a=1")], "grid", 3), ([parse_range("a=1")], "latin"),
                      ([parse_range("a=1")], "random", 0)):
        with pytest.raises(NeurosimError):
            settings(*arguments)
    with pytest.raises(NeurosimError, match=r"neuron\.gain cannot be varied"):
        at_setting(network(), ns.load_profile("pcm_hermes"), {"neuron.gain": 2})


def test_thresholds_are_scaled() -> None:
    mapped = at_setting(network(), ns.load_profile("pcm_hermes"), {"neuron.threshold_scale": 1.5, "crossbar.levels": 8})
    assert float(mapped.network["hidden"].threshold) == 1.5
    assert mapped.profile.crossbar.levels.value == 8


def test_front_and_choice() -> None:
    found = made([[0.9, 0.8], [0.7, 0.7], [0.9, 0.9], [0.6, 1.0]], [2.0, 1.0, 4.0, 3.0])
    assert found.front == [1, 0, 2]
    assert found.cheapest(0.85, share=1.0) == 2
    assert found.cheapest(0.8, share=1.0) == 0
    assert found.cheapest(0.95, share=0.9) is None
    assert found.choice(0.8, 1.0).startswith(
        "Cheapest setting with 100% of dies at or above 80.0%: k=0, 2 J per sample (1 to 4 by the coefficients)")
    assert "No setting has 90% of dies at or above 95.0%: the best one (k=3) has 50.0%" in found.choice(0.95, 0.9)
    low, high = found.intervals()[0]
    assert low == pytest.approx(0.8)
    assert high == pytest.approx(0.9)


def test_dies_are_paired_across_settings() -> None:
    """The levels do not touch the draws: the difference of two settings varies less than unpaired dies would."""
    inputs, labels = data()
    chosen = [{"neuron.threshold_scale": scale} for scale in (1.0, 1.01)]
    found = pareto(network(), ns.load_profile("pcm_hermes"), chosen, inputs, labels, dies=60, progress=False)
    first, second = found.dataset["accuracy"].values
    assert np.var(first - second) < 0.7 * (np.var(first) + np.var(second))
    one = ns.deploy(ns.map_network(network(), ns.load_profile("pcm_hermes")), inputs, labels, 60, progress=False)
    np.testing.assert_array_equal(first, one.accuracy.values)
    np.testing.assert_allclose(found.dataset["energy"].values[0], one.energy.sum(["place", "component"]).values)


def test_bits_of_a_converter_are_paid_for_and_gain_accuracy(caplog: pytest.LogCaptureFixture) -> None:
    """On the chip whose conversion is priced by its bits; where it is not, that is said."""
    inputs, labels = data()
    chosen = settings([parse_range("adc.bits=2:8:3")])
    found = pareto(network(), ns.load_profile("pcm_hermes"), chosen, inputs, labels, dies=10, progress=False)
    joules = found.dataset["energy"].sel(bound="nominal").mean("die").values
    accuracy = found.dataset["accuracy"].mean("die").values
    assert joules[1] / joules[0] == pytest.approx(8, rel=0.1)
    assert joules[2] / joules[1] == pytest.approx(8, rel=0.1)
    assert accuracy[0] < accuracy[1] - 0.1
    assert not caplog.records
    pareto(network(), ns.load_profile("reram_neurram"), chosen[1:], inputs, labels, dies=1, progress=False)
    assert "a conversion of reram_neurram costs the same at all adc.bits" in caplog.text


def test_a_search_resumes_and_is_not_overwritten(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = data()
    chosen = settings([parse_range("crossbar.levels=4,8,16")])
    arguments = (network(), ns.load_profile("pcm_hermes"), chosen, inputs, labels, 5)
    whole = pareto(*arguments, progress=False)
    import neurosim.deployment.search as module

    real, calls = module.deploy, []

    def fails_at_the_third(*args: object, **kwargs: object) -> ns.Run:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "deploy", fails_at_the_third)
    out = tmp_path / "p.nc"
    with pytest.raises(KeyboardInterrupt):
        pareto(*arguments, out=out, progress=False)
    assert not out.exists()
    assert len(list((tmp_path / "p.nc.points").glob("*.nc"))) == 2
    monkeypatch.setattr(module, "deploy", real)
    dearer = arguments[1].with_values({"energy.digital": 1e-9})
    with pytest.raises(NeurosimError, match=r"holds another run \(prices: "):
        pareto(arguments[0], dearer, *arguments[2:], out=out, progress=False)
    again = pareto(*arguments, out=out, progress=False)
    xr.testing.assert_identical(again.dataset, whole.dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["p.nc"]
    xr.testing.assert_identical(load_pareto(out).dataset, whole.dataset)
    with pytest.raises(NeurosimError, match="is there already"):
        pareto(*arguments, out=out, progress=False)
    for suffix in ("svg", "png"):
        assert save_figure(plot_pareto(again), tmp_path / f"front.{suffix}").stat().st_size > 1000
    with pytest.raises(NeurosimError, match=r"allowed: \.svg, \.png, \.pdf"):
        save_figure(plot_pareto(again), tmp_path / "front.gif")


def landscape(setting: dict[str, float]) -> tuple[float, float]:
    """The best of it has b = 17 and c = 5; a trades one for the other."""
    wrong = (abs(setting["b"] - 17) + abs(setting["c"] - 5)) / 60
    return 1 - np.exp(-setting["a"] / 6) - wrong, setting["a"] / 30 + wrong


def area_under(found: list[tuple[float, float]]) -> float:
    """What the front of some points has below and right of it, within accuracies above -1 and energies below 2."""
    area, best = 0.0, -1.0
    for accuracy, energy in sorted(found, key=lambda point: point[1]):
        if accuracy > best:
            area += (accuracy - best) * (2 - energy)
            best = accuracy
    return area


@pytest.mark.parametrize("seed", range(3))
def test_a_guided_search_finds_more_than_drawing(seed: int) -> None:
    ranges = [parse_range(f"{key}=0:29") for key in "abc"]
    asked: list[dict[str, float]] = []

    def evaluate(setting: dict[str, float]) -> tuple[float, float]:
        asked.append(setting)
        return landscape(setting)

    search(guided(ranges, 60, seed), evaluate)
    assert len({tuple(setting.items()) for setting in asked}) == 60
    drawn = settings(ranges, "random", 60, seed)
    assert area_under([landscape(one) for one in asked]) > 1.02 * area_under([landscape(one) for one in drawn])
    first = list(asked)
    asked.clear()
    search(guided(ranges, 60, seed), evaluate)
    assert asked == first, "the same seed asks the same"


def test_seeds_are_those_of_every_command() -> None:
    """64 bits; a search that is guided folds them to the 32 that its sampler takes, and differs with each of them."""
    ranges = [parse_range("a=0:9999")]
    for wrong in (-3, 1 << 64, 0.5):
        for draw in (lambda seed: settings(ranges, "random", 3, seed), lambda seed: settings(ranges, "latin", 3, seed),
                     lambda seed: guided(ranges, 3, seed)):
            with pytest.raises(NeurosimError, match=rf"seed is {wrong} \(allowed: a whole number from 0 to 2\^64"):
                draw(wrong)
    asked = {}
    for seed in (5, 5_000_000_000, (1 << 64) - 1):
        assert len(settings(ranges, "random", 3, seed)) == 3
        asked[seed] = []
        search(guided(ranges, 4, seed), lambda setting, seed=seed: (asked[seed].append(setting["a"]), (0.5, 1.0))[1])
    assert len({tuple(values) for values in asked.values()}) == 3


def test_a_guided_search_resumes(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paired dies as with any other settings; what was run before an interruption is not run again."""
    inputs, labels = data()
    plan = guided([parse_range("crossbar.levels=4,8,16"), parse_range("neuron.threshold_scale=0.8:1.2:0.1")], 6, seed=5)
    arguments = (network(), ns.load_profile("pcm_hermes"), plan, inputs, labels, 5)
    whole = pareto(*arguments, progress=False)
    assert len(whole.settings) == 6
    listed = pareto(*arguments[:2], whole.settings, *arguments[3:], progress=False)
    xr.testing.assert_identical(listed.dataset, whole.dataset)
    import neurosim.deployment.search as module

    real, ran = module.deploy, []

    def counted(*args: object, out: object, **kwargs: object) -> ns.Run:
        if not out.exists():
            if len(ran) == 4:
                raise KeyboardInterrupt
            ran.append(out.name)
        return real(*args, out=out, **kwargs)

    monkeypatch.setattr(module, "deploy", counted)
    out = tmp_path / "p.nc"
    with pytest.raises(KeyboardInterrupt):
        pareto(*arguments, out=out, progress=False)
    before = list(ran)
    ran.clear()
    again = pareto(*arguments, out=out, progress=False)
    assert len(before) == 4
    assert len(ran) == 2
    assert not set(ran) & set(before)
    xr.testing.assert_identical(again.dataset, whole.dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["p.nc"]


def test_guided_searches_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = [parse_range("crossbar.levels=1,4,8")]
    inputs, labels = data()
    with pytest.raises(NeurosimError, match=r"crossbar\.levels: found 1"):
        pareto(network(), ns.load_profile("pcm_hermes"), guided(ranges, 2), inputs, labels)
    for varied, points, fault in ((ranges, None, "None points"), (ranges, 0, "0 points"), ([], 3, "varies nothing"),
                                  (ranges * 2, 3, "different keys")):
        with pytest.raises(NeurosimError, match=fault):
            guided(varied, points)
    assert guided(ranges, 50).points == 3, "there are no more"
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(NeurosimError, match=r"optuna is not installed; pip install 'neurosim-dies\[optuna\]'"):
        guided(ranges, 2)


def test_conditions_are_those_of_deploy() -> None:
    """Time and mismatch of a search are the options of a run; without prices there is no front, and no energy."""
    inputs, labels = data()
    chip, plain = ns.load_profile("pcm_hermes"), ns.load_profile("mismatch")
    found = pareto(network(), chip, settings([parse_range("time=3600,86400")]), inputs, labels, 6, progress=False)
    for row, time in zip(found.dataset["accuracy"].values, (3600.0, 86400.0), strict=True):
        run = ns.deploy(ns.map_network(network(), chip), inputs, labels, 6, time=time, progress=False)
        np.testing.assert_array_equal(row, run.accuracy.values)
    assert (found.conditions, found.has_front) == (["time"], False)
    found = pareto(network(), plain, settings([parse_range("mismatch=0,0.4")]), inputs, labels, 6, progress=False)
    run = ns.deploy(ns.map_network(network(), plain.with_mismatch(0.4)), inputs, labels, 6, progress=False)
    np.testing.assert_array_equal(found.dataset["accuracy"].values, [np.ones(6), run.accuracy.values])
    assert (found.conditions, found.has_front) == (["mismatch"], False)
    with pytest.raises(NeurosimError, match="says nothing of energy"):
        _ = found.front


def test_what_cannot_be_searched(tmp_path: object) -> None:
    inputs, labels = data()
    with pytest.raises(NeurosimError, match="time is 60 s"):
        pareto(network(), ns.load_profile("pcm_hermes"), [{"time": 300.0}, {"time": 60.0}], inputs, labels)
    with pytest.raises(NeurosimError, match="say it once"):
        pareto(network(), ns.load_profile("pcm_hermes"), [{"time": 300.0}], inputs, labels, time=300.0)
    for key in ("mismatch.weight.cv", "mismatch.bias.cv", "mismatch.weight"):
        with pytest.raises(NeurosimError, match=f"mismatch and {key} are the same spread"):
            pareto(network(), ns.load_profile("mismatch"), [{"mismatch": 0.3, key: 1.0}], inputs, labels)
    with pytest.raises(NeurosimError, match="no folder"):
        pareto(network(), ns.load_profile("pcm_hermes"), [{"crossbar.levels": 4}], inputs, labels,
               out=tmp_path / "no" / "p.nc")
    text = tmp_path / "text.nc"
    text.write_text("no")
    with pytest.raises(NeurosimError, match="a file of `neurosim pareto`"):
        load_pareto(text)
