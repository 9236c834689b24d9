"""Counts and joules: against a slow recount in plain Python, conservation, and what silicon was measured to take."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import neurosim as ns
from neurosim.deployment import find_ranges
from neurosim.energy import (
    BOUNDS,
    COMPONENTS,
    EVENTS,
    Ledger,
    Pace,
    coefficients,
    conversion_energy,
    murmann,
    pace,
    walden,
)
from neurosim.errors import NeurosimError
from neurosim.network.forward import run
from neurosim.profile.load import parse_profile

STEPS, SAMPLES = 20, 6
QUIET = {"crossbar.read_noise": None}  # each read alike, so that a sample does the same twice


def network(rng: np.random.Generator, hidden: int = 40, inputs: int = 12) -> ns.Network:
    """Two populations, the first recurrent; a third of all synapses is missing."""

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape) * (rng.random(shape) < 0.7)

    return ns.Network.sequential({
        "in": ns.Linear(weight(hidden, inputs)), "hidden": ns.LIF(0.9, recurrent=weight(hidden, hidden) / 4),
        "out": ns.Linear(weight(5, hidden)), "classes": ns.LIF(0.8)}, (inputs,), dt=1e-3)


def spikes(rng: np.random.Generator, inputs: int = 12) -> np.ndarray:
    return (rng.random((STEPS, SAMPLES, inputs)) < 0.3).astype(np.float32)


def small_core(neurons: int) -> dict[str, object]:
    return {"circuit.size.neurons": neurons}


def net_weight(net: ns.Network, place: str) -> np.ndarray:
    layer, parameter = place.split("/")
    return getattr(net[layer], parameter)


def recount(net: ns.Network, mapped: object, die: object, inputs: np.ndarray, core: int
            ) -> dict[tuple[str, str], float]:
    """The ledger again, event by event: every spike walks to every synapse."""
    found: dict[tuple[str, str], float] = {}

    def add(place: str, event: str, amount: float = 1) -> None:
        found[place, event] = found.get((place, event), 0) + amount

    kept = run(net, inputs, die, keep=("hidden", "classes")).kept
    crossbar = mapped.profile.crossbar is not None
    size = kept["hidden"].shape[2]
    core_of = {"hidden": lambda n: n // core, "classes": lambda n: (size + n) // core}
    walks = (("in/weight", inputs, "hidden", None), ("hidden/recurrent", kept["hidden"], "hidden", "hidden"),
             ("out/weight", kept["hidden"], "classes", "hidden"))
    arrays = {array.name: array for array in mapped.arrays}
    for (place, source, target, home), t, b in itertools.product(walks, range(STEPS), range(inputs.shape[1])):
        if place.endswith("recurrent") and t == STEPS - 1:
            continue  # these spikes would arrive in a step that is not there
        array, events = arrays[place], np.flatnonzero(source[t, b])
        weight = np.asarray(array.nominal)
        tiles_in, tiles_out = (array.tiling.tiles_in, array.tiling.tiles_out) if crossbar else (0, 0)
        if crossbar and events.size:
            add(place, "reads")
            add(place, "conversions", weight.shape[0] * tiles_in)
            add(place, "digital", weight.shape[0] * tiles_in)
            add(place, "bits", weight.shape[1] * tiles_out + weight.shape[0] * tiles_in * 8)
        for n in events:
            targets = np.flatnonzero(weight[:, n] if not crossbar else net_weight(net, place)[:, n])
            add(place, "matches", targets.size)
            if crossbar:
                add(place, "rows", tiles_out)
                continue
            cores = {core_of[target](m) for m in targets}
            add(place, "broadcasts", len(cores))
            add(place, "encodes", len(cores) if home else 0)
            add(place, "hops", len(cores - ({core_of[home](n)} if home else set())))
    for name in ("hidden", "classes"):
        add(name, "spikes", float(kept[name].sum()))
        add(name, "neurons", kept[name].size)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "values", "core"), [
    ("pcm_hermes", QUIET, 1 << 40), ("pcm_hermes", {**QUIET, "crossbar.rows": 8, "crossbar.columns": 20}, 1 << 40),
    ("dynap_se2", {}, 256), ("dynap_se2", small_core(16), 16)])
def test_counts_equal_a_slow_recount(name: str, values: dict[str, object], core: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net, inputs = network(rng), spikes(rng)
    mapped = ns.map_network(net, ns.load_profile(name).with_values(values))
    found = ns.deploy(mapped, inputs, np.zeros(SAMPLES, int), dies=2, seed=seed, progress=False).dataset["events"]
    for die in range(2):
        expected = recount(net, mapped, ns.Dies(mapped, seed).parameters(die), inputs, core)
        for place, event in itertools.product(found["place"].values, EVENTS):
            if event != "cells":
                value = float(found.sel(die=die, place=place, event=event))
                assert value == expected.get((place, event), 0), (place, event)


def test_cells_take_what_their_conductances_dissipate() -> None:
    """Ohm's law, device by device: every driven row of a die puts the read voltage over its own conductances."""
    rng = np.random.default_rng(4)
    net, inputs = network(rng), spikes(rng)
    mapped = ns.map_network(net, ns.load_profile("pcm_hermes"))
    result = ns.deploy(mapped, inputs, np.zeros(SAMPLES, int), dies=3, seed=1, progress=False)
    cell = mapped.profile.energy.cell
    dies = ns.Dies(mapped, 1)
    for die in range(3):
        planes = dies.conductances(die, "in/weight").astype(np.float64)
        per_row = cell.voltage.value**2 * cell.time.value * planes.sum(axis=(0, 1))
        expected = sum(per_row[n] for t, b in itertools.product(range(STEPS), range(SAMPLES))
                       for n in np.flatnonzero(inputs[t, b])) / SAMPLES
        found = float(result.energy.sel(die=die, place="in/weight", component="cells", bound="nominal"))
        assert found == pytest.approx(expected, rel=1e-12)
    cells = result.energy.sel(component="cells", bound="nominal").sum("place")
    assert float(cells.std("die")) > 0, "each die has its own conductances"


