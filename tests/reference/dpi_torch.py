"""The way back through subthreshold neurons, by torch's own differentiation: what `neurosim.engine.learning_dpi` says.

The trajectory comes in as data; each step is built as a value with the stated derivative (`with_slope`), and autograd
does the rest. Names of rows are passed in, nothing of neurosim is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


def with_slope(value: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
    """`value`, with the derivatives of the parts."""
    return value.detach() + sum(part - part.detach() for part in parts)


def spikes(row: Mapping[str, int], trace: torch.Tensor, fired: torch.Tensor, growths: Sequence[torch.Tensor],
           recurrent: Sequence[torch.Tensor | None], targets: Sequence[str], cells: torch.Tensor,
           synapses: Sequence[torch.Tensor], current: torch.Tensor, power: float, sigmoid: bool, linear: bool,
           adapts: bool, steepness: float) -> torch.Tensor:
    """Spikes `[time, neurons]` of one sample with their gradients.

    trace `[time, 3 + types, neurons]`; growths: of the input pulses, `[time, neurons]` for each type; recurrent: growth
    `[from, to]` or None; targets: "drive", "gated", "leak"; current `[time, neurons]`.
    """
    c = {name: cells[i] for name, i in row.items() if i < cells.shape[0]}
    v, rest = c["FLOOR"], torch.zeros_like(c["FLOOR"])
    w = [torch.log(synapse[row["Y_FLOOR"]]) for synapse in synapses]
    adapted = torch.log(c["ADAPT_FLOOR"]) if adapts else None
    out: list[torch.Tensor] = []
    for t in range(trace.shape[0]):
        sums = {"drive": c["BIAS"] + current[t], "gated": 0 * v, "leak": torch.ones_like(v)}
        for s, synapse in enumerate(synapses):
            growth = growths[s][t]
            if recurrent[s] is not None and t > 0:
                growth = growth + out[-1] @ recurrent[s]
            new = trace[t, 3 + s] / synapse[row["DECAY"]].detach()
            old = torch.exp(w[s].detach()) * synapse[row["ENTER"]].detach()
            before = w[s] + torch.log(synapse[row["ENTER"]])
            share = 1 / new if linear else 1 / (1 + new)
            rests = trace[t, 3 + s] <= synapse[row["Y_FLOOR"]] * 1.00001
            carried = share * (old if linear else 1 + old) * before + torch.log(synapse[row["DECAY"]])
            kept = torch.where(rests, torch.log(synapse[row["Y_FLOOR"]]), carried)
            w[s] = with_slope(torch.log(trace[t, 3 + s]), kept, share * growth)
            mean = synapse[row["MEAN"]] * torch.exp(w[s]) - synapse[row["OFFSET"]]
            sums[targets[s]] = sums[targets[s]] + mean
        if adapts:
            decayed = adapted + torch.log(c["ADAPT_DECAY"])
            floor = torch.log(c["ADAPT_FLOOR"])
            pre = torch.where(decayed <= floor + 1e-5, floor, decayed)
            sums["leak"] = sums["leak"] + c["ADAPT_MEAN"] * torch.exp(pre) - c["ADAPT_OFFSET"]
        spike = fired[t] > 0
        end = torch.where(spike, c["THRESHOLD"], trace[t, 0]).detach()
        h = (1 - rest).clamp(min=0).detach()
        middle = (v.detach() + end) / 2
        u = middle.clone().requires_grad_()
        fixed = [{k: x.detach() for k, x in given.items()} for given in (sums, c)]
        steep = torch.autograd.grad(_flow(u, *fixed, power, sigmoid, "gated" in targets).sum(), u)[0]
        z = (h * steep).clamp(-30, 1)
        phi = h * torch.where(z.abs() < 1e-6, 1 + z / 2, torch.expm1(z) / z)
        f = _flow(middle, sums, c, power, sigmoid, "gated" in targets)
        waking = (rest > 0) & (rest < 1)
        moved = [torch.exp(z) * v, phi * f, torch.where(waking, -f.detach() * torch.exp(z / 2) * c["REFRACTORY"], 0.0)]
        reached = with_slope(end, *moved)
        over = (v + h * f - c["THRESHOLD"]).clamp(min=0)
        off = torch.where(spike, over, c["THRESHOLD"] - trace[t, 0]).detach()
        out.append(with_slope(fired[t], (reached - c["THRESHOLD"]) / (1 + steepness * off) ** 2))
        v = with_slope(trace[t, 0], torch.where(spike, c["RESET"], reached))
        if adapts:
            y = trace[t, 2]
            kept = torch.where(spike, (1 + torch.exp(pre.detach())) / (1 + y), 1.0) * pre
            adapted = with_slope(torch.log(y), kept, c["ADAPT_GROWTH"] * out[-1] / (1 + y))
        rest = trace[t, 1]
    return torch.stack(out)


def _flow(v: torch.Tensor, sums: dict[str, torch.Tensor], c: dict[str, torch.Tensor], power: float, sigmoid: bool,
          gating: bool) -> torch.Tensor:
    x = torch.exp(v)
    a = sums["drive"] + (sums["gated"] * x / (x + c["GATE"]) if gating else 0)
    feedback = c["GAIN"] * torch.exp(power * v)
    if sigmoid:
        feedback = feedback / (1 + torch.exp(c["SLOPE"] * (c["MIDDLE"] - x)))
    return c["RATE"] * (torch.maximum(a, c["LEAST"]) / (1 + x) + feedback - sums["leak"])
