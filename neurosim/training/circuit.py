"""A network of subthreshold circuits to train for a chip: one signed weight per synapse, no neuron with too many.

Each population is a `training.dpi.DPINeuron`: the engine's spikes forward, its linearised steps back. A weight above 0
is a current of an AMPA synapse, below 0 of a GABA synapse, so that a synapse takes one word of the chip whatever its
sign becomes. Weights are in units of a current that makes them about 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from neurosim import network
from neurosim.errors import NeurosimError, true_or_false, whole
from neurosim.network import Network
from neurosim.training.dpi import DPINeuron

Fields = Mapping[str, float | str]
_KINDS = ("ampa", "gaba")
#: of the surrogate: a silent neuron, several units of ln I below its threshold, must learn, too; with so broad a
#: surrogate the gradient grows from step to step along recurrent connections (to 1e14 in 100 steps of ECG)
_STEEPNESS, _STEEPNESS_RECURRENT = 0.5, 3.0


class CircuitPopulation(nn.Module):
    """Neurons with signed weights.

    Parameters
    ----------
    inputs, neurons:
        Channels in, neurons out.
    fields:
        Arguments of `neurosim.DPINeuron` without weights: `neurosim.mapping.chip_fields(profile)`.
    dt:
        Time step, s.
    unit:
        Amperes of a weight of 1; initial weights are normal numbers of standard deviation 1.
    recurrent:
        Whether the neurons are connected among themselves; these weights start at a third of the others.
    fan_in:
        Synapses that a neuron may have: beyond it, connections that `generator` chooses are left out for good.
    """

    def __init__(self, inputs: int, neurons: int, fields: Fields, dt: float, unit: float, recurrent: bool,
                 fan_in: int, generator: torch.Generator) -> None:
        super().__init__()
        self.fields, self.unit = dict(fields), unit
        self.weight = nn.Parameter(torch.randn(neurons, inputs, generator=generator))
        self.register_buffer("there_weight", _chosen((neurons, inputs), fan_in, generator))
        self.recurrent = None
        if recurrent:
            self.recurrent = nn.Parameter(torch.randn(neurons, neurons, generator=generator) / 3)
            left = fan_in - int(self.there_weight.sum(dim=1).max())
            self.register_buffer("there_recurrent", _chosen((neurons, neurons), left, generator))
        whole = {f"{name}_{kind}": np.full(value.shape, unit) for name, value in self._signed().items()
                 for kind in _KINDS}
        self.neurons = DPINeuron(network.DPINeuron(**self.fields, **whole), dt, learn=(),
                                 steepness=_STEEPNESS_RECURRENT if recurrent else _STEEPNESS)

    def _signed(self, tensors: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """The weights that there are, in units, by way; tensors in the place of the module's own."""
        own = tensors or {"weight": self.weight, "recurrent": self.recurrent}
        ways = ("weight",) if self.recurrent is None else ("weight", "recurrent")
        return {way: own[way] * getattr(self, f"there_{way}") for way in ways}

    def _amperes(self, signed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of each kind of synapse, float64; a weight of 0 lies at the lower end of AMPA."""
        found = {}
        for way, value in signed.items():
            amperes = value.double() * self.unit
            found[f"{way}_ampa"] = torch.where(amperes >= 0, amperes, 0.0)
            found[f"{way}_gaba"] = torch.where(amperes < 0, -amperes, 0.0)
        return found

    def to_layer(self) -> network.DPINeuron:
        """The layer with the weights of now, in amperes."""
        with torch.no_grad():
            return network.DPINeuron(**self.fields, **{
                name: value.cpu().numpy() for name, value in self._amperes(self._signed()).items()})

    def tensor_of(self, name: str) -> str:
        """The name of the tensor that an array is made of."""
        way, _, kind = name.partition("_")
        return way if kind in _KINDS and way in ("weight", "recurrent") else f"neurons.{self.neurons.tensor_of(name)}"

    def read(self, name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """An array in SI units, float64, differentiable, with `tensors` in the place of this module's own."""
        if not self.tensor_of(name).startswith("neurons."):
            return self._amperes(self._signed(tensors))[name]
        return self.neurons.read(name, {key.removeprefix("neurons."): value for key, value in tensors.items()})

    def written(self, arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors that make `arrays`, in SI units, by name: what `read` reads. Both kinds of a weight go together.
        """
        weights = {name for name in arrays if not self.tensor_of(name).startswith("neurons.")}
        made = {self.tensor_of(name): (arrays[name] - arrays[name.replace("_ampa", "_gaba")]) / self.unit
                for name in weights if name.endswith("_ampa")}
        fields = self.neurons.written({name: value for name, value in arrays.items() if name not in weights})
        return {**made, **{f"neurons.{name}": value for name, value in fields.items()}}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Spikes `[time, batch, neurons]` of spikes `[time, batch, inputs]`."""
        return self.neurons(inputs, self._amperes(self._signed()))


class CircuitNetwork(nn.Module):
    """A hidden population and one of the classes, on a chip of circuits; see `circuit_network`.

    `forward(inputs)`, spikes `[time, batch, channel]`, gives (output spikes, hidden spikes).
    """

    def __init__(self, inputs: int, classes: int, fields: Fields, dt: float, *, hidden: int, recurrent: bool,
                 fan_in: int, units: Sequence[float], seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        # at most one spike in a step: what a population sends is what the next one takes
        fields = {**fields, "t_refractory": max(fields["t_refractory"], 1.05 * dt)}
        self.inputs = inputs
        self.hidden = CircuitPopulation(inputs, hidden, fields, dt, units[0], recurrent, fan_in, generator)
        self.out = CircuitPopulation(hidden, classes, fields, dt, units[1], False, fan_in, generator)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.hidden(inputs)
        return self.out(hidden), hidden

    def to_network(self, dt: float) -> Network:
        """This network with the weights it has now; the class is the output neuron that fires most."""
        return Network.sequential({"hidden": self.hidden.to_layer(), "out": self.out.to_layer()}, (self.inputs,), dt)


def circuit_network(inputs: int, classes: int, fields: Fields, dt: float, *, hidden: int = 64,
                    recurrent: bool = False, fan_in: int = 64, unit: float = 5e-9, unit_out: float = 40e-9,
                    seed: int = 0) -> CircuitNetwork:
    """A network of circuits to train, with weights drawn from `seed`.

    Parameters
    ----------
    inputs, classes:
        Channels in, neurons out.
    fields, dt:
        What the neurons are (`neurosim.mapping.chip_fields`), and the time step in seconds. The refractory period is at
        least a step.
    hidden, recurrent:
        Hidden neurons, and whether they are connected among themselves.
    fan_in:
        Synapses of a neuron at most.
    unit, unit_out:
        Amperes of a weight of 1 in the hidden population and in the output: the initial spread.
    """
    for name, value in (("inputs", inputs), ("classes", classes), ("hidden", hidden), ("fan_in", fan_in)):
        whole(name, value, "circuit_network")
    if true_or_false("recurrent", recurrent, "circuit_network") and fan_in <= inputs:
        raise NeurosimError(f"{inputs} inputs and recurrence with fan_in {fan_in}", where="circuit_network",
                            allowed=f"fan_in above {inputs}", hint="leave recurrent away, or take fewer inputs")
    return CircuitNetwork(inputs, classes, fields, dt, hidden=hidden, recurrent=recurrent, fan_in=fan_in,
                          units=(unit, unit_out), seed=seed)


def _chosen(shape: tuple[int, int], fan_in: int, generator: torch.Generator) -> torch.Tensor:
    """Which connections there are, `[neurons, sources]` of 0 and 1: all, or `fan_in` of each neuron."""
    order = torch.rand(shape, generator=generator).argsort(dim=1).argsort(dim=1)
    return (order < fan_in).float()
