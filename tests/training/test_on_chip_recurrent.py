"""torch's RNN, GRU, LSTM and a convolutional network on a chip: dies of deployment, gradients, and that it trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurosim.deployment import deploy
from neurosim.dies import Dies
from neurosim.mapping import map_network
from neurosim.network.forward import run
from neurosim.profile import load_profile
from neurosim.training import OnChip, to_network, train

STEPS, BATCH, CHANNELS, CLASSES = 6, 8, 5, 3
KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def inputs(seed: int = 0, batch: int = BATCH) -> torch.Tensor:
    return torch.randn((STEPS, batch, CHANNELS), generator=torch.Generator().manual_seed(seed))


class Reader(nn.Module):
    """A recurrent module, and logits at each step."""

    def __init__(self, kind: str, layers: int = 1) -> None:
        super().__init__()
        self.rnn, self.fc = KINDS[kind](CHANNELS, 7, layers), nn.Linear(7, CLASSES)
        generator = torch.Generator().manual_seed(3)
        for value in self.parameters():
            value.data = torch.rand(value.shape, generator=generator) - 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x)[0])


class Frames(nn.Module):
    """Convolutions with a normalisation, on each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                    nn.Linear(36, CLASSES))
        self.layers[1].running_mean.copy_(torch.linspace(-0.3, 0.4, 4))
        self.layers[1].running_var.copy_(torch.linspace(0.5, 1.4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


MODULES = {**{f"{kind}, {layers}": lambda kind=kind, layers=layers: (Reader(kind, layers), inputs)
              for kind in KINDS for layers in (1, 2)},
           "frames": lambda: (Frames().eval(), lambda seed=0: torch.rand(
               (2, BATCH, 1, 8, 8), generator=torch.Generator().manual_seed(seed)))}


@pytest.mark.parametrize("profile", ["mismatch", "pcm_hermes", "reram_neurram"])
@pytest.mark.parametrize("name", MODULES)
def test_the_module_on_a_die_gives_what_the_simulator_gives(name: str, profile: str) -> None:
    module, make = MODULES[name]()
    chip = OnChip(module, load_profile(profile), make().numpy(), seed=5, dies=2)
    network, dies = chip.mapped().network, Dies(chip.mapped(), 5)
    for die in (0, 1):
        placement = chip.place(die)
        output = chip.run(placement, placement.devices, make(3)).detach().numpy()
        expected = run(network, make(3).numpy(), dies.parameters(die)).output
        assert np.abs(output - expected).max() <= 2e-5 * np.abs(expected).max()
    chip.run(placement, placement.devices, make()).square().sum().backward()
    on_chip = [value for key, value in module.named_parameters() if "weight" in key and value.ndim > 1]
    assert all(value.grad is not None and value.grad.any() for value in on_chip)


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_dies_of_the_chip(kind: str) -> None:
    """Which channel is the largest on average: learnt on dies, checked on others."""
    profile = load_profile("mismatch").with_mismatch(0.3)
    x = inputs(1, 300)
    labels = x[..., :CLASSES].mean(0).argmax(1)
    module = Reader(kind)
    chip = OnChip(module, profile, x[:, :8].numpy(), seed=1, dies=16)
    trained = train(chip, x.numpy(), labels.numpy(), epochs=8, batch_size=25, learning_rate=1e-2)
    network = to_network(trained, x[:, :8].numpy(), 1e-3)
    assert [node.name for node in network.nodes] == ["rnn.input", "rnn", "fc"]
    run_ = deploy(map_network(network, profile), x.numpy(), labels.numpy(), dies=20, seed=9)
    assert run_.ideal_accuracy > 0.85
    assert run_.accuracy.mean() > 0.8


def test_the_last_step_is_what_is_trained_and_deployed() -> None:
    x = inputs(1, 200)
    labels = x[-1, :, :CLASSES].argmax(1)
    trained = train(OnChip(Reader("gru"), load_profile("pcm_hermes"), x[:, :8].numpy()), x.numpy(), labels.numpy(),
                    epochs=8, batch_size=20, learning_rate=1e-2, readout="last")
    assert trained.history["train_accuracy"][-1] > 0.85
    network = to_network(trained, x[:, :8].numpy(), 1e-3)
    assert network.readout == "last"
    with torch.no_grad():
        own = trained.model.module(x)[-1].argmax(1).numpy()
    assert np.array_equal(run(network, x.numpy()).prediction, own)
