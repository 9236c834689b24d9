"""What a chip type is: a TOML file, validated, every number with its unit and source.

Knows no network and draws nothing: `mapping` puts a network on a profile, `dies` draws from it.
"""

from neurosim.profile.load import check_profile, load_profile, profile_names, profile_path, refuse_name
from neurosim.profile.quantity import Curve, Piece, Quantity
from neurosim.profile.schema import Limits, Mismatch, Profile, Synapse
from neurosim.profile.schema_circuit import BiasTable, Circuit, Variation, WordMask, write_word_mask
from neurosim.profile.schema_crossbar import Cells, Crossbar
from neurosim.profile.schema_dynamics import VTEAM, StanfordPKU
from neurosim.profile.schema_effects import IV, Drift, Programming, ReadNoise, Relaxation, Retention, Stuck, Verify
from neurosim.profile.schema_energy import Area, CellRead, Coefficient, Conversion, Energy, Timing
from neurosim.profile.schema_reads import ADC, DAC, Wires
from neurosim.profile.table import Row, profile_rows

__all__ = [
    "ADC", "DAC", "IV", "VTEAM", "Area", "BiasTable", "CellRead", "Cells", "Circuit", "Coefficient", "Conversion",
    "Crossbar", "Curve", "Drift", "Energy", "Limits", "Mismatch", "Piece", "Profile", "Programming", "Quantity",
    "ReadNoise", "Relaxation", "Retention", "Row", "StanfordPKU", "Stuck", "Synapse", "Timing", "Variation", "Verify",
    "Wires", "WordMask",
    "check_profile", "load_profile", "profile_names", "profile_path", "profile_rows", "refuse_name",
    "write_word_mask",
]
