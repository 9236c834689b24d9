"""Reading crossbar tiles once more: one vector, one output, one converter after the other, in plain python.

Nothing of neurosim in it. A converter is simulated as its circuit works, not looked up.
"""

from __future__ import annotations

import math
from itertools import pairwise


def uniform(value, low, high):
    """The code below a value (rounding was added before), cut to the range."""
    return min(max(math.floor(value), low), high)


def sar(value, low, high, capacitors):
    """capacitors in codes, lowest bit first: trial and error from the highest."""
    value, total, code = value - low, 0.0, 0
    for bit in reversed(range(len(capacitors))):
        if value >= total + capacitors[bit]:
            total += capacitors[bit]
            code += 2**bit
    return min(max(code + low, low), high)


def ramp(value, low, high, levels):
    """Counts levels until one is above the value."""
    count = 0
    for level in levels:
        if level > value - low:
            break
        count += 1
    return min(max(count + low, low), high)


def pipeline(value, low, high, half, stages):
    """stages: (gain error, reference error, offset of the upper comparator, of the lower one)."""
    middle = (low + high + 1) // 2
    residue, code = (value - half - middle) / 2 ** len(stages), 0
    for gain, reference, upper, lower in stages:
        digit = 1 if residue >= 0.25 + upper else (-1 if residue < lower - 0.25 else 0)
        residue = 2 * (1 + gain) * residue - digit * (1 + reference)
        code = 2 * code + digit
    code += min(max(math.floor(residue + half), -1), 1)
    return min(max(code + middle, low), high)


def read(x, conductance, bounds, worth, convert, noise, variance, floor, offset):
    """One output: x `[inputs]`, conductance and variance `[inputs]`; worth, noise, floor, offset for each tile;
    convert(tile, current)."""
    total = 0.0
    for tile, (first, last) in enumerate(pairwise(bounds)):
        current, spread = 0.0, floor[tile]
        for i in range(first, last):
            current += x[i] * conductance[i]
            spread += x[i] ** 2 * variance[i]
        current += math.sqrt(spread) * noise[tile]
        total += worth[tile] * convert(tile, current) + offset[tile] * sum(x[first:last])
    return total
