"""Arrays as the kernels like them: beginning on a cache line, and as wide as whole vectors.

numpy begins an array 16 bytes off a cache line: every second vector load then touches two lines, which costs a third
more time. A width that is no multiple of the vector's makes every loop end with single neurons. So the parameters of
a population are padded with zeros: neurons that get nothing, and never exceed their threshold of 0.
"""

from __future__ import annotations

import math

import numpy as np

from neurosim.engine.compiling import kernel, widest_vectors

_LINE = 64  # bytes; also the widest vector register
LANES = 8


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that begins on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.empty(math.prod(shape) * dtype.itemsize + _LINE, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.__array_interface__["data"][0] % _LINE)


def padded(values: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`values`, broadcast to `shape`, in one line, and zeros behind them."""
    size = math.prod(shape)
    out = aligned((size + -size % LANES,), dtype)
    out[:size].reshape(shape)[...] = values
    out[size:] = 0
    return out


@kernel
def _transpose(matrix, out):
    rows = matrix.shape[0]
    for first in range(0, out.shape[1], LANES):
        for j in range(out.shape[0]):
            if first + LANES <= rows:
                for i in range(LANES):
                    out[j, first + i] = matrix[first + i, j]
            else:
                for i in range(LANES):
                    out[j, first + i] = matrix[first + i, j] if first + i < rows else 0


@kernel
def _gather(planes, factors, squares, block, out):
    """In blocks: read along the inputs, turned within the first-level cache, written along the outputs."""
    widest_vectors()
    outputs, inputs, side = planes.shape[1], planes.shape[2], block.shape[0]
    zero = out.dtype.type(0)
    for first in range(0, out.shape[1], side):
        rows, width = min(side, outputs - first), min(side, out.shape[1] - first)
        for start in range(0, inputs, side):
            columns = min(side, inputs - start)
            for a in range(side):
                for b in range(side):
                    block[a, b] = zero
            for k in range(planes.shape[0]):
                factor = factors[k]
                for a in range(rows):
                    if squares:
                        for b in range(columns):
                            value = factor * planes[k, first + a, start + b]
                            block[a, b] += value * value
                    else:
                        for b in range(columns):
                            block[a, b] += factor * planes[k, first + a, start + b]
            for b in range(columns):
                for a in range(width):
                    out[start + b, first + a] = block[a, b]


def summed_rows(planes: np.ndarray, factors: np.ndarray, dtype: np.dtype, squares: bool = False) -> np.ndarray:
    """``sum_k factors_k planes_k`` as rows `[from, to]` with zeros behind each, from planes `[k, to, from]`; `squares`:
    the sum of the squares of ``factors_k planes_k``."""
    out = aligned((planes.shape[2], planes.shape[1] + -planes.shape[1] % LANES), dtype)
    _gather(np.ascontiguousarray(planes), np.asarray(factors, dtype), squares, aligned((32, 32), dtype), out)
    return out


def padded_rows(weight: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A weight `[to, from]` as rows `[from, to]`, one for each source of spikes, with zeros behind each."""
    out = aligned((weight.shape[1], weight.shape[0] + -weight.shape[0] % LANES), dtype)
    _transpose(np.ascontiguousarray(weight), out)
    return out


@kernel
def scaled_rows(weight, factors, out):
    """A weight `[to, from]`, each line times its factor, as rows `out [from, width]`; what is behind them stays."""
    whole = weight.shape[0] - weight.shape[0] % LANES
    for first in range(0, whole, LANES):
        for j in range(weight.shape[1]):
            for i in range(LANES):
                out[j, first + i] = weight[first + i, j] * factors[first + i]
    for j in range(weight.shape[1]):
        for i in range(whole, weight.shape[0]):
            out[j, i] = weight[i, j] * factors[i]