@pytest.mark.parametrize(("name", "values", "core"), [
    ("pcm_hermes", {**QUIET, "crossbar.rows": 8}, 1 << 40), ("dynap_se2", small_core(16), 16)])
def test_counts_of_a_sample_equal_a_slow_recount(name: str, values: dict[str, object], core: int) -> None:
    rng = np.random.default_rng(0)
    net, inputs = network(rng), spikes(rng)
    mapped = ns.map_network(net, ns.load_profile(name).with_values(values))
    result = ns.deploy(mapped, inputs, np.zeros(SAMPLES, int), dies=2, keep_events=True, progress=False)
    found = result.dataset["sample_events"]
    for die, sample in itertools.product(range(2), range(SAMPLES)):
        alone = inputs[:, [sample]]
        expected = recount(net, mapped, ns.Dies(mapped, 0).parameters(die), alone, core)
        for place, event in itertools.product(found["place"].values, EVENTS):
            if event != "cells":
                value = float(found.sel(die=die, place=place, event=event)[sample])
                assert value == expected.get((place, event), 0), (sample, place, event)
    assert float(found.sel(event="spikes").sum("place").std("sample").min()) > 0, "samples differ"


@pytest.mark.parametrize("name", ["pcm_hermes", "dynap_se2", "pictures"])
def test_samples_sum_to_the_run(name: str, tmp_path: object) -> None:
    """With converters and slices as well; on any number of threads, and read from disk."""
    rng = np.random.default_rng(13)
    net, inputs = pictures(rng) if name == "pictures" else (network(rng), spikes(rng))
    chip = ns.load_profile("pcm_hermes" if name == "pictures" else name)
    if name != "dynap_se2":
        chip = chip.with_values({"adc.bits": 6, "dac.v_read": 0.2, "dac.bits": 5, "dac.serial": True})
    arguments = (ns.map_network(net, chip), inputs, np.zeros(SAMPLES, int), 3)
    result = ns.deploy(*arguments, keep_events=True, out=tmp_path / "run.nc", progress=False)
    np.testing.assert_allclose(result.dataset["sample_events"].sum("sample").values, result.dataset["events"].values,
                               rtol=1e-12)
    exact = [event for event in EVENTS if event != "cells"]
    np.testing.assert_array_equal(result.dataset["sample_events"].sel(event=exact).sum("sample").values,
                                  result.dataset["events"].sel(event=exact).values)
    energy = result.sample_energy
    assert energy.dims == ("die", "sample", "component", "bound")
    np.testing.assert_allclose(energy.mean("sample").values, result.energy.sum("place").values, rtol=1e-12)
    again = ns.deploy(*arguments, keep_events=True, threads=5, progress=False)
    np.testing.assert_array_equal(again.dataset["sample_events"].values, result.dataset["sample_events"].values)
    np.testing.assert_array_equal(ns.load_run(tmp_path / "run.nc").sample_energy.values, energy.values)
    plain = ns.deploy(*arguments, progress=False)
    np.testing.assert_array_equal(plain.dataset["events"].values, result.dataset["events"].values)
    assert "sample_events" not in plain.dataset
    with pytest.raises(NeurosimError, match=r"were not kept; deploy with keep_events=True, or --keep-events"):
        plain.sample_energy  # noqa: B018


