"""Mapping x seed -> manufactured dies: lazy, any die alone, the same die whatever else is made.

Nothing is stored: a die's numbers are a function of (seed, die, array, effect, device).
"""

from neurosim.dies.dies import Dies
from neurosim.dies.nominal import nominal_planes, nominal_readout
from neurosim.dies.ranges import find_ranges
from neurosim.dies.reads import Ranges, Readout, by_tile

__all__ = ["Dies", "Ranges", "Readout", "by_tile", "find_ranges", "nominal_planes", "nominal_readout"]
