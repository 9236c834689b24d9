"""Populations of circuits as the currents of a chip, differentiable: what `placing` is for weights and decays.

There is one part for each bias of the chip, and one for its synapse words. Its devices are

    [the factor of each device]  [a factor for each core]  [a factor for the die]

``d = I / I_n``, a current relative to what the chip without mismatch makes: 1 where there is none. So one unit of
noise, or of an attack, moves each current as the profile says: by a term of its own, by one that its core has in
common, by one that its die has in common. They act in ``ln I``, or, as the profile may say, as truncated normal
factors. No current leaves a tenth to ten times of itself. The devices of words are the base currents that each mask
names.

Codes, base currents and masks are passed straight through: with w what the module wants, w_0 its value, f the factor of
the device, ``d = f (1 + (w - w_0) / I_n)``, so that ``dI/dw = f``. A synapse that became no word is a device of 0, in
units of the smallest base current, which still learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from neurosim.devices import current_widths
from neurosim.dies.circuit import CircuitDie
from neurosim.errors import NeurosimError
from neurosim.mapping import MappedNetwork
from neurosim.mapping.biases import Setting, settings_of
from neurosim.network import DPINeuron, Network
from neurosim.profile import Circuit, Variation
from neurosim.training import dpi
from neurosim.training.circuit import CircuitPopulation
from neurosim.training.placing import Part, exactly

Tensors = Mapping[str, torch.Tensor]
Written = dict[str, torch.Tensor]
Fields = Mapping[str, np.ndarray]
_LEAST, _MOST = 0.1, 10.0  # of a current, relative to itself: what no die has, but a recipe may try
_MODULES = (CircuitPopulation, dpi.DPINeuron)


@dataclass(frozen=True, eq=False)
class Held:
    """A population of a network in the module that holds it; prefix: of its tensors' names."""

    name: str
    prefix: str
    module: CircuitPopulation | dpi.DPINeuron

    def read(self, array: str, tensors: Tensors) -> torch.Tensor:
        """An array of the layer in SI units, differentiable in tensors of the whole module."""
        return self.module.read(array, {name.removeprefix(self.prefix): value for name, value in tensors.items()
                                        if name.startswith(self.prefix)})

    def written(self, arrays: Tensors) -> Written:
        """What must stand in the whole module for arrays of the layer."""
        return {self.prefix + name: value for name, value in self.module.written(arrays).items()}


@dataclass(frozen=True, eq=False)
class CircuitLink:
    """Array `layer/parameter` of a network as a module's population holds it; see `links.Link`."""

    held: Held
    array: str

    @property
    def tensor(self) -> str:
        return self.held.prefix + self.held.module.tensor_of(self.array)

    def read(self, tensors: Tensors) -> torch.Tensor:
        """The array, differentiable in the tensor."""
        return self.held.read(self.array, tensors)


def circuit_links(module: nn.Module, network: Network) -> dict[str, CircuitLink]:
    """The links of what a module of circuits may learn: weights, and fields that are parameters.

    The populations of the module, in their order, are those of the network.
    """
    nodes = [node for node in network.nodes if isinstance(node.layer, DPINeuron)]
    found: list[tuple[str, CircuitPopulation | dpi.DPINeuron]] = []
    for name, part in module.named_modules():
        if isinstance(part, _MODULES) and not any(name.startswith(f"{outer}.") for outer, _ in found):
            found.append((name, part))
    if len(found) != len(nodes):
        raise NeurosimError(f"{type(module).__name__} has {len(found)} populations of circuits, its network "
                            f"{len(nodes)}", where="OnChip", allowed="each in a module of its own, in their order")
    links: dict[str, CircuitLink] = {}
    learnt = dict(module.named_parameters())
    tensors = {**learnt, **dict(module.named_buffers())}
    for node, (name, part) in zip(nodes, found, strict=True):
        held = Held(node.name, f"{name}." if name else "", part)
        for array, value in node.layer.arrays().items():
            own = held.read(array, tensors).detach().numpy()
            if value.shape not in ((), own.shape) or not np.allclose(own, value, rtol=1e-5, atol=0):
                raise NeurosimError(f"{array} of its module {name} is something else", where=f"layer {node.name}",
                                    allowed="populations in the order in which the network has them")
            link = CircuitLink(held, array)
            if array in node.layer.weights() or link.tensor in learnt:
                links[f"{node.name}/{array}"] = link
    return links


