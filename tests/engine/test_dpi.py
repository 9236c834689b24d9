"""Subthreshold neurons on the kernels: equal to the twin in Python, and to the differential equations by scipy."""

from __future__ import annotations

import dpi_ode
import dpi_twin
import numpy as np
import pytest

import neurosim as ns
from neurosim import engine
from neurosim.devices import integrated, time_constant
from neurosim.engine import dpi
from neurosim.network.circuit_forward import normalised, normalised_dies

# the setting of the golden rates: UT 25 mV, membrane 20 ms, gain 4 Itau, and an AHP that rests at I0
KELVIN = 0.025 / dpi_ode.BOLTZMANN_PER_CHARGE
I_TAU = 3e-12 * 0.025 / (0.705 * 20e-3)
SETTING = {"temperature": KELVIN, "kappa": 0.705, "i_tau_mem": I_TAU, "i_gain_mem": 4 * I_TAU, "c_mem": 3e-12,
           "i_threshold": 100e-9, "i_reset": 0.5e-12, "i_0": 0.5e-12, "t_refractory": 1e-3, "i_weight_ahp": 0.5e-12}
# rates in Hz of the ODE with located events, worked out before this code was (fit "power")
GOLDEN = {10e-12: 1.60, 20e-12: 5.02, 50e-12: 10.18, 100e-12: 15.11, 300e-12: 25.5, 1e-9: 42.25, 10e-9: 105.0}


def numbers(layer: ns.DPINeuron, n: int = 0) -> dict[str, object]:
    """The parameters of neuron n as plain values."""
    arrays = {k: float(np.broadcast_to(v, (n + 1,))[n] if v.size == 1 else v[n]) for k, v in layer.arrays().items()
              if not k.startswith(("weight", "recurrent"))}
    return {**arrays, **layer.settings()}


def simulated(layer: ns.DPINeuron, neurons: int, dt: float, spikes: np.ndarray, dtype: type = np.float64
              ) -> tuple[np.ndarray, np.ndarray]:
    """Spike counts and v, `[batch, time, neurons]`; spikes `[batch, time, inputs]`."""
    batch, time = spikes.shape[:2]
    given = normalised(layer, layer.arrays(), neurons, dt, np.dtype(dtype))
    for name in ("leak", "gains", "kinds", "noise", "dt", "neurons"):
        del given[name]
    width = given["cells"].shape[1]
    trace = np.empty((batch, time, 3 + given["targets"].size, width), dtype)
    pointers, indices = engine.to_events(spikes.reshape(batch * time, -1).astype(np.uint8))
    found = dpi.simulate(pointers, indices, current=np.empty((0, 0, 0), dtype), batches=batch, times=time, trace=trace,
                         **given)
    counts = np.zeros((batch * time, width))
    engine.scatter(found[0], found[1], counts)
    assert (counts.sum(0) == found[2]).all()
    return counts.reshape(batch, time, width)[..., :neurons], trace[:, :, dpi.V, :neurons]


def rates(currents: np.ndarray, dt: float, seconds: float = 20.0, dtype: type = np.float32, **more: object
          ) -> np.ndarray:
    """Firing rates, from the second spike to the last."""
    layer = ns.DPINeuron(i_dc=currents, **{**SETTING, **more})
    counts, _ = simulated(layer, currents.size, dt, np.zeros((1, round(seconds / dt), 1)), dtype)
    out = np.zeros(currents.size)
    for n in range(currents.size):
        steps = np.flatnonzero(counts[0, :, n])
        if steps.size > 2:
            out[n] = counts[0, steps[1] + 1:, n].sum() / ((steps[-1] - steps[1]) * dt)
    return out


def true_rates(currents: np.ndarray, about: np.ndarray) -> np.ndarray:
    """From the first spike: the neuron begins as it stands after a refractory period."""
    found = []
    for current, rate in zip(currents, about, strict=True):
        p = numbers(ns.DPINeuron(i_dc=current, **SETTING))
        p["i_tau_mem"] += p["i_0"]  # the AHP, at rest
        [first] = dpi_ode.spike_times(p, (), [], end=1.05 / rate - p["t_refractory"])
        found.append(1 / (first + p["t_refractory"]))
    return np.array(found)


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, np.ndarray]:
    currents = np.array([10e-12, 14e-12, 30e-12, 100e-12, 400e-12, 1e-9, 10e-9])
    return currents, true_rates(currents, rates(currents, 1e-3))


def test_golden_rates() -> None:
    currents = np.array(list(GOLDEN))
    found = rates(currents, 1e-4)
    wanted = np.array(list(GOLDEN.values()))
    rounding = 0.5 * 10.0 ** -np.array([2, 2, 2, 2, 1, 2, 1])  # of the table
    assert (np.abs(found - wanted) <= 1e-3 * wanted + rounding).all(), found


