"""The recurrent cells of the engine give what torch's own cells give, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurosim import engine

GATES = {"rnn": 1, "relu": 1, "gru": 3, "lstm": 4}
CELLS = {"rnn": nn.RNNCell, "relu": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


def own(kind: str, drive: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """torch's cell, with the drive handed through an input weight that is the identity."""
    batch, times, width = drive.shape
    units = width // GATES[kind]
    cell = CELLS[kind](width, units, **({"nonlinearity": "relu"} if kind == "relu" else {}), dtype=torch.float64)
    for name, value in (("weight_ih", np.eye(width)), ("bias_ih", np.zeros(width)), ("weight_hh", weight),
                        ("bias_hh", bias)):
        setattr(cell, name, nn.Parameter(torch.as_tensor(value, dtype=torch.float64)))
    state, out = None, np.empty((batch, times, units))
    with torch.no_grad():
        for step in range(times):
            state = cell(torch.as_tensor(drive[:, step], dtype=torch.float64), state)
            out[:, step] = (state[0] if kind == "lstm" else state).numpy()
    return out


def found(kind: str, drive: np.ndarray, weight: np.ndarray, bias: np.ndarray,
          product: object = None) -> np.ndarray:
    out = np.full((*drive.shape[:2], weight.shape[1]), np.nan, drive.dtype)
    product = product or engine.exact_product(np.ascontiguousarray(weight.T), drive.shape[0])
    if kind in ("rnn", "relu"):
        engine.rnn(drive, bias, product, kind == "relu", out)
    else:
        getattr(engine, kind)(drive, bias, product, out)
    return out


def case(kind: str, seed: int, batch: int, times: int, units: int, dtype: type, size: float = 1.0) -> tuple:
    rng = np.random.default_rng(seed)
    width = GATES[kind] * units
    return tuple((rng.normal(size=shape) * factor).astype(dtype) for shape, factor in (
        ((batch, times, width), size), ((width, units), 0.9 / np.sqrt(units)), ((width,), 0.3)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GATES)), st.integers(0, 1000), st.integers(1, 6), st.integers(1, 12), st.integers(1, 20),
       st.sampled_from([np.float32, np.float64]))
def test_as_torch(kind: str, seed: int, batch: int, times: int, units: int, dtype: type) -> None:
    given_ = case(kind, seed, batch, times, units, dtype)
    wanted, got = own(kind, *given_), found(kind, *given_)
    assert got.dtype == dtype
    assert np.abs(got - wanted).max() <= (1e-12 if dtype is np.float64 else 1e-5) * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gates_that_are_wide_open_or_shut(kind: str, dtype: type) -> None:
    drive, weight, bias = case(kind, 5, 3, 6, 8, dtype, size=1e4)
    got = found(kind, drive, weight, bias)
    assert np.isfinite(got).all()
    assert np.allclose(got, own(kind, drive, weight, bias), atol=1e-6 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("kind", sorted(GATES))
def test_another_product_can_stand_in(kind: str) -> None:
    """It is asked once for each step, with the state of the step before."""
    drive, weight, bias = case(kind, 7, 4, 5, 6, np.float64)
    seen = []

    def product(state: np.ndarray, step: int) -> np.ndarray:
        seen.append((step, state.copy()))
        return state @ weight.T

    got = found(kind, drive, weight, bias, product)
    assert np.allclose(got, found(kind, drive, weight, bias), rtol=0, atol=1e-14)
    assert [step for step, _ in seen] == list(range(5))
    assert not seen[0][1].any()
    for step, state in seen[1:]:
        assert np.array_equal(state, got[:, step - 1])
