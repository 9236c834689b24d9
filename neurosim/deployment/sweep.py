"""What can be varied over a chip type and a network, and the settings to try: a grid, random, or a Latin hypercube;
`guided` chooses them as it goes.

A key is a dotted key of the profile (`crossbar.levels`), or one of three words: `neuron.threshold_scale` multiplies
every threshold of the network; `mismatch` is the spread of every weight and bias, as published; `time` is in seconds
after programming.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurosim.errors import NeurosimError, whole
from neurosim.mapping import MappedNetwork, map_network
from neurosim.network import Network
from neurosim.profile import Profile

_MOST = 10_000  # values of one range
THRESHOLD_SCALE = "neuron.threshold_scale"
MISMATCH, TIME = "mismatch", "time"
_MISMATCHED = ([MISMATCH, "weight"], [MISMATCH, "bias"])  # what `mismatch` sets
METHODS = ("grid", "random", "latin")
Setting = dict[str, float]
_UNITS = (("y", 365.25 * 86400.0), ("d", 86400.0), ("h", 3600.0), ("min", 60.0))


@dataclass(frozen=True)
class Range:
    """The values of one key, in order."""

    key: str
    values: tuple[float, ...]


def parse_range(text: str) -> Range:
    """`KEY=LOW:HIGH[:STEP]`, both ends included (the step is 1 where it is not given), or `KEY=A,B,C`.

    >>> parse_range("adc.bits=4:10:2")
    Range(key='adc.bits', values=(4, 6, 8, 10))
    >>> parse_range("crossbar.levels=8,16").values
    (8, 16)
    """
    key, equals, rest = text.partition("=")
    allowed = "KEY=LOW:HIGH, KEY=LOW:HIGH:STEP or KEY=A,B,C"
    try:
        numbers = [_number(part) for part in (rest.split(":") if ":" in rest else rest.split(","))]
    except ValueError:
        numbers = []
    if not equals or not key or not numbers:
        raise NeurosimError(f"{text!r} names no values", where="--vary", allowed=allowed)
    if ":" not in rest:
        return Range(key, tuple(numbers))
    low, high, step = (*numbers, 1)[:3]
    if (len(numbers) not in (2, 3) or not all(map(math.isfinite, numbers)) or step <= 0 or high < low
            or (high - low) / step > _MOST):
        raise NeurosimError(f"{text!r} is no range", where="--vary",
                            allowed=f"{allowed}, LOW <= HIGH and STEP > 0, at most {_MOST} values")
    count = math.floor((high - low) / step + 1e-9) + 1
    return Range(key, tuple(low + i * step if isinstance(low + i * step, int) else round(low + i * step, 12)
                            for i in range(count)))


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def refuse_ranges(ranges: Sequence[Range]) -> None:
    """Raise where nothing is varied, or one key twice."""
    keys = [entry.key for entry in ranges]
    if not ranges or len(set(keys)) != len(keys):
        raise NeurosimError(f"varies {', '.join(keys) or 'nothing'}", where="--vary",
                            allowed="different keys, one or more")


def settings(ranges: Sequence[Range], method: str = "grid", points: int | None = None, seed: int = 0) -> list[Setting]:
    """The settings to try, each once, in order of the ranges.

    Parameters
    ----------
    method:
        "grid": all combinations. "random": `points` of them, drawn without repetition. "latin": a Latin hypercube of
        `points` points over the values of each range (McKay, Beckman, Conover, Technometrics 21, 239 (1979)).
    points:
        How many; for a grid all, and none may be given.
    seed:
        Of the drawing.
    """
    refuse_ranges(ranges)
    if method not in METHODS:
        raise NeurosimError(f"method is {method!r}", where="pareto", allowed=f"{', '.join(METHODS)}, optuna")
    every = math.prod(len(entry.values) for entry in ranges)
    if (method == "grid") != (points is None) or (points is not None and points < 1):
        raise NeurosimError(f"{points} points of a {method}", where="pareto",
                            allowed="a grid without --points, random or latin with 1 or more")
    rng = np.random.default_rng(whole("seed", seed, "pareto", 0, 64))
    if method == "latin":
        from scipy.stats import qmc

        share = qmc.LatinHypercube(len(ranges), rng=rng).random(points)
        chosen = [tuple(int(s * len(entry.values)) for s, entry in zip(row, ranges, strict=True)) for row in share]
    else:
        sizes = [len(entry.values) for entry in ranges]
        numbers = range(every) if method == "grid" else sorted(rng.choice(every, min(points, every), replace=False))
        chosen = [tuple(int(i) for i in np.unravel_index(number, sizes)) for number in numbers]
    return [{entry.key: entry.values[i] for entry, i in zip(ranges, row, strict=True)} for row in dict.fromkeys(chosen)]


def at_setting(network: Network, profile: Profile, setting: Mapping[str, float]) -> MappedNetwork:
    """The network on the chip type with this setting."""
    values = {key: value for key, value in setting.items() if key not in (THRESHOLD_SCALE, MISMATCH, TIME)}
    unknown = [key for key in values if key.startswith("neuron.")]
    if unknown:
        raise NeurosimError(f"{unknown[0]} cannot be varied", where="--vary",
                            allowed=f"{THRESHOLD_SCALE}, {MISMATCH}, {TIME}, or a key of the profile")
    if MISMATCH in setting and (own := [key for key in values if key.split(".")[:2] in _MISMATCHED]):
        raise NeurosimError(f"{MISMATCH} and {own[0]} are the same spread", where="--vary", allowed="one of them")
    factor = setting.get(THRESHOLD_SCALE, 1)
    if factor != 1:
        if not factor > 0:
            raise NeurosimError(f"{THRESHOLD_SCALE} is {factor!r}", where="--vary", allowed="above 0")
        network = network.replace_arrays(lambda layer, name, array: array * factor if name == "threshold" else array)
    chip = profile.with_values(values) if values else profile
    mapped = map_network(network, chip.with_mismatch(setting[MISMATCH]) if MISMATCH in setting else chip)
    if MISMATCH in setting and mapped.configuration is not None:
        raise NeurosimError("a chip of circuits has no spread of whole weights", where=f"--vary {MISMATCH}",
                            hint="vary its currents': circuit.mismatch.area=0.25,1,4")
    return mapped


def is_condition(key: str) -> bool:
    """Whether a key says under which conditions a chip is used, or how good it was made, and not how it is designed.

    >>> [is_condition(key) for key in ("time", "mismatch", "circuit.temperature.operating", "adc.bits")]
    [True, True, True, False]
    """
    parts = key.split(".")
    return key == TIME or MISMATCH in parts or "temperature" in parts


def label(setting: Mapping[str, float]) -> str:
    """A setting as people read it.

    >>> label({"adc.bits": 6, "neuron.threshold_scale": 0.8})
    'adc.bits=6, neuron.threshold_scale=0.8'
    >>> label({"time": 30 * 86400.0})
    'time=30 d'
    """
    return ", ".join(f"{key}={_moment(value) if key == TIME else f'{value:g}'}" for key, value in setting.items())


def _moment(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1.0))
    return f"{seconds / size:g} {unit}"


