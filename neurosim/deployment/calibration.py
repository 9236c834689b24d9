"""Calibration of a die after it was programmed: named steps, each of which can be left away and is measured.

A step looks at a die only as its user could: by reading it, with its read noise and its converters. The vectors that
are put on the rows are some that reach an array in the network itself.

gdc         one factor for each array: what its outputs summed up to at programming, over what they sum up to now
            (global drift compensation; Joshi et al., Nat. Commun. 11, 2473 (2020))
gdc_column  one such factor for each output
adc         the range of the converters found again with the currents of this die; that of inputs stays the design's
scale       one factor for each output, by least squares against what the network itself gives
batchnorm   mean and variance of every batch normalisation, from samples that run through this die
remap       programmed again: what a stuck device spoils is taken by the other devices of its weight
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurosim.dies import Dies, Ranges
from neurosim.dies.ranges import array_inputs, ranges_of
from neurosim.engine import LANES
from neurosim.errors import NeurosimError, did_you_mean
from neurosim.mapping import DeviceArray
from neurosim.network import BatchNorm
from neurosim.network.forward import run
from neurosim.network.reads import Read, Saturation, read_vectors
from neurosim.streams import Effect, ReadKey

STEPS = ("gdc", "gdc_column", "adc", "scale", "batchnorm", "remap")
_VECTORS = 256
Parameters = dict[str, dict[str, np.ndarray]]
Die = tuple[Parameters, dict[str, Read]]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Steps, in the order in which they are taken, and what they look with.

    vectors: for every array the vectors of inputs `[vectors, inputs]`; samples `[time, batch, *input_shape]`.
    """

    steps: tuple[str, ...]
    vectors: Mapping[str, np.ndarray]
    samples: np.ndarray

    def stages(self) -> list[Calibration]:
        """The same with none of the steps, with the first, with the first two, and so on."""
        return [replace(self, steps=self.steps[:count]) for count in range(len(self.steps) + 1)]

    def die(self, dies: Dies, number: int, dtype: np.dtype) -> Die:
        """A die as `network.forward` takes it, after these steps: each sees what those before it did."""
        arrays, design = _arrays(dies), dies.ranges
        factors = {array.name: np.ones(array.tiling.outputs) for array in arrays}
        norms: dict[str, dict[str, np.ndarray]] = {}
        for moment, step in enumerate(self.steps, 1):
            if step == "remap":
                dies = replace(dies, remap=True)
            elif step == "adc":
                dies = replace(dies, ranges={array.name: self._ranges(dies, number, array) for array in arrays})
            elif step == "batchnorm":
                norms = self._batchnorm(dies, *_made(dies, number, dtype, factors, norms))
            else:
                for array in arrays:
                    now = self._outputs(dies, number, array, moment) * factors[array.name]
                    if step == "scale":
                        factors[array.name] *= self._least_squares(array, now)
                    else:  # what was read when it was programmed, with the converters as they were then
                        before = self._outputs(replace(dies, time=None, ranges=design), number, array, 0)
                        factors[array.name] *= _ratio(before, now, together=step == "gdc")
        return _made(dies, number, dtype, factors, norms)

    def _ranges(self, dies: Dies, number: int, array: DeviceArray) -> Ranges:
        profile = dies.mapped.profile
        tiles = dies.read_tiles(number, array).tiles
        rows = tiles.rows.reshape(tiles.rows.shape[0], -1, _width(array))[:, :, :array.tiling.outputs]
        if tiles.combined.size:
            rows = np.einsum("k,iko->io", tiles.combined, rows)[:, None]
        rows = rows * profile.crossbar.g_max.value
        full = dies.ranges[array.name].inputs if array.name in dies.ranges else None
        return ranges_of(array, self.vectors[array.name], rows, profile.adc, profile.dac, full)

    def _least_squares(self, array: DeviceArray, now: np.ndarray) -> np.ndarray:
        wanted = self.vectors[array.name] @ array.nominal.reshape(array.tiling.outputs, -1).T
        power = np.square(now).sum(axis=0)
        return np.where(power > 0, (wanted * now).sum(axis=0) / np.where(power > 0, power, 1), 1)

    def _outputs(self, dies: Dies, number: int, array: DeviceArray, moment: int) -> np.ndarray:
        """What an array gives for the vectors, `[vectors, outputs]`; moment 0: at programming, k: in step k."""
        read = dies.read_tiles(number, array)
        if read.noise is not None:
            key = ReadKey(dies.seed, number, array.index, Effect.CALIBRATION, dies.programming, sample=moment)
            read = replace(read, noise=key)
        x = np.ascontiguousarray(self.vectors[array.name], read.tiles.worth.dtype)
        out = np.zeros((x.shape[0], _width(array)), x.dtype)
        read_vectors(read, x, range(moment, moment + 1), 1, out, Saturation())
        return out[:, :array.tiling.outputs].astype(np.float64)

    def _batchnorm(self, dies: Dies, parameters: Parameters, reads: dict[str, Read]) -> Parameters:
        """Statistics of this die, for every batch normalisation those behind the ones before it."""
        network, found = dies.mapped.network, {}
        for node in network.nodes:
            if isinstance(node.layer, BatchNorm):
                seen = run(network, self.samples, parameters, keep=node.inputs, reads=reads).kept[node.inputs[0]]
                axes = (0, 1, *range(3, seen.ndim))
                found[node.name] = {"mean": seen.mean(axis=axes), "variance": seen.var(axis=axes)}
                parameters[node.name] = {**parameters.get(node.name, {}), **found[node.name]}
        return found


