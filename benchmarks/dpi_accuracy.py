"""How right are subthreshold neurons at a given time step? Firing rates against scipy's Radau, from 10 pA to 1 uA.

The reference is the membrane's differential equation in u = ln I with relative tolerance 1e-10 and its spike as a
terminal event. Beside the engine stands what other simulators do: Euler's method in I, and in ln I, with spikes at the
end of a step. Writes the table to the screen and the plot to docs/dpi_accuracy.svg, or where `--plot` says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import numpy as np
from scipy.integrate import solve_ivp

import neurosim as ns
from benchmarks import harness
from neurosim.network.forward import run

CURRENTS = np.array([10e-12, 30e-12, 100e-12, 300e-12, 1e-9, 10e-9, 100e-9, 1e-6])
STEPS = (1e-5, 1e-4, 5e-4, 1e-3, 2e-3)
LAYER = ns.DPINeuron(i_tau_mem=5.5e-12, i_gain_mem=22e-12, c_mem=3e-12, i_threshold=100e-9, t_refractory=1e-3,
                     i_dc=0.0)


def slope(current: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """d(ln I)/dt of the membrane, 1/s."""
    i_0, p = float(LAYER.i_0), LAYER.kappa / (LAYER.kappa + 1)
    total = drive / (1 + current / LAYER.i_gain_mem) + i_0 ** (1 - p) * current**p - LAYER.i_tau_mem
    return total * LAYER.kappa / (LAYER.c_mem * LAYER.thermal_voltage)


def true_rate(drive: float) -> float:
    def crossing(_: float, u: np.ndarray) -> float:
        return u[0] - np.log(float(LAYER.i_threshold))

    crossing.terminal = True
    done = solve_ivp(lambda _, u: [float(slope(np.exp(u[0]), drive))], (0, 10), [np.log(float(LAYER.i_0))],
                     method="Radau", rtol=1e-10, atol=1e-12, events=crossing)
    return 1 / (done.t_events[0][0] + float(LAYER.t_refractory)) if done.t_events[0].size else 0.0


def rate_of(steps: np.ndarray, counts: np.ndarray, dt: float) -> float:
    """From the second spike to the last."""
    return counts[steps[1] + 1:].sum() / ((steps[-1] - steps[1]) * dt) if steps.size > 2 else 0.0


def engine_rates(dt: float, seconds: float) -> np.ndarray:
    network = ns.Network.sequential({"cells": LAYER}, (CURRENTS.size,), dt)
    inputs = np.broadcast_to(CURRENTS, (round(seconds / dt), 1, CURRENTS.size))
    spikes = run(network, inputs, keep=("cells",)).kept["cells"][:, 0]
    return np.array([rate_of(np.flatnonzero(one), one, dt) for one in spikes.T])


def euler_rates(dt: float, seconds: float, logarithmic: bool) -> np.ndarray:
    """Euler's method; a spike and its refractory period begin with the end of a step."""
    i_0, held = float(LAYER.i_0), round(float(LAYER.t_refractory) / dt)
    state, rest = np.full(CURRENTS.size, i_0), np.zeros(CURRENTS.size)
    counts = np.zeros((round(seconds / dt), CURRENTS.size))
    for t in range(counts.shape[0]):
        change = dt * slope(state, CURRENTS)
        moved = state * np.exp(np.minimum(change, 50)) if logarithmic else state * (1 + change)
        state = np.where(rest > 0, i_0, np.maximum(moved, i_0))
        fired = state > LAYER.i_threshold
        counts[t], rest = fired, np.where(fired, held, np.maximum(rest - 1, 0))
        state = np.where(fired, i_0, state)
    return np.array([rate_of(np.flatnonzero(one), one, dt) for one in counts.T])


def measure(quick: bool) -> dict[str, object]:
    seconds = 4.0 if quick else 20.0
    wanted, errors = np.array([true_rate(drive) for drive in CURRENTS]), {}
    for dt in STEPS[1:] if quick else STEPS:
        errors[dt] = {
            "neurosim": (engine_rates(dt, seconds) / wanted - 1).tolist(),
            "Euler in I": (euler_rates(dt, min(seconds, 4.0), False) / wanted - 1).tolist(),
            "Euler in ln I": (euler_rates(dt, min(seconds, 4.0), True) / wanted - 1).tolist()}
    low = CURRENTS <= 1e-9

    def worst(dt: float, where: np.ndarray) -> float:
        return float(np.abs(np.array(errors[dt]["neurosim"])[where]).max())

    return {
        "name": "dpi_accuracy", "machine": harness.machine(), "versions": harness.versions("numpy", "numba", "scipy"),
        "settings": {"currents_A": CURRENTS.tolist(), "seconds": seconds, "layer": repr(LAYER)},
        "results": {"rates_Hz": wanted.tolist(), "errors": {f"{dt:g}": found for dt, found in errors.items()}},
        "bars": [harness.bar("largest error of a rate from 10 pA to 1 nA at 0.1 ms", worst(1e-4, low), at_most=1e-3),
                 harness.bar("the same at 1 ms", worst(1e-3, low), at_most=1e-2),
                 harness.bar("error at 10 nA and 1 ms", worst(1e-3, CURRENTS == 10e-9), at_most=3e-2)],
        "missing": []}


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["dt", "error in %", *(f"{1e9 * current:g} nA" for current in CURRENTS)],
            ["", "rate, Hz", *(f"{rate:.4g}" for rate in result["results"]["rates_Hz"])]]
    for dt, found in result["results"]["errors"].items():
        rows += [[f"{1e3 * float(dt):g} ms", name, *(f"{100 * error:.2f}" for error in errors)]
                 for name, errors in found.items()]
    return rows


def plot(result: Mapping[str, object], path: str) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "neurosim"
    found = result["results"]["errors"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in (("neurosim", "o-"), ("Euler in I", "s--"), ("Euler in ln I", "^:")):
        for current, colour in ((100e-12, "tab:blue"), (1e-9, "tab:orange"), (10e-9, "tab:red")):
            at = int(np.argmin(np.abs(CURRENTS - current)))
            axes.loglog([1e3 * float(dt) for dt in found], [max(abs(e[name][at]), 1e-6) for e in found.values()], style,
                        color=colour, label=f"{name}, {1e9 * current:g} nA")
    axes.set(xlabel="time step (ms)", ylabel="relative error of the firing rate")
    axes.legend(fontsize="small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22), frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else there")
    parser.add_argument("--quick", action="store_true", help="shorter runs, under a minute")
    parser.add_argument("--plot", default="docs/dpi_accuracy.svg", help="where the plot goes")
    options = parser.parse_args()
    result = measure(options.quick)
    plot(result, options.plot)
    return harness.finish(result, table(result), options.json)


if __name__ == "__main__":
    sys.exit(main())
