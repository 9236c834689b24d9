"""A NIR graph made plain: no graphs in graphs, loops folded into their neurons, scales into their neighbours.

Works on the nodes as NIR has them, by name and value; knows neither time steps nor layers, and not the nir
package: a node is known by the name of its class. Rewriting keeps what the graph computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from neurosim.errors import NeurosimError

if TYPE_CHECKING:
    import nir

#: what becomes of a membrane without a spike when a threshold stands behind it
_FIRING = {"LI": "LIF", "CubaLI": "CubaLIF", "I": "IF"}
_WEIGHTS = ("Affine", "Linear")
#: the parameter that scales the input of a population
_INPUT_SCALE = {"LIF": "r", "LI": "r", "IF": "r", "I": "r", "CubaLIF": "w_in", "CubaLI": "w_in"}


@dataclass
class Part:
    """A node: the name of its NIR class, its fields, where its input comes from (their sum), the weights from its
    own output back to it, and what neurosim noted when it wrote it."""

    kind: str
    values: dict[str, object]
    sources: list[str] = field(default_factory=list)
    loops: list[Part] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def array(self, name: str) -> np.ndarray:
        """A field as a float array, refused by name if it is not one."""
        value = np.asarray(self.values[name])
        if value.dtype.kind not in "fiub":
            raise NeurosimError(f"{name} is {self.values[name]!r:.40}", allowed="numbers")
        value = value if value.dtype in (np.float32, np.float64) else value.astype(np.float64)
        if not np.isfinite(value).all():
            raise NeurosimError(f"{name} holds NaN or infinity")
        return value

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of its input, if it was written with one."""
        given = self.values["input_type"]
        given = given.get("input") if isinstance(given, Mapping) else given
        return None if given is None else tuple(int(n) for n in np.asarray(given).reshape(-1))


def plain(graph: nir.NIRGraph) -> dict[str, Part]:
    """The parts of a graph in the order in which a step computes them, from its one Input to its one Output.

    Raises
    ------
    NeurosimError
        Several inputs or outputs, an edge to nowhere or twice, a node that leads nowhere, a loop that is not
        one population with weights back to itself.
    """
    parts = _collect(graph)
    for part in parts.values():
        part.sources = _through_passes(parts, part.sources, ())
    parts = {name: part for name, part in parts.items() if part.kind != "Pass"}
    _join_thresholds(parts)
    _fold_loops(parts)
    _split_sum_pools(parts)
    for name in [name for name, part in parts.items() if part.kind == "Scale"]:
        _fold_scale(parts, name)
    return _ordered(parts)


def _collect(graph: nir.NIRGraph) -> dict[str, Part]:
    """Nodes of all levels under dotted names; inputs and outputs of inner graphs become a "Pass"."""
    parts: dict[str, Part] = {}
    ends: dict[str, dict[str, str]] = {}
    edges: list[tuple[str, str]] = []

    def add(graph: nir.NIRGraph, prefix: str) -> None:
        own = Counter((str(a), str(b)) for a, b in graph.edges)
        found: dict[str, list[str]] = {"Input": [], "Output": []}
        for name, node in graph.nodes.items():
            full, kind = f"{prefix}{name}", type(node).__name__
            found.setdefault(kind, []).append(full)
            if kind == "NIRGraph":
                add(node, f"{full}.")
                continue
            values = {f.name: getattr(node, f.name) for f in fields(node)}
            notes = (values.pop("metadata", None) or {}).get("neurosim", {})
            inner = prefix and kind in ("Input", "Output")
            parts[full] = Part("Pass" if inner else kind, values, notes=notes if isinstance(notes, dict) else {})
        for kind in ("Input", "Output"):
            if len(found[kind]) != 1:
                raise NeurosimError(f"it has {len(found[kind])} nodes of type {kind} {sorted(found[kind]) or ''}",
                                    where=f"graph {prefix[:-1]}" if prefix else "", allowed="one")
        ends[prefix[:-1]] = {kind: names[0] for kind, names in found.items() if names}
        for (a, b), times in own.items():
            if times > 1:
                raise NeurosimError(f"the edge stands there {times} times", where=f"{prefix}{a} -> {prefix}{b}",
                                    allowed="once", hint="NIR does not say whether it counts twice")
            edges.append((ends.get(prefix + a, {}).get("Output", prefix + a),
                          ends.get(prefix + b, {}).get("Input", prefix + b)))

    add(graph, "")
    for a, b in edges:
        for name in (a, b):
            if name not in parts:
                raise NeurosimError(f"there is no node {name!r}", where=f"{a} -> {b}")
        parts[b].sources.append(a)
    return parts


def _through_passes(parts: dict[str, Part], names: list[str], path: tuple[str, ...]) -> list[str]:
    sources = []
    for name in names:
        if parts[name].kind != "Pass":
            sources.append(name)
        elif name in path:
            raise NeurosimError("a loop without a neuron", where=" -> ".join((*path, name)))
        else:
            sources += _through_passes(parts, parts[name].sources, (*path, name))
    return sources


def _users(parts: dict[str, Part], name: str) -> list[str]:
    return [other for other, part in parts.items() if name in part.sources]


