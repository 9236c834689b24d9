"""What runs between layers: events or dense arrays, and the block of samples that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim import engine
from neurosim.network.activity import Drive


@dataclass(frozen=True)
class Events:
    """Spikes of a block: pointers `[batch * time + 1]` into indices."""

    pointers: np.ndarray
    indices: np.ndarray

    def dense(self, width: int, dtype: np.dtype) -> np.ndarray:
        out = np.empty((self.pointers.size - 1, width), dtype)
        engine.scatter(self.pointers, self.indices, out)
        return out


Signal = Events | np.ndarray  # a dense signal is [batch * time, *shape]


@dataclass(frozen=True)
class Block:
    """Some samples of the input, in the order of the kernels: batch first.

    drive: what it drives the first layer with.
    """

    samples: slice
    batch: int
    time: int
    signal: Signal
    drive: Drive
