"""The dies of a mapping: what each device of each die is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.devices import decay_with_factor, drift_exponent, drifted, evaluate, programmed, spread_factor
from neurosim.dies.circuit import CircuitDie
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, MappedNetwork, SpreadArray
from neurosim.streams import DieKey, Effect, ProgramKey, normal


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
        Seconds after programming at which the conductances are read; None is the profile's t0, before any drift.

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

    def __post_init__(self) -> None:
        ProgramKey(self.seed, 0, 0, Effect.PROGRAMMING, self.programming)  # refuses what is out of range, now
        if self.time is None:
            return
        crossbar = self.mapped.profile.crossbar
        if crossbar is None or crossbar.drift is None:
            raise NeurosimError(f"time is {self.time:g} s, but this chip type does not drift",
                                where=f"profile {self.mapped.profile.name}", hint="leave time away")
        t0 = crossbar.drift.t0.value
        if not t0 <= self.time <= 1e10:
            raise NeurosimError(f"time is {self.time:g} s", where=f"profile {self.mapped.profile.name}",
                                allowed=f"{t0:g} (crossbar.drift.t0) to 1e10 s")

    def parameters(self, die: int) -> dict[str, dict[str, np.ndarray]]:
        """One die as the network sees it: `{layer: {parameter: float32 array}}` of all that differs from it."""
        if self.mapped.configuration is not None:
            return CircuitDie(self.mapped, self.seed, die).parameters()
        found: dict[str, dict[str, np.ndarray]] = {}
        for array in self.mapped.arrays:
            if isinstance(array, DeviceArray):
                value = array.weight(array.planes(self._devices(die, array)))
            elif array.spread is not None:
                factor = spread_factor(array.spread, self._normal(die, array, Effect.MISMATCH))
                value = decay_with_factor(array.nominal, factor) if array.role.startswith("tau") else (
                    array.nominal * factor)
            elif array.error:
                value = array.nominal
            else:
                continue
            found.setdefault(array.layer, {})[array.parameter] = value
        return found

    def conductances(self, die: int, name: str) -> np.ndarray:
        """The devices of every weight of an array `layer/parameter`, siemens, float32 `[plane, *weight]`.

        `MappedNetwork.arrays` holds the array, which says what the planes are worth.
        """
        found = {a.name: a for a in self.mapped.arrays if isinstance(a, DeviceArray)}
        if name not in found:
            raise NeurosimError(f"no array of conductances {name!r}", where="dies", allowed=", ".join(found) or "none")
        return found[name].planes(self._devices(die, found[name]))

    def _normal(self, die: int, array: SpreadArray, effect: Effect) -> np.ndarray:
        return normal(DieKey(self.seed, die, array.index, effect), array.nominal.size).reshape(array.nominal.shape)

    def _devices(self, die: int, array: DeviceArray) -> np.ndarray:
        """Conductances of all devices of an array, in the order of its `targets`."""
        crossbar = self.mapped.profile.crossbar
        g = array.targets
        if array.spread is not None:
            g = g * spread_factor(array.spread, normal(DieKey(self.seed, die, array.index, Effect.MISMATCH), g.size))
        target = g
        if crossbar.programming is not None:
            sigma = evaluate(crossbar.programming.sigma, target)
            g = programmed(target, sigma, self._program(die, array, Effect.PROGRAMMING, g.size))
        if self.time is not None and self.time > crossbar.drift.t0.value:
            drift = crossbar.drift
            nu = drift_exponent(evaluate(drift.exponent_mean, target), evaluate(drift.exponent_sd, target),
                                self._program(die, array, Effect.DRIFT, g.size))
            g = drifted(g, nu, self.time, drift.t0.value)
        return g

    def _program(self, die: int, array: DeviceArray, effect: Effect, size: int) -> np.ndarray:
        return normal(ProgramKey(self.seed, die, array.index, effect, self.programming), size)
