"""Every neuron of snnTorch that is taken: the network built from it gives the module's own spikes.

The proof inside `from_torch` is not trusted here: the module itself runs, in float64 and in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import snntorch
import torch
from snntorch import functional
from torch import nn
from torch_nets import SPIKES, base, draw, take

import neurosim as ns
from neurosim.network import forward

STEPS, BATCH, INPUTS, HIDDEN, OUTPUTS = 100, 3, 24, 40, 32
STATES = {"Leaky": 1, "Synaptic": 2, "RLeaky": 2, "RSynaptic": 3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The matrices are small: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def numbers(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


def fill(module: nn.Module, seed: int, size: float = 0.5) -> nn.Module:
    """Weights from a seed of one's own, all of size `size` / sqrt(inputs)."""
    for i, (name, value) in enumerate(module.named_parameters()):
        if name.endswith(("weight", "bias", "V")):
            fan = value.shape[-1] if value.ndim > 1 else 4
            value.data = (numbers(1000 * seed + i, *value.shape) * 2 - 1) * size * (12 / fan) ** 0.5
    return module


def neuron(kind: str, size: int, seed: int, reset: str, delay: bool, per_neuron: bool = False, one_to_one: bool = False,
           **more: object) -> nn.Module:
    shape = (size,) if per_neuron else ()
    options: dict[str, object] = {
        "beta": numbers(seed, *shape, low=0.7, high=0.97), "threshold": numbers(seed + 1, *shape, low=0.5, high=1.2),
        "reset_mechanism": reset, "reset_delay": delay, **more}
    if "Synaptic" in kind:
        options["alpha"] = numbers(seed + 2, *shape, low=0.3, high=0.7)
    if kind.startswith("R"):
        options |= {"all_to_all": False, "V": numbers(seed + 3, size) - 0.5} if one_to_one else {
            "linear_features": size}
    return getattr(snntorch, kind)(**options)


