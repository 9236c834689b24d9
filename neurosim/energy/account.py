"""Counts times coefficients: joules by component and place, with their uncertainty; and how long it took.

    ``E = sum over events of count x coefficient + static power x time``

for the low, the nominal and the high coefficients of the profile. What the profile does not price is not silently free:
`unpriced` names it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neurosim.energy.converters import conversion_energy
from neurosim.energy.ledger import EVENTS, Ledger
from neurosim.errors import NeurosimError
from neurosim.network import Conv2d
from neurosim.profile import Profile

BOUNDS = ("low", "nominal", "high")
#: the key under [energy] that prices each kind of event; reads are counted for time, not priced
PRICES = {"spikes": "spike", "neurons": "neuron", "encodes": "encode", "broadcasts": "broadcast", "hops": "hop",
          "matches": "match", "rows": "row", "cells": "cell", "conversions": "conversion", "digital": "digital",
          "bits": "bit"}
COMPONENTS = (*PRICES, "static")


@dataclass(frozen=True, eq=False)
class Prices:
    """What the events of a mapping cost on its chip type.

    per_event: joules, `[event, bound]` in the order of `EVENTS` and `BOUNDS`. static: watts `[bound]`. latency: seconds
    of one sample, None where the profile has no timing. area: square metres, None where the profile has none.
    """

    per_event: np.ndarray
    static: np.ndarray
    latency: float | None
    area: float | None


def prices(ledger: Ledger, steps: int) -> Prices | None:
    """The prices for samples of `steps` steps; None where the profile has no [energy] section.

    Raises
    ------
    NeurosimError
        Static power without a time.
    """
    profile, seconds = ledger.mapped.profile, latency(ledger, steps)
    if profile.energy is None:
        return None
    static = profile.energy.static
    if static is not None and seconds is None:
        raise NeurosimError("static power without a time", where=f"profile {profile.name}, energy.static",
                            hint="give timing.read")
    return Prices(coefficients(profile), np.array(static.values if static is not None else (0.0,) * 3), seconds,
                  area(ledger))


def joules(counts: np.ndarray, found: Prices, samples: int) -> np.ndarray:
    """Joules per sample, `[die, place, component, bound]`, of counts `[die, place, event]` over all samples.

    After the places of the ledger one more, the chip, has the static part.
    """
    out = np.zeros((counts.shape[0], counts.shape[1] + 1, len(COMPONENTS), len(BOUNDS)))
    for column, event in enumerate(COMPONENTS[:-1]):
        row = EVENTS.index(event)
        out[:, :-1, column] = counts[:, :, row, None] * found.per_event[row] / samples
    if found.latency is not None:
        out[:, -1, -1] = found.static * found.latency
    return out


def unpriced(counts: np.ndarray, per_event: np.ndarray) -> tuple[str, ...]:
    """Kinds of event that were counted and cost nothing by the profile."""
    return tuple(event for event in PRICES
                 if counts[:, :, EVENTS.index(event)].any() and not per_event[EVENTS.index(event)].any())


def coefficients(profile: Profile) -> np.ndarray:
    """Joules per event, `[event, bound]` in the order of `EVENTS` and `BOUNDS`; 0 where the profile says nothing."""
    found = np.zeros((len(EVENTS), len(BOUNDS)))
    for event, key in PRICES.items():
        entry = getattr(profile.energy, key) if profile.energy is not None else None
        if entry is None:
            continue
        if key == "cell":
            values: tuple[float, ...] = (entry.voltage.value**2 * entry.time.value,) * 3
        else:
            values = conversion_energy(entry) if key == "conversion" else entry.values
        found[EVENTS.index(event)] = values
    return found


def latency(ledger: Ledger, steps: int) -> float | None:
    """Seconds from the first step of a sample to its last; None where the profile does not say.

    With `timing.read`: layers follow one another in a step, each takes one read (a convolution one for each output
    position), or one for each of its tiles where they share the converters; weights that add up in one population are
    read at once. Without it, a mixed-signal chip runs in real time: a step lasts dt.
    """
    profile, network = ledger.mapped.profile, ledger.mapped.network
    if profile.timing is None or profile.timing.read is None:
        return steps * network.dt if profile.family == "mixed_signal" else None
    reads = 0
    for node in network.nodes:
        tiles = [array.tiles for array in ledger.mapped.weights if array.layer == node.name and array.tiles]
        if tiles:
            positions = math.prod(network.shapes[node.name][1:]) if isinstance(node.layer, Conv2d) else 1
            reads += positions * (max(tiles) if profile.timing.tiles == "multiplexed" else 1)
    return reads * profile.timing.read.value * steps


def area(ledger: Ledger) -> float | None:
    """Square metres of the tiles and cores in use, or None where the profile has no areas."""
    found, profile = 0.0, ledger.mapped.profile
    if profile.area is None:
        return None
    if profile.area.tile is not None:
        found += profile.area.tile.value * sum(array.tiles for array in ledger.mapped.weights)
    if profile.area.core is not None:
        found += profile.area.core.value * ledger.cores
    return found or None
