"""The `[circuit]` section: a mixed-signal chip at the level of its currents, its bias tables and its synapse words.

Amperes, farads, volts, kelvins. What varies from device to device stands under `[circuit.mismatch]`; a mask of the
synapse words that work may lie beside the profile as HDF5 and is read into it.
"""

from __future__ import annotations

import base64
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, model_validator

from neurosim.profile.quantity import Entry, quantity, refuse
from neurosim.writing import made_in_memory

Count = quantity("a whole number, 1 to 2^31 - 1", lambda v: 1 <= v < 1 << 31 and v == int(v))
Ampere = quantity("amperes, 1e-16 to 1e-3 (5 pA is 5e-12)", lambda v: 1e-16 <= v <= 1e-3)
Farad = quantity("farads, 1e-15 to 1e-9 (3 pF is 3e-12)", lambda v: 1e-15 <= v <= 1e-9)
Kelvin = quantity("kelvins, 200 to 450 (27 C is 300)", lambda v: 200 <= v <= 450)
Kelvins = quantity("kelvins, 1 to 100", lambda v: 1 <= v <= 100)
Volt = quantity("volts, 0 to 10", lambda v: 0 < v <= 10)
Share = quantity("a number above 0, up to 1", lambda v: 0 < v <= 1)
Ratio = quantity("a ratio above 0, up to 100", lambda v: 0 < v <= 100)
Area = quantity("a factor above 0, up to 1e4", lambda v: 0 < v <= 1e4)
Sigmas = quantity("standard deviations, above 0, up to 6", lambda v: 0 < v <= 6)
Number = quantity("a number from 0 to 10", lambda v: 0 <= v <= 10)


class Series(Entry):
    """Numbers with one source, such as one for each coarse code."""

    values: tuple[float, ...] = Field(min_length=1, strict=False)
    source: str = ""
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self.values)


class BiasTable(Entry):
    """The currents of the bias generator; `devices.bias_currents` has the formula."""

    full_scale: Series = Field(description="A at fine code 255, for each coarse code")
    floor: Series = Field(description="A at fine code 0, for each coarse code")
    fall: Series | None = Field(None, description="largest fall at a multiple of 32, as a share; absent: a line")

    @model_validator(mode="after")
    def _fits(self) -> BiasTable:
        ranges = len(self.full_scale.values)
        if any(len(series.values) != ranges for series in (self.floor, self.fall) if series is not None):
            raise refuse(f"as many numbers in floor and fall as in full_scale: {ranges}")
        if not all(0 <= low < high for low, high in zip(self.floor.values, self.full_scale.values, strict=True)):
            raise refuse("0 <= floor < full_scale in every range")
        if self.fall is not None and not all(0 <= share < 0.5 for share in self.fall.values):
            raise refuse("a fall from 0 to below 0.5")
        return self


class BiasTables(Entry):
    """For biases through n- and p-transistors; without a table of its own, p has that of n."""

    n: BiasTable
    p: BiasTable | None = None


class Bias(Entry):
    """One bias of a core: a code of the generator, mirrored into every neuron or synapse."""

    current: Ampere = Field(description="A, at the neuron, nominal")
    mirror: Ratio = Field(description="current at the neuron over that of the generator")
    table: Literal["n", "p"] = Field("n", description="which table of the generator")


class Biases(Entry):
    """The biases that a core has; the names of synapses say their kind."""

    leak: Bias
    gain: Bias
    refractory: Bias
    spike_threshold: Bias
    dc: Bias
    pulse: Bias
    weight: Bias
    ahp_tau: Bias
    ahp_gain: Bias
    ahp_weight: Bias
    ahp_pulse: Bias
    ampa_tau: Bias
    ampa_gain: Bias
    nmda_tau: Bias
    nmda_gain: Bias
    nmda_gate: Bias
    gaba_tau: Bias
    gaba_gain: Bias
    shunt_tau: Bias
    shunt_gain: Bias
    feedback_gain: Bias | None = None
    feedback_threshold: Bias | None = None
    feedback_norm: Bias | None = None


class Capacitors(Entry):
    """Capacitors of a neuron and its synapses."""

    membrane: Farad = Field(description="F")
    refractory: Farad = Field(description="F")
    ahp: Farad = Field(description="F")
    ahp_pulse: Farad = Field(description="F")
    pulse: Farad = Field(description="F")
    ampa: Farad = Field(description="F")
    nmda: Farad = Field(description="F")
    gaba: Farad = Field(description="F")
    shunt: Farad = Field(description="F")


