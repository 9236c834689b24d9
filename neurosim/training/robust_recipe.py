"""neurosim's own recipe: several draws of rising noise, a short attack around each, held to a clean answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar

import torch

from neurosim.training.attacks import Attack, attack
from neurosim.training.deviations import gaussian, moved, straight_through
from neurosim.training.distances import DISTANCES
from neurosim.training.objective import Objective
from neurosim.training.recipe import END, Moment, Recipe, at_least_one, at_most_one


@dataclass(frozen=True)
class Robust(Recipe):
    """``clean L_nat(T) + mean over draws k of [(1 - clean) L_nat(T_k) + beta D(reference, f(T_k))]``.

    ``T_k = T + |T| u_k`` with ``u_k = eta (k / draws) xi_k``, k = 1 .. draws, xi normal, or what a short attack of D
    finds in a small box around it: random differences between devices from small to large, and the worst of what lies
    next to each. eta and beta rise over the first part `ramp` of training (half a cosine). The best epoch is chosen by
    accuracy under mismatch, of the running average of the parameters.

    Parameters
    ----------
    eta:
        Relative standard deviation of the strongest noise, at the end of the ramp; may exceed that of the chip. On ECG
        0.7 was chosen for all mismatch up to 0.7.
    draws:
        Samples of dies for each batch, each a pass, with evenly rising noise: on ECG three of rising noise were better
        up to 0.3 and without mismatch than two of the full one, over 200 epochs.
    clean:
        Share of the task's loss that is taken without noise: in short runs on ECG 0.5 kept more up to a mismatch of
        0.1, 0.2 more from 0.2 on.
    beta:
        Weight of the consistency D.
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
    draws: int = 3
    clean: float = 0.5
    beta: float = 0.5
    reference: str = "clean"
    distance: str = "kl"
    size: float = 0.05
    steps: int = 0
    ramp: float = 0.0
    exact: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "draws")
        at_most_one(self, "clean", "ramp")

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        rise = (1 - cos(pi * min(1.0, at.done / self.ramp))) / 2 if self.ramp else 1.0
        eta, beta = rise * self.eta, rise * self.beta
        natural, own = on.loss_and_logits(on.parameters)
        reference = own if self.reference == "clean" else self._steadier(on)
        total = self.clean * natural
        for number in range(1, self.draws + 1):
            draw = gaussian(on.parameters, on.reach, eta * number / self.draws, generator)
            if self.steps:
                draw = attack(on.logits, on.parameters, Attack(rise * self.size, self.steps, 0.0, self.distance),
                              generator=generator, clean=reference, labels=on.labels, reach=on.reach, around=draw)
            there = moved(on.parameters, draw, on.reach)
            loss, logits = on.loss_and_logits(there if self.exact else straight_through(on.parameters, there))
            apart = DISTANCES[self.distance](reference, logits, on.labels)
            total = total + ((1 - self.clean) * loss + beta * apart) / self.draws
        return total

    def _steadier(self, on: Objective) -> torch.Tensor:
        if self.reference == "teacher":
            return on.teacher_logits()
        with torch.no_grad():
            return on.logits(on.parameters if on.average is None else on.average)
