"""Tasks: codings and splits of the digits, beats of synthetic and of real ECG records, files and their checksums."""

from __future__ import annotations

import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from neurosim.errors import NeurosimError
from neurosim.tasks import Split, Task, digits, ecg, fetch_task, files, load_task, task_info, task_names

ROOT = Path(__file__).resolve().parents[2]


# Task and its splits


def split_of(samples: int, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.random((4, samples, 3)), np.arange(samples) % 2)


def small_task(**changes: object) -> Task:
    given = {"name": "small", "train": split_of(6), "validation": split_of(2, 1), "test": split_of(4, 2),
             "classes": ("a", "b"), "dt": 1e-3, "citation": "nobody"}
    return Task(**{**given, **changes})


def test_a_split_is_a_read_only_copy():
    inputs = np.zeros((4, 2, 3), np.float32)
    split = Split(inputs, np.array([0, 1]))
    inputs[:] = 1
    assert split.inputs.dtype == np.float32
    assert split.labels.dtype == np.int64
    assert not split.inputs.any()
    with pytest.raises(ValueError, match="read-only"):
        split.inputs[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1


@pytest.mark.parametrize(("inputs", "labels"), [
    (np.zeros((4, 2)), np.zeros(2, int)),
    (np.zeros((4, 2, 3)), np.zeros(4, int)),
    (np.zeros((4, 2, 3)), np.zeros(2)),
])
def test_a_split_refuses_arrays_that_do_not_fit(inputs, labels):
    with pytest.raises(NeurosimError, match=r"\[time, sample, \*shape\]"):
        Split(inputs, labels)


def test_a_task_refuses_parts_that_differ_and_labels_without_a_class():
    with pytest.raises(NeurosimError, match="task small, test"):
        small_task(test=Split(np.zeros((5, 2, 3)), np.array([0, 1])))
    with pytest.raises(NeurosimError, match=r"labels from 0 to 1.*allowed: 0 to 0"):
        small_task(classes=("a",))


def test_the_hash_sees_every_array_and_the_time_step():
    task = small_task()
    nudged = np.array(task.test.inputs)
    nudged[3, 3, 2] = np.nextafter(nudged[3, 3, 2], np.float32(2))
    others = [small_task(dt=2e-3), small_task(test=Split(nudged, task.test.labels)),
              small_task(validation=Split(task.validation.inputs, task.validation.labels[::-1])),
              small_task(train=task.test, test=task.train)]
    assert task.hash == small_task().hash
    assert len({task.hash, *(other.hash for other in others)}) == 5


def test_repr_says_sizes_and_time_step():
    assert repr(small_task()) == ("Task('small', train 6, validation 2, test 4; inputs [time=4, sample, channel=3], "
                                  "dt=0.001 s, classes a, b)")


# names and options


def test_every_task_has_a_loader_and_information():
    assert task_names() == ("digits", "ecg", "fmnist", "speech")
    for name in task_names():
        info = task_info(name)
        assert info.name == name
        assert info.source
        assert info.licence
        assert info.citation
    for name in ("ecg", "fmnist", "speech"):
        assert task_info(name).where is None  # an empty cache, no folder named
        assert task_info(name).size > 10_000_000


@pytest.mark.parametrize(("call", "message"), [
    (lambda: load_task("digit"), "did you mean 'digits'"),
    (lambda: task_info("mnist"), "allowed: digits, ecg, fmnist, speech"),
    (lambda: fetch_task(""), "there is no task ''"),
    (lambda: load_task("digits", codign="latency"), "did you mean 'coding'"),
    (lambda: load_task("digits", coding="phase"), "allowed: current, rate, latency"),
    (lambda: load_task("digits", steps=1), "steps is 1"),
    (lambda: load_task("ecg", split="beats"), "allowed: random, patient"),
    (lambda: load_task("ecg", window="whole"), "allowed: peak, annotation"),
])
def test_what_is_not_known_is_refused(call, message):
    with pytest.raises(NeurosimError, match=message):
        call()


def test_the_package_is_imported_without_its_heavy_helpers():
    code = ("import sys, neurosim.tasks; print([m for m in ('torch', 'sklearn', 'wfdb', 'pooch', 'scipy', 'pandas') "
            "if m in sys.modules])")
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


# digits


@pytest.mark.parametrize("coding", ["current", "rate", "latency"])
def test_digits_are_split_in_proportion_and_without_overlap(coding):
    from sklearn.datasets import load_digits

    task = load_task("digits", coding=coding, steps=17)  # 17 levels, 17 steps: every level has its own code
    assert [len(split) for split in task.splits.values()] == [1097, 200, 500]
    assert task.train.inputs.shape == (17, 1097, 64)
    assert task.settings == {"coding": coding, "steps": 17}
    for split in task.splits.values():
        shares = np.bincount(split.labels) / len(split)
        assert abs(shares - 0.1).max() < 0.01
    found = Counter()
    for split in task.splits.values():
        found.update(row.tobytes() for row in split.inputs.swapaxes(0, 1))
    pixels = load_digits().data / 16
    assert found == Counter(row.tobytes() for row in digits.CODINGS[coding](pixels, 17).swapaxes(0, 1))


def test_digits_are_the_same_in_every_call():
    assert load_task("digits").hash == load_task("digits").hash
    assert load_task("digits").train.inputs.shape[0] == 30
    assert fetch_task("digits").is_file()


@given(st.integers(0, 16), st.integers(2, 60))
def test_codings_of_one_pixel(value: int, steps: int):
    pixel = np.array([[value / 16]])
    current, rate, latency = (np.asarray(code(pixel, steps))[:, 0, 0] for code in digits.CODINGS.values())
    assert (current == np.float32(value / 16)).all()
    assert rate.sum() == value * steps // 16
    assert set(rate) <= {0, 1}
    ahead = np.cumsum(rate) - np.arange(1, steps + 1) * value / 16
    assert (ahead > -1).all()
    assert (ahead <= 0).all()
    assert latency.sum() == (value > 0)
    if value:
        assert abs(latency.argmax() - (1 - value / 16) * (steps - 1)) <= 0.5


def test_brighter_pixels_fire_earlier():
    when = digits.latency(np.arange(1, 17)[None] / 16, 60)[:, 0].argmax(axis=0)
    assert (np.diff(when) < 0).all()
    assert when[-1] == 0


# ECG: one beat


def bump(length: int, *peaks: tuple[int, float]) -> np.ndarray:
    """Two leads at 360 Hz with bumps of a height at a sample; the second lead is the first one turned around."""
    t = np.arange(length)
    first = sum(height * np.exp(-((t - at) / 8.0) ** 2) for at, height in peaks)
    return np.stack([first, 1 - first], axis=1)


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def test_a_window_is_centred_on_the_peak_and_continued_by_its_edges():
    beat = bump(200, (0, 3.0), (100, 1.0))  # the R wave at the start is higher, and is no peak
    np.testing.assert_array_equal(ecg.around_peak(beat), standardised(beat[::2]))
    beat = bump(200, (0, 3.0), (120, 1.0))
    whole = standardised(beat[::2])
    behind = np.repeat(whole[-1:], 10, axis=0)
    np.testing.assert_array_equal(ecg.around_peak(beat), np.concatenate([whole[10:], behind]))
    beat = bump(200, (80, 1.0))
    whole = standardised(beat[::2])
    in_front = np.repeat(whole[:1], 10, axis=0)
    np.testing.assert_array_equal(ecg.around_peak(beat), np.concatenate([in_front, whole[:90]]))


@pytest.mark.parametrize(("at", "kept"), [(58, False), (60, True), (140, True), (142, False)])
def test_a_beat_is_kept_if_its_peak_lies_at_samples_30_to_70(at, kept):
    assert (ecg.around_peak(bump(300, (at, 1.0))) is not None) == kept


def test_beats_that_are_too_short_flat_or_without_peak_are_discarded():
    assert ecg.around_peak(bump(300, (100, 1.0))[:49]) is None
    flat = bump(300, (100, 1.0))
    flat[:, 1] = 0.5
    assert ecg.around_peak(flat) is None
    assert ecg.around_peak(np.linspace(0, 1, 400).reshape(200, 2)) is None


def test_the_window_around_an_annotation():
    signals = bump(1000, (400, 1.0), (30, 2.0))
    np.testing.assert_array_equal(ecg.around(signals, 400), standardised(signals[300:500:2]))
    assert ecg.around(signals, 400)[:, 0].argmax() == 50
    early = standardised(np.concatenate([np.repeat(signals[:1], 35, axis=0), signals[:130:2]]))
    np.testing.assert_array_equal(ecg.around(signals, 30), early)


# ECG: records in WFDB format, as a publication of their own

#: beats of each class by record, and those of them that the peak rule discards
SYNTHETIC = {101: (9, 6, 5, 4), 106: (3, 6, 4, 8), 100: (7, 4, 3, 3), 103: (2, 0, 5, 4)}
DISCARDED = 1


def publish(folder: Path, name: str = "mit-bih-arrhythmia-database-1.0.0") -> files.Publication:
    """Four records with a list of their sums, in `folder / name`."""
    where = folder / name
    where.mkdir(parents=True)
    period = 250
    for record, counts in SYNTHETIC.items():
        symbols = [symbol for symbol, count in zip(ecg.CLASSES, counts) for _ in range(count)]
        late = {np.flatnonzero(np.array(symbols) == s)[0] for s in set(symbols)}  # one of each has its peak too early
        beats = [bump(period, (0, 2.0 + record / 1000), (40 if i in late else 100, 1.0)) for i in range(len(symbols))]
        rng = np.random.default_rng(record)
        signals = np.concatenate([np.zeros((period, 2)), *beats])
        signals += rng.normal(0, 1e-3, signals.shape)
        at = period * (1 + np.arange(len(symbols)))
        wfdb.wrsamp(str(record), fs=360, units=["mV", "mV"], sig_name=["MLII", "V1"], p_signal=signals,
                    fmt=["212", "212"], write_dir=str(where))
        at, symbols = np.r_[at[0] - 20, at, at[-1] + 200], ["+", *symbols, "~"]
        wfdb.wrann(str(record), "atr", at, symbols, write_dir=str(where))
    names = sorted(path.name for path in where.iterdir())
    sums = "".join(f"{hashlib.sha256((where / n).read_bytes()).hexdigest()} {n}\n" for n in names)
    (where / "SHA256SUMS.txt").write_text(f"{'0' * 64} not-here/old.xws\n{sums}")
    return files.Publication(folder=name, url=f"http://127.0.0.1:1/{name}.zip", size=1, files=tuple(names),
                             sums="SHA256SUMS.txt",
                             sums_sha256=hashlib.sha256((where / "SHA256SUMS.txt").read_bytes()).hexdigest())


def use(publication: files.Publication, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecg, "PUBLICATION", publication)
    monkeypatch.setattr(ecg, "RECORDS", tuple(sorted(SYNTHETIC)))


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> files.Publication:
    publication = publish(tmp_path / "data")
    use(publication, monkeypatch)
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "data"))
    return publication


