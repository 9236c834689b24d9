"""Circuits on many dies: the same dies anywhere; without mismatch, what the configuration says."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim.mapping import chip_fields
from neurosim.network.forward import run
from neurosim.profile import Variation

SE2 = ns.load_profile("dynap_se2")
QUIET = SE2.with_values({f"circuit.mismatch.{name}": {"device": 0.0}
                         for name in type(SE2.circuit.mismatch).model_fields
                         if isinstance(getattr(SE2.circuit.mismatch, name), Variation)})


def network() -> ns.Network:
    """Twelve inputs, a recurrent population, four classes."""
    rng = np.random.default_rng(4)
    first, back, last = (rng.normal(0, scale, shape) for scale, shape in
                         ((15e-9, (16, 12)), (4e-9, (16, 16)), (12e-9, (4, 16))))
    parts = {sign: lambda w, sign=sign: np.maximum(sign * w, 0) for sign in (1, -1)}
    fields = chip_fields(SE2)
    return ns.Network.sequential({
        "hidden": ns.DPINeuron(**fields, weight_ampa=parts[1](first), weight_gaba=parts[-1](first),
                               recurrent_ampa=parts[1](back), recurrent_gaba=parts[-1](back)),
        "out": ns.DPINeuron(**fields, weight_ampa=parts[1](last), weight_gaba=parts[-1](last))}, (12,), dt=1e-3)


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    """Spikes, and the class that the network itself gives."""
    inputs = (np.random.default_rng(0).random((40, 30, 12)) < 0.25).astype(np.float32)
    return inputs, run(network(), inputs).prediction


def test_a_die_is_the_same_alone_in_any_chunk_and_on_any_threads(samples):
    mapped = ns.map_network(network(), SE2)
    many = ns.deploy(mapped, *samples, dies=6, seed=3, keep_predictions=True, threads=2, chunk=2)
    alone = ns.deploy(mapped, *samples, dies=[4], seed=3, keep_predictions=True, threads=1)
    np.testing.assert_array_equal(many.dataset["prediction"][4], alone.dataset["prediction"][0])
    np.testing.assert_array_equal(many.spikes[4], alone.spikes[0])
    assert many.accuracy.std() > 0, "dies differ"
    assert many.accuracy.mean() > 0.3
    assert many.ideal_accuracy == 1.0
    names = [f"{name}_{kind}" for name in ("hidden/weight", "hidden/recurrent", "out/weight")
             for kind in ("ampa", "gaba")]
    assert list(many.dataset["place"].values) == [*names, "hidden", "out"]


def test_a_die_without_mismatch_runs_what_was_written(samples):
    mapped = ns.map_network(network(), QUIET)
    found = ns.deploy(mapped, *samples, dies=2, keep_predictions=True)
    written = run(mapped.configuration.to_network(QUIET), samples[0])
    for die in (0, 1):
        np.testing.assert_array_equal(found.dataset["prediction"][die], written.prediction)
    assert found.spikes.values[0].tolist() == [written.spikes[name].sum() for name in ("hidden", "out")]


def test_events_are_counted_by_word_and_core(samples):
    """Words that match an input's tag; an inner spike is broadcast in the core of its targets, here another one."""
    mapped = ns.map_network(network(), QUIET)
    found = ns.deploy(mapped, *samples, dies=1)
    events = found.dataset["events"].isel(die=0)
    conf = mapped.configuration
    listening = np.array([np.count_nonzero((conf.words.tag == tag) & (conf.words.kind == 0) & (conf.words.core == core))
                          for tag, core in zip(conf.input_tags, [conf.places["hidden"][0, 0]] * 12, strict=True)])
    expected = samples[0].sum(axis=(0, 1)) @ listening
    assert events.sel(place="hidden/weight_ampa", event="matches") == expected
    spikes = run(conf.to_network(QUIET), samples[0]).spikes["hidden"]
    reached = np.count_nonzero(mapped.arrays[4].nominal + mapped.arrays[5].nominal, axis=0) > 0
    for event in ("encodes", "broadcasts", "hops"):
        assert events.sel(place="out/weight_ampa", event=event) == spikes @ reached
        assert events.sel(place="out/weight_gaba", event=event) == 0, "one event for all kinds of synapse"
    assert events.sel(place="hidden/recurrent_ampa", event="hops") == 0
    assert found.energy.sum() > 0


def test_smaller_transistors_do_worse(samples):
    accuracy = [ns.deploy(ns.map_network(network(), SE2.with_values({"circuit.mismatch.area": area})), *samples,
                          dies=12).accuracy.mean() for area in (16.0, 1.0, 0.1)]
    assert accuracy[0] > accuracy[1] > accuracy[2]
