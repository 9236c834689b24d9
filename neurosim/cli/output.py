"""How commands read values and print results: text for people, or with --json one object on stdout."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from neurosim.errors import NeurosimError
from neurosim.writing import written_beside

JSON = typer.Option(False, "--json", help="Print one JSON object on stdout, and nothing else there.")


def print_json(found: Mapping[str, object]) -> None:
    """One object, floats and all, that any JSON reader takes."""
    typer.echo(json.dumps(found, default=str, allow_nan=False))


def write_json(found: Mapping[str, object], path: Path) -> None:
    """The same as a file, beside and renamed."""
    with written_beside(path) as temporary:
        temporary.write_text(json.dumps(found, default=str, allow_nan=False, indent=1))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None,
                numbers_from: int | None = None) -> None:
    """A table on stdout; columns from `numbers_from` on are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        right = numbers_from is not None and i >= numbers_from
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)


def key_values(pairs: Sequence[str], option: str) -> dict[str, object]:
    """`["a.b=1", "c=x"]` as a mapping; numbers, true and false are read as such.

    >>> key_values(["crossbar.levels=16", "coding=latency"], "--set")
    {'crossbar.levels': 16, 'coding': 'latency'}
    """
    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise NeurosimError(f"{pair!r} has no value", where=option, allowed="KEY=VALUE")
        try:
            found[key] = json.loads(text)
        except json.JSONDecodeError:
            found[key] = text
    return found


_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.25 * 86400.0}


def seconds(text: str, where: str = "--time") -> float:
    """A time such as `1h` in seconds; units s (also without one), min, h, d and y (365.25 days).

    >>> seconds("1h"), seconds("0.5 d"), seconds("3e4")
    (3600.0, 43200.0, 30000.0)
    """
    number = text.strip()
    unit = next((unit for unit in ("min", "s", "h", "d", "y") if number.endswith(unit)), "")
    try:
        return float(number[:len(number) - len(unit)]) * _UNITS[unit]
    except ValueError:
        raise NeurosimError(f"{text!r} is no time", where=where, allowed="a number with s, min, h, d, y or nothing",
                            hint="such as 90s, 20min, 1h, 30d, 1y") from None


def command_line() -> str:
    """The command as it was typed, without the place of the program."""
    return shlex.join(["neurosim", *sys.argv[1:]])