def pictures(rng: np.random.Generator) -> tuple[ns.Network, np.ndarray]:
    """A convolution of numbers, a pool, a layer, a cell; a third of all pictures is black."""
    net = ns.Network.sequential({
        "conv": ns.Conv2d(rng.normal(size=(3, 2, 3, 3)), padding=1), "h": ns.LIF(0.8), "pool": ns.AvgPool2d(2),
        "flat": ns.Flatten(), "gates": ns.Linear(rng.normal(size=(6, 27))),
        "cell": ns.RNN(rng.normal(size=(6, 6)) / 3)}, (2, 6, 6), dt=1e-3, readout="last")
    return net, rng.random((STEPS, SAMPLES, 2, 6, 6)) * (rng.random((STEPS, SAMPLES, 1, 1, 1)) < 2 / 3)


def pauses(rng: np.random.Generator) -> tuple[ns.Network, np.ndarray]:
    """The spiking network; in a third of all steps no input fires."""
    return network(rng), spikes(rng) * (rng.random((STEPS, 1, 1)) < 2 / 3)


@pytest.mark.parametrize("make", [pauses, pictures])
@pytest.mark.parametrize("values", [
    {}, {"adc.offset": 3.0}, {"adc.converts": "column", "crossbar.rows": 7}, {"adc.noise": 1e-8, "dac.v_read": 0.2},
    {"dac.v_read": 0.2, "dac.bits": 4}, {"dac.v_read": 0.2, "dac.bits": 5, "dac.serial": True, "dac.slice_bits": 2},
    {"crossbar.read_noise.clipped": True, "crossbar.read_noise.t_read": 1e-6}])
def test_conversions_are_those_of_the_kernels(make: object, values: dict[str, object]) -> None:
    """What the ledger prices is what the engine converted; a step without inputs is not read."""
    rng = np.random.default_rng(12)
    net, inputs = make(rng)
    noise = {} if any("read_noise" in key for key in values) else {"crossbar.read_noise": None}
    if noise == {} and make is not pictures:
        values = {**values, "crossbar.read_noise.clipped": False}  # not within the time loop of spikes
    mapped = ns.map_network(net, ns.load_profile("pcm_hermes").with_values({"adc.bits": 6, **noise, **values}))
    data = ns.deploy(mapped, inputs, np.zeros(SAMPLES, int), dies=2, seed=1, progress=False).dataset
    for name in data["array"].values:
        counted = data["events"].sel(place=name, event="conversions").values
        np.testing.assert_array_equal(counted, data["conversions"].sel(array=name).values, name)
        assert (counted > 0).all()
    columns = mapped.weights[0].coefficients.size if "adc.converts" in values else 1
    first = mapped.weights[0]
    reads = data["events"].sel(place=first.name, event="reads").values
    busy = inputs.reshape(STEPS, SAMPLES, -1).any(axis=2).sum()
    if "dac.serial" not in values:
        np.testing.assert_array_equal(reads, busy * (36 if make is pictures else 1))
    np.testing.assert_array_equal(data["conversions"].sel(array=first.name).values,
                                  reads * first.tiling.outputs * first.tiling.tiles_in * columns)
    assert 0 < busy < STEPS * SAMPLES
    silent = ns.deploy(mapped, 0 * inputs, np.zeros(SAMPLES, int), dies=1, progress=False).dataset
    assert int(silent["conversions"].sel(array=first.name).sum()) == 0


