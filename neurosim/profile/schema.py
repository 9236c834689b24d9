"""The sections of a profile. Field descriptions carry the unit; `neurosim profiles show` prints them.

Adding a key here makes it known to the loader; nothing else lists keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from neurosim.profile.quantity import AnyCurve, Entry, Quantity, quantity, refuse

Factor = quantity("a mean factor above 0", lambda v: v > 0, spread=True)
PositiveFactor = quantity("a mean factor above 0", lambda v: v > 0, spread=True, positive=True)
Count = quantity("a whole number, 1 or more", lambda v: v >= 1 and v == int(v))
Levels = quantity("a whole number of levels, 2 or more", lambda v: v >= 2 and v == int(v))
Conductance = quantity("siemens, 0 to 1 (25 uS is 25e-6)", lambda v: 0 <= v <= 1)
Seconds = quantity("seconds, 1e-9 to 1e9 (20 ms is 0.02)", lambda v: 1e-9 <= v <= 1e9)
LayerName = Literal["Linear", "Conv2d", "AvgPool2d", "MaxPool2d", "Flatten", "ReLU", "Sum", "LIF", "CubaLIF",
                    "AdaptiveLIF", "LeakyIntegrator"]


class Mismatch(Entry):
    """Fixed differences between devices drawn alike; lifetime: die. Each is a factor with its mean and spread."""

    weight: Factor | None = Field(None, description="factor on every weight (crossbar: on every conductance)")
    bias: Factor | None = Field(None, description="factor on every bias")
    tau_mem: PositiveFactor | None = Field(None, description="factor on membrane time constants")
    tau_syn: PositiveFactor | None = Field(None, description="factor on synaptic time constants")
    tau_adaptation: PositiveFactor | None = Field(None, description="factor on adaptation time constants")
    threshold: PositiveFactor | None = Field(None, description="factor on thresholds")


class Limits(Entry):
    """What the chip can hold. What is absent has no limit."""

    neurons: Count | None = Field(None, description="neurons on a chip")
    fan_in: Count | None = Field(None, description="synapses of a neuron")
    tau_min: Seconds | None = Field(None, description="s, shortest time constant of a neuron or synapse")
    tau_max: Seconds | None = Field(None, description="s, longest time constant of a neuron or synapse")
    layers: tuple[LayerName, ...] | None = Field(None, strict=False, description="layer types that the chip has")

    @field_validator("tau_max")
    @classmethod
    def _ordered(cls, found: Quantity | None, info: Any) -> Quantity | None:
        least = info.data.get("tau_min")
        if found and least and found.value <= least.value:
            raise refuse(f"more than tau_min = {least.value:g} s")
        return found


class Synapse(Entry):
    """Weights of a chip without conductance pairs."""

    levels: Levels | None = Field(None, description="weight magnitudes from 0 to the largest of the array")


class Programming(Entry):
    """Write noise; lifetime: program."""

    sigma: AnyCurve = Field(description="S, standard deviation of a written conductance")


class Drift(Entry):
    """``g(t) = g(t0) (t / t0)^(-nu)``, one exponent nu per device and programming; a trajectory."""

    t0: Seconds = Field(description="s after programming at which sigma holds")
    exponent_mean: AnyCurve = Field(description="mean of nu")
    exponent_sd: AnyCurve = Field(description="standard deviation of nu over devices")


class Crossbar(Entry):
    """A memristor crossbar with one-sided differential pairs: one device of a pair stands at g_min."""

    g_min: Conductance = Field(description="S, lowest conductance")
    g_max: Conductance = Field(description="S, highest conductance")
    rows: Count = Field(description="inputs of a tile")
    columns: Count = Field(description="device columns of a tile; a weight takes two")
    scale: Literal["tile", "column"] = Field("column", description="what shares one weight-to-conductance scale")
    levels: Levels | None = Field(None, description="conductance levels from g_min to g_max; absent: continuous")
    programming: Programming | None = None
    drift: Drift | None = None

    @field_validator("g_max")
    @classmethod
    def _above(cls, found: Quantity, info: Any) -> Quantity:
        least = info.data.get("g_min")
        if least is not None and found.value <= least.value:
            raise refuse(f"more than g_min = {least.value:g} S")
        return found

    @field_validator("columns")
    @classmethod
    def _pairs(cls, found: Quantity) -> Quantity:
        if found.value % 2:
            raise refuse("an even number: a weight takes two columns")
        return found


class Profile(Entry):
    """A chip type. Made by `load_profile`; frozen."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(description="letters, digits, _ . -")
    family: Literal["abstract", "mixed_signal", "crossbar"]
    description: str = ""
    sources: tuple[str, ...] = Field((), strict=False)
    mismatch: Mismatch = Mismatch()
    limits: Limits = Limits()
    synapse: Synapse = Synapse()
    crossbar: Crossbar | None = None

    @field_validator("crossbar")
    @classmethod
    def _family(cls, found: Crossbar | None, info: Any) -> Crossbar | None:
        if found is not None and info.data.get("family", "crossbar") != "crossbar":
            raise refuse("no [crossbar] section, or family = \"crossbar\"")
        if found is not None and info.data.get("synapse", Synapse()).levels is not None:
            raise refuse("levels under [crossbar], not under [synapse]")
        return found

    def __str__(self) -> str:
        return f"Profile {self.name} ({self.family}): {self.description}"

    __repr__ = __str__

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides a die; names, sources and notes are not part of it."""
        data = json.dumps(_without_prose(self.model_dump()), sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()

    def with_values(self, values: Mapping[str, object]) -> Profile:
        """The same chip type with other values, by dotted key; checked like a file.

        >>> from neurosim.profile import load_profile
        >>> load_profile("pcm_hermes").with_values({"crossbar.levels": 16}).crossbar.levels.value
        16.0
        """
        from neurosim.profile.load import parse_profile

        data = self.model_dump(exclude_none=True, exclude_defaults=True)
        for key, value in values.items():
            *path, last = key.split(".")
            place = data
            for name in path:
                inner = place.get(name)
                place[name] = dict(inner) if isinstance(inner, dict) else {}
                place = place[name]
            place[last] = value
        return parse_profile(data, f"profile {self.name} with {', '.join(values)}")

    def with_mismatch(self, zeta: float) -> Profile:
        """The published mismatch model: every weight and bias times N(1, zeta^2).

        Source: Buechel, Faber, Muir, ICLR 2022. What else the profile spreads stays.
        """
        spread = {"value": 1.0, "cv": zeta, "distribution": "normal", "source": f"set: zeta = {zeta:g}"}
        return self.with_values({"mismatch.weight": spread, "mismatch.bias": spread})


def _without_prose(data: object) -> object:
    if isinstance(data, dict):
        prose = ("name", "description", "sources", "source", "note")
        return {key: _without_prose(value) for key, value in data.items() if key not in prose}
    return [_without_prose(value) for value in data] if isinstance(data, (list, tuple)) else data
