"""How a die reads its arrays: wires, read noise, drivers and converters, as `network.reads` runs them.

What is drawn here lives as long as the die: gains and offsets of converters, their levels, drivers, broken wires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurosim import engine
from neurosim.devices import spread_factor
from neurosim.devices.converters import capacitors, code_range, pipeline_stages, ramp_levels, steps_of_range
from neurosim.devices.memristor import flicker_memory
from neurosim.devices.wires import effective, segments
from neurosim.dies.ranges import fed_by_spikes
from neurosim.dies.solver import Solver
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, MappedNetwork
from neurosim.network import Population
from neurosim.network.ranges import Ranges
from neurosim.network.reads import Inputs, Read, Sampled
from neurosim.profile import Profile, Wires
from neurosim.streams import DieKey, Effect, ReadKey, normal, uniform


@dataclass(frozen=True, eq=False)
class Readout:
    """How all dies of a lot are read: a profile, a seed, the ranges of each array, and the time between two steps."""

    profile: Profile
    seed: int
    programming: int
    ranges: Mapping[str, Ranges]
    dt: float

    @property
    def wires(self) -> Wires:
        """Those of the profile, or ideal ones."""
        return self.profile.wires or Wires()

    @property
    def plain(self) -> bool:
        """Whether a read is a product with fixed weights: linear wires at most."""
        profile = self.profile
        return (profile.adc is None and (profile.dac is None or profile.dac.bits is None) and not self.solved
                and (profile.crossbar is None or profile.crossbar.read_noise is None))

    @property
    def solved(self) -> bool:
        """Whether currents are no linear function of the inputs: each vector of inputs is a solution of its own."""
        wires = self.wires
        return wires.level == "nonlinear" or (wires.level != "none" and wires.row_off != "grounded")

    def refuse(self, mapped: MappedNetwork) -> None:
        """Raise where the profile asks for what cannot be run, or where ranges are missing."""
        where, wires, network = f"profile {self.profile.name}", self.wires, mapped.network
        arrays = [array for array in mapped.arrays if isinstance(array, DeviceArray)]
        if wires.level == "nonlinear":
            if self.profile.crossbar.iv is None or self.profile.dac is None:
                raise NeurosimError("wires.level is \"nonlinear\"", where=where,
                                    hint="it needs [crossbar.iv], what the devices do, and [dac], the voltage on a row")
            if wires.row_off != "grounded":
                raise NeurosimError(f"wires.row_off is {wires.row_off!r} with wires.level = \"nonlinear\"", where=where,
                                    allowed="\"grounded\"")
        looped = [array.layer for array in arrays
                  if array.parameter == "recurrent" and isinstance(network[array.layer], Population)]
        if self.solved and looped:
            raise NeurosimError("currents that depend on which rows are driven (wires.level, wires.row_off) cannot be "
                                "solved for within the time loop of spiking neurons", where=f"layer {looped[0]}",
                                hint="set wires.row_off to \"grounded\" and wires.level to \"full\"")
        noise = self.profile.crossbar.read_noise if self.profile.crossbar else None
        beside = looped or self.solved or (self.profile.adc and self.profile.adc.noise.value)
        if noise is not None and noise.clipped and beside:
            raise NeurosimError("crossbar.read_noise.clipped draws every device for every read", where=where,
                                hint="it goes with no recurrent spiking neurons, no wires.row_off but grounded, no "
                                     "nonlinear wires, and no adc.noise")
        if noise is not None and noise.slowest is not None and self.profile.adc and self.profile.adc.noise.value:
            raise NeurosimError("adc.noise, which is white, beside crossbar.read_noise.slowest", where=where,
                                hint="leave one of them away")
        for array in arrays:
            if self.profile.adc is not None:
                self.full_scale(array, self.ranges.get(array.name, Ranges()), (1, 1, 1))
            if self._converts_inputs and array.name not in self.ranges and not fed_by_spikes(network, array):
                raise NeurosimError("inputs are converted (dac.bits), and nothing says what the largest one is",
                                    where=f"array {array.name}", hint="give ranges: neurosim.deployment.find_ranges")

    def effective(self, die: int, array: DeviceArray, planes: np.ndarray) -> np.ndarray:
        """Conductances `[plane, *weight]` as the amplifiers see them behind the wires and drivers of this die."""
        gains = self.drivers(die, array)
        out = planes if self.solved else self._behind_wires(die, array, planes)
        return out if gains is None else out * gains.reshape(1, 1, *planes.shape[2:])

    def drivers(self, die: int, array: DeviceArray) -> np.ndarray | None:
        """The gain of each row driver of a die, `[inputs]`; None where all are 1."""
        dac = self.profile.dac
        if dac is None or not (dac.gain.spread or dac.gain.value != 1):
            return None
        return spread_factor(dac.gain, normal(DieKey(self.seed, die, array.index, Effect.DRIVER), array.tiling.inputs))

    def _behind_wires(self, die: int, array: DeviceArray, planes: np.ndarray) -> np.ndarray:
        """Effective conductances with Ohm's law in every device and 0 V on a row without input."""
        if self.wires.level == "none":
            return planes
        flat = planes.reshape(planes.shape[0], planes.shape[1], -1)
        out = np.empty_like(flat)
        for number, tile in enumerate(array.tiling.tiles()):
            g = tile.gather(flat).astype(np.float64)
            row, column = self.segments(die, array, number, g.shape)
            tile.scatter(effective(g, row, column).astype(out.dtype), out)
        return out.reshape(planes.shape)

    def segments(self, die: int, array: DeviceArray, number: int,
                 shape: tuple[int, int]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Segment conductances of the word lines and bit lines of a tile, None where they are ideal."""
        wires = self.wires
        row = np.full(shape, wires.row_resistance.value)
        row[:, 0] += wires.driver_resistance.value
        column = np.full(shape, wires.column_resistance.value)
        column[-1] += wires.sense_resistance.value
        # tiles come one after the other in the numbers of an array, each with as many as a whole tile could need
        size = int(self.profile.crossbar.rows.value) * int(self.profile.crossbar.columns.value)
        for wire, share, place in ((row, wires.open_row.value, 0), (column, wires.open_column.value, 1)):
            if share:
                key = DieKey(self.seed, die, array.index, Effect.OPEN_WIRE)
                u = uniform(key, (2 * number + place + 1) * size)[(2 * number + place) * size:][:wire.size]
                wire[u.reshape(shape) < share] = np.inf
        lines = [segments(wire, shape) if np.any(wire) else None for wire in (row, column)]
        return (None, lines[1]) if wires.level == "column" else (lines[0], lines[1])

    @property
    def unit(self) -> float:
        """Siemens of 1 within the kernels, g_max: squares of siemens come too near to the smallest float32."""
        return self.profile.crossbar.g_max.value

    @property
    def direct(self) -> bool:
        """Whether a read is that of sums of conductances as they stand: with nothing in front of them, none cut off."""
        dac, adc, noise = self.profile.dac, self.profile.adc, self.profile.crossbar.read_noise
        return (self.wires.level == "none" and not self.solved and not (noise is not None and noise.clipped)
                and (dac is None or (not dac.gain.spread and dac.gain.value == 1))
                and (adc is None or adc.converts != "column"))

    def read(self, die: int, array: DeviceArray, planes: np.ndarray, read_sd: np.ndarray | None, dtype: np.dtype,
             seen: np.ndarray | None = None) -> Read:
        """An array of a die as it is read; read_sd: of each device, siemens `[plane, *weight]`.

        Behind wires, the noise of a device is damped as its current is where its row alone is driven: by g_eff / g,
        with Ohm's law and grounded rows. seen: the effective conductances, where they are known already.
        """
        seen = self.effective(die, array, planes) if seen is None else seen
        separate, unit = self._separate, self.unit
        noise = None if read_sd is None else self.profile.crossbar.read_noise
        # the noise of a reference column is one for all outputs that have it: such columns are added up within a read
        apart = bool(array.reference.size) and noise is not None and not noise.clipped and not separate
        shape = (seen.shape[0], array.tiling.outputs, array.tiling.inputs)
        seen = seen.reshape(shape)
        if read_sd is not None:
            read_sd = (read_sd * self._damping(die, array, planes, seen)).reshape(shape)

        def rows(values: np.ndarray, squares: bool) -> np.ndarray:
            if separate or apart:
                return padded((np.square(values / unit) if squares else values / unit).transpose(2, 0, 1), dtype)
            return engine.summed_rows(values, array.coefficients / unit, dtype, squares)

        none = np.empty((0, 0), dtype)
        variance = none if read_sd is None else rows(read_sd, True)
        read = self.read_rows(die, array, rows(seen, False), variance, dtype, apart)
        if noise is not None and noise.clipped:
            sampled = Sampled(seen / unit, read_sd / unit, array.coefficients, separate, array.devices, array.planes)
            read = replace(read, sampled=sampled, tiles=read.tiles._replace(variance=none, floor=none))
        if self.solved:
            inputs = self.ranges.get(array.name, Ranges()).inputs
            solver = Solver(self, die, array, planes, separate or apart, inputs, unit, self.drivers(die, array))
            read = replace(read, currents=solver.currents)
        return read

    def read_rows(self, die: int, array: DeviceArray, rows: np.ndarray, variance: np.ndarray, dtype: np.dtype,
                  apart: bool = False) -> Read:
        """An array of a die as it is read, given `Tiles.rows` and `.variance`; apart: whether each column has its own.
        """
        tiling, ranges, adc = array.tiling, self.ranges.get(array.name, Ranges()), self.profile.adc
        scale, offset = (by_tile(values, array) for values in (array.scale, array.offset))
        scale = scale * self.unit
        worth = array.coefficients[None, :, None] * scale[:, None] if self._separate else scale[:, None]
        floor = np.zeros(worth.shape)
        if adc is not None and adc.noise.value:
            floor += (adc.noise.value * self._per_ampere(ranges) / self.unit) ** 2
        noise = self.profile.crossbar.read_noise if variance.size else None
        noisy = variance.size or floor.any()
        if apart:  # that of the converter is in the first of its columns
            floor = floor * (np.arange(array.coefficients.size) == 0)[:, None] / array.coefficients[0] ** 2
        none = np.empty((0, 0), dtype)
        tiles = engine.Tiles(
            rows=rows, variance=variance, floor=padded(floor, dtype) if noisy else none,
            bounds=np.append(np.arange(0, tiling.inputs, tiling.tile_inputs), tiling.inputs),
            offset=none if offset is None else padded(offset[:, None], dtype),
            combined=np.array(array.coefficients if apart else [], dtype),
            **self._converters(die, array, worth, ranges, dtype))
        dac, inputs = self.profile.dac, None
        if self._converts_inputs and ranges.inputs is not None:
            inputs = Inputs(ranges.inputs, int(dac.bits.value), dac.signed, dac.serial,
                            int(dac.slice_bits.value))
        key = ReadKey(self.seed, die, array.index, Effect.READ, self.programming) if noisy else None
        slow = noise is not None and noise.slowest is not None
        memory = flicker_memory(noise.slowest.value, self.dt) if slow else ()
        shared = _shared_columns(array) if noisy and (self._separate or apart) and array.reference.size else None
        return Read(tiles, key, memory, inputs, converters=0 if adc is None else worth.size, shared=shared)

    def _damping(self, die: int, array: DeviceArray, planes: np.ndarray, seen: np.ndarray) -> np.ndarray | float:
        """What the noise of each device is multiplied by on its way: the gain of its driver, wires."""
        gains = self.drivers(die, array)
        found = 1.0 if gains is None else gains.reshape(1, 1, *planes.shape[2:])
        if self.wires.level == "none":
            return found
        if self.solved:
            seen = self._behind_wires(die, array, planes) * found
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(planes > 0, seen.reshape(planes.shape) / planes, found)

    @property
    def _converts_inputs(self) -> bool:
        return self.profile.dac is not None and self.profile.dac.bits is not None

    @property
    def _separate(self) -> bool:
        """Whether each column has converters of its own."""
        return self.profile.adc is not None and self.profile.adc.converts == "column"

    def _per_ampere(self, ranges: Ranges) -> float:
        """Siemens times input for an ampere: the largest input stands for v_read, and so does a spike."""
        return (1.0 if ranges.inputs is None else ranges.inputs) / self.profile.dac.v_read.value

    def _converters(self, die: int, array: DeviceArray, worth: np.ndarray, ranges: Ranges,
                    dtype: np.dtype) -> dict[str, np.ndarray]:
        """What `engine.Tiles` says of converters; worth `[tiles, columns of an output, outputs]` of a siemens."""
        adc, shape = self.profile.adc, worth.shape
        if adc is None:
            none = np.zeros((shape[0], 0), dtype)
            return {"worth": padded(worth, dtype), "gain": none, "shift": none,
                    "table": np.empty((shape[0], 0, 0), dtype), "codes": np.zeros(3, np.int64), "half": dtype.type(0)}
        full = self.full_scale(array, ranges, shape) / self.profile.crossbar.g_max.value
        steps, (low, high) = steps_of_range(adc), code_range(adc)

        def draw(effect: Effect, rows: int = 1) -> np.ndarray:
            key = DieKey(self.seed, die, array.index, effect)
            z = normal(key, rows * worth.size).reshape(rows, *shape).astype(np.float64)
            if shape[1] > 1:  # a reference column has one converter, whoever subtracts it
                z[:, :, len(array.own):] = z[:, :, len(array.own):, first_of_tile(array)]
            return z

        gain = steps / full * spread_factor(adc.gain, draw(Effect.ADC_GAIN)[0])
        shift = adc.offset.value + adc.offset.spread * draw(Effect.ADC_OFFSET)[0]
        bits, table = int(adc.bits.value), np.empty((0, *shape))
        if adc.kind == "sar":
            table = capacitors(bits, adc.capacitor.value, draw(Effect.ADC_LEVELS, bits + 1))
        elif adc.kind == "pipeline":
            table = pipeline_stages(adc, draw(Effect.ADC_LEVELS, 4 * (bits - 1)))
        elif adc.kind == "ramp":  # one ramp for each tile
            z = normal(DieKey(self.seed, die, array.index, Effect.ADC_LEVELS), array.tiles << bits).astype(np.float64)
            levels = ramp_levels(bits, adc.step.value, z.reshape(1 << bits, array.tiling.tiles_out, -1))
            outputs = np.repeat(levels, array.tiling.tile_outputs, axis=1)[:, :shape[2]].transpose(0, 2, 1)
            table = np.broadcast_to(outputs[:, :, None], (levels.shape[0], *shape))
        return {"worth": padded(worth * full / steps, dtype), "gain": padded(gain, dtype),
                "shift": padded(shift, dtype),
                "table": np.ascontiguousarray(padded_table(table, dtype)),
                "codes": np.array([engine.CONVERTERS[adc.kind], low, high]),
                "half": dtype.type(0.5 if adc.rounding == "nearest" else 0)}

    def full_scale(self, array: DeviceArray, ranges: Ranges, shape: tuple[int, ...]) -> np.ndarray:
        """The range of each converter in siemens times input, `[tiles, columns of an output, outputs]`."""
        adc = self.profile.adc
        if adc.range == "fixed":
            if adc.full_scale is None:
                raise NeurosimError("adc.range is \"fixed\", and there is no adc.full_scale",
                                    where=f"profile {self.profile.name}")
            return np.full(shape, adc.full_scale.value * self._per_ampere(ranges))
        if ranges.currents is None:
            raise NeurosimError(f"the range of the converters comes from data (adc.range = {adc.range!r})",
                                where=f"array {array.name}", hint="give ranges: neurosim.deployment.find_ranges")
        return ranges.currents if shape == (1, 1, 1) else np.broadcast_to(ranges.currents, shape)


def by_tile(values: np.ndarray | None, array: DeviceArray) -> np.ndarray | None:
    """What all inputs of a tile share, `[tiles, outputs]`, from values that broadcast to the weight."""
    if values is None:
        return None
    flat = np.asarray(values, np.float64).reshape(values.shape[0], -1)
    starts = np.arange(0, array.tiling.inputs, array.tiling.tile_inputs)
    return flat[:, np.minimum(starts, flat.shape[1] - 1)].T


def first_of_tile(array: DeviceArray) -> np.ndarray:
    """The first of the outputs that lie on the tile of each, int64 `[outputs]`."""
    return np.arange(array.tiling.outputs) // array.tiling.tile_outputs * array.tiling.tile_outputs


def _shared_columns(array: DeviceArray) -> np.ndarray:
    """The column whose noise each has, over tiles of inputs, columns of an output and padded outputs: its own, but for
    reference columns that of the first output of their tile."""
    outputs, own = array.tiling.outputs, len(array.own)
    width = outputs + -outputs % engine.LANES
    found = np.arange(array.tiling.tiles_in * array.coefficients.size * width).reshape(
        array.tiling.tiles_in, array.coefficients.size, width)
    found[:, own:, :outputs] = found[:, own:, first_of_tile(array)]
    return found.reshape(-1)


def padded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`[n, columns of an output, outputs]` as `[n, columns * w]`, outputs padded with zeros to whole vectors."""
    width = values.shape[2] + -values.shape[2] % engine.LANES
    out = engine.aligned((values.shape[0], values.shape[1], width), dtype)
    out[:, :, :values.shape[2]] = values
    out[:, :, values.shape[2]:] = 0
    return out.reshape(values.shape[0], values.shape[1] * width)


def padded_table(table: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`[k, tiles, columns of an output, outputs]` as `[tiles, k, columns * w]`."""
    flat = padded(table.transpose(1, 0, 2, 3).reshape(-1, *table.shape[2:]), dtype)
    return flat.reshape(table.shape[1], table.shape[0], flat.shape[1])
