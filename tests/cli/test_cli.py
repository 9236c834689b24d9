"""The command line: one object with --json, one sentence and exit code 2 for what is wrong, nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

import neurosim as ns
from neurosim.network.forward import run

BAD_PROFILE = """
name = "bad one"
family = "crossbra"
[mismatch]
weight = {value = 1, cv = -1}
[limits]
neurons = 0
fan_in = 1.5
tau_min = 0
tau_maximum = 1
[crossbar]
g_min = 2e-6
g_max = 1e-6
rows = "many"
columns = 3
scale = "row"
"""


@pytest.fixture
def model(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    net = ns.Network.sequential({"in": ns.Linear(rng.normal(size=(16, 6))), "h": ns.LIF(0.9),
                                 "out": ns.Linear(rng.normal(size=(3, 16))), "last": ns.LIF(0.9)}, (6,), dt=1e-3)
    net.save(tmp_path / "model.h5")
    inputs = (rng.random((20, 8, 6)) < 0.3).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=rng.integers(0, 3, 8))
    return tmp_path / "model.h5"


def test_profiles(call, tmp_path):
    code, out, _ = call("profiles", "list", "--json")
    assert code == 0
    names = [entry["name"] for entry in json.loads(out)["profiles"]]
    assert names == ns.profile_names()
    assert {"dynap_se2", "ideal", "mismatch", "pcm_hermes", "reram_neurram"} <= set(names)
    assert "reram_neurram" in call("profiles")[1]
    code, out, _ = call("profiles", "show", "pcm_hermes")
    assert code == 0
    assert "crossbar.g_max" in out
    assert "Khaddam-Aljameh" in out
    assert json.loads(call("profiles", "show", "pcm_hermes", "--json")[1])["crossbar"]["g_max"]["value"] == 10.35e-6
    bad = tmp_path / "bad.toml"
    bad.write_text(BAD_PROFILE)
    code, out, err = call("profiles", "check", bad)
    assert (code, out) == (2, "")
    assert err.count("\n  ") >= 10
    code, out, _ = call("profiles", "check", bad, "--json")
    assert code == 2
    assert len(json.loads(out)["faults"]) >= 11
    good = tmp_path / "good.toml"
    good.write_text('name = "good"\nfamily = "abstract"\n[mismatch]\nweight = {value = 1, cv = 0.1}\n')
    assert call("profiles", "check", good)[:2] == (0, f"{good}: 1 values, no fault\n")


def test_data(call):
    code, out, _ = call("data", "list", "--json")
    assert code == 0
    assert {entry["name"] for entry in json.loads(out)["tasks"]} >= {"digits", "ecg"}
    code, out, _ = call("data", "fetch", "digits", "--json")
    assert code == 0
    assert Path(json.loads(out)["path"]).is_file()
    code, _, err = call("data", "fetch", "digit")
    assert code == 2
    assert "did you mean 'digits'" in err


def test_deploy_and_report(call, model, tmp_path):
    run = tmp_path / "run.nc"
    arguments = ("deploy", model, "--inputs", tmp_path / "data.npz", "--profile", "pcm_hermes", "--dies", 7, "--seed",
                 3, "--out", run, "--time", 3600, "--keep-predictions", "--keep-events")
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["dies"] == 7
    with xr.open_dataset(run) as data:
        assert data["prediction"].shape == (7, 8)
        assert data["sample_events"].shape[:2] == (7, 8)
        assert found["summary"]["mean"]["value"] == pytest.approx(float(data["accuracy"].mean()))
    assert found["area"] == 2 * 6.2e-7, "two tiles"
    joules, sops = found["energy"]["nominal"], found["efficiency"]["sops"]["value"]
    assert found["efficiency"]["edp"]["nominal"] == pytest.approx(joules * found["latency"])
    assert found["efficiency"]["energy_per_sop"]["nominal"] == pytest.approx(joules / sops, rel=0.1), "mean of a ratio"
    assert found["efficiency"]["tops_per_watt"]["unit"] == "1e12 / J"
    assert found["efficiency"]["tops"]["value"] == pytest.approx(
        2 * found["metrics"]["dense"] * found["throughput"] / 1e12)
    code, out, _ = call(*arguments)
    assert code == 0
    assert "in/weight" in out
    assert "5th percentile" in out
    code, out, err = call("report", run, "--out", tmp_path / "r.html", "--json")
    assert code == 0, err
    assert json.loads(out)["runs"][0]["dies"] == 7
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert call("report", run, run, "--out", tmp_path / "r.html", "--figures", tmp_path / "figures")[0] == 0
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        f"{name}.{suffix}" for name in ("accuracy", "energy", "spikes", "yield") for suffix in ("png", "svg")]
    assert (tmp_path / "figures" / "yield.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_every_kind_of_result(call, model, tmp_path):
    given = ("--inputs", tmp_path / "data.npz")
    chip = (*given, "--profile", "pcm_hermes")
    commands = {
        "run.nc": ("deploy", model, *chip, "--dies", 5, "--time", "1h"),
        "die.nc": ("examine", model, tmp_path / "run.nc", *given),
        "time.nc": ("pareto", model, *chip, "--dies", 4, "--vary", "time=1h,30d"),
        "mismatch.nc": ("pareto", model, *given, "--profile", "mismatch", "--dies", 4, "--vary", "mismatch=0:0.4:0.2"),
        "front.nc": ("pareto", model, *chip, "--dies", 4, "--vary", "crossbar.levels=4,16"),
        "attack.json": ("attack", model, *given, "--size", 0.1, "--draws", 2, "--steps", 2),
        "landscape.json": ("landscape", model, *given, "--points", 5, "--directions", 2)}
    for name, arguments in commands.items():
        code, out, err = call(*arguments, "--out", tmp_path / name, "--json")
        assert code == 0, err
        found = json.loads(out)
        if name == "die.nc":
            assert found["die"] == ns.load_run(tmp_path / "run.nc").worst_die
            assert len(found["parts"]) > 5
        elif name == "time.nc":
            assert [row["setting"]["time"] for row in found["points"]] == [3600, 30 * 86400]
            assert found["choice"] is None
    files = [tmp_path / name for name in commands]
    code, out, err = call("report", *files, "--out", tmp_path / "r.html", "--figures", tmp_path / "figures", "--json")
    assert code == 0, err
    assert [run["dies"] for run in json.loads(out)["runs"]] == [5]
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        "accuracy", "yield", "energy", "spikes", "parts", "raster", "traces", "tiles", "time-1", "mismatch-2",
        "pareto-3", "attack", "landscape"}
    text = (tmp_path / "r.html").read_text()
    for arguments in commands.values():
        assert f"neurosim {arguments[0]} " in text, "the command is there"
    assert call("report", *files, "--out", tmp_path / "r.html")[0] == 0
    for arguments, said in ((("examine", model, tmp_path / "run.nc", *given, "--die", 9), "die 9 is not in this run"),
                            (("landscape", model, *given, "--points", 1), "points is 1")):
        code, out, err = call(*arguments, "--out", tmp_path / "none")
        assert (code, out) == (2, "")
        assert said in err
        assert not (tmp_path / "none").exists()


def test_deploy_changes_the_profile(call, model, tmp_path):
    spread = []
    for i, options in enumerate((["--mismatch", 0], ["--mismatch", 0.5], ["--set", "mismatch.weight.cv=0.5"])):
        out = tmp_path / f"run{i}.nc"
        code, _, err = call("deploy", model, "--inputs", tmp_path / "data.npz", "--profile", "mismatch", "--dies", 9,
                               *options, "--out", out, "--json")
        assert code == 0, err
        spread.append(ns.load_run(out).spikes.std("die").values.sum())
    assert spread[0] == 0
    assert min(spread[1:]) > 0


def test_deploy_reads_the_chip_as_it_is_told(call, model, tmp_path):
    out = tmp_path / "run.nc"
    code, text, err = call("deploy", model, "--inputs", tmp_path / "data.npz", "--profile", "pcm_hermes", "--dies", 4,
                           "--time", "1h", "--calibrate", "gdc,adc", "--adc-bits", 6, "--wires", "full", "--out", out,
                           "--json")
    assert code == 0, err
    assert list(json.loads(text)["calibration"]) == ["none", "gdc", "adc"]
    run = ns.load_run(out)
    assert run.dataset.attrs["time"] == 3600
    profile = json.loads(run.dataset.attrs["profile_json"])
    assert profile["adc"]["bits"]["value"] == 6
    assert profile["wires"]["level"] == "full"
    assert (run.dataset["conversions"] > 0).all()
    assert run.calibration.sizes == {"die": 4, "step": 3}


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Every way to be wrong: what is typed, and a part of what is said."""
    model, data, out = folder / "model.h5", folder / "data.npz", folder / "out.nc"
    (folder / "text.h5").write_text("this is text\n")
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = 1
    (folder / "bad.toml").write_text(BAD_PROFILE)
    (folder / "out.toml").write_text('task = "digits"\nout = 3\n')
    (folder / "a.json").write_text('{"kind": "attack"}')
    (folder / "cut.nc").write_bytes(model.read_bytes()[:1000])
    arrays = dict(np.load(data))
    np.savez(folder / "short.npz", inputs=arrays["inputs"], labels=arrays["labels"][:-1])
    np.savez(folder / "nan.npz", inputs=np.full_like(arrays["inputs"], np.nan), labels=arrays["labels"])
    np.savez(folder / "names.npz", x=arrays["inputs"])
    np.save(folder / "alone.npy", arrays["inputs"])
    np.savez(folder / "far.npz", inputs=arrays["inputs"], labels=arrays["labels"] + 99)

    def deploy(m=model, d=data, *more, profile="mismatch"):
        return ["deploy", m, "--profile", profile, "--out", out, *(["--inputs", d] if d else []), *more]

    return {
        "missing model": (deploy(folder / "none.h5"), "none.h5"),
        "text as model": (deploy(folder / "text.h5"), "text.h5"),
        "other hdf5": (deploy(folder / "other.h5"), "other.h5"),
        "missing data": (deploy(model, folder / "none.npz"), "none.npz: there is no such file"),
        "one array": (deploy(model, folder / "alone.npy"), "has no arrays `inputs` and `labels`"),
        "share": (["pareto", model, "--profile", "pcm_hermes", "--vary", "crossbar.levels=2,4", "--share", 7, "--out",
                   folder / "p.nc"], "--share: it is 7 (allowed: 0 to 1)"),
        "a folder as model": (["train", "digits", "--out", folder], "is a folder"),
        "text as data": (deploy(model, folder / "text.h5"), "not an .npz file"),
        "other arrays": (deploy(model, folder / "names.npz"), "no arrays `inputs` and `labels`"),
        "no task": (deploy(model, None), "does not say which task"),
        "labels of another length": (deploy(model, folder / "short.npz"), "labels have shape [7]"),
        "nan": (deploy(model, folder / "nan.npz"), "NaN"),
        "zero dies": (deploy(model, data, "--dies", 0), "0 dies asked for"),
        "minus dies": (deploy(model, data, "--dies", -1), "-1 dies asked for"),
        "half a die": (deploy(model, data, "--dies", 0.5), "'--dies'"),
        "bad profile": (deploy(profile=folder / "bad.toml"), "faults in this profile"),
        "unknown profile": (deploy(profile="mismatched"), "did you mean 'mismatch'"),
        "negative mismatch": (deploy(model, data, "--mismatch", -0.1), "mismatch.weight.cv"),
        "no value": (deploy(model, data, "--set", "crossbar"), "KEY=VALUE"),
        "threshold": (deploy(model, data, "--threshold", 90), "allowed: an accuracy from 0 to 1"),
        "time": (deploy(model, data, "--time", 5), "does not drift"),
        "no time": (deploy(model, data, "--time", "1 hour"), "is no time"),
        "wires": (deploy(model, data, "--wires", "some", profile="pcm_hermes"), "'none', 'column', 'full'"),
        "step": (deploy(model, data, "--calibrate", "gcd", profile="pcm_hermes"), "did you mean 'gdc'"),
        "folder": ([*deploy(), "--out", folder / "no" / "run.nc"], "does not exist"),
        "no run": (["report", folder / "none.nc", "--out", folder / "r.html"], "no such file"),
        "text as run": (["report", folder / "text.h5", "--out", folder / "r.html"], "not a netCDF or HDF5 file"),
        "model as run": (["report", model, "--out", folder / "r.html"], "not a neurosim run"),
        "no task of this name": (["train", "digts", "--out", folder / "m.h5"], "did you mean 'digits'"),
        "no recipe of this name": (["train", "digits", "--recipe", "noise", "--out", folder / "m.h5"], "noise"),
        "no epochs": (["train", "digits", "--epochs", 0, "--out", folder / "m.h5"], "epochs"),
        "no setting": (["train", "digits", "--setting", "etta=1", "--out", folder / "m.h5"], "etta"),
        "no size": (["train", "digits", "--size", "hiden=1", "--out", folder / "m.h5"], "hiden"),
        "no loss of this name": (["attack", model, "--inputs", data, "--loss", "kll"], "did you mean 'kl'"),
        "no numbers to attack with": (["attack", model, "--inputs", folder / "nan.npz"], "NaN or infinite values"),
        "no labels to look around with": (["landscape", model, "--inputs", folder / "far.npz", "--out", folder / "l"],
                                          "labels reach from"),
        "a negative size": (["attack", model, "--inputs", data, "--size", "-1"], "sizes are [-1.0]"),
        "more samples than there are": (["attack", model, "--inputs", data, "--samples", 9], "allowed: 1 to 8"),
        "a plot as text": (["attack", model, "--inputs", data, "--plot", folder / "p.txt"], ".svg, .png, .pdf"),
        "no folder, before an attack": (["attack", model, "--inputs", data, "--draws", 0, "--out", folder / "no" / "a"],
                                        "there is no folder"),
        "no folder, before a landscape": (["landscape", model, "--inputs", data, "--points", 0, "--out",
                                           folder / "no" / "l"], "there is no folder"),
        "no folder, before a die": (["examine", model, folder / "none.nc", "--out", folder / "no" / "d"],
                                    "there is no folder"),
        "no chip of this name": (["attack", model, "--inputs", data, "--profile", "mismtach"], "mismatch"),
        "no such device": (["train", "speech", "--device", "abacus", "--out", folder / "m.h5"], "cpu, cuda"),
        "no task at all": (["train", "--out", folder / "m.h5"], "task is missing"),
        "a seed below zero": (["train", "digits", "--seed", -1, "--out", folder / "m.h5"], "seed is -1 (allowed"),
        "a seed of 65 bits": (["attack", model, "--inputs", data, "--seed", 1 << 64], "0 to 2^64 - 1"),
        "steps in words": (["train", "digits", "--task-option", "steps=x", "--out", folder / "m.h5"], "steps is 'x'"),
        "a size in words": (["train", "digits", "--size", "beta=x", "--out", folder / "m.h5"], "beta is 'x'"),
        "nothing to attack": (["attack", model, "--inputs", data, "--profile", "ideal"], "nothing to move"),
        "no dies to search with": (["pareto", model, "--profile", "pcm_hermes", "--vary", "crossbar.levels=2,4",
                                    "--inputs", data, "--dies", 0, "--out", folder / "p.nc"], "--dies is 0"),
        "no picture": (["pareto", model, "--profile", "pcm_hermes", "--vary", "crossbar.levels=2,4", "--inputs", data,
                        "--plot", folder / "p.foo", "--out", folder / "p.nc"], ".svg, .png, .pdf"),
        "rows without end": (deploy(model, data, "--set", "crossbar.rows=1e30", profile="pcm_hermes"), "1 to 2^31"),
        "a cut run": (["report", folder / "cut.nc", "--out", folder / "r.html"], "cut.nc: the file is damaged"),
        "an attack without points": (["report", folder / "a.json", "--out", folder / "r.html"],
                                     "without unit, accuracy, points"),
        "a file where a folder is to be": (["demo", "--out", model], "this folder cannot be made"),
        "a number as file": (["train", "--config", folder / "out.toml"], "out is 3"),
        "no place for the model": (["train", "digits"], "out is missing"),
        "no config": (["train", "--config", folder / "none.toml"], "no such file"),
        "config of something else": (["train", "--config", folder / "bad.toml"], "there is no option 'name'"),
        "too large for the chip": (["train", "digits", "--size", "hidden=1100", "--profile", "dynap_se2", "--out",
                                    folder / "m.h5"], "neurons"),
        "no command": (["deplyo"], "No such command"),
        "no option": (deploy(model, data, "--dyes", 3), "No such option"),
    }


