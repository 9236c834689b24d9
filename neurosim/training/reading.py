"""One array of a die as it is read, with gradients: `network.reads` for tensors.

What a tile gives for inputs x is, over its rows and with the unit and the names of `engine.reads`,

    ``y = worth code(x G + sqrt(x^2 V) n) + offset sum(x)``

The values are those of deployment: the same conductances behind the same wires, the same variances and random numbers,
the same converters. The gradient goes to the inputs, through the size of the noise too; to the devices, whose current
is damped by the wires as it is now, ``dG_eff = (g_eff / g) dg`` (what a device does to its neighbours' voltage is left
out); to the ranges (`rounding`); and not to the size of a device's own noise. Rows that float or are gated, and
nonlinear devices, are solved for as in deployment; their gradient is that of the linear tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from neurosim.engine import LANES, Tiles
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray
from neurosim.network.reads import Read
from neurosim.training.placing import Cells, exactly
from neurosim.training.rounding import converted, driven

_TINY = 1e-30  # below any variance


@dataclass(frozen=True, eq=False)
class OnTiles:
    """How an array of a placement is read.

    read: that of its die. cells: from devices to conductances; stood: those that `read` was made of. damping: g_eff / g
    of every device, `[plane, out, ...in]`, None where nothing damps. growth: of the ranges of its inputs and of its
    currents, see `rounding.growing`. late: whether the read of a step is that of the spikes of the step before, as in
    the loop of a spiking population; recurrent: whether nothing is read in the first step.
    """

    array: DeviceArray
    read: Read
    cells: Cells
    stood: torch.Tensor
    damping: torch.Tensor | None
    growth: tuple[torch.Tensor, torch.Tensor]
    late: bool
    recurrent: bool

    @cached_property
    def tiles(self) -> Tiles:
        """Those of the read, without what only fills up whole vectors."""
        wide = ("rows", "variance", "floor", "worth", "offset", "gain", "shift", "table")
        return self.read.tiles._replace(**{name: self.trimmed(getattr(self.read.tiles, name)) for name in wide})

    def trimmed(self, values: np.ndarray) -> np.ndarray:
        """Values of the columns of all outputs, in the last axis, without the filling."""
        outputs = self.array.tiling.outputs
        if not values.size:
            return values
        width = outputs + -outputs % LANES
        cut = values.reshape(*values.shape[:-1], -1, width)[..., :outputs]
        return np.ascontiguousarray(cut.reshape(*values.shape[:-1], -1))

    def rows(self, devices: torch.Tensor) -> torch.Tensor:
        """Effective conductances of devices in the order of `Tiles.rows`, `[inputs, columns of all outputs]`."""
        found = self._combined(devices)
        if devices is self.stood:
            return exactly(found, self.tiles.rows)
        return found + (_like(found, self.tiles.rows) - self._combined(self.stood)).detach()

    def _combined(self, devices: torch.Tensor) -> torch.Tensor:
        planes = self.cells.planes(devices)
        if self.damping is not None:
            planes = planes * self.damping
        planes = planes.flatten(2)
        if self.tiles.rows.shape[1] > self.array.tiling.outputs:  # each column is read for itself
            return planes.permute(2, 0, 1).flatten(1)
        return torch.einsum("k,koi->io", _like(planes, self.array.coefficients), planes)


class Reading:
    """The reads of one array in one run, step after step.

    Parameters
    ----------
    on, devices:
        The array, and where its devices stand now.
    steps, samples:
        Of the run; the samples' numbers are part of the keys of its noise.
    """

    def __init__(self, on: OnTiles, devices: torch.Tensor, steps: int, samples: range) -> None:
        self.on, self.steps, self.samples, self.step = on, steps, samples, 0
        self.rows = on.rows(devices)
        self.noise: torch.Tensor | None = None
        self.worth, self.floor, self.variance, self.offset = (
            _like(devices, values) if values.size else None
            for values in (on.tiles.worth, on.tiles.floor, on.tiles.variance, on.tiles.offset))
        self.worth = self.worth * on.cells.growth.repeat(1, self.worth.shape[1] // self.outputs)
        if self.offset is not None:
            self.offset = self.offset * on.cells.growth

    @property
    def outputs(self) -> int:
        return self.on.array.tiling.outputs

    def read(self, x: torch.Tensor) -> torch.Tensor:
        """What the array gives for inputs `[steps, sample, position, in]`: all steps, or the next one of them."""
        count, first = x.shape[0], self.step
        if first + count > self.steps:
            raise NeurosimError(f"it is read more than once in a step (of {self.steps})", where=f"array {self.name}",
                                allowed="one use of a weight in each step", hint="train without reads")
        self.step += count
        if self.on.recurrent and first == 0 and count == 1:
            return x.new_zeros(*x.shape[:-1], self.outputs)
        if self.on.read.noise is not None and self.noise is None:
            self.noise = self._normals(x)
        now = slice(first - self.on.late, first - self.on.late + count)
        out = None
        for k, (plane, worth) in enumerate(driven(self.on.read.inputs, x, self.on.growth[0])):
            found = self._once(plane.flatten(0, 2), None if self.noise is None else self.noise[now, :, :, k])
            # a step in which nothing is put on the rows is not read
            active = (plane != 0).flatten(2).any(dim=2)[:, :, None, None].expand_as(plane[..., :1]).flatten(0, 2)
            found = torch.where(active, found if worth == 1 else found * worth, 0.0)
            out = found if out is None else out + found
        return out.unflatten(0, x.shape[:-1])

    @property
    def name(self) -> str:
        return self.on.array.name

    def _normals(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers of all steps, `[steps, sample, position, pass, tile, columns]`."""
        passes = self.on.read.passes
        found = self.on.read.normals(self.samples, self.steps, x.shape[2] * passes)
        tiles = (len(self.on.read.tiles.worth), self.on.read.tiles.rows.shape[1])
        found = found.reshape(len(self.samples), self.steps, x.shape[2], passes, *tiles)
        return _like(x, self.on.trimmed(found)).transpose(0, 1)

    def _once(self, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        """One read of vectors `[vector, in]`."""
        read, tiles, out = self.on.read, self.on.tiles, None
        for t in range(self.worth.shape[0]):
            rows = slice(tiles.bounds[t], tiles.bounds[t + 1])
            part = x[:, rows]
            sums = part @ self.rows[rows]
            if read.currents is not None:
                plain = part.detach().cpu().numpy()
                solved = self.on.trimmed(read.currents(t, plain)) - plain @ tiles.rows[rows]
                sums = sums + _like(sums, solved)
            if noise is not None:
                spread = self.floor[t]
                if self.variance is not None:
                    spread = spread + part.square() @ self.variance[rows]
                sums = sums + spread.clamp(min=_TINY).sqrt() * noise[..., t, :].flatten(0, 2)
            if tiles.combined.size:
                sums = torch.einsum("k,vko->vo", _like(sums, tiles.combined), sums.unflatten(1, (-1, self.outputs)))
            if read.converters:
                sums = converted(tiles, t, sums, self.on.growth[1])
            found = (self.worth[t] * sums).unflatten(1, (-1, self.outputs)).sum(dim=1)
            if self.offset is not None:
                found = found + self.offset[t] * part.sum(dim=1, keepdim=True)
            out = found if out is None else out + found
        return out


def _like(tensor: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=tensor.dtype, device=tensor.device)
