"""Named ways to train: what loss one batch has. A recipe knows neither the optimiser nor the epochs.

A recipe is `recipe(model, batch, settings, generator) -> loss`; batch is `(inputs [time, batch, channel], labels
[batch])`, settings are `COMMON` and its own, generator is the only source of its noise.
All of them have the task's loss in common,

    ``L = cross-entropy(logits, labels) + rate_penalty * sum over batch and neurons of (rate - 0.01)^2``

with logits the sum or the mean over time of the model's output, and rate the spikes per step of a hidden neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from neurosim.training.objective import Objective

Batch = tuple[torch.Tensor, torch.Tensor]
Settings = Mapping[str, float | str]
Recipe = Callable[[nn.Module, Batch, Settings, torch.Generator], torch.Tensor]


def task_loss(model: nn.Module, parameters: Mapping[str, torch.Tensor], batch: Batch, settings: Settings
              ) -> torch.Tensor:
    """The task's loss of one batch with `parameters` in the place of the model's own."""
    return Objective(model, *batch, settings["readout"], settings["rate_penalty"]).loss(parameters)


def standard(model: nn.Module, batch: Batch, settings: Settings, generator: torch.Generator) -> torch.Tensor:
    """The task's loss at the parameters themselves."""
    return task_loss(model, dict(model.named_parameters()), batch, settings)


def forward_noise(model: nn.Module, batch: Batch, settings: Settings, generator: torch.Generator) -> torch.Tensor:
    """The task's loss at ``T + stop_gradient(eta |T| xi)``, ``xi ~ N(0, 1)``: one new draw for the whole batch.

    The gradient goes to T as if the noise were a constant. Every trained tensor is perturbed.

    Source: Murray and Edwards, IEEE Trans. Neural Networks 5, 792 (1994); the relative form as in Buechel, Faber
    and Muir, ICLR 2022 (there eta = 0.3).
    """
    noisy = {}
    for name, value in model.named_parameters():
        fixed = value.detach()
        xi = torch.randn(fixed.shape, generator=generator, device=fixed.device, dtype=fixed.dtype)
        noisy[name] = value + settings["eta"] * fixed.abs() * xi
    return task_loss(model, noisy, batch, settings)


#: name: the recipe and its own settings with their defaults, beyond `COMMON`
RECIPES: dict[str, tuple[Recipe, dict[str, float]]] = {
    "standard": (standard, {}),
    "forward_noise": (forward_noise, {"eta": 0.3}),
}
#: settings of every recipe
COMMON: dict[str, float | str] = {"readout": "sum", "rate_penalty": 0.0}
