"""Physics and statistics of one device: pure functions on arrays, standard normals in, device values out.

Draws nothing itself (`dies` hands in the numbers of `streams`), knows no network.
"""

from neurosim.devices.bias import bias_currents, nearest_codes, table_currents
from neurosim.devices.current_mismatch import bias_ratio, current_factor, current_widths, leakage_at
from neurosim.devices.curve import evaluate
from neurosim.devices.iv import current, slope
from neurosim.devices.memristor import (
    drift_exponent,
    drifted,
    flicker_growth,
    programmed,
    relaxation_at,
    relaxed,
    retention_tables,
    stuck,
    write_verify,
)
from neurosim.devices.spread import decay_with_factor, spread_around, spread_factor
from neurosim.devices.subthreshold import drain_current, integrated, thermal_voltage, time_constant

__all__ = [
    "bias_currents", "bias_ratio", "current", "current_factor", "current_widths", "decay_with_factor", "drain_current",
    "drift_exponent", "drifted", "evaluate", "flicker_growth", "integrated", "leakage_at", "nearest_codes",
    "programmed", "relaxation_at", "relaxed", "retention_tables", "slope", "spread_around", "spread_factor", "stuck",
    "table_currents", "thermal_voltage", "time_constant", "write_verify",
]
