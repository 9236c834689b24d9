"""The state of a training run, and its file: all that the next epoch depends on, so that it comes out bit for bit.

A checkpoint is written beside its place and renamed after every epoch, so there is always a whole one. It is a torch
file of tensors and plain values, read with `weights_only`: reading runs no code of it.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.writing import made_in_memory, written_beside

_FORMAT = 1


@dataclass(eq=False)
class State:
    """A training run between two epochs.

    order, noise: the generators of the order of samples and of the recipe. average: running average of the parameters,
    if there is one. best: the model's tensors at best_epoch, whose score was best_score. mute: for how many epochs in a
    row a layer has said nothing.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    order: torch.Generator
    noise: torch.Generator
    average: dict[str, torch.Tensor] | None
    epoch: int = 0
    step: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: float = -1.0
    mute: dict[str, int] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Those that are evaluated and kept: the running average if there is one, or the model's own."""
        return self.average if self.average is not None else dict(self.model.named_parameters())

    def follow(self, average: float) -> None:
        """Let the running average take in the parameters after update `step`."""
        if self.average is None:
            return
        keep = min(average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                self.average[name].lerp_(value, 1 - keep)

    def remember(self, score: float) -> None:
        """Keep what is there now as the best."""
        self.best = {name: value.detach().clone() for name, value in
                     {**self.model.state_dict(), **self.parameters}.items()}
        self.best_epoch, self.best_score = self.epoch, score


def save(path: str | os.PathLike[str], state: State, manifest: Mapping[str, object]) -> None:
    """Write a checkpoint of the run that `manifest` describes."""
    found = {"format": _FORMAT, "manifest": json.dumps(manifest, sort_keys=True), "model": state.model.state_dict(),
             "optimiser": state.optimiser.state_dict(), "order": state.order.get_state(),
             "noise": state.noise.get_state(), "average": state.average, "epoch": state.epoch, "step": state.step,
             "best": state.best, "best_epoch": state.best_epoch, "best_score": state.best_score, "mute": state.mute,
             "history": state.history}
    with made_in_memory(path) as stream:
        torch.save(found, stream)


def resume(path: str | os.PathLike[str], state: State, manifest: Mapping[str, object]) -> bool:
    """Bring `state` to where a checkpoint stands; False if there is none.

    Raises
    ------
    NeurosimError
        The file is no checkpoint, or one of another run; what differs is named.
    """
    if not Path(path).exists():
        return False
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        written = json.loads(found["manifest"])
        if found["format"] != _FORMAT:
            raise KeyError("format")
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError,
            zipfile.BadZipFile) as error:
        raise NeurosimError(f"is no checkpoint of this version ({type(error).__name__})", where=str(path),
                            hint="remove it, or train without --resume") from None
    current = json.loads(json.dumps(manifest, sort_keys=True))
    differ = [f"{key}: {written.get(key)!r} there, {current.get(key)!r} here"
              for key in sorted(set(written) | set(current)) if written.get(key) != current.get(key)]
    if differ:
        raise NeurosimError(f"belongs to another run ({'; '.join(differ)})", where=str(path),
                            hint="resume with the same settings, or remove it")
    state.model.load_state_dict(found["model"])
    state.optimiser.load_state_dict(found["optimiser"])
    state.order.set_state(found["order"])
    state.noise.set_state(found["noise"])
    if state.average is not None:
        for name, value in state.average.items():
            value.copy_(found["average"][name])
    place = next(state.model.parameters()).device
    state.best = {name: value.to(place) for name, value in found["best"].items()}
    for name in ("epoch", "step", "best_epoch", "best_score", "mute", "history"):
        setattr(state, name, found[name])
    return True


def write_metrics(path: str | os.PathLike[str], history: Mapping[str, list[float]]) -> None:
    """One JSON object a line and epoch, the whole file anew: so it never says more than the checkpoint."""
    epochs = len(next(iter(history.values()), ()))
    with written_beside(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for i in range(epochs):
            row = {"epoch": i + 1, **{name: values[i] for name, values in history.items()}}
            file.write(json.dumps(row) + "\n")