def test_slices_of_an_input_drive_the_rows_as_their_bits_do() -> None:
    """5 of 7 is 101: two slices of three drive their row, at the full voltage."""
    chip = ns.load_profile("pcm_hermes").with_values({
        "crossbar.read_noise": None, "adc.bits": 8, "dac.v_read": 0.2, "dac.bits": 4, "dac.serial": True,
        "dac.range": "fixed", "dac.full_scale": 7.0})
    net = ns.Network.sequential({"fc": ns.Linear(np.array([[1.0, 0.5]]))}, (2,), dt=1e-3)
    mapped, inputs = ns.map_network(net, chip), np.array([[[5.0, 2.0]]])
    result = ns.deploy(mapped, inputs, [0], dies=1, progress=False)
    events = result.dataset["events"].sel(die=0, place="fc/weight")
    assert result.latency == pytest.approx(3 * chip.timing.read.value)
    assert [int(events.sel(event=name)) for name in ("reads", "rows", "conversions", "bits")] == [
        3, 3, 3, 3 * (2 * 1 + 8)]
    dies = ns.Dies(mapped, 0, ranges=find_ranges(mapped, inputs))
    high, low = dies.conductances(0, "fc/weight").sum(axis=(0, 1))
    assert float(events.sel(event="cells")) == pytest.approx(2 * high + low, rel=1e-6)


def test_a_reference_column_dissipates_once_for_the_outputs_of_its_tile() -> None:
    chip = ns.load_profile("pcm_hermes").with_values({
        **QUIET, "crossbar.cells": {"kind": "offset"}, "crossbar.columns": 6, "crossbar.programming.sigma": 0.0})
    net = ns.Network.sequential({"fc": ns.Linear(np.random.default_rng(3).normal(size=(13, 7)))}, (7,), dt=1e-3)
    mapped = ns.map_network(net, chip)
    result = ns.deploy(mapped, np.ones((1, 4, 7)), np.zeros(4, int), dies=1, progress=False)
    (array,) = mapped.arrays
    assert array.tiling.tiles_out == 3
    assert float(result.dataset["events"].sel(event="cells").sum()) == pytest.approx(
        4 * (array.own.sum() + array.reference.sum()), rel=1e-5)


def test_cells_stand_under_the_voltage_that_the_driver_gives() -> None:
    """A tenth of the range is a tenth of the voltage, and that of the whole range stands in both sections."""
    net = ns.Network.sequential({"fc": ns.Linear(np.random.default_rng(3).normal(size=(5, 7)))}, (7,), dt=1e-3)
    inputs = np.random.default_rng(4).random((2, 4, 7))
    cells = []
    for full in (1.0, 10.0):
        chip = ns.load_profile("pcm_hermes").with_values({
            **QUIET, "dac.v_read": 0.2, "dac.range": "fixed", "dac.full_scale": full, "adc.bits": 8,
            "energy.cell.input": "amplitude"})
        result = ns.deploy(ns.map_network(net, chip), inputs, np.zeros(4, int), dies=1, progress=False)
        cells.append(float(result.dataset["events"].sel(event="cells").sum()))
    assert cells[0] == pytest.approx(100 * cells[1], rel=1e-6)
    with pytest.raises(NeurosimError, match=r"cell\.voltage of 0\.1 V, as dac\.v_read"):
        ns.load_profile("pcm_hermes").with_values({"dac.v_read": 0.1})


@pytest.mark.parametrize(("grey", "bits"), [(0, 1), (1, 8)])
def test_a_spike_is_one_bit_wherever_it_comes_from(grey: int, bits: int) -> None:
    net = ns.Network.sequential({"fc": ns.Linear(np.ones((3, 7)))}, (7,), dt=1e-3)
    result = ns.deploy(ns.map_network(net, ns.load_profile("pcm_hermes")), np.ones((1, 2, 7)) - 0.5 * grey, [0, 0],
                       dies=1, progress=False)
    assert int(result.dataset["events"].sel(die=0, place="fc/weight", event="bits")) == 2 * (7 * bits + 3 * 8)


