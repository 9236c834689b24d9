"""What to train a task with when the user says nothing: the model, its size, and the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.mapping import chip_fields
from neurosim.mapping.biases import circuit_of
from neurosim.profile import Profile
from neurosim.training.circuit import circuit_network
from neurosim.training.cnn import CNN
from neurosim.training.models import LSNN, spiking_mlp

MODELS = {"spiking_mlp": spiking_mlp, "lsnn": LSNN, "cnn": CNN}


@dataclass(frozen=True)
class Defaults:
    """model: a name in `MODELS`; size: its own arguments; training: arguments of `train`; task: options that the task
    must be loaded with for this model; chip: of `OnChip`, in mode "noise"."""

    model: str
    size: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)
    task: Mapping[str, object] = field(default_factory=dict)
    chip: Mapping[str, object] = field(default_factory=dict)


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
    "digits": Defaults("circuit_network", {"hidden": 64, "recurrent": False, "unit": 5e-9, "unit_out": 40e-9},
                       {"learning_rate": [(20, 0.1), (10, 0.02)], "batch_size": 128}, {"coding": "rate"},
                       {"per_step": 4}),
    "ecg": Defaults("circuit_network", {"hidden": 32, "recurrent": True, "unit": 60e-9, "unit_out": 150e-9},
                    {"learning_rate": [(12, 0.04), (6, 0.01)], "batch_size": 100}, {"coding": "levels", "levels": 16}),
}


def build_circuit(task: str, channels: int, classes: int, seed: int, profile: Profile, dt: float, **size: object
                  ) -> nn.Module:
    """The default model of a task on a chip of circuits at its nominal biases; `size` replaces its arguments."""
    chosen = circuit_defaults(task)
    words = int(circuit_of(profile).size.words.value)
    return circuit_network(channels, classes, chip_fields(profile), dt, seed=seed, fan_in=words,
                           **_sized(chosen, size))


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
    return MODELS[chosen.model](channels, classes, seed=seed, **_sized(chosen, size))


def _sized(chosen: Defaults, size: Mapping[str, object]) -> dict[str, object]:
    for name in size:
        if name not in chosen.size:
            raise NeurosimError(f"there is no argument {name!r}", where=f"model {chosen.model}",
                                allowed=", ".join(chosen.size), hint=did_you_mean(name, list(chosen.size)))
    return {**chosen.size, **size}
