"""The sections of a crossbar: its cells, its tiles, and the effects of `schema_effects`. Imported by `schema`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from neurosim.profile.quantity import Entry, Quantity, refuse
from neurosim.profile.schema_dynamics import VTEAM, StanfordPKU
from neurosim.profile.schema_effects import (
    IV,
    Conductance,
    Count,
    Drift,
    Levels,
    Programming,
    ReadNoise,
    Relaxation,
    Retention,
    Stuck,
    Verify,
)

Positive = Annotated[float, Field(gt=0)]


class Cells(Entry):
    """How a weight becomes conductances: legs, each of one or more devices. `mapping.cells` has the formulas."""

    kind: Literal["pair", "two_sided", "offset", "single"] = Field(
        "pair", description="legs of a weight: pair, one device at g_min; two_sided, a pair of constant sum; offset, "
                            "one against a reference column; single, one and a digital offset")
    significances: tuple[Positive, ...] = Field((1.0,), min_length=1, strict=False,
                                                description="relative weight of each device of a leg")
    fill: Literal["low", "high", "even"] = Field(
        "low", description="which devices of a leg fill first: those of low or high significance, or all alike")
    slices: Count | None = Field(None, description="devices of a leg: digits in base `levels`; absent: no bit slicing")

    @field_validator("slices")
    @classmethod
    def _either(cls, found: Quantity | None, info: Any) -> Quantity | None:
        if found is not None and len(info.data.get("significances", (1.0,))) > 1:
            raise refuse("significances or slices, not both: a slice is worth `levels` times the one before")
        return found

    @property
    def devices(self) -> int:
        """Devices of a leg."""
        return int(self.slices.value) if self.slices else len(self.significances)

    @property
    def legs(self) -> int:
        """Legs of a weight that has them for itself; a reference column is shared."""
        return 2 if self.kind in ("pair", "two_sided") else 1

    @property
    def own_columns(self) -> int:
        """Device columns that an output takes for itself."""
        return self.devices * self.legs

    @property
    def shared_columns(self) -> int:
        """Reference columns of a tile."""
        return self.devices if self.kind == "offset" else 0


class Crossbar(Entry):
    """Memristor arrays: what a device can be, how weights lie on tiles, what becomes of what is written."""

    g_min: Conductance = Field(description="S, lowest conductance")
    g_max: Conductance = Field(description="S, highest conductance")
    levels: Levels | None = Field(None, description="conductance levels from g_min to g_max; absent: continuous")
    cells: Cells = Cells()
    rows: Count = Field(description="inputs of a tile")
    columns: Count = Field(description="device columns of a tile")
    scale: Literal["tile", "column"] = Field("column", description="what shares one weight-to-conductance scale")
    programming: Programming | None = None
    verify: Verify | None = None
    drift: Drift | None = None
    relaxation: Relaxation | None = Field(None, description="S, shift of all devices and its spread")
    retention: Retention | None = None
    read_noise: ReadNoise | None = None
    stuck: Stuck | None = None
    iv: IV | None = Field(None, description="A, current of a device")
    vteam: VTEAM | None = None
    stanford_pku: StanfordPKU | None = None

    @field_validator("g_max")
    @classmethod
    def _above(cls, found: Quantity, info: Any) -> Quantity:
        least = info.data.get("g_min")
        if least is not None and found.value <= least.value:
            raise refuse(f"more than g_min = {least.value:g} S")
        return found

    @field_validator("cells")
    @classmethod
    def _levels(cls, found: Cells, info: Any) -> Cells:
        levels = info.data.get("levels")
        if found.slices is not None and "levels" in info.data and levels is None:
            raise refuse("levels under [crossbar] with slices: they are the base of the digits")
        if found.kind == "offset" and levels is not None and levels.value ** found.devices < 3:
            raise refuse("3 levels or more with an offset: one is the zero, between others")
        return found

    @field_validator("stanford_pku")
    @classmethod
    def _one_model(cls, found: StanfordPKU | None, info: Any) -> StanfordPKU | None:
        if found is not None and info.data.get("vteam") is not None:
            raise refuse("vteam or stanford_pku, one model of a device")
        return found

    @field_validator("columns")
    @classmethod
    def _wide(cls, found: Quantity, info: Any) -> Quantity:
        cells = info.data.get("cells")
        if cells is not None and found.value < (least := cells.own_columns + cells.shared_columns):
            raise refuse(f"at least {least}, the columns of one weight")
        return found

    @field_validator("verify", "retention")
    @classmethod
    def _after_programming(cls, found: Entry | None, info: Any) -> Entry | None:
        if found is not None and info.data.get("programming") is None and "programming" in info.data:
            raise refuse("a section [crossbar.programming] with it: sigma is its first value")
        return found

    @field_validator("retention")
    @classmethod
    def _one_ageing(cls, found: Retention | None, info: Any) -> Retention | None:
        others = [name for name in ("verify", "drift", "relaxation") if info.data.get(name) is not None]
        if found is not None and others:
            raise refuse(f"no [crossbar.{others[0]}] beside it: the tables hold all that happens to what was written")
        return found

    @field_validator("read_noise")
    @classmethod
    def _read_time(cls, found: ReadNoise | None, info: Any) -> ReadNoise | None:
        if found is not None and found.t_read is not None and all(
                info.data.get(name) is None for name in ("drift", "relaxation", "retention")):
            raise refuse("drift, relaxation or retention with t_read: without them a chip has no time")
        return found

    @property
    def dynamics(self) -> VTEAM | StanfordPKU | None:
        """How a device moves while it is written, where the profile says it."""
        return self.vteam or self.stanford_pku

    @property
    def t0(self) -> float | None:
        """Seconds after programming from which ageing is described; None where nothing ages."""
        ages = [ageing.t0.value for ageing in (self.drift, self.relaxation, self.retention) if ageing is not None]
        return max(ages) if ages else None

    @property
    def outputs(self) -> int:
        """Outputs of a tile; columns that do not make up a weight stay unused."""
        return (int(self.columns.value) - self.cells.shared_columns) // self.cells.own_columns
