"""The dies of a mapping: what each device of each die is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from neurosim.devices import decay_with_factor, spread_factor
from neurosim.dies.circuit import CircuitDie
from neurosim.dies.memristors import Devices, Programmed, Targets, refuse_time
from neurosim.dies.reads import Readout
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, MappedNetwork, Part, SpreadArray
from neurosim.mapping.parts import BIASES, Place, cut, devices_at, replaced
from neurosim.network.ranges import Ranges
from neurosim.network.reads import Read
from neurosim.streams import DieKey, Effect, ProgramKey, ReadKey, normal


@dataclass(frozen=True)
class Dies:
    """All dies of a production lot, made when asked for.

    Parameters
    ----------
    mapped:
        The network on its chip type.
    seed:
        The lot, 0 to 2^64 - 1. Die k of a seed is the same wherever and with whatever other dies it is made.
    programming:
        Which programming of the dies: another number draws other write noise and drift, on the same devices.
    time:
        Seconds after programming at which the conductances are read; None is as programmed, before they age.
    ranges:
        What the converters of each array are set to, by `layer/parameter`; see `find_ranges`. Without, an input of 1
        stands for the full voltage of a row.
    remap:
        Whether a weight's other devices are programmed so as to make up for a stuck one.
    nominal:
        Parts of the chip whose devices are all as they are meant to be, aged as the average device ages, in the place
        of those that this die has: to see what a part does to a die.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.9)], (2,), dt=1e-3)
    >>> dies = ns.Dies(ns.map_network(net, ns.load_profile("mismatch")), seed=7)
    >>> dies.parameters(417)["linear"]["weight"].diagonal().round(3)
    array([1.027, 0.708], dtype=float32)
    """

    mapped: MappedNetwork
    seed: int
    programming: int = 0
    time: float | None = None
    ranges: Mapping[str, Ranges] = field(default_factory=dict)
    remap: bool = False
    nominal: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        ProgramKey(self.seed, 0, 0, Effect.PROGRAMMING, self.programming)  # refuses what is out of range, now
        refuse_time(self.mapped.profile.crossbar, self.time, f"profile {self.mapped.profile.name}")
        self._readout.refuse(self.mapped)

    def parameters(self, die: int) -> dict[str, dict[str, np.ndarray]]:
        """One die as the network sees it: `{layer: {parameter: float32 array}}` of all that differs from it.

        Weights on a crossbar are those that its amplifiers see, before any noise or converter.
        """
        return self._parameters(die, crossbars=True)

    def direct(self, die: int) -> dict[str, dict[str, np.ndarray]]:
        """The same without weights on crossbars: parameters that stand for themselves."""
        return self._parameters(die, crossbars=False)

    def reads(self, die: int, dtype: np.dtype = np.float32) -> dict[str, Read]:
        """How the crossbar tiles of one die are read, by `layer/parameter`; empty where fixed weights say it all."""
        if self._readout.plain:
            return {}
        return {array.name: self.read_tiles(die, array, dtype) for array in self.mapped.arrays
                if isinstance(array, DeviceArray)}

    def effective(self, die: int, name: str) -> np.ndarray:
        """Conductances of an array as its amplifiers see them, behind wires and drivers, siemens `[plane, *weight]`."""
        return self._readout.effective(die, self._array(name), self.conductances(die, name))

    def read_tiles(self, die: int, array: DeviceArray, dtype: np.dtype = np.float32,
                   seen: np.ndarray | None = None) -> Read:
        """How one array of a die is read, converters or not; seen: what `effective` gives, where it is known."""
        if self._readout.direct and not self._places(array.layer, array.parameter):
            found = self._programmed.rows(die, array, self._targets[array.name], self._readout.unit, np.dtype(dtype))
            if found is not None:
                return self._readout.read_rows(die, array, *found, np.dtype(dtype))
        devices = self._devices(die, array)
        noisy = self._programmed.crossbar.read_noise is not None
        noise = array.planes(self._programmed.read_sd(devices)) if noisy else None
        return self._readout.read(die, array, array.planes(devices.conductance), noise, np.dtype(dtype), seen)

    def as_run(self, die: int,
               dtype: np.dtype = np.float32) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Read]]:
        """What `network.forward` takes of one die: parameters, and how weights on crossbars are read.

        >>> import numpy as np, neurosim as ns
        >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.9)], (2,), dt=1e-3)
        >>> parameters, reads = ns.Dies(ns.map_network(net, ns.load_profile("mismatch")), seed=7).as_run(417)
        >>> list(parameters), list(reads)
        (['linear'], [])
        """
        return self.parameters(die) if self._readout.plain else self.direct(die), self.reads(die, dtype)

    @cached_property
    def _readout(self) -> Readout:
        return Readout(self.mapped.profile, self.seed, self.programming, self.ranges, self.mapped.network.dt)

    def _parameters(self, die: int, crossbars: bool) -> dict[str, dict[str, np.ndarray]]:
        if self.mapped.configuration is not None:
            return self._circuit(die)
        found: dict[str, dict[str, np.ndarray]] = {}
        for array in self.mapped.arrays:
            if isinstance(array, DeviceArray):
                if not crossbars:
                    continue
                planes = array.planes(self._devices(die, array).conductance)
                value = array.weight(self._readout.effective(die, array, planes))
            elif array.spread is not None:
                factor = spread_factor(array.spread, self._normal(die, array, Effect.MISMATCH))
                for place in self._places(array.layer, array.parameter):
                    factor = replaced(factor, place, array.spread.value)
                if array.role.startswith("tau"):
                    value = decay_with_factor(array.nominal, factor)
                else:
                    value = np.multiply(array.nominal, factor, out=factor)
            elif array.error:
                value = array.nominal
            else:
                continue
            found.setdefault(array.layer, {})[array.parameter] = value
        return found

    def _circuit(self, die: int) -> dict[str, dict[str, np.ndarray]]:
        found = CircuitDie(self.mapped, self.seed, die).parameters()
        if self.nominal:
            meant = CircuitDie(self.mapped, self.seed, None).parameters()
            weights = {array.name for array in self.mapped.arrays}
            neurons = {name: len(place) for name, place in self.mapped.configuration.places.items()}
            for layer, fields in found.items():
                for name, values in fields.items():
                    for place in self._places(layer, name if f"{layer}/{name}" in weights else BIASES):
                        values = np.broadcast_to(values, (neurons[layer], *values.shape[1:]))
                        other = np.broadcast_to(meant[layer][name], values.shape)
                        values = fields[name] = replaced(values, place, cut(other, place))
        return found

    def _places(self, layer: str, parameter: str) -> list[Place]:
        return [place for part in self.nominal for place in part.places if place[:2] == (layer, parameter)]

    def conductances(self, die: int, name: str) -> np.ndarray:
        """The devices of every weight of an array `layer/parameter`, siemens, float32 `[plane, *weight]`.

        `MappedNetwork.arrays` holds the array, which says what the planes are worth.
        """
        array = self._array(name)
        return array.planes(self._devices(die, array).conductance)

    def read_noise(self, die: int, name: str) -> np.ndarray:
        """Standard deviation of one read of every device of an array, siemens, float32 `[plane, *weight]`."""
        array = self._array(name)
        return array.planes(self._programmed.read_sd(self._devices(die, array)))

    def read(self, die: int, name: str, sample: int = 0, time: int = 0) -> np.ndarray:
        """Conductances as one read finds them, with read noise, siemens, float32 `[plane, *weight]`.

        Each (sample, time) is another read of the same devices. A read may find less than nothing: current noise.
        """
        array = self._array(name)
        devices = self._devices(die, array)
        z = normal(ReadKey(self.seed, die, array.index, Effect.READ, self.programming, sample, time), array.devices)
        return array.planes(devices.conductance + self._programmed.read_sd(devices) * z)

    def pulses(self, die: int, name: str) -> np.ndarray:
        """Pulses that each device took to be written and verified, int32 `[plane, *weight]`."""
        array = self._array(name)
        found = self._devices(die, array).pulses
        if found is None:
            raise NeurosimError("this chip type writes each device once", where=f"profile {self.mapped.profile.name}",
                                hint="a section [crossbar.verify] makes it write and verify")
        return array.planes(found)

    def _array(self, name: str) -> DeviceArray:
        found = {a.name: a for a in self.mapped.arrays if isinstance(a, DeviceArray)}
        if name not in found:
            raise NeurosimError(f"no array of conductances {name!r}", where="dies", allowed=", ".join(found) or "none")
        return found[name]

    def _normal(self, die: int, array: SpreadArray, effect: Effect) -> np.ndarray:
        return normal(DieKey(self.seed, die, array.index, effect), array.nominal.size).reshape(array.nominal.shape)

    @cached_property
    def _programmed(self) -> Programmed:
        return Programmed(self.mapped.profile.crossbar, self.seed, self.programming, self.time)

    @cached_property
    def _targets(self) -> dict[str, Targets]:
        """What all dies have in common, once."""
        return {array.name: self._programmed.targets(array.targets) for array in self.mapped.arrays
                if isinstance(array, DeviceArray)}

    def _devices(self, die: int, array: DeviceArray) -> Devices:
        nominal = self._targets[array.name]
        if self.remap and self._programmed.crossbar.stuck is not None:
            nominal = self._programmed.targets(self._programmed.around_stuck(die, array))
        found = self._programmed.devices(die, array, nominal)
        for place in self._places(array.layer, array.parameter):
            here, meant = devices_at(array, place), self._targets[array.name]
            found = replace(found, target=np.where(here, meant.target, found.target), relative=None,
                            conductance=np.where(here, self._programmed.typical(meant), found.conductance))
        return found
