"""Layers to train: the engine gives their outputs, two views of a network lose nothing, fusing changes nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import snntorch
import torch
from torch import nn

import neurosim as ns
from neurosim.errors import NeurosimError
from neurosim.network import GRU, BatchNorm, Conv2d, Linear, Network
from neurosim.network import LIF as LIFLayer
from neurosim.network.forward import run
from neurosim.training import LIF, AdaptiveLIF, CubaLIF, LeakyIntegrator, SpikingNetwork, Sum, Surrogate, train
from neurosim.training.export import as_network

STEPS, BATCH, INPUTS, UNITS = 40, 9, 7, 24


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, *shape: int, low: float = -1.0, high: float = 1.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def population(kind: str, recurrent: bool, reset: str = "subtract", **options: object) -> nn.Module:
    """Every parameter different for every neuron."""
    rows = {"recurrent": draw(1, UNITS, UNITS, low=-0.4, high=0.4) if recurrent else None, "dtype": torch.float64}
    beta, threshold = draw(2, UNITS, low=0.6, high=0.95), draw(3, UNITS, low=0.6, high=1.2)
    bias, gain = draw(4, UNITS, low=-0.05, high=0.1), draw(5, UNITS, low=0.7, high=1.2)
    if kind == "adaptive":
        return AdaptiveLIF(UNITS, beta=beta, threshold=threshold, beta_adaptation=draw(6, UNITS, low=0.7, high=0.99),
                           adaptation=draw(7, UNITS, low=0.2, high=1.0), gain=gain, bias=bias, refractory=3, **rows,
                           **options)
    common = {"beta": beta, "threshold": threshold, "gain": gain, "bias": bias, "reset": reset,
              "v_reset": draw(8, UNITS, low=-0.3, high=0.1), **rows, **options}
    if kind == "cuba":
        return CubaLIF(UNITS, alpha=draw(9, UNITS, low=0.3, high=0.8), gain_syn=0.5,
                       leak=draw(10, UNITS, low=0, high=0.05), **common)
    return LIF(UNITS, **common)


def linear(inputs: int, outputs: int, seed: int, size: float = 1.0) -> nn.Linear:
    module = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        module.weight.copy_(draw(seed, outputs, inputs, low=-0.6, high=size))
        module.bias.copy_(draw(seed + 1, outputs, low=-0.1, high=0.1))
    return module


def three(kind: str = "lif", recurrent: bool = True, reset: str = "subtract", **options: object) -> SpikingNetwork:
    return SpikingNetwork({"in": linear(INPUTS, UNITS, 20), "hidden": population(kind, recurrent, reset),
                           "out": linear(UNITS, 3, 30), "v": LeakyIntegrator(3, beta=0.9, gain=0.1, bias=0.02,
                                                                            learn=("beta",), dtype=torch.float64)},
                          (INPUTS,), dt=1e-3, **options)


@pytest.mark.parametrize("spikes_in", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(("kind", "reset", "delay"), [
    *product(("lif", "cuba"), ("subtract", "zero", "hold", "none"), (True, False)), ("adaptive", "subtract", True)])
def test_the_engine_gives_the_outputs_of_the_module(kind: str, reset: str, delay: bool, recurrent: bool,
                                                    spikes_in: bool) -> None:
    net = three(kind, recurrent, reset, returns_spikes=True)
    if not delay:
        source = net.to_network()
        at_once = replace(source.nodes[1], layer=replace(source.nodes[1].layer, reset_delay=False))
        net = SpikingNetwork.from_network(replace(source, nodes=(source.nodes[0], at_once, *source.nodes[2:])),
                                          returns_spikes=True)
        assert net.to_network().nodes[1].layer.reset_delay is False
    inputs = draw(40, STEPS, BATCH, INPUTS)
    inputs = (inputs > 0).double() if spikes_in else inputs
    output, spikes = net(inputs)
    found = run(net.to_network(), inputs.numpy(), dtype=np.float64, keep=("hidden",))
    assert 0.02 < spikes.mean() < 0.9
    assert np.array_equal(found.kept["hidden"], spikes.numpy(force=True))
    np.testing.assert_allclose(found.output, output.numpy(force=True), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.scores, output.sum(0).numpy(force=True), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["lif", "cuba", "adaptive"])
def test_two_views_lose_nothing(kind: str) -> None:
    net = three(kind, readout="last")
    network = net.to_network()
    again = SpikingNetwork.from_network(network)
    assert again.to_network().hash == network.hash
    assert again.to_network().provenance == network.provenance
    assert again["hidden"].learns == net["hidden"].learns == ("recurrent",)
    assert again["v"].learns == ("beta",)
    assert (again["hidden"].surrogate, again["hidden"].attached) == (net["hidden"].surrogate, net["hidden"].attached)
    assert {k for k, v in again.named_parameters()} == {k for k, v in net.named_parameters()}
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert torch.equal(again(draw(3, 8, 2, INPUTS)), net(draw(3, 8, 2, INPUTS)))


def test_a_saved_network_is_trained_on(tmp_path) -> None:
    net = three("cuba")
    net.to_network().save(tmp_path / "model.h5")
    again = SpikingNetwork.from_network(Network.load(tmp_path / "model.h5"))
    assert again.to_network().hash == net.to_network().hash
    assert again["hidden"].surrogate == net["hidden"].surrogate


def test_options_of_from_network() -> None:
    layers = {"fc": Linear(np.eye(3)), "lif": LIFLayer(0.9, recurrent=np.eye(3) / 2)}
    network = Network.sequential(layers, (3,), dt=1e-3)
    assert SpikingNetwork.from_network(network)["lif"].beta.dtype == torch.float64
    net = SpikingNetwork.from_network(network, surrogate=Surrogate.fast_sigmoid(), learn=("beta", "threshold", "leak"),
                                      dtype=torch.float32)
    assert net["lif"].surrogate.kind == "fast_sigmoid"
    assert net["lif"].learns == ("beta", "threshold")
    net(torch.rand(6, 2, 3)).sum().backward()
    assert net["lif"].beta.grad.shape == ()
    assert net["lif"].beta.grad != 0


def test_a_graph_with_convolutions_and_a_residual() -> None:
    shape = (4, 6, 6)
    conv = nn.utils.skip_init(nn.Conv2d, 2, 4, 3, padding=1, dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(draw(50, 4, 2, 3, 3, low=-0.4, high=0.7))
        conv.bias.copy_(draw(51, 4, low=-0.1, high=0.1))
    net = SpikingNetwork({
        "conv": conv, "lif": LIF(shape, beta=draw(52, *shape, low=0.5, high=0.9), dtype=torch.float64),
        "relu": nn.ReLU(),
        "pool": nn.AvgPool2d(2), "flat": nn.Flatten(), "a": linear(36, 36, 60, 0.5), "b": nn.Tanh(),
        "sum": Sum(), "c": linear(36, UNITS, 62), "cells": population("lif", False), "out.0": linear(UNITS, 2, 64)},
        (2, 6, 6), dt=1e-3, sources={"sum": ("flat", "b")}, returns_spikes=True)
    inputs = draw(53, 12, 3, 2, 6, 6)
    output, spikes = net(inputs)
    assert spikes.shape == (12, 3, 4 * 36 + UNITS)
    found = run(net.to_network(), inputs.numpy(), dtype=np.float64, keep=("lif", "cells"))
    assert np.array_equal(found.kept["lif"].reshape(12, 3, -1), spikes[..., :144].numpy(force=True))
    assert np.array_equal(found.kept["cells"], spikes[..., 144:].numpy(force=True))
    np.testing.assert_allclose(found.output, output.numpy(force=True), rtol=1e-11)
    again = SpikingNetwork.from_network(net.to_network(), returns_spikes=True)
    assert again.to_network().hash == net.to_network().hash
    assert torch.equal(again(inputs)[0], output)


@pytest.mark.parametrize("recurrent", [False, True])
def test_fusing_changes_nothing(recurrent: bool) -> None:
    net = three("adaptive", recurrent)
    assert net._groups == [("in", "hidden", "out"), ("v",)]
    inputs = draw(40, STEPS, BATCH, INPUTS)
    parameters = list(net.parameters())
    mask = 2.0 * (draw(41, BATCH, UNITS) > -0.3)
    for m in (None, mask):
        fused = net(inputs, m)
        expected = torch.autograd.grad(fused.square().sum(), parameters)
        calls = []
        handle = net["in"].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        apart = net(inputs, m)
        handle.remove()
        assert calls == [1]
        torch.testing.assert_close(apart, fused, rtol=1e-12, atol=1e-12)
        for a, b in zip(torch.autograd.grad(apart.square().sum(), parameters), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_state_dict_carries_all_of_it() -> None:
    net, other = three("cuba"), three("cuba")
    with torch.no_grad():
        for value in (*other.parameters(), *other.buffers()):
            value.mul_(0.5)
    assert not torch.equal(other(draw(1, 5, 2, INPUTS)), net(draw(1, 5, 2, INPUTS)))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(draw(1, 5, 2, INPUTS)), net(draw(1, 5, 2, INPUTS)))
    assert set(LIF(3, recurrent=True).state_dict()) == {"beta", "threshold", "gain", "v_reset", "recurrent"}


def test_a_run_goes_on_from_a_state() -> None:
    cells, current = population("adaptive", True), draw(5, 20, 3, UNITS)
    whole, _, end = cells.run(current)
    first, _, state = cells.run(current[:7])
    second, _, last = cells.run(current[7:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(a, b) for a, b in zip(last, end, strict=True) if a is not None)
    masked, _, state = cells.run(current, mask=torch.zeros(UNITS, dtype=torch.float64))
    assert not masked.any()
    assert state.resting.isfinite().all()


def test_leaky_integrator_and_its_gradient() -> None:
    cells = LeakyIntegrator((2, 3), beta=draw(1, 2, 3, low=0.5, high=0.9), gain=draw(2, 2, 3), bias=draw(3, 2, 3),
                            learn=("beta", "gain", "bias"), dtype=torch.float64)
    current = draw(4, 6, 2, 2, 3)
    v, expected = torch.zeros(2, 2, 3, dtype=torch.float64), []
    for now in current:
        v = cells.beta * v + cells.gain * (now + cells.bias)
        expected.append(v)
    torch.testing.assert_close(cells(current), torch.stack(expected), rtol=1e-12, atol=1e-12)

    def of(x, *values):
        return torch.func.functional_call(cells, dict(zip(("beta", "gain", "bias"), values, strict=True)), (x,))

    assert torch.autograd.gradcheck(of, (current.requires_grad_(), cells.beta, cells.gain, cells.bias))


@pytest.mark.parametrize(("reset", "delay"), [("subtract", True), ("subtract", False), ("zero", False)])
def test_a_snntorch_network_becomes_ours_with_its_gradients(reset: str, delay: bool) -> None:
    """With delay no gradient flows through the spike that resets; at once it does, in snnTorch."""
    how = {"spike_grad": snntorch.surrogate.fast_sigmoid(10), "reset_mechanism": reset, "reset_delay": delay}

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, 3)
            self.lif1 = snntorch.Leaky(beta=0.8, learn_beta=True, **how)
            self.lif2 = snntorch.Leaky(beta=0.9, **how)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            one, two, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for now in x.unbind(0):
                spikes, one = self.lif1(self.fc1(now), one)
                spikes, two = self.lif2(self.fc2(spikes), two)
                out.append(spikes)
            return torch.stack(out)

    theirs = Net()
    with torch.no_grad():
        for layer, seed in ((theirs.fc1, 70), (theirs.fc2, 72)):
            layer.weight.copy_(draw(seed, *layer.weight.shape, low=-0.5, high=0.6))
            layer.bias.copy_(draw(seed + 1, *layer.bias.shape, low=-0.1, high=0.2))
    inputs = (draw(42, STEPS, BATCH, INPUTS) > 0.2).float()
    ours = SpikingNetwork.from_network(Network.from_torch(theirs, inputs), surrogate=Surrogate.fast_sigmoid(10),
                                       attached=not delay, learn=("beta",), dtype=torch.float32)
    assert [type(ours[name]).__name__ for name in ("fc1", "lif1", "fc2", "lif2")] == ["Linear", "LIF", "Linear", "LIF"]
    a, b = ours(inputs), theirs(inputs)
    assert 0.02 < b.mean() < 0.5
    assert torch.equal(a, b)
    weights = draw(43, *b.shape).float()
    mine = torch.autograd.grad((a * weights).sum(), [ours["fc1"].weight, ours["fc2"].bias, ours["lif1"].beta])
    other = torch.autograd.grad((b * weights).sum(), [theirs.fc1.weight, theirs.fc2.bias, theirs.lif1.beta])
    for x, y in zip(mine, other, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4 * y.abs().max().item())


def test_a_trained_network_on_ideal_dies() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    inputs = (rng.normal(0, 0.2, (15, 60, INPUTS)) + 0.8 * np.eye(3, INPUTS)[labels]).astype(np.float32)
    cells = LIF(UNITS, recurrent=True, learn=("recurrent", "beta"))
    net = SpikingNetwork({"in": nn.Linear(INPUTS, UNITS), "cells": cells, "out": nn.Linear(UNITS, 3)}, (INPUTS,),
                         dt=1e-3, returns_spikes=True)
    with torch.no_grad():
        for layer, seed in ((net["in"], 1), (net["out"], 2)):
            layer.weight.copy_(draw(seed, *layer.weight.shape) / 2)
            layer.bias.zero_()
    before = net["cells"].beta.item()
    train(net, inputs, labels, epochs=6, learning_rate=1e-2, batch_size=20, rate_penalty=1e-3)
    assert net["cells"].beta.item() != before
    with torch.no_grad():
        scores = net(torch.tensor(inputs))[0].sum(0)
    network = as_network(net, inputs, 1e-3)
    done = ns.deploy(ns.map_network(network, ns.load_profile("ideal")), inputs, labels, dies=2, seed=1, progress=False)
    accuracy = (scores.argmax(1).numpy() == labels).mean()
    assert accuracy > 0.8
    assert (done.accuracy == accuracy).all()
    np.testing.assert_allclose(run(network, inputs).scores, scores.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: LIF(3, learn=("bias",)), "cannot learn"),
    (lambda: LIF(3, beta=[0.5, 0.6]), r"beta has shape \[2\]"),
    (lambda: LIF(3, recurrent=np.eye(2)), r"recurrent has shape \[2, 2\]"),
    (lambda: LIF(3, reset="soft"), "reset is 'soft'"),
    (lambda: LIF(3, reset="hold", attached=True), "has no gradient"),
    (lambda: LIF(3)(torch.rand(4, 3)), r"shape \[4, 3\]"),
    (lambda: LIF(3)(torch.rand(4, 1, 3, dtype=torch.float64)), "one precision"),
    (lambda: Surrogate("sigmoid", 1.0), "the kind is 'sigmoid'"),
    (lambda: Surrogate.fast_sigmoid(0), "slope is 0"),
    (lambda: SpikingNetwork({"rnn": nn.GRU(2, 2)}, (2,), dt=1e-3), "has no counterpart"),
    (lambda: SpikingNetwork({"fc": nn.Linear(2, 3), "lif": LIF(4, beta=[0.5] * 4)}, (2,), dt=1e-3), "lif"),
    (lambda: SpikingNetwork({"fc": nn.Linear(2, 3)}, (2,), dt=1e-3)(torch.rand(5, 2)), "time comes first"),
    (lambda: LIF(3, reset="hold", reset_delay=False, v_reset=1.1), "fires for ever"),
    (lambda: SpikingNetwork.from_network(Network.sequential(
        {"fc": Linear(np.ones((6, 2))), "cell": GRU(np.ones((6, 2)))}, (2,), dt=1e-3)),
     "GRU has no module .*the torch module"),
    (lambda: SpikingNetwork.from_network(Network.sequential([BatchNorm(*np.ones((4, 2)))], (2,), dt=1e-3)),
     r"BatchNorm has no module to train .*Network\.folded"),
    (lambda: SpikingNetwork.from_network(Network.sequential(
        [Conv2d(np.ones((1, 1, 2, 2)), padding=((0, 1), (0, 1)))], (1, 4, 4), dt=1e-3)), "padding='same' with an even"),
])
def test_refusals(make, words: str) -> None:
    with pytest.raises(NeurosimError, match=words):
        make()
