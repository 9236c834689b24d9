"""A closer look at one die: why it is as it is, what its neurons do with one sample, what its tiles hold.

Why: the die is run again with one part of it in the place of which every device is as it was meant to be; what it then
gains is what that part costs. An experiment on the virtual die, no correlation over dies. Two controls keep it honest:
the samples that the replacement spoils are counted beside those that it repairs, and the same is done to the die in the
middle of the run, because a part that gains as much there is no reason why this die is worse.

    gain = (repaired - spoiled) / samples

A part counts as found when its gain is above that of the other die, and when a fair coin would give as many repaired
among those that changed with a probability below 5 % over the number of parts tried (exact sign test on paired samples,
McNemar, Psychometrika 12, 153 (1947), with Bonferroni's correction).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from neurosim.deployment.execute import compiled, predictions
from neurosim.deployment.files import read_results, write_results
from neurosim.deployment.plan import Plan, differences, make_plan, threads_of
from neurosim.deployment.run import Run
from neurosim.dies import Dies
from neurosim.errors import NeurosimError
from neurosim.mapping import DeviceArray, MappedNetwork, parts
from neurosim.mapping.parts import size_of
from neurosim.network.forward import Forward, compile_inputs, compile_steps, run_block

_TILES = 12  # that are kept, at most
_TRACED = 3  # neurons of a population whose currents are kept
_DOUBT = 0.05


@dataclass(frozen=True, eq=False)
class Examination:
    """One die, closely.

    dataset: for every part `name`, `kind` and `devices [part]`; `repaired`, `spoiled [part]`, samples that the part
    made nominal puts right and wrong, and `control_repaired`, `control_spoiled [part]` on the die in the middle. For
    population i (its name in the attribute `layer`) `spikes_i` and `ideal_spikes_i [time, neuron_i]` of one sample on
    the die and in the network itself; `trace_i` and `ideal_trace_i [quantity_i, time, traced_i]`, what lay in some
    neurons. For tile j (its name in the attribute `tile`) `tile_j` and `meant_j [row_j, column_j]` in siemens.
    """

    dataset: xr.Dataset

    @property
    def die(self) -> int:
        """The number of the die."""
        return int(self.dataset.attrs["die"])

    @property
    def accuracy(self) -> float:
        """Share of samples that the die gets right."""
        return float(self.dataset.attrs["accuracy"])

    @property
    def gain(self) -> np.ndarray:
        """What the die would gain in accuracy with each part as it was meant, `[part]`."""
        return (self.dataset["repaired"] - self.dataset["spoiled"]).values / self.dataset.attrs["samples"]

    @property
    def control(self) -> np.ndarray:
        """The same for the die in the middle of the run, `[part]`."""
        data = self.dataset
        return (data["control_repaired"] - data["control_spoiled"]).values / data.attrs["samples"]

    @property
    def chance(self) -> np.ndarray:
        """Probability of as many repaired among the changed samples, were each as likely to be spoiled, `[part]`."""
        repaired, spoiled = self.dataset["repaired"].values, self.dataset["spoiled"].values
        return binom.sf(repaired - 1, repaired + spoiled, 0.5)

    def culprit(self, *kinds: str) -> int | None:
        """The part that costs the die most, of these kinds; None where none stands out (see above)."""
        tried = np.isin(self.dataset["kind"].values, kinds)
        good = tried & (self.chance * max(tried.sum(), 1) < _DOUBT) & (self.gain > self.control)
        return int(np.where(good, self.gain, -np.inf).argmax()) if good.any() else None

    def sentences(self) -> list[str]:
        """The answer in words."""
        data, attrs = self.dataset, self.dataset.attrs
        said = [f"Die {self.die} gets {self.accuracy:.1%} right, the die in the middle ({attrs['control_die']}) "
                f"{attrs['control_accuracy']:.1%}, the network itself {attrs['ideal_accuracy']:.1%}."]
        whole = int(np.flatnonzero(data["kind"].values == "all")[0])
        said.append(f"With every device as it was meant it would get {self.accuracy + self.gain[whole]:.1%}.")
        found = {kind: self.culprit(*kinds) for kind, kinds in
                 {"array": ("array",), "group": ("tile", "neurons")}.items()}
        for kind, part in found.items():
            what = "array" if kind == "array" else "tile or group of neurons"
            if part is None:
                said.append(f"No single {what} explains it.")
                continue
            said.append(f"The {what} that costs most is {data['name'].values[part]}: as meant, it would put "
                        f"{int(data['repaired'][part])} samples right and {int(data['spoiled'][part])} wrong, "
                        f"{100 * self.gain[part]:+.1f} points ({100 * self.control[part]:+.1f} on the die in the "
                        "middle).")
        return said

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as netCDF, beside and renamed."""
        write_results(self.dataset, path)


