"""Nets as people write them, for the tests of `from_torch`: weights from seeds, a forward that is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import snntorch
import torch
from torch import nn

import neurosim as ns

TIME, BATCH = 12, 3


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def seeded(module: nn.Module, seed: int = 1) -> nn.Module:
    for i, value in enumerate(module.parameters()):
        if value.ndim:
            fan = value[0].numel() if value.ndim > 1 else 9
            value.data = (draw(100 * seed + i, *value.shape) * 2 - 0.9) * (6 / fan) ** 0.5
    return module


SPIKES = (draw(0, TIME, BATCH, 10) < 0.5).float()
IMAGES = draw(1, TIME, BATCH, 1, 12, 12) * 2


class Base(nn.Module):
    """Two layers; the forward is each test's own. Stands for the classes of snnTorch's tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(10, 14), snntorch.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(14, 14), snntorch.Leaky(beta=0.8)

    def forward(self, x: torch.Tensor) -> object:
        mem1, mem2, spikes, membranes = self.lif1.init_leaky(), self.lif2.init_leaky(), [], []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.drive(x[step]), mem1)
            spk2, mem2 = self.lif2(self.between(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return self.give(torch.stack(spikes), torch.stack(membranes))

    def drive(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc1(x)

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(x)

    def give(self, spikes: torch.Tensor, membranes: torch.Tensor) -> object:
        return spikes, membranes


def base(**methods: Callable) -> nn.Module:
    return seeded(type("Net", (Base,), methods)())


def take(module: nn.Module, sample: torch.Tensor = SPIKES, **options: object) -> ns.Network:
    network = ns.Network.from_torch(module, sample, **options)
    assert int(str(network.provenance["proof"]).split()[0]) > 0, "a proof without spikes proves nothing"
    return network


def names(network: ns.Network) -> list[str]:
    return [node.name for node in network.nodes]


def refused(module: nn.Module, sample: torch.Tensor = SPIKES, **options: object) -> str:
    with pytest.raises(ns.NeurosimError) as caught:
        ns.Network.from_torch(module, sample, **options)
    return str(caught.value)


def loop_over(axis: int, cut: Callable[[torch.Tensor], list[torch.Tensor]]) -> nn.Module:
    def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, out = self.lif1.reset_mem(), []
        for now in cut(x):
            spk, mem = self.lif1(self.fc1(now), mem)
            out.append(spk)
        return torch.stack(out, axis)

    return base(forward=forward_)
