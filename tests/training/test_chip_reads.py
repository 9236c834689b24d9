"""Training through reads: the values of deployment, gradients against what is known of them, what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from chip_cases import inputs, lsnn, mlp, native, snntorch_net
from test_on_chip_recurrent import MODULES
from torch import nn

import neurosim as ns
from neurosim.deployment import deploy
from neurosim.dies import Dies, Ranges
from neurosim.errors import NeurosimError
from neurosim.mapping import map_network
from neurosim.network.forward import run
from neurosim.network.ranges import LearntRanges
from neurosim.network.reads import Inputs
from neurosim.profile import Profile, load_profile
from neurosim.training import OnChip, to_network, train
from neurosim.training.objective import output_of
from neurosim.training.on_tiles import learnt
from neurosim.training.rounding import driven, growing

CONVERTERS = {"adc.bits": 6, "adc.range": "data", "dac.v_read": 0.2, "dac.bits": 5}
#: every kind of read, PCM with its read noise below all of them
READS = {
    "converters": CONVERTERS,
    "columns of small tiles": {"adc.bits": 6, "adc.range": "data", "adc.converts": "column", "crossbar.rows": 5,
                               "crossbar.columns": 8, "adc.gain": {"value": 1.0, "cv": 0.03},
                               "adc.offset": {"value": 0.0, "sd": 0.5}},
    "slices, SAR": {**CONVERTERS, "adc.kind": "sar", "adc.capacitor": 0.05, "dac.serial": True, "dac.slice_bits": 2},
    "wires of columns, drivers": {"wires.level": "column", "wires.column_resistance": 200.0, "dac.v_read": 0.2,
                                  "dac.gain": {"value": 1.0, "cv": 0.05}},
    "full wires, 1/f noise": {"wires.level": "full", "wires.column_resistance": 200.0, "wires.row_resistance": 100.0,
                              "adc.bits": 7, "crossbar.read_noise.slowest": 0.1},
    "reference columns": {"crossbar.cells.kind": "offset", "crossbar.columns": 9, "adc.bits": 7, "adc.range": "data",
                          "adc.noise": 1e-8, "dac.v_read": 0.2},
    "one device, noise of converters": {"crossbar.cells.kind": "single", "adc.bits": 7, "adc.noise": 1e-8,
                                        "dac.v_read": 0.2},
}
WIDE = ("lsnn", "native", "rnn, 1", "gru, 2", "lstm, 1", "frames")  # in float64, where no code depends on the last bit
CASES: dict[str, Callable[[], tuple[nn.Module, Callable[..., torch.Tensor]]]] = {
    **{make.__name__: lambda make=make: (make(), inputs) for make in (mlp, lsnn, snntorch_net, native)},
    **{name: MODULES[name] for name in WIDE if name in MODULES}}


def chip_type(reads: str) -> Profile:
    return load_profile("pcm_hermes").with_values(READS[reads])


def case(name: str) -> tuple[nn.Module, Callable[[int], torch.Tensor]]:
    module, make = CASES[name]()
    dtype = torch.float64 if name in WIDE else torch.float32
    return module.to(dtype), lambda seed: make(seed).to(dtype)


# values


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("name", CASES)
def test_a_die_that_is_read_in_training_is_that_of_deployment(name: str, reads: str) -> None:
    """Devices, wires, converters and every number of its read noise."""
    module, make = case(name)
    chip = OnChip(module, chip_type(reads), make(0).numpy(), seed=5, dies=2, time=3600.0, reads=True).eval()
    with torch.no_grad():
        chip.range_factors += torch.tensor([0.1, -0.2])
        with chip.shown_as(1, seed=9):
            found = output_of(chip(make(3))).numpy()
    mapped = chip.mapped()
    dies = Dies(mapped, 9, time=3600.0, ranges=learnt(chip._ranges, chip.range_factors))
    parameters, how = dies.as_run(1, found.dtype)
    expected = run(mapped.network, make(3).numpy(), parameters, reads=how, dtype=found.dtype).output
    off = abs(found - expected) > (1e-12 if name in WIDE else 1e-6) * abs(expected).max()
    assert off.mean() <= (0 if name in WIDE else 0.02)  # sums in another order: a code, and with it a spike, may move
    ideal = run(mapped.network, make(3).numpy(), dtype=found.dtype).output
    assert abs(found - ideal).max() > 1e-3 * abs(ideal).max()


@pytest.mark.parametrize("wires", [{"level": "nonlinear"}, {"level": "full", "row_off": "floating"},
                                   {"level": "full", "row_off": "gated"}])
def test_currents_that_are_solved_for_are_those_of_deployment(wires: dict[str, str]) -> None:
    values = {"column_resistance": 5.0, "row_resistance": 5.0, **wires}
    profile = load_profile("reram_milo").with_values({"dac.v_read": 0.2, "adc.bits": 7, **{
        f"wires.{key}": value for key, value in values.items()}})
    x = inputs().double()[:3] * (inputs(1)[:3] > 0.5)
    net, chip = _linear(profile, x)
    with torch.no_grad(), chip.eval().shown_as(1, 3):
        found = chip(x).numpy()
    parameters, how = Dies(chip.mapped(), 3, ranges=chip._ranges).as_run(1, np.float64)
    expected = run(chip.mapped().network, x.numpy(), parameters, reads=how, dtype=np.float64).output
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())
    chip.train()
    chip(x).sum().backward()
    assert net.weight.grad.any()


@pytest.mark.parametrize("name", CASES)
def test_nominal_devices_are_read_without_noise_and_every_parameter_is_trained(name: str) -> None:
    module, make = case(name)
    chip = OnChip(module, chip_type("converters"), make(0).numpy(), mode="noise", reads=True)
    chip.eval()
    with torch.no_grad():
        assert torch.equal(output_of(chip(make(3))), output_of(chip(make(3))))
    chip.train()
    output_of(chip(make(3))).square().sum().backward()
    for key, value in chip.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, key
            assert torch.isfinite(value.grad).all(), key
            assert value.grad.any(), key


def test_noise_is_another_in_every_step_and_the_same_within_it() -> None:
    chip = OnChip(mlp(), load_profile("pcm_hermes"), inputs().numpy(), dies=1, reads=True).train()
    first, second = (chip.placements(inputs(1))[0] for _ in range(2))
    assert first.die == second.die == 0
    a, b, c = (output_of(chip.run(placement, placement.devices, inputs(1)))
               for placement in (first, first, second))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    whole = chip.run(first, first.devices, inputs(1))[1]
    parts = [chip.run(first, first.devices, share, start)[1] for share, start in
             zip(inputs(1).split(3, dim=1), (0, 3), strict=True)]
    assert torch.equal(whole, torch.cat(parts, dim=1))


def test_read_noise_has_the_variance_of_every_device() -> None:
    """Against reads of single devices, at a time when it has grown; standard deviations within 2 %."""
    net = nn.Sequential(nn.Linear(20, 5, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.linspace(-1, 1, 100).reshape(5, 20))
    x = torch.linspace(0.1, 1.5, 20).expand(1, 8000, 20)
    chip = OnChip(net, load_profile("pcm_hermes"), x[:, :4].numpy(), seed=3, time=86400.0, reads=True).eval()
    with torch.no_grad(), chip.shown_as(0, 3):
        found = chip(x)[0].numpy()
    dies, (array,) = Dies(chip.mapped(), 3, time=86400.0), chip.mapped().arrays
    single = np.stack([array.weight(dies.read(0, array.name, sample=k)) @ x[0, 0].numpy() for k in range(8000)])
    assert abs((found.std(axis=0) / single.std(axis=0)).mean() - 1) < 0.02
    np.testing.assert_allclose(found.mean(axis=0), single.mean(axis=0), atol=5 * single.std() / np.sqrt(8000))


# gradients


def test_rounding_goes_straight_through_and_a_range_learns_by_what_it_cuts_off_and_rounds() -> None:
    x = torch.tensor([0.13, -0.52, 0.98, 1.7, -2.0], dtype=torch.float64, requires_grad=True)
    log_range = torch.zeros((), dtype=torch.float64, requires_grad=True)
    [(plane, worth)] = list(driven(Inputs(1.0, 3, True, False), x, growing(log_range)))
    codes = np.array([0, -2, 3, 3, -3])
    np.testing.assert_allclose(plane.detach() * 3, codes, atol=1e-12)
    weights = torch.tensor([1.0, 10, 100, 1000, 10000], dtype=torch.float64)
    (plane * weights).sum().backward()
    np.testing.assert_allclose(x.grad / weights, [1, 1, 1, 0, 0])
    steps = np.where(np.abs(x.detach().numpy()) > 7 / 6, 0, x.detach().numpy() * 3)
    assert worth == 1
    np.testing.assert_allclose(log_range.grad, ((codes - steps) / 3 * weights.numpy()).sum(), rtol=1e-12)


def test_slices_of_an_input_share_its_derivative() -> None:
    x = torch.tensor([0.13, -0.52, 0.98, 1.7], dtype=torch.float64, requires_grad=True)
    planes = list(driven(Inputs(1.0, 7, True, True, 2), x, growing(torch.zeros(()))))
    assert len(planes) == 3
    sum(plane * worth for plane, worth in planes).sum().backward()
    np.testing.assert_allclose(x.grad, [1, 1, 1, 0])


def _linear(profile: Profile, x: torch.Tensor, **options: object) -> tuple[nn.Module, OnChip]:
    net = nn.Linear(x.shape[-1], 3, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.linspace(-1, 1, net.weight.numel()).reshape(net.weight.shape) ** 3)
    return net, OnChip(net, profile, x.numpy(), dies=1, reads=True, **options)


def test_a_range_of_currents_learns_from_its_codes() -> None:
    """``y = s code(I / s)``: sum over outputs of (code - I / s) s within, of the last code's y beyond."""
    x = torch.linspace(0.1, 2.0, 8, dtype=torch.float64).expand(1, 1, 8)
    profile = load_profile("ideal").with_values({
        "family": "crossbar", "crossbar": {"g_min": 0.0, "g_max": 25e-6, "rows": 8, "columns": 6}, "adc.bits": 4,
        "adc.range": "data"})
    net, chip = _linear(profile, x, mode="nominal")
    chip.train()
    with torch.no_grad():
        chip.range_factors[0, 1] = -0.4  # cuts the largest current off
    y = chip(x)
    y.sum().backward()
    exact = (net.weight @ x[0, 0]).detach().numpy()
    current = exact / np.abs(net.weight.detach().numpy()).max(axis=1) * 25e-6
    full = np.exp(-0.4) * np.abs(current).max()
    step = full / 8
    codes = np.clip(np.floor(current / step + 0.5), -8, 7)
    scale = np.abs(net.weight.detach().numpy()).max(axis=1) / 25e-6
    np.testing.assert_allclose(y[0, 0].detach(), scale * step * codes, rtol=1e-6)
    cut = (current / step < -8.5) | (current / step >= 7.5)
    assert 0 < cut.sum() < 3
    expected = (scale * step * (codes - np.where(cut, 0, current / step))).sum()
    np.testing.assert_allclose(chip.range_factors.grad[0], [0, expected], rtol=1e-4)


