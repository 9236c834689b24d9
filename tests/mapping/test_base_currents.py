"""Base currents and masks: held to brute force where that can be done, and to every single change where it cannot."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim.devices import table_currents
from neurosim.mapping import weight_bound
from neurosim.mapping.base_currents import fit_bases, fit_repeats, masks_of
from neurosim.mapping.weight_bound import least_error
from neurosim.profile import load_profile

BITS = np.array(list(itertools.product((0, 1), repeat=4)))[:, ::-1].astype(float)  # row m is mask m
SE2 = load_profile("dynap_se2").circuit
LADDER = table_currents(SE2, SE2.bias.weight).reshape(-1)


def squared_error(weights: np.ndarray, bases: np.ndarray) -> float:
    return float(((np.asarray(weights).reshape(-1, 1) - BITS[:, :bases.size] @ bases) ** 2).min(axis=1).sum())


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.lists(st.floats(0, 4), min_size=4, max_size=4))
def test_masks_are_the_nearest_of_all_sums(weights, bases):
    weights, bases = np.array(weights), np.array(bases)
    made = BITS[masks_of(weights, bases)] @ bases
    best = np.abs(weights[:, None] - BITS @ bases).min(axis=1)
    np.testing.assert_allclose(np.abs(weights - made), best, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uniform", "exponential", "clustered"])
def test_base_currents_reach_the_optimum_of_brute_force(kind):
    """Five weights: every way to give them masks, and the best currents for each by least squares, none negative."""
    rng = np.random.default_rng(5)
    weights = {"uniform": rng.uniform(0, 1, 5), "exponential": rng.exponential(1, 5), "clustered": rng.normal(3, 0.3, 5)
               }[kind]
    weights /= weights.max()
    # the bases have no order, so that the first mask may be one of five
    masks = np.array(list(itertools.product((0, 1, 3, 7, 15), *[range(16)] * 4)))
    best = np.inf
    for part in np.array_split(masks, 8):
        design = BITS[part]  # [way, weight, base]
        normal = np.einsum("wni,wnj->wij", design, design) + 1e-11 * np.eye(4)
        solved = np.linalg.solve(normal, np.einsum("wnb,n->wb", design, weights)[..., None])[..., 0]
        left = weights - np.einsum("wnb,wb->wn", design, solved)
        best = min(best, ((left**2).sum(1)[(solved >= -1e-9).all(1)]).min())
    ladder = np.geomspace(1e-5, 1, 200_001)  # steps of 0.006 %
    found = squared_error(weights, ladder[fit_bases(weights, ladder)])
    assert np.sqrt(found) <= np.sqrt(best) + 5e-4, "0.05 % of the largest weight"


@pytest.mark.parametrize("seed", range(12))
def test_on_a_small_table_no_set_of_codes_does_better_and_the_bound_is_below_all(seed):
    """All sets of four of 20 currents of the real table, or fewer where currents are equal."""
    rng = np.random.default_rng(seed)
    size = rng.integers(3, 40)
    weights = [rng.uniform(0, 90e-9, size), rng.exponential(20e-9, size), np.abs(rng.normal(0, 20e-9, size))][seed % 3]
    ladder = rng.choice(LADDER[LADDER > 0.5e-9], 20, replace=False)
    sums = ladder[np.array(list(itertools.combinations(range(20), 4)))] @ BITS.T
    best = min(((weights[None, :, None] - part[:, None]) ** 2).min(2).sum(1).min() for part in np.array_split(sums, 10))
    assert squared_error(weights, ladder[fit_bases(weights, ladder)]) <= best * (1 + 1e-9)
    assert 0 < least_error(weights) < best or size <= 15


@pytest.mark.parametrize("bases", [1, 2])
def test_the_bound_is_the_optimum_of_free_values(bases):
    """All ways to cut ten weights in order into a group at 0 and groups at their means."""
    weights = np.sort(np.random.default_rng(bases).exponential(1, 10))
    wanted = min(
        float(sum(((part - part.mean()) ** 2).sum() if at else (part**2).sum()
                  for at, part in enumerate(np.split(weights, cuts)) if part.size))
        for cuts in itertools.combinations_with_replacement(range(11), (1 << bases) - 1))
    assert least_error(weights, bases) == pytest.approx(wanted, rel=1e-6)


def test_the_bound_of_many_weights_is_below_that_of_all_of_them(monkeypatch):
    """Groups of neighbours lose a little of the bound, and never exceed it."""
    weights = np.abs(np.random.default_rng(3).normal(0, 20e-9, 1500))
    grouped = least_error(weights)
    monkeypatch.setattr(weight_bound, "_BINS", 1500)
    assert 0.6 * least_error(weights) < grouped <= least_error(weights)
    assert least_error(weights) < squared_error(weights, LADDER[fit_bases(weights, LADDER)])


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from(["uniform", "exponential", "steps"]))
def test_no_single_code_of_the_real_table_does_better(seed, size, kind):
    rng = np.random.default_rng(seed)
    weights = {"uniform": rng.uniform(0, 90e-9, size), "exponential": rng.exponential(20e-9, size),
               "steps": rng.choice([0.0, 1e-9, 3e-9, 10e-9], size)}[kind]
    codes = fit_bases(weights, LADDER)
    found = squared_error(weights, LADDER[codes])
    near = np.argsort(np.argsort(LADDER))
    for j in range(4):
        for code in np.flatnonzero(np.abs(near - near[codes[j]]) <= 24):
            other = LADDER[np.concatenate([codes[:j], [code], codes[j + 1:]])]
            assert squared_error(weights, other) >= found * (1 - 1e-9) - 1e-30


def test_a_core_of_256_neurons_loses_less_than_binary_weights():
    weights = np.abs(np.random.default_rng(3).normal(0, 20e-9, (256, 64)))
    found = squared_error(weights, LADDER[fit_bases(weights, LADDER)])
    binary = min(squared_error(weights, unit * np.array([1.0, 2.0, 4.0, 8.0]))
                 for unit in np.linspace(0.5, 1, 101) * weights.max() / 15)
    assert found < binary
    assert np.sqrt(found / np.sum(weights**2)) < 0.065


def test_four_different_weights_are_made_as_well_as_the_table_allows():
    weights = np.repeat([2e-9, 11e-9, 37e-9, 90e-9], 7)
    made = LADDER[fit_bases(weights, LADDER)]
    nearest = LADDER[np.abs(LADDER[:, None] - np.unique(weights)).argmin(axis=0)]
    assert squared_error(weights, made) <= squared_error(weights, nearest) * (1 + 1e-9)


def test_no_weights_at_all():
    assert fit_bases(np.zeros((3, 2)), LADDER).shape == (4,)
    base, counts = fit_repeats(np.zeros((3, 2)), 64)
    assert base == 0
    assert not counts.any()


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6))
def test_repeats_reach_the_optimum_of_brute_force(seed, neurons, synapses, most):
    """Every table of counts that the words allow, each with its best current; as roundings of it."""
    weights = np.random.default_rng(seed).exponential(1.0, (neurons, synapses))
    base, counts = fit_repeats(weights, most)
    assert counts.sum(axis=1).max() <= most
    error = np.sum((weights - base * counts) ** 2)
    trials = np.concatenate([np.geomspace(weights.max() / most / 2, 2 * weights.max(), 4000), [base]])
    n = np.floor(weights / trials[:, None, None] + 0.5)
    fits = n.sum(axis=2).max(axis=1) <= most
    power = np.sum(n**2, axis=(1, 2))
    best = np.sum(n * weights, axis=(1, 2)) / np.where(power > 0, power, 1)
    errors = np.sum((weights - best[:, None, None] * n) ** 2, axis=(1, 2))
    assert error <= errors[fits].min() * (1 + 1e-9) + 1e-12
