"""Philox-4x32-10, a counter-based generator, as numba kernels.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The tests hold it to
the known-answer vectors published with it. Words are carried in 64-bit lanes, because that is how LLVM
finds the vector multiply 32 x 32 -> 64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(inline="always")
def _rounds(c0, c1, c2, c3, k0, k1):
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(nogil=True, cache=True)
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four 32-bit words (as uint64) for one counter (c0..c3) and key (k0, k1), all uint64 below 2^32."""
    return _rounds(c0, c1, c2, c3, k0, k1)


@njit(nogil=True, cache=True)
def fill_words(first, count, c1, c2, c3, k0, k1, out, place=0):
    """Words of the counters (first + i, c1, c2, c3), i < count, in the columns of `out` from `place` on.

    `out` is `[4, place + count or more]` uint32: row w holds word w of every block, so that all lanes store side by
    side.
    """
    at = np.uint64(place)  # without a sign: what may count from the end is not vectorised
    for i in range(count):
        w0, w1, w2, w3 = _rounds(np.uint64(first + i) & _LOW, c1, c2, c3, k0, k1)
        j = at + np.uint64(i)
        out[0, j] = np.uint32(w0)
        out[1, j] = np.uint32(w1)
        out[2, j] = np.uint32(w2)
        out[3, j] = np.uint32(w3)
