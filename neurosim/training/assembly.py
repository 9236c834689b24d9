"""A network of torch modules that is a `neurosim.Network` at the same time: two views of the same layers.

`SpikingNetwork.to_network` gives the frozen one, for deployment; `from_network` the one to train. Where a linear layer
stands in front of a population, or a small one behind it, they are computed in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import nn

from neurosim import network
from neurosim.errors import NeurosimError
from neurosim.network.network import Network, Node
from neurosim.training.dpi import DPINeuron
from neurosim.training.layers import LIF, AdaptiveLIF, CubaLIF, LeakyIntegrator, Population, SpikingPopulation
from neurosim.training.surrogates import Surrogate

_POPULATIONS: dict[type[network.Layer], type[Population]] = {
    cls.layer: cls for cls in (LIF, CubaLIF, AdaptiveLIF, LeakyIntegrator)}
_PLAIN: dict[type[network.Layer], type[nn.Module]] = {
    network.ReLU: nn.ReLU, network.Tanh: nn.Tanh, network.Sigmoid: nn.Sigmoid, network.Flatten: nn.Flatten}
_FEW = 32  # outputs of a linear layer up to which it is quicker spike by spike


class Sum(nn.Module):
    """The sum of several inputs of one shape: a residual connection."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return sum(inputs[1:], start=inputs[0])


