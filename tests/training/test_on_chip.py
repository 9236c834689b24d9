"""A module on a chip: the dies of deployment bit for bit, gradients, boxes, moments, and that it is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from snntorch import Leaky, RLeaky, Synaptic
from torch import nn

from neurosim.deployment import deploy
from neurosim.devices import evaluate
from neurosim.dies import Dies
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, map_network
from neurosim.network.forward import run
from neurosim.profile import Profile, load_profile
from neurosim.tasks import load_task
from neurosim.training import (
    CNN,
    LIF,
    LSNN,
    RECIPES,
    AdaptiveLIF,
    Attack,
    LeakyIntegrator,
    OnChip,
    SpikingNetwork,
    build,
    robust_distance,
    robust_loss,
    spiking_mlp,
    to_network,
    train,
)
from neurosim.training.chip_objective import ChipObjective
from neurosim.training.deviations import corners, gaussian, moved
from neurosim.training.monitoring import accuracy_on_dies
from neurosim.training.objective import output_of
from neurosim.training.placing import placed_on_crossbar

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
    for value in net.parameters():
        if value.ndim:
            value.data = torch.rand(value.shape, generator=generator) * 0.8 - 0.2 if value.ndim > 1 else value.data
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


# gradients


@pytest.mark.parametrize("chip_name", CHIPS)
def test_the_gradient_goes_straight_through_levels_and_cells(chip_name):
    chip = OnChip(mlp(), CHIPS[chip_name](), inputs().numpy(), mode="nominal")
    placement = chip.place()
    weight = placement.arrays(placement.devices)["fc1/weight"]
    coefficients = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1))
    (weight * coefficients).sum().backward()
    array, own = chip.mapped().arrays[0], chip.module.fc1.weight
    mean = 1.0 if array.spread is None else array.spread.value
    plain = own.grad - coefficients * (mean if not isinstance(array, DeviceArray) else 1)
    if not isinstance(array, DeviceArray):
        assert plain.abs().max() < 1e-5
        return
    off = ((weight - own).detach() * coefficients).sum().item()  # what is not the weight goes with the largest one
    assert (abs(off) > 1e-5) == (array.error > 0.01 or mean != 1)
    top = torch.zeros_like(own, dtype=torch.bool)
    for part in array.tiling.parts():
        block = own.detach()[part].abs()
        top[part] = block == (block.amax() if chip.profile.crossbar.scale == "tile" else block.amax(1, keepdim=True))
    assert plain[~top].abs().max() < 1e-5
    assert (plain * own.detach())[top].sum().item() == pytest.approx(off, rel=1e-3, abs=1e-4)


def test_the_gradient_of_a_die_passes_the_factor_of_each_device():
    chip = OnChip(snntorch_net(), everything(), inputs().numpy())
    placement = chip.place(2)
    arrays = placement.arrays(placement.devices)
    link = {"net.0/weight": "net.0.weight", "net.0/bias": "net.0.bias", "net.1/beta": "net.1.beta"}
    tensors = dict(chip.module.named_parameters())
    for array, name in link.items():
        own = tensors[name]
        (slope,) = torch.autograd.grad(arrays[array].sum(), own)
        die = arrays[array].detach()
        # of d^(1/f): d^(1/f - 1) / f
        expected = die / own if "beta" not in array else die.log() / own.log() * die / own
        torch.testing.assert_close(slope, expected.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("chip_name", "alike"), [("everything", 0.9999), ("pcm", 0.95), ("reram", 0.98),
                                                  ("single", 0.97), ("offset", 0.95), ("stuck cells", 0.8)])
def test_the_gradient_is_that_of_the_dies_that_are_deployed(chip_name, alike):
    """Against central differences of the whole road without torch: mapping, die, simulator. Without levels.

    On a crossbar write noise passes straight through, as if it did not depend on the weight: so only nearly.
    """
    profile = CHIPS[chip_name]()
    if profile.crossbar is not None and profile.crossbar.levels is not None:
        profile = profile.with_values({"crossbar.levels": None})
    net = nn.Sequential(seeded(nn.Linear(CHANNELS, 6)), nn.Tanh(), seeded(nn.Linear(6, 3)))
    chip = OnChip(Stepped(net), profile, inputs().numpy(), mode="sampled", seed=3)
    chip.train()
    coefficients = torch.rand(STEPS, BATCH, 3, generator=torch.Generator().manual_seed(8)) - 0.5
    (chip(inputs(1)) * coefficients).sum().backward()
    network = chip.to_network()
    weight = net[0].weight.detach().numpy()
    found, expected = net[0].weight.grad.numpy(), np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        values = []
        for step in (5e-3, -5e-3):
            moved_weight = weight.astype(np.float64)
            moved_weight[place] += step
            first = replace(network.nodes[0], layer=replace(network.nodes[0].layer, weight=moved_weight))
            there = replace(network, nodes=(first, *network.nodes[1:]))
            die = Dies(map_network(there, profile), 3).parameters(0)
            values.append((run(there, inputs(1).numpy(), die, dtype=np.float64).output * coefficients.numpy()).sum())
        expected[place] = (values[0] - values[1]) / 1e-2
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > alike
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=2 * np.sqrt(1 - alike))


def test_a_large_weight_pays_for_the_noise_of_its_column():
    """``w' = w + (w_max / g_max) dg``: the derivative with respect to the largest weight has the noise of all."""
    chip = OnChip(mlp(), load_profile("pcm_hermes"), inputs().numpy())
    placement = chip.place(0)
    weight = placement.arrays(placement.devices)["fc1/weight"]
    own = chip.module.fc1.weight
    (slope,) = torch.autograd.grad(weight[0].sum(), own)
    noise = (weight - own).detach()[0]
    expected = torch.zeros_like(own)
    expected[0] = 1
    largest = own[0].abs().argmax()
    expected[0, largest] += noise.sum() / own[0, largest].detach()
    torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-4)