def examine(run: Run, mapped: MappedNetwork, inputs: np.ndarray, labels: np.ndarray, die: int | None = None, *,
            sample: int | None = None, threads: int | None = None,
            about: Mapping[str, str] | None = None) -> Examination:
    """Look at one die of a run.

    Parameters
    ----------
    run, mapped, inputs, labels:
        A run, and what it was made of.
    die:
        Its number; default: the worst.
    sample:
        Whose spikes and currents are kept; default: the first that the network itself gets right and the die wrong.
    threads:
        Worker threads; default: all cores. The result does not depend on it.
    about:
        More to be written into the results: command.

    Raises
    ------
    NeurosimError
        Network, chip or samples are not those of the run; no such die or sample.
    """
    threads = threads_of(threads, "examine")
    plan = _plan_of(run, mapped, inputs, labels)
    numbers, accuracy = run.dataset["die"].values, run.accuracy.values
    die = run.worst_die if die is None else die
    if die not in numbers:
        raise NeurosimError(f"die {die} is not in this run", where="examine",
                            allowed=f"{numbers.size} dies, {numbers.min()} to {numbers.max()}")
    if sample is not None and not 0 <= sample < plan.labels.size:
        raise NeurosimError(f"sample is {sample}", where="examine", allowed=f"0 to {plan.labels.size - 1}")
    control = int(numbers[np.argsort(accuracy, kind="stable")[numbers.size // 2]])
    every = parts(mapped)
    looks = [(number, part) for number in (die, control) for part in (None, *every)]

    def right(look: tuple) -> np.ndarray:
        number, part = look
        one = plan if part is None else replace(plan, dies=replace(plan.dies, nominal=(part,)))
        return predictions(one, number) == plan.labels

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        found = np.array(list(pool.map(right, looks))).reshape(2, len(every) + 1, -1)
        ideal = predictions(plan, None) == plan.labels
    before, after = found[:, :1], found[:, 1:]
    repaired, spoiled = (after & ~before).sum(axis=2), (before & ~after).sum(axis=2)
    if sample is None:
        missed = ideal & ~found[0, 0]
        sample = int(missed.argmax()) if missed.any() else int((~found[0, 0]).argmax())
    wanted = ("profile", "manifest", "seed", "dt", "time", "recipe", "task", "ideal_accuracy", "samples", "versions")
    attrs = {key: run.dataset.attrs[key] for key in wanted if key in run.dataset.attrs}
    kept = {"name": np.array([part.name for part in every], object),
            "kind": np.array([part.kind for part in every], object),
            "devices": np.array([size_of(mapped, part) for part in every]), "repaired": repaired[0],
            "spoiled": spoiled[0], "control_repaired": repaired[1], "control_spoiled": spoiled[1]}
    return Examination(xr.Dataset(
        {**{name: (("part",), values) for name, values in kept.items()},
         **_activity(plan, np.asarray(inputs), die, sample), **_tiles(plan.dies, die)}, attrs={
            **attrs, "title": "neurosim examination", "die": die, "control_die": control, "sample": sample,
            "label": int(plan.labels[sample]), "accuracy": float(found[0, 0].mean()),
            "control_accuracy": float(found[1, 0].mean()), **(about or {})}))


def _plan_of(run: Run, mapped: MappedNetwork, inputs: np.ndarray, labels: np.ndarray) -> Plan:
    manifest = json.loads(run.dataset.attrs["manifest"])
    said = ("seed", "time", "programming", "precision", "keep_predictions", "keep_events", "calibrate")
    if lacking := [key for key in said if key not in manifest]:
        raise NeurosimError(f"another version of neurosim wrote this run: it does not say {', '.join(lacking)}",
                            where="examine", hint="deploy again with this version")
    plan = make_plan(mapped, inputs, labels, run.dataset["die"].values,
                     **{key: manifest[key] for key in said})
    if plan.manifest != manifest:
        found = differences(manifest, plan.manifest)
        raise NeurosimError(f"network, chip or samples are not those of the run ({found})", where="examine",
                            hint="give the model and the samples that were deployed")
    return plan


def _activity(plan: Plan, inputs: np.ndarray, die: int, sample: int) -> dict[str, tuple]:
    """Spikes and currents of one sample, with the noise that it has among the others."""
    network, names = plan.mapped.network, tuple(plan.spiking)
    dtype = np.dtype(plan.precision)
    [block] = compile_inputs(network, inputs[:, sample:sample + 1], dtype)
    block = replace(block, samples=slice(sample, sample + 1))

    def one(number: int | None) -> Forward:
        steps = compile_steps(network, None, dtype, names) if number is None else compiled(plan, number, names)
        with threadpool_limits(1, user_api="blas"):
            return run_block(network, steps, block, dtype, names, trace=names)

    found, ideal = one(die), one(None)
    kept = {}
    for i, name in enumerate(names):
        spikes, meant = (part.kept[name][:, 0].reshape(plan.steps, -1) for part in (found, ideal))
        difference = np.abs(spikes.sum(axis=0) - meant.sum(axis=0)) + 1e-3 * spikes.sum(axis=0)
        chosen = np.argsort(-difference, kind="stable")[:_TRACED]
        about = {"layer": name}
        kept[f"spikes_{i}"] = (("time", f"neuron_{i}"), spikes.astype(np.uint8), about)
        kept[f"ideal_spikes_{i}"] = (("time", f"neuron_{i}"), meant.astype(np.uint8), about)
        for prefix, part in (("", found), ("ideal_", ideal)):
            values = [part.traces[name][what][:, 0].reshape(plan.steps, -1)[:, chosen] for what in found.traces[name]]
            kept[f"{prefix}trace_{i}"] = ((f"quantity_{i}", "time", f"traced_{i}"), np.array(values, np.float32), {
                **about, "quantities": json.dumps(list(found.traces[name])), "neurons": chosen.tolist(),
                "units": "A" if plan.mapped.configuration is not None else ""})
    return kept


def _tiles(dies: Dies, die: int) -> dict[str, tuple]:
    kept: dict[str, tuple] = {}
    for array in dies.mapped.arrays:
        if not isinstance(array, DeviceArray):
            continue
        both = [values.reshape(values.shape[0], array.tiling.outputs, array.tiling.inputs) for values in
                (dies.conductances(die, array.name), array.planes(array.targets))]
        for number, tile in enumerate(array.tiling.tiles()):
            j = len(kept) // 2
            if j == _TILES:
                return kept
            about = {"tile": f"{array.name} tile {number}" if array.tiles > 1 else array.name, "units": "S"}
            for name, values in zip(("tile", "meant"), both, strict=True):
                kept[f"{name}_{j}"] = ((f"row_{j}", f"column_{j}"), tile.gather(values), about)
    return kept


def load_examination(path: str | os.PathLike[str]) -> Examination:
    """Read what `Examination.save` wrote."""
    return Examination(read_results(
        path, "examination", "examine",
        ("name", "kind", "devices", "repaired", "spoiled", "control_repaired", "control_spoiled"),
        ("profile", "dt", "samples", "die", "accuracy", "ideal_accuracy", "control_die", "control_accuracy"),
        ("manifest", "versions")))
