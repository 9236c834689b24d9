"""A trained snnTorch or torch module, unchanged -> a `Network`, and the proof that both give the same.

How it is done: a copy of the module runs once on a sample in float64 (`torch_run`), while labels follow its tensors
(`torch_labels`, `torch_signals`); what drives each neuron is then known, and the parameters are read out of the modules
(`torch_layers`, `torch_recurrent`) and the output is chosen (`torch_output`). Whatever has no counterpart is refused by
name. Here: finding the time axis, putting the nodes together, the proof.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.network import forward
from neurosim.network.layers import Flatten, Layer, Shape, Sum
from neurosim.network.network import Network, Node
from neurosim.network.torch_labels import (
    SUM,
    Apply,
    Expr,
    Label,
    Series,
    Softmax,
    Source,
    Total,
    View,
    Zero,
    describe,
)
from neurosim.network.torch_layers import integrator, kind, layer, neuron_type, population
from neurosim.network.torch_output import Output
from neurosim.network.torch_recurrent import refuse
from neurosim.network.torch_run import Trace, leaves, run_once

T = TypeVar("T")


def from_torch(module: nn.Module, sample: torch.Tensor, dt: float = 1e-3, *, readout: str | None = None,
               output: str | None = None, time_loop: bool | None = None, batch_first: bool | None = None,
               prove: bool = True) -> Network:
    """Take a trained module as it is: `nn.Sequential`, a class with the time loop in its forward, or one step.

    Parameters
    ----------
    module:
        Built of snnTorch's Leaky, Synaptic, RLeaky, RSynaptic and torch's RNN, GRU, LSTM (several layers, one
        direction), their cells, Linear, Conv2d, AvgPool2d, AdaptiveAvgPool2d, MaxPool2d, ReLU, Tanh, Sigmoid, BatchNorm
        (with its running statistics), Flatten, Dropout (left out), additions of two signals, a softmax at the end (left
        out: it decides as its input does), a Linear of a mean over time (the mean of the Linear). A recurrence written
        by hand, ``lif(fc(x) + rec(spk))``, becomes the population's own. One layer of recurrent cells, "rnn", becomes
        two nodes: the weights of its input, "rnn.input", and "rnn".
        The module is not changed: a copy runs, in eval mode, with all states at rest.
    sample:
        Input to follow through the module, better with spikes in all its layers. A module that does one step takes
        `[time, batch, *shape]` and is called with each `sample[t]`, its states kept in between. A module with the time
        loop inside is called once with the whole sample; its time axis is the one that the loop indexes. A loop that
        takes the same input at each step gets `[batch, *shape]`; the network then wants it repeated over time. So does
        a module without any state, a plain CNN: its network takes one step, `[1, batch, *shape]`.
    dt:
        What one step means, in seconds.
    readout:
        `"sum"`, `"max"` or `"last"` over time. Without it, what the module does to its output over time, and `"sum"`
        where it returns all steps; a membrane returned with all steps needs it said. That the module takes the mean,
        or multiplies by something, changes no class but a loss: the provenance notes it.
    output:
        Name of the neuron module whose spikes are read out, or of its membrane (`"lif2.mem"`), or of the recurrent
        module; needed only if what the module returns does not end in one place.
    time_loop:
        Whether the loop over time is inside the module. Without it: True if, called with the whole sample, any of its
        neurons is called more than once. A plain Sequential has none.
    batch_first:
        True if the sample is `[batch, time, *shape]`, False if it is `[time, batch, *shape]`; without it, a loop's
        indexing tells, and a module of one step takes time first.
    prove:
        Run the network on the sample and require every spike of every population to be the module's own, and every
        number of recurrent cells and of the output within 1e-10 of the largest. Both run in float64: in float32, the
        order of additions already decides on a few spikes in a million.

    Raises
    ------
    NeurosimError:
        An operation, a module or a setting without a counterpart, by name and place; a graph that changes between
        steps; a state that does not start at zero; a difference found by the proof.

    >>> import torch, snntorch, neurosim as ns
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), snntorch.Leaky(beta=0.9, init_hidden=True))
    >>> network = ns.Network.from_torch(net, torch.ones(10, 2, 4), dt=1e-3)
    >>> [node.name for node in network.nodes], network.shapes["1"]
    (['0', '1'], (3,))
    """
    if not isinstance(module, nn.Module):
        raise NeurosimError(f"module is a {type(module).__name__}", where="from_torch", allowed="a torch.nn.Module")
    while isinstance(module, nn.DataParallel) or hasattr(module, "_orig_mod"):  # torch.compile
        module = module.module if isinstance(module, nn.DataParallel) else module._orig_mod
    where = f"from_torch({type(module).__name__})"
    try:
        sample = _numbers(sample)
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                raise NeurosimError("it is TorchScript, which cannot be followed", where=name,
                                    hint="give the module as it was before torch.jit.script or torch.jit.trace")
        for name, leaf in leaves(module):
            if kind(leaf) == "neuron":
                _of(name, neuron_type, leaf)
            elif kind(leaf) in ("sequence", "cell"):
                _of(name, refuse, leaf)
        trace = _trace(module, sample, time_loop, batch_first)
        if trace.tracer.problems:
            raise trace.tracer.problems[0]
        steps = _steps(trace)
        chosen = Output(trace, steps, output, readout)
        parts = _Assembly(trace)
        if chosen.membrane:
            parts.integrator(chosen.expr)
        else:
            parts.add(chosen.expr)
        network = Network(tuple(parts.nodes), parts.input_shape(), dt, chosen.rule)
        proof = _prove(network, trace, steps, parts, chosen) if prove else "none asked for"
    except NeurosimError as error:
        place = f"{where}: {error.where}" if error.where else where
        raise NeurosimError(error.message, where=place, allowed=error.allowed, hint=error.hint) from error.__cause__
    return replace(network, provenance={"from": _version(trace), "module": type(module).__name__,
                                        "input": _input_words(trace, steps), "proof": proof, **chosen.over_time})


def _numbers(sample: object) -> torch.Tensor:
    """The sample in float64 on the CPU."""
    try:
        tensor = torch.as_tensor(sample).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise NeurosimError(f"the sample is a {type(sample).__name__}", allowed="one tensor of real numbers",
                            hint="a module of several inputs has no counterpart") from error
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise NeurosimError(f"the sample holds {tensor.dtype} in layout {tensor.layout}",
                            allowed="one dense tensor of real numbers")
    return tensor.to(torch.float64)


def _of(name: str, make: Callable[..., T], *args: object) -> T:
    """`make(*args)`; what it refuses is said of the leaf `name`."""
    try:
        return make(*args)
    except NeurosimError as error:
        raise NeurosimError(error.message, where=name, allowed=error.allowed, hint=error.hint) from None


def _version(trace: Trace) -> str:
    known = sys.modules.get("snntorch") if trace.neurons else torch
    return f"{known.__name__} {known.__version__}"


def _input_words(trace: Trace, steps: int) -> str:
    if trace.timeless:
        return "without time: one step, [1, batch, ...]"
    if trace.stepped:
        return "one step at a time"
    if trace.time_axis is None:
        return f"the same at all {steps} steps: repeat it over time"
    return f"time on axis {trace.time_axis} of the module's own input"


# ---- finding the time axis


def _trace(module: nn.Module, sample: torch.Tensor, time_loop: bool | None, batch_first: bool | None) -> Trace:
    kinds = {kind(leaf) for _, leaf in leaves(module)}
    one_step = type(module).forward is nn.Sequential.forward or kind(module) != "container"
    first = 1 if batch_first else 0
    if sample.ndim < 2 or 0 in sample.shape:
        raise NeurosimError(f"the sample has shape {list(sample.shape)}", allowed="[time, batch, *shape]")
    still = None
    if not kinds & {"neuron", "sequence", "cell"} and time_loop is None and batch_first is None:
        still = run_once(module, sample, None, timeless=True)
        if still.crash is None and still.tracer.one_step and not still.tracer.misread:
            return still
    whole = None
    if time_loop or "sequence" in kinds or (time_loop is None and not one_step):
        whole = run_once(module, sample, first)
        loops = whole.looped or (still is not None and whole.crash is None and not whole.tracer.misread)
        if time_loop or "sequence" in kinds or loops:
            return _looped(module, whole, batch_first)
    before = whole if whole is not None else still
    if sample.ndim < 3:
        if before is not None and before.crash is not None:
            raise NeurosimError(f"called with the sample, it fails: {_crash(before.crash)}") from before.crash
        raise NeurosimError(f"the sample has shape {list(sample.shape)}", allowed="[time, batch, *shape]",
                            hint="the module does one step at a time")
    trace = run_once(module, sample.transpose(0, first), 0, stepped=True)
    if trace.crash is not None:
        also = f"; with the whole sample: {_crash(before.crash)}" if before is not None and before.crash else ""
        raise NeurosimError(f"called step by step, it fails: {_crash(trace.crash)}{also}",
                            hint="a forward that takes states needs a module around it that loops over time"
                            ) from trace.crash
    for name, count in trace.counts.items():
        if count != sample.shape[first]:
            raise NeurosimError(f"{name} is called {count} times in {sample.shape[first]} steps",
                                allowed="once at each step",
                                hint="if the module loops over time, say time_loop=True; one neuron in two places of a "
                                "net is not supported")
    return trace


def _crash(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _looped(module: nn.Module, trace: Trace, batch_first: bool | None) -> Trace:
    """The run under that time axis which goes with how the loop uses its input."""
    if trace.crash is not None:
        raise NeurosimError(f"called with the sample, it fails: {_crash(trace.crash)}") from trace.crash
    others = [1, trace.sample.ndim - 1, None] if batch_first is None else [None]
    first = trace
    for axis in others:
        if not trace.tracer.misread:
            return trace
        trace = run_once(module, trace.sample, axis)
    return first if trace.tracer.misread else trace


def _steps(trace: Trace) -> int:
    counts = trace.counts
    if len(set(counts.values())) > 1:
        raise NeurosimError(f"its neurons are called {counts} times", allowed="equally often")
    return 1 if trace.timeless else next(iter(counts.values()), trace.sample.shape[trace.time_axis or 0])


# ---- putting the nodes together


class _Assembly:
    """The nodes, each after what it needs. populations: node -> neuron module whose spikes it must give; cells: node ->
    layer of recurrent cells whose states it must give."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nodes: list[Node] = []
        self.populations: dict[str, str] = {}
        self.cells: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._shapes: dict[str, Shape] = {}
        self._read: set[Shape] = set()
        sample = trace.sample if trace.time_axis is None else trace.sample.select(trace.time_axis, 0)
        self._given = tuple(sample.shape[1:])

    def input_shape(self) -> Shape:
        if len(self._read) > 1:
            raise NeurosimError(f"the input is read in the shapes {sorted(self._read)}", allowed="one shape")
        return next(iter(self._read), self._given)

    def add(self, expr: Expr) -> str:
        """The name of the node that gives `expr`, made if it is not there yet."""
        if id(expr) not in self._names:
            self._names[id(expr)] = self._source(expr) if isinstance(expr, Source) else self._apply(expr)
        return self._names[id(expr)]

    def integrator(self, expr: Source) -> str:
        return self._node(expr.name, lambda: integrator(self.trace.neurons[expr.name], self.trace.shapes[expr.name]),
                          self.add(self.trace.sources[expr.name]))

    def _source(self, expr: Source) -> str:
        if expr.at:
            late = "steps late" if expr.at > 0 else "steps early"
            raise NeurosimError(f"{describe(expr)} is used {abs(expr.at)} {late}", allowed="in the same step",
                                hint="a recurrence is lif(fc(x) + rec(spk)), with rec a Linear and spk of this lif; "
                                "or an RNN, GRU, LSTM, or one of their cells")
        if expr.name == "input":
            return self._input(self._given)
        if expr.name in self.trace.levels:
            level, below = self.trace.levels[expr.name], self.add(self.trace.sources[expr.name])
            name = self._node(expr.name, level.cell, self._node(f"{expr.name}.input", level.input, below))
            self.cells[name] = expr.name
            return name
        drive, feedback = self._feedback(expr.name, self.trace.sources[expr.name])
        name = self._node(expr.name, lambda: population(self.trace.neurons[expr.name], self.trace.shapes[expr.name],
                                                        feedback), self.add(drive))
        self.populations[name] = expr.name
        return name

    def _input(self, shape: Shape) -> str:
        self._read.add(shape)
        self._shapes["input"] = shape
        return "input"

    def _feedback(self, name: str, drive: Expr) -> tuple[Expr, nn.Linear | None]:
        """Split ``fc(x) + rec(own spikes of the step before)`` into the two."""
        if not isinstance(drive, Apply) or drive.part is not SUM:
            return drive, None
        back = [arg for arg in drive.args if isinstance(arg, Apply) and isinstance(arg.part, nn.Linear)
                and isinstance(arg.args[0], Source) and (arg.args[0].name, arg.args[0].at) == (name, 1)]
        rest = [arg for arg in drive.args if arg not in back]
        if len(back) != 1 or not rest:
            return drive, None
        return (rest[0] if len(rest) == 1 else self.trace.tracer.apply("sum", SUM, *rest)), back[0].part

    def _apply(self, expr: Expr) -> str:
        if isinstance(expr, Zero):
            raise NeurosimError("a layer is fed with zeros only", allowed="signals")
        if expr.part is SUM:
            inputs = [self.add(arg) for arg in expr.args if not isinstance(arg, Zero)]
            return inputs[0] if len(inputs) == 1 else self._node("sum", Sum, *inputs)
        if isinstance(expr.part, View):
            return self._view(expr)
        below = self.add(expr.args[0])
        return self._node(expr.name, lambda: layer(expr.part, self._shapes[below]), below)

    def _view(self, expr: Apply) -> str:
        view, below = expr.part, expr.args[0]
        if len(view.after) == 1:
            return self._node(expr.name, Flatten, self.add(below))
        if isinstance(below, Source) and below.name == "input":
            return self._input(view.after)  # the network takes its input in the shape in which it is used
        raise NeurosimError(f"{describe(below)} changes its shape from {list(view.before)} to {list(view.after)}",
                            where=expr.name, allowed="to one axis")

    def _node(self, wanted: str, make: Callable[[], Layer], *inputs: str) -> str:
        name, base = wanted.replace("/", "."), wanted.replace("/", ".")
        count = 1
        while name == "input" or name in self._shapes:
            count += 1
            name = f"{base}_{count}"
        made = _of(wanted, make)
        self._shapes[name] = _of(wanted, made.output_shape, self._shapes[inputs[0]])
        self.nodes.append(Node(name, made, inputs))
        return name


