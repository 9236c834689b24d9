"""A snnTorch network, written and trained as in its tutorials, on a thousand virtual dies.

Run it with `python examples/snntorch_to_dies.py`; it takes about half a minute and writes snntorch-to-dies.html.
"""

from __future__ import annotations

import sys

import snntorch as snn
import torch
from snntorch import functional, surrogate
from torch import nn

import neurosim as ns


class Net(nn.Module):
    """Two layers of leaky neurons; the time loop is in forward, as in snnTorch's tutorial 5."""

    def __init__(self) -> None:
        super().__init__()
        gradient = surrogate.fast_sigmoid(slope=25)
        self.fc1 = nn.Linear(64, 48)
        self.lif1 = snn.Leaky(beta=0.9, spike_grad=gradient, learn_beta=True)
        self.fc2 = nn.Linear(48, 10)
        self.lif2 = snn.Leaky(beta=0.9, spike_grad=gradient)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


def train(net: Net, task: object, epochs: int) -> None:
    """Plain snnTorch: cross-entropy on spike rates, Adam."""
    loss_of = functional.ce_rate_loss()
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    inputs, labels = torch.tensor(task.train.inputs), torch.tensor(task.train.labels)
    for _ in range(epochs):
        for chosen in torch.randperm(labels.numel()).split(64):
            loss = loss_of(net(inputs[:, chosen])[0], labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            net.lif1.beta.data.clamp_(0, 0.99)  # every membrane of a chip leaks


def main(epochs: int = 20, dies: int = 1000) -> list[ns.Run]:
    task = ns.load_task("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        train(net, task, epochs)
    network = ns.Network.from_torch(net, torch.tensor(task.test.inputs[:, :8]), dt=task.dt)
    print(network)
    runs = []
    for name in ("dynap_se2", "pcm_hermes"):
        mapped = ns.map_network(network, ns.load_profile(name))
        print(mapped)
        runs.append(ns.deploy(mapped, task.test.inputs, task.test.labels, dies=dies, seed=7))
        print(runs[-1])
    print("report:", ns.write_report(runs, "snntorch-to-dies.html"))
    return runs


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
