"""Spoken words: coefficients against their definition, clips from folders and archives, the split by speaker."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from neurosim.errors import NeurosimError
from neurosim.tasks import fetch_task, files, load_task, speech, task_info
from neurosim.tasks.mfcc import mfcc, triangles

SPEAKERS = ("0a", "1b", "2c", "3d", "4e", "5f", "6a", "7b", "8c", "9d", "aa", "bb", "cc", "dd", "ee", "ff")


# coefficients


def hertz_to_mel(f: float) -> float:
    """The mel scale as it is mostly written (O'Shaughnessy): 1127 is 2595 / ln 10, rounded."""
    return 2595 * math.log10(1 + f / 700)


def test_the_bands_are_triangles_over_the_mel_scale():
    corners = [125.0]
    step = (hertz_to_mel(3800) - hertz_to_mel(125)) / 41
    for i in range(1, 42):
        corners.append(700 * (10 ** ((hertz_to_mel(125) + i * step) / 2595) - 1))
    found = triangles()
    assert found.shape == (257, 40)
    for band in range(40):
        low, centre, high = (hertz_to_mel(f) for f in corners[band:band + 3])
        for line in range(257):
            at = hertz_to_mel(line * 31.25)
            up, down = (at - low) / (centre - low), (high - at) / (high - centre)
            expected = max(0.0, min(up, down)) if line else 0.0
            assert found[line, band] == pytest.approx(expected, abs=2e-4)
    inside = found[(np.arange(257) * 31.25 > corners[1]) & (np.arange(257) * 31.25 < corners[40])]
    np.testing.assert_allclose(inside.sum(axis=1), 1)  # neighbours overlap to one


def test_the_coefficients_are_those_of_the_definition():
    rng = np.random.default_rng(5)
    signal = rng.normal(0, 0.1, 480 + 160)
    found = mfcc(signal)
    assert found.shape == (2, 40)
    n, k, m = np.arange(480), np.arange(257), np.arange(40)
    for frame in range(2):
        windowed = signal[160 * frame:160 * frame + 480] * (0.5 - 0.5 * np.cos(2 * np.pi * n / 480))
        spectrum = abs((windowed * np.exp(-2j * np.pi * np.outer(k, n) / 512)).sum(axis=1))
        bands = np.log(triangles().T @ spectrum + 1e-12)
        for j in range(40):
            expected = math.sqrt(2 / 40) * (bands * np.cos(np.pi * j * (m + 0.5) / 40)).sum()
            assert found[frame, j] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_silence_is_the_floor_and_a_tone_lies_in_its_band():
    from scipy.fft import idct

    silent = mfcc(np.zeros(16000))
    assert silent.shape == (98, 40)
    np.testing.assert_allclose(silent[:, 0], math.sqrt(2 * 40) * math.log(1e-12))
    np.testing.assert_allclose(silent[:, 1:], 0, atol=1e-10)
    tone = mfcc(np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))
    bands = idct(tone * np.sqrt(80), type=2)
    step = (hertz_to_mel(3800) - hertz_to_mel(125)) / 41
    nearest = round((hertz_to_mel(1000) - hertz_to_mel(125)) / step) - 1
    assert (bands.argmax(axis=1) == nearest).all()


# clips