def test_beats_of_a_record(published, tmp_path):
    for window, lost in (("peak", DISCARDED), ("annotation", 0)):
        beats = ecg.beats_of(tmp_path / "data" / published.folder, 101, window)
        assert np.bincount(beats.labels).tolist() == [count - lost for count in SYNTHETIC[101]]
        assert beats.signals.shape == (beats.labels.size, 100, 2)
        assert (beats.records == 101).all()
        at = beats.signals[:, 45:56, 0].argmax(axis=1) + 45
        assert (abs(at - 50) <= 3).all()
    assert task_info("ecg").where == str(tmp_path / "data" / published.folder)


def test_the_random_split_takes_the_first_beats_of_each_class(published):
    task = load_task("ecg")
    least = min(sum(counts[c] - (counts[c] > 0) for counts in SYNTHETIC.values()) for c in range(4))
    assert sum(len(split) for split in task.splits.values()) == 4 * least
    labels = np.concatenate([split.labels for split in task.splits.values()])
    assert np.bincount(labels).tolist() == [least] * 4
    assert [len(task.train), len(task.validation), len(task.test)] == [41, 6, 5]
    assert task.train.inputs.shape[::2] == (100, 2)
    assert task.classes == ("N", "L", "R", "V")
    assert task.dt == 1 / 180
    assert task.settings == {"split": "random", "window": "peak"}


