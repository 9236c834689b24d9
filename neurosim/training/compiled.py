"""Loops over time in torch's operations; on a GPU compiled, a few steps in one function.

There the launch of each small operation costs more than its arithmetic. `torch.compile` makes one kernel of all that
stands between two matrix products, forward and back. A network's first batch waits for it, a minute or more; torch
keeps what it has made on disk. The equations are the same; sums are rounded in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from types import FunctionType
from zlib import crc32

import torch

STEPS = 10  # in one compiled function: what a call of it costs is shared by so many
#: some steps of a signal, the state before, and what stays the same; to the results stacked, and the state behind
Steps = Callable[..., tuple[torch.Tensor, object]]


def backend_of(device: torch.device) -> str | None:
    """What compiles for a device; None where nothing does, as on a GPU without Triton."""
    return "inductor" if device.type == "cuda" and find_spec("triton") is not None else None


def over_time(steps: Steps, signal: torch.Tensor, state: object, fixed: Sequence[object], backend: str | None,
              kind: Hashable = None) -> tuple[torch.Tensor, object]:
    """`steps(signal.unbind(0), state, *fixed)`; with a backend compiled, `STEPS` at a time and the rest as it is.

    kind: what tells functions apart that are to be compiled each for itself.
    """
    left = signal.unbind(0)  # a slice of the signal would cost T^2 on the way back
    if backend is None or len(left) < STEPS:
        return steps(left, state, *fixed)
    run, made = _compiled(steps, backend, (kind, torch.is_grad_enabled())), []
    while len(left) >= STEPS:
        found, state = run(left[:STEPS], state, *fixed)
        made.append(found)
        left = left[STEPS:]
    if left:
        found, state = steps(left, state, *fixed)
        made.append(found)
    return torch.cat(made), state


@lru_cache(maxsize=64)
def _compiled(steps: FunctionType, backend: str, kind: Hashable) -> Steps:
    """A copy of a function, compiled. To torch it is another function: of each torch makes a few variants and from then
    on none, and numbers that change from call to call are no constants any more."""
    name = f"{steps.__name__}_{crc32(repr(kind).encode()):08x}"
    code = steps.__code__.replace(co_name=name)
    return torch.compile(FunctionType(code, steps.__globals__, name), backend=backend)
