"""How fast are many dies? `neurosim.deploy` against a loop over dies with snnTorch's modules.

100 dies of a chip type, 64 samples, 100 steps, 40 inputs, 256 recurrent neurons, 6 outputs, float32; about 3 % of the
recurrent neurons fire in a step. Each weight and bias of a die is its own times N(1, 0.2^2): the profile `mismatch`.

neurosim is timed as its user calls it: `deploy` draws every die, runs it and counts its events. snnTorch gets the dies
drawn already, and is timed from copying them into its modules to the predictions, twice: as its tutorials write it
(all layers step by step; `eval`, no gradients), and tuned as far as its modules let it (surrogates switched off, both
feed-forward layers over all steps at once). Both get the same number of threads: torch inside an operation, neurosim
over dies. Before anything is timed, both must give the same spikes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

import neurosim as ns
from benchmarks import harness
from neurosim.network.forward import compile_inputs, compile_steps, run, run_block

if TYPE_CHECKING:
    import torch

DIES, SAMPLES, STEPS, INPUTS, HIDDEN, CLASSES = 100, 64, 100, 40, 256, 6
SEED, INPUT_RATE, LOT = 11, 0.05, 7
PEERS = {"snntorch": False, "snntorch_tuned": True}
Die = Mapping[str, Mapping[str, np.ndarray]]


def make_network(rng: np.random.Generator) -> ns.Network:
    """The weights are tuned so that about 3 % of the hidden neurons fire in a step."""
    return ns.Network.sequential({
        "in": ns.Linear(rng.normal(0, 0.21, (HIDDEN, INPUTS)), rng.normal(0, 0.02, HIDDEN)),
        "hidden": ns.LIF(np.full(HIDDEN, 0.9), recurrent=rng.normal(0, 0.05, (HIDDEN, HIDDEN))),
        "out": ns.Linear(rng.normal(0, 0.3, (CLASSES, HIDDEN)), np.zeros(CLASSES)),
        "classes": ns.LIF(np.full(CLASSES, 0.9)),
    }, (INPUTS,), dt=1e-3)


class SnnTorch:
    """The network in snnTorch's modules, and the loop over dies."""

    def __init__(self, network: ns.Network, inputs: np.ndarray, tuned: bool) -> None:
        import snntorch
        import torch

        self.inputs, self.tuned = torch.from_numpy(inputs), tuned
        self.first, self.second = torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
        self.hidden = snntorch.RLeaky(torch.tensor(network["hidden"].beta).float(), linear_features=HIDDEN,
                                      surrogate_disable=tuned).eval()
        self.hidden.recurrent.bias.data.zero_()
        self.classes = snntorch.Leaky(torch.tensor(network["classes"].beta).float(), surrogate_disable=tuned).eval()
        self.targets = {("in", "weight"): self.first.weight, ("in", "bias"): self.first.bias,
                        ("hidden", "recurrent"): self.hidden.recurrent.weight,
                        ("out", "weight"): self.second.weight, ("out", "bias"): self.second.bias}

    def spikes(self, die: Die) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden and output spikes `[time, batch, neurons]` of a die."""
        import torch

        with torch.no_grad():
            for (layer, name), target in self.targets.items():
                target.copy_(torch.from_numpy(die[layer][name]))
            return self._all_steps() if self.tuned else self._step_by_step()

    def _step_by_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        hidden, classes = [], []
        (spike, v), v_class = self.hidden.reset_mem(), self.classes.reset_mem()
        for now in self.inputs:
            spike, v = self.hidden(self.first(now), spike, v)
            hidden.append(spike)
            out, v_class = self.classes(self.second(spike), v_class)
            classes.append(out)
        return torch.stack(hidden), torch.stack(classes)

    def _all_steps(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        hidden, classes = [], []
        (spike, v), v_class = self.hidden.reset_mem(), self.classes.reset_mem()
        for current in self.first(self.inputs):
            spike, v = self.hidden(current, spike, v)
            hidden.append(spike)
        hidden = torch.stack(hidden)
        for current in self.second(hidden):
            out, v_class = self.classes(current, v_class)
            classes.append(out)
        return hidden, torch.stack(classes)

    def run(self, dies: list[Die]) -> list[np.ndarray]:
        """The prediction of every die for every sample."""
        return [self.spikes(die)[1].sum(0).argmax(1).numpy() for die in dies]


def agreement(network: ns.Network, inputs: np.ndarray, peer: SnnTorch, dies: list[Die]) -> dict[str, float]:
    """Share of all spikes that both have, and share of (step, sample, neuron) where both say the same."""
    common = either = entries = 0
    for die in dies:
        ours = run(network, inputs, die, keep=("hidden", "classes")).kept
        for name, theirs in zip(("hidden", "classes"), peer.spikes(die), strict=True):
            a, b = ours[name] > 0, theirs.numpy() > 0
            common, either, entries = common + (a & b).sum(), either + (a | b).sum(), entries + a.size
    return {"spikes": float(common / either), "entries": float(1 - (either - common) / entries)}


def parts(network: ns.Network, inputs: np.ndarray, lot: ns.Dies) -> dict[str, float]:
    """Milliseconds that drawing, preparing and running one die take, one thread; medians over dies."""
    (block,) = compile_inputs(network, inputs)
    times = []
    for die in range(30):
        marks = [time.perf_counter()]
        parameters = lot.parameters(die)
        marks.append(time.perf_counter())
        steps = compile_steps(network, parameters)
        marks.append(time.perf_counter())
        run_block(network, steps, block)
        marks.append(time.perf_counter())
        times.append(np.diff(marks))
    return dict(zip(("draw", "prepare", "run"), (1e3 * np.median(times, axis=0)).tolist(), strict=True))


def measure(quick: bool) -> dict[str, object]:
    rng = np.random.default_rng(SEED)
    network = make_network(rng)
    inputs = (rng.random((STEPS, SAMPLES, INPUTS)) < INPUT_RATE).astype(np.float32)
    labels = rng.integers(0, CLASSES, SAMPLES)
    mapped = ns.map_network(network, ns.load_profile("mismatch"))
    lot = ns.Dies(mapped, LOT)
    peers = harness.missing("torch", "snntorch")
    peer_dies = 3 if quick else DIES
    nominal = run(network, inputs)
    result = {
        "name": "many_dies", "machine": harness.machine(),
        "versions": harness.versions("numpy", "numba", "torch", "snntorch"),
        "settings": {"dies": DIES, "peer_dies": peer_dies, "samples": SAMPLES, "steps": STEPS, "rounds": 5,
                     "network": f"{INPUTS}-{HIDDEN} (recurrent LIF)-{CLASSES} (LIF)", "precision": "float32",
                     "profile": "mismatch", "seed": LOT,
                     "activity": float(nominal.spikes["hidden"].sum() / (STEPS * SAMPLES * HIDDEN)),
                     "dies_drawn": "by neurosim within its time, for the peer before it"},
        "results": {"parts_ms": parts(network, inputs, lot), "ms_per_die": []}, "bars": [], "missing": peers,
    }
    others = {}
    if not peers:
        import torch

        dies = [lot.parameters(die) for die in range(peer_dies)]
        result["results"]["agreement"] = {}
        for name, tuned in PEERS.items():
            peer = SnnTorch(network, inputs, tuned)
            found = result["results"]["agreement"][name] = agreement(network, inputs, peer, dies[:10])
            if found["spikes"] < 0.999:
                raise SystemExit(f"{name} and neurosim do not give the same spikes ({found}): nothing to compare")
            others[name] = lambda peer=peer: peer.run(dies)
    for threads in sorted({1, harness.cores()}):
        if not peers:
            torch.set_num_threads(threads)
        times = harness.seconds({
            "neurosim": lambda n=threads: ns.deploy(mapped, inputs, labels, DIES, LOT, threads=n, progress=False),
            **others}, rounds=5)
        entry = {"threads": threads}
        for name, found in times.items():
            entry[name] = harness.spread(found, 1e-3 * (DIES if name == "neurosim" else peer_dies))
        entry["ratio"] = {name: entry[name]["median"] / entry["neurosim"]["median"] for name in times}
        result["results"]["ms_per_die"].append(entry)
        if not peers:
            result["bars"].append(harness.bar(f"times faster than a loop over dies with snnTorch, {threads} thread(s)",
                                              entry["ratio"]["snntorch"], at_least=20))
    return result


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["threads", "who", "ms a die", "least", "largest", "neurosim is faster"]]
    for entry in result["results"]["ms_per_die"]:
        for name, ratio in entry["ratio"].items():
            times = [f"{entry[name][key]:.2f}" for key in ("median", "least", "largest")]
            rows.append([str(entry["threads"]), name.replace("_", ", "), *times, f"{ratio:.1f} times"])
    for name, value in result["results"]["parts_ms"].items():
        rows.append(["1", f"neurosim: {name}", f"{value:.2f}", "", "", ""])
    rows.append(["", f"{result['settings']['activity']:.1%} of the neurons fire in a step", "", "", "", ""])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
