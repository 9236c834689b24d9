"""Follows a torch module while it runs: what every operation does to the labels of its tensors.

Leaves (`torch_run`) put labels on what they give; the `Tracer` carries them through the glue between leaves. What it
does not understand becomes `Foreign` and is refused only if it reaches a leaf or the output: a loss computed on the
side does no harm. What never enters here: neurosim's layers, the verdict on the whole graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from neurosim.errors import NeurosimError
from neurosim.network.torch_expressions import Expressions
from neurosim.network.torch_labels import (
    RECURRENCE,
    SUM,
    Apply,
    Expr,
    Final,
    Foreign,
    Item,
    Label,
    Merged,
    Series,
    Signal,
    Softmax,
    State,
    Total,
    View,
    Zero,
    describe,
    each_dim,
    from_input,
    has_state,
    label_of,
    put_label,
    tensors_in,
)
from neurosim.network.torch_layers import ELEMENTWISE, RANKS, equal, module_for

_CASTS = {"float", "double", "half", "bfloat16", "to", "type", "type_as", "cpu", "cuda"}
_SAME = {"clone", "detach", "detach_", "contiguous", "data", "requires_grad_", "alias", "positive", "identity"}
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
_VIEWS = {"flatten", "view", "reshape", "unsqueeze", "squeeze", "unflatten", "view_as", "reshape_as"}
_SWAPS = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
_IN_PLACE_ADDS = {"add_", "__iadd__"}
_ADDS = {"add", "__add__", "__radd__", *_IN_PLACE_ADDS}
_SCALES = {"mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide"}
_TOTALS = {"sum": "sum", "mean": "sum", "max": "max", "amax": "max"}
_SHAPE_ONLY = {"zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
               "new_ones", "new_empty", "new_full", "new_tensor"}
#: what gives a number that does not depend on values; attributes and `is_...` (but for `is_nonzero`) do so as well
_ABOUT = {"size", "dim", "ndimension", "numel", "nelement", "__len__", "stride", "storage_offset", "element_size",
          "get_device", "data_ptr", "__hash__"}
_LAYERS = {*ELEMENTWISE, *(f"{name}_" for name in ELEMENTWISE), "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
           "linear"}


def _op_name(func: object) -> str:
    name = getattr(func, "__name__", repr(func))
    return getattr(func.__self__, "__name__", name) if name in ("__get__", "__set__") else name


def _decides(func: object, out: object) -> bool:
    """Whether values of tensors have become a number, on which the forward may decide something."""
    name, attribute = _op_name(func), getattr(func, "__name__", "") == "__get__"
    about = attribute or name in _ABOUT or (name.startswith("is_") and name != "is_nonzero")
    return name == "tolist" or (isinstance(out, (bool, int, float, complex)) and not about)


class Tracer(TorchFunctionMode, Expressions):
    """Carries labels through torch operations. While `inside` > 0 a leaf is at work, and nothing is looked at.

    problems: what was refused, in the order of the run. misread: the input was used in a way that does not go with
    the time axis that was assumed for it. one_step: every layer got what a layer takes where there is no time.
    """

    def __init__(self) -> None:
        TorchFunctionMode.__init__(self)
        Expressions.__init__(self)
        self.inside = 0
        self.problems: list[NeurosimError] = []
        self.misread = False
        self.one_step = True
        self._made: list[nn.Module] = []

    def problem(self, message: str, *, allowed: str = "", hint: str = "") -> None:
        self.problems.append(NeurosimError(message, allowed=allowed, hint=hint))

    # ---- what a leaf gets

    def incoming(self, tensor: torch.Tensor, consumer: str) -> Signal | Series | Merged | None:
        """The signal on which the leaf `consumer` works; None, and a problem, where it is none."""
        label = label_of(tensor)
        if isinstance(label, (Signal, Series, Merged)) and not has_state(label):
            return label
        if isinstance(label, Softmax):
            label = Foreign(label.op, describe(label.inner))
        if label is None and not tensor.any():
            return Signal(self.zero)
        if label is None:
            self.problem(f"{consumer} is fed by a tensor that does not come from the input or another layer",
                         hint="constants, custom autograd functions and scripted code cannot be followed")
        elif isinstance(label, Foreign):
            self.problem(f"the operation {label.op!r} between {label.producer} and {consumer} has no counterpart",
                         allowed="addition of two signals, indexing and stacking of time steps, changes of shape",
                         hint=label.hint("use a layer for it, or take it out of the path of the signal"))
        elif isinstance(label, Total):
            self.problem(f"{describe(label)}, added up over time, drives {consumer}", allowed="one step at a time")
        else:
            self.problem(f"{describe(label)} drives {consumer}", allowed="spikes, or the output of a layer")
        return None

    def leaf(self, name: str, part: nn.Module, tensor: torch.Tensor) -> Label:
        """The label of what the leaf `part` gives for `tensor`."""
        label = label_of(tensor)
        if isinstance(label, Total) and isinstance(part, nn.Linear):
            averaged = self._of_total(name, part, label)
            if averaged is not None:
                return averaged
        label = self.incoming(tensor, name)
        self.one_step &= all(tensor.ndim == rank for cls, rank in RANKS.items() if isinstance(part, cls))
        if label is None:
            return Foreign(name, describe(label_of(tensor)))
        if isinstance(label, Signal):
            if label.expr.time is not None and label.expr.time > label.expr.since + 1:
                summed = isinstance(label.expr, Apply) and label.expr.part is SUM
                return Foreign(f"{RECURRENCE}{name}", describe(label.expr.args[0] if summed else label))
            return Signal(self.apply(name, part, label.expr))
        elementwise = isinstance(label, Merged) or isinstance(part, tuple(ELEMENTWISE.values()))
        if elementwise or (isinstance(part, nn.Linear) and label.axis < tensor.ndim - 1):
            return type(label)(tuple(Signal(self.apply(name, part, item.expr)) for item in label.items), label.axis)
        return self.all_at_once(name, label)

    def _of_total(self, name: str, part: nn.Linear, label: Total) -> Total | None:
        """The Linear of a mean over time is the mean of the Linear; of a sum only without a bias."""
        linear = label.is_mean or (label.rule == "sum" and part.bias is None)
        if not linear or not all(isinstance(item, Signal) for item in label.items):
            return None
        return Total(tuple(Signal(self.apply(name, part, item.expr)) for item in label.items), "sum", label.scale)

    def softmax(self, op: str, label: Label, dim: object, ndim: int) -> Softmax | None:
        """The label of a softmax over the last axis of one step, or of a total over steps."""
        if not isinstance(dim, int) or dim % ndim != ndim - 1 or not isinstance(label, (Signal, Total, Final)):
            return None
        return Softmax(op, label, "log" in op.lower())

    def all_at_once(self, name: str, label: Series | Merged) -> Foreign:
        """The problem that `name` works on one step, and gets all."""
        self.misread |= from_input(label)
        self.problem(f"{name} gets all time steps of {describe(label)} at once", allowed="one step at a time")
        return Foreign(name, describe(label))

    # ---- operations

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if self.inside:
            return func(*args, **kwargs)
        name = _op_name(func)
        if name in _CASTS and isinstance(args[0], torch.Tensor) and (len(args) + len(kwargs) > 1 or name != "type"):
            return self._cast(name, args, kwargs)
        if kwargs.get("device") is not None:  # the trace runs on the CPU, wherever the module lives
            kwargs["device"] = torch.device("cpu")
        if name in _IN_PLACE_ADDS and label_of(args[0]) is None and not args[0].any():
            put_label(args[0], Signal(self.zero))  # now: afterwards nobody sees that it was zero
        labelled = [t for t in tensors_in([args, kwargs]) if label_of(t) is not None]
        before = [label_of(t) for t in labelled]
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor) and out.dtype in (torch.float32, torch.float16, torch.bfloat16):
            out = out.double()  # everything is followed in float64
        if name == "__setitem__":
            self._set_item(*args)
        elif labelled and name not in _SHAPE_ONLY:
            if _decides(func, out):
                self.problem(f"the forward takes a number out of {describe(before[0])} ({name!r})",
                             hint="a decision made on it would not be seen")
            self._relabel(name, args, kwargs, out, next((b for b in before if isinstance(b, Foreign)), before[0]))
        return out

    def _cast(self, name: str, args: tuple, kwargs: dict) -> torch.Tensor:
        tensor = args[0]
        targets = [v.dtype if isinstance(v, torch.Tensor) else v for v in (*args[1:], *kwargs.values())]
        targets = [v for v in targets if isinstance(v, torch.dtype)]
        to_float = all(v.is_floating_point for v in targets)
        if name == "type" and not targets:
            to_float = any(word in str(args[1]) for word in ("Float", "Double", "Half"))
            targets = [torch.float64 if to_float else torch.int64]
        if tensor.is_floating_point() and to_float:
            return tensor
        if not targets and name in ("to", "cpu", "cuda"):
            return tensor
        out = tensor.to(torch.float64 if to_float else targets[0])
        label = label_of(tensor)
        if label is not None:
            put_label(out, label if isinstance(label, Foreign) else Foreign(name, describe(label)))
        return out

    def _relabel(self, name: str, args: tuple, kwargs: dict, out: object, first: Label) -> None:
        """Put labels on what an operation gave."""
        rule = self._rule(name)
        new = rule(name, args, kwargs, out) if rule and not isinstance(first, Foreign) else None
        outs = list(tensors_in(out))
        if isinstance(new, list):
            for tensor, label in zip(outs, new, strict=True):
                put_label(tensor, label)
        else:
            new = new or (first if isinstance(first, Foreign) else Foreign(name, describe(first)))
            for tensor in outs:
                put_label(tensor, new)

    def _rule(self, name: str):
        for names, rule in ((_SAME, self._same), (_DROPOUTS, self._dropout), (_VIEWS, self._view),
                            (_SWAPS, self._swap), (_ADDS, self._add), (_SCALES, self._scale), (_TOTALS, self._total),
                            (_LAYERS, self._layer), (("softmax", "log_softmax"), self._softmax),
                            (("stack", "cat", "concat", "concatenate"), self._join),
                            (("__getitem__", "select"), self._index), (("unbind", "split", "chunk"), self._cut)):
            if name in names:
                return rule
        return None

    def _same(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        return label_of(args[0])

    def _dropout(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        training = kwargs.get("training", args[2] if len(args) > 2 else True)
        return None if training else label_of(args[0])

    def _layer(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        """A layer called as a function: as if a module had been called."""
        tensor = args[0] if args else kwargs["input"]
        if any(label_of(t) is not None for t in tensors_in([args[1:], kwargs]) if t is not tensor):
            return None  # weights that depend on the signal
        made = module_for(name, args[1:], kwargs)
        made = next((known for known in self._made if equal(known, made)), made)
        if made not in self._made:
            self._made.append(made)
        return self.leaf(name.rstrip("_"), made, tensor)

    def _softmax(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        return self.softmax(name, label_of(args[0]), kwargs.get("dim", args[1] if len(args) > 1 else None), out.ndim)

    def _view(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        if out.dtype != args[0].dtype:
            return None
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if name == "unsqueeze" and dim in (0, -out.ndim) and isinstance(label_of(args[0]), Item):
            return Series((label_of(args[0]),), 0)
        return self.viewed(label_of(args[0]), args[0].shape, out.shape, "flatten")

    def viewed(self, label: Label, before: Sequence[int], after: Sequence[int], name: str) -> Label | None:
        """The label after a change of shape (row-major); None where batch, time and features get mixed."""
        before, after = tuple(before), tuple(after)
        if before == after:
            return label
        if isinstance(label, Signal) and after[:1] == before[:1]:
            return Signal(self._reshaped(label.expr, before[1:], after[1:], name))
        if isinstance(label, Series):
            axis = label.axis
            if len(label.items) == 1 and after == before[:axis] + before[axis + 1:]:
                return label.items[0]
            if axis < 2 and not has_state(label):
                if after[:2] == before[:2]:
                    return Series(self._each_reshaped(label, before[2:], after[2:], name), axis)
                if after[0] == before[0] * before[1]:
                    return Merged(self._each_reshaped(label, before[2:], after[1:], name), axis)
        if isinstance(label, Merged):
            if after[0] == before[0]:
                return Merged(self._each_reshaped(label, before[1:], after[1:], name), label.axis)
            if after[label.axis] == len(label.items) and after[0] * after[1] == before[0]:
                return Series(self._each_reshaped(label, before[1:], after[2:], name), label.axis)
        self.misread |= from_input(label)
        return None

    def _each_reshaped(self, label: Series | Merged, before: tuple[int, ...], after: tuple[int, ...],
                       name: str) -> tuple[Signal, ...]:
        return tuple(Signal(self._reshaped(item.expr, before, after, name)) for item in label.items)

    def _reshaped(self, expr: Expr, before: tuple[int, ...], after: tuple[int, ...], name: str) -> Expr:
        if isinstance(expr, Apply) and isinstance(expr.part, View):  # two changes of shape are one
            before, expr = expr.part.before, expr.args[0]
        return expr if before == after or isinstance(expr, Zero) else self.apply(name, View(before, after), expr)

    def _swap(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        label, ndim = label_of(args[0]), out.ndim
        given = [*args[1:], *kwargs.values()]
        order = list(range(ndim))
        if name == "permute":
            dims = given[0] if isinstance(given[0], (tuple, list)) else given
            order = [d % ndim for d in dims]
        elif all(isinstance(d, int) for d in given):
            a, b = (d % ndim for d in given)
            if name in ("movedim", "moveaxis"):
                order.insert(b, order.pop(a))
            else:
                order[a], order[b] = order[b], order[a]
        else:
            return None
        if not isinstance(label, Series):
            self.misread |= from_input(label)
            return label if order == sorted(order) else None
        rest = [d for d in order if d != label.axis]
        return Series(label.items, order.index(label.axis)) if rest == sorted(rest) else None

    def _index(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        tensor, label = args[0], label_of(args[0])
        if name == "select":
            dim, index = (*args[1:], *kwargs.values())
            picks = [slice(None)] * tensor.ndim
            picks[dim] = index
        else:
            picks = each_dim(args[1], tensor.ndim)
            if picks is None:
                new_axis = args[1] is None and isinstance(label, Item)
                return Series((label,), 0) if new_axis else None
        touched = [d for d, pick in enumerate(picks) if pick != slice(None)]
        if not touched:
            return label
        if isinstance(label, Series) and touched == [label.axis]:
            picked = label.items[picks[label.axis]]
            return Series(picked, label.axis) if isinstance(picked, tuple) else picked
        self.misread |= from_input(label)
        return None

    def _cut(self, name: str, args: tuple, kwargs: dict, out: Sequence[torch.Tensor]) -> list[Label] | None:
        label = label_of(args[0])
        dim = kwargs.get("dim", args[1] if name == "unbind" and len(args) > 1 else args[2] if len(args) > 2 else 0)
        if not isinstance(label, Series) or dim % args[0].ndim != label.axis:
            self.misread |= from_input(label)
            return None
        if name == "unbind":
            return list(label.items)
        ends = np.cumsum([piece.shape[label.axis] for piece in out])
        return [Series(label.items[end - piece.shape[label.axis]: end], label.axis)
                for end, piece in zip(ends, out, strict=True)]

    def _join(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        tensors = kwargs.get("tensors", args[0] if args else ())
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0)) % out.ndim
        labels = [label_of(tensor) for tensor in tensors]
        if name == "stack":
            return Series(tuple(labels), dim) if all(isinstance(label, Item) for label in labels) else None
        if all(isinstance(label, Series) and label.axis == dim for label in labels):
            return Series(tuple(item for label in labels for item in label.items), dim)
        if dim and all(isinstance(label, Signal) and t.shape[dim] == 1 for t, label in zip(tensors, labels)):
            # [batch, 1, *shape] of one signal at several steps: the 1 was made for the time
            items = tuple(self.viewed(label, t.shape, t.shape[:dim] + t.shape[dim + 1:], "flatten")
                          for t, label in zip(tensors, labels))
            if len({item.expr.time for item in items}) == len(items):
                return Series(items, dim)
        return None

    def _set_item(self, target: torch.Tensor, index: object, value: object) -> None:
        """``record[t] = spikes``: a tensor that is filled step by step becomes a series."""
        label, given = label_of(target), label_of(value)
        if label is None and given is None:
            return
        picks = each_dim(index, target.ndim)
        touched = [] if picks is None else [d for d, pick in enumerate(picks) if pick != slice(None)]
        so_far = label.items if isinstance(label, Series) else ()
        if (isinstance(given, Item) and len(touched) == 1 and picks[touched[0]] == len(so_far)
                and (label is None or (isinstance(label, Series) and label.axis == touched[0]))):
            put_label(target, Series((*so_far, given), touched[0]))
        elif not isinstance(label, Foreign):
            put_label(target, given if isinstance(given, Foreign) else
                      Foreign("__setitem__", describe(label if given is None else given)))

    def _add(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        a, b = args[0], args[1] if len(args) > 1 else kwargs.get("other")
        if kwargs.get("alpha", 1) != 1:
            return None
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            tensor, number = (a, b) if isinstance(a, torch.Tensor) else (b, a)
            return label_of(tensor) if number == 0 else None  # 0 + x begins a sum of Python's
        x, y = (Signal(self.zero) if label_of(one) is None and not one.any() else label_of(one) for one in (a, b))
        if x is None or y is None or isinstance(y, Foreign) or a.shape != b.shape:
            return y if isinstance(y, Foreign) else None
        fresh = isinstance(x, Total) or x == Signal(self.zero) or (isinstance(x, Signal) and self._bare(x) != x)
        if name in _IN_PLACE_ADDS and not fresh:
            return None  # other names of the same tensor would change with it
        if isinstance(x, Item) and isinstance(y, Total):
            x, y = y, x
        if isinstance(x, Item) and isinstance(y, Item):
            return self._sum_of(x, y)
        if isinstance(x, Total) and isinstance(y, Item) and x.rule == "sum" and x.scale == 1:
            return Total((*x.items, y), "sum") if self.follows(x.items[-1], y) else None
        same = isinstance(x, Series) and isinstance(y, Series) and (x.axis, len(x.items)) == (y.axis, len(y.items))
        if same and not has_state(x) and not has_state(y):
            return Series(tuple(self._sum_of(i, j) for i, j in zip(x.items, y.items, strict=True)), x.axis)
        return None

    def _sum_of(self, x: Item, y: Item) -> Label | None:
        """Two steps of one thing are added up over time; two things are a `Sum`; zero plus a state begins a total."""
        if x == Signal(self.zero) and isinstance(y, State):
            return Total((y,), "sum")
        for first, then in ((x, y), (y, x)):
            if self.follows(first, then):
                return Total((self._bare(first), then), "sum")
        if isinstance(x, State) or isinstance(y, State):
            return None
        return Signal(self.apply("sum", SUM, x.expr, y.expr))

    def _bare(self, item: Item) -> Item:
        """Without zeros added: the first term of a sum over time."""
        if isinstance(item, Signal) and isinstance(item.expr, Apply) and item.expr.part is SUM:
            terms = [arg for arg in item.expr.args if not isinstance(arg, Zero)]
            if len(terms) == 1:
                return Signal(terms[0])
        return item

    def follows(self, first: Item, then: Item) -> bool:
        """Whether `then` is `first` one step later."""
        first = self._bare(first)
        if isinstance(first, State) or isinstance(then, State):
            return type(first) is type(then) and (first.name, first.slot, first.at + 1) == (
                then.name, then.slot, then.at)
        a, b = first.expr.time, then.expr.time
        return a is not None and b == a + 1 and self.canonical(first.expr, a) is self.canonical(then.expr, b)

    def _scale(self, name: str, args: tuple, kwargs: dict, out: torch.Tensor) -> Label | None:
        label, factor = label_of(args[0]), args[1] if len(args) > 1 else None
        rounded = kwargs.get("rounding_mode") is not None
        if not isinstance(label, Total) or not isinstance(factor, (int, float)) or factor <= 0 or rounded:
            return None
        return Total(label.items, label.rule, label.scale * (factor if "mul" in name else 1 / factor))

    def _total(self, name: str, args: tuple, kwargs: dict, out: object) -> Label | list[Label] | None:
        label = label_of(args[0])
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
        dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
        if not isinstance(label, Series) or not isinstance(dim, int) or dim % args[0].ndim != label.axis:
            return None
        if kwargs.get("keepdim") or len(args) > 2:
            return None
        total = Total(label.items, _TOTALS[name], 1 / len(label.items) if name == "mean" else 1.0)
        return [total, Foreign("argmax", describe(label))] if name == "max" else total
