"""The leaky integrator over all time steps, differentiable: kernels on the CPU, torch's operations elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from neurosim.engine.learning_filter import filter_backward, filter_forward


def integrate(x: torch.Tensor, beta: torch.Tensor, gain: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """``v_t = beta v_{t-1} + gain x_t``: x `[time, batch, neurons]`, start `[batch, neurons]`, else `[neurons]`."""
    if x.device.type == "cpu":
        return _Integrate.apply(x, beta, gain, start)
    v, steps = start, []
    for now in x.unbind(0):
        v = beta * v + gain * now
        steps.append(v)
    return torch.stack(steps)


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
