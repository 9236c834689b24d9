"""How fast is a training step on a GPU? The compiled recurrence against loops in snnTorch, Norse and torch, all there.

Networks, data and equations are those of `training_step`; beside them stands neurosim on the processor, on all its
cores. Before anything is timed, the gradients on the GPU must agree with those on the processor. What compiling takes,
once for a network, is reported beside. Without a CUDA device nothing is measured, and the result says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from benchmarks import harness
from benchmarks.training_step import CONTESTANTS, SHAPES, Step, data
from neurosim.training.compiled import backend_of

PEERS = ("snntorch", "norse")
HERE = "neurosim, on the processor"


def contestants(names: list[str], device: str) -> dict[str, tuple[Step, nn.Module]]:
    """Each one's function and its module, on a device."""
    made = {name: CONTESTANTS[name]("triangle") for name in names}
    return {name: (step, module.to(device)) for name, (step, module) in made.items()}


def training_step(step: Step, module: nn.Module, steps: int, samples: int) -> Callable[[], torch.Tensor]:
    """Forward and backward, to the end of both."""
    device = next(module.parameters()).device
    inputs, labels = (part.to(device) for part in data(steps, samples))

    def run() -> torch.Tensor:
        module.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(step(inputs).mean(dim=0), labels)
        loss.backward()
        return loss.detach().cpu()  # waits for what runs there

    return run


def agreement(device: str) -> float:
    """Largest relative difference between the loss's gradients here and there, of 60 steps."""
    found = []
    for where in ("cpu", device):
        step, module = contestants(["neurosim"], where)["neurosim"]
        training_step(step, module, 60, 16)()
        found.append([value.grad.cpu() for value in module.parameters()])
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in zip(*found, strict=True))


def measure(quick: bool) -> dict[str, object]:
    peers = [name for name in PEERS if harness.missing(name)]
    there = torch.cuda.is_available()
    result: dict[str, object] = {
        "name": "cuda_step", "machine": harness.machine(),
        "versions": harness.versions("numba", "torch", "triton", "snntorch", "norse"),
        "settings": {"precision": "float32", "surrogate": "triangle", "rounds": 5 if quick else 9}, "results": {},
        "bars": [], "missing": peers if there else ["a CUDA device", *peers]}
    if not there:
        return result
    result["machine"]["gpu"] = torch.cuda.get_device_name()
    result["settings"]["backend"] = backend_of(torch.device("cuda"))
    start = time.perf_counter()
    apart = agreement("cuda")
    result["results"] = {"agreement": apart, "seconds_to_compile": time.perf_counter() - start, "steps": []}
    if apart > 1e-3:
        raise SystemExit(f"GPU and processor do not agree ({apart}): nothing to compare")
    made = contestants(["neurosim", "torch by hand", *(name for name in PEERS if name not in peers)], "cuda")
    made[HERE] = contestants(["neurosim"], "cpu")["neurosim"]
    for steps, samples in SHAPES:
        times = harness.seconds({name: training_step(*pair, steps, samples) for name, pair in made.items()},
                                result["settings"]["rounds"])
        ms = {name: harness.spread(found, 1e-3) for name, found in times.items()}
        result["results"]["steps"].append({
            "steps": steps, "samples": samples, "ms": ms,
            "ratio": {name: found["median"] / ms["neurosim"]["median"] for name, found in ms.items()}})
    return result


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["steps", "samples", "who", "ms", "least", "neurosim is faster"]]
    for entry in result["results"].get("steps", ()):
        for name, ratio in entry["ratio"].items():
            ms = entry["ms"][name]
            rows.append([str(entry["steps"]), str(entry["samples"]), name, f"{ms['median']:.1f}", f"{ms['least']:.1f}",
                         f"{ratio:.2f} times"])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