def test_bad_input_is_said_once_and_leaves_nothing(call, model, tmp_path):
    cases = bad_inputs(tmp_path)
    before = sorted(tmp_path.iterdir())
    for name, (arguments, said) in cases.items():
        code, out, err = call(*arguments)
        assert code == 2, (name, code, err)
        assert out == "", name
        assert err.startswith("neurosim: "), name
        assert said in err, (name, err)
        assert "Traceback" not in err, name
        assert sorted(tmp_path.iterdir()) == before, name


@pytest.mark.parametrize("given", ["--setting seed=3", "--setting tick=1", "--setting model=1", "--size seed=1",
                                   "--size channels=3"])
def test_train_refuses_what_it_gives_itself(call, tmp_path, given):
    option, pair = given.split()
    code, _, err = call("train", "digits", "-o", tmp_path / "m.h5", option, pair)
    assert code == 2
    assert "is no setting to give here" in err


def test_a_name_is_no_option_of_a_task(call, tmp_path):
    code, _, err = call("train", "digits", "-o", tmp_path / "m.h5", "--task-option", "name=ecg")
    assert code == 2
    assert "there is no option 'name'" in err


def test_train_and_deploy_its_task(call, tmp_path):
    model = tmp_path / "digits.h5"
    arguments = ("train", "digits", "--recipe", "forward_noise", "--setting", "eta=0.2", "--epochs", 1, "--size",
                 "hidden=20", "--task-option", "steps=8", "--profile", "dynap_se2", "--out", model, "--json")
    code, out, err = call(*arguments)
    assert code == 0, err
    found = json.loads(out)
    assert 0.1 < found["test_accuracy"] <= 1
    network = ns.Network.load(model)
    assert network.provenance["task"] == "digits"
    assert network.provenance["settings"]["eta"] == 0.2
    first = model.read_bytes()
    call(*arguments)
    assert model.read_bytes() == first, "the same command gives the same bytes"
    code, out, err = call("deploy", model, "--profile", "dynap_se2", "--dies", 5, "--out", tmp_path / "r.nc", "--json")
    assert code == 0, err
    assert json.loads(out)["samples"] == 500
    assert json.loads(out)["ideal_accuracy"] == pytest.approx(found["test_accuracy"])


