"""Fashion-MNIST: grey images of 28 x 28 pixels of ten kinds of clothing, as IDX files from their publisher.

Codings of a pixel p in 0..1: ``standard``: ``(p - MEAN) / SPREAD``, the same in every step, with the mean and the
standard deviation of all training pixels; ``current``, ``rate`` and ``latency`` as in `neurosim.tasks.digits`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from neurosim.errors import NeurosimError, true_or_false, whole
from neurosim.tasks import files
from neurosim.tasks.digits import CODINGS as SPIKE_CODINGS
from neurosim.tasks.digits import current
from neurosim.tasks.task import Split, Task, TaskInfo

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DT = 1e-3
CITATION = ("H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
            "Algorithms, arXiv:1708.07747 (2017)")
FOLDER = "fashion-mnist"
_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
FILES = {
    what: files.PublishedFile(FOLDER, name, f"{_URL}/{name}", size, sha256) for what, name, size, sha256 in (
        ("train_images", "train-images-idx3-ubyte.gz", 26_421_880,
         "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train_labels", "train-labels-idx1-ubyte.gz", 29_515,
         "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("test_images", "t10k-images-idx3-ubyte.gz", 4_422_102,
         "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("test_labels", "t10k-labels-idx1-ubyte.gz", 5_148,
         "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"))}
#: of the pixels / 255 of the 60,000 training images
MEAN, SPREAD = 0.28604, 0.35302
_VALIDATION, _SEED = 6000, 42


def info() -> TaskInfo:
    places = [files.locate_file(file) for file in FILES.values()]
    return TaskInfo("fmnist", "Fashion-MNIST, 28 x 28 pixels, 70000 images, 10 classes",
                    "https://github.com/zalandoresearch/fashion-mnist", "MIT", CITATION,
                    sum(file.size for file in FILES.values()), None if None in places else str(places[0].parent))


def fetch() -> Path:
    """The folder with the four IDX files, checked."""
    paths = [files.obtain_file(file) for file in FILES.values()]
    return paths[0].parent


def load(coding: str = "standard", steps: int = 1, flat: bool = False, samples: int | None = None) -> Task:
    """Images `[steps, sample, 1, 28, 28]`, dt 1 ms.

    54000 samples for training and 6000 for validation, with every class in proportion, from the 60000 published for
    training; the 10000 published for testing.

    Parameters
    ----------
    coding:
        "standard", "current", "rate" or "latency", see the module.
    steps:
        Time steps, 1 or more; 2 or more where the coding has a time. Every step takes 220 MB for all samples.
    flat:
        Pixels on one axis: `[steps, sample, 784]`, for a network that begins with a Linear layer.
    samples:
        Of the training samples only so many, with every class in proportion.
    """
    codings = {"standard": _standard, **SPIKE_CODINGS}
    if coding not in codings:
        raise NeurosimError(f"coding is {coding!r}", where="task fmnist", allowed=", ".join(codings))
    least = 2 if coding in ("rate", "latency") else 1
    steps = whole("steps", steps, f"task fmnist, coding {coding}", least)
    true_or_false("flat", flat, "task fmnist")
    arrays = {what: read_idx(files.obtain_file(file)) for what, file in FILES.items()}
    train, validation = divide(arrays["train_labels"], samples)
    parts = [(arrays["train_images"][train], arrays["train_labels"][train]),
             (arrays["train_images"][validation], arrays["train_labels"][validation]),
             (arrays["test_images"], arrays["test_labels"])]
    shape = (784,) if flat else (1, 28, 28)
    splits = [Split(codings[coding](images.reshape(len(images), -1) / np.float32(255), steps)
                    .reshape(steps, len(images), *shape), labels.astype(np.int64)) for images, labels in parts]
    return Task("fmnist", *splits, CLASSES, DT, CITATION,
                {"coding": coding, "steps": int(steps), "flat": flat, "samples": samples})


def _standard(intensity: np.ndarray, steps: int) -> np.ndarray:
    return current((intensity - MEAN) / SPREAD, steps)


def divide(labels: np.ndarray, samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and validation, in proportion to the classes, the same in every call."""
    from sklearn.model_selection import train_test_split

    train, validation = train_test_split(np.arange(labels.size), test_size=_VALIDATION, stratify=labels,
                                         random_state=_SEED)
    if samples is None:
        return train, validation
    if isinstance(samples, bool) or int(samples) != samples or not len(CLASSES) <= samples < train.size:
        raise NeurosimError(f"samples is {samples!r}", where="task fmnist",
                            allowed=f"{len(CLASSES)} to {train.size - 1}, or leave it away")
    train, _ = train_test_split(train, train_size=int(samples), stratify=labels[train], random_state=_SEED)
    return train, validation


def read_idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes from a gzipped IDX file.

    Two zero bytes, the type (8: unsigned byte), the number of axes, each length as 32 bits with the highest byte
    first, then the values (LeCun, Cortes, Burges, The MNIST database).
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise NeurosimError(f"cannot be read: {error}", where=str(path)) from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = tuple(np.frombuffer(content, ">u4", axes, 4).tolist()) if axes and len(content) >= 4 + 4 * axes else ()
    if not shape or len(content) != 4 + 4 * axes + math.prod(shape):
        raise NeurosimError("is no IDX file of unsigned bytes, or is cut short", where=str(path))
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
