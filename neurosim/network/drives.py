"""What drives the arrays of a block of samples: by the signals that the kernels made, together or sample by sample."""

from __future__ import annotations

import numpy as np

from neurosim.network.activity import Drive, spike_drive, together, value_drive
from neurosim.network.reads import Read, bit_planes
from neurosim.network.signals import Block, Events, Signal


def drive_of(read: Read | None, signal: np.ndarray) -> Drive:
    """What an array is driven with by a signal `[steps, *shape]`: each slice of converted inputs drives it once."""
    if read is None or read.inputs is None:
        return value_drive(signal)
    return together(value_drive(plane) for plane, _ in bit_planes(read.inputs, signal))


def drive_of_block(read: Read | None, signal: Signal, count: np.ndarray | None, block: Block) -> Drive:
    """The drive of an array by its signal in a block; count: how often each neuron fired, where it is events."""
    converted = read is not None and read.inputs is not None
    if isinstance(signal, Events) and not converted:
        return block.drive if signal is block.signal else spike_drive(count, np.count_nonzero(np.diff(signal.pointers)))
    if signal is block.signal and not converted:
        return block.drive
    return drive_of(read, _dense(read, signal) if converted else signal)


def _dense(read: Read, signal: Signal) -> np.ndarray:
    """Signals that are converted are so whether or not those of this block happen to be zeros and ones."""
    return signal.dense(read.tiles.rows.shape[0], read.tiles.rows.dtype) if isinstance(signal, Events) else signal


def each_drive(read: Read | None, signal: Signal, block: Block, steps: int, width: int) -> list[Drive]:
    """The drive of each sample of a block by its first `steps` steps; width: how many inputs."""
    found = []
    if read is not None and read.inputs is not None:
        signal = _dense(read, signal)
    for first in range(0, block.batch * block.time, block.time):
        if isinstance(signal, Events):
            pointers = signal.pointers[first:first + steps + 1]
            active = np.bincount(signal.indices[pointers[0]:pointers[-1]], minlength=width)
            found.append(spike_drive(active, np.count_nonzero(np.diff(pointers))))
        else:
            found.append(drive_of(read, signal[first:first + steps]))
    return found


def fed_back(spikes: Events, count: np.ndarray, block: Block) -> Drive:
    """The drive of recurrent weights: the spikes of every step but the last, which no step follows."""
    last = np.arange(1, block.batch + 1) * block.time - 1
    starts, stops = spikes.pointers[last], spikes.pointers[last + 1]
    lengths = stops - starts
    first = np.cumsum(lengths) - lengths  # where each sample's spikes stand among those that are lost
    lost = spikes.indices[np.arange(lengths.sum()) + np.repeat(starts - first, lengths)]
    return spike_drive(count - np.bincount(lost, minlength=count.size),
                       np.count_nonzero(np.diff(spikes.pointers)) - np.count_nonzero(lengths))
