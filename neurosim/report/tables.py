"""Tables of the page, and its headline numbers: HTML from results."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from neurosim.deployment import Examination, Pareto, Run
from neurosim.deployment.sweep import label
from neurosim.report.plots import joules

Runs = Mapping[str, Run]


def cell(value: str, below: str = "") -> str:
    """The inside of a cell: a value, and what belongs to it in small letters."""
    return html.escape(value) + (f"<small>{html.escape(below)}</small>" if below else "")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = ()) -> str:
    """A table with a button that copies it; cells are HTML, `text` the columns of words."""
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td{' class=text' if i in text else ''}>{one}</td>" for i, one in enumerate(row))
                   + "</tr>" for row in rows)
    return (f"<div class=copyable><div class=scroll tabindex=0><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div><button class=copy type=button>Copy table</button></div>")


def numbers(runs: Runs, threshold: float | None) -> str:
    """The headline: the best run in large numbers, and how far the others are from it."""
    limits = {name: run.default_threshold if threshold is None else threshold for name, run in runs.items()}
    shares = {name: run.yield_at(limits[name]) for name, run in runs.items()}
    name = max(runs, key=lambda name: (shares[name], float(runs[name].accuracy.mean())))
    last, run, limit = min(runs, key=shares.__getitem__), runs[name], limits[name]
    mean, least = float(run.accuracy.mean()), float(run.accuracy.min())
    shown = [("mean accuracy", f"{mean:.1%}", f"the network itself {run.ideal_accuracy:.1%}"),
             ("worst die", f"{least:.1%}", f"die {run.worst_die} of {run.accuracy.size}"),
             ("yield", f"{shares[name]:.1%}", f"of dies reach {limit:.1%}")]
    if "price" in run.dataset:
        low, nominal, high = run.energy.mean("die").sum(["place", "component"]).values
        shown.append(("energy of a sample", joules(nominal), f"{joules(low)} to {joules(high)}"))
    if run.latency is not None:
        shown.append(("latency of a sample", f"{1e3 * run.latency:.3g} ms", ""))
    boxes = "".join(f"<div><dt>{html.escape(what)}</dt><dd>{cell(value, below)}</dd></div>"
                    for what, value, below in shown)
    said = ""
    if len(runs) > 1:
        said = (f"<p>These are the numbers of <b>{html.escape(name)}</b>, the best of {len(runs)} runs by yield. The "
                f"last, {html.escape(last)}, has a yield of {shares[last]:.1%} and a worst die of "
                f"{float(runs[last].accuracy.min()):.1%}.</p>")
    return f"<dl class=numbers>{boxes}</dl>{said}"


def accuracies(runs: Runs, threshold: float | None) -> str:
    """Statistics over dies, each with its interval."""
    rows = []
    for name, run in runs.items():
        limit = run.default_threshold if threshold is None else threshold
        rows.append((cell(name, f"yield at {limit:.1%}; worst die {run.worst_die}"), str(run.accuracy.size),
                     f"{run.ideal_accuracy:.1%}",
                     *(cell(f"{s.value:.1%}", f"{100 * s.low:.1f} to {100 * s.high:.1f}")
                       for s in run.summary(threshold))))
    return table(("run", "dies", "itself", "mean", "sd", "worst", "5th percentile", "yield"), rows)


def events(runs: Runs) -> str:
    """What happened where, per sample."""
    rows = []
    for name, run in runs.items():
        data, samples = run.dataset, run.dataset.attrs["samples"]
        mean = data["events"].mean("die") / samples
        for place in data["place"].values:
            matches, driven = (float(mean.sel(place=place, event=event)) for event in ("matches", "rows"))
            if matches or driven:
                rows.append((cell(name), cell(str(place)), f"{matches:,.0f}", f"{driven:,.0f}"))
    return table(("run", "array", "synaptic events per sample", "rows driven per sample"), rows)


def energies(runs: Runs) -> str:
    """Joules of a sample, by component."""
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
        missing = f"not priced: {', '.join(run.unpriced)}" if run.unpriced else ""
        rows.append((cell(name, missing), cell(joules(nominal), f"{joules(low)} to {joules(high)}"), joules(spread),
                     "" if run.latency is None else f"{1e3 * run.latency:.3g} ms", cell(shares)))
    return table(("run", "energy of a sample", "sd over dies", "latency", "shares"), rows, text=[4])


def parts(die: Examination) -> str:
    """The parts of a die that cost it most."""
    data, gain, control = die.dataset, die.gain, die.control
    rows = [(cell(str(data["name"].values[i])), f"{int(data['devices'][i]):,}", str(int(data["repaired"][i])),
             str(int(data["spoiled"][i])), f"{100 * gain[i]:+.1f}", f"{100 * control[i]:+.1f}")
            for i in (-gain).argsort(kind="stable")[:12]]
    return table(("part as meant", "devices", "samples put right", "put wrong", "points gained",
                  "on the die in the middle"), rows)


def settings(found: Pareto, threshold: float) -> str:
    """Every setting of a search, the front marked."""
    data, front = found.dataset, found.front if found.has_front else []
    rows = []
    for point, setting in enumerate(found.settings):
        accuracy, (low, high) = data["accuracy"].values[point], found.intervals()[point]
        energy = "not priced"
        if "energy" in data:
            energy = joules(float(data["energy"][point].mean("die").sel(bound="nominal")))
        rows.append((cell(label(setting), f"front, {front.index(point) + 1}" if point in front else ""),
                     cell(f"{accuracy.mean():.1%}", f"{100 * low:.1f} to {100 * high:.1f}"), f"{accuracy.min():.1%}",
                     f"{(accuracy >= threshold).mean():.1%}", energy))
    return table(("setting", "mean accuracy", "worst die", f"yield at {threshold:.1%}", "energy of a sample"), rows)
