"""Where the devices of a weight matrix lie: the tiles that it is cut into, and the columns of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurosim.profile import Crossbar


@dataclass(frozen=True, eq=False)
class Tile:
    """One crossbar: the part of the matrix `[outputs, inputs]` on it.

    column `[plane, output]`: the physical column of each plane of each output of this tile; the planes of an output lie
    side by side, reference columns (shared: the same number for all outputs) come last. columns: how many are used.
    """

    outputs: slice
    inputs: slice
    column: np.ndarray
    columns: int

    def gather(self, planes: np.ndarray) -> np.ndarray:
        """What lies on the tile, `[row, column]`, from planes `[plane, outputs of all, inputs of all]`."""
        part = planes[:, self.outputs, self.inputs]
        found = np.empty((part.shape[2], self.columns), planes.dtype)
        found[:, self.column] = part.transpose(2, 0, 1)
        return found

    def scatter(self, found: np.ndarray, planes: np.ndarray) -> None:
        """The inverse of `gather`: writes `[row, column]` into its place in the planes."""
        planes[:, self.outputs, self.inputs] = found[:, self.column].transpose(1, 2, 0)


@dataclass(frozen=True)
class Tiling:
    """A matrix of `outputs` x `inputs` cut into tiles of at most `tile_outputs` x `tile_inputs`; nothing is dropped.

    own, shared: device columns that each output has for itself, and that all outputs of a tile have together. A
    convolution is its im2col matrix: inputs are (channel, row, column) of the kernel.
    """

    outputs: int
    inputs: int
    tile_outputs: int
    tile_inputs: int
    own: int
    shared: int

    @property
    def tiles_out(self) -> int:
        return math.ceil(self.outputs / self.tile_outputs)

    @property
    def tiles_in(self) -> int:
        return math.ceil(self.inputs / self.tile_inputs)

    def parts(self) -> Iterator[tuple[slice, slice]]:
        """Outputs and inputs of every tile, the inputs of the first outputs first."""
        for o in range(0, self.outputs, self.tile_outputs):
            for i in range(0, self.inputs, self.tile_inputs):
                yield (slice(o, min(o + self.tile_outputs, self.outputs)),
                       slice(i, min(i + self.tile_inputs, self.inputs)))

    def tiles(self) -> Iterator[Tile]:
        """Every tile with its columns."""
        for outputs, inputs in self.parts():
            count = outputs.stop - outputs.start
            column = np.empty((self.own + self.shared, count), np.int64)
            column[:self.own] = np.arange(count) * self.own + np.arange(self.own)[:, None]
            column[self.own:] = count * self.own + np.arange(self.shared)[:, None]
            yield Tile(outputs, inputs, column, count * self.own + self.shared)


def tiling(outputs: int, inputs: int, crossbar: Crossbar) -> Tiling:
    """How a matrix lies on the tiles of a crossbar.

    >>> from neurosim.profile import load_profile
    >>> cut = tiling(300, 700, load_profile("pcm_hermes").crossbar)
    >>> cut.tiles_out, cut.tiles_in, [tile.columns for tile in cut.tiles()]
    (2, 3, [512, 512, 512, 88, 88, 88])
    """
    cells = crossbar.cells
    return Tiling(outputs, inputs, crossbar.outputs, int(crossbar.rows.value), cells.own_columns, cells.shared_columns)
