"""The fused kernels against torch step by step, against snnTorch's modules, and against finite differences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import snntorch
import torch

from neurosim.engine.learning_forward import SUBTRACT_NOW, SURROGATES, Neurons, Rule, State
from neurosim.engine.neurons import RESET_CODES
from neurosim.errors import NeurosimError
from neurosim.training import LSNN
from neurosim.training.recurrence import recurrence
from neurosim.training.stepwise import stepwise

SLOPES = {"triangle": (0.8, 0.4), "fast_sigmoid": (5.0, 1.0), "arctan": (2.0, 1.0)}
CODES = {**RESET_CODES, "subtract now": SUBTRACT_NOW}
RESETS = [("subtract", False), ("subtract", True), ("zero", False), ("zero", True), ("hold", False), ("none", False)]
AT_ONCE = [("subtract now", False), ("subtract now", True)]  # populations whose threshold does not adapt


def rule(reset: str = "subtract", attached: bool = False, refractory: int = 0, surrogate: str = "triangle",
         relative: bool = False) -> Rule:
    return Rule(CODES[reset], attached, refractory, SURROGATES[surrogate], *SLOPES[surrogate], relative)


def case(kind: str, recurrent: bool, dtype: torch.dtype, *, batch: int = 11, steps: int = 17, size: int = 13,
         channels: int = 5, rest: bool = False, seed: int = 1) -> tuple:
    """Inputs, weight, neurons, state and readout, all of which want a gradient, and nothing is zero."""
    g = torch.Generator().manual_seed(seed)

    def between(low: float, high: float, *shape: int) -> torch.Tensor:
        return (low + (high - low) * torch.rand(*shape, generator=g, dtype=torch.float64)).to(dtype).requires_grad_()

    cuba, adaptive = kind == "cuba", kind == "adaptive"
    neurons = Neurons(
        rows=between(-0.5, 0.6, size, size) if recurrent else None, bias=between(-0.1, 0.3, size),
        alpha=between(0.3, 0.8, size) if cuba else None, gain_syn=between(0.3, 0.6, size) if cuba else None,
        beta=between(0.6, 0.95, size), gain=between(0.5, 1.2, size), leak=between(-0.05, 0.1, size),
        threshold=between(0.7, 1.3, size), beta_adaptation=between(0.7, 0.95, size) if adaptive else None,
        adaptation=between(0.3, 1.5, size) if adaptive else None, v_reset=between(-0.3, 0.1, size))
    spent = (torch.rand(batch, size, generator=g) < 0.3).to(dtype).requires_grad_()
    state = State(between(-0.5, 1.2, batch, size), between(-0.2, 0.4, batch, size) if cuba else None,
                  between(0, 0.3, batch, size) if adaptive else None, spent,
                  torch.zeros(batch, size, dtype=dtype) if rest else None)
    return between(-1, 1.6, steps, batch, channels), between(-0.6, 0.9, channels, size), neurons, state, \
        between(-1, 1, size, 3)


def gradients(path, inputs, weight, neurons, state, rule, readout) -> tuple:
    """Spikes, output, last state, and the gradients of a loss that looks at all of them."""
    spikes, output, last = path(inputs, weight, neurons, state, rule, readout)
    g = torch.Generator().manual_seed(9)
    results = [t for t in (spikes, output, *last[:4]) if t is not None]
    loss = sum((t * torch.randn(t.shape, generator=g, dtype=torch.float64).to(t.dtype)).sum() for t in results)
    wanted = {name: t for name, t in {"inputs": inputs, "weight": weight, "readout": readout, **neurons._asdict(),
                                      **state._asdict()}.items() if t is not None and t.requires_grad}
    found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    return results, dict(zip(wanted, found, strict=True))


def check(given: tuple, how: Rule, dtype: torch.dtype) -> torch.Tensor:
    inputs, weight, neurons, state, readout = given
    ours, found = gradients(recurrence, inputs, weight, neurons, state, how, readout)
    theirs, expected = gradients(stepwise, inputs, weight, neurons, state, how, readout)
    assert torch.equal(ours[0], theirs[0])
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    for name, value in expected.items():
        value = torch.zeros_like(found[name]) if value is None else value
        worst = (found[name] - value).abs().max() / max(value.abs().max().item(), 1e-3)
        assert worst < tolerance, f"{name}: {worst}"
    return ours[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(("kind", "reset", "attached"), [
    *((kind, *reset) for kind in ("lif", "cuba", "adaptive") for reset in RESETS),
    *((kind, *reset) for kind in ("lif", "cuba") for reset in AT_ONCE)])
def test_equal_to_torch_step_by_step(kind: str, reset: str, attached: bool, recurrent: bool,
                                     dtype: torch.dtype) -> None:
    for surrogate, relative, rest in product(SURROGATES, (False, True), (False, True)):
        spikes = check(case(kind, recurrent, dtype, rest=rest),
                       rule(reset, attached, 3 if rest else 0, surrogate, relative), dtype)
        assert 0.02 < spikes.mean() < 0.8


@pytest.mark.parametrize("batch", [1, 3, 8, 16, 21])
def test_a_current_instead_of_inputs_and_any_batch(batch: int) -> None:
    inputs, weight, neurons, state, readout = case("adaptive", True, torch.float64, batch=batch)
    current = (inputs @ weight).detach().requires_grad_()
    for out in (readout, None):
        check((current, None, neurons, state, out), rule(attached=True, relative=True), torch.float64)


@pytest.mark.parametrize("low", [-1.3, 0.0])
def test_many_spikes_take_the_dense_product(low: float) -> None:
    inputs, weight, neurons, state, readout = case("lif", True, torch.float64)
    given = (inputs.detach() + low, weight, neurons._replace(beta=neurons.beta.detach()), state, readout)
    spikes = check(given, rule("none"), torch.float64)
    assert (spikes.mean() > 0.3) == (low == 0)


def test_a_neuron_that_rests_for_ever_is_dropped_out() -> None:
    inputs, weight, neurons, state, readout = case("adaptive", True, torch.float64, rest=True)
    out = torch.rand(state.v.shape, generator=torch.Generator().manual_seed(4)) < 0.4
    state = state._replace(resting=state.resting.masked_fill(out, float("inf")))
    spikes = check((inputs, weight, neurons, state, readout), rule(attached=True, refractory=2), torch.float64)
    assert not spikes[:, out].any()
    assert spikes[:, ~out].any()


def test_a_run_in_two_parts_is_the_run() -> None:
    inputs, weight, neurons, state, readout = case("adaptive", True, torch.float64, rest=True)
    how = rule(attached=True, refractory=3)

    def parted(inputs, weight, neurons, state, how, readout):
        first, out, state = recurrence(inputs[:6], weight, neurons, state, how, readout)
        second, more, state = recurrence(inputs[6:], weight, neurons, state, how, readout)
        return torch.cat([first, second]), torch.cat([out, more]), state

    whole, expected = gradients(recurrence, inputs, weight, neurons, state, how, readout)
    parts, found = gradients(parted, inputs, weight, neurons, state, how, readout)
    assert torch.equal(whole[0], parts[0])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("used", range(4))
def test_a_loss_that_looks_at_one_result(used: int) -> None:
    inputs, weight, neurons, state, readout = case("adaptive", True, torch.float64)
    found = []
    for path in (recurrence, stepwise):
        spikes, output, last = path(inputs, weight, neurons, state, rule(attached=True), readout)
        loss = (spikes, output, last.adapted, last.spent)[used].square().sum()
        found.append(torch.autograd.grad(loss, [weight, readout, neurons.rows, state.v], allow_unused=True))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("over_time", ["sum", "mean"])
def test_spikes_that_no_one_hears(over_time: str) -> None:
    """A sum or a mean over time: all steps have the same gradient; and eleven classes are no whole vector."""
    inputs, weight, neurons, state, _ = case("lif", True, torch.float64)
    readout = torch.randn(13, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    outputs, found = [], []
    for path in (stepwise, lambda *given: recurrence(*given, heard=False)):
        spikes, output, _ = path(inputs, weight, neurons, state, rule(), readout)
        outputs.append(output)
        loss = getattr(output, over_time)(dim=0).square().sum()
        found.append(torch.autograd.grad(loss, [inputs, weight, readout, neurons.rows, state.spent]))
    assert spikes is None
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9)


def test_threads_change_no_bit() -> None:
    given = case("adaptive", True, torch.float32, batch=37, steps=9, size=40)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(gradients(recurrence, *given[:4], rule(attached=True), given[4]))
    finally:
        torch.set_num_threads(before)
    (one, found_one), (three, found_three) = results
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    assert all(torch.equal(found_one[name], found_three[name]) for name in found_one)


def test_a_graph_that_is_kept_gives_the_same_again() -> None:
    inputs, weight, neurons, state, readout = case("lif", True, torch.float64)
    spikes, *_ = recurrence(inputs, weight, neurons, state, rule(), readout)
    first = torch.autograd.grad(spikes.square().sum(), weight, retain_graph=True)[0]
    again = torch.autograd.grad(spikes.square().sum(), weight)[0]
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(spikes.sum(), weight)


def test_a_second_derivative_is_refused() -> None:
    inputs, weight, neurons, state, readout = case("lif", True, torch.float64)
    spikes, *_ = recurrence(inputs, weight, neurons, state, rule(), readout)
    (first,) = torch.autograd.grad(spikes.square().sum(), weight, create_graph=True)
    with pytest.raises(NeurosimError, match="second derivative"):
        first.sum().backward()
    spikes, *_ = recurrence(inputs, weight, neurons, state, rule(), readout)
    (first,) = torch.autograd.grad(spikes.square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad((weight * first.sign()).sum(), weight)
    assert torch.equal(second, first.sign())


def test_nothing_is_kept_without_a_gradient() -> None:
    inputs, weight, neurons, state, readout = case("adaptive", True, torch.float32)
    with torch.no_grad():
        spikes, *_ = recurrence(inputs, weight, neurons, state, rule(), readout)
    assert not spikes.requires_grad
    assert torch.equal(spikes, recurrence(inputs, weight, neurons, state, rule(), readout)[0].detach())


@pytest.mark.parametrize(("kind", "reset"), [
    *product(("lif", "cuba", "adaptive"), ("subtract", "zero", "hold", "none")),
    *product(("lif", "cuba"), ("subtract now",))])
def test_finite_differences_where_spikes_stand_still(kind: str, reset: str) -> None:
    """With a surrogate of height 0 the gradient is the true one, as long as no spike comes or goes."""
    inputs, weight, neurons, state, _ = case(kind, True, torch.float64, batch=3, steps=6, size=4, channels=2, seed=3)
    tensors = [t for t in (inputs, weight, *neurons, *state[:3]) if t is not None]
    how = rule(reset)._replace(height=0.0)

    def last(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        left = iter(tensors)
        x, w = next(left), next(left)
        given = Neurons(*(None if t is None else next(left) for t in neurons))
        start = State(*(None if t is None else next(left) for t in state[:3]), state.spent.detach(), None)
        return tuple(t for t in recurrence(x, w, given, start, how)[2][:3] if t is not None)

    assert torch.autograd.gradcheck(last, tensors, eps=1e-7, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("surrogate", ["atan", "fast_sigmoid"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_equal_to_snntorch(recurrent: bool, surrogate: str, reset: str) -> None:
    """Its own forward and backward pass: Leaky, and RLeaky, whose reset to zero loses the input of the step (hold)."""
    steps, batch, size = 20, 5, 12
    g = torch.Generator().manual_seed(2)
    current = (torch.rand(steps, batch, size, generator=g) * 0.9 - 0.2).requires_grad_()
    beta, threshold = torch.tensor(0.9), torch.tensor(1.0)
    grad = snntorch.surrogate.atan(2.0) if surrogate == "atan" else snntorch.surrogate.fast_sigmoid(25)
    options = {"beta": beta, "threshold": threshold, "spike_grad": grad, "reset_mechanism": reset,
               "learn_beta": True, "learn_threshold": True}
    if recurrent:
        module = snntorch.RLeaky(linear_features=size, **options)
        with torch.no_grad():
            module.recurrent.weight.copy_(torch.randn(size, size, generator=g) * 0.2)
            module.recurrent.bias.copy_(torch.rand(size, generator=g) * 0.1)
    else:
        module = snntorch.Leaky(**options)
    state = module.reset_mem()
    state, spikes = list(state) if recurrent else [state], []
    for now in current.unbind(0):
        spike, v = module(now, *state)
        state = [spike, v] if recurrent else [v]
        spikes.append(spike)
    theirs = torch.stack(spikes)
    cotangent = torch.randn(theirs.shape, generator=g)
    wanted = [current, module.beta, module.threshold, *(module.recurrent.parameters() if recurrent else ())]
    expected = torch.autograd.grad((theirs * cotangent).sum(), wanted)

    neurons = Neurons(module.recurrent.weight.T if recurrent else None, module.recurrent.bias if recurrent else None,
                      None, None, module.beta.expand(size), torch.ones(size), None,
                      module.threshold.expand(size), None, None, torch.zeros(size))
    zeros = torch.zeros(batch, size)
    code = RESET_CODES["hold" if recurrent and reset == "zero" else reset]
    kind, slope, height = ("arctan", 2.0, 1.0) if surrogate == "atan" else ("fast_sigmoid", 25.0, 1.0)
    ours, _, _ = recurrence(current, None, neurons, State(zeros, None, None, zeros, None),
                            Rule(code, False, 0, SURROGATES[kind], slope, height, False))
    assert 0.02 < theirs.mean() < (0.9 if reset == "none" else 0.5)
    assert torch.equal(ours, theirs)
    found = torch.autograd.grad((ours * cotangent).sum(), wanted)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4 * b.abs().max())


def test_lsnn_with_other_parameters_and_torch_func() -> None:
    model = LSNN(3, 2, units=12, seed=1).double()
    inputs = torch.randn(20, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = {name: (1.3 * value).detach().requires_grad_() for name, value in model.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        output, spikes = torch.func.functional_call(model, parameters, (inputs,))
        return output.square().mean() + spikes.mean(dim=0).square().sum()

    found = torch.func.grad(loss)(other)
    expected = torch.autograd.grad(loss(other), list(other.values()))
    assert found["w_rec"].any()
    for a, b in zip(found.values(), expected, strict=True):
        assert torch.equal(a, b)


def test_lsnn_with_a_mask() -> None:
    model = LSNN(3, 2, units=12, seed=1).double()
    inputs = torch.randn(20, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(4, 12, generator=torch.Generator().manual_seed(1)) < 0.7).double()
    output, spikes = model(inputs, mask)
    alone, alone_spikes = [], []
    for sample in range(4):  # without the neurons that are dropped out
        kept = mask[sample] > 0
        part = LSNN(3, 2, units=int(kept.sum()), seed=0).double()
        with torch.no_grad():
            for name, value in (("w_in", model.w_in[:, kept]), ("w_rec", model.w_rec[kept][:, kept]),
                                ("w_out", model.w_out[kept])):
                getattr(part, name).copy_(value)
        one, z = part(inputs[:, [sample]])
        alone.append(one)
        alone_spikes.append(z.sum(dim=2))
    assert torch.equal(spikes.sum(dim=2), torch.cat(alone_spikes, dim=1))
    torch.testing.assert_close(output, torch.cat(alone, dim=1))
    with torch.no_grad():
        model.w_rec *= 2
        model.w_out *= 2
    doubled = model(inputs, mask)
    with torch.no_grad():
        model.w_rec /= 2
        model.w_out /= 2
    assert torch.equal(model(inputs, 2 * mask)[1], 2 * doubled[1])
    torch.testing.assert_close(model(inputs, 2 * mask)[0], doubled[0])
    with pytest.raises(NeurosimError, match="mask"):
        model(inputs, mask + torch.rand(12))