def test_the_patient_split_keeps_records_apart():
    rng = np.random.default_rng(1)
    records = rng.choice(ecg.RECORDS, 4000)
    beats = ecg.Beats(np.zeros((4000, 100, 2)), rng.choice(4, 4000, p=(0.6, 0.2, 0.15, 0.05)), records)
    train, validation, test = ecg.divide(beats, "patient")
    assert set(records[train]) | set(records[validation]) <= set(ecg.DS1)
    assert set(records[test]) <= set(ecg.DS2)
    assert not set(train) & set(validation)
    assert len(set(np.bincount(beats.labels[test]))) == 1
    assert len(set(np.bincount(beats.labels[np.r_[train, validation]]))) == 1
    assert len(set(records[test])) > 15  # drawn from all over DS2, not from its first records


def test_the_records_of_de_chazal():
    assert len(ecg.DS1) == len(ecg.DS2) == 22
    assert len(set(ecg.RECORDS)) == 48
    assert len(ecg.PUBLICATION.files) == 3 * 48


def test_a_class_without_beats_is_said():
    with pytest.raises(NeurosimError, match="N 2, L 0, R 1, V 1"):
        ecg.balanced(np.array([0, 0, 2, 3]), np.arange(4))


def test_prepared_beats_are_kept_and_made_anew_when_damaged(published, tmp_path, monkeypatch):
    task = load_task("ecg", split="random", window="annotation")
    (kept,) = (tmp_path / "cache").glob("*.npz")
    monkeypatch.delenv("NEUROSIM_DATA")
    assert load_task("ecg", split="random", window="annotation").hash == task.hash  # the source is not needed
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "data"))
    assert load_task("ecg", split="random", window="annotation").hash == task.hash
    assert kept.read_bytes() != bytes(content)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [kept.name]


