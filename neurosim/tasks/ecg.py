"""Heart beats of the MIT-BIH arrhythmia database: two leads, four kinds of beat.

Window "peak", the preparation of Buechel, Faber and Muir (ICLR 2022):

1. a beat reaches from one annotation to the next (the last one to the end of the record); it is dropped if it has
   fewer than 50 samples at 360 Hz;
2. every second sample (180 Hz); each lead to zero mean and unit variance within the beat;
3. 150 samples of its edge values in front and behind;
4. 100 samples centred on the largest peak of the first lead; the beat is discarded unless this peak lies at
   samples 30 to 70 of it.

A peak is an interior local maximum (`scipy.signal.find_peaks`). An annotation sits on the R wave, so that the
beat starts on its highest value: if the start counted as a peak, no beat of class R would be left. The published
count is 3350 beats a class, this reading gives 2802, the nearest of those that the text allows.

Window "annotation": 100 samples at 180 Hz centred on the annotation, each lead to zero mean and unit variance
within the window; no beat is lost.

Codings of a lead's value v at a step:

``current``  v itself, for networks that take numbers.
``levels``   spikes, for chips that take events: a lead has a row of window comparators, from -2 to 4 in even steps, the
outermost ones open; the one whose window holds v fires, once in every step.

Records are read with wfdb. The prepared arrays are kept in the cache, because making them takes seconds.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurosim.errors import NeurosimError, whole
from neurosim.tasks import files
from neurosim.tasks.task import Split, Task, TaskInfo

CLASSES = ("N", "L", "R", "V")
DT = 1 / 180
CITATION = (
    "G.B. Moody, R.G. Mark, The impact of the MIT-BIH Arrhythmia Database, IEEE Eng. Med. Biol. 20(3), 45 (2001), "
    "doi:10.13026/C2F305; A.L. Goldberger et al., PhysioBank, PhysioToolkit, and PhysioNet, Circulation 101(23), "
    "e215 (2000)")
#: training and test records of P. de Chazal et al., IEEE Trans. Biomed. Eng. 51, 1196 (2004)
DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
PACED = (102, 104, 107, 217)
RECORDS = tuple(sorted(DS1 + DS2 + PACED))
SPLITS = ("random", "patient")
WINDOWS = ("peak", "annotation")
CODINGS = ("current", "levels")

_FOLDER = "mit-bih-arrhythmia-database-1.0.0"
PUBLICATION = files.Publication(
    folder=_FOLDER, url=f"https://physionet.org/static/published-projects/mitdb/{_FOLDER}.zip", size=73_500_000,
    files=tuple(f"{record}.{suffix}" for record in RECORDS for suffix in ("hea", "dat", "atr")),
    sums="SHA256SUMS.txt", sums_sha256="b61158a96d5f2ca80edfb354a9a66a6324836c390a84e1966dcee2b907d6be43")

_SHORTEST, _PAD, _SIZE, _PEAK = 50, 150, 100, (30, 70)
_LOWEST, _HIGHEST = -2.0, 4.0  # of the comparators, in standard deviations of a beat
_PREPARATION = 1  # raise it when other numbers come out: what is kept is then made anew
_SEED = 42
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Beats:
    """Prepared beats: signals float32 `[beat, 100, 2]`, labels `[beat]`, records `[beat]`; in order of the records."""

    signals: np.ndarray
    labels: np.ndarray
    records: np.ndarray


def info() -> TaskInfo:
    where = files.locate(PUBLICATION)
    return TaskInfo("ecg", "MIT-BIH arrhythmia database, heart beats of 2 leads, 4 classes",
                    "https://physionet.org/content/mitdb/1.0.0/", "ODC-By 1.0", CITATION, PUBLICATION.size,
                    None if where is None else str(where))


def fetch() -> Path:
    """The folder with the 48 records, unpacked and checked."""
    return files.obtain(PUBLICATION)


def load(split: str = "random", window: str | None = None, coding: str = "current", levels: int = 16) -> Task:
    """Beats of classes N, L, R, V, `[100, beat, 2]`, dt 1/180 s, every class as often as the rarest one.

    Parameters
    ----------
    split:
        "random": 80 / 10 / 10 % over beats, the published comparison; beats of one patient are in all three parts.
        Of every class the first beats in order of the records are taken.
        "patient": trained on the records DS1, tested on the records DS2 of de Chazal et al.: 22 records each, no
        paced ones (102, 104, 107, 217), no record in both. (201 in DS1 and 202 in DS2 are one man.) In DS1 class L
        is in 109 and 207 only, and R in 118, 124 and 207; in DS2 L in 111 and 214, R in 212, 231 and 232. Within DS1
        and within DS2 each class is drawn, with a fixed seed, down to the size of the rarest one; a tenth of DS1's
        beats is for validation, so that validation does share patients with training.
    window:
        "peak" or "annotation", see the module. By default "peak" for the random split, as published, and
        "annotation" for the patient split: the peak rule leaves 86 beats of class R in DS1.
    coding:
        "current" or "levels", see the module.
    levels:
        Comparators of a lead in coding "levels"; the inputs are then `[100, beat, 2 levels]`.
    """
    if split not in SPLITS:
        raise NeurosimError(f"split is {split!r}", where="task ecg", allowed=", ".join(SPLITS))
    window = window or dict(zip(SPLITS, WINDOWS, strict=True))[split]
    if window not in WINDOWS:
        raise NeurosimError(f"window is {window!r}", where="task ecg", allowed=", ".join(WINDOWS))
    if coding not in CODINGS:
        raise NeurosimError(f"coding is {coding!r}", where="task ecg", allowed=", ".join(CODINGS))
    levels = whole("levels", levels, "task ecg", 2)
    arrays = prepared(PUBLICATION, split, window)
    settings: dict[str, object] = {"split": split, "window": window}
    if coding == "levels":
        arrays |= {f"{part}_inputs": in_levels(arrays[f"{part}_inputs"], int(levels)) for part in _PARTS}
        settings |= {"coding": coding, "levels": int(levels)}
    return Task("ecg", *(Split(arrays[f"{part}_inputs"], arrays[f"{part}_labels"]) for part in _PARTS), CLASSES, DT,
                CITATION, settings)


def in_levels(signals: np.ndarray, levels: int) -> np.ndarray:
    """`[time, beat, lead]` as spikes `[time, beat, lead levels]`, float32 of 0 and 1; see the module.

    >>> in_levels(np.array([-9.0, 0.9, 1.1, 9.0]).reshape(4, 1, 1), 2)[:, 0]
    array([[1., 0.],
           [1., 0.],
           [0., 1.],
           [0., 1.]], dtype=float32)
    """
    edges = np.linspace(_LOWEST, _HIGHEST, levels + 1)[1:-1]
    which = np.searchsorted(edges, signals)
    return (which[..., None] == np.arange(levels)).astype(np.float32).reshape(*signals.shape[:2], -1)


def prepared(publication: files.Publication, split: str, window: str) -> dict[str, np.ndarray]:
    """Inputs `[time, beat, lead]` and labels of each part, from the file kept in the cache if it is there.

    What is kept is a function of the published files: its name holds the hash of the publisher's checksums and the
    number of this preparation, so that it is never out of date.
    """
    key = hashlib.sha256(repr((publication.sums_sha256, split, window, _PREPARATION)).encode()).hexdigest()[:16]
    kept = files.cache_folder() / f"ecg-{split}-{window}-{key}.npz"
    names = [f"{part}_{what}" for part in _PARTS for what in ("inputs", "labels")]
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: made anew
    folder = files.obtain(publication)
    every = [beats_of(folder, record, window) for record in RECORDS]
    beats = Beats(*(np.concatenate([getattr(some, name) for some in every])
                    for name in ("signals", "labels", "records")))
    arrays = {}
    for part, chosen in zip(_PARTS, divide(beats, split), strict=True):
        arrays[f"{part}_inputs"] = np.ascontiguousarray(beats.signals[chosen].swapaxes(0, 1))
        arrays[f"{part}_labels"] = beats.labels[chosen]
    files.write(kept, lambda out: np.savez(out, **arrays))
    return arrays


def divide(beats: Beats, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the beats for training, validation and testing, balanced."""
    from sklearn.model_selection import train_test_split

    if split == "random":
        chosen = balanced(beats.labels, np.arange(beats.labels.size))
        train, rest = train_test_split(chosen, test_size=0.2, random_state=_SEED)
        test, validation = train_test_split(rest, test_size=0.5, random_state=_SEED)
        return train, validation, test
    shuffled = np.random.default_rng(_SEED).permutation(beats.labels.size)
    ours, test = (balanced(beats.labels, shuffled[np.isin(beats.records[shuffled], records)]) for records in (DS1, DS2))
    train, validation = train_test_split(ours, test_size=0.1, stratify=beats.labels[ours], random_state=_SEED)
    return train, validation, test


