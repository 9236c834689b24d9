"""The kernels: arrays in, arrays out. Serial, without the GIL, cached on disk; knows no network, profile or torch.

Inside, a signal is `[batch, time, ...]`: a sample's state then stays in the first-level cache for all its
steps. Spikes are events: `pointers [batch * time + 1]` into `indices`, the neurons that fired, step by step.
Parallel work (dies, or blocks of the batch) is shared out by threads outside.
"""

from neurosim.engine.arrays import padded, padded_rows
from neurosim.engine.dense import avg_pool, conv2d, linear, max_pool
from neurosim.engine.events import gather, scatter, tally, to_events
from neurosim.engine.neurons import adaptive_lif, cuba_lif, leaky_integrator, lif
from neurosim.engine.recurrent import exact_product, gru, lstm, rnn

__all__ = [
    "adaptive_lif", "avg_pool", "conv2d", "cuba_lif", "exact_product", "gather", "gru", "leaky_integrator", "lif",
    "linear", "lstm", "max_pool", "padded", "padded_rows", "rnn", "scatter", "tally", "to_events",
]
