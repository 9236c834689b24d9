"""The layers a network is made of: frozen parameters and the equation each one stands for.

What never enters here: how a layer is run (`engine`), where it lies on a chip (`mapping`),
torch. Signals are `[time, batch, *shape]`; a layer maps `shape` to `output_shape(shape)`.

Conventions that other tools leave unsaid, and that `repr` of a population shows: the threshold
is strict (a spike needs ``v > threshold``); `reset_delay=True` means that the reset of a spike
at step t acts at step t+1; decay factors are per step of the network's `dt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network.circuit_layers import DPINeuron
from neurosim.network.layer import Layer, Population, Shape, checked_array
from neurosim.network.recurrent import GRU, LSTM, RNN


def _pair(value: int | tuple[int, int], what: str, least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(pair) != 2 or any(int(v) != v or v < least for v in pair):
        raise NeurosimError(f"{what} is {value!r}", allowed=f"an integer or a pair, each >= {least}")
    return int(pair[0]), int(pair[1])


@dataclass(frozen=True, repr=False, eq=False)
class Linear(Layer):
    """``y = x W^T + b``. weight `[out, in]`, bias `[out]` or None."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    parameters: ClassVar = ("weight", "bias")

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", checked_array(self.weight, "weight", 2))
        if self.bias is not None:
            object.__setattr__(self, "bias", checked_array(self.bias, "bias", 1))
            if self.bias.shape != self.weight.shape[:1]:
                raise NeurosimError(f"bias {self.bias.shape} does not fit weight {self.weight.shape}")

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (self.weight.shape[1],):
            raise NeurosimError(f"Linear takes {self.weight.shape[1]} inputs, gets shape {shape}",
                                hint="put a Flatten before it" if len(shape) > 1 else "")
        return (self.weight.shape[0],)


