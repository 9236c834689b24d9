"""How fast are subthreshold neurons? One population, one core; and many dies of it.

256 neurons, 1000 steps of 1 ms, 64 inputs at 20 Hz, a quarter of the recurrent synapses, about 20 spikes a second and
neuron, one sample, float32. The unit is the machine's own: `numpy.exp` over as many float32 numbers as neurons are
updated (256 x 1000), measured in turn with it. The limit of 87 of them is 10 ms on the machine where it was set, on
which that exp takes 0.115 ms.

`kernels_in_exp` is each piece of the kernel by itself, for enough neurons to fill every vector, in the same unit per
neuron; `registers` counts the packed and scalar products in the assembly of these pieces. The peer is rockpool's
DynapSim (exact decay, linear jumps, Euler's step for the membrane) of as many neurons, inputs and steps, compiled by
jax, CPU time of all its threads. docs/dpi.md says what bounds it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

import neurosim as ns
from benchmarks import harness
from neurosim.engine import aligned, dpi_steps
from neurosim.engine.dpi import TOGETHER
from neurosim.engine.maths import exp_within, log
from neurosim.network.circuit_dies import run_circuits
from neurosim.network.circuit_forward import normalised
from neurosim.network.forward import Forward, compile_inputs, compile_steps, run, run_block

NEURONS, STEPS, INPUTS, DIES, SEED = 256, 1000, 64, 32, 0


def make_network() -> ns.Network:
    """The weights are tuned so that neurons fire about 20 times a second."""
    rng = np.random.default_rng(SEED)
    weight = rng.lognormal(0, 0.5, (NEURONS, INPUTS)) * 6.3e-9
    recurrent = rng.lognormal(0, 0.5, (NEURONS, NEURONS)) * (rng.random((NEURONS, NEURONS)) < 0.25) * 0.5e-9
    layer = ns.DPINeuron(weight_ampa=weight, recurrent_ampa=recurrent)
    return ns.Network.sequential({"cells": layer}, (INPUTS,), 1e-3)


def make_dies(network: ns.Network) -> list[dict[str, dict[str, np.ndarray]]]:
    """Lognormal spreads of weights, leaks and thresholds, drawn before anything is timed."""
    rng, layer = np.random.default_rng(SEED + 1), network["cells"]
    names = ("weight_ampa", "recurrent_ampa", "i_tau_mem", "i_tau_ampa", "i_threshold")
    return [{"cells": {name: (getattr(layer, name) * rng.lognormal(0, 0.1, getattr(layer, name).shape or NEURONS)
                              ).astype(np.float32) for name in names}} for _ in range(DIES)]


def parts(network: ns.Network, inputs: np.ndarray, rounds: int) -> dict[str, float]:
    """CPU milliseconds of preparing and running one die, and of the exp, in turn; medians."""
    (block,) = compile_inputs(network, inputs)
    numbers = np.random.default_rng(2).normal(size=NEURONS * STEPS).astype(np.float32)
    out, times = np.empty_like(numbers), []
    for _ in range(rounds + 1):
        marks = [time.thread_time()]
        steps = compile_steps(network)
        marks.append(time.thread_time())
        run_block(network, steps, block)
        marks.append(time.thread_time())
        np.exp(numbers, out=out)
        marks.append(time.thread_time())
        times.append(np.diff(marks))
    return dict(zip(("prepare", "run", "exp"), (1e3 * np.median(times[1:], axis=0)).tolist(), strict=True))


@njit(nogil=True, error_model="numpy")
def _repeat(piece, state, cells, x, growth, leak, out, times):
    one = np.float32(1)
    for _ in range(times):
        if piece == 0:
            for n in range(x.size):
                out[n] = exp_within(x[n])
        elif piece == 1:
            for n in range(x.size):
                out[n] = log(growth[n])
        elif piece == 2:
            out[:] = leak
            dpi_steps.pulse(out, growth, leak, x)
        else:
            state[dpi_steps.LEFT] = one
            if piece == 3:
                dpi_steps.whole(state, cells, 0, x.size, np.float32(0.41), False, False)
            else:
                state[dpi_steps.LIMIT] = np.float32(1e-3)  # so that v stays about where it is
                dpi_steps.advance(state, cells, x.size, np.float32(0.41), False, False)


def kernels(exp_ms: float, rounds: int) -> dict[str, float]:
    """CPU time per neuron of the pieces of the kernel, in that of numpy.exp per number."""
    width, times = 4 * NEURONS, 200
    given = normalised(make_network()["cells"], make_network()["cells"].arrays(), NEURONS, 1e-3, np.dtype(np.float32))
    cells = np.ascontiguousarray(np.tile(given["cells"], 4))
    state = aligned((dpi_steps.STATE_ROWS, width), np.float32)
    state[:] = 1
    state[dpi_steps.V] = cells[dpi_steps.FLOOR] + 0.5
    x, growth, leak, out = (aligned((width,), np.float32) for _ in range(4))
    found = {}
    for piece, name in enumerate(("exp", "log", "pulse", "whole", "advance")):
        marks = []
        for _ in range(rounds + 1):
            x[:], growth[:], leak[:] = 0.3, 0.2, 0.01
            start = time.thread_time()
            _repeat(piece, state, cells, x, growth, leak, out, times)
            marks.append(time.thread_time() - start)
        found[name] = float(np.median(marks[1:])) / (width * times) / (1e-3 * exp_ms / (NEURONS * STEPS))
    return found


def registers() -> dict[str, dict[str, int]]:
    """How many products (single precision, fused or not) the assembly has on registers of each width."""
    kinds = {"512 bits": r"ps\b.*%zmm", "256 bits": r"ps\b.*%ymm", "128 bits": r"ps\b.*%xmm", "scalar": r"ss\b"}
    found = {}
    for piece in (dpi_steps.pulse, dpi_steps.whole, dpi_steps.advance):
        fresh = njit(nogil=True, error_model="numpy", _nrt=False)(piece.py_func)  # what is cached has no assembly
        fresh.compile(piece.signatures[0])
        (code,) = fresh.inspect_asm().values()
        found[piece.__name__] = {kind: len(re.findall(rf"\bv(?:mul|fn?m(?:add|sub)\d+){pattern}", code))
                                 for kind, pattern in kinds.items()}
    return found


def peer_ms(inputs: np.ndarray, rounds: int) -> dict[str, float]:
    """rockpool's DynapSim: CPU milliseconds of a forward, of all threads, and its rate in Hz."""
    import jax
    from rockpool.devices.dynapse import DynapSim

    rng = np.random.default_rng(SEED)
    weight = (rng.lognormal(0, 0.5, (INPUTS, NEURONS)) * 0.01).astype(np.float32)
    recurrent = rng.lognormal(0, 0.5, (NEURONS, NEURONS)) * (rng.random((NEURONS, NEURONS)) < 0.25) * 0.005
    module = DynapSim((NEURONS, NEURONS), has_rec=True, w_rec=recurrent.astype(np.float32), dt=1e-3)
    forward, batch = jax.jit(lambda spikes: module(spikes @ weight)[0]), inputs.swapaxes(0, 1)
    rate, times = float(forward(batch).sum()) / NEURONS, []
    for _ in range(rounds):
        start = time.process_time()
        forward(batch).block_until_ready()
        times.append(time.process_time() - start)
    return {"ms": 1e3 * float(np.median(times)), "rate_hz": rate}