def test_a_column_of_zeros_can_learn():
    module = mlp()
    with torch.no_grad():
        module.fc1.weight[2] = 0
    chip = OnChip(module, load_profile("pcm_hermes"), inputs().numpy())
    placement = chip.place(1)
    placement.arrays(placement.devices)["fc1/weight"].sum().backward()
    torch.testing.assert_close(module.fc1.weight.grad[2], torch.ones(CHANNELS))
    assert module.fc1.weight.grad.isfinite().all()


# the box, and the noise of one unit


@pytest.mark.parametrize("chip_name", CHIPS)
@pytest.mark.parametrize("make", [mlp, lsnn, snntorch_net, native])
def test_an_attack_never_leaves_the_box_of_each_device(make, chip_name):
    how = Attack(size=0.7, steps=3)
    chip = OnChip(make(), CHIPS[chip_name](), inputs().numpy(), mode="attack", attack=how)
    chip.train()
    nominal = chip.place()
    [attacked] = chip.placements(inputs(2))
    for array in chip.mapped().arrays:
        here, there = (p.devices[array.name].detach().double() for p in (nominal, attacked))
        if array.name not in nominal.reach:
            assert torch.equal(here, there)
            continue
        spread = array.spread
        if isinstance(array, DeviceArray):
            aimed = array.targets * np.float32(spread.value if spread else 1)
            sigma = np.hypot(evaluate(chip.profile.crossbar.programming.sigma, aimed), aimed * (0.3 if spread else 0))
            sigma *= 1.15 if spread else 1.05  # it is measured, on 16384 devices
            per = here.numpy() / np.where(aimed > 0, aimed, 1)  # weight per siemens
            bound = 0.7 * sigma * np.where(aimed > 0, per, np.inf)
            assert (abs(there - here).numpy() <= bound * (1 + 1e-4) + 1e-9).all()
            assert (there >= 0).all()
        elif spread.distribution == "lognormal":
            width = 0.7 * np.sqrt(np.log1p(spread.cv**2)) * (1 + 1e-4)
            factor = here.log() / there.log() if array.role.startswith("tau") else there / here
            assert (factor.log().abs() <= width).all()
        else:
            factor = here.log() / there.log() if array.role.startswith("tau") else there / here
            factor = factor[here != 0]
            assert ((factor - 1).abs() <= 0.7 * spread.cv * (1 + 1e-4)).all()
        assert (there != here).any() or not here.any()


