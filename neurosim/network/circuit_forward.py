"""DPINeuron as the kernels take it: currents in units of each neuron's own leak and gain, times in steps.

Amperes, farads and seconds end here. The numbers of the noise are drawn here, one for each neuron and step of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurosim import engine
from neurosim.engine import dpi
from neurosim.errors import NeurosimError
from neurosim.network.circuit_layers import SYNAPSES, DPINeuron

_TARGETS = {"ampa": dpi.DRIVE, "nmda": dpi.GATED, "gaba": dpi.DRIVE, "shunt": dpi.LEAK}
_MOST_SPIKES = 64  # in a step; more, and dt is too long for this neuron
Arrays = dict[str, np.ndarray]


def normalised(layer: DPINeuron, own: Mapping[str, np.ndarray], neurons: int, dt: float, dtype: np.dtype) -> Arrays:
    """The arguments of `engine.dpi` by name, as `[..., width]` with neurons that do nothing behind the last one.

    own: the parameters in SI units, the layer's or a die's. Raises where a pulse is longer than a step, and where a
    neuron could fire too often in one.
    """
    def values(name: str) -> np.ndarray:
        return np.broadcast_to(np.asarray(own[name], np.float64), (neurons,))

    width = neurons + -neurons % 8
    volts = layer.thermal_voltage / layer.kappa
    leak, gain_current, i_0 = values("i_tau_mem"), values("i_gain_mem"), values("i_0")
    most = _checked_times(layer, values, dt)
    p = layer.kappa / (layer.kappa + 1)
    cells = np.zeros((dpi.CELL_ROWS, neurons))
    cells[dpi.RATE] = dt * leak / (values("c_mem") * volts)
    cells[dpi.LEAST] = i_0 / leak
    cells[dpi.FLOOR] = np.log(i_0 / gain_current)
    cells[dpi.THRESHOLD] = np.log(values("i_threshold") / gain_current)
    cells[dpi.RESET] = np.log(np.maximum(values("i_reset"), i_0) / gain_current)
    cells[dpi.GATE] = values("i_nmda_threshold") / gain_current
    cells[dpi.REFRACTORY] = values("t_refractory") / dt
    cells[dpi.BIAS] = values("i_dc") / leak
    power = p if layer.feedback in ("power", "product") else 0.0
    if layer.feedback == "sigmoid":
        cells[dpi.GAIN] = values("i_feedback_gain") / leak
    elif layer.feedback != "none":
        cells[dpi.GAIN] = i_0 ** (1 - p) * gain_current**p / leak
    sigmoid = layer.feedback in ("sigmoid", "product")
    if sigmoid:
        cells[dpi.SLOPE] = gain_current / values("i_feedback_norm")
        cells[dpi.MIDDLE] = values("i_feedback_threshold") / gain_current
    adapts = "i_weight_ahp" in own
    if adapts:
        block = _block(layer, values, "ahp", values("t_pulse_ahp"), dt, leak)
        whole = block[dpi.ENTER] * block[dpi.DECAY]
        cells[dpi.ADAPT_ENTER], cells[dpi.ADAPT_DECAY] = block[dpi.ENTER], whole
        cells[dpi.ADAPT_FLOOR], cells[dpi.ADAPT_MEAN] = block[dpi.Y_FLOOR], block[dpi.MEAN]
        cells[dpi.ADAPT_OFFSET], cells[dpi.ADAPT_RATE] = block[dpi.OFFSET], -np.log(whole)
        cells[dpi.ADAPT_GROWTH] = values("i_weight_ahp") * values("t_pulse_ahp") / (values("c_ahp") * volts)
    found = [s for s in SYNAPSES if f"weight_{s}" in own or f"recurrent_{s}" in own]
    synapses, rows = np.zeros((len(found), dpi.SYNAPSE_ROWS, neurons)), {"weight": [], "recurrent": []}
    at = {"weight": np.full(len(found), -1), "recurrent": np.full(len(found), -1)}
    for i, name in enumerate(found):
        t_pulse = values("t_pulse")
        synapses[i] = _block(layer, values, name, t_pulse, dt, leak)
        growth = t_pulse / (values(f"c_{name}") * volts)
        if layer.synapse_model == "linear":
            s = t_pulse * values(f"i_tau_{name}") / (values(f"c_{name}") * volts)
            growth = growth * -np.expm1(-s) / s
            synapses[i, dpi.DECAY] *= synapses[i, dpi.ENTER]
            synapses[i, dpi.ENTER] = 1
        if name == "gaba":
            synapses[i, [dpi.MEAN, dpi.OFFSET]] *= -1
        for kind, made in rows.items():
            if f"{kind}_{name}" in own:
                at[kind][i] = len(made)
                made.append(engine.padded_rows(np.asarray(own[f"{kind}_{name}"]) * growth[:, None], dtype))
    return {
        "rows": _stacked(rows["weight"], width, dtype), "recurrent": _stacked(rows["recurrent"], width, dtype),
        "inputs_at": at["weight"], "recurrent_at": at["recurrent"],
        "targets": np.array([_TARGETS[name] for name in found], np.int64),
        "cells": _wide(cells, width, dtype), "synapses": _wide(synapses, width, dtype, 1.0),
        "linear": layer.synapse_model == "linear", "power": power, "sigmoid": sigmoid, "adapts": adapts, "most": most,
        "leak": leak}


def _checked_times(layer: DPINeuron, values: object, dt: float) -> int:
    """How often a neuron can fire in a step; refuses pulses longer than a step."""
    for name in ("t_pulse", "t_pulse_ahp"):
        if values(name).max() > dt:
            raise NeurosimError(f"{name} is {values(name).max():g} s, longer than a time step of {dt:g} s",
                                allowed="at most dt", hint="take a longer dt, or a stronger and shorter pulse")
    most = int(dt / values("t_refractory").min()) + 1
    if most > _MOST_SPIKES:
        raise NeurosimError(f"with t_refractory {values('t_refractory').min():g} s a neuron may fire {most} times in a "
                            f"step of {dt:g} s", allowed=f"{_MOST_SPIKES}", hint="take a shorter dt")
    return most


def _block(layer: DPINeuron, values: object, name: str, t_pulse: np.ndarray, dt: float, leak: np.ndarray) -> np.ndarray:
    """`[SYNAPSE_ROWS, neurons]` of one differential-pair integrator."""
    tau = values(f"c_{name}") * layer.thermal_voltage / (layer.kappa * values(f"i_tau_{name}"))
    gain, out = values(f"i_gain_{name}"), np.empty((dpi.SYNAPSE_ROWS, tau.size))
    out[dpi.ENTER] = np.exp(-t_pulse / (2 * tau))
    out[dpi.DECAY] = np.exp(-(dt - t_pulse / 2) / tau)
    out[dpi.Y_FLOOR] = values("i_0") / gain
    mean = np.expm1(dt / tau) * tau / dt  # of an exponential over the step, relative to its end
    out[dpi.MEAN] = gain / leak * mean
    out[dpi.OFFSET] = gain / leak * out[dpi.Y_FLOOR] * (mean - 1)
    return out


def _wide(values: np.ndarray, width: int, dtype: np.dtype, fill: float = 0.0) -> np.ndarray:
    out = engine.arrays.aligned((*values.shape[:-1], width), dtype)
    out[...] = fill
    out[..., :values.shape[-1]] = values
    return out


def _stacked(rows: list[np.ndarray], width: int, dtype: np.dtype) -> np.ndarray:
    if not rows:
        return np.empty((0, 0, width), dtype)
    out = engine.arrays.aligned((len(rows), *rows[0].shape), dtype)
    np.stack(rows, out=out)
    return out
