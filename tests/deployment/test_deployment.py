"""Many dies: the same die everywhere, results that survive, runs that go on, errors that leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import neurosim as ns
from neurosim.deployment.plan import make_plan
from neurosim.deployment.store import parts_folder
from neurosim.network.forward import run as run_once

RNG = np.random.default_rng(0)
INPUTS = (RNG.random((40, 20, 12)) < 0.2).astype(np.float32)


def small_network() -> ns.Network:
    rng = np.random.default_rng(1)
    return ns.Network.sequential({
        "in": ns.Linear(rng.normal(size=(30, 12)), rng.normal(size=30) * 0.1),
        "hidden": ns.LIF(0.9, recurrent=rng.normal(size=(30, 30)) * 0.2),
        "out": ns.Linear(rng.normal(size=(4, 30))), "last": ns.LIF(0.8)}, (12,), dt=1e-3)


NET = small_network()
LABELS = run_once(NET, INPUTS).prediction
PCM = ns.map_network(NET, ns.load_profile("pcm_hermes"))


def chip(profile: str) -> object:
    """The small network's neurons have 42 synapses, which every shipped profile holds."""
    return ns.map_network(NET, ns.load_profile(profile))


@pytest.mark.parametrize("profile", ["mismatch", "pcm_hermes", "reram_neurram", "dynap_se2"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_die_is_the_same_alone_in_any_chunk_order_and_thread_count(profile, precision):
    mapped = chip(profile)

    def deploy(dies, **options):
        return ns.deploy(mapped, INPUTS, LABELS, dies=dies, seed=5, keep_predictions=True, precision=precision,
                         **options).dataset

    whole = deploy(12, threads=2)
    others = [deploy(12, threads=1), deploy(12, threads=2, chunk=5), deploy(12, threads=3, chunk=3),
              deploy(list(range(12))[::-1], threads=2, chunk=4).sel(die=whole["die"]), deploy(12, threads=7)]
    for other in others:
        xr.testing.assert_identical(whole.drop_attrs(), other.drop_attrs())
    for number in (0, 7, 11):
        alone = deploy([number], threads=4)
        xr.testing.assert_identical(whole.sel(die=[number]).drop_attrs(), alone.drop_attrs())
    assert np.unique(whole["spikes"].values[:, 0]).size > 1, "dies differ"


def test_a_die_is_what_the_network_does_with_its_parameters():
    run = ns.deploy(PCM, INPUTS, LABELS, dies=[3], seed=5, time=1e5, keep_predictions=True)
    parameters, reads = ns.Dies(PCM, 5, time=1e5).as_run(3)
    forward = run_once(NET, INPUTS, parameters, reads=reads)
    assert (run.dataset["prediction"].values[0] == forward.prediction).all()
    assert run.accuracy.values[0] == (forward.prediction == LABELS).mean()
    assert run.spikes.sel(layer="hidden").values[0] == forward.spikes["hidden"].sum()
    events = run.dataset["events"].sel(place="in/weight", event="matches").values[0]
    assert events == INPUTS.sum() * 30
    assert run.dataset["events"].sel(place="in/weight", event="rows").values[0] == INPUTS.sum()
    reached = run.dataset["events"].sel(place="out/weight", event="matches").values[0]
    assert reached == forward.spikes["hidden"].sum() * 4


def test_ideal_chip_is_the_network_itself():
    run = ns.deploy(chip("ideal"), INPUTS, LABELS, dies=2)
    assert run.accuracy.values.tolist() == [1.0, 1.0]
    assert run.ideal_accuracy == 1.0


def test_the_file_opens_with_plain_xarray_and_comes_back(tmp_path):
    path = tmp_path / "run.nc"
    run = ns.deploy(PCM, INPUTS, LABELS, dies=5, seed=2, out=path, keep_predictions=True, about={"task": "made up"})
    with xr.open_dataset(path) as found:
        assert found["accuracy"].dims == ("die",)
        assert found["spikes"].dims == ("die", "layer")
        assert found.attrs["profile"] == "pcm_hermes"
        assert found.attrs["task"] == "made up"
    xr.testing.assert_identical(ns.load_run(path).dataset, run.dataset)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.nc"]


def test_the_same_command_gives_the_same_bytes(tmp_path):
    for name in ("a.nc", "b.nc"):
        ns.deploy(PCM, INPUTS, LABELS, dies=5, seed=2, out=tmp_path / name, threads=1 + (name == "b.nc"))
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_a_finished_run_is_returned_and_another_one_refused(tmp_path):
    path = tmp_path / "run.nc"
    run = ns.deploy(PCM, INPUTS, LABELS, dies=5, seed=2, out=path)
    before = path.stat().st_mtime_ns
    xr.testing.assert_identical(ns.deploy(PCM, INPUTS, LABELS, dies=5, seed=2, out=path).dataset, run.dataset)
    for change in ({"dies": 6}, {"seed": 3}, {"time": 1e5}, {"programming": 1}, {"precision": "float64"}):
        with pytest.raises(ns.NeurosimError, match=rf"holds another run \({next(iter(change))}"):
            ns.deploy(PCM, INPUTS, LABELS, **{"dies": 5, "seed": 2, "out": path, **change})
    with pytest.raises(ns.NeurosimError, match=r"holds another run .data"):
        ns.deploy(PCM, 1 - INPUTS, LABELS, dies=5, seed=2, out=path)
    assert path.stat().st_mtime_ns == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.nc"]


def test_other_prices_are_another_run(tmp_path):
    """Joules and seconds stand in the file: the same dies at other prices are not what is there."""
    path = tmp_path / "run.nc"
    ns.deploy(PCM, INPUTS, LABELS, dies=2, out=path)
    for values in ({"energy.digital": 1e-9}, {"timing.read": 1e-6}, {"area.tile": 1e-6}):
        other = ns.map_network(PCM.network, PCM.profile.with_values(values))
        assert other.hash == PCM.hash, "the same dies"
        with pytest.raises(ns.NeurosimError, match=r"holds another run \(prices: "):
            ns.deploy(other, INPUTS, LABELS, dies=2, out=path)
    sourced = ns.map_network(PCM.network, PCM.profile.with_values({"timing.read.source": "elsewhere"}))
    assert ns.deploy(sourced, INPUTS, LABELS, dies=2, out=path).accuracy.size == 2


@pytest.mark.parametrize("manifest", [None, b"[]", b"\xff\xfe", b"{"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, manifest):
    folder = parts_folder(tmp_path / "run.nc")
    folder.mkdir()
    if manifest is not None:
        (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(ns.NeurosimError, match="this folder is in the way"):
        ns.deploy(PCM, INPUTS, LABELS, dies=2, out=tmp_path / "run.nc")
    assert [path.name for path in folder.iterdir()] == (["manifest.json"] if manifest is not None else [])


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    import neurosim.deployment.dispatch as module

    path, whole = tmp_path / "run.nc", ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2)
    real, calls = module.run_dies, []

    def fails_later(plan, numbers, pool, threads):
        calls.append(list(numbers))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(plan, numbers, pool, threads)

    monkeypatch.setattr(module, "run_dies", fails_later)
    with pytest.raises(KeyboardInterrupt):
        ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2, out=path, chunk=4, threads=2)
    assert not path.exists()
    assert len(list(parts_folder(path).glob("dies-*.npz"))) == 2
    with pytest.raises(ns.NeurosimError, match=r"interrupted run of something else .*seed: 2 there, 3 now"):
        ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=3, out=path)
    broken = sorted(parts_folder(path).glob("dies-*.npz"))[0]
    broken.write_bytes(broken.read_bytes()[:100])
    run = ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2, out=path, chunk=8, threads=2)
    assert calls[3] == [0, 1, 2, 3, 8, 9, 10, 11], "dies 4 to 7 were there, 0 to 3 unreadable"
    xr.testing.assert_identical(run.dataset, whole.dataset)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.nc"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_is_finished_of_a_chunk_is_kept(tmp_path, monkeypatch, stop):
    import neurosim.deployment.dispatch as module

    path, real, asked = tmp_path / "run.nc", module.run_dies, []

    def stopped(plan, numbers, pool, threads):
        asked.append(list(numbers))
        for i, counts in enumerate(real(plan, numbers, pool, threads)):
            if i == 5 and len(asked) == 1:
                raise stop
            yield counts

    monkeypatch.setattr(module, "run_dies", stopped)
    with pytest.raises(stop):
        ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2, out=path, threads=2)
    ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2, out=path, threads=2)
    assert asked[1] == list(range(5, 20)), "five were finished"
    ns.deploy(PCM, INPUTS, LABELS, dies=20, seed=2, out=tmp_path / "at_once.nc")
    assert path.read_bytes() == (tmp_path / "at_once.nc").read_bytes()


