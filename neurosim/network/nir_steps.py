"""From the time constants of NIR, which are continuous, to decays per time step, and back.

NIR says ``tau dv/dt = (v_leak - v) + r I`` and leaves open how that becomes a step. With h = dt / time_unit:

===========  ================  ==============  ===============  ==========================================
convention   beta              gain of r I     share of v_leak  what it is
===========  ================  ==============  ===============  ==========================================
euler        1 - h/tau         h/tau           h/tau            forward Euler
exact        exp(-h/tau)       1 - beta        1 - beta         the solution for an input held over the step
impulse      exp(-h/tau)       h/tau           1 - beta         the solution for an input at the step's end
===========  ================  ==============  ===============  ==========================================

A synapse, ``tau_syn dI/dt = -I + w_in S``, steps in the same way, and the membrane takes its new value. Without
a leak (`IF`, `I`) beta is 1 and the gain r h. What never enters here: nodes and layers, files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurosim.errors import NeurosimError

CONVENTIONS = ("euler", "exact", "impulse")
SYNAPSES = ("ode", "jump")
#: steps in the time constant of a neuron that does not leak: 1 - 2^-60 is 1 in float64, r h/tau is still exact
ENDLESS = 2.0**60
#: steps per time constant of a neuron that forgets at once: exp(-800) is 0 in float64
_INSTANT = 800.0
#: seconds: few neurons are as slow as this, and nearly all that were written in milliseconds or time steps
_LONG = 1.0


@dataclass(frozen=True)
class Steps:
    """How a time constant becomes a step.

    dt: seconds; convention: see the module; time_unit: seconds per unit of the file's time constants, None where
    nobody said (then 1, and time constants of 1 s or more are refused); synapse: "ode", or "jump" where `w_in` is what
    one spike adds to the current.
    """

    dt: float
    convention: str = "euler"
    time_unit: float | None = None
    synapse: str = "ode"

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise NeurosimError(f"convention is {self.convention!r}", allowed=", ".join(CONVENTIONS))
        if self.synapse not in SYNAPSES:
            raise NeurosimError(f"synapse is {self.synapse!r}", allowed=", ".join(SYNAPSES))
        if not (isinstance(self.dt, (int, float, np.number)) and 0 < self.dt < np.inf):
            raise NeurosimError(f"dt is {self.dt!r}", allowed="seconds, more than 0")
        unit = 1.0 if self.time_unit is None else self.time_unit
        if not (isinstance(unit, (int, float, np.number)) and 0 < unit < np.inf):
            raise NeurosimError(f"time_unit is {unit!r}", allowed="seconds per unit, more than 0")

    @property
    def h(self) -> float:
        """The time step in the unit of the time constants."""
        return float(self.dt) / (1.0 if self.time_unit is None else float(self.time_unit))

    def check(self, tau: np.ndarray) -> None:
        """Refuse time constants that are none, or that this convention cannot step."""
        if not (tau > 0).all():
            raise NeurosimError(f"time constant {tau.min():g}", allowed="more than 0")
        if self.time_unit is None and tau.max() >= _LONG:
            raise NeurosimError(f"time constants of up to {tau.max():g} s",
                                allowed=f"less than {_LONG:g} s, without a time_unit",
                                hint="they look like milliseconds or time steps: pass time_unit=1e-3, time_unit=dt, "
                                     "or time_unit=1 if they are seconds")
        if self.convention == "euler" and (self._euler(tau) < 0).any():
            raise NeurosimError(f"time constant {tau.min():g} is shorter than the time step {self.h:g}",
                                hint="is dt too long, or time_unit another one? Else convention='exact' can step it")

    def _ratio(self, tau: np.ndarray) -> np.ndarray:
        """h / tau in float64; h as the writer of a float32 file had it, so that its beta comes out again."""
        h = float(np.float32(self.h)) if tau.dtype == np.float32 else self.h
        return h / tau.astype(np.float64)

    def _euler(self, tau: np.ndarray) -> np.ndarray:
        beta = 1 - self._ratio(tau)
        return np.where((beta < 0) & (beta > -np.finfo(np.float32).eps), 0.0, beta)  # tau = h, once in float32

    def beta(self, tau: np.ndarray) -> np.ndarray:
        """Decay per step."""
        value = self._euler(tau) if self.convention == "euler" else np.exp(-self._ratio(tau))
        return value.astype(tau.dtype)

    def share(self, tau: np.ndarray) -> np.ndarray:
        """What a step takes of v_leak, float64: 1 - beta, with all digits where beta is nearly 1."""
        return self._ratio(tau) if self.convention == "euler" else -np.expm1(-self._ratio(tau))

    def _factor(self, tau: np.ndarray | None) -> np.ndarray | float:
        """The gain of r = 1, float64."""
        if tau is None:
            return self.h
        return self.share(tau) if self.convention == "exact" else self._ratio(tau)

    def gain(self, r: np.ndarray, tau: np.ndarray | None) -> np.ndarray:
        """What a step takes of an input that the ODE weighs with r; `tau` is None for an integrator.

        A gain that is 1 up to the rounding of r is 1: writers put r = tau/dt there.
        """
        value = r.astype(np.float64) * self._factor(tau)
        rounding = np.finfo(np.float32 if (r.astype(np.float32) == r).all() else np.float64).eps
        value = np.where(abs(value - 1) <= 2 * rounding, 1.0, value)
        return value.astype(r.dtype if tau is None else np.result_type(r, tau))

    def synaptic_gain(self, w_in: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """What a step's input adds to the synaptic current."""
        return w_in if self.synapse == "jump" else self.gain(w_in, tau)

    def tau_of(self, beta: np.ndarray) -> np.ndarray:
        """The time constant, float64, whose beta this is, to 2^-53: float64 has not enough of them for all betas."""
        beta = beta.astype(np.float64)
        with np.errstate(divide="ignore"):
            steps = 1 / (1 - beta) if self.convention == "euler" else -1 / np.log(beta)
        if self.convention != "euler":
            steps = np.where(beta == 0, 1 / _INSTANT, steps)
        return nearest(self.beta, self.h * np.where(beta == 1, ENDLESS, steps), beta)

    def r_of(self, gain: np.ndarray, tau: np.ndarray | None) -> np.ndarray:
        """The r, float64, that `tau` turns into this gain."""
        gain = gain.astype(np.float64)
        return nearest(lambda r: self.gain(r, tau), gain / self._factor(tau), gain)


def nearest(function: Callable[[np.ndarray], np.ndarray], guess: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of the few floats around `guess`, elementwise, the one for which `function` is nearest to `target`."""
    best, distance = guess, abs(function(guess) - target)
    for steps in (1, -1, 2, -2, 3, -3):
        other = guess + steps * np.spacing(guess)
        far = abs(function(other) - target)
        best, distance = np.where(far < distance, other, best), np.minimum(far, distance)
    return best
