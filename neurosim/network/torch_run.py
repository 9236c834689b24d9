"""Runs a copy of a torch module once, under a `Tracer`, and writes down what its leaves did: the `Trace`.

The user's module is never run and never changed: not its parameters, buffers, states, hooks or training flag, nor the
states of any other snnTorch net in the process. What the trace means as a network is decided in `torch_trace`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.network.torch_labels import (
    SLOTS,
    Apply,
    Expr,
    Final,
    Foreign,
    Label,
    Merged,
    Series,
    Signal,
    Softmax,
    Source,
    State,
    Total,
    Zero,
    describe,
    from_input,
    label_of,
    put_label,
    tensors_in,
)
from neurosim.network.torch_layers import STATES, kind, neuron_type
from neurosim.network.torch_recurrent import Level, levels
from neurosim.network.torch_signals import Tracer


@dataclass
class Trace:
    """What one run showed.

    sources: what drives each neuron and each layer of recurrent cells, canonical (delays in the place of steps).
    shapes: of each neuron's population. spikes: what each neuron gave, one array `[batch, *shape]` of bool for each
    step. levels: the layers of recurrent cells; states: what those gave that could be seen, as `spikes`. returned:
    labels and values of what the module returned. time_axis: of the sample; None where the sample is held for all
    steps. stepped: whether the module was called once for each step. timeless: whether there is no time: one step.
    crash: what the module raised.
    """

    tracer: Tracer
    sample: torch.Tensor
    time_axis: int | None
    stepped: bool
    timeless: bool = False
    sources: dict[str, Expr] = field(default_factory=dict)
    neurons: dict[str, nn.Module] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    spikes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    states: dict[str, list[np.ndarray]] = field(default_factory=dict)
    returned: list[tuple[Label | None, np.ndarray]] = field(default_factory=list)
    crash: Exception | None = None

    @property
    def looped(self) -> bool:
        return any(count > 1 for count in self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many steps each neuron and layer of cells was seen to make."""
        return {name: len(steps) for name, steps in (self.spikes | self.states).items()}


