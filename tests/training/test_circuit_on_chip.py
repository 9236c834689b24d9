"""Circuits on a chip: the dies of deployment, one unit of noise is the profile's spread, recipes move currents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.devices import current_widths
from neurosim.mapping import chip_fields
from neurosim.network.forward import run
from neurosim.profile import Variation
from neurosim.training import RECIPES, Attack, OnChip, SpikingNetwork, circuit_network, train
from neurosim.training.deviations import gaussian, moved

SE2 = ns.load_profile("dynap_se2")
CHIPS = {
    "dynap_se2": SE2, "dynap_se1": ns.load_profile("dynap_se1"),
    "warm": SE2.with_values({"circuit.temperature.operating": 320.0}),
    "truncated": SE2.with_values({"circuit.mismatch.distribution": "truncated_normal"}),
}


def spikes(seed: int = 0, time: int = 20, batch: int = 6, channels: int = 16) -> torch.Tensor:
    return torch.tensor((np.random.default_rng(seed).random((time, batch, channels)) < 0.4).astype(np.float32))


def net(profile: ns.Profile = SE2, recurrent: bool = True) -> torch.nn.Module:
    return circuit_network(16, 5, chip_fields(profile), 1e-3, hidden=20, recurrent=recurrent, unit=40e-9,
                           unit_out=100e-9, seed=3)


def chip(profile: ns.Profile = SE2, **options: object) -> OnChip:
    return OnChip(net(profile), profile, spikes().numpy(), **options)


def everything() -> SpikingNetwork:
    """All kinds of synapse, adaptation, NMDA gate and a constant input, as modules of their own weights."""
    rng = np.random.default_rng(5)
    layer = ns.DPINeuron(**{
        **chip_fields(SE2), "i_dc": 20e-12, "i_nmda_threshold": 1e-9, "i_weight_ahp": 20e-9, "t_refractory": 2e-3},
        weight_ampa=rng.uniform(20e-9, 200e-9, (6, 16)), weight_nmda=rng.uniform(0, 90e-9, (6, 16)),
        weight_shunt=rng.uniform(0, 20e-9, (6, 16)), recurrent_gaba=rng.uniform(0, 20e-9, (6, 6)))
    network = ns.Network.sequential({"all": layer}, (16,), dt=1e-3)
    return SpikingNetwork.from_network(network, dtype=torch.float64)


@pytest.mark.parametrize("name", CHIPS)
def test_die_k_of_training_is_die_k_of_deployment(name):
    on, x = chip(CHIPS[name], seed=5), spikes(1)
    network = on.mapped().network
    for die in (0, 7, 12345):
        placement = on.place(die)
        output, hidden = on.run(placement, placement.devices, x)
        expected = run(network, x.numpy(), ns.Dies(on.mapped(), 5).parameters(die), keep=("hidden",))
        np.testing.assert_array_equal(output.detach().numpy(), expected.output)
        np.testing.assert_array_equal(hidden.detach().numpy(), expected.kept["hidden"])
    assert hidden.any()
    assert not np.array_equal(expected.kept["hidden"], run(network, x.numpy(), keep=("hidden",)).kept["hidden"])


def test_so_it_is_for_all_kinds_of_synapse_in_a_module_of_a_network():
    module, x = everything(), spikes(1, time=60)
    on = OnChip(module, SE2, x.numpy(), seed=5)
    for die in (0, 7):
        placement = on.place(die)
        output = on.run(placement, placement.devices, x).detach().numpy()
        expected = run(on.mapped().network, x.numpy(), ns.Dies(on.mapped(), 5).parameters(die)).output
        np.testing.assert_array_equal(output, expected)
        assert 0.01 < output.mean() < 0.6
    assert {"dc", "nmda_gate", "ahp_weight", "shunt_gain", "weight", "leakage"} <= set(placement.reach)


@pytest.mark.parametrize("name", ["dynap_se2", "dynap_se1"])
def test_nominal_devices_are_what_the_configuration_says(name):
    on, x = chip(CHIPS[name], mode="nominal"), spikes(1)
    expected = run(on.mapped().configuration.to_network(CHIPS[name]), x.numpy()).output
    np.testing.assert_array_equal(on.train()(x)[0].detach().numpy(), expected)
    np.testing.assert_array_equal(on.eval()(x)[0].detach().numpy(), expected)


def test_one_unit_moves_a_current_by_the_spread_of_its_device_of_its_core_and_of_its_die():
    """Dies have these terms: tests/dies. Here each is moved alone, and reaches what lies on its core, of any layer."""
    profile = SE2.with_values({"circuit.mismatch.leak": {"device": 0.1, "core": 0.15, "die": 0.2},
                               "circuit.mismatch.weight": {"device": 0.3, "core": 0.25, "die": 0.35}})
    on = OnChip(circuit_network(16, 20, chip_fields(SE2), 1e-3, hidden=30, seed=3), profile, spikes().numpy())
    placement, conf = on.place(), on.mapped().configuration
    cores = {layer: place[:, 0] for layer, place in conf.places.items()}
    assert {len(set(core)) for core in cores.values()} == {1}
    assert cores["hidden"][0] != cores["out"][0]

    def shifts(part: str, *at: int) -> tuple[np.ndarray, np.ndarray]:
        u = torch.zeros_like(placement.devices[part])
        u[list(at)] = 1.0
        there = moved(placement.devices, {part: u}, placement.reach)
        before, after = (placement.module_tensors(devices) for devices in (placement.devices, there))
        name = "neurons.ln_i_tau_mem" if part == "leak" else "weight"
        found = [(after[f"{layer}.{name}"] - before[f"{layer}.{name}"]).detach().numpy() if part == "leak" else
                 (after[f"{layer}.{name}"] / before[f"{layer}.{name}"]).detach().log().numpy().ravel()
                 for layer in ("hidden", "out")]
        return found[0], found[1]

    width = {cv: np.sqrt(np.log1p(cv**2)) for cv in (0.1, 0.15, 0.2, 0.25, 0.35)}
    for at, expected in ((7, width[0.1] * (np.arange(50) == 7)), (54, np.full(50, width[0.2])),
                         (50 + cores["hidden"][0], np.repeat([width[0.15], 0], [30, 20])),
                         (50 + cores["out"][0], np.repeat([0, width[0.15]], [30, 20]))):
        np.testing.assert_allclose(np.concatenate(shifts("leak", int(at))), expected, atol=1e-12)
    common = placement.devices["weight"].numel() - 4 * 5  # a factor for each base current of each core, and of the die
    hidden, out = shifts("weight", *(common + base * 4 + int(cores["out"][0]) for base in range(4)))
    assert not hidden[np.isfinite(hidden)].any()
    np.testing.assert_allclose(out[np.isfinite(out)], width[0.25], rtol=1e-5)  # all base currents of its core
    for one in shifts("weight", *range(common + 16, common + 20)):
        np.testing.assert_allclose(one[np.isfinite(one)], width[0.35], rtol=1e-5)
    one, other = shifts("weight", 0)
    assert np.count_nonzero(np.nan_to_num(one)) + np.count_nonzero(np.nan_to_num(other)) == 1


@pytest.mark.parametrize("name", ["dynap_se2", "truncated"])
def test_an_attack_moves_every_current_that_varies_and_none_beyond_its_box(name):
    on = chip(CHIPS[name], mode="attack", attack=Attack(size=0.7, steps=3)).train()
    nominal, [attacked] = on.place(), on.placements(spikes(2))
    mismatch = CHIPS[name].circuit.mismatch
    variations = {"leakage": mismatch.leakage, "weight": mismatch.weight, "leak": mismatch.leak, "gain": mismatch.gain,
                  "spike_threshold": mismatch.spike_threshold, "refractory": mismatch.refractory,
                  "pulse": mismatch.pulse, "ampa_tau": mismatch.synapse_tau, "gaba_gain": mismatch.synapse_gain}
    assert set(variations) <= set(nominal.reach)
    for part, variation in variations.items():
        here, there = (p.devices[part].detach().numpy() for p in (nominal, attacked))
        widest = 0.7 * max(current_widths(CHIPS[name].circuit, variation))
        ratio = there[here > 0] / here[here > 0]
        moved_by = np.abs(np.log(ratio) if name == "dynap_se2" else ratio - 1)
        assert 0.3 * widest < moved_by.max() <= widest * (1 + 1e-6), part
        assert (there[here == 0] == 0).all()
    quiet = SE2.with_values({f"circuit.mismatch.{field}": {"device": 0.0} for field, value in mismatch
                             if isinstance(value, Variation)})
    assert chip(quiet).place().reach == {}
    with pytest.raises(ns.NeurosimError, match="nothing to attack"):
        chip(quiet, mode="attack")


def test_an_attack_is_worse_than_chance_of_the_same_size():
    on, x = chip(mode="attack", attack=Attack(size=1.0, steps=8)).train(), spikes(2, time=40)
    placement, generator = on.place(), torch.Generator().manual_seed(0)

    def logits(devices: dict[str, torch.Tensor]) -> torch.Tensor:
        return on.run(placement, devices, x)[0].sum(dim=0).detach().log_softmax(dim=1)

    clean = logits(placement.devices)
    [attacked] = on.placements(x)
    harm = [(clean.exp() * (clean - logits(devices))).sum(dim=1).mean().item() for devices in (
        attacked.devices, *(moved(placement.devices, gaussian(placement.devices, placement.reach, 0.8, generator),
                                  placement.reach) for _ in range(8)))]
    assert harm[0] > max(harm[1:])


def test_the_gradient_goes_straight_through_masks_and_passes_the_factor_of_each_synapse():
    on = chip()
    placement = on.place(2)
    weight = placement.module_tensors(placement.devices)["hidden.weight"]
    own = on.module.hidden.weight
    (slope,) = torch.autograd.grad(weight.sum(), own)
    conf = on.mapped().configuration.to_network(SE2)["hidden"]
    nominal = (conf.weight_ampa - conf.weight_gaba) / on.module.hidden.unit
    silent = nominal == 0
    assert 0 < silent.sum() < 0.2 * silent.size
    np.testing.assert_allclose(slope.numpy()[silent], 1, rtol=1e-6)  # no synapse now, but it may become one
    np.testing.assert_allclose(slope.numpy()[~silent], weight.detach().numpy()[~silent] / nominal[~silent], rtol=1e-5)


def test_a_synapse_that_became_no_word_learns():
    on, x = chip(mode="nominal").train(), spikes(1, time=40)
    on(x)[0].sum().backward()
    conf = on.mapped().configuration.to_network(SE2)["hidden"]
    silent = torch.tensor(conf.weight_ampa + conf.weight_gaba == 0)
    assert silent.any()
    assert (on.module.hidden.weight.grad[silent] != 0).float().mean() > 0.8  # some neurons say nothing here


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"dropout"}))
def test_recipes_train_circuits_on_a_chip(recipe):
    x, labels = spikes(4, batch=8).numpy(), np.arange(8) % 5
    on = OnChip(net(recurrent=False), SE2, x, mode="sampled", per_step=2)
    before = on.module.hidden.weight.detach().clone()
    steps = {"steps": 2} if "steps" in RECIPES[recipe].__dataclass_fields__ else {}
    found = train(on, x, labels, recipe=recipe, epochs=1, batch_size=4, learning_rate=0.02, validation=(x, labels),
                  mismatch_draws=1, **steps)
    assert np.isfinite(found.history["loss"]).all()
    assert not torch.equal(before, on.module.hidden.weight)
    ns.map_network(on.to_network(), SE2)


def test_what_does_not_go_is_refused():
    with pytest.raises(ns.NeurosimError, match="simulator in any case"):
        chip(exact_forward=True)

    class Swapped(torch.nn.Module):
        """Populations in another order than the network's."""

        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = net().out, net().hidden

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

        def to_network(self, dt: float) -> ns.Network:
            return ns.Network.sequential({"a": self.first.to_layer(), "b": self.second.to_layer()}, (16,), dt)

    with pytest.raises(ns.NeurosimError, match="in the order in which the network has them"):
        OnChip(Swapped(), SE2, spikes().numpy())
