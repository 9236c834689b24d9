"""What a run did on a chip, as counts: one row for every array and population, one column for each kind of event.

Counts come from the kernels (how often each neuron fired, each input was active); what an event sets in motion follows
from the mapping: synapses behind an input, tiles that share it, cores that hold its targets. No joule enters here.

========== ============================================================================================================
spikes     spikes generated, of a population
neurons    neuron updates: neurons x steps x samples, of a population
encodes    (spike, core) pairs that leave a neuron of the chip, of the array that they go to
broadcasts (event, core) pairs that arrive in a core, events from outside included
hops       (event, core) pairs where the core is not the neuron's own; from outside all are
matches    events times the synapses that they reach
rows       rows of tiles driven: once for each tile that shares the outputs, in a convolution for each position, and
           for each slice of a serial input
cells      siemens that the driven rows put under voltage, times ``x^2`` (or ``|x|``, where inputs are durations), x
           the input relative to the one at the full voltage of the [dac]; without one, to the largest one of the array
           in the run. A reference column is there once for the outputs of its tile
reads      reads of an array: steps in which an input was active, and each slice of a serial input in which one was; a
           convolution is read once for each output position
conversions  outputs converted in these reads, for each tile along the inputs; columns, where the chip's converters do
             that: as many as the kernels convert, a reference column with each output that subtracts it
digital    partial sums added and outputs scaled: one for each conversion
bits       bits in (1 a spike, else those of the [dac], or `INPUT_BITS`) and out (of the [adc], or `OUTPUT_BITS`) of
           tiles
========== ============================================================================================================

Neurons lie where the configuration puts them; without one, they fill up the cores in the order of the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from neurosim.mapping import DeviceArray, MappedNetwork, WordArray
from neurosim.mapping.wiring import over_positions
from neurosim.network import Conv2d, Flatten, Population
from neurosim.network.activity import Drive
from neurosim.network.layers import SPIKING
from neurosim.network.ranges import Ranges

EVENTS = ("spikes", "neurons", "encodes", "broadcasts", "hops", "matches", "rows", "cells", "reads", "conversions",
          "digital", "bits")
INPUT_BITS, OUTPUT_BITS = 8, 8
_COLUMN = {event: column for column, event in enumerate(EVENTS)}


@dataclass(frozen=True, eq=False)
class Activity:
    """What the kernels counted in a run of `samples` samples of `steps` steps.

    spikes: of each neuron of a spiking population, int64 `[neurons]`. drives: of every array with weights, by its name
    `layer/parameter`. Of several runs at once each array has their axis in front, and samples is that of one run.
    """

    samples: int
    steps: int
    spikes: Mapping[str, np.ndarray]
    drives: Mapping[str, Drive]


@dataclass(frozen=True, eq=False)
class _Array:
    """What one event of each input of an array sets in motion, int64 `[inputs]`, and one read of it."""

    inner: bool  # its inputs are spikes of neurons of the chip
    cores: np.ndarray
    others: np.ndarray
    synapses: np.ndarray
    rows: np.ndarray
    on_tiles: bool
    positions: int
    conversions: int
    spiking: bool
    inputs: int  # that are brought to tiles in a read
    bits: tuple[int, int]  # of an input that is no spike, and of all outputs


class Ledger:
    """The counts of a mapped network. Made once for a mapping; `count` is called for each die.

    places: the names of the rows: arrays with weights, then populations. ranges: what stands for the full voltage of a
    row, see `find_ranges`.
    """

    def __init__(self, mapped: MappedNetwork, ranges: Mapping[str, Ranges] | None = None) -> None:
        self.mapped, network = mapped, mapped.network
        self._full = {name: found.inputs for name, found in (ranges or {}).items() if found.inputs is not None}
        self.populations = {node.name: math.prod(network.shapes[node.name]) for node in network.nodes
                            if isinstance(node.layer, Population)}
        self.places = (*(array.name for array in mapped.weights), *self.populations)
        self._homes, size, first = {}, core_size(mapped), 0
        for name, neurons in self.populations.items():
            self._homes[name] = np.arange(first, first + neurons) // size
            first += neurons
        if mapped.configuration is not None:
            self._homes = {name: place[:, 0] for name, place in mapped.configuration.places.items()}
        self._arrays = {array.name: self._array(array) for array in mapped.weights}

    @property
    def cores(self) -> int:
        """Cores that hold a neuron."""
        return len({int(core) for homes in self._homes.values() for core in homes})

    def _array(self, array: object) -> _Array:
        network = self.mapped.network
        node = next(node for node in network.nodes if node.name == array.layer)
        layer, recurrent = node.layer, array.parameter.startswith("recurrent")
        source = self._behind(node.name if recurrent else node.inputs[0])
        synapses, rows = self.mapped.wiring[array.name]
        users = (user.name for user in network.nodes if node.name in user.inputs and user.name in self.populations)
        target = node.name if isinstance(layer, Population) else next(users, None)
        homes = self._homes.get(target, np.zeros(array.nominal.shape[0], np.int64))
        if isinstance(layer, Conv2d):
            cores = (synapses > 0).astype(np.int64) * np.unique(homes).size
            others = cores if source is None else np.zeros_like(cores)
            positions = math.prod(layer.output_shape(network.shapes[node.inputs[0]])[1:])
        else:
            weight, positions = self._sent_for(array), 1
            reached = np.stack([(weight[homes == core] != 0).any(axis=0) for core in np.unique(homes)])
            cores = reached.sum(axis=0)
            own = np.zeros_like(cores)
            if source is not None:
                own = (reached & (np.unique(homes)[:, None] == self._homes[source][None, :])).sum(axis=0)
            others = cores - own
        outputs, on_tiles = array.nominal.shape[0], isinstance(array, DeviceArray)
        tiles_in, tiles_out = (array.tiling.tiles_in, array.tiling.tiles_out) if on_tiles else (1, 1)
        adc, dac = self.mapped.profile.adc, self.mapped.profile.dac
        columns = array.coefficients.size if on_tiles and adc is not None and adc.converts == "column" else 1
        conversions = positions * outputs * tiles_in * columns
        input_bits, output_bits = INPUT_BITS, OUTPUT_BITS if adc is None else int(adc.bits.value)
        if dac is not None and dac.bits is not None:
            input_bits = int((dac.slice_bits if dac.serial else dac.bits).value)
        spiking = source is not None and isinstance(network[source], SPIKING)
        return _Array(source is not None, cores, others, synapses, rows, on_tiles, positions, conversions, spiking,
                      positions * math.prod(array.nominal.shape[1:]) * tiles_out,
                      (input_bits, conversions * output_bits))

    def _sent_for(self, array: object) -> np.ndarray:
        """The weights for whose sake events are sent. An event meets all kinds of synapse of a core at once: on a chip
        of circuits it is counted with the first of a layer's arrays."""
        if not isinstance(array, WordArray):
            return np.asarray(array.nominal)
        way = array.parameter.split("_")[0]
        same = [a for a in self.mapped.weights if a.layer == array.layer and a.parameter.startswith(way)]
        return sum(a.nominal for a in same) if array is same[0] else np.zeros_like(array.nominal)

    def _behind(self, name: str) -> str | None:
        """The population whose signal a node passes on as it is; None for the network's input and for what is made of
        several signals."""
        while name != "input" and name not in self.populations:
            node = next(node for node in self.mapped.network.nodes if node.name == name)
            if not isinstance(node.layer, Flatten):
                return None
            name = node.inputs[0]
        return None if name == "input" else name

    def count(self, activity: Activity, conductances: Callable[[str], np.ndarray] | None = None) -> np.ndarray:
        """The counts, float64 `[place, event]` in the order of `places` and `EVENTS`; of several runs `[run, place,
        event]`.

        conductances: gives the devices of an array of this die, siemens `[plane, *weight]`; None leaves `cells` at 0.
        """
        runs = next(iter([*(np.shape(drive.reads) for drive in activity.drives.values()),
                          *(fired.shape[:-1] for fired in activity.spikes.values())]), ())
        found = np.zeros((*runs, len(self.places), len(EVENTS)))
        for place, name in enumerate(self.places):
            if name in self.populations:
                values = {"spikes": activity.spikes[name].sum(axis=-1) if name in activity.spikes else 0,
                          "neurons": self.populations[name] * activity.steps * activity.samples}
            else:
                values = self._of_array(name, activity, conductances)
            for event, value in values.items():
                found[..., place, _COLUMN[event]] = value
        return found

    def _of_array(self, name: str, activity: Activity, conductances: Callable[[str], np.ndarray] | None
                  ) -> dict[str, float | np.ndarray]:
        array, drive = self._arrays[name], activity.drives[name]
        active, reads = drive.active, drive.reads
        if not array.on_tiles:
            return {"encodes": active @ array.cores if array.inner else 0, "broadcasts": active @ array.cores,
                    "hops": active @ array.others, "matches": active @ array.synapses}
        cells = 0.0
        if conductances is not None:
            cells = self._strength(name, drive) @ self._driven(name, conductances(name))
        spikes = array.spiking or (name not in self._full and np.array_equal(drive.active, drive.squares))
        bits = array.inputs * (1 if spikes else array.bits[0]) + array.bits[1]
        return {"matches": active @ array.synapses, "rows": active @ array.rows, "cells": cells,
                "reads": reads * array.positions, "conversions": reads * array.conversions,
                "digital": reads * array.conversions, "bits": reads * bits}

    def _strength(self, name: str, drive: Drive) -> np.ndarray:
        """Of each input, the sum over all reads of its share of the energy that the largest input takes."""
        full = self._full.get(name, drive.peak) or 1.0
        if self.mapped.profile.energy.cell.input == "duration":
            return drive.magnitudes / full
        return drive.squares / full**2

    def _driven(self, name: str, planes: np.ndarray) -> np.ndarray:
        """Siemens behind each input, float64 `[inputs]`."""
        node = next(node for node in self.mapped.network.nodes if node.name == name.split("/")[0])
        array = next(array for array in self.mapped.arrays if array.name == name)
        own = len(array.own)
        columns = planes[own:, ::array.tiling.tile_outputs]  # of a reference: one for all outputs of a tile
        total = planes[:own].sum(axis=(0, 1), dtype=np.float64) + columns.sum(axis=(0, 1), dtype=np.float64)
        if not isinstance(node.layer, Conv2d):
            return total
        return over_positions(node.layer, total, self.mapped.network.shapes[node.inputs[0]])


def core_size(mapped: MappedNetwork) -> int:
    """Neurons of a core; a chip that says nothing of cores is one."""
    circuit = mapped.profile.circuit
    return int(circuit.size.neurons.value) if circuit is not None else 1 << 62
