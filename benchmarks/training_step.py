"""How fast is a training step? neurosim's fused recurrence against loops in snnTorch, Norse, SpikingJelly and torch.

16 inputs, 256 recurrent spiking neurons, 6 outputs, float32: forward, cross-entropy of the mean output, backward to all
weights. Every contestant has its two linear layers on all steps at once, which only those can whose neurons are called
step by step anyway, and the same surrogate derivative: the triangle max(0, 1 - |u|). neurosim, snnTorch and the loop
written by hand have the same equations and weights, and must agree before anything is timed. Norse's recurrent neuron
takes the inputs itself, and has a synaptic current besides the membrane, as "neurosim, with synapse" has.
SpikingJelly's recurrent container takes time that grows with the square of the steps: it is timed at 100 of them. The
surrogate that snnTorch has by default, an arctangent that never ends, is reported beside (for Norse: its own default).

Memory is what a step adds to the resident memory of a fresh process at most (Linux), 1000 steps of 100 samples.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import harness
from neurosim.training import LIF, CubaLIF, SpikingNetwork, Surrogate

INPUTS, UNITS, CLASSES, BETA, ALPHA = 16, 256, 6, 0.9, 0.8
SHAPES = ((100, 32), (100, 100), (1000, 32))  # steps, samples
LONG, MEMORY = 4000, (1000, 100)
SURROGATES = {"triangle": Surrogate.triangle(), "arctan": Surrogate.arctan()}
Step = Callable[[torch.Tensor], torch.Tensor]  # inputs to output [time, batch, class]


class Triangle(torch.autograd.Function):
    """A spike where u > 0; backwards max(0, 1 - |u|)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, u: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        return grad * (1 - u.abs()).clamp(min=0)


class Arctan(Triangle):
    """A spike where u > 0; backwards 1 / (1 + (pi u)^2)."""

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> torch.Tensor:
        (u,) = ctx.saved_tensors
        return grad / (1 + (np.pi * u).square())


SPIKE = {"triangle": Triangle.apply, "arctan": Arctan.apply}


def network(surrogate: str = "triangle", cuba: bool = False) -> SpikingNetwork:
    """The weights, from one seed, are tuned so that between 1 and 3 % of the neurons fire in a step."""
    recurrent = 0.05 * torch.randn(UNITS, UNITS, generator=torch.Generator().manual_seed(1))
    options = {"recurrent": recurrent, "surrogate": SURROGATES[surrogate]}
    kind, more = (CubaLIF, {"alpha": ALPHA, "gain": 1 - BETA}) if cuba else (LIF, {})
    cells = kind(UNITS, beta=BETA, **more, **options)
    net = SpikingNetwork({"in": nn.Linear(INPUTS, UNITS), "cells": cells, "out": nn.Linear(UNITS, CLASSES)}, (INPUTS,),
                         dt=1e-3)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        net["in"].weight.normal_(0, 0.27 if cuba else 0.07, generator=generator)
        net["out"].weight.normal_(0, 0.06, generator=generator)
        net["in"].bias.zero_()
        net["out"].bias.zero_()
    return net


def by_hand(surrogate: str) -> tuple[Step, nn.Module]:
    """A loop as a careful person writes it: unbind, the products with inputs and to outputs outside."""
    net, spike = network(surrogate), SPIKE[surrogate]

    def step(inputs: torch.Tensor) -> torch.Tensor:
        v = z = inputs.new_zeros(inputs.shape[1], UNITS)
        rows, spikes = net["cells"].recurrent.T, []
        for current in net["in"](inputs).unbind(0):
            v = BETA * v + current + z @ rows - z.detach()
            z = spike(v - 1)
            spikes.append(z)
        return net["out"](torch.stack(spikes))

    return step, net


def snntorch(surrogate: str) -> tuple[Step, nn.Module]:
    from snntorch import RLeaky

    net = network(surrogate)
    cells = RLeaky(beta=BETA, linear_features=UNITS, spike_grad=SPIKE[surrogate])
    cells.recurrent.weight = net["cells"].recurrent
    nn.init.zeros_(cells.recurrent.bias)

    def step(inputs: torch.Tensor) -> torch.Tensor:
        (z, v), spikes = cells.reset_mem(), []
        for current in net["in"](inputs).unbind(0):
            z, v = cells(current, z, v)
            spikes.append(z)
        return net["out"](torch.stack(spikes))

    return step, nn.ModuleList([net, cells])


