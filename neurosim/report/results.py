"""What a report is of: runs, searches, attacks, landscapes and examined dies, told apart by what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path

import h5py

from neurosim.deployment import Examination, Pareto, Run, load_examination, load_pareto, load_run
from neurosim.errors import NeurosimError

Found = Mapping[str, object]
#: what is shown of a result in a JSON file
_FIELDS = {"attack": ("unit", "accuracy", "points"), "landscape": ("unit", "size", "steps", "losses")}
_POINT = ("size", "attacked", "corner_mean", "corner_least", "gaussian_mean", "gaussian_least")
Result = str | os.PathLike[str] | Run | Pareto | Examination | Found


@dataclass(frozen=True, eq=False)
class Results:
    """Every result by the name to be shown: runs, searches over settings, dies, what attacks and landscapes found."""

    runs: dict[str, Run] = field(default_factory=dict)
    searches: dict[str, Pareto] = field(default_factory=dict)
    dies: dict[str, Examination] = field(default_factory=dict)
    attacks: dict[str, Found] = field(default_factory=dict)
    landscapes: dict[str, Found] = field(default_factory=dict)


def gather(results: Sequence[Result] | Mapping[str, Result]) -> Results:
    """Sort results by what they are, and name them.

    Parameters
    ----------
    results:
        Files of `neurosim deploy`, `pareto`, `examine`, `attack` and `landscape`, or what their functions return; of
        the last two the dictionary in the file. A mapping gives the names.

    Raises
    ------
    NeurosimError
        No result, or a file of something else.
    """
    if not results:
        raise NeurosimError("no results to report", where="report", allowed="one or more")
    found = Results()
    named = results.items() if isinstance(results, Mapping) else ((None, one) for one in results)
    for name, given in named:
        one = load(given) if isinstance(given, (str, os.PathLike)) else given
        if isinstance(one, Run):
            _add(found.runs, name or _said(one.dataset.attrs), one)
        elif isinstance(one, Pareto):
            _add(found.searches, name or _said({**one.dataset.attrs, "recipe": _stem(one.dataset.attrs)}), one)
        elif isinstance(one, Examination):
            _add(found.dies, name or _said(one.dataset.attrs), one)
        else:
            kinds = {"attack": found.attacks, "landscape": found.landscapes}
            if one.get("kind") not in kinds:
                raise NeurosimError(f"a result of kind {one.get('kind')!r}", where="report", allowed=", ".join(kinds))
            if missing := _missing(one):
                raise NeurosimError(f"a result of kind {one['kind']!r} without {', '.join(missing)}",
                                    where="report" if isinstance(given, Mapping) else str(given))
            _add(kinds[str(one["kind"])], name or ", ".join(filter(None, (_stem(one), one.get("profile")))), one)
    return found


def _missing(found: Found) -> list[str]:
    """What a result of a JSON file lacks to be shown."""
    missing = [key for key in _FIELDS[str(found["kind"])] if key not in found]
    if not missing and found["kind"] == "attack":
        points = [point if isinstance(point, Mapping) else {} for point in found["points"]]
        missing = [f"{key} at point {i}" for i, point in enumerate(points, start=1) for key in _POINT
                   if not isinstance(point.get(key), Real)]
    return missing


def _said(attrs: Mapping[object, object]) -> str:
    return ", ".join(str(part) for part in (attrs.get("recipe"), attrs["profile"]) if part)


def _stem(attrs: Mapping[object, object]) -> str:
    return Path(str(attrs.get("model", ""))).stem


def _add(into: dict[str, object], base: str, one: object) -> None:
    name, count = base, 1
    while name in into:
        count += 1
        name = f"{base} ({count})"
    into[name] = one


def load(path: str | os.PathLike[str]) -> Run | Pareto | Examination | Found:
    """A result from its file."""
    path = Path(path)
    if not path.is_file():
        raise NeurosimError("there is no such file", where=str(path),
                            hint="a result is what `neurosim deploy`, pareto, examine, attack and landscape write")
    if not h5py.is_hdf5(path):
        return _json(path)
    try:
        with h5py.File(path) as file:
            names = set(file)
            is_search = "keys" in file.attrs
    except OSError as error:
        raise NeurosimError("the file is damaged", where=str(path), hint="write it again") from error
    return load_examination(path) if "repaired" in names else load_pareto(path) if is_search else load_run(path)


def _json(path: Path) -> Found:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("kind") not in _FIELDS:
        raise NeurosimError("not a netCDF or HDF5 file, and not what `neurosim attack` and landscape write",
                            where=str(path), hint="a run is what `neurosim deploy` writes")
    return found
