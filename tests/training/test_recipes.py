"""Each recipe against its mathematics, written out in numpy for softmax regression, and its refusals."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training import LSNN, RECIPES, Moment, Objective, make_recipe, spiking_mlp, train
from neurosim.training.deviations import relative
from neurosim.training.monitoring import noisy_accuracy
from neurosim.training.recipe import END, Recipe

RNG = np.random.default_rng(2)
WEIGHT, X, LABELS = RNG.normal(size=(3, 5)), RNG.normal(size=(4, 7, 5)), RNG.integers(0, 3, 7)
WEIGHT[0, 2] = 0
MEAN = X.mean(axis=0)


class Regression(nn.Module):
    """``y_t = (m x_t) W^T``, and the inputs as spikes; m is the mask."""

    units = 5

    def __init__(self, weight: np.ndarray = WEIGHT) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = inputs if mask is None else inputs * mask
        return inputs @ self.weight.T, inputs


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def task(weight: np.ndarray, mean: np.ndarray = MEAN) -> tuple[float, np.ndarray]:
    """Cross-entropy and its gradient with respect to the weights."""
    p = softmax(mean @ weight.T)
    return -np.log(p[np.arange(7), LABELS]).mean(), (p - np.eye(3)[LABELS]).T @ mean / 7


def kl(weight: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """KL(p || q), its gradient with respect to the weights of p and to those of q."""
    p, q = softmax(MEAN @ weight.T), softmax(MEAN @ other.T)
    each = (p * np.log(p / q)).sum(axis=1)
    return each.mean(), (p * (np.log(p / q) - each[:, None])).T @ MEAN / 7, (q - p).T @ MEAN / 7


def generator(seed: int = 11) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(source: torch.Generator) -> np.ndarray:
    return torch.randn(3, 5, generator=source, dtype=torch.float64).numpy()


def objective(model: nn.Module | None = None, **more: object) -> Objective:
    return Objective(model or Regression(), torch.tensor(X), torch.tensor(LABELS), "mean", **more)


def result(name: str, at: Moment = END, on: Objective | None = None, **settings: object) -> tuple[float, np.ndarray]:
    """Value and gradient that the recipe gives, and that its module is left as it was."""
    on = on or objective()
    loss = make_recipe(name, **settings).loss(on, generator(), at)
    loss.backward()
    np.testing.assert_array_equal(on.model.weight.detach(), WEIGHT)
    return loss.item(), on.model.weight.grad.numpy()


def assert_same(found: tuple[float, np.ndarray], value: float, gradient: np.ndarray) -> None:
    assert abs(gradient).max() > 1e-3
    assert found[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-10, atol=1e-14)


def attacked(loss_slope, size: float, steps: int, start: np.ndarray, around: float | np.ndarray = 0.0) -> np.ndarray:
    """u of an attack: signed steps, clipped; `loss_slope(weight*)` is the gradient of what it makes large."""
    u = np.clip(start, -size, size)
    for _ in range(steps):
        slope = loss_slope(WEIGHT + abs(WEIGHT) * (u + around))
        u = np.clip(u + size / steps * np.sign(slope * abs(WEIGHT)), -size, size)
    return u + around


def test_standard_is_the_loss_of_the_task():
    assert_same(result("standard"), *task(WEIGHT))


def test_the_rate_penalty_is_a_sum_over_batch_and_neurons():
    x = torch.zeros(10, 2, 3)
    x[:4, 0, 1] = 1  # 0.4 spikes per step; the five others 0
    on = Objective(Regression(np.zeros((2, 3), np.float32)), x, torch.tensor([0, 1]), "sum", 0.5)
    loss = make_recipe("standard").loss(on, generator())
    assert loss.item() == pytest.approx(math.log(2) + 0.5 * (0.39**2 + 5 * 0.01**2), rel=1e-6)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_dropout_silences_neurons_of_samples_or_of_the_batch(rescale, shared):
    draws = torch.rand(1 if shared else 7, 5, generator=generator()).numpy()
    mask = (draws >= 0.4) / (0.6 if rescale else 1.0) * np.ones((7, 1))
    assert 5 < (mask > 0).sum() < 30
    assert_same(result("dropout", p=0.4, rescale=rescale, shared=shared), *task(WEIGHT, MEAN * mask))


@pytest.mark.parametrize("model", [LSNN(5, 3, units=16, seed=1), spiking_mlp(5, 3, hidden=16)])
def test_a_masked_neuron_is_not_heard(model):
    """A mask of zeros and ones is the network without the outgoing weights of those neurons."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            value *= 5 if name == "w_rec" else 2
    inputs = torch.randn(40, 6, 5, generator=generator()) * 2
    mask = (torch.arange(16) % 3 > 0).float()
    output, spikes = model(inputs, mask.expand(6, -1))
    assert spikes.sum(dim=(0, 1))[mask == 0].sum() == 0
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name in ("w_rec", "w_out"):
                value *= mask[:, None]
            elif name == "fc2.weight":
                value *= mask
    alone, heard = model(inputs)
    assert heard.sum(dim=(0, 1))[mask == 0].sum() > 20
    torch.testing.assert_close(heard * mask, spikes)
    torch.testing.assert_close(alone, output)