def norse(surrogate: str) -> tuple[Step, nn.Module]:
    from norse.torch import LIFParameters, LIFRecurrentCell

    parameters = LIFParameters(method="triangle", alpha=1.0) if surrogate == "triangle" else LIFParameters()
    net, cells = network(surrogate), LIFRecurrentCell(INPUTS, UNITS, p=parameters, autapses=True)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        cells.input_weights.normal_(0, 0.27, generator=generator)
        cells.recurrent_weights.normal_(0, 0.05, generator=generator)

    def step(inputs: torch.Tensor) -> torch.Tensor:
        state, spikes = None, []
        for now in inputs.unbind(0):
            z, state = cells(now, state)
            spikes.append(z)
        return net["out"](torch.stack(spikes))

    return step, nn.ModuleList([net["out"], cells])


def spikingjelly(surrogate: str) -> tuple[Step, nn.Module]:
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.surrogate import ATan, PiecewiseQuadratic

    kind = PiecewiseQuadratic(alpha=1.0) if surrogate == "triangle" else ATan()
    cells = layer.LinearRecurrentContainer(
        neuron.LIFNode(tau=1 / (1 - BETA), decay_input=False, v_reset=None, detach_reset=True, surrogate_function=kind),
        UNITS, UNITS, step_mode="m")
    net = network(surrogate)
    with torch.no_grad():
        cells.rc.weight.copy_(torch.cat([torch.eye(UNITS), net["cells"].recurrent], dim=1))
        cells.rc.bias.zero_()

    def step(inputs: torch.Tensor) -> torch.Tensor:
        functional.reset_net(cells)
        return net["out"](cells(net["in"](inputs)))

    return step, nn.ModuleList([net, cells])


def ours(surrogate: str, cuba: bool = False) -> tuple[Step, nn.Module]:
    net = network(surrogate, cuba)
    return net.__call__, net


