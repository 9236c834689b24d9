"""Train a torch module on plain arrays with a recipe; the same call gives the same parameters, bit for bit.

Takes its randomness from generators of its own: one for the order of the samples, one for a recipe's noise, so
that recipes see the same batches. Knows no task, no chip and no file; draws no progress bar (see `progress`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.training.objective import logits_of, output_of
from neurosim.training.recipes import COMMON, RECIPES, Recipe

Progress = Callable[[int, int, dict[str, float]], None]
Schedule = float | Sequence[tuple[int, float]]
_EVALUATED = 1000  # samples at a time, without gradient


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gives.

    Parameters
    ----------
    model:
        The module that was trained, now with its best parameters, on the CPU and in eval mode.
    best_epoch:
        The epoch they are from, the first is 1: the one with the best accuracy in validation, the later one of
        equals; without validation samples the last one.
    history:
        One entry per epoch for each of `loss` (mean over batches), `learning_rate`, `train_accuracy` and, where there
        is validation, `validation_accuracy`; the accuracies are those of the parameters without noise.
    recipe, settings, seed, data_hash:
        What was asked for; settings holds every number that shaped the result; data_hash is the SHA-256 of the arrays.
    """

    model: nn.Module
    best_epoch: int
    history: Mapping[str, tuple[float, ...]]
    recipe: str
    settings: Mapping[str, object]
    seed: int
    data_hash: str


def train(model: nn.Module, inputs: np.ndarray, labels: np.ndarray, *, recipe: str = "standard",
          epochs: int | None = None, batch_size: int = 100, learning_rate: Schedule = 1e-3,
          validation: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0, device: str = "cpu",
          progress: Progress | None = None, **settings: float | str) -> Trained:
    """Train `model` with Adam.

    Parameters
    ----------
    model:
        See `neurosim.training.models` for what it must return. It is changed in place.
    inputs, labels:
        `[time, sample, channel]` and whole numbers `[sample]`.
    recipe:
        A name in `neurosim.training.recipes.RECIPES`.
    epochs:
        How often every sample is seen. Not needed with a schedule; one that is given squeezes or stretches it.
    learning_rate:
        One number, or a schedule `[(epochs, rate), ...]` such as `[(150, 1e-3), (50, 1e-4)]`.
    validation:
        Inputs and labels that choose the best epoch.
    seed:
        Of the order of samples and of the recipe's noise; the model's start is the model's own matter.
    device:
        "cpu" or "cuda". Bit for bit the same only on "cpu", on one machine with one number of torch threads.
    progress:
        Called after every epoch with (epoch from 1, epochs, that epoch's entries of the history).
    settings:
        `readout` ("sum" or "mean" over time), `rate_penalty`, and those of the recipe.

    Raises
    ------
    NeurosimError
        For arrays that do not fit, an unknown recipe or setting, or a loss that is no longer a number.
    """
    loss_of, settings = _settings(recipe, settings)
    schedule = _schedule(epochs, learning_rate)
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise NeurosimError(f"batch_size is {batch_size!r}", where="train", allowed="a whole number from 1 up")
    place = _device(device)
    x, y = _tensors("inputs", inputs, labels, place)
    checked = None if validation is None else _tensors("validation", *validation, place)
    order_seed, noise_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(2))
    order = torch.Generator().manual_seed(order_seed)
    noise = torch.Generator(place).manual_seed(noise_seed)

    model.to(place)
    _fits(model, x, y, "inputs")
    if checked is not None:
        _fits(model, *checked, "validation")
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=schedule[0])
    history: dict[str, list[float]] = {}
    best_epoch, best_accuracy, best = 0, -1.0, {}
    for epoch, rate in enumerate(schedule, start=1):
        optimiser.param_groups[0]["lr"] = rate
        losses = []
        for chosen in torch.randperm(y.numel(), generator=order).split(batch_size):
            chosen = chosen.to(place)
            loss = loss_of(model, (x[:, chosen], y[chosen]), settings, noise)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        metrics = {"loss": torch.stack(losses).mean().item(), "learning_rate": rate,
                   "train_accuracy": _accuracy(model, x, y)}
        if not math.isfinite(metrics["loss"]):
            raise NeurosimError(f"the loss is {metrics['loss']} in epoch {epoch}", where=f"train, recipe {recipe}",
                                allowed="a finite number", hint=f"try a learning rate below {rate:g}")
        if checked is not None:
            metrics["validation_accuracy"] = _accuracy(model, *checked)
        for name, value in metrics.items():
            history.setdefault(name, []).append(value)
        if metrics.get("validation_accuracy", 0.0) >= best_accuracy:
            best_epoch, best_accuracy = epoch, metrics.get("validation_accuracy", 0.0)
            best = {name: value.detach().clone() for name, value in model.named_parameters()}
        if progress is not None:
            progress(epoch, len(schedule), metrics)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(best[name])
    model.to("cpu").eval()
    used = {**settings, "batch_size": int(batch_size), "epochs": len(schedule), "learning_rate": _steps(schedule)}
    return Trained(model, best_epoch, {name: tuple(values) for name, values in history.items()}, recipe, used, seed,
                   _hash(inputs, labels, *(validation or ())))


