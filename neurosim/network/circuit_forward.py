"""DPINeuron as the kernels take it: currents in units of each neuron's own leak and gain, times in steps.

Amperes, farads and seconds end here. The numbers of the noise are drawn here, one for each neuron and step of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurosim import engine
from neurosim.engine import dpi
from neurosim.engine.arrays import aligned
from neurosim.errors import NeurosimError
from neurosim.network.circuit_layers import SYNAPSES, DPINeuron
from neurosim.streams import Effect, ReadKey, normal

_TARGETS = {"ampa": dpi.DRIVE, "nmda": dpi.GATED, "gaba": dpi.DRIVE, "shunt": dpi.LEAK}
_MOST_SPIKES = 64  # in a step; more, and dt is too long for this neuron
Arrays = dict[str, np.ndarray]


def normalised(layer: DPINeuron, own: Mapping[str, np.ndarray], neurons: int, dt: float, dtype: np.dtype
               ) -> dict[str, object]:
    """What `engine.dpi` takes, by name, `[..., width]` with neurons that do nothing behind the last one.

    own: the parameters in SI units, the layer's or a die's. Raises where a pulse is longer than a step, and where a
    neuron could fire too often in one.
    """
    si = {name: np.broadcast_to(np.asarray(own[name], np.float64), (neurons,)) for name in layer.parameters
          if name in own and not name.startswith(("weight_", "recurrent_"))}
    most = _checked_times(si, dt)
    width, volts = neurons + -neurons % 8, layer.thermal_voltage / layer.kappa
    made = {"cells": _wide(_cells(layer, si, volts, dt), width, dtype)}
    synapses, rows = [], {"weight": [], "recurrent": []}
    found = [s for s in SYNAPSES if f"weight_{s}" in own or f"recurrent_{s}" in own]
    at = {kind: np.full(len(found), -1) for kind in rows}
    for i, name in enumerate(found):
        synapse = _block(si, name, si["t_pulse"], volts, dt)
        growth = si["t_pulse"] / (si[f"c_{name}"] * volts)
        if layer.synapse_model == "linear":
            leak = si["t_pulse"] * si[f"i_tau_{name}"] / (si[f"c_{name}"] * volts)
            growth = growth * -np.expm1(-leak) / leak
            synapse[dpi.DECAY] *= synapse[dpi.ENTER]
            synapse[dpi.ENTER] = 1
        if name == "gaba":
            synapse[[dpi.MEAN, dpi.OFFSET]] *= -1
        synapses.append(synapse)
        for kind, kinds in rows.items():
            if f"{kind}_{name}" in own:
                at[kind][i] = len(kinds)
                weight = np.multiply(own[f"{kind}_{name}"], growth[:, None], dtype=dtype, casting="same_kind")
                kinds.append(engine.padded_rows(weight, dtype))
    for kind, kinds in (("rows", rows["weight"]), ("recurrent", rows["recurrent"])):
        made[kind] = np.stack(kinds) if kinds else np.empty((0, 0, width), dtype)
    return {
        **made, "synapses": _wide(np.reshape(synapses, (len(found), dpi.SYNAPSE_ROWS, neurons)), width, dtype, 1.0),
        "inputs_at": at["weight"], "recurrent_at": at["recurrent"],
        "targets": np.array([_TARGETS[name] for name in found], np.int64), "linear": layer.synapse_model == "linear",
        "power": layer.kappa / (layer.kappa + 1) if layer.feedback in ("power", "product") else 0.0,
        "sigmoid": layer.feedback in ("sigmoid", "product"), "adapts": "i_weight_ahp" in own, "most": most,
        "leak": si["i_tau_mem"], "noise": si.get("noise_dc"), "dt": dt, "neurons": neurons}


def _cells(layer: DPINeuron, si: Arrays, volts: float, dt: float) -> np.ndarray:
    """`[CELL_ROWS, neurons]`."""
    leak, gain, i_0 = si["i_tau_mem"], si["i_gain_mem"], si["i_0"]
    cells = np.zeros((dpi.CELL_ROWS, leak.size))
    cells[dpi.RATE] = dt * leak / (si["c_mem"] * volts)
    cells[dpi.LEAST] = i_0 / leak
    cells[dpi.FLOOR] = np.log(i_0 / gain)
    cells[dpi.THRESHOLD] = np.log(si["i_threshold"] / gain)
    cells[dpi.RESET] = np.log(np.maximum(si["i_reset"], i_0) / gain)
    cells[dpi.GATE] = si["i_nmda_threshold"] / gain
    cells[dpi.REFRACTORY] = si["t_refractory"] / dt
    cells[dpi.BIAS] = si["i_dc"] / leak
    if layer.feedback == "sigmoid":
        cells[dpi.GAIN] = si["i_feedback_gain"] / leak
    elif layer.feedback != "none":
        p = layer.kappa / (layer.kappa + 1)
        cells[dpi.GAIN] = i_0 ** (1 - p) * gain**p / leak
    if layer.feedback in ("sigmoid", "product"):
        cells[dpi.SLOPE] = gain / si["i_feedback_norm"]
        cells[dpi.MIDDLE] = si["i_feedback_threshold"] / gain
    if "i_weight_ahp" in si:
        block = _block(si, "ahp", si["t_pulse_ahp"], volts, dt)
        whole = block[dpi.ENTER] * block[dpi.DECAY]
        cells[dpi.ADAPT_ENTER], cells[dpi.ADAPT_DECAY], cells[dpi.ADAPT_RATE] = block[dpi.ENTER], whole, -np.log(whole)
        cells[dpi.ADAPT_FLOOR], cells[dpi.ADAPT_MEAN] = block[dpi.Y_FLOOR], block[dpi.MEAN]
        cells[dpi.ADAPT_OFFSET], cells[dpi.ADAPT_LEAK] = block[dpi.OFFSET], block[dpi.PULSE_LEAK]
        cells[dpi.ADAPT_GROWTH] = si["i_weight_ahp"] * si["t_pulse_ahp"] / (si["c_ahp"] * volts)
    return cells


def _block(si: Arrays, name: str, t_pulse: np.ndarray, volts: float, dt: float) -> np.ndarray:
    """`[SYNAPSE_ROWS, neurons]` of one differential-pair integrator."""
    tau = si[f"c_{name}"] * volts / si[f"i_tau_{name}"]
    gain, out = si[f"i_gain_{name}"], np.empty((dpi.SYNAPSE_ROWS, tau.size))
    out[dpi.ENTER] = np.exp(-t_pulse / (2 * tau))
    out[dpi.DECAY] = np.exp(-(dt - t_pulse / 2) / tau)
    out[dpi.Y_FLOOR] = si["i_0"] / gain
    out[dpi.PULSE_LEAK] = t_pulse / tau
    mean = np.expm1(dt / tau) * tau / dt  # of an exponential over the step, relative to its end
    out[dpi.MEAN] = gain / si["i_tau_mem"] * mean
    out[dpi.OFFSET] = gain / si["i_tau_mem"] * out[dpi.Y_FLOOR] * (mean - 1)
    return out


def _checked_times(si: Arrays, dt: float) -> int:
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
