"""From a torch module to the `Network` that is deployed, with the record of how it was trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from neurosim import __version__
from neurosim.network import Network
from neurosim.network.torch_run import copy_of
from neurosim.training.objective import output_of
from neurosim.training.trainer import Trained


def as_network(model: nn.Module, sample: np.ndarray, dt: float) -> Network:
    """The network of a module as it is now, trained or not; its scores are the sum of its output over time, or what the
    module itself reads out.

    Parameters
    ----------
    model:
        On the CPU: one with a `to_network`, such as `LSNN` and `OnChip`, or any module that `Network.from_torch` reads.
    sample:
        `[time, sample, *shape]`, a few inputs, better such that every layer fires: the module is followed on them, and
        its spikes are required to be those of the network.
    dt:
        Time step of the inputs in seconds.
    """
    if hasattr(model, "to_network"):
        return model.to_network(dt)
    inputs = torch.tensor(np.asarray(sample))
    return Network.from_torch(model, inputs, dt, readout=None if _reads_out(model, inputs) else "sum")


@torch.no_grad()
def _reads_out(model: nn.Module, inputs: torch.Tensor) -> bool:
    """Whether a module gives `[sample, class]`, without time."""
    try:
        return output_of(copy_of(model)(inputs.double())).ndim == 2
    except RuntimeError:  # a module of one step, which takes no time axis
        return False


def to_network(trained: Trained, sample: np.ndarray, dt: float, **more: object) -> Network:
    """The trained network for deployment; its provenance says where it comes from.

    That is: versions, recipe and settings, seed, hash of the training data, the best epoch and its metrics, and what
    `more` names, such as the task's hash. See `as_network` for sample and dt.
    """
    import snntorch

    network = as_network(trained.model, sample, dt)
    if trained.settings["readout"] == "last":
        network = replace(network, readout="last")
    chip = {"on_chip": trained.model.provenance} if hasattr(trained.model, "provenance") else {}
    return replace(network, provenance={
        **network.provenance, **chip, "neurosim": __version__, "torch": torch.__version__,
        "snntorch": snntorch.__version__, "recipe": trained.recipe, "settings": dict(trained.settings),
        "seed": trained.seed, "data_hash": trained.data_hash, "best_epoch": trained.best_epoch,
        "at_best_epoch": {name: values[trained.best_epoch - 1] for name, values in trained.history.items()}, **more})
