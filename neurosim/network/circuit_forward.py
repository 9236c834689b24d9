"""DPINeuron as the kernels take it: currents in units of each neuron's own leak and gain, times in steps.

Amperes, farads and seconds end here. The numbers of the noise are drawn here, one for each neuron and step of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from neurosim import engine
from neurosim.engine import dpi, dpi_steps
from neurosim.errors import NeurosimError
from neurosim.network.circuit_layers import SYNAPSES, DPINeuron
from neurosim.streams import Effect, ReadKey, normal

TARGETS = {"ampa": dpi_steps.DRIVE, "nmda": dpi_steps.GATED, "gaba": dpi_steps.DRIVE, "shunt": dpi_steps.LEAK}
PER_DIE = ("cells", "synapses", "rows", "recurrent", "leak", "gains", "noise")
_MOST_SPIKES = 64  # in a step; more, and dt is too long for this neuron
Array = Any  # of numpy or torch
Arrays = Mapping[str, Array]


def normalised(layer: DPINeuron, own: Mapping[str, np.ndarray], neurons: int, dt: float, dtype: np.dtype
               ) -> dict[str, object]:
    """What `engine.dpi.simulate` takes, by name, `[..., width]` with neurons that do nothing behind the last one.

    own: the parameters in SI units, the layer's or a die's. Raises where a pulse is longer than a step, and where a
    neuron could fire too often in one.
    """
    many = normalised_dies(layer, [own], neurons, dt, dtype)
    return {name: value[0] if name in PER_DIE and value is not None else value for name, value in many.items()}


def normalised_dies(layer: DPINeuron, owns: Sequence[Mapping[str, np.ndarray]], neurons: int, dt: float, dtype: np.dtype
                    ) -> dict[str, object]:
    """The same for `engine.dpi.simulate_dies`: the arrays PER_DIE have a die axis before all others."""
    first, dies = owns[0], len(owns)
    names = [name for name in layer.parameters if name in first and not name.startswith(("weight_", "recurrent_"))]
    si = dict(zip(names, np.empty((len(names), dies, neurons)), strict=True))
    for name, values in si.items():
        for die, own in enumerate(owns):
            values[die] = own[name]
    width, volts = neurons + -neurons % 8, layer.thermal_voltage / layer.kappa
    found = [s for s in SYNAPSES if f"weight_{s}" in first or f"recurrent_{s}" in first]
    blocks = np.reshape([block_rows(layer, si, name, volts, dt, np) for name in found],
                        (len(found), dpi_steps.SYNAPSE_ROWS, dies, neurons))
    made = {"cells": _wide(np.moveaxis(np.stack(cell_rows(layer, si, volts, dt, np)), 1, 0), width, dtype),
            "synapses": _wide(np.moveaxis(blocks, 2, 0), width, dtype, 1.0)}
    for kind, at, rows in (("weight", "inputs_at", "rows"), ("recurrent", "recurrent_at", "recurrent")):
        types = [name for name in found if f"{kind}_{name}" in first]
        made[at] = np.array([types.index(name) if name in types else -1 for name in found], np.int64)
        inputs = first[f"{kind}_{types[0]}"].shape[1] if types else 0
        made[rows] = engine.aligned((dies, len(types), inputs, width), dtype)
        made[rows][..., neurons:] = 0
        for k, name in enumerate(types):
            growth = growth_per_ampere(layer, si, name, volts)
            for die, own in enumerate(owns):
                engine.scaled_rows(np.ascontiguousarray(own[f"{kind}_{name}"]), growth[die], made[rows][die, k])
    return {
        **made, "targets": np.array([TARGETS[name] for name in found], np.int64), "adapts": "i_weight_ahp" in first,
        "most": spikes_in_a_step(si, dt), "leak": si["i_tau_mem"], "noise": si.get("noise_dc"), "dt": dt,
        "kinds": ("membrane", *found),
        "gains": np.stack([si["i_gain_mem"], *(si[f"i_gain_{name}"] for name in found)], axis=1),
        "neurons": neurons, **rules(layer)}


def rules(layer: DPINeuron) -> dict[str, object]:
    """What is the same for all neurons."""
    return {"linear": layer.synapse_model == "linear", "sigmoid": layer.feedback in ("sigmoid", "product"),
            "power": layer.kappa / (layer.kappa + 1) if layer.feedback in ("power", "product") else 0.0}


def cell_rows(layer: DPINeuron, si: Arrays, volts: float, dt: float, xp: ModuleType) -> list[Array]:
    """The rows of `cells`, each `[neurons]`; xp is numpy or torch, and si holds its arrays. volts: UT / kappa."""
    leak, gain, i_0 = si["i_tau_mem"], si["i_gain_mem"], si["i_0"]
    zero = xp.zeros_like(leak)
    rows = [zero] * dpi_steps.CELL_ROWS
    rows[dpi_steps.RATE] = dt * leak / (si["c_mem"] * volts)
    rows[dpi_steps.LEAST] = i_0 / leak
    rows[dpi_steps.FLOOR] = xp.log(i_0 / gain)
    rows[dpi_steps.THRESHOLD] = xp.log(si["i_threshold"] / gain)
    rows[dpi_steps.RESET] = xp.log(xp.maximum(si["i_reset"], i_0) / gain)
    rows[dpi_steps.GATE] = si["i_nmda_threshold"] / gain
    rows[dpi_steps.REFRACTORY] = si["t_refractory"] / dt
    rows[dpi_steps.BIAS] = si["i_dc"] / leak
    if layer.feedback == "sigmoid":
        rows[dpi_steps.GAIN] = si["i_feedback_gain"] / leak
    elif layer.feedback != "none":
        p = layer.kappa / (layer.kappa + 1)
        rows[dpi_steps.GAIN] = i_0 ** (1 - p) * gain**p / leak
    if layer.feedback in ("sigmoid", "product"):
        rows[dpi_steps.SLOPE] = gain / si["i_feedback_norm"]
        rows[dpi_steps.MIDDLE] = si["i_feedback_threshold"] / gain
    if "i_weight_ahp" in si:
        block = block_rows(layer, si, "ahp", volts, dt, xp)
        whole = block[dpi_steps.ENTER] * block[dpi_steps.DECAY]
        rows[dpi_steps.ADAPT_ENTER], rows[dpi_steps.ADAPT_DECAY] = block[dpi_steps.ENTER], whole
        rows[dpi_steps.ADAPT_RATE] = -xp.log(whole)
        rows[dpi_steps.ADAPT_FLOOR], rows[dpi_steps.ADAPT_MEAN] = block[dpi_steps.Y_FLOOR], block[dpi_steps.MEAN]
        rows[dpi_steps.ADAPT_OFFSET], rows[dpi_steps.ADAPT_LEAK] = block[dpi_steps.OFFSET], block[dpi_steps.PULSE_LEAK]
        rows[dpi_steps.ADAPT_GROWTH] = si["i_weight_ahp"] * si["t_pulse_ahp"] / (si["c_ahp"] * volts)
    return rows


def block_rows(layer: DPINeuron, si: Arrays, name: str, volts: float, dt: float, xp: ModuleType) -> list[Array]:
    """The rows of `synapses` of one differential-pair integrator, each `[neurons]`."""
    tau, gain = si[f"c_{name}"] * volts / si[f"i_tau_{name}"], si[f"i_gain_{name}"]
    t_pulse = si["t_pulse_ahp" if name == "ahp" else "t_pulse"]
    rows = [gain] * dpi_steps.SYNAPSE_ROWS
    rows[dpi_steps.ENTER], rows[dpi_steps.DECAY] = xp.exp(-t_pulse / (2 * tau)), xp.exp(-(dt - t_pulse / 2) / tau)
    if layer.synapse_model == "linear" and name != "ahp":
        rows[dpi_steps.ENTER], rows[dpi_steps.DECAY] = xp.ones_like(tau), xp.exp(-dt / tau)
    rows[dpi_steps.Y_FLOOR] = si["i_0"] / gain
    rows[dpi_steps.PULSE_LEAK] = t_pulse / tau
    mean = xp.expm1(dt / tau) * tau / dt  # of an exponential over the step, relative to its end
    sign = -1 if name == "gaba" else 1
    rows[dpi_steps.MEAN] = sign * gain / si["i_tau_mem"] * mean
    rows[dpi_steps.OFFSET] = sign * si["i_0"] / si["i_tau_mem"] * (mean - 1)
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
    out = engine.aligned((*values.shape[:-1], width), dtype)
    out[...] = fill
    out[..., :values.shape[-1]] = values
    return out


def run_circuit(layer: DPINeuron, arrays: Mapping[str, object], pointers: np.ndarray, indices: np.ndarray,
                current: np.ndarray | None, samples: slice, time: int, dtype: np.dtype,
                traces: dict[str, np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events (pointers, indices) of a population, and the spikes of each neuron, int64 `[neurons]`.

    Input are events, or current `[batch, time, neurons]` in amperes; samples: their places in the data, by which the
    noise is drawn. traces: gets the current of the membrane and of each kind of synapse at the end of each step, in
    amperes, `[batch, time, neurons]`.
    """
    many = {name: value[None] if name in PER_DIE and value is not None else value for name, value in arrays.items()}
    shape = (samples.stop - samples.start, time, 2 + len(arrays["kinds"]), arrays["cells"].shape[-1])
    trace = None if traces is None else np.zeros(shape, dtype)
    (found,) = run_dies(layer, many, pointers[None], indices, None if current is None else current[None], samples, time,
                        dtype, trace)
    if traces is not None:
        units = [np.exp(trace[:, :, 0]), *np.moveaxis(trace[:, :, 3:], 2, 0)]
        traces |= {kind: gain * unit[..., :gain.size] for kind, gain, unit in
                   zip(arrays["kinds"], arrays["gains"], units, strict=True)}
    return found


