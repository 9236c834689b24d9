"""Loss along random directions: against a loss that can be written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.errors import NeurosimError
from neurosim.training import Objective, landscape, vulnerable


class Scaled(torch.nn.Module):
    """Logits (w, 0) whatever the input: the loss of class 0 is log(1 + exp(-w))."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        one = self.w.expand(*inputs.shape[:2], 1)
        return torch.cat([one, torch.zeros_like(one)], dim=2)


def found(**options: object):
    inputs, labels = torch.zeros(1, 7, 3, dtype=torch.float64), torch.zeros(7, dtype=torch.int64)
    return landscape(lambda x, y: Objective(Scaled(), x, y), inputs, labels, **options)


def test_losses_are_those_of_the_moved_parameter():
    seen = found(size=0.3, directions=3, points=21, furthest=1.5, seed=4)
    assert seen.steps == pytest.approx(np.linspace(-1.5, 1.5, 21))
    draw = torch.Generator().manual_seed(4)
    for row in seen.losses:
        v = 0.3 * 2.0 * torch.randn(1, generator=draw, dtype=torch.float64).item()
        assert row == pytest.approx(np.log1p(np.exp(-(2.0 + np.array(seen.steps) * v))))
    rises = np.abs(np.diff(seen.losses, axis=1)) / np.diff(seen.steps)
    assert seen.slope == pytest.approx(rises.mean())
    even = found(size=0.3, directions=1, points=2)  # no step of these is 0
    assert even.centre == seen.centre == pytest.approx(np.log1p(np.exp(-2.0)))


def test_as_published_by_default_and_in_parts_of_samples(monkeypatch):
    seen = found()
    assert (len(seen.losses), len(seen.steps), seen.steps[0], seen.steps[-1], seen.size) == (5, 50, -2, 2, 0.2)
    monkeypatch.setattr(vulnerable, "_CHUNK", 3)
    assert np.array(found().losses) == pytest.approx(np.array(seen.losses))


@pytest.mark.parametrize(("options", "said"), [({"directions": 0}, "directions is 0"), ({"points": 1}, "points is 1"),
                                               ({"size": 0.0}, "size is 0"), ({"furthest": -1.0}, "furthest is -1")])
def test_what_is_no_landscape(options, said):
    with pytest.raises(NeurosimError, match=said):
        found(**options)
