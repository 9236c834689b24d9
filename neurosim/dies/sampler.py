"""Write noise and drift of many devices in one pass: what `devices` computes array by array.

Blocks of devices stay in the first-level cache from their random words to their conductances. The formulas are those of
`devices.programmed`, `devices.drift_exponent` and `devices.drifted` with normal spreads; tests hold the two together.
The exponential is a polynomial (see `streams.draws` for why), 2e-7 relative, of arguments from -80 to 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.engine.compiling import widest_vectors
from neurosim.streams.draws import box_muller
from neurosim.streams.keys import ProgramKey
from neurosim.streams.philox import fill_words

_BLOCKS = 256
_F = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.4426950408889634), _F(0.693359375), _F(-2.12194440e-4)
# (e^r - 1 - r) / r^2 on [-ln(2)/2, ln(2)/2], highest power first: Cephes, expf
_EXP = tuple(_F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                             5.0000001201e-1))


@njit(inline="always")
def _normals(first, n, c1, c2, k0, k1, words, uniform, bits, result, out):
    """Normals of the devices of `n` blocks, in the order of the devices."""
    fill_words(first, n, c1, c2, np.uint64(0), k0, k1, words)
    box_muller(words[0], words[1], uniform, bits, result[0], result[1], n)
    box_muller(words[2], words[3], uniform, bits, result[2], result[3], n)
    for i in range(n):
        out[4 * i] = result[0, i]
        out[4 * i + 1] = result[1, i]
        out[4 * i + 2] = result[2, i]
        out[4 * i + 3] = result[3, i]


@njit(nogil=True, cache=True)
def _sample(die, programming, p0, p1, d0, d1, target, sigma, mean, sd, log_ratio, out):
    widest_vectors()
    words = np.empty((4, _BLOCKS), np.uint32)
    uniform, result = np.empty(_BLOCKS, np.float32), np.empty((4, _BLOCKS), np.float32)
    bits = uniform.view(np.int32)
    write, drift = np.empty(4 * _BLOCKS, np.float32), np.empty(4 * _BLOCKS, np.float32)
    power = np.empty(4 * _BLOCKS, np.float32)
    power_bits = power.view(np.int32)
    blocks = (target.size + 3) // 4
    for first in range(0, blocks, _BLOCKS):
        n = min(_BLOCKS, blocks - first)
        start = 4 * first
        count = min(4 * n, target.size - start)
        _normals(first, n, die, programming, p0, p1, words, uniform, bits, result, write)
        for j in range(count):
            write[j] = max(target[start + j] + max(sigma[start + j], _F(0.0)) * write[j], _F(0.0))
        if mean.size:
            _normals(first, n, die, programming, d0, d1, words, uniform, bits, result, drift)
            for j in range(count):
                x = -abs(mean[start + j] + sd[start + j] * drift[j]) * log_ratio
                x = max(x, _F(-80.0))
                whole = np.floor(x * _LOG2E + _F(0.5))
                power_bits[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
                drift[j] = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
            for j in range(count):
                r = drift[j]
                p = _EXP[2] + r * (_EXP[1] + r * _EXP[0])
                p = _EXP[5] + r * (_EXP[4] + r * (_EXP[3] + r * p))
                write[j] *= (p * r * r + r + _F(1.0)) * power[j]
        for j in range(count):
            out[start + j] = write[j]


def sample(write: ProgramKey, drift: ProgramKey, target: np.ndarray, sigma: np.ndarray, mean: np.ndarray | None,
           sd: np.ndarray | None, log_ratio: float) -> np.ndarray:
    """Conductances of devices meant to be at `target`; all float32 `[devices]`.

    ``g = max(target + sigma z, 0) exp(-|mean + sd z'| log_ratio)``, without drift where mean is None.
    """
    none = np.empty(0, np.float32)
    out = np.empty(target.size, np.float32)
    keys = [np.uint64(word) for word in (*write.counter[:2], *write.key, *drift.key)]
    _sample(*keys, target, sigma, none if mean is None else mean, none if sd is None else sd, _F(log_ratio),
            out)
    return out
