"""Arrays of devices: what a parameter of the network becomes on the chip, nominally."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosim.mapping.cells import Placed, place
from neurosim.mapping.tiles import Tiling, tiling
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
    """A weight matrix as conductances on crossbar tiles, ``w = scale (sum_k c_k g_k) + offset`` over its planes k.

    own: nominal conductances in siemens, float32 `[plane, out, ...in]`: the devices that a weight has for itself.
    reference: those of reference columns, float32 `[plane, tile of outputs, ...in]`, one for all outputs of a tile; no
    planes where the cells have none. coefficients: c_k, float32, of own planes and then of reference planes.
    scale: weight per siemens, and offset (digital; None where there is none): float32, broadcastable to the weight.
    tiling: where the planes lie. kind: of the cells, as in the profile. What `dies` draws for the devices is a vector
    in the order of `targets`.
    """

    index: int
    layer: str
    parameter: str
    own: np.ndarray
    reference: np.ndarray
    coefficients: np.ndarray
    scale: np.ndarray
    offset: np.ndarray | None
    tiling: Tiling
    kind: str
    spread: Quantity | None
    error: float
    role: str = "weight"

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.parameter}"

    @property
    def targets(self) -> np.ndarray:
        """Nominal conductances of all devices, float32 `[devices]`: own planes, then reference planes."""
        return np.concatenate([self.own.reshape(-1), self.reference.reshape(-1)])

    def planes(self, devices: np.ndarray) -> np.ndarray:
        """Values of all devices (conductances, variances) as `[plane, out, ...in]`; references stand for each output.

        A view where there are no references.
        """
        own = devices[:self.own.size].reshape(self.own.shape)
        if not self.reference.size:
            return own
        shared = devices[self.own.size:].reshape(self.reference.shape)
        return np.concatenate([own, np.repeat(shared, self.tiling.tile_outputs, axis=1)[:, :self.own.shape[1]]])

    def weight(self, planes: np.ndarray) -> np.ndarray:
        """The weight that conductances `[plane, out, ...in]` stand for."""
        total = planes[0] * self.coefficients[0]
        for coefficient, plane in zip(self.coefficients[1:], planes[1:], strict=True):
            total += coefficient * plane
        total *= self.scale
        return total if self.offset is None else total + self.offset

    @property
    def nominal(self) -> np.ndarray:
        """The weight that the nominal conductances stand for."""
        return self.weight(self.planes(self.targets))

    @property
    def devices(self) -> int:
        return self.own.size + self.reference.size

    @property
    def tiles_out(self) -> int:
        return self.tiling.tiles_out

    @property
    def tiles(self) -> int:
        return self.tiling.tiles_in * self.tiling.tiles_out


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


def on_crossbar(index: int, layer: str, parameter: str, weight: np.ndarray, crossbar: Crossbar,
                spread: Quantity | None) -> DeviceArray:
    """A weight `[out, ...in]` on the cells of a crossbar (`mapping.cells`); what shares a scale is a tile, or an output
    of a tile. Tiles split inputs and outputs, nothing is dropped."""
    matrix = np.asarray(weight, np.float64).reshape(weight.shape[0], -1)
    cut = tiling(*matrix.shape, crossbar)
    low, high = np.empty_like(matrix), np.empty_like(matrix)
    for part in cut.parts():
        axis = None if crossbar.scale == "tile" else 1
        low[part], high[part] = (extreme(matrix[part], axis=axis, keepdims=True) for extreme in (np.min, np.max))
    placed = place(matrix, low, high, crossbar)
    shared = np.broadcast_to(placed.reference[:, None, None], (placed.reference.size, cut.tiles_out, matrix.shape[1]))
    return DeviceArray(
        index, layer, parameter,
        own=_frozen(placed.own, (len(placed.own), *weight.shape)),
        reference=_frozen(shared, (*shared.shape[:2], *weight.shape[1:])),
        coefficients=_frozen(placed.coefficients, placed.coefficients.shape),
        scale=_by_output(placed.scale, weight.shape),
        offset=None if placed.offset is None else _by_output(placed.offset, weight.shape),
        tiling=cut, kind=crossbar.cells.kind, spread=spread, error=relative_error(_exact(placed), matrix))


def _exact(placed: Placed) -> np.ndarray:
    """The weight behind nominal conductances before they are rounded to float32."""
    g = np.concatenate([placed.own, np.broadcast_to(placed.reference[:, None, None],
                                                    (placed.reference.size, *placed.own.shape[1:]))])
    made = placed.scale * np.einsum("k,koi->oi", placed.coefficients, g)
    return made if placed.offset is None else made + placed.offset


def _by_output(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of each weight, one per output where all its inputs have the same."""
    if (values == values[:, :1]).all():
        values, shape = values[:, :1], (shape[0],) + (1,) * (len(shape) - 1)
    return _frozen(values, shape)


def _frozen(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.array(values, np.float32).reshape(shape)
    out.flags.writeable = False
    return out
