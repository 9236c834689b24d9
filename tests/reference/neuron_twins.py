"""The neurons of `neurosim.network.layers` once more: slow, obvious numpy, one sample and one step after the other.

Nothing of `neurosim` is imported here. Signals are `[time, batch, neurons]`, as users see them. The order of the
floating-point operations is the one that the kernels promise: bias, then the dense drive, then the rows of the input
spikes from the first input to the last, then the rows of the neurons that fired one step before.

A model is a function `step(state, current [neurons]) -> output [neurons]`. It keeps in `state` what it remembers:
the membrane `v`, and which value was `compared` with which `limit`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

State = dict[str, np.ndarray]
Step = Callable[[State, np.ndarray], np.ndarray]


def run(step: Step, bias: np.ndarray, drive: np.ndarray | None = None, spikes: np.ndarray | None = None,
        weight: np.ndarray | None = None, recurrent: np.ndarray | None = None) -> np.ndarray:
    """Output `[time, batch, neurons]` of a model.

    bias `[neurons]`; drive `[time, batch, neurons]`; spikes `[time, batch, inputs]` with weight `[neurons, inputs]`;
    recurrent `[neuron, from neuron]`.
    """
    time, batch = (drive if drive is not None else spikes).shape[:2]
    out = np.zeros((time, batch, bias.size), bias.dtype)
    for b in range(batch):
        state = {}
        for t in range(time):
            current = bias.copy()
            if drive is not None:
                current = current + drive[t, b]
            if spikes is not None:
                for i in np.flatnonzero(spikes[t, b]):
                    current = current + weight[:, i]
            if recurrent is not None and t > 0:
                for i in np.flatnonzero(out[t - 1, b]):
                    current = current + recurrent[:, i]
            out[t, b] = step(state, current)
    return out


def membrane(state: State, drive: np.ndarray, beta: np.ndarray, threshold: np.ndarray, v_reset: np.ndarray, reset: str,
             delay: bool) -> np.ndarray:
    """One step of the membrane with `drive` = gain x + leak; returns the spikes.

    Without delay, snnTorch's rules: the reset of the last step acts here all the same where v is still above
    threshold, and the reset of this step is what is left to do.
    """
    v = state.get("v", np.zeros_like(beta))
    above = v > threshold
    if reset == "subtract":
        v = (beta * v + drive) - above.astype(v.dtype) * threshold
        spikes, compared = v > threshold, v
        if not delay:
            v = v - (spikes.astype(v.dtype) - above.astype(v.dtype)) * threshold
    elif reset == "zero":
        if delay:
            v = np.where(above, v_reset, v)
        v = beta * v + drive
        spikes, compared = v > threshold, v
        if not delay:
            v = np.where(spikes, v_reset, v)
    elif reset == "hold":
        v = np.where(above, v_reset, beta * v + drive)
        spikes, compared = v > threshold, v
        if not delay:
            v = np.where(spikes, v_reset, v)
    else:
        v = beta * v + drive
        spikes, compared = v > threshold, v
    state.update(v=v, compared=compared, limit=threshold)
    return spikes


def lif(beta: np.ndarray, threshold: np.ndarray, gain: np.ndarray, v_reset: np.ndarray, reset: str,
        delay: bool) -> Step:
    """`LIF`; its output is spikes."""
    def step(state: State, current: np.ndarray) -> np.ndarray:
        return membrane(state, gain * current, beta, threshold, v_reset, reset, delay)

    return step


def cuba_lif(alpha: np.ndarray, beta: np.ndarray, threshold: np.ndarray, gain_syn: np.ndarray, gain: np.ndarray,
             leak: np.ndarray, v_reset: np.ndarray, reset: str, delay: bool) -> Step:
    """`CubaLIF`; its output is spikes."""
    def step(state: State, current: np.ndarray) -> np.ndarray:
        state["i"] = alpha * state.get("i", np.zeros_like(beta)) + gain_syn * current
        return membrane(state, gain * state["i"] + leak, beta, threshold, v_reset, reset, delay)

    return step


def adaptive_lif(beta: np.ndarray, beta_adaptation: np.ndarray, threshold: np.ndarray, adaptation: np.ndarray,
                 gain: np.ndarray, refractory: int) -> Step:
    """`AdaptiveLIF`; its output is spikes."""
    one = beta.dtype.type(1)

    def step(state: State, current: np.ndarray) -> np.ndarray:
        v, a, s = (state.get(name, np.zeros_like(beta)) for name in ("v", "a", "s"))
        a = beta_adaptation * a + (one - beta_adaptation) * s
        limit = threshold + adaptation * a
        v = (beta * v + gain * current) - s * limit
        spikes = v > limit
        past = state.get("past", [])
        for steps_ago in range(1, min(refractory, len(past) + 1)):
            spikes = spikes & ~past[-steps_ago]
        state.update(v=v, compared=v, a=a, s=spikes.astype(beta.dtype), limit=limit, past=[*past, spikes])
        return spikes

    return step


def leaky_integrator(beta: np.ndarray, gain: np.ndarray) -> Step:
    """`LeakyIntegrator`; its output is the membrane."""
    def step(state: State, current: np.ndarray) -> np.ndarray:
        state["v"] = beta * state.get("v", np.zeros_like(beta)) + gain * current
        return state["v"]

    return step