def leaves(module: nn.Module, name: str = "", seen: set[nn.Module] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """The modules that are taken as wholes, each once, with their names."""
    seen = set() if seen is None else seen
    if module in seen:
        return
    seen.add(module)
    if kind(module) != "container":
        yield name or type(module).__name__.lower(), module
        return
    for child_name, child in module.named_children():
        yield from leaves(child, f"{name}.{child_name}" if name else child_name, seen)


def copy_of(module: nn.Module) -> nn.Module:
    """A copy in eval mode, in float64, on the CPU, with neurons at rest; hooks are shared, not copied."""
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in tensors_in(vars(part)):
            if not value.is_leaf:  # a state that still hangs on its past
                memo[id(value)] = value.detach().clone()
        for name, hooks in vars(part).items():
            if name.endswith("_hooks") and isinstance(hooks, dict):
                memo[id(hooks)] = type(hooks)(hooks)
    try:
        twin = copy.deepcopy(module, memo).eval().cpu().double()
    except Exception as error:
        raise NeurosimError(f"it cannot be copied: {type(error).__name__}: {error}",
                            hint="the import works on a copy, so that yours stays as it is") from error
    for part in twin.modules():
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                setattr(part, name, value.cpu().double() if value.is_floating_point() else value.cpu())
    for _, part in leaves(twin):
        if kind(part) == "neuron":
            for slot in STATES[neuron_type(part)]:
                setattr(part, slot, torch.zeros(0, dtype=torch.float64))
            surrogate = part.spike_grad
            part._modules.pop("spike_grad", None)
            part.spike_grad = _in_input_type(surrogate)
    return twin


def _in_input_type(surrogate: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """snnTorch's surrogates give float32 spikes to a float64 net."""
    return lambda shifted: surrogate(shifted).to(shifted.dtype)


@contextmanager
def _alone(neurons: Sequence[nn.Module]) -> Iterator[None]:
    """While a copy runs, snnTorch's list of all living neurons holds only the copy's: `utils.reset`, called in a
    forward, would set the states of every other net to zero."""
    owners = {cls for neuron in neurons for cls in type(neuron).__mro__ if "instances" in vars(cls)}
    before = {cls: cls.instances for cls in owners}
    try:
        for cls in owners:
            cls.instances = list(neurons)
        yield
    finally:
        for cls, instances in before.items():
            cls.instances = instances


class _Watch:
    """The hooks on the leaves of one run."""

    def __init__(self, trace: Trace, module: nn.Module) -> None:
        self.trace, self.tracer = trace, trace.tracer
        for name, leaf in leaves(module):
            self._attach(name, leaf)

    def _attach(self, name: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(
            lambda module, args, kwargs: self._before(name, module, args, kwargs), with_kwargs=True)
        module.register_forward_hook(
            lambda module, args, kwargs, out: self._after(name, module, args, kwargs, out),
            with_kwargs=True, prepend=True)

    def _before(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self.tracer.inside += 1
        what = kind(module)
        if what == "neuron":
            step, shape = len(self.trace.spikes.get(name, ())), next(tensors_in([args, kwargs])).shape
            self._check_states(name, self._states(module, args, kwargs), step, shape)
        elif what in ("cell", "sequence"):
            given = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments.get("hx")
            states = given if isinstance(given, tuple) else (torch.zeros(0) if given is None else given,)
            step = len(self.trace.states.get(name, ())) if what == "cell" else 0
            self._check_states(name, dict(zip(("hidden", "cell"), states, strict=False)), step, None)

    def _after(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        after = {"neuron": self._neuron, "foreign": self._foreign, "cell": self._cell, "sequence": self._sequence}
        after.get(kind(module), self._leaf)(name, module, args, kwargs, out)  # a dropout may have been switched on
        self.tracer.inside -= 1

    def _foreign(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        labels = [label_of(t) for t in tensors_in([args, kwargs]) if label_of(t) is not None]
        cause = next((label for label in labels if isinstance(label, Foreign)), None)
        for tensor in tensors_in(out):
            put_label(tensor, cause or Foreign(f"{type(module).__name__} ({name})", describe(labels[0] if labels else
                                                                                            None)))

    def _leaf(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        tensor = next(tensors_in([args, kwargs]))
        label = label_of(tensor)
        if kind(module) == "layer":
            new = self.tracer.leaf(name, module, tensor)
        elif kind(module) == "softmax" and label is not None:
            op = f"{type(module).__name__} ({name})"
            new = self.tracer.softmax(op, label, module.dim, tensor.ndim) or Foreign(op, describe(label))
        elif kind(module) == "view" and label is not None:
            op = type(module).__name__
            new = label if isinstance(label, Foreign) else (
                self.tracer.viewed(label, tensor.shape, out.shape, name) or Foreign(op, describe(label)))
        else:
            new = label
        for one in tensors_in(out):
            put_label(one, new)

    # ---- neurons

    def _states(self, module: nn.Module, args: tuple, kwargs: dict) -> dict[str, torch.Tensor]:
        """The state with which a neuron enters a step: handed over, or its own."""
        bound = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
        return {slot: bound[slot] if bound.get(slot) is not None else getattr(module, slot)
                for slot in STATES[neuron_type(module)]}

    def _check_states(self, name: str, states: dict[str, torch.Tensor], step: int, shape: torch.Size | None) -> None:
        for slot, value in states.items():
            if step == 0:
                if value.numel() and value.any():
                    self.tracer.problem(f"{name} starts with a {SLOTS[slot]} that is not zero", allowed="zeros",
                                        hint="reset the states, or let the forward begin with zeros")
                continue
            is_output = slot in ("spk", "hidden")
            last = Signal(self.tracer.source(name, step - 1)) if is_output else State(name, slot, step - 1)
            if label_of(value) != last or (shape is not None and value.shape != shape):
                self.tracer.problem(
                    f"at step {step} the {SLOTS[slot]} of {name} is {_given(label_of(value))}, not what it was after "
                    f"step {step - 1}", allowed="states that go on from step to step",
                    hint="reset only before the first")

    def _neuron(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        trace, spikes = self.trace, next(tensors_in(out))
        step = len(trace.spikes.setdefault(name, []))
        trace.spikes[name].append((spikes != 0).numpy())
        self._one_step(name, next(tensors_in([args, kwargs])), step)
        trace.neurons[name], trace.shapes[name] = module, tuple(spikes.shape[1:])
        for slot in STATES[neuron_type(module)]:
            put_label(getattr(module, slot), State(name, slot, step))
        put_label(spikes, Signal(self.tracer.source(name, step)))

    def _one_step(self, name: str, tensor: torch.Tensor, step: int) -> None:
        label = self.tracer.incoming(tensor, name)
        if isinstance(label, (Series, Merged)):
            self.tracer.all_at_once(name, label)
        elif label is not None:
            self._drive(name, self.tracer.canonical(label.expr, step), step)

    # ---- recurrent cells

    def _cell(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        state, *more = tensors_in(out)
        step = len(self.trace.states.setdefault(name, []))
        self.trace.states[name].append(state.numpy().copy())
        self._one_step(name, next(tensors_in([args, kwargs])), step)
        self.trace.levels |= levels(name, module)
        put_label(state, Signal(self.tracer.source(name, step)))
        for one in more:
            put_label(one, State(name, "cell", step))

    def _sequence(self, name: str, module: nn.Module, args: tuple, kwargs: dict, out: object) -> None:
        """An RNN, GRU or LSTM gives the states of its last layer at all steps, and the last states of all layers."""
        trace, tracer, tensor = self.trace, self.tracer, next(tensors_in([args, kwargs]))
        made, axis = levels(name, module), 1 if module.batch_first else 0
        *_, last = made
        label = tracer.incoming(tensor, name)
        if label is not None and (not isinstance(label, Series) or label.axis != axis or tensor.ndim != 3):
            tracer.misread |= from_input(label)
            tracer.problem(f"{name} gets {describe(label)} of shape {list(tensor.shape)}",
                           allowed=f"all steps of a signal, [{'batch, time' if axis else 'time, batch'}, features]")
            label = None
        if last in trace.states:
            tracer.problem(f"{name} is called twice", allowed="once, with all steps",
                           hint="for one step at a time there are RNNCell, GRUCell and LSTMCell")
        if label is None or last in trace.states:
            for one in tensors_in(out):
                put_label(one, Foreign(f"{type(module).__name__} ({name})", describe(label_of(tensor))))
            return
        below = None
        for one, level in made.items():
            trace.levels[one] = level
            if below is not None:
                trace.sources[one] = tracer.source(below, 0)
            below = one
        for step, item in enumerate(label.items):
            self._drive(next(iter(made)), tracer.canonical(item.expr, step), step)
        states, *ends = tensors_in(out)
        trace.states[last] = [one.numpy().copy() for one in states.unbind(axis)]
        end = len(label.items) - 1
        put_label(states, Series(tuple(Signal(tracer.source(last, t)) for t in range(end + 1)), axis))
        put_label(ends[0], Final(tuple(Signal(tracer.source(one, end)) for one in made), 0))
        for one in ends[1:]:
            put_label(one, Final(tuple(State(name, "cell", end) for name in made), 0))

    def _drive(self, name: str, expr: Expr, step: int) -> None:
        known = self.trace.sources.get(name)
        if known is None or (step == 1 and known is not expr and begins(known, expr, name)):
            self.trace.sources[name] = expr
        elif known is not expr:
            self.tracer.problem(
                f"at step {step} {name} is driven by {_told(expr)}, before by {_told(known)}",
                allowed="the same graph at every step; the spikes fed back are zeros before the first step")


def _given(label: Label | None) -> str:
    if isinstance(label, State):
        return f"{describe(label)} after step {label.at}"
    return "another tensor" if label is None else describe(label)


def _told(expr: Expr) -> str:
    """An expression with its delays in words."""
    if isinstance(expr, Source) and expr.at:
        count = abs(expr.at)
        return f"{describe(expr)} of {count} step{'s' * (count > 1)} {'before' if expr.at > 0 else 'later'}"
    if isinstance(expr, Apply):
        return f"{expr.name}({', '.join(map(_told, expr.args))})"
    return describe(expr)


def begins(first: Expr, later: Expr, name: str | None) -> bool:
    """Whether `first`, in which zeros stand for what was not there yet, is step 0 of `later`, in which the spikes of
    the population `name` itself (None: of any) come back."""
    if first is later:
        return True
    if isinstance(first, Zero):
        if isinstance(later, Apply) and isinstance(later.part, nn.Linear):
            return later.part.bias is None and begins(first, later.args[0], name)  # a bias would not be zero
        return isinstance(later, Source) and later.name in (name or later.name,) and later.at == 1
    return (isinstance(first, Apply) and isinstance(later, Apply) and first.part == later.part
            and len(first.args) == len(later.args)
            and all(begins(a, b, name) for a, b in zip(first.args, later.args, strict=True)))


def run_once(module: nn.Module, sample: torch.Tensor, time_axis: int | None, stepped: bool = False,
             timeless: bool = False) -> Trace:
    """Run a copy of `module` on a float64 sample: at one go, or (`stepped`) on `sample[t]` for each t."""
    trace = Trace(Tracer(), sample, time_axis, stepped, timeless)
    twin = copy_of(module)  # one for each run: states begin at rest
    _Watch(trace, twin)
    neurons = [leaf for _, leaf in leaves(twin) if kind(leaf) == "neuron"]
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _alone(neurons):
        try:
            if stepped:
                outs = [_call(twin, trace.tracer, sample[t], Signal(trace.tracer.source("input", t)))
                        for t in range(sample.shape[0])]
                trace.returned = _over_steps(trace.tracer, outs)
            else:
                label = Signal(trace.tracer.source("input", None)) if time_axis is None else Series(
                    tuple(Signal(trace.tracer.source("input", t)) for t in range(sample.shape[time_axis])), time_axis)
                out = _call(twin, trace.tracer, sample, label)
                trace.returned = list(_returned(trace.tracer, out))
        except NeurosimError:
            raise
        except Exception as error:
            trace.crash = error
    return trace


def _call(module: nn.Module, tracer: Tracer, sample: torch.Tensor, label: Label) -> object:
    sample = sample.clone()
    put_label(sample, label)
    with tracer:
        return module(sample)


def _returned(tracer: Tracer, out: object) -> Iterator[tuple[Label | None, np.ndarray]]:
    """What a module with the time loop inside returned; a list of steps counts as if it were stacked."""
    if isinstance(out, torch.Tensor):
        label = label_of(out)
        if isinstance(label, Merged):
            tracer.misread |= from_input(label)
            label = Foreign("merging of batch and time", describe(label))
        yield label, out.numpy()
        return
    parts = list(out.values()) if isinstance(out, dict) else out if isinstance(out, (list, tuple)) else []
    labels = [label_of(part) for part in parts]
    if len(parts) > 1 and all(isinstance(label, (Signal, State)) for label in labels) and all(
            tracer.follows(a, b) for a, b in pairwise(labels)):
        yield Series(tuple(labels), 0), torch.stack(list(parts)).numpy()
        return
    for part in parts:
        yield from _returned(tracer, part)


def _over_steps(tracer: Tracer, outs: list[object]) -> list[tuple[Label | None, np.ndarray]]:
    """What a module called step by step returned, each tensor over all steps."""
    steps = [list(tensors_in(out)) for out in outs]
    if len({len(step) for step in steps}) > 1:
        tracer.problem("it returns more tensors at some steps than at others", allowed="the same at every step")
        return []
    returned = []
    for tensors in zip(*steps, strict=True):
        labels = [label_of(tensor) for tensor in tensors]
        if all(isinstance(label, (Signal, State)) for label in labels):
            label: Label | None = Series(tuple(labels), 0)
        else:
            odd = next((one for one in labels if not isinstance(one, (Signal, State))), None)
            label = Foreign("sum", describe(odd)) if isinstance(odd, (Total, Series)) else odd
            if isinstance(odd, Softmax):
                label = Foreign(f"{odd.op} of each step", describe(odd.inner))
        returned.append((label, torch.stack(tensors).numpy()))
    return returned
