"""Run a network: the walk over its graph, layer by layer, each over all time steps, on the kernels of `engine`.

Who runs many dies prepares once (`compile_inputs`), then calls `run_block` with each die's parameters; `run`
does both for one set of parameters. A population whose only source is a `Linear` layer fed by spikes is fused
with it. Results do not depend on threads or on how dies are chunked: the blocks of the batch follow from the network
alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from neurosim import engine
from neurosim.engine.neurons import RESET_CODES, TRACED
from neurosim.errors import NeurosimError
from neurosim.network.activity import Drive, together, value_drive
from neurosim.network.circuit_forward import normalised, run_circuit
from neurosim.network.drives import drive_of, drive_of_block, each_drive, fed_back
from neurosim.network.layers import (
    SPIKING,
    AdaptiveLIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    CubaLIF,
    DPINeuron,
    Flatten,
    LeakyIntegrator,
    Linear,
    MaxPool2d,
    Population,
    ReLU,
    Sigmoid,
    Sum,
    Tanh,
)
from neurosim.network.network import Network, Node
from neurosim.network.reads import Read, Saturation, read_conv, read_linear, read_product, read_rnn
from neurosim.network.recurrent import GRU, LSTM, RNN, Recurrent
from neurosim.network.signals import Block, Events, Signal

Parameters = Mapping[str, Mapping[str, np.ndarray]]
_BLOCK_VALUES = 1 << 22  # of the widest signal of a block: 16 MiB in float32


@dataclass
class Forward:
    """What a run gives.

    scores: `[batch, classes]`, the readout rule applied.
    output: `[time, batch, classes]`, or None where only the scores were asked for.
    spikes: for every spiking population, spikes of each neuron over all samples and steps, int64 `[neurons]`.
    drives: what every layer with weights was driven with; for recurrent weights, of populations and cells, under
    `name/recurrent`.
    kept: `[time, batch, *shape]` of the layers asked for.
    saturation: for every array that is read through converters, by `layer/parameter`: how often they were out of range.
    spikes_of_samples, drives_of_samples: spikes `[neurons]` and drives of each sample, where they were asked for.
    traces: of the populations asked for, what lies in them at the end of each step, `[time, batch, *shape]` by name:
    current, membrane and threshold, or of circuits the currents of the membrane and of each kind of synapse in amperes.
    """

    scores: np.ndarray
    output: np.ndarray | None
    spikes: dict[str, np.ndarray]
    drives: dict[str, Drive]
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    saturation: dict[str, Saturation] = field(default_factory=dict)
    spikes_of_samples: dict[str, list[np.ndarray]] = field(default_factory=dict)
    drives_of_samples: dict[str, list[Drive]] = field(default_factory=dict)
    traces: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def prediction(self) -> np.ndarray:
        """The class with the largest score, int64 `[batch]`; the first one where several are equal."""
        return self.scores.argmax(axis=1)


def compile_inputs(network: Network, inputs: np.ndarray, dtype: np.dtype = np.float32) -> list[Block]:
    """Check inputs `[time, batch, *input_shape]` and cut them into blocks of samples, events where they are spikes."""
    inputs = np.asarray(inputs)
    expected = f"[time, batch, {', '.join(map(str, network.input_shape))}]"
    if inputs.ndim < 2 or inputs.shape[2:] != network.input_shape or 0 in inputs.shape:
        raise NeurosimError(f"inputs have shape {list(inputs.shape)}", where="inputs", allowed=expected,
                            hint="time comes first")
    if inputs.dtype.kind not in "fiub" or not np.isfinite(inputs).all():
        bad = "values that are not numbers" if inputs.dtype.kind not in "fiub" else (
            f"{np.count_nonzero(~np.isfinite(inputs))} NaN or infinite values")
        raise NeurosimError(f"{bad} of {inputs.size}", where="inputs", allowed="finite numbers")
    time, batch = inputs.shape[:2]
    widest = max(math.prod(shape) for shape in network.shapes.values())
    size = max(1, min(batch, _BLOCK_VALUES // (time * widest)))
    spikes = bool(np.isin(inputs, (0, 1)).all())
    blocks = []
    for start in range(0, batch, size):
        samples = slice(start, min(start + size, batch))
        rows = np.ascontiguousarray(np.swapaxes(inputs[:, samples], 0, 1), dtype).reshape(-1, *network.input_shape)
        flat = rows.reshape(rows.shape[0], -1)
        signal = Events(*engine.to_events(flat)) if spikes and len(network.input_shape) == 1 else rows
        blocks.append(Block(samples, samples.stop - start, time, signal, value_drive(flat)))
    return blocks


@dataclass(frozen=True)
class Step:
    """One node with its parameters as the kernels take them: own copies, weights `[in, out]`, zeros behind the last
    neuron up to whole vectors. reads: the weights that are read from crossbar tiles instead, by parameter."""

    node: Node
    arrays: dict[str, np.ndarray]
    fused: Step | None = None
    reads: dict[str, Read] = field(default_factory=dict)


def compile_steps(network: Network, parameters: Parameters | None = None, dtype: np.dtype = np.float32,
                  keep: Iterable[str] = (), reads: Mapping[str, Read] | None = None) -> list[Step]:
    """The network as kernel calls with one die's parameters; what they do not name is the network's own.

    reads: by `layer/parameter`, weights that are read from crossbar tiles.
    """
    users: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    steps: dict[str, Step] = {}
    for node in network.nodes:
        own = {**node.layer.arrays(), **(parameters or {}).get(node.name, {})}
        read = {name: (reads or {})[f"{node.name}/{name}"] for name in ("weight", "recurrent")
                if f"{node.name}/{name}" in (reads or {})}
        if isinstance(node.layer, DPINeuron):
            try:
                arrays = normalised(node.layer, own, network.shapes[node.name][0], network.dt, dtype)
            except NeurosimError as error:
                raise NeurosimError(error.message, where=f"layer {node.name}", allowed=error.allowed, hint=error.hint
                                    ) from None
        elif isinstance(node.layer, Population):
            arrays = _population_arrays(node, own, network.shapes[node.name], dtype)
        elif isinstance(node.layer, Linear):
            bias = engine.padded(own.get("bias", 0.0), network.shapes[node.name], dtype)
            arrays = {"bias": bias} if read else {"weight": engine.padded_rows(own["weight"], dtype), "bias": bias}
        elif isinstance(node.layer, Conv2d):
            bias = own.get("bias", np.zeros(own["weight"].shape[0]))
            arrays = {"weight": np.array(own["weight"], dtype, order="C"), "bias": np.array(bias, dtype)}
        elif isinstance(node.layer, Recurrent):
            bias = own.get("bias", np.zeros(own["recurrent"].shape[0]))
            arrays = {"recurrent": np.array(own["recurrent"].T, dtype, order="C"), "bias": np.array(bias, dtype)}
        elif isinstance(node.layer, BatchNorm):
            factor, shift = replace(node.layer, **own).as_factors()
            arrays = {"factor": factor.astype(dtype), "shift": shift.astype(dtype)}
        else:
            arrays = {}
        source = steps.get(node.inputs[0])
        alone = source is not None and users[source.node.name] == [node] and source.node.name not in keep
        fuse = (alone and isinstance(node.layer, Population) and isinstance(source.node.layer, Linear)
                and not source.reads)
        if fuse and _gives_spikes(network, source.node.inputs[0]):
            del steps[source.node.name]
            steps[node.name] = Step(node, arrays, source, read)
        else:
            steps[node.name] = Step(node, arrays, None, read)
    return list(steps.values())


def _gives_spikes(network: Network, name: str) -> bool:
    """Whether a node's signal may come as events; the input's block tells for itself."""
    if name != "input" and isinstance(network[name], Flatten):
        name = _node(network, name).inputs[0]
    return name == "input" or isinstance(network[name], SPIKING)


def _node(network: Network, name: str) -> Node:
    return next(node for node in network.nodes if node.name == name)


def _population_arrays(node: Node, own: Mapping[str, np.ndarray], shape: tuple[int, ...],
                       dtype: np.dtype) -> dict[str, np.ndarray]:
    arrays = {}
    for name in node.layer.parameters:
        if name == "recurrent":
            arrays[name] = engine.padded_rows(own[name], dtype) if name in own else np.empty((0, 0), dtype)
        elif own.get(name) is getattr(node.layer, name):
            arrays[name] = _own(node.layer, name, shape, np.dtype(dtype))
        else:
            arrays[name] = engine.padded(own[name], shape, dtype)
    return arrays


@lru_cache(maxsize=512)
def _own(layer: Population, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A parameter that no die changes, as the kernels take it (and leave it): made once for all dies."""
    value = getattr(layer, name)
    return engine.padded(0.0 if value is None else value, shape, dtype)


