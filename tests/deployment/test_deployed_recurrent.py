"""Networks that do not spike, on many dies: recurrent cells and convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurosim as ns
from neurosim.network.forward import run

RNG = np.random.default_rng(3)
CELLS = (ns.RNN, ns.GRU, ns.LSTM)
INPUTS = RNG.normal(size=(6, 30, 5))
PROFILES = ("mismatch", "pcm_hermes", "reram_neurram")


def recurrent(kind: type, readout: str = "last") -> ns.Network:
    rng = np.random.default_rng(4)
    width = 12 * kind.gates
    return ns.Network.sequential({
        "cell.input": ns.Linear(rng.normal(size=(width, 5)), rng.normal(size=width) * 0.1),
        "cell": kind(rng.normal(size=(width, 12)) / 3, rng.normal(size=width) * 0.1),
        "out": ns.Linear(rng.normal(size=(4, 12)), rng.normal(size=4) * 0.1)}, (5,), 1e-3, readout)


def deployed(network: ns.Network, profile: str, inputs: np.ndarray, dies: object = 5, **options: object) -> ns.Run:
    labels = run(network, inputs).prediction
    return ns.deploy(ns.map_network(network, ns.load_profile(profile)), inputs, labels, dies, seed=5,
                     keep_predictions=True, **options)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", CELLS)
def test_every_die_runs_its_own_weights(kind: type, profile: str) -> None:
    network = recurrent(kind)
    whole = deployed(network, profile, INPUTS, threads=2)
    assert whole.ideal_accuracy == 1
    mapped = ns.map_network(network, ns.load_profile(profile))
    dies = ns.Dies(mapped, 5)
    for number in range(3):
        parameters, reads = dies.as_run(number)
        assert "recurrent" in parameters.get("cell", ()) or "cell/recurrent" in reads
        assert ("bias" in parameters.get("cell", ())) == (profile == "mismatch")
        own = run(network, INPUTS, parameters, reads=reads).prediction
        assert np.array_equal(whole.dataset["prediction"].sel(die=number), own)
    assert len(np.unique(whole.dataset["prediction"].values, axis=0)) > 1, "the dies differ"
    alone = deployed(network, profile, INPUTS, [3], threads=3)
    xr.testing.assert_identical(whole.dataset.sel(die=[3]).drop_attrs(), alone.dataset.drop_attrs())


@pytest.mark.parametrize("kind", CELLS)
def test_events_of_a_recurrent_network(kind: type) -> None:
    """Each sample drives each input row at each step, and each row of the state from the second step on."""
    run_ = deployed(recurrent(kind), "reram_neurram", INPUTS)
    rows = run_.dataset["events"].sel(event="rows")
    assert (rows.sel(place="cell.input/weight") == 6 * 30 * 5).all()
    assert (rows.sel(place="cell/recurrent") == 5 * 30 * 12).all()
    assert (rows.sel(place="out/weight") == 6 * 30 * 12).all()
    synapses = run_.dataset["events"].sel(event="matches", place="cell/recurrent")
    assert (synapses == 5 * 30 * 12 * 12 * kind.gates).all()
    assert run_.spikes.shape == (5, 0)


@pytest.mark.parametrize("readout", ["sum", "max", "last"])
def test_readouts(readout: str) -> None:
    network = recurrent(ns.GRU, readout)
    output = run(network, INPUTS, ns.Dies(ns.map_network(network, ns.load_profile("mismatch")), 5).parameters(2)).output
    wanted = {"sum": output.sum(0), "max": output.max(0), "last": output[-1]}[readout].argmax(1)
    assert np.array_equal(deployed(network, "mismatch", INPUTS).dataset["prediction"].sel(die=2), wanted)


def test_drift_of_a_recurrent_network() -> None:
    network = recurrent(ns.LSTM)
    runs = [deployed(network, "pcm_hermes", INPUTS, 20, time=time) for time in (None, 1e9)]
    assert runs[1].accuracy.mean() < runs[0].accuracy.mean()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_convolutional_network_with_norms(profile: str, tmp_path: object) -> None:
    rng = np.random.default_rng(6)
    norm = ns.BatchNorm(rng.normal(size=4), rng.random(4) + 0.5, rng.normal(size=4), rng.normal(size=4))
    network = ns.Network.sequential({
        "conv": ns.Conv2d(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4)), "norm": norm, "relu": ns.ReLU(),
        "pool": ns.MaxPool2d(2), "flat": ns.Flatten(), "fc": ns.Linear(rng.normal(size=(3, 36)))}, (1, 8, 8), 1.0,
        readout="last")
    images = rng.normal(size=(1, 25, 1, 8, 8))
    mapped = ns.map_network(network, ns.load_profile(profile))
    assert not [array for array in mapped.arrays if array.layer == "norm"]
    run_ = deployed(network, profile, images)
    parameters, reads = ns.Dies(mapped, 5).as_run(4)
    own = run(network, images, parameters, reads=reads).prediction
    assert np.array_equal(run_.dataset["prediction"].sel(die=4), own)
    rows = run_.dataset["events"].sel(event="rows").sel(place="conv/weight")
    # once for each position of the kernel; only tiles have rows
    expected = 25 * 36 * 9 if ns.load_profile(profile).crossbar else 0
    assert (rows == expected).all()
    page = ns.write_report([run_], tmp_path / "report.html").read_text()
    assert "<h2>Activity</h2>" in page
    assert "How often neurons fire" not in page
