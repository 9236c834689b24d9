"""Converters: what makes one unlike the next, from standard normal numbers. `engine.reads` has how they convert.

A signed converter of b bits has the codes -2^(b-1) to 2^(b-1) - 1 and the step full_scale / 2^(b-1), an unsigned one 0
to 2^b - 1 and full_scale / 2^b.
"""

from __future__ import annotations

import numpy as np

from neurosim.profile import ADC


def code_range(adc: ADC) -> tuple[int, int]:
    """The lowest and the highest code."""
    count = 1 << int(adc.bits.value)
    return (-count // 2, count // 2 - 1) if adc.signed else (0, count - 1)


def steps_of_range(adc: ADC) -> int:
    """How many steps make the full scale."""
    return 1 << (int(adc.bits.value) - (1 if adc.signed else 0))


def capacitors(bits: int, sd: float, z: np.ndarray) -> np.ndarray:
    """The capacitors of a binary array in codes, lowest bit first, `[bits, *converters]`; z `[bits + 1, *converters]`.

    ``C_k = 2^k (1 + sd z_k / 2^(k/2))``: 2^k unit capacitors that differ independently; with one more unit (z_bits) the
    sum of all is the full scale of 2^bits codes. Source: area law of Pelgrom et al., IEEE J. Solid-State Circuits 24,
    1433 (1989).

    >>> capacitors(3, 0.0, np.zeros((4, 1)))[:, 0]
    array([1., 2., 4.])
    """
    size = 2.0 ** np.arange(bits).reshape(-1, *(1,) * (z.ndim - 1))
    made = size * (1 + sd * z[:bits] / np.sqrt(size))
    return made * (2.0**bits / (made.sum(axis=0) + 1 + sd * z[bits]))


def ramp_levels(bits: int, sd: float, z: np.ndarray) -> np.ndarray:
    """Levels 1 to 2^bits - 1 of a ramp in codes, `[levels, *ramps]`, from z `[2^bits, *ramps]`, one for each step.

    Steps are ``1 + sd z``, not below 0, and the ramp ends where it should: its slope is trimmed, its bends are not.
    """
    steps = np.maximum(1 + sd * z, 0)
    levels = np.cumsum(steps, axis=0)
    return levels[:-1] * (2.0**bits / levels[-1])


def pipeline_stages(adc: ADC, z: np.ndarray) -> np.ndarray:
    """Gain error, reference error and the offsets of two comparators of each stage, `[4 stages, *converters]`, from z
    of that shape; there are bits - 1 stages."""
    sd = np.array([adc.stage_gain.value, adc.stage_reference.value, adc.comparator.value, adc.comparator.value])
    return z * np.tile(sd, z.shape[0] // 4).reshape(-1, *(1,) * (z.ndim - 1))