@pytest.mark.slow
@pytest.mark.parametrize(("dt", "error", "at_10_na"), [(1e-4, 1e-3, 1e-3), (1e-3, 1e-2, 3e-2)])
def test_rates_are_those_of_the_equations(reference: tuple[np.ndarray, np.ndarray], dt: float, error: float,
                                          at_10_na: float) -> None:
    currents, wanted = reference
    found = rates(currents, dt)
    off = np.abs(found / wanted - 1)
    assert (off[:-1] < error).all(), off
    assert off[-1] < at_10_na, off


@pytest.mark.parametrize("feedback", ["power", "sigmoid", "product", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_blows_up(feedback: str, dtype: type) -> None:
    currents = np.geomspace(1e-12, 1e-6, 61)
    layer = ns.DPINeuron(i_dc=currents, feedback=feedback, **{**SETTING, "i_threshold": 5e-9})
    for dt in (1e-4, 1e-3):
        counts, v = simulated(layer, currents.size, dt, np.zeros((1, round(0.5 / dt), 1)), dtype)
        assert np.isfinite(v).all()
        low, high = (np.log(SETTING["i_0"] / (4 * I_TAU)), np.log(5e-9 / (4 * I_TAU)))
        assert low - 1e-5 <= v.min() <= v.max() <= high + 1e-5
        totals = counts.sum(axis=(0, 1))
        assert (np.diff(totals) >= -1).all()  # more current, more spikes
        assert totals[0] == 0
        assert 400 < totals[-1] <= 501


@pytest.mark.parametrize("refractory", [1e-3, 20e-6])
def test_many_spikes_in_a_step_are_all_counted(refractory: float) -> None:
    fine, coarse = (rates(np.array([30e-9, 1e-6]), dt, 1.0, t_refractory=refractory) for dt in (1e-4, 1e-3))
    np.testing.assert_allclose(coarse, fine, rtol=5e-3)
    if refractory < 1e-4:
        assert fine[1] > 1500


class Case:
    """A small population with every kind of synapse, feedback and parameters that differ from neuron to neuron."""

    def __init__(self, feedback: str, model: str = "exact", adapts: bool = True, gate: float = 40e-12) -> None:
        rng = np.random.default_rng(7)
        self.neurons, inputs = 5, 6

        def spread(value: float, *shape: int) -> np.ndarray:
            return value * rng.lognormal(0, 0.3, shape or (self.neurons,))

        sizes = {"ampa": 200e-9, "nmda": 20e-9, "gaba": 8e-9, "shunt": 1e-9}
        self.weights = {s: spread(size, self.neurons, inputs) for s, size in sizes.items()}
        self.recurrent = {s: spread(w, self.neurons, self.neurons) for s, w in (("ampa", 6e-9), ("shunt", 2e-9))}
        fields = {"i_tau_mem": 5.5e-12, "i_gain_mem": 22e-12, "c_mem": 3e-12, "i_threshold": 20e-9, "i_dc": 20e-12,
                  "t_refractory": 1.4e-3, "i_gain_ampa": 2e-9, "c_nmda": 40e-12, "i_tau_shunt": 60e-12}
        if adapts:
            fields |= {"i_weight_ahp": 5e-9, "t_pulse_ahp": 20e-6, "i_gain_ahp": 100e-12}
        self.layer = ns.DPINeuron(
            **{f"weight_{k}": v for k, v in self.weights.items()}, i_nmda_threshold=gate,
            **{f"recurrent_{k}": v for k, v in self.recurrent.items()}, **{k: spread(v) for k, v in fields.items()},
            feedback=feedback, synapse_model=model, i_feedback_norm=200e-12)
        self.spikes = (rng.random((2, 150, inputs)) < 0.06).astype(float)


@pytest.mark.parametrize(("feedback", "model", "adapts"), [
    ("power", "exact", True), ("sigmoid", "exact", True), ("product", "exact", False), ("none", "exact", True),
    ("power", "linear", True)])
def test_the_kernel_is_its_twin(feedback: str, model: str, adapts: bool) -> None:
    case = Case(feedback, model, adapts)
    counts, v = simulated(case.layer, case.neurons, 1e-3, case.spikes)
    rows = [numbers(case.layer, n) for n in range(case.neurons)]
    for b in range(2):
        wanted = dpi_twin.run(rows, 1e-3, case.spikes[b], case.weights, case.recurrent)
        np.testing.assert_array_equal(counts[b], wanted[0])
        np.testing.assert_allclose(v[b], wanted[1], atol=1e-8)
    assert counts.sum() > 10 or feedback in ("none", "product") or model == "linear"
    single, v_single = simulated(case.layer, case.neurons, 1e-3, case.spikes, np.float32)
    assert np.abs(single - counts).sum() <= 0.02 * counts.sum() + 2
    assert np.median(np.abs(v_single - v)) < 1e-4


@pytest.mark.parametrize(("feedback", "dtype"), [
    ("power", np.float32), ("product", np.float32), ("sigmoid", np.float64)])
def test_a_die_is_the_same_whoever_stands_beside_it(feedback: str, dtype: type,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit: alone, among others, in another order, in groups of any size; each die with events of its own."""
    case, rng, dies, steps = Case(feedback), np.random.default_rng(3), 5, 120
    owns = [{name: value * (rng.lognormal(0, 0.1, value.shape) if value.any() else 1)
             for name, value in case.layer.arrays().items()} for _ in range(dies)]
    given = normalised_dies(case.layer, owns, case.neurons, 1e-3, np.dtype(dtype))
    for name in ("leak", "gains", "kinds", "noise", "dt", "neurons"):
        del given[name]
    per_die = ("cells", "synapses", "rows", "recurrent")
    common = {name: value for name, value in given.items() if name not in per_die}
    common |= {"current": np.empty((0, 0, 0), dtype), "batches": 2, "times": steps}
    shape = (3 + given["targets"].size, given["cells"].shape[2])
    events = [engine.to_events((rng.random((2 * steps, 6)) < 0.08).astype(np.uint8)) for _ in range(dies)]
    alone, traces = [], []
    for die in range(dies):
        traces.append(np.empty((2, steps, *shape), dtype))
        alone.append(dpi.simulate(*events[die], trace=traces[-1], **common, **{n: given[n][die] for n in per_die}))
    assert len({found[2].sum() for found in alone}) > 2, "dies differ"
    assert max(np.diff(found[0]).max() for found in alone) > 1
    for together in (1, 30, 10_000):
        monkeypatch.setattr(dpi, "TOGETHER", together)
        order = rng.permutation(dies)
        offsets = np.cumsum([0] + [events[die][1].size for die in order[:-1]])
        trace = np.empty((dies * 2, steps, *shape), dtype)
        found = dpi.simulate_dies(np.stack([events[die][0] + at for die, at in zip(order, offsets, strict=True)]),
                                  np.concatenate([events[die][1] for die in order]), trace=trace, **common,
                                  **{name: np.ascontiguousarray(given[name][order]) for name in per_die})
        for place, die in enumerate(order):
            for here, there in zip(found[place], alone[die], strict=True):
                np.testing.assert_array_equal(here, there)
            np.testing.assert_array_equal(trace[2 * place:2 * place + 2], traces[die])


@pytest.mark.slow
@pytest.mark.parametrize("feedback", ["power", "product"])
def test_synapses_adaptation_and_refractory_period_follow_the_equations(feedback: str) -> None:
    """Spike times in amperes and seconds, pulses of true length: within two steps of 0.05 ms."""
    dt, case = 5e-5, Case(feedback)
    keep = {k: v for k, v in case.layer.arrays().items() if not k.startswith("recurrent")}
    layer = ns.DPINeuron(**keep, **case.layer.settings())
    spikes = np.zeros((1, 1600, 6))
    spikes[0, ::20] = case.spikes[0, :80]
    counts, _ = simulated(layer, case.neurons, dt, spikes)
    compared = 0
    for n in (0, 3):
        pulses = [(t * dt, name, float(case.weights[name][n] @ spikes[0, t])) for t in range(0, 1600, 20)
                  for name in case.weights if spikes[0, t].any()]
        blocks = (*case.weights, "ahp")
        wanted = dpi_ode.spike_times(numbers(layer, n), blocks, pulses, 0.08, rtol=1e-7)
        found = (np.flatnonzero(counts[0, :, n]) + 0.5) * dt
        assert found.size == wanted.size
        np.testing.assert_allclose(found, wanted, atol=2 * dt)
        compared += found.size
    assert compared > 3


def test_pulses_of_the_kernel_are_exact() -> None:
    """The kernel takes the pulse between two halves of its leak; the exact solution, over all currents and weights."""
    start, weight = (a.ravel() for a in np.meshgrid(np.geomspace(0.5e-12, 20e-9, 12), np.geomspace(1e-12, 2e-6, 12)))
    i_tau, i_gain, c = 86.9e-12, 8.69e-9, 24.5e-12
    tau = time_constant(c, i_tau, kappa=0.705, temperature=300.0)
    for duration, tolerance in ((1e-5, 1e-7), (1e-4, 5e-6), (1e-3, 5e-4)):
        leak = np.exp(-duration / (2 * tau))
        growth = weight * duration / i_tau / tau
        for dtype, rounding in ((np.float64, 0), (np.float32, 1e-6)):
            y = (start / i_gain * leak).astype(dtype)
            dpi.pulse(y, growth.astype(dtype), np.full_like(y, duration / tau), np.empty_like(y))
            wanted = integrated(start, weight, duration, i_tau=i_tau, i_gain=i_gain, tau=tau)
            np.testing.assert_allclose(y * leak * i_gain, wanted, rtol=tolerance + rounding)