def test_the_gradient_passes_the_size_of_the_noise() -> None:
    """Against differences: read noise, no converters."""
    x = torch.linspace(0.1, 2.0, 8, dtype=torch.float64).expand(1, 2, 8).clone().requires_grad_()
    _, chip = _linear(load_profile("pcm_hermes"), x.detach())
    chip.train()
    (placement,) = chip.placements(x)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def of(inputs: torch.Tensor) -> torch.Tensor:
        return (chip.run(placement, placement.devices, inputs) * weights).sum()

    of(x).backward()
    exact = chip.run(placement, {name: value.detach() for name, value in placement.devices.items()}, x.detach())
    silent = x.detach() @ torch.as_tensor(Dies(chip.mapped(), chip.seed).parameters(0)["linear"]["weight"].T).double()
    assert (exact - silent).abs().max() > 1e-3
    for i in (0, 5):
        moved = x.detach().clone()
        moved[0, 1, i] += 1e-6
        np.testing.assert_allclose((of(moved) - of(x)).detach() / 1e-6, x.grad[0, 1, i], rtol=1e-4)


@pytest.mark.parametrize("level", ["column", "full"])
def test_behind_wires_the_gradient_is_damped_like_the_current(level: str) -> None:
    """Near to differences of the solved tile where wires cost a few per cent; nearer than without damping."""
    profile = load_profile("ideal").with_values({
        "family": "crossbar", "wires.level": level,
        "crossbar": {"g_min": 2e-6, "g_max": 25e-6, "rows": 8, "columns": 6},
        "wires.column_resistance": 300.0, "wires.row_resistance": 100.0})
    x = torch.linspace(0.1, 2.0, 8, dtype=torch.float64).expand(1, 1, 8)
    _, chip = _linear(profile, x, mode="nominal")
    chip.train()
    placement = chip.place()
    [(name, devices)] = placement.devices.items()
    devices = devices.detach().requires_grad_()
    chip.run(placement, {name: devices}, x)[0, 0, 1].backward()
    (array,) = chip.mapped().arrays
    wired = Dies(chip.mapped(), 0)._readout
    planes = array.planes(array.targets).astype(np.float64)
    differences = np.zeros((planes.shape[0], planes.shape[2]))
    for k in range(planes.shape[0]):
        for i in range(planes.shape[2]):
            ends = []
            for sign in (-1, 1):
                other = planes.copy()
                other[k, 1, i] += sign * 1e-9
                ends.append(array.weight(wired.effective(0, array, other))[1] @ x[0, 0].numpy())
            differences[k, i] = (ends[1] - ends[0]) / 2e-9
    scale = float(array.scale.reshape(-1)[1])
    found = devices.grad.reshape(planes.shape)[:, 1].numpy()
    bare = np.outer(array.coefficients, x[0, 0].numpy())
    assert np.abs(found - differences / scale).mean() < 0.7 * np.abs(bare - differences / scale).mean()
    assert np.corrcoef(found.ravel(), differences.ravel())[0, 1] > 0.999


