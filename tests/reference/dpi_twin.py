"""The kernel of subthreshold neurons once more: one neuron, one step, one sub-step after the other, in Python's floats.

Nothing of neurosim is imported. Parameters are those of `DPINeuron` in amperes, farads and seconds, as plain numbers
for each neuron; the scheme is the one that `neurosim.engine.dpi` promises.
"""

from __future__ import annotations

import math

import numpy as np

MOST, ALLOWED, SHORTEST = 1.0, 0.02, 1 / 8192
BOLTZMANN_PER_CHARGE = 8.617333262e-5
BLOCKS = ("ampa", "nmda", "gaba", "shunt")


class Neuron:
    """State and step of one neuron; growths of pulses come in, the number of spikes goes out."""

    def __init__(self, p: dict[str, object], dt: float) -> None:
        self.p, self.dt, self.volts = p, dt, BOLTZMANN_PER_CHARGE * p["temperature"] / p["kappa"]
        self.v = math.log(p["i_0"] / p["i_gain_mem"])
        self.y = {name: p["i_0"] / p[f"i_gain_{name}"] for name in (*BLOCKS, "ahp")}
        self.rest = 0.0

    def tau(self, name: str) -> float:
        return self.p[f"c_{name}"] * self.volts / self.p[f"i_tau_{name}"]

    def growth(self, name: str, weight: float, pulse: str = "t_pulse") -> float:
        return weight * self.p[pulse] / (self.p[f"c_{name}"] * self.volts)

    def pulsed(self, y: float, growth: float, leak: float) -> float:
        """y' + ln y' = y + ln y + growth, by bisection in ln y', and the first-order correction for the leak."""
        low, high = math.log(y), math.log(y) + growth
        for _ in range(200):
            middle = (low + high) / 2
            over = middle + math.exp(middle) > y + math.log(y) + growth
            low, high = (low, middle) if over else (middle, high)
        end = math.exp((low + high) / 2)
        if growth <= 1e-3:
            return end
        mean = (end - y) * (1 + (y + end) / 2) / growth
        off = leak * (mean - (y + end) / 2) / (1 + end)
        return end * (1 - off + off * off / 2)

    def synapse(self, name: str, weight: float) -> float:
        """The step of a synapse; returns the mean of its current over the step."""
        p, tau = self.p, self.tau(name)
        floor, half = p["i_0"] / p[f"i_gain_{name}"], math.exp(-p["t_pulse"] / (2 * tau))
        if p["synapse_model"] == "linear":
            leak = p["t_pulse"] / tau
            y = (self.y[name] + self.growth(name, weight) * (1 - math.exp(-leak)) / leak) * math.exp(-self.dt / tau)
        else:
            y = self.pulsed(self.y[name] * half, self.growth(name, weight), p["t_pulse"] / tau)
            y *= math.exp(-(self.dt - p["t_pulse"] / 2) / tau)
        self.y[name] = max(y, floor)
        return self.mean(name)

    def mean(self, name: str) -> float:
        p, tau, y = self.p, self.tau(name), self.y[name]
        over = math.expm1(self.dt / tau) * tau / self.dt
        return p[f"i_gain_{name}"] * (y * over - p["i_0"] / p[f"i_gain_{name}"] * (over - 1))

    def flow(self, v: float, drive: float, gated: float, leak: float) -> tuple[float, float]:
        """dv/dt per step and its derivative."""
        p, x = self.p, math.exp(v)
        share = 1 / (1 + x)
        through = 1 / (1 + p["i_nmda_threshold"] / (x * p["i_gain_mem"]))
        current = drive + gated * through
        slope = gated * through * (1 - through)
        if current <= p["i_0"]:
            current, slope = p["i_0"], 0.0
        kappa = p["kappa"]
        power = kappa / (kappa + 1) if p["feedback"] in ("power", "product") else 0.0
        if p["feedback"] in ("power", "product"):
            back = p["i_0"] ** (1 - power) * (x * p["i_gain_mem"]) ** power
        else:
            back = p["i_feedback_gain"] if p["feedback"] == "sigmoid" else 0.0
        steep = power * back
        if p["feedback"] in ("sigmoid", "product"):
            on = 1 / (1 + math.exp((p["i_feedback_threshold"] - x * p["i_gain_mem"]) / p["i_feedback_norm"]))
            steep = on * (steep + back * (1 - on) * x * p["i_gain_mem"] / p["i_feedback_norm"])
            back *= on
        rate = self.dt / (p["c_mem"] * self.volts)
        return (rate * (current * share + back - p["i_tau_mem"] - leak),
                rate * ((slope - current * x * share) * share + steep))

    def step(self, weights: dict[str, float], current: float) -> int:
        """One step; weights: the sum of the pulses' currents for each synapse type that is there."""
        p = self.p
        drive, gated, leak = p["i_dc"] + current, 0.0, 0.0
        for name, weight in weights.items():
            mean = self.synapse(name, weight)
            drive += {"ampa": mean, "gaba": -mean}.get(name, 0.0)
            gated += mean if name == "nmda" else 0.0
            leak += mean if name == "shunt" else 0.0
        if "i_weight_ahp" in p:
            self.y["ahp"] = max(self.y["ahp"] * math.exp(-self.dt / self.tau("ahp")), p["i_0"] / p["i_gain_ahp"])
            leak += self.mean("ahp")
        left, self.rest = max(1 - self.rest, 0.0), max(self.rest - 1, 0.0)
        limit, spikes = 1.0, 0
        floor, threshold = (math.log(p[name] / p["i_gain_mem"]) for name in ("i_0", "i_threshold"))
        while left > 0:
            f, slope = self.flow(self.v, drive, gated, leak)
            if self.v <= floor and f <= 0:
                break
            h = min(left, limit, MOST / max(abs(f), 1e-30), 1 / max(slope, 1e-30))
            z = h * slope
            moved = h * f * (1 - z / 10 + z * z / 60) / (1 - 3 * z / 5 + 3 * z * z / 20 - z**3 / 60)
            f_end, _ = self.flow(self.v + moved, drive, gated, leak)
            more = h * (f_end - f - slope * moved) / 3 / (1 - z / 4)
            if abs(more) > ALLOWED and h > SHORTEST:
                limit = h / 2
                continue
            limit = 1.0
            end = max(self.v + moved + more, floor)
            if end <= threshold:
                self.v, left = end, left - h
                continue
            f_end += slope * more
            span = end - self.v
            s = (threshold - self.v) / span
            at = h * s
            if f > 0 and f_end > 0:
                at = span * s * (1 - s) * ((1 - s) / f - s / f_end) + h * s * s * (3 - 2 * s)
            remains = left - min(max(at, 0.0), h)
            spikes += 1
            self.v = math.log(max(p["i_reset"], p["i_0"]) / p["i_gain_mem"])
            left = max(remains - p["t_refractory"] / self.dt, 0.0)
            self.rest = max(p["t_refractory"] / self.dt - remains, 0.0)
            if "i_weight_ahp" in p:
                tau = self.tau("ahp")
                back = math.exp(remains * self.dt / tau - p["t_pulse_ahp"] / (2 * tau))
                y = self.pulsed(self.y["ahp"] * back, self.growth("ahp", p["i_weight_ahp"], "t_pulse_ahp"),
                                p["t_pulse_ahp"] / tau)
                self.y["ahp"] = max(y / back, p["i_0"] / p["i_gain_ahp"])
        return spikes


def run(neurons: list[dict[str, object]], dt: float, spikes: np.ndarray, weights: dict[str, np.ndarray],
        recurrent: dict[str, np.ndarray], currents: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Spike counts and v, `[time, neurons]`, for input `spikes [time, inputs]` of one sample."""
    made = [Neuron(p, dt) for p in neurons]
    out = np.zeros((spikes.shape[0], len(made)), np.int64)
    v = np.zeros(out.shape)
    types = [name for name in BLOCKS if name in weights or name in recurrent]
    for t in range(spikes.shape[0]):
        for n, neuron in enumerate(made):
            given = {name: float(weights[name][n] @ spikes[t]) if name in weights else 0.0 for name in types}
            for name in types:
                if name in recurrent and t > 0:
                    given[name] += float(recurrent[name][n] @ out[t - 1])
            out[t, n] = neuron.step(given, 0.0 if currents is None else currents[t, n])
            v[t, n] = neuron.v
    return out, v
