"""The dies of a chip of circuits: every mirror of every neuron, every base current of every synapse word.

A device's numbers belong to its place on the chip (core, neuron, word), not to the network: another network on the same
seed and die meets the same silicon.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from neurosim.devices import bias_ratio, current_factor, leakage_at
from neurosim.mapping import MappedNetwork
from neurosim.mapping.biases import SETTINGS, fixed_fields, settings_of
from neurosim.mapping.biases import currents_of as currents_of_codes
from neurosim.profile import Variation
from neurosim.streams import DieKey, Effect, normal

#: what the devices of a core are numbered by, in the keys of their random numbers: only ever append
_BLOCKS = {name: number for number, name in enumerate([setting.bias for setting in SETTINGS] + ["leakage"])}
_BASE = 100  # base current j is block 100 + j
_CORES = 1 << 10


class CircuitDie:
    """One die of a mapping, or with die None the chip without mismatch: `parameters` has what differs from the network.
    """

    def __init__(self, mapped: MappedNetwork, seed: int, die: int | None) -> None:
        self.mapped, self.seed, self.die = mapped, seed, die
        self.circuit, self.configuration = mapped.profile.circuit, mapped.configuration

    def parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """`{layer: {parameter: float32 array}}`: all weights, all fields that a bias makes, and the leakage."""
        found: dict[str, dict[str, np.ndarray]] = {
            name: self.fields(name) for name in self.configuration.places}
        words = self.word_currents.sum(axis=1)
        for array in self.mapped.arrays:
            value = np.zeros(array.nominal.shape)
            np.add.at(value, (array.rows, array.columns), words[array.entries])
            found[array.layer][array.parameter] = value.astype(np.float32)
        return found

    def fields(self, name: str) -> dict[str, np.ndarray]:
        """The fields of a population by name, float32: those that a bias makes, the leakage, the reset."""
        circuit, place, out = self.circuit, self.configuration.places[name], {}
        temperature = circuit.temperature
        currents = currents_of_codes(self.configuration.codes, circuit) * bias_ratio(circuit)
        for column, setting in enumerate(settings_of(circuit)):
            nominal = currents[place[:, 0], column]
            if np.isnan(nominal).all():
                continue
            variation = getattr(circuit.mismatch, setting.variation)
            current = nominal * self._factor(variation, _BLOCKS[setting.bias], place)
            out[setting.field] = np.nan_to_num(setting.value(circuit, current))
        i_0 = leakage_at(circuit) * self._factor(circuit.mismatch.leakage, _BLOCKS["leakage"], place)
        out |= {"i_0": i_0, "i_reset": circuit.reset.value * i_0}
        if temperature.operating.value != temperature.nominal.value:
            # U_T enters as C U_T / kappa only: the capacitors stand in for it
            warmer = temperature.operating.value / temperature.nominal.value
            out |= {field: np.asarray(value * warmer) for field, value in fixed_fields(circuit).items()
                    if field.startswith("c_")}
        return {field: np.asarray(value, np.float32) for field, value in out.items()}

    @cached_property
    def word_currents(self) -> np.ndarray:
        """What each base current adds to each synapse word, A, float64 `[word, base]`; 0 where the mask leaves it out.
        """
        words, size = self.configuration.words, self.circuit.size
        bits, bases = self.configuration.base_bits(self.circuit), self.configuration.base_currents(self.circuit)
        place = np.stack([words.core, words.neuron * int(size.words.value) + words.word], axis=1)
        found = np.zeros((words.core.size, bases.shape[1]))
        for base in range(bases.shape[1]):
            on = np.flatnonzero(bits[:, base])
            factor = self._factor(self.circuit.mismatch.weight, _BASE + base, place[on])
            found[on, base] = bases[words.core[on], base] * factor * bias_ratio(self.circuit)
        return found

    def _factor(self, variation: Variation, block: int, place: np.ndarray) -> np.ndarray:
        """Factors on a current for places (core, number of the device in it) `[n, 2]`, float64 `[n]`."""
        if self.die is None:
            return np.ones(place.shape[0])
        device, core = np.zeros(place.shape[0], np.float32), np.zeros(place.shape[0], np.float32)
        if variation.device:
            for number in np.unique(place[:, 0]):
                here = place[:, 0] == number
                key = DieKey(self.seed, self.die, block * _CORES + int(number), Effect.MIRROR)
                device[here] = normal(key, int(place[here, 1].max()) + 1)[place[here, 1]]
        if variation.core:
            key = DieKey(self.seed, self.die, block, Effect.CORE)
            core = normal(key, int(self.circuit.size.cores.value))[place[:, 0]]
        die = normal(DieKey(self.seed, self.die, block, Effect.DIE), 1)
        return current_factor(self.circuit, variation, device, core, die)
