"""The kernels: arrays in, arrays out. Serial, without the GIL, cached on disk; knows no network, profile or torch.

Inside, a signal is `[batch, time, ...]`: a sample's state then stays in the first-level cache for all its
steps. Spikes are events: `pointers [batch * time + 1]` into `indices`, the neurons that fired, step by step.
Parallel work (dies, or blocks of the batch) is shared out by threads outside.
"""

from neurosim.engine.arrays import LANES, aligned, padded, padded_rows, scaled_rows, summed_rows
from neurosim.engine.dense import avg_pool, conv2d, linear, max_pool, patches
from neurosim.engine.events import gather, scatter, survey, tally, to_events
from neurosim.engine.neurons import adaptive_lif, cuba_lif, leaky_integrator, lif
from neurosim.engine.reads import (
    CONVERTERS,
    Recurrence,
    Tiles,
    dense_reads,
    driven_rows,
    gather_reads,
    input_codes,
    tile_codes,
)
from neurosim.engine.recurrent import Product, exact_product, gru, lstm, rnn, rnn_reads

__all__ = [
    "CONVERTERS", "LANES", "Product", "Recurrence", "Tiles", "adaptive_lif", "aligned", "avg_pool", "conv2d",
    "cuba_lif", "dense_reads", "driven_rows", "exact_product", "gather", "gather_reads", "gru", "input_codes",
    "leaky_integrator", "lif", "linear", "lstm", "max_pool", "padded", "padded_rows", "patches", "rnn", "rnn_reads",
    "scaled_rows", "scatter", "summed_rows", "survey", "tally", "tile_codes", "to_events",
]
