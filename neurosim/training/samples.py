"""Arrays to tensors, refused before training where they do not fit the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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


def tensors(what: str, pair: Sequence[np.ndarray], device: torch.device, dtype: torch.dtype) -> Samples:
    """Inputs `[time, sample, *shape]` in the model's precision, labels `[sample]` as int64."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise NeurosimError(f"it is a {type(pair).__name__}", where=what, allowed="a pair: inputs, labels")
    inputs, labels = map(np.asarray, pair)
    if inputs.ndim < 3 or labels.shape != inputs.shape[1:2] or not labels.size or labels.dtype.kind not in "iu":
        hint = ("take labels.argmax(axis=1)" if labels.ndim == 2 else "time comes first: inputs.swapaxes(0, 1)"
                if inputs.shape[:1] == labels.shape else "take labels.astype(int)" if labels.dtype.kind == "f" else "")
        raise NeurosimError(f"arrays {list(inputs.shape)} and {list(labels.shape)} of {labels.dtype}", where=what,
                            allowed="[time, sample, channel] and whole numbers [sample]", hint=hint)
    if not np.isfinite(inputs).all():
        raise NeurosimError("holds NaN or infinity", where=what, allowed="finite numbers")
    return (torch.tensor(inputs, dtype=dtype, device=device), torch.tensor(labels.astype(np.int64), device=device))


def refuse_what_is_no_model(model: object) -> None:
    """What has nothing to train."""
    if not isinstance(model, nn.Module):
        raise NeurosimError(f"the model is {getattr(model, '__name__', type(model).__name__)}", where="train",
                            allowed="a torch.nn.Module", hint="give an instance" if isinstance(model, type) else "")
    if not any(value.requires_grad for value in model.parameters()):
        raise NeurosimError("the model has no parameter to train", where="train",
                            allowed="one with requires_grad, or more")


@torch.no_grad()
def refuse_what_does_not_fit(model: nn.Module, samples: Samples, what: str, spikes: bool = False) -> int:
    """Run one sample, so that what does not fit is said before training; how many outputs there are.

    spikes: whether the model must return those of its hidden neurons, too.
    """
    inputs, labels = samples
    try:
        result = model.eval()(inputs[:, :1])
    except RuntimeError as error:
        raise NeurosimError(f"the model does not take [time, sample, channel] = {list(inputs.shape)}: {error}",
                            where=what) from error
    output = output_of(result)
    if output.shape[:-1] not in ((inputs.shape[0], 1), (1,)):
        raise NeurosimError(f"the model gives {list(output.shape)} for one sample of {list(inputs[:, :1].shape)}",
                            where=what, allowed="[time, sample, class], or [sample, class] read out already")
    if not 0 <= labels.min() <= labels.max() < output.shape[-1]:
        raise NeurosimError(f"labels from {labels.min()} to {labels.max()}", where=what,
                            allowed=f"0 to {output.shape[-1] - 1}, the model's outputs")
    if spikes and isinstance(result, tuple) and (result[1].ndim != 3 or (result[1] < 0).any()):
        raise NeurosimError("the second that the model returns is no spikes, but "
                            f"{list(result[1].shape)} from {result[1].min():g} up", where="rate_penalty",
                            allowed="spikes of the hidden neurons, [time, batch, neuron], 0 or more",
                            hint="return (output, spikes); membranes may follow them")
    return output.shape[-1]


def hash_of(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays, their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()
