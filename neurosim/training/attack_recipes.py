"""Recipes that attack the parameters in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from neurosim.training.attacks import Attack, attack, robust_distance
from neurosim.training.deviations import movable, moved, straight_through
from neurosim.training.distances import DISTANCES
from neurosim.training.noise_recipes import noisy_loss
from neurosim.training.objective import Objective
from neurosim.training.recipe import END, Moment, Recipe, at_least_one


@dataclass(frozen=True)
class Adversarial(Recipe):
    """``L_nat(T) + beta L_rob(T, A(T))``, the published method: what the network says shall not change under attack.

    The gradient passes through the attack A exactly; see `attacks`.

    Parameters
    ----------
    beta:
        Weight of L_rob: the largest that keeps the validation accuracy, as its authors advise (0.25; speech 0.5).
    size, steps, start, distance, restarts:
        Of the attack; see `Attack`. Distance "task" is the cross-entropy under attack in the place of a distance.
    """

    source = "Buechel, Faber and Muir, ICLR 2022"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"distance": tuple(DISTANCES)}
    beta: float = 0.25
    size: float = 0.1
    steps: int = 10
    start: float = 1e-3
    distance: str = "kl"
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "steps", "restarts")

    @property
    def attack(self) -> Attack:
        return Attack(self.size, self.steps, self.start, self.distance, self.restarts)

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        natural, clean = on.loss_and_logits(on.parameters)
        return natural + self.beta * self._robust(on, clean, generator)

    def _robust(self, on: Objective, clean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return robust_distance(on.logits, on.parameters, self.attack, generator=generator, clean=clean,
                               labels=on.labels, reach=on.reach)


@dataclass(frozen=True)
class Hybrid(Adversarial):
    """``L_nat(T + stop_gradient(eta |T| xi)) + beta L_rob(T, A(T))``: noise in the task's loss, none in L_rob.

    Parameters
    ----------
    eta:
        Relative noise.
    beta, ...:
        As for `Adversarial`; published 0.1 (speech 0.5).
    """

    beta: float = 0.1
    eta: float = 0.3

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        natural = noisy_loss(on, self.eta, generator)
        return natural + self.beta * self._robust(on, on.logits(on.parameters), generator)


@dataclass(frozen=True)
class AWP(Recipe):
    """Adversarial weight perturbation: the gradient of the task's loss at ``T + gamma (T* - T)`` is applied to T.

    T* maximises the task's loss in the relative box. With `inputs` above 0 the inputs are attacked first, inside
    |x* - x| <= inputs, from a uniform random start, and stay so. The gradient takes both as constants.

    Parameters
    ----------
    size, steps, start:
        Of the attack on the parameters; see `Attack`.
    gamma:
        How far towards T*; the comparison of Buechel, Faber and Muir has gamma 0.1 with size 0.2, so 2 %.
    inputs, input_steps:
        Of the attack on the inputs, each step inputs / input_steps.
    """

    source = "Wu, Xia and Wang, NeurIPS 2020; relative box as in Buechel, Faber and Muir, ICLR 2022"
    size: float = 0.1
    steps: int = 10
    start: float = 1e-3
    gamma: float = 1.0
    inputs: float = 0.0
    input_steps: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "steps", "input_steps")

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        if self.inputs:
            on = replace(on, inputs=self._attacked_inputs(on, generator))
        how = Attack(self.size, self.steps, self.start, "task")
        found = attack(on.logits, on.parameters, how, generator=generator, labels=on.labels, reach=on.reach)
        there = moved(on.parameters, {name: self.gamma * u for name, u in found.items()}, on.reach)
        return on.loss(straight_through(on.parameters, there))

    def _attacked_inputs(self, on: Objective, generator: torch.Generator) -> torch.Tensor:
        fixed = {name: value.detach() for name, value in on.parameters.items()}
        start = torch.rand(on.inputs.shape, generator=generator, device=generator.device, dtype=on.inputs.dtype)
        x = on.inputs + self.inputs * (2 * start.to(on.inputs.device) - 1)
        for _ in range(self.input_steps):
            x = x.detach().requires_grad_()
            loss = DISTANCES["task"](x, replace(on, inputs=x).logits(fixed), on.labels)
            (slope,) = torch.autograd.grad(loss, x)
            x = x.detach() + self.inputs / self.input_steps * slope.sign()
            x = torch.minimum(torch.maximum(x, on.inputs - self.inputs), on.inputs + self.inputs)
        return x


@dataclass(frozen=True)
class AMP(Recipe):
    """Adversarial model perturbation: the gradient at ``T + d`` is applied to T, d in a Euclidean ball of each tensor.

    ``d <- d + (r / steps) g / |g|`` for each tensor, g the gradient of the task's loss at T + d.

    Parameters
    ----------
    epsilon:
        r, or with `relative` r as a share of the tensor's Euclidean norm. The comparison of Buechel, Faber and Muir has
        0.005 to 0.02 with relative = false: next to nothing beside norms of 10 and more.
    steps:
        Zheng et al. take 1; Buechel, Faber and Muir 10.
    relative:
        See epsilon.
    """

    source = "Zheng, Zhang and Mao, CVPR 2021 (arXiv:2010.04925)"
    epsilon: float = 0.1
    steps: int = 10
    relative: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "steps")

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        names = list(movable(on.parameters, on.reach))
        fixed = {name: value.detach() for name, value in on.parameters.items()}
        radius = {name: self.epsilon * (fixed[name].norm() if self.relative else 1.0) for name in names}
        there = dict(fixed)
        for _ in range(self.steps):
            for name in names:
                there[name] = there[name].detach().requires_grad_()
            slopes = torch.autograd.grad(on.loss_and_logits(there)[0], [there[name] for name in names])
            for name, slope in zip(names, slopes, strict=True):
                there[name] = there[name].detach() + radius[name] / self.steps * slope / slope.norm().clamp(min=1e-12)
        return on.loss(straight_through(on.parameters, {**on.parameters, **{name: there[name] for name in names}}))
