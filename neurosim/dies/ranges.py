"""What converters are set to: full scales of inputs and currents, from data that run through the network itself.

The ranges belong to the design: they are found once, with the nominal conductances, for all dies. Calibration has a
step that finds them again on each die; training may learn them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.engine import patches
from neurosim.mapping import DeviceArray, MappedNetwork
from neurosim.network import Conv2d, Network
from neurosim.network.forward import run
from neurosim.network.layers import SPIKING
from neurosim.network.ranges import Ranges
from neurosim.network.reads import Inputs, bit_planes
from neurosim.profile import ADC, DAC, Profile

_VECTORS = 1 << 15  # input vectors of an array that are looked at, evenly from all


def find_ranges(mapped: MappedNetwork, inputs: np.ndarray, samples: int = 64) -> dict[str, Ranges]:
    """Ranges of the converters of every array, by `layer/parameter`.

    inputs `[time, batch, *input_shape]`, of which at most `samples` are used, evenly from all.

    Inputs that are zeros and ones are spikes, and are not converted; of others the largest one, by `dac.range`, stands
    for `dac.v_read`, whether they are converted or exact. For `adc.range = "data"` the range is the largest
    current of these inputs; for "percentile" that percentile of the magnitude of the currents that are converted: where
    no input is active nothing is read.
    """
    profile = mapped.profile
    solved = profile.wires is not None and profile.wires.level == "nonlinear"
    if profile.adc is None and (profile.dac is None or (profile.dac.bits is None and not solved)):
        return {}
    inputs = np.asarray(inputs)
    chosen = inputs[:, np.unique(np.linspace(0, inputs.shape[1] - 1, samples).astype(int))]
    found = {}
    for array, x in array_inputs(mapped, chosen):
        separate = profile.adc is not None and profile.adc.converts == "column"
        full = None if profile.dac is None else input_range(x, profile.dac)
        found[array.name] = ranges_of(array, x, nominal_rows(array, separate), profile.adc, profile.dac, full)
    return found


def ranges_of_design(mapped: MappedNetwork, inputs: np.ndarray) -> dict[str, Ranges]:
    """Those that the network was trained with, where it was trained for such crossbars and their ranges come from data;
    else those of the data, as `find_ranges` has them."""
    found, learnt = find_ranges(mapped, inputs), mapped.network.ranges
    if learnt.layout != layout(mapped.profile):
        return found
    return {name: Ranges(one.inputs if learnt.arrays[name].inputs is None or one.inputs is None
                         else learnt.arrays[name].inputs,
                         one.currents if learnt.arrays[name].currents is None else learnt.arrays[name].currents)
            if name in learnt.arrays else one for name, one in found.items()}


def layout(profile: Profile) -> str:
    """What currents depend on, beside the weights: what a learnt range may be taken over for."""
    crossbar, adc, dac = profile.crossbar, profile.adc, profile.dac
    if crossbar is None:
        return ""
    cells = crossbar.cells
    said = [f"{crossbar.g_min.value:g} to {crossbar.g_max.value:g} S",
            f"{crossbar.rows.value:g} x {crossbar.columns.value:g}", f"scale by {crossbar.scale}",
            f"{cells.kind} {cells.devices} {cells.fill} {list(cells.significances)}"]
    said += [] if adc is None else [f"adc {adc.range} of {adc.converts}{'' if adc.signed else ', not signed'}"
                                    f"{'' if adc.shared else ', each'}"]
    said += [f"dac {dac.range}{'' if dac.signed else ', not signed'}{', serial' if dac.serial else ''}"] if (
        dac is not None and dac.bits is not None) else []
    return "; ".join(said)


def array_inputs(mapped: MappedNetwork, inputs: np.ndarray) -> Iterator[tuple[DeviceArray, np.ndarray]]:
    """Every array on the crossbar with vectors of inputs `[vectors, inputs]` that reach it in the network itself."""
    network = mapped.network
    arrays = [array for array in mapped.arrays if isinstance(array, DeviceArray)]
    sources = {array.name: _source(network, array) for array in arrays}
    kept = run(network, inputs, keep=[name for name in dict.fromkeys(sources.values()) if name != "input"]).kept
    for array in arrays:
        signal = inputs if sources[array.name] == "input" else kept[sources[array.name]]
        yield array, _vectors(network, array, np.asarray(signal, np.float32))


def ranges_of(array: DeviceArray, x: np.ndarray, rows: np.ndarray, adc: ADC | None, dac: DAC | None,
              full: float | None) -> Ranges:
    """Ranges for inputs x `[vectors, inputs]`, of which `full` stands for the voltage of the rows, and conductances
    `rows [inputs, columns of an output, outputs]`."""
    if adc is None or adc.range == "fixed":
        return Ranges(full)
    planes = [x]
    if full is not None and dac.serial:
        cut = Inputs(full, int(dac.bits.value), dac.signed, True, int(dac.slice_bits.value))
        planes = [plane for plane, _ in bit_planes(cut, x)]
    planes = [found for plane in planes if (found := plane[plane.any(axis=1)]).size] or [x[:1]]
    cut, rows = array.tiling, rows.astype(np.float32)
    largest = np.empty((cut.tiles_in, *rows.shape[1:]))
    for t, first in enumerate(range(0, cut.inputs, cut.tile_inputs)):
        part = slice(first, first + cut.tile_inputs)
        flat = rows[part].reshape(rows[part].shape[0], -1)
        currents = np.abs(np.concatenate([plane[:, part] @ flat for plane in planes])).reshape(-1, *rows.shape[1:])
        axis = None if adc.shared else 0
        found = currents.max(axis) if adc.range == "data" else np.percentile(currents, adc.percentile.value, axis=axis)
        largest[t] = found
    if adc.shared:
        largest[:] = largest.max()
    # where no current flows any range is as good as another
    return Ranges(full, np.where(largest > 0, largest, np.abs(rows).max(initial=0) or 1.0))


def nominal_rows(array: DeviceArray, separate: bool) -> np.ndarray:
    """Nominal conductances as converters see them, `[inputs, columns of an output, outputs]`."""
    planes = array.planes(array.targets)
    flat = planes.reshape(planes.shape[0], planes.shape[1], -1)
    if not separate:
        flat = np.einsum("k,koi->oi", array.coefficients, flat)[None]
    return flat.transpose(2, 0, 1)


def fed_by_spikes(network: Network, array: DeviceArray) -> bool:
    """Whether the inputs of an array are the spikes of a population."""
    source = _source(network, array)
    return source != "input" and isinstance(network[source], SPIKING)


def _source(network: Network, array: DeviceArray) -> str:
    node = next(node for node in network.nodes if node.name == array.layer)
    return node.name if array.parameter == "recurrent" else node.inputs[0]


def _vectors(network: Network, array: DeviceArray, signal: np.ndarray) -> np.ndarray:
    """A signal `[time, batch, *shape]` as vectors of inputs of an array, at most 2^15 of them."""
    layer = network[array.layer]
    flat = signal.reshape(-1, *signal.shape[2:])
    if isinstance(layer, Conv2d):
        flat = flat[_evenly(flat.shape[0], max(1, _VECTORS // (flat.shape[2] * flat.shape[3])))]
        flat = patches(flat, layer.weight.shape[2:], layer.stride, layer.padding, layer.dilation)
        flat = flat.reshape(-1, flat.shape[-1])
    return flat[_evenly(flat.shape[0], _VECTORS)]


def _evenly(count: int, wanted: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def input_range(x: np.ndarray, dac: DAC) -> float | None:
    """The input that stands for `dac.v_read`; None for spikes."""
    if bool(((x == 0) | (x == 1)).all()):
        return None
    if dac.range == "fixed":
        return dac.full_scale.value
    size = np.abs(x)
    return float(size.max() if dac.range == "data" else np.percentile(size[size > 0], dac.percentile.value)) or 1.0
