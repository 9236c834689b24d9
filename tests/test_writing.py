"""Every kind of file meets a full disk with one sentence, and leaves the old file; no output takes an input's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neurosim.errors import NeurosimError
from neurosim.writing import refuse_place

# The limit on the size of a file stands for a disk of so many bytes: the same call fails, with another number.
FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, torch, xarray as xr
import neurosim as ns
from neurosim.deployment.files import write_results
from neurosim.profile import write_word_mask
from neurosim.training.checkpoints import State, save

out = Path(sys.argv[1])
net = ns.Network.sequential([ns.Linear(np.ones((200, 200))), ns.LIF(0.9, reset="zero")], (200,), dt=1e-3)
module = torch.nn.Linear(200, 200)
state = State(module, torch.optim.Adam(module.parameters()), torch.Generator(), torch.Generator(), None)
good = np.random.default_rng(0).random((4, 256, 64)) < 0.5
writers = {"model": net.save, "results": lambda path: write_results(xr.Dataset({"x": ("a", np.ones(20000))}), path),
           "graph": net.to_nir, "checkpoint": lambda path: save(path, state, {}),
           "words": lambda path: write_word_mask(path, good, "")}
for name in writers:
    (out / name).write_text("old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for name, write in writers.items():
    try:
        write(out / name)
    except ns.NeurosimError as error:
        print(name, error.message)
"""


def test_a_full_disk_is_one_sentence_and_no_crash(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    names = ["model", "results", "graph", "checkpoint", "words"]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name} cannot be written: File too large" for name in names]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "old")


def test_no_output_takes_the_place_of_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("a")
    (tmp_path / "link.nc").symlink_to(tmp_path / "a.nc")
    for inputs in (["b.nc", "a.nc"], ["link.nc"], [str(tmp_path / "sub" / ".." / "a.nc")]):
        with pytest.raises(NeurosimError, match=r"a\.nc: is one of the inputs; choose another output"):
            refuse_place(tmp_path / "a.nc", None, *(tmp_path / name for name in inputs))
    refuse_place(tmp_path / "a.nc", tmp_path / "b.nc")
    refuse_place(tmp_path / "new.nc", tmp_path / "new.nc")
