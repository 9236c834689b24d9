"""The command line, called as a person calls it."""

from __future__ import annotations

import sys

import pytest

from neurosim.cli import main


@pytest.fixture
def call(monkeypatch, capsys):
    """Run `neurosim ...`; gives exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurosim", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        found = capsys.readouterr()
        return end.value.code, found.out, found.err

    return run
