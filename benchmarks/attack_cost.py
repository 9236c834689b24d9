"""What does a training step with the attack cost? In plain steps: forward, backward and Adam of the task's loss alone.

An attack of N steps is N passes forward and back; the loss under attack is one more, the clean network one, and with
noise in the task's loss one more again: N + 4 plain steps are the bar for N = 1, 3 and 10. The gradient is exact, with
nothing differentiated twice; beside it stands the same gradient by automatic differentiation through all steps of the
attack (on the snnTorch network, whose operations can be differentiated twice).

Networks: the LSNN of the published comparison (2-256-4, 100 steps, 100 samples), and a snnTorch network (64-64-10, 25
steps, 128 samples). All on one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import torch

from benchmarks import harness
from neurosim.training import LSNN, Attack, Hybrid, Objective, Recipe, Standard, spiking_mlp
from neurosim.training.deviations import gaussian, moved
from neurosim.training.distances import kl

STEPS = (1, 3, 10)


def objectives() -> dict[str, Callable[[], Objective]]:
    """A network with one batch of random inputs, by name."""
    draw = torch.Generator().manual_seed(0)
    lsnn, mlp = LSNN(2, 4, seed=1), spiking_mlp(64, 10, beta=0.8, seed=1)
    waves = torch.randn(100, 100, 2, generator=draw)
    drive = torch.rand(1, 128, 64, generator=draw).expand(25, -1, -1).contiguous()
    labels = torch.randint(0, 4, (128,), generator=draw)
    return {"lsnn": lambda: Objective(lsnn, waves, labels[:100], "mean", 1e-3),
            "snntorch": lambda: Objective(mlp, drive, labels)}


def step(recipe: Recipe, objective: Callable[[], Objective]) -> Callable[[], None]:
    """One update, always of the same parameters: the optimiser's learning rate is zero."""
    generator, optimiser = torch.Generator().manual_seed(2), torch.optim.Adam(objective().model.parameters(), lr=0.0)

    def run() -> None:
        loss = recipe.loss(objective(), generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return run


def unrolled(steps: int, objective: Callable[[], Objective]) -> Callable[[], None]:
    """The hybrid's update with the attack left to automatic differentiation."""
    generator, how = torch.Generator().manual_seed(2), Attack(steps=steps)
    optimiser = torch.optim.Adam(objective().model.parameters(), lr=0.0)

    def run() -> None:
        on = objective()
        clean = on.logits(on.parameters)
        star = moved(on.parameters, gaussian(on.parameters, on.reach, how.start, generator), on.reach)
        for _ in range(steps):
            slopes = torch.autograd.grad(kl(clean, on.logits(star)), list(star.values()), create_graph=True)
            star = {name: star[name] + how.size / steps * on.parameters[name].abs() * slope.sign()
                    for name, slope in zip(star, slopes, strict=True)}
        noisy = moved(on.parameters, gaussian(on.parameters, on.reach, 0.3, generator), on.reach)
        loss = on.loss(noisy) + 0.1 * kl(clean, on.logits(star))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return run


def measure(quick: bool) -> dict[str, object]:
    torch.set_num_threads(1)
    rounds = 5 if quick else 15
    found: dict[str, object] = {
        "name": "attack_cost", "machine": harness.machine(), "versions": harness.versions("torch", "numba", "snntorch"),
        "settings": {"rounds": rounds, "threads": 1, "steps": STEPS, "precision": "float32"}, "results": {}, "bars": [],
        "missing": []}
    for name, objective in objectives().items():
        contestants = {"plain": step(Standard(), objective)}
        contestants |= {f"hybrid, N = {n}": step(Hybrid(steps=n), objective) for n in STEPS}
        if name == "snntorch":
            contestants["unrolled, N = 3"] = unrolled(3, objective)
        times = harness.seconds(contestants, rounds)
        plain = harness.spread(times["plain"])["median"]
        found["results"][name] = {who: {**harness.spread(seconds, 1e-3),
                                        "plain_steps": harness.spread(seconds)["median"] / plain}
                                  for who, seconds in times.items()}
        for n in STEPS:
            found["bars"].append(harness.bar(f"{name}: plain steps that a step of hybrid costs, N = {n}",
                                             found["results"][name][f"hybrid, N = {n}"]["plain_steps"], at_most=n + 4))
    return found


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["network", "step", "ms", "least", "largest", "plain steps"]]
    for name, entries in result["results"].items():
        for who, entry in entries.items():
            rows.append([name, who, *(f"{entry[key]:.1f}" for key in ("median", "least", "largest", "plain_steps"))])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
