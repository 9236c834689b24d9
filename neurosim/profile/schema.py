"""The sections of a profile. Field descriptions carry the unit; `neurosim profiles show` prints them.

Adding a key here makes it known to the loader; nothing else lists keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from neurosim.profile.quantity import Entry, Quantity, quantity, refuse
from neurosim.profile.schema_circuit import Circuit
from neurosim.profile.schema_crossbar import Crossbar
from neurosim.profile.schema_effects import Count, Levels, Seconds
from neurosim.profile.schema_energy import Area, Energy, Timing
from neurosim.profile.schema_reads import ADC, DAC, Wires

Factor = quantity("a mean factor above 0", lambda v: v > 0, spread=True)
PositiveFactor = quantity("a mean factor above 0", lambda v: v > 0, spread=True, positive=True)
LayerName = Literal["Linear", "Conv2d", "AvgPool2d", "MaxPool2d", "Flatten", "ReLU", "Tanh", "Sigmoid", "BatchNorm",
                    "Sum", "LIF", "CubaLIF", "AdaptiveLIF", "LeakyIntegrator", "DPINeuron", "RNN", "GRU", "LSTM"]


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
    circuit: Circuit | None = None
    wires: Wires | None = None
    dac: DAC | None = None
    adc: ADC | None = None
    energy: Energy | None = None
    timing: Timing | None = None
    area: Area | None = None

    @field_validator("crossbar")
    @classmethod
    def _family(cls, found: Crossbar | None, info: Any) -> Crossbar | None:
        if found is not None and info.data.get("family", "crossbar") != "crossbar":
            raise refuse("no [crossbar] section, or family = \"crossbar\"")
        if found is not None and info.data.get("synapse", Synapse()).levels is not None:
            raise refuse("levels under [crossbar], not under [synapse]")
        return found

    @field_validator("circuit")
    @classmethod
    def _neurons(cls, found: Circuit | None, info: Any) -> Circuit | None:
        if found is not None and info.data.get("family", "mixed_signal") != "mixed_signal":
            raise refuse("no [circuit] section, or family = \"mixed_signal\"")
        return found

    @field_validator("wires", "dac", "adc")
    @classmethod
    def _of_a_crossbar(cls, found: Entry | None, info: Any) -> Entry | None:
        if found is not None and info.data.get("crossbar") is None and "crossbar" in info.data:
            raise refuse("a [crossbar] section with it")
        return found

    @field_validator("adc")
    @classmethod
    def _amperes(cls, found: ADC | None, info: Any) -> ADC | None:
        if found is not None and (found.full_scale or found.noise.value) and info.data.get("dac", 1) is None:
            raise refuse("a [dac] section with it: v_read makes siemens of amperes")
        return found

    @field_validator("energy")
    @classmethod
    def _resolution(cls, found: Energy | None, info: Any) -> Energy | None:
        price = found.conversion if found else None
        if price and price.model != "fixed" and price.bits is None and info.data.get("adc", 1) is None:
            raise refuse("conversion.bits, or an [adc] section that says it")
        dac = info.data.get("dac")
        if found and found.cell and dac is not None and found.cell.voltage.value != dac.v_read.value:
            raise refuse(f"cell.voltage of {dac.v_read.value:g} V, as dac.v_read: a cell stands under that of its row")
        return found

    def __str__(self) -> str:
        return f"Profile {self.name} ({self.family}): {self.description}"

    __repr__ = __str__

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides a die: not names, sources and notes, nor energy, timing and area."""
        data = json.dumps(_without_prose(self.model_dump(exclude={"energy", "timing", "area"})), sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()

    @property
    def prices_hash(self) -> str:
        """SHA-256 of energy, timing and area: what decides the joules, seconds and square metres of a die's events."""
        data = json.dumps(_without_prose(self.model_dump(include={"energy", "timing", "area"})), sort_keys=True)
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
            if last == "file":
                place.clear()  # what was read from another file goes with its name
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
        prose = ("name", "description", "sources", "source", "note", "file")
        return {key: _without_prose(value) for key, value in data.items() if key not in prose}
    return [_without_prose(value) for value in data] if isinstance(data, (list, tuple)) else data
