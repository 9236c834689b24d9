"""A module that trains as it will run: its parameters are devices of a chip type: nominal, noisy, of a die, attacked.

    parameters -> mapping -> devices -> a die's own, and an attack on them -> what the network gets of it -> the module

Gradients pass all of it back to the module's own parameters. What die k is here is what `Dies` makes of die k for
deployment; what training changes between two steps is the network, so it is mapped anew when it has changed. Knows no
recipe: recipes move devices through `ChipObjective` as they move parameters through `Objective`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from neurosim.dies import Dies, Ranges, find_ranges, layout
from neurosim.errors import NeurosimError, true_or_false, whole
from neurosim.mapping import DeviceArray, MappedNetwork, map_network
from neurosim.network import DPINeuron, Network
from neurosim.network.forward import run
from neurosim.network.ranges import LearntRanges
from neurosim.profile import Profile, refuse_name
from neurosim.training.attacks import Attack, attack
from neurosim.training.chip_objective import ChipObjective
from neurosim.training.circuit_placing import circuit_links, placed_circuit
from neurosim.training.deviations import Move, moved
from neurosim.training.export import as_network
from neurosim.training.links import Link, find_links, tensors_of
from neurosim.training.objective import logits_of, output_of
from neurosim.training.on_tiles import arrays_of_tiles, learnt, read_arrays, read_weights, refuse_reads
from neurosim.training.placing import Part, aimed_at, corrected, exactly, placed_direct, placed_on_crossbar
from neurosim.training.reading import OnTiles
from neurosim.training.spreads import devices_of, spreads_of, unconverted

#: settings of recipes on a chip: the chip's own noise, and attacks a third as large, the published proportion; dies
#: of robust rise to one and a half of that noise
ON_CHIP: dict[str, dict[str, float]] = {
    "forward_noise": {"eta": 1.0}, "adversarial": {"size": 1 / 3}, "hybrid": {"eta": 1.0, "size": 1 / 3},
    "awp": {"size": 1 / 3}, "robust": {"eta": 1.5, "size": 1 / 3}}
MODES = ("nominal", "sampled", "noise", "attack")
SHORT = Attack(size=1.0, steps=3)
_SAMPLES = 1 << 31  # numbers of samples that training gives away before it begins anew
TRAINING_LOT = 1 << 63  # that nobody deploys who counts seeds from 0: a network is judged on dies that it did not see
Result = torch.Tensor | tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Placement:
    """A module's parameters as the devices of one die; die is None for devices as they are meant to be.

    reads: how its crossbars are read, where that is trained with. sample: the number of the first sample in the data.
    """

    die: int | None
    parts: Mapping[str, Part]
    links: Mapping[str, Link]
    tensors: Mapping[str, torch.Tensor]
    reads: Mapping[str, OnTiles] = field(default_factory=dict)
    sample: int = 0

    @property
    def devices(self) -> dict[str, torch.Tensor]:
        """Values of all devices, by array `layer/parameter`; differentiable in the module's parameters."""
        return {name: part.devices for name, part in self.parts.items()}

    @property
    def reach(self) -> dict[str, Move]:
        """What one unit of the profile's spread does to them; without the arrays that do not spread."""
        return {name: part.move for name, part in self.parts.items() if part.move is not None}

    def arrays(self, devices: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the network gets of devices: arrays by `layer/parameter`."""
        return {name: part.value(devices[name]) for name, part in self.parts.items()}

    def with_tensors(self, others: Mapping[str, torch.Tensor]) -> Placement:
        """The placement with other tensors beside the devices, by their names in `OnChip`: what is digital."""
        if not others:
            return self
        return replace(self, tensors={**self.tensors, **{k.removeprefix("module."): v for k, v in others.items()}})

    def module_tensors(self, devices: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What must stand in the module for that."""
        made: dict[str, torch.Tensor] = {}
        for name, array in self.arrays(devices).items():
            made.update(self.links[name].write({**self.tensors, **made}, array))
        return made

    def tensors_on(self, devices: Mapping[str, torch.Tensor], steps: int, samples: range) -> dict[str, torch.Tensor]:
        """All tensors of the module for a run of so many steps: weights that are read know how."""
        samples = range(self.sample + samples.start, self.sample + samples.stop)
        return {**self.tensors, **self.module_tensors(devices),
                **read_weights(self.reads, self.links, self.tensors, devices, steps, samples)}


class OnChip(nn.Module):
    """A module on a chip type, to be trained there.

    In training, `forward` runs the module on devices as `mode` says; after `eval()`, on nominal devices:

    ========  ========================================================================================================
    nominal   every device as it is meant to be: the chip's levels, and the mean of its spreads
    sampled   dies 0 .. dies - 1 of the lot `seed`, one after the other: `Dies(mapped, seed).parameters(k)`
    noise     a die of the lot that was never seen, at each step: fresh draws from all of the profile's spreads
    attack    nominal devices, moved as `attack` finds inside a box of so many spreads of each of them
    ========  ========================================================================================================

    With `per_step` dies in a step each runs its share of the batch. Mapping and dies are made in float32. With `reads`
    every product is a read of tiles: drivers, wires, read noise, converters, as deployment has them; nominal devices
    are read through nominal converters without noise. Without it devices are as they stand: what a read or a
    converter adds in each step of a run is not trained with. Of circuits devices are the
    currents of `circuit_placing`, by the names of the biases, "leakage" and "weight".

    Parameters
    ----------
    module:
        Any that `Network.from_torch` reads, or that has `to_network`; its parameters are trained in place.
    profile:
        The chip type. What it spreads must be a parameter or a buffer of the module.
    sample:
        `[time, sample, *shape]`, a few inputs to follow through the module, see `Network.from_torch`.
    dt:
        Time step in seconds.
    mode, seed, dies, per_step:
        See above; dies is for "sampled" only. Deploy another lot than `seed` to see dies that training did not.
    programming, time:
        Of the dies, see `Dies`.
    attack:
        For "attack": its size is in units of each device's spread.
    readout:
        Over time, of the logits that an attack compares: "sum", "mean" or "last".
    exact_forward:
        The output's value is that of the simulator which deployment runs, on the same devices; its gradient is
        the module's, with its surrogates. For outputs of the module that are those of the network's last layer.
    reads:
        Train with every read of a weight, see `neurosim.training.reading`. Slower: what the module does in one go over
        all steps is done step by step.
    learn_ranges:
        Of the converters, with reads: one factor for the inputs and one for the currents of each array, see
        `neurosim.training.rounding`; else they stay what `find_ranges` gives for the sample at the beginning. A range
        that the chip fixes, of inputs or of currents, is not learnt. `to_network` hands them to deployment.

    Raises
    ------
    NeurosimError
        The chip cannot hold the network, or spreads something that is no tensor of the module's own.
    """

    objective = ChipObjective  #: what recipes train it by

    def __init__(self, module: nn.Module, profile: Profile, sample: np.ndarray, *, dt: float = 1e-3,
                 mode: str = "sampled", seed: int = TRAINING_LOT, dies: int = 8, per_step: int = 1,
                 programming: int = 0, time: float | None = None, attack: Attack = SHORT, readout: str = "sum",
                 exact_forward: bool = False, reads: bool = False, learn_ranges: bool = True) -> None:
        super().__init__()
        refuse_name(profile, "OnChip")
        if mode not in MODES:
            raise NeurosimError(f"mode is {mode!r}", where="OnChip", allowed=", ".join(MODES))
        for name, value in (("dies", dies), ("per_step", per_step)):
            whole(name, value, "OnChip")
        whole("seed", seed, "OnChip", 0, 64)
        for name, value in (("exact_forward", exact_forward), ("reads", reads), ("learn_ranges", learn_ranges)):
            true_or_false(name, value, "OnChip")
        self.module, self.profile, self.mode, self.seed = module, profile, mode, seed
        self.dies, self.per_step, self.programming, self.time = int(dies), int(per_step), programming, time
        self.attack, self.readout, self.exact_forward = attack, readout, exact_forward
        self.reads, self.learn_ranges = reads, learn_ranges
        # what no read shows is left out, so that nobody is asked for the ranges of converters that are not there
        self._chip = profile if reads else unconverted(profile)
        if exact_forward and reads:
            raise NeurosimError("exact_forward stands beside reads", where="OnChip", allowed="one of them",
                                hint="reads has the values of the simulator in every product")
        if exact_forward and any(isinstance(part, _NormBase) for part in module.modules()):
            raise NeurosimError("the module has a normalisation, whose statistics move in training",
                                where="OnChip, exact_forward", hint="train with the module's own forward")
        training = module.training
        module.eval()
        self._sample = np.array(sample)
        self._network = as_network(module, sample, dt)
        circuits = any(isinstance(node.layer, DPINeuron) for node in self._network.nodes)
        if circuits and exact_forward:
            raise NeurosimError("circuits run forward on the simulator in any case", where="OnChip, exact_forward",
                                hint="leave it away")
        self._links = circuit_links(module, self._network) if circuits else find_links(
            module, self._network, lambda twin: as_network(twin, sample, dt))
        module.train(training)
        self.train(training)
        self._mapped: tuple[tuple[tuple[int, int], ...], MappedNetwork, list[torch.Tensor]] | None = None
        self._shown: tuple[int, int] | None = None
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._ranges: Mapping[str, Ranges] = {}
        if not circuits:
            self._refuse_what_is_not_linked()
        if reads:
            refuse_reads(profile, self.mapped(), self._links)
            found = find_ranges(self.mapped(), self._sample)
            self._ranges = {array.name: found.get(array.name, Ranges()) for array in arrays_of_tiles(self.mapped())}
        factors = nn.Parameter(torch.zeros(len(self._ranges), 2), learn_ranges) if reads else None
        self.register_parameter("range_factors", factors)  # their logarithms
        self._lot(self.mapped(), seed, self.range_factors)  # refuses what is out of range, now
        self._spreads = None if profile.crossbar is None else spreads_of(profile, programming, time)
        if mode == "attack" and not self.place().reach:
            raise NeurosimError("no device spreads, so there is nothing to attack", where=f"profile {profile.name}",
                                hint="take mode='nominal', or give the profile a mismatch")

    def _refuse_what_is_not_linked(self) -> None:
        used: dict[str, str] = {}
        for array in self.mapped().arrays:
            link = self._links.get(array.name)
            if link is None:
                without = f"; or profile.with_values({{'mismatch.{array.role}': None}}) is a chip that does not vary it"
                raise NeurosimError(
                    f"{array.name} is on the chip, but no tensor of {type(self.module).__name__}: it is made of others "
                    "(a convolution in groups, a recurrence with all_to_all=False, weight_norm, a bias with a "
                    "normalisation in it)", where="OnChip",
                    allowed="parameters and buffers that the network takes as they are",
                    hint="let the module hold it whole, as a parameter (groups=1, all_to_all=True, "
                    f"remove_parametrizations){without if self.profile.crossbar is None else ''}")
            if link.index is None and link.tensor in used:
                raise NeurosimError(f"{array.name} and {used[link.tensor]} are one tensor of the module, {link.tensor}",
                                    where="OnChip", allowed="a tensor of its own for each array of devices")
            used[link.tensor] = array.name

    # the mapping of now

    def mapped(self) -> MappedNetwork:
        """The network with the module's parameters of now, on its chip type; normalisations as they were at first."""
        return self._mapped_with(tensors_of(self.module))

    def to_network(self, dt: float | None = None) -> Network:
        """The module as a network, with its parameters and learnt ranges of now; dt: that of the module unless said."""
        training = self.module.training
        network = as_network(self.module.eval(), self._sample, self._network.dt if dt is None else dt)
        self.module.train(training)
        if not (self.reads and self.learn_ranges):
            return network
        ranges = learnt(self._ranges, self._learnable(self.range_factors))
        return replace(network, ranges=LearntRanges(ranges, layout(self._chip)))

    def _learnable(self, factors: torch.Tensor | None) -> torch.Tensor | None:
        """Logarithms of the factors on ranges of inputs and of currents; 0 where the chip has fixed them."""
        if factors is None:
            return None
        return factors * factors.new_tensor([part is None or part.range != "fixed"
                                             for part in (self._chip.dac, self._chip.adc)])

    def _mapped_with(self, tensors: Mapping[str, torch.Tensor]) -> MappedNetwork:
        used = sorted({link.tensor for link in self._links.values()})
        state = tuple((id(tensors[name]), tensors[name]._version) for name in used)
        if self._mapped is None or self._mapped[0] != state:
            own = {name: link.read(tensors).detach().cpu().numpy() for name, link in self._links.items()}
            nodes = []
            for node in self._network.nodes:
                new = {name: own[f"{node.name}/{name}"].reshape(value.shape)
                       for name, value in node.layer.arrays().items() if f"{node.name}/{name}" in own}
                nodes.append(replace(node, layer=replace(node.layer, **new)) if new else node)
            network = replace(self._network, nodes=tuple(nodes))
            # the tensors are kept, so that none of another network gets their id
            self._mapped = (state, map_network(network, self._chip), [tensors[name] for name in used])
        return self._mapped[1]

    def _lot(self, mapped: MappedNetwork, seed: int, factors: torch.Tensor | None) -> Dies:
        return Dies(mapped, seed, self.programming, self.time, {} if factors is None else learnt(self._ranges, factors))

    # devices

    def place(self, die: int | tuple[int, int] | None = None, parameters: Mapping[str, torch.Tensor] | None = None
              ) -> Placement:
        """The devices of a die of the lot `seed` (or die and lot), or (None) nominal ones.

        parameters: in the place of the module's own, by their names in this module ("module.fc1.weight").
        """
        tensors = tensors_of(self.module)
        parameters = dict(parameters or {})
        factors = self._learnable(parameters.pop("range_factors", self.range_factors))
        for name, value in parameters.items():
            tensors[name.removeprefix("module.")] = value
        mapped = self._mapped_with(tensors)
        die, seed = die if isinstance(die, tuple) else (die, self.seed)
        if mapped.configuration is not None:
            parts, links, beside = placed_circuit(mapped, seed, die, self._links, tensors)
            return Placement(die, parts, links, {**tensors, **beside})
        lot = self._lot(mapped, seed, factors)
        made = {} if die is None else lot.direct(die) if self.reads else lot.parameters(die)
        parts, number = {}, next(self.module.parameters()).dtype
        for array in mapped.arrays:
            link = self._links[array.name]
            wanted, own = link.read(tensors).to(number), made.get(array.layer, {}).get(array.parameter)
            if isinstance(array, DeviceArray):
                planes = None if die is None else lot.conductances(die, array.name)
                devices = None if die is None else devices_of(array, planes)
                own = array.weight(planes) if self.reads and die is not None else own
                masked = None if link.mask is None else link.read({**tensors, link.tensor: torch.ones_like(
                    tensors[link.tensor])}) == 0
                part = placed_on_crossbar(array, self.profile.crossbar, self._spreads, wanted, masked, devices)
                parts[array.name] = corrected(part, aimed_at(array) if own is None else own)
            else:
                parts[array.name] = placed_direct(array, wanted, own)
        read = read_arrays(lot, die, parts, factors) if self.reads else {}
        return Placement(die, parts, self._links, tensors, read)

    def placements(self, inputs: torch.Tensor, parameters: Mapping[str, torch.Tensor] | None = None
                   ) -> list[Placement]:
        """The devices that a forward pass runs on now, one placement for each of its dies; in training it is a step."""
        if not self.training:
            return [self.place(self._shown, parameters)]
        if self.mode == "nominal":
            return [self.place(None, parameters)]
        step = int(self.steps)
        self.steps += 1
        if self.mode == "attack":
            placement = self.place(None, parameters)
            return [self._attacked(placement, inputs, step)]
        numbers = range(step * self.per_step, (step + 1) * self.per_step)
        first = step * inputs.shape[1] % _SAMPLES  # no read is that of another step
        return [replace(self.place(n % self.dies if self.mode == "sampled" else n, parameters), sample=first)
                for n in numbers]

    def _attacked(self, placement: Placement, inputs: torch.Tensor, step: int) -> Placement:
        """Devices moved by an attack, the start of which belongs to the step."""
        seed = int(np.random.SeedSequence((self.seed, step)).generate_state(1)[0])
        found = attack(lambda devices: logits_of(output_of(self.run(placement, devices, inputs)), self.readout),
                       placement.devices, self.attack, generator=torch.Generator().manual_seed(seed),
                       reach=placement.reach)
        there = moved(placement.devices, found, placement.reach)
        return replace(placement, parts={name: replace(part, devices=there[name])
                                         for name, part in placement.parts.items()})

    def run(self, placement: Placement, devices: Mapping[str, torch.Tensor], inputs: torch.Tensor, first: int = 0,
            **options: torch.Tensor) -> Result:
        """What the module gives for inputs `[time, batch, *shape]` on devices of a placement; first: sample of them."""
        tensors = placement.tensors_on(devices, inputs.shape[0], range(first, first + inputs.shape[1]))
        result = functional_call(self.module, tensors, (inputs,), options)
        return self._simulated(placement, devices, inputs, result) if self.exact_forward else result

    def _simulated(self, placement: Placement, devices: Mapping[str, torch.Tensor], inputs: torch.Tensor,
                   result: Result) -> Result:
        """The result with the simulator's output in the place of the module's."""
        parameters: dict[str, dict[str, np.ndarray]] = {}
        for name, array in placement.arrays(devices).items():
            layer, parameter = name.rsplit("/", 1)
            parameters.setdefault(layer, {})[parameter] = array.detach().cpu().numpy()
        network = self._mapped_with(placement.tensors).network
        value = run(network, inputs.detach().cpu().numpy(), parameters).output
        output = output_of(result)
        if value.shape != tuple(output.shape):
            raise NeurosimError(f"the module gives {list(output.shape)}, its network {list(value.shape)}",
                                where="OnChip, exact_forward", allowed="the output of all steps")
        output = exactly(output, value)
        return (output, *result[1:]) if isinstance(result, tuple) else output

    @property
    def units(self) -> int:
        """How many hidden neurons the module has, if it says so: the width of a mask."""
        return self.module.units

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Result:
        """What the module gives, on the dies of this step; mask is handed on to modules that take one."""
        options = {} if mask is None else {"mask": mask}
        return self.over_dies([(placement, placement.devices) for placement in self.placements(inputs)], inputs,
                              **options)

    def over_dies(self, dies: list[tuple[Placement, Mapping[str, torch.Tensor]]], inputs: torch.Tensor,
                  **options: torch.Tensor) -> Result:
        """Each die with its share of the batch; of fewer samples than dies, the last dies get none."""
        shares = inputs.tensor_split(min(len(dies), inputs.shape[1]), dim=1)
        ends = np.cumsum([share.shape[1] for share in shares])
        results = [self.run(placement, devices, share, end - share.shape[1], **{
            name: value[end - share.shape[1]:end] if value.ndim > 1 else value for name, value in options.items()})
            for (placement, devices), share, end in zip(dies, shares, ends, strict=False)]
        if len(results) == 1:
            return results[0]
        if isinstance(results[0], tuple):
            return tuple(_of_all(parts) for parts in zip(*results, strict=True))
        return _of_all(results)

    @contextmanager
    def shown_as(self, die: int, seed: int) -> Iterator[None]:
        """While the block runs, the module in eval mode is this die of this lot."""
        before = self._shown
        self._shown = (die, seed)
        try:
            yield
        finally:
            self._shown = before

    @staticmethod
    def recipe_settings(recipe: str) -> dict[str, float]:
        """What a recipe does on a chip where nothing is said, in units of each device's spread: see `ON_CHIP`."""
        return dict(ON_CHIP.get(recipe, {}))

    @property
    def provenance(self) -> dict[str, object]:
        """Which chip it trained on, and how."""
        return {"profile": self.profile.name, "profile_hash": self.profile.hash, "mode": self.mode, "dies": self.dies,
                "per_step": self.per_step, "seed": self.seed, "programming": self.programming, "time": self.time,
                "attack": asdict(self.attack) if self.mode == "attack" else None, "exact_forward": self.exact_forward,
                **({"reads": True, "learn_ranges": self.learn_ranges} if self.reads else {})}

    def extra_repr(self) -> str:
        lot = f", dies={self.dies}" if self.mode == "sampled" else ""
        return f"profile={self.profile.name}, mode={self.mode}{lot}, seed={self.seed}"


def _of_all(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Outputs `[time, sample, ...]`, or `[sample, class]`, of some samples each, as that of all of them."""
    return torch.cat(tuple(parts), dim=0 if parts[0].ndim == 2 else 1)
