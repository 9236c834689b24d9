"""Places of values above a limit, and of the others: those that numpy finds."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from neurosim.engine.marks import WORD, above, at_most


@njit
def _both(values, count, limit, high, low):
    return above(values, count, limit, high), at_most(values, count, limit, low)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_places_are_found_in_their_order(dtype: type, count: int, share: float) -> None:
    values = np.where(np.random.default_rng(count).random(200 + WORD) < share, 2, 0.5).astype(dtype)
    values[3], values[count:] = np.nan, 2
    high, low = np.zeros(200, np.uint32), np.zeros(200, np.uint32)
    found, others = _both(values, count, dtype(0.5), high, low)
    np.testing.assert_array_equal(high[:found], np.flatnonzero(values[:count] > 0.5))
    np.testing.assert_array_equal(low[:others], np.flatnonzero(~(values[:count] > 0.5)))
