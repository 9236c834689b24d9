"""The page is self-contained, says what was run, and is the same each time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
import report_cases as cases

import neurosim as ns
from neurosim.report import load


@pytest.fixture(scope="module")
def runs():
    return list(cases.runs())


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_one_page_with_everything_in_it(tmp_path, runs):
    path = ns.write_report(cases.everything(), tmp_path / "report.html", title="two & two")
    text = path.read_text()
    page = Page()
    page.feed(text)
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object")]
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}], "one script, in the page"
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert any(link.startswith("#") for link in links)
    assert all(link.startswith(("#", "data:")) for link in links)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers)), "figures do not share identifiers"
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(identifiers)
    figures = [attrs["id"] for tag, attrs in page.tags if tag == "figure"]
    assert figures == ["accuracy", "yield", "parts", "raster", "traces", "tiles", "time-1", "mismatch-2", "energy",
                       "pareto-3", "attack", "landscape", "spikes"]
    assert sum(tag == "svg" for tag, _ in page.tags) == len(figures)
    words = " ".join(page.words)
    for run in runs:
        assert f"{run.accuracy.values.mean():.1%}" in words
        assert f"{run.yield_at(run.default_threshold):.1%}" in words
        manifest = json.loads(run.dataset.attrs["manifest"])
        assert manifest["mapping"] in words
        assert manifest["data"] in words
    assert "a & b" in words, "the command"
    assert "numba" in words, "versions"
    assert cases.die().sentences()[0] in words
    assert cases.search("crossbar.levels=4,8,16").choice(0.95 * runs[1].ideal_accuracy) in words
    assert "<b>standard</b>, mismatch" in words, "names are escaped"
    assert "Le Gallo" in words
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("results", "figures"), [
    ([cases.ATTACK], ["attack"]), ([cases.LANDSCAPE], ["landscape"]), ("mismatch", ["accuracy", "yield", "spikes"]),
    ("die", ["parts", "raster", "traces", "tiles"]), ("search", ["pareto"])])
def test_sections_are_there_where_their_results_are(tmp_path, runs, results, figures):
    given = {"mismatch": [runs[0]], "die": [cases.die()], "search": [cases.search("crossbar.levels=4,8,16")]}.get(
        results if isinstance(results, str) else "", results)
    text = ns.write_report(given, tmp_path / "r.html").read_text()
    assert re.findall(r'<figure id="([^"]*)"', text) == figures


def test_results_are_told_apart_by_what_is_in_their_files(tmp_path, runs):
    runs[0].save(tmp_path / "run.nc")
    cases.die().save(tmp_path / "die.nc")
    cases.search("crossbar.levels=4,8,16").save(tmp_path / "search.nc")
    (tmp_path / "attack.json").write_text(json.dumps(cases.ATTACK))
    assert [type(load(tmp_path / name)).__name__ for name in ("run.nc", "die.nc", "search.nc", "attack.json")] == [
        "Run", "Examination", "Pareto", "dict"]


def test_the_same_runs_give_the_same_bytes(tmp_path, runs):
    first = ns.write_report(runs, tmp_path / "a.html").read_bytes()
    assert ns.write_report(runs, tmp_path / "b.html").read_bytes() == first


def test_files_and_names(tmp_path, runs):
    runs[0].save(tmp_path / "one.nc")
    text = ns.write_report([tmp_path / "one.nc", runs[0]], tmp_path / "r.html").read_text()
    assert "mismatch (2)" in text
    assert "mine" in ns.write_report({"mine": runs[1]}, tmp_path / "r.html").read_text()


def test_what_cannot_be_reported(tmp_path, runs):
    for bad, said in (([], "no results"), ([tmp_path / "none.nc"], "no such file")):
        with pytest.raises(ns.NeurosimError, match=said):
            ns.write_report(bad, tmp_path / "r.html")
    points = [cases.ATTACK["points"][0], {**cases.ATTACK["points"][1], "attacked": None}]
    for bad, said in (({**cases.ATTACK, "points": [{"size": 0.1}]}, "without attacked at point 1, corner_mean at"),
                      ({**cases.ATTACK, "points": points}, "'attack' without attacked at point 2"),
                      ({key: v for key, v in cases.LANDSCAPE.items() if key != "size"}, "'landscape' without size")):
        with pytest.raises(ns.NeurosimError, match=said):
            ns.write_report([bad], tmp_path / "r.html")
    with pytest.raises(ns.NeurosimError, match="there is no folder"):
        ns.write_report(runs, tmp_path / "no" / "r.html")
    assert not list(tmp_path.iterdir())