@pytest.mark.slow
def test_counts_of_the_database(published_data, tmp_path, monkeypatch):
    """On the published records where they are to be had, else on the synthetic ones."""
    data = published_data("mit-bih-arrhythmia-database-1.0.0*")
    if data is None:
        use(publish(tmp_path / "data"), monkeypatch)
        raw = dict(zip(ecg.CLASSES, np.sum(list(SYNTHETIC.values()), axis=0).tolist()))
        sizes = {"random": (41, 6, 5), "patient": (32, 4, 16)}
    else:
        raw = {"N": 75052, "L": 8075, "R": 7259, "V": 7130, "/": 7028, "A": 2546}
        sizes = {"random": (8966, 1121, 1121), "patient": (13258, 1474, 12880)}
    monkeypatch.setenv("NEUROSIM_DATA", str(data or tmp_path / "data"))
    folder = fetch_task("ecg")
    symbols = Counter(s for record in ecg.RECORDS for s in wfdb.rdann(str(folder / str(record)), "atr").symbol)
    assert {name: symbols[name] for name in raw} == raw
    for split, expected in sizes.items():
        task = load_task("ecg", split=split)
        assert tuple(len(part) for part in task.splits.values()) == expected
        labels = np.concatenate([task.train.labels, task.validation.labels])
        assert np.ptp(np.bincount(task.test.labels if split == "patient" else np.r_[labels, task.test.labels])) == 0
        assert abs(task.test.inputs).max() < 60
        if split == "patient":
            np.testing.assert_allclose(task.test.inputs.mean(axis=0), 0, atol=1e-5)
            np.testing.assert_allclose(task.test.inputs.std(axis=0), 1, atol=1e-4)
        else:  # sample 50 is a local maximum of the first lead
            first = task.train.inputs[:, :, 0]
            assert (first[50] >= first[[49, 51]]).all()


# files


