"""How fast is a crossbar with all its noise? Against drawing the numbers alone, AIHWKit's tiles, and plain torch.

**tile**: dies of a 512 x 512 crossbar of PCM pairs (profile `pcm_joshi`, one hour after programming), batch 128. All of
a die is new: write noise and drift exponent of 524288 devices, the variance of their read noise, one noisy product.
The measure is what numpy's standard_normal(float32) takes to draw as many numbers: two for each device, or one.
**AIHWKit**: the same PCM model in its inference tiles (torch tile and C++ tile), program, drift, one forward pass with
perfect converters. Its read noise is drawn once, when the weights drift; `aihwkit_cpp_noise_of_each_read` draws it for
each output of the forward pass besides, as is done here (its torch tile cannot).
**recurrent**: dies of a network 64-256-10, 100 steps, batch 32, read noise, 8-bit converters; the measure is a forward
pass of the same network in torch, without any noise: of spiking neurons (LIF, 5 % of the inputs spike), and of an
Elman network, where the variance takes a second dense product at every step.

One thread each, in turn, in one run; a turn is 25 dies, one after the other, as a lot is run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

import neurosim as ns
from benchmarks import harness
from neurosim.deployment import find_ranges
from neurosim.network.forward import compile_inputs, compile_steps, run, run_block

if TYPE_CHECKING:
    import torch

SIZE, BATCH, HOUR, LOT, TURN = 512, 128, 3600.0, 7, 25
INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 64, 256, 10, 100, 32


class Lot:
    """A network on a chip type, and its dies, one after the other."""

    def __init__(self, network: ns.Network, profile: ns.Profile, inputs: np.ndarray) -> None:
        mapped = ns.map_network(network, profile)
        self.network, self.next = network, 0
        self.dies = ns.Dies(mapped, LOT, time=HOUR, ranges=find_ranges(mapped, inputs))
        self.blocks = compile_inputs(network, inputs)

    def die(self) -> None:
        """Make the next die and run all samples on it."""
        parameters, reads = self.dies.as_run(self.next)
        steps = compile_steps(self.network, parameters, reads=reads)
        for block in self.blocks:
            run_block(self.network, steps, block)
        self.next += 1


def tile(rng: np.random.Generator) -> tuple[Lot, np.ndarray, np.ndarray]:
    weight = rng.normal(0, 0.2, (SIZE, SIZE)).clip(-1, 1)
    inputs = rng.uniform(-1, 1, (1, BATCH, SIZE)).astype(np.float32)
    chip = ns.load_profile("pcm_joshi").with_values({"crossbar.rows": SIZE, "crossbar.columns": 2 * SIZE})
    return Lot(ns.Network.sequential({"fc": ns.Linear(weight)}, (SIZE,), dt=1e-3), chip, inputs), weight, inputs[0]


def spiking(rng: np.random.Generator) -> tuple[Lot, Callable[[], object]]:
    """A lot of recurrent LIF neurons with a LIF readout, and the same network in torch, step by step."""
    import torch

    torch.set_num_threads(1)
    w_in, w_rec, w_out = (rng.normal(0, sd, shape).astype(np.float32) for sd, shape in (
        (0.18, (HIDDEN, INPUTS)), (0.05, (HIDDEN, HIDDEN)), (0.3, (CLASSES, HIDDEN))))
    network = ns.Network.sequential({
        "in": ns.Linear(w_in), "hidden": ns.LIF(np.full(HIDDEN, 0.9), recurrent=w_rec), "out": ns.Linear(w_out),
        "classes": ns.LIF(np.full(CLASSES, 0.9))}, (INPUTS,), dt=1e-3)
    inputs = (rng.random((STEPS, SAMPLES, INPUTS)) < 0.05).astype(np.float32)
    sequence, (a, b, c) = torch.from_numpy(inputs), (torch.from_numpy(w.T.copy()) for w in (w_in, w_rec, w_out))

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            v, s, u, z = (torch.zeros(SAMPLES, n) for n in (HIDDEN, HIDDEN, CLASSES, CLASSES))
            total = torch.zeros(SAMPLES, CLASSES)
            for drive in sequence @ a:
                v = 0.9 * v + (drive + s @ b) - s
                s = (v > 1).float()
                u = 0.9 * u + s @ c - z
                z = (u > 1).float()
                total += z
            return total

    same = run(network, inputs).scores == forward().numpy()
    if same.mean() < 0.98:  # sums in another order: a spike more or less
        raise SystemExit(f"torch and neurosim give the same counts in {same.mean():.1%} only: nothing to compare")
    return Lot(network, chip_with_converters(), inputs), forward


def elman(rng: np.random.Generator) -> tuple[Lot, Callable[[], object]]:
    """A lot of Elman networks, and the same network in torch."""
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        rnn, out = torch.nn.RNN(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    w_in, w_rec, b_in, b_rec, w_out, b_out = (
        p.detach().numpy() for module in (rnn, out) for p in module.parameters())
    network = ns.Network.sequential({"in": ns.Linear(w_in, b_in), "rnn": ns.RNN(w_rec, b_rec),
                                     "out": ns.Linear(w_out, b_out)}, (INPUTS,), dt=1e-3, readout="last")
    inputs = rng.normal(size=(STEPS, SAMPLES, INPUTS)).astype(np.float32)
    sequence = torch.from_numpy(inputs)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return out(rnn(sequence)[0])

    if np.abs(run(network, inputs).output - forward().numpy()).max() > 1e-4:
        raise SystemExit("torch and neurosim do not compute the same network: nothing to compare")
    return Lot(network, chip_with_converters(), inputs), forward


def chip_with_converters() -> ns.Profile:
    """PCM with read noise and 8-bit converters."""
    return ns.load_profile("pcm_joshi").with_values({"adc.bits": 8, "adc.range": "percentile"})


def aihwkit_tiles(weight: np.ndarray, inputs: np.ndarray) -> dict[str, Callable[[], object]]:
    """Program, drift and forward of AIHWKit's two inference tiles, with the same model and perfect converters.

    Noise of each read asks for a forward pass that is not perfect: all that it would do to inputs and outputs is off.
    """
    import torch
    from aihwkit.inference import PCMLikeNoiseModel
    from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
    from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType

    torch.set_num_threads(1)
    found = {}
    each_read = {"inp_res": -1, "out_res": -1, "inp_bound": -1, "out_bound": -1, "out_noise": 0.0, "w_noise": 0.0175,
                 "w_noise_type": WeightNoiseType.PCM_READ, "noise_management": NoiseManagementType.NONE,
                 "bound_management": BoundManagementType.NONE}
    for name, kind, forward in (("aihwkit_torch", TorchInferenceRPUConfig, {"is_perfect": True}),
                                ("aihwkit_cpp", InferenceRPUConfig, {"is_perfect": True}),
                                ("aihwkit_cpp_noise_of_each_read", InferenceRPUConfig, each_read)):
        config = kind()
        config.noise_model = PCMLikeNoiseModel(g_max=25.0)
        config.drift_compensation = None
        for key, value in forward.items():
            setattr(config.forward, key, value)
        config.mapping.max_input_size = config.mapping.max_output_size = SIZE
        made = config.tile_class(SIZE, SIZE, config, False)
        made.eval()
        made.set_weights(torch.from_numpy(weight).float())
        x = torch.from_numpy(inputs)

        def run(made: object = made, x: torch.Tensor = x) -> object:
            with torch.inference_mode():
                made.program_weights()
                made.drift_weights(HOUR)
                return made.forward(x)

        found[name] = run
    return found


def measure(quick: bool) -> dict[str, object]:
    rounds, rng = (5 if quick else 15), np.random.default_rng(3)
    missing = harness.missing("torch", "aihwkit")
    result: dict[str, object] = {
        "name": "crossbar", "machine": harness.machine(),
        "versions": harness.versions("numpy", "numba", "torch", "aihwkit"),
        "settings": {"threads": 1, "rounds": rounds, "dies_a_turn": TURN, "profile": "pcm_joshi", "time": HOUR,
                     "tile": [SIZE, SIZE], "batch": BATCH, "recurrent": [INPUTS, HIDDEN, CLASSES], "steps": STEPS,
                     "samples": SAMPLES, "adc_bits": 8}, "results": {}, "bars": [], "missing": missing}
    with threadpool_limits(1):
        lot, weight, inputs = tile(rng)
        (array,) = lot.dies.mapped.arrays
        generator = np.random.default_rng(0)
        runs = {"neurosim": lot.die,
                "numpy_two_numbers_a_device": lambda: generator.standard_normal(2 * array.devices, dtype=np.float32),
                "numpy_one_number_a_device": lambda: generator.standard_normal(array.devices, dtype=np.float32)}
        if "aihwkit" not in missing:
            runs.update(aihwkit_tiles(weight, inputs))
        result["results"]["tile_ms"] = found = _times(runs, rounds)
        own = found["neurosim"]["median"]
        for numbers in ("two_numbers", "one_number"):
            what = f"tile: a die over drawing {numbers.replace('_', ' ')} a device with numpy"
            result["bars"].append(harness.bar(what, own / found[f"numpy_{numbers}_a_device"]["median"], at_most=1))
        if "aihwkit" not in missing:
            for name, least in (("aihwkit_torch", 5), ("aihwkit_cpp", 10), ("aihwkit_cpp_noise_of_each_read", 10)):
                result["bars"].append(harness.bar(f"tile: times faster than {name}", found[name]["median"] / own,
                                                  at_least=least))
        for what, make in (("spiking", spiking), ("elman", elman)):
            if "torch" not in missing:
                lot, forward = make(rng)
                found = _times({"neurosim": lot.die, "torch": forward}, rounds)
                result["results"][f"{what}_ms"] = found
                result["bars"].append(harness.bar(f"recurrent, {what}: a die over a plain torch forward pass",
                                                  found["neurosim"]["median"] / found["torch"]["median"], at_most=1.5))
    return result


def _times(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of one run of each, as the mean of a turn."""
    def turn(run: Callable[[], object]) -> Callable[[], None]:
        def several() -> None:
            for _ in range(TURN):
                run()
        return several

    times = harness.seconds({name: turn(run) for name, run in runs.items()}, rounds)
    return {name: harness.spread(found, 1e-3 * TURN) for name, found in times.items()}


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["what", "who", "ms a die", "least", "largest"]]
    for what, entry in result["results"].items():
        for name, value in entry.items():
            rows.append([what, name.replace("_", " "),
                         *(f"{value[key]:.2f}" for key in ("median", "least", "largest"))])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
