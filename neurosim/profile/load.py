"""Find, read and check profile files; every fault of a file is told at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import util
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.profile.schema import Profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@cache
def _folder() -> Path:
    """Where the shipped profiles lie: installed as neurosim.hardware_profiles, or beside the package in a checkout."""
    spec = util.find_spec("neurosim.hardware_profiles")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).resolve().parents[2] / "hardware_profiles"


def profile_names() -> list[str]:
    """Names of the shipped profiles, sorted.

    >>> {"pcm_joshi", "reram_neurram"} <= set(profile_names())
    True
    """
    return sorted(path.stem for path in _folder().glob("*.toml"))


def profile_path(name: str | os.PathLike[str]) -> Path:
    """The file of a shipped profile by name, or a path as it is given."""
    text = os.fspath(name)
    if text in profile_names():
        return _folder() / f"{text}.toml"
    if Path(text).suffix == ".toml" or os.sep in text:
        return Path(text)
    raise NeurosimError(f"no profile is called {text!r}", where="profile",
                        hint=f"{did_you_mean(text, profile_names())}; or give a path to a .toml file")


def load_profile(name: str | os.PathLike[str]) -> Profile:
    """A chip type, by the name of a shipped profile or the path of a TOML file.

    A file with `base = "NAME"` (or a path, from its own folder) is that chip type with what else stands in it: tables
    are merged key by key; numbers with their source, and tables that choose a `model`, `kind` or `file`, are exchanged
    whole.

    Raises
    ------
    NeurosimError
        The file is not there, is not TOML, or holds faults: all of them are listed, each with its key, the
        value found and what was expected.

    >>> load_profile("pcm_hermes").crossbar.g_max.value
    1.035e-05
    """
    return _load(profile_path(name), ())


def refuse_name(found: object, where: str) -> None:
    """Raise where something, the name of a profile perhaps, stands in the place of a profile."""
    if not isinstance(found, Profile):
        raise NeurosimError(f"profile is {found!r}", where=where, allowed="a Profile",
                            hint="load it: neurosim.load_profile(name or path)")


def _load(path: Path, above: tuple[Path, ...]) -> Profile:
    if path in above:
        raise NeurosimError(f"base goes round in a circle: {' -> '.join(p.name for p in (*above, path))}",
                            where=str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NeurosimError("there is no such profile file", where=str(path),
                            hint=f"shipped profiles: {', '.join(profile_names())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NeurosimError(f"the profile cannot be read ({error})", where=str(path)) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NeurosimError(f"not TOML: {error}", where=str(path)) from None
    if "base" in data:
        data = _upon(_load(_base(data.pop("base"), path), (*above, path)), data)
    return parse_profile(data, str(path), path.parent)


def _base(name: object, path: Path) -> Path:
    """The file that `base` names, seen from a profile."""
    if not isinstance(name, str):
        raise NeurosimError(f"base is {name!r}", where=str(path), allowed="the name of a profile, or a path")
    found = profile_path(name)
    return found if name in profile_names() else path.parent / found


def _upon(base: Profile, data: Mapping[str, object]) -> dict[str, object]:
    """The tables of a file on those of its base, whose name and description it does not take over."""
    under = base.model_dump(exclude_none=True, exclude_defaults=True, exclude={"name", "description", "sources"})
    own = data.get("sources", [])
    sources = dict.fromkeys([*own, *base.sources]) if isinstance(own, list) else own
    return {**_merged(under, data), "sources": list(sources) if isinstance(sources, dict) else sources}


def _merged(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        whole = both and not {"value", "nominal", "source", "model", "kind", "file"}.isdisjoint(value)
        found[key] = _merged(below, value) if both and not whole else value
    return found


def check_profile(path: str | os.PathLike[str]) -> list[str]:
    """The faults of a profile file, one sentence each; empty where there are none."""
    try:
        load_profile(path)
    except NeurosimError as error:
        return str(error).splitlines()
    return []


def parse_profile(data: Mapping[str, object], where: str, folder: Path = Path()) -> Profile:
    """A profile from the tables of its file; `where` stands before each fault, `folder` holds the files it names."""
    try:
        return Profile.model_validate(dict(data), context={"folder": folder})
    except ValidationError as error:
        faults = [_sentence(detail, data) for detail in error.errors()]
    head = f"{len(faults)} faults in this profile" if len(faults) > 1 else "one fault in this profile"
    raise NeurosimError("\n  ".join([head, *faults]), where=where) from None


def _sentence(detail: ErrorDetails, data: Mapping[str, object]) -> str:
    path = _in_file(detail["loc"], data)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"{key}: is missing"
    found = f"found {_short(detail['input'])}"
    if kind == "extra_forbidden":
        return f"{key}: this key is not known; {found}; {did_you_mean(str(path[-1]), _known(path[:-1]))}"
    if kind == "expected":
        return f"{key}: {found}; expected {context['expected']}"
    if kind == "literal_error":
        return f"{key}: {found}; expected {context['expected']}"
    bounds = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least")}
    if kind in bounds:
        name, word = bounds[kind]
        return f"{key}: {found}; expected {word} {context[name]:g}"
    return f"{key}: {found}; {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _in_file(loc: tuple[int | str, ...], data: object) -> list[int | str]:
    """The part of an error's place that the file has: a bare number has no `value` key."""
    path: list[int | str] = []
    for part in loc:
        path.append(part)
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        if not isinstance(data, (dict, list)):
            break
    return path


def _known(path: list[int | str]) -> list[str]:
    """Keys that the table at `path` may have."""
    from typing import get_args

    from pydantic import BaseModel

    def models(annotation: object) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for inner in get_args(annotation) for model in models(inner)]

    model: type[BaseModel] = Profile
    for part in path:
        if isinstance(part, str):
            model = next(iter(models(model.model_fields[part].annotation)))
    return list(model.model_fields)


def _short(found: object) -> str:
    if hasattr(found, "value"):
        found = found.value
    if isinstance(found, dict) and "value" in found:
        found = found["value"]
    text = repr(found)
    return text if len(text) <= 60 else text[:57] + "..."
