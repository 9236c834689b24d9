"""What converters are set to: part of a design, found from data or learnt in training, and stored with a network.

In a file they are JSON: numbers as they are, to the last bit. Knows no chip; `layout` says for which arrays they hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neurosim.errors import NeurosimError


@dataclass(frozen=True)
class Ranges:
    """What the converters of an array are set to, all in the units of the network's signals.

    inputs: the input that stands for the full voltage of a row, None for spikes, where 1 does. currents: full scale of
    the converters in siemens times input, `[tiles, columns of all outputs]` or what broadcasts to it, None without
    converters.
    """

    inputs: float | None = None
    currents: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LearntRanges:
    """Ranges that a network was trained with, by `layer/parameter`; layout: the crossbars that they are of.

    >>> found = LearntRanges({"fc/weight": Ranges(1.5, np.array(2e-5))}, "g_max 25 uS")
    >>> LearntRanges.from_plain(found.as_plain()).arrays["fc/weight"].inputs
    1.5
    """

    arrays: Mapping[str, Ranges] = field(default_factory=dict)
    layout: str = ""

    def as_plain(self) -> dict[str, object]:
        """As JSON takes them."""
        return {"layout": self.layout, "arrays": {name: {
            "inputs": one.inputs, "currents": None if one.currents is None else one.currents.tolist()}
            for name, one in self.arrays.items()}}

    @staticmethod
    def from_plain(said: Mapping[str, object]) -> LearntRanges:
        """What `as_plain` gave."""
        try:
            arrays = {name: Ranges(_above_0(one["inputs"]), None if one["currents"] is None else
                                   _above_0(np.array(one["currents"], np.float64)))
                      for name, one in said["arrays"].items()}
            return LearntRanges(arrays, str(said["layout"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NeurosimError(f"are no ranges: {type(error).__name__} {error}", where="ranges",
                                hint="the file is damaged") from None


def _above_0(value: float | np.ndarray | None) -> float | np.ndarray | None:
    if value is not None and not (np.isfinite(value).all() and np.all(np.asarray(value) > 0)):
        raise ValueError(f"{value} is not above 0")
    return value