def measure(quick: bool) -> dict[str, object]:
    network = make_network()
    inputs = (np.random.default_rng(3).random((STEPS, 1, INPUTS)) < 0.02).astype(np.float32)
    rate = float(run(network, inputs).spikes["cells"].sum() / (NEURONS * STEPS * network.dt))
    found = parts(network, inputs, 15 if quick else 101)
    (block,) = compile_inputs(network, inputs)
    dies, threads, side = make_dies(network), harness.cores(), max(1, TOGETHER // NEURONS)
    groups = [dies[start:start + side] for start in range(0, DIES, side)]

    def some(group: list[dict[str, dict[str, np.ndarray]]]) -> list[Forward]:
        return run_circuits(network, group, block)

    alone = run_block(network, compile_steps(network, dies[0]), block).spikes["cells"]
    if not np.array_equal(alone, some(groups[0])[0].spikes["cells"]):
        raise AssertionError("a die among others is not the die alone")
    with ThreadPoolExecutor(threads) as pool:
        times = harness.seconds({
            "one": lambda: run_block(network, compile_steps(network, dies[0]), block),
            "many_one_thread": lambda: list(map(some, groups)), "many": lambda: list(pool.map(some, groups)),
        }, 5 if quick else 15)
    peers = harness.missing("rockpool", "jax")
    single = harness.spread(times["one"], 1e-3)
    one_thread, many = (harness.spread(times[name], 1e-3 * DIES) for name in ("many_one_thread", "many"))
    return {
        "name": "dpi", "machine": harness.machine(), "versions": harness.versions("numpy", "numba", "rockpool", "jax"),
        "settings": {"neurons": NEURONS, "steps": STEPS, "inputs": INPUTS, "dies": DIES, "side_by_side": side,
                     "threads": threads, "precision": "float32", "rate_hz": rate},
        "results": {"parts_ms": found, "one_die_ms": single, "of_many_one_thread_ms": one_thread, "of_many_ms": many,
                    "times_better_one_thread": single["median"] / one_thread["median"],
                    "kernels_in_exp": kernels(found["exp"], 15 if quick else 51), "registers": registers(),
                    **({} if peers else {"rockpool": peer_ms(inputs, 15 if quick else 51)})},
        "bars": [
            harness.bar("forward of one die, in numpy.exp over as many updates", found["run"] / found["exp"],
                        at_most=87),
            harness.bar(f"times better for each of {DIES} dies at once, all cores",
                        single["median"] / many["median"], at_least=2.5)],
        "missing": peers}


def table(result: Mapping[str, object]) -> list[list[str]]:
    found = result["results"]
    rows = [["what", "ms", "least", "largest"]]
    rows += [[f"one die, one core: {name}", f"{value:.3f}", "", ""] for name, value in found["parts_ms"].items()]
    for what, key in (("one die: prepare and run", "one_die_ms"),
                      (f"each of {DIES} dies, one thread", "of_many_one_thread_ms"),
                      (f"each of {DIES} dies, {result['settings']['threads']} threads", "of_many_ms")):
        rows.append([what, *(f"{found[key][of]:.2f}" for of in ("median", "least", "largest"))])
    rows += [[f"kernel: {name}, in exp", f"{value:.2f}", "", ""] for name, value in found["kernels_in_exp"].items()]
    if "rockpool" in found:
        peer = found["rockpool"]
        rows.append([f"rockpool's DynapSim, {peer['rate_hz']:.0f} Hz", f"{peer['ms']:.2f}", "", ""])
    return [*rows, [f"{result['settings']['rate_hz']:.0f} spikes a second and neuron", "", "", ""]]


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