CONTESTANTS: dict[str, Callable[[str], tuple[Step, nn.Module]]] = {
    "neurosim": ours, "neurosim, with synapse": lambda surrogate: ours(surrogate, cuba=True), "torch by hand": by_hand,
    "snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly}


def data(steps: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return (torch.randn(steps, samples, INPUTS, generator=generator),
            torch.randint(0, CLASSES, (samples,), generator=generator))


def training_step(name: str, surrogate: str, steps: int, samples: int) -> Callable[[], torch.Tensor]:
    """Forward and backward of a contestant on data of its own."""
    step, module = CONTESTANTS[name](surrogate)
    inputs, labels = data(steps, samples)

    def run() -> torch.Tensor:
        module.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(step(inputs).mean(dim=0), labels)
        loss.backward()
        return loss.detach()

    return run


def agreement(surrogate: str) -> dict[str, float]:
    """Largest relative difference in output and a gradient between the contestants with the same equations."""
    inputs, labels = data(60, 16)
    found = {}
    for name in ("neurosim", "torch by hand", "snntorch"):
        step, module = CONTESTANTS[name](surrogate)
        output = step(inputs)
        nn.functional.cross_entropy(output.mean(dim=0), labels).backward()
        weights = next(p for p in module.parameters() if p.shape == (UNITS, INPUTS))
        found[name] = (output.detach(), weights.grad)
    one, gradient = found["torch by hand"]
    return {name: max(((a - one).abs().max() / one.abs().max()).item(),
                      ((b - gradient).abs().max() / gradient.abs().max()).item()) for name, (a, b) in found.items()}


def rate(name: str) -> float:
    """Spikes per neuron and step: the mean of what reaches the output layer."""
    step, module = CONTESTANTS[name]("triangle")
    seen = []
    out = next(m for m in module.modules() if isinstance(m, nn.Linear) and m.out_features == CLASSES)
    with out.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        step(data(300, 16)[0])
    return float(seen[0].detach().mean())


def memory(name: str) -> float | None:
    """MiB that one step adds at most, in a fresh process; None where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    done = subprocess.run([sys.executable, "-m", "benchmarks.training_step", "--memory-of", name], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def memory_here(name: str) -> float:
    torch.set_num_threads(1)
    training_step(name, "triangle", 10, MEMORY[1])()  # what is compiled and loaded once
    run = training_step(name, "triangle", *MEMORY)
    gc.collect()

    def status(key: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(key)) / 1024

    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def measure(quick: bool) -> dict[str, object]:
    before, kinds = torch.get_num_threads(), ("triangle",) if quick else tuple(SURROGATES)
    peers = [name for name in ("snntorch", "norse", "spikingjelly") if harness.missing(name)]
    names = [name for name in CONTESTANTS if name not in peers]
    result = {
        "name": "training_step", "machine": harness.machine(),
        "versions": harness.versions("numpy", "numba", "torch", "snntorch", "norse", "spikingjelly"),
        "settings": {"network": f"{INPUTS}-{UNITS} recurrent-{CLASSES}", "precision": "float32", "surrogates": kinds,
                     "rates": {name: rate(name) for name in names}, "memory_steps_samples": MEMORY,
                     "rounds": 5 if quick else 9},
        "results": {"steps": []}, "bars": [], "missing": peers}
    if "snntorch" in names:
        result["results"]["agreement"] = agreement("triangle")
        if max(result["results"]["agreement"].values()) > 1e-3:
            raise SystemExit(f"the contestants do not agree ({result['results']['agreement']}): nothing to compare")
    for threads in (1,) if quick else sorted({1, harness.cores()}):
        torch.set_num_threads(threads)
        for surrogate in kinds:
            result["results"]["steps"] += [
                timed(names, threads, surrogate, *shape, result["settings"]["rounds"]) for shape in SHAPES]
    torch.set_num_threads(1)
    lengths = {f"{steps}": training_step("neurosim", "triangle", steps, 32) for steps in (100, 400, 1000, LONG)}
    times = harness.seconds(lengths, result["settings"]["rounds"])
    result["results"]["ms_by_steps"] = {steps: 1e3 * float(np.median(found)) for steps, found in times.items()}
    torch.set_num_threads(before)
    result["results"]["memory_mib"] = {name: memory(name) for name in names if name != "spikingjelly"}
    result["bars"] = list(bars(result["results"]))
    return result


def timed(names: list[str], threads: int, surrogate: str, steps: int, samples: int, rounds: int) -> dict[str, object]:
    """Milliseconds of a training step of each contestant, and how many times neurosim's that is."""
    chosen = [name for name in names if name != "spikingjelly" or steps <= 100]
    times = harness.seconds({name: training_step(name, surrogate, steps, samples) for name in chosen}, rounds)
    spreads = {name: harness.spread(found, 1e-3) for name, found in times.items()}
    return {"threads": threads, "surrogate": surrogate, "steps": steps, "samples": samples, "ms": spreads,
            "ratio": {name: found["median"] / spreads["neurosim"]["median"] for name, found in spreads.items()}}


def bars(results: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """The figures that are held to a limit."""
    limits = {(1000, 32): {"snntorch": 9, "norse": 7, "torch by hand": 5}, (100, 100): {"snntorch": 6}}
    for entry in results["steps"]:
        for name, limit in limits.get((entry["steps"], entry["samples"]), {}).items():
            if name in entry["ratio"] and entry["surrogate"] == "triangle":
                yield harness.bar(f"times faster than {name}: {entry['steps']} steps, {entry['samples']} samples, "
                                  f"{entry['threads']} thread(s)", entry["ratio"][name], at_least=limit)
    times, held = results["ms_by_steps"], results["memory_mib"]
    yield harness.bar(f"time of one of {LONG} steps over that of one of 100",
                      times[f"{LONG}"] / times["100"] * 100 / LONG, at_most=1.25)
    if held.get("snntorch"):
        yield harness.bar("peak memory of a step over snnTorch's", held["neurosim"] / held["snntorch"], at_most=0.35)


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["threads", "surrogate", "steps", "samples", "who", "ms", "least", "neurosim is faster"]]
    for entry in result["results"]["steps"]:
        for name, ratio in entry["ratio"].items():
            ms = entry["ms"][name]
            rows.append([*(str(entry[key]) for key in ("threads", "surrogate", "steps", "samples")), name,
                         f"{ms['median']:.1f}", f"{ms['least']:.1f}", f"{ratio:.2f} times"])
    for steps, ms in result["results"]["ms_by_steps"].items():
        rows.append(["1", "triangle", steps, "32", "neurosim", f"{ms:.1f}", "", ""])
    for name, mib in result["results"]["memory_mib"].items():
        steps, samples = map(str, MEMORY)
        told = "not told" if mib is None else f"{mib:.0f} MiB"
        rows.append(["1", "triangle", steps, samples, f"{name}, memory", told, "", ""])
    return rows


def main() -> int:
    if sys.argv[1:2] == ["--memory-of"]:
        print(json.dumps(memory_here(sys.argv[2])))
        return 0
    return harness.run(__doc__, measure, table)


if __name__ == "__main__":
    sys.exit(main())
