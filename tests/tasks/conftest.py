"""What the tests of tasks share: a cache of their own, and the published files where they are to be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

STARTED_WITH = os.environ.get("NEUROSIM_DATA")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NEUROSIM_DATA", raising=False)


@pytest.fixture
def published_data() -> Callable[[str], Path | None]:
    """The folder that holds published files of a pattern: NEUROSIM_DATA as the tests were started, or a sibling of the
    checkout; None where nobody has them."""
    candidates = [Path(p) for p in (STARTED_WITH, ROOT.parent / "shared" / "data") if p]
    return lambda pattern: next((p for p in candidates if any(p.glob(pattern))), None)
