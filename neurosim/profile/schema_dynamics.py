"""How a memristor moves while it is written: two published models of its state. `devices.dynamics` integrates them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from neurosim.profile.quantity import Entry, Quantity, quantity, refuse

Metres = quantity("metres, above 0, at most 1e-6 (3 nm is 3e-9)", lambda v: 0 < v <= 1e-6)
Speed = quantity("metres per second, not 0", lambda v: v != 0)
Ohms = quantity("ohms, above 0", lambda v: v > 0)
Above = quantity("volts, above 0, at most 100", lambda v: 0 < v <= 100)
Below = quantity("volts, below 0, at least -100", lambda v: -100 <= v < 0)
Number = quantity("a number above 0", lambda v: v > 0)
Amperes = quantity("amperes, above 0, at most 1", lambda v: 0 < v <= 1)
Field_ = quantity("volts per metre, 0 or above", lambda v: v >= 0)
Kelvins = quantity("kelvins, 100 to 1000", lambda v: 100 <= v <= 1000)
Resistance = quantity("kelvins per watt, 0 or above", lambda v: v >= 0)
Energy = quantity("electronvolts, above 0, at most 10", lambda v: 0 < v <= 10)
Seconds = quantity("seconds, 1e-15 to 1e6", lambda v: 1e-15 <= v <= 1e6)


class VTEAM(Entry):
    """A voltage-threshold memristor; its state w is 0 at r_on and `width` at r_off. Equations in `devices.vteam`."""

    width: Metres = Field(description="m, w of r_off")
    r_on: Ohms = Field(description="ohm, lowest resistance")
    r_off: Ohms = Field(description="ohm, highest resistance")
    v_on: Below = Field(description="V, threshold below which w falls")
    v_off: Above = Field(description="V, threshold above which w rises")
    k_on: Speed = Field(description="m/s, speed at twice v_on; below 0")
    k_off: Speed = Field(description="m/s, speed at twice v_off; above 0")
    alpha_on: Number = Field(description="exponent of the overdrive below v_on")
    alpha_off: Number = Field(description="exponent of the overdrive above v_off")
    resistance: Literal["linear", "exponential"] = Field("linear", description="between r_on and r_off, over w")
    window: Literal["none", "joglekar", "biolek", "prodromakis"] = Field(
        "none", description="factor that slows w down near its ends; none: hard ends")
    window_order: Number = Field(Quantity(value=2.0, source="assumed: a usual order"), description="p of the window")
    amplitude: Above = Field(description="V, of the sweep that shows the device")
    period: Seconds = Field(description="s, of that sweep")

    @field_validator("r_off")
    @classmethod
    def _above(cls, found: Quantity, info: Any) -> Quantity:
        least = info.data.get("r_on")
        if least is not None and found.value <= least.value:
            raise refuse(f"more than r_on = {least.value:g} ohm")
        return found

    @field_validator("k_on", "k_off")
    @classmethod
    def _direction(cls, found: Quantity, info: Any) -> Quantity:
        if (found.value > 0) != (info.field_name == "k_off"):
            raise refuse("k_on below 0 and k_off above 0: w falls towards r_on")
        return found


class StanfordPKU(Entry):
    """A filament with a gap, in oxide that it heats itself. `devices.stanford_pku` has the equations."""

    gap_min: Metres = Field(description="m, smallest gap")
    gap_max: Metres = Field(description="m, largest gap")
    g0: Metres = Field(description="m, gap over which the current falls by e")
    v0: Above = Field(description="V, scale of the sinh of the current")
    i0: Amperes = Field(description="A, current scale at no gap")
    velocity: Speed = Field(description="m/s, of ions without barrier")
    activation: Energy = Field(description="eV, barrier of ion movement")
    hop: Metres = Field(description="m, distance between two sites of an ion")
    thickness: Metres = Field(description="m, of the oxide")
    gamma0: Number = Field(description="enhancement of the field at no gap")
    beta: Number = Field(description="by how much it falls for a gap of g1, to the power alpha")
    g1: Metres = Field(description="m, scale of that fall")
    alpha: Number = Field(description="exponent of that fall")
    field_min: Field_ = Field(description="V/m, enhanced field below which nothing moves")
    thermal_resistance: Resistance = Field(description="K/W")
    temperature: Kelvins = Field(description="K, of the chip")
    amplitude: Above = Field(description="V, of the sweep that shows the device")
    period: Seconds = Field(description="s, of that sweep")

    @field_validator("gap_max")
    @classmethod
    def _above(cls, found: Quantity, info: Any) -> Quantity:
        least = info.data.get("gap_min")
        if least is not None and found.value <= least.value:
            raise refuse(f"more than gap_min = {least.value:g} m")
        return found
