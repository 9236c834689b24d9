"""exp, log and tanh of the kernels: their largest error against the true value; loops over them are vector code."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numba import njit

from neurosim.engine.maths import exp, log, tanh


@njit(error_model="numpy")
def _exp_all(x, out):
    for i in range(x.size):
        out[i] = exp(x[i])


@njit(error_model="numpy")
def _log_all(x, out):
    for i in range(x.size):
        out[i] = log(x[i])


@njit(error_model="numpy")
def _tanh_all(x, out):
    for i in range(x.size):
        out[i] = tanh(x[i])


def made(function, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    function(x, out)
    return out


def test_exp_in_float32() -> None:
    x = np.concatenate([np.linspace(-87, 87, 2_000_001), np.linspace(-1, 1, 2_000_001)]).astype(np.float32)
    assert np.abs(made(_exp_all, x) / np.exp(x.astype(np.float64)) - 1).max() < 1e-7
    outside = made(_exp_all, np.array([-1e30, 1e30], np.float32))
    np.testing.assert_allclose(outside, np.exp([-87.0, 87.0]), rtol=1e-6)


def test_log_in_float32() -> None:
    x = np.exp(np.linspace(-87, 88, 4_000_001)).astype(np.float32)
    wanted = np.log(x.astype(np.float64))
    assert (np.abs(made(_log_all, x) - wanted) / np.maximum(np.abs(wanted), 0.35)).max() < 1.5e-7
    assert made(_log_all, np.ones(1, np.float32))[0] == 0


def test_tanh_in_float32() -> None:
    size = np.concatenate([np.linspace(1e-6, 12, 2_000_001), np.geomspace(1e-30, 1, 100_001)]).astype(np.float32)
    x = np.concatenate([size, -size])
    assert np.abs(made(_tanh_all, x) / np.tanh(x.astype(np.float64)) - 1).max() < 2e-7
    ends = np.array([0.0, 1e30, -1e30, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(made(_tanh_all, ends), np.tanh(ends))


def test_float64_is_the_library() -> None:
    x = np.linspace(1e-3, 50, 1001)
    np.testing.assert_allclose(made(_exp_all, x), np.exp(x), rtol=1e-15)
    np.testing.assert_allclose(made(_log_all, x), np.log(x), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(made(_tanh_all, x), np.tanh(x), rtol=1e-15)


@pytest.mark.parametrize("function", [_exp_all, _log_all, _tanh_all])
def test_a_loop_over_them_is_vector_code(function) -> None:
    made(function, np.ones(100, np.float32))
    [code] = [code for types, code in function.inspect_asm().items() if "float32" in str(types)]
    assert re.search(r"v?mulps|vfn?madd\d+ps|fmla", code), "no packed multiplication"
