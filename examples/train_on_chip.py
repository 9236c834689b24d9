"""Your own snnTorch network and training loop, on the chip that it is for: a PCM crossbar with four conductance levels.

Run it with `python examples/train_on_chip.py`; it takes about a minute and compares training alone and on the chip, on
virtual dies that neither has seen.
"""

from __future__ import annotations

import sys

import snntorch as snn
import torch
from snntorch import functional
from torch import nn

import neurosim as ns
from neurosim.training import OnChip


class Net(nn.Module):
    """As in snnTorch's tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 48), snn.Leaky(beta=0.8)
        self.fc2, self.lif2 = nn.Linear(48, 10), snn.Leaky(beta=0.8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def main(epochs: int = 15, dies: int = 200) -> dict[str, ns.Run]:
    task = ns.load_task("digits", steps=15)
    inputs, labels = torch.tensor(task.train.inputs), torch.tensor(task.train.labels)
    profile = ns.load_profile("pcm_hermes").with_values({"crossbar.levels": 4})
    runs = {}
    for way in ("alone", "on the chip"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = Net()
        # the only line that differs: each step sees two dies that were never seen before
        model = OnChip(net, profile, task.train.inputs[:, :8], mode="noise", per_step=2) if way != "alone" else net
        loss_of, optimiser = functional.ce_count_loss(), torch.optim.Adam(model.parameters(), lr=5e-3)
        generator = torch.Generator().manual_seed(1)
        model.train()
        for _ in range(epochs):
            for chosen in torch.randperm(labels.numel(), generator=generator).split(64):
                optimiser.zero_grad()
                loss_of(model(inputs[:, chosen]), labels[chosen]).backward()
                optimiser.step()
        network = ns.Network.from_torch(net.eval(), torch.tensor(task.test.inputs[:, :8]), dt=task.dt)
        runs[way] = ns.deploy(ns.map_network(network, profile), task.test.inputs, task.test.labels, dies=dies, seed=7)
        accuracy = runs[way].accuracy
        print(f"trained {way}: itself {runs[way].ideal_accuracy:.1%}, mean of {dies} dies "
              f"{float(accuracy.mean()):.1%}, worst {float(accuracy.min()):.1%}")
    return runs


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