def _join_thresholds(parts: dict[str, Part]) -> None:
    """A membrane and a Threshold that alone listens to it: a population without reset."""
    for name, part in list(parts.items()):
        source = parts.get(part.sources[0]) if len(part.sources) == 1 else None
        if part.kind == "Threshold" and source and source.kind in _FIRING and _users(parts, part.sources[0]) == [name]:
            del parts[part.sources[0]]
            values = {**source.values, "v_threshold": part.values["threshold"], "reset": "none"}
            parts[name] = Part(_FIRING[source.kind], values, source.sources, notes={**source.notes, **part.notes})


def _fold_loops(parts: dict[str, Part]) -> None:
    """Weights from a population back to itself become its `loops`."""
    for name, part in list(parts.items()):
        if part.kind not in _FIRING.values():
            continue
        for source in list(part.sources):
            back = parts.get(source)
            if source == name:
                part.loops.append(Part("Scale", {"scale": np.ones(1)}))
            elif back and back.kind in (*_WEIGHTS, "Scale") and back.sources == [name]:
                part.loops.append(back)
            else:
                continue
            part.sources.remove(source)
            if source != name and not _users(parts, source):
                del parts[source]


def _split_sum_pools(parts: dict[str, Part]) -> None:
    """A sum over windows is their mean, times the size of a window (padded zeros count in both)."""
    for name, part in list(parts.items()):
        if part.kind == "SumPool2d":
            kernel = np.atleast_1d(part.array("kernel_size"))
            scale = np.prod(kernel) if kernel.size > 1 else kernel[0] ** 2
            mean = _free(parts, f"{name}.mean")
            parts[mean] = Part("AvgPool2d", part.values, part.sources)
            parts[name] = Part("Scale", {"scale": np.asarray(scale, np.float64)}, [mean])


def _free(parts: dict[str, Part], name: str) -> str:
    while name in parts:
        name += "_"
    return name


def _fold_scale(parts: dict[str, Part], name: str) -> None:
    """Put a scale into the weights before it or behind it, or into the neurons behind it; else leave it."""
    scale = parts[name].array("scale")
    users = _users(parts, name)
    while len(users) == 1 and parts[users[0]].kind == "Flatten" and parts[users[0]].sources == [name]:
        flatten = users[0]  # the scale changes places with it
        scale = _spread(scale, parts[flatten].shape)
        parts[flatten].sources = parts[name].sources
        following = _users(parts, flatten)
        for other in following:
            parts[other].sources = [name if s == flatten else s for s in parts[other].sources]
        parts[name].sources, scale, users = [flatten], scale.reshape(-1), following
        parts[name].values = {"scale": scale}
    source = parts[parts[name].sources[0]] if len(parts[name].sources) == 1 else None
    user = parts[users[0]] if len(users) == 1 and parts[users[0]].sources == [name] else None
    if (scale == 1).all() or (source and _users(parts, parts[name].sources[0]) == [name] and _scaled(
            source, scale, rows=True)) or (user and _scaled(user, scale, rows=False)):
        for other in users:
            at = parts[other].sources.index(name)
            parts[other].sources[at: at + 1] = parts[name].sources
        del parts[name]


def _spread(scale: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """A scale of each channel as one of each value, where the shape that it works on is known."""
    if scale.size == 1 or shape is None:
        return scale
    try:
        return np.broadcast_to(scale, shape)
    except ValueError:  # one of each value, in a shape of its own
        return scale


def _scaled(part: Part, scale: np.ndarray, rows: bool) -> bool:
    """Scale the outputs (`rows`) or the inputs of a part, if it can be done."""
    if part.kind in _INPUT_SCALE and not rows and not part.loops:
        name = _INPUT_SCALE[part.kind]
        part.values[name] = part.array(name) * scale
        part.notes = {}
        return True
    if part.kind == "Conv2d":
        channels = scale.reshape(scale.shape[0] if scale.ndim == 3 else 1, -1)
        if not (channels == channels[:, :1]).all():
            return False
        scale = channels[:, 0]
    elif part.kind not in _WEIGHTS:
        return False
    weight = part.array("weight")
    axis = 0 if rows else 1
    if scale.size not in (1, weight.shape[axis]) or weight.ndim < 2:
        return False
    scale = scale.reshape(-1, *[1] * (weight.ndim - 1 - axis))
    part.values["weight"] = weight * scale
    if rows and "bias" in part.values:
        part.values["bias"] = part.array("bias") * scale.reshape(-1)
    return True


def _ordered(parts: dict[str, Part]) -> dict[str, Part]:
    """Every part behind its sources; among equals the order of the graph."""
    done: dict[str, Part] = {}
    waiting = dict(parts)
    while waiting:
        ready = next((name for name, part in waiting.items() if all(s in done for s in part.sources)), None)
        if ready is None:
            path = [next(iter(waiting))]
            while path[-1] not in path[:-1]:
                path.append(next(s for s in parts[path[-1]].sources if s in waiting))
            loop = path[path.index(path[-1]):][::-1]
            raise NeurosimError("a loop that is not one LIF, CubaLIF or IF with weights (Affine, Linear, Scale) back "
                                "to itself", where=" -> ".join(loop),
                                hint="several populations in a loop can be written as one, with all their weights")
        part = done[ready] = waiting.pop(ready)
        if part.kind != "Input" and not part.sources:
            raise NeurosimError("nothing leads there", where=f"node {ready}")
    for name, part in parts.items():
        if part.kind != "Output" and not _users(parts, name):
            raise NeurosimError("it leads nowhere", where=f"node {name}", hint="remove it, or connect it to the Output")
    return done
