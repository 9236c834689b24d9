"""Recipes that need one pass: the task alone, dropout, and noise on the parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch

from neurosim.errors import NeurosimError
from neurosim.training.deviations import gaussian, moved, straight_through
from neurosim.training.hidden import hidden_of, silenced
from neurosim.training.objective import Objective
from neurosim.training.recipe import END, Moment, Recipe


@dataclass(frozen=True)
class Standard(Recipe):
    """The task's loss at the parameters themselves."""

    source = "none"

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        return on.loss(on.parameters)


@dataclass(frozen=True)
class Dropout(Recipe):
    """Hidden neurons are silenced for all time steps of a batch, each with probability p, for each sample anew.

    The spikes of the others count 1 / (1 - p), so that the mean is what it is without (inverted dropout). A module with
    `units` and a mask in its forward does it itself; of any other, see `neurosim.training.hidden`.

    Parameters
    ----------
    p:
        Share of neurons that are silenced.
    rescale:
        False is what Buechel, Faber and Muir ran: no 1 / (1 - p), so that the network is busier in use than in
        training.
    shared:
        True is what they ran: one mask for the whole batch.
    """

    source = "Srivastava et al., JMLR 15, 1929 (2014)"
    p: float = 0.3
    rescale: bool = True
    shared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.p >= 1:
            raise NeurosimError(f"p is {self.p!r}", where="recipe Dropout", allowed="0 to below 1")

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        def draw(samples: int, units: int) -> torch.Tensor:
            kept = torch.rand(1 if self.shared else samples, units, generator=generator, device=generator.device)
            mask = (kept >= self.p).to(on.inputs.device, on.inputs.dtype).expand(samples, -1)
            return mask / (1 - self.p) if self.rescale else mask

        samples, model = on.labels.numel(), getattr(on.model, "module", on.model)  # that of an `OnChip`
        if "mask" in inspect.signature(model.forward).parameters and hasattr(model, "units"):
            return on.loss_and_logits(on.parameters, mask=draw(samples, model.units))[0]
        axis = 1 if on.inputs.ndim > 1 and on.inputs.shape[1] == samples else 0
        with silenced(model, hidden_of(model, on.inputs.narrow(axis, 0, 1)), axis, draw):
            return on.loss(on.parameters)


@dataclass(frozen=True)
class ForwardNoise(Recipe):
    """The task's loss at ``T + stop_gradient(eta |T| xi)``, ``xi ~ N(0, 1)``: one new draw for the whole batch.

    The gradient goes to T as if the noise were a constant.

    Parameters
    ----------
    eta:
        Relative standard deviation; Buechel, Faber and Muir ran 0.3.
    """

    source = ("Murray and Edwards, IEEE Trans. Neural Networks 5, 792 (1994); the relative form as in Buechel, Faber "
              "and Muir, ICLR 2022")
    eta: float = 0.3

    def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
        return noisy_loss(on, self.eta, generator)


def noisy_loss(on: Objective, eta: float, generator: torch.Generator) -> torch.Tensor:
    """L_nat at parameters with Gaussian noise, the gradient straight through."""
    there = moved(on.parameters, gaussian(on.parameters, on.reach, eta, generator), on.reach)
    return on.loss(straight_through(on.parameters, there))
