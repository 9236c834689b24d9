"""Train a torch module on plain arrays with a recipe; the same call gives the same parameters, bit for bit.

Takes its randomness from generators of its own: one for the order of the samples, one for a recipe's noise, so
that recipes see the same batches, and one for validation under mismatch, the same draws in every epoch. Knows no task
and no chip; draws no progress bar (see `progress`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training import checkpoints
from neurosim.training.checkpoints import State
from neurosim.training.monitoring import (
    Voices,
    accuracy,
    accuracy_on_dies,
    noisy_accuracy,
    refuse_mute_layers,
    refuse_what_is_no_number,
)
from neurosim.training.plan import Plan, make_plan
from neurosim.training.recipe import Moment, Recipe
from neurosim.training.recipes import settings_of
from neurosim.training.samples import (
    Samples,
    device_of,
    hash_of,
    refuse_what_does_not_fit,
    refuse_what_is_no_model,
    tensors,
)
from neurosim.training.schedule import Schedule

Progress = Callable[[int, int, dict[str, float]], None]
_LOOKED_AT = 1000  # training samples whose accuracy is taken after every epoch


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """What training gives.

    Parameters
    ----------
    model:
        The module that was trained, now with its best parameters, on the CPU and in eval mode.
    best_epoch:
        The epoch they are from, the first is 1: the one with the best accuracy in validation (under mismatch, if
        that chooses), the later one of equals; without validation samples the last one.
    history:
        One entry per epoch for each of `loss` (mean over batches), `learning_rate`, `train_accuracy` (of up to 1000
        samples) and, where there is validation, `validation_accuracy` and `noisy_validation_accuracy`.
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

    def __repr__(self) -> str:
        epochs, best = len(self.history["loss"]), {name: values[self.best_epoch - 1]
                                                   for name, values in self.history.items()}
        told = [f"{name.removesuffix('_accuracy').replace('_', ' ')} {value:.1%}" for name, value in best.items()
                if name.endswith("_accuracy")]
        return (f"Trained({type(self.model).__name__}, recipe {self.recipe}, seed {self.seed}: best epoch "
                f"{self.best_epoch} of {epochs}, loss {best['loss']:.4g}, accuracy in {', in '.join(told)})")


def train(model: nn.Module, inputs: np.ndarray, labels: np.ndarray, /, *, recipe: str | Recipe = "standard",
          epochs: int | None = None, batch_size: int = 100, learning_rate: Schedule = 1e-3,
          validation: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0, device: str = "cpu",
          readout: str = "sum", rate_penalty: float = 0.0, untouched: str | Sequence[str] = (),
          optimiser: str = "adam", weight_decay: float = 0.0, average: float | None = None,
          selection: str | None = None, mismatch: float = 0.3, mismatch_draws: int = 3,
          teacher: nn.Module | None = None, checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
          metrics: str | os.PathLike[str] | None = None, progress: Progress | None = None,
          tick: Callable[[int, int], None] | None = None, **settings: object) -> Trained:
    """Train `model` by gradients of a recipe's loss.

    Parameters
    ----------
    model:
        See `neurosim.training.models` for what it must return. It is changed in place. With an `OnChip`, recipes move
        devices, in units of their spread; noise that is left open is one such unit (`on_chip.ON_CHIP`).
    inputs, labels:
        `[time, sample, *shape]` and whole numbers `[sample]`.
    recipe:
        A name in `neurosim.training.recipes.RECIPES`, or a `Recipe`.
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
    readout, rate_penalty, untouched:
        Of the task's loss, and patterns of parameters that no noise and no attack reaches; see `Objective`.
    optimiser, weight_decay:
        "adam", or "sgd" with Nesterov's momentum 0.9.
    average:
        The parameters that are validated and kept are a running average over updates t with this factor, at first
        ``min(average, (1 + t) / (10 + t))``. 0 is none; default: what the recipe says.
    selection:
        "clean" or "noisy": which validation chooses the best epoch; default: what the recipe says.
    mismatch, mismatch_draws:
        Noisy validation: mean over so many networks, the same in every epoch, with every parameter times
        ``1 + mismatch N(0, 1)``; of an `OnChip`, over so many dies of a lot of their own. 0 draws leave it out.
    teacher:
        A module for a recipe that compares with one; it is not changed. With it, "robust" has reference = "teacher" and
        beta = 0.5.
    checkpoint, resume:
        File that is written after every epoch. With `resume` a run goes on from there, or begins if there is none; the
        result is that of a run without the interruption. Without, an unfinished run's file is not overwritten.
    metrics:
        File of one JSON object per epoch and line.
    progress:
        Called after every epoch with (epoch from 1, epochs, that epoch's entries of the history), after a resume for
        the last epoch of before as well: `progress=print` will do.
    tick:
        Called after every batch with (batches done, batches in all).
    settings:
        Those of the recipe, if it is given by its name.

    Raises
    ------
    NeurosimError
        For arrays that do not fit, an unknown recipe or setting, a checkpoint of something else, a loss that is no
        longer a number, or a layer that is silent or saturated for three epochs.
    """
    refuse_what_is_no_model(model)
    if isinstance(recipe, str) and hasattr(model, "recipe_settings"):
        settings = {**model.recipe_settings(recipe), **settings}
    if teacher is not None and isinstance(recipe, str) and "reference" in settings_of(recipe):
        settings = {"reference": "teacher", "beta": 0.5, **settings}
    plan = make_plan(recipe, settings, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, seed=seed,
                     readout=readout, rate_penalty=rate_penalty, untouched=untouched, optimiser=optimiser,
                     weight_decay=weight_decay, average=average, selection=selection, mismatch=mismatch,
                     mismatch_draws=mismatch_draws)
    plan.refuse_wrong_teacher(teacher)
    seed = plan.seed
    place = device_of(device)
    number = next(model.parameters()).dtype
    samples = tensors("inputs", (inputs, labels), place, number)
    checked = None if validation is None else tensors("validation", validation, place, number)
    data_hash = hash_of(inputs, labels, *(validation or ()))
    manifest = {**plan.settings, "recipe": plan.name, "seed": seed, "data": data_hash, "start": _hash_of(model),
                "teacher": None if teacher is None else _hash_of(teacher), "chip": getattr(model, "provenance", None)}
    model.to(place)
    outputs = refuse_what_does_not_fit(model, samples, "inputs", plan.rate_penalty > 0)
    if checked is not None:
        refuse_what_does_not_fit(model, checked, "validation")
    if teacher is not None and (others := refuse_what_does_not_fit(teacher.to(place), samples, "teacher")) != outputs:
        raise NeurosimError(f"the teacher has {others} outputs", where="train", allowed=f"{outputs}, as the model")

    order_seed, noise_seed, look_seed = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(3))
    state = State(model, plan.optimiser_of(model), torch.Generator().manual_seed(order_seed),
                  torch.Generator(place).manual_seed(noise_seed),
                  {name: value.detach().clone() for name, value in model.named_parameters()} if plan.average else None)
    look = torch.randperm(samples[1].numel(), generator=torch.Generator().manual_seed(look_seed))[:_LOOKED_AT].to(place)
    looked_at = (samples[0][:, look], samples[1][look])
    if checkpoint is not None:
        if not resume and Path(checkpoint).exists():
            raise NeurosimError("an unfinished training run lies here", where=str(checkpoint),
                                hint="go on with --resume (resume=True), or remove it")
        if resume and checkpoints.resume(checkpoint, state, manifest) and progress is not None:
            progress(state.epoch, len(plan.rates), {name: values[-1] for name, values in state.history.items()})
    while state.epoch < len(plan.rates):
        try:
            loss = _epoch(plan, state, samples, teacher, tick)
            found = _look(plan, state, loss, looked_at, checked, look_seed)
        except NeurosimError:
            if checkpoint is not None:
                Path(checkpoint).unlink(missing_ok=True)  # what has diverged does not go on
            raise
        score = found.get("noisy_validation_accuracy" if plan.selection == "noisy" else "validation_accuracy", 0.0)
        if score >= state.best_score:
            state.remember(score)
        if checkpoint is not None:
            checkpoints.save(checkpoint, state, manifest)
        if metrics is not None:
            checkpoints.write_metrics(metrics, state.history)
        if progress is not None:
            progress(state.epoch, len(plan.rates), found)
    model.load_state_dict(state.best)
    model.to("cpu").eval()
    return Trained(model, state.best_epoch, {name: tuple(values) for name, values in state.history.items()}, plan.name,
                   plan.settings, seed, data_hash)


