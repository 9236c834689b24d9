"""Expressions of one trace: how a signal is made out of the input and of populations; equal ones are one object."""

from __future__ import annotations

from torch import nn

from neurosim.network.torch_labels import SUM, Apply, Expr, Source, View, Zero


class Expressions:
    """Makes the expressions of a trace, each once, so that they can be compared by identity."""

    def __init__(self) -> None:
        self.zero = Zero()
        self._known: dict[tuple, Expr] = {}

    def source(self, name: str, at: int | None) -> Source:
        return self._known.setdefault((name, at), Source(name, at))

    def apply(self, name: str, part: nn.Module | View | str, *args: Expr) -> Apply:
        if part is SUM and isinstance(args[0], Apply) and args[0].part is SUM:
            args = (*args[0].args, *args[1:])
        time = max((arg.time for arg in args if arg.time is not None), default=None)
        since = min((arg.since for arg in args if arg.since is not None), default=None)
        return self._known.setdefault((name, part, *map(id, args)), Apply(name, part, args, time, since))

    def canonical(self, expr: Expr, now: int, memo: dict[int, Expr] | None = None) -> Expr:
        """`expr` with delays counted back from `now` in the place of steps."""
        memo = {} if memo is None else memo
        if id(expr) not in memo:
            if isinstance(expr, Source):
                memo[id(expr)] = self.source(expr.name, 0 if expr.at is None else now - expr.at)
            elif isinstance(expr, Zero):
                memo[id(expr)] = expr
            else:
                args = [self.canonical(arg, now, memo) for arg in expr.args]
                memo[id(expr)] = self.apply(expr.name, expr.part, *args)
        return memo[id(expr)]
