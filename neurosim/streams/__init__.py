"""Counter-based random numbers: the only source of randomness in neurosim.

A number is a pure function of (seed, layer, effect, die, ..., device): no state, no order. So die 417 is the
same die alone, in a batch, on another thread count, on a cluster and after a resume. Key types
say how long a number lives (die, programming, pulse, read); a function that takes a `DieKey` cannot redraw what is
drawn once per die.
"""

from neurosim.streams.draws import normal, normal_reads, uniform
from neurosim.streams.keys import DieKey, Effect, ProgramKey, PulseKey, ReadKey

__all__ = ["DieKey", "Effect", "ProgramKey", "PulseKey", "ReadKey", "normal", "normal_reads", "uniform"]
