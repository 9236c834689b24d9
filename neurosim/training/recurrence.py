"""A population of spiking neurons over all time steps, differentiable: fused kernels on the CPU, torch's own elsewhere.

Both paths follow the equations of `neurosim.engine.learning_forward` and are held to the same spikes and gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.autograd.function import FunctionCtx
from torch.overrides import has_torch_function

from neurosim.engine import learning
from neurosim.engine.learning_backward import Carry
from neurosim.engine.learning_buffers import take
from neurosim.engine.learning_forward import Neurons, Rule, State
from neurosim.errors import NeurosimError
from neurosim.training.compiled import backend_of
from neurosim.training.stepwise import stepwise
from neurosim.training.threads import free_threads

Result = tuple[torch.Tensor | None, torch.Tensor | None, State]


def recurrence(inputs: torch.Tensor, weight: torch.Tensor | None, neurons: Neurons, state: State, rule: Rule,
               readout: torch.Tensor | None = None, *, heard: bool = True) -> Result:
    """Spikes `[time, batch, neurons]`, output `[time, batch, classes]` and the last state of a population.

    Parameters
    ----------
    inputs:
        The current `[time, batch, neurons]`; or, with weight `[channels, neurons]`, inputs `[time, batch, channels]`.
    neurons:
        Tensors `[neurons]`, rows `[from, to]`; None where the population has no such part.
    state:
        Tensors `[batch, neurons]`; None as above.
    readout:
        `[neurons, classes]`: the output is the spikes times it; without it the output is None.
    heard:
        Whether anyone looks at the spikes themselves; else None stands in their place, which is quicker.
    """
    if inputs.ndim != 3 or 0 in inputs.shape:
        raise NeurosimError(f"inputs have shape {list(inputs.shape)}", where="neurons",
                            allowed="[time, batch, channel], time first, at least one of each")
    tensors = (inputs, weight, readout, *neurons, *state)
    dtypes = {t.dtype for t in tensors if t is not None}
    if len(dtypes) > 1:
        raise NeurosimError(f"inputs of {inputs.dtype} meet {', '.join(str(d) for d in dtypes - {inputs.dtype})}",
                            where="neurons", allowed="one precision", hint="take module.to(inputs.dtype)")
    read = has_torch_function(tensors)  # weights that a chip reads, see `read_weight`
    if read or inputs.device.type != "cpu" or inputs.dtype not in (torch.float32, torch.float64):
        backend = None if read else backend_of(inputs.device)
        spikes, output, last = stepwise(inputs, weight, neurons, state, rule, readout, backend)
        return spikes if heard else None, output, last
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    spikes, output, *last, _ = _Fused.apply(rule, keep, heard, *tensors)
    return spikes, output, State(*(None if old is None else new for old, new in zip(state, last, strict=True)))


def _arrays(tensors: Sequence[torch.Tensor | None], dtype: torch.dtype, ndims: Sequence[int]) -> list[np.ndarray]:
    return [np.empty((0,) * ndim, torch.empty(0, dtype=dtype).numpy().dtype) if tensor is None
            else _in_one_piece(tensor.detach()) for tensor, ndim in zip(tensors, ndims, strict=True)]


def _in_one_piece(tensor: torch.Tensor) -> np.ndarray:
    if tensor.is_contiguous():
        return tensor.numpy()
    array = take(tuple(tensor.shape), torch.empty(0, dtype=tensor.dtype).numpy().dtype)
    torch.from_numpy(array).copy_(tensor)
    return array


class _Fused(torch.autograd.Function):
    """The kernels of `neurosim.engine.learning`.

    All that `forward` is given is `*given`: torch goes through the names of arguments one by one at every call.
    """

    @staticmethod
    def forward(*given: object) -> tuple:
        rule, keep, heard, inputs, weight, readout, *parameters = given
        dtype, batch = inputs.dtype, inputs.shape[1]
        neurons = Neurons(*_arrays(parameters[:_NEURONS], dtype, (2,) + (1,) * (_NEURONS - 1)))
        neurons = neurons._replace(**{name: np.zeros_like(neurons.beta) for name in ("leak", "v_reset")
                                      if not getattr(neurons, name).size})
        state = State(*(np.zeros((batch, 0), neurons.beta.dtype) if tensor is None else
                        tensor.detach().contiguous().numpy() for tensor in parameters[_NEURONS:]))
        x, w, to_classes = _arrays((inputs, weight, readout), dtype, (3, 2, 2))
        drive, x = (x[:0], x) if weight is not None else (x, x[:0])
        wanted = {name for name, tensor in zip(Neurons._fields, parameters, strict=False)
                  if tensor is not None and tensor.requires_grad}
        synapse = neurons.alpha.size > 0
        record = learning.forward(
            drive, x, w, neurons, state, rule, to_classes, free_threads(), spikes=heard, keep=keep,
            keep_currents=keep and ("gain_syn" if synapse else "gain") in wanted,
            keep_synaptics=keep and synapse and bool(wanted & {"gain", "alpha"}))
        output = None if readout is None else torch.from_numpy(record.output)
        rows = parameters[0]
        to_rows = _arrays([None if rows is None or not keep else rows.T], dtype, (2,))[0]
        return (torch.from_numpy(record.spikes) if heard else None, output, *map(torch.from_numpy, record.state),
                (record, neurons, to_rows, rows is not None and not rows.is_contiguous(), w, to_classes))

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: tuple) -> None:
        ctx.rule, _, _, x, weight, *others = inputs
        ctx.record, *ctx.arrays = output[-1]
        # what the arrays are of, too: torch refuses the way back where one of them was changed in its place
        ctx.save_for_backward(x if weight is not None else None, weight, *others)
        ctx.mark_non_differentiable(output[6])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: torch.Tensor | None) -> tuple:
        needed = ctx.needs_input_grad[3:]
        found = _Back.apply(ctx.record, *ctx.arrays, ctx.rule, needed, ctx.saved_tensors[0], *grads[:-1])
        return (None, None, None, *found)


class _Back(torch.autograd.Function):
    """The way back, as a function of its own: torch.func hands over its own kind of tensors."""

    @staticmethod
    def forward(*given: object) -> tuple[torch.Tensor | None, ...]:
        record, neurons, to_rows, turned, weight, readout, rule, needed, x, grad, grad_output, *grads = given
        nothing = np.empty((0, 0, 0), neurons.beta.dtype)
        needs = dict(zip(("inputs", "weight", "readout", *Neurons._fields, *State._fields), needed, strict=True))
        if grads[3] is not None:
            grad = _and_last(grad, grads[3], record.potentials.shape)
        if grad is not None and grad.stride(0) == 0:
            grad = grad[:1]  # a mean or a sum over time: all steps have the same
        if grad_output is not None and (grad_output.stride(0) == 0
                                        or torch.equal(grad_output, grad_output[:1].expand_as(grad_output))):
            grad_output = grad_output[:1]
        carry = Carry(*(np.zeros_like(of) if g is None else g.contiguous().numpy().copy()
                        for g, of in zip((*grads[:3], None), record.initial[:4], strict=True)))
        x, grad, grad_output = (nothing if g is None else g.contiguous().numpy() for g in (x, grad, grad_output))
        found = learning.backward(record, x, weight, neurons, to_rows, rule, grad, readout, grad_output, carry,
                                  [name for name, wanted in needs.items() if wanted], free_threads())
        if turned and "rows" in found:  # as their tensor lies, so that autograd need not copy it
            found["rows"] = _in_one_piece(torch.from_numpy(found["rows"]).T).T
        return tuple(torch.from_numpy(found[name]) if wanted else None for name, wanted in needs.items())

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple, output: tuple) -> None:
        ctx.arguments = len(inputs)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: torch.Tensor | None) -> tuple:
        # through the sign of a gradient, a step of an attack, only zeros come
        if any(grad is not None and grad.any() for grad in grads):
            raise NeurosimError("a second derivative is asked for", where="neurons", allowed="first derivatives",
                                hint="take neurosim.training.stepwise, or no create_graph=True")
        return (None,) * ctx.arguments


_NEURONS = len(Neurons._fields)


def _and_last(grad: torch.Tensor | None, last: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The gradient to the spikes, and that to those of the last state."""
    grad = last.new_zeros(shape) if grad is None else grad.clone(memory_format=torch.contiguous_format)
    grad[-1] += last
    return grad
