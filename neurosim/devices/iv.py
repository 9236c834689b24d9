"""Current against voltage of a memristor that does not follow Ohm's law, and its derivative, as Newton's method needs.

The conductance g is that at small voltage. Beyond v_max the current goes on in a straight line, so that an
iteration that strays there finds its way back.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.interpolate import PchipInterpolator

from neurosim.profile import IV


def current(iv: IV, g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Current in A of devices of conductance g under voltage v; shapes broadcast.

    polynomial p: ``I = g V (1 + p0 V + p1 V^2 + ...)``. terms: ``I = g V + t0 V^2 + t1 V^3 + ...``, each t a polynomial
    of log10(g / 1 S), held at the ends of their range and proportional to g beyond. table: monotone cubic (Fritsch and
    Carlson) through each measured curve, linear in g between two of them, proportional to g outside.

    >>> iv = IV(polynomial=(0.0, -0.25), v_max=1.0)
    >>> float(current(iv, np.array(1e-6), np.array(0.2)))  # 1 uS (0.2 - 0.25 * 0.008) V
    1.98e-07
    """
    inside = np.clip(v, -iv.v_max.value, iv.v_max.value)
    value, slope = _law(iv, np.asarray(g, np.float64), np.asarray(inside, np.float64))
    return value + slope * (v - inside)


def slope(iv: IV, g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """dI/dV in S of devices of conductance g under voltage v; shapes broadcast."""
    inside = np.clip(v, -iv.v_max.value, iv.v_max.value)
    return _law(iv, np.asarray(g, np.float64), np.asarray(inside, np.float64))[1]


def _law(iv: IV, g: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Current and slope within v_max."""
    if iv.polynomial is not None:
        factors = np.polynomial.Polynomial([0.0, 1.0, *iv.polynomial])
        return g * factors(v), g * factors.deriv()(v)
    if iv.terms is not None:
        held = np.clip(g, *iv.range)
        terms = [polyval(np.log10(held), term) * (g / held) for term in iv.terms]
        value = g * v + sum(term * v ** (k + 2) for k, term in enumerate(terms))
        return value, g + sum((k + 2) * term * v ** (k + 1) for k, term in enumerate(terms))
    g, v = np.broadcast_arrays(g, v)
    knots = np.array(iv.table.conductance)
    if iv.table.voltage[0] == 0:
        size, sign = np.abs(v), np.where(v < 0, -1.0, 1.0)
    else:
        size, sign = v, np.ones_like(v)
    held = np.clip(g, knots[0], knots[-1])
    below = np.clip(np.searchsorted(knots, held, side="right") - 1, 0, max(len(knots) - 2, 0))
    above = np.minimum(below + 1, len(knots) - 1)
    apart = np.where(above > below, knots[above] - knots[below], np.inf)
    share = (held - knots[below]) / apart
    value, slope_ = np.zeros(g.shape), np.zeros(g.shape)
    for k, (curve, derivative) in enumerate(_curves(iv)):
        weight = (g / held) * (np.where(below == k, 1 - share, 0) + np.where((above == k) & (above > below), share, 0))
        used = weight > 0
        value[used] += weight[used] * curve(size[used])
        slope_[used] += weight[used] * derivative(size[used])
    return value * sign, slope_


@lru_cache(maxsize=16)
def _curves(iv: IV) -> tuple[tuple[PchipInterpolator, PchipInterpolator], ...]:
    curves = [PchipInterpolator(iv.table.voltage, row) for row in iv.table.current]
    return tuple((curve, curve.derivative()) for curve in curves)
