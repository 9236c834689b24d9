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
    """One die of a mapping: `parameters` has what differs from the network."""

    def __init__(self, mapped: MappedNetwork, seed: int, die: int) -> None:
        self.mapped, self.seed, self.die = mapped, seed, die
        self.circuit, self.configuration = mapped.profile.circuit, mapped.configuration

    def parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """`{layer: {parameter: float32 array}}`: all weights, all fields that a bias makes, and the leakage."""
        found: dict[str, dict[str, np.ndarray]] = {
            name: self._fields(name, place) for name, place in self.configuration.places.items()}
        for array in self.mapped.arrays:
            value = np.zeros(array.nominal.shape)
            np.add.at(value, (array.rows, array.columns), self._word_currents[array.entries])
            found[array.layer][array.parameter] = value.astype(np.float32)
        return found

    def _fields(self, name: str, place: np.ndarray) -> dict[str, np.ndarray]:
        circuit, out = self.circuit, {}
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
    def _word_currents(self) -> np.ndarray:
        """The weight of each synapse word, A, float64 `[word]`."""
        words, size = self.configuration.words, self.circuit.size
        bits, bases = self.configuration.base_bits(self.circuit), self.configuration.base_currents(self.circuit)
        place = np.stack([words.core, words.neuron * int(size.words.value) + words.word], axis=1)
        total = np.zeros(words.core.size)
        for base in range(bases.shape[1]):
            on = np.flatnonzero(bits[:, base])
            factor = self._factor(self.circuit.mismatch.weight, _BASE + base, place[on])
            total[on] += bases[words.core[on], base] * factor
        return total * bias_ratio(self.circuit)

    def _factor(self, variation: Variation, block: int, place: np.ndarray) -> np.ndarray:
        """Factors on a current for places (core, number of the device in it) `[n, 2]`, float64 `[n]`."""
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
