"""The examples run, and show what they say."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def main_of(name: str) -> Callable:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.slow
def test_snntorch_to_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = main_of("snntorch_to_dies")(epochs=3, dies=10)
    assert all(run.ideal_accuracy > 0.7 for run in runs)
    assert (tmp_path / "snntorch-to-dies.html").exists()


@pytest.mark.slow
def test_rnn_on_pcm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = main_of("rnn_on_pcm")(epochs=15, dies=20)
    assert (tmp_path / "rnn-on-pcm.html").exists()
    means = [run.accuracy.mean().item() for run in runs.values()]
    assert runs["as programmed"].ideal_accuracy > 0.9
    assert means[0] > 0.85
    assert means == sorted(means, reverse=True), "drift without compensation: the older, the worse"
    assert means[-1] < means[0] - 0.1


@pytest.mark.slow
def test_robust_loss_in_your_loop() -> None:
    runs = main_of("robust_loss_in_your_loop")(epochs=6, dies=20)
    assert all(run.ideal_accuracy > 0.85 for run in runs.values())
    assert float(runs[0.5].accuracy.mean()) != float(runs[0.0].accuracy.mean())


@pytest.mark.slow
def test_train_on_chip() -> None:
    runs = main_of("train_on_chip")(epochs=6, dies=20)
    assert float(runs["on the chip"].accuracy.mean()) > float(runs["alone"].accuracy.mean())
