"""How dies are read: wires, converters and noise of whole networks, against the network and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from wires_nodal import currents as nodal_currents
from wires_nodal import nonlinear_currents as nodal_nonlinear

import neurosim as ns
from neurosim import engine
from neurosim.deployment import find_ranges
from neurosim.devices.wires import effective, segments
from neurosim.network.forward import run
from neurosim.network.reads import Inputs, bit_planes

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(0, 0.3, (9, 25))
SPIKES = (RNG.random((6, 5, 25)) < 0.3).astype(np.float32)
NUMBERS = RNG.normal(0, 1, (6, 5, 25)).astype(np.float32)
#: devices without any spread, so that what is left is how they are read
PLAIN = {"crossbar.rows": 10, "crossbar.columns": 8, "crossbar.programming.sigma": 0.0}
ADC = {"adc.bits": 12, "adc.range": "data"}
DAC = {"dac.v_read": 0.2, "dac.bits": 10}


def chip(**values: object) -> ns.Profile:
    bare = ns.load_profile("ideal").with_values({
        "family": "crossbar", "crossbar": {"g_min": 0.0, "g_max": 25e-6, "rows": 10, "columns": 8,
                                           "programming": {"sigma": 0.0}}})
    return bare.with_values({key.replace("__", "."): value for key, value in values.items()})


def linear(weight: np.ndarray = WEIGHT) -> ns.Network:
    return ns.Network.sequential({"fc": ns.Linear(weight, np.ones(weight.shape[0]))}, weight.shape[1:], dt=1e-3)


def outputs(network: ns.Network, profile: ns.Profile, inputs: np.ndarray, die: int = 0, seed: int = 7,
            **keep: object) -> np.ndarray:
    dies = ns.Dies(ns.map_network(network, profile), seed, ranges=find_ranges(ns.map_network(network, profile), inputs))
    parameters, reads = dies.as_run(die, np.float64)
    return run(network, inputs, parameters, reads=reads, dtype=np.float64, **keep).output


@pytest.mark.parametrize("cells", ["pair", "two_sided", "offset", "single"])
@pytest.mark.parametrize("converts", ["output", "column"])
@pytest.mark.parametrize("kind", ["uniform", "sar", "ramp", "pipeline"])
def test_good_converters_give_the_network_itself(kind, converts, cells):
    """12 bits on every tile's sums; signed inputs of 10 bits; the error is bounded by the steps."""
    network, bits = linear(), 12 if kind == "ramp" else 14
    profile = chip(**{**DAC, **ADC, "adc.bits": bits, "adc.kind": kind, "adc.converts": converts, "dac.bits": 14,
                      "crossbar.cells.kind": cells})
    for inputs in (SPIKES, NUMBERS):
        exact = run(network, inputs, dtype=np.float64).output
        error = np.abs(outputs(network, profile, inputs) - exact).max()
        assert 0 < error < 2e-2 * np.abs(exact).max() * 2.0 ** (12 - bits)


def test_bits_halve_the_error():
    network = linear()
    exact = run(network, NUMBERS, dtype=np.float64).output
    for key in ("adc.bits", "dac.bits"):
        errors = [np.std(outputs(network, chip(**{**DAC, **ADC, "adc.bits": 14, "dac.bits": 14, key: bits}), NUMBERS)
                         - exact) for bits in (5, 7, 9)]
        assert 2.5 < errors[0] / errors[1] < 6
        assert 2.5 < errors[1] / errors[2] < 6


