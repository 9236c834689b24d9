"""Networks of DPINeuron: inhibition inhibits, noise has its density, currents go in, what cannot be run is refused."""

from __future__ import annotations

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import NeurosimError
from neurosim.network.forward import run


def counts(layer: ns.DPINeuron, inputs: np.ndarray, dt: float = 1e-3) -> np.ndarray:
    """Spikes `[time, batch, neurons]`."""
    network = ns.Network.sequential({"cells": layer}, (inputs.shape[2],), dt)
    return run(network, inputs, keep=("cells",)).kept["cells"]


@pytest.mark.parametrize("kind", ["gaba", "shunt"])
def test_a_lone_inhibitory_spike_lowers_a_later_response(kind: str) -> None:
    """Excitation at step 40; inhibition alone at step 35, when there is nothing to cancel, or not at all."""
    fields = {"gaba": {"i_gain_gaba": 2e-9}, "shunt": {"i_gain_shunt": 200e-12}}[kind]
    layer = ns.DPINeuron(weight_ampa=[[4e-6, 0]], **{f"weight_{kind}": [[0, 4e-6]]}, i_dc=10e-12, **fields)
    inputs = np.zeros((90, 2, 2))
    inputs[40, :, 0] = 1
    inputs[35, 1, 1] = 1
    found = counts(layer, inputs).sum(axis=(0, 2))
    assert found[0] > 3
    assert found[1] < found[0]


def test_nmda_waits_for_the_membrane() -> None:
    """The gate passes where the membrane is high: with excitation the current counts, alone it does not."""
    inputs = np.zeros((200, 3, 2))
    inputs[10::20, 0, 0] = inputs[10::20, 1, 1] = inputs[10::20, 2] = 1
    layer = ns.DPINeuron(weight_ampa=[[1e-6, 0]], weight_nmda=[[0, 1e-6]], i_nmda_threshold=100e-9)
    ampa, nmda, both = counts(layer, inputs).sum(axis=(0, 2))
    assert nmda < ampa < both


def test_the_linear_jump_is_far_off_below_its_regime() -> None:
    """From rest a pulse of 15 nA of the default synapse charges 2500 times too much in the linear model."""
    inputs = np.zeros((100, 1, 1))
    inputs[::10] = 1
    exact, linear = (counts(ns.DPINeuron(weight_ampa=[[15e-9]], synapse_model=model), inputs).sum()
                     for model in ("exact", "linear"))
    assert exact == 0
    assert linear > 3


def test_noise_of_the_bias_has_its_density_at_every_dt() -> None:
    """Without feedback and far above its gain current the membrane is a linear filter: I = (Ig / Itau) i_dc, with the
    variance of a first-order low-pass on white noise, density^2 / (4 tau) times the squared gain."""
    neurons, density = 512, 0.5e-12
    fields = {"i_tau_mem": 5e-12, "i_gain_mem": 5e-12, "i_threshold": 1e-6, "i_dc": 200e-12, "feedback": "none"}
    tau = 3e-12 * 0.025852 / (0.705 * 5e-12)
    spreads = []
    for dt in (1e-3, 4e-3):
        network = ns.Network.sequential([ns.DPINeuron(noise_dc=density, noise_seed=5, **fields)], (neurons,), dt)
        spreads.append(_membranes(network, neurons, round(0.5 / dt)).std())
    wanted = density / np.sqrt(4 * tau) * (1 + 5e-12 / 200e-12)  # the gain's slope just above it
    for spread in spreads:  # 512 samples: 3 sigma of a standard deviation are 10 %
        assert abs(spread / wanted - 1) < 0.12


def _membranes(network: ns.Network, neurons: int, steps: int) -> np.ndarray:
    """Currents of the membranes after some steps, A."""
    from neurosim.network import circuit_forward as forward

    layer = network["dpineuron"]
    arrays = forward.normalised(layer, layer.arrays(), neurons, network.dt, np.dtype(np.float64))
    traces: dict[str, np.ndarray] = {}
    forward.run_circuit(layer, arrays, np.zeros(steps + 1, np.int64), np.empty(0, np.int32), None, slice(0, 1), steps,
                        np.dtype(np.float64), traces)
    return traces["membrane"][0, -1]


def test_noise_is_the_samples_own() -> None:
    layer = ns.DPINeuron(i_dc=20e-12, noise_dc=1e-12)
    inputs = np.zeros((300, 4, 3))
    found = counts(layer, inputs)
    np.testing.assert_array_equal(found, counts(layer, inputs))
    assert (found[:, 0] != found[:, 1]).any()
    assert (counts(ns.DPINeuron(i_dc=20e-12, noise_dc=1e-12, noise_seed=1), inputs) != found).any()


def test_currents_are_an_input_like_the_bias() -> None:
    biased = counts(ns.DPINeuron(i_dc=[100e-12, 1e-9]), np.zeros((400, 1, 2)))
    driven = counts(ns.DPINeuron(i_dc=0.0), np.broadcast_to([100e-12, 1e-9], (400, 1, 2)))
    np.testing.assert_array_equal(biased, driven)
    assert biased.sum() > 15


def test_a_population_drives_the_next_and_a_die_has_its_own_currents() -> None:
    rng = np.random.default_rng(3)
    network = ns.Network.sequential({
        "first": ns.DPINeuron(weight_ampa=rng.uniform(0, 1e-6, (8, 4)), recurrent_gaba=np.full((8, 8), 2e-9)),
        "second": ns.DPINeuron(weight_ampa=rng.uniform(0, 1e-6, (3, 8)))}, (4,), 1e-3)
    inputs = (rng.random((200, 2, 4)) < 0.1).astype(float)
    nominal = run(network, inputs)
    assert nominal.spikes["first"].sum() > 20
    assert nominal.spikes["second"].sum() > 5
    assert set(nominal.drives) == {"first", "first/recurrent", "second"}
    np.testing.assert_array_equal(nominal.drives["first"].active, np.count_nonzero(inputs, axis=(0, 1)))
    die = run(network, inputs, {"first": {"i_tau_mem": np.full(8, 20e-12, np.float32)}})
    assert die.spikes["first"].sum() < nominal.spikes["first"].sum()


@pytest.mark.parametrize(("layer", "inputs", "dt", "message"), [
    (ns.DPINeuron(weight_ampa=[[1e-9]], t_pulse=2e-3), np.zeros((3, 1, 1)), 1e-3, "t_pulse is 0.002 s, longer than"),
    (ns.DPINeuron(weight_ampa=[[1e-9]], t_refractory=1e-6), np.zeros((3, 1, 1)), 1e-3, "may fire 1001 times in a step"),
    (ns.DPINeuron(weight_ampa=[[1e-9]]), np.full((3, 1, 1), 0.5), 1e-3, "its input is not spikes"),
])
def test_refusals(layer: ns.DPINeuron, inputs: np.ndarray, dt: float, message: str) -> None:
    with pytest.raises(NeurosimError, match=message):
        counts(layer, inputs, dt)