# learnt ranges go with the network


def test_learnt_ranges_are_stored_and_deployed_with(tmp_path: Path) -> None:
    profile = load_profile("pcm_hermes").with_values(CONVERTERS)
    chip = OnChip(mlp(), profile, inputs().numpy(), reads=True, mode="noise")
    labels = np.arange(6) % 3
    trained = train(chip, inputs(1).numpy(), labels, epochs=2, learning_rate=3e-2, batch_size=3)
    network = to_network(trained, inputs().numpy(), 1e-3)
    factors = trained.model.range_factors.detach().double().exp().numpy()
    assert (np.abs(np.log(factors[:, 1])) > 1e-3).all()
    network.save(tmp_path / "net.h5")
    again = ns.Network.load(tmp_path / "net.h5")
    assert again.hash == network.hash
    mapped, lot = map_network(again, profile), Dies(chip.mapped(), 4, ranges=learnt(chip._ranges, chip.range_factors))
    run_ = deploy(mapped, inputs(2).numpy(), labels, dies=3, seed=4, keep_predictions=True, progress=False)
    assert run_.dataset.attrs["ranges"] == "learnt in training"
    for die in range(3):
        parameters, how = lot.as_run(die)
        expected = run(again, inputs(2).numpy(), parameters, reads=how).prediction
        np.testing.assert_array_equal(run_.dataset["prediction"][die], expected)
    other = deploy(map_network(again, profile.with_values({"crossbar.rows": 100})), inputs(2).numpy(), labels, dies=2,
                   progress=False)
    assert "those learnt are of" in other.dataset.attrs["ranges"]
    fixed = OnChip(mlp(), profile, inputs().numpy(), reads=True, learn_ranges=False)
    assert not fixed.range_factors.requires_grad
    assert not fixed.to_network().ranges.arrays