def test_train_on_a_chip(call, tmp_path):
    model = tmp_path / "digits.h5"
    arguments = ["train", "digits", "--recipe", "hybrid", "--setting", "steps=1", "--epochs", 1, "--size", "hidden=12",
                 "--task-option", "steps=6", "--profile", "pcm_hermes", "--on-chip", "sampled", "--chip-option",
                 "dies=3", "--chip-option", "per_step=2", "--out", model, "--json"]
    code, out, err = call(*arguments)
    assert code == 0, err
    said = ns.Network.load(model).provenance
    assert {k: said["on_chip"][k] for k in ("profile", "mode", "dies", "per_step", "seed")} == {
        "profile": "pcm_hermes", "mode": "sampled", "dies": 3, "per_step": 2, "seed": 2**63}
    assert said["settings"]["eta"] == 1.0
    assert json.loads(call(*arguments, "--resume")[1]) == json.loads(out)
    first = model.read_bytes()
    call(*arguments)
    assert model.read_bytes() == first, "the same command gives the same bytes"
    for change, message in ((["--on-chip", "dies"], "nominal, sampled, noise, attack"),
                            (["--on-chip", "noise", "--dac-bits", "8"], "dac.v_read: is missing"),
                            (["--chip-option", "die=3"], "did you mean 'dies'"),
                            (["--chip-option", "attack_size=-1"], "size is -1")):
        assert message in call(*arguments, *change, "--out", tmp_path / "other.h5")[2]
    other = ("train", "digits", "--out", tmp_path / "other.h5")
    assert "--profile NAME --on-chip" in call(*other, "--on-chip", "noise")[2]
    assert "on_chip is missing" in call(*other, "--profile", "mismatch", "--chip-option", "dies=2")[2]


