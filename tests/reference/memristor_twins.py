"""What a profile file says of its memristors, worked out a second time: from the bare TOML, with scipy's distributions.

Shares nothing with `neurosim.devices`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import stats

try:
    import tomllib
except ImportError:
    import tomli as tomllib


def value(entry: object) -> float:
    return float(entry["value"] if isinstance(entry, dict) else entry)


def raw_crossbar(path: str | Path) -> dict:
    """The [crossbar] table of a profile file, or an empty one."""
    return tomllib.loads(Path(path).read_text(encoding="utf-8")).get("crossbar", {})


def curve(entry: dict | float, g: float) -> float:
    """A curve at one conductance in siemens."""
    if not isinstance(entry, dict):
        return float(entry)
    x = g / entry["g_ref"]
    piece = next(piece for piece in entry["pieces"] if "up_to" not in piece or x < piece["up_to"])
    if "polynomial" in piece:
        found = sum(c * x**k for k, c in enumerate(piece["polynomial"]))
    elif "log" in piece:
        found = piece["log"][0] * math.log(x) + piece["log"][1] if x > 0 else math.copysign(math.inf, -piece["log"][0])
    elif "power" in piece:
        found = piece["power"][0] * x ** piece["power"][1] if x > 0 else math.inf
    else:
        found = piece["saturating"][0] * (1 - math.exp(-x / piece["saturating"][1]))
    low, high = piece.get("clip", (-math.inf, math.inf))
    return min(max(found, low), high)


def around(mean: float, sd: float, distribution: str) -> stats.rv_continuous:
    """A scipy distribution of this mean and standard deviation."""
    if distribution == "normal":
        return stats.norm(mean, sd)
    if distribution == "uniform":
        return stats.uniform(mean - math.sqrt(3) * sd, 2 * math.sqrt(3) * sd)
    width = math.sqrt(math.log(1 + (sd / mean) ** 2))
    return stats.lognorm(width, scale=mean * math.exp(-width**2 / 2))


def written_sigma(crossbar: dict, target: float, time: float | None) -> float:
    """Standard deviation of what is written, at a time where tables of retention hold it."""
    sigma = curve(crossbar["programming"]["sigma"], target)
    if time is None or "retention" not in crossbar:
        return sigma
    tables = crossbar["retention"]["tables"]
    times = [value(crossbar["retention"]["t0"]), *(value(table["time"]) for table in tables)]
    return float(np.interp(time, times, [sigma, *(curve(table["sigma"], target) for table in tables)]))


def written_mean(crossbar: dict, target: float, time: float) -> float:
    """Mean of what was written, where tables of retention move it; not below 0."""
    tables = crossbar["retention"]["tables"]
    times = [value(crossbar["retention"]["t0"]), *(value(table["time"]) for table in tables)]
    shifts = [0.0, *(curve(table["mean"], target) if "mean" in table else 0.0 for table in tables)]
    return max(target + float(np.interp(time, times, shifts)), 0.0)


def exponent(crossbar: dict, target: float) -> stats.rv_continuous:
    """Of the drift exponent: the absolute value of a normal number."""
    mean, sd = (curve(crossbar["drift"][f"exponent_{which}"], target) for which in ("mean", "sd"))
    return stats.foldnorm(mean / sd, scale=sd)


def relaxation(crossbar: dict, time: float) -> stats.rv_continuous:
    """Of the shift by relaxation, where no device reaches 0."""
    entry, log = crossbar["relaxation"], math.log(time / value(crossbar["relaxation"]["t0"]))
    return stats.norm(entry["mean"][0] + entry["mean"][1] * log, entry["sd"][0] + entry["sd"][1] * log)


def read_sd(crossbar: dict, target: float, g: np.ndarray, time: float) -> np.ndarray:
    """Standard deviation of one read of devices that are now at g."""
    entry = crossbar["read_noise"]
    if "sd" in entry:
        sd = np.array([curve(entry["sd"], float(one)) for one in g])
    else:
        sd = curve(entry["relative"], target) * g
    if "t_read" in entry:
        t_read = value(entry["t_read"])
        sd = sd * math.sqrt(math.log((time + t_read) / (2 * t_read)))
    return sd