@dataclass(frozen=True, repr=False, eq=False)
class Conv2d(Layer):
    """Cross-correlation over `[channel, height, width]`.

    weight `[out, in, kernel_height, kernel_width]`, bias `[out]` or None;
    padding `((top, bottom), (left, right))`, or one integer, or a pair (height, width), of zeros.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    parameters: ClassVar = ("weight", "bias")

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", checked_array(self.weight, "weight", 4))
        if self.bias is not None:
            object.__setattr__(self, "bias", checked_array(self.bias, "bias", 1))
            if self.bias.shape != self.weight.shape[:1]:
                raise NeurosimError(f"bias {self.bias.shape} does not fit weight {self.weight.shape}")
        object.__setattr__(self, "stride", _pair(self.stride, "stride", 1))
        object.__setattr__(self, "dilation", _pair(self.dilation, "dilation", 1))
        pad = self.padding
        if isinstance(pad, (int, np.integer)) or all(isinstance(p, (int, np.integer)) for p in pad):
            rows, columns = _pair(pad, "padding", 0)
            pad = ((rows, rows), (columns, columns))
        object.__setattr__(self, "padding", tuple(_pair(tuple(p), "padding", 0) for p in pad))

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3 or shape[0] != self.weight.shape[1]:
            raise NeurosimError(f"Conv2d takes [{self.weight.shape[1]}, height, width], gets shape {shape}")
        sizes = [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in
                 zip(shape[1:], self.padding, self.dilation, self.weight.shape[2:], self.stride, strict=True)]
        if min(sizes) < 1:
            raise NeurosimError(f"the kernel {self.weight.shape[2:]} is larger than its padded input {shape}")
        return (self.weight.shape[0], *sizes)


@dataclass(frozen=True, repr=False, eq=False)
class _Pool2d(Layer):
    kernel: tuple[int, int]
    stride: tuple[int, int] | None = None
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", _pair(self.kernel, "kernel", 1))
        object.__setattr__(self, "stride", _pair(self.stride or self.kernel, "stride", 1))
        object.__setattr__(self, "padding", _pair(self.padding, "padding", 0))
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise NeurosimError(f"padding {self.padding} of a pool", allowed=f"half its kernel {self.kernel} at most")

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise NeurosimError(f"{type(self).__name__} takes [channel, height, width], gets shape {shape}")
        sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in
                 zip(shape[1:], self.padding, self.kernel, self.stride, strict=True)]
        if min(sizes) < 1:
            raise NeurosimError(f"the pool {self.kernel} is larger than its input {shape}")
        return (shape[0], *sizes)


class AvgPool2d(_Pool2d):
    """Mean over windows; padded zeros count (as in torch's default)."""


class MaxPool2d(_Pool2d):
    """Maximum over windows."""


@dataclass(frozen=True, repr=False, eq=False)
class Flatten(Layer):
    """`[channel, height, width]` to one axis, row-major."""

    def output_shape(self, shape: Shape) -> Shape:
        return (int(np.prod(shape)),)


@dataclass(frozen=True, repr=False, eq=False)
class ReLU(Layer):
    """``y = max(x, 0)``."""


@dataclass(frozen=True, repr=False, eq=False)
class Tanh(Layer):
    """``y = tanh(x)``."""


@dataclass(frozen=True, repr=False, eq=False)
class Sigmoid(Layer):
    """``y = 1 / (1 + exp(-x))``."""


@dataclass(frozen=True, repr=False, eq=False)
class BatchNorm(Layer):
    """``y = scale (x - mean) / sqrt(variance + eps) + shift`` for each channel, with fixed statistics.

    All `[channel]`, the first axis of the input's shape. Digital: the same on every die, until a calibration puts the
    statistics of the deployed die in the place of `mean` and `variance`. `Network.folded` puts it into the layer next
    to it. Source: Ioffe and Szegedy, ICML 2015.
    """

    mean: np.ndarray
    variance: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    eps: float = 1e-5
    parameters: ClassVar = ("mean", "variance", "scale", "shift")
    source: ClassVar = ("Ioffe and Szegedy, Batch normalization: accelerating deep network training by reducing "
                        "internal covariate shift, ICML 2015")

    def __post_init__(self) -> None:
        for name in self.parameters:
            object.__setattr__(self, name, checked_array(getattr(self, name), name, 1))
        shapes = {name: value.shape for name, value in self.arrays().items()}
        if len(set(shapes.values())) > 1:
            raise NeurosimError(f"the shapes differ: {shapes}", allowed="[channel] for all")
        object.__setattr__(self, "eps", float(self.eps))
        if not (self.variance >= 0).all() or not self.eps >= 0 or not (self.variance + self.eps > 0).all():
            raise NeurosimError(f"variance reaches down to {self.variance.min():g}, eps is {self.eps:g}",
                                allowed="at least 0, and not both 0")

    def output_shape(self, shape: Shape) -> Shape:
        if shape[:1] != self.mean.shape:
            raise NeurosimError(f"BatchNorm of {self.mean.size} channels gets shape {shape}")
        return shape

    def as_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """``y = factor x + shift`` for each channel, in float64."""
        factor = self.scale / np.sqrt(np.float64(self.variance) + self.eps)
        return factor, self.shift - factor * self.mean

    def after(self, layer: Linear | Conv2d) -> Linear | Conv2d:
        """A layer with weights and this one behind it, as one layer."""
        factor, shift = self.as_factors()
        weight = layer.weight * factor.reshape(-1, *(1,) * (layer.weight.ndim - 1))
        bias = factor * (0.0 if layer.bias is None else layer.bias) + shift
        return type(layer)(**{**layer.settings(), "weight": weight, "bias": bias})

    def before(self, layer: Linear | Conv2d) -> Linear | Conv2d:
        """This layer and one with weights behind it, that adds no zeros around its input, as one layer."""
        factor, shift = self.as_factors()
        per_channel = layer.weight.reshape(*layer.weight.shape[:2], -1).sum(axis=2, dtype=np.float64)
        bias = per_channel @ shift + (0.0 if layer.bias is None else layer.bias)
        weight = layer.weight * factor.reshape(-1, *(1,) * (layer.weight.ndim - 2))
        return type(layer)(**{**layer.settings(), "weight": weight, "bias": bias})


@dataclass(frozen=True, repr=False, eq=False)
class Sum(Layer):
    """The sum of several inputs of one shape: a residual connection."""


@dataclass(frozen=True, repr=False, eq=False)
class LIF(Population):
    """Leaky integrate and fire, one decay.

    ``v_t = beta v_{t-1} + gain (x_t + recurrent s_{t-1} + bias) - reset``;  ``s_t = [v_t > threshold]``

    With r = [v_{t-1} > threshold] (for `reset_delay=True`; else the reset acts on v_t itself):

    ========  ==============================================================================
    subtract  ``- r threshold``
    zero      v_{t-1} is replaced by v_reset before it decays; the step's input is kept
    hold      v_t is v_reset; the step's input is lost (snnTorch's Synaptic, RLeaky, RSynaptic)
    none      no reset
    ========  ==============================================================================

    beta, threshold, gain, bias, v_reset: scalar or the population's shape;
    recurrent `[neuron, from neuron]` or None. The start is v = 0, no spikes.
    Source: the discrete LIF of Eshraghian et al., Proc. IEEE 111(9), 2023, with snnTorch's resets.
    """

    beta: np.ndarray
    threshold: np.ndarray = 1.0
    gain: np.ndarray = 1.0
    bias: np.ndarray | None = None
    v_reset: np.ndarray = 0.0
    recurrent: np.ndarray | None = None
    reset: str = "subtract"
    reset_delay: bool = True
    parameters: ClassVar = ("beta", "threshold", "gain", "bias", "v_reset", "recurrent")
    source: ClassVar = ("Eshraghian et al., Training spiking neural networks using lessons from deep learning, "
                        "Proc. IEEE 111, 1016 (2023)")

    def __post_init__(self) -> None:
        self._check(reset=True)


@dataclass(frozen=True, repr=False, eq=False)
class CubaLIF(Population):
    """Current-based LIF: a synaptic current, then the membrane; resets as in `LIF`.

    ``i_t = alpha i_{t-1} + gain_syn (x_t + recurrent s_{t-1} + bias)``;
    ``v_t = beta v_{t-1} + gain i_t + leak - reset``

    alpha: synaptic decay per step; leak: constant drive of the membrane. The reset leaves i alone.
    """

    alpha: np.ndarray
    beta: np.ndarray
    threshold: np.ndarray = 1.0
    gain_syn: np.ndarray = 1.0
    gain: np.ndarray = 1.0
    bias: np.ndarray | None = None
    leak: np.ndarray | None = None
    v_reset: np.ndarray = 0.0
    recurrent: np.ndarray | None = None
    reset: str = "subtract"
    reset_delay: bool = True
    parameters: ClassVar = ("alpha", "beta", "threshold", "gain_syn", "gain", "bias", "leak", "v_reset", "recurrent")
    source: ClassVar = LIF.source

    def __post_init__(self) -> None:
        self._check(reset=True)


@dataclass(frozen=True, repr=False, eq=False)
class AdaptiveLIF(Population):
    """LIF with an adaptive threshold and a refractory period (the LSNN neuron).

    ``a_t = beta_adaptation a_{t-1} + (1 - beta_adaptation) s_{t-1}``;  ``B_t = threshold + adaptation a_t``;
    ``v_t = beta v_{t-1} + gain (x_t + recurrent s_{t-1} + bias) - s_{t-1} B_t``;
    ``s_t = [v_t > B_t]`` unless the neuron fired within the last `refractory - 1` steps.

    Source: Bellec et al., NeurIPS 2018; refractory rule and order of operations as used by
    Buechel, Faber, Muir, ICLR 2022 (there threshold 0.01, adaptation 2, refractory 2).
    """

    beta: np.ndarray
    beta_adaptation: np.ndarray
    threshold: np.ndarray
    adaptation: np.ndarray
    gain: np.ndarray = 1.0
    bias: np.ndarray | None = None
    recurrent: np.ndarray | None = None
    refractory: int = 0
    parameters: ClassVar = ("beta", "beta_adaptation", "threshold", "adaptation", "gain", "bias", "recurrent")
    source: ClassVar = ("Bellec et al., Long short-term memory and learning-to-learn in networks of spiking neurons, "
                        "NeurIPS 2018")

    def __post_init__(self) -> None:
        self._check(reset=False)
        if int(self.refractory) != self.refractory or self.refractory < 0:
            raise NeurosimError(f"refractory is {self.refractory!r}", allowed="0 or more whole steps")
        object.__setattr__(self, "refractory", int(self.refractory))


@dataclass(frozen=True, repr=False, eq=False)
class LeakyIntegrator(Population):
    """Readout that does not spike: ``v_t = beta v_{t-1} + gain (x_t + bias)``; its output is v."""

    beta: np.ndarray
    gain: np.ndarray = 1.0
    bias: np.ndarray | None = None
    parameters: ClassVar = ("beta", "gain", "bias")

    def __post_init__(self) -> None:
        self._check(reset=False)


#: every layer by the name it has in files
LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (Linear, Conv2d, AvgPool2d, MaxPool2d, Flatten, ReLU, Tanh, Sigmoid, BatchNorm, Sum, LIF, CubaLIF,
                AdaptiveLIF, LeakyIntegrator, DPINeuron, RNN, GRU, LSTM)
}
SPIKING = (LIF, CubaLIF, AdaptiveLIF, DPINeuron)
