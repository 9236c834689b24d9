"""What the user wants to run: layers, weights, neuron parameters; from and to NIR, snnTorch and files.

Knows no chip: profiles come in with `mapping`. Torch and nir are imported only when asked for.
"""

from neurosim.network.circuit_layers import DPINeuron
from neurosim.network.layers import (
    LIF,
    AdaptiveLIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    CubaLIF,
    Flatten,
    Layer,
    LeakyIntegrator,
    Linear,
    MaxPool2d,
    Population,
    ReLU,
    Sigmoid,
    Sum,
    Tanh,
)
from neurosim.network.network import Network, Node
from neurosim.network.recurrent import GRU, LSTM, RNN, Recurrent

__all__ = [
    "GRU",
    "LIF",
    "LSTM",
    "RNN",
    "AdaptiveLIF",
    "AvgPool2d",
    "BatchNorm",
    "Recurrent",
    "Conv2d",
    "CubaLIF",
    "DPINeuron",
    "Flatten",
    "Layer",
    "LeakyIntegrator",
    "Linear",
    "MaxPool2d",
    "Network",
    "Node",
    "Population",
    "ReLU",
    "Sigmoid",
    "Sum",
    "Tanh",
]