def test_train_through_reads_and_deploy_with_the_learnt_ranges(call, tmp_path):
    model, chip = tmp_path / "digits.h5", ["--profile", "pcm_hermes", "--adc-bits", 4, "--dac-bits", 6, "--wires",
                                           "column", "--set", "wires.column_resistance=2", "--set", "dac.v_read=0.2"]
    arguments = ["train", "digits", "--epochs", 1, "--size", "hidden=12", "--task-option", "steps=4", "--out", model]
    code, _, err = call(*arguments, *chip, "--on-chip", "noise", "--json")
    assert code == 0, err
    network = ns.Network.load(model)
    assert network.provenance["on_chip"]["reads"] is True
    assert network.ranges.arrays["fc1/weight"].inputs > 0
    code, out, err = call("deploy", model, *chip, "--dies", 2, "--out", tmp_path / "r.nc")
    assert code == 0, err
    assert "ranges of converters: learnt in training" in out
    assert "adc_bits without on_chip" in call(*arguments, "--adc-bits", 6)[2]
    assert "--set without a profile" in call(*arguments, "--set", "adc.bits=6")[2]


def test_attack_on_parameters_and_on_devices(call, model, tmp_path):
    """On the parameters, the sizes are of each; on a chip type they count its spreads: here 0.2 of each parameter."""
    arguments = ("attack", model, "--inputs", tmp_path / "data.npz", "--draws", 2, "--steps", 3, "--json")
    code, out, err = call(*arguments, "--size", 0.2, "--size", 0.4, "--plot", tmp_path / "p.svg")
    assert code == 0, err
    found = json.loads(out)
    assert [point["size"] for point in found["points"]] == [0.2, 0.4]
    network = ns.Network.load(model)
    with np.load(tmp_path / "data.npz") as data:
        expected = (run(network, data["inputs"]).prediction == data["labels"]).mean()
    assert found["accuracy"] == pytest.approx(expected)
    assert (found["samples"], found["draws"], found["attack"]["steps"], found["attack"]["loss"]) == (8, 2, 3, "task")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    code, out, err = call(*arguments, "--size", 1, "--size", 2, "--profile", "mismatch")
    assert code == 0, err
    on_chip = json.loads(out)
    assert on_chip["unit"] == "spreads of each device of mismatch"
    for one, other in zip(found["points"], on_chip["points"], strict=True):
        assert other["size"] == pytest.approx(5 * one["size"])
        assert {name: value for name, value in other.items() if name != "size"} == pytest.approx(
            {name: value for name, value in one.items() if name != "size"}), "the same box, the same draws"
    code, out, err = call(*arguments[:-1], "--samples", 4, "--profile", "pcm_hermes")
    assert code == 0, err
    assert "spreads of each device of pcm_hermes" in " ".join(out.split())


