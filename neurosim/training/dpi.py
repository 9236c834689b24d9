"""Subthreshold neurons to train: the engine's own run forward, its linearised steps back, currents as logarithms.

A parameter is ``ln(value / unit)``, with the units pA, pF and ms: gradients are of order one, a step of Adam at its
defaults is a per mille of a current, and a lognormal spread of a profile is an ordinary normal one here. What is 0 in
the layer (a synapse that is not there) stays 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.autograd.function import FunctionCtx

from neurosim import engine, network
from neurosim.engine import dpi, dpi_steps, learning_dpi
from neurosim.errors import NeurosimError
from neurosim.network.circuit_forward import (
    TARGETS,
    block_rows,
    cell_rows,
    growth_per_ampere,
    rules,
    spikes_in_a_step,
)

_WEIGHTS = ("weight_", "recurrent_")


def _unit(name: str) -> float:
    """Of the logarithm: pA, pF or ms."""
    return {"c": 1e-12, "t": 1e-3}.get(name.split("_")[0], 1e-12)


class DPINeuron(nn.Module):
    """A population of `neurosim.network.DPINeuron` as a torch module: spikes `[time, batch, inputs]` in and out.

    Every array of the layer is here as its logarithm, `ln_NAME` (`ln_i_tau_mem`, `ln_weight_ampa`, ...): a parameter if
    it is to be learnt, else a buffer. Forward is the engine's kernel, spike for spike; backward is
    `neurosim.engine.learning_dpi`. On the CPU only.

    Parameters
    ----------
    layer:
        With at least one input weight, or with neurons, then for currents `[time, batch, neurons]` in amperes.
    dt:
        Time step in seconds.
    neurons:
        How many, where the layer has no weight.
    learn:
        Names of arrays, or "weights" for all synapses; all parameters of the profile's mismatch can be among them.
    steepness:
        Of the surrogate derivative of a spike, ``1 / (1 + steepness |ln(I / I_threshold)|)^2``.
    dtype:
        Of the logarithms; torch's default, or torch.float64 to hold a layer to its last bit.
    """

    def __init__(self, layer: network.DPINeuron, dt: float = 1e-3, neurons: int | None = None,
                 learn: Sequence[str] = ("weights",), steepness: float = 2.0, dtype: torch.dtype | None = None
                 ) -> None:
        super().__init__()
        arrays = layer.arrays()
        weights = layer.weights()
        if not weights and neurons is None:
            raise NeurosimError("how many neurons?", where="DPINeuron", hint="a layer without weights needs neurons=")
        self.neurons = next((w.shape[0] for w in weights.values()), neurons)
        unknown = [name for name in learn if name != "weights" and name not in arrays]
        if unknown or layer.noise_dc is not None:
            raise NeurosimError(f"cannot learn {', '.join(unknown)}" if unknown else "noise_dc cannot be trained with",
                                where="DPINeuron", allowed=", ".join(("weights", *arrays)) if unknown else "None")
        self.layer, self.dt, self.steepness = layer, float(dt), float(steepness)
        self.names = tuple(arrays)
        for name, value in arrays.items():
            full = value if name.startswith(_WEIGHTS) else np.broadcast_to(value, (self.neurons,))
            there = torch.tensor(full > 0)
            ln = torch.log(torch.where(there, torch.tensor(full, dtype=torch.float64) / _unit(name), 1.0))
            ln = ln.to(dtype or torch.get_default_dtype())
            self.register_buffer(f"on_{name}", there, persistent=False)
            if name in learn or ("weights" in learn and name.startswith(_WEIGHTS)):
                setattr(self, f"ln_{name}", nn.Parameter(ln))
            else:
                self.register_buffer(f"ln_{name}", ln)

    def value(self, name: str) -> torch.Tensor:
        """An array in SI units, float64, differentiable."""
        return self.read(name, {f"{what}_{name}": getattr(self, f"{what}_{name}") for what in ("ln", "on")})

    def tensor_of(self, name: str) -> str:
        """The name of the tensor that an array is made of."""
        return f"ln_{name}"

    def read(self, name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """An array in SI units, float64, differentiable, with `tensors` in the place of this module's own."""
        return torch.where(tensors[f"on_{name}"], tensors[f"ln_{name}"].double().exp() * _unit(name), 0.0)

    def written(self, arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors that make `arrays`, in SI units, by name: what `read` reads."""
        made = {}
        for name, value in arrays.items():
            there = value > 0
            made[f"on_{name}"] = there
            made[f"ln_{name}"] = torch.where(there, value / _unit(name), 1.0).log()
        return made

    def to_layer(self) -> network.DPINeuron:
        """The layer of a `Network` with the values of now."""
        with torch.no_grad():
            return network.DPINeuron(**{name: self.value(name).numpy() for name in self.names},
                                     **self.layer.settings())

    def given(self, weights: Mapping[str, torch.Tensor] | None = None) -> dict[str, object]:
        """What the kernels take, differentiable: as `neurosim.network.circuit_forward.normalised`.

        weights: in amperes, in the place of this module's own.
        """
        layer, volts = self.layer, self.layer.thermal_voltage / self.layer.kappa
        si = {name: self.value(name) for name in self.names if not name.startswith(_WEIGHTS)}
        numbers = {name: value.detach().numpy() for name, value in si.items()}
        kinds = {"weight": [], "recurrent": []}
        weights, found = weights or {}, layer.synapses()
        at = {kind: np.full(len(found), -1) for kind in kinds}
        for i, name in enumerate(found):
            for kind, made in kinds.items():
                if f"{kind}_{name}" in self.names:
                    at[kind][i] = len(made)
                    own = f"{kind}_{name}"
                    amperes = weights[own] if own in weights else self.value(own)
                    made.append((amperes * growth_per_ampere(layer, si, name, volts)[:, None]).T)
        blocks = [torch.stack(block_rows(layer, si, name, volts, self.dt, torch)) for name in found]
        cells = torch.stack([*cell_rows(layer, si, volts, self.dt, torch)])
        empty = cells.new_zeros(0, 0, self.neurons)
        return {
            "rows": torch.stack(kinds["weight"]) if kinds["weight"] else empty,
            "recurrent": torch.stack(kinds["recurrent"]) if kinds["recurrent"] else empty, "cells": cells,
            "synapses": torch.stack(blocks) if blocks else cells.new_zeros(0, dpi_steps.SYNAPSE_ROWS, self.neurons),
            "inputs_at": at["weight"], "recurrent_at": at["recurrent"],
            "targets": np.array([TARGETS[name] for name in found], np.int64),
            "most": spikes_in_a_step(numbers, self.dt), "leak": si["i_tau_mem"]}

    def forward(self, inputs: torch.Tensor, weights: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        expected = self.layer.inputs or self.neurons
        if inputs.ndim != 3 or inputs.shape[2] != expected or 0 in inputs.shape or inputs.device.type != "cpu":
            raise NeurosimError(f"the input has shape {list(inputs.shape)} on {inputs.device}", where="DPINeuron",
                                allowed=f"[time, batch, {expected}] on the CPU", hint="time comes first")
        given, dtype = self.given(weights), inputs.dtype
        if self.layer.inputs is None:
            current, inputs = (inputs.double() / given["leak"]).to(dtype), inputs.new_zeros(*inputs.shape[:2], 0)
        else:
            current = inputs.new_zeros(0, 0, 0)
        settings = {**rules(self.layer), "adapts": "i_weight_ahp" in self.names}
        fixed = {name: given[name] for name in ("inputs_at", "recurrent_at", "targets", "most")}
        return _Simulated.apply(settings, fixed, self.steepness, inputs, current, *(
            given[name].to(dtype) for name in ("rows", "recurrent", "cells", "synapses")))

    def extra_repr(self) -> str:
        learns = [name for name in self.names if isinstance(getattr(self, f"ln_{name}"), nn.Parameter)]
        return f"{self.layer.inputs or self.neurons}, {self.neurons}, dt={self.dt:g}, learns {', '.join(learns)}"


def _wide(tensor: torch.Tensor, width: int, fill: float = 0.0) -> np.ndarray:
    out = engine.arrays.aligned((*tensor.shape[:-1], width), tensor.numpy(force=True).dtype)
    out[...] = fill
    out[..., :tensor.shape[-1]] = tensor.numpy(force=True)
    return out


def _events(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Events `(pointers, indices)` of an array `[steps, neurons]` that says how often each neuron fires in a step."""
    if not np.isin(counts, (0, 1)).all():
        whole = counts.astype(np.int32)
        if (whole != counts).any() or whole.min() < 0:
            raise NeurosimError("the input is not spikes", where="DPINeuron", allowed="0, 1, 2, ... in each step")
        step, neuron = np.nonzero(whole)
        times = whole[step, neuron]
        pointers = np.concatenate([[0], np.cumsum(whole.sum(axis=1))]).astype(np.int64)
        return pointers, np.repeat(neuron, times).astype(np.int32)
    return engine.to_events(counts)


class _Simulated(torch.autograd.Function):
    """`engine.dpi.simulate`, and the way back."""

    @staticmethod
    def forward(ctx: FunctionCtx, settings: dict[str, object], fixed: dict[str, object], steepness: float,
                inputs: torch.Tensor, current: torch.Tensor, rows: torch.Tensor, recurrent: torch.Tensor,
                cells: torch.Tensor, synapses: torch.Tensor) -> torch.Tensor:
        time, batch = (current if current.numel() else inputs).shape[:2]
        neurons = cells.shape[1]
        width = neurons + -neurons % 8
        dense = np.ascontiguousarray(inputs.numpy(force=True).swapaxes(0, 1))
        pointers, indices = _events(dense.reshape(batch * time, -1))
        square = np.zeros((recurrent.shape[0], width, width), dense.dtype)
        square[:, :recurrent.shape[1], :neurons] = recurrent.numpy(force=True)
        arrays = {"cells": _wide(cells, width), "synapses": _wide(synapses, width, 1.0), "recurrent": square,
                  "current": np.ascontiguousarray(_wide(current, width).swapaxes(0, 1)) if current.numel() else
                  np.empty((0, 0, 0), dense.dtype)}
        trace = np.empty((batch, time, 3 + synapses.shape[0], width), dense.dtype)
        events = dpi.simulate(pointers, indices, _wide(rows, width), batches=batch, times=time, trace=trace, **arrays,
                              **settings, **fixed)
        spikes = np.empty((batch * time, width), dense.dtype)
        engine.scatter(events[0], events[1], spikes)
        spikes = spikes.reshape(batch, time, width)
        ctx.kept = settings, fixed, steepness, arrays, trace, spikes, neurons
        ctx.save_for_backward(inputs, rows)
        return torch.from_numpy(np.ascontiguousarray(spikes[..., :neurons].swapaxes(0, 1)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        settings, fixed, steepness, arrays, trace, spikes, n = ctx.kept
        inputs, rows = ctx.saved_tensors
        wide = np.ascontiguousarray(_wide(grad, spikes.shape[2]).swapaxes(0, 1))
        grown, current, cells, synapses = learning_dpi.gradients(
            trace, spikes, wide, arrays["current"], arrays["recurrent"], fixed["recurrent_at"], fixed["targets"],
            arrays["cells"], arrays["synapses"], settings["linear"], settings["power"], settings["sigmoid"],
            settings["adapts"], steepness)
        grown = torch.from_numpy(grown[..., :n])  # [type, batch, time, neurons]
        x, sent = inputs.transpose(0, 1), torch.from_numpy(spikes[..., :n])
        to_rows, to_recurrent = torch.zeros_like(rows), grown.new_zeros(arrays["recurrent"].shape[0], n, n)
        to_inputs = torch.zeros_like(x)
        for s, (at, own) in enumerate(zip(fixed["inputs_at"], fixed["recurrent_at"], strict=True)):
            if at >= 0:
                to_rows[at] = torch.einsum("bti,btn->in", x, grown[s])
                to_inputs += grown[s] @ rows[at].T
            if own >= 0:
                to_recurrent[own] = torch.einsum("btj,btn->jn", sent[:, :-1], grown[s][:, 1:])
        to_current = None
        if current.size:
            to_current = torch.from_numpy(np.ascontiguousarray(current[..., :n].swapaxes(0, 1)))
        return (None, None, None, to_inputs.transpose(0, 1), to_current, to_rows, to_recurrent,
                torch.from_numpy(cells[:, :n]), torch.from_numpy(synapses[..., :n]))
