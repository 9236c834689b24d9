"""A weight that knows how it is read: it stands in a module in the place of its own, and the module runs as it is.

Wherever the module multiplies by it (a linear layer, a convolution, ``x @ w``, torch's recurrent modules and cells)
the product is a read of the array's tiles (`reading`). A module is called with the signals of one step, or of all;
recurrent modules of torch are run step by step, by their own equations. What is no product (the square of a weight,
say) no chip does: it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import conv2d, linear, unfold

from neurosim.errors import NeurosimError
from neurosim.training.reading import Reading


@dataclass(frozen=True, eq=False)
class Front:
    """A normalisation ``z = scale (x - mean) + shift`` in front of a product, which the chip has in its array: the
    array reads x where the module multiplies by z. All `[in]`, but constant, of the product, `[out]`."""

    scale: torch.Tensor
    mean: torch.Tensor
    shift: torch.Tensor
    constant: torch.Tensor


@dataclass(frozen=True, eq=False)
class Use:
    """How a module holds a weight: transposed, times a number, with a normalisation in front, or one behind, whose
    scale `[out]` the array has and the module multiplies by itself."""

    reading: Reading
    batch: int
    transposed: bool = False
    factor: torch.Tensor | float = 1.0
    front: Front | None = None
    behind: torch.Tensor | None = None

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """The product of the weight and inputs `[sample, in]` of a step, or `[step, sample, in]`."""
        lead, every = x.shape[:-1], (self.reading.steps, self.batch)
        if lead == every[::-1] and lead != every:
            return self.of(x.transpose(0, 1)).transpose(0, 1)
        return self.over_positions(x.reshape(-1, 1, x.shape[-1])).reshape(*lead, self.reading.outputs)

    def over_positions(self, x: torch.Tensor) -> torch.Tensor:
        """The same for inputs `[sample, position, in]` of a step, or `[step * sample, position, in]` of all."""
        steps = len(x) // self.batch
        if len(x) % self.batch or steps not in (1, self.reading.steps):
            raise NeurosimError(f"it is given {len(x)} signals", where=f"array {self.reading.name}",
                                allowed=f"those of {self.batch} samples, for one step or for all {self.reading.steps}")
        found = self._read(x.unflatten(0, (steps, self.batch))) * self.factor
        return found.flatten(0, 1)

    def _read(self, x: torch.Tensor) -> torch.Tensor:
        if self.front is not None:
            front = self.front
            return self.reading.read((x - front.shift) / front.scale + front.mean) + front.constant
        found = self.reading.read(x)
        return found if self.behind is None else found / self.behind


class ReadWeight(torch.Tensor):
    """See above. Its numbers are those that the array stands for, and are used by nobody."""

    use: Use

    @staticmethod
    def of(value: torch.Tensor, use: Use) -> ReadWeight:
        """A tensor of a module with how it is read."""
        with torch._C.DisableTorchFunctionSubclass():
            made = value.detach().as_subclass(ReadWeight)
        made.use = use
        return made

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        if func in _KNOWN:
            return _KNOWN[func](*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*map(_plain, args), **(kwargs or {}))
        numbers = found if isinstance(found, (tuple, list)) else (found,)
        if func not in _LIKE and any(isinstance(one, torch.Tensor) for one in numbers):
            _refuse(next(arg for arg in args if isinstance(arg, ReadWeight)), func)
        return found


def _plain(value: object) -> object:
    return value.as_subclass(torch.Tensor) if isinstance(value, ReadWeight) else value


def _refuse(weight: ReadWeight, func: Callable) -> None:
    raise NeurosimError(f"the module has it in {getattr(func, '__name__', func)}",
                        where=f"array {weight.use.reading.name}", hint="train without reads=True",
                        allowed="a product with signals, at most once a step")


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    if not isinstance(weight, ReadWeight):
        return linear(x, weight, bias)
    if weight.use.transposed or isinstance(x, ReadWeight):
        _refuse(weight, linear)
    found = weight.use.of(x)
    return found if bias is None else found + bias


def _matmul(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if isinstance(x, ReadWeight) or not weight.use.transposed:
        _refuse(x if isinstance(x, ReadWeight) else weight, torch.matmul)
    return weight.use.of(x)


def _conv2d(x: torch.Tensor, weight: ReadWeight, bias: torch.Tensor | None = None, stride: int | tuple = 1,
            padding: int | tuple = 0, dilation: int | tuple = 1, groups: int = 1) -> torch.Tensor:
    """A read for each position of the kernel."""
    if groups != 1 or isinstance(padding, str):
        _refuse(weight, conv2d)
    pairs = [(value, value) if isinstance(value, int) else tuple(value) * (2 // len(value))
             for value in (stride, padding, dilation)]
    kernel = tuple(weight.shape[2:])
    patches = unfold(x, kernel, dilation=pairs[2], padding=pairs[1], stride=pairs[0]).transpose(1, 2)
    height, width = (1 + (size + 2 * pad - spread * (side - 1) - 1) // step for size, side, step, pad, spread in zip(
        x.shape[2:], kernel, *pairs, strict=True))
    found = weight.use.over_positions(patches).transpose(1, 2).unflatten(2, (height, width))
    return found if bias is None else found + bias[:, None, None]


def _turned(weight: ReadWeight) -> ReadWeight:
    with torch._C.DisableTorchFunctionSubclass():
        value = weight.as_subclass(torch.Tensor).T
    return ReadWeight.of(value, replace(weight.use, transposed=not weight.use.transposed))


def _times(weight: torch.Tensor, other: torch.Tensor | float) -> ReadWeight:
    """By one number, or by a mask that leaves all in its place."""
    if not isinstance(weight, ReadWeight):
        weight, other = other, weight
    if isinstance(other, torch.Tensor) and other.numel() > 1:
        if isinstance(other, ReadWeight) or not bool((other == 1).all()):
            _refuse(weight, torch.mul)
        return weight
    return ReadWeight.of(_plain(weight), replace(weight.use, factor=weight.use.factor * other))


def _rnn(relu: bool) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    def step(drive: torch.Tensor, product: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (torch.relu(drive + product) if relu else torch.tanh(drive + product),)
    return step


def _gru(drive: torch.Tensor, product: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    reset, update = torch.sigmoid(drive + product).chunk(3, dim=-1)[:2]
    new = torch.tanh(drive.chunk(3, dim=-1)[2] + reset * product.chunk(3, dim=-1)[2])
    return (new + update * (state[0] - new),)


def _lstm(drive: torch.Tensor, product: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    into, forget, new, out = (drive + product).chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def _over_time(step: Callable) -> Callable:
    """torch's recurrent function (`torch.gru` and so on), with products that may be reads."""
    def run(x: torch.Tensor, state: torch.Tensor | tuple[torch.Tensor, ...], weights: list[torch.Tensor], biases: bool,
            layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool) -> tuple:
        if bidirectional or (dropout and train) or len(weights) != layers * (4 if biases else 2):
            _refuse(next(weight for weight in weights if isinstance(weight, ReadWeight)), torch.lstm)
        x = x.transpose(0, 1) if batch_first else x
        states = [state] if isinstance(state, torch.Tensor) else list(state)
        last = []
        for layer in range(layers):
            into, within, *bias = weights[layer * len(weights) // layers:(layer + 1) * len(weights) // layers]
            now, out = tuple(one[layer] for one in states), []
            for drive in _linear(x, into, bias[0] if bias else None).unbind(0):
                now = step(drive, _linear(now[0], within, bias[1] if bias else None), now)
                out.append(now[0])
            x = torch.stack(out)
            last.append(now)
        return (x.transpose(0, 1) if batch_first else x, *map(torch.stack, zip(*last, strict=True)))
    return run


def _cell(step: Callable) -> Callable:
    """torch's cell function (`torch.gru_cell` and so on)."""
    def run(x: torch.Tensor, state: torch.Tensor | tuple[torch.Tensor, ...], into: torch.Tensor, within: torch.Tensor,
            bias_in: torch.Tensor | None = None, bias_within: torch.Tensor | None = None) -> object:
        now = (state,) if isinstance(state, torch.Tensor) else tuple(state)
        found = step(_linear(x, into, bias_in), _linear(now[0], within, bias_within), now)
        return found[0] if len(found) == 1 else found
    return run


_TENSOR = torch.Tensor
_KNOWN = {
    linear: _linear, conv2d: _conv2d, torch.conv2d: _conv2d,
    **dict.fromkeys((torch.matmul, torch.mm, _TENSOR.matmul, _TENSOR.mm, _TENSOR.__matmul__), _matmul),
    **dict.fromkeys((_TENSOR.T.__get__, _TENSOR.t, torch.t), _turned),
    **dict.fromkeys((torch.mul, _TENSOR.mul, _TENSOR.__mul__, _TENSOR.__rmul__), _times),
    torch.rnn_tanh: _over_time(_rnn(False)), torch.rnn_relu: _over_time(_rnn(True)), torch.gru: _over_time(_gru),
    torch.lstm: _over_time(_lstm), torch.rnn_tanh_cell: _cell(_rnn(False)), torch.rnn_relu_cell: _cell(_rnn(True)),
    torch.gru_cell: _cell(_gru), torch.lstm_cell: _cell(_lstm),
}
#: give a tensor of the same kind, not of the same numbers
_LIKE = {_TENSOR.data.__get__, _TENSOR.new_zeros, _TENSOR.new_ones, _TENSOR.new_full, _TENSOR.new_empty, _TENSOR.to}
