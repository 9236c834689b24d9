"""The field's metrics, equal to what the neurobench package counts on the same snnTorch networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import SNNTorchModel
from snntorch import Leaky, RLeaky
from torch.utils.data import DataLoader, TensorDataset

import neurosim as ns
from neurosim.energy import metrics
from neurosim.network.forward import run

STEPS, SAMPLES = 15, 8


def weights(layer: torch.nn.Module, generator: torch.Generator, kept: float) -> torch.nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator)
                           * (torch.rand(layer.weight.shape, generator=generator) < kept))
        if layer.bias is not None:
            layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
    return layer


def dense(generator: torch.Generator) -> tuple[torch.nn.Module, tuple[int, ...]]:
    return torch.nn.Sequential(
        weights(torch.nn.Linear(12, 20), generator, 0.7), Leaky(beta=0.9, init_hidden=True),
        weights(torch.nn.Linear(20, 5, bias=False), generator, 0.6),
        Leaky(beta=0.8, init_hidden=True, output=True)), (12,)


def recurrent(generator: torch.Generator) -> tuple[torch.nn.Module, tuple[int, ...]]:
    loop = RLeaky(beta=0.9, linear_features=20, init_hidden=True)
    weights(loop.recurrent, generator, 0.5)
    return torch.nn.Sequential(
        weights(torch.nn.Linear(12, 20), generator, 0.7), loop, weights(torch.nn.Linear(20, 5), generator, 1.0),
        Leaky(beta=0.8, init_hidden=True, output=True)), (12,)


def convolutional(generator: torch.Generator) -> tuple[torch.nn.Module, tuple[int, ...]]:
    return torch.nn.Sequential(
        weights(torch.nn.Conv2d(2, 3, 3, padding=1, stride=2), generator, 0.7), Leaky(beta=0.9, init_hidden=True),
        torch.nn.Flatten(), weights(torch.nn.Linear(48, 5), generator, 1.0),
        Leaky(beta=0.8, init_hidden=True, output=True)), (2, 8, 8)


@pytest.mark.parametrize("values", [False, True], ids=["spikes", "values"])
@pytest.mark.parametrize("make", [dense, recurrent, convolutional])
def test_metrics_equal_neurobench(make: object, values: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    net, shape = make(generator)
    inputs = (torch.rand(SAMPLES, STEPS, *shape, generator=generator) < 0.3).float()
    if values:
        inputs *= torch.rand(inputs.shape, generator=generator)
    network = ns.Network.from_torch(net, inputs.transpose(0, 1), dt=1e-3)
    data = DataLoader(TensorDataset(inputs, torch.zeros(SAMPLES, dtype=torch.long)), batch_size=SAMPLES)
    theirs = Benchmark(SNNTorchModel(net), data, [], [],
                       [[ConnectionSparsity], [ActivationSparsity, SynapticOperations]]).run(quiet=True)
    ours = ns.deploy(ns.map_network(network, ns.load_profile("ideal")), inputs.transpose(0, 1).numpy(),
                     np.zeros(SAMPLES, int), dies=1, progress=False).metrics
    assert ours.activation_sparsity == pytest.approx(theirs["ActivationSparsity"], abs=1e-12)
    assert ours.connection_sparsity == pytest.approx(theirs["ConnectionSparsity"], abs=5e-4), "rounded there"
    operations = theirs["SynapticOperations"]
    assert (ours.dense, ours.effective_macs, ours.effective_acs) == (
        operations["Dense"], operations["Effective_MACs"], operations["Effective_ACs"])
    # of neurons, the one counts what snnTorch keeps for each layer, the other beta, threshold, gain and reset value
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in net.buffers())
    assert Footprint()(SNNTorchModel(net)) - buffers == ours.footprint - 2 * 4 * 4


def test_kinds_of_synapse_of_a_circuit_are_one_connection() -> None:
    ampa, gaba = np.array([[5e-9, 0.0, 0.0], [0.0, 2e-9, 0.0]]), np.array([[0.0, 0.0, 1e-9], [0.0, 0.0, 0.0]])
    network = ns.Network.sequential({"out": ns.DPINeuron(weight_ampa=ampa, weight_gaba=gaba)}, (3,), dt=1e-3)
    inputs = np.zeros((10, 2, 3), np.float32)
    inputs[::2, :, 0] = inputs[5, 0, 2] = inputs[7, 1, 1] = 1
    forward = run(network, inputs)
    found = metrics(network, forward.spikes, forward.drives, samples=2, steps=10)
    assert (found.dense, found.connection_sparsity) == (60.0, 0.5)
    # five spikes on one synapse in each sample, and one more in each
    assert (found.effective_acs, found.effective_macs) == (6.0, 0.0)
