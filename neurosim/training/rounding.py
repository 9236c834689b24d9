"""What a converter does to a number, with a gradient: rounding is passed straight through, a range is not.

The values are those of the kernels. With s the step and v the number in steps,

    ``q = s code(v)``,  ``dq/dv = s`` within the range, 0 outside;  ``dq/ds = code(v) - v`` within, the last code beyond

so a number out of range tells the range to grow, and rounding tells it to be as narrow as the numbers allow. Sources:
Bengio, Leonard and Courville, arXiv:1308.3432 (straight through); Choi et al., arXiv:1805.06085 (PACT: the gradient
of a range from what it cuts off); Esser et al., arXiv:1902.08153 (LSQ: that of a step, as above). A range is learnt as
the logarithm of a factor on it, as Jain et al., arXiv:1903.08066, learn thresholds: it stays positive, and one learning
rate fits ranges of any size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from neurosim import engine
from neurosim.network.reads import Inputs, bit_planes
from neurosim.training.placing import exactly


def growing(log_factor: torch.Tensor) -> torch.Tensor:
    """1, with the derivative of ``exp(log_factor)`` over itself: the range itself has that factor in its value."""
    return (log_factor - log_factor.detach()).exp()


def driven(inputs: Inputs | None, x: torch.Tensor, growth: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """What is put on the rows for inputs x, and what its result is worth: as `network.reads.bit_planes`.

    growth: of the range of inputs, see `growing`. Slices of an input share its derivative, each by its worth.
    """
    if inputs is None:
        yield x, 1.0
        return
    top = (1 << (inputs.bits - 1 if inputs.signed else inputs.bits)) - 1
    low, step = -top if inputs.signed else 0, inputs.full_scale / top
    planes = [(torch.as_tensor(plane, device=x.device), worth)
              for plane, worth in bit_planes(inputs, x.detach().cpu().numpy())]
    within = (x / (step * growth)).clamp(low - 0.5, top + 0.5)
    held = exactly(within, sum(plane * (worth / step) for plane, worth in planes)) * (step * growth)
    whole = sum(worth for _, worth in planes)
    for plane, worth in planes:
        yield exactly(held / whole, plane), worth


def converted(tiles: engine.Tiles, tile: int, sums: torch.Tensor, growth: torch.Tensor) -> torch.Tensor:
    """The codes of a tile's sums `[vectors, w]`, as its converters give them, times `growth`, 1: of their range."""
    low, high, half = float(tiles.codes[1]), float(tiles.codes[2]), float(tiles.half)
    gain, shift = (torch.as_tensor(values[tile], device=sums.device) for values in (tiles.gain, tiles.shift))
    within = (gain / growth * sums + shift).clamp(low - half, high + 1 - half)
    codes = sums.detach().cpu().numpy().copy()
    engine.tile_codes(codes, np.empty_like(codes[0]), tiles, tile)
    return exactly(within, codes) * growth
