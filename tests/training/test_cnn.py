"""The convolutional network of the published comparison: its size, its start, its two kinds of statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neurosim.errors import NeurosimError
from neurosim.network.forward import run
from neurosim.training import CNN, as_network, build, train


def images(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((1, batch, 1, 28, 28), generator=torch.Generator().manual_seed(seed))


def test_size_and_start():
    model = CNN(seed=3)
    count = 64 * 16 + 64 + 64 * 64 * 16 + 64 + 1600 * 256 + 256 + 256 * 64 + 64 + 64 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == count == 493_642  # published: about 493 000
    for name, scale in (("conv1", math.sqrt(6 / 512)), ("conv2", math.sqrt(6 / 512)), ("fc1", math.sqrt(6 / 1856)),
                        ("fc2", math.sqrt(6 / 320)), ("fc3", math.sqrt(6 / 74))):
        weight = getattr(model.layers, name).weight.detach()
        assert weight.abs().max() <= 2 * scale
        # a normal number cut off at 2 sigma has the standard deviation 0.8796
        assert weight.std().item() == pytest.approx(0.8796 * scale, rel=4 / math.sqrt(2 * weight.numel()))
        assert not getattr(model.layers, name).bias.any()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), CNN(seed=3).parameters(), strict=True))


def test_the_first_layer_keeps_the_size_as_published():
    """Two zeros above and left, one below and right."""
    layers, x = CNN(seed=2).layers, images(3)[0]
    padded = torch.nn.functional.pad(x, (2, 1, 2, 1))
    expected = torch.nn.functional.conv2d(padded, layers.conv1.weight, layers.conv1.bias)
    assert expected.shape[2:] == (28, 28)
    torch.testing.assert_close(layers.pool1(layers.conv1(x)), layers.pool1(expected))


def test_fixed_statistics_are_taken_along():
    model = CNN(seed=1)
    model(images(64) * 2 + 1)  # moves the running statistics
    model.eval()
    network = as_network(model, images(8, 1).numpy(), 1e-3)
    assert [node.name for node in network.nodes[-2:]] == ["layers.norm", "layers.fc3"]
    assert [node.name for node in network.folded().nodes[-2:]] == ["layers.relu4", "layers.fc3"]
    expected = model(images(5, 2))[0].detach().numpy()
    np.testing.assert_allclose(run(network, images(5, 2).numpy()).scores, expected, rtol=1e-4, atol=1e-4)
    one = model(images(5, 2)[:, 2:3])[0].detach().numpy()
    np.testing.assert_allclose(one, expected[2:3], rtol=1e-4, atol=1e-4)


def test_batch_statistics_depend_on_the_batch_and_are_refused_on_a_chip():
    model = CNN(statistics="batch", seed=1).eval()
    x = images(6)
    with torch.no_grad():
        together, fewer = model(x)[0], model(x[:, :3])[0]
        assert (together[:3] - fewer).abs().max() > 1e-3
        np.testing.assert_allclose(model(x * 3 - 2)[0], together, rtol=1e-3, atol=1e-3)  # the input is normalised
    with pytest.raises(NeurosimError, match="statistics of each batch"):
        as_network(model, x.numpy(), 1e-3)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"inputs": 64}, "784"),
    ({"statistics": "running"}, "fixed, batch"),
])
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(NeurosimError, match=message):
        CNN(**arguments)


def test_defaults_train_it():
    labels = np.arange(40) % 2
    x = images(40, 4).numpy() + 2 * labels[None, :, None, None, None].astype(np.float32)
    trained = train(build("fmnist", 784, 10, seed=0), x, labels, epochs=2, learning_rate=1e-3, batch_size=10)
    assert trained.history["train_accuracy"][-1] == 1.0
