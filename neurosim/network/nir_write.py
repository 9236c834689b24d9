"""The layers of a network as nodes and edges of a NIR graph, and what NIR cannot say about them.

NIR resets at once, to a value. A reset to a value that acts one step later gives the same spikes, bit for bit, so it
can be written; a soft reset cannot. The other way round is `nir_read`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from neurosim.network.layers import (
    LIF,
    AdaptiveLIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    CubaLIF,
    Flatten,
    Layer,
    LeakyIntegrator,
    Linear,
    MaxPool2d,
    Population,
    ReLU,
    Shape,
    Sum,
)
from neurosim.network.network import Network, Node
from neurosim.network.nir_steps import Steps, nearest

if TYPE_CHECKING:
    import nir


@dataclass
class Sheet:
    """A graph while it is written.

    losses: what is written only as near as possible; refusals: what cannot be written at all.
    """

    network: Network
    steps: Steps
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    biases: dict[str, np.ndarray] = field(default_factory=dict)

    def free(self, name: str) -> str:
        """A node name that nobody has."""
        taken = {node.name for node in self.network.nodes} | set(self.nodes)
        while name in taken:
            name += "_"
        return name


def written(network: Network, steps: Steps) -> Sheet:
    """Nodes and edges of the whole network; losses and refusals are collected, not raised."""
    import nir

    network = network.folded()
    sheet = Sheet(network, steps)
    _move_biases(sheet)
    sheet.outputs["input"] = sheet.free("input")
    sheet.nodes[sheet.outputs["input"]] = nir.Input(np.array(network.input_shape))
    for node in network.nodes:
        if isinstance(node.layer, Sum):
            continue
        if isinstance(node.layer, ReLU):
            sheet.losses.append(f"{node.name}: ReLU is left out")
            continue
        if type(node.layer) not in _WRITERS:
            norm = isinstance(node.layer, BatchNorm)
            where = "; no layer next to it can take it in" if norm else ""
            sheet.refusals.append(f"{node.name}: NIR has no {type(node.layer).__name__}{where}")
            continue
        before = network.shapes[node.inputs[0]]
        entry = _WRITERS[type(node.layer)](sheet, node, before)
        sheet.outputs[node.name] = node.name
        sheet.edges += [(source, entry) for source in _sources(sheet, node.name, node.inputs)]
    end = sheet.free("output")
    sheet.nodes[end] = nir.Output(np.array(network.output_shape))
    sheet.edges += [(source, end) for source in _sources(sheet, end, (network.nodes[-1].name,))]
    return sheet


def _sources(sheet: Sheet, target: str, inputs: tuple[str, ...]) -> list[str]:
    """Where a signal comes from, sums and left-out layers resolved."""
    layers = {node.name: node for node in sheet.network.nodes}
    found: list[str] = []

    def follow(name: str) -> None:
        if name in sheet.outputs:
            found.append(sheet.outputs[name])
        else:
            for source in layers[name].inputs:
                follow(source)

    for name in inputs:
        follow(name)
    for name in sorted({name for name in found if found.count(name) > 1}):
        sheet.refusals.append(f"{target}: {name} enters its sum {found.count(name)} times, an edge counts once")
    return found


def _move_biases(sheet: Sheet) -> None:
    """NIR's CubaLIF has no bias of its own: it goes to the weights in front, if they feed nobody else."""
    users: dict[str, int] = {}
    layers = {node.name: node.layer for node in sheet.network.nodes}
    for node in sheet.network.nodes:
        for name in node.inputs:
            users[name] = users.get(name, 0) + 1
    for node in sheet.network.nodes:
        bias = node.layer.bias if isinstance(node.layer, CubaLIF) and node.layer.recurrent is None else None
        if bias is None or not bias.any():
            continue
        source, shape = node.inputs[0], sheet.network.shapes[node.name]
        rows = np.broadcast_to(bias, shape).reshape(shape[0], -1)
        same = (rows == rows[:, :1]).all()
        if isinstance(layers.get(source), (Linear, Conv2d)) and users[source] == 1 and same:
            sheet.biases[source] = rows[:, 0]
        else:
            sheet.losses.append(f"{node.name}: the bias of its synapse is left out, there are no weights in front "
                                "that could take it")