def run(network: Network, inputs: np.ndarray, parameters: Parameters | None = None, *,
        dtype: np.dtype = np.float32, keep: Iterable[str] = (), reads: Mapping[str, Read] | None = None) -> Forward:
    """Run a network on inputs `[time, batch, *input_shape]`.

    Parameters
    ----------
    parameters:
        `{layer: {parameter: array}}` in the place of the network's own: the values of one die.
    dtype:
        float32, or float64 to follow a float64 reference.
    keep:
        Names of layers whose signal `[time, batch, *shape]` is wanted in `Forward.kept`.
    reads:
        By `layer/parameter`: weights that are read from crossbar tiles, as `Dies.reads` gives them.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> run(net, np.ones((4, 1, 2)) * [0.6, 0.0]).spikes["lif"]
    array([1, 0])
    """
    keep = tuple(keep)
    for name in keep:
        network[name]
    steps = compile_steps(network, parameters, dtype, keep, reads)
    blocks = compile_inputs(network, inputs, dtype)
    parts = [run_block(network, steps, block, dtype, keep, output=True) for block in blocks]
    return Forward(
        np.concatenate([p.scores for p in parts]), np.concatenate([p.output for p in parts], axis=1),
        {k: sum(p.spikes[k] for p in parts) for k in parts[0].spikes},
        {k: together(p.drives[k] for p in parts) for k in parts[0].drives},
        {k: np.concatenate([p.kept[k] for p in parts], axis=1) for k in keep},
        {k: sum((p.saturation[k] for p in parts), start=Saturation()) for k in parts[0].saturation})


