"""The page is self-contained, says what was run, and is the same each time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

import neurosim as ns
from neurosim.report import plot_accuracy, plot_spikes, plot_yield


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(0)
    net = ns.Network.sequential({"in": ns.Linear(rng.normal(size=(20, 6))), "h": ns.LIF(0.9),
                                 "out": ns.Linear(rng.normal(size=(3, 20))), "last": ns.LIF(0.9)}, (6,), dt=1e-3)
    inputs = (rng.random((30, 12, 6)) < 0.2).astype(np.float32)
    labels = rng.integers(0, 3, 12)
    return [ns.deploy(ns.map_network(net, ns.load_profile(name)), inputs, labels, dies=15, seed=4,
                      about={"recipe": "<b>standard</b>", "command": "a & b"}) for name in ("mismatch", "pcm_hermes")]


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
    path = ns.write_report(runs, tmp_path / "report.html", title="two & two")
    text = path.read_text()
    page = Page()
    page.feed(text)
    fetched = [attrs for tag, attrs in page.tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not fetched
    links = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert links
    assert all(link.startswith("#") for link in links)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers)), "plots do not share identifiers"
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(identifiers)
    assert sum(tag == "svg" for tag, _ in page.tags) == 4
    words = " ".join(page.words)
    for run in runs:
        assert f"{run.accuracy.values.mean():.2%}" in words
        assert f"{run.yield_at(run.default_threshold):.2%}" in words
    assert "<b>standard</b>, mismatch" in words, "names are escaped"
    assert "Le Gallo" in words
    assert "30 steps" not in words
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_the_same_runs_give_the_same_bytes(tmp_path, runs):
    first = ns.write_report(runs, tmp_path / "a.html").read_bytes()
    assert ns.write_report(runs, tmp_path / "b.html").read_bytes() == first


def test_files_and_names(tmp_path, runs):
    runs[0].save(tmp_path / "one.nc")
    text = ns.write_report([tmp_path / "one.nc", runs[0]], tmp_path / "r.html").read_text()
    assert "mismatch (2)" in text
    assert "mine" in ns.write_report({"mine": runs[1]}, tmp_path / "r.html").read_text()


def test_what_cannot_be_reported(tmp_path, runs):
    for bad, said in (([], "no runs"), ([tmp_path / "none.nc"], "no such file")):
        with pytest.raises(ns.NeurosimError, match=said):
            ns.write_report(bad, tmp_path / "r.html")
    with pytest.raises(ns.NeurosimError, match="there is no folder"):
        ns.write_report(runs, tmp_path / "no" / "r.html")
    assert not list(tmp_path.iterdir())


def test_plots_show_the_numbers(runs):
    named = {"a": runs[0], "b": runs[1]}
    axes = Figure().subplots()
    dots = plot_accuracy(named, axes).collections
    np.testing.assert_allclose(np.sort(dots[0].get_offsets()[:, 1]), np.sort(100 * runs[0].accuracy.values))
    curve = plot_yield(named, Figure().subplots()).lines[0]
    for x, y in zip(curve.get_xdata()[1:], curve.get_ydata()[1:]):
        first = np.flatnonzero(curve.get_xdata()[1:] == x)[0]
        if y == curve.get_ydata()[1:][first]:
            assert y == pytest.approx(100 * runs[0].yield_at(x / 100 - 1e-12))
    bars = plot_spikes(named, Figure().subplots()).patches
    data = runs[0].dataset
    expected = 100 * data["spikes"].mean("die").values / (data["neurons"].values * 12 * 30)
    np.testing.assert_allclose([bar.get_height() for bar in bars[:2]], expected)
