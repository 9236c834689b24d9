"""A die examined: a culprit that was planted is found, where there is none none is named, and replacements replace."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import neurosim as ns
from neurosim.deployment import Examination, examine, load_examination
from neurosim.dies import dies as dies_module
from neurosim.dies.memristors import Programmed
from neurosim.errors import NeurosimError
from neurosim.mapping import chip_fields, parts
from neurosim.mapping.parts import cut, devices_at, replaced
from neurosim.network.forward import run as run_network

BAD = 3
RNG = np.random.default_rng(0)
#: four classes, each an input group that a quarter of the hidden neurons listens to, and an output that listens to them
MINE = np.arange(24)[:, None] % 4 == np.arange(12) % 4
WEIGHTS = {"in": 1.6 * MINE - 0.3 + RNG.normal(0, 0.3, MINE.shape),
           "out": np.where(np.arange(4)[:, None] == np.arange(24) % 4, 0.5, -0.2) + RNG.normal(0, 0.1, (4, 24))}
CHANCE = np.where(np.arange(12) % 4 == np.arange(150)[:, None] % 4, 0.22, 0.14)
INPUTS = (RNG.random((30, 150, 12)) < CHANCE).astype(np.float32)


def network() -> ns.Network:
    return ns.Network.sequential({"in": ns.Linear(WEIGHTS["in"]), "h": ns.LIF(0.9), "out": ns.Linear(WEIGHTS["out"]),
                                  "last": ns.LIF(0.9)}, (12,), dt=1e-3)


LABELS = run_network(network(), INPUTS).prediction


def examined(profile: ns.Profile, dies: int = 9, **options: object) -> Examination:
    mapped = ns.map_network(network(), profile)
    run = ns.deploy(mapped, INPUTS, LABELS, dies, seed=1, progress=False, **options)
    return examine(run, mapped, INPUTS, LABELS)


def names(found: Examination) -> list[str]:
    return [str(name) for name in found.dataset["name"].values]


def test_bad_weights_of_one_neuron_are_found(monkeypatch):
    """A chip whose weights spread by 2 %, and a die on which those of output 2 have the wrong sign."""
    real = dies_module.normal
    mapped = ns.map_network(network(), ns.load_profile("mismatch").with_mismatch(0.02))
    [out] = [array for array in mapped.arrays if array.name == "out/weight"]

    def planted(key, size):
        z = np.array(real(key, size))
        if key.die == BAD and key.array == out.index:
            z.reshape(out.nominal.shape)[2] = -100.0  # times 1 - 2
        return z

    monkeypatch.setattr(dies_module, "normal", planted)
    found = examined(ns.load_profile("mismatch").with_mismatch(0.02))
    assert found.die == BAD
    assert found.accuracy < 0.8
    for kinds, culprit in ((("array",), "out/weight"), (("tile", "neurons"), "last neuron 2")):
        part = found.culprit(*kinds)
        assert names(found)[part] == culprit
        assert found.accuracy + found.gain[part] > 0.9
        assert abs(found.control[part]) < 0.05
    said = " ".join(found.sentences())
    assert "The array that costs most is out/weight" in said
    assert "group of neurons that costs most is last neuron 2" in said
    innocent = names(found).index("in/weight")
    assert abs(found.gain[innocent]) < 0.1


def test_a_broken_tile_is_found(monkeypatch):
    """Tiles of 8 rows; on one die a tile of the last layer is stuck: for output 0 it says yes, for the others no."""
    chip = ns.load_profile("pcm_hermes").with_values({"crossbar.rows": 8, "crossbar.columns": 16})
    mapped = ns.map_network(network(), chip)
    [whole] = [array for array in mapped.arrays if array.name == "out/weight"]
    [part] = [part for part in parts(mapped) if part.name == "out/weight tile 1"]
    here = devices_at(whole, part.places[0])
    assert here.sum() == here.size / 3
    yes = whole.coefficients > 0
    high = np.where(np.arange(4)[None, :, None] == 0, yes[:, None, None], ~yes[:, None, None]) * np.ones(24)
    real = Programmed.devices

    def planted(self, die, array, nominal):
        made = real(self, die, array, nominal)
        if die != BAD or array.name != whole.name:
            return made
        stuck = np.where(here, 1e-5 * high.reshape(-1), made.conductance)
        return dataclasses.replace(made, conductance=stuck.astype(np.float32))

    monkeypatch.setattr(Programmed, "devices", planted)
    monkeypatch.setattr(Programmed, "rows", lambda *given: None)  # no sums in one pass: every device is seen
    found = examined(chip)
    assert found.die == BAD
    assert names(found)[found.culprit("array")] == "out/weight"
    assert names(found)[found.culprit("tile")] == "out/weight tile 1"
    [j] = [j for j in range(12) if found.dataset.get(f"tile_{j}", found.dataset["tile_0"]).attrs["tile"] == part.name]
    assert set(np.unique(found.dataset[f"tile_{j}"])) == {np.float32(0), np.float32(1e-5)}
    assert np.unique(found.dataset[f"meant_{j}"]).size > 10


def test_where_all_dies_are_alike_nothing_is_named():
    found = examined(ns.load_profile("mismatch").with_mismatch(0.0))
    assert (found.gain == 0).all()
    assert found.culprit("array") is None
    assert found.sentences()[-2:] == ["No single array explains it.",
                                      "No single tile or group of neurons explains it."]


@pytest.mark.parametrize("name", ["dynap_se2", "mismatch", "reram_faults", "pcm_hermes"])
def test_with_all_devices_as_meant_a_die_is_the_chip_without_spread(name):
    """Written by none of this: what each device is meant to be, from the mapping."""
    mapped = ns.map_network(network(), ns.load_profile(name))
    [everything] = [part for part in parts(mapped) if part.kind == "all"]
    found = ns.Dies(mapped, seed=1, nominal=(everything,)).parameters(5)
    own = ns.Dies(mapped, seed=1).parameters(5)
    for array in mapped.arrays:
        if array.spread is not None or hasattr(array, "tiling"):
            mean = array.spread.value if array.spread is not None and array.role == "weight" else 1.0
            value = found[array.layer][array.parameter]
            np.testing.assert_allclose(value, mean * array.nominal, rtol=2e-6, atol=1e-6)
            assert not np.allclose(own[array.layer][array.parameter], value, rtol=1e-4)


def test_devices_as_meant_are_what_is_read():
    """Of an array whose dies are made in one pass, too."""
    mapped = ns.map_network(network(), ns.load_profile("pcm_hermes"))
    [array] = [array for array in mapped.arrays if array.name == "in/weight"]
    for part in parts(mapped)[:2]:
        for die in (5, 6):
            tiles = ns.Dies(mapped, seed=1, nominal=(part,)).read_tiles(die, array).tiles
            np.testing.assert_allclose((tiles.worth * tiles.rows)[:, :24], WEIGHTS["in"].T, atol=1e-5)
    everything = examined(ns.load_profile("pcm_hermes"), dies=3).dataset.isel(part=0)
    assert everything["repaired"] + everything["spoiled"] > 0


def test_a_part_changes_its_own_devices_only():
    mapped = ns.map_network(network(), ns.load_profile("mismatch"))
    own = ns.Dies(mapped, seed=1).parameters(5)
    for part in parts(mapped):
        found = ns.Dies(mapped, seed=1, nominal=(part,)).parameters(5)
        for array in mapped.arrays:
            value, before = found[array.layer][array.parameter].copy(), own[array.layer][array.parameter]
            for place in part.places:
                if place[:2] == (array.layer, array.parameter):
                    np.testing.assert_array_equal(cut(value, place), cut(array.nominal, place))
                    value = replaced(value, place, cut(before, place))
            np.testing.assert_array_equal(value, before)


def test_drift_of_all_devices_is_no_fault_of_a_part():
    """Devices as meant age as the average one does: a part replaced is not younger than the rest of its array."""
    mapped = ns.map_network(network(), ns.load_profile("pcm_hermes"))
    [everything] = [part for part in parts(mapped) if part.kind == "all"]
    year = 365.25 * 86400
    meant = ns.Dies(mapped, seed=1, time=year, nominal=(everything,)).conductances(0, "in/weight")
    mean = np.mean([ns.Dies(mapped, seed=1, time=year).conductances(die, "in/weight") for die in range(400)], axis=0)
    fresh = mapped.arrays[0].planes(mapped.arrays[0].targets)
    large = fresh > 0.3 * fresh.max()
    assert meant[large].mean() == pytest.approx(mean[large].mean(), rel=0.03)
    assert meant[large].mean() < 0.8 * fresh[large].mean()


def test_circuits_are_examined_by_core_and_in_amperes():
    chip = ns.load_profile("dynap_se2")
    weight = RNG.normal(0, 40e-9, (300, 12))
    layer = ns.DPINeuron(**chip_fields(chip), weight_ampa=np.maximum(weight, 0), weight_gaba=np.maximum(-weight, 0))
    net = ns.Network.sequential({"n": layer}, (12,), dt=1e-3)
    mapped, inputs, labels = ns.map_network(net, chip), INPUTS[:, :20], np.arange(20) % 300
    found = examine(ns.deploy(mapped, inputs, labels, 2, progress=False), mapped, inputs, labels)
    assert names(found)[1:4] == ["n/weight_ampa", "n/weight_gaba", "n/biases"]
    assert names(found)[4:] == ["n core 0", "n core 1"]
    trace = found.dataset["trace_0"]
    assert trace.attrs["units"] == "A"
    assert trace.attrs["quantities"] == '["membrane", "ampa", "gaba"]'
    assert 0 < float(trace.max()) < 1e-3
    everything = ns.Dies(mapped, seed=0, nominal=(parts(mapped)[0],)).parameters(1)
    again = ns.Dies(mapped, seed=0, nominal=(parts(mapped)[0],)).parameters(0)
    for field, value in everything["n"].items():
        np.testing.assert_array_equal(value, again["n"][field])


def test_the_sample_is_the_one_in_the_run():
    """Read noise belongs to a sample's place: what is shown is what was counted."""
    chip = ns.load_profile("pcm_hermes")
    mapped = ns.map_network(network(), chip)
    run = ns.deploy(mapped, INPUTS, LABELS, 4, seed=1, keep_predictions=True, progress=False)
    for sample in (0, 77):
        found = examine(run, mapped, INPUTS, LABELS, die=2, sample=sample)
        spikes = found.dataset["spikes_1"].values.sum(axis=0)
        assert spikes.argmax() == run.dataset["prediction"].sel(die=2).values[sample]
        assert (found.dataset["ideal_spikes_1"].values.sum(axis=0)).argmax() == LABELS[sample]
    by_hand = ns.Dies(mapped, seed=1).conductances(2, "out/weight")
    tile = found.dataset["tile_1"].values
    np.testing.assert_allclose(np.sort(tile.reshape(-1)), np.sort(by_hand.reshape(-1)))


