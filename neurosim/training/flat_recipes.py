"""Recipes that seek flat minima: SAM, ASAM, ABCD and entropy-SGD."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from neurosim.training.deviations import movable, straight_through
from neurosim.training.objective import Objective
from neurosim.training.recipe import END, Moment, Recipe, at_least_one


def slopes_of(on: Objective) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """L_nat at the parameters, and its gradient with respect to those that may be moved; constants."""
    loss = on.loss(on.parameters)
    varied = {name: on.parameters[name] for name in movable(on.parameters, on.reach)}
    return loss.detach(), dict(zip(varied, torch.autograd.grad(loss, list(varied.values())), strict=True))


@dataclass(frozen=True)
class SAM(Recipe):
    """Sharpness-aware minimisation: the gradient at ``T + rho g / |g|`` is applied to T, |g| over all tensors.

    Parameters
    ----------
    rho:
        Euclidean radius for all parameters together.
    """

    source = "Foret, Kleiner, Mobahi and Neyshabur, ICLR 2021"
    rho: float = 0.05

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        _, slopes = slopes_of(on)
        length = torch.stack([slope.norm() for slope in slopes.values()]).norm().clamp(min=1e-12)
        there = {name: on.parameters[name] + self.rho * slope / length for name, slope in slopes.items()}
        return on.loss(straight_through(on.parameters, {**on.parameters, **there}))


@dataclass(frozen=True)
class ASAM(Recipe):
    """Adaptive SAM, whose ball scales with the weights: at ``T + rho s^2 g / |s g|``, ``s = |T| + eta``.

    Parameters
    ----------
    rho:
        Radius, relative to the parameters.
    eta:
        Keeps the ball of small parameters open.
    """

    source = "Kwon, Kim, Park and Choi, ICML 2021"
    rho: float = 0.5
    eta: float = 0.01

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        _, slopes = slopes_of(on)
        scale = {name: on.parameters[name].detach().abs() + self.eta for name in slopes}
        length = torch.stack([(scale[name] * slope).norm() for name, slope in slopes.items()]).norm().clamp(min=1e-12)
        there = {name: on.parameters[name] + self.rho * scale[name].square() * slope / length
                 for name, slope in slopes.items()}
        return on.loss(straight_through(on.parameters, {**on.parameters, **there}))


@dataclass(frozen=True)
class ABCD(Recipe):
    """Adversarial block coordinate descent: a random half of the elements climbs, the other half descends from there.

    In each of `rounds` updates with a batch: ``T' = T + eta m g``, m a random mask of halves, g the gradient at T; the
    update takes the gradient at T' of the elements with m = 0 alone.

    Parameters
    ----------
    eta:
        Step uphill. (The clip in the code of the published comparison has no effect; there is none here.)
    inner:
        Updates with a batch.
    """

    source = "Cicek and Soatto, ICCV Workshops 2019"
    eta: float = 0.1
    inner: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "inner")

    @property
    def rounds(self) -> int:
        return self.inner

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        _, slopes = slopes_of(on)
        there = dict(on.parameters)
        for name, slope in slopes.items():
            climbs = torch.rand(slope.shape, generator=generator, device=generator.device).to(slope.device) < 0.5
            value = on.parameters[name]
            there[name] = torch.where(climbs, (value + self.eta * slope).detach(), value)
        return on.loss(there)


@dataclass(frozen=True)
class EntropySGD(Recipe):
    """Descends the local entropy: towards the mean of a Langevin walk around the parameters, ``gamma (T - mu)``.

    ``d = grad L_nat(x) + gamma (x - T)``; ``v <- momentum v + d``;
    ``x <- x - rate (d + momentum v) + sqrt(rate) noise N(0, 1)``; ``mu <- (1 - keep) mu + keep x``

    for `steps` steps from x = mu = T, on the same batch. ``gamma = gamma0 (1 + gamma1)^k`` at batch k. The loss that is
    reported is the mean of L_nat along the walk.

    Parameters
    ----------
    steps, rate, noise, momentum, keep:
        Of the walk: its length, learning rate, thermal noise, Nesterov's momentum, and the weight of the newest place.
    gamma0, gamma1:
        Scope: how the walk is held to T, tighter as training goes on.
    """

    source = "Chaudhari et al., ICLR 2017, algorithm 1"
    steps: int = 10
    rate: float = 0.1
    noise: float = 1e-4
    gamma0: float = 1e-2
    gamma1: float = 1e-3
    momentum: float = 0.9
    keep: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "steps")

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        gamma = self.gamma0 * (1 + self.gamma1) ** at.step
        anchor = {name: value.detach() for name, value in on.parameters.items()}
        x, mean = dict(anchor), dict(anchor)
        velocity = {name: torch.zeros_like(value) for name, value in anchor.items()}
        losses = []
        for _ in range(self.steps):
            x = {name: value.detach().requires_grad_() for name, value in x.items()}
            losses.append(on.loss(x))
            for name, slope in zip(x, torch.autograd.grad(losses[-1], list(x.values())), strict=True):
                d = slope + gamma * (x[name].detach() - anchor[name])
                velocity[name] = self.momentum * velocity[name] + d
                xi = torch.randn(d.shape, generator=generator, device=generator.device, dtype=d.dtype).to(d.device)
                x[name] = (x[name].detach() - self.rate * (d + self.momentum * velocity[name])
                           + self.rate**0.5 * self.noise * xi)
                mean[name] = (1 - self.keep) * mean[name] + self.keep * x[name]
        pull = sum((value - mean[name]).square().sum() for name, value in on.parameters.items()) * (gamma / 2)
        return torch.stack(losses).mean().detach() + (pull - pull.detach())