def test_losses_are_those_of_the_torch_module(call, tmp_path):
    """The mean over time and a softmax that the module ends in; a batch norm, which is folded before it is attacked."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = torch.nn.Linear(6, 3), torch.nn.BatchNorm1d(3)
            self.norm.running_mean[:] = torch.tensor([0.2, -0.1, 0.3])

        def forward(self, x):
            return torch.stack([self.norm(self.fc(step)) for step in x]).mean(0)

    torch.manual_seed(3)
    module = Net().eval()
    inputs, labels = torch.rand(20, 8, 6), torch.arange(8) % 3
    ns.Network.from_torch(module, inputs).save(tmp_path / "model.h5")
    np.savez(tmp_path / "data.npz", inputs=inputs.numpy(), labels=labels.numpy())
    given = (tmp_path / "model.h5", "--inputs", tmp_path / "data.npz", "--json")
    code, out, err = call("landscape", *given, "--points", 3, "--directions", 2, "--out", tmp_path / "l.json")
    assert code == 0, err
    wanted = torch.nn.functional.cross_entropy(module(inputs), labels).item()
    assert json.loads(out)["centre"] == pytest.approx(wanted, rel=1e-5)
    code, out, err = call("attack", *given, "--size", 0.1, "--steps", 2, "--draws", 1, "--profile", "mismatch")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == (module(inputs).argmax(1) == labels).float().mean().item()


def test_train_after_a_teacher(call, tmp_path):
    common = ("train", "digits", "--epochs", 1, "--size", "hidden=12", "--task-option", "steps=6", "--json", "--out")
    assert call(*common, tmp_path / "clean.h5")[0] == 0
    robust = (*common[:-1], "--recipe", "robust", "--setting", "draws=1", "--out")
    assert call(*robust, tmp_path / "own.h5")[0] == 0
    file = tmp_path / "train.toml"
    file.write_text(f'teacher = "{tmp_path / "clean.h5"}"')
    code, _, err = call(*robust, tmp_path / "taught.h5", "--config", file)
    assert code == 0, err
    own, taught = (ns.Network.load(tmp_path / name) for name in ("own.h5", "taught.h5"))
    assert (own.provenance["settings"]["reference"], taught.provenance["settings"]["reference"]) == ("clean", "teacher")
    assert taught.provenance["asked"]["teacher"] == ns.Network.load(tmp_path / "clean.h5").hash
    assert own.hash != taught.hash
    code, _, err = call(*common, tmp_path / "x.h5", "--teacher", tmp_path / "clean.h5")
    assert code == 2
    assert "recipe standard: it looks at no teacher" in err
    code, _, err = call(*robust, tmp_path / "x.h5", "--setting", "reference=teacher", "--setting", "beta=1")
    assert code == 2
    assert "there is no teacher" in err


def test_train_from_a_file(call, tmp_path):
    file = tmp_path / "train.toml"
    file.write_text(f"""
