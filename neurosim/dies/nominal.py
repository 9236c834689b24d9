"""A mapping as it is meant to be read: nominal devices, whole wires, converters that are all alike, no noise.

Levels, wires and bits belong to the design and stay; what differs from die to die, or from read to read, is at its
mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurosim.dies.reads import Readout
from neurosim.mapping import DeviceArray, MappedNetwork
from neurosim.network.ranges import Ranges
from neurosim.profile import Profile, Quantity
from neurosim.profile.quantity import Entry


def as_meant(profile: Profile) -> Profile:
    """The chip type with the means of its drivers, wires and converters, and without read noise.

    >>> from neurosim.profile import load_profile
    >>> chip = load_profile("pcm_hermes").with_values({"adc.bits": 6, "adc.offset": {"value": 0.5, "sd": 2.0}})
    >>> as_meant(chip).adc.offset.spread
    0.0
    """
    crossbar = profile.crossbar.model_copy(update={"read_noise": None})
    wires = _without(profile.wires, open_row=0.0, open_column=0.0)
    adc = _without(profile.adc, noise=0.0, capacitor=0.0, step=0.0, stage_gain=0.0, stage_reference=0.0, comparator=0.0)
    return profile.model_copy(update={"crossbar": crossbar, "wires": wires, "dac": _without(profile.dac), "adc": adc})


def nominal_readout(mapped: MappedNetwork, ranges: Mapping[str, Ranges]) -> Readout:
    """How the nominal die is read."""
    return Readout(as_meant(mapped.profile), 0, 0, ranges, mapped.network.dt)


def nominal_planes(array: DeviceArray) -> np.ndarray:
    """Conductances that devices are meant to have, times the mean of their mismatch, siemens `[plane, *weight]`."""
    mean = 1.0 if array.spread is None else array.spread.value
    return array.planes(array.targets * np.float32(mean))


def _without(entry: Entry | None, **values: float) -> Entry | None:
    """An entry whose quantities do not spread, some of them with another value."""
    if entry is None:
        return None
    quantities = {name: value for name, value in entry if isinstance(value, Quantity)}
    changed = {name: Quantity(value=values.get(name, value.value), source=value.source)
               for name, value in quantities.items() if value.spread or name in values}
    return entry.model_copy(update=changed)
