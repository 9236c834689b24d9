"""What is written into a chip: codes of its biases, synapse words, targets and tags; to a file, and back to a network.

Knows where each logical neuron lies, so that the network that comes back has the names and the order of the one that
went in. A word is (tag, kind, mask); its current is the sum of the core's base currents that the mask names, or, on a
chip that repeats words, the base current of its kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from neurosim.devices import table_currents
from neurosim.errors import NeurosimError
from neurosim.mapping.biases import OFF, circuit_of, currents_of, fixed_fields, settings_of
from neurosim.network import DPINeuron, Flatten, Layer, Network, Node
from neurosim.network.circuit_layers import SYNAPSES
from neurosim.profile import Circuit, Profile
from neurosim.writing import written_beside

_FORMAT, _VERSION = "neurosim-configuration", 1


@dataclass(frozen=True)
class Words:
    """The synapse words in use, one entry each, int64 `[word]`: place (core, neuron, word of the neuron), tag, kind
    (index into ampa, nmda, gaba, shunt) and mask of base currents."""

    core: np.ndarray
    neuron: np.ndarray
    word: np.ndarray
    tag: np.ndarray
    kind: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Configuration:
    """A chip's memory, as `map_network` fills it.

    codes: coarse and fine code of each bias, int16 `[core, bias, 2]`, -1 where it is off; biases names them.
    bases: codes of the base currents, int16 `[core, base, 2]`.
    words: see `Words`.
    input_tags, input_cores: tag of each input, -1 where nothing listens, and a bit for each core that it goes to.
    places: of each population by name, core and neuron of its neurons, int64 `[neurons, 2]`.
    tags, targets: of each population, the tag of its neurons and a bit for each core that it goes to.
    nodes: name, type and input of the layers, in order.
    """

    profile: str
    profile_hash: str
    biases: tuple[str, ...]
    codes: np.ndarray
    bases: np.ndarray
    words: Words
    input_shape: tuple[int, ...]
    input_tags: np.ndarray
    input_cores: np.ndarray
    places: Mapping[str, np.ndarray]
    tags: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    nodes: tuple[tuple[str, str, str], ...]
    dt: float
    readout: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.to_dict() == other.to_dict()

    __hash__ = None

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, texts, lists and mappings of them: what a file holds."""
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {"format": _FORMAT, "format_version": _VERSION, **plain}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        with written_beside(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Configuration:
        """Read what `save` wrote."""
        where = str(path)
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NeurosimError("there is no such file", where=where) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise NeurosimError(f"not a configuration: {error}", where=where) from None
        if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
            raise NeurosimError("not a configuration", where=where, allowed=f'JSON with "format": "{_FORMAT}"')
        if found.pop("format_version", None) != _VERSION:
            raise NeurosimError("written by another version of neurosim", where=where, allowed=f"version {_VERSION}")
        missing = {field.name for field in fields(cls)} ^ set(found)
        if missing:
            raise NeurosimError(f"its keys are not those of a configuration: {', '.join(sorted(missing))}", where=where,
                                hint="the file is damaged")
        try:
            return cls(**{name: _parsed(name, value) for name, value in found.items()})
        except (TypeError, ValueError, KeyError) as error:
            raise NeurosimError(f"damaged: {error}", where=where) from None

    def summary(self, profile: Profile) -> list[str]:
        """Lines to print: for each core in use its neurons, words, tags and base currents."""
        circuit = circuit_of(profile)
        bases, lines = self.base_currents(circuit), []
        places = np.concatenate(list(self.places.values()))
        for core in np.unique(places[:, 0]):
            here = self.words.core == core
            names = ", ".join(name for name, place in self.places.items() if (place[:, 0] == core).any())
            most = np.bincount(self.words.neuron[here]).max(initial=0)
            lines.append(
                f"  core {core}: {np.count_nonzero(places[:, 0] == core)} neurons of {names}; {np.count_nonzero(here)} "
                f"words, {most} of {circuit.size.words.value:g} at most; {np.unique(self.words.tag[here]).size} tags; "
                f"base currents {', '.join(f'{current:.3g}' for current in bases[core] if current)} A")
        return lines

    def to_network(self, profile: Profile) -> Network:
        """The network that a chip without mismatch runs with this configuration.

        Raises
        ------
        NeurosimError
            The profile is another one, or a word listens to a tag that nobody sends to its core.
        """
        circuit = circuit_of(profile)
        if profile.hash != self.profile_hash:
            raise NeurosimError("this configuration is for another profile", where=f"profile {profile.name}",
                                allowed=f"{self.profile}, unchanged")
        currents, weights = currents_of(self.codes, circuit), self.word_currents(circuit)
        nodes = []
        for name, kind, source in self.nodes:
            layer: Layer = Flatten()
            if kind == "DPINeuron":
                layer = self._population(name, source, circuit, currents, weights)
            nodes.append(Node(name, layer, (source,)))
        return Network(tuple(nodes), self.input_shape, self.dt, self.readout)

    def word_currents(self, circuit: Circuit) -> np.ndarray:
        """The nominal weight of each word, A, float64 `[word]`."""
        return (self.base_bits(circuit) * self.base_currents(circuit)[self.words.core]).sum(axis=1)

    def base_currents(self, circuit: Circuit) -> np.ndarray:
        """A, float64 `[core, base]`; 0 in cores that are not used."""
        table = table_currents(circuit, circuit.bias.weight)
        return np.where(self.bases[..., 0] == OFF, 0.0, table[self.bases[..., 0], self.bases[..., 1]])

    def base_bits(self, circuit: Circuit) -> np.ndarray:
        """Which base currents each word adds up, bool `[word, base]`."""
        bases = np.arange(int(circuit.size.base_currents.value))
        if circuit.size.coding == "repeat":
            return self.words.kind[:, None] == bases
        return (self.words.mask[:, None] >> bases & 1).astype(bool)

    def _population(self, name: str, source: str, circuit: Circuit, currents: np.ndarray,
                    weights: np.ndarray) -> DPINeuron:
        """Words back to weights, codes back to fields."""
        row, column, recurrent = self.synapses(name, source)
        cores = self.places[name][:, 0]
        inputs = self._source_tags(source)[0].size
        arrays: dict[str, np.ndarray | float | str] = {**fixed_fields(circuit)}
        here = np.flatnonzero(row >= 0)
        for own, prefix, width in ((False, "weight", inputs), (True, "recurrent", cores.size)):
            for index, kind in enumerate(SYNAPSES):
                chosen = here[(recurrent[here] == own) & (self.words.kind[here] == index)]
                if chosen.size:
                    matrix = np.zeros((cores.size, width))
                    np.add.at(matrix, (row[chosen], column[chosen]), weights[chosen])
                    arrays[f"{prefix}_{kind}"] = matrix
        arrays.setdefault("weight_ampa", np.zeros((cores.size, inputs)))
        for column_, setting in enumerate(settings_of(circuit)):
            current = currents[cores, column_]
            if np.isnan(current).all():
                if setting.field != "i_weight_ahp":
                    arrays[setting.field] = 0.0
                continue
            value = np.where(np.isnan(current), 0.0, setting.value(circuit, current))
            arrays[setting.field] = value if np.ptp(value) else value[0]
        return DPINeuron(**arrays)

    def synapses(self, name: str, source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, column and whether it is recurrent, for each word that belongs to a population; row -1 for the others.

        A column is an input of the population, or one of its own neurons where recurrent.
        """
        words, place = self.words, self.places[name]
        rows = np.full((self.codes.shape[0], 1 + max(words.neuron.max(initial=0), place[:, 1].max())), -1)
        rows[tuple(place.T)] = np.arange(place.shape[0])
        row = rows[words.core, words.neuron]
        column, recurrent = np.full(row.size, -1), np.zeros(row.size, bool)
        last = max([words.tag.max(initial=0), self.input_tags.max(), *(tags.max() for tags in self.tags.values())])
        for own, (tags, reach) in ((False, self._source_tags(source)), (True, (self.tags[name], self.targets[name]))):
            for core in np.unique(place[:, 0]):
                sender = np.full(last + 1, -1)
                sending = np.flatnonzero(reach >> core & 1)
                sender[tags[sending]] = sending
                here = np.flatnonzero((row >= 0) & (words.core == core) & (column < 0))
                hit = here[sender[words.tag[here]] >= 0]
                column[hit], recurrent[hit] = sender[words.tag[hit]], own
        if ((row >= 0) & (column < 0)).any():
            lost = int(np.flatnonzero((row >= 0) & (column < 0))[0])
            raise NeurosimError(f"a word of {name}[{row[lost]}] listens to tag {self.words.tag[lost]}, which neither "
                                f"{source} nor {name} sends to core {self.words.core[lost]}", where="configuration")
        return row, column, recurrent

    def _source_tags(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        inputs = {name: origin for name, kind, origin in self.nodes if kind == "Flatten"}
        while source in inputs:
            source = inputs[source]
        return (self.input_tags, self.input_cores) if source == "input" else (self.tags[source], self.targets[source])


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Words):
        return {field.name: getattr(value, field.name).tolist() for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _parsed(name: str, value: object) -> object:
    if name in ("codes", "bases"):
        return np.array(value, np.int16)
    if name in ("input_tags", "input_cores"):
        return np.array(value, np.int64)
    if name in ("places", "tags", "targets"):
        return {key: np.array(item, np.int64) for key, item in value.items()}
    if name == "words":
        return Words(**{key: np.array(item, np.int64) for key, item in value.items()})
    if name == "nodes":
        return tuple(tuple(map(str, node)) for node in value)
    return tuple(value) if name in ("biases", "input_shape") else value
