"""One subthreshold neuron with its synapses as differential equations in amperes, by scipy's Radau: rtol 1e-10, spikes
as terminal events, pulses with their true length at their true times. Nothing of neurosim is used.

Parameters have the names of `DPINeuron` and are plain numbers.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

BOLTZMANN_PER_CHARGE = 8.617333262e-5
Pulse = tuple[float, str, float]  # time, block, weight


def feedback(p: dict[str, float], current: float) -> float:
    """Positive feedback onto the membrane."""
    share = p["kappa"] / (p["kappa"] + 1)
    power = p["i_0"] ** (1 - share) * current**share
    on = 1 / (1 + np.exp(-(current - p["i_feedback_threshold"]) / p["i_feedback_norm"]))
    return {"power": power, "sigmoid": p["i_feedback_gain"] * on, "product": power * on, "none": 0.0}[p["feedback"]]


def spike_times(p: dict[str, float], blocks: tuple[str, ...], pulses: list[Pulse], end: float,
                rtol: float = 1e-10) -> np.ndarray:
    """When the neuron fires until `end`. blocks: those that are there; the AHP's pulses come from its own spikes."""
    volts = BOLTZMANN_PER_CHARGE * p["temperature"] / p["kappa"]
    floor = np.log(p["i_0"])
    state = np.full(1 + len(blocks), floor)
    pulses = list(pulses)
    time, free, spikes = 0.0, 0.0, []

    def slopes(inputs: dict[str, float], held: bool, u: np.ndarray) -> np.ndarray:
        current = {"ampa": 0.0, "nmda": 0.0, "gaba": 0.0, "shunt": 0.0, "ahp": 0.0}
        out = np.zeros(u.size)
        for i, name in enumerate(blocks, 1):
            current[name] = np.exp(min(u[i], 0.0))
            inflow = inputs.get(name, 0.0) / (1 + current[name] / p[f"i_gain_{name}"])
            out[i] = (inflow - p[f"i_tau_{name}"]) / (p[f"c_{name}"] * volts)
        if not held:
            mem = np.exp(min(u[0], 0.0))
            drive = current["ampa"] + current["nmda"] / (1 + p["i_nmda_threshold"] / mem) - current["gaba"] + p["i_dc"]
            total = (max(drive, p["i_0"]) / (1 + mem / p["i_gain_mem"]) + feedback(p, mem) - p["i_tau_mem"]
                     - current["ahp"] - current["shunt"])
            out[0] = total / (p["c_mem"] * volts)
        return np.where((u <= floor) & (out < 0), 0.0, out)

    def crossing(_: float, u: np.ndarray) -> float:
        return u[0] - np.log(p["i_threshold"])

    crossing.terminal, crossing.direction = True, 1
    lengths = {"ahp": p["t_pulse_ahp"]}
    while time < end:
        marks = [t for t, name, _ in pulses for t in (t, t + lengths.get(name, p["t_pulse"])) if t > time]
        until = min([end, *marks, *([free] if free > time else [])])
        inputs: dict[str, float] = {}
        for t, name, weight in pulses:
            if t <= time < t + lengths.get(name, p["t_pulse"]):
                inputs[name] = inputs.get(name, 0.0) + weight
        held = time < free
        done = solve_ivp(lambda _, u, i=inputs, h=held: slopes(i, h, u), (time, until), state, method="Radau",
                         rtol=rtol, atol=1e-10, events=None if held else crossing, first_step=min(1e-6, until - time))
        state, time = np.maximum(done.y[:, -1], floor), float(done.t[-1]) if done.status == 1 else until
        if done.status == 1:
            spikes.append(time)
            state[0], free = np.log(max(p["i_reset"], p["i_0"])), time + p["t_refractory"]
            if "ahp" in blocks:
                pulses.append((time, "ahp", p["i_weight_ahp"]))
    return np.array(spikes)