def test_dropout_on_spikes_keeps_the_neurons_own_time():
    """With a mask that rescales, reset, adaptation and refractory period follow the spikes, not what is sent."""
    model = LSNN(5, 3, units=16, seed=1)
    with torch.no_grad():
        model.w_in *= 2
        model.w_rec.zero_()
    inputs = torch.randn(40, 6, 5, generator=generator()) * 2
    assert model(inputs)[1].sum() > 100
    assert torch.equal(model(inputs, torch.full((6, 16), 1.25))[1], 1.25 * model(inputs)[1])


def test_forward_noise_has_the_gradient_of_the_noisy_place():
    xi = normal(generator())
    assert_same(result("forward_noise", eta=0.4), *task(WEIGHT + 0.4 * abs(WEIGHT) * xi))


def adversarial(size: float, steps: int, source: torch.Generator, start: float = 1e-3
                ) -> tuple[float, np.ndarray]:
    """L_rob and its gradient: g1 + J g2, J = 1 + sign(T) u."""
    u = attacked(lambda w: kl(WEIGHT, w)[2], size, steps, start * normal(source))
    value, g1, g2 = kl(WEIGHT, WEIGHT + abs(WEIGHT) * u)
    return value, g1 + (1 + np.sign(WEIGHT) * u) * g2


def test_adversarial_is_the_published_loss_and_gradient():
    value, gradient = task(WEIGHT)
    robust, slope = adversarial(0.2, 3, generator())
    assert robust > 1e-3
    assert_same(result("adversarial", beta=0.7, size=0.2, steps=3), value + 0.7 * robust, gradient + 0.7 * slope)


def test_hybrid_has_noise_in_the_task_alone():
    source = generator()
    value, gradient = task(WEIGHT + 0.3 * abs(WEIGHT) * normal(source))
    robust, slope = adversarial(0.2, 3, source)
    assert_same(result("hybrid", beta=0.7, size=0.2, steps=3), value + 0.7 * robust, gradient + 0.7 * slope)


def test_the_distance_of_an_attack_may_be_the_task():
    u = attacked(lambda w: task(w)[1], 0.2, 3, 1e-3 * normal(generator()))
    value, gradient = task(WEIGHT)
    robust, slope = task(WEIGHT + abs(WEIGHT) * u)
    assert_same(result("adversarial", beta=0.5, size=0.2, steps=3, distance="task"), value + 0.5 * robust,
                gradient + 0.5 * (1 + np.sign(WEIGHT) * u) * slope)


def test_awp_applies_the_gradient_of_the_attacked_place():
    u = attacked(lambda w: task(w)[1], 0.3, 4, 1e-3 * normal(generator()))
    assert_same(result("awp", size=0.3, steps=4, gamma=0.5), *task(WEIGHT + 0.5 * abs(WEIGHT) * u))


def test_awp_attacks_the_inputs_first():
    source, size = generator(), 0.6
    x = X + size * (2 * torch.rand(4, 7, 5, generator=source, dtype=torch.float64).numpy() - 1)
    for _ in range(3):
        p = softmax(x.mean(axis=0) @ WEIGHT.T)
        slope = (p - np.eye(3)[LABELS]) @ WEIGHT  # the same for every time step but for a factor
        x = np.clip(x + size / 3 * np.sign(slope), X - size, X + size)
    mean = x.mean(axis=0)
    u = attacked(lambda w: task(w, mean)[1], 0.3, 2, 1e-3 * normal(source))
    assert_same(result("awp", size=0.3, steps=2, inputs=size), *task(WEIGHT + abs(WEIGHT) * u, mean))


@pytest.mark.parametrize("relative", [True, False])
def test_amp_climbs_in_a_euclidean_ball(relative):
    radius = 0.3 * (np.linalg.norm(WEIGHT) if relative else 1)
    there = WEIGHT
    for _ in range(4):
        slope = task(there)[1]
        there = there + radius / 4 * slope / np.linalg.norm(slope)
    assert_same(result("amp", epsilon=0.3, steps=4, relative=relative), *task(there))


