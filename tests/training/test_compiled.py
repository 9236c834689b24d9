"""The path of a GPU, followed on the CPU: compiled by torch without its code generator, and on a device of no data."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from test_recurrence import case, gradients, rule
from torch import nn
from torch._dynamo.backends.debugging import aot_eager

from neurosim.training import LSNN, CubaLIF, LeakyIntegrator, SpikingNetwork
from neurosim.training.compiled import STEPS, backend_of
from neurosim.training.integration import integrate, integrate_stepwise
from neurosim.training.stepwise import stepwise


class Counted:
    """Traces forward and back as for a GPU, and says how many functions were made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, graph: torch.fx.GraphModule, examples: list[torch.Tensor]) -> object:
        self.made += 1
        return aot_eager(graph, examples)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "recurrent", "rest", "how"), [
    ("lif", False, False, rule("hold", surrogate="arctan")), ("lif", True, False, rule("subtract now", attached=True)),
    ("cuba", True, False, rule("zero", surrogate="fast_sigmoid")),
    ("adaptive", True, True, rule(attached=True, refractory=3, relative=True))])
def test_compiled_steps_are_the_steps(kind, recurrent, rest, how) -> None:
    backend = Counted()
    given = case(kind, recurrent, torch.float64, steps=3 * STEPS + 4, rest=rest)
    ours, found = gradients(partial(stepwise, backend=backend), *given[:4], how, given[4])
    theirs, expected = gradients(stepwise, *given[:4], how, given[4])
    assert torch.equal(ours[0], theirs[0])
    assert 0.02 < ours[0].mean() < 0.8
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for name, value in expected.items():
        assert (found[name] is None) == (value is None), name
        if value is not None:
            torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-11)
    first = backend.made
    assert 1 <= first <= 2  # from a state without gradient, and from one with
    gradients(partial(stepwise, backend=backend), *given[:4], how, given[4])
    assert backend.made == first


def test_a_compiled_filter_is_the_filter() -> None:
    backend, g = Counted(), torch.Generator().manual_seed(0)
    x, beta, gain, start = (torch.rand(*shape, generator=g, dtype=torch.float64).requires_grad_()
                            for shape in ((2 * STEPS + 3, 4, 5), (5,), (5,), (4, 5)))
    results = [path(x, beta, gain, start) for path in (partial(integrate_stepwise, backend=backend), integrate)]
    assert backend.made >= 1
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(v.square().sum(), (x, beta, gain, start)) for v in results), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_what_compiles_where(monkeypatch) -> None:
    monkeypatch.setattr("neurosim.training.compiled.find_spec", lambda name: object())
    assert [backend_of(torch.device(name)) for name in ("cpu", "cuda")] == [None, "inductor"]
    monkeypatch.setattr("neurosim.training.compiled.find_spec", lambda name: None)
    assert backend_of(torch.device("cuda")) is None


@pytest.mark.parametrize("make", [
    lambda: LSNN(3, 2, units=6),
    lambda: SpikingNetwork({"in": nn.Linear(3, 6), "cells": CubaLIF(6, recurrent=True, learn=("recurrent", "alpha")),
                            "out": nn.Linear(6, 2), "v": LeakyIntegrator(2, learn=("beta",))}, (3,), dt=1e-3,
                           returns_spikes=True)])
def test_nothing_stays_on_the_cpu(make) -> None:
    """Where devices meet, torch refuses; "meta" has shapes and no numbers, and every machine has it."""
    model = make().to("meta")
    output, spikes = model(torch.empty(7, 2, 3, device="meta"))
    assert (output.shape, spikes.shape) == ((7, 2, 2), (7, 2, 6))
    (output.mean() + spikes.mean()).backward()
    for value in model.parameters():
        assert value.grad.device.type == "meta"
        assert value.grad.shape == value.shape
