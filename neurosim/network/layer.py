"""What all layers share: named array parameters and a shape rule; and what all populations share."""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar

import numpy as np

from neurosim.errors import NeurosimError

Shape = tuple[int, ...]
RESETS = ("subtract", "zero", "hold", "none")


def checked_array(value: object, what: str, ndim: int | None = None) -> np.ndarray:
    """`value` as a read-only float array (float64 unless it is float32 already), all finite."""
    value = value.detach().cpu() if hasattr(value, "detach") else value  # a tensor of torch, perhaps a parameter
    try:
        array = np.asarray(value)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64, casting="unsafe" if array.dtype.kind == "O" else "same_kind")
    except (TypeError, ValueError) as error:
        raise NeurosimError(f"{what} is a {type(value).__name__}", allowed="an array of real numbers") from error
    array = np.ascontiguousarray(array) if array.ndim else array
    if ndim is not None and array.ndim != ndim:
        raise NeurosimError(f"{what} has {array.ndim} dimensions, shape {array.shape}", allowed=f"{ndim}")
    if not np.isfinite(array).all():
        raise NeurosimError(f"{what} holds NaN or infinity")
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


class Layer:
    """What all layers share: named array parameters, and a shape rule."""

    #: array fields, in the order in which their random numbers are keyed
    parameters: ClassVar[tuple[str, ...]] = ()
    #: the paper behind the model, where there is one
    source: ClassVar[str] = ""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def arrays(self) -> dict[str, np.ndarray]:
        """The array parameters that this layer has, by name."""
        named = {name: getattr(self, name) for name in self.parameters}
        return {name: value for name, value in named.items() if value is not None}

    def settings(self) -> dict[str, object]:
        """The fields that are not arrays, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.parameters}

    def __repr__(self) -> str:
        parts = [f"{k}={list(v.shape) if v.size > 1 else float(v.reshape(-1)[0])}" for k, v in self.arrays().items()]
        parts += [f"{k}={v!r}" for k, v in self.settings().items()]
        return f"{type(self).__name__}({', '.join(parts)})"


class Population(Layer):
    """Neurons: state per neuron, one step per `dt`. Parameters are scalars or of the population's shape."""

    recurrent: np.ndarray | None = None

    def _check(self, reset: bool) -> None:
        for name in self.parameters:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked_array(value, name, 2 if name == "recurrent" else None))
        for name in ("alpha", "beta", "beta_adaptation"):
            value = getattr(self, name, None)
            if value is not None and not ((value >= 0) & (value <= 1)).all():
                raise NeurosimError(f"decay {name} reaches from {value.min():g} to {value.max():g}",
                                    allowed="0 to 1, per step", hint="a time constant tau becomes exp(-dt/tau)")
        if reset and self.reset not in RESETS:
            raise NeurosimError(f"reset is {self.reset!r}", allowed=", ".join(RESETS))
        if reset:  # plain values: they are part of the network's hash
            object.__setattr__(self, "reset", str(self.reset))
            object.__setattr__(self, "reset_delay", bool(self.reset_delay))
        if self.recurrent is not None and self.recurrent.shape[0] != self.recurrent.shape[1]:
            raise NeurosimError(f"recurrent weight has shape {self.recurrent.shape}", allowed="[neurons, neurons]")

    def output_shape(self, shape: Shape) -> Shape:
        for name, value in self.arrays().items():
            if name == "recurrent":
                if shape != (value.shape[0],):
                    raise NeurosimError(f"a recurrent population of {value.shape[0]} neurons gets shape {shape}")
            elif value.size > 1 and value.shape != shape:
                raise NeurosimError(f"{name} has shape {value.shape}, its population {shape}")
        return shape