class SpikingNetwork(nn.Module):
    """Layers by name, each on all time steps: from `[time, batch, *input_shape]` to the signal of the last.

    Parameters
    ----------
    layers:
        Populations of `neurosim.training`, `DPINeuron`, `Sum`, and torch's Linear, Conv2d, AvgPool2d, MaxPool2d,
        Flatten, ReLU, Tanh, Sigmoid, which work on each step of each sample.
    input_shape, dt, readout:
        As in `Network`: dt in seconds; readout is "sum", "max" or "last".
    sources:
        From a layer's name to those of its inputs, "input" or layers above it; by default the layer above.
    returns_spikes:
        Whether forward gives (output, spikes), with the spikes `[time, batch, neuron]` of all hidden populations, whose
        rate a recipe may hold down.

    >>> net = SpikingNetwork({"fc": nn.Linear(2, 3), "lif": LIF(3), "out": nn.Linear(3, 2)}, (2,), dt=1e-3)
    >>> net(torch.rand(5, 1, 2)).shape
    torch.Size([5, 1, 2])
    >>> [node.name for node in net.to_network().nodes]
    ['fc', 'lif', 'out']
    """

    def __init__(self, layers: Mapping[str, nn.Module], input_shape: Sequence[int], dt: float, readout: str = "sum",
                 sources: Mapping[str, Sequence[str]] | None = None, returns_spikes: bool = False) -> None:
        super().__init__()
        names = list(layers)
        above = dict(zip(names, ["input", *names], strict=False))
        self.sources = {name: tuple((sources or {}).get(name, (above[name],))) for name in names}
        self.input_shape, self.dt, self.readout = tuple(input_shape), float(dt), readout
        self.returns_spikes = returns_spikes
        self._keys = {name: name.replace(".", "/") for name in names}  # torch keeps the dot for itself
        self.layers = nn.ModuleDict({self._keys[name]: layer for name, layer in layers.items()})
        self.to_network()  # refuses now what does not fit together
        self._groups = self._grouped()

    def __getitem__(self, name: str) -> nn.Module:
        return self.layers[self._keys[name]]

    @property
    def hidden(self) -> tuple[str, ...]:
        """The spiking populations that are not the output."""
        return tuple(name for name in list(self._keys)[:-1] if isinstance(self[name], SpikingPopulation))

    @property
    def units(self) -> int:
        """How many hidden neurons: the width of a mask, and of the spikes that forward gives."""
        return sum(self[name].units for name in self.hidden)

    def _grouped(self) -> list[tuple[str, ...]]:
        """The layers in order, a population together with the linear layers that only it feeds, or feeds only it."""
        users: dict[str, list[str]] = {}
        for name, sources in self.sources.items():
            for source in sources:
                users.setdefault(source, []).append(name)
        groups: list[tuple[str, ...]] = []
        for name, (source, *_) in self.sources.items():
            before = groups[-1] if groups and groups[-1][-1] == source and users[source] == [name] else None
            layer, last = self[name], self[source] if before else None
            plain = isinstance(layer, SpikingPopulation) and len(layer.shape) == 1 and type(last) is nn.Linear
            few = type(layer) is nn.Linear and layer.out_features <= _FEW and isinstance(last, SpikingPopulation)
            if (plain and len(before) == 1) or (few and len(last.shape) == 1):
                groups[-1] = (*before, name)
            else:
                groups.append((name,))
        return groups

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None
                ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """mask: `[units]` or `[batch, units]` over all hidden populations; see `SpikingPopulation.run`."""
        if inputs.ndim < 3 or inputs.shape[2:] != self.input_shape:
            raise NeurosimError(f"inputs have shape {list(inputs.shape)}", where="network", hint="time comes first",
                                allowed=f"[time, batch, {', '.join(map(str, self.input_shape))}]")
        widths = [self[name].units for name in self.hidden]
        masks = {} if mask is None else dict(zip(self.hidden, mask.split(widths, dim=-1), strict=True))
        signals = {"input": inputs}
        for group in self._groups:
            if len(group) > 1 and not any(_watched(self[name]) for name in group):
                self._together(group, signals, masks)
            else:
                for name in group:
                    signals[name] = self._alone(name, [signals[s] for s in self.sources[name]], masks)
        output = signals[list(self._keys)[-1]]
        if not self.returns_spikes:
            return output
        spikes = [signals[name].flatten(2) for name in self.hidden]
        return output, spikes[0] if len(spikes) == 1 else torch.cat(spikes, dim=2)

    def _together(self, group: tuple[str, ...], signals: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]
                  ) -> None:
        """A population with the linear layer in front of it, or behind it, or both."""
        at = next(i for i, name in enumerate(group) if isinstance(self[name], SpikingPopulation))
        options = {"mask": masks.get(group[at])}
        if at:
            options |= {"weight": self[group[0]].weight.T, "bias": self[group[0]].bias}
        if at + 1 < len(group):
            options |= {"readout": self[group[-1]].weight.T, "heard": self.returns_spikes}
        signals[group[at]], output, _ = self[group[at]].run(signals[self.sources[group[0]][0]], **options)
        if output is not None:
            bias = self[group[-1]].bias
            signals[group[-1]] = output if bias is None else output + bias

    def _alone(self, name: str, inputs: list[torch.Tensor], masks: dict[str, torch.Tensor]) -> torch.Tensor:
        layer = self[name]
        if isinstance(layer, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)):
            return layer(inputs[0].flatten(0, 1)).unflatten(0, inputs[0].shape[:2])
        if isinstance(layer, nn.Flatten):
            return inputs[0].flatten(2)
        return layer(inputs[0], masks[name]) if name in masks else layer(*inputs)

    def to_network(self, dt: float | None = None) -> Network:
        """The network with the values of now; its provenance keeps what only training asks for."""
        nodes = tuple(Node(name, _to_layer(name, self[name]), sources) for name, sources in self.sources.items())
        training = {name: {"learn": list(layer.learns), **({"surrogate": asdict(layer.surrogate),
                                                             "attached": layer.attached}
                                                            if isinstance(layer, SpikingPopulation) else {})}
                    for name, layer in ((name, self[name]) for name in self._keys) if isinstance(layer, Population)}
        return Network(nodes, self.input_shape, self.dt if dt is None else dt, self.readout, {"training": training})

    @classmethod
    def from_network(cls, source: Network, *, surrogate: Surrogate | None = None, attached: bool | None = None,
                     learn: Sequence[str] | None = None, dtype: torch.dtype | None = None, returns_spikes: bool = False
                     ) -> SpikingNetwork:
        """The modules of a network, with its values.

        Parameters
        ----------
        surrogate, attached, learn:
            Of all populations, see `LIF`; without them those that the network was trained with, where its provenance
            says so, else the defaults of each population.
        dtype:
            By default float64 if an array of the network is, so that nothing is lost; torch.float32 trains quicker.
        """
        if dtype is None:
            wide = any(a.dtype.itemsize > 4 for node in source.nodes for a in node.layer.arrays().values())
            dtype = torch.float64 if wide else torch.float32
        training = source.provenance.get("training", {})
        layers = {}
        for node in source.nodes:
            options = dict(training.get(node.name, {}))
            if "surrogate" in options:
                options["surrogate"] = Surrogate(**options["surrogate"])
            if node.layer.__class__ is not network.LeakyIntegrator:
                options |= {name: value for name, value in (("surrogate", surrogate), ("attached", attached))
                            if value is not None}
            if learn is not None:
                options["learn"] = tuple(name for name in learn if name in node.layer.arrays())
            if isinstance(node.layer, network.DPINeuron):
                layers[node.name] = DPINeuron(node.layer, source.dt, source.shapes[node.name][0], dtype=dtype)
            else:
                layers[node.name] = _from_layer(node, source.shapes[node.name], dtype, options)
        return cls(layers, source.input_shape, source.dt, source.readout,
                   {node.name: node.inputs for node in source.nodes}, returns_spikes)