def run_block(network: Network, steps: list[Step], block: Block, dtype: np.dtype = np.float32,
              keep: tuple[str, ...] = (), output: bool = False, by_sample: bool = False,
              trace: tuple[str, ...] = ()) -> Forward:
    """Run one block of samples with the parameters compiled into `steps`; by_sample: count for each of them, too;
    trace: populations, for `Forward.traces`."""
    signals: dict[str, Signal] = {"input": block.signal}
    spikes: dict[str, np.ndarray] = {}
    drives: dict[str, Drive] = {}
    counts = {"input": block.drive.active}
    saturation = {f"{step.node.name}/{name}": Saturation() for step in steps for name in step.reads}
    spikes_of_samples: dict[str, list[np.ndarray]] = {}
    drives_of_samples: dict[str, list[Drive]] = {}
    traces: dict[str, dict[str, np.ndarray]] = {name: {} for name in trace}
    for step in steps:
        first = step.fused.node if step.fused else step.node
        incoming = [signals[name] for name in first.inputs]
        if isinstance(first.layer, (Linear, Conv2d)) or (isinstance(first.layer, DPINeuron) and first.layer.inputs):
            fired = counts.get(first.inputs[0])
            drives[first.name] = drive_of_block(step.reads.get("weight"), incoming[0], fired, block)
        if isinstance(step.node.layer, DPINeuron):
            signals[step.node.name] = _run_circuit(step, incoming[0], block, dtype, counts,
                                                   traces.get(step.node.name))
        elif isinstance(step.node.layer, Population):
            signals[step.node.name] = _run_population(network, step, incoming[0], block, dtype, counts, saturation,
                                                      traces.get(step.node.name))
        elif isinstance(step.node.layer, Recurrent):
            states = _run_cell(step, incoming[0], block, dtype, saturation)
            signals[step.node.name] = states.reshape(-1, states.shape[2])
            before = states[:, :-1].reshape(block.batch * (block.time - 1), states.shape[2])
            drives[f"{step.node.name}/recurrent"] = drive_of(step.reads.get("recurrent"), before)
        else:
            signals[step.node.name] = _run_layer(network, step, incoming, block, dtype, saturation)
            if isinstance(step.node.layer, Flatten) and step.node.inputs[0] in counts:
                counts[step.node.name] = counts[step.node.inputs[0]]
        if isinstance(step.node.layer, SPIKING):
            spikes[step.node.name] = counts[step.node.name]
            if step.arrays["recurrent"].size:
                name = f"{step.node.name}/recurrent"
                drives[name] = fed_back(signals[step.node.name], counts[step.node.name], block)
                if step.reads:
                    saturation[name].currents[0] += drives[name].reads * step.reads["recurrent"].converters
        if by_sample:
            own, size = signals[step.node.name], math.prod(network.shapes[step.node.name])
            if first.name in drives:
                drives_of_samples[first.name] = each_drive(step.reads.get("weight"), incoming[0], block, block.time,
                                                           math.prod(network.shapes[first.inputs[0]]))
            if f"{step.node.name}/recurrent" in drives:
                drives_of_samples[f"{step.node.name}/recurrent"] = each_drive(
                    step.reads.get("recurrent"), own, block, block.time - 1, size)
            if step.node.name in spikes:
                fired = each_drive(None, own, block, block.time, size)
                spikes_of_samples[step.node.name] = [drive.active for drive in fired]
    last = signals[network.nodes[-1].name]
    return Forward(read_out(last, block, network, dtype),
                   _time_first(last, block, network.output_shape, dtype) if output else None, spikes, drives,
                   {name: _time_first(signals[name], block, network.shapes[name], dtype) for name in keep}, saturation,
                   spikes_of_samples, drives_of_samples,
                   {name: {what: _time_first(values.reshape(block.batch * block.time, -1), block, network.shapes[name],
                                             dtype) for what, values in found.items()}
                    for name, found in traces.items()})


