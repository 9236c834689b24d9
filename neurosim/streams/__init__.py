"""Counter-based random numbers: the only source of randomness in neurosim.

A number is a pure function of (seed, layer, effect, die, ..., device): no state, no order. So die 417 is the
same die alone, in a batch, on another thread count, on a cluster and after a resume. Three key types
say how long a number lives; a function that takes a `DieKey` cannot redraw what is drawn once per die.
"""

from neurosim.streams.draws import normal, uniform
from neurosim.streams.keys import DieKey, Effect, ProgramKey

__all__ = ["DieKey", "Effect", "ProgramKey", "normal", "uniform"]