def run_dies(layer: DPINeuron, arrays: Mapping[str, object], pointers: np.ndarray, indices: np.ndarray,
             current: np.ndarray | None, samples: slice, time: int, dtype: np.dtype, trace: np.ndarray | None = None
             ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same for many dies side by side, of `normalised_dies`; pointers and current have an axis before all others,
    for each die or one for all. trace: as of `engine.dpi.simulate_dies`."""
    given = {name: value for name, value in arrays.items()
             if name not in ("leak", "gains", "kinds", "noise", "dt", "neurons")}
    batch, neurons, leak = samples.stop - samples.start, arrays["neurons"], arrays["leak"][:, None, None]
    noise = arrays["noise"] if arrays["noise"] is not None and arrays["noise"].any() else None
    dies, _, width = given["cells"].shape
    drive = np.empty((0, 0, 0), dtype)
    if current is not None or noise is not None:
        drive = np.zeros((dies, batch, time, width), dtype)
    if current is not None:
        drive[..., :neurons] = current / leak
    if noise is not None:
        size = (noise[:, None] / (np.sqrt(2 * arrays["dt"]) * leak[:, 0])).astype(dtype)
        for b in range(batch):
            key = ReadKey(layer.noise_seed, 0, 0, Effect.BIAS_NOISE, sample=samples.start + b)
            drive[:, b, :, :neurons] += size * normal(key, time * neurons).reshape(time, neurons)
    drive = drive.reshape(-1, *drive.shape[-2:]) if drive.size else drive
    found = dpi.simulate_dies(pointers, indices, current=drive, batches=batch, times=time, trace=trace, **given)
    return [(own_pointers, own_indices, fired[:neurons]) for own_pointers, own_indices, fired in found]
