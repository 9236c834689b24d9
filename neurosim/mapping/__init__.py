"""Network x profile -> nominal device parameters, or a refusal with the reason.

Everything that can be refused is refused here; what comes out is immutable and printable. Draws nothing.
"""

from neurosim.mapping.arrays import DeviceArray, SpreadArray
from neurosim.mapping.biases import chip_fields
from neurosim.mapping.circuit import WordArray
from neurosim.mapping.configuration import Configuration
from neurosim.mapping.mapped import MappedNetwork, map_network
from neurosim.mapping.parts import Part, parts
from neurosim.mapping.tiles import Tile, Tiling

__all__ = [
    "Configuration", "DeviceArray", "MappedNetwork", "Part", "SpreadArray", "Tile", "Tiling", "WordArray",
    "chip_fields", "map_network", "parts",
]
