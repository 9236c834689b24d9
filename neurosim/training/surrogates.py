"""The derivative that stands for that of a spike, and how a reset learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurosim.engine.learning_forward import SURROGATES
from neurosim.errors import NeurosimError


@dataclass(frozen=True)
class Surrogate:
    """ds/du of a spike ``s = [u > 0]``, backwards; u is ``v - threshold``, or with `relative` ``v / threshold - 1``.

    ============  ==========================================
    triangle      ``height max(0, 1 - slope |u|)``
    fast_sigmoid  ``height / (1 + slope |u|)^2``
    arctan        ``height / (1 + (pi / 2 slope u)^2)``
    ============  ==========================================

    The triangle is the quickest: where it is zero, the way back needs no recurrent product. Sources: the triangle of
    Bellec et al., NeurIPS 2018; the fast sigmoid of Zenke and Ganguli, Neural Computation 30, 1514 (2018); the
    arctangent of Fang et al., ICCV 2021; slopes and heights as in snnTorch.

    >>> Surrogate.arctan()
    Surrogate(kind='arctan', slope=2.0, height=1.0, relative=False)
    """

    kind: str
    slope: float
    height: float = 1.0
    relative: bool = False

    def __post_init__(self) -> None:
        if self.kind not in SURROGATES:
            raise NeurosimError(f"the kind is {self.kind!r}", where="surrogate", allowed=", ".join(SURROGATES))
        for name in ("slope", "height"):
            if not 0 < getattr(self, name) < math.inf:
                raise NeurosimError(f"{name} is {getattr(self, name)!r}", where="surrogate", allowed="above 0")

    @classmethod
    def triangle(cls, width: float = 1.0, height: float = 1.0, relative: bool = False) -> Surrogate:
        """Zero from ``|u| = width`` on."""
        return cls("triangle", 1 / width, height, relative)

    @classmethod
    def fast_sigmoid(cls, slope: float = 25.0, relative: bool = False) -> Surrogate:
        return cls("fast_sigmoid", slope, 1.0, relative)

    @classmethod
    def arctan(cls, alpha: float = 2.0, relative: bool = False) -> Surrogate:
        return cls("arctan", alpha, alpha / 2, relative)
