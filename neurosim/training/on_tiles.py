"""The arrays of a placement as they are read: from a die and its ranges to weights that know how they are read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from neurosim.dies import Dies, Ranges, nominal_planes, nominal_readout
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, MappedNetwork
from neurosim.network import Population
from neurosim.profile import Profile
from neurosim.training.links import Link
from neurosim.training.placing import Part
from neurosim.training.read_weight import Front, ReadWeight, Use
from neurosim.training.reading import OnTiles, Reading
from neurosim.training.rounding import growing


def learnt(found: Mapping[str, Ranges], log_factors: torch.Tensor) -> dict[str, Ranges]:
    """Ranges times their factors; log_factors `[array, 2]`: of inputs and of currents, in the order of `found`."""
    factors = log_factors.detach().double().exp().tolist()
    return {name: Ranges(None if ranges.inputs is None else ranges.inputs * inputs,
                         None if ranges.currents is None else ranges.currents * currents)
            for (name, ranges), (inputs, currents) in zip(found.items(), factors, strict=True)}


def read_arrays(lot: Dies, die: int | None, parts: Mapping[str, Part], log_factors: torch.Tensor
                ) -> dict[str, OnTiles]:
    """How the crossbars of a die (None: of devices as they are meant to be) are read.

    parts: their devices; `lot` has the ranges that are set now.
    """
    mapped, found = lot.mapped, {}
    fixed = mapped.profile.adc is not None and mapped.profile.adc.range == "fixed"
    for number, array in enumerate(arrays_of_tiles(mapped)):
        part, layer = parts[array.name], mapped.network[array.layer]
        dtype = np.dtype(str(part.devices.dtype).removeprefix("torch."))
        planes = nominal_planes(array) if die is None else lot.conductances(die, array.name)
        if die is None:
            seen = nominal_readout(mapped, lot.ranges).effective(0, array, planes)
        else:
            seen = lot.effective(die, array.name)
        damped = None
        if not np.array_equal(seen, planes):
            with np.errstate(divide="ignore", invalid="ignore"):
                damped = np.where(planes > 0, seen / planes, 1)
        if die is None:
            read = nominal_readout(mapped, lot.ranges).read(0, array, planes, None, dtype, seen)
        else:
            read = lot.read_tiles(die, array, dtype, seen)
        of_inputs, of_currents = growing(log_factors[number]).to(part.devices.dtype).unbind()
        recurrent = array.parameter == "recurrent"
        found[array.name] = OnTiles(
            array, read, part.cells, part.devices,
            None if damped is None else torch.as_tensor(damped, dtype=part.devices.dtype, device=part.devices.device),
            # a range that the chip has fixed in amperes goes with what an ampere stands for, the input at full scale
            (of_inputs, of_inputs if fixed else of_currents),
            late=recurrent and isinstance(layer, Population), recurrent=recurrent)
    return found


def read_weights(arrays: Mapping[str, OnTiles], links: Mapping[str, Link], tensors: Mapping[str, torch.Tensor],
                 devices: Mapping[str, torch.Tensor], steps: int, samples: range) -> dict[str, ReadWeight]:
    """What stands in the module in the place of its weights, for one run of so many steps."""
    made = {}
    for name, on in arrays.items():
        link = links[name]
        use = Use(Reading(on, devices[name], steps, samples), len(samples), link.transposed)
        if link.norm is not None:
            use = _normalised(use, link, tensors)
        made[link.tensor] = ReadWeight.of(tensors[link.tensor], use)
    return made


def _normalised(use: Use, link: Link, tensors: Mapping[str, torch.Tensor]) -> Use:
    norm, weight = link.norm, tensors[link.tensor]
    scale = norm.scale(tensors, weight.ndim)
    if norm.axis == 0:
        return Use(use.reading, use.batch, behind=scale.flatten())
    mean = tensors[f"{norm.name}.running_mean"]
    shift = tensors.get(f"{norm.name}.bias", torch.zeros_like(mean))
    scale, mean, shift = (value.reshape(scale.shape).expand(1, *weight.shape[1:]).flatten()
                          for value in (scale, mean, shift))
    return Use(use.reading, use.batch, front=Front(scale, mean, shift, weight.flatten(1) @ (shift - scale * mean)))


def arrays_of_tiles(mapped: MappedNetwork) -> list[DeviceArray]:
    """Those that are read."""
    return [array for array in mapped.arrays if isinstance(array, DeviceArray)]


def refuse_reads(profile: Profile, mapped: MappedNetwork, links: Mapping[str, Link]) -> None:
    """Raise where reads cannot be trained with."""
    noise = profile.crossbar.read_noise if profile.crossbar is not None else None
    if not arrays_of_tiles(mapped):
        raise NeurosimError("there is no crossbar to read", where=f"OnChip, reads, profile {profile.name}",
                            hint="take a profile with a [crossbar], or train without reads")
    if noise is not None and noise.clipped:
        raise NeurosimError("crossbar.read_noise.clipped draws every device for every read", where="OnChip, reads",
                            hint="train with clipped = false, and deploy with it")
    for array in arrays_of_tiles(mapped):
        if links[array.name].index is not None:
            raise NeurosimError(f"the elements of {array.name} are not those of {links[array.name].tensor} in their "
                                "order", where="OnChip, reads", allowed="a weight as the network has it, or transposed",
                                hint="train without reads")
