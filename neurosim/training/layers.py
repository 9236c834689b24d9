"""Populations to train, as torch modules, time first: what `neurosim.network` has under the same names, with gradients.

Each holds the arrays of its network layer under the same names: a parameter where it is learnt, else a buffer; so a
state_dict has all of them, and `to_layer` / `from_layer` lose none. Decays are used as they are within 0 to 1, and
clamped there. Nothing here draws from torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from neurosim import network
from neurosim.engine.learning_forward import SUBTRACT_NOW, SURROGATES, Neurons, Rule, State
from neurosim.engine.neurons import HOLD, RESET_CODES, SUBTRACT, ZERO
from neurosim.errors import NeurosimError
from neurosim.network.layer import Layer
from neurosim.training.integration import integrate
from neurosim.training.recurrence import recurrence
from neurosim.training.surrogates import Surrogate

Value = float | Sequence[float] | np.ndarray | torch.Tensor
_DECAYS = ("alpha", "beta", "beta_adaptation")
_ARCTAN, _TRIANGLE = Surrogate.arctan(), Surrogate.triangle(height=0.3, relative=True)
_RHO_V, _RHO_B = math.exp(-1 / 20), math.exp(-1 / 98)


class Population(nn.Module):
    """What the populations share: their arrays, and where these go."""

    layer: ClassVar[type[Layer]]

    def __init__(self, shape: int | Sequence[int], values: dict[str, Value | None], learn: Sequence[str],
                 dtype: torch.dtype | None) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        unknown = [name for name in learn if name != "recurrent" and values.get(name) is None]
        if unknown:
            raise NeurosimError(f"it cannot learn {unknown}", where=type(self).__name__,
                                allowed=", ".join(name for name, value in values.items() if value is not None))
        for name, value in values.items():
            if value is None:
                self.register_buffer(name, None)
                continue
            tensor = torch.tensor(np.asarray(value), dtype=dtype or torch.get_default_dtype())
            expected = (self.units, self.units) if name == "recurrent" else self.shape
            if tensor.shape != expected and (name == "recurrent" or tensor.numel() != 1):
                raise NeurosimError(f"{name} has shape {list(tensor.shape)}", where=type(self).__name__,
                                    allowed=f"{list(expected)}" + (" or one number" if name != "recurrent" else ""))
            if name in learn:
                setattr(self, name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    @property
    def units(self) -> int:
        """How many neurons."""
        return math.prod(self.shape)

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of the arrays that are learnt."""
        return tuple(name for name in self.layer.parameters if isinstance(getattr(self, name), nn.Parameter))

    def _row(self, name: str) -> torch.Tensor | None:
        """An array as `[neurons]`."""
        value = getattr(self, name)
        if value is None:
            return None
        value = value.clamp(0, 1) if name in _DECAYS else value
        return value.reshape(-1).expand(self.units)

    def _flat(self, current: torch.Tensor) -> torch.Tensor:
        if current.ndim < 3 or current.shape[2:] != self.shape:
            raise NeurosimError(f"the input has shape {list(current.shape)}", where=type(self).__name__,
                                allowed=f"[time, batch, {', '.join(map(str, self.shape))}]", hint="time comes first")
        return current.flatten(2) if current.ndim > 3 else current

    def _settings(self) -> dict[str, object]:
        return {}

    @classmethod
    def from_layer(cls, layer: Layer, shape: int | Sequence[int], **options: object) -> Population:
        """The module of a layer of a `Network`; options are those of the constructor that the layer does not have."""
        return cls(shape, **layer.arrays(), **layer.settings(), **options)

    def to_layer(self) -> Layer:
        """The layer of a `Network` with the values of now."""
        arrays = {name: getattr(self, name) for name in self.layer.parameters}
        return self.layer(**{name: (value.clamp(0, 1) if name in _DECAYS else value).numpy(force=True)
                             for name, value in arrays.items() if value is not None}, **self._settings())

    def extra_repr(self) -> str:
        learns = f", learns {', '.join(self.learns)}" if self.learns else ""
        return ", ".join([*map(str, self.shape), *(f"{k}={v!r}" for k, v in self._settings().items())]) + learns


