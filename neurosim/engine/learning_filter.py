"""The leaky integrator that learns: ``v_t = beta v_{t-1} + gain x_t``, forward and back; `[time, batch, neurons]`."""

from __future__ import annotations

from neurosim.engine.compiling import distinct, gradient


@distinct
def filter_forward(x, beta, gain, start, out):
    """start `[batch, neurons]` is v before the first step; beta and gain `[neurons]`."""
    for t in range(x.shape[0]):
        for b in range(x.shape[1]):
            before = out[t - 1, b] if t > 0 else start[b]
            for n in range(beta.size):
                out[t, b, n] = beta[n] * before[n] + gain[n] * x[t, b, n]


@gradient
def filter_backward(x, beta, gain, start, out, grad, carry, grad_x, beta_sum, gain_sum):
    """carry `[batch, neurons]`: 0 in, the gradient to start out; the gradients are added to beta_sum and gain_sum."""
    for t in range(x.shape[0] - 1, -1, -1):
        for b in range(x.shape[1]):
            before, after = out[t - 1, b] if t > 0 else start[b], carry[b]
            for n in range(beta.size):
                g = grad[t, b, n] + after[n]
                beta_sum[n] += g * before[n]
                gain_sum[n] += g * x[t, b, n]
                grad_x[t, b, n] = gain[n] * g
                after[n] = beta[n] * g
