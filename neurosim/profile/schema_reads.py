"""The sections of a chip that say how a crossbar is read: wires, row drivers, converters. Imported by `schema`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neurosim.profile.quantity import Entry, Quantity, quantity, refuse

Bits = quantity("a whole number of bits, 2 to 14", lambda v: 2 <= v <= 14 and v == int(v))
Slice = quantity("a whole number of bits, 1 to 14", lambda v: 1 <= v <= 14 and v == int(v))
Ohm = quantity("ohm, 0 to 1e12", lambda v: 0 <= v <= 1e12)
Volt = quantity("volts, above 0, at most 10", lambda v: 0 < v <= 10)
Ampere = quantity("amperes, above 0, at most 1", lambda v: 0 < v <= 1)
NoiseAmpere = quantity("amperes, 0 to 1", lambda v: 0 <= v <= 1)
Number = quantity("a number above 0", lambda v: v > 0)
Percent = quantity("a percentage above 50, at most 100", lambda v: 50 < v <= 100)
Chance = quantity("a share from 0 to 0.5", lambda v: 0 <= v <= 0.5)
Share = quantity("a relative standard deviation, 0 to 0.5", lambda v: 0 <= v <= 0.5)
Gain = quantity("a mean factor above 0", lambda v: v > 0, spread=True, positive=True)
Codes = quantity("a number of codes", lambda v: abs(v) <= 1e4, spread=True)
Range = Literal["fixed", "data", "percentile"]
_NONE = Quantity(value=0.0, source="not stated: ideal")
_BIT = Quantity(value=1.0, source="not stated: bit after bit")
_ONE = Quantity(value=1.0, source="not stated: ideal")
_MOST = Quantity(value=99.9, source="assumed: one in a thousand values may be cut off")


class Wires(Entry):
    """Resistance of the wires of a tile. `devices.wires` has the equations."""

    level: Literal["none", "column", "full", "nonlinear"] = Field(
        "none", description="none: ideal wires, whatever else stands here; column: bit lines alone; full: word and bit "
                            "lines; nonlinear: full, with the current-voltage curve of the devices")
    row_resistance: Ohm = Field(_NONE, description="ohm, of a word line between two cells, and before the first")
    column_resistance: Ohm = Field(_NONE, description="ohm, of a bit line between two cells, and behind the last")
    driver_resistance: Ohm = Field(_NONE, description="ohm, of a row driver, before the first segment")
    sense_resistance: Ohm = Field(_NONE, description="ohm, of a sense amplifier, behind the last segment")
    row_off: Literal["grounded", "floating", "gated"] = Field(
        "grounded", description="a row without input: held at 0 V; left open; or its devices cut off by transistors")
    open_row: Chance = Field(_NONE, description="share of word-line segments that are broken")
    open_column: Chance = Field(_NONE, description="share of bit-line segments that are broken")

    @model_validator(mode="after")
    def _resistance(self) -> Wires:
        wired = self.column_resistance.value or (self.level != "column" and self.row_resistance.value)
        if self.level in ("column", "full") and not wired:
            raise refuse("a resistance above 0 with this level: column_resistance, row_resistance")
        for line, end, solved in (("row", "driver", ("full", "nonlinear")),
                                  ("column", "sense", ("column", "full", "nonlinear"))):
            with_it = [name for name in (f"open_{line}", f"{end}_resistance") if getattr(self, name).value]
            if self.level in solved and with_it and not getattr(self, f"{line}_resistance").value:
                raise refuse(f"{line}_resistance above 0 with {with_it[0]}: it stands in segments of the {line}")
        return self


class DAC(Entry):
    """Row drivers. Spikes are pulses of v_read; other inputs are converted, the range to v_read."""

    v_read: Volt = Field(description="V on a row at full input")
    bits: Bits | None = Field(None, description="of a converted input; absent: exact")
    signed: bool = Field(True, description="whether inputs below 0 are converted, or count as 0")
    range: Range = Field("data", description="largest input: fixed, the largest of the data, or a percentile of it")
    full_scale: Number | None = Field(None, description="largest input where it is fixed")
    percentile: Percent = Field(_MOST, description="percentile of the magnitude of inputs")
    serial: bool = Field(False, description="slice after slice, each read and converted by itself, added up digitally")
    slice_bits: Slice = Field(_BIT, description="bits of a slice where inputs are serial")
    gain: Gain = Field(_ONE, description="factor of each row driver; once per die")

    @field_validator("full_scale")
    @classmethod
    def _fixed(cls, found: Quantity | None, info: Any) -> Quantity | None:
        return _belongs(found, info)

    @field_validator("serial")
    @classmethod
    def _bits(cls, found: bool, info: Any) -> bool:
        if found and info.data.get("bits") is None:
            raise refuse("bits with serial = true")
        return found

    @field_validator("slice_bits")
    @classmethod
    def _serial(cls, found: Quantity, info: Any) -> Quantity:
        if found.value != 1 and info.data.get("serial") is False:
            raise refuse("serial = true with it")
        bits = info.data.get("bits")
        if bits is not None and found.value > bits.value - info.data.get("signed", True):
            raise refuse(f"at most the bits of a magnitude: {bits.value - info.data.get('signed', True):g}")
        return found

    @model_validator(mode="after")
    def _largest(self) -> DAC:
        if self.range == "fixed" and self.full_scale is None:
            raise refuse("full_scale with range = \"fixed\"")
        return self


class ADC(Entry):
    """Converters of column currents, one for each output (or column) of a tile."""

    kind: Literal["uniform", "sar", "ramp", "pipeline"] = Field("uniform", description="circuit")
    bits: Bits = Field(description="resolution")
    converts: Literal["output", "column"] = Field(
        "output", description="what: the weighted sum of an output's columns, made with currents, or each column")
    signed: bool = Field(True, description="whether currents below 0 are converted, or count as 0")
    range: Range = Field("percentile", description="full scale: fixed, the largest of the data, or a percentile of it")
    full_scale: Ampere | None = Field(None, description="A at the end of the range where it is fixed")
    percentile: Percent = Field(_MOST, description="percentile of the magnitude of the currents")
    shared: bool = Field(True, description="one range for all converters of an array, or one for each")
    rounding: Literal["nearest", "down"] = Field("nearest", description="to the nearest code, or to the one below")
    gain: Gain = Field(_ONE, description="factor of each converter; once per die")
    offset: Codes = Field(_NONE, description="offset of each converter in codes; once per die")
    noise: NoiseAmpere = Field(_NONE, description="A, standard deviation at the input; drawn for each conversion")
    capacitor: Share = Field(_NONE, description="sar: relative sd of a unit capacitor; once per die and converter")
    step: Share = Field(_NONE, description="ramp: relative sd of a step of the ramp, one ramp for a tile; once per die")
    stage_gain: Share = Field(_NONE, description="pipeline: sd of a stage's relative gain error; once per die")
    stage_reference: Share = Field(_NONE, description="pipeline: sd of a stage's reference error; once per die")
    comparator: Share = Field(_NONE, description="pipeline: sd of a comparator over the reference; once per die")

    @field_validator("full_scale")
    @classmethod
    def _fixed(cls, found: Quantity | None, info: Any) -> Quantity | None:
        return _belongs(found, info)

    @field_validator("capacitor", "step", "stage_gain", "stage_reference", "comparator")
    @classmethod
    def _own(cls, found: Quantity, info: Any) -> Quantity:
        kind = {"capacitor": "sar", "step": "ramp"}.get(info.field_name, "pipeline")
        if found.value and info.data.get("kind", kind) != kind:
            raise refuse(f"kind = \"{kind}\" with it")
        return found


def _belongs(found: Quantity | None, info: Any) -> Quantity | None:
    if found is not None and info.data.get("range") != "fixed":
        raise refuse("range = \"fixed\" with it")
    return found
