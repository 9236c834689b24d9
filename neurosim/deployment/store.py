"""Chunks of a run on disk: written beside and renamed, read again on resume, removed when the run is whole."""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

from neurosim.deployment.execute import Counts
from neurosim.deployment.plan import Plan, differences
from neurosim.errors import NeurosimError
from neurosim.writing import made_folder, written_beside

_log = logging.getLogger(__name__)


def parts_folder(out: Path) -> Path:
    """Where the chunks of a run lie until it is whole."""
    return out.with_name(out.name + ".parts")


def resume(out: Path, plan: Plan) -> dict[int, Counts]:
    """The dies that an earlier, interrupted run of the same plan has done; refuses what belongs to another run."""
    folder = parts_folder(out)
    if not folder.exists():
        return {}
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        if not isinstance(manifest, dict):
            raise ValueError
    except (OSError, ValueError):  # no file, no text, no JSON, or of something else
        raise NeurosimError("this folder is in the way: it is not an interrupted run", where=str(folder),
                            hint="remove it or choose another output") from None
    if manifest != plan.manifest:
        raise NeurosimError(f"an interrupted run of something else lies here ({differences(manifest, plan.manifest)})",
                            where=str(folder), hint="finish that run, remove the folder, or choose another output")
    done: dict[int, Counts] = {}
    for path in sorted(folder.glob("dies-*.npz")):
        try:
            done.update(_read(path))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            _log.warning("%s cannot be read; its dies are run again", path)
    return done


def begin(out: Path, plan: Plan) -> None:
    """Make the folder for the chunks and say in it which run they belong to."""
    folder = made_folder(parts_folder(out))
    with written_beside(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps(plan.manifest, sort_keys=True, indent=1))


def write_chunk(out: Path, done: dict[int, Counts]) -> None:
    """Store some dies as one chunk."""
    numbers = sorted(done)
    path = parts_folder(out) / f"dies-{numbers[0]}-{numbers[-1]}-{len(numbers)}.npz"
    with written_beside(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, dies=np.array(numbers), **vars(joined(done, numbers)))


def finish(out: Path) -> None:
    """Remove the chunks of a run that is whole."""
    shutil.rmtree(parts_folder(out))


def joined(done: dict[int, Counts], numbers: list[int]) -> Counts:
    """The counts of several dies in one, in the order of `numbers`."""
    rows = [done[number] for number in numbers]
    return Counts(**{part.name: np.concatenate([getattr(row, part.name) for row in rows]) for part in fields(Counts)})


def _read(path: Path) -> Iterator[tuple[int, Counts]]:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    numbers = arrays.pop("dies")
    return iter([(int(number), Counts(**{name: value[i:i + 1] for name, value in arrays.items()}))
                 for i, number in enumerate(numbers)])
