"""The attack: its steps, its box, and its gradient against automatic differentiation through all of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn.functional import kl_div, log_softmax, softmax

from neurosim.errors import NeurosimError
from neurosim.training import LSNN, Attack, Objective, Within, attack, moved, robust_distance
from neurosim.training.deviations import corners, gaussian, relative, straight_through
from neurosim.training.distances import DISTANCES, js, kl, kl_floor, l2, reverse_kl, task

DISTANCE_NAMES = list(DISTANCES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mlp() -> nn.Module:
    """12-32-5 with tanh in float64; some weights and one bias are exactly zero."""
    net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 5)).double()
    generator = seeded(1)
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.5, generator=generator)
        net[0].weight[:3] = 0
        net[2].bias[0] = 0
    return net


def lsnn() -> nn.Module:
    model = LSNN(3, 4, units=20, seed=5).double()
    with torch.no_grad():
        model.w_rec *= 3
        model.w_out *= 300
        model.b_out += torch.tensor([0.1, -0.2, 0.3, 0.0])
    return model


def objective(which: str) -> Objective:
    if which == "mlp":
        inputs = torch.randn(9, 12, generator=seeded(2), dtype=torch.float64)
        return Objective(mlp(), inputs, torch.arange(9) % 5, readout=lambda output: output)
    inputs = torch.randn(30, 6, 3, generator=seeded(2), dtype=torch.float64)
    return Objective(lsnn(), inputs, torch.arange(6) % 4, readout="mean", rate_penalty=1e-3)


def unrolled(on: Objective, how: Attack, seed: int) -> dict[str, torch.Tensor]:
    """theta* as a differentiable function of theta, written as published: through every step of the attack."""
    generator, theta = seeded(seed), on.parameters
    clean = on.logits(theta)
    scale = {name: value.abs() for name, value in theta.items()}
    star = {name: value + how.start * scale[name] * torch.randn(value.shape, generator=generator, dtype=value.dtype)
            for name, value in theta.items()}

    def inside(star):
        return {name: torch.minimum(torch.maximum(star[name], value - how.size * scale[name]),
                                    value + how.size * scale[name]) for name, value in theta.items()}

    star = inside(star) if how.project else star
    for _ in range(how.steps):
        loss = DISTANCES[how.loss](clean, on.logits(star), on.labels)
        slopes = torch.autograd.grad(loss, list(star.values()), create_graph=True)
        star = {name: star[name] + how.size / how.steps * scale[name] * torch.sign(slope)
                for name, slope in zip(star, slopes, strict=True)}
        star = inside(star) if how.project else star
    return star


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("loss", DISTANCE_NAMES)
@pytest.mark.parametrize("which", ["mlp", "lsnn"])
def test_the_gradient_is_that_of_the_unrolled_attack(which, loss, project):
    on, how = objective(which), Attack(size=0.2, steps=4, start=0.05, loss=loss, project=project)
    theta = list(on.parameters.values())
    value = DISTANCES[loss](on.logits(on.parameters), on.logits(unrolled(on, how, 7)), on.labels)
    full = torch.autograd.grad(value, theta, allow_unused=True)
    cheap_value = robust_distance(on.logits, on.parameters, how, generator=seeded(7), labels=on.labels)
    cheap = torch.autograd.grad(cheap_value, theta)
    assert abs(cheap_value - value).item() < 1e-12
    assert value.item() > 1e-4
    largest = max(gradient.abs().max().item() for gradient in full)
    assert largest > 1e-3
    for one, other in zip(full, cheap, strict=True):
        assert (one - other).abs().max().item() < 1e-12


def test_the_jacobian_is_the_published_diagonal():
    """J = 1 + sign(theta) [e0 R + zeta / N sum of signs], without a clip."""
    on, how = objective("mlp"), Attack(size=0.1, steps=3, project=False)
    u = attack(on.logits, on.parameters, how, generator=seeded(3))
    star = moved(on.parameters, u)
    for name, value in on.parameters.items():
        weights = torch.rand(value.shape, generator=seeded(4), dtype=value.dtype)
        (slope,) = torch.autograd.grad((weights * star[name]).sum(), value)
        assert torch.allclose(slope, weights * (1 + value.detach().sign() * u[name]), rtol=1e-14)
    draws = gaussian(on.parameters, relative, 1e-3, seeded(3))
    for name, value in on.parameters.items():  # what is left of the start is a whole number of steps
        if (value == 0).any():
            continue
        steps = (u[name] - draws[name]) / (0.1 / 3)
        assert torch.allclose(steps, steps.round(), atol=1e-9)
        assert steps.abs().max() <= 3 + 1e-9


@given(size=st.floats(0, 0.9), steps=st.integers(1, 4), seed=st.integers(0, 99), loss=st.sampled_from(DISTANCE_NAMES))
@settings(max_examples=25, deadline=None)
def test_the_attack_stays_in_its_box_and_leaves_zeros(size, steps, seed, loss):
    on = objective("mlp")
    before = {name: value.detach().clone() for name, value in on.parameters.items()}
    u = attack(on.logits, on.parameters, Attack(size=size, steps=steps, loss=loss, start=0.1), generator=seeded(seed),
               labels=on.labels)
    for name, value in moved(on.parameters, u).items():
        assert (on.parameters[name] == before[name]).all()
        assert on.parameters[name].grad is None
        assert not u[name].requires_grad
        assert ((value - before[name]).abs() <= size * before[name].abs() * (1 + 1e-12) + 1e-15).all()
        assert (value[before[name] == 0] == 0).all()


def test_the_diagonal_of_the_recurrence_stays():
    on = objective("lsnn")
    u = attack(on.logits, on.parameters, Attack(size=0.5), generator=seeded())
    star = moved(on.parameters, u)
    assert (torch.diagonal(star["w_rec"]) == 0).all()
    assert ((star["w_rec"] - on.parameters["w_rec"]) != 0).float().mean() > 0.5


@pytest.mark.parametrize("which", ["mlp", "lsnn"])
def test_an_attack_is_worse_than_chance_and_grows_with_its_steps(which):
    on, how = objective(which), Attack(size=0.1, steps=10)
    clean = on.logits(on.parameters)

    def distance(u):
        return kl(clean, on.logits(moved(on.parameters, u))).item()

    attacked = distance(attack(on.logits, on.parameters, how, generator=seeded()))
    chance = [distance(corners(on.parameters, relative, 0.1, seeded(seed))) for seed in range(10)]
    assert attacked > 2 * max(chance)
    several = distance(attack(on.logits, on.parameters, Attack(size=0.1, steps=10, restarts=4), generator=seeded()))
    assert several >= attacked


def test_restarts_take_the_worst_of_their_ends():
    on = objective("lsnn")
    generator, ends = seeded(5), []
    for _ in range(3):
        u = attack(on.logits, on.parameters, Attack(size=0.1, steps=2, start=0.05), generator=generator)
        ends.append(kl(on.logits(on.parameters), on.logits(moved(on.parameters, u))).item())
    u = attack(on.logits, on.parameters, Attack(size=0.1, steps=2, start=0.05, restarts=3), generator=seeded(5))
    assert kl(on.logits(on.parameters), on.logits(moved(on.parameters, u))).item() == max(ends)
    assert max(ends) > min(ends)


def test_boxes_of_devices_and_logarithmic_coordinates():
    on = objective("mlp")
    names = list(on.parameters)
    box = {names[0]: torch.rand(32, 12, generator=seeded(8), dtype=torch.float64)}
    box[names[0]][5:] = 0  # a mask
    u = attack(on.logits, on.parameters, Attack(size=1.0, steps=3), generator=seeded(),
               reach={names[0]: Within(box[names[0]])})
    assert list(u) == names[:1]
    star = moved(on.parameters, u, {names[0]: Within(box[names[0]])})
    far = (star[names[0]] - on.parameters[names[0]]).abs()
    assert (far <= box[names[0]] * (1 + 1e-12)).all()
    assert far[:5].max() > 0.5
    assert (far[5:] == 0).all()
    assert star[names[1]] is on.parameters[names[1]]

    sigma = Within(torch.full((32, 12), 0.3, dtype=torch.float64), log=True)
    u = attack(on.logits, on.parameters, Attack(size=2.0, steps=3), generator=seeded(), reach={names[0]: sigma})
    ratio = moved(on.parameters, u, {names[0]: sigma})[names[0]][3:] / on.parameters[names[0]][3:]
    assert (ratio > 0).all()
    assert ratio.log().abs().max().item() == pytest.approx(0.6, rel=1e-12)
    with pytest.raises(NeurosimError, match="reach: there is no parameter 'w'"):
        attack(on.logits, on.parameters, generator=seeded(), reach={"w": sigma})


def test_the_gradient_passes_the_jacobian_of_any_move():
    """Lognormal: theta* = theta exp(0.3 u), so J = exp(0.3 u); checked against finite differences at fixed u."""
    on = objective("mlp")
    reach = {name: Within(torch.full_like(value, 0.3), log=True) for name, value in on.parameters.items()}
    u = attack(on.logits, on.parameters, Attack(size=1.0, steps=3), generator=seeded(1), reach=reach)

    def value(parameters):
        return kl(on.logits(parameters), on.logits({n: v * (0.3 * u[n]).exp() for n, v in parameters.items()}))

    loss = robust_distance(on.logits, on.parameters, Attack(size=1.0, steps=3), generator=seeded(1), reach=reach)
    slopes = dict(zip(on.parameters, torch.autograd.grad(loss, list(on.parameters.values())), strict=True))
    for name, parameter in on.parameters.items():
        direction = torch.randn(parameter.shape, generator=seeded(2), dtype=torch.float64)
        ends = [value({**on.parameters, name: parameter.detach() + sign * 1e-6 * direction}).item() for sign in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx((slopes[name] * direction).sum().item(), rel=1e-5, abs=1e-9)


def test_an_attack_around_a_draw_keeps_its_box_around_it():
    on = objective("mlp")
    draw = gaussian(on.parameters, relative, 0.5, seeded(3))
    u = attack(on.logits, on.parameters, Attack(size=0.05, steps=2), generator=seeded(), around=draw)
    for name in u:
        assert ((u[name] - draw[name]).abs() <= 0.05 + 1e-12).all()
    clean = on.logits(on.parameters)
    assert kl(clean, on.logits(moved(on.parameters, u))) > kl(clean, on.logits(moved(on.parameters, draw)))


def test_straight_through_has_the_values_of_one_and_the_gradient_of_the_other():
    value = torch.tensor([2.0, -3.0], requires_grad=True)
    there = straight_through({"w": value}, {"w": value * 5})["w"]
    (slope,) = torch.autograd.grad((there * torch.tensor([1.0, 2.0])).sum(), value)
    assert there.tolist() == [10, -15]
    assert slope.tolist() == [1, 2]


def test_distances_are_those_of_the_book():
    clean, attacked = (torch.randn(7, 4, generator=seeded(seed), dtype=torch.float64) for seed in (0, 1))
    p, q = softmax(clean, 1), softmax(attacked, 1)
    m = (p + q) / 2
    expected = kl_div(log_softmax(attacked, 1), p, reduction="batchmean")
    assert kl(clean, attacked).item() == pytest.approx(expected.item(), rel=1e-12)
    steep = 9 * attacked
    floored = (p * (p / torch.where(softmax(steep, 1) < 1e-6, 1e-6, softmax(steep, 1))).log()).sum() / 7
    assert kl_floor(clean, steep).item() == pytest.approx(floored.item(), rel=1e-12)
    assert kl_floor(clean, steep).item() < 0.9 * kl(clean, steep).item()
    assert reverse_kl(clean, attacked).item() == pytest.approx(
        kl_div(log_softmax(clean, 1), q, reduction="batchmean").item(), rel=1e-12)
    assert js(clean, attacked).item() == pytest.approx(
        ((p * (p / m).log() + q * (q / m).log()).sum() / 14).item(), rel=1e-12)
    assert l2(clean, attacked).item() == pytest.approx(
        np.linalg.norm(clean.numpy() - attacked.numpy(), axis=1).mean(), rel=1e-12)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    assert task(clean, attacked, labels).item() == pytest.approx(-q[range(7), labels].log().mean().item(), rel=1e-12)
    assert js(torch.tensor([[99.0, 0]]), torch.tensor([[0, 99.0]])).item() == pytest.approx(math.log(2))


def test_normalisation_layers_keep_their_statistics_from_the_task_alone():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).train()
    on = Objective(net, torch.randn(8, 4, generator=seeded()), torch.arange(8) % 3, lambda output: output,
                   untouched=("1.*",))
    before = {name: value.clone() for name, value in net.named_buffers()}
    u = attack(on.logits, on.parameters, Attack(size=0.3), generator=seeded(), reach=on.reach)
    assert list(u) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all((value == before[name]).all() for name, value in net.named_buffers())
    on.loss(on.parameters)
    assert net[1].num_batches_tracked == 1
    assert torch.equal(on.logits(on.parameters), functional_call(net, dict(net.named_parameters()), (on.inputs,)))


@pytest.mark.parametrize(("given", "message"), [
    ({"size": -1.0}, "size is -1.0"), ({"steps": 0}, "steps is 0"), ({"restarts": 1.5}, "restarts is 1.5"),
    ({"start": float("nan")}, "start is nan"), ({"loss": "kll"}, "did you mean 'kl'"),
])
def test_what_cannot_be_an_attack_is_refused(given, message):
    with pytest.raises(NeurosimError, match=message):
        Attack(**given)


def test_what_an_attack_misses_is_said():
    on = objective("mlp")
    with pytest.raises(NeurosimError, match="the task's loss needs labels"):
        attack(on.logits, on.parameters, Attack(loss="task"), generator=seeded())
    with torch.no_grad():
        on.parameters["0.weight"].fill_(math.nan)
    with pytest.raises(NeurosimError, match=r"attack of size 0\.1: the loss is nan at the attacked"):
        attack(on.logits, on.parameters, generator=seeded())
