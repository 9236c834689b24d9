"""Memristors: what is written is not what was meant, it ages, and no two reads are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurosim.devices.spread import spread_around
from neurosim.profile import Retention, Stuck


def programmed(target: np.ndarray, sigma: np.ndarray, z: np.ndarray, distribution: str = "normal") -> np.ndarray:
    """Conductances after programming, in siemens, not below 0: of mean `target` and standard deviation `sigma`.

    For a normal distribution ``max(target + sigma z, 0)``; sigma below 0 counts as 0. A device that is meant to be at 0
    stays there where the distribution is lognormal.

    Source: Joshi et al., Nat. Commun. 11, 2473 (2020), and the sources of each profile's sigma.
    """
    if distribution == "normal":
        return np.maximum(target + np.maximum(sigma, 0) * z, 0)
    return np.maximum(spread_around(target, np.maximum(sigma, 0), distribution, z), 0)


def write_verify(target: np.ndarray, sigma: np.ndarray, acceptance: np.ndarray, read_sd: np.ndarray, most: int,
                 draw: Callable[[int], tuple[np.ndarray, np.ndarray]], distribution: str = "normal",
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Conductances after write and verify, and the pulses that each device took (int32).

    Pulse p moves a device from g by what it was seen to be wrong, with the error of a single write, and is read:

        ``g <- max(programmed(target, sigma, z_p) + (g - seen), 0),  seen = g + read_sd v_p``

    until ``|seen - target| <= acceptance`` or `most` pulses are given. `draw(p)` gives the standard normal z_p and
    v_p of all devices. With a perfect read what remains is the write error cut off at the acceptance.

    Sources: closed-loop programming of Milo et al. 2021 and Falcone, Clerico et al., arXiv:2502.04524 (2025), here with
    one error per pulse.
    """
    g, seen = target.copy(), target.copy()
    pulses = np.zeros(target.shape, np.int32)
    open_ = np.ones(target.shape, bool)
    for pulse in range(most):
        z, v = draw(pulse)
        written = np.maximum(programmed(target, sigma, z, distribution) + (g - seen), 0)
        g = np.where(open_, written, g)
        seen = np.where(open_, g + read_sd * v, seen)
        pulses += open_
        open_ &= np.abs(seen - target) > acceptance
        if not open_.any():
            break
    return g, pulses


def drift_exponent(mean: np.ndarray, sd: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The drift exponent of each device, ``|mean + sd z|``: fixed from one programming to the next."""
    return np.abs(mean + sd * z)


def drifted(conductance: np.ndarray, exponent: np.ndarray, time: float, t0: float) -> np.ndarray:
    """Conductances `time` seconds after programming, ``g (time / t0)^(-exponent)``.

    Source: Nandakumar et al., ICECS 2019; Joshi et al. 2020.
    """
    ratio = conductance.dtype.type(np.log(time / t0))
    return conductance * np.exp(-exponent * ratio)


def relaxed(conductance: np.ndarray, mean: float, sd: float, z: np.ndarray) -> np.ndarray:
    """Conductances after relaxation by `mean` and `sd` siemens (`relaxation_at`), ``max(g + mean + sd z, 0)``.

    Source: Falcone, Clerico et al., arXiv:2502.04524 (2025).
    """
    return np.maximum(conductance + (z * z.dtype.type(max(sd, 0.0)) + z.dtype.type(mean)), 0)


def relaxation_at(line: tuple[float, float], time: float, t0: float) -> float:
    """A quantity of relaxation at a time, ``line[0] + line[1] ln(time / t0)``."""
    return line[0] + line[1] * float(np.log(time / t0))


def retention_tables(retention: Retention, time: float) -> list[tuple[int, float]]:
    """Which spreads hold at a time, and their shares: index 0 is the sigma of programming, i that of table i - 1.

    Linear between the times of the tables; the shares add up to 1.
    """
    times = retention.times
    after = min(int(np.searchsorted(times, time)), len(times) - 1)
    if times[after] == time or after == 0:
        return [(after, 1.0)]
    share = (time - times[after - 1]) / (times[after] - times[after - 1])
    return [(after - 1, 1 - share), (after, share)]


def flicker_growth(time: float, t_read: float) -> float:
    """By how much 1/f noise has grown, ``sqrt(ln((t + t_read) / (2 t_read)))``; 0 before the end of the first read.

    Source: Nandakumar et al., ICECS 2019; Joshi et al. 2020.
    """
    return float(np.sqrt(max(np.log((time + t_read) / (2 * t_read)), 0.0)))


def flicker_memory(slowest: float, dt: float) -> tuple[tuple[float, float], ...]:
    """Shares of the variance, and decays per step, of the processes whose sum is 1/f noise over steps of dt.

    First-order processes with correlation times dt, 4 dt, 16 dt, ... up to `slowest`, all of one variance: a sum of
    Lorentzians evenly spaced in log frequency is 1/f between 1 / (2 pi slowest) and 1 / (2 pi dt), flat below. Source:
    van der Ziel, Physica 16, 359 (1950). With `slowest` below dt nothing lasts until the next step: white, no process.

    >>> [round(decay, 3) for _, decay in flicker_memory(20.0, 1.0)]
    [0.368, 0.779, 0.939]
    """
    count = max(0, 1 + int(np.floor(np.log(slowest / dt) / np.log(4.0) + 1e-9)))
    return tuple((1 / count, float(np.exp(-(4.0**-k)))) for k in range(count))


def stuck(conductance: np.ndarray, u: np.ndarray, cells: Stuck, g_min: float, g_max: float) -> np.ndarray:
    """Conductances with stuck cells: u, uniform in (0, 1), below `on` is stuck on, in the next `off` stuck off, in the
    next `unformed` not formed."""
    g_on = cells.g_on.value if cells.g_on else g_max
    g_off = cells.g_off.value if cells.g_off else g_min
    on = cells.on.value
    off = on + cells.off.value
    unformed = off + cells.unformed.value
    g = np.where(u < unformed, conductance.dtype.type(cells.g_unformed.value), conductance)
    g = np.where(u < off, conductance.dtype.type(g_off), g)
    return np.where(u < on, conductance.dtype.type(g_on), g)
