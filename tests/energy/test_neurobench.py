"""Our networks and dies inside NeuroBench: its classes, its metrics, our numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ActivationSparsityByLayer,
    ClassificationAccuracy,
    SynapticOperations,
)
from torch.utils.data import DataLoader, TensorDataset

import neurosim as ns
from neurosim.deployment import find_ranges
from neurosim.errors import NeurosimError
from neurosim.network.forward import run

STEPS, SAMPLES = 12, 20
METRICS = [[Footprint, ConnectionSparsity, ParameterCount],
           [ActivationSparsity, ActivationSparsityByLayer, SynapticOperations, ClassificationAccuracy]]


def sparse(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return rng.normal(0, 2 / np.sqrt(shape[-1]), shape) * (rng.random(shape) < 0.7)


def networks() -> Iterator[tuple[str, ns.Network, bool]]:
    """A name, a network, and whether its inputs are numbers."""
    yield "spikes", ns.Network.sequential(
        {"a.in": ns.Linear(sparse(16, 9)), "a.h": ns.LIF(0.9, recurrent=sparse(16, 16), bias=np.full(16, 0.1)),
         "out": ns.Linear(sparse(4, 16), np.arange(4.0)), "last": ns.LIF(0.8)}, (9,), dt=1e-3), False
    yield "images", ns.Network.sequential(
        {"conv": ns.Conv2d(sparse(3, 2, 3, 3), padding=((0, 1), (2, 0)), stride=(2, 1)), "h": ns.LIF(0.9),
         "pool": ns.AvgPool2d((1, 2)), "flat": ns.Flatten(), "out": ns.Linear(sparse(4, 27)),
         "read": ns.LeakyIntegrator(0.9)}, (2, 7, 7), dt=1e-3), True
    yield "cell", ns.Network.sequential(
        {"in": ns.Linear(sparse(24, 9)), "cell": ns.GRU(sparse(24, 8)), "out": ns.Linear(sparse(4, 8))}, (9,), dt=1e-3,
        readout="last"), True


def data(network: ns.Network, numbers: bool) -> np.ndarray:
    rng = np.random.default_rng(5)
    inputs = (rng.random((STEPS, SAMPLES, *network.input_shape)) < 0.4).astype(np.float32)
    return inputs * rng.random(inputs.shape, np.float32) if numbers else inputs


def benchmark(model: object, inputs: np.ndarray, labels: np.ndarray, batch: int = SAMPLES) -> dict[str, object]:
    """By their own class; batch first."""
    loader = DataLoader(TensorDataset(torch.from_numpy(inputs).transpose(0, 1), torch.from_numpy(labels)), batch)
    return Benchmark(model, loader, [], [], METRICS).run(quiet=True)


def same(theirs: dict[str, object], ours: object) -> None:
    assert theirs["Footprint"] == ours.footprint == 4 * theirs["ParameterCount"]
    assert theirs["ConnectionSparsity"] == pytest.approx(ours.connection_sparsity, abs=5e-5), "rounded there"
    assert theirs["ActivationSparsity"] == pytest.approx(ours.activation_sparsity, abs=1e-12)
    operations = theirs["SynapticOperations"]
    assert operations["Dense"] == ours.dense
    assert operations["Effective_MACs"] == ours.effective_macs
    assert operations["Effective_ACs"] == ours.effective_acs


@pytest.mark.parametrize("name", [name for name, *_ in networks()])
def test_a_network_in_their_benchmark(name: str) -> None:
    [(network, numbers)] = [found for other, *found in networks() if other == name]
    inputs = data(network, numbers)
    labels = run(network, inputs).prediction
    labels[::5] = (labels[::5] + 1) % 4
    state = torch.get_rng_state()
    model = ns.as_neurobench_model(network)
    assert torch.equal(torch.get_rng_state(), state)
    theirs = benchmark(model, inputs, labels, 7)
    result = ns.deploy(ns.map_network(network, ns.load_profile("ideal")), inputs, labels, dies=1, progress=False)
    same(theirs, result.metrics)
    assert theirs["ClassificationAccuracy"] == pytest.approx(0.8)
    assert set(theirs["ActivationSparsityByLayer"]) == {
        node.name.replace(".", "/") for node in network.nodes if isinstance(node.layer, ns.LIF)}


def test_a_die_in_their_benchmark() -> None:
    """Its accuracy and its activity, with converters and read noise: what `deploy` says of it."""
    _, network, _ = next(networks())
    inputs = data(network, False)
    labels = run(network, inputs).prediction
    mapped = ns.map_network(network, ns.load_profile("pcm_hermes").with_values({"adc.bits": 5}))
    result = ns.deploy(mapped, inputs, labels, dies=[3, 8], seed=2, time=1e6, progress=False)
    dies = ns.Dies(mapped, 2, time=1e6, ranges=find_ranges(mapped, inputs))
    found = [benchmark(ns.as_neurobench_model(dies, die), inputs, labels) for die in (3, 8)]
    for theirs, die in zip(found, (3, 8), strict=True):
        assert theirs["ClassificationAccuracy"] == pytest.approx(float(result.accuracy.sel(die=die)))
        spikes = float(result.spikes.sel(die=die).sum())
        assert theirs["ActivationSparsity"] == pytest.approx(1 - spikes / (STEPS * SAMPLES * 20))
        sops = float(result.dataset["events"].sel(die=die, event="matches").sum()) / SAMPLES
        assert theirs["SynapticOperations"]["Effective_ACs"] == pytest.approx(sops, rel=1e-12)
    assert found[0]["ActivationSparsity"] != found[1]["ActivationSparsity"], "each die has its own"


def test_what_has_no_place_there(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = ns.Network.sequential({"c": ns.DPINeuron(weight_ampa=[[1e-9, 0]])}, (2,), dt=1e-4)
    with pytest.raises(NeurosimError, match=r"layer c: a circuit has no synaptic operations"):
        ns.as_neurobench_model(circuit)
    _, network, _ = next(networks())
    monkeypatch.setitem(sys.modules, "neurobench.models", None)
    with pytest.raises(NeurosimError, match=r"neurobench cannot be imported.*pip install neurobench"):
        ns.as_neurobench_model(network)
