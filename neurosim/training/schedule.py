"""The learning rate of every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from neurosim.errors import NeurosimError, whole

Schedule = float | Sequence[tuple[int, float]]


def rates_of(epochs: int | None, learning_rate: Schedule) -> list[float]:
    """The learning rate of every epoch; `epochs` squeezes or stretches a schedule `[(epochs, rate), ...]`.

    >>> rates_of(3, [(100, 1e-3), (50, 1e-4)])
    [0.001, 0.001, 0.0001]
    """
    epochs = None if epochs is None else whole("epochs", epochs, "train")
    if isinstance(learning_rate, (int, float)):
        if epochs is None:
            raise NeurosimError("epochs is missing", where="train", allowed="a whole number from 1 up")
        learning_rate = [(epochs, learning_rate)]
    rates: list[float] = []
    for pair in learning_rate:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise NeurosimError(f"the schedule holds {pair!r}", where="train, learning_rate",
                                allowed="[(epochs, rate), ...]")
        count, rate = pair
        if not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
            raise NeurosimError(f"{count!r} epochs at the learning rate {rate!r}", where="train",
                                allowed="a rate above 0")
        rates += [float(rate)] * whole("epochs of a rate", count, "train, learning_rate")
    if not rates:
        raise NeurosimError("the schedule of learning rates is empty", where="train", allowed="[(epochs, rate), ...]")
    return rates if epochs is None else [rates[i * len(rates) // epochs] for i in range(epochs)]


def steps_of(rates: Sequence[float]) -> list[list[float]]:
    """`[[epochs, rate], ...]` of the learning rates."""
    return [[len(list(same)), rate] for rate, same in groupby(rates)]