def test_components_sum_to_the_whole_and_bounds_are_ordered() -> None:
    rng = np.random.default_rng(5)
    mapped = ns.map_network(network(rng), ns.load_profile("dynap_se2"))
    energy = ns.deploy(mapped, spikes(rng), np.zeros(SAMPLES, int), dies=4, progress=False).energy
    assert energy.dims == ("die", "place", "component", "bound")
    assert list(energy["component"].values) == list(COMPONENTS)
    by_place, by_component = energy.sum("component").sum("place"), energy.sum("place").sum("component")
    np.testing.assert_allclose(by_place, by_component, rtol=1e-14)
    low, nominal, high = (energy.sel(bound=bound) for bound in BOUNDS)
    assert bool((low <= nominal).all())
    assert bool((nominal <= high).all())
    assert float(nominal.sum()) > 0


def test_silence_costs_only_static_energy() -> None:
    mapped = ns.map_network(network(np.random.default_rng(6)), ns.load_profile("dynap_se2"))
    result = ns.deploy(mapped, np.zeros((STEPS, SAMPLES, 12)), np.zeros(SAMPLES, int), dies=2, progress=False)
    energy = result.energy.sel(bound="nominal")
    static = mapped.profile.energy.static.nominal * STEPS * 1e-3
    assert result.latency == pytest.approx(STEPS * 1e-3)
    np.testing.assert_allclose(energy.sel(component="static").sum("place"), static, rtol=1e-12)
    np.testing.assert_allclose(energy.sum(["place", "component"]), static, rtol=1e-12)


@pytest.mark.parametrize("name", ["pcm_hermes", "dynap_se2"])
def test_twice_the_spikes_cost_twice_the_events(name: str) -> None:
    """Every sample twice, told as one sample of twice the work: only what lasts stays."""
    rng = np.random.default_rng(7)
    net, inputs = network(rng), spikes(rng)
    mapped = ns.map_network(net, ns.load_profile(name).with_values(QUIET if name == "pcm_hermes" else {}))
    once, twice = (ns.deploy(mapped, data, np.zeros(data.shape[1], int), dies=2, progress=False)
                   for data in (inputs, np.concatenate([inputs, inputs], axis=1)))
    np.testing.assert_array_equal(twice.dataset["events"].values, 2 * once.dataset["events"].values)
    np.testing.assert_allclose(twice.energy.values, once.energy.values, rtol=1e-12)


def dense(profile: str, outputs: int, inputs: np.ndarray) -> ns.Run:
    """One tile, filled with a Gaussian weight matrix, read once for each sample."""
    weight = np.random.default_rng(8).normal(size=(outputs, 256))
    net = ns.Network.sequential({"fc": ns.Linear(weight)}, (256,), dt=1e-3)
    return ns.deploy(ns.map_network(net, ns.load_profile(profile)), inputs, np.zeros(inputs.shape[1], int), dies=5,
                     progress=False)


@pytest.mark.parametrize("name", ["pcm_hermes", "dynap_se1"])
def test_twice_the_spikes_of_an_array_are_twice_its_joules(name: str) -> None:
    """The same spikes once more, each a step later: all that they cost, and nothing else, is there twice."""
    rng = np.random.default_rng(17)
    net, inputs = network(rng), spikes(rng)
    inputs[1::2] = 0
    mapped = ns.map_network(net, ns.load_profile(name))
    once, twice = (ns.deploy(mapped, data, np.zeros(SAMPLES, int), dies=2, progress=False).energy
                   for data in (inputs, inputs + np.roll(inputs, 1, axis=0)))
    own = once.sel(place="in/weight")
    assert float(own.sum()) > 0
    np.testing.assert_allclose(twice.sel(place="in/weight").values, 2 * own.values, rtol=1e-12)
    np.testing.assert_array_equal(twice.sel(component="static").values, once.sel(component="static").values)