def balanced(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Of each class the first beats in `order` (indices), as many as the rarest class has."""
    members = [order[labels[order] == label] for label in range(len(CLASSES))]
    least = min(len(some) for some in members)
    if least == 0:
        counts = ", ".join(f"{name} {len(some)}" for name, some in zip(CLASSES, members, strict=True))
        raise NeurosimError(f"a class has no beats: {counts}", where="task ecg", allowed="one or more of each class")
    return np.concatenate([some[:least] for some in members])


def beats_of(folder: Path, record: int, window: str) -> Beats:
    """Read a WFDB record and prepare its beats."""
    import wfdb

    try:
        signals = wfdb.rdrecord(str(folder / str(record))).p_signal
        annotations = wfdb.rdann(str(folder / str(record)), "atr")
    except (OSError, ValueError) as error:
        raise NeurosimError(f"cannot be read: {error}", where=str(folder / f"{record}.hea")) from error
    bounds = [*annotations.sample, len(signals)]
    found = []
    for symbol, start, stop in zip(annotations.symbol, bounds, bounds[1:]):
        if symbol in CLASSES:
            cut = around_peak(signals[start:stop]) if window == "peak" else around(signals, start)
            if cut is not None:
                found.append((cut, CLASSES.index(symbol)))
    return Beats(np.array([cut for cut, _ in found], np.float32).reshape(-1, _SIZE, signals.shape[1]),
                 np.array([label for _, label in found], np.int64), np.full(len(found), record, np.int64))


def around(signals: np.ndarray, annotation: int) -> np.ndarray | None:
    """The window `[100, lead]` at 180 Hz centred on an annotation; beyond the record's ends its edge values."""
    samples = np.clip(np.arange(annotation - _SIZE, annotation + _SIZE, 2), 0, len(signals) - 1)
    return _standardised(signals[samples])


def around_peak(beat: np.ndarray) -> np.ndarray | None:
    """One beat `[sample, lead]` at 360 Hz as its window `[100, lead]` at 180 Hz, or None where it is discarded."""
    from scipy.signal import find_peaks

    beat = _standardised(beat[::2]) if len(beat) >= _SHORTEST else None
    if beat is None:
        return None
    padded = np.pad(beat, ((_PAD, _PAD), (0, 0)), mode="edge")
    peaks, _ = find_peaks(padded[:, 0])
    if not peaks.size:
        return None
    peak = peaks[np.argmax(padded[peaks, 0])]
    if not _PEAK[0] <= peak - _PAD <= _PEAK[1]:
        return None
    return padded[peak - _SIZE // 2 : peak + _SIZE // 2]


def _standardised(signals: np.ndarray) -> np.ndarray | None:
    """Each lead to zero mean and unit variance; None where a lead is flat."""
    spread = signals.std(axis=0)
    return (signals - signals.mean(axis=0)) / spread if (spread > 0).all() else None
