"""The small digits of scikit-learn: 8 x 8 pixels, no download; the task for a first look and for tests.

Three codings of a pixel p in 0..16 over the steps t = 0 .. steps - 1:

``current``  ``x_t = p / 16`` in every step: a constant drive.
``rate``     ``x_t = floor((t + 1) p / 16) - floor(t p / 16)``: evenly spaced spikes, p / 16 a step; nothing is random.
``latency``  one spike, ``x_t = [t = floor((1 - p / 16) (steps - 1) + 1/2)]``, the brighter the earlier; a pixel
with p = 0 stays silent. (First-spike coding, linear in the intensity: Thorpe, Delorme, Van Rullen, Neural Networks
14, 715 (2001).)
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from neurosim.errors import NeurosimError, whole
from neurosim.tasks.task import Split, Task, TaskInfo

DT = 1e-3
CITATION = ("E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository "
            "(1998), doi:10.24432/C50P49; as in scikit-learn")
_TEST, _VALIDATION, _SEED = 500, 200, 42


def info() -> TaskInfo:
    return TaskInfo("digits", "Handwritten digits, 8 x 8 pixels, 1797 samples, 10 classes",
                    "scikit-learn (UCI, Optical Recognition of Handwritten Digits)", "CC BY 4.0", CITATION, 0,
                    str(fetch()))


def fetch() -> Path:
    """The file within scikit-learn; nothing is downloaded."""
    return Path(find_spec("sklearn").origin).parent / "datasets" / "data" / "digits.csv.gz"


def load(coding: str = "current", steps: int = 30) -> Task:
    """Digits as drive or spikes of 64 inputs, `[steps, sample, 64]`, dt 1 ms.

    1097 samples for training, 200 for validation, 500 for testing; the split is the same in every call and has
    every class in proportion.

    Parameters
    ----------
    coding:
        "current", "rate" or "latency", see the module.
    steps:
        Time steps, 2 or more.

    >>> load(steps=4).train.inputs.shape
    (4, 1097, 64)
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if coding not in CODINGS:
        raise NeurosimError(f"coding is {coding!r}", where="task digits", allowed=", ".join(CODINGS))
    steps = whole("steps", steps, "task digits", 2)
    pixels, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(np.arange(labels.size), test_size=_TEST, stratify=labels, random_state=_SEED)
    train, validation = train_test_split(rest, test_size=_VALIDATION, stratify=labels[rest], random_state=_SEED)
    coded = CODINGS[coding](pixels / 16, steps)
    parts = [Split(coded[:, part], labels[part]) for part in (train, validation, test)]
    return Task("digits", *parts, tuple("0123456789"), DT, CITATION, {"coding": coding, "steps": int(steps)})


def current(intensity: np.ndarray, steps: int) -> np.ndarray:
    """`[sample, channel]` in 0..1 as a constant drive `[steps, sample, channel]`."""
    return np.broadcast_to(np.asarray(intensity, np.float32), (steps, *intensity.shape))


def rate(intensity: np.ndarray, steps: int) -> np.ndarray:
    """`[sample, channel]` in 0..1 as evenly spaced spikes, `[steps, sample, channel]` of 0 and 1.

    >>> rate(np.array([[1.0, 0.5, 0.0]]), 4)[:, 0].sum(axis=0)
    array([4., 2., 0.], dtype=float32)
    """
    total = np.floor(np.arange(steps + 1)[:, None, None] * intensity)
    return np.diff(total, axis=0).astype(np.float32)


def latency(intensity: np.ndarray, steps: int) -> np.ndarray:
    """`[sample, channel]` in 0..1 as at most one spike per channel, `[steps, sample, channel]` of 0 and 1.

    >>> latency(np.array([[1.0, 0.5, 0.0]]), 3)[:, 0]
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    when = np.floor((1 - intensity) * (steps - 1) + 0.5)
    when[intensity == 0] = steps  # after the end: never
    return (np.arange(steps)[:, None, None] == when).astype(np.float32)


CODINGS = {"current": current, "rate": rate, "latency": latency}
