"""Uniform and normal numbers from Philox words, in vectorised float32.

Device i of an array uses word ``i mod 4`` of block ``i div 4``. Normals are Box-Muller pairs,

    ``n_0 = sqrt(-2 ln u) cos(2 pi v),  n_1 = sqrt(-2 ln u) sin(2 pi v)``

with u = (w + 1/2) / 2^32 and v = w' / 2^32, hence |n| < 6.77: beyond what 10^10 devices show. Logarithm and
sine are short polynomials (pip's llvmlite brings no vector maths library): fitted for least largest error by
iteratively reweighted least squares, 2.7e-8 relative before float32 rounding; the tests state what is seen after it.

Source: Box and Muller, Ann. Math. Stat. 29, 610 (1958).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neurosim.engine.compiling import widest_vectors
from neurosim.engine.maths import as_bits, as_float
from neurosim.streams.keys import DieKey, ReadKey
from neurosim.streams.philox import fill_words

_BLOCKS = 256  # counters a pass: 16 KiB of scratch stays in the first-level cache
_F, _I = np.float32, np.int32
_LN2, _SQRT2, _UNIT, _HALF = _F(0.6931471805599453), _F(1.4142135623730951), _F(2.0**-32), _F(0.5)
# ln(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1], and sin(2 pi x) / x in x^2 on [0, 1/16]
_LOG = tuple(_F(c) for c in (1.0, -0.4999997913837433, 0.3333415985107422, -0.25002944469451904, 0.19958415627479553,
                             -0.1654374599456787, 0.14917394518852234, -0.14482136070728302, 0.08959803730249405))
_SIN = tuple(_F(c) for c in (6.2831854820251465, -41.34168243408203, 81.60248565673828, -76.5813980102539,
                             39.76161575317383))


@njit(inline="always")
def _sin_turns(x):
    q = x * x
    return x * (_SIN[0] + q * (_SIN[1] + q * (_SIN[2] + q * (_SIN[3] + q * _SIN[4]))))


@njit(inline="always")
def _box_muller(radius_word, angle_word):
    uniform = (_F(radius_word) + _HALF) * _UNIT
    # exponent and mantissa, the mantissa moved to [sqrt(1/2), sqrt(2))
    bits = as_bits(uniform)
    exponent = _I(_I(bits - _I(0x3F3504F3)) >> _I(23))
    f = as_float(_I(bits - _I(exponent << _I(23)))) - _F(1.0)
    p = _LOG[4] + f * (_LOG[5] + f * (_LOG[6] + f * (_LOG[7] + f * _LOG[8])))
    p = _LOG[0] + f * (_LOG[1] + f * (_LOG[2] + f * (_LOG[3] + f * p)))
    radius = np.sqrt(max(_F(-2.0) * (_F(exponent) * _LN2 + f * p), _F(0.0)))
    turns = _F(_I(angle_word)) * _UNIT  # signed: [-1/2, 1/2)
    size = abs(turns)
    fold = min(size, _HALF - size)
    return radius * _sin_turns(_F(0.25) - size), radius * _sin_turns(fold if turns > _F(0.0) else -fold)


@njit(inline="always")
def to_normals(words, normals, n):
    """Normals of `n` blocks from their words, both `[4, n or more]`; a loop for each pair, as both are too long."""
    for i in range(n):
        normals[0, i], normals[1, i] = _box_muller(words[0, i], words[1, i])
    for i in range(n):
        normals[2, i], normals[3, i] = _box_muller(words[2, i], words[3, i])


@njit(nogil=True, cache=True)
def store(normals, count, out):
    """The first numbers of `count` blocks, block by block, as many as there is room for."""
    whole = min(count, out.size // 4)
    for i in range(whole):
        out[4 * i] = normals[0, i]
        out[4 * i + 1] = normals[1, i]
        out[4 * i + 2] = normals[2, i]
        out[4 * i + 3] = normals[3, i]
    for j in range(4 * whole, min(4 * count, out.size)):
        out[j] = normals[j & 3, whole]


@njit(nogil=True, cache=True)
def _fill_normal(c1, c2, c3, k0, k1, out):
    widest_vectors()
    words, normals = np.empty((4, _BLOCKS), np.uint32), np.empty((4, _BLOCKS), np.float32)
    blocks = (out.size + 3) // 4
    for first in range(0, blocks, _BLOCKS):
        n = min(_BLOCKS, blocks - first)
        fill_words(first, n, c1, c2, c3, k0, k1, words)
        to_normals(words, normals, n)
        store(normals, n, out[4 * first:])


@njit(nogil=True, cache=True)
def _fill_reads(die, first_sample, first_time, times, blocks, k0, k1, out):
    """Rows of normals, one after the other: of `blocks` blocks each, of the counter (die, sample, time)."""
    widest_vectors()
    words, normals = np.empty((4, _BLOCKS), np.uint32), np.empty((4, _BLOCKS), np.float32)
    total = out.size // 4
    for first in range(0, total, _BLOCKS):
        n = min(_BLOCKS, total - first)
        done = 0
        while done < n:  # as much of a row as there is, and as there is room for
            row, block = (first + done) // blocks, (first + done) % blocks
            count = min(n - done, blocks - block)
            fill_words(block, count, die, np.uint64(first_sample + row // times), np.uint64(first_time + row % times),
                       k0, k1, words, done)
            done += count
        to_normals(words, normals, n)
        store(normals, n, out[4 * first:])


@njit(nogil=True, cache=True)
def _fill_uniform(c1, c2, c3, k0, k1, out):
    words = np.empty((4, _BLOCKS), np.uint32)
    blocks = (out.size + 3) // 4
    for first in range(0, blocks, _BLOCKS):
        n = min(_BLOCKS, blocks - first)
        fill_words(first, n, c1, c2, c3, k0, k1, words)
        for j in range(4 * first, min(4 * (first + n), out.size)):
            out[j] = (np.float64(words[j & 3, (j >> 2) - first]) + 0.5) * 2.0**-32


def _counter(key: DieKey) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(word) for word in (*key.counter, *key.key))


def normal(key: DieKey, size: int) -> np.ndarray:
    """`size` standard normal numbers, float32 `[size]`; the first n are the same whatever the size.

    >>> from neurosim.streams import DieKey, Effect
    >>> key = DieKey(seed=7, die=417, array=0, effect=Effect.MISMATCH)
    >>> bool((normal(key, 5) == normal(key, 1000)[:5]).all())
    True
    """
    out = np.empty(size, np.float32)
    _fill_normal(*_counter(key), out)
    return out


def normal_reads(key: ReadKey, samples: int, times: int, columns: int) -> np.ndarray:
    """Standard normal numbers of reads, float32 `[samples, times, columns]`, from the sample and time of `key` on.

    Row (s, t) is ``normal(key of sample + s, time + t, columns)``: the same whatever else is read beside it.

    >>> from neurosim.streams import Effect, ReadKey
    >>> found = normal_reads(ReadKey(7, 417, 0, Effect.READ, sample=2), 3, 5, 6)
    >>> bool((found[1, 4] == normal(ReadKey(7, 417, 0, Effect.READ, sample=3, time=4), 6)).all())
    True
    """
    out = np.empty((samples, times, columns + -columns % 4), np.float32)
    die, sample, time = key.counter
    _fill_reads(np.uint64(die), sample, time, times, out.shape[2] // 4, *(np.uint64(word) for word in key.key),
                out.reshape(-1))
    return out[:, :, :columns]


def uniform(key: DieKey, size: int) -> np.ndarray:
    """`size` numbers uniform in the open interval (0, 1), float64 `[size]`, each a multiple of 2^-33."""
    out = np.empty(size, np.float64)
    _fill_uniform(*_counter(key), out)
    return out
