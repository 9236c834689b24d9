"""Parts of a die that one can point at: arrays, tiles, and groups of neurons with everything that makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurosim.mapping.arrays import DeviceArray
from neurosim.mapping.circuit import WordArray
from neurosim.mapping.mapped import AnyArray, MappedNetwork
from neurosim.network import Conv2d, Linear, Population, Recurrent
from neurosim.network.network import Node

ALL = slice(None)
#: the fields of circuits that biases make, together, as the parameter of a place
BIASES = "biases"
_GROUPS, _SINGLE = 8, 16  # groups of a layer, where it has more neurons than these
Place = tuple[str, str, slice | np.ndarray, slice]


@dataclass(frozen=True)
class Part:
    """Some devices of a mapping. kind: "all", "array", "tile" or "neurons".

    places: layer, parameter, outputs (the first axis: neurons, channels) and inputs (the axes behind it, as one).
    """

    name: str
    kind: str
    places: tuple[Place, ...]


def parts(mapped: MappedNetwork) -> list[Part]:
    """All devices; every array; every tile where an array has several; every group of neurons.

    A group is the neurons of a core where a chip has several in use; else each neuron of up to 16, or an eighth of a
    layer. To it belong the weights that reach its neurons, and their own time constants, thresholds and biases.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.9)], (2,), dt=1e-3)
    >>> [part.name for part in parts(ns.map_network(net, ns.load_profile("mismatch")))]
    ['all devices', 'linear/weight', 'lif neuron 0', 'lif neuron 1']
    """
    arrays = [Part(f"{layer}/{parameter}", "array", ((layer, parameter, ALL, ALL),))
              for layer, parameter in _parameters(mapped)]
    everything = Part("all devices", "all", tuple(place for part in arrays for place in part.places))
    return [everything, *arrays, *_tiles(mapped), *_neurons(mapped)]


def cut(values: np.ndarray, place: Place) -> np.ndarray:
    """The values of a parameter `[outputs, ...]` at a place, `[outputs, inputs]`."""
    return values.reshape(values.shape[0], -1)[place[2], place[3]]


def replaced(values: np.ndarray, place: Place, other: np.ndarray | float) -> np.ndarray:
    """A copy of the values of a parameter with others, `[outputs, inputs]` or one for all, at a place."""
    out = values.copy()
    out.reshape(values.shape[0], -1)[place[2], place[3]] = other
    return out


def devices_at(array: DeviceArray, place: Place) -> np.ndarray:
    """Which devices of an array lie at a place, bool `[devices]`: a reference column where all of its outputs do."""
    own = np.zeros((len(array.own), array.tiling.outputs, array.tiling.inputs), bool)
    own[:, place[2], place[3]] = True
    shared = np.zeros((array.reference.shape[0], array.tiling.tiles_out, array.tiling.inputs), bool)
    for tile in range(array.tiling.tiles_out):
        first = tile * array.tiling.tile_outputs
        shared[:, tile] = own[0, first:first + array.tiling.tile_outputs].all(axis=0)
    return np.concatenate([own.reshape(-1), shared.reshape(-1)])


def _parameters(mapped: MappedNetwork) -> Iterator[tuple[str, str]]:
    yield from ((array.layer, array.parameter) for array in mapped.arrays)
    if mapped.configuration is not None:
        yield from ((layer, BIASES) for layer in mapped.configuration.places)


def _tiles(mapped: MappedNetwork) -> Iterator[Part]:
    for array in mapped.arrays:
        if isinstance(array, DeviceArray) and array.tiles > 1:
            for number, (outputs, inputs) in enumerate(array.tiling.parts()):
                yield Part(f"{array.name} tile {number}", "tile", ((array.layer, array.parameter, outputs, inputs),))


def _neurons(mapped: MappedNetwork) -> Iterator[Part]:
    network = mapped.network
    nodes = {node.name: node for node in network.nodes}
    of = {name: [p for layer, p in _parameters(mapped) if layer == name] for name in nodes}
    taken: set[str] = set()
    for node in reversed(network.nodes):
        if node.name in taken or isinstance(node.layer, Recurrent) or not (of[node.name] or _feeds(node, nodes)):
            continue
        together = [node.name, *([node.inputs[0]] if _feeds(node, nodes) else [])]
        taken.update(together)
        owned = [(name, p) for name in together for p in of[name]]
        if owned:
            yield from _groups(mapped, node.name, network.shapes[node.name][0], owned)


def _feeds(node: Node, nodes: dict[str, Node]) -> bool:
    """Whether a population gets all its input from one layer with weights."""
    source = nodes.get(node.inputs[0])
    return isinstance(node.layer, Population) and source is not None and isinstance(source.layer, (Linear, Conv2d))


def _groups(mapped: MappedNetwork, name: str, size: int, owned: list[tuple[str, str]]) -> Iterator[Part]:
    if size < 2:
        return
    cores = mapped.configuration.places[name][:, 0] if mapped.configuration is not None else np.zeros(size, int)
    found: dict[str, slice | np.ndarray] = {f"core {core}": np.flatnonzero(cores == core) for core in np.unique(cores)}
    if len(found) == 1:
        count = size if size <= _SINGLE else _GROUPS
        edges = [size * i // count for i in range(count + 1)]
        found = {f"neuron {low}" if high == low + 1 else f"neurons {low} to {high - 1}": slice(low, high)
                 for low, high in itertools.pairwise(edges)}
    for said, here in found.items():
        yield Part(f"{name} {said}", "neurons", tuple((layer, parameter, here, ALL) for layer, parameter in owned))


def size_of(mapped: MappedNetwork, part: Part) -> int:
    """How many devices a part has; of fields of circuits, how many neurons."""
    arrays: dict[tuple[str, str], AnyArray] = {(array.layer, array.parameter): array for array in mapped.arrays}
    total = 0
    for place in part.places:
        array = arrays.get(place[:2])
        if array is None:
            total += len(mapped.configuration.places[place[0]][place[2]])
        elif isinstance(array, DeviceArray):
            total += int(devices_at(array, place).sum())
        elif isinstance(array, WordArray):
            total += int(np.count_nonzero(cut(array.nominal, place)))
        else:
            total += cut(array.nominal, place).size
    return total
