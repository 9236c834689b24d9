"""Memristors under a voltage that changes with time: state and current, for the models of write dynamics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid

from neurosim.devices import stanford_pku, vteam
from neurosim.errors import NeurosimError
from neurosim.profile import VTEAM, StanfordPKU

Model = VTEAM | StanfordPKU
#: a sub-step moves the state by no more than this share of its range
_SHARE = 1 / 100
_MOST = 2000  # sub-steps between two times: the state has gone through its range twenty times


@dataclass(frozen=True, eq=False)
class Trace:
    """What devices did: time and voltage `[time]` in s and V; current in A and state in m, `[time, device]`."""

    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    state: np.ndarray


def law(model: Model) -> object:
    """The equations of a model: a module with `ends`, `current` and `rate`."""
    return vteam if isinstance(model, VTEAM) else stanford_pku


def simulate(model: Model, time: np.ndarray, voltage: np.ndarray, state: np.ndarray) -> Trace:
    """Devices from their states `[device]` in m, under one voltage `[time]`, linear between its times.

    Runge and Kutta's fourth-order steps, so short that no state moves by more than 1/100 of its range; a state stays
    between its ends.

    Raises
    ------
    NeurosimError
        Two thousand sub-steps between two times are not enough: the voltage is far beyond what the model describes, or
        the times are too far apart.
    """
    equations = law(model)
    low, high = equations.ends(model)
    x = np.clip(np.atleast_1d(np.asarray(state, np.float64)), low, high)
    states = [x]

    def rate(x: np.ndarray, v: float) -> np.ndarray:
        return equations.rate(model, np.clip(x, low, high), np.float64(v))

    def speed(moves: np.ndarray) -> float:
        held = (x <= low) & (moves < 0) | (x >= high) & (moves > 0)
        return float(np.abs(np.where(held, 0.0, moves)).max())

    for k in range(len(time) - 1):
        at, end, taken = float(time[k]), float(time[k + 1]), 0
        slope = (voltage[k + 1] - voltage[k]) / (end - at)
        while at < end:
            v = float(voltage[k] + slope * (at - time[k]))
            ahead = float(voltage[k + 1])
            first = rate(x, v)
            fastest = max(speed(first), speed(rate(x, ahead)))
            h = min(end - at, _SHARE * (high - low) / fastest) if fastest else end - at
            if taken >= _MOST or at + h == at or not np.isfinite(fastest):
                raise NeurosimError(f"the state moves too fast to follow at {v:g} V, {at:g} s",
                                    where="devices.dynamics", hint="a smaller voltage, or a shorter sweep")
            middle = v + slope * h / 2
            second = rate(x + h / 2 * first, middle)
            third = rate(x + h / 2 * second, middle)
            fourth = rate(x + h * third, v + slope * h)
            x = np.clip(x + h / 6 * (first + 2 * second + 2 * third + fourth), low, high)
            at, taken = (end if h == end - at else at + h), taken + 1
        states.append(x)
    found = np.stack(states)
    voltage = np.asarray(voltage, np.float64)
    return Trace(np.asarray(time, np.float64), voltage, equations.current(model, found, voltage[:, None]), found)


def sweep(amplitude: float, period: float, cycles: int = 1, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Times and voltages of a sine, `points` to a period, first upwards.

    >>> sweep(2.0, 1e-3, points=4)[1].round(12) + 0.0
    array([ 0.,  2.,  0., -2.,  0.])
    """
    time = np.arange(cycles * points + 1) / points * period
    return time, amplitude * np.sin(2 * np.pi * np.arange(cycles * points + 1) / points)


def pulses(levels: np.ndarray, width: float, points: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Times and voltages of rectangular pulses of these levels, each followed by as long a rest.

    Edges take a hundredth of the width; the last time of a pulse with its rest is number ``(k + 1) (points + 3) - 1``.
    """
    edge = width / 100
    shape = np.concatenate([[0.0, edge], np.linspace(edge, width - edge, points)[1:], [width, 2 * width - edge]])
    on = np.concatenate([[0.0], np.ones(points), [0.0, 0.0]])
    time = np.concatenate([k * 2 * width + shape for k in range(len(levels))])
    return time, np.concatenate([level * on for level in levels])


def loop_area(voltage: np.ndarray, current: np.ndarray) -> float:
    """Area within a current-voltage loop in W: 0 without memory. Trapezoids, the sizes of both lobes added."""
    halves = [voltage >= 0, voltage <= 0]
    return sum(abs(float(trapezoid(current[half], voltage[half]))) for half in halves)
