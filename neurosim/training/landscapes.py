"""The loss around a network: along random directions in the space of its parameters, or of a chip's devices.

The published picture (Buechel, Faber and Muir, ICLR 2022, figure S7 and table S1): cross-entropy of the test samples at
``theta + a v``, v of standard deviation 0.2 |theta|, for 50 steps a from -2 to 2 and five directions. A direction is as
long as the mismatch of that size, so it is that metric seen from aside, and no independent one of flatness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn.functional import cross_entropy

from neurosim.errors import NeurosimError, whole
from neurosim.training.deviations import gaussian, moved
from neurosim.training.objective import Objective
from neurosim.training.vulnerable import in_parts


@dataclass(frozen=True)
class Landscape:
    """Cross-entropy `[direction, step]` at each step along each direction; centre: at the parameters themselves; size:
    a step's standard deviation.

    slope: mean over directions and steps of ``|difference of neighbours| / distance of steps`` (table S1).
    """

    steps: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    centre: float
    size: float
    slope: float
    samples: int
    seed: int

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def landscape(objective: Callable[[torch.Tensor, torch.Tensor], Objective], inputs: torch.Tensor,
              labels: torch.Tensor, size: float = 0.2, *, directions: int = 5, points: int = 50, furthest: float = 2.0,
              seed: int = 0, tick: Callable[[int, int], None] | None = None) -> Landscape:
    """Loss along random directions.

    Parameters
    ----------
    objective:
        Of some samples (inputs, labels), as for `vulnerability`: `Objective` of a module, or that of an `OnChip`.
    inputs, labels:
        `[time, sample, *shape]` and `[sample]`.
    size:
        Standard deviation of a direction: relative to each parameter, or in spreads of each device.
    directions, points, furthest:
        How many; steps from -furthest to furthest, evenly, both ends included.
    tick:
        Called with (directions done, directions in all).
    """
    for name, value, least in (("directions", directions, 1), ("points", points, 2)):
        if value < least:
            raise NeurosimError(f"{name} is {value}", where="landscape", allowed=f"{least} or more")
    for name, value in (("size", size), ("furthest", furthest)):
        if not 0 < value < math.inf:
            raise NeurosimError(f"{name} is {value:g}", where="landscape", allowed="above 0")
    fixed, reach, logits = in_parts(objective, inputs, labels)
    generator = torch.Generator().manual_seed(whole("seed", seed, "landscape", 0, 64))
    steps = torch.linspace(-furthest, furthest, points, dtype=torch.float64).tolist()
    losses = []
    with torch.no_grad():
        centre = cross_entropy(logits(fixed), labels).item()
        for number in range(directions):
            v = gaussian(fixed, reach, size, generator)
            losses.append(tuple(cross_entropy(logits(moved(fixed, {name: a * u for name, u in v.items()}, reach)),
                                              labels).item() for a in steps))
            if tick is not None:
                tick(number + 1, directions)
    rises = [abs(after - before) for row in losses for before, after in itertools.pairwise(row)]
    slope = sum(rises) / len(rises) / (steps[1] - steps[0])
    return Landscape(tuple(steps), tuple(losses), centre, size, slope, labels.numel(), seed)
