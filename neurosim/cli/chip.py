"""The chip type that a command names, with what its options change of it: the same for every command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurosim.profile import Profile

#: options that say how a crossbar is read, by the key of the profile that each stands for
READING = {"adc_bits": "adc.bits", "dac_bits": "dac.bits", "wires": "wires.level"}


def chip_of(name: str, changes: Mapping[str, object], reading: Mapping[str, object],
            mismatch: float | None = None) -> Profile:
    """A profile by name or file; changes: by key of the profile. reading: by name in `READING`, None where not said."""
    from neurosim.profile import load_profile

    chip = load_profile(name)
    if mismatch is not None:
        chip = chip.with_mismatch(mismatch)
    if changes:
        chip = chip.with_values(changes)
    said = {READING[option]: value for option, value in reading.items() if value is not None}
    return chip.with_values(said) if said else chip
