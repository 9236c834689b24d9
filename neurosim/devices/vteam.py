"""VTEAM: a memristor whose state moves only beyond a threshold of voltage.

With the state w from 0 to the width D,

    dw/dt = k_off (v / v_off - 1)^alpha_off f(w)   v > v_off > 0
            k_on  (v / v_on - 1)^alpha_on  f(w)    v < v_on < 0
            0                                      between

and ``i = v / R(w)`` with R linear in w from r_on to r_off, or ``R = r_on (r_off / r_on)^(w / D)``. The window f is 1 or

    joglekar      1 - (2 x - 1)^(2 p)                      x = w / D
    biolek        1 - (x - s)^(2 p)                        s = 0 where w rises, 1 where it falls
    prodromakis   1 - ((x - 1/2)^2 + 3/4)^p

Sources: Kvatinsky, Ramadan, Friedman, Kolodny, IEEE Trans. Circuits Syst. II 62, 786 (2015); windows: Joglekar and
Wolf, Eur. J. Phys. 30, 661 (2009); Biolek, Biolek, Biolkova, Radioengineering 18, 210 (2009); Prodromakis et al., IEEE
Trans. Electron Devices 58, 3099 (2011).
"""

from __future__ import annotations

import numpy as np

from neurosim.profile import VTEAM


def ends(model: VTEAM) -> tuple[float, float]:
    """The least and the largest state, in metres."""
    return 0.0, model.width.value


def current(model: VTEAM, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Current in A at state w under voltage v; shapes broadcast."""
    on, off, x = model.r_on.value, model.r_off.value, w / model.width.value
    return v / (on + (off - on) * x if model.resistance == "linear" else on * (off / on) ** x)


def rate(model: VTEAM, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """dw/dt in m/s at state w under voltage v; shapes broadcast."""
    rise = np.maximum(v / model.v_off.value - 1, 0) ** model.alpha_off.value * model.k_off.value
    fall = np.maximum(v / model.v_on.value - 1, 0) ** model.alpha_on.value * model.k_on.value
    moves = np.where(v > 0, rise, fall)
    x, p = np.clip(w / model.width.value, 0, 1), model.window_order.value
    if model.window == "joglekar":
        return moves * (1 - np.abs(2 * x - 1) ** (2 * p))
    if model.window == "biolek":
        return moves * (1 - np.abs(x - np.where(moves < 0, 1.0, 0.0)) ** (2 * p))
    if model.window == "prodromakis":
        return moves * (1 - ((x - 0.5) ** 2 + 0.75) ** p)
    return moves * np.ones_like(x)
