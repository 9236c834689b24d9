"""Devices in training: gradients, the box of an attack, noise of one unit, masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from chip_cases import (
    BATCH,
    CHANNELS,
    CHIPS,
    STEPS,
    Stepped,
    dies_of,
    everything,
    inputs,
    lsnn,
    mlp,
    native,
    parameters_of,
    seeded,
    snntorch_net,
)
from scipy import stats
from torch import nn

from neurosim.devices import evaluate
from neurosim.dies import Dies
from neurosim.mapping import DeviceArray, map_network
from neurosim.network.forward import run
from neurosim.profile import load_profile
from neurosim.training import (
    Attack,
    OnChip,
    spiking_mlp,
)
from neurosim.training.deviations import corners, gaussian, moved
from neurosim.training.objective import output_of

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
