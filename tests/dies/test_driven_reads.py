"""Rows as they are driven: gains of drivers, inputs that stand for the full voltage, ranges of what is converted."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim.deployment import find_ranges
from neurosim.network.forward import run

RNG = np.random.default_rng(8)
WEIGHT = RNG.normal(size=(8, 16))
NUMBERS = RNG.uniform(-1, 1, (1, 50, 16))
PLAIN = {"crossbar.programming.sigma": 0.0, "crossbar.read_noise": None, "crossbar.drift": None}
WIRED = {"wires.level": "full", "wires.row_resistance": 50.0, "wires.column_resistance": 50.0}
CUBIC = {"crossbar.iv": {"polynomial": [0.0, 2.0], "v_max": 4.0, "source": "assumed: for a test"}}


def chip(**values: object) -> ns.Profile:
    return ns.load_profile("pcm_joshi").with_values({**PLAIN, **values})


def net(weight: np.ndarray = WEIGHT) -> ns.Network:
    return ns.Network.sequential({"fc": ns.Linear(weight)}, (weight.shape[1],), dt=1e-3)


def output(profile: ns.Profile, inputs: np.ndarray = NUMBERS, network: ns.Network | None = None) -> np.ndarray:
    network = network or net()
    mapped = ns.map_network(network, profile)
    parameters, reads = ns.Dies(mapped, 1, ranges=find_ranges(mapped, inputs)).as_run(0, np.float64)
    return run(network, inputs, parameters, reads=reads, dtype=np.float64).output


def gain(found: np.ndarray, exact: np.ndarray) -> float:
    return float((found * exact).sum() / np.square(exact).sum())


@pytest.mark.parametrize("values", [
    {}, WIRED, {**WIRED, "wires.row_off": "floating"}, {**WIRED, "wires.row_off": "gated"},
    {**WIRED, **CUBIC, "wires.level": "nonlinear"}])
def test_drivers_at_half_the_voltage_give_half_the_current(values):
    """So they do on a tile that is solved for every vector; with a cubic device they give a little less than half."""
    full, half = (output(chip(**values, **{"dac.v_read": 0.2, "dac.gain": {"value": gain}})) for gain in (1.0, 0.5))
    assert gain(half, full) == pytest.approx(0.5, abs=0.02 if "crossbar.iv" in values else 1e-6)
    assert gain(half, full) <= 0.5 + 1e-6


@pytest.mark.parametrize("values", [{}, WIRED, {**WIRED, "wires.row_off": "gated"}])
def test_the_noise_of_a_device_goes_with_the_voltage_on_its_row(values):
    noise = {"crossbar.read_noise": {"relative": 0.05}}
    mapped = [ns.map_network(net(), chip(**{**values, **noise}, **{"dac.v_read": 0.2, "dac.gain": {"value": gain}}))
              for gain in (1.0, 0.5)]
    full, half = (ns.Dies(one, 1).reads(0)["fc/weight"].tiles.variance for one in mapped)
    np.testing.assert_allclose(half, full / 4, rtol=1e-5)


@pytest.mark.parametrize("row_off", ["floating", "gated"])
def test_wires_damp_the_noise_of_tiles_that_are_solved(row_off):
    noise = {"crossbar.read_noise": {"relative": 0.05}}
    grounded, solved = (
        ns.Dies(ns.map_network(net(), chip(**{**WIRED, **noise, "wires.row_off": off})), 1).reads(0)["fc/weight"]
        for off in ("grounded", row_off))
    np.testing.assert_allclose(solved.tiles.variance, grounded.tiles.variance, rtol=1e-5)
    ideal = ns.Dies(ns.map_network(net(), chip(**noise)), 1).reads(0)["fc/weight"].tiles.variance
    assert grounded.tiles.variance.sum() < 0.95 * ideal.sum()


@pytest.mark.parametrize("values", [{**CUBIC, "wires.level": "nonlinear"},
                                    {"adc.bits": 10, "adc.range": "fixed", "adc.full_scale": 3e-5}])
def test_exact_inputs_stand_for_the_same_voltages_in_every_unit(values):
    """The largest input stands for v_read, so a network in other units is the same network."""
    found = [output(chip(**values, **{"dac.v_read": 0.2}), NUMBERS * unit, net(WEIGHT / unit))
             for unit in (1.0, 0.01, 100.0)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=2e-3 * np.abs(found[0]).max())
    assert 0.9 < gain(found[0], NUMBERS @ WEIGHT.T) < 1.2


def test_inputs_without_a_range_are_refused():
    with pytest.raises(ns.NeurosimError, match=r"fc/weight.*dac\.bits.*find_ranges"):
        ns.Dies(ns.map_network(net(), chip(**{"dac.v_read": 0.2, "dac.bits": 4})), 1)
    mapped = ns.map_network(net(), chip(**CUBIC, **{"wires.level": "nonlinear", "dac.v_read": 0.2}))
    reads = ns.Dies(mapped, 1).as_run(0)[1]
    with pytest.raises(ns.NeurosimError, match=r"an input of 3.*find_ranges"):
        run(net(), 3 * np.ones((1, 1, 16)), ns.Dies(mapped, 1).direct(0), reads=reads)


def test_the_ends_of_wires_stand_in_their_segments():
    for key, said in (("open_row", "row_resistance"), ("driver_resistance", "row_resistance")):
        with pytest.raises(ns.NeurosimError, match=f"{said} above 0 with {key}"):
            chip(**{"wires.level": "full", "wires.row_resistance": 0.0, f"wires.{key}": 0.1})
    for key in ("open_column", "sense_resistance"):
        with pytest.raises(ns.NeurosimError, match=f"column_resistance above 0 with {key}"):
            chip(**{"wires.level": "full", "wires.column_resistance": 0.0, f"wires.{key}": 0.1})
    chip(**{"wires.open_row": 0.1})  # ideal wires, whatever else stands there
    chip(**{"wires.level": "column", "wires.column_resistance": 1.0, "wires.open_row": 0.1})


@pytest.mark.parametrize("values", [{"dac.range": "fixed"}, {"dac.serial": True, "dac.slice_bits": 4}])
def test_drivers_that_cannot_be_are_refused(values):
    with pytest.raises(ns.NeurosimError, match=r"full_scale with range|bits of a magnitude: 3"):
        chip(**{"dac.v_read": 0.2, "dac.bits": 4, **values})


@pytest.mark.parametrize("share", [1.0, 0.1, 0.005])
def test_one_current_in_a_thousand_is_cut_off_however_rare_spikes_are(share):
    """Steps in which nothing is read are none of those that a percentile is taken of."""
    network = ns.Network.sequential({"fc": ns.Linear(RNG.normal(size=(32, 64))), "lif": ns.LIF(0.9)}, (64,), dt=1e-3)
    rng = np.random.default_rng(3)
    spikes = ((rng.random((400, 32, 64)) < 0.1) * (rng.random((400, 32, 1)) < share)).astype(np.float32)
    found = ns.deploy(ns.map_network(network, chip(**{"adc.bits": 6})), spikes, np.zeros(32, int), dies=1, seed=1,
                      progress=False).dataset
    assert float(found["saturated"].sum() / found["conversions"].sum()) < 0.003


@pytest.mark.parametrize("image", [False, True])
def test_a_sample_of_zeros_and_ones_is_read_the_same_alone(image):
    """Whether inputs are converted is said by the range, not by who else is in the batch."""
    shape = (4, 4, 1, 3, 3) if image else (4, 4, 16)
    inputs = np.random.default_rng(1).uniform(0, 1.5, shape)
    inputs[:, 2] = inputs[:, 2] > 0.7
    layers = {"fc": ns.Conv2d(RNG.normal(size=(2, 1, 2, 2)))} if image else {"fc": ns.Linear(WEIGHT)}
    network = ns.Network.sequential(layers, shape[2:], dt=1e-3)
    mapped = ns.map_network(network, chip(**{"dac.v_read": 0.2, "dac.bits": 4, "adc.bits": 6}))
    parameters, reads = ns.Dies(mapped, 1, ranges=find_ranges(mapped, inputs)).as_run(0)
    together, alone = (run(network, which, parameters, reads=reads).output for which in (inputs, inputs[:, 2:3]))
    np.testing.assert_array_equal(alone[:, 0], together[:, 2])


def test_noise_that_does_not_last_a_step_is_white():
    reads = [ns.Dies(ns.map_network(net(), chip(**{"crossbar.read_noise": {
        "relative": 0.05, "slowest": slowest}})), 1).reads(0)["fc/weight"]
        for slowest in (1e-6, 1e-2)]
    assert [len(read.memory) for read in reads] == [0, 2]


def test_conductances_are_not_below_nothing():
    mapped = ns.map_network(net(), chip(**{"crossbar.programming": None}).with_values({
        "mismatch.weight": {"value": 1.0, "cv": 0.5}}))
    found = ns.Dies(mapped, 1).conductances(0, "fc/weight")
    assert found.min() == 0
    assert np.mean(found == 0) < 0.6  # half of them are meant to be at 0
