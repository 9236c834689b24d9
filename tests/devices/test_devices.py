"""Device formulas against published values and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neurosim.devices import decay_with_factor, drift_exponent, drifted, evaluate, programmed, spread_factor
from neurosim.profile import Curve, Quantity, load_profile

US = 1e-6
# Published coefficients (HERMES noise model, one device; Wan 2022 at 1 s), worked out by hand at x = g / g_ref
GOLDEN = [
    ("pcm_hermes", "programming.sigma", 1.0, 1.00757 * US),
    ("pcm_hermes", "programming.sigma", 0.5, (0.15782 + 1.16222 - 0.5407775 + 0.0860525) * US),
    ("pcm_hermes", "programming.sigma", 0.0, 0.15782 * US),
    ("pcm_hermes", "drift.exponent_mean", 1.0, 0.0174),
    ("pcm_hermes", "drift.exponent_mean", 0.05, 0.0977349),  # -0.0387 ln 0.05 - 0.0182
    ("pcm_hermes", "drift.exponent_mean", 0.0, 0.13),
    ("pcm_hermes", "drift.exponent_sd", 1.0, 0.0055),
    ("pcm_hermes", "drift.exponent_sd", 0.2, 0.01701325),  # -0.0120 ln 0.2 - 0.0023
    ("pcm_hermes", "drift.exponent_sd", 1e-9, 0.04),
    ("reram_neurram", "programming.sigma", 1.0, 1.103 * US),
    ("reram_neurram", "programming.sigma", 0.5, 2.0229375 * US),
    ("pcm_joshi", "programming.sigma", 1.0, 1.05538 * US),
    ("pcm_joshi", "read_noise.relative", 1.0, 0.0088),
    ("pcm_joshi", "read_noise.relative", 0.25, 0.0088 * 4**0.65),
    ("pcm_joshi", "read_noise.relative", 0.0, 0.2),
    ("sonos", "programming.sigma", 176.31, 19.887e-8 * (1 - np.exp(-1))),
    ("cmo_hfox", "read_noise.sd", 10.0, 0.02773 * US),
    ("generic_inverse", "programming.sigma", 0.1, 5 * US),
]


@pytest.mark.parametrize(("name", "key", "x", "expected"), GOLDEN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_published_curves(name, key, x, expected, dtype):
    curve = load_profile(name).crossbar
    for part in key.split("."):
        curve = getattr(curve, part)
    found = evaluate(curve, np.array([x * curve.g_ref], dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_pieces_meet_where_they_should():
    curve = Curve(g_ref=2.0, pieces=({"up_to": 0.5, "polynomial": [1.0]}, {"polynomial": [0.0, 4.0], "clip": [0, 3]}))
    np.testing.assert_allclose(evaluate(curve, np.array([0.0, 0.99, 1.0, 1.2, 2.0])), [1, 1, 2, 2.4, 3])


@pytest.mark.parametrize("distribution", ["normal", "lognormal", "uniform"])
@given(mean=st.floats(0.1, 10), cv=st.floats(0.01, 0.5))
def test_spread_keeps_mean_and_sd(distribution, mean, cv):
    """Integrated over the normal density, not sampled."""
    quantity = Quantity(value=mean, cv=cv, distribution=distribution)
    z = np.linspace(-8, 8, 4001)
    weight = stats.norm.pdf(z)
    weight /= weight.sum()
    values = spread_factor(quantity, z)
    found = (weight * values).sum()
    np.testing.assert_allclose(found, mean, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt((weight * (values - found) ** 2).sum()), cv * mean, rtol=1e-4)


def test_decay_with_factor_is_a_longer_time_constant():
    dt, tau, factor = 1e-3, 20e-3, np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(decay_with_factor(np.exp(-dt / tau), factor), np.exp(-dt / (tau * factor)), rtol=1e-15)
    assert decay_with_factor(np.float32(0.9), np.float32(1.0)) == np.float32(0.9)


def test_memristor_formulas():
    g = np.array([1.0, 10.0]) * US
    np.testing.assert_allclose(programmed(g, np.array([0.5, 2.0]) * US, np.array([-3.0, 1.0])), [0, 12 * US])
    np.testing.assert_allclose(programmed(g, np.array([-1.0, -1.0]), np.array([-3.0, 1.0])), g)
    np.testing.assert_allclose(drift_exponent(np.array([0.05]), np.array([0.02]), np.array([-3.0])), [0.01])
    np.testing.assert_allclose(drifted(g, np.array([0.05, 0.0]), 86400.0, 20.0), [(86400 / 20) ** -0.05 * US, 10 * US])
