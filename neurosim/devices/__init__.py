"""Physics and statistics of one device: pure functions on arrays, standard normals in, device values out.

Draws nothing itself (`dies` hands in the numbers of `streams`), knows no network.
"""

from neurosim.devices.bias import bias_currents, nearest_codes, table_currents
from neurosim.devices.current_mismatch import bias_ratio, current_factor, leakage_at
from neurosim.devices.curve import evaluate
from neurosim.devices.memristor import drift_exponent, drifted, programmed
from neurosim.devices.spread import decay_with_factor, spread_factor

__all__ = [
    "bias_currents", "bias_ratio", "current_factor", "decay_with_factor", "drift_exponent", "drifted", "evaluate",
    "leakage_at", "nearest_codes", "programmed", "spread_factor", "table_currents",
]