@dataclass(frozen=True, eq=False)
class _Shared:
    """``value exp(spread u)``, or cut, ``value (1 + spread clip(u))``; see `devices.current_factor`."""

    spread: torch.Tensor
    cut: float | None

    def __call__(self, value: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        if self.cut is None:
            return value * (self.spread * u).exp()
        least = (0.99 / self.spread.clamp(min=1e-12)).clamp(max=self.cut)
        return value * (1 + self.spread * torch.minimum(torch.maximum(u, -least), least.new_tensor(self.cut)))


def _move(circuit: Circuit, variation: Variation, counts: tuple[int, int, int], free: np.ndarray | None = None
          ) -> _Shared | None:
    """One unit of the spread of so many devices, cores and dies; None where nothing spreads. free: devices that do."""
    widths = current_widths(circuit, variation)
    if not any(widths):
        return None
    spread = np.repeat(widths, counts)
    if free is not None:
        spread[:counts[0]] *= free
    mismatch = circuit.mismatch
    return _Shared(torch.tensor(spread), None if mismatch.distribution == "lognormal" else mismatch.truncation.value)


@dataclass(frozen=True, eq=False)
class Put:
    """How an array of `placed_circuit` goes into the module: a link, to write by only."""

    into: Callable[[torch.Tensor], Written]

    def write(self, tensors: Tensors, array: torch.Tensor) -> Written:
        """What must stand in the module so that its currents are `array`."""
        return self.into(array)


def placed_circuit(mapped: MappedNetwork, seed: int, die: int | None, links: Mapping[str, CircuitLink],
                   tensors: Tensors) -> tuple[dict[str, Part], dict[str, Put], Written]:
    """The currents of a die of the lot `seed`, or (None) as they are meant to be.

    Returns the parts by the names of biases, "leakage" and "weight"; how their arrays go into the module; and what
    stands there beside them (capacitors, in whose place the temperature acts).
    """
    made, usual = CircuitDie(mapped, seed, die), _usual(mapped)
    populations = {link.held.name: link.held for link in links.values()}
    fields = {name: made.fields(name) for name in populations}
    parts, puts = {}, {}
    for name, part, put in (*_biases(mapped, populations, usual.fields, fields, tensors),
                            _words(made, usual.words, links, tensors)):
        parts[name], puts[name] = part, put
    beside: Written = {}
    for name, held in populations.items():
        fixed = {field: torch.tensor(value, dtype=torch.float64).expand(len(mapped.configuration.places[name]))
                 for field, value in fields[name].items() if field.startswith("c_")}
        beside.update(held.written(fixed))
    return parts, puts, beside


@dataclass(frozen=True, eq=False)
class _Usual:
    """A chip without mismatch: fields of its populations by name, and base currents of its words `[word, base]`."""

    fields: Mapping[str, Fields]
    words: np.ndarray


@lru_cache(maxsize=2)
def _usual(mapped: MappedNetwork) -> _Usual:
    free = CircuitDie(mapped, 0, None)
    return _Usual({name: free.fields(name) for name in mapped.configuration.places}, free.word_currents)


def _biases(mapped: MappedNetwork, populations: Mapping[str, Held], nominal: Mapping[str, Fields],
            fields: Mapping[str, Fields], tensors: Tensors) -> Iterator[tuple[str, Part, Put]]:
    """The currents of all neurons, bias by bias, and their leakage; nominal: without mismatch, fields: on the die."""
    circuit, places = mapped.profile.circuit, mapped.configuration.places
    felt = {name: _felt(mapped.network[name]) for name in populations}

    def currents(setting: Setting, names: list[str], of: Mapping[str, Fields]) -> np.ndarray:
        return np.concatenate([setting.current(circuit, of[name][setting.field].astype(np.float64)) for name in names])

    for setting in settings_of(circuit):
        there = [name for name in populations if setting.field in fields[name] and setting.field in felt[name]]
        if not there:
            continue
        wanted = torch.cat([setting.current(circuit, populations[name].read(setting.field, tensors)) for name in there])
        core = np.concatenate([places[name][:, 0] for name in there])
        part = _of_neurons(circuit, getattr(circuit.mismatch, setting.variation), wanted,
                           currents(setting, there, nominal), currents(setting, there, fields), core)
        yield setting.bias, part, Put(_into_fields(circuit, setting, [populations[name] for name in there],
                                                   [len(places[name]) for name in there]))
    every, leakage = [*populations], Setting("leakage", "i_0", "leakage")
    usual, stands = currents(leakage, every, nominal), currents(leakage, every, fields)
    core = np.concatenate([places[name][:, 0] for name in populations])
    widths = [len(places[name]) for name in populations]

    def into(currents: torch.Tensor) -> Written:
        out: Written = {}
        for held, own in zip(populations.values(), currents.split(widths), strict=True):
            out.update(held.written({"i_0": own, "i_reset": circuit.reset.value * own}))
        return out

    yield "leakage", _of_neurons(circuit, circuit.mismatch.leakage, torch.tensor(usual), usual, stands, core), Put(into)


def _felt(layer: DPINeuron) -> set[str]:
    """The fields that biases make and that a population feels: not those of circuits that it leaves alone."""
    found, synapses = {"i_tau_mem", "i_gain_mem", "i_threshold", "t_refractory", "i_dc", "t_pulse"}, layer.synapses()
    found |= {f"i_{what}_{kind}" for what in ("tau", "gain") for kind in synapses}
    if "nmda" in synapses:
        found.add("i_nmda_threshold")
    if layer.i_weight_ahp is not None:
        found |= {"i_tau_ahp", "i_gain_ahp", "i_weight_ahp", "t_pulse_ahp"}
    if layer.feedback == "sigmoid":
        found.add("i_feedback_gain")
    return found | ({"i_feedback_threshold", "i_feedback_norm"} if layer.feedback in ("sigmoid", "product") else set())


def _factors(wanted: torch.Tensor, nominal: np.ndarray, stands: np.ndarray) -> torch.Tensor:
    """``I / I_n`` of currents that stand on the chip, differentiable in those that the module wants; 1 for 0 / 0."""
    unit = np.where(nominal > 0, nominal, 1.0)
    factor = np.where(nominal > 0, stands / unit, 1.0)
    return exactly(torch.tensor(factor) * (1 + (wanted - wanted.detach()) / torch.tensor(unit)), factor)


def _held(found: torch.Tensor, least: torch.Tensor | float = _LEAST) -> torch.Tensor:
    """Between least and most; the derivative is 1 where it lies just there."""
    return torch.where(found < least, least, found).clamp(max=_MOST)


def _of_neurons(circuit: Circuit, variation: Variation, wanted: torch.Tensor, nominal: np.ndarray, stands: np.ndarray,
                core: np.ndarray) -> Part:
    """Currents of neurons: `wanted` by the module, `nominal` and as they stand on the chip, 0 where there is none."""
    cores = int(circuit.size.cores.value)
    devices = torch.cat([_factors(wanted, nominal, stands), torch.ones(cores + 1, dtype=torch.float64)])
    where, count, unit = torch.tensor(core), stands.size, torch.tensor(nominal)

    def value(found: torch.Tensor) -> torch.Tensor:
        return unit * _held(found[:count] * found[count:-1][where] * found[-1])

    return Part(devices, _move(circuit, variation, (count, cores, 1)), value)


def _into_fields(circuit: Circuit, setting: Setting, held: list[Held], widths: list[int]
                 ) -> Callable[[torch.Tensor], Written]:
    def into(currents: torch.Tensor) -> Written:
        out: Written = {}
        for population, own in zip(held, currents.split(widths), strict=True):
            value = setting.value(circuit, torch.where(own > 0, own, 1.0))
            out.update(population.written({setting.field: torch.where(own > 0, value, 0.0)}))
        return out

    return into


def _words(made: CircuitDie, nominal: np.ndarray, links: Mapping[str, CircuitLink], tensors: Tensors
           ) -> tuple[str, Part, Put]:
    """The base currents of all synapse words; nominal: without mismatch."""
    circuit, configuration, arrays = made.circuit, made.configuration, made.mapped.arrays
    bits = configuration.base_bits(circuit)
    wanted = torch.cat([links[array.name].read(tensors).reshape(-1) for array in arrays])
    starts = np.cumsum([0, *(array.nominal.size for array in arrays)])
    synapse, word = (np.concatenate(columns) for columns in zip(*(
        (start + array.rows * array.nominal.shape[1] + array.columns, array.entries)
        for start, array in zip(starts, arrays, strict=False)), strict=True))
    total = np.zeros(starts[-1])
    np.add.at(total, synapse, nominal[word].sum(axis=1))
    entry, base = np.nonzero(bits[word])
    each = nominal[word[entry], base]
    factor = made.word_currents[word[entry], base] / each
    place, core = synapse[entry], configuration.words.core[word[entry]]
    silent = np.flatnonzero((total == 0) & (wanted.detach().numpy() > 0))
    place_all = torch.tensor(np.concatenate([place, silent]))
    bases, cores, count = bits.shape[1], int(circuit.size.cores.value), place_all.numel()
    unit = torch.tensor(np.concatenate([each, np.full(silent.size, each.min(initial=1e-9))]))
    per = torch.tensor(np.concatenate([total[place] / factor, unit[place.size:]]))
    change = (wanted - wanted.detach())[place_all] / per
    own = exactly(change, np.concatenate([factor, np.zeros(silent.size)]))
    least = torch.tensor(np.repeat([_LEAST, 0.0], [place.size, silent.size]))
    of_core = torch.tensor(count + base * cores + core)
    of_die = torch.tensor(count + bases * cores + base)
    devices = torch.cat([own, torch.ones(bases * (cores + 1), dtype=torch.float64)])

    def value(found: torch.Tensor) -> torch.Tensor:
        factors = torch.cat([found[:place.size] * found[of_core] * found[of_die], found[place.size:count]])
        currents = unit * _held(factors, least)
        summed = found.new_zeros(int(starts[-1])).index_add(0, place_all, currents)
        return summed.float().double()  # as `Dies` gives it

    def into(currents: torch.Tensor) -> Written:
        weights: dict[str, Written] = {}
        for array, part in zip(arrays, currents.split(np.diff(starts).tolist()), strict=True):
            weights.setdefault(array.layer, {})[array.parameter] = part.reshape(array.nominal.shape)
        return {name: tensor for layer, found in weights.items()
                for name, tensor in links[f"{layer}/{next(iter(found))}"].held.written(found).items()}

    spreads = np.concatenate([np.ones(place.size), np.zeros(silent.size)])
    move = _move(circuit, circuit.mismatch.weight, (count, bases * cores, bases), spreads)
    return "weight", Part(devices, move, value), Put(into)
