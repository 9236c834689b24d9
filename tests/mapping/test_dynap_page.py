"""The page on DYNAP chips says what happens."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_page_shows_what_the_code_does():
    page = Path(__file__).resolve().parents[2] / "docs" / "dynap.md"
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 10
    assert found.failed == 0