def test_an_attack_is_worse_than_chance_of_the_same_size():
    module, x = mlp(), inputs(2)
    chip = OnChip(module, everything(), inputs().numpy(), mode="attack", attack=Attack(size=1.0, steps=10))
    chip.train()
    clean = output_of(module(x)).sum(0)
    attacked = output_of(chip(x)).sum(0)
    placement = chip.place()
    generator = torch.Generator().manual_seed(0)
    chance = [output_of(chip.run(placement, moved(placement.devices, corners(
        placement.devices, placement.reach, 1.0, generator), placement.reach), x)).sum(0) for _ in range(20)]

    def distance(there: torch.Tensor) -> float:
        p, q = clean.log_softmax(1), there.log_softmax(1)
        return (p.exp() * (p - q)).sum(1).mean().item()

    assert distance(attacked) > max(map(distance, chance))


def test_masked_weights_are_left_alone_by_an_attack_but_not_by_dies():
    chip = OnChip(lsnn(), load_profile("pcm_hermes"), inputs().numpy(), mode="attack")
    chip.train()
    [attacked] = chip.placements(inputs(1))
    recurrent = attacked.arrays(attacked.devices)["neurons/recurrent"].detach()
    assert not recurrent.diagonal().any()
    on_die = chip.place(3)
    noisy = on_die.arrays(on_die.devices)["neurons/recurrent"].detach().diagonal()
    assert noisy.any()  # unused devices are noisy
    made = on_die.module_tensors(on_die.devices)
    assert torch.equal((made["w_rec"] * made["others"]).diagonal(), noisy)
    made["w_rec"].sum().backward()
    assert not chip.module.w_rec.grad.diagonal().any()


@pytest.mark.parametrize("chip_name", ["everything", "pcm", "reram", "mismatch of conductances"])
def test_one_unit_of_noise_is_the_spread_of_the_dies(chip_name):
    """Standard deviations of each weight over 400 dies and over 400 draws of size 1: equal within 4 standard errors."""
    module = spiking_mlp(40, 10, hidden=30, beta=0.8)
    chip = OnChip(module, CHIPS[chip_name](), inputs(0, 40).numpy())
    generator = torch.Generator().manual_seed(4)
    placement = chip.place()
    lots: dict[str, list[np.ndarray]] = {"dies": [], "noise": []}
    dies = dies_of(chip)
    for die in range(400):
        lots["dies"].append(dies.parameters(die)["fc1"]["weight"].reshape(-1))
        there = moved(placement.devices, gaussian(placement.devices, placement.reach, 1.0, generator), placement.reach)
        lots["noise"].append(parameters_of(chip, placement, there)["fc1/weight"].reshape(-1))
    width = {name: np.std(values, axis=0) for name, values in lots.items()}
    ratio = np.log(width["noise"] / width["dies"])
    # over 1200 weights: the mean within 4 standard errors, and 2 % of what is measured (10 % where it is skew)
    assert abs(ratio.mean()) < 4 * np.sqrt(1 / 400 / ratio.size) + (0.1 if "mismatch" in chip_name else 0.02)
    assert stats.pearsonr(width["noise"], width["dies"]).statistic > 0.8


# recipes and training