def _epoch(plan: Plan, state: State, samples: Samples, teacher: nn.Module | None,
           tick: Callable[[int, int], None] | None) -> float:
    """Every sample once; the mean loss."""
    inputs, labels = samples
    model, rate = state.model, plan.rates[state.epoch]
    state.epoch += 1
    state.optimiser.param_groups[0]["lr"] = rate
    batches = torch.randperm(labels.numel(), generator=state.order).to(labels.device).split(plan.batch_size)
    total, losses = len(batches) * len(plan.rates), []
    model.train()
    for chosen in batches:
        for number in range(plan.recipe.rounds):
            on = plan.objective(model, (inputs[:, chosen], labels[chosen]), average=state.average, teacher=teacher)
            loss = plan.recipe.loss(on, state.noise, Moment(state.step / total, state.step, number))
            state.optimiser.zero_grad()
            loss.backward()
            losses.append(loss.item())
            refuse_what_is_no_number(model, losses[-1], state.epoch, len(losses), plan.name, rate)
            state.optimiser.step()
        state.step += 1
        state.follow(plan.average)
        if tick is not None:
            tick(state.step, total)
    return sum(losses) / len(losses)


def _look(plan: Plan, state: State, loss: float, looked_at: Samples, checked: Samples | None, seed: int
          ) -> dict[str, float]:
    """How the network does after an epoch; enters the history."""
    model, rate = state.model, plan.rates[state.epoch - 1]
    voices = Voices(model)
    with voices.listening():
        found = {"loss": loss, "learning_rate": rate,
                 "train_accuracy": accuracy(model, state.parameters, looked_at, plan.readout)}
    mute = voices.mute()
    state.mute = {layer: state.mute.get(layer, 0) + 1 for layer in mute}
    refuse_mute_layers(state.mute, mute, state.epoch, rate)
    if checked is not None:
        found["validation_accuracy"] = accuracy(model, state.parameters, checked, plan.readout)
        if plan.mismatch_draws and hasattr(model, "shown_as"):
            found["noisy_validation_accuracy"] = accuracy_on_dies(
                model, state.parameters, checked, plan.readout, plan.mismatch_draws, seed)
        elif plan.mismatch_draws:
            reach = plan.objective(model, checked).reach
            found["noisy_validation_accuracy"] = noisy_accuracy(
                model, state.parameters, checked, plan.readout, reach, plan.mismatch, plan.mismatch_draws, seed)
    for name, value in found.items():
        state.history.setdefault(name, []).append(value)
    return found


def _hash_of(model: nn.Module) -> str:
    return hash_of(*(value.detach().cpu().numpy() for value in model.state_dict().values()))