# ---- the proof

_REPORT = ("does the module write to a tensor under another name (a view, .data, numpy)? That is not seen; else report "
           "it: the network that was built is not the module")


def _prove(network: Network, trace: Trace, steps: int, parts: _Assembly, chosen: Output) -> str:
    inputs = trace.sample.numpy()
    if trace.time_axis is None:
        inputs = np.broadcast_to(inputs, (steps, *inputs.shape))
    else:
        inputs = np.moveaxis(inputs, trace.time_axis, 0)[:steps]
    inputs = inputs.reshape(*inputs.shape[:2], *network.input_shape)
    result = forward.run(network, inputs, dtype=np.float64, keep=(*parts.populations, *parts.cells))
    total, odd = 0, []
    for order, (name, leaf) in enumerate(parts.populations.items()):
        own = np.stack(trace.spikes[leaf][:steps])
        total += int(own.sum())
        differs = np.argwhere(own != (result.kept[name] != 0))
        if differs.size:
            odd.append((differs[0][0], order, name, differs[0], own[tuple(differs[0])], len(differs), own.size))
    if odd:
        _, _, name, (step, one, *neuron), fired, count, size = min(odd, key=lambda entry: entry[:2])
        raise NeurosimError(
            f"the proof found another spike train: at step {step}, sample {one}, neuron {', '.join(map(str, neuron))} "
            f"{'fires in the module only' if fired else 'fires in the network only'}; {count} of {size} differ in all",
            where=name, hint=_REPORT)
    seen = {name: np.stack(trace.states[leaf]) for name, leaf in parts.cells.items() if leaf in trace.states}
    for name, own in seen.items():
        _same_numbers(name, own, result.kept[name])
    words = [f"{total} spikes of {len(parts.populations)} populations identical"] if parts.populations else []
    words += [f"{len(seen)} layers of recurrent cells equal"] if seen else []
    for label, value, behind in chosen.seen:
        _same_output(network.nodes[-1].name, label, value, behind, result.output)
    words += ["output equal"] if chosen.seen else []
    return f"{', '.join(words) or 'nothing compared'} over {steps} steps of {inputs.shape[1]} samples, in float64"


def _same_output(name: str, label: Label, value: np.ndarray, behind: Softmax | None, output: np.ndarray) -> None:
    """The same for what the module returned, up to the order of additions: all its steps, a total, the last step."""
    if isinstance(label, Series):
        value = np.moveaxis(value, label.axis, 0)
    elif isinstance(label, Total):
        output = label.scale * (output.sum(axis=0) if label.rule == "sum" else output.max(axis=0))
    else:
        output = output[-1]
    if behind is not None:
        output = (log_softmax if behind.log else softmax)(output, axis=-1)
    _same_numbers(name, value, output)


def _same_numbers(name: str, own: np.ndarray, found: np.ndarray) -> None:
    largest = np.abs(own).max()
    off = np.abs(own - found).max() if own.shape == found.shape else np.inf
    if not off <= 1e-10 * max(largest, 1e-9):
        raise NeurosimError(f"the proof found other numbers: {off:g} away, where the largest is {largest:g}",
                            where=name, hint=_REPORT)
