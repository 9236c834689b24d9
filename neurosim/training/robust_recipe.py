"""neurosim's own recipe: several updates with a batch, each on dies of another strength of mismatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar

import torch

from neurosim.errors import NeurosimError
from neurosim.training.attacks import Attack, attack
from neurosim.training.deviations import gaussian, moved, straight_through
from neurosim.training.distances import DISTANCES
from neurosim.training.objective import Objective
from neurosim.training.recipe import END, Moment, Recipe, at_least_one, at_most_one


@dataclass(frozen=True)
class Robust(Recipe):
    """``clean L_nat(T) + mean over draws of [(1 - clean) L_nat(T_k) + beta D(reference, f(T_k))]``, `inner` times.

    ``T_k = T + |T| u_k`` with ``u_k = eta k / (inner draws) xi_k``, xi normal: dies whose mismatch rises from one draw
    to the next, k = 1 .. inner * draws, over the updates that are made with a batch. With `steps`, u_k is what a short
    attack of D finds in a small box around that. eta and beta rise over the first part `ramp` of training (half a
    cosine). The best epoch is chosen by accuracy under mismatch, of the running average of the parameters.

    Parameters
    ----------
    eta:
        Relative standard deviation of the strongest noise, at the end of the ramp; may exceed that of the chip. On ECG
        0.6 was chosen for all mismatch up to 0.7.
    inner:
        Updates with a batch, each on a die of its own. In short runs on ECG and on speech five or ten did better
        than one update over three dies with a clean pass and a consistency; they also take more passes.
    draws:
        Dies of an update, each a pass; update i has k = i, i + inner, ...
    clean:
        Share of the task's loss that is taken without noise, in a pass of its own. The weakest noise does as well.
    beta:
        Weight of the consistency D; 0 is none.
    reference:
        Whose answer the noisy network is held to: its own "clean" one, that of the running "average", or of a "teacher"
        that is given to `train`. Only the first has a gradient of its own.
    distance:
        D, see `distances`.
    size, steps:
        Of the attack around a draw; steps = 0 is none.
    ramp:
        Share of training over which eta and beta rise from 0; 0 is none, which did best in short runs on ECG.
    exact:
        Whether the gradient passes the draw's Jacobian ``1 + sign(T) u``, or goes to T as if u |T| were a constant.
    """

    source = ("this project; after Murray and Edwards 1994 (noise), Buechel, Faber and Muir 2022 (attack, hybrid), "
              "Zhou et al. 2020 (noise and a teacher), Jacobson et al. 2026 (stronger noise than the chip's, ramp)")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "distance": tuple(DISTANCES), "reference": ("clean", "average", "teacher")}
    average = 0.99
    selection = "noisy"
    eta: float = 0.6
    inner: int = 5
    draws: int = 1
    clean: float = 0.0
    beta: float = 0.0
    reference: str = "clean"
    distance: str = "kl"
    size: float = 0.05
    steps: int = 0
    ramp: float = 0.0
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "inner", "draws")
        at_most_one(self, "clean", "ramp")
        if self.reference != "clean" and not self.beta and not self.steps:
            raise NeurosimError(f"reference is {self.reference!r}, and beta is 0: nothing is held to it",
                                where="recipe Robust", hint="give beta, 0.5 say")

    @property
    def rounds(self) -> int:
        return self.inner

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        rise = (1 - cos(pi * min(1.0, at.done / self.ramp))) / 2 if self.ramp else 1.0
        compared = self.beta > 0 or self.steps > 0
        natural, reference = 0.0, None
        if self.clean or (compared and self.reference == "clean"):
            natural, reference = on.loss_and_logits(on.parameters)
        if compared and self.reference != "clean":
            reference = self._steadier(on)
        total, levels = self.clean * natural, self.inner * self.draws
        for level in range(1 + at.round, levels + 1, self.inner):
            draw = gaussian(on.parameters, on.reach, rise * self.eta * level / levels, generator)
            if self.steps:
                draw = attack(on.logits, on.parameters, Attack(rise * self.size, self.steps, 0.0, self.distance),
                              generator=generator, clean=reference, labels=on.labels, reach=on.reach, around=draw)
            there = moved(on.parameters, draw, on.reach)
            loss, logits = on.loss_and_logits(there if self.exact else straight_through(on.parameters, there))
            total = total + (1 - self.clean) * loss / self.draws
            if self.beta:
                apart = DISTANCES[self.distance](reference, logits, on.labels)
                total = total + rise * self.beta * apart / self.draws
        return total

    def _steadier(self, on: Objective) -> torch.Tensor:
        if self.reference == "teacher":
            return on.teacher_logits()
        with torch.no_grad():
            return on.logits(on.parameters if on.average is None else on.average)
