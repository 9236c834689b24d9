"""A network, or one die with it, as a model that NeuroBench's `Benchmark` takes.

NeuroBench counts with hooks on torch modules, and sees nothing in a simulator that has none. So our kernels run, and
what each layer was given, and each population fired, then passes through torch modules with the same weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from neurosim.dies import Dies
from neurosim.errors import NeurosimError
from neurosim.network import Conv2d, DPINeuron, Linear, Network
from neurosim.network.forward import run
from neurosim.network.layers import SPIKING

if TYPE_CHECKING:
    from neurobench.models import NeuroBenchModel


def as_neurobench_model(network: Network | Dies, die: int = 0) -> NeuroBenchModel:
    """A NeuroBenchModel that gives the class of each sample: `[batch, time, *input_shape]` to int64 `[batch]`.

    Footprint, ParameterCount, ConnectionSparsity, ActivationSparsity, ActivationSparsityByLayer, SynapticOperations and
    ClassificationAccuracy (without postprocessors) mean what they do for a torch network, and equal `Run.metrics` and
    accuracy. MembraneUpdates and NeuronOperations look into snnTorch's neurons and find none here: they are 0. Weights
    that are counted are the network's own, activity and classes are the die's. The samples of a batch are numbered from
    0: with read noise, the whole set in one batch is what `deploy` runs.

    Parameters
    ----------
    network:
        A network, or dies of a mapped one; with converters, those that know their ranges (`find_ranges`).
    die:
        Which of the dies.

    Raises
    ------
    NeurosimError
        neurobench is not installed; a network of circuits, which has no synaptic operations in NeuroBench's sense.
    """
    try:
        from neurobench.models import TorchModel
    except ImportError as error:
        raise NeurosimError(f"neurobench cannot be imported ({error})", where="as_neurobench_model",
                            hint="pip install neurobench") from None
    dies = network if isinstance(network, Dies) else None
    network = network if dies is None else dies.mapped.network
    circuits = [node.name for node in network.nodes if isinstance(node.layer, DPINeuron)]
    if circuits:
        raise NeurosimError("a circuit has no synaptic operations in NeuroBench's sense", where=f"layer {circuits[0]}",
                            hint="give the network that it was made from")
    model = TorchModel(Replay(network, *(({}, {}) if dies is None else dies.as_run(die))))
    model.add_activation_module(Spikes)
    return model


class Spikes(nn.Module):
    """A population: passes on the spikes that it is given, and holds its parameters."""

    def __init__(self, parameters: nn.ParameterDict) -> None:
        super().__init__()
        self.values = parameters

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        return spikes


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding may differ from side to side; zeros that are added are no inputs."""

    sides: tuple[int, int, int, int]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(inputs, self.sides))


class Replay(nn.Module):
    """Runs the kernels, then shows their signals to torch modules of the same weights; parameters and reads: of a die,
    as `Dies.as_run` gives them."""

    def __init__(self, network: Network, parameters: dict, reads: dict) -> None:
        super().__init__()
        self.network, self.parameters_of_die, self.reads = network, parameters, reads
        self.layers = nn.ModuleDict()
        self.shown: dict[str, tuple[str, int]] = {}  # to each module whose signal, and of how many steps before
        for node in network.nodes:
            arrays, name = node.layer.arrays(), node.name.replace(".", "/")  # torch keeps the dot for itself
            if isinstance(node.layer, (Linear, Conv2d)):
                self.shown[name], self.layers[name] = (node.inputs[0], 0), _connection(node.layer)
                continue
            if "recurrent" in arrays:
                loop = Linear(arrays.pop("recurrent"))
                self.shown[f"{name}/recurrent"], self.layers[f"{name}/recurrent"] = (node.name, 1), _connection(loop)
            held = nn.ParameterDict({key: _parameter(value) for key, value in arrays.items()})
            if isinstance(node.layer, SPIKING):
                self.shown[name], self.layers[name] = (node.name, 0), Spikes(held)
            elif held:
                self.layers[name] = held

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[batch, time, *input_shape]` to classes, int64 `[batch]`."""
        x = np.swapaxes(inputs.detach().cpu().numpy(), 0, 1)
        keep = {source for source, _ in self.shown.values()} - {"input"}
        found = run(self.network, x, self.parameters_of_die, keep=keep, reads=self.reads)
        for name, (source, before) in self.shown.items():
            signal = x if source == "input" else found.kept[source]
            if before:  # at first there is none
                signal = np.concatenate([np.zeros_like(signal[:1]), signal[:-1]])
            flat = np.ascontiguousarray(signal, np.float32).reshape(-1, *signal.shape[2:])
            with torch.no_grad():
                self.layers[name](torch.from_numpy(flat).to(inputs.device))
        return torch.from_numpy(found.prediction).to(inputs.device)


def _connection(layer: Linear | Conv2d) -> nn.Module:
    """The torch module with the weights of a layer; nothing is drawn for it first."""
    outputs, inputs, *kernel = layer.weight.shape
    if isinstance(layer, Linear):
        made = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=layer.bias is not None)
    else:
        made = nn.utils.skip_init(PaddedConv2d, inputs, outputs, kernel, layer.stride, 0, layer.dilation,
                                  bias=layer.bias is not None)
        (top, bottom), (left, right) = layer.padding
        made.sides = (left, right, top, bottom)
    made.weight = _parameter(layer.weight)
    made.bias = None if layer.bias is None else _parameter(layer.bias)
    return made


def _parameter(value: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.asarray(value), dtype=torch.float32), requires_grad=False)