def test_dynap_events_are_priced_as_its_table_has_them() -> None:
    """One spike of one neuron to targets in two cores, its own and another, added up by hand: one spike, for each core
    an encoding and a broadcast, one route, one match for each synapse (the sum that is usual for this chip; the
    energies are recalled, see the profile).

    Table: Moradi et al., IEEE Trans. Biomed. Circuits Syst. 12, 106 (2018), at 1.8 V.
    """
    weight = np.zeros((260, 300))
    weight[[0, 5, 258], 3] = 1e-3  # neurons 300, 305 and 558 of the chip: cores 1, 1 and 2; neuron 3 is in core 0
    weight[0, 290] = 1e-3  # neuron 290: core 1, that of its target
    net = ns.Network.sequential({"first": ns.LIF(0.9), "w": ns.Linear(weight), "second": ns.LIF(0.9)}, (300,), dt=1e-3)
    mapped = ns.map_network(net, ns.load_profile("dynap_se1").with_values({"mismatch.threshold": 1.0}))
    for neuron, cores, hops, synapses in ((3, 2, 2, 3), (290, 1, 0, 1)):
        inputs = np.zeros((4, 1, 300))
        inputs[1, 0, neuron] = 1.5
        result = ns.deploy(mapped, inputs, [0], dies=1, progress=False)
        found = result.energy.sel(bound="nominal", die=0)
        assert float(result.spikes.sum()) == 1
        by_hand = 883e-12 + cores * (883e-12 + 6.84e-9) + hops * 360e-12 + synapses * 324e-12
        assert float(found.drop_sel(component="static").sum()) == pytest.approx(by_hand, rel=1e-9)


def tops_per_watt(result: ns.Run, bound: str) -> float:
    return float(result.efficiency["tops_per_watt"].sel(bound=bound).mean("die"))


@pytest.mark.parametrize("name", ["pcm_hermes", "pcm_hermes_8bit"])
def test_hermes(name: str) -> None:
    """10.5 TOPS/W of the core and 9.76 of the 64-core chip, within 2 %: the conversion was fitted to them, the cells
    were not. 63.1 TOPS of 64 cores and 1.59 TOPS/mm2, within 1 %: the time and the area were derived from them.

    Sources: Khaddam-Aljameh et al., IEEE JSSC 57, 1027 (2022); Le Gallo et al., Nat. Electron. 6, 680 (2023).
    """
    result = dense(name, 256, np.random.default_rng(9).uniform(-1, 1, (1, 200, 256)))
    operations = 2 * 256 * 256
    assert tops_per_watt(result, "nominal") == pytest.approx(10.5, rel=0.02)
    assert tops_per_watt(result, "high") == pytest.approx(9.76, rel=0.02)
    tops = float(result.efficiency["tops"])
    assert tops == pytest.approx(operations / result.latency / 1e12)
    assert 64 * tops == pytest.approx(63.1, rel=0.01)
    assert tops / (result.area * 1e6) == pytest.approx(1.59, rel=0.01)
    assert set(result.unpriced) == {"neurons", "matches", "rows", "digital", "bits"} - {"neurons"}


@pytest.mark.parametrize("name", ["reram_neurram", "reram_neurram_4b6b"])
def test_neurram(name: str) -> None:
    """15.95 TOPS/W at inputs of 4 and outputs of 6 bits, within 1 %, and its split into rows (33.3 fJ) and conversions
    (29.1 fJ per operation), from which the coefficients were taken.

    Source: Wan et al., Nature 608, 504 (2022), Fig. 12 as digitised in CiMLoop.
    """
    rng = np.random.default_rng(9)  # no input so small that 4 bits make a 0 of it
    result = dense(name, 128, rng.uniform(0.2, 1, (1, 200, 256)) * rng.choice([-1, 1], (1, 200, 256)))
    operations = 2 * 256 * 128
    assert tops_per_watt(result, "nominal") == pytest.approx(15.95, rel=0.01)
    split = result.energy.sel(bound="nominal", die=0).sum("place") / operations * 1e15
    assert float(split.sel(component="rows")) == pytest.approx(21.8 + 11.5, rel=0.01)
    assert float(split.sel(component="conversions")) == pytest.approx(29.1, rel=0.01)
    assert 48 * float(result.efficiency["tops"]) == pytest.approx(0.744, rel=0.01)


@pytest.mark.parametrize(("node", "picojoules"), [(14e-9, (0.195, 0.225, 0.362)), (22e-9, (0.456, 0.526, 0.846)),
                                                  (65e-9, (3.50, 4.03, 6.49)), (130e-9, (12.9, 14.8, 23.9))])
def test_regression_of_converters(node: float, picojoules: tuple[float, ...]) -> None:
    """4, 6 and 8 bits at 10 MS/s, as the public plug-in for Accelergy gives them (three digits, cut off)."""
    for bits, expected in zip((4, 6, 8), picojoules, strict=True):
        assert murmann(bits, node, 10e6) * 1e12 == pytest.approx(expected, rel=7e-3)


