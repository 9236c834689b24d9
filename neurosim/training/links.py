"""Which tensor of a module is which array of its network, element by element.

A module becomes a network by code of many kinds (`Network.from_torch`, a module's own `to_network`): weights are
transposed, masked, expanded on the way. Instead of following each, the way is tried: in a copy of the module every
element of its parameters gets a number of its own, and where that number comes out is where the element goes. Then
the links are held to the network itself. What is not one tensor's elements as they are (a folded normalisation) has no
link, and is said where it would be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from neurosim.errors import NeurosimError
from neurosim.mapping.mapped import ROLES
from neurosim.network import Network
from neurosim.network.torch_run import copy_of

Arrays = dict[str, np.ndarray]
_UNIT = 2.0**-24  # numbers k 2^-24, k < 2^24, are exact in float32 and lie between 0 and 1, where decays must be


@dataclass(frozen=True)
class Norm:
    """A normalisation with running statistics, by its name, and the axis of the array that its channels lie on."""

    name: str
    eps: float
    axis: int

    def scale(self, tensors: Mapping[str, torch.Tensor], ndim: int) -> torch.Tensor:
        """``gamma / sqrt(variance + eps)``, to multiply an array of `ndim` axes with."""
        found = (tensors[f"{self.name}.running_var"] + self.eps).rsqrt()
        if f"{self.name}.weight" in tensors:
            found = found * tensors[f"{self.name}.weight"]
        return found.reshape((1,) * self.axis + (-1,) + (1,) * (ndim - self.axis - 1))


@dataclass(frozen=True, eq=False)
class Link:
    """Array `layer/parameter` of a network, made of elements of a module's parameter or buffer.

    tensor: its name in the module. index: int64, of the array's shape: which element stands there; None for the same
    elements in the same order. transposed: the array is the transposed tensor (index is None then). mask: name of a
    buffer of zeros and ones by which the module multiplies the tensor. norm: a normalisation whose scale is folded into
    the array, along its outputs or its inputs.
    """

    tensor: str
    index: np.ndarray | None = None
    transposed: bool = False
    mask: str | None = None
    norm: Norm | None = None

    def read(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The array, differentiable in the tensor."""
        value = tensors[self.tensor]
        if self.mask is not None:
            value = value * tensors[self.mask]
        if self.index is not None:
            return value.reshape(-1)[torch.as_tensor(self.index, device=value.device)]
        value = value.T if self.transposed else value
        return value if self.norm is None else value * self.norm.scale(tensors, value.ndim)

    def write(self, tensors: Mapping[str, torch.Tensor], array: torch.Tensor) -> dict[str, torch.Tensor]:
        """What must stand in the module so that its array is `array`; a scalar may become one value for each neuron."""
        old = tensors[self.tensor]
        if self.norm is not None:
            array = array / self.norm.scale(tensors, array.ndim)
        if self.index is not None:
            where = torch.as_tensor(self.index.reshape(-1), device=old.device)
            array = old.reshape(-1).index_copy(0, where, array.reshape(-1).to(old.dtype)).reshape(old.shape)
        elif self.transposed:
            array = array.T
        elif array.numel() == old.numel():
            array = array.reshape(old.shape)
        made = {self.tensor: array.to(old.dtype)}
        return made if self.mask is None else {**made, self.mask: torch.ones_like(tensors[self.mask])}


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module, by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def arrays_of(network: Network) -> Arrays:
    """Every array of a network, by `layer/parameter`."""
    return {f"{node.name}/{name}": value for node in network.nodes for name, value in node.layer.arrays().items()}


