"""What is it worth to train with the converters? Accuracy on the same dies, with every read in the loop and without.

A PCM chip type with converters of few bits. Both networks are trained on it in the mode "noise", with the same weights
at the beginning and the same samples; one on devices as they stand, one with `OnChip(reads=True)`. Both are deployed
on the same dies, which neither has seen, and the difference is taken die by die.

Networks: the default network of the task digits (spikes, 30 steps) at 2 bits; an Elman network that reads the images
row by row (8 steps) at inputs of 4 and currents of 3 bits. With --quick only the second.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from benchmarks import harness
from neurosim.deployment import deploy
from neurosim.mapping import map_network
from neurosim.profile import load_profile
from neurosim.tasks import load_task
from neurosim.training import OnChip, build, to_network, train

LOT = 11
CHIPS = {"spiking": {"adc.bits": 2}, "elman": {"adc.bits": 3, "dac.bits": 4, "dac.v_read": 0.2}}


class Elman(nn.Module):
    """Rows of an image to logits at each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = nn.RNN(8, 32), nn.Linear(32, 10)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for value in self.parameters():
                value.uniform_(-0.2, 0.2, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x)[0])


def samples(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Inputs and labels of each part, as the network reads them."""
    data = load_task("digits")
    found = {part: getattr(data, part) for part in ("train", "validation", "test")}
    if name == "spiking":
        return {part: (one.inputs, one.labels) for part, one in found.items()}
    return {part: (np.ascontiguousarray(one.inputs.mean(axis=0).reshape(-1, 8, 8).swapaxes(0, 1)), one.labels)
            for part, one in found.items()}


def accuracies(name: str, reads: bool, epochs: int, dies: int) -> np.ndarray:
    """Of every die."""
    profile, parts = load_profile("pcm_hermes").with_values(CHIPS[name]), samples(name)
    inputs, labels = parts["train"]
    module = build("digits", 64, 10, 0) if name == "spiking" else Elman()
    readout = "sum" if name == "spiking" else "last"
    chip = OnChip(module, profile, inputs[:, :64], mode="noise", reads=reads, readout=readout)
    trained = train(chip, inputs, labels, epochs=epochs, batch_size=128, learning_rate=5e-3, readout=readout,
                    validation=parts["validation"])
    mapped = map_network(to_network(trained, inputs[:, :8], 1e-3), profile)
    return deploy(mapped, *parts["test"], dies=dies, seed=LOT, progress=False).accuracy.values


def measure(quick: bool) -> dict[str, object]:
    torch.set_num_threads(1)
    epochs, dies = ({"elman": 8}, 10) if quick else ({"spiking": 12, "elman": 30}, 40)
    found: dict[str, object] = {
        "name": "in_the_loop", "machine": harness.machine(), "versions": harness.versions("torch", "snntorch"),
        "settings": {"epochs": epochs, "dies": dies, "chips": CHIPS, "lot": LOT}, "results": {}, "bars": [],
        "missing": []}
    for name, count in epochs.items():
        without, inside = (accuracies(name, reads, count, dies) for reads in (False, True))
        gain = inside - without
        found["results"][name] = {"without": without.mean(), "inside": inside.mean(), "gain": gain.mean(),
                                  "error": gain.std(ddof=1) / np.sqrt(dies), "dies_that_gain": (gain > 0).mean()}
        found["bars"].append(harness.bar(f"{name}: accuracy gained on the same dies, in standard errors",
                                         gain.mean() / found["results"][name]["error"], at_least=3))
    return found


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["network", "trained without reads", "with reads", "gained", "standard error", "dies that gain"]]
    for name, entry in result["results"].items():
        rows.append([name, *(f"{entry[key]:.2%}" for key in ("without", "inside", "gain", "error", "dies_that_gain"))])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
