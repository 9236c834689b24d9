"""What a random number belongs to: seed, layer and effect (the key), die, programming, pulse or read (counter)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np

from neurosim.errors import whole
from neurosim.streams.philox import philox4x32

_U32 = 0xFFFFFFFF


class Effect(IntEnum):
    """Why a number is drawn. The values are part of every die: never renumber them."""

    MISMATCH = 1
    PROGRAMMING = 2
    DRIFT = 3
    STUCK = 4
    READ = 5
    PULSE = 6
    VERIFY = 7
    RELAXATION = 8
    MIRROR = 9
    CORE = 10
    DIE = 11
    BIAS_NOISE = 12
    OPEN_WIRE = 20
    DRIVER = 21
    ADC_GAIN = 22
    ADC_OFFSET = 23
    ADC_LEVELS = 24
    CALIBRATION = 25


@lru_cache(maxsize=4096)
def _key(seed: int, array: int, effect: int, further: int) -> tuple[int, int]:
    words = philox4x32(np.uint64(array), np.uint64(effect), np.uint64(further), np.uint64(0), np.uint64(seed & _U32),
                       np.uint64(seed >> 32))
    return int(words[0]), int(words[1])


@dataclass(frozen=True)
class DieKey:
    """A quantity that is drawn once per die: mismatch, drift exponents.

    Parameters
    ----------
    seed:
        64 bits; the production lot.
    die:
        32 bits; the number of the die in it.
    array:
        32 bits; the place of the device array in the mapped network.
    effect:
        What is drawn.
    """

    seed: int
    die: int
    array: int
    effect: Effect

    def __post_init__(self) -> None:
        for name, bits in (("seed", 64), ("die", 32), ("array", 32)):
            object.__setattr__(self, name, whole(name, getattr(self, name), "", 0, bits))

    @property
    def key(self) -> tuple[int, int]:
        """The Philox key of this (seed, array, effect): itself a Philox output, so that keys do not overlap."""
        return _key(self.seed, self.array, int(self.effect), self._further)

    @property
    def _further(self) -> int:
        """What the counter has no room for."""
        return 0

    @property
    def counter(self) -> tuple[int, int, int]:
        """The upper three counter words; the lowest one counts blocks of four devices."""
        return self.die, 0, 0


@dataclass(frozen=True)
class ProgramKey(DieKey):
    """A quantity that is drawn each time a die is programmed: write noise. `programming` counts those times."""

    programming: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "programming", whole("programming", self.programming, "", 0, 32))

    @property
    def counter(self) -> tuple[int, int, int]:
        return self.die, self.programming, 0


@dataclass(frozen=True)
class PulseKey(ProgramKey):
    """A quantity that is drawn with each pulse of write and verify. `pulse` counts them within a programming."""

    pulse: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pulse", whole("pulse", self.pulse, "", 0, 32))

    @property
    def counter(self) -> tuple[int, int, int]:
        return self.die, self.programming, self.pulse


@dataclass(frozen=True)
class ReadKey(ProgramKey):
    """A quantity that is drawn with each read: white read noise. `sample` is the input's place in the data, `time` the
    step within it, so that a read is the same whatever else is run beside it.

    >>> from neurosim.streams import Effect, ReadKey, normal
    >>> normal(ReadKey(7, 417, 0, Effect.READ, sample=3, time=20), 2).round(4)
    array([ 0.1761, -0.5567], dtype=float32)
    """

    sample: int = 0
    time: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sample", "time"):
            object.__setattr__(self, name, whole(name, getattr(self, name), "", 0, 32))

    @property
    def _further(self) -> int:
        return self.programming

    @property
    def counter(self) -> tuple[int, int, int]:
        return self.die, self.sample, self.time
