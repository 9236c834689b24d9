"""`neurosim deploy`: a model on many dies of a chip type."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from neurosim.cli.chip import chip_of
from neurosim.cli.output import JSON, command_line, key_values, print_json, seconds
from neurosim.errors import NeurosimError

if TYPE_CHECKING:
    from neurosim.deployment import Run
    from neurosim.network import Network


def deploy(
    model: Path = typer.Argument(help="A model file that `neurosim train` or Network.save wrote."),
    profile: str = typer.Option(..., help="Chip type: a name, or a .toml file."),
    out: Path = typer.Option(..., "--out", "-o", help="The run file to write (netCDF); goes on if interrupted."),
    dies: int = typer.Option(100, help="How many dies."),
    seed: int = typer.Option(0, help="The production lot; die k of a seed is always the same die."),
    mismatch: float = typer.Option(None, help="Every weight and bias times N(1, MISMATCH^2), as published."),
    change: list[str] = typer.Option([], "--set", help="KEY=VALUE of the profile, such as crossbar.levels=16."),
    level: str = typer.Option(None, help="neuron or circuit; default: what the model's layers are of."),
    time: str = typer.Option(None, help="After programming, for chips that drift: 3600, 90s, 20min, 1h, 30d, 1y."),
    calibrate: list[str] = typer.Option([], help="Steps after programming, in order: gdc, gdc_column, adc, scale, "
                                                 "batchnorm, remap; several with commas, or one each time."),
    adc_bits: int = typer.Option(None, help="Bits of the converters: the profile's adc.bits."),
    dac_bits: int = typer.Option(None, help="Bits of inputs that are no spikes: the profile's dac.bits."),
    wires: str = typer.Option(None, help="none, column, full or nonlinear: the profile's wires.level."),
    programming: int = typer.Option(0, help="Which programming of the dies: other write noise on the same devices."),
    inputs: Path = typer.Option(None, help=r"An .npz file with inputs \[time, sample, ...] and labels \[sample]; "
                                           "default: the test samples of the model's task."),
    threshold: float = typer.Option(None, help="Accuracy for the yield; default: 95 % of the network's own."),
    keep_predictions: bool = typer.Option(False, help="Also store the class that each die gives each sample."),
    keep_events: bool = typer.Option(False, help="Also store the events of each sample, and so its energy."),
    precision: str = typer.Option("float32", help="float32 or float64."),
    threads: int = typer.Option(None, help="Default: all cores."),
    as_json: bool = JSON,
) -> None:
    """Run a model on many dies of a chip type and store what they did."""
    from neurosim.deployment import deploy as run_dies
    from neurosim.mapping import map_network
    from neurosim.network import Network

    network = Network.load(model)
    chip = chip_of(profile, key_values(change, "--set"), {"adc_bits": adc_bits, "dac_bits": dac_bits, "wires": wires},
                   mismatch)
    if threshold is not None and not 0 <= threshold <= 1:
        raise NeurosimError(f"threshold is {threshold:g}", where="--threshold", allowed="an accuracy from 0 to 1")
    mapped = map_network(network, chip, level)
    if mismatch is not None and mapped.configuration is not None:
        raise NeurosimError("a chip of circuits has no spread of whole weights", where="--mismatch",
                            hint="change its currents' with --set circuit.mismatch.area=0.25, or single ones")
    samples, labels, about = samples_of(network, inputs)
    found = run_dies(mapped, samples, labels, dies, seed, out=out, time=None if time is None else seconds(time),
                     programming=programming, calibrate=[step for text in calibrate for step in text.split(",")],
                     keep_predictions=keep_predictions, keep_events=keep_events, threads=threads, precision=precision,
                     about={**about, "recipe": network.provenance.get("recipe"), "model": model.name,
                            "command": command_line()})
    if as_json:
        print_json({"run": str(out), "model": str(model), **as_dict(found, threshold)})
    else:
        typer.echo(str(mapped))
        typer.echo(found.described(threshold))
        typer.echo(f"stored in {out}; see it with: neurosim report {out} --out report.html")


def as_dict(run: Run, threshold: float | None = None) -> dict[str, object]:
    """A run's numbers for --json."""
    return {
        "profile": run.dataset.attrs["profile"], "dies": int(run.accuracy.size), "seed": int(run.dataset.attrs["seed"]),
        "samples": int(run.dataset.attrs["samples"]), "ideal_accuracy": run.ideal_accuracy, "worst_die": run.worst_die,
        "threshold": run.default_threshold if threshold is None else threshold, "latency": run.latency,
        "throughput": run.throughput, "area": run.area, "energy": _energy(run), "efficiency": _efficiency(run),
        "metrics": run.metrics.as_dict(),
        **({} if run.calibration is None else {"calibration": dict(zip(
            run.calibration["step"].values.tolist(), run.calibration.mean("die").values.tolist(), strict=True))}),
        "summary": {statistic.name.split(" at ")[0]: {"value": statistic.value, "low": statistic.low,
                                                      "high": statistic.high, "confidence": statistic.confidence}
                    for statistic in run.summary(threshold)},
    }


