"""Several dies of a network of circuits side by side: the kernel fills its vectors from all of them.

The numbers of a die are those of `forward.run_block`, whoever stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurosim.network.activity import Drive
from neurosim.network.circuit_forward import normalised_dies, run_dies
from neurosim.network.drives import drive_of_block, fed_back
from neurosim.network.forward import Forward, Parameters, read_out
from neurosim.network.layers import DPINeuron
from neurosim.network.network import Network
from neurosim.network.signals import Block, Events, Signal


def side_by_side(network: Network) -> bool:
    """Whether `run_circuits` can run a network: a chain or tree of circuits that take spikes."""
    return all(isinstance(node.layer, DPINeuron) and node.layer.inputs is not None for node in network.nodes)


def run_circuits(network: Network, dies: Sequence[Parameters], block: Block, dtype: np.dtype = np.float32
                 ) -> list[Forward]:
    """One block of samples, events, on several dies, each with its parameters."""
    signals: dict[str, list[Signal]] = {"input": [block.signal]}
    counts: dict[str, list[np.ndarray]] = {"input": [block.drive.active]}
    drives: list[dict[str, Drive]] = [{} for _ in dies]
    for node in network.nodes:
        source, = node.inputs
        owns = [{**node.layer.arrays(), **die.get(node.name, {})} for die in dies]
        arrays = normalised_dies(node.layer, owns, network.shapes[node.name][0], network.dt, dtype)
        offsets = np.cumsum([0] + [events.indices.size for events in signals[source]])
        found = run_dies(node.layer, arrays, np.stack(
            [events.pointers + offset for events, offset in zip(signals[source], offsets, strict=False)]),
            np.concatenate([events.indices for events in signals[source]]), None, block.samples, block.time, dtype)
        signals[node.name] = [Events(pointers, indices) for pointers, indices, _ in found]
        counts[node.name] = [fired for *_, fired in found]
        for die, drive in enumerate(drives):
            at = min(die, len(signals[source]) - 1)
            drive[node.name] = drive_of_block(None, signals[source][at], counts[source][at], block)
            if arrays["recurrent"].size:
                drive[f"{node.name}/recurrent"] = fed_back(signals[node.name][die], counts[node.name][die], block)
    last = signals[network.nodes[-1].name]
    return [Forward(read_out(last[die], block, network, dtype), None,
                    {name: counts[name][die] for name in counts if name != "input"}, drives[die])
            for die in range(len(dies))]
