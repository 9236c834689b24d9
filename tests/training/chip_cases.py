"""Modules and chip types that the tests of training on a chip share."""

from __future__ import annotations

import numpy as np
import torch
from snntorch import RLeaky, Synaptic
from torch import nn

from neurosim.dies import Dies
from neurosim.profile import Profile, load_profile
from neurosim.training import (
    LIF,
    LSNN,
    AdaptiveLIF,
    LeakyIntegrator,
    OnChip,
    SpikingNetwork,
    spiking_mlp,
)

STEPS, BATCH, CHANNELS = 8, 6, 12


def inputs(seed: int = 0, channels: int = CHANNELS) -> torch.Tensor:
    return torch.rand((STEPS, BATCH, channels), generator=torch.Generator().manual_seed(seed))


def mlp() -> nn.Module:
    return spiking_mlp(CHANNELS, 3, hidden=9, beta=0.8)


def lsnn() -> nn.Module:
    return LSNN(CHANNELS, 3, units=10)


def snntorch_net() -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    beta, alpha = (torch.rand(n, generator=generator) * 0.3 + 0.6 for n in (7, 3))
    net = nn.Sequential(nn.Linear(CHANNELS, 7), RLeaky(beta=beta, linear_features=7, learn_beta=True, init_hidden=True),
                        nn.Linear(7, 3), Synaptic(alpha=alpha, beta=0.7, init_hidden=True, output=True))
    for name, value in net.named_parameters():
        if "weight" in name or "bias" in name:
            value.data = torch.rand(value.shape, generator=generator) * 0.8 - (0.2 if "weight" in name else 0.4)
    return Looped(net)


def native() -> nn.Module:
    return SpikingNetwork({
        "fc1": seeded(nn.Linear(CHANNELS, 8)), "lif1": LIF(8, beta=0.8, recurrent=True, learn=("beta", "recurrent")),
        "fc2": seeded(nn.Linear(8, 6)), "lif2": AdaptiveLIF(6, beta=0.7, threshold=0.2, learn=("threshold",)),
        "fc3": seeded(nn.Linear(6, 3)), "out": LeakyIntegrator(3, beta=0.9)}, (CHANNELS,), dt=1e-3, returns_spikes=True)


def seeded(layer: nn.Linear) -> nn.Linear:
    generator = torch.Generator().manual_seed(layer.in_features)
    for value in layer.parameters():
        value.data = torch.rand(value.shape, generator=generator) - 0.3
    return layer


class Stepped(nn.Module):
    """A net without state, at each step."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 2:
            return self.net(x)
        return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Looped(nn.Module):
    """A Sequential of one step, over time."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.net:
            if hasattr(layer, "reset_mem"):
                layer.reset_mem()
        return torch.stack([self.net(step)[0] for step in x])


def everything() -> Profile:
    """All that a profile may spread, each in another way."""
    spreads = {"weight": ("normal", 0.2), "bias": ("uniform", 0.3), "tau_mem": ("lognormal", 0.2),
               "tau_syn": ("normal", 0.1), "threshold": ("lognormal", 0.15)}
    return load_profile("ideal").with_values({
        f"mismatch.{role}": {"value": 1.0, "cv": cv, "distribution": law} for role, (law, cv) in spreads.items()})


def crossbar(kind: str, **values: object) -> Profile:
    return load_profile("pcm_hermes").with_values({"crossbar.cells.kind": kind, **{
        key.replace("__", "."): value for key, value in values.items()}})


CHIPS = {
    "everything": everything,
    "pcm": lambda: load_profile("pcm_hermes"),
    "reram": lambda: load_profile("reram_neurram"),
    "pcm with levels, small tiles": lambda: crossbar("pair", crossbar__levels=5, crossbar__rows=5, crossbar__columns=8),
    "two-sided": lambda: crossbar("two_sided", crossbar__scale="tile"),
    "offset": lambda: crossbar("offset", crossbar__columns=9, crossbar__levels=9),
    "single": lambda: crossbar("single"),
    "significances": lambda: crossbar("pair", crossbar__cells__significances=[1.0, 3.0]),
    "stuck cells": lambda: load_profile("reram_faults"),
    "write and verify": lambda: load_profile("cmo_hfox"),
    "mismatch of conductances": lambda: load_profile("pcm_hermes").with_values(
        {"mismatch.weight": {"value": 1.1, "cv": 0.3, "distribution": "lognormal"}}),
}


def parameters_of(chip: OnChip, placement: object, devices: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in placement.arrays(devices).items()}


def dies_of(chip: OnChip, seed: int | None = None) -> Dies:
    return Dies(chip.mapped(), chip.seed if seed is None else seed)