class Loop(nn.Module):
    """Two layers, the loop over time and the states in the forward; gives the spikes of both."""

    def __init__(self, kind: str, reset: str, delay: bool, **more: object) -> None:
        super().__init__()
        self.count = STATES[kind]
        self.fc1, self.lif1 = nn.Linear(INPUTS, HIDDEN), neuron(kind, HIDDEN, 10, reset, delay, **more)
        self.fc2, self.lif2 = nn.Linear(HIDDEN, OUTPUTS), neuron(kind, OUTPUTS, 20, reset, delay, **more)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = [torch.zeros(x.shape[1], HIDDEN, dtype=x.dtype) for _ in range(self.count)]
        second = [torch.zeros(x.shape[1], OUTPUTS, dtype=x.dtype) for _ in range(self.count)]
        hidden, out = [], []
        for step in range(x.shape[0]):
            spikes, *first = self._given(self.lif1(self.fc1(x[step]), *first))
            hidden.append(spikes)
            spikes, *second = self._given(self.lif2(self.fc2(spikes), *second))
            out.append(spikes)
        return torch.stack(hidden), torch.stack(out)

    def _given(self, result: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return result if len(result) > self.count else (result[0], *result)  # spikes are a state of recurrent neurons


def own_spikes(module: nn.Module, sample: torch.Tensor, dtype: torch.dtype) -> dict[str, np.ndarray]:
    twin = copy.deepcopy(module).to(dtype)
    for part in twin.modules():
        if hasattr(part, "spike_grad"):
            part.spike_grad = lambda shifted: (shifted > 0).to(shifted.dtype)
    with torch.no_grad():
        hidden, out = twin(sample.to(dtype))
    return {"lif1": hidden.numpy(), "lif2": out.numpy()}


def check(module: nn.Module, active: tuple[float, float] = (0.01, 0.9)) -> ns.Network:
    sample = (numbers(7, STEPS, BATCH, INPUTS) < 0.3).float()
    network = ns.Network.from_torch(module, sample)
    assert [node.name for node in network.nodes] == ["fc1", "lif1", "fc2", "lif2"]
    for dtype, kind in ((torch.float64, np.float64), (torch.float32, np.float32)):
        wanted = own_spikes(module, sample, dtype)
        found = forward.run(network, sample.numpy(), dtype=kind, keep=("lif1", "lif2")).kept
        for name, spikes in wanted.items():
            same = (found[name] == spikes).mean()
            assert active[0] < spikes.mean() < active[1], f"{name} is not tested with {spikes.mean():.3f} spikes a step"
            assert same == 1 if kind is np.float64 else same >= 0.999, f"{name}: {same} equal in {kind.__name__}"
    return network


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic"])
def test_every_neuron_and_reset(kind: str, reset: str, delay: bool) -> None:
    module = fill(Loop(kind, reset, delay), seed=3, size=0.35 if "Synaptic" in kind else 0.6)
    layer = check(module)["lif1"]
    assert layer.reset == ("hold" if reset == "zero" and kind != "Leaky" else reset)
    assert layer.reset_delay is (delay or kind == "RSynaptic")
    assert (layer.recurrent is not None) == kind.startswith("R")


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic"])
def test_one_parameter_for_each_neuron(kind: str, reset: str) -> None:
    size = 0.35 if "Synaptic" in kind else 0.6
    network = check(fill(Loop(kind, reset, True, per_neuron=True, learn_beta=True, learn_threshold=True), 5, size))
    assert network["lif1"].beta.shape == network["lif1"].threshold.shape == (HIDDEN,)


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("learn", [True, False])
def test_one_to_one_recurrence_is_a_diagonal(kind: str, learn: bool) -> None:
    module = Loop(kind, "subtract", True, one_to_one=True, learn_recurrent=learn)
    network = check(fill(module, 8, 0.35 if kind == "RSynaptic" else 0.6))
    assert np.array_equal(network["lif1"].recurrent, np.diag(module.lif1.recurrent.V.detach().numpy()))


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky", "RSynaptic"])
def test_decays_are_read_through_their_clamp(kind: str) -> None:
    module = fill(Loop(kind, "subtract", True, learn_beta=True), 9, 0.25)
    module.lif1.beta.data, module.lif2.beta.data = torch.tensor(1.3), torch.tensor(-0.2)
    if "Synaptic" in kind:
        module.lif1.alpha = torch.tensor(-0.4)
    network = check(module, active=(0.0005, 0.9))
    assert network["lif1"].beta == 1
    assert network["lif2"].beta == 0


@pytest.mark.parametrize("bias", [True, False])
def test_the_bias_of_a_recurrence_acts_from_the_first_step_on(bias: bool) -> None:
    module = fill(Loop("RLeaky", "subtract", True), 11, 0.6)
    if bias:
        module.lif1.recurrent.bias.data[:] = 1.5
    else:
        module.lif1.recurrent = fill(nn.Linear(HIDDEN, HIDDEN, bias=False), 12, 0.6)
    network = check(module)
    silent = forward.run(network, np.zeros((2, 1, INPUTS)), keep=("lif1",)).kept["lif1"]
    rest = module.fc1.bias.detach().numpy() + (1.5 if bias else 0)
    assert np.array_equal(silent[0, 0] != 0, rest > network["lif1"].threshold)


def test_inputs_that_are_not_spikes() -> None:
    module = fill(Loop("RLeaky", "zero", True), 13, 0.6)
    sample = numbers(14, STEPS, BATCH, INPUTS, low=-1, high=1)
    network = ns.Network.from_torch(module, sample)
    found = forward.run(network, sample.numpy(), dtype=np.float64, keep=("lif1", "lif2")).kept
    for name, spikes in own_spikes(module, sample, torch.float64).items():
        assert spikes.any()
        assert np.array_equal(found[name], spikes)


def test_a_parameter_of_the_wrong_shape_is_named() -> None:
    module = Loop("Leaky", "subtract", True)
    module.lif1.threshold = numbers(1, BATCH, 1) + 0.5  # one for each sample
    with pytest.raises(ns.NeurosimError, match=r"lif1: threshold has shape \[3, 1\] \(allowed: one value, or \[40\]"):
        ns.Network.from_torch(module, numbers(2, 5, BATCH, INPUTS))


def test_the_network_predicts_what_the_module_does() -> None:
    module = base(give=lambda self, spikes, membranes: spikes)
    network = take(module)
    sample = (draw(40, 20, 50, 10) < 0.5).float()
    with torch.no_grad():
        spikes = module(sample)
    scores = forward.run(network, sample.numpy()).scores
    assert (scores == spikes.sum(0).numpy()).mean() > 0.999
    targets = torch.as_tensor(scores.argmax(1))
    assert functional.accuracy_rate(spikes, targets) > 0.98


def test_a_double_net_on_a_double_sample() -> None:
    module = base()
    module.lif1.spike_grad = module.lif2.spike_grad = lambda shifted: (shifted > 0).to(shifted.dtype)
    network = take(module.double(), SPIKES.double())
    assert np.array_equal(network["fc1"].weight, module.fc1.weight.detach().numpy())