class SpikingPopulation(Population):
    """What the spiking populations share: a surrogate, a state, one call for all time steps."""

    def __init__(self, shape: int | Sequence[int], values: dict[str, Value | None], learn: Sequence[str],
                 surrogate: Surrogate, attached: bool, seed: int, dtype: torch.dtype | None) -> None:
        recurrent = values["recurrent"]
        if recurrent is True or recurrent is False:
            units = shape if isinstance(shape, int) else math.prod(shape)
            draw = torch.rand(units, units, generator=torch.Generator().manual_seed(seed))
            values["recurrent"] = (2 * draw - 1) / math.sqrt(units) if recurrent else None
        super().__init__(shape, values, learn, dtype)
        self.surrogate, self.attached = surrogate, bool(attached)

    def _rule(self) -> Rule:
        s = self.surrogate
        return Rule(SUBTRACT, self.attached, 0, SURROGATES[s.kind], float(s.slope), float(s.height), s.relative)

    def initial(self, batch: int, like: torch.Tensor) -> State:
        """Nothing charged, nobody fired: tensors `[batch, neurons]`."""
        zeros = like.new_zeros(batch, self.units)
        return State(zeros, zeros if hasattr(self, "alpha") else None, zeros if hasattr(self, "adaptation") else None,
                     zeros, zeros if self._rule().refractory else None)

    def run(self, current: torch.Tensor, state: State | None = None, *, mask: torch.Tensor | None = None,
            weight: torch.Tensor | None = None, bias: torch.Tensor | None = None, readout: torch.Tensor | None = None,
            heard: bool = True) -> tuple[torch.Tensor | None, torch.Tensor | None, State]:
        """Spikes, their product with `readout`, and the last state, from which a later call may go on.

        Parameters
        ----------
        current:
            `[time, batch, *shape]`; or, with weight `[channels, neurons]` and perhaps bias `[neurons]` of the linear
            layer in front, its input `[time, batch, channels]`.
        mask:
            `[neurons]` or `[batch, neurons]`, for dropout: 0, a neuron that is not heard, or another number, the same
            for all, by which the spikes are multiplied that a neuron sends.
        readout:
            `[neurons, classes]` of the linear layer behind.
        heard:
            Whether anyone looks at the spikes themselves; else there are none, which is quicker.
        """
        flat = self._flat(current) if weight is None else current
        names = Neurons._fields[1:]
        rows = {name: self._row(name) for name in names if hasattr(self, name)}
        own = rows.get("bias")
        rows["bias"] = bias if own is None else own if bias is None else own + bias
        recurrent = None if self.recurrent is None else self.recurrent.T
        state = self.initial(flat.shape[1], flat) if state is None else state
        scale, resting = None, state.resting
        if mask is not None:
            resting, scale = with_mask(state, mask)
            recurrent = None if recurrent is None else recurrent * scale
            readout = None if readout is None else readout * scale
        neurons = Neurons(recurrent, *(rows.get(name) for name in names))
        spikes, output, last = recurrence(flat, weight, neurons, state._replace(resting=resting), self._rule(), readout,
                                          heard=heard)
        if mask is not None:
            last = last._replace(resting=None if state.resting is None else last.resting.nan_to_num(posinf=0.0))
            spikes = spikes * scale if heard else None
        return (spikes.unflatten(2, self.shape) if heard and len(self.shape) > 1 else spikes), output, last

    def forward(self, current: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Spikes `[time, batch, *shape]` of a current of that shape, from rest; see `run` for more."""
        return self.run(current, mask=mask)[0]


def with_mask(state: State, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask of zeros and one other number: how long each neuron rests, for ever where it is 0, and that number."""
    scale = mask.max()
    if ((mask != 0) & (mask != scale)).any():
        raise NeurosimError(f"the mask holds numbers from {mask.min():g} to {scale:g}", where="dropout",
                            allowed="0, and one other number")
    resting = torch.zeros_like(state.v) if state.resting is None else state.resting
    return resting.masked_fill(mask == 0, math.inf), scale


class _Resetting(SpikingPopulation):
    """With one of the resets of `neurosim.network.LIF`."""

    def __init__(self, *args: object, reset: str, reset_delay: bool) -> None:
        super().__init__(*args)
        if reset not in RESET_CODES:
            raise NeurosimError(f"reset is {reset!r}", where=type(self).__name__, allowed=", ".join(RESET_CODES))
        self.reset, self.reset_delay = reset, bool(reset_delay)
        if self._rule().reset == HOLD and self.attached:
            raise NeurosimError("a reset that holds has no gradient", where=type(self).__name__,
                                hint="attached=False, or another reset")
        if reset == "hold" and not reset_delay and (self.v_reset > self.threshold).any():
            raise NeurosimError("v_reset lies above the threshold: a neuron that holds there fires for ever",
                                where=type(self).__name__, allowed="v_reset up to the threshold")

    def _rule(self) -> Rule:
        code = RESET_CODES[self.reset]
        if not self.reset_delay:  # to a value: the same spikes as on the step after, before the decay
            code = {SUBTRACT: SUBTRACT_NOW, HOLD: ZERO}.get(code, code)
        return super()._rule()._replace(reset=code)

    def _settings(self) -> dict[str, object]:
        return {"reset": self.reset, "reset_delay": self.reset_delay}


class LIF(_Resetting):
    """Leaky integrate and fire: the equation is that of `neurosim.network.LIF`.

    Parameters
    ----------
    shape:
        Neurons: how many, or several axes as `[channel, height, width]`.
    beta, threshold, gain, bias, v_reset:
        One number, or one for each neuron; beta is the decay per step.
    recurrent:
        `[neuron, from neuron]`; or True: drawn from `seed`, uniform within 1/sqrt(neurons).
    reset:
        "subtract", "zero", "hold" or "none".
    reset_delay:
        Whether a reset acts on the step after the spike, or at once.
    surrogate, attached:
        What stands for the derivative of a spike; and whether a gradient flows through the spike that resets (in
        snnTorch it does not).
    learn:
        The arrays that are parameters; the others are buffers.

    >>> spikes = LIF(3, beta=0.5)(torch.full((4, 1, 3), 0.7))
    >>> spikes.sum(dim=0)
    tensor([[1., 1., 1.]])
    """

    layer = network.LIF

    def __init__(self, shape: int | Sequence[int], *, beta: Value = 0.9, threshold: Value = 1.0, gain: Value = 1.0,
                 bias: Value | None = None, v_reset: Value = 0.0, recurrent: Value | bool | None = None,
                 reset: str = "subtract", reset_delay: bool = True, surrogate: Surrogate = _ARCTAN,
                 attached: bool = False, learn: Sequence[str] = ("recurrent",), seed: int = 0,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__(shape, {"beta": beta, "threshold": threshold, "gain": gain, "bias": bias, "v_reset": v_reset,
                                 "recurrent": recurrent}, learn, surrogate, attached, seed, dtype, reset=reset,
                         reset_delay=reset_delay)


class CubaLIF(_Resetting):
    """Current-based LIF: the equation is that of `neurosim.network.CubaLIF`.

    alpha: decay of the synaptic current; leak: constant drive of the membrane. The others are those of `LIF`.
    """

    layer = network.CubaLIF

    def __init__(self, shape: int | Sequence[int], *, alpha: Value = 0.8, beta: Value = 0.9, threshold: Value = 1.0,
                 gain_syn: Value = 1.0, gain: Value = 1.0, bias: Value | None = None, leak: Value | None = None,
                 v_reset: Value = 0.0, recurrent: Value | bool | None = None, reset: str = "subtract",
                 reset_delay: bool = True, surrogate: Surrogate = _ARCTAN, attached: bool = False,
                 learn: Sequence[str] = ("recurrent",), seed: int = 0, dtype: torch.dtype | None = None) -> None:
        super().__init__(shape, {"alpha": alpha, "beta": beta, "threshold": threshold, "gain_syn": gain_syn,
                                 "gain": gain, "bias": bias, "leak": leak, "v_reset": v_reset, "recurrent": recurrent},
                         learn, surrogate, attached, seed, dtype, reset=reset, reset_delay=reset_delay)


class AdaptiveLIF(SpikingPopulation):
    """LIF with an adaptive threshold and a refractory period: the equation is that of `neurosim.network.AdaptiveLIF`.

    beta_adaptation: decay of the adaptation; adaptation: how far it raises the threshold; refractory: after a spike,
    the steps until the next may come. The other parameters are those of `LIF`; the defaults are the numbers and the
    surrogate of the LSNN in Buechel, Faber and Muir, ICLR 2022.
    """

    layer = network.AdaptiveLIF

    def __init__(self, shape: int | Sequence[int], *, beta: Value = _RHO_V,
                 beta_adaptation: Value = _RHO_B, threshold: Value = 0.01, adaptation: Value = 2.0,
                 gain: Value = 1 - _RHO_V, bias: Value | None = None,
                 recurrent: Value | bool | None = None, refractory: int = 2,
                 surrogate: Surrogate = _TRIANGLE, attached: bool = True,
                 learn: Sequence[str] = ("recurrent",), seed: int = 0, dtype: torch.dtype | None = None) -> None:
        super().__init__(shape, {"beta": beta, "beta_adaptation": beta_adaptation, "threshold": threshold,
                                 "adaptation": adaptation, "gain": gain, "bias": bias, "recurrent": recurrent}, learn,
                         surrogate, attached, seed, dtype)
        self.refractory = int(refractory)

    def _rule(self) -> Rule:
        return super()._rule()._replace(refractory=self.refractory)

    def _settings(self) -> dict[str, object]:
        return {"refractory": self.refractory}


class LeakyIntegrator(Population):
    """Readout that does not spike: the equation is that of `neurosim.network.LeakyIntegrator`; its output is v."""

    layer = network.LeakyIntegrator

    def __init__(self, shape: int | Sequence[int], *, beta: Value = 0.9, gain: Value = 1.0, bias: Value | None = None,
                 learn: Sequence[str] = (), dtype: torch.dtype | None = None) -> None:
        super().__init__(shape, {"beta": beta, "gain": gain, "bias": bias}, learn, dtype)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """v `[time, batch, *shape]`, from v = 0."""
        flat = self._flat(current)
        bias = self._row("bias")
        flat = flat if bias is None else bias + flat
        v = integrate(flat, self._row("beta"), self._row("gain"), flat.new_zeros(flat.shape[1:]))
        return v.unflatten(2, self.shape) if len(self.shape) > 1 else v
