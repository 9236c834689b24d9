"""Arrays of devices: what a parameter of the network becomes on the chip, nominally."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosim.profile import Crossbar, Quantity


@dataclass(frozen=True, eq=False)
class SpreadArray:
    """A parameter that stands for itself on the chip, with a spread from device to device.

    nominal: the network's own value, quantised to the chip's levels, float32, at full shape. role: what the
    spread acts on: "weight", "bias", "tau_mem", "tau_syn", "tau_adaptation", "threshold". index: its place among
    the arrays of the mapping; random numbers are keyed by it.
    """

    index: int
    layer: str
    parameter: str
    role: str
    nominal: np.ndarray
    spread: Quantity | None
    error: float

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.parameter}"

    @property
    def kind(self) -> str:
        return "direct"

    @property
    def devices(self) -> int:
        return self.nominal.size

    @property
    def tiles(self) -> int:
        return 0


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A weight matrix as pairs of conductances on crossbar tiles.

    plus, minus: nominal conductances in siemens, float32, in the shape of the weight `[out, ...in]`.
    scale: weight per siemens, float32, broadcastable to the weight: ``w = scale (plus - minus)``.
    tiles_in, tiles_out: how many tiles share the inputs and the outputs.
    """

    index: int
    layer: str
    parameter: str
    plus: np.ndarray
    minus: np.ndarray
    scale: np.ndarray
    tiles_in: int
    tiles_out: int
    spread: Quantity | None
    error: float
    role: str = "weight"

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.parameter}"

    @property
    def kind(self) -> str:
        return "pairs"

    @property
    def nominal(self) -> np.ndarray:
        """The weight that the nominal conductances stand for."""
        return self.scale * (self.plus - self.minus)

    @property
    def devices(self) -> int:
        return 2 * self.plus.size

    @property
    def tiles(self) -> int:
        return self.tiles_in * self.tiles_out


def quantised(values: np.ndarray, largest: np.ndarray | float, levels: int | None) -> np.ndarray:
    """Values rounded to `levels` evenly spaced magnitudes from 0 to `largest`; unchanged without levels.

    >>> quantised(np.array([0.1, 0.6, -1.0]), 1.0, 3)
    array([ 0. ,  0.5, -1. ])
    """
    if levels is None:
        return values
    step = np.where(np.asarray(largest) > 0, np.asarray(largest) / (levels - 1), 1.0)
    return np.rint(values / step) * step + 0.0


def relative_error(made: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over that of what was wanted; 0 for zeros."""
    power = float(np.mean(np.square(wanted, dtype=np.float64))) if wanted.size else 0.0
    return math.sqrt(float(np.mean(np.square(made - wanted, dtype=np.float64))) / power) if power else 0.0


def conductance_pairs(index: int, layer: str, parameter: str, weight: np.ndarray, crossbar: Crossbar,
                      spread: Quantity | None) -> DeviceArray:
    """A weight `[out, ...in]` as one-sided pairs: the device of its sign carries it, the other stands at g_min.

    ``g = g_min + |w| / w_max (g_max - g_min)``, with w_max the largest magnitude of what shares a scale: a tile, or a
    column (an output) of a tile. A weight takes two device columns; tiles split inputs and outputs, nothing is dropped.
    """
    matrix = np.asarray(weight, np.float64).reshape(weight.shape[0], -1)
    rows, outputs = int(crossbar.rows.value), int(crossbar.columns.value) // 2
    largest = np.empty_like(matrix)
    for o in range(0, matrix.shape[0], outputs):
        for i in range(0, matrix.shape[1], rows):
            tile = np.abs(matrix[o:o + outputs, i:i + rows])
            largest[o:o + outputs, i:i + rows] = tile.max() if crossbar.scale == "tile" else tile.max(1, keepdims=True)
    low, high = crossbar.g_min.value, crossbar.g_max.value
    levels = int(crossbar.levels.value) if crossbar.levels else None
    made = quantised(matrix, largest, levels)
    share = np.abs(made) / np.where(largest > 0, largest, 1.0) * (high - low)
    plus, minus = (low + np.where(matrix * sign > 0, share, 0.0) for sign in (1, -1))
    scale = largest / (high - low)
    if (largest == largest[:, :1]).all():
        scale = scale[:, :1]
    shape = (scale.shape[0],) + (1,) * (weight.ndim - 1) if scale.shape[1] == 1 else weight.shape
    return DeviceArray(
        index, layer, parameter, _frozen(plus, weight.shape), _frozen(minus, weight.shape), _frozen(scale, shape),
        math.ceil(matrix.shape[1] / rows), math.ceil(matrix.shape[0] / outputs), spread, relative_error(made, matrix))


def _frozen(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.ascontiguousarray(values, np.float32).reshape(shape)
    out.flags.writeable = False
    return out