def samples(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that drive different channels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = np.clip(np.eye(3, CHANNELS)[labels] * 1.5 + rng.normal(0, 0.15, (count, CHANNELS)), 0, None)
    return np.repeat(x[None], STEPS, axis=0).astype(np.float32), labels


SETTINGS = {"entropy_sgd": {"steps": 2}, "hybrid": {"steps": 2}, "adversarial": {"steps": 2}, "awp": {"steps": 2},
            "robust": {"steps": 1}}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_on_a_chip(recipe):
    chip = OnChip(mlp(), everything(), samples()[0][:, :4], mode="sampled", dies=2, per_step=2)
    before = {name: value.detach().clone() for name, value in chip.named_parameters()}
    options = {name: value for name, value in SETTINGS.get(recipe, {}).items()
               if name in RECIPES[recipe].__dataclass_fields__}
    trained = train(chip, *samples(), recipe=recipe, epochs=2, batch_size=20, learning_rate=1e-3,
                    validation=samples(12, 1), **options)
    assert all(np.isfinite(trained.history["loss"]))
    assert len(trained.history["noisy_validation_accuracy"]) == 2
    assert all((value != before[name]).any() for name, value in chip.named_parameters())
    for name, value in chip.recipe_settings(recipe).items():
        assert trained.settings[name] == value
    network = to_network(trained, samples()[0][:, :4], 2e-3)
    assert network.dt == 2e-3
    assert network.provenance["on_chip"]["profile"] == "ideal"
    np.testing.assert_array_equal(network["fc1"].weight, chip.module.fc1.weight.detach().numpy())


def test_standard_training_on_a_chip_is_training_on_its_dies():
    """One step of gradient descent, written out: the gradient at die 0, taken to the module's own parameters."""
    chip = OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], dies=1)
    chip.train()
    x, y = torch.tensor(samples()[0]), torch.tensor(samples()[1])
    on = ChipObjective(chip, x, y)
    assert set(on.parameters) == {"fc1/weight", "fc1/bias", "fc2/weight", "fc2/bias"}
    on.loss(on.parameters).backward()
    found = {name: value.grad.clone() for name, value in chip.module.named_parameters()}
    twin = mlp()
    die = dies_of(chip).parameters(0)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            layer, parameter = name.split(".")
            value.copy_(torch.tensor(die[layer][parameter]))
    torch.nn.functional.cross_entropy(twin(x)[0].sum(0), y).backward()
    for name, value in twin.named_parameters():
        layer, parameter = name.split(".")
        factor = torch.tensor(die[layer][parameter]) / dict(chip.module.named_parameters())[name].detach()
        torch.testing.assert_close(found[name], value.grad * factor, rtol=1e-4, atol=1e-6)


def test_a_module_without_a_mask_takes_none_on_a_chip():
    with pytest.raises(NeurosimError, match="takes no mask"):
        train(OnChip(snntorch_net(), everything(), samples()[0][:, :4]), *samples(), recipe="dropout", epochs=1)


def test_the_robust_loss_of_a_chip_attacks_its_devices():
    chip = OnChip(mlp(), everything(), inputs().numpy(), mode="nominal")
    chip.train()
    how, generators = Attack(0.5, 2), [torch.Generator().manual_seed(3) for _ in range(2)]
    loss = robust_loss(chip, inputs(1), how, generator=generators[0])
    placement = chip.place()
    expected = robust_distance(lambda devices: output_of(chip.run(placement, devices, inputs(1))).sum(0),
                               placement.devices, how, generator=generators[1], reach=placement.reach)
    assert torch.equal(loss, expected)
    loss.backward()
    assert all(value.grad.abs().sum() > 0 for value in chip.parameters())


def test_an_objective_names_the_devices_of_several_dies_and_leaves_some_alone():
    chip = OnChip(mlp(), everything(), inputs().numpy(), dies=3, per_step=3)
    chip.train()
    on = ChipObjective(chip, inputs(1), torch.arange(BATCH) % 3, untouched=("fc2/*", "*/threshold"))
    assert {name.split(":")[0] for name in on.parameters} == {"0", "1", "2"}
    assert {name.split(":")[1] for name in on.reach} == {"fc1/weight", "fc1/bias", "lif1/beta", "lif2/beta"}
    torch.testing.assert_close(on.logits(on.parameters), torch.cat([
        output_of(chip.run(chip.place(k), chip.place(k).devices, inputs(1)[:, 2 * k:2 * k + 2])).sum(0)
        for k in range(3)]))
    assert replace(on, inputs=inputs(2)).placements is on.placements  # the same dies for other inputs
    assert int(chip.steps) == 1