def test_sam_and_asam():
    slope = task(WEIGHT)[1]
    assert_same(result("sam", rho=0.4), *task(WEIGHT + 0.4 * slope / np.linalg.norm(slope)))
    scale = abs(WEIGHT) + 0.05
    there = WEIGHT + 0.4 * scale**2 * slope / np.linalg.norm(scale * slope)
    assert_same(result("asam", rho=0.4, eta=0.05), *task(there))


def test_sam_takes_one_norm_of_all_tensors():
    """Two tensors that together are the weights: the same gradient."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.tensor(part)) for part in (WEIGHT[:, :2], WEIGHT[:, 2:]))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs @ torch.cat([self.a, self.b], dim=1).T

    for name in ("sam", "asam"):
        on = objective(Halves())
        make_recipe(name, rho=0.4).loss(on, generator()).backward()
        both = np.concatenate([on.model.a.grad, on.model.b.grad], axis=1)
        np.testing.assert_allclose(both, result(name, rho=0.4)[1], rtol=1e-10)


def test_abcd_climbs_with_one_half_and_descends_with_the_other():
    climbs = torch.rand(3, 5, generator=generator()).numpy() < 0.5
    value, gradient = task(WEIGHT + 0.5 * climbs * task(WEIGHT)[1])
    assert 3 < climbs.sum() < 12
    assert_same(result("abcd", eta=0.5), value, gradient * ~climbs)
    assert make_recipe("abcd", inner=3).rounds == 3


def test_entropy_sgd_pulls_to_the_mean_of_its_walk():
    source = generator()
    x, mean, velocity, losses, gamma = WEIGHT, WEIGHT, np.zeros((3, 5)), [], 0.3 * 1.01**7
    for _ in range(4):
        value, slope = task(x)
        losses.append(value)
        d = slope + gamma * (x - WEIGHT)
        velocity = 0.9 * velocity + d
        x = x - 0.2 * (d + 0.9 * velocity) + math.sqrt(0.2) * 0.01 * normal(source)
        mean = 0.25 * mean + 0.75 * x
    found = result("entropy_sgd", Moment(0.5, 7), steps=4, rate=0.2, noise=0.01, gamma0=0.3, gamma1=0.01)
    assert_same(found, np.mean(losses), gamma * (WEIGHT - mean))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("update", "parts"), [(0, (0.25, 0.75)), (1, (0.5, 1.0))])
def test_robust_is_noise_consistency_and_an_attack_around_each_draw(exact, update, parts):
    source = generator()
    clean, beta, rise = 0.3, 0.8, (1 - math.cos(math.pi / 4)) / 2
    value, gradient = task(WEIGHT)
    value, gradient = clean * value, clean * gradient
    for part in parts:
        draw = part * rise * 0.6 * normal(source)
        normal(source)  # the start of the attack, of size zero
        u = attacked(lambda w: kl(WEIGHT, w)[2], rise * 0.1, 2, np.zeros((3, 5)), draw)
        there = WEIGHT + abs(WEIGHT) * u
        noisy, slope = task(there)
        apart, g1, g2 = kl(WEIGHT, there)
        jacobian = 1 + np.sign(WEIGHT) * u if exact else 1.0
        value += ((1 - clean) * noisy + rise * beta * apart) / 2
        gradient = gradient + ((1 - clean) * jacobian * slope + rise * beta * (g1 + jacobian * g2)) / 2
    assert_same(result("robust", Moment(0.1, 5, update), eta=0.6, inner=2, draws=2, clean=clean, beta=beta, size=0.1,
                       steps=2, ramp=0.4, exact=exact, reference="clean"), value, gradient)


def test_robust_is_noise_that_rises_over_the_updates_with_a_batch():
    recipe = make_recipe("robust", eta=0.8, inner=4)
    assert recipe.rounds == 4
    for update in range(4):
        there = WEIGHT + abs(WEIGHT) * 0.2 * (update + 1) * normal(generator())
        assert_same(result("robust", Moment(0.5, 3, update), eta=0.8, inner=4), *task(there))


def test_every_update_with_a_batch_is_told_which_it_is():
    seen = []

    class Counting(Recipe):
        source = "this test"
        rounds = 3

        def loss(self, on: Objective, generator: torch.Generator, at: Moment = END) -> torch.Tensor:
            seen.append((at.step, at.round))
            return on.loss(on.parameters)

    train(Regression(), X, LABELS, recipe=Counting(), epochs=1, batch_size=2, readout="mean")
    assert seen == [(step, number) for step in range(-(-LABELS.size // 2)) for number in range(3)]


def test_inputs_is_a_setting_of_awp_as_well():
    plain, both = (train(Regression(), X, LABELS, recipe="awp", epochs=1, readout="mean", **more)
                   for more in ({}, {"inputs": 0.5}))
    assert both.settings["inputs"] == 0.5
    assert not torch.equal(plain.model.weight, both.model.weight)


@pytest.mark.parametrize("reference", ["average", "teacher"])
def test_robust_may_be_held_to_a_steadier_network(reference):
    steady = WEIGHT * 0.7
    steadier = {"average": {"weight": torch.tensor(steady)}, "teacher": Regression(steady)}
    on = objective(**{reference: steadier[reference]})
    there = WEIGHT + abs(WEIGHT) * 0.6 * normal(generator())
    value, gradient = task(there)
    apart, _, slope = kl(steady, there)
    assert_same(result("robust", on=on, eta=0.6, inner=1, beta=0.8, reference=reference), value + 0.8 * apart,
                gradient + 0.8 * slope)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"standard", "dropout", "entropy_sgd"}))
def test_what_moves_nothing_is_refused(name):
    on = objective(untouched=["*"])
    with pytest.raises(NeurosimError, match="nothing to move"):
        make_recipe(name).loss(on, generator())


def test_validation_under_mismatch_is_the_clean_one_where_nothing_varies():
    parameters = {"weight": torch.tensor(WEIGHT)}
    samples = (torch.tensor(X), torch.tensor(LABELS))
    found = [noisy_accuracy(Regression(), parameters, samples, "mean", reach, 5.0, 3, 0) for reach in ({}, relative)]
    clean = (softmax(MEAN @ WEIGHT.T).argmax(axis=1) == LABELS).mean()
    assert found[0] == pytest.approx(clean)
    assert found[1] != pytest.approx(clean)


def test_robust_without_a_teacher_is_refused():
    with pytest.raises(NeurosimError, match="there is no teacher"):
        result("robust", reference="teacher", beta=0.5)


class Biased(Regression):
    """The regression with biases, which are zero and may be moved."""

    seen: list[torch.Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((3,), 0.1, dtype=torch.float64))
        self.seen = []

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append((self.weight.detach().clone(), self.bias.detach().clone()))
        output, spikes = super().forward(inputs, mask)
        return output + self.bias, spikes


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("standard", "dropout", "entropy_sgd")])
def test_untouched_parameters_are_learnt_but_not_moved(name):
    on = objective(Biased(), untouched=("wei*",))
    make_recipe(name).loss(on, generator()).backward()
    assert all((weight == torch.tensor(WEIGHT)).all() for weight, _ in on.model.seen)
    assert any((bias != 0.1).any() for _, bias in on.model.seen)
    assert on.model.weight.grad.abs().max() > 1e-3


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("hybird", {}, "did you mean 'hybrid'"),
    ("standard", {"eta": 0.1}, "recipe standard: there is no setting 'eta'.*allowed: none"),
    ("forward_noise", {"eta": -0.1}, "eta is -0.1"),
    ("forward_noise", {"eta": "0.1"}, "eta is '0.1'"),
    ("forward_noise", {"eta": True}, "eta is True"),
    ("hybrid", {"betta": 1}, "did you mean 'beta'"),
    ("hybrid", {"distance": "kll"}, "distance is 'kll'.*allowed: kl, kl_floor, reverse_kl"),
    ("adversarial", {"steps": 0}, "steps is 0.*allowed: 1 or more"),
    ("adversarial", {"steps": 1.5}, "a whole number"),
    ("amp", {"relative": 1}, "relative is 1.*true, false"),
    ("dropout", {"p": 1.0}, "p is 1.0"),
    ("robust", {"clean": 1.5}, "clean is 1.5.*0 to 1"),
    ("robust", {"draws": 0}, "draws is 0"),
    ("robust", {"inner": 0}, "inner is 0"),
    ("robust", {"reference": "average"}, "reference is 'average', and beta is 0.*give beta"),
])
def test_what_cannot_be_a_recipe_is_refused(name, settings, message):
    with pytest.raises(NeurosimError, match=message):
        make_recipe(name, **settings)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_say_where_they_are_from_and_describe_their_settings(name):
    recipe = RECIPES[name]
    assert len(recipe.source) > 3
    assert recipe.__doc__
    assert not recipe.__doc__.startswith(f"{recipe.__name__}(")
    described = "".join(cls.__doc__ for cls in recipe.__mro__ if issubclass(cls, recipe.__base__) or cls is recipe)
    for setting in fields(recipe):
        assert setting.name in described


def test_the_page_on_training_names_every_recipe_and_its_defaults():
    page = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    named = {name.strip(" `"): cells for names, *cells in rows for name in names.split(",")}
    assert set(named) == set(RECIPES)
    for name, cells in named.items():
        settings = re.findall(r"(\w+)=([\w.\"]+)", cells[-1].split(";")[-1 if name == "asam" else 0])
        assert settings or name in ("standard", "robust")
        for key, value in settings:
            assert getattr(make_recipe(name), key) == json.loads(value), (name, key)
