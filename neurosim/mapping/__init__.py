"""Network x profile -> nominal device parameters, or a refusal with the reason.

Everything that can be refused is refused here; what comes out is immutable and printable. Draws nothing.
"""

from neurosim.mapping.arrays import DeviceArray, SpreadArray
from neurosim.mapping.mapped import MappedNetwork, map_network
from neurosim.mapping.tiles import Tile, Tiling

__all__ = ["DeviceArray", "MappedNetwork", "SpreadArray", "Tile", "Tiling", "map_network"]
