"""What is looked at after every epoch: accuracy, accuracy under mismatch, and layers that say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call

from neurosim.errors import NeurosimError
from neurosim.training.deviations import Parameters, Reach, gaussian, moved, moves
from neurosim.training.hidden import is_neuron
from neurosim.training.layers import SpikingPopulation
from neurosim.training.objective import Readout, logits_of, output_of
from neurosim.training.samples import Samples

_EVALUATED = 1000  # samples at a time, without gradient
PATIENCE = 3  # epochs in a row that a layer may say nothing


@torch.no_grad()
def accuracy(model: nn.Module, parameters: Parameters, samples: Samples, readout: Readout) -> float:
    """Share of samples whose largest logit is their label's, with `parameters` in the place of the model's own."""
    training = model.training
    model.eval()
    hits = 0
    for x, y in zip(samples[0].split(_EVALUATED, dim=1), samples[1].split(_EVALUATED), strict=True):
        output = output_of(functional_call(model, dict(parameters), (x,)))
        hits += (logits_of(output, readout).argmax(dim=1) == y).sum().item()
    model.train(training)
    return hits / samples[1].numel()


def accuracy_on_dies(model: nn.Module, parameters: Parameters, samples: Samples, readout: Readout, dies: int, seed: int
                     ) -> float:
    """Mean accuracy of an `OnChip` on the first `dies` of the lot `seed`, which training does not see."""
    found = []
    for die in range(dies):
        with model.shown_as(die, seed):
            found.append(accuracy(model, parameters, samples, readout))
    return sum(found) / dies


def noisy_accuracy(model: nn.Module, parameters: Parameters, samples: Samples, readout: Readout, reach: Reach,
                   mismatch: float, draws: int, seed: int) -> float:
    """Mean accuracy of `draws` networks with ``theta + |theta| mismatch xi``: the same xi for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    fixed = {name: value.detach() for name, value in parameters.items()}
    if not moves(fixed, reach):  # where nothing varies, every network is the same
        return accuracy(model, fixed, samples, readout)
    found = [accuracy(model, moved(fixed, gaussian(fixed, reach, mismatch, generator), reach), samples, readout)
             for _ in range(draws)]
    return sum(found) / draws


class Voices:
    """Counts the spikes of every layer of neurons, to tell those that say the same whatever the sample is.

    Layers are snnTorch's and neurosim's neurons by their name in the model, and the spikes that a model returns.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.counts: dict[str, torch.Tensor] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count while the block runs the model on one batch."""
        handles = [module.register_forward_hook(self._of_layer(name or type(module).__name__))
                   for name, module in self.model.named_modules() if is_neuron(module)]
        handles.append(self.model.register_forward_hook(self._of_model))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def mute(self) -> dict[str, str]:
        """`{layer: "silent" or "saturated"}` of those whose counts are the same for every sample."""
        return {name: "saturated" if counts.any() else "silent" for name, counts in self.counts.items()
                if counts.shape[0] > 1 and bool((counts == counts[:1]).all())}

    def _of_layer(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def count(module: nn.Module, given: object, result: object) -> None:
            spikes = output_of(result).detach()
            self.counts[name] = spikes.sum(dim=0) if isinstance(module, SpikingPopulation) else (
                self.counts.get(name, 0) + spikes)  # snnTorch's are called step by step
        return count

    def _of_model(self, module: nn.Module, given: object, result: object) -> None:
        if isinstance(result, tuple) and len(result) > 1 and result[1].ndim == 3:
            self.counts["hidden neurons"] = result[1].detach().sum(dim=0)


def refuse_mute_layers(epochs_mute: Mapping[str, int], kinds: Mapping[str, str], epoch: int, rate: float) -> None:
    """Stop when a layer has said nothing for `PATIENCE` epochs: what lies behind it learns the labels' shares alone."""
    for name, count in epochs_mute.items():
        if count >= PATIENCE:
            silent = kinds[name] == "silent"
            raise NeurosimError(
                f"{'no neuron has fired' if silent else 'every sample makes the same spikes'} in {PATIENCE} epochs, "
                f"the last of them epoch {epoch}", where=f"train, layer {name}",
                hint=f"try {'larger' if silent else 'smaller'} initial weights or inputs, "
                     f"{'a lower' if silent else 'a higher'} threshold, or a learning rate below {rate:g}")


def refuse_what_is_no_number(model: nn.Module, loss: float, epoch: int, step: int, recipe: str, rate: float) -> None:
    """Stop at the first loss that is not finite, and name the first parameter that is not."""
    if math.isfinite(loss):
        return
    broken = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    where = f"; {broken[0]} is the first parameter that holds NaN or infinity" if broken else (
        "; all parameters are still finite")
    raise NeurosimError(f"the loss is {loss} in epoch {epoch}, batch {step}{where}", where=f"train, recipe {recipe}",
                        allowed="a finite number",
                        hint=f"try a learning rate below {rate:g}, or less noise and a smaller attack")
