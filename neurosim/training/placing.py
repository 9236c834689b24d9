"""The mapping onto devices, differentiable: where the devices of an array stand, how far they spread, their worth.

The numbers are those of `mapping` and `dies`, not made again here; only their derivatives are. Levels are passed
straight through (Bengio, Leonard, Courville, arXiv:1308.3432). A weight on a crossbar is
``w = S (sum_k c_k g_k) + offset``; its devices are given here as ``d_k = S g_k``, in the unit of the weight, so that
all parameters of a network are alike (those of reference columns, which weights of several scales share, as shares of
g_max):

    ``dd_k/dw = s_k / sum F``     s_k = +-1 for the leg that carries w, +-1/2 for two legs that share it, else 0

so that w itself has the derivative 1, whatever the cells are. The scale S of a column or tile goes with its largest
weight, and so do its noise and its derivative: a large weight makes the others of its column noisy. On a die, what
conductances differ by is a constant; other parameters pass the exact factor of their device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from neurosim.devices.spread import log_width
from neurosim.mapping import DeviceArray, SpreadArray
from neurosim.profile import Crossbar, Quantity
from neurosim.training.deviations import Move, Within

#: standard deviation of the conductances of devices from their targets, both in siemens
Spreads = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Part:
    """One array of devices.

    devices: their values, differentiable in the array of the network. move: what one unit of spread does to them, None
    where nothing spreads. value: from devices to the array as the network sees it. cells: for tiles that are read.
    """

    devices: torch.Tensor
    move: Move | None
    value: Callable[[torch.Tensor], torch.Tensor]
    cells: Cells | None = None


@dataclass(frozen=True, eq=False)
class Cells:
    """Devices as conductances. planes: from devices to shares of g_max, `[plane, out, ...in]`. growth: 1 with the
    derivative of the scale, by which all that a tile gives is multiplied, `[tile of inputs, out]`."""

    planes: Callable[[torch.Tensor], torch.Tensor]
    growth: torch.Tensor


class _Exactly(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(surrogate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: torch.Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad, None


def exactly(surrogate: torch.Tensor, value: np.ndarray | torch.Tensor) -> torch.Tensor:
    """`value` bit for bit, with the gradient of `surrogate`.

    >>> w = torch.tensor([0.3], requires_grad=True)
    >>> exactly(2 * w, np.array([1.0], np.float32)).sum().backward(), w.grad
    (None, tensor([2.]))
    """
    return _Exactly.apply(surrogate, value if isinstance(value, torch.Tensor) else _like(surrogate, value))


@dataclass(frozen=True)
class Factor:
    """A factor with mean 1 on a value: ``value (1 + r u)``, or with `log` ``value exp(r u)``.

    With `decay` the factor is on the time constant of a decay per step: ``value^(1 / factor)``.
    """

    r: float
    log: bool = False
    decay: bool = False

    def __call__(self, value: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        factor = (self.r * u).exp() if self.log else 1 + self.r * u
        return value ** (1 / factor.clamp(min=1e-3)) if self.decay else value * factor


def factor_of(spread: Quantity | None, decay: bool = False) -> Factor | None:
    """One standard deviation of a profile's spread as a move; of the logarithm for lognormal ones."""
    if spread is None or not spread.spread:
        return None
    if spread.distribution == "lognormal":
        return Factor(log_width(spread), log=True, decay=decay)
    return Factor(spread.spread / abs(spread.value), decay=decay)


def placed_direct(array: SpreadArray, wanted: torch.Tensor, made: np.ndarray | None) -> Part:
    """A parameter that stands for itself; `made`: its value on a die, None for the device as it is meant to be."""
    decay = array.role.startswith("tau")
    nominal = exactly(wanted.expand(array.nominal.shape), array.nominal)
    if made is None:
        mean = 1.0 if array.spread is None else array.spread.value
        devices = nominal if mean == 1 else nominal ** (1 / mean) if decay else nominal * mean
        return Part(devices, factor_of(array.spread, decay), _as_it_is)
    fixed, there = nominal.detach(), _like(nominal, made)
    if decay:  # there = fixed^power
        known = (fixed > 0) & (fixed < 1) & (there > 0) & (there < 1)
        devices = nominal ** torch.where(known, there.log() / torch.where(known, fixed, 0.5).log(), 1.0)
    else:
        devices = nominal * torch.where(fixed != 0, there / fixed, 1.0)
    return Part(exactly(devices, there), factor_of(array.spread, decay), _as_it_is)


def _as_it_is(devices: torch.Tensor) -> torch.Tensor:
    return devices


