"""What a recipe is: named settings, and the loss that one batch has under them.

A recipe knows neither the optimiser nor the epochs, holds no state, and draws from the generator it is given alone.
Its loss is made so that its gradient is the recipe's gradient; so it may be used in any training loop:

    loss = Hybrid(beta=0.1).loss(Objective(model, inputs, labels), generator)
    optimiser.zero_grad(); loss.backward(); optimiser.step()
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch

from neurosim.errors import NeurosimError, whole
from neurosim.training.objective import Objective


@dataclass(frozen=True)
class Moment:
    """Where in the training an update stands: done from 0 to 1, the batches before its own, the updates before it
    with its own."""

    done: float = 1.0
    step: int = 0
    round: int = 0


END = Moment()


@dataclass(frozen=True)
class Recipe:
    """Settings, checked, and the loss of a batch.

    A setting's type says what it may be: a float is 0 or more, an int 0 or more, a text one of `choices`.
    """

    #: who proposed it
    source: ClassVar[str]
    #: what a text may be
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: what training does unless it is told otherwise: the running average of the parameters (0: none), and the
    #: validation, clean or noisy, that chooses the best epoch
    average: ClassVar[float] = 0.0
    selection: ClassVar[str] = "clean"

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, allowed = getattr(self, setting.name), None
            if setting.type == "bool":
                allowed = None if isinstance(value, bool) else "true, false"
            elif setting.type == "str":
                known = self.choices[setting.name]
                allowed = None if value in known else ", ".join(known)
            elif setting.type == "int":
                count = whole(setting.name, value, f"recipe {type(self).__name__}", 0)
                object.__setattr__(self, setting.name, count)
            elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                allowed = "a number from 0 up"
            if allowed:
                raise NeurosimError(f"{setting.name} is {value!r}", where=f"recipe {type(self).__name__}",
                                    allowed=allowed)

    @property
    def rounds(self) -> int:
        """How many updates are made with one batch, each with a loss of its own."""
        return 1

    @property
    def settings(self) -> dict[str, object]:
        """Every setting by its name."""
        return asdict(self)

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        """The loss of a batch: a scalar whose gradient is that of the recipe."""
        raise TypeError(f"{type(self).__name__} has no loss")


def at_least_one(recipe: Recipe, *names: str) -> None:
    """Refuse a count of zero."""
    for name in names:
        if getattr(recipe, name) < 1:
            raise NeurosimError(f"{name} is {getattr(recipe, name)!r}", where=f"recipe {type(recipe).__name__}",
                                allowed="1 or more")


def at_most_one(recipe: Recipe, *names: str) -> None:
    """Refuse a share above one."""
    for name in names:
        if getattr(recipe, name) > 1:
            raise NeurosimError(f"{name} is {getattr(recipe, name)!r}", where=f"recipe {type(recipe).__name__}",
                                allowed="0 to 1")
