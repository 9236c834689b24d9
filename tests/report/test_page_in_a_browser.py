"""The page in Chromium: nothing is fetched, nothing is complained of, everything has its size, the button copies."""

from __future__ import annotations

import pytest
import report_cases as cases
from chromium import browser

import neurosim as ns

pytestmark = pytest.mark.slow

SIZES = """[...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect(), drawn = svg.getBBox();
  return [box.left, box.right, box.width, box.height, drawn.width, drawn.height];
})"""
#: the luminance, 0 to 1, of the page, of the ink of titles, and of the words in figures that do not lie on a colour
LIGHT = """(() => {
  const of = (one, what) => {
    const [r, g, b] = getComputedStyle(one)[what].match(/[\\d.]+/g).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
  };
  const paper = of(document.body, "backgroundColor");
  const words = [...document.querySelectorAll("figure text")].map(word => of(word, "fill")).filter(x => x != paper);
  return [paper, of(document.querySelector("h1"), "color"), Math.min(...words), Math.max(...words)];
})()"""


def test_the_page(tmp_path):
    page = ns.write_report(cases.everything(), tmp_path / "report.html")
    with browser() as seen:
        for width in (1100, 390, 320):
            for scheme in ("light", "dark"):
                seen.open(page, width, scheme)
                where = (width, scheme)
                assert seen.complaints() == [], where
                assert seen.requests() == [], where
                assert seen.value("document.documentElement.scrollWidth") <= width, where
                sizes = seen.value(SIZES)
                assert len(sizes) == 13, where
                for left, right, *lengths in sizes:
                    assert left >= 0, where
                    assert right <= width, where
                    assert min(lengths) > 80, where
                paper, ink, darkest, lightest = seen.value(LIGHT)
                if scheme == "light":
                    assert paper > 0.95 > 0.3 > ink, where
                    assert lightest < 0.65, where
                else:
                    assert paper < 0.15 < 0.8 < ink, where
                    assert darkest > 0.4, where
                smallest = seen.value("""Math.min(...[...document.querySelectorAll("figure text")].map(text =>
                    parseFloat(getComputedStyle(text).fontSize)
                    * Math.hypot(text.getScreenCTM().c, text.getScreenCTM().d)))""")
                assert smallest > (8 if width >= 390 else 6.5), where


def test_it_prints_light_and_copies_its_tables(tmp_path):
    page = ns.write_report(cases.everything(), tmp_path / "report.html")
    with browser() as seen:
        seen.open(page, 794, "dark", "print")
        paper, ink, *_ = seen.value(LIGHT)
        assert paper > 0.95 > 0.3 > ink
        assert seen.value('getComputedStyle(document.querySelector("button")).display') == "none"
        seen.value('dispatchEvent(new Event("beforeprint"))')
        assert seen.value('[...document.querySelectorAll("details")].every(one => one.open)')
        seen.open(page)
        seen.value("document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
        seen.value("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
        seen.value('document.querySelector("button.copy").click()')
        by_clipboard = seen.value("window.copied")
        seen.value("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
        seen.value('window.copied = "", document.querySelector("button.copy").click(), new Promise(r => setTimeout(r))')
        assert seen.value("window.copied") == by_clipboard
        assert seen.complaints() == []
    first, second, *_ = by_clipboard.split("\n")
    assert first.split("\t")[:4] == ["run", "dies", "itself", "mean"]
    assert len(second.split("\t")) == 8
    run = cases.runs()[0]
    assert f"{run.accuracy.values.mean():.1%}" in second


def test_what_is_wrong_is_seen(tmp_path):
    """The checks themselves, on a page that fails them."""
    page = tmp_path / "bad.html"
    page.write_text('<body style="width:900px">x<script src="http://127.0.0.1:9/x.js"></script>'
                    '<script>console.log("said"); nowhere()</script>')
    with browser() as seen:
        seen.open(page, 390)
        assert [url for url in seen.requests() if url == "http://127.0.0.1:9/x.js"]
        assert any("said" in one for one in seen.complaints())
        assert any("nowhere" in one for one in seen.complaints())
        assert seen.value("document.documentElement.scrollWidth") > 390
