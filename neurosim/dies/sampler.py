"""Write noise and drift of many devices in one pass: what `devices` computes array by array.

Blocks of devices stay in the first-level cache from their random words to their conductances, and, where an array is
read as its conductances stand, on to the sums over its planes. The formulas are those of `devices.programmed`,
`devices.drift_exponent` and `devices.drifted` with normal spreads; tests hold the two together. The exponential is a
polynomial (see `streams.draws` for why), 2e-7 relative, of arguments from -80 to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from neurosim import engine
from neurosim.engine.compiling import widest_vectors
from neurosim.engine.maths import as_float
from neurosim.engine.turning import SIDE, turn_square
from neurosim.streams.draws import store, to_normals
from neurosim.streams.keys import ProgramKey
from neurosim.streams.philox import fill_words

_BLOCKS = 256  # of four devices, at a time
_F, _I = np.float32, np.int32
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.4426950408889634), _F(0.693359375), _F(-2.12194440e-4)
# (e^r - 1 - r) / r^2 on [-ln(2)/2, ln(2)/2], highest power first: Cephes, expf
_EXP = tuple(_F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                             5.0000001201e-1))


@dataclass(frozen=True, eq=False)
class Writing:
    """How devices meant to be at `target` are written and age; all float32 `[devices]`.

    ``g = max(target + sigma z, 0) exp(-|mean + sd z'| log_ratio)``, without drift where mean is None.
    """

    target: np.ndarray
    sigma: np.ndarray
    mean: np.ndarray | None
    sd: np.ndarray | None
    log_ratio: float

    def arguments(self, write: ProgramKey, drift: ProgramKey) -> tuple:
        """What the kernels take: whose numbers, and the arrays."""
        none = np.empty(0, np.float32)
        keys = (np.uint64(word) for word in (*write.counter[:2], *write.key, *drift.key))
        return (*keys, self.target, self.sigma, none if self.mean is None else self.mean,
                none if self.sd is None else self.sd, _F(self.log_ratio))


@njit(inline="always")
def _normals(first, n, c1, c2, k0, k1, words, normals, out):
    """Normals of the devices of `n` blocks, in the order of the devices."""
    fill_words(first, n, c1, c2, np.uint64(0), k0, k1, words)
    to_normals(words, normals, n)
    store(normals, n, out)


@njit(inline="always")
def _kept(x):
    """``e^x``, x from -80 to 0."""
    whole = np.floor(x * _LOG2E + _F(0.5))
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = _EXP[2] + r * (_EXP[1] + r * _EXP[0])
    p = _EXP[5] + r * (_EXP[4] + r * (_EXP[3] + r * p))
    return (p * r * r + r + _F(1.0)) * as_float(_I((_I(whole) + _I(127)) << _I(23)))


@njit(nogil=True, cache=True)
def _conductances(first, n, die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, words, normals,
                  write, drift):
    """Those of the devices of `n` blocks, into `write`."""
    widest_vectors()
    start = 4 * first
    count = min(4 * n, target.size - start)
    _normals(first, n, die, programming, p0, p1, words, normals, write)
    center, width = target[start:start + count], sigma[start:start + count]
    for j in range(count):
        write[j] = max(center[j] + max(width[j], _F(0.0)) * write[j], _F(0.0))
    if mean.size:
        _normals(first, n, die, programming, d0, d1, words, normals, drift)
        center, width = mean[start:start + count], sd[start:start + count]
        for j in range(count):
            write[j] *= _kept(max(-abs(center[j] + width[j] * drift[j]) * log_ratio, _F(-80.0)))


@njit(nogil=True, cache=True)
def _sample(die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, out):
    words, normals = np.empty((4, _BLOCKS), np.uint32), np.empty((4, _BLOCKS), np.float32)
    write, drift = np.empty(4 * _BLOCKS, np.float32), np.empty(4 * _BLOCKS, np.float32)
    blocks = (target.size + 3) // 4
    for first in range(0, blocks, _BLOCKS):
        n = min(_BLOCKS, blocks - first)
        _conductances(first, n, die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, words, normals,
                      write, drift)
        for j in range(4 * first, min(4 * (first + n), out.size)):
            out[j] = write[j - 4 * first]


@njit(nogil=True, cache=True)
def _turn(sums, rows, to):
    """``rows[b, to + a] = sums[a, b]``, a < `SIDE` and as far as there are columns."""
    widest_vectors()
    inputs, wide = rows.shape[0], min(SIDE, rows.shape[1] - to)
    squares = inputs // SIDE * SIDE if wide == SIDE else 0
    for b in range(0, squares, SIDE):
        turn_square(sums, b, inputs, rows, b, to)
    for b in range(squares, inputs):
        for a in range(wide):
            rows[b, to + a] = sums[a * inputs + b]


@njit(nogil=True, cache=True)
def _sample_rows(die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, relative, growth, factors,
                 outputs, rows, variance):
    """Some outputs at a time, whose devices lie one after the other in each plane; then turned."""
    widest_vectors()
    words, normals = np.empty((4, _BLOCKS), np.uint32), np.empty((4, _BLOCKS), np.float32)
    write, drift = np.empty(4 * _BLOCKS, np.float32), np.empty(4 * _BLOCKS, np.float32)
    inputs = rows.shape[0]
    sums, squares = np.empty(SIDE * inputs, rows.dtype), np.empty(SIDE * inputs, rows.dtype)
    for to in range(0, rows.shape[1], SIDE):
        sums[:] = 0
        squares[:] = 0
        for k in range(factors.size):
            factor = factors[k]
            start = (k * outputs + to) * inputs
            end = (k * outputs + min(to + SIDE, outputs)) * inputs
            for first in range(start // 4, (end + 3) // 4, _BLOCKS):
                n = min(_BLOCKS, (end + 3) // 4 - first)
                _conductances(first, n, die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, words,
                              normals, write, drift)
                begin, skip = max(4 * first, start), max(start - 4 * first, 0)
                count, place = min(4 * (first + n), end) - begin, begin - start
                found, total = write[skip:skip + count], sums[place:place + count]
                for j in range(count):
                    total[j] += factor * found[j]
                if relative.size:
                    noise, total = relative[begin:begin + count], squares[place:place + count]
                    for j in range(count):
                        spread = factor * (noise[j] * found[j] * growth)
                        total[j] += spread * spread
        _turn(sums, rows, to)
        if relative.size:
            _turn(squares, variance, to)


def sample(write: ProgramKey, drift: ProgramKey, writing: Writing) -> np.ndarray:
    """Conductances, float32 `[devices]`."""
    out = np.empty(writing.target.size, np.float32)
    _sample(*writing.arguments(write, drift), out)
    return out


def sample_rows(write: ProgramKey, drift: ProgramKey, writing: Writing, relative: np.ndarray | None, growth: float,
                factors: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """`sample`, and for devices `[plane, outputs, inputs]` (shape) at once what `engine.summed_rows` makes of them.

    Two arrays `[inputs, outputs and zeros behind]`: ``sum_k factors_k g_k`` and, size 0 where relative is None, the
    variance of a read, ``sum_k (factors_k g_k relative growth)^2``.
    """
    _, outputs, inputs = shape
    width = outputs + -outputs % engine.LANES
    rows = engine.aligned((inputs, width), dtype)
    none = relative is None
    variance = np.empty((0, 0), dtype) if none else engine.aligned((inputs, width), dtype)
    _sample_rows(*writing.arguments(write, drift), np.empty(0, np.float32) if none else relative, _F(growth),
                 np.asarray(factors, dtype), outputs, rows, variance)
    return rows, variance
