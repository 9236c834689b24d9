"""The attack on parameters: signed steps uphill inside a box around each of them, and the loss that resists it.

``theta*_0 = theta + e0 |theta| R``, R ~ N(0, 1);
``theta*_t = theta*_{t-1} + (zeta / N) |theta| sign(grad L(theta, theta*_{t-1}))``, t = 1 .. N;
inside ``|theta* - theta| <= zeta |theta|``.

In units of each parameter's spread this is one deviation u (see `deviations`), in any space whose moves are given:
``u_0 = e0 R``, ``u_t = clip(u_{t-1} + (zeta / N) sign(dL/du), -zeta, zeta)``.

Because the derivative of a sign is zero, the whole attack has a diagonal Jacobian, for the relative box
``d theta*/d theta = 1 + sign(theta) u``. So nothing is differentiated twice: the attack gives u, a constant, and
`moved(theta, u)` in the loss passes that Jacobian to theta, exactly as automatic differentiation through all N steps
would.

Source: Buechel, Faber and Muir, ICLR 2022, algorithm 1 and supplement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import nn

from neurosim.errors import NeurosimError, whole
from neurosim.training.deviations import Deviation, Parameters, Reach, gaussian, moved, relative
from neurosim.training.distances import distance
from neurosim.training.objective import Readout, objective_of

#: parameters to logits [batch, class] of one batch
Logits = Callable[[dict[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Attack:
    """How to attack; the defaults are the published ones.

    Parameters
    ----------
    size:
        zeta, half of the box's width in units of the spread: 0.1 is 10 % of each parameter under `relative`.
    steps:
        N, each of size / N.
    start:
        e0, standard deviation of where it starts, in the same unit. Where the loss is the distance to the clean
        network, its gradient at no deviation is zero: it must not start there.
    loss:
        What it makes large: kl, kl_floor, reverse_kl, js, l2 or task; see `distances`.
    restarts:
        Starts; the one with the largest final loss is taken.
    project:
        Clip to the box after each step, as the paper writes; False as its authors' code does, where only the start
        can stand out of the box.
    """

    size: float = 0.1
    steps: int = 10
    start: float = 1e-3
    loss: str = "kl"
    restarts: int = 1
    project: bool = True

    def __post_init__(self) -> None:
        distance(self.loss)
        for name in ("size", "start"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
                raise NeurosimError(f"{name} is {value!r}", where="attack", allowed="a number from 0 up")
        for name in ("steps", "restarts"):
            object.__setattr__(self, name, whole(name, getattr(self, name), "attack"))


def attack(logits: Logits, parameters: Parameters, how: Attack = Attack(), *, generator: torch.Generator,
           clean: torch.Tensor | None = None, labels: torch.Tensor | None = None, reach: Reach = relative,
           around: Deviation | None = None) -> Deviation:
    """The deviation that an attack finds; `moved(parameters, deviation, reach)` is what it makes of the parameters.

    Parameters
    ----------
    logits:
        Function from a dictionary of parameters to the logits `[batch, class]` of one batch. For a module:
        `Objective.logits`. For devices: from their values to logits, through whatever they do to the network.
    parameters:
        `{name: tensor}`, what is attacked: weights, conductances, time constants. Only their values count here.
    generator:
        Source of the start.
    clean:
        Logits that the distance is measured from; default: those of `parameters`.
    labels:
        `[batch]`, for the loss "task".
    reach:
        One move for all parameters, or `{name: move}` for those that are attacked. The box is |u| <= size for
        each element; `{name: Within(box)}` with size 1 takes boxes in the parameters' own unit, and
        `Within(sigma, log=True)` attacks in logarithmic coordinates.
    around:
        A deviation that the box is centred on, such as a random draw of devices; default: none at all.

    Returns
    -------
    Deviation
        Constants without gradient, for each name in `reach`, the deviation `around` included.

    Raises
    ------
    NeurosimError
        A loss without its labels, or a gradient that is no number.
    """
    fixed = {name: value.detach() for name, value in parameters.items()}
    if clean is None and how.loss != "task":
        with torch.no_grad():
            clean = logits(dict(fixed))
    reference = None if clean is None else clean.detach()
    measure, best, largest = distance(how.loss), {}, -math.inf
    for _ in range(how.restarts):
        found = gaussian(fixed, reach, how.start, generator)
        if how.project:
            found = {name: u.clamp(-how.size, how.size) for name, u in found.items()}
        for _ in range(how.steps):
            found = _step(logits, fixed, found, how, reach, around,
                          lambda there: measure(reference, there, labels))
        here = _added(found, around)
        if how.restarts == 1:
            return here
        with torch.no_grad():
            value = measure(reference, logits(moved(fixed, here, reach)), labels).item()
        if value > largest or not best:
            best, largest = here, value
    return best


def _step(logits: Logits, fixed: Parameters, found: Deviation, how: Attack, reach: Reach, around: Deviation | None,
          loss: Callable[[torch.Tensor], torch.Tensor]) -> Deviation:
    """One step uphill: ``u + (zeta / N) sign(dL/du)``."""
    with torch.enable_grad():
        variables = {name: u.requires_grad_() for name, u in found.items()}
        value = loss(logits(moved(fixed, _added(variables, around), reach)))
        slopes = torch.autograd.grad(value, list(variables.values()), allow_unused=True)
    following = {}
    for (name, u), slope in zip(found.items(), slopes, strict=True):
        u = u.detach()
        if slope is not None:
            u = u + (how.size / how.steps) * slope.sign()
        following[name] = u.clamp(-how.size, how.size) if how.project else u
    if not math.isfinite(value.item()):
        raise NeurosimError(f"the loss is {value.item()} at the attacked parameters", allowed="a finite number",
                            where=f"attack of size {how.size:g}", hint="are the parameters themselves numbers?")
    return following


def _added(deviation: Deviation, around: Deviation | None) -> Deviation:
    if around is None:
        return deviation
    return {name: deviation[name] + around[name] if name in around else deviation[name] for name in deviation} | {
        name: u for name, u in around.items() if name not in deviation}


def robust_distance(logits: Logits, parameters: Parameters, how: Attack = Attack(), *, generator: torch.Generator,
                    clean: torch.Tensor | None = None, labels: torch.Tensor | None = None, reach: Reach = relative,
                    around: Deviation | None = None) -> torch.Tensor:
    """``L_rob = L(f(theta), f(A(theta)))`` with the exact gradient through the attack A, both paths of it.

    The gradient is ``dL/dtheta`` at fixed theta*, by way of the clean logits, plus ``J dL/dtheta*`` at fixed theta. The
    two nearly cancel: leaving one out gives another direction. Costs N + 1 passes forward and back beside the
    clean one, which `clean` (with its gradient) may share with the task's loss. See `attack` for the parameters.
    """
    if clean is None and how.loss != "task":
        clean = logits(dict(parameters))
    found = attack(logits, parameters, how, generator=generator, clean=clean, labels=labels, reach=reach, around=around)
    return distance(how.loss)(clean, logits(moved(parameters, found, reach)), labels)


def robust_loss(model: nn.Module, inputs: torch.Tensor, how: Attack = Attack(), *, generator: torch.Generator,
                labels: torch.Tensor | None = None, readout: Readout = "sum", untouched: Sequence[str] = ()
                ) -> torch.Tensor:
    """`robust_distance` of a module on a batch, for a training loop of your own: add beta times it to your loss.

    Parameters
    ----------
    model, inputs, readout, untouched:
        See `Objective`. The module is called with other parameters and stays as it is. Of an `OnChip`, devices are
        attacked, in units of their spread.
    labels:
        `[batch]`, for the loss "task".

    >>> net = torch.nn.Linear(4, 3)
    >>> loss = robust_loss(net, torch.ones(10, 2, 4), generator=torch.Generator().manual_seed(0))  # 10 time steps
    >>> loss.backward()
    >>> net.weight.grad.shape
    torch.Size([3, 4])
    """
    on = objective_of(model, inputs, labels, readout, untouched=tuple(untouched))
    return robust_distance(on.logits, on.parameters, how, generator=generator, labels=labels, reach=on.reach)
