"""Spoken words: six words, other words, silence; 40 coefficients every 10 ms.

The clips are those of the test set that goes with Speech Commands v0.02: 2463 of yes, no, up, down, left, right, 408 of
other words, 408 of silence, each of one second. Features as published by Buechel, Faber and Muir (see `mfcc`), with no
normalisation behind. They trained on the large set (2.4 GB) and tested on these clips; here these clips are divided by
speaker, so that results compare with each other, not with the published ones:

SHA-1 of the speaker's name, as a number h: test where ``h mod 5 = 0`` (42 of 233 speakers, 521 of the 2463 clips of the
six words), validation where else ``(h div 5) mod 10 = 0``. A clip of silence has no speaker; its own name is taken.

The prepared arrays are kept in the cache, because making them takes seconds.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.tasks import files
from neurosim.tasks.mfcc import RATE, STEP, mfcc
from neurosim.tasks.task import Split, Task, TaskInfo

CLASSES = ("yes", "no", "up", "down", "left", "right", "silence", "unknown")
DT = STEP / RATE
CITATION = ("P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209 (2018), "
            "CC BY 4.0")
FOLDER = "speech_commands_test_set_v0.02"
ARCHIVE = files.PublishedFile(
    FOLDER, f"{FOLDER}.tar.gz", f"https://storage.googleapis.com/download.tensorflow.org/data/{FOLDER}.tar.gz",
    112_563_277, "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df")
#: of the lines `sha256 folder/clip` of all clips that are used, sorted: the same from the whole archive and from a part
CLIPS_SHA256 = "d80e75dcf8776f1a2009c76a6648ecb0ecce18bb8605c0003fa0c65d642e0732"

#: the class of each folder that is used
_FOLDERS = {f"_{name}_" if name in ("silence", "unknown") else name: name for name in CLASSES}
_PREPARATION = 1  # raise it when other numbers come out: what is kept is then made anew
_PARTS = ("train", "validation", "test")


def info() -> TaskInfo:
    where = locate()
    return TaskInfo("speech", "Speech Commands v0.02 test set, 6 words, silence, unknown",
                    "https://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz", "CC BY 4.0", CITATION,
                    ARCHIVE.size, None if where is None else str(where))


def locate() -> Path | None:
    """The folder or archive that `fetch` would take, or None where it would download."""
    data = files.data_folder()
    if data is not None:
        for path in (data / FOLDER, *(data / f"{FOLDER}{suffix}" for suffix in files.ARCHIVES)):
            if (path.is_dir() and any((path / folder).is_dir() for folder in _FOLDERS)) or path.is_file():
                return path
    return files.locate_file(ARCHIVE)


def fetch() -> Path:
    """The folder or the archive with the clips; their content is checked when they are read."""
    found = locate()
    return files.obtain_file(ARCHIVE) if found in (None, files.cache_folder() / FOLDER / ARCHIVE.name) else found


def load() -> Task:
    """Words as coefficients `[98, clip, 40]`, dt 10 ms, divided by speaker."""
    arrays = prepared()
    return Task("speech", *(Split(arrays[f"{part}_inputs"], arrays[f"{part}_labels"]) for part in _PARTS), CLASSES, DT,
                CITATION)


def prepared() -> dict[str, np.ndarray]:
    """Inputs `[98, clip, 40]` and labels of each part, from the file kept in the cache if it is there.

    Its name holds the hash of the clips and the number of this preparation, so that it is never out of date.
    """
    key = hashlib.sha256(repr((CLIPS_SHA256, _PREPARATION)).encode()).hexdigest()[:16]
    kept = files.cache_folder() / f"speech-{key}.npz"
    names = [f"{part}_{what}" for part in _PARTS for what in ("inputs", "labels")]
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: made anew
    from threadpoolctl import threadpool_limits

    source = fetch()
    found, sums = [], []
    with threadpool_limits(1):  # products this small are slower on many threads
        for folder, clip, content in clips(source):
            sums.append(f"{hashlib.sha256(content).hexdigest()} {folder}/{clip}\n")
            found.append((folder, clip, features(content, f"{source}, {folder}/{clip}")))
    if hashlib.sha256("".join(sorted(sums)).encode()).hexdigest() != CLIPS_SHA256:
        counts = Counter(folder for folder, _, _ in found)
        raise NeurosimError(f"its clips are not the published ones: {', '.join(f'{f} {counts[f]}' for f in _FOLDERS)}",
                            where=str(source), allowed="2463 clips of the six words, 408 _silence_, 408 _unknown_",
                            hint="take the data from their publisher again")
    found.sort(key=lambda clip: clip[:2])
    arrays = {}
    for part in _PARTS:
        chosen = [(made, CLASSES.index(_FOLDERS[folder])) for folder, clip, made in found if part_of(clip) == part]
        arrays[f"{part}_inputs"] = np.stack([made for made, _ in chosen], axis=1)
        arrays[f"{part}_labels"] = np.array([label for _, label in chosen])
    files.write(kept, lambda out: np.savez(out, **arrays))
    return arrays


def clips(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """Folder, name and content of every clip that is used, in a folder or an archive, at whatever depth."""
    if source.is_dir():
        for path in sorted(source.glob("*/*.wav")):
            if path.parent.name in _FOLDERS:
                yield path.parent.name, path.name.split(".")[0], path.read_bytes()
        return
    try:
        for name, stream in files.members(source):
            path = PurePosixPath(name)
            if path.suffix == ".wav" and path.parent.name in _FOLDERS:
                yield path.parent.name, path.name.split(".")[0], stream.read()
    except files.DAMAGED as error:
        raise files.cannot_unpack(source, error) from error


def features(content: bytes, where: str) -> np.ndarray:
    """Coefficients of a WAV file of one second, float32 `[98, 40]`."""
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(io.BytesIO(content))
    except (ValueError, struct.error) as error:
        raise NeurosimError(f"cannot be read: {error}", where=where) from error
    if rate != RATE or samples.shape != (RATE,) or samples.dtype != np.int16:
        raise NeurosimError(f"{samples.shape} samples of {samples.dtype} at {rate} Hz", where=where,
                            allowed="one second of 16-bit samples at 16 kHz, one channel")
    return mfcc(samples / 32768.0).astype(np.float32)


def part_of(clip: str) -> str:
    """"train", "validation" or "test", from the speaker in the name of a clip.

    >>> part_of("aa80f517_nohash_0") == part_of("right_aa80f517_nohash_3")
    True
    """
    speaker = clip.split("_nohash_")[0].rsplit("_", 1)[-1]
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    if number % 5 == 0:
        return "test"
    return "validation" if number // 5 % 10 == 0 else "train"