def pack(folder: Path, name: str, suffix: str, change: dict[str, bytes | None] | None = None) -> Path:
    """`folder / name` as an archive next to it; `change` replaces files, None leaves one out."""
    archive = folder / f"{name}{suffix}"
    contents = {f"{name}/{path.name}": path.read_bytes() for path in sorted((folder / name).iterdir())}
    contents.update(change or {})
    contents = {path: content for path, content in contents.items() if content is not None}
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
            for path, content in contents.items():
                out.writestr(path, content)
    else:
        with tarfile.open(archive, f"w:{suffix.rsplit('.', 1)[1]}") as out:
            for path, content in contents.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                out.addfile(entry, io.BytesIO(content))
    return archive


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> files.Publication:
    """A publication of two files in `tmp_path/made`; NEUROSIM_DATA is `tmp_path/data`, empty."""
    name = "set-1.0"
    folder = tmp_path / "made" / name
    folder.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "data"))
    lines = []
    for file, content in (("a.dat", b"a" * 5000), ("b.dat", bytes(range(256)))):
        (folder / file).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()} {file}\n")
    (folder / "SHA256SUMS.txt").write_text("".join(lines))
    return files.Publication(name, f"http://127.0.0.1:1/{name}.zip", 1, ("a.dat", "b.dat"), "SHA256SUMS.txt",
                             hashlib.sha256("".join(lines).encode()).hexdigest())


def place(archive: Path, tmp_path: Path) -> Path:
    return archive.rename(tmp_path / "data" / archive.name)


def in_cache(tmp_path: Path) -> list[str]:
    cache = tmp_path / "cache"
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


@pytest.mark.parametrize("suffix", files.ARCHIVES)
def test_an_archive_is_unpacked_once(small, tmp_path, suffix):
    archive = place(pack(tmp_path / "made", small.folder, suffix), tmp_path)
    assert files.locate(small) == archive
    folder = files.obtain(small)
    assert folder == tmp_path / "cache" / small.folder
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS.txt", "a.dat", "b.dat"]
    archive.unlink()
    assert files.obtain(small) == files.locate(small) == folder
    assert in_cache(tmp_path) == [small.folder]


def test_an_unpacked_folder_is_used_where_it_lies(small, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "made"))
    assert files.obtain(small) == tmp_path / "made" / small.folder
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "made" / small.folder))
    assert files.obtain(small) == tmp_path / "made" / small.folder
    assert in_cache(tmp_path) == []


def test_a_changed_file_in_a_given_folder_is_named_and_left_alone(small, tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "made"))
    changed = tmp_path / "made" / small.folder / "b.dat"
    expected = hashlib.sha256(changed.read_bytes()).hexdigest()
    changed.write_bytes(b"other")
    with pytest.raises(NeurosimError) as raised:
        files.obtain(small)
    assert raised.value.where == str(changed)
    assert hashlib.sha256(b"other").hexdigest() in str(raised.value)
    assert raised.value.allowed == expected
    assert changed.read_bytes() == b"other"
    changed.unlink()
    with pytest.raises(NeurosimError, match=r"b\.dat: is missing"):
        files.obtain(small)


def test_a_damaged_copy_in_the_cache_is_made_anew(small, tmp_path):
    place(pack(tmp_path / "made", small.folder, ".tar.xz"), tmp_path)
    (files.obtain(small) / "a.dat").write_bytes(b"rot")
    assert (files.obtain(small) / "a.dat").read_bytes() == b"a" * 5000


