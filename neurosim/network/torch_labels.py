"""What a tensor of a running torch module stands for: "the spikes of lif1 at step 3", "conv2 of the input at step 0".

Expressions say how a signal is made out of the input and of populations; labels are stuck to tensors. How operations
change labels never enters here (`torch_signals`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class Source:
    """The input, or the spikes of a population, at step `at`; None: the same at all steps.

    In a canonical expression `at` is the delay instead: how many steps before now.
    """

    name: str
    at: int | None

    @property
    def time(self) -> int | None:
        return self.at

    @property
    def since(self) -> int | None:
        return self.at


@dataclass(frozen=True, eq=False)
class Zero:
    """A tensor of zeros: the spikes before the first step."""

    time: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class View:
    """The shape of a signal changed from `before` to `after`, its values in one order; without the batch."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Apply:
    """A leaf without state, a `View` or `SUM`, on other expressions. `time`: the latest step in it, `since`: the
    earliest."""

    name: str
    part: nn.Module | View | str
    args: tuple[Expr, ...]
    time: int | None
    since: int | None


Expr = Source | Zero | Apply
SUM = "sum"


@dataclass(frozen=True)
class Signal:
    """One step of a signal, `[batch, *shape]`."""

    expr: Expr


@dataclass(frozen=True)
class State:
    """The state `slot` ("mem", "syn", "cell") of a neuron or cell after step `at`."""

    name: str
    slot: str
    at: int


Item = Signal | State


@dataclass(frozen=True)
class Series:
    """Several steps in one tensor, along `axis`."""

    items: tuple[Item, ...]
    axis: int


@dataclass(frozen=True)
class Merged:
    """A series whose batch and time (at `axis`, 0 or 1) have become one dimension, the first: as if more samples."""

    items: tuple[Item, ...]
    axis: int


@dataclass(frozen=True)
class Final(Series):
    """The states after the last step that an RNN, GRU or LSTM returns, one item for each of its layers."""


@dataclass(frozen=True)
class Total:
    """Steps reduced by `rule` ("sum", "max"), times `scale`."""

    items: tuple[Item, ...]
    rule: str
    scale: float = 1.0

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean over time."""
        return self.rule == "sum" and math.isclose(self.scale * len(self.items), 1, rel_tol=1e-12)


@dataclass(frozen=True)
class Foreign:
    """Comes out of an operation that has no counterpart; `producer` gave that operation its input."""

    op: str
    producer: str

    def hint(self, otherwise: str) -> str:
        """What to do instead."""
        if "softmax" in self.op.lower():
            return ("a softmax is left out only where the module ends in it, over the classes of one step or of a "
                    "total over time; elsewhere, take it out")
        if self.op == ENDS:
            return "index them: h_n[-1] is the last layer's"
        if self.op.startswith(RECURRENCE):
            return ("a recurrence that does not spike is an RNN, GRU or LSTM, or in a loop an RNNCell, GRUCell or "
                    "LSTMCell")
        return otherwise


@dataclass(frozen=True)
class Softmax:
    """The softmax (`log`: its logarithm) over the classes of `inner`: as the output it decides as its input does."""

    op: str
    inner: Signal | Final | Total
    log: bool


RECURRENCE = "recurrence through "
ENDS = "last states of all layers"
#: states in words
SLOTS = {"mem": "membrane", "syn": "synaptic current", "spk": "spikes", "hidden": "state", "cell": "cell state"}
Label = Signal | State | Series | Merged | Total | Softmax | Foreign


def label_of(tensor: object) -> Label | None:
    return getattr(tensor, "_neurosim_label", None)


def put_label(tensor: torch.Tensor, label: Label | None) -> None:
    tensor._neurosim_label = label


def describe(label: Label | Expr | None) -> str:
    """In words, for messages."""
    if isinstance(label, Signal):
        return describe(label.expr)
    if isinstance(label, (Series, Merged, Total)):
        return describe(label.items[0]) if label.items else "nothing"
    if isinstance(label, State):
        return f"the {SLOTS[label.slot]} of {label.name}"
    if isinstance(label, Softmax):
        return f"{label.op} of {describe(label.inner)}"
    if isinstance(label, Foreign):
        return f"{label.op} of {label.producer}"
    if isinstance(label, Apply):
        return f"{label.name} of {' and '.join(map(describe, label.args))}" if label.part is SUM else label.name
    if isinstance(label, Source):
        return "the input" if label.name == "input" else label.name
    return "zeros"


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from tensors_in(one)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def has_state(label: Label) -> bool:
    return isinstance(label, Series) and any(isinstance(item, State) for item in label.items)


def from_input(label: Label | Expr | None) -> bool:
    """Whether nothing but the input is in it: no population."""
    if isinstance(label, Signal):
        return from_input(label.expr)
    if isinstance(label, (Series, Merged, Total)):
        return all(map(from_input, label.items))
    if isinstance(label, Apply):
        return all(map(from_input, label.args))
    return isinstance(label, Source) and label.name == "input"


def each_dim(index: object, ndim: int) -> list[int | slice] | None:
    """An index as one integer or slice for each dimension; None where it is more than that."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if sum(part is Ellipsis for part in parts) > 1 or not all(
            part is Ellipsis or isinstance(part, slice) or (isinstance(part, (int, np.integer))
                                                            and not isinstance(part, bool)) for part in parts):
        return None
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    left, right = parts[:at], parts[at + 1:]
    return [*left, *[slice(None)] * (ndim - len(left) - len(right)), *right]
