"""How far the memristors of a chip type spread, by what they are meant to be: seen on devices that `Dies` makes.

Mismatch, write noise with or without verification, drift and whatever else a profile says act together on a
conductance. What comes of it is not put together here a second time, but measured once on many devices of the chip
type: from the median to the quantile 84.13 %, which for a normal law is one standard deviation, and for one that is cut
off at 0 that of the law before. Cells that are stuck are no spread and stay out.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from neurosim.dies import Dies
from neurosim.mapping import DeviceArray, map_network
from neurosim.network import Linear, Network
from neurosim.profile import Profile
from neurosim.training.placing import Spreads

_UPPER = 0.8413447
_LEVELS, _COPIES, _DIES, _SEED = 129, 256, 64, 0  # 16384 devices of each weight: within 1.2 % (one standard error)


@lru_cache(maxsize=16)
def spreads_of(profile: Profile, programming: int = 0, time: float | None = None) -> Spreads:
    """One standard deviation of a conductance from its target, interpolated between 129 weights.

    >>> from neurosim.profile import load_profile
    >>> pcm = spreads_of(load_profile("pcm_hermes"))       # published: 0.158 uS at 0, 1.01 uS at g_max
    >>> (pcm(np.array([0.0, 10.35e-6])) * 1e6).round(2)
    array([0.16, 1.  ])
    """
    crossbar = profile.crossbar.model_copy(update={"stuck": None} if hasattr(profile.crossbar, "stuck") else {})
    free = unconverted(profile).model_copy(update={"limits": type(profile.limits)(), "crossbar": crossbar})
    weight = np.tile(np.linspace(-1, 1, _LEVELS), (_COPIES, 1))
    mapped = map_network(Network.sequential([Linear(weight)], (_LEVELS,), dt=1e-3), free)
    (array,) = (array for array in mapped.arrays if isinstance(array, DeviceArray))
    dies = Dies(mapped, _SEED, programming, time)
    targets, place = np.unique(array.targets.astype(np.float64), return_inverse=True)
    found = np.stack([devices_of(array, dies.conductances(die, array.name)) for die in range(_DIES)])
    widths = [np.subtract(*np.quantile(found[:, place == level], [_UPPER, 0.5])) for level in range(targets.size)]
    return lambda wanted: np.interp(wanted, targets, widths)


def unconverted(profile: Profile) -> Profile:
    """A chip type whose reads pass no converter; drivers keep their gains."""
    dac = profile.dac and profile.dac.model_copy(update={"bits": None, "serial": False})
    return profile.model_copy(update={"adc": None, "dac": dac})


def devices_of(array: DeviceArray, planes: np.ndarray) -> np.ndarray:
    """Values of planes `[plane, out, ...in]` in the order of an array's targets: each reference once for a tile."""
    count = len(array.own)
    shared = planes[count:, ::array.tiling.tile_outputs]
    return np.concatenate([planes[:count].reshape(-1), shared.reshape(-1)])