def wav(seed: int, samples: int = 16000, rate: int = 16000, dtype: type = np.int16) -> bytes:
    out = io.BytesIO()
    rng = np.random.default_rng(seed)
    wavfile.write(out, rate, (rng.normal(0, 1000, samples)).astype(dtype))
    return out.getvalue()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Sixteen clips of each class, in the folder `tmp_path/data/...`: name in the archive and content."""
    clips = {}
    for number, folder in enumerate(speech._FOLDERS):
        for i, speaker in enumerate(SPEAKERS):
            name = {"_silence_": f"{37 * i}.wav", "_unknown_": f"tree_{speaker}_nohash_0.wav.wav"}.get(
                folder, f"{speaker}_nohash_0.wav")
            clips[f"{folder}/{name}"] = wav(100 * number + i)
    clips["bed/0a_nohash_0.wav"] = wav(1)  # a word that is not used
    clips["README.md"] = b"words"
    for name, content in clips.items():
        path = tmp_path / "data" / speech.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sums = sorted(f"{hashlib.sha256(content).hexdigest()} {name.split('.')[0]}\n" for name, content in clips.items()
                  if name.split("/")[0] in speech._FOLDERS)
    monkeypatch.setattr(speech, "CLIPS_SHA256", hashlib.sha256("".join(sums).encode()).hexdigest())
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "data"))
    return clips


def by_sha1(name: str) -> str:
    number = int.from_bytes(hashlib.sha1(name.encode()).digest(), "big")
    return "test" if number % 5 == 0 else "validation" if (number // 5) % 10 == 0 else "train"


def test_words_are_divided_by_speaker(small):
    task = load_task("speech")
    assert task.train.inputs.shape[::2] == (98, 40)
    assert task.dt == 0.01
    assert task.classes == ("yes", "no", "up", "down", "left", "right", "silence", "unknown")
    assert task_info("speech").where == str(fetch_task("speech"))
    for part, split in task.splits.items():
        names = {f"{folder}/{clip}": f"{folder}/{clip}" for folder, clip in (n.split("/") for n in small if "/" in n)}
        expected = {}
        for name in names:
            folder, clip = name.split("/")
            stem = clip.split(".")[0]
            speaker = stem if folder == "_silence_" else stem.split("_nohash_")[0].split("_")[-1]
            if folder in speech._FOLDERS and by_sha1(speaker) == part:
                _, samples = wavfile.read(io.BytesIO(small[name]))
                expected[mfcc(samples / 32768).astype(np.float32).tobytes()] = speech._FOLDERS[folder]
        found = {np.ascontiguousarray(split.inputs[:, i]).tobytes(): task.classes[label]
                 for i, label in enumerate(split.labels)}
        assert found == expected
        assert expected


@pytest.mark.parametrize("top", ["", f"{speech.FOLDER}/", "./"])
def test_an_archive_gives_the_same_as_a_folder(small, tmp_path, monkeypatch, top):
    task = load_task("speech")
    (tmp_path / "other").mkdir()
    with tarfile.open(tmp_path / "other" / f"{speech.FOLDER}.tar.gz", "w:gz", compresslevel=1) as archive:
        for name in sorted(small, reverse=True):
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size = len(small[name])
            archive.addfile(entry, io.BytesIO(small[name]))
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "other"))
    monkeypatch.setenv("NEUROSIM_CACHE", str(tmp_path / "another"))
    assert load_task("speech").hash == task.hash
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path))  # nothing there: what is prepared is enough
    assert load_task("speech").hash == task.hash
    archive = tmp_path / "other" / f"{speech.FOLDER}.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-2000])
    monkeypatch.setenv("NEUROSIM_DATA", str(tmp_path / "other"))
    monkeypatch.setenv("NEUROSIM_CACHE", str(tmp_path / "third"))
    with pytest.raises(NeurosimError, match="cannot be unpacked"):
        load_task("speech")


def test_clips_that_are_not_the_published_ones_are_refused(small, tmp_path):
    clip = tmp_path / "data" / speech.FOLDER / "up" / "0a_nohash_0.wav"
    clip.write_bytes(wav(9))
    with pytest.raises(NeurosimError, match="not the published ones"):
        load_task("speech")
    clip.unlink()
    with pytest.raises(NeurosimError, match="up 15, down 16"):
        load_task("speech")
    for content, message in ((wav(9, 15999), "15999"), (wav(9, rate=8000), "8000 Hz"),
                             (wav(9, dtype=np.float32), "float"), (b"RIFF", "cannot be read"),
                             (b"nothing", "cannot be read")):
        with pytest.raises(NeurosimError, match=message):
            speech.features(content, "a clip")
    assert not list(files.cache_folder().glob("speech*"))


def test_without_data_it_says_where_to_put_them(tmp_path, monkeypatch):
    nowhere = files.PublishedFile(speech.FOLDER, "x.tar.gz", "http://127.0.0.1:1/x.tar.gz", 1, "0" * 64)
    monkeypatch.setattr(speech, "ARCHIVE", nowhere)
    with pytest.raises(NeurosimError, match=r"x\.tar\.gz into a folder"):
        load_task("speech")


@pytest.mark.slow
def test_counts_of_the_published_clips(small, published_data, monkeypatch):
    """Names alone, where the clips are to be had: 1942 + 521 of the words, 191 + 42 speakers; else the made ones."""
    data = published_data(f"{speech.FOLDER}*")
    expected = (1942, 521, 191, 42)
    if data is None:
        here = [s for s in SPEAKERS if by_sha1(s) == "test"]
        expected = (6 * (16 - len(here)), 6 * len(here), 16 - len(here), len(here))
    else:
        monkeypatch.setenv("NEUROSIM_DATA", str(data))
    words = [clip for folder, clip, _ in speech.clips(speech.fetch()) if not folder.startswith("_")]
    testing = [speech.part_of(clip) == "test" for clip in words]
    speakers = [{clip.split("_")[0] for clip, t in zip(words, testing, strict=True) if t == chosen}
                for chosen in (False, True)]
    assert (testing.count(False), testing.count(True), len(speakers[0]), len(speakers[1])) == expected
    assert not speakers[0] & speakers[1]
