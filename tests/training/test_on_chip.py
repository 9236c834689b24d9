"""A module on a chip: the dies of deployment bit for bit, modes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chip_cases import (
    CHANNELS,
    CHIPS,
    Looped,
    Stepped,
    crossbar,
    dies_of,
    inputs,
    lsnn,
    mlp,
    native,
    parameters_of,
    snntorch_net,
)
from snntorch import Leaky, RLeaky
from torch import nn

from neurosim.dies import Dies
from neurosim.errors import NeurosimError
from neurosim.network.forward import run
from neurosim.profile import load_profile
from neurosim.training import (
    CNN,
    OnChip,
)
from neurosim.training.objective import output_of
from neurosim.training.placing import placed_on_crossbar

# the dies of deployment


@pytest.mark.parametrize("chip_name", [name for name in CHIPS if name != "everything"])
def test_devices_are_worth_what_the_mapping_says(chip_name):
    """Before anything is corrected to the last bit: weights of nominal devices and of dies, from the devices alone."""
    chip = OnChip(mlp(), CHIPS[chip_name](), inputs().numpy(), seed=5)
    dies = dies_of(chip)
    for array in chip.mapped().arrays:
        wanted = dict(chip.module.named_parameters())[array.name.replace("/", ".")]
        planes = dies.conductances(3, array.name)
        shared = planes[len(array.own):, ::array.tiling.tile_outputs]
        for made, expected in ((None, array.weight(array.planes(array.targets * np.float32(
                1 if array.spread is None else array.spread.value)))),
                               (np.concatenate([planes[:len(array.own)].reshape(-1), shared.reshape(-1)]),
                                dies.parameters(3)[array.layer][array.parameter])):
            part = placed_on_crossbar(array, chip.profile.crossbar, np.zeros_like, wanted, None, made)
            np.testing.assert_allclose(part.value(part.devices).detach(), expected, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("chip_name", CHIPS)
@pytest.mark.parametrize("make", [mlp, lsnn, snntorch_net, native])
def test_die_k_of_training_is_die_k_of_deployment_bit_for_bit(make, chip_name):
    chip = OnChip(make(), CHIPS[chip_name](), inputs().numpy(), seed=5)
    for die in (0, 7, 12345):
        placement = chip.place(die)
        found = parameters_of(chip, placement, placement.devices)
        expected = {f"{layer}/{name}": value for layer, some in dies_of(chip).parameters(die).items()
                    for name, value in some.items()}
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], value, rtol=3e-7, atol=3e-7 * abs(value).max(), err_msg=name)
        # and in the place of the module's own they are what its network has
        made = placement.module_tensors(placement.devices)
        swapped = {name: made.get(name, value) for name, value in chip.module.state_dict().items()}
        assert any(not torch.equal(value, chip.module.state_dict()[name]) for name, value in swapped.items())


@pytest.mark.parametrize("chip_name", CHIPS)
@pytest.mark.parametrize("make", [mlp, lsnn, snntorch_net, native])
def test_the_module_on_a_die_gives_what_the_simulator_gives(make, chip_name):
    chip = OnChip(make(), CHIPS[chip_name](), inputs().numpy(), seed=5, dies=3)
    chip.train()
    network = chip.mapped().network
    for die in (0, 1, 2, 0):
        output = output_of(chip(inputs(3))).detach().numpy()
        expected = run(network, inputs(3).numpy(), dies_of(chip).parameters(die)).output
        assert (abs(output - expected) <= 1e-5 * abs(expected).max()).mean() > 0.999  # float32: order of additions
    assert int(chip.steps) == 4


def test_a_changed_module_is_mapped_anew():
    chip = OnChip(mlp(), load_profile("pcm_hermes"), inputs().numpy())
    first = chip.mapped()
    assert chip.mapped() is first
    with torch.no_grad():
        chip.module.fc1.weight += 0.1
    assert chip.mapped() is not first
    np.testing.assert_array_equal(chip.to_network()["fc1"].weight, chip.module.fc1.weight.detach().numpy())
    placement = chip.place(4)
    np.testing.assert_array_equal(parameters_of(chip, placement, placement.devices)["fc1/weight"],
                                  dies_of(chip).parameters(4)["fc1"]["weight"])


def test_time_and_programming_reach_the_dies():
    month = OnChip(mlp(), load_profile("pcm_hermes"), inputs().numpy(), time=30 * 86400.0, programming=2)
    placement = month.place(4)
    expected = Dies(month.mapped(), month.seed, 2, 30 * 86400.0).parameters(4)["fc1"]["weight"]
    np.testing.assert_array_equal(parameters_of(month, placement, placement.devices)["fc1/weight"], expected)
    with pytest.raises(NeurosimError, match="does not drift"):
        OnChip(mlp(), load_profile("mismatch"), inputs().numpy(), time=1e4)


# modes


@pytest.mark.parametrize("make", [mlp, lsnn, snntorch_net, native])
@pytest.mark.parametrize("mode", ["nominal", "sampled", "noise"])
def test_without_spread_it_is_the_module(make, mode):
    module = make()
    chip = OnChip(module, load_profile("ideal"), inputs().numpy(), mode=mode)
    chip.train()
    assert torch.equal(output_of(chip(inputs(1))), output_of(module(inputs(1))))
    zero = load_profile("mismatch").with_mismatch(0.0)
    assert torch.equal(output_of(OnChip(module, zero, inputs().numpy())(inputs(1))), output_of(module(inputs(1))))


def test_nominal_devices_have_the_levels_of_the_chip():
    profile = crossbar("pair", crossbar__levels=5)
    chip = OnChip(mlp(), profile, inputs().numpy(), mode="nominal")
    chip.train()
    placement = chip.place()
    for array in chip.mapped().arrays:
        np.testing.assert_array_equal(parameters_of(chip, placement, placement.devices)[array.name], array.nominal)
    weight = placement.module_tensors(placement.devices)["fc1.weight"].detach()
    levels = (weight.abs() / weight.abs().amax(dim=1, keepdim=True) * 4).numpy()
    np.testing.assert_allclose(levels, levels.round(), atol=1e-5)


def test_sampled_dies_come_in_turn_and_noise_never_twice():
    seen = {}
    for mode in ("sampled", "noise"):
        chip = OnChip(mlp(), load_profile("mismatch"), inputs().numpy(), mode=mode, dies=3, per_step=2)
        chip.train()
        seen[mode] = [placement.die for _ in range(3) for placement in chip.placements(inputs())]
        chip.eval()
        assert [placement.die for placement in chip.placements(inputs())] == [None]
        assert int(chip.steps) == 3
    assert seen == {"sampled": [0, 1, 2, 0, 1, 2], "noise": [0, 1, 2, 3, 4, 5]}


def test_several_dies_share_a_batch():
    chip = OnChip(mlp(), load_profile("mismatch"), inputs().numpy(), dies=4, per_step=4)
    chip.train()
    output, spikes = chip(inputs(1))
    parts = [chip.run(placement, placement.devices, share) for placement, share in zip(
        map(chip.place, range(4)), inputs(1).tensor_split(4, dim=1), strict=True)]
    assert torch.equal(output, torch.cat([part[0] for part in parts], dim=1))
    assert torch.equal(spikes, torch.cat([part[1] for part in parts], dim=1))
    assert chip(inputs(1)[:, :3])[0].shape[1] == 3


def test_the_step_is_part_of_the_state():
    chips = [OnChip(mlp(), load_profile("mismatch"), inputs().numpy(), mode="noise").train() for _ in range(2)]
    for _ in range(3):
        chips[0](inputs())
    chips[1].load_state_dict(chips[0].state_dict())
    assert torch.equal(chips[0](inputs())[0], chips[1](inputs())[0])


def test_in_evaluation_it_can_be_shown_as_a_die():
    chip = OnChip(mlp(), load_profile("mismatch"), inputs().numpy()).eval()
    with chip.shown_as(3, seed=9):
        output = chip(inputs(1))[0]
    expected = run(chip.mapped().network, inputs(1).numpy(), dies_of(chip, 9).parameters(3)).output
    np.testing.assert_array_equal(output.detach().numpy(), expected)
    assert torch.equal(chip(inputs(1))[0], chip.module(inputs(1))[0])


@pytest.mark.parametrize("make", [mlp, lsnn, native])
def test_exact_forward_has_the_value_of_the_simulator_and_the_gradient_of_the_module(make):
    outputs, gradients = [], []
    for exact in (False, True):
        chip = OnChip(make(), load_profile("pcm_hermes"), inputs().numpy(), exact_forward=exact)
        chip.train()
        output = output_of(chip(inputs(1)))
        (output * torch.arange(3)).sum().backward()
        outputs.append(output.detach().numpy())
        gradients.append({name: value.grad for name, value in chip.named_parameters()})
    expected = run(chip.mapped().network, inputs(1).numpy(), dies_of(chip).parameters(0)).output
    np.testing.assert_array_equal(outputs[1], expected)
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)
        assert value.abs().sum() > 0




# what is refused


def test_what_does_not_go_is_refused():
    sample = inputs().numpy()
    for options, message in (({"mode": "random"}, "nominal, sampled, noise, attack"), ({"dies": 0}, "dies is 0"),
                             ({"per_step": 1.5}, "per_step"), ({"seed": -1}, "seed is -1")):
        with pytest.raises(NeurosimError, match=message):
            OnChip(mlp(), load_profile("mismatch"), sample, **options)
    with pytest.raises(NeurosimError, match=r"OnChip: profile is 'mismatch' .*load_profile"):
        OnChip(mlp(), "mismatch", sample)
    with pytest.raises(NeurosimError, match="nothing to attack"):
        OnChip(mlp(), load_profile("ideal"), sample, mode="attack")
    with pytest.raises(NeurosimError, match="cannot hold"):
        OnChip(CNN(), load_profile("dynap_se2"), torch.rand(1, 2, 1, 28, 28).numpy())

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif1, self.lif2 = nn.Linear(CHANNELS, CHANNELS), Leaky(beta=0.5), Leaky(beta=0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
            for step in x:
                spikes, first = self.lif1(self.fc(step), first)
                spikes, second = self.lif2(self.fc(spikes), second)
                out.append(spikes)
            return torch.stack(out)

    with pytest.raises(NeurosimError, match=r"are one tensor of the module, fc\.weight"):
        OnChip(Tied(), load_profile("mismatch"), sample)


@pytest.mark.parametrize("chip_name", ["mismatch", "pcm_hermes"])
@pytest.mark.parametrize("what", ["groups", "one to one", "weight_norm"])
def test_weights_that_are_no_tensor_of_the_module_are_named(what, chip_name):
    options = {"beta": 0.5, "init_hidden": True, "output": True}
    one_to_one = RLeaky(all_to_all=False, V=torch.full((6,), 0.3), **options) if what == "one to one" else None
    layer = nn.Conv2d(2, 4, 2, groups=2) if what == "groups" else nn.Linear(CHANNELS, 6)
    if what == "weight_norm":
        nn.utils.parametrizations.weight_norm(layer)
    sample = torch.rand(4, 3, 2, 4, 4) if what == "groups" else inputs()
    with pytest.raises(NeurosimError, match=r"is on the chip, but no tensor of Looped: it is made of") as caught:
        OnChip(Looped(nn.Sequential(layer, one_to_one or Leaky(**options))), load_profile(chip_name), sample.numpy())
    assert ("mismatch." in str(caught.value)) == (chip_name == "mismatch")
    assert "groups=1, all_to_all=True, remove_parametrizations" in str(caught.value)


@pytest.mark.parametrize("after", ["linear", "relu"])
def test_a_normalisation_is_seen_through(after):
    """Folded into the layer before it, or a scale of its own."""
    between = [] if after == "linear" else [nn.ReLU()]
    net = nn.Sequential(nn.Linear(CHANNELS, 6), *between, nn.BatchNorm1d(6), nn.Linear(6, 3))
    for step in inputs(4):
        net(step * 3)
    net.eval()
    profile = load_profile("mismatch").with_values({"mismatch.bias": None})
    chip = OnChip(Stepped(net).eval(), profile, inputs().numpy())
    network = chip.to_network()
    np.testing.assert_allclose(run(network, inputs(1).numpy()).output, chip.module(inputs(1)).detach(), atol=1e-5)
    placement = chip.place(2)
    made = placement.module_tensors(placement.devices)["net.0.weight"].detach().numpy()
    first = network.nodes[0]
    scale = first.layer.weight / net[0].weight.detach().numpy()
    np.testing.assert_allclose(made * scale, dies_of(chip).parameters(2)[first.name]["weight"], rtol=1e-5)
    chip.train()
    chip(inputs(2) * 4).sum().backward()  # other statistics, another scale
    assert net[0].weight.grad.abs().sum() > 0
    chip.eval()
    np.testing.assert_allclose(run(chip.to_network(), inputs(1).numpy()).output, chip.module(inputs(1)).detach(),
                               atol=1e-5)
    with pytest.raises(NeurosimError, match="statistics move"):
        OnChip(chip.module, profile, inputs().numpy(), exact_forward=True)


@pytest.mark.parametrize("name", ["exact_forward", "reads", "learn_ranges"])
def test_a_word_is_no_truth_value(name):
    with pytest.raises(NeurosimError, match=f"{name} is 'no' .allowed: true, false"):
        OnChip(mlp(), load_profile("mismatch"), inputs().numpy(), **{name: "no"})
