"""Counts times coefficients: joules by component and place, with their uncertainty.

    ``E = sum over events of count x coefficient + static power x time``

for the low, the nominal and the high coefficients of the profile. What the profile does not price is not silently free:
`unpriced` names it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.energy.converters import conversion_energy
from neurosim.energy.ledger import EVENTS, Ledger
from neurosim.energy.timing import Pace
from neurosim.errors import NeurosimError
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

    per_event: joules, `[event, bound]` in the order of `EVENTS` and `BOUNDS`. static: watts `[bound]`.
    """

    per_event: np.ndarray
    static: np.ndarray


def prices(ledger: Ledger, pace: Pace | None) -> Prices | None:
    """The prices, by the profile; None where it has no [energy] section.

    Raises
    ------
    NeurosimError
        Static power without a time.
    """
    profile = ledger.mapped.profile
    if profile.energy is None:
        return None
    static = profile.energy.static
    if static is not None and pace is None:
        raise NeurosimError("static power without a time", where=f"profile {profile.name}, energy.static",
                            hint="give timing.read")
    return Prices(coefficients(profile), np.array(static.values if static is not None else (0.0,) * 3))


def joules(counts: np.ndarray, found: Prices, samples: int, latency: float | None) -> np.ndarray:
    """Joules per sample, `[die, place, component, bound]`, of counts `[die, place, event]` over all samples.

    latency: seconds of a sample; None where the profile does not say. After the places of the ledger one more, the
    chip, has the static part.
    """
    out = np.zeros((counts.shape[0], counts.shape[1] + 1, len(COMPONENTS), len(BOUNDS)))
    for column, event in enumerate(COMPONENTS[:-1]):
        row = EVENTS.index(event)
        out[:, :-1, column] = counts[:, :, row, None] * found.per_event[row] / samples
    if latency is not None:
        out[:, -1, -1] = found.static * latency
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
            values = conversion_energy(entry, profile.adc) if key == "conversion" else entry.values
        found[EVENTS.index(event)] = values
    return found


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
