"""How accuracy falls with the size of a change of the parameters: the worst that an attack finds, and random ones.

The published comparison (Buechel, Faber and Muir, ICLR 2022, figures 3, S3, S5): signed steps uphill on the task's
loss, in 10 steps, from one start, with the gradient of all samples; beside it random corners of the same box, and
Gaussian mismatch of the same relative size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch.utils.checkpoint import checkpoint

from neurosim.errors import NeurosimError, whole
from neurosim.training.attacks import Attack, Logits, attack
from neurosim.training.deviations import Deviation, Parameters, Reach, corners, gaussian, moved
from neurosim.training.objective import Objective

#: the published ones
SIZES = (0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
#: in units of a device's spread
DEVICE_SIZES = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
_CHUNK = 500  # samples whose steps are held in memory at a time


@dataclass(frozen=True)
class Point:
    """Accuracies at one size: under attack, and mean and least over random corners of the box and Gaussian draws."""

    size: float
    attacked: float
    corner_mean: float
    corner_least: float
    gaussian_mean: float
    gaussian_least: float


@dataclass(frozen=True)
class Vulnerability:
    """Accuracy of the network itself, and against size; how it was attacked, and how many random draws there are."""

    accuracy: float
    points: tuple[Point, ...]
    attack: Attack
    draws: int
    samples: int
    seed: int

    def as_dict(self) -> dict[str, object]:
        """Plain values; the size of an attack stands at each point."""
        found = asdict(self)
        del found["attack"]["size"]
        return found


def vulnerability(objective: Callable[[torch.Tensor, torch.Tensor], Objective], inputs: torch.Tensor,
                  labels: torch.Tensor, sizes: Sequence[float] = SIZES, *, how: Attack | None = None, draws: int = 10,
                  seed: int = 0, tick: Callable[[int, int], None] | None = None) -> Vulnerability:
    """Accuracy against size.

    Parameters
    ----------
    objective:
        Of some samples (inputs, labels): `Objective` of a module, or that of an `OnChip`, where sizes count in units of
        each device's spread.
    inputs, labels:
        `[time, sample, *shape]` and `[sample]`.
    sizes:
        Half the box, and the standard deviation of the Gaussian draws.
    how:
        The attack, at any size; default: 10 steps up the task's loss.
    draws:
        Random corners, and Gaussian draws, for each size.
    seed:
        Of all of them, and of the attack's start.
    tick:
        Called with (sizes done, sizes in all).
    """
    if not sizes or not all(0 <= size < math.inf for size in sizes):
        raise NeurosimError(f"sizes are {list(sizes)}", where="attack", allowed="one or more numbers from 0 up")
    draws = whole("draws", draws, "attack")
    how = Attack(loss="task") if how is None else how
    generator = torch.Generator().manual_seed(whole("seed", seed, "attack", 0, 64))
    fixed, reach, logits = in_parts(objective, inputs, labels)

    def accuracy(deviation: Deviation) -> float:
        with torch.no_grad():
            return (logits(moved(fixed, deviation, reach)).argmax(dim=1) == labels).double().mean().item()

    clean = accuracy({})
    points = []
    for number, size in enumerate(sorted(sizes), start=1):
        found = attack(logits, fixed, replace(how, size=size), generator=generator, labels=labels, reach=reach)
        random = {draw: [accuracy(draw(fixed, reach, size, generator)) for _ in range(draws)]
                  for draw in (corners, gaussian)}
        points.append(Point(size, accuracy(found), *(value for values in random.values()
                                                     for value in (sum(values) / draws, min(values)))))
        if tick is not None:
            tick(number, len(sizes))
    return Vulnerability(clean, tuple(points), how, draws, labels.numel(), seed)


def in_parts(objective: Callable[[torch.Tensor, torch.Tensor], Objective], inputs: torch.Tensor,
             labels: torch.Tensor) -> tuple[Parameters, Reach, Logits]:
    """The parameters of an objective, their moves, and its logits for all samples, few of them in memory at once."""
    parts = [objective(x, y) for x, y in zip(inputs.split(_CHUNK, dim=1), labels.split(_CHUNK), strict=True)]
    return {name: value.detach() for name, value in parts[0].parameters.items()}, parts[0].reach, _of_all(parts)


def _of_all(parts: Sequence[Objective]) -> Logits:
    """Logits of all samples; with a gradient, each part's steps are computed anew when it is asked for."""
    def logits(parameters: Parameters) -> torch.Tensor:
        names, values = list(parameters), list(parameters.values())

        def of(part: Objective, *given: torch.Tensor) -> torch.Tensor:
            return part.logits(dict(zip(names, given, strict=True)))

        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([of(part, *values) for part in parts])
        return torch.cat([checkpoint(of, part, *values, use_reentrant=False) for part in parts])

    return logits
