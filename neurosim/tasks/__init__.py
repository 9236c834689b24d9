"""Real data sets, fetched with a checksum or read from a folder, as arrays with time first.

Never imports torch. scikit-learn, wfdb and pooch are imported when a task needs them. Where the files are looked
for is said in `neurosim.tasks.files`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.tasks import digits, ecg, fmnist, speech
from neurosim.tasks.task import Split, Task, TaskInfo

__all__ = ["Split", "Task", "TaskInfo", "fetch_task", "load_task", "task_info", "task_names"]

_TASKS: dict[str, ModuleType] = {"digits": digits, "ecg": ecg, "fmnist": fmnist, "speech": speech}


def task_names() -> tuple[str, ...]:
    """The names that `load_task` knows."""
    return tuple(_TASKS)


def _named(name: str) -> ModuleType:
    if name not in _TASKS:
        raise NeurosimError(f"there is no task {name!r}", where="task", allowed=", ".join(_TASKS),
                            hint=did_you_mean(name, list(_TASKS)))
    return _TASKS[name]


def load_task(name: str, /, **options: object) -> Task:
    """Load a task as arrays; downloads it the first time where no folder holds it.

    Options are those of the task: `neurosim.tasks.digits.load` (coding, steps), `neurosim.tasks.ecg.load` (split,
    window, coding, levels), `neurosim.tasks.fmnist.load` (coding, steps, flat, samples);
    `neurosim.tasks.speech.load` has none.

    >>> load_task("digits", coding="latency", steps=10)
    Task('digits', train 1097, validation 200, test 500; inputs [time=10, sample, channel=64], dt=0.001 s, classes \
0, 1, 2, 3, 4, 5, 6, 7, 8, 9)

    Raises
    ------
    NeurosimError
        The name or an option is not known, or the data cannot be had (see `neurosim.tasks.files.obtain`).
    """
    load = _named(name).load
    known = list(inspect.signature(load).parameters)
    for option in options:
        if option not in known:
            raise NeurosimError(f"there is no option {option!r}", where=f"task {name}", allowed=", ".join(known),
                                hint=did_you_mean(option, known))
    return load(**options)


def task_info(name: str) -> TaskInfo:
    """Title, source, licence and place of a task, without loading it."""
    return _named(name).info()


def fetch_task(name: str) -> Path:
    """Make the files of a task lie on this machine, checked; returns where they are."""
    return _named(name).fetch()