def test_conversion_models() -> None:
    def conversion(**values: object) -> tuple[float, float, float]:
        data = {"name": "x", "family": "abstract", "energy": {"conversion": values}}
        return conversion_energy(parse_profile(data, "x").energy.conversion)

    assert conversion(model="fixed", energy=2e-12) == (2e-12,) * 3
    assert conversion(model="walden", bits=6, fom={"low": 5e-15, "nominal": 20e-15, "high": 50e-15}) == pytest.approx(
        (walden(5e-15, 6), walden(20e-15, 6), walden(50e-15, 6)))
    found = conversion(model="murmann", bits=8, node=22e-9, rate=10e6, factor={"low": 0.2, "nominal": 1, "high": 2})
    assert found == pytest.approx([factor * murmann(8, 22e-9, 10e6) for factor in (0.2, 1, 2)])
    for values, fault in (({"model": "walden", "bits": 6, "energy": 1e-12}, "fom for model"),
                          ({"model": "fixed", "bits": 6, "energy": 1e-12}, "energy for model"),
                          ({"model": "walden", "fom": 1e-15}, r"energy: found .*conversion\.bits, or an \[adc\]")):
        with pytest.raises(NeurosimError, match=fault):
            conversion(**values)


@pytest.mark.parametrize(("model", "price"), [
    ({"model": "walden", "fom": 20e-15}, lambda bits: walden(20e-15, bits)),
    ({"model": "murmann", "factor": 1.5, "node": 65e-9, "rate": 1e6}, lambda bits: 1.5 * murmann(bits, 65e-9, 1e6))])
def test_a_conversion_costs_what_its_converter_resolves(model: dict[str, object], price: object) -> None:
    """The bits that the kernels convert with are those that are paid for."""
    chip = ns.load_profile("pcm_joshi").with_values({"energy.conversion": model | {"bits": 3}, "energy.row": 1e-12})
    assert coefficients(chip)[EVENTS.index("conversions")] == pytest.approx([price(3)] * 3)
    for bits in (4, 10):
        found = coefficients(chip.with_values({"adc.bits": bits}))
        assert found[EVENTS.index("conversions")] == pytest.approx([price(bits)] * 3)


def test_faults_of_coefficients_are_told() -> None:
    data = {"name": "x", "family": "abstract", "energy": {"spike": {"low": 2, "nominal": 1, "high": 3}, "row": "much",
                                                          "cell": {"voltage": -1, "time": 1e-9}}}
    with pytest.raises(NeurosimError) as error:
        parse_profile(data, "x.toml")
    text = str(error.value)
    for part in ("energy.spike", "low <= nominal <= high", "energy.row", "energy.cell.voltage", "volts, above 0"):
        assert part in text


def test_energy_does_not_make_another_die() -> None:
    chip = ns.load_profile("pcm_hermes")
    assert chip.with_values({"energy.cell.voltage": 0.3, "timing.read": 1e-6}).hash == chip.hash
    assert chip.with_values({"crossbar.levels": 16}).hash != chip.hash


def test_latency_and_throughput() -> None:
    """Layers one after the other in a step, the recurrent array beside the one that feeds its neurons."""
    rng = np.random.default_rng(3)
    net = network(rng)
    chip = ns.load_profile("pcm_hermes").with_values({"crossbar.rows": 8, "timing.read": 1e-6})
    for tiles, reads in (("parallel", (1, 1)), ("multiplexed", (5, 5))):  # tiles of 12 and 40, and of 40 inputs
        mapped = ns.map_network(net, chip.with_values({"timing.tiles": tiles}))
        result = ns.deploy(mapped, spikes(rng), np.zeros(SAMPLES, int), dies=1, progress=False)
        assert result.latency == pytest.approx(sum(reads) * 1e-6 * STEPS), tiles
        assert result.throughput == pytest.approx(1 / (max(reads) * 1e-6 * STEPS)), tiles
    assert pace(Ledger(mapped), 10, {"out/weight": 3}) == Pace(pytest.approx(2e-4), pytest.approx(1 / 1.5e-4))
    convolved = ns.Network.sequential({"conv": ns.Conv2d(rng.normal(size=(3, 2, 3, 3)))}, (2, 6, 6), dt=1e-3)
    assert pace(Ledger(ns.map_network(convolved, chip)), 1).latency == pytest.approx(4 * 4 * 1e-6)


