"""The product of a few rows with a matrix, against numpy: all remainders of rows, columns and sums."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim.engine.compiling import gradient
from neurosim.engine.panels import add_product


@gradient
def _call(out, left, right):
    add_product(out, left, right)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_of_a_few_rows(dtype: type) -> None:
    rng = np.random.default_rng(3)
    for rows in (0, 1, 3, 4, 7, 8, 15, 27):
        for inner in (0, 1, 5, 16):
            for columns in (0, 1, 7, 8, 16, 31, 32, 45, 100):
                left, right = (rng.normal(size=shape).astype(dtype) for shape in ((rows, inner), (inner, columns)))
                out = rng.normal(size=(rows, columns)).astype(dtype)
                around = np.full(rows * columns + 64, 7, dtype)  # nothing is written beside
                inside = around[32:32 + rows * columns].reshape(rows, columns)
                inside[...] = out
                _call(inside, left, right)
                np.testing.assert_allclose(inside, out + left @ right, rtol=1e-5 if dtype == np.float32 else 1e-13,
                                           atol=1e-5 if dtype == np.float32 else 1e-13)
                assert (around[:32] == 7).all()
                assert (around[32 + rows * columns:] == 7).all()
