"""What commands write takes the place of nothing that was given or made before, and says itself where it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurosim as ns

TRAIN = ("train", "digits", "--epochs", 1, "--size", "hidden=8", "--task-option", "steps=4", "--json")


@pytest.fixture
def deployed(call, tmp_path) -> Path:
    """A model, its samples and a run of it: model.h5, data.npz and run.nc in a folder."""
    rng = np.random.default_rng(0)
    net = ns.Network.sequential({"in": ns.Linear(rng.normal(size=(16, 6))), "h": ns.LIF(0.9),
                                 "out": ns.Linear(rng.normal(size=(3, 16))), "last": ns.LIF(0.9)}, (6,), dt=1e-3)
    net.save(tmp_path / "model.h5")
    np.savez(tmp_path / "data.npz", inputs=(rng.random((20, 8, 6)) < 0.3).astype(np.float32),
             labels=rng.integers(0, 3, 8))
    assert call("deploy", tmp_path / "model.h5", "--inputs", tmp_path / "data.npz", "--profile", "mismatch", "--dies",
                4, "--out", tmp_path / "run.nc")[0] == 0
    return tmp_path


@pytest.mark.parametrize("typed", [
    "report run.nc -o run.nc", "examine model.h5 run.nc --inputs data.npz -o run.nc",
    "examine model.h5 run.nc --inputs data.npz -o model.h5", "examine model.h5 run.nc --inputs data.npz -o data.npz",
    "attack model.h5 --inputs data.npz -o model.h5", "attack model.h5 --inputs data.npz -o data.npz",
    "attack model.h5 --inputs data.npz --profile chip.toml -o chip.toml",
    "landscape model.h5 --inputs data.npz -o model.h5", "landscape model.h5 --inputs data.npz -o data.npz",
    "map model.h5 --profile chip.toml -o model.h5", "map model.h5 --profile chip.toml -o chip.toml",
    "train digits --teacher model.h5 --recipe robust -o model.h5", "train digits --profile chip.toml -o chip.toml",
    "train digits --config train.toml -o train.toml"])
def test_no_output_takes_the_place_of_an_input(call, deployed, monkeypatch, typed):
    monkeypatch.chdir(deployed)
    (deployed / "chip.toml").write_text('base = "mismatch"\nname = "chip"\n')
    (deployed / "train.toml").write_text("epochs = 1\n")
    before = {path.name: path.read_bytes() for path in deployed.iterdir()}
    code, out, err = call(*typed.split())
    assert (code, out) == (2, "")
    assert err == f"neurosim: {typed.split()[-1]}: is one of the inputs; choose another output\n"
    assert {path.name: path.read_bytes() for path in deployed.iterdir()} == before


def test_the_model_of_another_training_stays(call, tmp_path):
    model = tmp_path / "m.h5"
    assert call(*TRAIN, "--out", model)[0] == 0
    first = model.read_bytes()
    for change in (["--seed", 7], ["--seed", 7, "--resume"], ["--epochs", 2], ["--recipe", "dropout"],
                   ["--task-option", "steps=5"]):
        code, out, err = call(*TRAIN, *change, "--out", model)
        assert (code, out) == (2, "")
        assert "m.h5: holds the model of another training (" in err
        assert "choose another --out, or delete it" in err
        assert model.read_bytes() == first
    assert "seed: 0 there, 7 now" in call(*TRAIN, "--seed", 7, "--out", model)[2]
    for again in ([], ["--resume"]):
        assert call(*TRAIN, *again, "--out", model)[0] == 0
        assert model.read_bytes() == first, "the same training again"
    model.write_text("my notes")
    assert "m.h5: is there already, and no model that can be read" in call(*TRAIN, "--out", model)[2]
    assert model.read_text() == "my notes"


def test_the_threshold_counts_for_people_too(call, deployed):
    given = ("deploy", deployed / "model.h5", "--inputs", deployed / "data.npz", "--profile", "mismatch", "--dies", 4,
             "--out", deployed / "run.nc", "--threshold", 0.125)
    assert "yield at 12.5%" in call(*given)[1]


def test_what_is_stopped_says_what_is_kept(call, deployed, monkeypatch):
    import neurosim.deployment.dispatch as module

    real = module.run_dies

    def stopped(*arguments):
        yield next(real(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_dies", stopped)
    code, out, err = call("deploy", deployed / "model.h5", "--inputs", deployed / "data.npz", "--profile", "mismatch",
                          "--dies", 4, "--out", deployed / "other.nc")
    assert (code, out) == (130, "")
    assert err == "neurosim: stopped; what was done so far is kept where the command can go on\n"
    assert (deployed / "other.nc.parts" / "dies-0-0-1.npz").exists()


def test_thresholds_that_are_no_accuracy(call, deployed):
    (deployed / "a.json").write_text(json.dumps({"kind": "attack", "unit": "", "accuracy": 1.0, "points": []}))
    for name in ("run.nc", "a.json"):
        for value, said in (("7", "threshold is 7"), ("nan", "threshold is nan"), ("-0.1", "threshold is -0.1")):
            code, out, err = call("report", deployed / name, "--threshold", value, "--out", deployed / "r.html")
            assert (code, out) == (2, "")
            assert f"{said} (allowed: an accuracy from 0 to 1)" in err
    assert not (deployed / "r.html").exists()


def test_an_attack_says_what_was_run(call, deployed):
    code, out, err = call("attack", deployed / "model.h5", "--inputs", deployed / "data.npz", "--size", 0.3, "--draws",
                          1, "--steps", 2, "--json", "--out", deployed / "a.json")
    assert code == 0, err
    for found in (json.loads(out), json.loads((deployed / "a.json").read_text())):
        assert "size" not in found["attack"]
        assert found["attack"]["steps"] == 2
        assert [point["size"] for point in found["points"]] == [0.3]


@pytest.mark.parametrize(("option", "said"), [
    ("time=abc", "--chip-option time: 'abc' is no time"), ("attack_size=abc", "size is 'abc'"),
    ("attack_size=true", "size is True"), ("attack_steps=abc", "steps is 'abc'")])
def test_options_of_a_chip_that_cannot_be(call, tmp_path, option, said):
    code, out, err = call(*TRAIN, "--profile", "pcm_hermes", "--on-chip", "noise", "--chip-option", option, "--out",
                          tmp_path / "m.h5")
    assert (code, out) == (2, "")
    assert said in err


def test_the_time_of_a_chip_has_the_units_of_deploy(call, tmp_path):
    found = {}
    for said in ("1h", "3600"):
        code, out, err = call(*TRAIN, "--profile", "pcm_hermes", "--on-chip", "noise", "--chip-option", f"time={said}",
                              "--out", tmp_path / f"{said}.h5")
        assert code == 0, err
        found[said] = json.loads(out)["hash"]
        assert ns.Network.load(tmp_path / f"{said}.h5").provenance["on_chip"]["time"] == 3600
    assert found["1h"] == found["3600"]


@pytest.mark.parametrize("line", ["task = 5", "recipe = 3", "profile = 7", "level = 1", "on_chip = 1", "device = 0",
                                  "teacher = 5", "wires = 3", "out = 3"])
def test_a_file_that_says_numbers_for_words(call, tmp_path, line):
    file = tmp_path / "train.toml"
    file.write_text("\n".join({"task": 'task = "digits"', "out": f'out = "{tmp_path}/m.h5"',
                               line.split()[0]: line}.values()))
    code, out, err = call("train", "--config", file)
    assert (code, out) == (2, "")
    assert f"train: {line.replace('=', 'is')} (allowed: a text)" in err


def test_a_list_is_what_a_group_of_commands_gives(call):
    for group, key in (("profiles", "profiles"), ("data", "tasks")):
        code, out, _ = call(group, "--json")
        assert code == 0
        assert json.loads(out)[key]
        assert out == call(group, "list", "--json")[1]
        code, out, err = call(group, "--json", "list")
        assert (code, out) == (2, "")
        assert "--json stands before list; put it behind" in err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_is_full_is_one_sentence(tmp_path, options):
    """A limit on the size of files stands for a full disk."""
    code = ("import resource, signal, sys; sys.argv = ['neurosim', *sys.argv[1:]]; from neurosim.cli import main\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); main()")
    with open(tmp_path / "full", "w") as full:
        done = subprocess.run([sys.executable, "-B", "-c", code, "profiles", "list", *options], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert (done.returncode, done.stderr) == (1, "neurosim: the output: File too large\n")
