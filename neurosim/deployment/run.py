"""The results of a run: an xarray Dataset with names, and its file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from neurosim import __version__
from neurosim.deployment.execute import Counts
from neurosim.deployment.files import read_results, write_results
from neurosim.deployment.plan import Plan, differences
from neurosim.deployment.summary import Statistic, summarise
from neurosim.dies import layout
from neurosim.energy import (
    BOUNDS,
    COMPONENTS,
    EVENTS,
    Metrics,
    Pace,
    Prices,
    area,
    efficiency,
    joules,
    pace,
    prices,
    unpriced,
)
from neurosim.errors import NeurosimError

_STREAMS = "Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011"


@dataclass(frozen=True, eq=False)
class Run:
    """What a network did on many dies.

    dataset: variables `accuracy [die]`; `spikes [die, layer]`, all spikes of the run; `events [die, place, event]`,
    what was counted where, over all samples (see `neurosim.energy.ledger`); where the profile prices it, `price [event,
    bound]` in joules and `static [bound]` in watts; `conversions` and `saturated [die, array]`, currents that were
    converted, and those out of the converter's range; where kept `prediction [die, sample]` and `sample_events [die,
    sample, place, event]`. Attributes say what was run.
    """

    dataset: xr.Dataset

    @property
    def accuracy(self) -> xr.DataArray:
        """Share of samples that each die gets right, `[die]`."""
        return self.dataset["accuracy"]

    @property
    def spikes(self) -> xr.DataArray:
        """Spikes of each population, summed over samples and steps, `[die, layer]`."""
        return self.dataset["spikes"]

    @property
    def energy(self) -> xr.DataArray:
        """Joules of one sample, `[die, place, component, bound]`; sums over place and component are the whole.

        Raises
        ------
        NeurosimError
            The chip type has no [energy] section.
        """
        data = self.dataset
        if "price" not in data:
            raise NeurosimError(f"the chip type {data.attrs['profile']} says nothing of energy", where="run",
                                hint="give its profile an [energy] section")
        found = joules(data["events"].values, Prices(data["price"].values, data["static"].values),
                       int(data.attrs["samples"]), self.latency)
        return xr.DataArray(found, {"die": data["die"], "place": [*data["place"].values, "chip"],
                                    "component": list(COMPONENTS), "bound": list(BOUNDS)},
                            ("die", "place", "component", "bound"), name="energy", attrs={"units": "J"})

    @property
    def sample_energy(self) -> xr.DataArray:
        """Joules of each sample, `[die, sample, component, bound]`, all places together; `energy` is their mean. By
        place: `dataset["sample_events"]` times `dataset["price"]`.

        Raises
        ------
        NeurosimError
            As `energy`; or the events of samples were not kept.
        """
        data = self.dataset
        if "sample_events" not in data:
            raise NeurosimError("the events of each sample were not kept", where="run",
                                hint="deploy with keep_events=True, or --keep-events")
        mean = self.energy
        price = Prices(data["price"].values, data["static"].values)
        found = [joules(die, price, 1, self.latency).sum(axis=1) for die in data["sample_events"].values]
        named = {"die": data["die"], "component": mean["component"], "bound": mean["bound"]}
        return xr.DataArray(np.stack(found), named, ("die", "sample", "component", "bound"), name="energy",
                            attrs={"units": "J"})

    @property
    def latency(self) -> float | None:
        """Seconds that a sample takes; None where the profile does not say."""
        return self.dataset.attrs.get("latency")

    @property
    def throughput(self) -> float | None:
        """Samples per second that follow one another, all layers at work; None where the profile does not say."""
        return self.dataset.attrs.get("throughput")

    @property
    def area(self) -> float | None:
        """Square metres of the tiles and cores in use; None where the profile does not say."""
        return self.dataset.attrs.get("area")

    @property
    def efficiency(self) -> xr.Dataset:
        """What designers compare chips by: `sops [die]`, `energy_per_sop` and `tops_per_watt [die, bound]`, and with a
        timing `edp [die, bound]` and `tops`; see `neurosim.energy.efficiency`. Raises as `energy` does."""
        data, energy = self.dataset, self.energy.sum(["place", "component"])
        sops = data["events"].sel(event="matches").sum("place") / data.attrs["samples"]
        timed = None if self.latency is None else Pace(self.latency, self.throughput)
        return xr.Dataset(efficiency(energy.values, sops.values, self.metrics.dense, timed),
                          {"die": data["die"], "bound": energy["bound"]})

    @property
    def metrics(self) -> Metrics:
        """What the network itself needs, by NeuroBench's definitions."""
        return Metrics(**json.loads(self.dataset.attrs["metrics"]))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Kinds of event that happened and that the profile gives no price."""
        return unpriced(self.dataset["events"].values, self.dataset["price"].values) if "price" in self.dataset else ()

    @property
    def calibration(self) -> xr.DataArray | None:
        """Accuracy `[die, step]` before any calibration ("none"), and after each step; None without calibration."""
        return self.dataset.get("accuracy_after")

    @property
    def ideal_accuracy(self) -> float:
        """Accuracy of the network itself on the same samples, without any chip."""
        return float(self.dataset.attrs["ideal_accuracy"])

    @property
    def worst_die(self) -> int:
        """The number of the die with the lowest accuracy (the first of several)."""
        return int(self.dataset["die"].values[self.accuracy.values.argmin()])

    @property
    def default_threshold(self) -> float:
        """95 % of the ideal accuracy: what a good die is, where nobody says otherwise."""
        return 0.95 * self.ideal_accuracy

    def yield_at(self, threshold: float) -> float:
        """The share of dies with at least this accuracy."""
        return float((self.accuracy >= threshold).mean())

    def summary(self, threshold: float | None = None, confidence: float = 0.95) -> tuple[Statistic, ...]:
        """Mean, sd, min, 5th percentile and yield over dies, each with its bootstrap interval; see `summarise`."""
        return summarise(self.accuracy.values, self.default_threshold if threshold is None else threshold, confidence)

    def citation(self) -> list[str]:
        """The papers behind the models and data that this run used."""
        return [*json.loads(self.dataset.attrs["sources"]), _STREAMS]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as netCDF (HDF5), beside and renamed; `xarray.open_dataset` opens it."""
        write_results(self.dataset, path)

    def described(self, threshold: float | None = None) -> str:
        """What was run and how it went, for people; threshold: of the yield, default: `default_threshold`."""
        attrs = self.dataset.attrs
        lines = [f"{self.accuracy.size} dies of {attrs['profile']}, seed {attrs['seed']}, {attrs['samples']} samples x "
                 f"{attrs['steps']} steps of {attrs['dt']:g} s; the network itself: {self.ideal_accuracy:.2%}"]
        lines += [f"  {statistic}" for statistic in self.summary(threshold)]
        if "ranges" in attrs:
            lines.append(f"  ranges of converters: {attrs['ranges']}")
        if self.calibration is not None:
            means = self.calibration.mean("die")
            lines.append("  mean after calibration: " + ", ".join(
                f"{step} {value:.2%}" for step, value in zip(means["step"].values, means.values, strict=True)))
        if "price" in self.dataset:
            found = self.efficiency.mean("die")
            figures = {"energy per sample": (self.energy.sum(["place", "component"]).mean("die"), "J"),
                       "energy per SOP": (found["energy_per_sop"], "J"), "TOPS/W": (found["tops_per_watt"], "")}
            figures |= {"energy-delay product": (found["edp"], "J s")} if "edp" in found else {}
            for name, (values, unit) in figures.items():
                low, nominal, high = np.sort(values.values)
                lines.append(f"  {name:24} {nominal:.3g} {unit}".rstrip()
                             + f"   [{low:.3g}, {high:.3g}] by the coefficients")
            if self.unpriced:
                lines.append(f"  not priced: {', '.join(self.unpriced)}")
        if self.latency is not None:
            lines.append(f"  {'latency per sample':24} {self.latency:.3g} s, {self.throughput:.3g} samples a second")
        if self.area is not None:
            lines.append(f"  {'area in use':24} {self.area * 1e6:.3g} mm2")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.described()

    __repr__ = __str__


def make_run(plan: Plan, counts: Counts, nominal: Counts, needs: Metrics,
             about: Mapping[str, object]) -> Run:
    """The Dataset of a finished run."""
    layers, network = plan.spiking, plan.mapped.network
    timed = pace(plan.ledger, plan.steps, plan.slices)
    priced, covered = prices(plan.ledger, timed), area(plan.ledger)
    sources = [*plan.mapped.profile.sources]
    sources += sorted({node.layer.source for node in network.nodes if node.layer.source})
    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {
        "accuracy": (("die",), counts.correct / plan.labels.size, {"long_name": "share of samples right"}),
        "spikes": (("die", "layer"), counts.spikes, {"long_name": "spikes over all samples and steps"}),
        "events": (("die", "place", "event"), counts.events, {"long_name": "events over all samples and steps"}),
        "conversions": (("die", "array"), counts.conversions, {"long_name": "currents converted"}),
        "saturated": (("die", "array"), counts.saturated, {"long_name": "conversions out of the converter's range"}),
    }
    if plan.calibration is not None:
        variables["accuracy_after"] = (("die", "step"), counts.stages / plan.labels.size,
                                       {"long_name": "share of samples right after each step of calibration"})
    if plan.keep_predictions:
        variables["prediction"] = (("die", "sample"), counts.prediction, {"long_name": "class given"})
        variables["label"] = (("sample",), plan.labels, {"long_name": "right class"})
    if plan.keep_events:
        variables["sample_events"] = (("die", "sample", "place", "event"), counts.sample_events,
                                      {"long_name": "events of each sample"})
    if priced is not None:
        variables["price"] = (("event", "bound"), priced.per_event, {"units": "J"})
        variables["static"] = (("bound",), priced.static, {"units": "W"})
    coordinates = {"die": np.array(plan.numbers, np.int64), "layer": np.array(list(layers), object),
                   **({"step": np.array(["none", *plan.calibration.steps], object)} if plan.calibration else {}),
                   "array": np.array([array.name for array in plan.mapped.weights], object),
                   "place": np.array(plan.ledger.places, object), "event": np.array(EVENTS, object),
                   "bound": np.array(BOUNDS, object),
                   "neurons": (("layer",), np.array(list(layers.values()), np.int64))}
    profile, learnt = plan.mapped.profile, network.ranges
    if profile.adc is None and (profile.dac is None or profile.dac.bits is None):
        ranges = ""
    elif not learnt.arrays:
        ranges = "found from the data"
    else:
        fits = learnt.layout == layout(profile)
        ranges = "learnt in training" if fits else f"found from the data: those learnt are of {learnt.layout}"
    attributes = {
        **({"ranges": ranges} if ranges else {}),
        **({} if timed is None else {"latency": timed.latency, "throughput": timed.throughput}),
        **({} if covered is None else {"area": covered}),
        "title": "neurosim run", "profile": plan.mapped.profile.name, "family": plan.mapped.profile.family,
        "profile_json": plan.mapped.profile.model_dump_json(exclude_none=True), "network": repr(network),
        "mapping": str(plan.mapped), "manifest": json.dumps(plan.manifest, sort_keys=True), "seed": str(plan.dies.seed),
        "samples": plan.labels.size, "steps": plan.steps, "dt": network.dt,
        "time": "" if plan.dies.time is None else plan.dies.time, "classes": int(np.prod(network.output_shape)),
        "ideal_accuracy": float(nominal.correct[0] / plan.labels.size),
        "metrics": json.dumps(needs.as_dict()), "versions": versions(),
        "ideal_spikes": json.dumps(nominal.spikes[0].tolist()), "sources": json.dumps(sources),
        "provenance": json.dumps(dict(network.provenance), sort_keys=True, default=str),
        **{key: value if isinstance(value, (int, float, str)) else json.dumps(value, default=str)
           for key, value in about.items() if value is not None},
    }
    return Run(xr.Dataset(variables, coordinates, attributes))


def versions() -> str:
    """What results were computed with, as JSON."""
    return json.dumps({"neurosim": __version__, "python": platform.python_version(),
                       **{name: version(name) for name in ("numpy", "numba", "scipy", "xarray")}})


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read a run that `deploy` or `Run.save` wrote."""
    told = ("manifest", "profile_json", "metrics", "sources")  # as JSON
    said = ("ideal_accuracy", "profile", "seed", "samples", "steps", "dt", "network", "mapping")
    return Run(read_results(path, "run", "deploy", ("accuracy", "spikes", "events"), (*told, *said),
                            (*told, "versions")))


def already_there(path: Path, plan: Plan) -> Run | None:
    """The finished run at `path` if it is this one; None where there is nothing yet."""
    if not path.parent.is_dir():
        raise NeurosimError(f"the folder {path.parent} does not exist", where=str(path), hint="make it first")
    if path.is_dir():
        raise NeurosimError("this is a folder", where=str(path), allowed="the name of a file")
    if not path.exists():
        return None
    run = load_run(path)
    manifest = json.loads(run.dataset.attrs["manifest"])
    numbers = {"dies": run.dataset["die"].values.tolist()}
    wanted = {**plan.manifest, "dies": list(plan.numbers)}
    if {**manifest, **numbers} != wanted:
        raise NeurosimError(f"holds another run ({differences({**manifest, **numbers}, wanted)})", where=str(path),
                            hint="choose another output, or remove it")
    return run