def test_the_same_call_trains_the_same_chip_and_noisy_validation_has_dies_of_its_own():
    results = []
    for _ in range(2):
        chip = OnChip(mlp(), load_profile("pcm_hermes"), samples()[0][:, :4], mode="noise", per_step=2)
        results.append(train(chip, *samples(), recipe="forward_noise", epochs=2, learning_rate=1e-3,
                             validation=samples(12, 1), mismatch_draws=2))
    for a, b in zip(results[0].model.parameters(), results[1].model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert results[0].history == results[1].history
    seen = []
    chip.shown_as, shown = lambda die, seed: seen.append((die, seed)) or shown(die, seed), chip.shown_as
    accuracy_on_dies(chip, dict(chip.named_parameters()), (torch.tensor(samples()[0]), torch.tensor(samples()[1])),
                     "sum", 3, 77)
    assert seen == [(0, 77), (1, 77), (2, 77)]


def test_an_interrupted_training_goes_on_with_the_dies_that_come_next(tmp_path):
    def chip() -> OnChip:
        return OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], mode="noise", per_step=2)

    def stop(epoch: int, epochs: int, found: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    options = {"recipe": "hybrid", "epochs": 4, "steps": 2, "batch_size": 20, "validation": samples(12, 1)}
    whole = train(chip(), *samples(), **options)
    with pytest.raises(KeyboardInterrupt):
        train(chip(), *samples(), **options, checkpoint=tmp_path / "c", progress=stop)
    other = OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], mode="noise", per_step=3)
    with pytest.raises(NeurosimError, match="chip"):
        train(other, *samples(), **options, checkpoint=tmp_path / "c", resume=True)
    resumed = train(chip(), *samples(), **options, checkpoint=tmp_path / "c", resume=True)
    assert resumed.history == whole.history
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.mark.slow
def test_training_on_the_chip_is_worth_it():
    """Digits on a PCM crossbar with 4 levels: accuracy of 40 dies that neither network has seen."""
    task = load_task("digits", steps=12)
    profile = load_profile("pcm_hermes").with_values({"crossbar.levels": 4})
    accuracies = {}
    for way in ("alone", "on chip"):
        model = build("digits", 64, 10, seed=0)
        if way == "on chip":
            model = OnChip(model, profile, task.validation.inputs[:, :8], mode="noise", per_step=2, seed=1)
        trained = train(model, task.train.inputs, task.train.labels, epochs=20, batch_size=128, seed=0,
                        learning_rate=[(16, 5e-3), (4, 1e-3)],
                        validation=(task.validation.inputs, task.validation.labels), mismatch_draws=2,
                        selection="noisy" if way == "on chip" else "clean")
        network = to_network(trained, task.test.inputs[:, :4], task.dt)
        run_on_dies = deploy(map_network(network, profile), task.test.inputs, task.test.labels, dies=40, seed=99)
        accuracies[way] = run_on_dies.accuracy.values
    assert accuracies["on chip"].mean() > accuracies["alone"].mean() + 0.02
    assert accuracies["on chip"].min() > accuracies["alone"].min()


# what is refused


def test_what_does_not_go_is_refused():
    sample = inputs().numpy()
    for options, message in (({"mode": "random"}, "nominal, sampled, noise, attack"), ({"dies": 0}, "dies is 0"),
                             ({"per_step": 1.5}, "per_step"), ({"seed": -1}, "seed is -1")):
        with pytest.raises(NeurosimError, match=message):
            OnChip(mlp(), load_profile("mismatch"), sample, **options)
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


class Stepped(nn.Module):
    """A net without state, at each step."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 2:
            return self.net(x)
        return self.net(x.flatten(0, 1)).unflatten(0, x.shape[:2])
