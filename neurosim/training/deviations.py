"""How parameters may differ from themselves: a move and a deviation, in parameter space or in that of devices.

A *deviation* is `{name: u}`, dimensionless, each u of the shape of its parameter; a *move* says what u does to a value,
so that u = 1 is one unit of that parameter's spread. What is not named in a deviation stays as it is.

    `relative`             value + |value| u        published noise and box: u = zeta is |d theta| = zeta |theta|
    `Within(spread)`       value + spread u         a spread in the unit of the value, per element
    `Within(spread, log)`  value exp(spread u)      lognormal devices: the spread of the logarithm, per element

Zero parameters under `relative`, and elements with a spread of zero, cannot be moved: that is how masks are said. All
moves are differentiable in value and in u; the generators are the only source of random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from neurosim.errors import NeurosimError

Parameters = Mapping[str, torch.Tensor]
Deviation = dict[str, torch.Tensor]
Move = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: one move for every parameter, or one for each that may be moved
Reach = Move | Mapping[str, Move]


def relative(value: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """``value + |value| u``; the derivative with respect to value is ``1 + sign(value) u``, 1 at zero.

    >>> relative(torch.tensor([2.0, -2.0, 0.0]), torch.tensor([0.5, 0.5, 0.5]))
    tensor([ 3., -1.,  0.])
    """
    return value + value.abs() * u


@dataclass(frozen=True, eq=False)
class Within:
    """``value + spread u``, or with `log` ``value exp(spread u)``; spread is 0 or more, of the shape of the value.

    >>> Within(torch.tensor([0.1, 0.0]))(torch.tensor([2.0, 2.0]), torch.tensor([-1.0, -1.0]))
    tensor([1.9000, 2.0000])
    """

    spread: torch.Tensor
    log: bool = False

    def __call__(self, value: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return value * (self.spread * u).exp() if self.log else value + self.spread * u


def moves(parameters: Parameters, reach: Reach) -> dict[str, Move]:
    """The move of every parameter that may be moved.

    Raises
    ------
    NeurosimError
        The reach names what is no parameter.
    """
    if not isinstance(reach, Mapping):
        return dict.fromkeys(parameters, reach)
    if unknown := sorted(set(reach) - set(parameters)):
        raise NeurosimError(f"there is no parameter {', '.join(map(repr, unknown))}", where="reach",
                            allowed=", ".join(parameters))
    return dict(reach)


def movable(parameters: Parameters, reach: Reach) -> dict[str, Move]:
    """`moves`, of which there must be one.

    Raises
    ------
    NeurosimError
        Nothing may be moved: no device varies, or everything is untouched.
    """
    found = moves(parameters, reach)
    if not found:
        raise NeurosimError("no parameter varies, so there is nothing to move", where="noise and attacks",
                            hint="take a chip type with mismatch, or name less as untouched")
    return found


def moved(parameters: Parameters, deviation: Parameters, reach: Reach = relative) -> dict[str, torch.Tensor]:
    """The parameters with a deviation; differentiable in both.

    With u a constant, the gradient of a loss at the result with respect to `parameters` passes the exact, diagonal
    Jacobian of the move: for `relative`, ``J = 1 + sign(theta) u``.
    """
    known = moves(parameters, reach)
    return {name: known[name](value, deviation[name]) if name in deviation else value
            for name, value in parameters.items()}


def straight_through(parameters: Parameters, other: Parameters) -> dict[str, torch.Tensor]:
    """The values of `other`, whose gradient goes to `parameters` as if they differed by a constant."""
    return {name: value + (other[name] - value).detach() if other[name] is not value else value
            for name, value in parameters.items()}


def gaussian(parameters: Parameters, reach: Reach, size: float, generator: torch.Generator) -> Deviation:
    """``u = size * xi``, ``xi ~ N(0, 1)`` for every element that the reach names."""
    return {name: size * _normal(parameters[name], generator) for name in movable(parameters, reach)}


def corners(parameters: Parameters, reach: Reach, size: float, generator: torch.Generator) -> Deviation:
    """``u = +-size``, each sign as likely: a random corner of the box, as large as what an attack may reach."""
    return {name: size * _normal(parameters[name], generator).sign() for name in movable(parameters, reach)}


def _normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Drawn where the generator lives: a generator on the CPU gives the same numbers for every device."""
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)
