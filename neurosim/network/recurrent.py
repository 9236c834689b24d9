"""Recurrent cells that do not spike: RNN, GRU, LSTM.

A cell holds what comes back from its own last state; the weights of its input are a `Linear` in front of it, one output
for each gate of each unit: on a chip these are two arrays, fed by different wires. Gates lie one after the other, in
torch's order; its `bias` is that of the recurrent product (torch's `bias_hh`), and the Linear's that of the input
(`bias_ih`). All states start at zero; the output is the state h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network.layer import Layer, Shape, checked_array


class Recurrent(Layer):
    """What the cells share: `recurrent [gates * units, units]`, `bias [gates * units]` or None."""

    recurrent: np.ndarray
    bias: np.ndarray | None
    parameters: ClassVar = ("recurrent", "bias")
    gates: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "recurrent", checked_array(self.recurrent, "recurrent", 2))
        width, units = self.recurrent.shape
        if width != self.gates * units or not units:
            raise NeurosimError(f"recurrent weight of a {type(self).__name__} has shape {self.recurrent.shape}",
                                allowed="[units, units]" if self.gates == 1 else f"[{self.gates} * units, units]")
        if self.bias is not None:
            object.__setattr__(self, "bias", checked_array(self.bias, "bias", 1))
            if self.bias.shape != (width,):
                raise NeurosimError(f"bias {self.bias.shape} does not fit the recurrent weight {self.recurrent.shape}")

    def output_shape(self, shape: Shape) -> Shape:
        width, units = self.recurrent.shape
        if shape != (width,):
            raise NeurosimError(
                f"a {type(self).__name__} of {units} units gets shape {shape}", allowed=f"({width},)",
                hint=f"the input's weights are a Linear in front of it: {self.gates} outputs for each unit")
        return (units,)


@dataclass(frozen=True, repr=False, eq=False)
class RNN(Recurrent):
    """``h_t = tanh(x_t + U h_{t-1} + bias)``, or max(0, .) with `nonlinearity="relu"`; U is `recurrent`.

    Source: Elman, Finding structure in time, Cognitive Science 14 (1990).
    """

    recurrent: np.ndarray
    bias: np.ndarray | None = None
    nonlinearity: str = "tanh"
    source: ClassVar = "Elman, Finding structure in time, Cognitive Science 14, 179 (1990)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in ("tanh", "relu"):
            raise NeurosimError(f"nonlinearity is {self.nonlinearity!r}", allowed="tanh, relu")
        object.__setattr__(self, "nonlinearity", str(self.nonlinearity))


@dataclass(frozen=True, repr=False, eq=False)
class GRU(Recurrent):
    """Gated recurrent unit; gates r, z, n, the reset after the product (as in torch).

    ``r = sigmoid(x_r + U_r h_{t-1} + bias_r)``; ``z = sigmoid(x_z + U_z h_{t-1} + bias_z)``;
    ``n = tanh(x_n + r (U_n h_{t-1} + bias_n))``; ``h_t = (1 - z) n + z h_{t-1}``

    Source: Cho et al., EMNLP 2014, in the form of torch.nn.GRU.
    """

    recurrent: np.ndarray
    bias: np.ndarray | None = None
    gates: ClassVar = 3
    source: ClassVar = ("Cho et al., Learning phrase representations using RNN encoder-decoder for statistical machine "
                        "translation, EMNLP 2014")


@dataclass(frozen=True, repr=False, eq=False)
class LSTM(Recurrent):
    """Long short-term memory with a forget gate; gates i, f, g, o.

    ``i, f, o = sigmoid(x + U h_{t-1} + bias)``; ``g = tanh(x_g + U_g h_{t-1} + bias_g)``;
    ``c_t = f c_{t-1} + i g``; ``h_t = o tanh(c_t)``

    Source: Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.ones((8, 3))), ns.LSTM(np.eye(8, 2))], (3,), dt=1e-3, readout="last")
    >>> net.output_shape
    (2,)
    """

    recurrent: np.ndarray
    bias: np.ndarray | None = None
    gates: ClassVar = 4
    source: ClassVar = "Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9, 1735 (1997)"
