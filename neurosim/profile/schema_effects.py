"""What happens to the conductance of a memristor: one section, one effect, one lifetime. `devices` has the formulas."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from neurosim.profile.quantity import AnyCurve, Distribution, Entry, Quantity, quantity, refuse

Count = quantity("a whole number, 1 to 2^31 - 1", lambda v: 1 <= v < 1 << 31 and v == int(v))
Levels = quantity("a whole number of levels, 2 or more", lambda v: v >= 2 and v == int(v))
Conductance = quantity("siemens, 0 to 1 (25 uS is 25e-6)", lambda v: 0 <= v <= 1)
Seconds = quantity("seconds, 1e-9 to 1e9 (20 ms is 0.02)", lambda v: 1e-9 <= v <= 1e9)
Share = quantity("a share of the devices, 0 to 1", lambda v: 0 <= v <= 1)
Volts = quantity("volts, above 0, at most 10", lambda v: 0 < v <= 10)
_NONE = Quantity(value=0.0, source="not stated: no such cells")
Line = Annotated[tuple[float, float], Field(strict=False)]
Numbers = Annotated[tuple[float, ...], Field(strict=False)]


class Programming(Entry):
    """Write noise; lifetime: program."""

    sigma: AnyCurve = Field(description="S, standard deviation of a written conductance")
    distribution: Distribution = Field("normal", description="of a written conductance; mean and sigma are kept")


class Verify(Entry):
    """Write and verify: pulses, each with the error of [crossbar.programming], until what is read is accepted."""

    acceptance: AnyCurve = Field(description="S, largest difference from the target that is accepted")
    read_sd: AnyCurve = Field(description="S, standard deviation of the read that verifies")
    pulses: Count = Field(description="most pulses that a device is given")


class Drift(Entry):
    """``g(t) = g(t0) (t / t0)^(-nu)``, one exponent nu per device and programming; a trajectory."""

    t0: Seconds = Field(description="s after programming at which sigma holds")
    exponent_mean: AnyCurve = Field(description="mean of nu")
    exponent_sd: AnyCurve = Field(description="standard deviation of nu over devices")


class Relaxation(Entry):
    """``g(t) = g + m(t) + s(t) z``, m and s linear in ln(t / t0), one z per device and programming; a trajectory."""

    t0: Seconds = Field(description="s after programming from which it is described")
    mean: Line = Field(description="S, mean shift at t0 and per unit of ln t")
    sd: Line = Field(description="S, standard deviation at t0 and per unit of ln t")
    source: str = ""
    note: str = ""

    def __str__(self) -> str:
        mean, sd = (f"{line[0]:g} + {line[1]:g} ln(t / {self.t0.value:g} s)" for line in (self.mean, self.sd))
        return f"{mean} +- {sd}"


class RetentionTable(Entry):
    """The spread at one time, and how far the mean has moved by then."""

    time: Seconds = Field(description="s after programming")
    sigma: AnyCurve = Field(description="S, standard deviation around the mean")
    mean: AnyCurve | None = Field(None, description="S, shift of the mean from the target; absent: none")


class Retention(Entry):
    """Spread measured at some times: the error of each device grows by sigma(t) / sigma(t0), its mean moves."""

    t0: Seconds = Field(description="s after programming at which the sigma of [crossbar.programming] holds")
    between: Literal["refused", "linear"] = Field("refused", description="what holds between the times")
    tables: tuple[RetentionTable, ...] = Field(min_length=1, strict=False, description="in rising time")

    @field_validator("tables")
    @classmethod
    def _rising(cls, found: tuple[RetentionTable, ...], info: Any) -> tuple[RetentionTable, ...]:
        times = [table.time.value for table in found]
        if "t0" in info.data:
            times.insert(0, info.data["t0"].value)
        if times != sorted(set(times)):
            raise refuse("tables in rising time, all after t0")
        return found

    @property
    def times(self) -> list[float]:
        """t0, then the times of the tables."""
        return [self.t0.value, *(table.time.value for table in self.tables)]


class ReadNoise(Entry):
    """Noise of each read; lifetime: read. White, or with `slowest` 1/f over the steps of a sample."""

    sd: AnyCurve | None = Field(None, description="S, standard deviation of a read, by the conductance that is read")
    relative: AnyCurve | None = Field(None, description="standard deviation over conductance, by the target")
    t_read: Seconds | None = Field(None, description="s a read takes; with it, 1/f noise since programming: times "
                                                     "sqrt(ln((t + t_read) / (2 t_read)))")
    slowest: Seconds | None = Field(None, description="s, longest correlation time of 1/f noise over the steps of a "
                                                      "sample; absent: steps are independent")

    clipped: bool = Field(False, description="a read never finds less than 0 S: every device is drawn for every read")

    @model_validator(mode="after")
    def _one(self) -> ReadNoise:
        if (self.sd is None) == (self.relative is None):
            raise refuse("sd or relative, one of them")
        if self.clipped and self.slowest is not None:
            raise refuse("clipped or slowest, not both: 1/f noise is applied at the output")
        return self


class Stuck(Entry):
    """Cells that no programming moves; lifetime: die."""

    on: Share = Field(_NONE, description="share of devices that stay at g_on")
    off: Share = Field(_NONE, description="share of devices that stay at g_off")
    unformed: Share = Field(_NONE, description="share of devices that were never formed, at g_unformed")
    g_on: Conductance | None = Field(None, description="S; absent: g_max")
    g_off: Conductance | None = Field(None, description="S; absent: g_min")
    g_unformed: Conductance = Field(Quantity(value=0.0, source="assumed: no filament, no current"), description="S")

    @model_validator(mode="after")
    def _at_most_all(self) -> Stuck:
        if self.on.value + self.off.value + self.unformed.value > 1:
            raise refuse("on + off + unformed of at most 1")
        return self


class CurrentTable(Entry):
    """Measured currents of devices, each by its conductance at small voltage."""

    conductance: Numbers = Field(min_length=1, description="S, rising")
    voltage: Numbers = Field(min_length=2, description="V, rising; from 0 where the current is odd")
    current: tuple[Numbers, ...] = Field(strict=False, description="A, `[conductance][voltage]`, rising with voltage")

    @model_validator(mode="after")
    def _rising(self) -> CurrentTable:
        for name, numbers in (("conductance", self.conductance), ("voltage", self.voltage)):
            if list(numbers) != sorted(set(numbers)):
                raise refuse(f"{name} in rising order")
        if self.conductance[0] <= 0:
            raise refuse("conductances above 0")
        if not self.voltage[0] <= 0 < self.voltage[-1] or 0 not in self.voltage:
            raise refuse("voltages on both sides of 0, or from 0, and 0 itself")
        if [len(row) for row in self.current] != [len(self.voltage)] * len(self.conductance):
            raise refuse(f"{len(self.conductance)} rows of {len(self.voltage)} currents")
        zero = self.voltage.index(0)
        if any(list(row) != sorted(set(row)) or row[zero] != 0 for row in self.current):
            raise refuse("currents that rise with voltage and are 0 at 0 V")
        return self


class IV(Entry):
    """The current of a device against the voltage over it; absent: ``I = g V``."""

    polynomial: Numbers | None = Field(None, min_length=1, description="I = g V (1 + p0 V + p1 V^2 + ...)")
    terms: tuple[Numbers, ...] | None = Field(
        None, min_length=1, strict=False,
        description="I = g V + t0 V^2 + t1 V^3 + ..., each t = a0 + a1 l + a2 l^2 + ... of l = log10(g / 1 S)")
    range: Numbers | None = Field(None, min_length=2, max_length=2,
                                  description="S, conductances that the terms hold for; beyond proportional to g")
    table: CurrentTable | None = None
    v_max: Volts = Field(description="V, to which it holds, either sign; linear beyond")
    source: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _one(self) -> IV:
        if [self.polynomial, self.terms, self.table].count(None) != 2:
            raise refuse("polynomial = [p0, p1, ...], terms = [[a0, a1, ...], ...] or a table, one of them")
        if (self.terms is None) != (self.range is None):
            raise refuse("range = [low, high] with terms, and only with them")
        steps = [i / 100 * self.v_max.value for i in range(-100, 101)]
        if self.terms is not None:
            if not 0 < self.range[0] < self.range[1]:
                raise refuse("range = [low, high] with 0 < low < high")
            for i in range(21):
                log = math.log10(self.range[0]) + i / 20 * math.log10(self.range[1] / self.range[0])
                found = [sum(a * log**k for k, a in enumerate(term)) for term in self.terms]
                if min(10**log + sum((k + 2) * t * v ** (k + 1) for k, t in enumerate(found)) for v in steps) <= 0:
                    raise refuse("a current that rises with voltage up to v_max")
        elif self.polynomial is not None:
            if min(1 + sum((k + 2) * p * v ** (k + 1) for k, p in enumerate(self.polynomial)) for v in steps) <= 0:
                raise refuse("a current that rises with voltage up to v_max")
        elif self.v_max.value > self.table.voltage[-1]:
            raise refuse(f"v_max within the table, at most {self.table.voltage[-1]:g} V")
        return self

    def __str__(self) -> str:
        if self.terms is not None:
            return f"g V and {len(self.terms)} terms of log10 g, to {self.v_max.value:g} V"
        if self.polynomial is None:
            return f"table of {len(self.table.conductance)} x {len(self.table.voltage)}, to {self.v_max.value:g} V"
        powers = "".join(f" + {p:g} V^{k + 1}" for k, p in enumerate(self.polynomial))
        return f"g V (1{powers}), to {self.v_max.value:g} V"