def _dense(signal: Signal, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if isinstance(signal, Events):
        signal = signal.dense(math.prod(shape), dtype)
    return signal.reshape(signal.shape[0], *shape)


def _time_first(signal: Signal, block: Block, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    rows = _dense(signal, shape, dtype).reshape(block.batch, block.time, *shape)
    return np.ascontiguousarray(np.swapaxes(rows, 0, 1))


def read_out(signal: Signal, block: Block, network: Network, dtype: np.dtype) -> np.ndarray:
    """The readout rule applied to the network's output: `[batch, classes]`."""
    classes = math.prod(network.output_shape)
    if network.readout == "sum" and isinstance(signal, Events):
        scores = np.empty((block.batch, classes), dtype)
        engine.tally(signal.pointers, signal.indices, scores)
        return scores
    output = _dense(signal, (classes,), dtype).reshape(block.batch, block.time, classes)
    if network.readout == "sum":
        return output.sum(axis=1)
    return output.max(axis=1) if network.readout == "max" else output[:, -1]


def _run_linear(step: Step, signal: Signal, block: Block, saturation: dict[str, Saturation]) -> np.ndarray:
    bias = step.arrays["bias"]
    if step.reads:
        return read_linear(step.reads["weight"], signal, block, bias, saturation[f"{step.node.name}/weight"])
    weight = step.arrays["weight"]
    if not isinstance(signal, Events):
        return engine.linear(signal, weight, bias)
    out = np.empty((signal.pointers.size - 1, weight.shape[1]), weight.dtype)
    engine.gather(signal.pointers, signal.indices, weight, bias, out)
    return out


def _run_layer(network: Network, step: Step, incoming: list[Signal], block: Block, dtype: np.dtype,
               saturation: dict[str, Saturation]) -> Signal:
    layer, signal = step.node.layer, incoming[0]
    shape = network.shapes[step.node.inputs[0]]
    if isinstance(layer, Linear):
        return _run_linear(step, signal, block, saturation)[:, : layer.weight.shape[0]]
    if isinstance(layer, Flatten):
        return signal if isinstance(signal, Events) else signal.reshape(signal.shape[0], -1)
    x = _dense(signal, shape, dtype)
    if isinstance(layer, Conv2d) and step.reads:
        return read_conv(step.reads["weight"], x, block, step.arrays["bias"], layer, network.shapes[step.node.name],
                         saturation[f"{step.node.name}/weight"])
    if isinstance(layer, Conv2d):
        return engine.conv2d(x, step.arrays["weight"], step.arrays["bias"], layer.stride, layer.padding, layer.dilation)
    if isinstance(layer, AvgPool2d):
        return engine.avg_pool(x, layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, MaxPool2d):
        return engine.max_pool(x, layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, ReLU):
        return np.maximum(x, 0)
    if isinstance(layer, Tanh):
        return np.tanh(x)
    if isinstance(layer, Sigmoid):
        return (1 + np.tanh(x / 2)) / 2
    if isinstance(layer, BatchNorm):
        factor, shift = (step.arrays[name].reshape(-1, *(1,) * (len(shape) - 1)) for name in ("factor", "shift"))
        return factor * x + shift
    if isinstance(layer, Sum):
        return sum((_dense(other, shape, dtype) for other in incoming[1:]), start=x)
    raise NeurosimError(f"{type(layer).__name__} cannot be run", where=f"layer {step.node.name}")


def _run_cell(step: Step, signal: Signal, block: Block, dtype: np.dtype,
              saturation: dict[str, Saturation]) -> np.ndarray:
    """The states of a recurrent cell, `[batch, time, units]`."""
    layer, rows, bias = step.node.layer, step.arrays["recurrent"], step.arrays["bias"]
    drive = np.ascontiguousarray(_dense(signal, (bias.size,), dtype)).reshape(block.batch, block.time, bias.size)
    out = np.empty((block.batch, block.time, rows.shape[0]), dtype)
    read, count = step.reads.get("recurrent"), saturation.get(f"{step.node.name}/recurrent")
    if read is not None and isinstance(layer, RNN):
        read_rnn(read, drive, bias, layer.nonlinearity == "relu", block, out, count)
        return out
    if read is not None:
        product = read_product(read, block, bias.size, count)
    else:
        product = engine.exact_product(rows, block.batch)
    if isinstance(layer, RNN):
        engine.rnn(drive, bias, product, layer.nonlinearity == "relu", out)
    else:
        {GRU: engine.gru, LSTM: engine.lstm}[type(layer)](drive, bias, product, out)
    return out


def _run_circuit(step: Step, signal: Signal, block: Block, dtype: np.dtype, counts: dict[str, np.ndarray],
                 traces: dict[str, np.ndarray] | None) -> Events:
    layer, name = step.node.layer, step.node.name
    pointers, indices, current = np.zeros(block.batch * block.time + 1, np.int64), np.empty(0, np.int32), None
    if layer.inputs is None:
        current = _dense(signal, (step.arrays["neurons"],), dtype).reshape(block.batch, block.time, -1)
    elif isinstance(signal, Events):
        pointers, indices = signal.pointers, signal.indices
    else:
        flat = _dense(signal, (layer.inputs,), dtype)
        if not np.isin(flat, (0, 1)).all():
            raise NeurosimError("its input is not spikes", where=f"layer {name}", allowed="0 and 1",
                                hint="a DPINeuron without input weights takes currents in amperes")
        pointers, indices = engine.to_events(flat)
    *events, counts[name] = run_circuit(layer, step.arrays, pointers, indices, current, block.samples, block.time,
                                        dtype, traces)
    return Events(*events)


def _run_population(network: Network, step: Step, signal: Signal, block: Block, dtype: np.dtype,
                    counts: dict[str, np.ndarray], saturation: dict[str, Saturation],
                    traces: dict[str, np.ndarray] | None) -> Signal:
    arrays, layer, name = step.arrays, step.node.layer, step.node.name
    size, width = math.prod(network.shapes[name]), arrays["beta"].size
    rows = np.empty((0, 0), dtype)
    drive = np.empty((0, 0, 0), dtype)
    pointers, indices, bias = np.zeros(1, np.int64), np.empty(0, np.int32), arrays["bias"]
    if step.fused and isinstance(signal, Events):
        pointers, indices, rows = signal.pointers, signal.indices, step.fused.arrays["weight"]
        bias = bias + step.fused.arrays["bias"]
    else:
        source = _run_linear(step.fused, signal, block, saturation) if step.fused else _dense(signal, (size,), dtype)
        drive = _wide(source, width).reshape(block.batch, block.time, width)
    given = (pointers, indices, rows, drive, bias)
    if isinstance(layer, LeakyIntegrator):
        out = np.empty((block.batch, block.time, width), dtype)
        engine.leaky_integrator(*given, arrays["beta"], arrays["gain"], out)
        if traces is not None:
            traces["membrane"] = out[..., :size]
        return out[..., :size].reshape(-1, *network.shapes[name])
    if step.reads:
        read, count = step.reads["recurrent"], saturation[f"{name}/recurrent"]
        arrays = {**arrays, "recurrent": read.recurrence(block, count)}
    trace = None if traces is None else np.zeros((block.batch, block.time, len(TRACED), width), dtype)
    ordered = [arrays[n] for n in layer.parameters if n != "bias"]
    if isinstance(layer, AdaptiveLIF):
        found = engine.adaptive_lif(*given, *ordered, layer.refractory, block.batch, block.time, trace)
    else:
        kernel = engine.cuba_lif if isinstance(layer, CubaLIF) else engine.lif
        found = kernel(*given, *ordered, RESET_CODES[layer.reset], layer.reset_delay, block.batch, block.time,
                       trace)
    if traces is not None:
        traces |= {what: trace[:, :, i, :size] for i, what in enumerate(TRACED)}
    *events, fired = found
    counts[name] = fired[:size]
    return Events(*events)


def _wide(signal: np.ndarray, width: int) -> np.ndarray:
    """A signal `[steps, neurons]` with zeros behind, `width` wide."""
    if signal.shape[1] == width:
        return np.ascontiguousarray(signal)
    out = np.zeros((signal.shape[0], width), signal.dtype)
    out[:, : signal.shape[1]] = signal
    return out
