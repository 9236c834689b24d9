"""Accuracy against the size of attacks and of random changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.errors import NeurosimError
from neurosim.training import LSNN, Attack, Objective, attack, moved, train, vulnerability, vulnerable
from neurosim.training.deviations import corners, gaussian, relative


@pytest.fixture(scope="module")
def trained() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    inputs = np.clip(np.eye(3, 8)[labels] * 1.2 + rng.normal(0, 0.3, (90, 8)), 0, None).astype(np.float32)
    inputs = np.repeat(inputs[None], 8, axis=0)
    model = train(LSNN(8, 3, units=24), inputs, labels, epochs=15, batch_size=30, learning_rate=2e-2).model
    return model.double(), torch.tensor(inputs).double(), torch.tensor(labels)


def accuracy(on: Objective, u: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        return (on.logits(moved(on.parameters, u)).argmax(1) == on.labels).double().mean().item()


def test_points_are_those_of_the_attack_and_of_the_draws(trained):
    model, inputs, labels = trained
    how = Attack(loss="task", steps=3)
    found = vulnerability(lambda x, y: Objective(model, x, y), inputs, labels, (0.4, 0.1), how=how, draws=3, seed=6)
    on, source = Objective(model, inputs, labels), torch.Generator().manual_seed(6)
    assert found.accuracy == accuracy(on, {}) > 0.8
    assert [point.size for point in found.points] == [0.1, 0.4]
    for point in found.points:
        u = attack(on.logits, on.parameters, Attack(point.size, 3, loss="task"), generator=source, labels=labels)
        assert point.attacked == accuracy(on, u)
        signs, normal = ([accuracy(on, draw(on.parameters, relative, point.size, source)) for _ in range(3)]
                         for draw in (corners, gaussian))
        assert (point.corner_mean, point.corner_least) == (pytest.approx(np.mean(signs)), min(signs))
        assert (point.gaussian_mean, point.gaussian_least) == (pytest.approx(np.mean(normal)), min(normal))
    assert found.points[1].attacked < found.points[1].corner_least
    assert found.points[1].attacked < found.points[0].attacked


def test_accuracies_are_shares_of_the_samples(trained):
    model, inputs, labels = trained
    found = vulnerability(lambda x, y: Objective(model, x, y), inputs, labels, (0.3,), draws=1).as_dict()
    for value in (found["accuracy"], found["points"][0]["attacked"], found["points"][0]["corner_mean"]):
        assert value == round(90 * value) / 90
    assert found["attack"] == {"steps": 10, "start": 1e-3, "loss": "task", "restarts": 1, "project": True}


def test_parts_give_the_gradient_of_all_samples(trained, monkeypatch):
    model, inputs, labels = trained
    given = (lambda x, y: Objective(model, x, y), inputs, labels, (0.05, 0.3))
    whole = vulnerability(*given, draws=2)
    monkeypatch.setattr(vulnerable, "_CHUNK", 25)
    assert vulnerability(*given, draws=2) == whole


def test_what_has_no_size_is_refused(trained):
    model, inputs, labels = trained
    for options, message in (({"sizes": ()}, "sizes are"), ({"sizes": (-1.0,)}, "sizes are"),
                             ({"draws": 0}, "draws is 0")):
        with pytest.raises(NeurosimError, match=message):
            vulnerability(lambda x, y: Objective(model, x, y), inputs, labels, **options)
