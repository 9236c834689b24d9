"""Arrays to tensors, refused before training where they do not fit the model."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training.objective import output_of

Samples = tuple[torch.Tensor, torch.Tensor]


def device_of(name: str) -> torch.device:
    """The device, if it is there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise NeurosimError(f"device is {name!r}", where="train", allowed="cpu, cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NeurosimError("there is no CUDA device", where="train", hint="take --device cpu (device='cpu')")
    return device


def tensors(what: str, inputs: np.ndarray, labels: np.ndarray, device: torch.device) -> Samples:
    """Inputs `[time, sample, channel]` as float32, labels `[sample]` as int64."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    if inputs.ndim < 3 or labels.shape != inputs.shape[1:2] or not labels.size or labels.dtype.kind not in "iu":
        raise NeurosimError(f"arrays {list(inputs.shape)} and {list(labels.shape)} of {labels.dtype}", where=what,
                            allowed="[time, sample, channel] and whole numbers [sample]")
    if not np.isfinite(inputs).all():
        raise NeurosimError("holds NaN or infinity", where=what, allowed="finite numbers")
    return (torch.tensor(inputs, dtype=torch.float32, device=device),
            torch.tensor(labels.astype(np.int64), device=device))


@torch.no_grad()
def refuse_what_does_not_fit(model: nn.Module, samples: Samples, what: str) -> int:
    """Run one sample, so that what does not fit is said before training; how many outputs there are."""
    inputs, labels = samples
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
    return output.shape[2]


def hash_of(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()