def test_slow_dies_are_kept_before_their_chunk_is_whole(tmp_path, monkeypatch):
    """For a kill, after which nothing can be written: a clock that jumps 4 s at every die."""
    import neurosim.deployment.dispatch as module

    path, real, seen = tmp_path / "run.nc", module.run_dies, []

    def watched(plan, numbers, pool, threads):
        for counts in real(plan, numbers, pool, threads):
            seen.append(sorted(part.name for part in parts_folder(path).glob("dies-*.npz")))
            yield counts

    monkeypatch.setattr(module, "run_dies", watched)
    ticks = iter(range(0, 1000, 4))
    monkeypatch.setattr(module, "monotonic", lambda: next(ticks))
    ns.deploy(PCM, INPUTS, LABELS, dies=12, seed=2, out=path, threads=2)
    assert seen[2] == []
    assert seen[-1] == ["dies-0-2-3.npz", "dies-3-5-3.npz", "dies-6-8-3.npz"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.nc"]


@pytest.mark.slow
def test_a_killed_process_can_be_taken_up(tmp_path):
    """SIGKILL at any moment leaves chunks that are whole."""
    path = tmp_path / "run.nc"
    code = ("import sys; sys.path.insert(0, sys.argv[2]); import test_deployment as t, neurosim as ns;"
            "ns.deploy(t.PCM, t.INPUTS, t.LABELS, dies=100000, seed=2, out=sys.argv[1], chunk=8, threads=2)")
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(Path(__file__).parent)])
    deadline = time.monotonic() + 60
    while len(list(parts_folder(path).glob("dies-*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(parts_folder(path).glob("dies-*.npz"))) >= 3
    run = ns.deploy(PCM, INPUTS, LABELS, dies=40, seed=2, out=path, threads=2)
    np.testing.assert_array_equal(run.accuracy, ns.deploy(PCM, INPUTS, LABELS, dies=40, seed=2).accuracy)


@pytest.mark.parametrize(("change", "said"), [
    ({"dies": 0}, "0 dies asked for"), ({"dies": -3}, "-3 dies"), ({"dies": []}, "0 die numbers"),
    ({"dies": [1, 1]}, "2 die numbers, 1 of them different"), ({"dies": "many"}, "dies is 'many'"),
    ({"seed": -1}, "seed is -1"), ({"threads": 0}, "threads is 0"), ({"chunk": 0}, "chunk is 0"),
    ({"precision": "float16"}, "precision is 'float16'"), ({"labels": LABELS[:-1]}, "labels have shape"),
    ({"labels": LABELS + 4}, "the network has 4 outputs"), ({"labels": LABELS + 0.5}, "labels are of type"),
    ({"inputs": INPUTS[:, :, :-1]}, "inputs have shape"), ({"inputs": INPUTS[:0]}, "inputs have shape"),
    ({"inputs": np.where(INPUTS > 0, np.nan, 0)}, "NaN or infinite"), ({"time": 3.0}, "time is 3 s"),
])
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, change, said):
    given = {"inputs": INPUTS, "labels": LABELS, "dies": 3, "out": tmp_path / "run.nc", **change}
    with pytest.raises(ns.NeurosimError, match=said):
        ns.deploy(PCM, **given)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(ns.NeurosimError, match="does not exist"):
        ns.deploy(PCM, INPUTS, LABELS, dies=3, out=tmp_path / "no" / "run.nc")
    with pytest.raises(ns.NeurosimError, match="this is a folder"):
        ns.deploy(PCM, INPUTS, LABELS, dies=3, out=tmp_path)
    (tmp_path / "note.nc").write_text("not a run")
    with pytest.raises(ns.NeurosimError, match="not a netCDF"):
        ns.deploy(PCM, INPUTS, LABELS, dies=3, out=tmp_path / "note.nc")
    assert (tmp_path / "note.nc").read_text() == "not a run"
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ns.NeurosimError, match="not a neurosim run: it has no accuracy"):
        ns.load_run(tmp_path / "other.nc")
    with pytest.raises(ns.NeurosimError, match="no such file"):
        ns.load_run(tmp_path / "none.nc")


@pytest.mark.parametrize(("name", "value", "said"), [
    ("samples", None, "not a neurosim run: it has no samples"), ("metrics", None, "it has no metrics"),
    ("manifest", "{no", "the file is damaged: its manifest is no JSON"), ("versions", "[", "its versions is no JSON"),
    ("profile_json", "3", "its profile_json is no JSON")])
def test_a_run_that_lacks_something_is_refused(tmp_path, name, value, said):
    dataset = ns.deploy(PCM, INPUTS, LABELS, dies=2).dataset
    attributes = {key: text for key, text in dataset.attrs.items() if key != name}
    dataset.attrs = attributes if value is None else {**attributes, name: value}
    ns.Run(dataset).save(tmp_path / "run.nc")
    with pytest.raises(ns.NeurosimError, match=said):
        ns.load_run(tmp_path / "run.nc")


def test_summary_and_yield():
    run = ns.deploy(PCM, INPUTS, LABELS, dies=60, seed=2)
    accuracy = run.accuracy.values
    mean, sd, least, low, share = run.summary(threshold=0.9)
    assert mean.value == accuracy.mean()
    assert sd.value == pytest.approx(accuracy.std(ddof=1))
    assert least.value == accuracy.min()
    assert low.value == np.percentile(accuracy, 5)
    assert share.value == run.yield_at(0.9) == (accuracy >= 0.9).mean()
    for statistic in run.summary():
        assert statistic.low <= statistic.value <= statistic.high
    assert accuracy[run.worst_die] == accuracy.min()
    assert "60 dies of pcm_hermes" in str(run)
    assert f"yield at {0.95 * run.ideal_accuracy:.1%}" in str(run)
    assert str(share) in run.described(threshold=0.9)
    assert any("Le Gallo" in source for source in run.citation())
    with pytest.raises(ns.NeurosimError, match="threshold is 90"):
        run.summary(threshold=90)


def test_bootstrap_interval_of_the_mean_covers_as_often_as_it_says():
    """95 % intervals of 200 samples of 80 dies; coverage within four standard errors of its binomial."""
    from neurosim.deployment import summarise

    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        mean = summarise(rng.beta(20, 3, 80), 0.5)[0]
        hits += mean.low <= 20 / 23 <= mean.high
    assert abs(hits / 200 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 200)


@pytest.mark.slow
def test_memory_is_bounded_and_time_linear():
    """10,000 dies of 256 recurrent units under 1.5 GB resident; ten times the dies take ten times as long."""
    code = """
import json, time, numpy as np, neurosim as ns
rng = np.random.default_rng(0)
net = ns.Network.sequential({"in": ns.Linear(rng.normal(size=(256, 8))), "h": ns.LIF(0.9, recurrent=rng.normal(
    size=(256, 256)) * 0.05), "out": ns.Linear(rng.normal(size=(4, 256))), "last": ns.LIF(0.9)}, (8,), dt=1e-3)
mapped = ns.map_network(net, ns.load_profile("mismatch"))
inputs = (rng.random((10, 2, 8)) < 0.05).astype(np.float32)
ns.deploy(mapped, inputs, [0, 1], dies=20)
took = []
for dies in (1000, 10000):
    start = time.process_time()
    ns.deploy(mapped, inputs, [0, 1], dies=dies)
    took.append(time.process_time() - start)
# not getrusage: its maximum also counts what the process was forked from
[peak] = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(json.dumps([took, peak * 1024]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (thousand, ten_thousand), resident = json.loads(done.stdout)
    assert resident < 1.5e9
    assert ten_thousand / thousand < 20, "processor time, not wall time; 10 when linear, 100 when quadratic"


def test_deploy_does_not_import_torch():
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import test_deployment as t, neurosim as ns;"
            "ns.deploy(t.PCM, t.INPUTS, t.LABELS, dies=2); sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True)


def test_forked_workers_and_threads_can_deploy():
    """A process that has run kernels forks workers that run kernels; Python threads call them at once."""
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import multiprocessing, concurrent.futures as cf, numpy as np, test_deployment as t, neurosim as ns
def job(seed): return ns.deploy(t.PCM, t.INPUTS, t.LABELS, dies=3, seed=seed, threads=2).accuracy.values.tolist()
first = [job(seed) for seed in range(4)]
with cf.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    assert list(pool.map(job, range(4))) == first
with cf.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(job, range(4))) == first
"""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True, timeout=120, env=environment)


def test_the_plan_is_checked_before_anything_runs():
    plan = make_plan(PCM, INPUTS, LABELS, 3, 1, None, 0, "float32", False, False)
    assert plan.numbers == (0, 1, 2)
    assert plan.manifest["mapping"] == PCM.hash