def test_pace_needs_no_prices_and_real_time_is_the_networks() -> None:
    rng = np.random.default_rng(3)
    chip = ns.load_profile("mismatch").with_values({"timing.read": 1e-6})
    result = ns.deploy(ns.map_network(network(rng), chip), spikes(rng), np.zeros(SAMPLES, int), dies=1, progress=False)
    assert (result.latency, result.throughput) == (pytest.approx(2 * STEPS * 1e-6), pytest.approx(1 / (STEPS * 1e-6)))
    assert pace(Ledger(ns.map_network(network(rng), ns.load_profile("dynap_se2"))), 50).throughput == 1 / (50 * 1e-3)
    assert pace(Ledger(ns.map_network(network(rng), ns.load_profile("ideal"))), 50) is None


@pytest.mark.parametrize("name", ["pcm_hermes", "dynap_se2"])
def test_figures_of_merit_by_hand(name: str) -> None:
    """SOPs walk again, spike by spike; the rest is arithmetic on joules and seconds."""
    rng = np.random.default_rng(11)
    net, inputs = network(rng), spikes(rng)
    mapped = ns.map_network(net, ns.load_profile(name).with_values(QUIET if name == "pcm_hermes" else {}))
    result = ns.deploy(mapped, inputs, np.zeros(SAMPLES, int), dies=2, seed=3, progress=False)
    found, joules = result.efficiency, result.energy.sum(["place", "component"])
    dense = (40 * 12 + 40 * 40 + 5 * 40) * STEPS
    for die in range(2):
        walks = recount(net, mapped, ns.Dies(mapped, 3).parameters(die), inputs, 256)
        sops = sum(amount for (_, event), amount in walks.items() if event == "matches") / SAMPLES
        assert float(found["sops"].sel(die=die)) == pytest.approx(sops, rel=1e-12)
        for bound in BOUNDS:
            e, at = float(joules.sel(die=die, bound=bound)), {"die": die, "bound": bound}
            assert float(found["energy_per_sop"].sel(at)) == pytest.approx(e / sops, rel=1e-12)
            assert float(found["tops_per_watt"].sel(at)) == pytest.approx(2 * dense / e / 1e12, rel=1e-12)
            assert float(found["edp"].sel(at)) == pytest.approx(e * result.latency, rel=1e-12)
    assert float(found["tops"]) == pytest.approx(2 * dense * result.throughput / 1e12)
    for text in ("energy per SOP", "TOPS/W", "energy-delay product", "samples a second"):
        assert text in str(result)


def test_a_silent_die_has_no_energy_per_operation() -> None:
    mapped = ns.map_network(network(np.random.default_rng(6)), ns.load_profile("dynap_se2"))
    found = ns.deploy(mapped, np.zeros((STEPS, SAMPLES, 12)), np.zeros(SAMPLES, int), dies=1, progress=False).efficiency
    assert float(found["sops"].sum()) == 0
    assert bool(found["energy_per_sop"].isnull().all())


def test_a_chip_without_prices_says_so() -> None:
    rng = np.random.default_rng(3)
    result = ns.deploy(ns.map_network(network(rng), ns.load_profile("mismatch")), spikes(rng), np.zeros(SAMPLES, int),
                       dies=1, progress=False)
    assert result.unpriced == ()
    with pytest.raises(NeurosimError, match=r"mismatch says nothing of energy; give its profile an \[energy\] section"):
        result.energy  # noqa: B018
    mapped = ns.map_network(network(rng), ns.load_profile("mismatch").with_values({"energy.static": 1e-6}))
    with pytest.raises(NeurosimError, match="static power without a time"):
        ns.deploy(mapped, spikes(rng), np.zeros(SAMPLES, int), dies=1, progress=False)


def test_cores_fill_one_after_the_other() -> None:
    mapped = ns.map_network(network(np.random.default_rng(0)), ns.load_profile("dynap_se2").with_values(small_core(16)))
    assert Ledger(mapped).cores == 3  # 40 + 5 neurons