def _notes(layer: Layer) -> dict[str, object]:
    """How the arrays are kept: their dtype, and whether they are one number."""
    return {"neurosim": {name: f"{value.dtype}{'' if value.ndim else ' scalar'}"
                         for name, value in layer.arrays().items() if name != "recurrent"}}


def _full(value: np.ndarray | float, shape: Shape) -> np.ndarray:
    return np.array(np.broadcast_to(value, shape))


def _linear(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    layer, extra = node.layer, sheet.biases.get(node.name)
    bias = layer.bias if extra is None else extra if layer.bias is None else layer.bias + extra
    weight = np.array(layer.weight)
    sheet.nodes[node.name] = nir.Linear(weight) if bias is None else nir.Affine(weight, np.array(bias))
    return node.name


def _conv(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    layer, extra = node.layer, sheet.biases.get(node.name)
    bias = np.zeros(layer.weight.shape[0], layer.weight.dtype) if layer.bias is None else np.array(layer.bias)
    (top, bottom), (left, right) = layer.padding
    totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.weight.shape[2:], strict=True)]
    padding: tuple[int, int] | str = (top, left)
    if (top, left) != (bottom, right):
        padding = "same"
        if layer.stride != (1, 1) or layer.padding != tuple((n // 2, n - n // 2) for n in totals):
            sheet.refusals.append(f"{node.name}: zeros {layer.padding} around a map differ from side to side")
    sheet.nodes[node.name] = nir.Conv2d(
        tuple(before[1:]), np.array(layer.weight), layer.stride, padding, layer.dilation, 1,
        bias if extra is None else bias + extra,
        metadata=_notes(layer) if layer.bias is not None else {})
    return node.name


def _pool(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    kind = nir.AvgPool2d
    if isinstance(node.layer, MaxPool2d):
        kind = nir.SumPool2d  # of sparse spikes, the sum is nearest to the maximum
        sheet.losses.append(f"{node.name}: MaxPool2d is written as SumPool2d")
    sheet.nodes[node.name] = kind(*map(np.array, (node.layer.kernel, node.layer.stride, node.layer.padding)))
    return node.name


def _flatten(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    sheet.nodes[node.name] = nir.Flatten(np.array(before), 0, -1)
    return node.name


def _leak(sheet: Sheet, layer: Population, tau: np.ndarray, gain: np.ndarray, shape: Shape) -> np.ndarray:
    """The v_leak that drives as the bias does; the loop takes the bias where there is one."""
    if layer.bias is None or getattr(layer, "recurrent", None) is not None:
        return np.zeros(shape)
    share, bias = sheet.steps.share(tau), np.where(gain == 0, 0.0, _full(layer.bias, shape))
    divisor = np.where(gain == 0, 1.0, gain)
    return nearest(lambda v: share * v / divisor, gain * bias / share, bias)


def _loop(sheet: Sheet, node: Node, entry: str) -> None:
    """Weights from a population back to where its input enters."""
    import nir

    layer = node.layer
    if layer.recurrent is None:
        return
    name = sheet.free(f"{node.name}.recurrent")
    weight = np.array(layer.recurrent)
    sheet.nodes[name] = nir.Linear(weight) if layer.bias is None else nir.Affine(
        weight, _full(layer.bias, weight.shape[:1]))
    sheet.edges += [(node.name, name), (name, entry)]


def _membrane(sheet: Sheet, layer: Population, shape: Shape) -> dict[str, np.ndarray]:
    """tau, r and v_leak of a population with one decay; only r where it neither leaks nor has a drive."""
    beta, gain = (_full(value, shape).astype(np.float64) for value in (layer.beta, layer.gain))
    driven = layer.bias is not None and layer.bias.any() and getattr(layer, "recurrent", None) is None
    if (beta == 1).all() and not driven:
        return {"r": sheet.steps.r_of(gain, None)}
    tau = sheet.steps.tau_of(beta)
    return {"tau": tau, "r": sheet.steps.r_of(gain, tau), "v_leak": _leak(sheet, layer, tau, gain, shape)}


def _firing(sheet: Sheet, node: Node, shape: Shape) -> dict[str, np.ndarray] | None:
    """v_threshold and v_reset, or None for a population that does not reset."""
    layer = node.layer
    if layer.reset == "none":
        return None
    at_once = layer.reset == "hold" and not layer.reset_delay and (layer.v_reset <= layer.threshold).all()
    if layer.reset == "subtract":
        sheet.losses.append(f"{node.name}: the soft reset (subtract) becomes a reset to {_range(layer.v_reset)}")
    elif layer.reset == "hold" and not at_once:
        sheet.losses.append(f"{node.name}: the reset that holds for a step (hold) becomes one at once")
    return {"v_threshold": _full(layer.threshold, shape), "v_reset": _full(layer.v_reset, shape)}


def _range(value: np.ndarray) -> str:
    low, high = float(value.min()), float(value.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _lif(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    membrane, firing = _membrane(sheet, node.layer, before), _firing(sheet, node, before)
    notes, entry = _notes(node.layer), node.name
    if firing is not None:
        sheet.nodes[entry] = (nir.LIF if "tau" in membrane else nir.IF)(**membrane, **firing, metadata=notes)
    else:
        entry = _split(sheet, node, (nir.LI if "tau" in membrane else nir.I)(**membrane), before, notes)
    _loop(sheet, node, entry)
    return entry


def _split(sheet: Sheet, node: Node, membrane: nir.NIRNode, shape: Shape, notes: dict[str, object]) -> str:
    """A population without reset: a membrane, and behind it a threshold under the population's name."""
    import nir

    entry = sheet.free(f"{node.name}.membrane")
    sheet.nodes[entry] = membrane
    sheet.nodes[node.name] = nir.Threshold(_full(node.layer.threshold, shape), metadata=notes)
    sheet.edges.append((entry, node.name))
    return entry


def _cuba_lif(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    layer, steps = node.layer, sheet.steps
    alpha, beta, gain_syn, gain, leak = (_full(value, before).astype(np.float64) for value in (
        layer.alpha, layer.beta, layer.gain_syn, layer.gain, 0.0 if layer.leak is None else layer.leak))
    tau_syn, tau = steps.tau_of(alpha), steps.tau_of(beta)
    share = steps.share(tau)
    fields = {"tau_syn": tau_syn, "tau_mem": tau, "w_in": steps.r_of(gain_syn, tau_syn), "r": steps.r_of(gain, tau),
              "v_leak": nearest(lambda v: share * v, leak / share, leak)}
    notes, firing, entry = _notes(layer), _firing(sheet, node, before), node.name
    if layer.recurrent is None:
        notes["neurosim"].pop("bias", None)
    if firing is not None:
        sheet.nodes[entry] = nir.CubaLIF(**fields, **firing, metadata=notes)
    else:
        entry = _split(sheet, node, nir.CubaLI(**fields), before, notes)
    _loop(sheet, node, entry)
    return entry


def _adaptive(sheet: Sheet, node: Node, before: Shape) -> str:
    layer = node.layer
    sheet.losses.append(f"{node.name}: AdaptiveLIF becomes LIF: without adaptation, with a reset to 0"
                        + (f", without its refractory period of {layer.refractory} steps" if layer.refractory else ""))
    plain = LIF(layer.beta, layer.threshold, layer.gain, layer.bias, 0.0, layer.recurrent, "zero", False)
    return _lif(sheet, replace(node, layer=plain), before)


def _integrator(sheet: Sheet, node: Node, before: Shape) -> str:
    import nir

    membrane = _membrane(sheet, node.layer, before)
    sheet.nodes[node.name] = (nir.LI if "tau" in membrane else nir.I)(**membrane, metadata=_notes(node.layer))
    return node.name


_WRITERS: dict[type[Layer], Callable[[Sheet, Node, Shape], str]] = {
    Linear: _linear, Conv2d: _conv, AvgPool2d: _pool, MaxPool2d: _pool, Flatten: _flatten, LIF: _lif,
    CubaLIF: _cuba_lif, AdaptiveLIF: _adaptive, LeakyIntegrator: _integrator,
}