def make_calibration(dies: Dies, inputs: np.ndarray, steps: Sequence[str], samples: int = 64) -> Calibration | None:
    """Check the steps and find the vectors to look with; None without steps."""
    steps = tuple(steps)
    for step in steps:
        if step not in STEPS:
            raise NeurosimError(f"{step!r} is no step of calibration", where="calibrate",
                                hint=did_you_mean(step, STEPS))
    if len(set(steps)) != len(steps):
        raise NeurosimError(f"a step stands twice: {', '.join(steps)}", where="calibrate", allowed="each step once")
    if not steps:
        return None
    profile = dies.mapped.profile
    needs = {"gdc": dies.time is not None, "gdc_column": dies.time is not None,
             "adc": profile.adc is not None and profile.adc.range != "fixed",
             "scale": profile.crossbar is not None,
             "batchnorm": any(isinstance(node.layer, BatchNorm) for node in dies.mapped.network.nodes),
             "remap": profile.crossbar is not None and profile.crossbar.stuck is not None}
    lacks = {"gdc": "a time after programming", "gdc_column": "a time after programming",
             "adc": "an [adc] whose range is not fixed", "scale": "a [crossbar]",
             "batchnorm": "a network with batch normalisation that was not folded", "remap": "[crossbar.stuck]"}
    for step in steps:
        if not needs[step]:
            raise NeurosimError(f"nothing to do for the step {step!r}", where="calibrate",
                                hint=f"it needs {lacks[step]}")
    inputs = np.asarray(inputs)
    chosen = inputs[:, np.unique(np.linspace(0, inputs.shape[1] - 1, samples).astype(int))]
    vectors = {}
    if profile.crossbar is not None:
        for array, x in array_inputs(dies.mapped, chosen):
            busy = x[np.any(x != 0, axis=1)] if np.any(x) else x
            vectors[array.name] = busy[np.unique(np.linspace(0, busy.shape[0] - 1, _VECTORS).astype(int))]
    return Calibration(steps, vectors, chosen)


def _arrays(dies: Dies) -> list[DeviceArray]:
    return [array for array in dies.mapped.arrays if isinstance(array, DeviceArray)]


def _width(array: DeviceArray) -> int:
    return array.tiling.outputs + -array.tiling.outputs % LANES


def _made(dies: Dies, number: int, dtype: np.dtype, factors: Mapping[str, np.ndarray], norms: Parameters) -> Die:
    """A die with the digital factors and the statistics that were found for it."""
    parameters, reads = dies.as_run(number, dtype)
    for array in _arrays(dies):
        if np.any(factors[array.name] != 1):
            _scale(array, factors[array.name], parameters, reads)
    for name, own in norms.items():
        parameters[name] = {**parameters.get(name, {}), **own}
    return parameters, reads


def _ratio(before: np.ndarray, now: np.ndarray, together: bool) -> np.ndarray:
    """Sums of magnitudes over the vectors, one over the other, for each output; together: over all outputs."""
    before, now = np.abs(before).sum(axis=0), np.abs(now).sum(axis=0)
    if together:
        before, now = np.full(before.shape, before.sum()), np.full(now.shape, now.sum())
    return np.where(now > 0, before / np.where(now > 0, now, 1), 1)


def _scale(array: DeviceArray, factor: np.ndarray, parameters: Parameters, reads: dict[str, Read]) -> None:
    """Multiply what an array gives, digitally, by a factor for each output."""
    if array.name not in reads:
        weight = parameters[array.layer][array.parameter]
        shaped = factor.reshape(-1, *(1,) * (weight.ndim - 1)).astype(weight.dtype)
        parameters[array.layer][array.parameter] = weight * shaped
        return
    tiles = reads[array.name].tiles
    each = _width(array)
    wide = np.ones(each)
    wide[:factor.size] = factor
    worth = tiles.worth * np.tile(wide, tiles.worth.shape[1] // each).astype(tiles.worth.dtype)
    offset = tiles.offset * wide.astype(tiles.worth.dtype) if tiles.offset.size else tiles.offset
    reads[array.name] = replace(reads[array.name], tiles=tiles._replace(worth=worth, offset=offset))
