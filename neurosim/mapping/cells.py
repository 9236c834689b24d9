"""How weights become conductances: legs of a cell, the devices of a leg, levels.

A weight is ``w = scale (sum_k c_k g_k) + offset`` over its planes k of devices. With x = w / w_max in [-1, 1], w_max
the largest magnitude of what shares a scale, the legs take, as shares of the range from g_min to g_max,

    pair        max(x, 0) and max(-x, 0)    w = leg - leg; one of the two stands at g_min
    two_sided   (1 + x) / 2 and (1 - x) / 2 w = leg - leg; the sum of the two is the same for all weights
    offset      h (1 + x) and h             w = leg - reference; h = 1/2, one reference column for all outputs of a tile
    single      (w - low) / (high - low)    w = leg + a digital offset; low and high the extremes, with 0, of what
                                            shares the scale

Devices of a leg have significances F_k, and the share a of a leg is ``sum F_k a_k / sum F_k``. They fill in the
order of significance, each up to g_max before the next (`low` or `high` first), or all alike (`even`); or they are the
digits of a in base `levels` (bit slicing, F_k = levels^k).

Sources: Joshi et al., Nat. Commun. 11, 2473 (2020) (pair); Xiao et al., Appl. Phys. Rev. 7, 031301 (2020) (offset and
bit slicing); Mackin et al., Nat. Commun. 13, 3765 (2022) (pairs with significances).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.profile import Crossbar


@dataclass(frozen=True, eq=False)
class Placed:
    """Weights as conductances, all float64.

    own: siemens `[plane, *weight]`. reference: siemens `[plane]` of the reference column, the same in each row.
    coefficients `[planes of own and reference]`. scale: weight per siemens, and offset: weight, in the shape of the
    weight; offset is None where there is none.
    """

    own: np.ndarray
    reference: np.ndarray
    coefficients: np.ndarray
    scale: np.ndarray
    offset: np.ndarray | None


def place(weight: np.ndarray, low: np.ndarray, high: np.ndarray, crossbar: Crossbar) -> Placed:
    """A weight of any shape; `low` and `high` (at its shape) are the extremes of what shares a scale with each."""
    cells, levels = crossbar.cells, int(crossbar.levels.value) if crossbar.levels else None
    if cells.slices:
        significances = float(levels) ** np.arange(cells.devices)
    else:
        significances = np.array(cells.significances)
    largest = np.maximum(np.abs(low), np.abs(high))
    least, span = crossbar.g_min.value, crossbar.g_max.value - crossbar.g_min.value
    total = significances.sum()

    def devices(share: np.ndarray) -> np.ndarray:
        return least + _devices(share, significances, cells.fill, levels, bool(cells.slices)) * span

    if cells.kind == "single":
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        share = (weight - low) / np.where(high > low, high - low, 1.0)
        scale = (high - low) / (total * span)
        return Placed(devices(share), np.empty(0), significances, scale, low - scale * total * least)
    x = weight / np.where(largest > 0, largest, 1.0)
    if cells.kind == "offset":
        half = zero_share(levels ** cells.devices if cells.slices else levels)
        return Placed(devices(half * (1 + x)), devices(np.array([half]))[:, 0],
                      np.concatenate([significances, -significances]), largest / (half * total * span), None)
    legs = (np.maximum(x, 0), np.maximum(-x, 0)) if cells.kind == "pair" else ((1 + x) / 2, (1 - x) / 2)
    own = np.concatenate([devices(leg) for leg in legs])
    return Placed(own, np.empty(0), np.concatenate([significances, -significances]), largest / (total * span), None)


def zero_share(levels: int | None) -> float:
    """The share of a leg that stands for the weight 0 against a reference: 1/2, or the level next below it.

    >>> [zero_share(levels) for levels in (None, 5, 4)]
    [0.5, 0.5, 0.3333333333333333]
    """
    return 0.5 if levels is None else (levels - 1) // 2 / (levels - 1)


def _devices(share: np.ndarray, significances: np.ndarray, fill: str, levels: int | None, digits: bool) -> np.ndarray:
    """Shares `[device, *share]` of the range that the devices of a leg take, on levels where there are any."""
    count = significances.size
    if digits:
        number = np.rint(share * (levels**count - 1))
        return np.stack([number // levels**k % levels for k in range(count)]) / (levels - 1)
    if fill == "even" or count == 1:
        made = np.repeat(share[None], count, axis=0)
    else:
        made, rest = np.empty((count, *share.shape)), share * significances.sum()
        for k in np.argsort(significances if fill == "low" else -significances, kind="stable"):
            made[k] = np.clip(rest / significances[k], 0, 1)
            rest = rest - made[k] * significances[k]
    return made if levels is None else np.rint(made * (levels - 1)) / (levels - 1)
