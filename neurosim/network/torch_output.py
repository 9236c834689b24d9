"""Which of the signals that a torch module returns is the output of its network, and how it is read out over time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network.torch_labels import (
    ENDS,
    Apply,
    Expr,
    Final,
    Foreign,
    Label,
    Series,
    Signal,
    Softmax,
    Source,
    State,
    Total,
    describe,
)
from neurosim.network.torch_run import Trace, begins


class Output:
    """What is read out: `expr` (canonical), or the `membrane` of its population; the readout `rule`; and `seen`, the
    returned tensors in which it was found: label, value, and the softmax behind which it stands, or None."""

    def __init__(self, trace: Trace, steps: int, name: str | None, readout: str | None) -> None:
        self.trace, self.steps = trace, steps
        below = [(label.inner, value, label) if isinstance(label, Softmax) else (label, value, None)
                 for label, value in trace.returned if label is not None]
        outer = [one for one in below if not _is_inner(one[0])] or [one for one in below if _is_ends(one[0])]
        found = [(self._origin(label), label, value, softmax) for label, value, softmax in map(_of_one_layer, outer)]
        if name is not None:
            self.expr, self.membrane = self._named(name)
        else:
            self.expr, self.membrane = self._only_end([origin for origin, *_ in found])
        fits = [rest for origin, *rest in found if origin == (self.expr, self.membrane)]
        self.seen: list[tuple[Label, np.ndarray, Softmax | None]] = fits
        rules = {rule for rule in (self._does(label) for label, *_ in fits) if rule}
        if readout is None and len(rules) > 1:
            raise NeurosimError(f"it returns the {', the '.join(sorted(rules))} over time of its output",
                                hint="choose with readout=")
        if readout is None and not rules and self.membrane:
            raise NeurosimError("it returns a membrane at all steps", hint="say readout='sum', 'max' or 'last'")
        self.rule = readout or next(iter(rules), "sum")

    @property
    def over_time(self) -> dict[str, object]:
        """For the provenance, where the module itself adds up over time, what the readout of a network does not say:
        that it takes the mean, or by what it multiplies."""
        for label, *_ in self.seen:
            if isinstance(label, Total) and label.rule == self.rule and label.scale != 1 and label.is_mean:
                return {"readout": "mean"}
            if isinstance(label, Total) and label.rule == self.rule:
                return {"readout": label.rule, "scale": label.scale}
        return {}

    def _does(self, label: Label) -> str | None:
        if isinstance(label, Total):
            return label.rule
        return "last" if isinstance(label, (Signal, State)) else None

    def _origin(self, label: Label) -> tuple[Expr | Foreign, bool]:
        """Which signal or membrane a returned tensor holds, if it holds one at all steps."""
        if isinstance(label, Foreign):
            return label, False
        if isinstance(label, Final):
            return Foreign(ENDS, describe(label)), False
        lone = isinstance(label, (Signal, State))
        if isinstance(label, Signal) and label.expr.time not in (None, self.steps - 1):
            return Foreign("choice of steps", describe(label)), False
        items = (label,) if lone else label.items
        first = self.steps - 1 if lone else 0
        tracer, origins = self.trace.tracer, []
        for step, item in enumerate(items, first):
            if isinstance(item, State):
                held = item.slot == "mem" and item.at == step
                origins.append((tracer.source(item.name, 0), True) if held else None)
            else:
                origins.append((tracer.canonical(item.expr, step), False))
        last = origins[-1]
        same = last and all(one == last or (step == 0 and one and one[1] == last[1] and begins(one[0], last[0], None))
                            for step, one in enumerate(origins))
        if not same or (not lone and len(items) != self.steps):
            return Foreign("choice of steps", describe(label)), False
        return last

    def _named(self, name: str) -> tuple[Expr, bool]:
        if not isinstance(name, str):
            raise NeurosimError(f"output is the {type(name).__name__} {name!r}", allowed="a name, as a str")
        leaf = name.removesuffix(".mem")
        if leaf not in self.trace.neurons and name not in self.trace.levels:
            raise NeurosimError(f"output is {name!r}", allowed=", ".join([*self.trace.neurons, *self.trace.levels]))
        return self.trace.tracer.source(leaf, 0), leaf != name

    def _only_end(self, origins: list[tuple[Expr | Foreign, bool]]) -> tuple[Expr, bool]:
        """The one returned signal that all others lead to; spikes rather than the membrane they came from."""
        for origin, _ in origins:
            if isinstance(origin, Foreign):
                raise NeurosimError(
                    f"the operation {origin.op!r} between {origin.producer} and the output has no counterpart",
                    hint=origin.hint("return the signal itself, or name the neuron with output="))
        spikes = {id(expr) for expr, membrane in origins if not membrane}
        ends = {id(expr): (expr, id(expr) not in spikes) for expr, _ in origins}
        if not ends:
            raise NeurosimError("it returns nothing that comes from its input",
                                hint="return what the last layer gives at each step")
        for end in ends.values():
            if ends.keys() <= {id(expr) for expr in upstream(end[0], self.trace)}:
                return end
        told = ", ".join(describe(expr) for expr, _ in ends.values())
        raise NeurosimError(f"it returns several signals that do not lead to one of them: {told}",
                            hint="name the neuron to read out with output=")


def _is_inner(label: Label) -> bool:
    """A synaptic current, a cell state or the last states of all layers, which neurons and cells return together with
    what they give: nobody reads them out where there is anything else."""
    items = label.items if isinstance(label, (Series, Total)) else (label,)
    return _is_ends(label) or all(isinstance(item, State) and item.slot != "mem" for item in items)


def _is_ends(label: Label) -> bool:
    """The last states of all layers of a recurrent module, as it returns them."""
    return isinstance(label, Final) and all(isinstance(item, Signal) and isinstance(item.expr, Source)
                                            for item in label.items)


def _of_one_layer(found: tuple[Label, np.ndarray, Softmax | None]) -> tuple[Label, np.ndarray, Softmax | None]:
    """The last states of all layers, `[1, batch, unit]` where there is one: the last step of its output."""
    label, value, softmax = found
    return (label.items[0], value[0], softmax) if isinstance(label, Final) and len(label.items) == 1 else found


def upstream(expr: Expr, trace: Trace, seen: set[int] | None = None) -> Iterator[Expr]:
    """`expr` and all that it is made of."""
    seen = set() if seen is None else seen
    if id(expr) in seen:
        return
    seen.add(id(expr))
    yield expr
    below = expr.args if isinstance(expr, Apply) else ()
    if isinstance(expr, Source) and expr.name in trace.sources:
        below = (trace.sources[expr.name],)
    for one in below:
        yield from upstream(one, trace, seen)
