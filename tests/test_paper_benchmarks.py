"""The commands behind docs/paper.md: statistics by hand, a cell on a small budget, choices, and the page."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.paper import cells, page, published
from benchmarks.paper.cells import Cell, choice, result_of, right_in_torch
from benchmarks.paper.protocol import EXPERIMENTS, LEVELS, METHODS, experiment
from benchmarks.paper.table1 import statistics
from neurosim.errors import NeurosimError
from neurosim.tasks import Split, Task
from neurosim.training import RECIPES, make_recipe


@pytest.fixture
def small(monkeypatch, tmp_path) -> Cell:
    """A cell of the ECG experiment with few random beats in the place of the real ones, and its results elsewhere."""
    draw = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % 4
        return Split(draw.normal(labels[:, None], 0.1, (100, count, 2)), labels)

    task = Task("ecg", split(40), split(20), split(12), ("N", "L", "R", "V"), 1 / 180, "none")
    monkeypatch.setattr(cells, "task_of", lambda name: task)
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    small = replace(experiment("ecg"), size={"units": 8})
    return Cell(small, "forward_noise", "forward_noise", {"eta": 0.2}, seed=0, epochs=2, dies=3)


def test_cell_is_computed_once_and_the_same_again(small, tmp_path):
    first = result_of(small, tmp_path / "a")
    stored = json.loads(small.file.read_text())
    assert stored == first
    assert [len(first["right"][str(level)]) for level in LEVELS] == [1, 3, 3, 3, 3, 3]
    assert all(0 <= right <= 12 for of in first["right"].values() for right in of)
    assert not list((tmp_path / "a").glob("*.checkpoint"))
    small.file.unlink()
    assert result_of(small, tmp_path / "b") == first
    assert result_of(small, tmp_path / "never") == first  # from the file: no work folder is made
    assert not (tmp_path / "never").exists()


def test_cell_of_other_settings_is_not_taken_for_this_one(small, tmp_path):
    result_of(small, tmp_path)
    other = replace(small, settings={"eta": 0.9})
    assert other.file == small.file
    assert result_of(other, tmp_path)["asked"]["settings"] == {"eta": 0.9}


def test_dies_of_the_torch_path_scale_with_the_level(small, tmp_path):
    trained, task = cells.trained_for(small, tmp_path)
    inputs, labels = task.test.inputs, task.test.labels
    assert right_in_torch(trained.model, inputs, labels, 0.0, 2) == [
        round(12 * float((trained.model(cells.torch.tensor(inputs))[0].sum(0).argmax(1).numpy() == labels).mean()))] * 2
    assert right_in_torch(trained.model, inputs, labels, 0.5, 2)[0] == right_in_torch(
        trained.model, inputs, labels, 0.5, 1)[0]


def test_statistics_are_those_of_a_hand_calculation():
    results = [{"samples": 10, "right": {str(level): right for level in LEVELS}} for right in ([8, 10], [9, 9], [6, 6])]
    found = statistics(results)["0.3"]
    assert (found["mean"], found["min"]) == pytest.approx((80, 60))
    assert found["sd"] == pytest.approx(np.std([80, 100, 90, 90, 60, 60], ddof=1))
    half = 4.302652729911275 * np.std([90, 90, 60], ddof=1) / 3**0.5  # t of 97.5 % with 2 degrees of freedom
    assert (found["low"], found["high"]) == pytest.approx((80 - half, 80 + half))


def test_methods_are_recipes_and_know_their_settings():
    for name, method in METHODS.items():
        assert 1 <= len(method.candidates) <= 4
        for of in {entry.task for entry in EXPERIMENTS.values()}:
            for settings in method.settings(of):
                make_recipe(method.recipe, **settings)
        assert (len(method.candidates) == 1) == (name.endswith("_published") or name in ("standard", "robust_strong"))
    assert {method.recipe for method in METHODS.values()} == set(RECIPES)


def test_published_cells_have_every_level_and_fall_with_it():
    for table in published.TABLE_1.values():
        for cells_of in table.values():
            assert len(cells_of) == len(LEVELS)
            means = [mean for mean, _, _ in cells_of]
            assert all(a > b - 0.2 for a, b in itertools.pairwise(means))
            assert all(least <= mean for mean, _, least in cells_of)


def test_choice_asks_for_a_sweep_and_takes_what_the_nearest_one_chose(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    candidates = [{"rho": 1}, {"rho": 2}, {"rho": 3}]
    assert choice(experiment("ecg"), "standard", [{}], 8) == {}
    with pytest.raises(NeurosimError, match=r"benchmarks\.paper\.sweep ecg"):
        choice(experiment("ecg"), "sam", candidates, 8)
    (tmp_path / "sweep").mkdir()
    scores = {"sam": [{"settings": candidate} for candidate in candidates]}
    for epochs, samples, best in ((8, None, 2), (8, 500, 1), (40, None, 3)):
        budget = {"epochs": epochs} | ({"train_samples": samples} if samples else {})
        (tmp_path / "sweep" / f"ecg-{cells.budget_of(budget)}.json").write_text(json.dumps(
            {"budget": budget, "scores": scores, "chosen": {"sam": {"rho": best}}}))
    for of in ("ecg", "ecg_patient"):
        for epochs, samples, best in ((1, 0, 1), (8, 600, 1), (8, 0, 2), (39, 7, 2), (40, 0, 3), (200, 0, 3)):
            assert choice(experiment(of), "sam", candidates, epochs, samples) == {"rho": best}
    with pytest.raises(NeurosimError, match="nobody has chosen"):
        choice(experiment("ecg"), "sam", candidates[:2], 8)  # among others


def test_page_shows_the_results_beside_what_was_published(small, tmp_path):
    result_of(small, tmp_path)
    text = page.text(tmp_path / "results")
    assert "## ecg, 2 epochs" in text
    assert "| forward_noise | eta=0.2 | 1 |" in text
    assert "Not run yet at this budget: standard, dropout, awp, amp, adversarial, hybrid, " in text
    assert "Not run yet: ecg_patient, speech, fmnist, fmnist_batch.\n" in text
    small = replace(small, method="forward_noise_published")
    result_of(small, tmp_path)
    assert "*98.59 +- 0.52, 95.30*" in page.text(tmp_path / "results")


def test_page_sets_robust_beside_its_best_rival(tmp_path):
    def result(method: str, seed: int, right: list[int]) -> dict[str, object]:
        return {"asked": {"method": method, "seed": seed}, "samples": 10,
                "right": {str(level): right for level in LEVELS}}

    results = {"standard": [result("standard", seed, right) for seed, right in enumerate(([9, 5], [8, 6], [8, 6]))],
               "sam": [result("sam", 0, [6, 7])],
               "robust": [result("robust", seed, right) for seed, right in enumerate(([8, 8], [8, 8], [9, 8], [3, 3]))]}
    lines = list(page.rivals(results))
    apart = [10.0, 10.0, 15.0]  # of the seeds that both have
    half = 4.302652729911275 * np.std(apart, ddof=1) / 3**0.5
    difference = f"{np.mean(apart):+.2f} [{np.mean(apart) - half:+.2f}, {np.mean(apart) + half:+.2f}]"
    assert lines[6].startswith(f"| 0.3 | 68.75 | standard | 70.00 | {difference} | 30.00 | sam |")
    assert list(page.rivals({"robust": results["robust"]})) == []


def test_samples_are_spread_over_a_split_and_never_counted_twice():
    split = Split(np.arange(20.0).reshape(1, 10, 2), np.arange(10))
    inputs, labels = cells.part(split, 4)
    assert labels.tolist() == [0, 2, 5, 7]
    assert inputs[0, :, 0].tolist() == [0, 4, 10, 14]
    assert all(cells.part(split, count)[1].tolist() == list(range(10)) for count in (0, 10))
    for wrong in (-1, 11):
        with pytest.raises(NeurosimError, match=r"samples asked for .allowed: 1 to 10, or all: 0"):
            cells.part(split, wrong)


def test_committed_page_is_that_of_the_committed_results():
    assert page.PAGE.read_text() == page.text()
