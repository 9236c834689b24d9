"""Tiles whose currents are no linear function of their inputs: rows that float or are gated, nonlinear devices.

Every vector of inputs is solved for itself, exactly; vectors that drive the same rows share what they can.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neurosim import engine
from neurosim.devices import current, slope
from neurosim.devices.nonlinear_wires import DeviceLaw, nonlinear_currents
from neurosim.devices.wires import effective, floating_rows, gated, with_ports
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray
from neurosim.mapping.tiles import Tile

if TYPE_CHECKING:
    from neurosim.dies.reads import Readout


@dataclass(frozen=True, eq=False)
class _Part:
    """One tile: conductances `[row, column]`, segments, and the port matrix where rows float."""

    tile: Tile
    g: np.ndarray
    row: np.ndarray | None
    column: np.ndarray | None
    linear: np.ndarray | None = None
    ports: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Solver:
    """The tiles of one array of one die. separate: whether each column has a converter of its own.

    full_input: the input that stands for v_read, None for spikes (1). unit: siemens, of the sums that are given. gains:
    of the row drivers `[inputs]`, None where all are 1.
    """

    readout: Readout
    die: int
    array: DeviceArray
    planes: np.ndarray
    separate: bool
    full_input: float | None
    unit: float
    gains: np.ndarray | None = None
    _parts: list[list[_Part]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """One list of tiles for each range of inputs, as the kernels take them."""
        flat = self.planes.reshape(self.planes.shape[0], self.array.tiling.outputs, self.array.tiling.inputs)
        floating = self.readout.wires.row_off == "floating"
        self._parts.extend([] for _ in range(self.array.tiling.tiles_in))
        for number, tile in enumerate(self.array.tiling.tiles()):
            g = tile.gather(flat).astype(np.float64)
            row, column = self.readout.segments(self.die, self.array, number, g.shape)
            linear, ports = with_ports(g, row, column) if floating else (None, None)
            self._parts[tile.inputs.start // self.array.tiling.tile_inputs].append(
                _Part(tile, g, row, column, linear, ports))

    def currents(self, number: int, x: np.ndarray) -> np.ndarray:
        """Sums `[steps, columns]` of a range of inputs, in units times input, for x `[steps, rows]`."""
        coefficients, outputs = self.array.coefficients, self.array.tiling.outputs
        largest = np.abs(x).max(initial=0)
        if self.readout.wires.level == "nonlinear" and self.full_input is None and largest > 1:
            raise NeurosimError(f"an input of {largest:g}, and nothing says which one stands for dac.v_read",
                                where=f"array {self.array.name}", hint="give ranges: neurosim.deployment.find_ranges")
        width = outputs + -outputs % engine.LANES
        count = coefficients.size if self.separate else 1
        out = np.zeros((x.shape[0], count, width), x.dtype)
        driven = x.astype(np.float64)
        if self.gains is not None:
            first = number * self.array.tiling.tile_inputs
            driven = driven * self.gains[first:first + x.shape[1]]
        for part in self._parts[number]:
            found = self._tile(part, driven)[:, part.tile.column]  # [steps, plane, output]
            if not self.separate:
                found = np.einsum("k,sko->so", coefficients, found)[:, None]
            out[:, :, part.tile.outputs] = found
        return out.reshape(x.shape[0], -1) / x.dtype.type(self.unit)

    def _tile(self, part: _Part, x: np.ndarray) -> np.ndarray:
        profile, wires = self.readout.profile, self.readout.wires
        if wires.level == "nonlinear":
            iv, unit = profile.crossbar.iv, profile.dac.v_read.value / (self.full_input or 1.0)
            law = DeviceLaw(lambda g, v: current(iv, g, v), lambda g, v: slope(iv, g, v))
            return nonlinear_currents(part.g, part.row, part.column, x * unit, law) / unit
        sets, which = np.unique(x != 0, axis=0, return_inverse=True)
        out = np.empty((x.shape[0], part.g.shape[1]))
        for k, driven in enumerate(sets):
            mine = np.flatnonzero(which.reshape(-1) == k)
            if wires.row_off == "gated":
                out[mine] = x[mine][:, driven] @ effective(*gated(part.g, part.row, part.column, driven))
            else:
                out[mine] = np.stack([floating_rows(part.ports, one, driven) for one in x[mine]]) @ part.linear
        return out