def test_a_range_that_the_chip_fixes_is_not_learnt() -> None:
    profile = load_profile("pcm_hermes").with_values({
        **CONVERTERS, "dac.range": "fixed", "dac.full_scale": 1.5, "adc.range": "fixed", "adc.full_scale": 2e-6})
    chip = OnChip(mlp(), profile, inputs().numpy(), reads=True, mode="nominal").train()
    with torch.no_grad():
        chip.range_factors += 1.0
    output_of(chip(inputs(1))).square().sum().backward()
    assert not chip.range_factors.grad.any()
    ranges = chip.to_network().ranges.arrays
    assert ranges["fc1/weight"] == Ranges(1.5)


def test_damaged_ranges_are_refused() -> None:
    good = LearntRanges({"a/weight": Ranges(1.0, np.array(2.0))}, "x").as_plain()
    assert LearntRanges.from_plain(good).arrays["a/weight"].currents == 2.0
    for change in ({"inputs": -1.0}, {"currents": [0.0]}, {"inputs": "much"}):
        with pytest.raises(NeurosimError, match="are no ranges"):
            LearntRanges.from_plain({**good, "arrays": {"a/weight": {"inputs": 1.0, "currents": 2.0, **change}}})


# refused


def test_what_cannot_be_read_is_refused() -> None:
    sample = inputs().numpy()
    clipped = load_profile("pcm_hermes").with_values({"crossbar.read_noise.clipped": True})
    for profile, message in ((load_profile("mismatch"), "no crossbar to read"), (clipped, "clipped")):
        with pytest.raises(NeurosimError, match=message):
            OnChip(mlp(), profile, sample, reads=True)
    with pytest.raises(NeurosimError, match="exact_forward"):
        OnChip(mlp(), load_profile("pcm_hermes"), sample, reads=True, exact_forward=True)
    placement = OnChip(mlp(), load_profile("pcm_hermes"), sample, reads=True).place()
    weight = placement.tensors_on(placement.devices, 8, range(6))["fc1.weight"]
    assert weight.shape == (9, 12)
    for wrong in (torch.square, lambda w: w @ torch.ones(12), lambda w: torch.ones(2, 9) @ w,
                  lambda w: w * torch.rand(9, 12), torch.relu):
        with pytest.raises(NeurosimError, match="a product with signals"):
            wrong(weight)
    with pytest.raises(NeurosimError, match="for one step or for all 8"):
        weight.use.of(torch.ones(5, 12))
    weight.use.of(torch.ones(8, 6, 12))
    with pytest.raises(NeurosimError, match="more than once in a step"):
        weight.use.of(torch.ones(6, 12))
