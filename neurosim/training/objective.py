"""What is to be learnt on one batch, as functions of a dictionary of parameters: logits, and the task's loss.

``L_nat = cross-entropy(logits, labels) + rate_penalty * sum over batch and neurons of (rate - 0.01)^2``

with logits read out of the model's output, and rate the spikes per step of a hidden neuron. Recipes are built on these
two functions and know no module; the module itself is called through `torch.func.functional_call` and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _NormBase

from neurosim.errors import NeurosimError
from neurosim.training.deviations import Parameters, Reach, relative

TARGET_RATE = 0.01  # spikes per step: 10 Hz at 1 ms
READOUTS = ("sum", "mean", "last")
#: how the logits [batch, class] are read out of the model's output: over time, or by a function of it
Readout = str | Callable[[torch.Tensor], torch.Tensor]


def output_of(result: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What the class is read from, of what a model returns: all of it, or the first of several."""
    return result[0] if isinstance(result, tuple) else result


def logits_of(output: torch.Tensor, readout: Readout) -> torch.Tensor:
    """`[time, batch, class]` as `[batch, class]`; what has these two axes only is read out already."""
    if callable(readout):
        return readout(output)
    if output.ndim == 2:
        return output
    if readout == "last":
        return output[-1]
    total = output.sum(dim=0)  # a mean is a sum whose gradient torch writes out for every step
    return total if readout == "sum" else total / output.shape[0]


@dataclass(frozen=True, eq=False)
class Objective:
    """One batch for one module.

    Parameters
    ----------
    model:
        Any module: `forward(inputs)` returns output `[time, batch, class]` or logits `[batch, class]`, or that and
        spikes `[time, batch, neuron]` of its hidden neurons.
    inputs, labels:
        `[time, batch, *shape]`, or whatever the module takes, and `[batch]`; without labels there is no task's loss.
    readout:
        "sum" or "mean" over time, the "last" step, or a function of the module's output.
    rate_penalty:
        Needs a module that returns its spikes.
    untouched:
        Patterns of parameters that are neither attacked nor perturbed, such as "*bn*": what is digital on the chip.
    average, teacher:
        For recipes that compare with a steadier network: a running average of the parameters, and another module.

    The batch statistics that normalisation layers keep are updated by the task's loss alone, never by an attack.
    """

    model: nn.Module
    inputs: torch.Tensor
    labels: torch.Tensor | None
    readout: Readout = "sum"
    rate_penalty: float = 0.0
    untouched: tuple[str, ...] = ()
    average: Parameters | None = None
    teacher: nn.Module | None = None
    parameters: dict[str, torch.Tensor] = field(init=False)
    reach: Reach = field(init=False)

    def __post_init__(self) -> None:
        for name in ("inputs", "labels"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, torch.Tensor):
                raise NeurosimError(f"{name} is a {type(value).__name__}", where="training", allowed="a torch.Tensor",
                                    hint=f"take torch.as_tensor({name})")
        for pattern in self.untouched:
            if not any(fnmatchcase(name, pattern) for name, _ in self.model.named_parameters()):
                raise NeurosimError(f"no parameter is called {pattern!r}", where="untouched",
                                    allowed=", ".join(name for name, _ in self.model.named_parameters()))
        found = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        if not found:
            raise NeurosimError("the model has no parameter to train", where="training")
        object.__setattr__(self, "parameters", found)
        object.__setattr__(self, "reach", {name: relative for name in found
                                           if not any(fnmatchcase(name, pattern) for pattern in self.untouched)})

    def logits(self, parameters: Parameters) -> torch.Tensor:
        """Logits `[batch, class]` with `parameters` in the place of the model's own."""
        kept = {f"{place}.{name}" if place else name: value.clone()
                for place, module in self.model.named_modules() if isinstance(module, _NormBase)
                for name, value in module.named_buffers(recurse=False)} if self.model.training else {}
        return logits_of(output_of(self.result({**parameters, **kept})), self.readout)

    def result(self, parameters: Parameters, **options: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What the model gives for the batch with tensors in the place of its own."""
        return functional_call(self.model, dict(parameters), (self.inputs,), options)

    def loss_and_logits(self, parameters: Parameters, mask: torch.Tensor | None = None
                        ) -> tuple[torch.Tensor, torch.Tensor]:
        """L_nat and the logits it is of; mask `[batch, neuron]` times the hidden spikes, for models that take one."""
        options: Mapping[str, torch.Tensor] = {} if mask is None else {"mask": mask}
        result = self.result(parameters, **options)
        logits = logits_of(output_of(result), self.readout)
        loss = cross_entropy(logits, self.labels)
        if self.rate_penalty:
            if not isinstance(result, tuple):
                raise NeurosimError("the model returns its output only", where="rate_penalty",
                                    allowed="(output, spikes)",
                                    hint="return the spikes of the hidden neurons, [time, batch, neuron], as well")
            loss = loss + self.rate_penalty * (result[1].sum(dim=0) / result[1].shape[0] - TARGET_RATE).square().sum()
        return loss, logits

    def loss(self, parameters: Parameters) -> torch.Tensor:
        """L_nat."""
        return self.loss_and_logits(parameters)[0]

    def teacher_logits(self) -> torch.Tensor:
        """Logits of the teacher for this batch, without gradient."""
        if self.teacher is None:
            raise NeurosimError("there is no teacher", where="training", hint="give train(teacher=...)")
        with torch.no_grad():
            return logits_of(output_of(self.teacher(self.inputs)), self.readout)


def objective_of(model: nn.Module, *batch: torch.Tensor, **options: object) -> Objective:
    """The objective of a batch: that of devices for an `OnChip`, else that of parameters; see `Objective`."""
    return getattr(model, "objective", Objective)(model, *batch, **options)
