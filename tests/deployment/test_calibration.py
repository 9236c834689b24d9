"""Calibration: each step does what it is for, on dies where only that is wrong; and is measured."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim.deployment import find_ranges
from neurosim.deployment.calibration import make_calibration
from neurosim.network.forward import run

RNG = np.random.default_rng(5)
WEIGHT = RNG.normal(0, 0.3, (12, 40))
INPUTS = RNG.normal(0, 1, (3, 20, 40)).astype(np.float32)
NET = ns.Network.sequential({"fc": ns.Linear(WEIGHT)}, (40,), dt=1e-3)
LABELS = run(NET, INPUTS).prediction
YEAR = 3.15e7
PCM = ns.load_profile("pcm_joshi")


def outputs(dies: ns.Dies, steps: tuple[str, ...], die: int = 0) -> np.ndarray:
    calibration = make_calibration(dies, INPUTS, steps)
    made = dies.as_run(die) if calibration is None else calibration.die(dies, die, np.dtype(np.float32))
    return run(dies.mapped.network, INPUTS, made[0], reads=made[1]).output


def gain(found: np.ndarray) -> float:
    exact = run(NET, INPUTS).output
    return float((found * exact).sum() / np.square(exact).sum())


def test_drift_compensation_gives_the_gain_back():
    dies = ns.Dies(ns.map_network(NET, PCM), 3, time=YEAR)
    assert gain(outputs(dies, ())) < 0.65
    for step in ("gdc", "gdc_column"):
        gains = [gain(outputs(dies, (step,), die)) for die in range(8)]
        assert 0.9 < np.mean(gains) < 1.1
        assert np.std(gains) < 0.1


def test_the_readout_of_drift_compensation_is_noisy_and_reproducible():
    quiet = PCM.with_values({"crossbar.read_noise.relative": 0.0})

    def factor(chip: ns.Profile) -> float:
        dies = ns.Dies(ns.map_network(NET, chip), 3, time=YEAR)
        parameters, reads = make_calibration(dies, INPUTS, ["gdc"]).die(dies, 0, np.dtype(np.float32))
        if not reads:
            return parameters["fc"]["weight"][0, 0] / dies.parameters(0)["fc"]["weight"][0, 0]
        return reads["fc/weight"].tiles.worth[0, 0] / dies.as_run(0)[1]["fc/weight"].tiles.worth[0, 0]

    factors, without = [factor(PCM) for _ in range(2)], factor(quiet)
    assert factors[0] == factors[1]
    assert factors[0] != without
    assert abs(factors[0] / without - 1) < 0.1


@pytest.mark.parametrize("steps", [("scale",), ("gdc", "scale"), ("gdc", "gdc_column", "scale"), ("scale", "gdc")])
def test_each_step_sees_what_those_before_it_did(steps):
    """Drift is compensated once, whatever measures it again. After "scale" the drift factor has nothing left to do but
    what the two references, the network and the die when it was new, differ by."""
    dies = ns.Dies(ns.map_network(NET, PCM), 3, time=YEAR)
    assert 0.93 < np.mean([gain(outputs(dies, steps, die)) for die in range(4)]) < 1.05


@pytest.mark.parametrize("steps", [("gdc", "adc"), ("adc", "gdc")])
def test_the_first_reading_had_the_converters_of_the_design(steps):
    """Ranges that follow the drift must not cut off what is compared with: the currents of a new die."""
    chip = PCM.with_values({"adc.bits": 8})
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, time=YEAR, ranges=find_ranges(mapped, INPUTS))
    alone, both = (np.mean([gain(outputs(dies, which, die)) for die in range(4)]) for which in (("gdc",), steps))
    assert both == pytest.approx(alone, abs=0.015)


def test_converter_ranges_of_a_die_leave_those_of_the_inputs():
    chip = PCM.with_values({"adc.bits": 6, "dac.v_read": 0.2, "dac.bits": 6})
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, time=YEAR, ranges=find_ranges(mapped, INPUTS))
    found = make_calibration(dies, INPUTS[:, :3], ["adc"]).die(dies, 0, np.dtype(np.float32))[1]["fc/weight"]
    assert found.inputs.full_scale == dies.ranges["fc/weight"].inputs


def test_output_scale_removes_the_gains_of_converters():
    chip = PCM.with_values({"adc.bits": 12, "adc.range": "data", "adc.gain": {"value": 1.0, "cv": 0.1},
                            "crossbar.programming.sigma": 0.0, "crossbar.read_noise.relative": 0.0})
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, ranges=find_ranges(mapped, INPUTS))
    exact = run(NET, INPUTS).output
    before, after = (np.abs(outputs(dies, steps) - exact).std() for steps in ((), ("scale",)))
    assert after < before / 5


def test_converter_ranges_follow_the_die():
    """After a year the currents fill half the range; the step takes the range down with them."""
    chip = PCM.with_values({"adc.bits": 4, "adc.range": "data", "crossbar.read_noise.relative": 0.0})
    mapped = ns.map_network(NET, chip)
    dies = ns.Dies(mapped, 3, time=YEAR, ranges=find_ranges(mapped, INPUTS))
    calibration = make_calibration(dies, INPUTS, ["adc"])
    (array,) = mapped.arrays
    ratio = calibration._ranges(dies, 0, array).currents / dies.ranges["fc/weight"].currents
    assert 0.4 < ratio.max() < 0.85
    fine = ns.Dies(ns.map_network(NET, PCM.with_values({"crossbar.read_noise.relative": 0.0})), 3, time=YEAR)
    exact = outputs(fine, ())
    errors = [np.std(outputs(dies, steps) - exact) for steps in ((), ("adc",))]
    assert errors[1] < 0.9 * errors[0]


def test_batch_normalisation_takes_the_statistics_of_the_die():
    ones = np.ones(12)
    norm = ns.BatchNorm(mean=0 * ones, variance=2 * ones, scale=ones, shift=0 * ones)
    net = ns.Network.sequential({"fc": ns.Linear(WEIGHT), "bn": norm}, (40,), dt=1e-3)
    dies = ns.Dies(ns.map_network(net, PCM), 3, time=YEAR)
    found = outputs(dies, ("batchnorm",))
    np.testing.assert_allclose(found.mean((0, 1)), 0, atol=0.1)
    np.testing.assert_allclose(found.std((0, 1)), 1, atol=0.1)


def test_remapping_makes_up_for_stuck_cells():
    chip = PCM.with_values({"crossbar.stuck": {"on": 0.02, "off": 0.05}, "crossbar.programming.sigma": 0.0,
                            "crossbar.read_noise.relative": 0.0})
    dies = ns.Dies(ns.map_network(NET, chip), 3)
    exact = run(NET, INPUTS).output
    before, after = (np.std(outputs(dies, steps) - exact) for steps in ((), ("remap",)))
    assert after < 0.5 * before
    # a device stuck at g_max is met by its partner exactly where the pair still reaches the weight
    (array,) = dies.mapped.arrays
    plain, around = dies.conductances(0, "fc/weight"), ns.Dies(dies.mapped, 3, remap=True).conductances(0, "fc/weight")
    on = (plain[0] == np.float32(25e-6)) & (array.own[0] < 20e-6) & (array.own[1] == 0)
    difference = around[0][on] - around[1][on]
    free = around[1][on] > 0
    np.testing.assert_allclose(difference[free], array.own[0][on][free], atol=1e-11)


def test_remapping_stays_on_the_levels_of_the_devices():
    chip = ns.load_profile("pcm_joshi").with_values({
        "crossbar.levels": 2, "crossbar.cells": {"slices": 4}, "crossbar.columns": 128, "crossbar.read_noise": None,
        "crossbar.stuck": {"on": 0.02, "off": 0.05}, "crossbar.programming.sigma": 0.0})
    dies = ns.Dies(ns.map_network(NET, chip), 3)
    around = ns.Dies(dies.mapped, 3, remap=True)
    assert np.unique(around.conductances(0, "fc/weight")).size == np.unique(dies.conductances(0, "fc/weight")).size == 2
    exact = run(NET, INPUTS).output
    before, after = (np.std(outputs(which, ()) - exact) for which in (dies, around))
    assert after < 0.7 * before


def test_a_run_shows_what_each_step_is_worth(tmp_path):
    mapped = ns.map_network(NET, PCM.with_values({"adc.bits": 5}))
    found = ns.deploy(mapped, INPUTS, LABELS, dies=6, seed=1, time=YEAR, calibrate=["gdc", "adc"], progress=False,
                      out=tmp_path / "run.nc")
    assert found.calibration["step"].values.tolist() == ["none", "gdc", "adc"]
    np.testing.assert_array_equal(found.calibration.values[:, -1], found.accuracy.values)
    without = ns.deploy(mapped, INPUTS, LABELS, dies=6, seed=1, time=YEAR, progress=False)
    np.testing.assert_array_equal(found.calibration.values[:, 0], without.accuracy.values)
    assert without.calibration is None
    assert "mean after calibration: none" in str(found)
    with pytest.raises(ns.NeurosimError, match="holds another run"):
        ns.deploy(mapped, INPUTS, LABELS, dies=6, seed=1, time=YEAR, progress=False, out=tmp_path / "run.nc")


@pytest.mark.parametrize(("steps", "said"), [
    (["gcd"], "did you mean 'gdc'"), (["scale", "scale"], "stands twice"), (["gdc"], "a time after programming"),
    (["adc"], "whose range is not fixed"), (["batchnorm"], "batch normalisation"), (["remap"], r"crossbar\.stuck"),
])
def test_steps_that_cannot_be_are_refused(steps, said):
    with pytest.raises(ns.NeurosimError, match=said):
        ns.deploy(ns.map_network(NET, PCM), INPUTS, LABELS, dies=1, calibrate=steps, progress=False)
