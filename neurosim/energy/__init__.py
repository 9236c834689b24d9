"""Event counts x the profile's coefficients: joules and seconds, by place and component, low, nominal and high.

Counts what the kernels saw and the mapping implies; runs nothing itself.
"""

from neurosim.energy.account import BOUNDS, COMPONENTS, Prices, area, coefficients, joules, prices, unpriced
from neurosim.energy.converters import conversion_energy, murmann, walden
from neurosim.energy.efficiency import efficiency
from neurosim.energy.ledger import EVENTS, Activity, Ledger
from neurosim.energy.metrics import Metrics, metrics
from neurosim.energy.timing import Pace, pace

__all__ = [
    "Activity", "BOUNDS", "COMPONENTS", "EVENTS", "Ledger", "Metrics", "Pace", "Prices", "area", "coefficients",
    "conversion_energy", "efficiency", "joules", "metrics", "murmann", "pace", "prices", "unpriced", "walden",
]
