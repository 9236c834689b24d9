"""torch's RNN, GRU, LSTM and their cells -> a Linear for the input's weights and a `Recurrent`, for each layer.

The gates lie in torch's own order. How the modules are connected never enters here (`torch_trace`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.network.layers import Linear
from neurosim.network.recurrent import GRU, LSTM, RNN, Recurrent
from neurosim.network.torch_layers import numbers

Module = nn.RNNBase | nn.RNNCellBase


@dataclass(frozen=True, eq=False)
class Level:
    """One layer of a recurrent module, or a cell: `suffix` of its parameters' names ("_l0"; "" in a cell)."""

    module: Module
    suffix: str = ""

    def input(self) -> Linear:
        """The weights of its input."""
        return Linear(self._numbers("weight_ih"), self._numbers("bias_ih"))

    def cell(self) -> Recurrent:
        """What comes back from its own last state."""
        weight, bias = self._numbers("weight_hh"), self._numbers("bias_hh")
        if isinstance(self.module, (nn.RNN, nn.RNNCell)):
            return RNN(weight, bias, self.module.nonlinearity)
        return (GRU if isinstance(self.module, (nn.GRU, nn.GRUCell)) else LSTM)(weight, bias)

    def _numbers(self, name: str) -> np.ndarray | None:
        value = getattr(self.module, f"{name}{self.suffix}", None)
        return None if value is None else numbers(value)


def levels(name: str, module: Module) -> dict[str, Level]:
    """The layers of a module by the names that they get: its own if there is one, else `name.0`, `name.1`, ..."""
    if isinstance(module, nn.RNNCellBase):
        return {name: Level(module)}
    count = module.num_layers
    return {name if count == 1 else f"{name}.{k}": Level(module, f"_l{k}") for k in range(count)}


def refuse(module: Module) -> None:
    """Refuse settings without a counterpart."""
    if getattr(module, "bidirectional", False):
        raise NeurosimError("bidirectional=True: its second half runs from the last step to the first",
                            allowed="False", hint="a chip sees the steps as they come")
    if getattr(module, "proj_size", 0):
        raise NeurosimError(f"proj_size is {module.proj_size}", allowed="0",
                            hint="a Linear behind the LSTM projects its output; its state stays whole")