def test_calibrated_dies_are_examined_calibrated():
    found = examined(ns.load_profile("pcm_hermes"), dies=3, time=86400.0, calibrate=["gdc"])
    mapped = ns.map_network(network(), ns.load_profile("pcm_hermes"))
    run = ns.deploy(mapped, INPUTS, LABELS, 3, seed=1, time=86400.0, calibrate=["gdc"], progress=False)
    assert found.accuracy == run.accuracy.values.min()


def test_files_and_refusals(tmp_path):
    mapped = ns.map_network(network(), ns.load_profile("mismatch"))
    run = ns.deploy(mapped, INPUTS, LABELS, 3, progress=False)
    found = examine(run, mapped, INPUTS, LABELS, threads=1)
    found.save(tmp_path / "die.nc")
    again = load_examination(tmp_path / "die.nc")
    assert again.sentences() == found.sentences()
    np.testing.assert_array_equal(again.dataset["spikes_0"], found.dataset["spikes_0"])
    for arguments, said in (((run, mapped, INPUTS[:, ::-1], LABELS), "not those of the run"),
                            ((run, mapped, INPUTS, LABELS, 7), "die 7 is not in this run")):
        with pytest.raises(NeurosimError, match=said):
            examine(*arguments)
    with pytest.raises(NeurosimError, match="sample is 150"):
        examine(run, mapped, INPUTS, LABELS, sample=150)
    with pytest.raises(NeurosimError, match="threads is 0"):
        examine(run, mapped, INPUTS, LABELS, threads=0)
    run.save(tmp_path / "run.nc")
    older = ns.load_run(tmp_path / "run.nc")
    manifest = json.loads(older.dataset.attrs["manifest"])
    del manifest["keep_events"]
    older.dataset.attrs["manifest"] = json.dumps(manifest)
    with pytest.raises(NeurosimError, match="another version of neurosim wrote this run: it does not say keep_events"):
        examine(older, mapped, INPUTS, LABELS)
    with pytest.raises(NeurosimError, match="not a neurosim examination: it has no name, kind"):
        load_examination(tmp_path / "run.nc")
