"""Your own snnTorch network and training loop with one term more: what it says shall not change under attack.

Run it with `python examples/robust_loss_in_your_loop.py`; it takes about a minute and compares both on virtual dies.
"""

from __future__ import annotations

import sys

import snntorch as snn
import torch
from snntorch import functional
from torch import nn

import neurosim as ns
from neurosim.training import Attack, robust_loss


class Net(nn.Module):
    """As in snnTorch's tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 48), snn.Leaky(beta=0.8)
        self.fc2, self.lif2 = nn.Linear(48, 10), snn.Leaky(beta=0.8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2, spikes, hidden = self.lif1.init_leaky(), self.lif2.init_leaky(), [], []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            hidden.append(spk1)
        return torch.stack(spikes), torch.stack(hidden)


def train(net: Net, task: object, epochs: int, beta: float) -> Net:
    """Plain snnTorch but for the second term of the loss."""
    loss_of, optimiser = functional.ce_count_loss(), torch.optim.Adam(net.parameters(), lr=5e-3)
    attack, generator = Attack(size=0.2, steps=3), torch.Generator().manual_seed(1)
    inputs, labels = torch.tensor(task.train.inputs), torch.tensor(task.train.labels)
    for _ in range(epochs):
        for chosen in torch.randperm(labels.numel(), generator=generator).split(64):
            loss = loss_of(net(inputs[:, chosen])[0], labels[chosen])
            if beta:
                loss = loss + beta * robust_loss(net, inputs[:, chosen], attack, generator=generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net


def main(epochs: int = 15, dies: int = 200) -> dict[float, ns.Run]:
    task = ns.load_task("digits", steps=15)
    runs = {}
    for beta in (0.0, 0.5):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = train(Net(), task, epochs, beta)
        network = ns.Network.from_torch(net, torch.tensor(task.test.inputs[:, :8]), dt=task.dt)
        mapped = ns.map_network(network, ns.load_profile("mismatch").with_mismatch(0.3))
        runs[beta] = ns.deploy(mapped, task.test.inputs, task.test.labels, dies=dies, seed=7)
        print(f"beta = {beta}: itself {runs[beta].ideal_accuracy:.1%}, mean of {dies} dies "
              f"{float(runs[beta].accuracy.mean()):.1%}, worst {float(runs[beta].accuracy.min()):.1%}")
    return runs


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
