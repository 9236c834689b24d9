"""The metrics that the field compares networks by, under NeuroBench's names and definitions, from the kernels' counts.

Synaptic operations exclude biases; they are accumulations (ACs) where the input is spikes and multiply-accumulations
(MACs) where it is not; all are per sample. Weights and inputs that are 0 need no operation; `dense` counts all of them.

Source: Yik et al., The NeuroBench framework for benchmarking neuromorphic computing algorithms and systems, Nat.
Commun. 16, 1545 (2025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from neurosim.mapping.wiring import fan_out
from neurosim.network import Layer, Network
from neurosim.network.activity import Drive
from neurosim.network.layers import SPIKING

_BYTES = 4  # of a number in float32


@dataclass(frozen=True)
class Metrics:
    """What a network needs, on whatever chip.

    footprint: bytes of all parameters, float32. connection_sparsity: share of weights that are 0. activation_sparsity:
    share of (neuron, step, sample) without a spike. dense, effective_macs, effective_acs: synaptic operations of a
    sample.
    neuron_updates: neuron states computed per sample.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    dense: float
    effective_macs: float
    effective_acs: float
    neuron_updates: float

    def as_dict(self) -> dict[str, float]:
        """By the names of the fields."""
        return asdict(self)


def metrics(network: Network, spikes: Mapping[str, np.ndarray], drives: Mapping[str, Drive], samples: int, steps: int
            ) -> Metrics:
    """The metrics of a run of `samples` samples of `steps` steps.

    spikes, drives: as `neurosim.network.forward.run` gives them. Inputs that are zeros and ones count as spikes.

    >>> import neurosim as ns
    >>> from neurosim.network.forward import run
    >>> net = ns.Network.sequential([ns.Linear(np.array([[1.0, 0.0]])), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> inputs = np.ones((4, 1, 2)) * [1.0, 0.0]
    >>> forward = run(net, inputs)
    >>> found = metrics(net, forward.spikes, forward.drives, samples=1, steps=4)
    >>> found.dense, found.effective_acs, found.connection_sparsity
    (8.0, 4.0, 0.5)
    """
    zeros = weights = numbers = 0
    dense = macs = acs = 0.0
    for node in network.nodes:
        numbers += sum(array.size for array in node.layer.arrays().values())
        for name, array in _weights(node.layer).items():
            zeros, weights = zeros + int((array == 0).sum()), weights + array.size
            shape = network.shapes[node.inputs[0]] if name == "weight" else network.shapes[node.name]
            drive = drives[node.name if name == "weight" else f"{node.name}/recurrent"]
            dense += float(fan_out(node.layer, np.ones_like(array), shape, 1)[0].sum()) * steps
            done = float(drive.active @ fan_out(node.layer, array, shape, 1)[0]) / samples
            if _binary(drive):
                acs += done
            else:
                macs += done
    neurons = {node.name: math.prod(network.shapes[node.name]) for node in network.nodes
               if isinstance(node.layer, SPIKING)}
    places = sum(neurons.values()) * steps * samples
    fired = sum(int(count.sum()) for count in spikes.values())
    return Metrics(numbers * _BYTES, zeros / weights if weights else 0.0, 1 - fired / places if places else 0.0, dense,
                   macs, acs, float(sum(neurons.values()) * steps))


def _weights(layer: Layer) -> dict[str, np.ndarray]:
    """The matrices of a layer, "weight" and "recurrent"; all kinds of synapse of a circuit are one connection."""
    found: dict[str, np.ndarray] = {}
    for name, array in layer.arrays().items():
        kind, _, synapse = name.partition("_")
        if kind in ("weight", "recurrent"):
            found[kind] = array if not synapse else np.abs(array) + found.get(kind, 0.0)
    return found


def _binary(drive: Drive) -> bool:
    """Whether all inputs were 0 or 1: then each counts as much as its square, and none is larger."""
    return drive.peak <= 1 and np.array_equal(drive.squares, drive.active)
