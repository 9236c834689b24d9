"""One self-contained HTML page: figures inline, nothing fetched, a section for whatever the results can fill."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neurosim import __version__
from neurosim.deployment import Pareto
from neurosim.errors import NeurosimError
from neurosim.report import tables
from neurosim.report.contents import Shown, contents
from neurosim.report.look import SCRIPT, STYLE
from neurosim.report.results import Result, Results, gather
from neurosim.report.style import as_svg, save_figure
from neurosim.writing import made_folder, written_beside

_KEYS = ("task", "recipe", "model", "profile", "seed", "samples", "steps", "dt", "time", "die", "sample", "command")


def write_report(results: Sequence[Result] | Mapping[str, Result], path: str | os.PathLike[str],
                 title: str = "neurosim report", threshold: float | None = None,
                 figures: str | os.PathLike[str] | None = None) -> Path:
    """Write one HTML file about results; nothing in it comes from the network.

    Parameters
    ----------
    results:
        Files that `neurosim deploy`, `pareto`, `examine`, `attack` and `landscape` wrote, or what their functions
        return, or a mapping from the names to be shown to them. The page has the sections that they can fill.
    path:
        The HTML file; written beside and renamed.
    threshold:
        The accuracy at which the yield is given; default: 95 % of each run's ideal accuracy.
    figures:
        A folder for the figures as SVG and PNG files as well.

    Raises
    ------
    NeurosimError
        No result, a file that is none, a threshold that is no accuracy, or a place that cannot be written.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise NeurosimError(f"threshold is {threshold:g}", where="report", allowed="an accuracy from 0 to 1")
    found = gather(results)
    shown = list(contents(found))
    drawn = {one.name: one.draw() for one in shown}
    blocks = {one.name: _figure(one, as_svg(drawn[one.name], one.name, html.escape(one.title))) for one in shown}
    with written_beside(path) as temporary:
        temporary.write_text(_page(found, shown, blocks, title, threshold), encoding="utf-8")
    if figures is not None:
        folder = made_folder(figures)
        for name, figure in drawn.items():
            for suffix in ("svg", "png"):
                save_figure(figure, folder / f"{name}.{suffix}")
    return Path(path)


def _figure(one: Shown, svg: str) -> str:
    return (f'<figure id="{one.name}">{svg}<figcaption><b>{html.escape(one.title)}</b>{html.escape(one.says)}'
            "</figcaption></figure>")


def _page(found: Results, shown: list[Shown], blocks: Mapping[str, str], title: str, threshold: float | None) -> str:
    def figures(section: str) -> str:
        return "\n".join(blocks[one.name] for one in shown if one.section == section)

    runs = found.runs
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if runs:
        dies = sum(run.accuracy.size for run in runs.values())
        parts += [f"<p class=lead>{dies} virtual dies in {len(runs)} run{'s' * (len(runs) > 1)}</p>",
                  tables.numbers(runs, threshold),
                  _section("Accuracy across dies", figures("accuracy"), tables.accuracies(runs, threshold),
                           "<p class=note>Below each number: its 95 % bootstrap interval over dies. It says how far "
                           "these dies stand for all dies of the type, on these test samples.</p>")]
    for number, die in enumerate(found.dies.values(), start=1):
        tail = "" if len(found.dies) == 1 else f"-{number}"
        parts.append(_section(f"Die {die.die}, and why", f"<p>{html.escape(' '.join(die.sentences()))}</p>",
                              figures(f"die{tail}"), tables.parts(die)))
    parts.append(_section("Time, mismatch, temperature", figures("conditions"), *(
        f"<h3>{html.escape(name)}</h3>{tables.settings(search, _wanted(search, threshold))}"
        for name, search in found.searches.items() if search.conditions and not search.has_front)))
    if any("price" in run.dataset for run in runs.values()):
        parts.append(_section("Energy", figures("energy"), tables.energies(runs)))
    for number, (name, search) in enumerate(found.searches.items(), start=1):
        if search.conditions and not search.has_front:
            continue
        wanted, tail = _wanted(search, threshold), "" if len(found.searches) == 1 else f"-{number}"
        parts.append(_section(f"Settings of {name}", blocks.get(f"pareto{tail}", ""),
                              f"<p>{html.escape(search.choice(wanted))}</p>" if search.has_front else "",
                              tables.settings(search, wanted)))
    parts.append(_section("Attacked, and around", figures("robustness")))
    if runs:
        parts.append(_section("Activity", figures("activity"), tables.events(runs)))
    parts.append(_section("What was run", *_what(found)))
    sources = dict.fromkeys(source for run in runs.values() for source in run.citation())
    if sources:
        parts.append(_section("Sources", f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in sources)}</ul>"))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
            f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>\n' + "\n".join(filter(None, parts))
            + f"\n<script>{SCRIPT}</script></body></html>\n")


def _section(title: str, *blocks: str) -> str:
    inside = "\n".join(block for block in blocks if block)
    return f"<section><h2>{html.escape(title)}</h2>{inside}</section>" if inside else ""


def _wanted(search: Pareto, threshold: float | None) -> float:
    """What a good die of a search reaches: the threshold, or 95 % of what the network itself does."""
    return 0.95 * float(search.dataset.attrs["ideal_accuracy"]) if threshold is None else threshold


def _what(found: Results) -> list[str]:
    """The exact command, versions and hashes of every result."""
    blocks = []
    for kind, results in (("run", found.runs), ("search", found.searches), ("die", found.dies),
                          ("attack", found.attacks), ("landscape", found.landscapes)):
        for name, one in results.items():
            attrs = dict(one) if isinstance(one, Mapping) else one.dataset.attrs
            facts = {key: attrs[key] for key in _KEYS
                     if isinstance(attrs.get(key), (str, int, float, np.generic)) and attrs[key] != ""}
            manifest = json.loads(attrs.get("manifest", "{}"))
            facts |= {"versions": ", ".join(f"{k} {v}" for k, v in json.loads(attrs.get("versions", "{}")).items())}
            facts |= {f"{k} hash": v for k, v in {**manifest, "network": attrs.get("network_hash")}.items()
                      if k in ("network", "profile", "mapping", "prices", "data") and v}
            width = max(len(key) for key in facts)
            lines = "\n".join(f"{key:{width}}  {value}" for key, value in facts.items() if value != "")
            blocks.append(f"<h3>{html.escape(f'{kind}: {name}')}</h3><pre>{html.escape(lines)}</pre>")
            if kind == "run":
                blocks.append("<details><summary>the network, and how it lies on the chip</summary><pre>"
                              f"{html.escape(attrs['network'])}\n\n{html.escape(attrs['mapping'])}</pre></details>")
    return [*blocks, f"<p class=note>Page written by neurosim {__version__}.</p>"]
