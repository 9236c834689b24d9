"""Everything that shapes a training run beside its data: checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import nn

from neurosim.errors import NeurosimError, did_you_mean, whole
from neurosim.training.objective import READOUTS, Objective, objective_of
from neurosim.training.recipe import Recipe
from neurosim.training.recipes import RECIPES, make_recipe, name_of, settings_of
from neurosim.training.schedule import Schedule, rates_of, steps_of


@dataclass(frozen=True)
class Plan:
    """See `train` for what each means; rates has the learning rate of every epoch."""

    recipe: Recipe
    rates: tuple[float, ...]
    batch_size: int
    seed: int
    readout: str
    rate_penalty: float
    untouched: tuple[str, ...]
    optimiser: str
    weight_decay: float
    average: float
    selection: str
    mismatch: float
    mismatch_draws: int

    def __post_init__(self) -> None:
        for name, known in (("readout", READOUTS), ("optimiser", ("adam", "sgd")), ("selection", ("clean", "noisy"))):
            if getattr(self, name) not in known:
                raise NeurosimError(f"{name} is {getattr(self, name)!r}", where="train", allowed=", ".join(known))
        for name in ("rate_penalty", "weight_decay", "average", "mismatch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise NeurosimError(f"{name} is {value!r}", where="train", allowed="a number from 0 up")
        if self.average >= 1:
            raise NeurosimError(f"average is {self.average!r}", where="train", allowed="0 to below 1")
        for name, least in (("batch_size", 1), ("mismatch_draws", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), "train", least))
        object.__setattr__(self, "seed", whole("seed", self.seed, "train", 0, 64))
        if self.selection == "noisy" and not self.mismatch_draws:
            raise NeurosimError("mismatch_draws is 0, but noisy validation chooses the best epoch", where="train",
                                allowed="1 or more")

    @property
    def name(self) -> str:
        """Of the recipe."""
        return name_of(self.recipe)

    @property
    def settings(self) -> dict[str, object]:
        """Every number and word that shapes the result, but the seed."""
        return {**self.recipe.settings, "readout": self.readout, "rate_penalty": self.rate_penalty,
                "batch_size": self.batch_size, "epochs": len(self.rates), "learning_rate": steps_of(self.rates),
                "optimiser": self.optimiser, "weight_decay": self.weight_decay, "untouched": list(self.untouched),
                "average": self.average, "selection": self.selection, "mismatch": self.mismatch,
                "mismatch_draws": self.mismatch_draws}

    def refuse_wrong_teacher(self, teacher: nn.Module | None) -> None:
        """A teacher that is missing, or that a recipe of ours does not look at."""
        asked = getattr(self.recipe, "reference", None) == "teacher"
        if teacher is None and asked:
            raise NeurosimError("there is no teacher", where=f"train, recipe {self.name}",
                                hint="give --teacher FILE (teacher=module), or another reference")
        if teacher is not None and not asked and self.name in RECIPES:
            raise NeurosimError("it looks at no teacher", where=f"train, recipe {self.name}",
                                hint="take --recipe robust with reference=teacher, or leave --teacher (teacher=) out")

    def objective(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], **steadier: object) -> Objective:
        """The objective of one batch."""
        return objective_of(model, *batch, self.readout, self.rate_penalty, self.untouched, **steadier)

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam, or stochastic gradient descent with Nesterov's momentum."""
        trained = [value for value in model.parameters() if value.requires_grad]
        if self.optimiser == "adam":
            return torch.optim.Adam(trained, self.rates[0], weight_decay=self.weight_decay)
        return torch.optim.SGD(trained, self.rates[0], momentum=0.9, nesterov=True, weight_decay=self.weight_decay)


def make_plan(recipe: str | Recipe, settings: dict[str, object], *, epochs: int | None, learning_rate: Schedule,
              untouched: str | Sequence[str], average: float | None, selection: str | None, **rest: object) -> Plan:
    """A plan, with what the recipe says where the user says nothing."""
    if isinstance(recipe, str):
        known = settings_of(recipe)
        if recipe in RECIPES and (unknown := [name for name in settings if name not in known]):
            others = ["epochs", "learning_rate",
                      *(f.name for f in fields(Plan) if f.name not in ("recipe", "rates", "seed"))]
            raise NeurosimError(f"there is no setting {unknown[0]!r}", where=f"train, recipe {recipe}",
                                hint=did_you_mean(unknown[0], [*known, *others]))
        recipe = make_recipe(recipe, **settings)
    elif settings:
        raise NeurosimError(f"settings {', '.join(settings)} beside a recipe that has its own", where="train",
                            hint="give them to the recipe")
    return Plan(recipe, tuple(rates_of(epochs, learning_rate)),
                untouched=(untouched,) if isinstance(untouched, str) else tuple(untouched),
                average=recipe.average if average is None else average,
                selection=recipe.selection if selection is None else selection, **rest)