class Transistor(Entry):
    """The law ``I = I0 exp(kappa V / U_T)`` of this process."""

    i0: Ampere = Field(description="A, leakage at nominal temperature: no current is lower")
    kappa_n: Share = Field(description="subthreshold slope factor of n-FETs")
    kappa_p: Share = Field(description="subthreshold slope factor of p-FETs")


class Temperature(Entry):
    """Where the chip runs, and what follows from it."""

    nominal: Kelvin = Field(description="K, at which currents and spreads are stated")
    operating: Kelvin = Field(description="K, at which the dies run")
    i0_doubling: Kelvins = Field(description="K that double the leakage I0")
    bias_exponent: Number = Field(description="biases go with T to this power: 1 proportional to T, 0 constant")


class Size(Entry):
    """What the chip can hold, and how a synapse is written."""

    cores: Count = Field(description="cores on a chip; a core shares its biases")
    neurons: Count = Field(description="neurons of a core")
    words: Count = Field(description="synapse words (CAM) of a neuron")
    base_currents: Count = Field(description="weight currents of a core; mask: a word adds up any of them")
    coding: Literal["mask", "repeat"] = Field(
        description="mask: a word has a bit per base current; repeat: one current per kind, a weight is n words")
    destinations: Count = Field(description="entries in a neuron's list of targets")
    monitor: Number = Field(description="entries of that list that the read-out takes")
    tags: Count = Field(description="different addresses of events")


class Variation(Entry):
    """Spread of a current, relative standard deviations: from device to device in a core, between the cores of a die,
    between dies. area: of the transistors over the area at which `device` was seen; ``device / sqrt(area)`` holds."""

    device: float = Field(0.0, ge=0, le=2)
    core: float = Field(0.0, ge=0, le=2)
    die: float = Field(0.0, ge=0, le=2)
    area: float = Field(1.0, gt=0, le=1e4)
    source: str = ""
    note: str = ""

    def __str__(self) -> str:
        text = f"device {self.device:g}, core {self.core:g}, die {self.die:g}"
        return text if self.area == 1 else f"{text}, area x {self.area:g}"


class CircuitMismatch(Entry):
    """How currents differ. Parameters that share a current (time constant and gain of a DPI both divide by I_tau)
    correlate, because the current is drawn, not they."""

    distribution: Literal["lognormal", "truncated_normal"] = Field(
        "lognormal", description="lognormal: what a threshold voltage does; truncated_normal: as others publish")
    truncation: Sigmas | None = Field(None, description="standard deviations at which truncated_normal ends")
    area: Area | None = Field(None, description="factor on the area of all transistors; absent: 1")
    leak: Variation = Field(Variation(), description="relative spread of the membrane leak")
    gain: Variation = Field(Variation(), description="relative spread of the membrane gain")
    refractory: Variation = Field(Variation(), description="relative spread of the refractory current")
    spike_threshold: Variation = Field(Variation(), description="relative spread of the spike threshold")
    dc: Variation = Field(Variation(), description="relative spread of the constant input")
    pulse: Variation = Field(Variation(), description="relative spread of the pulse of the synapses")
    weight: Variation = Field(Variation(), description="relative spread of the each base current in each synapse word")
    ahp_tau: Variation = Field(Variation(), description="relative spread of the leak of the adaptation")
    ahp_gain: Variation = Field(Variation(), description="relative spread of the gain of the adaptation")
    ahp_weight: Variation = Field(Variation(), description="relative spread of the weight of the adaptation")
    ahp_pulse: Variation = Field(Variation(), description="relative spread of the pulse of the adaptation")
    synapse_tau: Variation = Field(Variation(), description="relative spread of the leak of each synapse circuit")
    synapse_gain: Variation = Field(Variation(), description="relative spread of the gain of each synapse circuit")
    nmda_gate: Variation = Field(Variation(), description="relative spread of the threshold of the NMDA gate")
    leakage: Variation = Field(Variation(), description="relative spread of I0 of a neuron")
    feedback: Variation = Field(Variation(), description="relative spread of the currents of the sigmoid feedback")

    @property
    def cut_sd(self) -> float:
        """Standard deviation of a standard normal number that is cut at `truncation`."""
        from scipy.special import gammainc

        half = self.truncation.value ** 2 / 2
        return float(gammainc(1.5, half) / gammainc(0.5, half)) ** 0.5


