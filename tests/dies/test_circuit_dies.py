"""Dies of a chip of circuits: moments and correlations are those of the profile, devices belong to places."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

import neurosim as ns
from neurosim.devices import bias_ratio, current_factor, leakage_at, nearest_codes, table_currents
from neurosim.mapping import chip_fields
from neurosim.mapping.biases import SETTINGS, settings_of
from neurosim.profile import Variation

CHIPS = ("dynap_se1", "dynap_se2")
DIES, NEURONS, INPUTS = 150, 1024, 4


def network(profile: ns.Profile, neurons: int = NEURONS, inputs: int = INPUTS, **fields: object) -> ns.Network:
    """Neurons of one set of biases on as many cores as they need; a column of weights is one base current."""
    on = {"i_dc": 5e-12, "i_nmda_threshold": 1e-9, "i_weight_ahp": 1e-9}
    table = table_currents(profile.circuit, profile.circuit.bias.weight)
    one = np.array([*nearest_codes(table, np.array([1.0]) * profile.circuit.bias.weight.current.value)])
    base = table[one[0], one[1] + (7 * np.arange(4) if profile.circuit.size.coding == "mask" else np.zeros(4, int))]
    weight = np.tile(np.resize(base, inputs), (neurons, 1))
    layer = ns.DPINeuron(**{**chip_fields(profile), **on, "weight_ampa": weight, **fields})
    return ns.Network.sequential({"n": layer}, (inputs,), dt=1e-3)


def drawn(profile: ns.Profile, dies: int = DIES, **change: object) -> tuple[ns.Network, np.ndarray, dict]:
    """Nominal network, the core of each neuron, and `{field: [die, neuron or weight]}` of ratios to nominal."""
    mapped = ns.map_network(network(profile, **change), profile)
    nominal = mapped.configuration.to_network(profile)["n"]
    lot = ns.Dies(mapped, seed=11)
    found = [lot.parameters(die)["n"] for die in range(dies)]
    ratio = {name: np.stack([np.asarray(one[name], np.float64) for one in found]) / np.asarray(getattr(nominal, name))
             for name in found[0] if name in nominal.arrays()}
    return nominal, mapped.configuration.places["n"][:, 0], ratio


@pytest.fixture(scope="module", params=CHIPS)
def lot(request):
    profile = ns.load_profile(request.param)
    return profile, *drawn(profile)


def expect_sd(values: np.ndarray, sd: float, per: int = 1) -> None:
    """Standard deviation within four standard errors of a normal sample; `per`: means taken away from the sample."""
    freedom = values.size - per
    found = np.sqrt((values**2).sum() / freedom)
    assert abs(found - sd) < 4 * sd / np.sqrt(2 * freedom), (found, sd)


def check_layers(log: np.ndarray, cores: np.ndarray, variation: Variation) -> None:
    """ln of factors `[die, device]` as device + core + die terms, each with its own spread and mean factor 1."""
    device, core, die = (np.sqrt(np.log1p(cv * cv)) for cv in (variation.device, variation.core, variation.die))
    means = np.stack([log[:, cores == c].mean(axis=1) for c in range(4)], axis=1)
    expect_sd(log - means[:, cores], device, per=4 * log.shape[0])
    within = device / np.sqrt(cores.size / 4)
    of_core = means - means.mean(axis=1, keepdims=True)
    expect_sd(of_core, np.hypot(core, within), per=log.shape[0])
    total = np.sqrt(die**2 + (core**2 + within**2) / 4)
    centre = -(device**2 + core**2 + die**2) / 2
    expect_sd(means.mean(axis=1) - centre, total, per=0)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.bias)
def test_moments_of_every_bias_are_those_of_the_profile(lot, setting):
    profile, _, cores, ratio = lot
    if setting not in settings_of(profile.circuit):
        assert profile.name == "dynap_se2"
        return
    sign = -1 if setting.capacitor else 1  # a time is C V over the current that is drawn
    check_layers(sign * np.log(ratio[setting.field]), cores, getattr(profile.circuit.mismatch, setting.variation))


@pytest.mark.slow
def test_moments_of_leakage_and_of_every_synapse_word(lot):
    profile, _, cores, ratio = lot
    check_layers(np.log(ratio["i_0"]), cores, profile.circuit.mismatch.leakage)
    np.testing.assert_allclose(ratio["i_0"], ratio["i_reset"], rtol=1e-6)
    weights = np.log(ratio["weight_ampa"])
    for column in range(INPUTS):
        check_layers(weights[..., column], cores, profile.circuit.mismatch.weight)
    within = np.concatenate([weights[:, cores == c] - weights[:, cores == c].mean(axis=1, keepdims=True)
                             for c in range(4)], axis=1).reshape(-1, INPUTS)
    correlation = np.corrcoef(within.T)[~np.eye(INPUTS, dtype=bool)]
    assert np.abs(correlation).max() < 4 / np.sqrt(within.shape[0]), "synapses of a neuron are drawn one by one"


@pytest.mark.slow
def test_time_constant_and_gain_share_a_transistor_and_biases_share_nothing_else(lot):
    """tau = C UT / (kappa I_tau) and gain = I_g / I_tau: ln tau and ln gain have the variance of ln I_tau in common."""
    profile, _, cores, ratio = lot
    mismatch = profile.circuit.mismatch
    for tau_field, gain_field, names in (("i_tau_mem", "i_gain_mem", ("leak", "gain")),
                                         ("i_tau_ampa", "i_gain_ampa", ("synapse_tau", "synapse_gain"))):
        logs = [np.log(ratio[name]) for name in (tau_field, gain_field)]
        logs = [np.concatenate([log[:, cores == c] - log[:, cores == c].mean(axis=1, keepdims=True)
                                for c in range(4)], axis=1).reshape(-1) for log in logs]
        q_tau, q_gain = (np.log1p(getattr(mismatch, name).device ** 2) ** 0.5 for name in names)
        found = np.corrcoef(-logs[0], logs[1] - logs[0])[0, 1]
        expected = q_tau / np.hypot(q_tau, q_gain)
        assert abs(found - expected) < 4 * (1 - expected**2) / np.sqrt(logs[0].size)
        assert abs(np.corrcoef(*logs)[0, 1]) < 4 / np.sqrt(logs[0].size)


def test_the_bits_of_a_word_are_drawn_one_by_one():
    """A word that adds up two base currents spreads less than one of a single current: independent parts."""
    profile = ns.load_profile("dynap_se2").with_values({"circuit.mismatch.weight": {"device": 0.2}})
    ten, thirty = table_currents(profile.circuit, profile.circuit.bias.weight)[4, [40, 120]]
    weight = np.tile([ten, thirty, ten + thirty], (256, 20))
    net = ns.Network.sequential({"n": ns.DPINeuron(**chip_fields(profile), weight_ampa=weight)}, (60,), dt=1e-3)
    mapped = ns.map_network(net, profile)
    nominal = mapped.configuration.to_network(profile)["n"].weight_ampa
    bits = mapped.configuration.base_bits(profile.circuit).sum(axis=1)
    assert set(bits) == {1, 2}
    log = np.concatenate([ns.Dies(mapped, 1).parameters(die)["n"]["weight_ampa"] / nominal for die in range(20)])
    shares = np.array([ten, thirty]) / (ten + thirty)
    expect_sd(log[:, 2::3] - 1, 0.2 * np.sqrt((shares**2).sum()), per=0)
    expect_sd(log[:, 0::3] - 1, 0.2, per=0)


@pytest.mark.parametrize(("change", "factor"), [
    ({"circuit.mismatch.area": 4.0}, 0.5), ({"circuit.temperature.operating": 358.0}, 300 / 358),
    ({"circuit.mismatch.leak": {"device": 0.1, "area": 0.25}}, 2.0),
])
def test_spread_falls_with_the_root_of_area_and_with_temperature(change, factor):
    profile = ns.load_profile("dynap_se2").with_values({"circuit.mismatch.leak": {"device": 0.1}, **change})
    _, _, ratio = drawn(profile, dies=4)
    log = np.log(ratio["i_tau_mem"])
    expect_sd(log - log.mean(), factor * np.sqrt(np.log1p(0.01)))


@pytest.mark.parametrize(("truncation", "cv"), [(3.0, 0.1), (3.0, 0.325), (1.5, 0.48), (0.01, 0.57)])
def test_truncated_normal_has_the_mean_and_the_spread_that_are_stated(truncation, cv):
    """That of scipy whose parent is as much wider as the cut takes away; never negative."""
    profile = ns.load_profile("dynap_se2").with_values({
        "circuit.mismatch.distribution": "truncated_normal", "circuit.mismatch.truncation": truncation,
        "circuit.mismatch.leak": {"device": cv}})
    _, _, ratio = drawn(profile, dies=10)
    values = ratio["i_tau_mem"].reshape(-1)
    assert 0 < values.min() < 1.02 - cv * truncation / truncnorm(-truncation, truncation).std()
    assert abs(values.mean() - 1) < 4 * cv / np.sqrt(values.size)
    expect_sd(values - 1, cv)
    width = cv / truncnorm(-truncation, truncation).std()
    assert kstest((values - 1) / width, truncnorm(-truncation, truncation).cdf).pvalue > 1e-3


def test_temperature_law():
    """Leakage doubles every 9 K, PTAT biases and U_T cancel in time constants, pulses get shorter."""
    profile = ns.load_profile("dynap_se2")
    quiet = {f"circuit.mismatch.{name}": {"device": 0.0} for name in type(profile.circuit.mismatch).model_fields
             if isinstance(getattr(profile.circuit.mismatch, name), Variation)}
    warm = profile.with_values({**quiet, "circuit.temperature.operating": 318.0})
    _, _, ratio = drawn(warm, dies=1, neurons=4)
    np.testing.assert_allclose(ratio["i_0"], 4.0, rtol=1e-6)
    np.testing.assert_allclose(ratio["i_tau_mem"], 318 / 300, rtol=1e-6)
    np.testing.assert_allclose(ratio["c_mem"] / ratio["i_tau_mem"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(ratio["t_pulse"], 300 / 318, rtol=1e-6)
    np.testing.assert_allclose(ratio["weight_ampa"], 318 / 300, rtol=1e-6)
    still = warm.with_values({"circuit.temperature.bias_exponent": 0.0})
    assert bias_ratio(still.circuit) == 1.0
    assert leakage_at(still.circuit) == pytest.approx(4 * 0.5e-12)


def test_devices_belong_to_places_not_to_networks():
    """Two networks on one die share the silicon of the places that both use."""
    profile = ns.load_profile("dynap_se2")
    big = ns.map_network(network(profile, 200, 8), profile)
    small = ns.map_network(network(profile, 50, 8), profile)
    one, other = (ns.Dies(mapped, seed=5).parameters(17)["n"] for mapped in (big, small))
    where = {tuple(place): row for row, place in enumerate(big.configuration.places["n"])}
    rows = [where[tuple(place)] for place in small.configuration.places["n"]]
    np.testing.assert_array_equal(one["i_tau_mem"][rows], other["i_tau_mem"])
    np.testing.assert_array_equal(one["weight_ampa"][rows], other["weight_ampa"])
    assert (one["i_tau_mem"][rows] != ns.Dies(small, seed=5).parameters(18)["n"]["i_tau_mem"]).all()
    assert (one["i_tau_mem"][rows] != ns.Dies(small, seed=6).parameters(17)["n"]["i_tau_mem"]).all()


def test_factor_is_one_without_spread():
    circuit = ns.load_profile("dynap_se2").circuit
    z = np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(current_factor(circuit, Variation(), z, z, z), np.ones(7))


def test_a_chip_of_circuits_does_not_drift():
    profile = ns.load_profile("dynap_se2")
    with pytest.raises(ns.NeurosimError, match="does not drift"):
        ns.Dies(ns.map_network(network(profile, 4, 4), profile), 0, time=3600.0)
