"""What to train a task with when the user says nothing: the model, its size, and the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from neurosim.errors import NeurosimError, did_you_mean, whole
from neurosim.mapping import chip_fields
from neurosim.mapping.biases import circuit_of
from neurosim.network import DPINeuron
from neurosim.network.circuit_forward import growth_per_ampere
from neurosim.profile import Profile
from neurosim.training.circuit import circuit_network
from neurosim.training.cnn import CNN
from neurosim.training.models import LSNN, spiking_mlp

MODELS = {"spiking_mlp": spiking_mlp, "lsnn": LSNN, "cnn": CNN}


@dataclass(frozen=True)
class Defaults:
    """model: a name in `MODELS`; size: its own arguments; training: arguments of `train`; task: options that the task
    must be loaded with for this model; chip: of `OnChip`, in mode "noise"; sizes: others for chip types by name."""

    model: str
    size: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)
    task: Mapping[str, object] = field(default_factory=dict)
    chip: Mapping[str, object] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


#: by the name of the task; ECG, speech and Fashion-MNIST as Buechel, Faber and Muir, ICLR 2022
DEFAULTS: dict[str, Defaults] = {
    "digits": Defaults("spiking_mlp", {"hidden": 64, "beta": 0.8},
                       {"learning_rate": [(40, 5e-3), (10, 1e-3)], "batch_size": 128}),
    "ecg": Defaults("lsnn", {"units": 256},
                    {"learning_rate": [(150, 1e-3), (50, 1e-4)], "batch_size": 100, "readout": "mean",
                     "rate_penalty": 1e-3}),
    "speech": Defaults("lsnn", {"units": 256},
                       {"learning_rate": [(80, 1e-3), (20, 1e-4)], "batch_size": 100, "readout": "mean",
                        "rate_penalty": 1e-3}),
    "fmnist": Defaults("cnn", {"statistics": "fixed"},
                       {"learning_rate": [(35, 1e-4), (5, 1e-5)], "batch_size": 100}),
}


#: the same at the level of circuits: spikes in, no neuron with more than the 64 synapses of a DYNAP chip
CIRCUITS: dict[str, Defaults] = {
    "digits": Defaults("circuit_network", {"hidden": 64, "recurrent": False, "gain": 10.0, "growth": 0.9,
                                           "growth_out": 2.2},
                       {"learning_rate": [(20, 0.1), (10, 0.02)], "batch_size": 128}, {"coding": "rate"},
                       {"per_step": 4}, {"dynap_se1": {"gain": 80.0}}),
    "ecg": Defaults("circuit_network", {"hidden": 64, "recurrent": False, "gain": 40.0, "growth": 4.5,
                                        "growth_out": 3.0},
                    {"learning_rate": [(5, 0.04), (1, 0.01)], "batch_size": 100}, {"coding": "levels", "levels": 16},
                    {"per_step": 2}),
}


def build_circuit(task: str, channels: int, classes: int, seed: int, profile: Profile, dt: float, **size: object
                  ) -> nn.Module:
    """The default model of a task on a chip of circuits; `size` replaces its arguments.

    All biases are the chip's nominal ones but the gains of the synapses: `gain` times the leakage I0. So low, a synapse
    soon leaves the range where its current grows exponentially with its pulses, and a pulse longer by a tenth would
    make the current several times as large. growth, growth_out: of a weight of 1 in ln I of a synapse far below its
    gain current, which makes initial weights the same thing on every chip.
    """
    chosen = circuit_defaults(task)
    given = _sized(chosen, {**chosen.sizes.get(profile.name, {}), **size})
    fields = chip_fields(profile)
    fields["i_gain_ampa"] = fields["i_gain_gaba"] = given.pop("gain") * fields["i_0"]
    layer = DPINeuron(**fields)
    ampere = float(growth_per_ampere(layer, layer.arrays(), "ampa", layer.thermal_voltage / layer.kappa))
    return circuit_network(channels, classes, fields, dt, seed=whole("seed", seed, "model", 0, 64),
                           fan_in=int(circuit_of(profile).size.words.value), unit=given.pop("growth") / ampere,
                           unit_out=given.pop("growth_out") / ampere, **given)


def circuit_defaults(task: str) -> Defaults:
    """What to train a task with at the level of circuits."""
    if task not in CIRCUITS:
        raise NeurosimError(f"there is no default model of circuits for the task {task!r}", where="training",
                            allowed=", ".join(CIRCUITS))
    return CIRCUITS[task]


def build(task: str, channels: int, classes: int, seed: int, **size: object) -> nn.Module:
    """The default model of a task, with its weights drawn from `seed`; `size` replaces arguments of the model."""
    if task not in DEFAULTS:
        raise NeurosimError(f"there is no default model for the task {task!r}", where="training",
                            allowed=", ".join(DEFAULTS))
    chosen = DEFAULTS[task]
    return MODELS[chosen.model](channels, classes, seed=whole("seed", seed, "model", 0, 64), **_sized(chosen, size))


def _sized(chosen: Defaults, size: Mapping[str, object]) -> dict[str, object]:
    for name in size:
        if name not in chosen.size:
            raise NeurosimError(f"there is no argument {name!r}", where=f"model {chosen.model}",
                                allowed=", ".join(chosen.size), hint=did_you_mean(name, list(chosen.size)))
        known = type(chosen.size[name])
        if known in (int, float) and (isinstance(size[name], bool) or not isinstance(size[name], (int, float))):
            raise NeurosimError(f"{name} is {size[name]!r}", where=f"model {chosen.model}", allowed="a number")
    return {**chosen.size, **size}
