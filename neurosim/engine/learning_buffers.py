"""Large arrays that are used again: fresh memory costs more, page by page, than what is written into it.

Nothing is handed back by hand: a buffer is free when no array or tensor refers to it any more. What lies free for
long is let go. No kernel, and no content, enters here.
"""

from __future__ import annotations

import math
import mmap
import sys
from threading import Lock

import numpy as np

from neurosim.engine.arrays import aligned

_SMALL = 1 << 17  # bytes; below, numpy's own memory is as good
_PATIENCE = 250  # requests, those of some ten passes, after which a buffer that nobody used is let go
_IDLE = 1 << 30  # bytes that lie free at most when new ones are made
_lock = Lock()
_kept: list[tuple[np.ndarray, list[int]]] = []  # bytes, and the request at which they were last handed out
_requests = 0


def _map(size: int) -> np.ndarray:
    """Bytes on pages of their own, large ones where the system has them."""
    pages = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            pages.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without large pages: ordinary ones do
            return np.frombuffer(pages, np.uint8)
    return np.frombuffer(pages, np.uint8)


def take(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array with whatever values, that no one else holds.

    >>> a = take((4, 2), np.float32)
    >>> a.shape
    (4, 2)
    """
    global _requests
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _SMALL:
        return aligned(shape, dtype)
    with _lock:
        _requests += 1
        _kept[:] = [entry for entry in _kept if not (_free(entry) and _requests - entry[1][0] > _PATIENCE)]
        fitting = [entry for entry in _kept if size <= entry[0].size <= size + size // 4 and _free(entry)]
        if fitting:
            found = min(fitting, key=lambda entry: entry[0].size)
        else:
            _make_room(size)
            found = (_map(size), [0])
            _kept.append(found)
        found[1][0] = _requests
        return np.ndarray(shape, dtype, found[0])


def _make_room(size: int) -> None:
    """Let go of what is free but does not fit, the longest unused first, until no more than `_IDLE` lies free."""
    idle = sorted((entry for entry in _kept if _free(entry)), key=lambda entry: entry[1][0])
    over, dropped = size + sum(entry[0].size for entry in idle) - _IDLE, set()
    for entry in idle:
        if over > 0:
            dropped.add(id(entry))
            over -= entry[0].size
    _kept[:] = [entry for entry in _kept if id(entry) not in dropped]


def copied(array: np.ndarray) -> np.ndarray:
    """A copy in one piece."""
    copy = take(array.shape, array.dtype)
    copy[...] = array
    return copy


def _free(entry: tuple[np.ndarray, list[int]]) -> bool:
    """Whether only the entry itself refers to its bytes (and, for this look at them, the call)."""
    return sys.getrefcount(entry[0]) == 2
