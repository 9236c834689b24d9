"""Commands at the level of circuits: map, and the options of deploy and train."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neurosim as ns
from neurosim.mapping import Configuration, chip_fields
from neurosim.network.forward import run


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 40e-9, (5, 12))
    layer = ns.DPINeuron(**chip_fields(ns.load_profile("dynap_se2")), weight_ampa=np.maximum(weight, 0),
                         weight_gaba=np.maximum(-weight, 0))
    ns.Network.sequential({"n": layer}, (12,), dt=1e-3).save(tmp_path / "model.h5")
    inputs = (rng.random((20, 8, 12)) < 0.3).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=rng.integers(0, 5, 8))
    return tmp_path / "model.h5"


def test_map_writes_a_configuration(call, model, tmp_path):
    code, out, err = call("map", model, "--profile", "dynap_se2", "--out", tmp_path / "chip.json", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [row["array"] for row in found["arrays"]] == ["n/weight_ampa", "n/weight_gaba"]
    conf = Configuration.load(tmp_path / "chip.json")
    assert conf.words.core.size == found["devices"]
    assert "base currents" in call("map", model, "--profile", "dynap_se2")[1]


def test_map_says_why_not(call, model, tmp_path):
    code, out, err = call("map", model, "--profile", "dynap_se2", "--set", "circuit.size.words=8")
    assert (code, out) == (2, "")
    assert "5 of 5 neurons have too many synapses" in err
    code, _, err = call("map", model, "--profile", "dynap_se2", "--level", "neuron")
    assert code == 2
    assert 'level="circuit"' in err
    net = ns.Network.sequential([ns.Linear(np.eye(3)), ns.LIF(0.9)], (3,), dt=1e-3)
    net.save(tmp_path / "lif.h5")
    assert call("map", tmp_path / "lif.h5", "--profile", "pcm_hermes")[0] == 0
    code, _, err = call("map", tmp_path / "lif.h5", "--profile", "pcm_hermes", "--out", tmp_path / "c.json")
    assert code == 2
    assert "has no configuration" in err


def test_a_spread_of_whole_weights_is_refused(call, model, tmp_path):
    code, _, err = call("deploy", model, "--inputs", tmp_path / "data.npz", "--profile", "dynap_se2", "--out",
                        tmp_path / "r.nc", "--mismatch", 0.2)
    assert code == 2
    assert "circuit.mismatch.area" in err


def test_attack_moves_the_currents_of_the_chip(call, model, tmp_path):
    asked = ("attack", model, "--inputs", tmp_path / "data.npz", "--steps", 2, "--draws", 2, "--json")
    code, out, err = call(*asked, "--profile", "dynap_se2", "--size", 0, "--size", 2)
    assert code == 0, err
    found = json.loads(out)
    assert found["unit"] == "spreads of each device of dynap_se2"
    still, moved = found["points"]
    assert still["attacked"] == still["gaussian_least"] == found["accuracy"]
    mapped = ns.map_network(ns.Network.load(model), ns.load_profile("dynap_se2"))
    data = np.load(tmp_path / "data.npz")
    written = run(mapped.configuration.to_network(mapped.profile), data["inputs"]).prediction
    assert found["accuracy"] == pytest.approx((written == data["labels"]).mean())
    assert moved["attacked"] <= found["accuracy"]
    code, _, err = call(*asked)
    assert code == 2
    assert "--profile dynap_se2" in err


@pytest.mark.parametrize(("recipe", "mode", "per_step"), [
    ((), "noise", 4), (("--recipe", "forward_noise"), "nominal", 1),
    (("--on-chip", "sampled"), "sampled", 1)])
def test_circuits_train_on_their_chip(call, tmp_path, recipe, mode, per_step):
    path = tmp_path / "m.h5"
    code, _, err = call("train", "digits", "--profile", "dynap_se2", "--level", "circuit", "--epochs", 1, "--out", path,
                        "--size", "hidden=8", "--task-option", "steps=10", *recipe)
    assert code == 0, err
    found = ns.Network.load(path).provenance["on_chip"]
    assert (found["profile"], found["mode"], found["per_step"]) == ("dynap_se2", mode, per_step)


@pytest.mark.slow
def test_train_ends_with_a_net_that_maps_and_runs_on_dies(call, tmp_path):
    model, results = tmp_path / "m.h5", tmp_path / "r.nc"
    code, out, err = call("train", "digits", "--profile", "dynap_se2", "--level", "circuit", "--epochs", 3, "--out",
                          model, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {row["kind"] for row in found["mapping"]} == {"words"}
    assert found["test_accuracy"] > 0.6
    code, out, err = call("deploy", model, "--profile", "dynap_se2", "--dies", 4, "--out", results, "--json")
    assert code == 0, err
    assert json.loads(out)["ideal_accuracy"] == found["test_accuracy"]
    assert json.loads(out)["summary"]["mean"]["value"] > 0.4


@pytest.mark.parametrize(("arguments", "said"), [
    (("--level", "circuit"), "take --profile dynap_se2"),
    (("--level", "circuit", "--profile", "pcm_hermes"), "a [circuit] section"),
    (("--level", "spice"), "allowed: neuron, circuit"),
    (("--level", "circuit", "--profile", "dynap_se2", "--size", "hidden=2000"), "2010 neurons"),
])
def test_train_says_which_level_cannot_be(call, tmp_path, arguments, said):
    code, _, err = call("train", "digits", "--out", tmp_path / "m.h5", "--epochs", 1, *arguments)
    assert code == 2
    assert said in err