def test_serial_inputs_are_the_codes_of_parallel_ones():
    network = linear()
    fine = {**DAC, "dac.bits": 6, "adc.bits": 14, "adc.range": "data"}
    parallel, serial = (outputs(network, chip(**fine, **{"dac.serial": serial}), NUMBERS) for serial in (False, True))
    assert np.std(parallel - serial) < 3e-3
    coarse = {**fine, "adc.bits": 4}
    parallel, serial = (outputs(network, chip(**coarse, **{"dac.serial": serial}), NUMBERS) for serial in (False, True))
    assert np.abs(parallel - serial).max() > 0.05  # every bit is rounded for itself


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("slice_bits", [1, 2, 3, 4, 7])
def test_slices_of_inputs_add_up_to_their_codes(slice_bits, signed):
    x = RNG.normal(0, 0.5, (20, 7)).astype(np.float32)
    codes, step, _ = engine.input_codes(x, 1.0, 7, signed)
    inputs = Inputs(1.0, 7, signed, True, slice_bits)
    planes = list(bit_planes(inputs, x))
    assert len(planes) == inputs.slices == -(-(7 - signed) // slice_bits)
    np.testing.assert_allclose(sum(worth * plane for plane, worth in planes), codes * step, atol=1e-6)
    top = 2**slice_bits - 1
    for plane, _ in planes:
        assert np.abs(plane).max() <= 1 + 1e-6
        np.testing.assert_allclose(plane * top, np.rint(plane * top), atol=1e-5)


def test_wider_slices_are_fewer_roundings():
    network = linear()
    keys = {**DAC, "dac.bits": 7, "adc.bits": 4, "adc.range": "data", "dac.serial": True}
    fine = outputs(network, chip(**{**keys, "adc.bits": 14}), NUMBERS)
    found = [outputs(network, chip(**keys, **{"dac.slice_bits": bits}), NUMBERS) for bits in (1, 2, 3, 6)]
    errors = [np.std(one - fine) for one in found]
    assert len({error.round(6) for error in errors}) == 4
    assert max(errors) < 0.5 * np.std(fine)
    whole, parallel = (outputs(network, chip(**{**keys, "adc.bits": 14, **change}), NUMBERS)
                       for change in ({"dac.slice_bits": 6}, {"dac.serial": False}))
    np.testing.assert_allclose(whole, parallel, atol=1e-2)


@pytest.mark.parametrize("converts", ["output", "column"])
def test_a_convolution_is_read_as_its_im2col_matrix(converts):
    kernel = RNG.normal(0, 0.3, (5, 3, 2, 2))
    conv = ns.Network.sequential({"c": ns.Conv2d(kernel, RNG.normal(size=5), padding=1)}, (3, 4, 4), dt=1e-3)
    profile = chip(**{**DAC, **ADC, "adc.bits": 6, "adc.gain": {"value": 1.0, "cv": 0.02},
                      "adc.converts": converts})
    inputs = RNG.normal(0, 1, (2, 3, 3, 4, 4)).astype(np.float32)
    found = outputs(conv, profile, inputs)
    padded = np.pad(inputs, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.stack([padded[:, :, :, i:i + 2, j:j + 2].reshape(2, 3, -1) for i in range(5) for j in range(5)], axis=2)
    dense = ns.Network.sequential({"c": ns.Linear(kernel.reshape(5, -1))}, (12,), dt=1e-3)
    mapped = ns.map_network(conv, profile)
    ranges = find_ranges(mapped, inputs)
    dies = ns.Dies(ns.map_network(dense, profile), 7, ranges=ranges)
    flat = run(dense, seen.reshape(2, -1, 12), reads=dies.as_run(0, np.float64)[1], dtype=np.float64).output
    flat = flat.reshape(2, 3, 5, 5, 5).transpose(0, 1, 4, 2, 3) + conv["c"].bias[:, None, None]
    np.testing.assert_allclose(found.reshape(flat.shape), flat, atol=1e-9)


def test_every_tile_converts_for_itself():
    """25 inputs on rows of 10: three sums an output, by hand."""
    network = linear()
    profile = chip(**{"adc.bits": 5, "adc.range": "fixed", "adc.full_scale": 4e-6, "dac.v_read": 0.2})
    mapped = ns.map_network(network, profile)
    (array,) = mapped.arrays
    step = 4e-6 / 0.2 / 16
    g = array.own[0].astype(float) - array.own[1]
    scale = np.broadcast_to(array.scale, WEIGHT.shape)
    total = np.ones((*SPIKES.shape[:2], 9))
    for first in (0, 10, 20):
        part = slice(first, first + 10)
        codes = np.clip(np.floor(SPIKES[:, :, part].astype(float) @ g[:, part].T / step + 0.5), -16, 15)
        total += codes * step * scale[:, first]
    np.testing.assert_allclose(outputs(network, profile, SPIKES), total, rtol=1e-6, atol=1e-9)


def test_saturation_is_counted():
    network = linear()
    profile = chip(**{"adc.bits": 5, "adc.range": "percentile", "adc.percentile": 90.0})
    mapped = ns.map_network(network, profile)
    ranges = find_ranges(mapped, SPIKES)
    found = run(network, SPIKES, reads=ns.Dies(mapped, 1, ranges=ranges).reads(0)).saturation["fc/weight"]
    assert found.currents[0] == 6 * 5 * 27
    assert 0.05 < found.currents[1] / found.currents[0] < 0.2
    labels = np.zeros(5, int)
    deployed = ns.deploy(mapped, SPIKES, labels, dies=2, seed=1, progress=False).dataset
    assert deployed["saturated"].values[0, 0] == found.currents[1]
    assert deployed["conversions"].values[0, 0] == found.currents[0]
    profile = chip(**{**DAC, "dac.bits": 6, "dac.range": "fixed", "dac.full_scale": 1.0})
    mapped = ns.map_network(network, profile)
    reads = ns.Dies(mapped, 1, ranges=find_ranges(mapped, NUMBERS)).reads(0)
    found = run(network, NUMBERS, reads=reads).saturation["fc/weight"].inputs
    np.testing.assert_array_equal(found, [NUMBERS.size, (np.rint(np.abs(NUMBERS * np.float32(31))) > 31).sum()])


@pytest.mark.parametrize("level", ["column", "full"])
def test_wires_are_those_of_each_tile(level):
    network = linear()
    resistance = {"wires.level": level, "wires.row_resistance": 40.0, "wires.column_resistance": 60.0,
                  "wires.driver_resistance": 100.0, "wires.sense_resistance": 30.0}
    mapped = ns.map_network(network, chip(**resistance))
    seen = ns.Dies(mapped, 3).parameters(0)["fc"]["weight"]
    (array,) = mapped.arrays
    wanted = np.empty_like(WEIGHT)
    for o in range(0, 9, 4):
        for i in range(0, 25, 10):
            part = (slice(o, o + 4), slice(i, i + 10))
            plus, minus = (plane[part].T.astype(float) for plane in array.own)
            g = np.stack([plus, minus], axis=2).reshape(plus.shape[0], -1)
            row, column = np.full(g.shape, 40.0), np.full(g.shape, 60.0)
            row[:, 0] += 100
            column[-1] += 30
            found = effective(g, segments(row, g.shape) if level == "full" else None, segments(column, g.shape))
            wanted[part] = (found[:, ::2] - found[:, 1::2]).T
    wanted *= array.scale
    np.testing.assert_allclose(seen, wanted, rtol=1e-5, atol=1e-9)
    assert np.abs(seen).sum() < 0.99 * np.abs(WEIGHT).sum()


@pytest.mark.parametrize("row_off", ["floating", "gated"])
def test_rows_that_are_off_in_a_network(row_off):
    """One tile, against the sparse nodal system for each vector of spikes."""
    weight = WEIGHT[:3, :8]
    network = linear(weight)
    profile = chip(**{"wires.level": "full", "wires.row_resistance": 400.0, "wires.column_resistance": 600.0,
                      "wires.row_off": row_off})
    mapped = ns.map_network(network, profile)
    (array,) = mapped.arrays
    g = array.own.reshape(2, 3, 8).transpose(2, 1, 0).reshape(8, 6).astype(float)
    row, column = (np.full(g.shape, 1 / ohm) for ohm in (400.0, 600.0))
    found = outputs(network, profile, SPIKES[:, :, :8])
    for t, b in ((0, 0), (3, 2), (5, 4)):
        x = SPIKES[t, b, :8].astype(float)
        current = nodal_currents(g, row, column, x, x != 0, row_off)
        wanted = (current[::2] - current[1::2]) * array.scale[:, 0] + 1
        np.testing.assert_allclose(found[t, b], wanted, rtol=1e-6)
    lif = ns.Network.sequential({"a": ns.Linear(weight), "n": ns.LIF(0.9, recurrent=np.eye(3))}, (8,), dt=1e-3)
    with pytest.raises(ns.NeurosimError, match="time loop of spiking neurons"):
        ns.Dies(ns.map_network(lif, profile), 0)


def test_broken_wires_belong_to_the_die():
    network = linear(np.ones((4, 10)))
    profile = chip(**{"wires.level": "full", "wires.row_resistance": 1.0, "wires.column_resistance": 1.0,
                      "wires.open_row": 0.05, "wires.open_column": 0.05})
    dies = ns.Dies(ns.map_network(network, profile), 5)
    weights = [dies.parameters(die)["fc"]["weight"] for die in range(20)]
    broken = [np.count_nonzero(weight < 0.5) for weight in weights]
    assert len(set(broken)) > 3
    np.testing.assert_array_equal(weights[3], ns.Dies(dies.mapped, 5, programming=4).parameters(3)["fc"]["weight"])


def test_converter_errors_belong_to_the_die():
    """Offsets and gains: as the profile says, another die others, another programming the same."""
    network = linear(np.full((64, 10), 0.25))
    spread = {"value": 1.0, "cv": 0.05}
    profile = chip(**{"crossbar.columns": 128, "adc.bits": 10, "adc.range": "data", "adc.gain": spread,
                      "adc.offset": {"value": 2.0, "sd": 3.0}})
    mapped = ns.map_network(network, profile)
    ranges = find_ranges(mapped, np.ones((1, 1, 10)))
    tiles = [ns.Dies(mapped, 5, ranges=ranges).reads(die)["fc/weight"].tiles for die in range(40)]
    nominal = 512 / ranges["fc/weight"].currents[0, 0, 0] * 25e-6
    gains = np.concatenate([tile.gain[0, :64] for tile in tiles]) / nominal
    shifts = np.concatenate([tile.shift[0, :64] for tile in tiles])
    assert abs(gains.mean() - 1) < 4 * 0.05 / np.sqrt(gains.size)
    assert abs(gains.std() / 0.05 - 1) < 4 / np.sqrt(2 * gains.size)
    assert abs(shifts.mean() - 2) < 4 * 3 / np.sqrt(shifts.size)
    again = ns.Dies(mapped, 5, programming=3, ranges=ranges).reads(7)["fc/weight"].tiles
    np.testing.assert_array_equal(again.gain, tiles[7].gain)


def test_capacitors_differ_from_converter_to_converter():
    """The fault of a widely used tool: all converters of one kind with the same mismatch."""
    network = linear(np.full((64, 10), 0.25))
    profile = chip(**{"crossbar.columns": 128, "adc.bits": 8, "adc.range": "data", "adc.kind": "sar",
                      "adc.capacitor": 0.05})
    mapped = ns.map_network(network, profile)
    ranges = find_ranges(mapped, np.ones((1, 1, 10)))
    tiles = [ns.Dies(mapped, 5, ranges=ranges).reads(die)["fc/weight"].tiles for die in range(30)]
    table = np.stack([tile.table[0, :, :64] for tile in tiles], axis=1).reshape(8, -1)
    assert np.abs(np.corrcoef(table[0].reshape(30, 64)) - np.eye(30)).max() < 0.6
    assert abs(table[3].std() / (8 * 0.05 / np.sqrt(8)) - 1) < 4 / np.sqrt(2 * table.shape[1]) + 0.02


def test_what_cannot_be_read_is_refused():
    network = linear()
    with pytest.raises(ns.NeurosimError, match="comes from data"):
        ns.Dies(ns.map_network(network, chip(**{"adc.bits": 8})), 0)
    with pytest.raises(ns.NeurosimError, match=r"there is no adc\.full_scale"):
        ns.Dies(ns.map_network(network, chip(**{"adc.bits": 8, "adc.range": "fixed"})), 0)


@pytest.mark.parametrize(("values", "said"), [
    ({"adc.bits": 8, "adc.noise": 1e-9}, "v_read makes siemens"), ({"adc.bits": 1}, "2 to 14"),
    ({"adc.bits": 8, "adc.step": 0.1}, 'kind = "ramp"'), ({"dac.v_read": 0.2, "dac.serial": True}, "bits with serial"),
    ({"dac.v_read": 0.2, "dac.bits": 4, "dac.slice_bits": 2}, "serial = true with it"),
    ({"adc.bits": 8, "adc.full_scale": 1e-6}, 'range = "fixed"'), ({"wires.row_resistance": -1.0}, "ohm, 0 to"),
])
def test_sections_that_cannot_be_are_refused(values, said):
    with pytest.raises(ns.NeurosimError, match=said):
        chip(**values)
    with pytest.raises(ns.NeurosimError, match=r"a \[crossbar\] section with it"):
        ns.load_profile("ideal").with_values({"adc.bits": 8})


def test_devices_without_ohms_law_in_a_network():
    """One tile, against Newton's method on the sparse nodal system, for vectors of spikes and of numbers."""
    weight, v_read = WEIGHT[:3, :8], 0.4
    network = linear(weight)
    profile = chip(**{"wires.level": "nonlinear", "wires.row_resistance": 400.0, "wires.column_resistance": 600.0,
                      "dac.v_read": v_read,
                      "crossbar.iv": {"polynomial": [0.0, 2.0], "v_max": 4.0, "source": "assumed: for a test"}})
    mapped = ns.map_network(network, profile)
    (array,) = mapped.arrays
    g = array.own.reshape(2, 3, 8).transpose(2, 1, 0).reshape(8, 6).astype(float)
    row, column = (np.full(g.shape, 1 / ohm) for ohm in (400.0, 600.0))
    for inputs in (SPIKES[:, :, :8], NUMBERS[:, :, :8]):
        found, unit = outputs(network, profile, inputs), v_read / np.abs(inputs).max()  # the largest input is at v_read
        for t, b in ((0, 0), (3, 2)):
            current = nodal_nonlinear(lambda u: g * (u + 2 * u**3), lambda u: g * (1 + 6 * u * u), row, column,
                                      inputs[t, b].astype(float) * unit, g.shape) / unit
            wanted = (current[::2] - current[1::2]) * array.scale[:, 0] + 1
            np.testing.assert_allclose(found[t, b], wanted, rtol=1e-6)
