"""One of every kind of result, small: what the tests of figures and of the page draw."""

from __future__ import annotations

from functools import cache

import numpy as np

import neurosim as ns
from neurosim.deployment import Examination, Pareto, examine, pareto, parse_range, settings

ATTACK = {"kind": "attack", "model": "steady.h5", "unit": "of each parameter", "accuracy": 0.9, "command": "neurosim a",
          "points": [{"size": size, "attacked": 0.9 - size, "corner_mean": 0.88, "corner_least": 0.8,
                      "gaussian_mean": 0.86, "gaussian_least": 0.7} for size in (0.1, 0.4)]}
LANDSCAPE = {"kind": "landscape", "model": "steady.h5", "unit": "of each parameter", "size": 0.2, "slope": 1.0,
             "steps": [-2.0, -1.0, 0.0, 1.0, 2.0], "losses": [[4.0, 1.5, 1.0, 1.5, 4.0], [2.0, 1.2, 1.0, 1.3, 2.5]]}
_RNG = np.random.default_rng(0)
NETWORK = ns.Network.sequential({"in": ns.Linear(_RNG.normal(size=(20, 6))), "h": ns.LIF(0.9),
                                 "out": ns.Linear(_RNG.normal(size=(3, 20))), "last": ns.LIF(0.9)}, (6,), dt=1e-3)
INPUTS = (_RNG.random((30, 12, 6)) < 0.2).astype(np.float32)
LABELS = _RNG.integers(0, 3, 12)


@cache
def runs() -> tuple[ns.Run, ns.Run]:
    """A chip without and one with prices and tiles."""
    about = {"recipe": "<b>standard</b>", "command": "a & b"}
    return tuple(ns.deploy(ns.map_network(NETWORK, ns.load_profile(name)), INPUTS, LABELS, dies=15, seed=4, about=about)
                 for name in ("mismatch", "pcm_hermes"))


@cache
def die() -> Examination:
    """The worst die of the second run."""
    return examine(runs()[1], ns.map_network(NETWORK, ns.load_profile("pcm_hermes")), INPUTS, LABELS)


@cache
def search(*ranges: str, profile: str = "pcm_hermes") -> Pareto:
    """A grid of settings on a few dies."""
    chosen = settings([parse_range(text) for text in ranges])
    return pareto(NETWORK, ns.load_profile(profile), chosen, INPUTS, LABELS, dies=6, progress=False)


def everything() -> list[object]:
    """Results that fill every section of a page."""
    return [*runs(), die(), search("time=300,86400,2592000"), search("mismatch=0:0.4:0.2", profile="mismatch"),
            search("crossbar.levels=4,8,16"), ATTACK, {**ATTACK, "model": "other.h5"}, LANDSCAPE]
