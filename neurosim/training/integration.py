"""The leaky integrator over all time steps, differentiable: kernels on the CPU, torch's operations elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from neurosim.engine.learning_filter import filter_backward, filter_forward
from neurosim.training.compiled import backend_of, over_time


def integrate(x: torch.Tensor, beta: torch.Tensor, gain: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """``v_t = beta v_{t-1} + gain x_t``: x `[time, batch, neurons]`, start `[batch, neurons]`, else `[neurons]`."""
    if x.device.type == "cpu":
        return _Integrate.apply(x, beta, gain, start)
    return integrate_stepwise(x, beta, gain, start, backend_of(x.device))


def integrate_stepwise(x: torch.Tensor, beta: torch.Tensor, gain: torch.Tensor, start: torch.Tensor,
                       backend: str | None = None) -> torch.Tensor:
    """The same in torch's operations; with a backend of `torch.compile` a few steps at a time."""
    return over_time(_steps, x, start, (beta, gain), backend)[0]


def _steps(signal: Sequence[torch.Tensor], v: torch.Tensor, beta: torch.Tensor, gain: torch.Tensor
           ) -> tuple[torch.Tensor, torch.Tensor]:
    found = []
    for now in signal:
        v = beta * v + gain * now
        found.append(v)
    return torch.stack(found), v


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(x: torch.Tensor, beta: torch.Tensor, gain: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        arrays = [t.detach().contiguous().numpy() for t in (x, beta, gain, start)]
        out = np.empty_like(arrays[0])
        filter_forward(*arrays, out)
        return torch.from_numpy(out)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arrays = [t.detach().contiguous().numpy() for t in (*ctx.saved_tensors, grad)]
        x, beta, gain, start = arrays[:4]
        grad_x, beta_sum, gain_sum, carry = np.empty_like(x), *map(np.zeros_like, (beta, gain, start))
        filter_backward(*arrays, carry, grad_x, beta_sum, gain_sum)
        return tuple(map(torch.from_numpy, (grad_x, beta_sum, gain_sum, carry)))
