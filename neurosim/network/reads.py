"""How one die reads the weights of one layer on its crossbar tiles: what `forward` does in the place of a product.

`dies` makes a `Read` for each array whose read is more than a product with fixed weights (converters, read noise, rows
or devices that make it nonlinear); the kernels are those of `engine.reads`. Knows no profile and no chip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from neurosim import engine
from neurosim.network.signals import Block, Events
from neurosim.streams import ReadKey, normal_reads

_AT_ONCE = 1 << 18  # numbers of the widest array that are worked on at a time: they stay in the second-level cache
_TOGETHER = 8  # samples that go through the product with their state side by side


@dataclass(frozen=True)
class Inputs:
    """How inputs that are no spikes are driven: `bits` of them over the full scale; serial: one read for each
    slice of `slice_bits` of them, the lowest first."""

    full_scale: float
    bits: int
    signed: bool
    serial: bool
    slice_bits: int = 1

    @property
    def slices(self) -> int:
        """How often an input is put on its row."""
        return -(-(self.bits - self.signed) // self.slice_bits) if self.serial else 1


@dataclass(frozen=True, eq=False)
class Sampled:
    """Devices that are drawn for every read, because what they give is cut off at 0: `mean` and `sd` `[plane, outputs,
    inputs]`; separate: whether each plane has converters of its own. devices: how many there are, and planes: from
    their numbers to `[plane, *weight]`, a device of a reference column in all the outputs that have it."""

    mean: np.ndarray
    sd: np.ndarray
    coefficients: np.ndarray
    separate: bool
    devices: int
    planes: Callable[[np.ndarray], np.ndarray]

    def rows(self, z: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """What one read finds, as `Tiles.rows`, from standard normal z `[devices]`."""
        g = np.maximum(self.mean + self.sd * self.planes(z).reshape(self.mean.shape), 0)
        if not self.separate:
            return engine.summed_rows(g, self.coefficients, dtype)
        return np.concatenate([engine.padded_rows(plane, dtype) for plane in g], axis=1)


@dataclass(frozen=True, eq=False)
class Read:
    """One array of one die as it is read.

    tiles: its conductances and converters. noise: the key of its read noise, with sample and time 0; None without.
    memory: shares (of the variance) and decays per step of the parts that correlated noise is the sum of; none: white.
    inputs: None where inputs reach the rows as they are, as spikes do. currents: gives a tile's column currents for
    its inputs `[steps, rows]` where they are no product with `tiles.rows`. converters: how many there are.
    sampled: devices that are drawn one by one; slow, and exact where the noise is cut off. shared: int64 `[columns]`,
    whose number each column has, where several are one physical column; None: each its own.
    """

    tiles: engine.Tiles
    noise: ReadKey | None = None
    memory: tuple[tuple[float, float], ...] = ()
    inputs: Inputs | None = None
    currents: Callable[[int, np.ndarray], np.ndarray] | None = None
    converters: int = 0
    sampled: Sampled | None = None
    shared: np.ndarray | None = None

    @property
    def columns(self) -> int:
        """Sums that are read for each vector of inputs, over all tiles, padding included."""
        return self.tiles.worth.shape[0] * self.tiles.rows.shape[1]

    @property
    def passes(self) -> int:
        """How often the tiles are read for one vector of inputs: once, or once for each slice."""
        return 1 if self.inputs is None else self.inputs.slices

    def recurrence(self, block: Block, count: Saturation) -> engine.Recurrence:
        """The read as the time loop of a spiking population takes it; how often it read is known after it."""
        dtype = self.tiles.rows.dtype
        return engine.Recurrence(self.tiles, self.normals(_samples(block), block.time),
                                 engine.aligned((3, self.tiles.rows.shape[1]), dtype), count.currents[1:])

    def normals(self, samples: range, times: int, repeats: int = 1) -> np.ndarray:
        """The standard normal numbers of reads, `[samples * times, repeats * columns]`, in the dtype of the tiles.

        Correlated noise is a sum of first-order processes, ``z_t = d z_(t-1) + sqrt(1 - d^2) n_t``, each for itself.
        """
        width, dtype = repeats * self.columns, self.tiles.worth.dtype
        if self.noise is None or self.sampled is not None:
            return np.empty((0, 0), dtype)
        key = ReadKey(**{**self.noise.__dict__, "sample": samples.start})
        parts = max(1, len(self.memory))
        found = normal_reads(key, len(samples), times, parts * width).reshape(len(samples), times, parts, width)
        if self.shared is not None:
            found = found.reshape(*found.shape[:3], repeats, -1)[..., self.shared].reshape(found.shape)
        if not self.memory:
            return found.astype(dtype, copy=False).reshape(-1, width)
        out = np.zeros((len(samples), times, width), dtype)
        for k, (share, decay) in enumerate(self.memory):
            now = found[:, 0, k].astype(dtype)
            for t in range(times):
                if t:
                    now = dtype.type(decay) * now + dtype.type(np.sqrt(1 - decay**2)) * found[:, t, k]
                out[:, t] += dtype.type(np.sqrt(share)) * now
        return out.reshape(-1, width)


@dataclass
class Saturation:
    """Conversions and how many of them were outside the range: of currents, and of inputs; int64 `[2]` each."""

    currents: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    inputs: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))

    def __add__(self, other: Saturation) -> Saturation:
        return Saturation(self.currents + other.currents, self.inputs + other.inputs)


def read_linear(read: Read, signal: Events | np.ndarray, block: Block, bias: np.ndarray,
                count: Saturation) -> np.ndarray:
    """``x W + bias`` as it is read, `[batch * time, w]`; the signal as events or dense."""
    steps = block.batch * block.time
    if isinstance(signal, Events) and read.inputs is None and read.currents is None and read.sampled is None:
        out = np.empty((steps, bias.size), bias.dtype)
        scratch = np.empty((3, read.tiles.rows.shape[1]), bias.dtype)
        for rows, samples in _chunks(read, block, 1):
            events = signal.pointers[rows.start:rows.stop + 1]
            engine.gather_reads(events, signal.indices, read.tiles, read.normals(samples, block.time), bias, scratch,
                                out[rows], count.currents[1:])
        count.currents[0] += np.count_nonzero(np.diff(signal.pointers)) * read.converters
        return out
    x = signal.dense(read.tiles.rows.shape[0], bias.dtype) if isinstance(signal, Events) else signal
    out = np.empty((steps, bias.size), bias.dtype)
    for rows, samples in _chunks(read, block, 1):
        out[rows] = bias
        read_vectors(read, x[rows], samples, block.time, out[rows], count)
    return out


def read_conv(read: Read, x: np.ndarray, block: Block, bias: np.ndarray, layer: object, shape: tuple[int, ...],
              count: Saturation) -> np.ndarray:
    """A convolution as it is read: a vector of inputs for each position of the kernel. x `[batch * time, in, h, w]`."""
    height, width = shape[1:]
    out = np.empty((x.shape[0], *shape), bias.dtype)
    for rows, samples in _chunks(read, block, height * width):
        seen = engine.patches(x[rows], layer.weight.shape[2:], layer.stride, layer.padding, layer.dilation)
        wide = shape[0] + -shape[0] % engine.LANES
        found = np.zeros((seen.shape[0] * height * width, wide), bias.dtype)
        read_vectors(read, seen.reshape(found.shape[0], -1), samples, block.time, found, count)
        found = found[:, :shape[0]].reshape(-1, height, width, shape[0]).transpose(0, 3, 1, 2)
        np.add(found, bias[:, None, None], out=out[rows])
    return out


def read_vectors(read: Read, x: np.ndarray, samples: range, times: int, out: np.ndarray, count: Saturation
                 ) -> None:
    """``out += y`` for vectors of inputs `[samples * times * positions, inputs]`."""
    positions = x.shape[0] // (len(samples) * times)
    if read.sampled is not None:
        places = [(sample, time) for sample in samples for time in range(times)]
        _read_sampled(read, x, places, positions, out, count)
        return
    # a read for each position and each bit, one after the other in the counter of its sample and step
    noise = _by_read(read.normals(samples, times, positions * read.passes), x.shape[0], read.passes)
    _read_rows(read, x, noise, 0, out, count, positions)


def read_rnn(read: Read, drive: np.ndarray, bias: np.ndarray, relu: bool, block: Block, out: np.ndarray,
             count: Saturation) -> None:
    """An Elman network whose recurrent weights are read: drive `[batch, time, units]`, see `engine.rnn`."""
    if read.inputs is not None or read.currents is not None or read.sampled is not None:
        engine.rnn(drive, bias, read_product(read, block, bias.size, count), relu, out)
        return
    for rows, samples in _chunks(read, block, 1, _TOGETHER):
        own = slice(rows.start // block.time, rows.stop // block.time)
        noise = _by_read(read.normals(samples, block.time), len(samples), block.time)
        reads = engine.rnn_reads(drive[own], bias, read.tiles, noise, relu, out[own], count.currents[1:])
        count.currents[0] += reads * read.converters


def read_product(read: Read, block: Block, outputs: int, count: Saturation) -> engine.Product:
    """The product of a recurrent cell with its state, `[batch, outputs]` at each step."""
    passes = read.passes
    noise = _by_read(read.normals(_samples(block), block.time, passes), block.batch, block.time * passes)
    width = outputs + -outputs % engine.LANES
    buffer = engine.aligned((block.batch, width), read.tiles.worth.dtype)

    def product(state: np.ndarray, step: int) -> np.ndarray:
        buffer[:] = 0
        if step and read.sampled is not None:
            _read_sampled(read, state, [(sample, step) for sample in _samples(block)], 1, buffer, count)
        elif step:  # before the first there is no state, and nothing is read
            _read_rows(read, state, noise, step * passes, buffer, count)
        return buffer[:, :outputs]

    return product


def _by_read(noise: np.ndarray, vectors: int, reads: int) -> np.ndarray:
    """Numbers of some reads of each vector, `[vectors, reads, columns]`; without any, nothing."""
    return noise.reshape(vectors, reads, -1) if noise.size else np.empty((0, 0, 0), noise.dtype)


def _read_rows(read: Read, x: np.ndarray, noise: np.ndarray, first: int, out: np.ndarray, count: Saturation,
               positions: int = 1) -> None:
    """``out += y``; noise `[vectors, reads, columns]`, of which those of these inputs begin at `first`; `positions`
    vectors after another are read, or none of them is."""
    for k, (plane, factor) in enumerate(bit_planes(read.inputs, x, count)):
        driven = engine.driven_rows(plane, positions)
        if factor == 1:
            engine.dense_reads(plane, read.tiles, noise, first + k, out, count.currents[1:], driven, read.currents)
        else:
            found = np.zeros_like(out)
            engine.dense_reads(plane, read.tiles, noise, first + k, found, count.currents[1:], driven, read.currents)
            out += out.dtype.type(factor) * found
        count.currents[0] += np.count_nonzero(driven) * read.converters


def _read_sampled(read: Read, x: np.ndarray, places: list[tuple[int, int]], positions: int, out: np.ndarray,
                  count: Saturation) -> None:
    """As `_read_rows`, every device drawn for every vector; places: sample and step of `positions` vectors each."""
    tiles, devices = read.tiles, read.sampled.devices
    planes = list(bit_planes(read.inputs, x, count))
    driven = [engine.driven_rows(plane, positions) for plane, _ in planes]
    for i, (sample, time) in enumerate(places):
        key = ReadKey(**{**read.noise.__dict__, "sample": sample, "time": time})
        z = normal_reads(key, 1, 1, positions * len(planes) * devices).reshape(positions, len(planes), devices)
        for position in range(positions):
            row = slice(i * positions + position, i * positions + position + 1)
            for k, (plane, factor) in enumerate(planes):
                found, rows = np.zeros_like(out[row]), read.sampled.rows(z[position, k], tiles.rows.dtype)
                engine.dense_reads(plane[row], tiles, z[:0], 0, found, count.currents[1:], driven[k][row],
                                   lambda t, own, rows=rows: own @ rows[tiles.bounds[t]:tiles.bounds[t + 1]])
                out[row] += out.dtype.type(factor) * found
    count.currents[0] += sum(np.count_nonzero(own) for own in driven) * read.converters


def bit_planes(inputs: Inputs | None, x: np.ndarray,
               count: Saturation | None = None) -> Iterator[tuple[np.ndarray, float]]:
    """What is put on the rows, and what its result is worth: the inputs, or their codes slice after slice.

    The largest digit of a slice is the full scale, as is the largest code of an input that is not cut into slices.

    >>> inputs = Inputs(full_scale=1.0, bits=5, signed=True, serial=True, slice_bits=2)
    >>> [(float(plane[0]), round(worth * 15)) for plane, worth in bit_planes(inputs, np.array([-14 / 15]))]
    [(-0.6666666666666666, 3), (-1.0, 12)]
    """
    if inputs is None:
        yield x, 1
        return
    codes, step, outside = engine.input_codes(x, inputs.full_scale, inputs.bits, inputs.signed)
    if count is not None:
        count.inputs += (x.size, outside)
    if not inputs.serial:
        yield codes * x.dtype.type(step), 1
        return
    size, full = np.abs(codes).astype(np.int64), x.dtype.type(inputs.full_scale)
    top = (1 << inputs.slice_bits) - 1
    for low in range(0, inputs.bits - inputs.signed, inputs.slice_bits):
        digits = np.copysign((size >> low & top).astype(x.dtype), codes)
        yield digits * (full / x.dtype.type(top)), (top << low) * step / inputs.full_scale


def _samples(block: Block) -> range:
    return range(block.samples.start, block.samples.stop)


def _chunks(read: Read, block: Block, positions: int, together: int = 1) -> Iterator[tuple[slice, range]]:
    """Rows of a block's signal for some samples at a time, a multiple of `together`; the numbers of these samples."""
    width = positions * max(read.columns, read.tiles.rows.shape[0]) * block.time
    size = max(1, _AT_ONCE // (width * together)) * together
    for first in range(0, block.batch, size):
        last = min(first + size, block.batch)
        yield (slice(first * block.time, last * block.time),
               range(block.samples.start + first, block.samples.start + last))
