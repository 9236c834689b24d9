"""Threads beside those of torch."""

from __future__ import annotations

import ctypes

import torch

# of OpenMP 5, in the library that torch itself uses; where there is none, torch's threads stay
_pause = getattr(ctypes.CDLL(torch._C.__file__), "omp_pause_resource_all", None)
_SOFT = 1


def free_threads() -> int:
    """How many threads torch may use, `torch.get_num_threads()`, now that none of them is busy.

    After an operation of torch on several threads these wait for the next one in a loop, for milliseconds, and take
    their cores away from whoever else has work. Here they end; torch starts them again when it needs them.
    """
    threads = torch.get_num_threads()
    if threads > 1 and _pause is not None:
        _pause(_SOFT)
    return threads
