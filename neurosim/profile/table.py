"""A profile as rows to print: key, value, meaning with unit, source."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from neurosim.profile.schema import Profile


@dataclass(frozen=True)
class Row:
    """One number of a profile."""

    key: str
    value: str
    meaning: str
    source: str


def profile_rows(profile: Profile) -> list[Row]:
    """Every number that a profile states, in the order of its schema.

    >>> from neurosim.profile import load_profile
    >>> [row.key for row in profile_rows(load_profile("mismatch"))]
    ['mismatch.weight', 'mismatch.bias']
    """
    return _rows(profile, "")


def _rows(section: BaseModel, prefix: str) -> list[Row]:
    rows = []
    for name, info in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, BaseModel) and "source" in type(value).model_fields:
            source = "; ".join(text for text in (value.source, getattr(value, "note", "")) if text)
            rows.append(Row(key, str(value), info.description or "", source))
        elif isinstance(value, BaseModel):
            rows += _rows(value, f"{key}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for i, inner in enumerate(value):
                rows += _rows(inner, f"{key}[{i}].")
        elif prefix and value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            rows.append(Row(key, text, info.description or "", ""))
    return rows
