"""Physics and statistics of one device: pure functions on arrays, standard normals in, device values out.

Draws nothing itself (`dies` hands in the numbers of `streams`), knows no network.
"""

from neurosim.devices.curve import evaluate
from neurosim.devices.memristor import drift_exponent, drifted, programmed
from neurosim.devices.spread import decay_with_factor, spread_factor

__all__ = ["decay_with_factor", "drift_exponent", "drifted", "evaluate", "programmed", "spread_factor"]
