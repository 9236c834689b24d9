"""The memristors of one array of one die: from targets to conductances at a time, and their read noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurosim.devices import (
    drift_exponent,
    drifted,
    evaluate,
    flicker_growth,
    programmed,
    relaxation_at,
    relaxed,
    retention_tables,
    spread_factor,
    stuck,
    write_verify,
)
from neurosim.dies.sampler import Writing, sample, sample_rows
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray
from neurosim.profile import Crossbar, Curve
from neurosim.streams import DieKey, Effect, ProgramKey, PulseKey, normal, uniform


@dataclass(frozen=True, eq=False)
class Targets:
    """What a profile says of devices whose mean is `target`; float32 `[devices]`, None where it says nothing.

    meant: what is written; target differs from it where a retention table moves the mean. sigma: of what is written,
    at the time of reading where such a table holds. relative: read noise over conductance, before it grows with time.
    """

    meant: np.ndarray
    target: np.ndarray
    sigma: np.ndarray | None
    exponent_mean: np.ndarray | None
    exponent_sd: np.ndarray | None
    relative: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Devices:
    """The devices of an array of a die, float32 `[devices]` in the order of `DeviceArray.targets`.

    conductance: siemens, at the time of reading. target: what they were meant to be; where it is stuck
    for a stuck cell. pulses: how many each took, int32; None without write and verify. relative: as in `Targets`, None
    where some are stuck.
    """

    conductance: np.ndarray
    target: np.ndarray
    pulses: np.ndarray | None
    relative: np.ndarray | None


@dataclass(frozen=True)
class Programmed:
    """A lot, its programming, and the time at which it is read; `time` None is as programmed, before any ageing."""

    crossbar: Crossbar
    seed: int
    programming: int
    time: float | None

    def targets(self, target: np.ndarray) -> Targets:
        """The statistics of devices meant to be at `target`: the same for all dies whose devices do not spread."""
        crossbar, drift, meant = self.crossbar, self.crossbar.drift, target

        def at(curve: Curve) -> np.ndarray:
            return np.asarray(evaluate(curve, target), np.float32)

        sigma = at(crossbar.programming.sigma) if crossbar.programming else None
        if self.time is not None and crossbar.retention is not None:
            tables = [crossbar.programming, *crossbar.retention.tables]
            sigma = sum(np.float32(share) * np.maximum(at(tables[index].sigma), 0)
                        for index, share in retention_tables(crossbar.retention, self.time))
            moved = sum(share * evaluate(tables[index].mean, np.asarray(target, np.float64))
                        for index, share in retention_tables(crossbar.retention, self.time)
                        if index and tables[index].mean is not None)
            target = np.maximum(target + moved, 0).astype(np.float32)
        ages = drift is not None and self.time is not None and self.time > drift.t0.value
        mean, sd = (at(drift.exponent_mean), at(drift.exponent_sd)) if ages else (None, None)
        noise = crossbar.read_noise
        relative = np.maximum(at(noise.relative), 0) if noise is not None and noise.relative is not None else None
        return Targets(meant, target, sigma, mean, sd, relative)

    def devices(self, die: int, array: DeviceArray, nominal: Targets) -> Devices:
        """One die's devices; `nominal` is `targets(array.targets)`."""
        crossbar, size = self.crossbar, nominal.target.size
        if array.spread is not None:
            factor = spread_factor(array.spread, normal(DieKey(self.seed, die, array.index, Effect.MISMATCH), size))
            nominal = self.targets(np.maximum(nominal.meant * factor, 0))
        if self._at_once:
            g, pulses = sample(*self._keys(die, array.index), self._writing(nominal)), None
        else:
            g, pulses = self._written(die, array.index, nominal)
            if nominal.exponent_mean is not None:
                z = self._draw(die, array.index, Effect.DRIFT, size)
                nu = drift_exponent(nominal.exponent_mean, nominal.exponent_sd, z)
                g = drifted(g, nu, self.time, crossbar.drift.t0.value)
        if crossbar.relaxation is not None and self.time is not None:
            line = crossbar.relaxation
            mean, sd = (relaxation_at(values, self.time, line.t0.value) for values in (line.mean, line.sd))
            g = relaxed(g, mean, sd, self._draw(die, array.index, Effect.RELAXATION, size))
        if crossbar.stuck is not None:
            u = uniform(DieKey(self.seed, die, array.index, Effect.STUCK), size)
            low, high = crossbar.g_min.value, crossbar.g_max.value
            g = stuck(g, u, crossbar.stuck, low, high)
            nominal = replace(nominal, target=stuck(nominal.target, u, crossbar.stuck, low, high))
            nominal = replace(nominal, relative=None)
        return Devices(g, nominal.target, pulses, nominal.relative)

    def typical(self, nominal: Targets) -> np.ndarray:
        """Conductances of devices that are written as meant and age as the average one does, float32 `[devices]`."""
        g, none = nominal.target, np.zeros(1, np.float32)
        if nominal.exponent_mean is not None:
            g = drifted(g, drift_exponent(nominal.exponent_mean, nominal.exponent_sd, none), self.time,
                        self.crossbar.drift.t0.value)
        if self.crossbar.relaxation is not None and self.time is not None:
            line = self.crossbar.relaxation
            g = relaxed(g, relaxation_at(line.mean, self.time, line.t0.value), 0.0, none)
        return g

    def around_stuck(self, die: int, array: DeviceArray) -> np.ndarray:
        """Targets that make up for stuck devices with the other devices of the same weight, as far as they reach.

        What a stuck device adds to ``sum_k c_k g_k``, or lacks, is taken by the others in their order; on levels, where
        each takes what is nearest, by the most significant first.
        """
        crossbar, size = self.crossbar, array.devices
        low, high = np.float32(crossbar.g_min.value), np.float32(crossbar.g_max.value)
        target = array.targets
        u = uniform(DieKey(self.seed, die, array.index, Effect.STUCK), size)
        fixed = stuck(target, u, crossbar.stuck, low, high)
        cells = crossbar.stuck
        free = u >= cells.on.value + cells.off.value + cells.unformed.value
        own = array.own.size
        planes, held = target[:own].reshape(len(array.own), -1).copy(), fixed[:own].reshape(len(array.own), -1)
        open_, coefficients = free[:own].reshape(held.shape), array.coefficients[:len(array.own)]
        excess = (coefficients[:, None] * np.where(open_, 0, held - planes)).sum(axis=0)
        step = None if crossbar.levels is None else (high - low) / (crossbar.levels.value - 1)
        order = range(len(coefficients)) if step is None else np.argsort(-np.abs(coefficients), kind="stable")
        for k in order:
            coefficient = coefficients[k]
            moved = np.clip(planes[k] - excess / coefficient, low, high)
            if step is not None:
                moved = low + np.rint((moved - low) / step) * step
            moved = np.where(open_[k], moved, planes[k])
            excess = excess + coefficient * (moved - planes[k])
            planes[k] = moved
        return np.concatenate([planes.reshape(-1).astype(np.float32), target[own:]])

    def read_sd(self, devices: Devices) -> np.ndarray:
        """Standard deviation of one read of each device, in siemens, float32 `[devices]`."""
        noise = self.crossbar.read_noise
        if noise is None:
            return np.zeros_like(devices.conductance)
        if noise.sd is not None:
            sd = np.maximum(evaluate(noise.sd, devices.conductance), 0)
        else:
            relative = devices.relative
            if relative is None:
                relative = np.maximum(evaluate(noise.relative, devices.target), 0)
            sd = relative * devices.conductance
        return np.asarray(sd * np.float32(self._growth), np.float32)

    def rows(self, die: int, array: DeviceArray, nominal: Targets, unit: float,
             dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
        """Sums over the planes of one die in units of `unit`, and the variance of a read: `Tiles.rows` and `.variance`.

        What `devices`, `read_sd` and `engine.summed_rows` give, in one pass; None where only those can.
        """
        crossbar, noise = self.crossbar, self.crossbar.read_noise
        if (not self._at_once or array.spread is not None or array.reference.size or crossbar.stuck is not None
                or (crossbar.relaxation is not None and self.time is not None)
                or (noise is not None and noise.relative is None)):
            return None
        shape = (len(array.own), array.tiling.outputs, array.tiling.inputs)
        return sample_rows(*self._keys(die, array.index), self._writing(nominal), nominal.relative, self._growth,
                           array.coefficients / unit, shape, dtype)

    @property
    def _growth(self) -> float:
        """Of the read noise, until the time of reading."""
        noise = self.crossbar.read_noise
        if noise is None or noise.t_read is None:
            return 1.0
        return flicker_growth(self.crossbar.t0 if self.time is None else self.time, noise.t_read.value)

    @property
    def _at_once(self) -> bool:
        """Whether devices are written and age in one pass: the usual case."""
        written = self.crossbar.programming
        return written is not None and self.crossbar.verify is None and written.distribution == "normal"

    def _writing(self, nominal: Targets) -> Writing:
        ages = nominal.exponent_mean is not None
        return Writing(nominal.target, nominal.sigma, nominal.exponent_mean, nominal.exponent_sd,
                       np.log(self.time / self.crossbar.drift.t0.value) if ages else 0.0)

    def _keys(self, die: int, index: int) -> tuple[ProgramKey, ProgramKey]:
        write, drift = (ProgramKey(self.seed, die, index, effect, self.programming)
                        for effect in (Effect.PROGRAMMING, Effect.DRIFT))
        return write, drift

    def _written(self, die: int, index: int, nominal: Targets) -> tuple[np.ndarray, np.ndarray | None]:
        programming, verify, size = self.crossbar.programming, self.crossbar.verify, nominal.target.size
        if programming is None:
            return nominal.target, None
        if verify is None:
            z = self._draw(die, index, Effect.PROGRAMMING, size)
            return programmed(nominal.target, nominal.sigma, z, programming.distribution), None

        def draw(pulse: int) -> tuple[np.ndarray, np.ndarray]:
            z, v = (normal(PulseKey(self.seed, die, index, effect, self.programming, pulse), size)
                    for effect in (Effect.PULSE, Effect.VERIFY))
            return z, v

        return write_verify(nominal.target, nominal.sigma, evaluate(verify.acceptance, nominal.target),
                            evaluate(verify.read_sd, nominal.target), int(verify.pulses.value), draw,
                            programming.distribution)

    def _draw(self, die: int, index: int, effect: Effect, size: int) -> np.ndarray:
        return normal(ProgramKey(self.seed, die, index, effect, self.programming), size)


def refuse_time(crossbar: Crossbar | None, time: float | None, where: str) -> None:
    """Raise where a chip type says nothing about its devices at a time."""
    if time is None:
        return
    if crossbar is None or crossbar.t0 is None:
        raise NeurosimError(f"time is {time:g} s, but this chip type does not drift", where=where,
                            hint="leave time away")
    if crossbar.retention is not None:
        times = crossbar.retention.times
        if crossbar.retention.between == "refused" and time not in times:
            raise NeurosimError(f"time is {time:g} s, but this chip type was measured at other times", where=where,
                                allowed=", ".join(f"{t:g}" for t in times) + " s (crossbar.retention)")
        if not times[0] <= time <= times[-1]:
            raise NeurosimError(f"time is {time:g} s", where=where,
                                allowed=f"{times[0]:g} to {times[-1]:g} s (crossbar.retention)")
    elif not crossbar.t0 <= time <= 1e10:
        section = "drift" if crossbar.drift is not None and crossbar.drift.t0.value == crossbar.t0 else "relaxation"
        raise NeurosimError(f"time is {time:g} s", where=where,
                            allowed=f"{crossbar.t0:g} (crossbar.{section}.t0) to 1e10 s")
