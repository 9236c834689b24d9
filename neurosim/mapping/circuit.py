"""A network of `DPINeuron` layers on a chip of circuits: codes, base currents and masks, cores, tags, words.

Neurons with the same codes make a part. A part has cores of its own, with one set of base currents; where the chip has
too few cores for that, parts with equal codes share. All that does not fit is told, with the neurons it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim.devices import nearest_codes, table_currents
from neurosim.errors import NeurosimError
from neurosim.mapping.allocation import give_tags, give_words, good_words, place, share_halves
from neurosim.mapping.arrays import relative_error
from neurosim.mapping.base_currents import fit_bases, fit_repeats, masks_of
from neurosim.mapping.biases import OFF, circuit_of, codes_of, foreign_fields, settings_of, wanted_currents
from neurosim.mapping.configuration import Configuration, Words
from neurosim.network import DPINeuron, Flatten, Network
from neurosim.network.circuit_layers import SYNAPSES
from neurosim.profile import Profile, Variation

_SHOWN = 8


@dataclass(frozen=True, eq=False)
class WordArray:
    """A weight of a population as synapse words.

    nominal: amperes, float32, the sums of base currents, in the shape of the weight. entries: the words of the
    configuration that it is made of; rows, columns: the weight that each belongs to.
    """

    index: int
    layer: str
    parameter: str
    nominal: np.ndarray
    entries: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    spread: Variation
    error: float
    role: str = "weight"
    kind: str = "words"
    tiles: int = 0

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.parameter}"

    @property
    def devices(self) -> int:
        return self.entries.size

    @property
    def fan_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Words that listen to each input, and rows of tiles driven, which there are none of; int64 `[inputs]`."""
        inputs = self.nominal.shape[1]
        return np.bincount(self.columns, minlength=inputs), np.zeros(inputs, np.int64)


