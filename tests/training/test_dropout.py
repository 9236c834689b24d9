"""Dropout of modules that take no mask: what is hidden in them, and that it is silent for the whole sample."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training import CNN, LIF, Objective, SpikingNetwork, make_recipe, spiking_mlp, train
from neurosim.training.hidden import hidden_of, silenced

STEPS, BATCH = 12, 6


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(channels: int = 8) -> torch.Tensor:
    return 3 * torch.rand(STEPS, BATCH, channels, generator=generator(1))


LABELS = torch.arange(BATCH) % 3


class Plain(nn.Module):
    """A network as its user writes it; it keeps what its hidden neurons send."""

    def __init__(self, recurrent: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fc1, self.fc2 = nn.Linear(8, 12), nn.Linear(12, 3)
            self.lif2 = snntorch.Leaky(beta=0.8)
            kind, options = (snntorch.RLeaky, {"linear_features": 12}) if recurrent else (snntorch.Leaky, {})
            self.lif1 = kind(beta=0.8, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, last = self.lif1.reset_mem(), self.lif2.reset_mem()
        first = list(first) if isinstance(first, tuple) else [first]
        self.sent, out = [], []
        for now in x:
            spikes, mem = self.lif1(self.fc1(now), *first)
            first = [spikes, mem] if len(first) == 2 else [mem]
            self.sent.append(spikes.detach())
            spikes, last = self.lif2(self.fc2(spikes), last)
            out.append(spikes)
        self.out = torch.stack(out)
        return self.out


def test_a_recurrent_neuron_that_keeps_its_state_does_not_hear_the_silent_ones() -> None:
    cells = snntorch.RLeaky(beta=0.8, linear_features=12, init_hidden=True)
    mask = (torch.rand(BATCH, 12, generator=generator()) >= 0.5).float()
    net = nn.Sequential(nn.Identity(), cells, nn.Linear(12, 3))
    with silenced(net, ("1",), 0, lambda samples, units: mask):
        for now in 3 * torch.rand(4, BATCH, 12, generator=generator(1)):
            net(now)
            assert cells.spk.any()
            assert torch.equal(cells.spk, cells.spk * mask)


def masks_of(p: float):
    return lambda samples, units: (torch.rand(samples, units, generator=generator()) >= p).float() / (1 - p)


@pytest.mark.parametrize("recurrent", [False, True])
def test_hidden_neurons_of_a_plain_network_are_silent_for_a_whole_sample(recurrent: bool) -> None:
    net = Plain(recurrent)
    assert hidden_of(net, inputs()[:, :1]) == ("lif1",)
    net(inputs())
    before, clean = torch.stack(net.sent), net.out
    make_recipe("dropout", p=0.4).loss(Objective(net, inputs(), LABELS), generator())
    sent = torch.stack(net.sent)
    mask = (torch.rand(BATCH, 12, generator=generator()) >= 0.4).expand(STEPS, -1, -1)
    assert before[~mask].any()
    assert not sent[~mask].any()
    assert sent.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert set(net.out.unique().tolist()) == {0.0, 1.0}, "the output is never dropped"
    net(inputs())
    assert torch.equal(net.out, clean), "nothing is left behind"


@pytest.mark.parametrize(("rescale", "shared"), [(True, False), (False, True)])
def test_the_same_loss_as_with_a_mask_of_its_own(rescale: bool, shared: bool) -> None:
    masked = spiking_mlp(8, 3, hidden=12)

    class Without(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = spiking_mlp(8, 3, hidden=12)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.net(x)

    recipe = make_recipe("dropout", p=0.3, rescale=rescale, shared=shared)
    losses = [recipe.loss(Objective(net, inputs(), LABELS), generator()) for net in (masked, Without())]
    assert torch.equal(*losses)
    assert losses[0] != make_recipe("standard").loss(Objective(masked, inputs(), LABELS), generator())


def test_layers_of_ours_in_a_sequence() -> None:
    cells = LIF(12, recurrent=True, beta=0.8, seed=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 12), cells, nn.Linear(12, 3))
    assert hidden_of(net, inputs()[:, :1]) == ("1",)
    same = SpikingNetwork({"a": net[0], "b": cells, "c": net[2]}, (8,), dt=1e-3)  # takes a mask itself
    losses = [make_recipe("dropout", p=0.3).loss(Objective(model, inputs(), LABELS), generator())
              for model in (net, same)]
    torch.testing.assert_close(*losses)
    assert losses[0] != make_recipe("standard").loss(Objective(net, inputs(), LABELS), generator())


def test_dense_layers_behind_others_where_nothing_spikes() -> None:
    """As in the published comparison: what enters the three dense layers of the CNN."""
    net = CNN(seed=1)
    images = torch.rand(2, BATCH, 1, 28, 28, generator=generator())
    assert hidden_of(net, images[:, :1]) == ("layers.fc1", "layers.fc2", "layers.fc3")
    seen = {}
    with silenced(net, hidden_of(net, images[:, :1]), 1, masks_of(0.5)):
        for name in ("fc1", "fc2", "fc3"):
            getattr(net.layers, name).register_forward_pre_hook(
                lambda part, given, name=name: seen.update({name: given[0].unflatten(0, (2, BATCH))}))
        net(images)
    for name, signal in seen.items():
        mask = masks_of(0.5)(BATCH, signal.shape[-1]) == 0
        assert not signal[:, mask].any(), name
        assert signal[:, ~mask].any(), name


@pytest.mark.parametrize("batch_first", [True, False])
def test_one_mask_for_all_steps_whatever_the_order_of_axes(batch_first: bool) -> None:
    net = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))
    x = inputs().transpose(0, 1) if batch_first else inputs()
    names, axis, seen = hidden_of(net, x[:1, :1]), 0 if batch_first else 1, []
    with silenced(net, names, axis, masks_of(0.5)):
        net[2].register_forward_pre_hook(lambda part, given: seen.append(given[0]))
        net(x)
    signal = seen[0].transpose(0, 1) if batch_first else seen[0]
    mask = masks_of(0.5)(BATCH, 12) == 0
    assert not signal[:, mask].any()
    assert (signal[:, ~mask] != 0).all()


def test_training_a_plain_network_with_dropout() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    x = np.repeat((np.eye(3, 8)[labels] * 1.5 + rng.normal(0, 0.1, (30, 8)))[None], 6, axis=0).astype(np.float32)
    histories = [train(Plain(), x, labels, recipe=recipe, epochs=2, batch_size=10).history["loss"]
                 for recipe in ("dropout", "dropout", "standard")]
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize("net", [nn.Linear(8, 3), nn.Sequential(nn.Linear(8, 3), LIF(3))])
def test_what_has_no_hidden_neurons_is_told(net: nn.Module) -> None:
    with pytest.raises(NeurosimError, match=r"has no hidden neurons to silence.*torch\.nn\.Dropout"):
        make_recipe("dropout").loss(Objective(net, inputs(), LABELS), generator())
