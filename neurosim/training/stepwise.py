"""A population of spiking neurons step by step in torch: the reference of the fused kernels, and the path on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.autograd.function import FunctionCtx

from neurosim.engine.learning_forward import ARCTAN, FAST_SIGMOID, SUBTRACT_NOW, Neurons, Rule, State
from neurosim.engine.neurons import HOLD, SUBTRACT, ZERO
from neurosim.training.compiled import over_time


class _Spike(torch.autograd.Function):
    """``s = [u > 0]``; backwards ds/du is the surrogate of `Rule`."""

    @staticmethod
    def forward(u: torch.Tensor, above: torch.Tensor, kind: int, slope: float, height: float) -> torch.Tensor:
        return above.to(u.dtype)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: torch.Tensor) -> None:
        u, _, *ctx.shape = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple:
        (u,) = ctx.saved_tensors
        kind, slope, height = ctx.shape
        if kind == FAST_SIGMOID:
            h = (1 + slope * u.abs()) ** -2
        elif kind == ARCTAN:
            h = 1 / (1 + (math.pi / 2 * slope * u) ** 2)
        else:
            h = (1 - slope * u.abs()).clamp(min=0)
        return grad * (height * h), None, None, None, None


def stepwise(inputs: torch.Tensor, weight: torch.Tensor | None, neurons: Neurons, state: State, rule: Rule,
             readout: torch.Tensor | None = None, backend: str | None = None
             ) -> tuple[torch.Tensor, torch.Tensor | None, State]:
    """As `recurrence`, in torch's operations; with a backend of `torch.compile` a few steps at a time."""
    parts = tuple(part is not None for part in (*neurons, *state))
    spikes, last = over_time(_steps, inputs if weight is None else inputs @ weight, state, (neurons, rule), backend,
                             (rule, parts))
    return spikes, None if readout is None else spikes @ readout, last


def _steps(currents: Sequence[torch.Tensor], state: State, neurons: Neurons, rule: Rule
           ) -> tuple[torch.Tensor, State]:
    rows, bias, alpha, gain_syn, beta, gain, leak, threshold, beta_adaptation, adaptation, v_reset = neurons
    v, synaptic, adapted, spent, resting = state
    found = []
    for current in currents:
        if bias is not None:
            current = bias + current
        if rows is not None:
            current = current + spent @ rows
        if alpha is not None:
            synaptic = current = alpha * synaptic + gain_syn * current
        limit = threshold
        if adaptation is not None:
            adapted = beta_adaptation * adapted + (1 - beta_adaptation) * spent
            limit = threshold + adaptation * adapted
        drive = gain * current if leak is None else gain * current + leak
        through = spent if rule.attached else spent.detach()
        if rule.reset == SUBTRACT:
            v = (beta * v + drive) - through * limit
        elif rule.reset == SUBTRACT_NOW:
            again = (v > limit).to(v.dtype)
            v = (beta * v + drive) - again * limit
        elif rule.reset == ZERO:
            v = beta * (v * (1 - through) + v_reset * through) + drive
        elif rule.reset == HOLD:
            v = torch.where(spent > 0, v_reset, beta * v + drive)
        else:
            v = beta * v + drive
        above = v > limit
        u = (v - limit) / limit if rule.relative else v - limit
        spent = _Spike.apply(u, above.detach(), rule.surrogate, rule.slope, rule.height)
        if resting is not None:
            spent = (resting == 0).to(v.dtype) * spent
            resting = (resting + rule.refractory * spent.detach() - 1).clamp(min=0)
        if rule.reset == SUBTRACT_NOW:
            v = v - ((spent if rule.attached else spent.detach()) - again) * limit
        found.append(spent)
    return torch.stack(found), State(v, synaptic, adapted, spent, resting)
