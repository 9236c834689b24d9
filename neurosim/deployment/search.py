"""Energy against accuracy and yield: the same dies at many settings, the front, and the cheapest setting that will do.

Die k is the same die at every setting, wherever the setting leaves its devices as they are: random numbers are keyed by
device, so differences between settings are paired and smaller than the spread over dies would have it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from neurosim.deployment.dispatch import deploy
from neurosim.deployment.files import read_results, write_results
from neurosim.deployment.guided import Guided, each_value, search
from neurosim.deployment.run import Run
from neurosim.deployment.sweep import THRESHOLD_SCALE, TIME, Setting, at_setting, is_condition, label
from neurosim.dies.memristors import refuse_time
from neurosim.energy import BOUNDS
from neurosim.errors import NeurosimError
from neurosim.network import Network
from neurosim.profile import Profile, refuse_name
from neurosim.writing import made_folder, refuse_place

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pareto:
    """Accuracy and energy of the same dies at several settings.

    dataset: `accuracy [point, die]`, `energy [point, die, bound]` in joules per sample (not there where the chip type
    prices nothing), `latency [point]` in seconds (NaN where the profile has none), and one variable `[point]`
    for each key that was varied, under its name.
    """

    dataset: xr.Dataset

    @property
    def settings(self) -> list[Setting]:
        keys = json.loads(self.dataset.attrs["keys"])
        return [{key: float(self.dataset[key].values[i]) for key in keys} for i in range(self.dataset.sizes["point"])]

    @property
    def conditions(self) -> list[str]:
        """The keys that say under which conditions a chip works (`sweep.is_condition`), with two values or more."""
        return [key for key in self.settings[0] if is_condition(key) and len({s[key] for s in self.settings}) > 1]

    @property
    def has_front(self) -> bool:
        """Whether there is something to choose: a chip type with prices, and a key that a designer sets."""
        return "energy" in self.dataset and not all(is_condition(key) for key in self.settings[0])

    @property
    def front(self) -> list[int]:
        """Points that no other beats in mean accuracy and mean energy both, by rising energy."""
        accuracy = self.dataset["accuracy"].mean("die").values
        energy = self._joules
        found, best = [], -np.inf
        for point in np.lexsort((-accuracy, energy)):
            if accuracy[point] > best:
                found.append(int(point))
                best = accuracy[point]
        return found

    def intervals(self, confidence: float = 0.95) -> np.ndarray:
        """Bootstrap interval over dies of each point's mean accuracy, `[point, 2]`; all points resampled alike."""
        accuracy = self.dataset["accuracy"].values
        if accuracy.shape[1] < 2:
            return np.repeat(accuracy, 2, axis=1)
        chosen = np.random.default_rng(0).integers(accuracy.shape[1], size=(2000, accuracy.shape[1]))
        means = np.stack([row[chosen].mean(axis=1) for row in accuracy])
        tail = (1 - confidence) / 2
        return np.quantile(means, [tail, 1 - tail], axis=1).T

    def cheapest(self, accuracy: float, share: float = 0.95) -> int | None:
        """The point of least mean energy at which `share` of the dies has at least `accuracy`; None where none has."""
        good = (self.dataset["accuracy"] >= accuracy).mean("die").values >= share
        energy = self._joules
        return int(np.where(good, energy, np.inf).argmin()) if good.any() else None

    @property
    def _joules(self) -> np.ndarray:
        if "energy" not in self.dataset:
            raise NeurosimError(f"the chip type {self.dataset.attrs['profile']} says nothing of energy", where="pareto",
                                hint="give its profile an [energy] section")
        return self.dataset["energy"].sel(bound="nominal").mean("die").values

    def choice(self, accuracy: float, share: float = 0.95) -> str:
        """The answer as a sentence."""
        point = self.cheapest(accuracy, share)
        wish = f"{share:.0%} of dies at or above {accuracy:.1%}"
        if point is None:
            best = (self.dataset["accuracy"] >= accuracy).mean("die").values
            return (f"No setting has {wish}: the best one ({label(self.settings[best.argmax()])}) has {best.max():.1%} "
                    "of them there.")
        data = self.dataset.isel(point=point)
        low, nominal, high = data["energy"].mean("die").values
        accuracies = data["accuracy"].values
        return (f"Cheapest setting with {wish}: {label(self.settings[point])}, {nominal:.3g} J per sample ({low:.3g} "
                f"to {high:.3g} by the coefficients), mean accuracy {accuracies.mean():.2%}, worst die "
                f"{accuracies.min():.2%}.")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as netCDF, beside and renamed."""
        write_results(self.dataset, path)


def pareto(network: Network, profile: Profile, settings: Sequence[Setting] | Guided, inputs: np.ndarray,
           labels: np.ndarray, dies: int = 200, seed: int = 0, *, out: str | os.PathLike[str] | None = None,
           time: float | None = None, threads: int | None = None, progress: bool | None = None,
           about: Mapping[str, str] | None = None) -> Pareto:
    """Run the same dies at every setting.

    Parameters
    ----------
    settings:
        From `sweep.settings`, or what `guided` makes: settings chosen by what was found so far. All settings, or all
        values, are mapped before the first is run, so that what cannot be is refused at once.
    time:
        Seconds after programming, where the settings do not say it.
    out:
        File to write (netCDF). The runs of the points lie in `OUT.points` beside it until all are done; an interrupted
        search goes on where it was: what it asks for again is read.
    about:
        More to be written into the results: model, command.

    Raises
    ------
    NeurosimError
        A setting that cannot be, and what `deploy` refuses.
    """
    refuse_name(profile, "pareto")
    if not settings:
        raise NeurosimError("no settings", where="pareto", allowed="one or more")
    known = each_value(settings) if isinstance(settings, Guided) else settings
    if isinstance(settings, Guided) and profile.energy is None:
        raise NeurosimError(f"the chip type {profile.name} says nothing of energy", where="pareto, optuna",
                            hint="give its profile an [energy] section, or take a grid")
    if time is not None and TIME in known[0]:
        raise NeurosimError(f"time is {time:g} s and varied", where="pareto", hint="say it once")
    conversion = profile.energy.conversion if profile.energy else None
    if "adc.bits" in known[0] and conversion and conversion.model == "fixed":
        _log.warning("a conversion of %s costs the same at all adc.bits: energy.conversion.model is \"fixed\"",
                     profile.name)
    mapped = {_name(setting): at_setting(network, profile, setting) for setting in known}
    for setting in known:
        refuse_time(mapped[_name(setting)].profile.crossbar, setting.get(TIME, time), f"setting {label(setting)}")
    folder = None
    if out is not None:
        out = Path(out)
        if out.exists():
            raise NeurosimError("is there already", where=str(out), hint="choose another output, or remove it")
        refuse_place(out)
        folder = made_folder(out.with_name(out.name + ".points"))
    runs: dict[str, tuple[Setting, Run]] = {}

    def evaluate(setting: Setting) -> Run:
        name = _name(setting)
        if name not in runs:
            one = mapped[name] if name in mapped else at_setting(network, profile, setting)
            runs[name] = setting, deploy(one, inputs, labels, dies, seed, time=setting.get(TIME, time),
                                         threads=threads, progress=progress, about={"setting": label(setting)},
                                         out=None if folder is None else folder / f"{name}.nc")
        return runs[name][1]

    if isinstance(settings, Guided):
        search(settings, lambda setting: _objectives(evaluate(setting)))
    else:
        for setting in settings:
            evaluate(setting)
    found = Pareto(_together([run for _, run in runs.values()], [setting for setting, _ in runs.values()], network,
                             profile, about or {}))
    if folder is not None:
        found.save(out)
        for name in runs:
            (folder / f"{name}.nc").unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    return found


def _objectives(run: Run) -> tuple[float, float]:
    return float(run.accuracy.mean()), float(run.energy.sel(bound="nominal").sum(["place", "component"]).mean())


def _name(setting: Setting) -> str:
    return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:16]


def _together(runs: Sequence[Run], settings: Sequence[Setting], network: Network, profile: Profile,
              about: Mapping[str, str]) -> xr.Dataset:
    keys = list(settings[0])
    priced = "price" in runs[0].dataset
    energy = [run.energy.sum(["place", "component"]).values for run in runs] if priced else []
    return xr.Dataset(
        {"accuracy": (("point", "die"), np.stack([run.accuracy.values for run in runs])),
         **({"energy": (("point", "die", "bound"), np.stack(energy), {"units": "J"})} if priced else {}),
         "latency": (("point",), np.array([np.nan if run.latency is None else run.latency for run in runs])),
         **{key: (("point",), np.array([setting[key] for setting in settings], np.float64)) for key in keys}},
        {"die": runs[0].dataset["die"].values, "bound": list(BOUNDS)},
        {"keys": json.dumps(keys), "profile": profile.name, "seed": runs[0].dataset.attrs["seed"],
         **{key: runs[0].dataset.attrs[key] for key in ("samples", "versions")},
         "ideal_accuracy": _ideal(runs, settings), **about,
         "manifest": json.dumps({"network": network.hash, "profile": profile.hash,
                                 "data": json.loads(runs[0].dataset.attrs["manifest"])["data"]})})


def _ideal(runs: Sequence[Run], settings: Sequence[Setting]) -> float:
    """Accuracy of the network itself: where its thresholds are scaled, the scale nearest to 1."""
    away = [abs(setting.get(THRESHOLD_SCALE, 1) - 1) for setting in settings]
    return runs[int(np.argmin(away))].ideal_accuracy


def load_pareto(path: str | os.PathLike[str]) -> Pareto:
    """Read what `Pareto.save` wrote."""
    return Pareto(read_results(path, "search", "pareto", ("accuracy",),
                               ("keys", "profile", "seed", "samples", "ideal_accuracy"),
                               ("keys", "manifest", "versions")))