def _energy(run: Run) -> dict[str, object] | None:
    """Joules per sample, mean over dies, or None where the chip type has no prices."""
    if "price" not in run.dataset:
        return None
    mean = run.energy.mean("die")
    total, parts = mean.sum(["place", "component"]), mean.sel(bound="nominal")
    return {"unit": "J per sample", **{str(bound): float(total.sel(bound=bound)) for bound in mean["bound"].values},
            "by_component": {str(c): float(parts.sel(component=c).sum()) for c in mean["component"].values},
            "by_place": {str(place): float(parts.sel(place=place).sum()) for place in mean["place"].values},
            "unpriced": list(run.unpriced)}


def _efficiency(run: Run) -> dict[str, object] | None:
    """The figures of `Run.efficiency`, mean over dies, with their units; None where the chip type has no prices."""
    if "price" not in run.dataset:
        return None
    found = {}
    for name, mean in run.efficiency.mean("die", keep_attrs=True).items():
        bounds = mean["bound"].values if "bound" in mean.dims else ()
        values = {str(bound): _number(mean.sel(bound=bound)) for bound in bounds} or {"value": _number(mean)}
        found[str(name)] = {"unit": mean.attrs.get("units", ""), **values}
    return found


def _number(value: object) -> float | None:
    return float(value) if np.isfinite(value) else None


def samples_of(network: Network, path: Path | None) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    """Inputs, labels and what they are: from an .npz file, or the test samples of the model's task."""
    if path is not None:
        return *_from_file(path), {"task": path.name}
    provenance = network.provenance
    if "task" not in provenance:
        raise NeurosimError("the model does not say which task it was trained on", where="samples",
                            hint="give the samples with --inputs FILE.npz")
    from neurosim.tasks import load_task

    task = load_task(provenance["task"], **provenance.get("task_settings", {}))
    if provenance.get("task_hash") not in (None, task.hash):
        raise NeurosimError(f"the data of task {task.name} are not those that the model was trained with (SHA-256 "
                            f"{task.hash[:12]} here, {provenance['task_hash'][:12]} then)", where="samples",
                            hint="give the samples with --inputs FILE.npz")
    return task.test.inputs, task.test.labels, {"task": task.name, "data_source": task.citation}


def _from_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile) or not {"inputs", "labels"} <= set(found.files):
            raise NeurosimError("has no arrays `inputs` and `labels`", where=str(path),
                                hint="write it with numpy.savez(path, inputs=..., labels=...)")
        with found as file:
            return file["inputs"], file["labels"]
    except FileNotFoundError:
        raise NeurosimError("there is no such file", where=str(path)) from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise NeurosimError(f"not an .npz file of arrays ({error})", where=str(path)) from None
