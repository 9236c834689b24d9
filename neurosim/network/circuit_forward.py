"""DPINeuron as the kernels take it: currents in units of each neuron's own leak and gain, times in steps.

Amperes, farads and seconds end here. The numbers of the noise are drawn here, one for each neuron and step of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from neurosim import engine
from neurosim.engine import dpi
from neurosim.engine.arrays import aligned
from neurosim.errors import NeurosimError
from neurosim.network.circuit_layers import SYNAPSES, DPINeuron
from neurosim.streams import Effect, ReadKey, normal

TARGETS = {"ampa": dpi.DRIVE, "nmda": dpi.GATED, "gaba": dpi.DRIVE, "shunt": dpi.LEAK}
_MOST_SPIKES = 64  # in a step; more, and dt is too long for this neuron
Array = Any  # of numpy or torch
Arrays = Mapping[str, Array]


def normalised(layer: DPINeuron, own: Mapping[str, np.ndarray], neurons: int, dt: float, dtype: np.dtype
               ) -> dict[str, object]:
    """What `engine.dpi` takes, by name, `[..., width]` with neurons that do nothing behind the last one.

    own: the parameters in SI units, the layer's or a die's. Raises where a pulse is longer than a step, and where a
    neuron could fire too often in one.
    """
    si = {name: np.broadcast_to(np.asarray(own[name], np.float64), (neurons,)) for name in layer.parameters
          if name in own and not name.startswith(("weight_", "recurrent_"))}
    width, volts = neurons + -neurons % 8, layer.thermal_voltage / layer.kappa
    made = {"cells": _wide(np.stack(cell_rows(layer, si, volts, dt, np)), width, dtype)}
    found = [s for s in SYNAPSES if f"weight_{s}" in own or f"recurrent_{s}" in own]
    blocks = [block_rows(layer, si, name, volts, dt, np) for name in found]
    rows = {"weight": [], "recurrent": []}
    at = {kind: np.full(len(found), -1) for kind in rows}
    for i, name in enumerate(found):
        growth = growth_per_ampere(layer, si, name, volts)
        for kind, kinds in rows.items():
            if f"{kind}_{name}" in own:
                at[kind][i] = len(kinds)
                kinds.append(engine.padded_rows(np.multiply(own[f"{kind}_{name}"], growth[:, None]), dtype))
    for kind, kinds in (("rows", rows["weight"]), ("recurrent", rows["recurrent"])):
        made[kind] = np.stack(kinds) if kinds else np.empty((0, 0, width), dtype)
    return {
        **made, "synapses": _wide(np.reshape(blocks, (len(found), dpi.SYNAPSE_ROWS, neurons)), width, dtype, 1.0),
        "inputs_at": at["weight"], "recurrent_at": at["recurrent"],
        "targets": np.array([TARGETS[name] for name in found], np.int64), "adapts": "i_weight_ahp" in own,
        "most": spikes_in_a_step(si, dt), "leak": si["i_tau_mem"], "noise": si.get("noise_dc"), "dt": dt,
        "neurons": neurons, **rules(layer)}


def rules(layer: DPINeuron) -> dict[str, object]:
    """What is the same for all neurons."""
    return {"linear": layer.synapse_model == "linear", "sigmoid": layer.feedback in ("sigmoid", "product"),
            "power": layer.kappa / (layer.kappa + 1) if layer.feedback in ("power", "product") else 0.0}


def cell_rows(layer: DPINeuron, si: Arrays, volts: float, dt: float, xp: ModuleType) -> list[Array]:
    """The rows of `cells`, each `[neurons]`; xp is numpy or torch, and si holds its arrays. volts: UT / kappa."""
    leak, gain, i_0 = si["i_tau_mem"], si["i_gain_mem"], si["i_0"]
    zero = xp.zeros_like(leak)
    rows = [zero] * dpi.CELL_ROWS
    rows[dpi.RATE] = dt * leak / (si["c_mem"] * volts)
    rows[dpi.LEAST] = i_0 / leak
    rows[dpi.FLOOR] = xp.log(i_0 / gain)
    rows[dpi.THRESHOLD] = xp.log(si["i_threshold"] / gain)
    rows[dpi.RESET] = xp.log(xp.maximum(si["i_reset"], i_0) / gain)
    rows[dpi.GATE] = si["i_nmda_threshold"] / gain
    rows[dpi.REFRACTORY] = si["t_refractory"] / dt
    rows[dpi.BIAS] = si["i_dc"] / leak
    if layer.feedback == "sigmoid":
        rows[dpi.GAIN] = si["i_feedback_gain"] / leak
    elif layer.feedback != "none":
        p = layer.kappa / (layer.kappa + 1)
        rows[dpi.GAIN] = i_0 ** (1 - p) * gain**p / leak
    if layer.feedback in ("sigmoid", "product"):
        rows[dpi.SLOPE] = gain / si["i_feedback_norm"]
        rows[dpi.MIDDLE] = si["i_feedback_threshold"] / gain
    if "i_weight_ahp" in si:
        block = block_rows(layer, si, "ahp", volts, dt, xp)
        whole = block[dpi.ENTER] * block[dpi.DECAY]
        rows[dpi.ADAPT_ENTER], rows[dpi.ADAPT_DECAY], rows[dpi.ADAPT_RATE] = block[dpi.ENTER], whole, -xp.log(whole)
        rows[dpi.ADAPT_FLOOR], rows[dpi.ADAPT_MEAN] = block[dpi.Y_FLOOR], block[dpi.MEAN]
        rows[dpi.ADAPT_OFFSET], rows[dpi.ADAPT_LEAK] = block[dpi.OFFSET], block[dpi.PULSE_LEAK]
        rows[dpi.ADAPT_GROWTH] = si["i_weight_ahp"] * si["t_pulse_ahp"] / (si["c_ahp"] * volts)
    return rows


def block_rows(layer: DPINeuron, si: Arrays, name: str, volts: float, dt: float, xp: ModuleType) -> list[Array]:
    """The rows of `synapses` of one differential-pair integrator, each `[neurons]`."""
    tau, gain = si[f"c_{name}"] * volts / si[f"i_tau_{name}"], si[f"i_gain_{name}"]
    t_pulse = si["t_pulse_ahp" if name == "ahp" else "t_pulse"]
    rows = [gain] * dpi.SYNAPSE_ROWS
    rows[dpi.ENTER], rows[dpi.DECAY] = xp.exp(-t_pulse / (2 * tau)), xp.exp(-(dt - t_pulse / 2) / tau)
    if layer.synapse_model == "linear" and name != "ahp":
        rows[dpi.ENTER], rows[dpi.DECAY] = xp.ones_like(tau), xp.exp(-dt / tau)
    rows[dpi.Y_FLOOR] = si["i_0"] / gain
    rows[dpi.PULSE_LEAK] = t_pulse / tau
    mean = xp.expm1(dt / tau) * tau / dt  # of an exponential over the step, relative to its end
    sign = -1 if name == "gaba" else 1
    rows[dpi.MEAN] = sign * gain / si["i_tau_mem"] * mean
    rows[dpi.OFFSET] = sign * si["i_0"] / si["i_tau_mem"] * (mean - 1)
    return rows


def growth_per_ampere(layer: DPINeuron, si: Arrays, name: str, volts: float) -> Array:
    """What a weight of one ampere does in a pulse, `[neurons]`: ``t kappa / (C UT)``; a little less where linear."""
    growth = si["t_pulse"] / (si[f"c_{name}"] * volts)
    if layer.synapse_model == "exact":
        return growth
    leak = growth * si[f"i_tau_{name}"]
    return growth * (1 - leak / 2 * (1 - leak / 3 * (1 - leak / 4 * (1 - leak / 5))))  # (1 - e^-leak) / leak


def spikes_in_a_step(si: Arrays, dt: float) -> int:
    """How often a neuron can fire in a step; refuses pulses longer than a step."""
    for name in ("t_pulse", *(("t_pulse_ahp",) if "i_weight_ahp" in si else ())):
        if si[name].max() > dt:
            raise NeurosimError(f"{name} is {si[name].max():g} s, longer than a time step of {dt:g} s",
                                allowed="at most dt", hint="take a longer dt, or a stronger and shorter pulse")
    most = int(dt / si["t_refractory"].min()) + 1
    if most > _MOST_SPIKES:
        raise NeurosimError(f"with t_refractory {si['t_refractory'].min():g} s a neuron may fire {most} times in a "
                            f"step of {dt:g} s", allowed=f"{_MOST_SPIKES}", hint="take a shorter dt")
    return most


def _wide(values: np.ndarray, width: int, dtype: np.dtype, fill: float = 0.0) -> np.ndarray:
    out = aligned((*values.shape[:-1], width), dtype)
    out[...] = fill
    out[..., :values.shape[-1]] = values
    return out


def run_circuit(layer: DPINeuron, arrays: Mapping[str, object], pointers: np.ndarray, indices: np.ndarray,
                current: np.ndarray | None, samples: slice, time: int, dtype: np.dtype
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events (pointers, indices) of a population, and the spikes of each neuron, int64 `[neurons]`.

    Input are events, or current `[batch, time, neurons]` in amperes; samples: their places in the data, by which the
    noise is drawn.
    """
    given = {name: value for name, value in arrays.items() if name not in ("leak", "noise", "dt", "neurons")}
    batch, neurons, leak = samples.stop - samples.start, arrays["neurons"], arrays["leak"]
    noise = arrays["noise"] if arrays["noise"] is not None and arrays["noise"].any() else None
    drive = np.empty((0, 0, 0), dtype)
    if current is not None or noise is not None:
        drive = np.zeros((batch, time, given["cells"].shape[1]), dtype)
    if current is not None:
        drive[..., :neurons] = current / leak
    if noise is not None:
        size = (noise / (np.sqrt(2 * arrays["dt"]) * leak)).astype(dtype)
        for b in range(batch):
            key = ReadKey(layer.noise_seed, 0, 0, Effect.BIAS_NOISE, sample=samples.start + b)
            drive[b, :, :neurons] += size * normal(key, time * neurons).reshape(time, neurons)
    found = dpi.simulate(pointers, indices, current=drive, batches=batch, times=time, **given)
    return found[0], found[1], found[2][:neurons]
