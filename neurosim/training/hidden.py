"""The hidden neurons of any module, and how to silence some of them: for modules that take no mask of their own.

Hidden are the neurons of snnTorch and neurosim, but for those whose spikes are the module's output; in a module without
such neurons, what enters a linear layer behind another layer with weights. Which these are is seen on a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training.layers import SpikingPopulation
from neurosim.training.objective import output_of

_KNOWN: WeakKeyDictionary[nn.Module, tuple[str, ...]] = WeakKeyDictionary()  # one run for a module, not for each batch


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking population: of neurosim on all steps, of snnTorch on one."""
    return isinstance(module, SpikingPopulation) or any(
        cls.__module__.startswith("snntorch._neurons") for cls in type(module).__mro__)


def hidden_of(model: nn.Module, sample: torch.Tensor) -> tuple[str, ...]:
    """Names of hidden neurons, or else of linear layers whose inputs are those; sample: inputs of one sample.

    Raises
    ------
    NeurosimError
        There are none.
    """
    if model not in _KNOWN:
        _KNOWN[model] = _seen(model, sample)
    if not _KNOWN[model]:
        raise NeurosimError(f"{type(model).__name__} has no hidden neurons to silence", where="recipe Dropout",
                            allowed="neurons of snnTorch or neurosim in front of another layer, or a linear layer "
                                    "behind another; or a module with `units` and forward(inputs, mask), mask "
                                    "[batch, units]",
                            hint="put torch.nn.Dropout into the module and take the recipe standard")
    return _KNOWN[model]


@torch.no_grad()
def _seen(model: nn.Module, sample: torch.Tensor) -> tuple[str, ...]:
    parts = {name: part for name, part in model.named_modules() if is_neuron(part)}
    spiking, inside = bool(parts), tuple(f"{name}." for name in parts)  # a recurrent neuron's weights are its own
    parts |= {name: part for name, part in model.named_modules()
              if not name.startswith(inside) and any(p.ndim > 1 for p in part.parameters(recurse=False))}
    order: dict[str, int] = {}  # the last one called stands last, with how many values it gives

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, given: object, result: object) -> None:
            order.pop(name, None)
            order[name] = output_of(result).shape[-1]
        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in parts.items() if name]
    training = model.training
    try:
        outputs = output_of(model.eval()(sample)).shape[-1]
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    names = list(order)
    if not spiking:
        return tuple(name for name in names[1:] if isinstance(parts[name], nn.Linear))
    return tuple(name for name in names if is_neuron(parts[name])
                 and not (name == names[-1] and order[name] == outputs))


@contextmanager
def silenced(model: nn.Module, names: tuple[str, ...], axis: int, draw: Callable[[int, int], torch.Tensor]
             ) -> Iterator[None]:
    """While the block runs the model, each hidden neuron's signal is multiplied by one number at all time steps.

    Parameters
    ----------
    names:
        Of `hidden_of`.
    axis:
        That of the samples in the model's inputs.
    draw:
        Makes a mask `[samples, units]` of these two numbers, for each name in each run of the model.
    """
    masks: dict[str, torch.Tensor] = {}
    samples = [0]

    def starts(part: nn.Module, given: tuple) -> None:
        masks.clear()
        samples[0] = given[0].shape[axis]

    def mask_of(name: str, units: int, like: torch.Tensor) -> torch.Tensor:
        if name not in masks:
            masks[name] = draw(samples[0], units).to(like)
        return masks[name]

    def of_population(name: str) -> Callable[..., tuple]:
        return lambda part, given: (given[0], mask_of(name, part.units, given[0]))

    def of_one_step(name: str) -> Callable[..., object]:
        def hook(part: nn.Module, given: tuple, result: object) -> object:
            fired = output_of(result)
            spikes = fired * mask_of(name, fired[0].numel(), fired).reshape(fired.shape)
            if getattr(part, "spk", None) is fired:  # what a recurrent neuron that keeps its state hears of itself
                part.spk = spikes
            return (spikes, *result[1:]) if isinstance(result, tuple) else spikes
        return hook

    def of_inputs(name: str) -> Callable[..., tuple]:
        def hook(part: nn.Module, given: tuple) -> tuple:
            signal, count = given[0], samples[0]
            mask = mask_of(name, signal.shape[-1], signal)
            if signal.ndim > 2:  # samples before or behind time
                mask = mask if signal.shape[1] == count else mask.unsqueeze(1)
            elif signal.shape[0] != count:  # time and samples on one axis
                mask = mask.repeat(signal.shape[0] // count, 1)
            return (signal * mask, *given[1:])
        return hook

    handles = [model.register_forward_pre_hook(starts)]
    for name in names:
        part = model.get_submodule(name)
        if isinstance(part, SpikingPopulation):
            handles.append(part.register_forward_pre_hook(of_population(name)))
        elif is_neuron(part):
            handles.append(part.register_forward_hook(of_one_step(name)))
        else:
            handles.append(part.register_forward_pre_hook(of_inputs(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
