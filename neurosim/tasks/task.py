"""What a task is: real data as arrays, time first, with the names and the time step that give them meaning.

Plain data. How they are read is in the module of each task, where the files lie in `files`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from neurosim.errors import NeurosimError


@dataclass(frozen=True, eq=False)
class Split:
    """Samples with their classes: inputs float32 `[time, sample, *shape]`, labels int64 `[sample]`; both read-only."""

    inputs: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        inputs, labels = np.array(self.inputs, np.float32, order="C"), np.asarray(self.labels)
        if inputs.ndim < 3 or labels.shape != inputs.shape[1:2] or labels.dtype.kind not in "iu":
            raise NeurosimError(f"inputs {list(inputs.shape)} with labels {list(labels.shape)} of {labels.dtype}",
                                where="split", allowed="[time, sample, *shape] with whole numbers [sample]")
        for name, array in (("inputs", inputs), ("labels", labels.astype(np.int64))):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return self.labels.size


@dataclass(frozen=True, eq=False)
class Task:
    """A data set, split for training and for testing.

    Parameters
    ----------
    name:
        As `load_task` knows it.
    train, validation, test:
        Disjoint samples; validation chooses the best state in training.
    classes:
        Name of every class; a label is an index into it.
    dt:
        Time step of the inputs in seconds.
    citation:
        What must be named where results are shown.
    settings:
        The options that it was loaded with.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    dt: float
    citation: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, split in self.splits.items():
            where = f"task {self.name}, {part}"
            if (split.inputs.shape[0], *split.inputs.shape[2:]) != (self.train.inputs.shape[0], *self.shape):
                raise NeurosimError(f"inputs {list(split.inputs.shape)}", where=where,
                                    allowed=f"time and channels of train, {list(self.train.inputs.shape)}")
            if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(self.classes):
                raise NeurosimError(f"labels from {split.labels.min()} to {split.labels.max()}", where=where,
                                    allowed=f"0 to {len(self.classes) - 1}")

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample at one step: `(channels,)`, or `(channels, height, width)` of images."""
        return self.train.inputs.shape[2:]

    @property
    def channels(self) -> int:
        """Numbers of one sample at one step."""
        return math.prod(self.shape)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the arrays, their split and the time step."""
        digest = hashlib.sha256(repr((float(self.dt), self.classes)).encode())
        for part, split in self.splits.items():
            digest.update(repr((part, split.inputs.shape)).encode())
            digest.update(split.inputs.data)
            digest.update(split.labels.data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part} {len(split)}" for part, split in self.splits.items())
        return (f"Task({self.name!r}, {sizes}; inputs [time={self.train.inputs.shape[0]}, sample, "
                f"channel={'x'.join(map(str, self.shape))}], dt={self.dt:.4g} s, classes {', '.join(self.classes)})")


@dataclass(frozen=True)
class TaskInfo:
    """A row of `neurosim data list`.

    size is in bytes, of what is fetched; where is the folder or file that would be used now, or None while it
    would have to be downloaded.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    size: int
    where: str | None
