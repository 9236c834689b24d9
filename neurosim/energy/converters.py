"""What an analog-to-digital conversion costs, in joules."""

from __future__ import annotations

import math

from neurosim.profile import ADC, Conversion


def walden(fom: float, bits: float) -> float:
    """``E = FOM 2^bits``, FOM in joules per conversion step.

    Source: Walden, IEEE J. Sel. Areas Commun. 17, 539 (1999).

    >>> walden(20e-15, 8)
    5.12e-12
    """
    return fom * 2.0**bits


def murmann(bits: float, node: float, rate: float) -> float:
    """Energy of a conversion on the envelope of published converters, in joules.

    ``F = min(213.78 - 2.872 ln f, 128.3 + 3.22 b)`` dB, ``S = 6.02 b + 1.76`` dB,
    ``E = 1 / (2 10^((F - S)/10)) exp(26.05 + 1.880 ln n - 2.829 ln b - 1.470)`` pJ

    with b effective bits, f conversions per second, n the technology in nanometres.

    Source: regression over Murmann's ADC performance survey, coefficients of the public ADC plug-in for Accelergy.

    >>> round(murmann(8, 22e-9, 10e6) * 1e12, 3)
    0.849
    """
    figure = min(213.78 - 2.872 * math.log(rate), 128.3 + 3.22 * bits)
    signal = 6.02 * bits + 1.76
    technology = math.exp(26.05 + 1.880 * math.log(node * 1e9) - 2.829 * math.log(bits) - 1.470)
    return technology / (2 * 10 ** ((figure - signal) / 10)) * 1e-12


def conversion_energy(found: Conversion, adc: ADC | None = None) -> tuple[float, float, float]:
    """Low, nominal and high energy of a conversion by the model that the profile chose, at the bits of its [adc]."""
    if found.model == "fixed":
        return found.energy.values
    bits = (found if adc is None else adc).bits.value
    if found.model == "walden":
        return tuple(walden(fom, bits) for fom in found.fom.values)
    one = murmann(bits, found.node.value, found.rate.value)
    return tuple(factor * one for factor in found.factor.values)
