"""One self-contained HTML page about one or several runs: plots inline, nothing fetched."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurosim import __version__
from neurosim.deployment import Run, load_run
from neurosim.errors import NeurosimError
from neurosim.report.figures import svg, write_figures
from neurosim.writing import written_beside

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.6rem;margin-bottom:0}h2{margin-top:2.2rem;font-size:1.2rem}p.lead{color:#555;margin-top:.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}td small{color:#666;display:block}
.scroll{overflow-x:auto}figure{margin:1rem 0}figure svg{max-width:100%;height:auto}
pre{background:#f5f5f5;padding:.8rem;overflow-x:auto;font-size:.85rem}
"""


def write_report(runs: Sequence[str | os.PathLike[str] | Run] | Mapping[str, Run], path: str | os.PathLike[str],
                 title: str = "neurosim report", threshold: float | None = None,
                 figures: str | os.PathLike[str] | None = None) -> Path:
    """Write one HTML file about runs; nothing in it comes from the network.

    Parameters
    ----------
    runs:
        Files that `deploy` wrote, or `Run` objects, or a mapping from the name to be shown to a `Run`.
    path:
        The HTML file; written beside and renamed.
    threshold:
        The accuracy at which the yield is given; default: 95 % of each run's ideal accuracy.
    figures:
        A folder for the plots as SVG and PNG files as well.

    Raises
    ------
    NeurosimError
        No run, a file that is not one, or a place that cannot be written.
    """
    named = dict(runs) if isinstance(runs, Mapping) else _named(runs)
    if not named:
        raise NeurosimError("no runs to report", where="report", allowed="one or more")
    with written_beside(path) as temporary:
        temporary.write_text(_page(named, title, threshold), encoding="utf-8")
    if figures is not None:
        write_figures(named, figures)
    return Path(path)


def _named(runs: Sequence[str | os.PathLike[str] | Run]) -> dict[str, Run]:
    named: dict[str, Run] = {}
    for entry in runs:
        run = entry if isinstance(entry, Run) else load_run(entry)
        attrs = run.dataset.attrs
        base = ", ".join(str(part) for part in (attrs.get("recipe"), attrs["profile"]) if part)
        name, count = base, 1
        while name in named:
            count += 1
            name = f"{base} ({count})"
        named[name] = run
    return named


def _page(runs: Mapping[str, Run], title: str, threshold: float | None) -> str:
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=lead>{sum(run.accuracy.size for run in runs.values())} virtual dies in {len(runs)} run(s); "
        f"neurosim {__version__}</p>",
        "<h2>Accuracy across dies</h2>", _svg("accuracy", runs), "<div class=scroll>",
        _table(runs, threshold), "</div>",
        "<p>Under each number: its 95 % bootstrap interval over dies. It says how far these dies stand for all dies of "
        "the type, on these test samples.</p>",
        "<h2>Yield</h2>", _svg("yield", runs),
        *(["<h2>Spikes</h2>", _svg("spikes", runs)] if any(run.dataset["layer"].size for run in runs.values())
          else ["<h2>Events</h2>"]), "<div class=scroll>", _events(runs), "</div>",
        *(["<h2>Energy</h2>", _svg("energy", runs), "<div class=scroll>", _energy(runs), "</div>",
           "<p>Joules per sample, mean over dies: events counted on each die times the coefficients of its profile. "
           "The range is that of the coefficients, low to high, not of the dies. Compare chip types only where their "
           "profiles price the same events.</p>"] if any("price" in run.dataset for run in runs.values()) else []),
        "<h2>What was run</h2>", *(_what(name, run) for name, run in runs.items()),
        "<h2>Sources</h2><ul>",
        *(f"<li>{html.escape(text)}</li>"
          for text in dict.fromkeys(source for run in runs.values() for source in run.citation())),
        "</ul>",
    ]
    return (f"<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport "
            f"content='width=device-width,initial-scale=1'><title>{html.escape(title)}</title>"
            f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n")


def _svg(name: str, runs: Mapping[str, Run]) -> str:
    """A plot as an SVG element; its identifiers carry its name so that several fit on one page."""
    text = svg(name, runs)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text[text.index("<svg"):])
    return f"<figure>{text}</figure>"


def _table(runs: Mapping[str, Run], threshold: float | None) -> str:
    rows = []
    for name, run in runs.items():
        statistics = run.summary(threshold)
        cells = "".join(f"<td>{s.value:.2%}<small>{s.low:.2%} to {s.high:.2%}</small></td>" for s in statistics)
        limit = run.default_threshold if threshold is None else threshold
        rows.append(f"<tr><td>{html.escape(name)}<small>yield at {limit:.1%}; worst die {run.worst_die}</small></td>"
                    f"<td>{run.accuracy.size}</td><td>{run.ideal_accuracy:.2%}</td>{cells}</tr>")
    head = "".join(f"<th>{text}</th>" for text in
                   ("run", "dies", "network itself", "mean", "sd", "min", "5th percentile", "yield"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _events(runs: Mapping[str, Run]) -> str:
    rows = []
    for name, run in runs.items():
        data, samples = run.dataset, run.dataset.attrs["samples"]
        mean = data["events"].mean("die") / samples
        for place in data["place"].values:
            matches, driven = (float(mean.sel(place=place, event=event)) for event in ("matches", "rows"))
            if matches or driven:
                rows.append(f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(place))}</td>"
                            f"<td>{matches:,.0f}</td><td>{driven:,.0f}</td></tr>")
    head = "<th>run</th><th>array</th><th>synaptic events per sample</th><th>rows driven per sample</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _energy(runs: Mapping[str, Run]) -> str:
    rows = []
    for name, run in runs.items():
        if "price" not in run.dataset:
            continue
        mean = run.energy.mean("die")
        low, nominal, high = mean.sum(["place", "component"]).values
        parts = mean.sel(bound="nominal").sum("place")
        shares = ", ".join(f"{component} {float(parts.sel(component=component)) / nominal:.0%}"
                           for component in parts["component"].values if float(parts.sel(component=component)) > 0)
        spread = float(run.energy.sel(bound="nominal").sum(["place", "component"]).std("die"))
        missing = f"<small>not priced: {', '.join(run.unpriced)}</small>" if run.unpriced else ""
        rows.append(f"<tr><td>{html.escape(name)}{missing}</td><td>{nominal:.3g}<small>{low:.3g} to {high:.3g}</small>"
                    f"</td><td>{spread:.2g}</td><td>{'' if run.latency is None else f'{run.latency:.3g}'}</td>"
                    f"<td>{shares}</td></tr>")
    head = "<th>run</th><th>J per sample</th><th>sd over dies</th><th>latency (s)</th><th>shares</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _what(name: str, run: Run) -> str:
    attrs = run.dataset.attrs
    keys = ("task", "recipe", "profile", "seed", "samples", "steps", "dt", "time", "command")
    facts = {key: attrs[key] for key in keys if attrs.get(key) not in (None, "")}
    facts["hashes"] = {k: str(v)[:12] for k, v in json.loads(attrs["manifest"]).items() if k in ("mapping", "data")}
    lines = "\n".join(f"{key:8} {value}" for key, value in facts.items())
    return (f"<h3>{html.escape(name)}</h3><pre>{html.escape(lines)}</pre>"
            f"<pre>{html.escape(attrs['network'])}\n\n{html.escape(attrs['mapping'])}</pre>")
