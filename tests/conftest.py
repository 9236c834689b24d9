"""What holds for every test: no window, the same examples each time, quick tests before slow ones; the command line."""

import os
import sys
from collections.abc import Callable

import pytest
from hypothesis import settings

# Before anything imports matplotlib, and for the processes that tests start, too.
os.environ["MPLBACKEND"] = "Agg"

# The same examples on every machine. No deadline: the first call of a kernel compiles it.
settings.register_profile("neurosim", derandomize=True, deadline=None, database=None)
settings.load_profile("neurosim")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked slow come last; each group keeps its order."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `neurosim ...`; gives exit code, stdout, stderr."""
    from neurosim.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurosim", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        found = capsys.readouterr()
        return end.value.code, found.out, found.err

    return run
