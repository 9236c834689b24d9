"""The value of a profile's curve at given conductances."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval

from neurosim.profile import Curve


def evaluate(curve: Curve, conductance: np.ndarray) -> np.ndarray:
    """The curve at conductances in siemens, any shape, in their dtype.

    >>> from neurosim.profile import load_profile
    >>> sigma = load_profile("pcm_hermes").crossbar.programming.sigma
    >>> round(float(evaluate(sigma, np.array(10.35e-6))) * 1e6, 5)  # 0.15782 + 2.32444 - 2.16311 + 0.68842 uS
    1.00757
    """
    x = np.asarray(conductance / conductance.dtype.type(curve.g_ref))
    out = _piece(curve.pieces[-1], x)
    for piece in reversed(curve.pieces[:-1]):
        out = np.where(x < x.dtype.type(piece.up_to), _piece(piece, x), out)
    return out


def _piece(piece: object, x: np.ndarray) -> np.ndarray:
    if piece.polynomial is not None:
        value = polyval(x, np.array(piece.polynomial, x.dtype))
    else:
        a, b = (x.dtype.type(number) for number in piece.log or piece.power or piece.saturating)
        above = np.maximum(x, np.finfo(x.dtype).tiny)
        if piece.log:
            value = a * np.log(above) + b
        else:
            value = a * np.power(above, b) if piece.power else -a * np.expm1(-x / b)
    return np.clip(value, *piece.clip) if piece.clip else value