task = "digits"
recipe = "hybrid"
epochs = 1
seed = 3
out = "{tmp_path / 'a.h5'}"
[setting]
beta = 0.3
eta = 0.1
steps = 1
batch_size = 500
[size]
hidden = 12
[task_option]
steps = 6
""")
    code, out, err = call("train", "--config", file, "--setting", "eta=0.25", "--json")
    assert code == 0, err
    said = ns.Network.load(tmp_path / "a.h5").provenance
    assert (said["recipe"], said["seed"], said["task_settings"]["steps"]) == ("hybrid", 3, 6)
    assert (said["settings"]["beta"], said["settings"]["eta"], said["settings"]["batch_size"]) == (0.3, 0.25, 500)
    [row] = map(json.loads, (tmp_path / "a.metrics.jsonl").read_text().splitlines())
    assert {"epoch", "loss", "validation_accuracy", "noisy_validation_accuracy"} <= row.keys()
    assert not (tmp_path / "a.h5.checkpoint").exists()
    first = (tmp_path / "a.h5").read_bytes()
    again = call("train", "--config", file, "--setting", "eta=0.25", "--json", "--resume")[1]
    assert json.loads(again) == json.loads(out)
    assert (tmp_path / "a.h5").read_bytes() == first
    file.write_text("size = 3")
    assert "allowed: a table [size]" in call("train", "--config", file)[2]
    file.write_text("size = ")
    assert "cannot be read as TOML" in call("train", "--config", file)[2]


def test_pareto(call, model, tmp_path):
    out, plot = tmp_path / "pareto.nc", tmp_path / "pareto.svg"
    arguments = ("pareto", model, "--inputs", tmp_path / "data.npz", "--profile", "pcm_hermes", "--vary",
                 "crossbar.levels=2,16", "--vary", "neuron.threshold_scale=0.8:1.2:0.4", "--dies", 5)
    code, text, err = call(*arguments, "--out", out, "--plot", plot, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert len(found["points"]) == 4
    assert [point for point in found["points"] if point["on_front"]]
    assert found["choice"].startswith(("Cheapest setting with 95% of dies", "No setting has 95% of dies"))
    assert plot.read_text().startswith("<?xml")
    with xr.open_dataset(out) as data:
        assert data["accuracy"].shape == (4, 5)
    code, text, err = call(*arguments, "--out", tmp_path / "again.nc", "--accuracy", 0.0)
    assert code == 0, err
    assert "crossbar.levels=16, neuron.threshold_scale=1.2" in text
    assert "Cheapest setting with 95% of dies at or above 0.0%" in text
    code, text, err = call(*arguments, "--method", "optuna", "--points", 3, "--out", tmp_path / "guided.nc", "--json")
    assert code == 0, err
    assert len(json.loads(text)["points"]) == 3
    code, text, err = call(*arguments, "--out", out)
    assert (code, text) == (2, "")
    assert "is there already" in err
    assert call(*arguments[:-2], "--vary", "crossbar.level=3", "--out", tmp_path / "x.nc")[0] == 2
    assert not list(tmp_path.glob("x.nc*"))


@pytest.mark.slow
def test_demo_shows_that_robust_training_keeps_more(call, tmp_path):
    """Noise alone does so on most machines: rounding takes a training elsewhere, and drift is not compensated here."""
    code, out, err = call("demo", "--out", tmp_path / "demo", "--dies", 40, "--json")
    assert code == 0, err
    runs = json.loads(out)["runs"]
    assert len(runs) == 6
    for chip in ("pcm_hermes", "dynap_se2"):
        plain, robust = (runs[f"{recipe}, {chip}"]["summary"] for recipe in ("standard", "robust"))
        assert robust["mean"]["value"] > plain["mean"]["value"] + 0.005, chip
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    assert {path.stem for path in (tmp_path / "demo" / "figures").iterdir()} == {
        "accuracy", "yield", "energy", "spikes", "parts", "raster", "traces", "tiles", "time-1", "mismatch-2",
        "pareto-3", "attack", "landscape"}


def test_the_command_imports_no_torch_unless_it_trains(model, tmp_path):
    code = ("import sys; sys.argv = ['neurosim', *sys.argv[1:]]\n"
            "from neurosim.cli import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
            "sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code, "deploy", str(model), "--inputs", str(tmp_path / "data.npz"),
                    "--profile", "ideal", "--dies", "2", "--out", str(tmp_path / "x.nc")], check=True)


def test_help_and_version(call):
    assert call("--version")[:2] == (0, f"neurosim {ns.__version__}\n")
    for command in ([], ["demo"], ["profiles"], ["data"], ["train"], ["deploy"], ["pareto"], ["report"]):
        code, out, _ = call(*command, "--help")
        assert code == 0
        assert "Usage" in out
