"""Mapping x seed -> manufactured dies: lazy, any die alone, the same die whatever else is made.

Nothing is stored: a die's numbers are a function of (seed, die, array, effect, device).
"""

from neurosim.dies.dies import Dies
from neurosim.dies.nominal import nominal_planes, nominal_readout
from neurosim.dies.ranges import find_ranges, layout, ranges_of_design
from neurosim.dies.reads import Readout, by_tile
from neurosim.network.ranges import Ranges

__all__ = ["Dies", "Ranges", "Readout", "by_tile", "find_ranges", "layout", "nominal_planes",
           "nominal_readout", "ranges_of_design"]
