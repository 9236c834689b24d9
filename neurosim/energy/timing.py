"""How long a sample takes on a chip, and how many of them it takes in a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from neurosim.energy.ledger import Ledger
from neurosim.network import Conv2d, Population


@dataclass(frozen=True)
class Pace:
    """latency: seconds from the first step of a sample to its last. throughput: samples per second when one follows the
    other and all layers work at once, each on what the one before it has finished."""

    latency: float
    throughput: float


def pace(ledger: Ledger, steps: int, slices: Mapping[str, int] | None = None) -> Pace | None:
    """The pace for samples of `steps` steps; None where the profile does not say.

    With `timing.read` t: ``latency = steps t sum_l n_l``, ``throughput = 1 / (steps t max_l n_l)``, n_l the reads of
    layer l one after the other: one for each output position of a convolution, for each slice of a serial input, and,
    where its tiles share the converters, for each tile. Arrays whose outputs add up in one population are read at once,
    recurrent ones too. Without it, a mixed-signal chip runs in real time: a step lasts dt, and so long for all samples.

    slices: of serial inputs, by array; 1 where nothing is said.
    """
    profile, network = ledger.mapped.profile, ledger.mapped.network
    if profile.timing is None or profile.timing.read is None:
        seconds = steps * network.dt
        return Pace(seconds, 1 / seconds) if profile.family == "mixed_signal" else None
    reads: dict[str, int] = {}
    for array in ledger.mapped.weights:
        node = next(node for node in network.nodes if node.name == array.layer)
        positions = math.prod(network.shapes[node.name][1:]) if isinstance(node.layer, Conv2d) else 1
        own = positions * (slices or {}).get(array.name, 1)
        own *= array.tiles if profile.timing.tiles == "multiplexed" else 1
        place = node.inputs[0] if isinstance(node.layer, Population) and node.inputs[0] in reads else node.name
        reads[place] = max(reads.get(place, 0), own)
    if not reads:
        return None
    seconds = profile.timing.read.value * steps
    return Pace(seconds * sum(reads.values()), 1 / (seconds * max(reads.values())))