class WordMask(Entry):
    """Which synapse words work: `good [core, neuron, word]`, or with a last axis [lower half of the tags, upper half].

    In the file: `{ file = "NAME.h5" }` beside the profile, with a data set `good_words`; see `write_word_mask`. The
    mask itself then becomes part of the profile.
    """

    file: str
    shape: tuple[int, ...] = Field((), strict=False)
    packed: str = ""
    source: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, found: Any, info: ValidationInfo) -> Any:
        if not isinstance(found, dict) or "packed" in found or not isinstance(found.get("file"), str):
            return found
        path = Path((info.context or {}).get("folder", "."), found["file"])
        return {**found, **_read_word_mask(path)}

    @cached_property
    def good(self) -> np.ndarray:
        """bool, `[core, neuron, word]` or `[core, neuron, word, 2]`."""
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.packed)), np.uint8)
        return np.unpackbits(bits, count=int(np.prod(self.shape))).reshape(self.shape).astype(bool)

    def __str__(self) -> str:
        good = self.good if self.good.ndim == 3 else self.good.all(axis=3)
        return f"{self.file}: good words by core " + ", ".join(f"{share:.0%}" for share in good.mean(axis=(1, 2)))


def _read_word_mask(path: Path) -> dict[str, object]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            good = np.asarray(file["good_words"])
            source = file["good_words"].attrs.get("source", "")
    except (OSError, KeyError) as error:
        raise refuse(f"an HDF5 file with a data set good_words beside the profile ({error})") from None
    if good.dtype != bool or good.ndim not in (3, 4) or good.shape[3:] not in ((), (2,)):
        raise refuse(f"good_words as bool [core, neuron, word] or [core, neuron, word, 2], it is {good.dtype} "
                     f"{list(good.shape)}")
    return {"shape": good.shape, "packed": _packed(good), "source": source if isinstance(source, str) else ""}


def _packed(good: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(good).tobytes(), 9)).decode()


def write_word_mask(path: Path | str, good: np.ndarray, source: str) -> None:
    """Write a mask of working synapse words for a profile to name.

    good: bool `[core, neuron, word]`, or `[core, neuron, word, 2]` where the halves of the tags differ. source: where
    it was measured.
    """
    import h5py

    with made_in_memory(path) as stream, h5py.File(stream, "w") as file:
        data = file.create_dataset("good_words", data=np.asarray(good, bool), compression="gzip", track_times=False)
        data.attrs["source"] = source


class Circuit(Entry):
    """A chip of subthreshold neurons as circuits."""

    discharge: Volt = Field(description="V that a pulse capacitor is discharged by: t = C V / I")
    reset: Ratio = Field(description="membrane current after a spike, over I0")
    feedback: Literal["power", "sigmoid", "product"] = Field(description="form of the membrane's positive feedback")
    transistor: Transistor
    capacitor: Capacitors
    bias: Biases
    table: BiasTables
    size: Size
    temperature: Temperature
    mismatch: CircuitMismatch = CircuitMismatch()
    words: WordMask | None = Field(None, description="synapse words that work")

    @model_validator(mode="after")
    def _whole(self) -> Circuit:
        sigmoid = ("feedback_gain", "feedback_threshold", "feedback_norm")
        missing = [name for name in sigmoid if getattr(self.bias, name) is None]
        if self.feedback != "power" and missing:
            raise refuse(f"bias.{missing[0]} for this form of feedback")
        if self.mismatch.distribution == "truncated_normal" and self.mismatch.truncation is None:
            raise refuse("mismatch.truncation with a truncated_normal distribution")
        if self.mismatch.distribution == "truncated_normal":
            self._refuse_below_zero()
        if self.size.coding == "repeat" and self.size.base_currents.value != 4:
            raise refuse("size.base_currents = 4 with coding = \"repeat\": one for each kind of synapse")
        size = tuple(int(found.value) for found in (self.size.cores, self.size.neurons, self.size.words))
        if self.words is not None and self.words.shape[:3] != size:
            raise refuse(f"good_words of {list(size)} cores, neurons, words; it is {list(self.words.shape)}")
        return self

    def _refuse_below_zero(self) -> None:
        """A cut normal factor has the spread that is stated, and is nowhere below a hundredth."""
        most = 0.99 * self.mismatch.cut_sd / self.mismatch.truncation.value
        for name, variation in self.mismatch:
            if not isinstance(variation, Variation):
                continue
            widest = self.cooling * max(variation.device / self.area_of(variation) ** 0.5, variation.core,
                                        variation.die)
            if widest > most:
                raise refuse(f"relative spreads up to {most:.3g} with a truncated_normal distribution, a larger one "
                             f"makes currents below 0; with area and temperature mismatch.{name} is {widest:.3g}")

    @property
    def cooling(self) -> float:
        """What spreads fall by with the temperature: nominal over operating one."""
        return self.temperature.nominal.value / self.temperature.operating.value

    def area_of(self, variation: Variation) -> float:
        """Area of the transistors of a current over that at which the spread of its devices is stated."""
        return variation.area * (self.mismatch.area.value if self.mismatch.area is not None else 1.0)
