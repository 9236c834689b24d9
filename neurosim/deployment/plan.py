"""What a run will do, checked before it does anything: network, dies, samples, and what makes it that run."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim import __version__
from neurosim.deployment.calibration import Calibration, make_calibration
from neurosim.dies import Dies, ranges_of_design
from neurosim.energy import Ledger
from neurosim.errors import NeurosimError, whole
from neurosim.mapping import MappedNetwork
from neurosim.network.forward import Block, compile_inputs
from neurosim.network.layers import SPIKING
from neurosim.network.reads import Inputs

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked run. Made by `make_plan`."""

    dies: Dies
    numbers: tuple[int, ...]
    blocks: list[Block]
    labels: np.ndarray
    steps: int
    data_hash: str
    precision: str
    keep_predictions: bool
    keep_events: bool
    calibration: Calibration | None

    @property
    def mapped(self) -> MappedNetwork:
        return self.dies.mapped

    @cached_property
    def spiking(self) -> dict[str, int]:
        """Names and neurons of the populations whose spikes are counted."""
        network = self.mapped.network
        return {node.name: math.prod(network.shapes[node.name]) for node in network.nodes
                if isinstance(node.layer, SPIKING)}

    @cached_property
    def ledger(self) -> Ledger:
        """What is counted, and where."""
        return Ledger(self.mapped, self.dies.ranges)

    @property
    def slices(self) -> dict[str, int]:
        """In how many slices inputs reach the arrays that take them serially, by name."""
        dac = self.mapped.profile.dac
        if dac is None or not dac.serial:
            return {}
        count = Inputs(1.0, int(dac.bits.value), dac.signed, True, int(dac.slice_bits.value)).slices
        return {name: count for name, found in self.dies.ranges.items() if found.inputs is not None}

    @cached_property
    def manifest(self) -> dict[str, object]:
        """Everything that decides the results of each die; a run can be resumed where this is equal."""
        return {
            "format": "neurosim run 3", "neurosim": __version__, "mapping": self.mapped.hash,
            "prices": self.mapped.profile.prices_hash, "data": self.data_hash,
            "seed": self.dies.seed, "programming": self.dies.programming, "time": self.dies.time,
            "precision": self.precision, "keep_predictions": self.keep_predictions,
            "keep_events": self.keep_events,
            "calibrate": list(self.calibration.steps) if self.calibration else [],
        }


def make_plan(mapped: MappedNetwork, inputs: np.ndarray, labels: Sequence[int] | np.ndarray,
              dies: int | Sequence[int], seed: int, time: float | None, programming: int, precision: str,
              keep_predictions: bool, keep_events: bool, calibrate: Sequence[str] = ()) -> Plan:
    """Check everything that a run is given; raises `NeurosimError` on the first thing that cannot be."""
    if precision not in PRECISIONS:
        raise NeurosimError(f"precision is {precision!r}", where="deploy", allowed=" or ".join(PRECISIONS))
    blocks = compile_inputs(mapped.network, inputs, np.dtype(precision))
    lot = Dies(mapped, seed, programming, time, ranges_of_design(mapped, inputs))
    inputs = np.asarray(inputs)
    classes = int(np.prod(mapped.network.output_shape))
    digest = hashlib.sha256(repr((inputs.shape, inputs.dtype.str)).encode())
    digest.update(np.ascontiguousarray(inputs).data)
    checked = checked_labels(labels, inputs.shape[1], classes)
    digest.update(checked.data)
    return Plan(lot, _numbers(dies), blocks, checked, inputs.shape[0], digest.hexdigest(), precision,
                bool(keep_predictions), bool(keep_events), make_calibration(lot, inputs, calibrate))


def checked_labels(labels: Sequence[int] | np.ndarray, samples: int, classes: int) -> np.ndarray:
    """Labels as int64 `[sample]`; raises `NeurosimError` where they are no whole numbers below `classes`."""
    found = np.asarray(labels)
    if found.ndim != 1 or found.size != samples:
        raise NeurosimError(f"labels have shape {list(found.shape)}, the inputs hold {samples} samples",
                            where="labels", allowed=f"[{samples}]",
                            hint="inputs are [time, batch, ...]: time comes first")
    if found.dtype.kind not in "iu" and not (found.dtype.kind == "f" and (found == np.rint(found)).all()):
        raise NeurosimError(f"labels are of type {found.dtype}", where="labels", allowed="whole numbers")
    if found.min() < 0 or found.max() >= classes:
        raise NeurosimError(f"labels reach from {found.min()} to {found.max()}, the network has {classes} outputs",
                            where="labels", allowed=f"0 to {classes - 1}")
    return np.ascontiguousarray(found, np.int64)


def _numbers(dies: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(dies, (int, np.integer)) and not isinstance(dies, bool):
        if dies < 1:
            raise NeurosimError(f"{dies} dies asked for", where="deploy", allowed="1 or more")
        return tuple(range(int(dies)))
    try:
        numbers = tuple(int(number) for number in dies)
    except (TypeError, ValueError):
        raise NeurosimError(f"dies is {dies!r}", where="deploy", allowed="how many, or a list of die numbers") from None
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) >= 1 << 32:
        raise NeurosimError(f"{len(numbers)} die numbers, {len(set(numbers))} of them different", where="deploy",
                            allowed="one or more different numbers from 0 to 2^32 - 1")
    return numbers


def threads_of(threads: int | None, where: str) -> int:
    """How many worker threads: all cores where nobody says."""
    return whole("threads", (os.cpu_count() or 1) if threads is None else threads, where)


def differences(found: dict[str, object], wanted: dict[str, object]) -> str:
    """Which entries of two manifests differ, for an error.

    >>> differences({"seed": 1, "time": None}, {"seed": 2, "time": None})
    'seed: 1 there, 2 now'
    """
    keys = sorted({*found, *wanted})
    short = {key: tuple(json.dumps(m.get(key))[:16] for m in (found, wanted)) for key in keys}
    return "; ".join(f"{key}: {short[key][0]} there, {short[key][1]} now" for key in keys
                     if found.get(key) != wanted.get(key))
