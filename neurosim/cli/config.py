"""Options from a TOML file, with those of the command line on top."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from neurosim.errors import NeurosimError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def merged(path: Path | None, given: Mapping[str, object]) -> dict[str, object]:
    """What the file says and the command line says, which wins, key by key in tables; without what neither says.

    Parameters
    ----------
    path:
        A TOML file with the keys of `given`, or None.
    given:
        Options: None for what was not given, a mapping for a table.

    Raises
    ------
    NeurosimError
        There is no such file, it is no TOML, or it has a key or a table that is none of the options.
    """
    said = _read(path) if path is not None else {}
    for key, value in said.items():
        if key not in given:
            raise NeurosimError(f"there is no option {key!r}", where=str(path), allowed=", ".join(given),
                                hint=did_you_mean(key, list(given)))
        if isinstance(value, Mapping) != isinstance(given[key], Mapping):
            raise NeurosimError(f"{key} is {value!r}", where=str(path),
                                allowed=f"a table [{key}]" if isinstance(given[key], Mapping) else "a value, no table")
    found: dict[str, object] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            found[key] = {**said.get(key, {}), **value}
        elif value is not None or key in said:
            found[key] = said[key] if value is None else value
    return found


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeurosimError("there is no such file", where=str(path)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NeurosimError(f"cannot be read as TOML: {error}", where=str(path)) from None
