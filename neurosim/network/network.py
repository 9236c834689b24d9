"""A network: named layers in a directed graph, a time step, and a rule that reads the class out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network.layers import SPIKING, BatchNorm, Conv2d, Layer, Linear, Shape, Sum
from neurosim.network.ranges import LearntRanges

if TYPE_CHECKING:
    import nir
    import torch

READOUTS = ("sum", "max", "last")


@dataclass(frozen=True)
class Node:
    """A layer in the graph: its name, and where its input comes from (`"input"` or names above it)."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))


@dataclass(frozen=True, eq=False)
class Network:
    """What the user wants to run. The last node is the output.

    Parameters
    ----------
    nodes:
        In an order in which every input stands before its use. Only `Sum` takes several inputs.
    input_shape:
        Shape of one sample at one step, without time and batch.
    dt:
        Time step in seconds.
    readout:
        How `[time, batch, class]` becomes one number per class, before the largest wins:
        `"sum"` over time (spike count; mean logit), `"max"` over time, `"last"` step.
    provenance:
        Where the network comes from: versions, seed, recipe, data hash. Not part of its hash.
    ranges:
        What the converters of a chip are to be set to, where training has learnt it; empty: it is found from data.

    >>> import neurosim as ns, numpy as np
    >>> net = ns.Network.sequential([ns.Linear(np.ones((3, 2))), ns.LIF(beta=0.9)], input_shape=(2,), dt=1e-3)
    >>> net.shapes["lif"]
    (3,)
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    dt: float
    readout: str = "sum"
    provenance: Mapping[str, object] = field(default_factory=dict)
    ranges: LearntRanges = field(default_factory=LearntRanges)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "input_shape", tuple(int(n) for n in self.input_shape))
        if not self.nodes:
            raise NeurosimError("a network without layers")
        if isinstance(self.dt, bool) or not isinstance(self.dt, Real) or not (1e-9 <= self.dt <= 1e3):
            raise NeurosimError(f"dt is {self.dt!r} s", allowed="1e-9 to 1e3 s", hint="seconds, not milliseconds")
        if self.readout not in READOUTS:
            raise NeurosimError(f"readout is {self.readout!r}", allowed=", ".join(READOUTS))
        self.shapes  # noqa: B018 - refuses a graph that does not fit together, now

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The output shape of every node, and of `"input"`."""
        shapes: dict[str, Shape] = {"input": self.input_shape}
        for node in self.nodes:
            if node.name in shapes or not node.name or "/" in node.name:
                raise NeurosimError(f"the name {node.name!r} is taken, empty or has a '/'", where="network")
            where = f"layer {node.name}"
            unknown = [name for name in node.inputs if name not in shapes]
            if unknown or not node.inputs:
                raise NeurosimError(f"its input is {unknown or 'missing'}", where=where, allowed=", ".join(shapes))
            incoming = [shapes[name] for name in node.inputs]
            if isinstance(node.layer, Sum):
                if len(set(incoming)) > 1:
                    raise NeurosimError(f"sums shapes {incoming}", where=where, allowed="one shape")
            elif len(incoming) > 1:
                raise NeurosimError(f"{type(node.layer).__name__} has {len(incoming)} inputs", where=where,
                                    allowed="1", hint="join them with a Sum")
            try:
                shapes[node.name] = node.layer.output_shape(incoming[0])
            except NeurosimError as error:
                raise NeurosimError(error.message, where=where, allowed=error.allowed, hint=error.hint) from None
        return shapes

    @property
    def output_shape(self) -> Shape:
        return self.shapes[self.nodes[-1].name]

    def __getitem__(self, name: str) -> Layer:
        for node in self.nodes:
            if node.name == name:
                return node.layer
        raise NeurosimError(f"no layer {name!r}", where="network", allowed=", ".join(n.name for n in self.nodes))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that decides what the network computes."""
        digest = hashlib.sha256(repr((self.input_shape, float(self.dt), self.readout)).encode())
        for node in self.nodes:
            digest.update(repr((node.name, type(node.layer).__name__, node.inputs, node.layer.settings())).encode())
            for name, value in node.layer.arrays().items():
                digest.update(repr((name, value.shape, value.dtype.str)).encode() + value.tobytes())
        if self.ranges.arrays:
            digest.update(json.dumps(self.ranges.as_plain(), sort_keys=True).encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        spiking = any(isinstance(node.layer, SPIKING) for node in self.nodes)
        lines = [f"Network(dt={self.dt:g} s, input [time, batch, {', '.join(map(str, self.input_shape))}], "
                 f"readout={self.readout!r}{', spikes where v > threshold (strict)' if spiking else ''})"]
        for node in self.nodes:
            source = "" if len(node.inputs) == 1 else f" of {', '.join(node.inputs)}"
            lines.append(f"  {node.name}: {node.layer!r}{source} -> {list(self.shapes[node.name])}")
        return "\n".join(lines)

    @classmethod
    def sequential(cls, layers: Sequence[Layer] | Mapping[str, Layer], input_shape: Sequence[int], dt: float,
                   readout: str = "sum", provenance: Mapping[str, object] | None = None) -> Network:
        """A chain of layers; without names they are called after their type (`lif`, `lif_2`, ...)."""
        if not isinstance(layers, Mapping):
            named: dict[str, Layer] = {}
            for layer in layers:
                base, count = type(layer).__name__.lower(), 1
                while (name := base if count == 1 else f"{base}_{count}") in named:
                    count += 1
                named[name] = layer
            layers = named
        names = ["input", *layers]
        nodes = tuple(Node(name, layer, (names[i],)) for i, (name, layer) in enumerate(layers.items()))
        return cls(nodes, tuple(input_shape), dt, readout, provenance or {})

    @classmethod
    def from_torch(cls, module: torch.nn.Module, sample: torch.Tensor, dt: float = 1e-3, **options: object) -> Network:
        """Take a trained snnTorch module unchanged; see `neurosim.network.torch_trace.from_torch`."""
        from neurosim.network.torch_trace import from_torch

        return from_torch(module, sample, dt, **options)

    @classmethod
    def from_nir(cls, graph: nir.NIRGraph | str | os.PathLike[str], dt: float, **options: object) -> Network:
        """Read a NIR graph or file; see `neurosim.network.nir_files.from_nir`."""
        from neurosim.network.nir_files import from_nir

        return from_nir(graph, dt, **options)

    def to_nir(self, path: str | os.PathLike[str] | None = None, lossy: bool = False) -> nir.NIRGraph:
        """Write as NIR; see `neurosim.network.nir_files.to_nir`."""
        from neurosim.network.nir_files import to_nir

        return to_nir(self, path, lossy=lossy)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as a model file (HDF5); see `neurosim.network.files`."""
        from neurosim.network.files import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a model file (HDF5); see `neurosim.network.files`."""
        from neurosim.network.files import load

        return load(path)

    def folded(self) -> Network:
        """The same network with every BatchNorm inside the layer next to it, where that changes nothing.

        It goes into the Linear or Conv2d that feeds it and nobody else; or else into the one that it feeds alone, if
        that adds no zeros around its input. For chips without digital arithmetic between their arrays.

        >>> import neurosim as ns, numpy as np
        >>> norm = ns.BatchNorm(mean=[1.0], variance=[4.0], scale=[1.0], shift=[0.0], eps=0)
        >>> ns.Network.sequential([ns.Linear([[2.0]]), norm], (1,), dt=1e-3).folded()["linear"]
        Linear(weight=1.0, bias=-0.5)
        """
        for norm in self.nodes:
            if not isinstance(norm.layer, BatchNorm):
                continue
            source = norm.inputs[0]
            below = next((node for node in self.nodes if node.name == source), None)
            above = [node for node in self.nodes if norm.name in node.inputs]
            if (below is not None and isinstance(below.layer, (Linear, Conv2d))
                    and sum(node.inputs.count(source) for node in self.nodes) == 1):
                found, layer = below, norm.layer.after(below.layer)
            elif len(above) == 1 and isinstance(above[0].layer, (Linear, Conv2d)) and not np.any(
                    getattr(above[0].layer, "padding", 0)):
                found, layer = above[0], norm.layer.before(above[0].layer)
            else:
                continue
            nodes = tuple(Node(node.name, layer if node is found else node.layer,
                               tuple(source if one == norm.name else one for one in node.inputs))
                          for node in self.nodes if node is not norm)
            return replace(self, nodes=nodes).folded()
        return self

    def replace_arrays(self, change: Callable[[str, str, np.ndarray], np.ndarray]) -> Network:
        """The same network with `change(layer, parameter, array)` in the place of every array."""
        nodes = tuple(
            Node(node.name, type(node.layer)(**node.layer.settings(), **{
                name: change(node.name, name, value) for name, value in node.layer.arrays().items()}), node.inputs)
            for node in self.nodes)
        return Network(nodes, self.input_shape, self.dt, self.readout, self.provenance,
                       self.ranges)
