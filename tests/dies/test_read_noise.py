"""Read noise at the output against noise in every device; its keys; its spectrum. And the sampler in one pass."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim import engine
from neurosim.dies import find_ranges
from neurosim.network.forward import run

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(0, 0.3, (10, 30))
READS = 6000
PCM = ns.load_profile("pcm_joshi").with_values({"crossbar.rows": 16, "crossbar.columns": 12})
NET = ns.Network.sequential({"fc": ns.Linear(WEIGHT)}, (30,), dt=1e-3)
DIES = ns.Dies(ns.map_network(NET, PCM), 3, time=3600.0)
INPUTS = {"spikes": (RNG.random(30) < 0.4).astype(np.float32), "numbers": RNG.normal(0, 1, 30).astype(np.float32)}


def noisy(x: np.ndarray, dies: ns.Dies = DIES, samples: int = READS, steps: int = 1) -> np.ndarray:
    """Outputs `[steps, samples, outputs]` of one input, read again and again."""
    reads = dies.as_run(2)[1]
    return run(dies.mapped.network, np.broadcast_to(x, (steps, samples, x.size)), reads=reads).output


@pytest.mark.parametrize("kind", INPUTS)
def test_noise_at_the_output_has_the_spread_of_noise_in_every_device(kind):
    x = INPUTS[kind]
    found = noisy(x)[0].astype(float)
    (array,) = DIES.mapped.arrays
    mean = DIES.conductances(2, "fc/weight")
    each = np.stack([array.weight(DIES.read(2, "fc/weight", sample)) @ x for sample in range(READS)])
    error = np.sqrt(1 / READS / 10)  # of a ratio of two standard deviations, over ten outputs
    assert 4 * error < 0.02
    assert abs(np.mean(found.std(0) / each.std(0)) - 1) < 0.02
    exact = np.sqrt(np.einsum("koi,i->o", np.square(DIES.read_noise(2, "fc/weight").astype(float) * array.scale), x**2))
    np.testing.assert_allclose(found.std(0), exact, rtol=5 / np.sqrt(2 * READS))
    np.testing.assert_allclose(found.mean(0), array.weight(mean) @ x, atol=5 * exact.max() / np.sqrt(READS))
    correlation = np.corrcoef(found.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(READS)


def test_noise_behind_wires_is_damped_as_the_current():
    """Against all devices of a tile, read one by one through the exact network of wires."""
    from neurosim.devices.wires import effective, segments

    chip = PCM.with_values({"crossbar.rows": 30, "crossbar.columns": 20, "wires.level": "full",
                            "wires.row_resistance": 60.0, "wires.column_resistance": 60.0})
    dies = ns.Dies(ns.map_network(NET, chip), 3, time=3600.0)
    x = INPUTS["spikes"]
    found = noisy(x, dies)[0].std(0)
    (array,) = dies.mapped.arrays
    (tile,) = array.tiling.tiles()
    wire = segments(60.0, (30, 20))
    outputs = []
    for sample in range(1500):
        planes = np.maximum(dies.read(2, "fc/weight", sample), 0).astype(float)
        seen = np.empty_like(planes)
        tile.scatter(effective(tile.gather(planes), wire, wire), seen)
        outputs.append((array.scale * (seen[0] - seen[1])) @ x)
    assert abs(np.mean(found / np.std(outputs, axis=0)) - 1) < 0.1


def test_a_read_belongs_to_its_die_sample_and_step():
    x = np.broadcast_to(INPUTS["numbers"], (4, 6, 30))
    reads = DIES.as_run(2)[1]
    whole = run(NET, x, reads=reads).output
    assert np.unique(whole[:, :, 0]).size == 24
    np.testing.assert_array_equal(run(NET, x[:, :3], reads=reads).output, whole[:, :3])
    again = ns.Dies(DIES.mapped, 3, time=3600.0, programming=1).as_run(2)[1]
    assert (run(NET, x, reads=again).output != whole).all()


def test_slow_noise_is_one_over_f_between_its_ends():
    steps, dt = 4096, 1e-3
    chip = PCM.with_values({"crossbar.read_noise.slowest": 1.1})
    dies = ns.Dies(ns.map_network(NET, chip), 3, time=3600.0)
    found = noisy(INPUTS["numbers"], dies, 12, steps).transpose(1, 2, 0).reshape(-1, steps).astype(float)
    white = noisy(INPUTS["numbers"], DIES, 40)[0].std(0)
    found -= np.tile(noisy(INPUTS["numbers"], DIES, READS)[0].mean(0), 12)[:, None]
    np.testing.assert_allclose(np.sqrt(np.square(found).mean(1)).reshape(12, 10).mean(0), white, rtol=0.4)
    power = np.square(np.abs(np.fft.rfft(found, axis=1))).mean(0)
    frequency = np.fft.rfftfreq(steps, dt)
    inside = (frequency > 2 / (2 * np.pi * 1.1)) & (frequency < 0.5 / (2 * np.pi * dt))
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1, w=1 / np.sqrt(frequency[inside]))[0]
    assert -1.2 < slope < -0.8
    lag = np.mean(found[:, 1:] * found[:, :-1]) / np.mean(found**2)
    decays = np.exp(-(4.0 ** -np.arange(6)))
    assert abs(lag - decays.mean()) < 0.03


def test_the_sampler_is_the_formulas_of_the_devices():
    """One pass in blocks against `devices`, array by array, from the same normal numbers."""
    programmed = DIES._programmed
    (array,) = DIES.mapped.arrays
    nominal = programmed.targets(array.targets)
    found = programmed.devices(5, array, nominal).conductance
    from neurosim.devices import drift_exponent, drifted
    from neurosim.streams import Effect

    written, _ = programmed._written(5, array.index, nominal)
    z = programmed._draw(5, array.index, Effect.DRIFT, written.size)
    nu = drift_exponent(nominal.exponent_mean, nominal.exponent_sd, z)
    np.testing.assert_allclose(found, drifted(written, nu, 3600.0, 20.0), rtol=2e-6)
    young = ns.Dies(DIES.mapped, 3)._programmed
    np.testing.assert_array_equal(young.devices(5, array, young.targets(array.targets)).conductance, written)


@pytest.mark.parametrize("shape", [(1, 1), (10, 30), (37, 19), (16, 64), (33, 700)])
@pytest.mark.parametrize("time", [None, 3600.0])
@pytest.mark.parametrize("profile", ["pcm_joshi", "pcm_hermes"])
def test_rows_in_one_pass_are_the_sums_of_the_devices(profile, time, shape):
    """Bit for bit: where nothing stands in front of the devices, they are never seen one by one."""
    net = ns.Network.sequential({"fc": ns.Linear(RNG.normal(0, 0.3, shape))}, shape[1:], dt=1e-3)
    dies = ns.Dies(ns.map_network(net, ns.load_profile(profile)), 5, time=time)
    (array,), tiles = dies.mapped.arrays, dies.reads(3)["fc/weight"].tiles
    ours, variance = dies._programmed.rows(3, array, dies._targets[array.name], 1e-5, np.dtype(np.float64))
    factors = array.coefficients / dies.mapped.profile.crossbar.g_max.value
    for values, squares, rows, wide in ((dies.conductances(3, "fc/weight"), False, tiles.rows, ours),
                                        (dies.read_noise(3, "fc/weight"), True, tiles.variance, variance)):
        np.testing.assert_array_equal(rows, engine.summed_rows(values, factors, np.float32, squares))
        np.testing.assert_array_equal(wide, engine.summed_rows(values, array.coefficients / 1e-5, np.float64, squares))


def test_reads_that_are_cut_off_draw_every_device():
    """Noise of twice the conductance reads below 0 in three of ten cases: the mean moves, and the spread shrinks."""
    chip = PCM.with_values({"crossbar.read_noise.relative": 2.0, "crossbar.read_noise.t_read": None})
    clipped = chip.with_values({"crossbar.read_noise.clipped": True})
    x, few = INPUTS["numbers"], 1500
    dies, plain = (ns.Dies(ns.map_network(NET, profile), 3, time=3600.0) for profile in (clipped, chip))
    found = noisy(x, dies, few)[0].astype(float)
    (array,) = dies.mapped.arrays
    each = np.stack([array.weight(np.maximum(plain.read(2, "fc/weight", sample), 0)) @ x for sample in range(few)])
    np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-4)  # the same numbers, cut off
    gauss = noisy(x, plain, few)[0].astype(float)
    shift = (found.mean(0) - gauss.mean(0)) / (gauss.std(0) / np.sqrt(few))
    assert np.abs(shift).max() > 8
    assert np.mean(found.std(0) / gauss.std(0)) < 0.9
    cell = ns.Network.sequential([ns.Linear(WEIGHT), ns.RNN(WEIGHT[:, :10])], (30,), dt=1e-3)
    inputs = RNG.normal(size=(4, 3, 30))
    reads = ns.Dies(ns.map_network(cell, clipped), 3, time=3600.0).as_run(0)[1]
    whole = run(cell, inputs, reads=reads).output
    np.testing.assert_array_equal(run(cell, inputs[:, :2], reads=reads).output, whole[:, :2])
    spiking = ns.Network.sequential([ns.Linear(WEIGHT), ns.LIF(0.9, recurrent=WEIGHT[:, :10])], (30,), dt=1e-3)
    with pytest.raises(ns.NeurosimError, match="draws every device"):
        ns.Dies(ns.map_network(spiking, clipped), 3)


@pytest.mark.parametrize("converts", ["nothing", "output", "column"])
@pytest.mark.parametrize("signal", ["numbers", "spikes"])
def test_outputs_share_the_noise_of_their_reference_column(signal, converts):
    """Covariances against reads of single devices, of which the outputs of a tile share the last column."""
    adc = {} if converts == "nothing" else {"adc.bits": 14, "adc.range": "data", "adc.converts": converts}
    chip = PCM.with_values({"crossbar.cells.kind": "offset", "crossbar.columns": 6, **adc})
    x, few = INPUTS[signal], 6000
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, time=3600.0, ranges=find_ranges(mapped, 2 * x[None, None]))
    found = np.cov(noisy(x, dies, few)[0].astype(float).T)
    (array,) = mapped.arrays
    assert array.tiling.tile_outputs == 5
    devices = np.cov(np.stack([array.weight(dies.read(2, "fc/weight", sample)) @ x for sample in range(few)]).T)
    np.testing.assert_allclose(np.diag(found), np.diag(devices), rtol=0.1)
    together = np.zeros((10, 10), bool)
    together[:5, :5] = together[5:, 5:] = True
    np.fill_diagonal(together, False)
    size = np.sqrt(np.outer(np.diag(devices), np.diag(devices)))
    assert (devices / size)[together].min() > 0.1
    np.testing.assert_allclose((found / size)[together], (devices / size)[together], atol=5 * np.sqrt(2 / few))
    assert np.abs((found / size)[~together & ~np.eye(10, dtype=bool)]).max() < 5 / np.sqrt(few)


def test_reference_columns_that_are_cut_off_are_drawn_once():
    chip = PCM.with_values({"crossbar.cells.kind": "offset", "crossbar.columns": 6,
                            "crossbar.read_noise.clipped": True})
    dies = ns.Dies(ns.map_network(NET, chip), 3, time=3600.0)
    (array,), x = dies.mapped.arrays, INPUTS["numbers"]
    each = [array.weight(np.maximum(dies.read(2, "fc/weight", sample), 0)) @ x for sample in range(20)]
    np.testing.assert_allclose(noisy(x, dies, 20)[0], each, rtol=1e-4, atol=1e-4)


def test_a_reference_column_has_one_converter():
    chip = PCM.with_values({"crossbar.cells.kind": "offset", "crossbar.columns": 6, "adc.bits": 8, "adc.range": "data",
                            "adc.converts": "column", "adc.gain": {"value": 1.0, "cv": 0.02},
                            "adc.offset": {"value": 0.0, "sd": 1.0}, "adc.kind": "sar", "adc.capacitor": 0.05})
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, ranges=find_ranges(mapped, INPUTS["numbers"][None, None]))
    tiles = dies.as_run(1)[1]["fc/weight"].tiles
    for values in (tiles.gain, tiles.shift, *tiles.table.transpose(1, 0, 2)):
        each = values.reshape(len(values), 2, -1)[:, :, :10]
        assert np.unique(each[:, 0]).size == each[:, 0].size
        assert (each[:, 1, :5] == each[:, 1, :1]).all()
        assert (each[:, 1, 5:] == each[:, 1, 5:6]).all()
        assert (each[:, 1, 0] != each[:, 1, 5]).all()