def find_links(model: nn.Module, network: Network, export: Callable[[nn.Module], Network]) -> dict[str, Link]:
    """The links of all arrays that are elements of one tensor.

    Parameters
    ----------
    model, network:
        A module, and what it is as a network.
    export:
        Makes a network of the module or of a copy of it with other numbers.
    """
    twin = copy_of(model)
    norms = {name: part for name, part in twin.named_modules()
             if isinstance(part, _NormBase) and part.track_running_stats}
    for part in norms.values():  # its scale is 1 while numbers go through
        part.running_mean.zero_()
        part.running_var.fill_(1)
        part.eps = 0.0
        if part.weight is not None:
            nn.init.ones_(part.weight)
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    fixed = tuple(f"{name}." for name in norms)
    masks = {name: value for name, value in twin.named_buffers()
             if value.is_floating_point() and value.ndim > 1 and bool(((value == 0) | (value == 1)).all())}
    numbered = {name: value for name, value in twin.named_parameters()
                if value.is_floating_point() and not name.startswith(fixed)}
    found = _tried(twin, numbered, export)
    if masks:
        saved = {name: value.clone() for name, value in masks.items()}
        for value in masks.values():
            value.fill_(1)
        for array, link in _tried(twin, numbered, export).items():
            fits = [name for name, value in masks.items() if value.shape == numbered[link.tensor].shape]
            if array not in found and len(fits) == 1:
                found[array] = replace(link, mask=fits[0])
        for name, value in masks.items():
            value.copy_(saved[name])
    state = {name: value for name, value in twin.named_buffers()
             if value.is_floating_point() and name.split(".")[-1] in ROLES}
    for array, link in _tried(twin, state, export).items():
        found.setdefault(array, link)
    scales = [Norm(name, part.eps, axis) for name, part in model.named_modules() if name in norms for axis in (0, 1)]
    return _held(found, scales, tensors_of(model), arrays_of(network))


def _tried(twin: nn.Module, numbered: Mapping[str, torch.Tensor], export: Callable[[nn.Module], Network]
           ) -> dict[str, Link]:
    """Number the elements of some tensors, export, and see where the numbers are."""
    count = sum(value.numel() for value in numbered.values())
    if count >= 1 << 24:
        raise NeurosimError(f"{count} parameters", where="OnChip", allowed=f"fewer than {1 << 24}")
    starts, names, at = [], list(numbered), 1
    saved = {name: value.detach().clone() for name, value in numbered.items()}
    with torch.no_grad():
        for value in numbered.values():
            starts.append(at)
            value.copy_((torch.arange(at, at + value.numel(), dtype=torch.float64) * _UNIT).reshape(value.shape))
            at += value.numel()
        found = {}
        for array, value in arrays_of(export(twin)).items():
            number = np.asarray(value, np.float64) / _UNIT
            whole = np.rint(number).astype(np.int64)
            if not value.size or not (number == whole).all() or whole.min() < 1 or whole.max() >= at:
                continue
            place = np.searchsorted(starts, whole.reshape(-1)[0], side="right") - 1
            name, index = names[place], whole - starts[place]
            if index.min() >= 0 and index.max() < numbered[name].numel():
                found[array] = _link(name, index, tuple(numbered[name].shape))
        for name, value in numbered.items():
            value.copy_(saved[name])
    return found


def _link(name: str, index: np.ndarray, shape: tuple[int, ...]) -> Link:
    elements = np.arange(int(np.prod(shape))).reshape(shape)
    if index.size == elements.size and (index.reshape(-1) == elements.reshape(-1)).all() and (
            index.shape == shape or index.size == 1):
        return Link(name)
    if len(shape) == 2 and index.shape == shape[::-1] and (index == elements.T).all():
        return Link(name, transposed=True)
    return Link(name, index)


def _held(found: dict[str, Link], norms: list[Norm], tensors: Mapping[str, torch.Tensor], arrays: Arrays
          ) -> dict[str, Link]:
    """The links by which an array is what the network has, with the scale of a normalisation where it needs one."""
    held = {}
    with torch.no_grad():
        for array, link in found.items():
            wanted = arrays[array].astype(np.float32)
            plain = link.read(tensors).cpu().numpy().astype(np.float32)
            if plain.size == wanted.size and np.array_equal(plain.reshape(wanted.shape), wanted):
                held[array] = link
                continue
            for norm in norms if wanted.ndim > 1 and link.index is None else ():
                channels = tensors[f"{norm.name}.running_var"].numel()
                scaled = replace(link, norm=norm)
                if wanted.shape[norm.axis] == channels and np.allclose(scaled.read(tensors).cpu().numpy(), wanted,
                                                                       rtol=1e-4, atol=1e-7):
                    held[array] = scaled
                    break
    return held
