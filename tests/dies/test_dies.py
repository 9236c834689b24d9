"""Dies: the same die anywhere, and moments that are those of the profile."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import neurosim as ns
from neurosim.profile import Quantity, profile_names

N = 1000  # N x N = 1e6 draws


def mapped(profile: ns.Profile, weight: np.ndarray | None = None) -> object:
    weight = np.eye(8) if weight is None else weight
    net = ns.Network.sequential([ns.Linear(weight, np.ones(weight.shape[0])), ns.LIF(0.9)], weight.shape[1:], dt=1e-3)
    return ns.map_network(net, profile)


def standard_error_of_sd(values: np.ndarray) -> float:
    """Of a sample standard deviation, from the sample's own fourth moment."""
    centred = values - values.mean()
    variance = np.mean(centred**2)
    return float(np.sqrt((np.mean(centred**4) - variance**2) / values.size) / (2 * np.sqrt(variance)))


def check(values: np.ndarray, mean: float, sd: float) -> None:
    """Mean and standard deviation within three standard errors."""
    values = np.asarray(values, np.float64).reshape(-1)
    assert values.size >= 1_000_000
    assert abs(values.mean() - mean) < 3 * sd / np.sqrt(values.size)
    assert abs(values.std() - sd) < 3 * standard_error_of_sd(values)


SPREADS = [(name, role) for name in profile_names()
           for role, quantity in dict(ns.load_profile(name).mismatch).items() if quantity is not None]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "role"), SPREADS)
def test_mismatch_moments_are_those_of_the_profile(name, role):
    profile = ns.load_profile(name)
    quantity: Quantity = getattr(profile.mismatch, role)
    chip = profile.with_values({"limits": {}, "synapse": {}})
    decay = np.exp(-1.0)
    neurons = N * N
    if role == "weight":
        net = ns.Network.sequential([ns.Linear(np.ones((N, N)))], (N,), dt=1e-3)
        values = ns.Dies(ns.map_network(net, chip), 5).parameters(3)["linear"]["weight"]
    else:
        layer = ns.CubaLIF(decay, decay, 1.0, bias=1.0) if role != "tau_adaptation" else (
            ns.AdaptiveLIF(decay, decay, 1.0, 1.0))
        net = ns.Network.sequential({"n": layer}, (neurons,), dt=1e-3)
        name = {"tau_mem": "beta", "tau_syn": "alpha", "tau_adaptation": "beta_adaptation"}.get(role, role)
        values = ns.Dies(ns.map_network(net, chip), 5).parameters(3)["n"][name].astype(np.float64)
        if role.startswith("tau"):
            values = -1 / np.log(values)  # the nominal time constant is one step
    check(values, quantity.value, quantity.spread)


def test_effects_and_arrays_are_independent():
    profile = ns.load_profile("pcm_hermes")
    rng = np.random.default_rng(0)
    weight = rng.choice([-0.5, 0.5], (300, 300))
    net = ns.Network.sequential({"a": ns.Linear(weight), "b": ns.Linear(weight)}, (300,), dt=1.0)
    dies = ns.Dies(ns.map_network(net, profile), 1)
    pairs = [dies.conductances(d, name) for d in (0, 1) for name in ("a/weight", "b/weight")]
    pairs.append(ns.Dies(dies.mapped, 2).conductances(0, "a/weight"))
    pairs.append(ns.Dies(dies.mapped, 1, programming=1).conductances(0, "a/weight"))
    flat = [side.reshape(-1) for pair in pairs for side in pair]
    correlation = np.corrcoef([side - np.where(side > 3e-6, side[side > 3e-6].mean(), 0) for side in flat])
    off = correlation[~np.eye(len(flat), dtype=bool)]
    same_target = np.abs(off).max()
    assert same_target < 0.75, "targets correlate, draws do not"
    noise = [pair[0][weight > 0] for pair in pairs]
    off = np.corrcoef(noise)[~np.eye(len(noise), dtype=bool)]
    assert np.abs(off).max() < 4 / np.sqrt(noise[0].size)


def test_a_die_is_the_same_in_another_process():
    code = ("import numpy as np, neurosim as ns, hashlib;"
            "net = ns.Network.sequential([ns.Linear(np.eye(50)), ns.LIF(0.9)], (50,), dt=1e-3);"
            "d = ns.Dies(ns.map_network(net, ns.load_profile('pcm_hermes')), 9, time=1e6);"
            "print(hashlib.sha256(d.parameters(417)['linear']['weight'].tobytes()).hexdigest())")
    found = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
             for _ in range(2)]
    net = ns.Network.sequential([ns.Linear(np.eye(50)), ns.LIF(0.9)], (50,), dt=1e-3)
    dies = ns.Dies(ns.map_network(net, ns.load_profile("pcm_hermes")), 9, time=1e6)
    import hashlib

    for die in (3, 417, 12):
        values = dies.parameters(die)["linear"]["weight"]
    dies.parameters(12)
    values = dies.parameters(417)["linear"]["weight"]
    assert found == [hashlib.sha256(values.tobytes()).hexdigest() + "\n"] * 2


def test_mismatch_stays_when_a_die_is_programmed_again_or_drifts():
    """What is drawn once per die is not drawn again with the write noise."""
    profile = ns.load_profile("pcm_hermes").with_values({
        "mismatch.weight": {"value": 1.0, "cv": 0.2, "distribution": "lognormal"}, "crossbar.programming.sigma": 0.0})
    net = mapped(profile, np.full((20, 20), 0.5))
    first = ns.Dies(net, 1).conductances(4, "linear/weight")[0]
    again = ns.Dies(net, 1, programming=8).conductances(4, "linear/weight")[0]
    np.testing.assert_array_equal(first, again)
    assert first.std() > 0.1 * first.mean()
    noisy = mapped(ns.load_profile("pcm_hermes"), np.full((20, 20), 0.5))
    assert (ns.Dies(noisy, 1).conductances(4, "linear/weight")[0]
            != ns.Dies(noisy, 1, programming=8).conductances(4, "linear/weight")[0]).all()


def test_biases_on_a_crossbar_and_what_has_no_spread_stay_exact():
    assert "bias" not in ns.Dies(mapped(ns.load_profile("pcm_hermes")), 1).parameters(0)["linear"]


@pytest.mark.parametrize(("change", "said"), [
    ({"seed": -1}, "seed is -1"), ({"seed": 1 << 64}, "seed is"), ({"seed": 1.5}, "seed is 1.5"),
    ({"time": 1.0}, "allowed: 200"), ({"programming": -1}, "programming is -1"),
])
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ns.NeurosimError, match=said):
        ns.Dies(mapped(ns.load_profile("pcm_hermes")), **{"seed": 0, **change})


def test_time_on_a_chip_that_does_not_drift_is_refused():
    with pytest.raises(ns.NeurosimError, match="does not drift"):
        ns.Dies(mapped(ns.load_profile("generic_independent")), 0, time=3600.0)
    with pytest.raises(ns.NeurosimError, match="no array of conductances"):
        ns.Dies(mapped(ns.load_profile("mismatch")), 0).conductances(0, "linear/weight")
