"""NIR as other frameworks write it: their exporters' formulas, stepped as their documentation says."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from nir_cases import BATCH, ODD, WEIGHT, chain, follow, lif_node, random_spikes, run_all

import neurosim as ns
from neurosim.network.nir_files import from_nir


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_snntorch_leaky(dtype: type) -> None:
    beta, dt = ODD.astype(dtype), 1e-4
    tau = dt / (1 - beta)
    node = nir.LIF(tau=tau, r=tau / dt, v_leak=np.zeros_like(beta), v_threshold=np.full(4, 0.5, dtype))
    weight = WEIGHT.astype(dtype)
    net = from_nir(chain(nir.Linear(weight), node), dt=1e-4)
    assert net["n1"].beta.dtype == dtype
    if dtype is np.float32:
        np.testing.assert_array_equal(net["n1"].beta, beta)
    np.testing.assert_allclose(net["n1"].beta, beta, rtol=0, atol=2e-16)
    np.testing.assert_array_equal(net["n1"].gain, 1)
    assert (net["n1"].reset, net["n1"].reset_delay) == ("zero", False)
    v = np.zeros((BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal v
        v = net["n1"].beta.astype(float) * v + x @ weight.T
        spikes = v > 0.5
        v = np.where(spikes, 0, v)
        return spikes

    inputs = random_spikes((4,))
    expected = follow(step, inputs)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(run_all(net, inputs), expected)
    # another step than the 1e-4 s that snnTorch writes for
    again = from_nir(chain(nir.Linear(weight), node), dt=1e-3, time_unit=10)
    assert again.dt == 1e-3
    np.testing.assert_allclose(again["n1"].beta, beta, rtol=0, atol=2e-16 if dtype is np.float64 else 0)


def test_snntorch_synaptic_and_recurrent_in_a_graph_of_its_own() -> None:
    alpha, beta, dt = ODD[::-1].astype(np.float32), ODD.astype(np.float32), 1e-4
    tau_syn, tau = dt / (1 - alpha), dt / (1 - beta)
    lif = nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, r=tau / dt, w_in=tau_syn / dt, v_leak=np.zeros(4, np.float32),
                      v_threshold=np.ones(4, np.float32), v_reset=np.zeros(4, np.float32))
    back, bias = (WEIGHT / 4).astype(np.float32), np.linspace(-0.2, 0.2, 4).astype(np.float32)
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([4])), "lif": lif, "w_rec": nir.Affine(back, bias),
         "output": nir.Output(np.array([4]))},
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])
    net = from_nir(chain(nir.Affine(np.eye(4), np.zeros(4)), inner), dt=dt)
    layer = net["n1.lif"]
    meant = {"alpha": alpha, "beta": beta, "gain": 1, "gain_syn": 1, "recurrent": back, "bias": bias}
    for name, value in meant.items():
        np.testing.assert_array_equal(getattr(layer, name), value, name)
    i, v, s = np.zeros((3, BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal i, v, s
        i = alpha.astype(float) * i + (bias.astype(float) + x + s @ back.T.astype(float))
        v = beta.astype(float) * v + i
        s = (v > 1) * 1.0
        v = np.where(s, 0, v)
        return s

    inputs = random_spikes((4,), 1)
    expected = follow(step, inputs)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(run_all(net, inputs), expected)


def test_norse_lif_box_and_lif() -> None:
    dt, inverse, synaptic = 1e-3, np.array([50.0, 100.0, 200.0, 120.0]), np.array([150.0, 300.0, 80.0, 200.0])
    zeros, ones = np.zeros(4), np.ones(4)
    box = nir.LIF(tau=dt / inverse, r=ones, v_leak=zeros, v_threshold=0.1 * ones)
    net = from_nir(chain(nir.Affine(WEIGHT, zeros), box), dt=dt, time_unit=1 / dt)
    np.testing.assert_allclose(net["n1"].beta, 1 - dt * inverse, rtol=1e-15)
    np.testing.assert_allclose(net["n1"].gain, dt * inverse, rtol=1e-15)
    v = np.zeros((BATCH, 4))

    def box_step(x: np.ndarray) -> np.ndarray:
        nonlocal v
        v = v + dt * inverse * (x @ WEIGHT.T - v)
        spikes = v > 0.1
        v = np.where(spikes, 0, v)
        return spikes

    inputs = random_spikes((4,), 2)
    expected = follow(box_step, inputs)
    assert expected.any(axis=(0, 1)).sum() > 1
    np.testing.assert_array_equal(run_all(net, inputs), expected)

    cell = nir.CubaLIF(tau_mem=dt / inverse, tau_syn=dt / synaptic, r=ones, v_leak=zeros, v_threshold=0.1 * ones)
    net = from_nir(chain(nir.Affine(WEIGHT, zeros), cell), dt=dt, time_unit=1 / dt, synapse="jump")
    np.testing.assert_array_equal(net["n1"].gain_syn, 1)
    i, v = np.zeros((2, BATCH, 4))

    def cell_step(x: np.ndarray) -> np.ndarray:
        nonlocal i, v
        jumped = i + x @ WEIGHT.T
        v = v + dt * inverse * (jumped - v)
        i = jumped - dt * synaptic * jumped
        spikes = v > 0.1
        v = np.where(spikes, 0, v)
        return spikes

    expected = follow(cell_step, inputs)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(run_all(net, inputs), expected)


@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly_lif(decay_input: bool) -> None:
    dt, tau, reset = 1e-3, 3.0, 0.0
    node = lif_node(tau=tau * dt, r=1.0 if decay_input else tau, v_leak=reset, v_threshold=0.3, v_reset=reset)
    net = from_nir(chain(nir.Linear(WEIGHT), node), dt=dt)
    np.testing.assert_allclose(net["n1"].gain, 1 / tau if decay_input else 1.0, rtol=2e-16)
    v = np.zeros((BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal v
        x = x @ WEIGHT.T
        v = v + (reset - v + x) / tau if decay_input else v + (reset - v) / tau + x
        spikes = v >= 0.3
        v = np.where(spikes, reset, v)
        return spikes

    inputs = random_spikes((4,), 3)
    expected = follow(step, inputs)
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(run_all(net, inputs), expected)


def test_spikingjelly_if_and_a_leak_that_is_not_zero() -> None:
    dt = 1e-4
    node = nir.IF(r=np.full(4, 1 / dt), v_threshold=np.full(4, 0.7), v_reset=np.full(4, -0.1))
    net = from_nir(chain(nir.Linear(WEIGHT), node), dt=dt)
    assert net["n1"].beta == 1
    np.testing.assert_array_equal(net["n1"].gain, 1)
    np.testing.assert_array_equal(net["n1"].v_reset, -0.1)
    leaky = from_nir(chain(lif_node(tau=3e-3, v_leak=-0.5, v_reset=-0.5)), dt=1e-3)["n0"]
    np.testing.assert_allclose(leaky.gain * leaky.bias, -0.5 / 3, rtol=1e-15)
    resting = nir.LI(*np.array([[3e-3] * 4, [1.0] * 4, [-0.5] * 4]))
    still = run_all(from_nir(chain(resting), dt=1e-3), np.zeros((99, 1, 4)))
    np.testing.assert_allclose(still[-1], -0.5, rtol=1e-12)


def test_sinabs_counts_in_time_steps() -> None:
    tau, dt = np.array([2.0, 5.0, 10.0, 30.0]), 1e-3
    node = nir.LIF(tau=tau, r=np.ones(4), v_leak=np.zeros(4), v_threshold=np.full(4, 0.1))
    net = from_nir(chain(nir.Linear(WEIGHT), node), dt=dt, convention="exact", time_unit=dt)
    alpha = np.exp(-1 / tau)
    np.testing.assert_allclose(net["n1"].beta, alpha, rtol=1e-15)
    np.testing.assert_allclose(net["n1"].gain, 1 - alpha, rtol=1e-14)
    v = np.zeros((BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal v
        v = alpha * v + (1 - alpha) * (x @ WEIGHT.T)
        spikes = v > 0.1
        v = np.where(spikes, 0, v)
        return spikes

    inputs = random_spikes((4,), 4)
    expected = follow(step, inputs)
    assert 0.05 < expected.mean() < 0.9
    np.testing.assert_array_equal(run_all(net, inputs), expected)
    with pytest.raises(ns.NeurosimError, match=r"n0 \(LIF\), tau: time constants of up to 20 s.*milliseconds or time"):
        from_nir(chain(lif_node(tau=20)), dt=dt, convention="exact")
    assert from_nir(chain(lif_node(tau=20)), dt=dt, time_unit=1)["n0"].beta[0] == 1 - dt / 20


def test_rockpool_synapse() -> None:
    tau, dt = np.array([0.01, 0.02, 0.05, 0.002]), 1e-3
    node = nir.LI(tau=tau, r=tau * np.exp(-dt / tau) / dt, v_leak=np.zeros(4))
    net = from_nir(chain(nir.Linear(WEIGHT), node), dt=dt, convention="impulse")
    beta = np.exp(-dt / tau)
    np.testing.assert_allclose(net["n1"].beta, beta, rtol=1e-15)
    np.testing.assert_allclose(net["n1"].gain, beta, rtol=1e-14)
    i = np.zeros((BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal i
        i = (i + x @ WEIGHT.T) * beta
        return i

    inputs = random_spikes((4,), 5)
    np.testing.assert_allclose(run_all(net, inputs), follow(step, inputs), rtol=1e-12, atol=1e-13)


def test_exact_is_the_solution_of_the_equation() -> None:
    """Against the ODE itself, in 10 000 Euler steps for each of ours, with a leak."""
    tau, r, leak, dt, fine = 5e-3, 2.0, 0.3, 2e-3, 10_000
    node = nir.LI(*np.array([[tau], [r], [leak]]))
    inputs = np.random.default_rng(0).normal(size=(6, 1, 1))
    found = run_all(from_nir(chain(node, shape=(1,)), dt=dt, convention="exact"), inputs).ravel()
    v, expected = 0.0, []
    for x in inputs.ravel():
        for _ in range(fine):
            v += dt / fine / tau * (leak - v + r * x)
        expected.append(v)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


