"""What to train a task with when the user says nothing: the model, its size, and the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.training.cnn import CNN
from neurosim.training.models import LSNN, spiking_mlp

MODELS = {"spiking_mlp": spiking_mlp, "lsnn": LSNN, "cnn": CNN}


@dataclass(frozen=True)
class Defaults:
    """model: a name in `MODELS`; size: its own arguments; training: arguments of `train`."""

    model: str
    size: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)


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


def build(task: str, channels: int, classes: int, seed: int, **size: object) -> nn.Module:
    """The default model of a task, with its weights drawn from `seed`; `size` replaces arguments of the model."""
    if task not in DEFAULTS:
        raise NeurosimError(f"there is no default model for the task {task!r}", where="training",
                            allowed=", ".join(DEFAULTS))
    chosen = DEFAULTS[task]
    for name in size:
        if name not in chosen.size:
            raise NeurosimError(f"there is no argument {name!r}", where=f"model {chosen.model}",
                                allowed=", ".join(chosen.size), hint=did_you_mean(name, list(chosen.size)))
    return MODELS[chosen.model](channels, classes, seed=seed, **{**chosen.size, **size})