def _watched(module: nn.Module) -> bool:
    """Whether someone listens to this module's own call, or changes it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
                or module._backward_pre_hooks)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _to_layer(name: str, module: nn.Module) -> network.Layer:
    def array(tensor: torch.Tensor | None) -> object:
        return None if tensor is None else tensor.numpy(force=True)

    if isinstance(module, (Population, DPINeuron)):
        return module.to_layer()
    if isinstance(module, nn.Linear):
        return network.Linear(array(module.weight), array(module.bias))
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros" \
            and not isinstance(module.padding, str):
        return network.Conv2d(array(module.weight), array(module.bias), module.stride, module.padding, module.dilation)
    if isinstance(module, nn.AvgPool2d) and not module.ceil_mode and module.count_include_pad \
            and module.divisor_override is None:
        return network.AvgPool2d(_pair(module.kernel_size), _pair(module.stride), _pair(module.padding))
    if isinstance(module, nn.MaxPool2d) and not module.ceil_mode and _pair(module.dilation) == (1, 1):
        return network.MaxPool2d(_pair(module.kernel_size), _pair(module.stride), _pair(module.padding))
    if isinstance(module, Sum):
        return network.Sum()
    for layer, kind in _PLAIN.items():
        if isinstance(module, kind):
            return layer()
    raise NeurosimError(f"{module} has no counterpart in a network", where=f"layer {name}",
                        allowed="the populations of neurosim.training, Sum, and torch's Linear, Conv2d and pools in "
                                "their plain form, Flatten, ReLU, Tanh, Sigmoid")


def _from_layer(node: Node, shape: tuple[int, ...], dtype: torch.dtype, options: Mapping[str, object]) -> nn.Module:
    layer = node.layer
    if type(layer) in _POPULATIONS:
        return _POPULATIONS[type(layer)].from_layer(layer, shape, dtype=dtype, **options)
    if isinstance(layer, (network.Linear, network.Conv2d)):
        if isinstance(layer, network.Linear):
            module = nn.utils.skip_init(nn.Linear, *layer.weight.shape[::-1], bias=layer.bias is not None, dtype=dtype)
        else:
            if any(a != b for a, b in layer.padding):
                raise NeurosimError(f"its padding is {layer.padding}", where=f"layer {node.name}",
                                    allowed="as much before as behind, in torch",
                                    hint="padding='same' with an even kernel is not: take an odd one, or padding in "
                                    "numbers; deployment takes it as it is")
            out, channels, *kernel = layer.weight.shape
            module = nn.utils.skip_init(nn.Conv2d, channels, out, tuple(kernel), layer.stride,
                                        tuple(before for before, _ in layer.padding), layer.dilation,
                                        bias=layer.bias is not None, dtype=dtype)
        with torch.no_grad():
            for name, value in layer.arrays().items():
                getattr(module, name).copy_(torch.tensor(value))
        return module
    if isinstance(layer, (network.AvgPool2d, network.MaxPool2d)):
        kind = nn.AvgPool2d if isinstance(layer, network.AvgPool2d) else nn.MaxPool2d
        return kind(layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, network.Sum):
        return Sum()
    if type(layer) in _PLAIN:
        return _PLAIN[type(layer)]()
    known = [kind.__name__ for kind in (*_POPULATIONS, *_PLAIN)]
    hint = ("Network.folded() puts it into the Linear or Conv2d next to it, where that changes nothing"
            if isinstance(layer, network.BatchNorm) else
            "train, or attack, the torch module that it was read from: OnChip and Objective take that")
    raise NeurosimError(f"{type(layer).__name__} has no module to train", where=f"layer {node.name}",
                        allowed=f"Linear, Conv2d, AvgPool2d, MaxPool2d, Sum, {', '.join(known)}", hint=hint)