def _settings(recipe: str, given: Mapping[str, float | str]) -> tuple[Recipe, dict[str, float | str]]:
    if recipe not in RECIPES:
        raise NeurosimError(f"there is no recipe {recipe!r}", where="train", allowed=", ".join(RECIPES),
                            hint=did_you_mean(recipe, list(RECIPES)))
    loss_of, own = RECIPES[recipe]
    known = {**COMMON, **own}
    for name, value in given.items():
        if name not in known:
            raise NeurosimError(f"there is no setting {name!r}", where=f"recipe {recipe}", allowed=", ".join(known),
                                hint=did_you_mean(name, list(known)))
        if name == "readout":
            if value not in ("sum", "mean"):
                raise NeurosimError(f"readout is {value!r}", where=f"recipe {recipe}", allowed="sum, mean")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise NeurosimError(f"{name} is {value!r}", where=f"recipe {recipe}", allowed="a number from 0 up")
    return loss_of, {**known, **given}


def _schedule(epochs: int | None, learning_rate: Schedule) -> list[float]:
    """The learning rate of every epoch."""
    if epochs is not None and (isinstance(epochs, bool) or int(epochs) != epochs or epochs < 1):
        raise NeurosimError(f"epochs is {epochs!r}", where="train", allowed="a whole number from 1 up")
    if isinstance(learning_rate, (int, float)):
        if epochs is None:
            raise NeurosimError("epochs is missing", where="train", allowed="a whole number from 1 up")
        learning_rate = [(epochs, learning_rate)]
    rates: list[float] = []
    for count, rate in learning_rate:
        if isinstance(count, bool) or int(count) != count or count < 1 or not 0 < rate < math.inf:
            raise NeurosimError(f"{count!r} epochs at the learning rate {rate!r}", where="train",
                                allowed="one epoch or more, at a rate above 0")
        rates += [float(rate)] * int(count)
    if not rates:
        raise NeurosimError("the schedule of learning rates is empty", where="train", allowed="[(epochs, rate), ...]")
    return rates if epochs is None else [rates[i * len(rates) // epochs] for i in range(int(epochs))]


def _steps(rates: list[float]) -> list[list[float]]:
    """`[[epochs, rate], ...]` of the learning rates."""
    return [[len(list(same)), rate] for rate, same in groupby(rates)]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise NeurosimError(f"device is {name!r}", where="train", allowed="cpu, cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NeurosimError("there is no CUDA device", where="train", hint="take device='cpu'")
    return device


def _tensors(what: str, inputs: np.ndarray, labels: np.ndarray, device: torch.device
             ) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    if inputs.ndim < 3 or labels.shape != inputs.shape[1:2] or not labels.size or labels.dtype.kind not in "iu":
        raise NeurosimError(f"arrays {list(inputs.shape)} and {list(labels.shape)} of {labels.dtype}", where=what,
                            allowed="[time, sample, channel] and whole numbers [sample]")
    if not np.isfinite(inputs).all():
        raise NeurosimError("holds NaN or infinity", where=what, allowed="finite numbers")
    return (torch.tensor(inputs, dtype=torch.float32, device=device),
            torch.tensor(labels.astype(np.int64), device=device))


@torch.no_grad()
def _fits(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, what: str) -> None:
    """Run one sample, so that what does not fit is said before training."""
    try:
        output = output_of(model.eval()(inputs[:, :1]))
    except RuntimeError as error:
        raise NeurosimError(f"the model does not take [time, sample, channel] = {list(inputs.shape)}: {error}",
                            where=what) from error
    if output.ndim != 3 or output.shape[:2] != (inputs.shape[0], 1):
        raise NeurosimError(f"the model gives {list(output.shape)} for one sample of {list(inputs[:, :1].shape)}",
                            where=what, allowed="[time, sample, class]")
    if not 0 <= labels.min() <= labels.max() < output.shape[2]:
        raise NeurosimError(f"labels from {labels.min()} to {labels.max()}", where=what,
                            allowed=f"0 to {output.shape[2] - 1}, the model's outputs")


@torch.no_grad()
def _accuracy(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    hits = 0
    for x, y in zip(inputs.split(_EVALUATED, dim=1), labels.split(_EVALUATED)):
        hits += (logits_of(output_of(model(x)), "sum").argmax(dim=1) == y).sum().item()
    model.train()
    return hits / labels.numel()


def _hash(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()
