"""Numbers as a profile writes them: a quantity with a spread and a source, and a curve over the conductance.

A bare number in the file stands for a quantity without spread. What is checked here is what holds for every
number; what a single number may be (its unit and range) stands where it is declared, in `schema`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

Distribution = Literal["normal", "lognormal", "uniform"]
#: no drawn normal number is larger (see `streams.draws`)
LARGEST_NORMAL = 6.77


class Entry(BaseModel):
    """What all parts of a profile share: frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


def refuse(expected: str) -> PydanticCustomError:
    """An error that says what was expected; the loader adds file, key and value."""
    return PydanticCustomError("expected", "{expected}", {"expected": expected})


class Quantity(Entry):
    """A number of a chip type, in SI units.

    value: the mean. cv or sd: relative or absolute standard deviation over devices; 0 where neither is given.
    distribution: of that spread; `lognormal` and `uniform` keep the mean and standard deviation that are stated.
    source: where the number comes from; `"assumed: why"` where nobody measured it.
    """

    value: float
    cv: float | None = Field(None, ge=0)
    sd: float | None = Field(None, ge=0)
    distribution: Distribution = "normal"
    source: str = ""
    note: str = ""

    @field_validator("sd")
    @classmethod
    def _one_spread(cls, sd: float | None, info: Any) -> float | None:
        if sd is not None and info.data.get("cv") is not None:
            raise refuse("cv or sd, not both")
        return sd

    @property
    def spread(self) -> float:
        """The standard deviation, in the unit of `value`."""
        return self.sd if self.sd is not None else abs(self.value) * (self.cv or 0.0)

    def __str__(self) -> str:
        text = f"{self.value:g}"
        if self.spread:
            text += f" +- {self.cv:.3g} ({self.distribution}, relative)" if self.cv else (
                f" +- {self.sd:.3g} ({self.distribution})")
        return text


def _from_number(found: Any) -> Any:
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return {"value": float(found)}
    if isinstance(found, dict) and isinstance(found.get("value"), int) and not isinstance(found["value"], bool):
        return {**found, "value": float(found["value"])}
    if isinstance(found, (dict, Quantity)):
        return found
    raise refuse("a number, or {value, cv | sd, distribution, source, note}")


def quantity(expected: str, holds: Callable[[float], bool], spread: bool = False, positive: bool = False) -> Any:
    """The type of a quantity whose value must hold; `spread` where the die draws it, `positive` where no draw
    may reach zero."""

    def check(found: Quantity) -> Quantity:
        if not holds(found.value):
            raise refuse(expected)
        if found.spread and not spread:
            raise refuse("no spread here: nothing draws it; spreads stand under [mismatch], and at dac.gain, adc.gain "
                         "and adc.offset")
        if positive and found.distribution == "normal" and found.spread * LARGEST_NORMAL >= found.value:
            raise refuse(f"a positive number for every device: a normal cv below {1 / LARGEST_NORMAL:.3f}, "
                         "or distribution = \"lognormal\"")
        if found.distribution == "uniform" and positive and found.spread * math.sqrt(3) >= found.value:
            raise refuse("a positive number for every device: a uniform cv below 0.577")
        if found.distribution == "lognormal" and found.spread and found.value <= 0:
            raise refuse("a mean above 0 for a lognormal spread")
        return found

    return Annotated[Quantity, BeforeValidator(_from_number), AfterValidator(check)]


class Piece(Entry):
    """One piece of a curve, for x up to `up_to`, one of

        polynomial = [a, b, c, ...]   a + b x + c x^2 + ...
        log = [a, b]                  a ln x + b
        power = [a, b]                a x^b
        saturating = [a, b]           a (1 - exp(-x / b))

    then clipped to `clip`."""

    up_to: float | None = Field(None, gt=0)
    polynomial: tuple[float, ...] | None = Field(None, min_length=1, strict=False)
    log: tuple[float, float] | None = Field(None, strict=False)
    power: tuple[float, float] | None = Field(None, strict=False)
    saturating: tuple[float, float] | None = Field(None, strict=False)
    clip: tuple[float, float] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _one_form(self) -> Piece:
        if sum(form is not None for form in (self.polynomial, self.log, self.power, self.saturating)) != 1:
            raise refuse("polynomial = [c0, c1, ...], log = [slope, intercept], power = [factor, exponent] or "
                         "saturating = [height, scale], one of them")
        if (self.log or (self.power and self.power[1] < 0)) and self.clip is None:
            raise refuse("clip = [low, high] with what has no value at x = 0")
        if self.saturating and self.saturating[1] <= 0:
            raise refuse("saturating = [height, scale] with a scale above 0")
        if self.clip is not None and self.clip[0] > self.clip[1]:
            raise refuse("clip = [low, high] with low <= high")
        return self


class Curve(Entry):
    """A number that depends on the conductance g of the device, over x = g / g_ref; pieces in rising `up_to`.

    The value has the unit that is said where the curve is declared. A bare number is a constant.
    `devices.curve.evaluate` computes it.
    """

    g_ref: float = Field(gt=0)
    pieces: tuple[Piece, ...] = Field(min_length=1, strict=False)
    source: str = ""
    note: str = ""

    @field_validator("pieces")
    @classmethod
    def _rising(cls, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        ends = [piece.up_to for piece in pieces]
        if ends[-1] is not None or None in ends[:-1] or ends[:-1] != sorted(set(ends[:-1])):
            raise refuse("pieces in rising up_to, and none on the last")
        return pieces

    def __str__(self) -> str:
        if len(self.pieces) == 1 and self.pieces[0].polynomial and len(self.pieces[0].polynomial) == 1:
            return f"{self.pieces[0].polynomial[0]:g}"
        return f"curve of {len(self.pieces)} piece(s) over g / {self.g_ref:g} S"


def _curve_from_number(found: Any) -> Any:
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        if not (math.isfinite(found) and found >= 0):
            raise refuse("a finite number >= 0, or a curve")
        return {"g_ref": 1.0, "pieces": [{"polynomial": [float(found)]}]}
    return found


AnyCurve = Annotated[Curve, BeforeValidator(_curve_from_number)]