@dataclass(frozen=True)
class _Synapses:
    """All synapses of a network: target and source (inputs first, then neurons in order), kind, weight in amperes."""

    target: np.ndarray
    source: np.ndarray
    kind: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Neurons that share cores: their numbers, their codes."""

    neurons: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class _Written:
    """Synapses of a part as words: which synapse each word is of, its mask, and the codes of the base currents."""

    synapse: np.ndarray
    mask: np.ndarray
    bases: np.ndarray


class _Chip:
    """The network's populations in one row of numbers, and what the chip gives."""

    def __init__(self, network: Network, profile: Profile) -> None:
        self.network, self.profile, self.circuit = network, profile, circuit_of(profile)
        self.nodes = [node for node in network.nodes if isinstance(node.layer, DPINeuron)]
        sizes = [network.shapes[node.name][0] for node in self.nodes]
        self.inputs = int(np.prod(network.input_shape))
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        size = self.circuit.size
        self.cores, self.places, self.words = (int(n.value) for n in (size.cores, size.neurons, size.words))
        self.tags = int(size.tags.value)
        shape = (self.cores, self.places, self.words)
        self.good = np.ones(shape, bool) if self.circuit.words is None else self.circuit.words.good

    @property
    def neurons(self) -> int:
        return int(self.starts[-1])

    def name(self, neuron: int) -> str:
        node = int(np.searchsorted(self.starts, neuron, side="right")) - 1
        return f"{self.nodes[node].name}[{neuron - self.starts[node]}]"

    def first_source(self, name: str) -> int:
        """Where the outputs of a layer begin among the sources."""
        while name != "input" and isinstance(self.network[name], Flatten):
            name = next(node.inputs[0] for node in self.network.nodes if node.name == name)
        if name == "input":
            return 0
        return self.inputs + int(self.starts[[node.name for node in self.nodes].index(name)])

    @cached_property
    def synapses(self) -> _Synapses:
        parts = []
        for start, node in zip(self.starts, self.nodes, strict=False):
            for name, weight in node.layer.weights().items():
                way, kind = name.split("_")
                source = self.first_source(node.inputs[0]) if way == "weight" else self.inputs + start
                row, column = np.nonzero(weight)
                parts.append((start + row, source + column, np.full(row.size, SYNAPSES.index(kind)),
                              np.asarray(weight, np.float64)[row, column]))
        return _Synapses(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def map_circuit(network: Network, profile: Profile) -> tuple[Configuration, tuple[WordArray, ...]]:
    """Place a network of circuits on a chip; raises `NeurosimError` with all reasons where it does not fit."""
    reasons = list(_unfit_layers(network, profile))
    if reasons:
        raise _refusal(profile, reasons, "build the neurons with neurosim.mapping.chip_fields(profile)")
    chip = _Chip(network, profile)
    if chip.neurons > chip.cores * chip.places:
        raise _refusal(profile, [f"{chip.neurons} neurons, the chip has {chip.cores} cores of {chip.places}"], "")
    codes = np.concatenate([
        codes_of(wanted_currents(node.layer, network.shapes[node.name][0], chip.circuit), chip.circuit)
        for node in chip.nodes])
    available = None
    for shared in (False, True):
        parts = _parts(chip, codes, shared)
        if sum(-(-part.neurons.size // chip.places) for part in parts) > chip.cores:
            continue
        written = [_written(chip, part) for part in parts]
        for available, halves in good_words(chip.good):
            found = _allocated(chip, parts, written, available, halves)
            if found is not None:
                configuration = _configuration(chip, parts, written, *found)
                return configuration, tuple(_arrays(chip, configuration))
    if available is None:
        sets = np.unique(codes.reshape(chip.neurons, -1), axis=0).shape[0]
        raise _refusal(profile, [f"{sets} different sets of biases for {chip.neurons} neurons; a core of "
                                 f"{chip.places} neurons has one, the chip has {chip.cores} cores"],
                       "let neurons of a population share their biases")
    needed = np.zeros(chip.neurons, np.int64)
    for words in written:
        np.add.at(needed, chip.synapses.target[words.synapse], 1)
    raise _refusal(profile, list(_crowded(chip, needed, available.sum(axis=2))),
                   "prune the weights, or give the layers fewer inputs")


def _refusal(profile: Profile, reasons: list[str], hint: str) -> NeurosimError:
    head = "the chip cannot hold this network"
    text = "\n  ".join([head, *reasons]) if len(reasons) > 1 else f"{head}: {reasons[0]}"
    return NeurosimError(text, where=f"profile {profile.name}, level circuit", hint=hint)


def _unfit_layers(network: Network, profile: Profile) -> Iterator[str]:
    circuit = circuit_of(profile)
    for node in network.nodes:
        if not isinstance(node.layer, (DPINeuron, Flatten)):
            yield f"layer {node.name}: a {type(node.layer).__name__} is no circuit of this chip (DPINeuron, Flatten)"
        elif isinstance(node.layer, DPINeuron):
            if node.layer.inputs is None:
                yield f"layer {node.name}: takes currents, the chip takes spikes: give it input weights"
            yield from (f"layer {node.name}: {reason}" for reason in foreign_fields(node.layer, circuit))
    if not isinstance(network.nodes[-1].layer, DPINeuron):
        yield f"layer {network.nodes[-1].name}: the network must end in a DPINeuron, the chip gives spikes"
    if circuit.size.monitor.value + 1 > circuit.size.destinations.value:
        yield "size.destinations: no entry is left beside the monitor"


def _crowded(chip: _Chip, needed: np.ndarray, available: np.ndarray) -> Iterator[str]:
    """A table of neurons against the words that there are: the neediest neurons with the best places of the chip."""
    best = np.sort(available.reshape(-1))[::-1][:chip.neurons]
    order = np.argsort(-needed, kind="stable")
    over = needed[order] > best
    if not over.any():
        yield (f"{chip.neurons} neurons with {needed.min()} to {needed.max()} synapses find no core each where enough "
               f"words work, or their {chip.inputs + chip.neurons} sources no tag each of {chip.tags}")
        return
    yield f"{'neuron':<24} {'needed':>7} {'available':>10}   (synapse words)"
    rows = np.flatnonzero(over)
    for row in rows[:_SHOWN]:
        yield f"{chip.name(order[row]):<24} {needed[order[row]]:>7} {best[row]:>10}"
    yield f"{rows.size} of {chip.neurons} neurons have too many synapses for the places there are"


def _parts(chip: _Chip, codes: np.ndarray, shared: bool) -> list[_Part]:
    """Neurons of equal codes and, unless shared, of one population."""
    keys = codes.reshape(chip.neurons, -1)
    if not shared:
        population = np.searchsorted(chip.starts, np.arange(chip.neurons), side="right")
        keys = np.concatenate([keys, population[:, None]], axis=1)
    _, first, part = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return [_Part(np.flatnonzero(part.reshape(-1) == k), codes[first[k]]) for k in order]


def _written(chip: _Chip, part: _Part) -> _Written:
    """The synapses of a part as words, with the base currents that fit them best."""
    synapses, circuit = chip.synapses, chip.circuit
    mine = np.flatnonzero(np.isin(synapses.target, part.neurons))
    table = table_currents(circuit, circuit.bias.weight)
    count = int(circuit.size.base_currents.value)
    if circuit.size.coding == "repeat":
        return _repeated(chip, part, mine, table, count)
    codes = np.sort(fit_bases(synapses.weight[mine], table.reshape(-1), count))
    bases = table.reshape(-1)[codes]
    masks = masks_of(synapses.weight[mine], bases).astype(np.int64)
    used = masks > 0
    return _Written(mine[used], masks[used], np.stack(np.divmod(codes, table.shape[1]), axis=1).astype(np.int16))


def _repeated(chip: _Chip, part: _Part, mine: np.ndarray, table: np.ndarray, count: int) -> _Written:
    """One base current per kind; while a neuron has more words than a place offers, the current of the kind that takes
    most of them rises by a code."""
    synapses, most = chip.synapses, chip.words
    rows, kinds, weights = np.searchsorted(part.neurons, synapses.target[mine]), synapses.kind[mine], (
        synapses.weight[mine])
    ladder = np.unique(table[table > 0])
    rung = np.zeros(count, np.int64)
    for kind in np.unique(kinds):
        here = kinds == kind
        width = np.bincount(rows[here]).max()
        matrix = np.zeros((part.neurons.size, width))
        order = np.argsort(rows[here], kind="stable")
        start = np.searchsorted(rows[here][order], np.arange(part.neurons.size))
        matrix[rows[here][order], np.arange(order.size) - start[rows[here][order]]] = weights[here][order]
        base, _ = fit_repeats(matrix, most)
        rung[kind] = np.abs(np.log(ladder) - np.log(base)).argmin()
    single = np.bincount(rows, minlength=part.neurons.size)
    while True:
        counts = np.maximum(np.floor(weights / ladder[rung[kinds]] + 0.5).astype(np.int64), 0)
        taken = np.bincount(rows, counts, part.neurons.size)
        worst = int(np.argmax(taken - np.maximum(most, single)))
        if taken[worst] <= max(most, single[worst]):
            break
        share = np.bincount(kinds[rows == worst], counts[rows == worst], count)
        rung[share.argmax()] += 1
    codes = np.full((count, 2), OFF, np.int16)
    for kind in np.unique(kinds):
        codes[kind] = nearest_codes(table, ladder[rung[kind]])
    repeated = np.repeat(np.arange(mine.size), counts)
    return _Written(mine[repeated], np.ones(repeated.size, np.int64), codes)


def _allocated(chip: _Chip, parts: list[_Part], written: list[_Written], available: np.ndarray, halves: tuple[int, ...]
               ) -> tuple[np.ndarray, ...] | None:
    """Places of the neurons, tags and reach of the sources, words of the synapses; None where that is not possible."""
    synapse, target = np.concatenate([words.synapse for words in written]), chip.synapses.target
    needed = np.bincount(target[synapse], minlength=chip.neurons)
    placed = place([needed[part.neurons] for part in parts], available.sum(axis=2))
    if placed is None:
        return None
    places = np.empty((chip.neurons, 2), np.int64)
    for part, where in zip(parts, placed, strict=True):
        places[part.neurons] = where
    row = places[target[synapse]] @ (chip.places, 1)
    source = chip.synapses.source[synapse]
    reach = np.zeros((chip.inputs + chip.neurons, chip.cores), bool)
    reach[source, places[target[synapse], 0]] = True
    half, good = None, available.reshape(-1, chip.words)
    if len(halves) == 1:
        half = np.full(reach.shape[0], halves[0])
    elif chip.good.ndim == 4 and not np.array_equal(available, chip.good.all(axis=3)):
        good = chip.good.reshape(-1, chip.words, 2)
        half = share_halves(source, row, good, reach.shape[0])
    tags = give_tags(reach, half, chip.tags)
    if tags is None:
        return None
    words = give_words(row, tags[source], good, chip.tags)
    return None if words is None else (places, tags, reach, words)


def _configuration(chip: _Chip, parts: list[_Part], written: list[_Written], places: np.ndarray, tags: np.ndarray,
                   reach: np.ndarray, words: np.ndarray) -> Configuration:
    settings = settings_of(chip.circuit)
    codes = np.full((chip.cores, len(settings), 2), OFF, np.int16)
    bases = np.full((chip.cores, int(chip.circuit.size.base_currents.value), 2), OFF, np.int16)
    for part, own in zip(parts, written, strict=True):
        for core in np.unique(places[part.neurons, 0]):
            codes[core], bases[core] = part.codes, own.bases
    synapse = np.concatenate([own.synapse for own in written])
    mask = np.concatenate([own.mask for own in written])
    target, source = chip.synapses.target[synapse], chip.synapses.source[synapse]
    core, neuron = places[target].T
    order = np.lexsort((words, neuron, core))
    table = Words(*(column[order].astype(np.int64) for column in (
        core, neuron, words, tags[source], chip.synapses.kind[synapse], mask)))
    bits = (reach << np.arange(chip.cores)).sum(axis=1)
    spans = {node.name: slice(start, end) for node, start, end in
             zip(chip.nodes, chip.starts[:-1], chip.starts[1:], strict=True)}
    network = chip.network
    return Configuration(
        chip.profile.name, chip.profile.hash, tuple(setting.bias for setting in settings), codes, bases, table,
        network.input_shape, tags[:chip.inputs], bits[:chip.inputs],
        {name: places[span] for name, span in spans.items()},
        {name: tags[chip.inputs:][span] for name, span in spans.items()},
        {name: bits[chip.inputs:][span] for name, span in spans.items()},
        tuple((node.name, type(node.layer).__name__, node.inputs[0]) for node in network.nodes),
        float(network.dt), network.readout)


def _arrays(chip: _Chip, configuration: Configuration) -> Iterator[WordArray]:
    """For every weight of every population the words that it became."""
    currents, index = configuration.word_currents(chip.circuit), 0
    for node in chip.nodes:
        row, column, recurrent = configuration.synapses(node.name, node.inputs[0])
        for name, wanted in node.layer.weights().items():
            way, kind = name.split("_")
            entries = np.flatnonzero((row >= 0) & (recurrent == (way == "recurrent"))
                                     & (configuration.words.kind == SYNAPSES.index(kind)))
            nominal = np.zeros(wanted.shape)
            np.add.at(nominal, (row[entries], column[entries]), currents[entries])
            error = relative_error(nominal, wanted)
            nominal = nominal.astype(np.float32)
            nominal.flags.writeable = False
            yield WordArray(index, node.name, name, nominal, entries, row[entries], column[entries],
                            chip.circuit.mismatch.weight, error)
            index += 1
