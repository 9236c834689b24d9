"""Fashion-MNIST: IDX files, codings, split; on files made here, and on the published ones where they are."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from neurosim.errors import NeurosimError
from neurosim.tasks import digits, fetch_task, files, fmnist, load_task, task_info


def idx(array: np.ndarray) -> bytes:
    """An IDX file, written by its description."""
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
                         + array.astype(np.uint8).tobytes())


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28)), np.arange(count) % 10


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """70 training and 20 test images in the place of the published files; 10 of them for validation."""
    arrays = dict(zip(("train_images", "train_labels"), images(70, 1), strict=True)) | dict(
        zip(("test_images", "test_labels"), images(20, 2), strict=True))
    folder = tmp_path / "data" / fmnist.FOLDER
    folder.mkdir(parents=True)
    made = {}
    for what, file in fmnist.FILES.items():
        content = idx(arrays[what])
        (folder / file.name).write_bytes(content)
        made[what] = files.PublishedFile(file.folder, file.name, f"http://127.0.0.1:1/{file.name}", len(content),
                                         hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fmnist, "FILES", made)
    monkeypatch.setattr(fmnist, "_VALIDATION", 10)
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "data"))
    return arrays


def test_images_are_standardised_and_split_in_proportion(small):
    task = load_task("fmnist")
    assert task.train.inputs.shape == (1, 60, 1, 28, 28)
    assert [len(split) for split in task.splits.values()] == [60, 10, 20]
    assert task.channels == 784
    for split in task.splits.values():
        assert np.ptp(np.bincount(split.labels)) == 0
    np.testing.assert_allclose(task.test.inputs[0, :, 0], (small["test_images"] / 255 - 0.28604) / 0.35302, atol=1e-6)
    found = np.concatenate([task.train.inputs[0], task.validation.inputs[0]]).reshape(70, -1)
    expected = (small["train_images"].reshape(70, -1) / 255 - 0.28604) / 0.35302
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    assert load_task("fmnist").hash == task.hash
    assert task_info("fmnist").where == str(fetch_task("fmnist"))


def test_spikes_flat_and_fewer_samples(small):
    task = load_task("fmnist", coding="latency", steps=5, flat=True, samples=20)
    assert task.train.inputs.shape == (5, 20, 784)
    assert np.bincount(task.train.labels).tolist() == [2] * 10
    expected = digits.latency(small["test_images"].reshape(20, -1) / np.float32(255), 5)
    np.testing.assert_array_equal(task.test.inputs, expected)
    assert task.settings == {"coding": "latency", "steps": 5, "flat": True, "samples": 20}
    steady = load_task("fmnist", steps=3).test.inputs
    assert (steady == steady[:1]).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"coding": "phase"}, "allowed: standard, current, rate, latency"),
    ({"coding": "rate"}, "coding rate: steps is 1 .allowed: a whole number from 2 up"),
    ({"steps": 0}, "from 1 up"),
    ({"flat": "no"}, "flat is 'no' .allowed: true, false"),
    ({"samples": 60}, "10 to 59"),
    ({"samples": 5}, "10 to 59"),
])
def test_options_that_do_not_fit_are_refused(small, options, message):
    with pytest.raises(NeurosimError, match=message):
        load_task("fmnist", **options)


def test_idx_files_that_are_damaged_are_named(tmp_path):
    whole = gzip.decompress(idx(np.arange(12).reshape(3, 4)))
    good = tmp_path / "good.gz"
    good.write_bytes(gzip.compress(whole))
    np.testing.assert_array_equal(fmnist.read_idx(good), np.arange(12).reshape(3, 4))
    for name, content in (("short", gzip.compress(whole[:-1])), ("long", gzip.compress(whole + b"\0")),
                          ("floats", gzip.compress(b"\0\0\x0d" + whole[3:])), ("head", gzip.compress(whole[:3])),
                          ("none", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(NeurosimError, match=name):
            fmnist.read_idx(path)
    path.write_bytes(good.read_bytes()[:-9])
    with pytest.raises(NeurosimError, match="cannot be read"):
        fmnist.read_idx(path)


def test_a_file_is_fetched_anew_only_where_our_own_copy_is_damaged(small, tmp_path, monkeypatch):
    folder = tmp_path / "data" / fmnist.FOLDER
    changed = folder / fmnist.FILES["test_labels"].name
    whole = changed.read_bytes()
    changed.write_bytes(whole[:-1])
    with pytest.raises(NeurosimError, match=r"t10k-labels.*SHA-256"):
        load_task("fmnist")
    assert changed.read_bytes() == whole[:-1]  # not ours
    changed.write_bytes(whole)
    monkeypatch.delenv("NEUROSIM_DATA")
    kept = files.cache_folder() / fmnist.FOLDER
    kept.parent.mkdir()
    folder.rename(kept)
    assert load_task("fmnist").settings["samples"] is None
    (kept / changed.name).write_bytes(b"rot")
    with pytest.raises(NeurosimError, match="download failed"):
        load_task("fmnist")
    assert not (kept / changed.name).exists()
    assert len(list(kept.iterdir())) == 3


@pytest.mark.slow
def test_the_published_images(small, published_data, monkeypatch):
    """Where they are to be had: their mean and spread are what is written down; else those of a known image."""
    data = published_data("fashion-mnist/train-images-idx3-ubyte.gz")
    path = fmnist.fetch() / fmnist.FILES["train_images"].name
    mean, spread = small["train_images"].mean() / 255, small["train_images"].std() / 255
    if data is not None:
        path = data / fmnist.FOLDER / path.name
        mean, spread = fmnist.MEAN, fmnist.SPREAD
    pixels = fmnist.read_idx(path)
    counts = np.bincount(pixels.reshape(-1), minlength=256) / pixels.size
    levels = np.arange(256) / 255
    found = counts @ levels
    assert found == pytest.approx(mean, abs=5e-6)
    assert np.sqrt(counts @ levels**2 - found**2) == pytest.approx(spread, abs=5e-6)
