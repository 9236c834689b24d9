"""How far an event reaches: the synapses and tile rows behind each input of a layer with weights."""

from __future__ import annotations

import numpy as np

from neurosim.network import Conv2d, Layer


def fan_out(layer: Layer, weight: np.ndarray, shape: tuple[int, ...], tiles_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Synapses (weights that are not 0) and rows driven by one event of each input, int64 `[inputs]`.

    A row is driven once per tile that shares the outputs, and for a convolution once per position of the kernel.

    >>> import numpy as np, neurosim as ns
    >>> weight = np.array([[1.0, 0.0], [2.0, 3.0]])
    >>> fan_out(ns.Linear(weight), weight, (2,), 1)
    (array([2, 1]), array([1, 1]))
    """
    if not isinstance(layer, Conv2d):
        synapses = np.count_nonzero(weight, axis=0)
        return synapses, np.full(synapses.size, tiles_out, np.int64)
    used = np.count_nonzero(weight, axis=0)
    return over_positions(layer, used, shape), over_positions(layer, np.full_like(used, tiles_out), shape)


def over_positions(layer: Conv2d, taps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Over all positions of the kernel, the sum of the taps `[channel, row, column]` on each input, `[inputs]`."""
    (top, _), (left, _) = layer.padding
    height, width = layer.output_shape(shape)[1:]
    rows = np.arange(height) * layer.stride[0] - top
    columns = np.arange(width) * layer.stride[1] - left
    met = np.zeros(shape, taps.dtype)
    for i in range(taps.shape[1]):
        for j in range(taps.shape[2]):
            y, x = rows + i * layer.dilation[0], columns + j * layer.dilation[1]
            y, x = y[(y >= 0) & (y < shape[1])], x[(x >= 0) & (x < shape[2])]
            met[:, y[:, None], x] += taps[:, i, j][:, None, None]
    return met.reshape(-1)
