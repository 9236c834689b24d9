"""Dense layers on numpy and BLAS. All arrays are `[rows, ...]`: batch and time together in the first axis."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neurosim.engine.compiling import kernel, widest_vectors
from neurosim.engine.learning_buffers import take

_FEW = 8  # inputs up to which a product is nothing but writing its result


@kernel
def _few_inputs(x, rows, bias, out):
    widest_vectors()
    for i in range(x.shape[0]):
        line = out[i]
        for n in range(line.size):
            line[n] = x[i, 0] * rows[0, n]
        for k in range(1, x.shape[1]):
            for n in range(line.size):
                line[n] += x[i, k] * rows[k, n]
        for n in range(line.size):
            line[n] += bias[n]


def linear(x: np.ndarray, rows: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``x rows + bias``: x `[n, in]`, rows `[in, out]` (the weight transposed) -> `[n, out]`."""
    out = take((x.shape[0], rows.shape[1]), np.result_type(x, rows))
    if 0 < x.shape[1] <= _FEW and x.dtype == rows.dtype == bias.dtype:
        _few_inputs(x, rows, bias, out)
        return out
    np.matmul(x, rows, out=out)
    out += bias
    return out


def _windows(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Every kernel window of `x [n, channel, height, width]`: `[n, channel, out_h, out_w, kernel_h, kernel_w]`."""
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    windows = sliding_window_view(x, span, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv2d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: tuple[int, int],
           padding: tuple[tuple[int, int], tuple[int, int]], dilation: tuple[int, int]) -> np.ndarray:
    """Cross-correlation by im2col and one BLAS product per row of x: `[n, in, h, w]` -> `[n, out, h', w']`."""
    windows = _padded_windows(x, weight.shape[2:], stride, padding, dilation)
    n, channels, height, width = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * weight[0, 0].size, height * width)
    out = np.matmul(weight.reshape(weight.shape[0], -1), columns)
    out += bias[:, None]
    return out.reshape(n, weight.shape[0], height, width)


def _padded_windows(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int],
                    padding: tuple[tuple[int, int], tuple[int, int]], dilation: tuple[int, int]) -> np.ndarray:
    return _windows(np.pad(x, ((0, 0), (0, 0), *padding)) if np.any(padding) else x, kernel, stride, dilation)


def patches(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int],
            padding: tuple[tuple[int, int], tuple[int, int]], dilation: tuple[int, int]) -> np.ndarray:
    """What each position of a kernel sees, `[n, h', w', in * kernel_h * kernel_w]`, from `[n, in, h, w]`."""
    windows = _padded_windows(x, kernel, stride, padding, dilation)
    n, channels, height, width = windows.shape[:4]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, height, width, channels * kernel[0] * kernel[1])


def avg_pool(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> np.ndarray:
    """Mean of every window, padded zeros included."""
    if any(padding):
        x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    return _pooled(np.add, x, kernel, stride) / x.dtype.type(kernel[0] * kernel[1])


def max_pool(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> np.ndarray:
    """Maximum of every window; padding never wins."""
    if any(padding):
        x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=-np.inf)
    return _pooled(np.maximum, x, kernel, stride)


def _pooled(join: np.ufunc, x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """`join` over every window: the places of the kernel one after the other, each for all windows at once."""
    height, width = ((n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True))
    rows, columns = stride[0] * (height - 1) + 1, stride[1] * (width - 1) + 1
    out = None
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            seen = x[:, :, i: i + rows: stride[0], j: j + columns: stride[1]]
            out = np.array(seen) if out is None else join(out, seen, out=out)
    return out
