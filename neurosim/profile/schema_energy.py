"""The `[energy]`, `[timing]` and `[area]` sections: what one event costs, how long a step lasts, what a block covers.

A coefficient is what is least known of a chip, so each has three values. None of them decides what a die is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from neurosim.profile.quantity import Entry, quantity, refuse

Metres = quantity("metres, 1e-9 to 1e-6 (22 nm is 22e-9)", lambda v: 1e-9 <= v <= 1e-6)
Hertz = quantity("conversions per second, 1e3 to 1e11", lambda v: 1e3 <= v <= 1e11)
Bits = quantity("effective bits, 1 to 20", lambda v: 1 <= v <= 20)
Volts = quantity("volts, above 0 and at most 20", lambda v: 0 < v <= 20)
Span = quantity("seconds, 1e-12 to 1e3", lambda v: 1e-12 <= v <= 1e3)
SquareMetres = quantity("square metres, above 0 (1 mm2 is 1e-6)", lambda v: 0 < v <= 1)


class Coefficient(Entry):
    """A cost with its uncertainty: low, nominal, high, in the unit that is said where it stands."""

    low: float = Field(ge=0)
    nominal: float = Field(ge=0)
    high: float = Field(ge=0)
    source: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Coefficient:
        if not self.low <= self.nominal <= self.high:
            raise refuse("low <= nominal <= high")
        return self

    @property
    def values(self) -> tuple[float, float, float]:
        return self.low, self.nominal, self.high

    def __str__(self) -> str:
        return f"{self.nominal:g} ({self.low:g} to {self.high:g})"


def _coefficient(found: Any) -> Any:
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return dict.fromkeys(("low", "nominal", "high"), float(found))
    if isinstance(found, dict) and "nominal" in found:
        numbers = {key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
                   for key, value in found.items()}
        return {"low": numbers["nominal"], "high": numbers["nominal"], **numbers}
    if isinstance(found, (dict, Coefficient)):
        return found
    raise refuse("a number, or {low, nominal, high, source, note}")


Cost = Annotated[Coefficient, BeforeValidator(_coefficient)]


class Conversion(Entry):
    """What one analog-to-digital conversion costs; `energy.converters` has the equations.

    fixed: `energy` itself, whatever the resolution. walden: ``fom 2^bits``. murmann: the regression over published
    converters at `node` and `rate`, times `factor`. A chip with an [adc] has the bits of that, another those that stand
    here.
    """

    model: Literal["fixed", "walden", "murmann"] = Field(description="which equation")
    energy: Cost | None = Field(None, description="J per conversion (fixed)")
    fom: Cost | None = Field(None, description="J per conversion step (walden)")
    factor: Cost | None = Field(None, description="times the regression (murmann)")
    node: Metres | None = Field(None, description="m, technology (murmann)")
    rate: Hertz | None = Field(None, description="1/s, conversions of one converter (murmann)")
    bits: Bits | None = Field(None, description="effective bits (walden, murmann) where there is no [adc]")

    @model_validator(mode="after")
    def _complete(self) -> Conversion:
        needed = {"fixed": {"energy"}, "walden": {"fom"}, "murmann": {"factor", "node", "rate"}}
        known = ("energy", "fom", "factor", "node", "rate")
        given = {name for name in known if getattr(self, name) is not None}
        if given != needed[self.model] or (self.bits and self.model == "fixed"):
            raise refuse(f"{', '.join(sorted(needed[self.model]))} for model = \"{self.model}\", and no more")
        return self


class CellRead(Entry):
    """A conductance G that is read dissipates ``x^2 V^2 G t``, x the input relative to the largest one; ``|x| V^2 G t``
    where an input is how long the voltage stands."""

    voltage: Volts = Field(description="V, across a cell at the largest input")
    time: Span = Field(description="s, how long it stands there in one read of the largest input")
    input: Literal["amplitude", "duration"] = Field("amplitude", description="what carries the size of an input")


class Energy(Entry):
    """Joules per event; what is counted and has no coefficient is named in every result as not priced."""

    spike: Cost | None = Field(None, description="J per spike generated")
    encode: Cost | None = Field(None, description="J per spike and core that it is sent to: address and destination")
    broadcast: Cost | None = Field(None, description="J per spike and core that it is broadcast in")
    hop: Cost | None = Field(None, description="J per spike and core other than its own that it is routed to")
    match: Cost | None = Field(None, description="J per synapse that a spike reaches: match and pulse")
    row: Cost | None = Field(None, description="J per row of a tile driven")
    cell: CellRead | None = Field(None, description="what the cells of the driven rows dissipate")
    conversion: Conversion | None = Field(None, description="what a conversion costs")
    digital: Cost | None = Field(None, description="J per digital operation: a partial sum added, an output scaled")
    neuron: Cost | None = Field(None, description="J per neuron and step: state updated, or comparator")
    bit: Cost | None = Field(None, description="J per bit moved into or out of a tile")
    static: Cost | None = Field(None, description="W, drawn all the time by the part of the chip that is used")


class Timing(Entry):
    """How long a step lasts. A chip that runs in real time has no `read`: its step is the network's dt."""

    read: Span | None = Field(None, description="s, one read of a tile with its conversions")
    tiles: Literal["parallel", "multiplexed"] = Field(
        "parallel", description="whether the tiles of an array are read at once or one after the other")


class Area(Entry):
    """What a block covers."""

    tile: SquareMetres | None = Field(None, description="m2, a tile with its converters")
    core: SquareMetres | None = Field(None, description="m2, a core of neurons with their synapses")

