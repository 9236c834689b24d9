"""An LSTM that reads digits row by row, trained in plain torch, on phase-change memory that drifts.

Run it with `python examples/rnn_on_pcm.py`; it takes about half a minute and writes rnn-on-pcm.html. The same lines
work for `nn.GRU` and `nn.RNN`.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

import neurosim as ns

TIMES = {"as programmed": None, "an hour": 3600.0, "a day": 86400.0, "a year": 365 * 86400.0}


class Reader(nn.Module):
    """One row of eight pixels at each step; the class is read at the last one."""

    def __init__(self, units: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, units, batch_first=True)
        self.fc = nn.Linear(units, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)
        return self.fc(states[:, -1])


def rows(split: object) -> np.ndarray:
    """Images of 64 pixels as `[time = 8 rows, sample, 8 pixels]`."""
    return np.ascontiguousarray(split.inputs[0].reshape(-1, 8, 8).swapaxes(0, 1))


def train(net: nn.Module, inputs: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """Plain torch: cross-entropy, Adam; weights are clipped so that no single one sets the scale of its column."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    batches, classes = torch.tensor(inputs).transpose(0, 1), torch.tensor(labels)
    for _ in range(epochs):
        for chosen in torch.randperm(classes.numel()).split(64):
            loss = nn.functional.cross_entropy(net(batches[chosen]), classes[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for weight in net.parameters():
                    if weight.ndim > 1:
                        weight.clamp_(-3 * weight.std(), 3 * weight.std())


def main(epochs: int = 30, dies: int = 200) -> dict[str, ns.Run]:
    task = ns.load_task("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Reader()
        train(net, rows(task.train), task.train.labels, epochs)
    test = rows(task.test)
    network = ns.Network.from_torch(net, torch.tensor(test[:, :8]).transpose(0, 1), dt=1e-3)
    print(network)
    print("proof:", network.provenance["proof"])
    mapped = ns.map_network(network, ns.load_profile("pcm_hermes"))
    print(mapped)
    runs = {name: ns.deploy(mapped, test, task.test.labels, dies=dies, seed=7, time=time,
                            about={"task": "digits", "recipe": name}) for name, time in TIMES.items()}
    for name, run in runs.items():
        print(f"{name:14} {run.accuracy.mean().item():7.2%} mean, {run.accuracy.min().item():7.2%} worst die; "
              f"the network itself {run.ideal_accuracy:.2%}")
    print("report:", ns.write_report(list(runs.values()), "rnn-on-pcm.html"))
    return runs


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
