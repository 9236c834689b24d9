"""Bias generators: the currents that coarse and fine codes make, and the codes nearest to a current.

A coarse code chooses the range, a fine code divides it. Where the fine code is made of eight segments of 32 steps,
the steps of a segment reach further than the next segment begins, so the current falls at every multiple of 32:

    ``I(f) = floor + segment (f div 32) + step (f mod 32)``

with segment and step such that I(255) is the full scale and the first fall, at 32, is the stated share of the current
before it. Source of the form: the seven falls per range reported for DYNAP-SE2, at the multiples of 32.
"""

from __future__ import annotations

import numpy as np

from neurosim.profile.schema_circuit import Bias, Circuit

FINE = 256
_SEGMENT = 32


def bias_currents(full_scale: np.ndarray, floor: np.ndarray, fall: np.ndarray | None = None) -> np.ndarray:
    """The current of every code, amperes, float64 `[coarse, 256]`.

    full_scale, floor: amperes at fine 255 and fine 0, `[coarse]`. fall: the largest fall at a multiple of 32, as a
    share of the current before it, `[coarse]`; None is a line from floor to full scale.

    >>> float(bias_currents(np.array([255e-12]), np.array([0.0]))[0, 100]) * 1e12
    100.0
    """
    full, low = np.asarray(full_scale, np.float64)[:, None], np.asarray(floor, np.float64)[:, None]
    fine = np.arange(FINE)
    if fall is None:
        return low + (full - low) * (fine / (FINE - 1))
    share, last = np.asarray(fall, np.float64)[:, None], _SEGMENT - 1
    segments = FINE // _SEGMENT - 1
    top = (full - low + segments * share * low) / (segments * (1 - share) + 1)  # the steps of one segment together
    segment = top * (1 - share) - share * low
    return low + segment * (fine // _SEGMENT) + top / last * (fine % _SEGMENT)


def table_currents(circuit: Circuit, bias: Bias) -> np.ndarray:
    """What each code of a bias gives at the neuron, amperes, float64 `[coarse, 256]`: generator times mirror."""
    table = circuit.table.p if bias.table == "p" and circuit.table.p is not None else circuit.table.n
    fall = None if table.fall is None else np.array(table.fall.values)
    return bias_currents(np.array(table.full_scale.values), np.array(table.floor.values), fall) * bias.mirror.value


def nearest_codes(currents: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse and fine code whose current has the least ratio to the wanted one; int64, the shape of `wanted`.

    currents: `[coarse, 256]`, in any order; those of 0 are never chosen. wanted: amperes, above 0. Of codes with the
    same current the first counts.

    >>> table = bias_currents(np.array([255e-12, 2550e-12]), np.zeros(2))
    >>> [int(code) for code in nearest_codes(table, np.array(101.4e-12))]
    [0, 101]
    """
    flat = currents.reshape(-1)
    usable = np.flatnonzero(flat > 0)
    order = usable[np.argsort(flat[usable], kind="stable")]
    logs, target = np.log(flat[order]), np.log(np.asarray(wanted, np.float64))
    above = np.clip(np.searchsorted(logs, target), 1, order.size - 1)
    chosen = np.where(target - logs[above - 1] <= logs[above] - target, above - 1, above)
    chosen = np.searchsorted(logs, logs[chosen])  # the first of equal currents
    return np.divmod(order[chosen], currents.shape[1])
