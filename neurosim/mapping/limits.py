"""Whether the chip can hold the network; all reasons against it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network import BatchNorm, Conv2d, Linear, Network, Population
from neurosim.network.layers import SPIKING
from neurosim.profile import Profile


def refuse_what_does_not_fit(network: Network, profile: Profile, weights: Mapping[str, np.ndarray]) -> None:
    """Raise with every reason why the chip cannot hold the network; `weights` by `layer/parameter`, as placed."""
    reasons = [*_layers(network, profile), *_neurons(network, profile), *_fan_in(network, profile, weights),
               *_time_constants(network, profile)]
    if reasons:
        head = "the chip cannot hold this network"
        raise NeurosimError("\n  ".join([head, *reasons]) if len(reasons) > 1 else f"{head}: {reasons[0]}",
                            where=f"profile {profile.name}")


def _layers(network: Network, profile: Profile) -> Iterator[str]:
    allowed = profile.limits.layers
    if allowed is None:
        return
    for node in network.nodes:
        if type(node.layer).__name__ not in allowed:
            way_out = "; Network.folded() puts it into its neighbour" if isinstance(node.layer, BatchNorm) else ""
            yield (f"layer {node.name}: the chip has no {type(node.layer).__name__} "
                   f"(limits.layers: {', '.join(allowed)}){way_out}")
    last = network.nodes[-1]
    if not isinstance(last.layer, SPIKING):
        yield (f"layer {last.name}: the network ends in a {type(last.layer).__name__}, the chip gives spikes only; "
               "end in a spiking population")
    fed = {name for node in network.nodes if isinstance(node.layer, Population) for name in node.inputs}
    for node in network.nodes[:-1]:
        if isinstance(node.layer, (Linear, Conv2d)) and node.name not in fed:
            yield f"layer {node.name}: its currents reach no population of neurons"


def _neurons(network: Network, profile: Profile) -> Iterator[str]:
    counts = {node.name: int(np.prod(network.shapes[node.name])) for node in network.nodes
              if isinstance(node.layer, Population)}
    limit = profile.limits.neurons
    if limit is not None and sum(counts.values()) > limit.value:
        yield (f"{sum(counts.values())} neurons ({', '.join(f'{k} {v}' for k, v in counts.items())}), "
               f"the chip has {limit.value:g} (limits.neurons)")


def _fan_in(network: Network, profile: Profile, weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    limit = profile.limits.fan_in
    if limit is None:
        return
    for node in network.nodes:
        if not isinstance(node.layer, Population):
            continue
        names = [f"{source}/weight" for source in node.inputs] + [f"{node.name}/recurrent"]
        counts = [np.count_nonzero(weights[name].reshape(weights[name].shape[0], -1), axis=1)
                  for name in names if name in weights]
        if counts and (most := sum(counts)).max() > limit.value:
            over = np.flatnonzero(most > limit.value)
            yield (f"layer {node.name}: neuron {most.argmax()} has {most.max()} synapses, the chip {limit.value:g} per "
                   f"neuron (limits.fan_in); {over.size} of {most.size} neurons have too many: prune the weights")


def _time_constants(network: Network, profile: Profile) -> Iterator[str]:
    least, most = profile.limits.tau_min, profile.limits.tau_max
    for node in network.nodes:
        for name in ("alpha", "beta", "beta_adaptation"):
            decay = getattr(node.layer, name, None)
            if decay is None or (least is None and most is None):
                continue
            with np.errstate(divide="ignore"):
                tau = np.abs(-network.dt / np.log(np.asarray(decay, np.float64)))
            for limit, beyond, word in ((least, tau.min(), "shortest"), (most, tau.max(), "longest")):
                if limit is not None and (beyond < limit.value if word == "shortest" else beyond > limit.value):
                    yield (f"layer {node.name}: {name} is a time constant of {beyond:.3g} s at dt = {network.dt:g} s, "
                           f"the chip's {word} is {limit.value:g} s")