@pytest.mark.parametrize("suffix", files.ARCHIVES)
@pytest.mark.parametrize(("change", "message"), [
    ({"set-1.0/b.dat": b"other"}, r"set-1\.0\.[a-z.]+, b\.dat: its SHA-256 is d9298a.*allowed: 40aff2e9d2"),
    ({"set-1.0/a.dat": None}, r"set-1\.0\.[a-z.]+, a\.dat: is missing"),
    ({"set-1.0/SHA256SUMS.txt": b"0 a.dat\n0 b.dat\n"}, r"SHA256SUMS\.txt: its SHA-256 is"),
])
def test_an_archive_with_other_content_leaves_nothing(small, tmp_path, suffix, change, message):
    place(pack(tmp_path / "made", small.folder, suffix, change), tmp_path)
    with pytest.raises(NeurosimError, match=message):
        files.obtain(small)
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("suffix", files.ARCHIVES)
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"<html>not found</html>"])
def test_an_archive_that_cannot_be_read_leaves_nothing(small, tmp_path, suffix, damage):
    archive = place(pack(tmp_path / "made", small.folder, suffix), tmp_path)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(NeurosimError) as raised:
        files.obtain(small)
    assert raised.value.where.startswith(str(archive))
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("suffix", files.ARCHIVES)
def test_no_path_in_an_archive_leads_outside(small, tmp_path, suffix):
    strangers = dict.fromkeys(["../a.dat", f"{tmp_path}/evil", "set-1.0/../../evil", "set-1.0/sub/a.dat", "a.dat",
                               "other/b.dat", "set-1.0/more.txt"], b"evil")
    place(pack(tmp_path / "made", small.folder, suffix, strangers), tmp_path)
    before = set(tmp_path.rglob("*"))
    folder = files.obtain(small)
    new = set(tmp_path.rglob("*")) - before
    assert {path for path in new if path.is_file()} == {folder / n for n in ("SHA256SUMS.txt", "a.dat", "b.dat")}
    assert (folder / "a.dat").read_bytes() == b"a" * 5000


def test_a_link_in_an_archive_is_not_followed(small, tmp_path):
    archive = pack(tmp_path / "made", small.folder, ".tar.gz", {"set-1.0/a.dat": None})
    with tarfile.open(archive) as old, tarfile.open(tmp_path / "data" / archive.name, "w:gz") as out:
        for entry in old:
            out.addfile(entry, old.extractfile(entry))
        link = tarfile.TarInfo("set-1.0/a.dat")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "made" / small.folder / "a.dat")
        out.addfile(link)
    with pytest.raises(NeurosimError, match=r"a\.dat: is missing"):
        files.obtain(small)
    assert in_cache(tmp_path) == []


def test_what_no_folder_holds_is_downloaded(small, tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROSIM_DATA")
    pack(tmp_path / "made", small.folder, ".zip")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "made"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        online = replace(small, url=f"{address}/{small.folder}.zip")
        assert files.locate(online) is None
        assert files.obtain(online) == tmp_path / "cache" / small.folder
        assert in_cache(tmp_path) == [small.folder]
        server.shutdown()
    assert files.obtain(online) == tmp_path / "cache" / small.folder


def test_a_failed_download_says_what_to_do(small, tmp_path):
    with pytest.raises(NeurosimError, match=r"set-1\.0\.zip: the download failed.*refused.*NEUROSIM_DATA"):
        files.obtain(small)  # nothing listens on port 1
    assert in_cache(tmp_path) == []


def test_folders_that_cannot_be_used_are_named(small, tmp_path, monkeypatch):
    place(pack(tmp_path / "made", small.folder, ".zip"), tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEUROSIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(NeurosimError, match="NEUROSIM_CACHE"):
        files.obtain(small)
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NeurosimError, match="environment variable NEUROSIM_DATA: there is no folder"):
        files.obtain(small)


@given(st.integers(2, 20), st.lists(st.floats(-9, 9), min_size=4, max_size=4))
def test_one_comparator_of_every_lead_fires_in_every_step(levels, values):
    signals = np.array(values).reshape(2, 1, 2)
    spikes = ecg.in_levels(signals, levels)
    assert spikes.shape == (2, 1, 2 * levels)
    found = spikes.reshape(2, 1, 2, levels)
    np.testing.assert_array_equal(found.sum(axis=3), 1)
    edges = np.linspace(-2, 4, levels + 1)
    windows = np.array([edges[:-1], edges[1:]])
    windows[0, 0], windows[1, -1] = -np.inf, np.inf
    low, high = windows[:, found.argmax(axis=3)]
    assert ((low <= signals) & (signals <= high)).all()


def test_ecg_refuses_what_is_no_coding():
    for options, said in (({"coding": "rate"}, "allowed: current, levels"), ({"levels": 1}, "levels is 1")):
        with pytest.raises(NeurosimError, match=said):
            load_task("ecg", **options)