def placed_on_crossbar(array: DeviceArray, crossbar: Crossbar, spreads: Spreads, wanted: torch.Tensor,
                       masked: torch.Tensor | None, made: np.ndarray | None) -> Part:
    """A weight on the cells of a crossbar.

    Parameters
    ----------
    spreads:
        Standard deviation of a device that is meant to be at a conductance.
    wanted:
        `[out, ...in]`, what the network has.
    masked:
        Where it has no synapse and so nothing that an attack may reach; of the weight's shape.
    made:
        Conductances of all devices on a die, in the order of the array's targets; None for those that are aimed at.
    """
    shape, own = array.own.shape, array.own.size
    fixed, ratio = wanted.detach(), _ratio(array, crossbar, wanted)
    scale = _like(wanted, array.scale)
    largest = crossbar.g_max.value
    per_device = torch.cat([scale.expand(shape).reshape(-1), scale.new_full((array.reference.size,), 1 / largest)])
    growth = torch.cat([ratio.expand(shape).reshape(-1), ratio.new_ones(array.reference.size)])
    stands = _slopes(array, fixed) * (wanted / ratio - fixed)
    stands = torch.cat([stands.reshape(-1), stands.new_zeros(array.reference.size)])
    targets = array.targets * np.float32(1.0 if array.spread is None else array.spread.value)
    devices = (per_device * _like(wanted, targets if made is None else made) + stands) * growth
    coefficients = _like(wanted, array.coefficients)
    offset = None if array.offset is None else _like(wanted, array.offset) * ratio

    def value(found: torch.Tensor) -> torch.Tensor:
        total = torch.einsum("k,k...->...", coefficients[:shape[0]], found[:own].reshape(shape))
        if array.reference.size:
            shared = torch.einsum("k,k...->...", coefficients[shape[0]:], found[own:].reshape(array.reference.shape))
            shared = shared.repeat_interleave(array.tiling.tile_outputs, dim=0)[:len(total)]
            total = total + largest * scale * ratio * shared
        return total if offset is None else total + offset

    def planes(found: torch.Tensor) -> torch.Tensor:
        each = found[:own].reshape(shape) / (torch.where(scale > 0, scale, 1.0) * ratio * largest)
        if not array.reference.size:
            return each
        shared = found[own:].reshape(array.reference.shape).repeat_interleave(array.tiling.tile_outputs, dim=1)
        return torch.cat([each, shared[:, :shape[1]]])

    starts = torch.arange(0, array.tiling.inputs, array.tiling.tile_inputs, device=wanted.device)
    cells = Cells(planes, ratio.expand(shape[1:]).reshape(shape[1], -1)[:, starts].T)
    return Part(devices, _reach(array, crossbar, spreads, per_device * growth, masked), value, cells)


def aimed_at(array: DeviceArray) -> np.ndarray:
    """The weight where all devices are what they are meant to be, times the mean of their mismatch."""
    mean = 1.0 if array.spread is None else array.spread.value
    return array.weight(array.planes(array.targets * np.float32(mean)))


def corrected(part: Part, made: np.ndarray) -> Part:
    """A part whose array is `made` at its devices as they are: with what a die has beyond them, such as wires."""
    value = part.value
    with torch.no_grad():
        rest = _like(part.devices, made) - value(part.devices)
    return replace(part, value=lambda found: value(found) + rest) if bool(rest.any()) else part


def _slopes(array: DeviceArray, weight: torch.Tensor) -> torch.Tensor:
    """``dd_k/dw`` of every own plane, `[plane, out, ...in]`."""
    per = torch.full_like(weight, 1 / float(array.coefficients[array.coefficients > 0].sum()))
    slopes = []
    for positive in (array.coefficients[:len(array.own)] > 0).tolist():
        if array.kind == "pair":
            slopes.append(torch.where(weight >= 0, per, 0.0) if positive else torch.where(weight < 0, -per, 0.0))
        elif array.kind == "two_sided":
            slopes.append(per / 2 if positive else -per / 2)
        else:
            slopes.append(per)
    return torch.stack(slopes)


def _ratio(array: DeviceArray, crossbar: Crossbar, weight: torch.Tensor) -> torch.Tensor:
    """1, with the derivative of the largest weight of what shares a scale over itself; broadcastable to the weight."""
    matrix = weight.reshape(len(weight), -1).abs()
    cut = array.tiling
    if crossbar.scale == "column" and cut.tiles_in == 1:
        largest = matrix.amax(dim=1, keepdim=True)
    else:
        rows: dict[int, list[torch.Tensor]] = {}
        for outputs, inputs in cut.parts():
            part = matrix[outputs, inputs]
            most = part.amax() if crossbar.scale == "tile" else part.amax(dim=1, keepdim=True)
            rows.setdefault(outputs.start, []).append(most.expand(part.shape))
        largest = torch.cat([torch.cat(parts, dim=1) for parts in rows.values()])
    fixed = largest.detach()
    ratio = torch.where(fixed > 0, largest / torch.where(fixed > 0, fixed, 1.0), 1.0)
    return ratio.reshape(len(weight), *(1,) * (weight.ndim - 1)) if ratio.shape[1] == 1 else ratio.reshape(weight.shape)


def _reach(array: DeviceArray, crossbar: Crossbar, spreads: Spreads, scale: torch.Tensor,
           masked: torch.Tensor | None) -> Move | None:
    """One standard deviation of all that makes conductances differ; no conductance falls below 0.

    In logarithmic coordinates only where a lognormal mismatch stands alone, since write noise adds to a conductance.
    """
    factor = factor_of(array.spread)
    if crossbar.programming is None and masked is None and (factor is None or factor.log):
        return factor
    spread = _like(scale, spreads(array.targets)) * scale
    if masked is not None:
        free = (~masked).expand(array.own.shape).reshape(-1)
        spread = spread * torch.cat([free, free.new_ones(array.reference.size)])
    if not bool(spread.any()):
        return None
    plain = Within(spread)
    return lambda value, u: plain(value, u).clamp(min=0)


def _like(tensor: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=tensor.dtype, device=tensor.device)
