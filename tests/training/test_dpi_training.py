"""Subthreshold neurons to train: the engine's spikes, torch's gradients, finite differences, and plain Adam learns."""

from __future__ import annotations

import dpi_torch
import numpy as np
import pytest
import torch
from torch.func import functional_call

import neurosim as ns
from neurosim import engine
from neurosim.engine import dpi, dpi_steps, learning_dpi
from neurosim.errors import NeurosimError
from neurosim.network.forward import run
from neurosim.training.deviations import Within, corners, moved
from neurosim.training.dpi import DPINeuron

ROWS = {name: getattr(dpi_steps, name) for name in (
    "RATE", "LEAST", "FLOOR", "THRESHOLD", "GATE", "GAIN", "SLOPE", "MIDDLE", "RESET", "REFRACTORY", "BIAS",
    "ADAPT_DECAY", "ADAPT_FLOOR", "ADAPT_MEAN", "ADAPT_OFFSET", "ADAPT_GROWTH")}
SYNAPSE_ROWS = {name: getattr(dpi_steps, name) for name in ("ENTER", "DECAY", "Y_FLOOR", "MEAN", "OFFSET")}
TARGETS = {dpi_steps.DRIVE: "drive", dpi_steps.GATED: "gated", dpi_steps.LEAK: "leak"}


def layer(neurons: int = 6, inputs: int = 8, **more: object) -> ns.DPINeuron:
    """A population that fires about 20 times a second, with every kind of synapse and recurrence."""
    rng = np.random.default_rng(1)

    def spread(size: float, *shape: int) -> np.ndarray:
        return size * rng.lognormal(0, 0.4, shape)

    return ns.DPINeuron(**{
        "weight_ampa": spread(500e-9 / inputs, neurons, inputs),
        "weight_nmda": spread(300e-9 / inputs, neurons, inputs),
        "weight_gaba": spread(100e-9 / inputs, neurons, inputs),
        "weight_shunt": spread(30e-9 / inputs, neurons, inputs),
        "recurrent_ampa": spread(6e-9, neurons, neurons), "recurrent_gaba": spread(5e-9, neurons, neurons),
        "i_nmda_threshold": 100e-12, "i_dc": spread(30e-12, neurons), "i_threshold": 20e-9, "i_weight_ahp": 20e-9,
        "t_pulse_ahp": 20e-6, "i_gain_ahp": 200e-12, "t_refractory": 2.3e-3, **more})


def inputs(time: int = 120, batch: int = 3, channels: int = 8, seed: int = 0) -> torch.Tensor:
    draw = torch.rand(time, batch, channels, generator=torch.Generator().manual_seed(seed))
    return (draw < 0.08).float()


@pytest.mark.parametrize("feedback", ["power", "product"])
def test_forward_is_the_engine(feedback: str) -> None:
    module, x = DPINeuron(layer(feedback=feedback)), inputs()
    network = ns.Network.sequential([module.to_layer()], (8,), module.dt)
    found = module(x)
    wanted = run(network, x.numpy(), keep=("dpineuron",)).kept["dpineuron"]
    np.testing.assert_array_equal(found.detach().numpy(), wanted)
    assert found.sum() > (20 if feedback == "power" else 0)


@pytest.mark.parametrize(("feedback", "model"), [("power", "exact"), ("product", "exact"), ("sigmoid", "exact"),
                                                 ("power", "linear")])
def test_the_way_back_is_that_of_torch(feedback: str, model: str) -> None:
    own = layer(feedback=feedback, synapse_model=model, **({"i_gain_shunt": 1e-10} if model == "linear" else {}))
    module = DPINeuron(own).double()
    given = {k: v.detach().requires_grad_() if isinstance(v, torch.Tensor) else v for k, v in module.given().items()}
    x = inputs().double()
    time, batch, n = *x.shape[:2], module.neurons
    width, types = n + -n % 8, given["targets"].size

    def wide(tensor: torch.Tensor, fill: float = 0.0, *shape: int) -> np.ndarray:
        out = np.full(shape or (*tensor.shape[:-1], width), fill)
        out[tuple(slice(k) for k in tensor.shape)] = tensor.detach().numpy()
        return out

    cells, synapses = wide(given["cells"]), wide(given["synapses"], 1.0)
    recurrent = wide(given["recurrent"], 0.0, given["recurrent"].shape[0], width, width)
    trace = np.empty((batch, time, 3 + types, width))
    pointers, indices = engine.to_events(x.numpy().swapaxes(0, 1).reshape(batch * time, -1).copy())
    settings = {"linear": model == "linear", "sigmoid": feedback != "power", "adapts": True,
                "power": own.kappa / (own.kappa + 1) if feedback != "sigmoid" else 0.0}
    fixed = {name: given[name] for name in ("inputs_at", "recurrent_at", "targets", "most")}
    events = dpi.simulate(pointers, indices, wide(given["rows"]), recurrent, current=np.empty((0, 0, 0)), cells=cells,
                          synapses=synapses, batches=batch, times=time, trace=trace, **settings, **fixed)
    fired = np.empty((batch * time, width))
    engine.scatter(events[0], events[1], fired)
    fired = fired.reshape(batch, time, width)
    weight = np.random.default_rng(2).normal(size=(batch, time, width))
    weight[..., n:] = 0
    grown, _, to_cells, to_synapses = learning_dpi.gradients(
        trace, fired, weight, np.empty((0, 0, 0)), recurrent, fixed["recurrent_at"], fixed["targets"], cells, synapses,
        settings["linear"], settings["power"], settings["sigmoid"], True, 2.0)
    total = 0.0
    growths = []
    for b in range(batch):
        mine = [(x[:, b] @ given["rows"][at]).detach().requires_grad_() for at in given["inputs_at"]]
        growths.append(mine)
        spikes = dpi_torch.spikes(
            {**ROWS, **SYNAPSE_ROWS}, torch.tensor(trace[b, ..., :n]), torch.tensor(fired[b, :, :n]), mine,
            [None if at < 0 else given["recurrent"][at] for at in given["recurrent_at"]],
            [TARGETS[t] for t in given["targets"]], given["cells"], list(given["synapses"]),
            torch.zeros(time, n, dtype=torch.float64), settings["power"], settings["sigmoid"], settings["linear"], True,
            2.0)
        total = total + (spikes * torch.tensor(weight[b, :, :n])).sum()
    total.backward()
    for b in range(batch):
        for s in range(types):
            np.testing.assert_allclose(grown[s, b, :, :n], growths[b][s].grad, rtol=1e-5, atol=1e-6)
    for name, at in ROWS.items():
        np.testing.assert_allclose(to_cells[at, :n], given["cells"].grad[at], rtol=1e-5, atol=1e-5, err_msg=name)
    for name, at in SYNAPSE_ROWS.items():
        np.testing.assert_allclose(to_synapses[:, at, :n], given["synapses"].grad[:, at], rtol=1e-5, atol=1e-5,
                                   err_msg=name)
    assert fired.sum() > 20 or feedback != "power" or model == "linear"


@pytest.mark.parametrize("name", [
    "weight_ampa", "weight_nmda", "weight_gaba", "weight_shunt", "i_tau_mem", "c_mem", "i_gain_mem", "i_dc",
    "i_tau_ampa", "i_gain_ampa", "c_nmda", "t_pulse", "i_threshold"])
def test_gradients_are_finite_differences_of_the_simulator(name: str) -> None:
    """Without spikes the surrogate's argument is a smooth function of every current: v at the last step."""
    own = layer(3, 5, i_weight_ahp=None, i_threshold=1e-6, feedback="none", recurrent_ampa=None, recurrent_gaba=None,
                weight_ampa=np.full((3, 5), 1e-6), weight_nmda=np.full((3, 5), 3e-7), weight_gaba=np.full((3, 5), 4e-7),
                weight_shunt=np.full((3, 5), 3e-7), i_gain_shunt=2e-10)
    module = DPINeuron(own, 1e-3, learn=("weights", name)).double()
    x = inputs(60, 1, 5, seed=3).double()

    def last(shift: float) -> np.ndarray:
        changed = DPINeuron(own, 1e-3).double()
        with torch.no_grad():
            getattr(changed, f"ln_{name}").add_(shift)
        threshold, gain = (changed.value(of).numpy() for of in ("i_threshold", "i_gain_mem"))
        return _membrane(changed, x) - np.log(threshold / gain)

    step = 1e-4
    wanted = (last(step) - last(-step)).sum() / (2 * step)
    u = last(0.0)
    assert (u < -0.5).all()
    out = module(x)
    assert out.sum() == 0
    grad = torch.zeros_like(out)
    grad[-1, 0] = torch.tensor((1 + 2 * np.abs(u)) ** 2)  # takes the surrogate's derivative out again
    out.backward(grad)
    found = getattr(module, f"ln_{name}").grad.sum().item()
    assert abs(found - wanted) < 0.1 * abs(wanted) + 2e-3, (found, wanted)  # linear in the middle of each step


def _membrane(module: DPINeuron, x: torch.Tensor) -> np.ndarray:
    """v of the last step, of the first sample."""
    from neurosim.network.circuit_forward import normalised, run_circuit

    plain = module.to_layer()
    arrays = normalised(plain, plain.arrays(), module.neurons, module.dt, np.dtype(np.float64))
    traces: dict[str, np.ndarray] = {}
    pointers, indices = engine.to_events(np.ascontiguousarray(x[:, 0].numpy()))
    run_circuit(plain, arrays, pointers, indices, None, slice(0, 1), x.shape[0], np.dtype(np.float64), traces)
    return np.log(traces["membrane"][0, -1] / plain.i_gain_mem)


@pytest.mark.slow
def test_plain_adam_learns_rates_and_gradients_are_of_order_one() -> None:
    """Ten neurons are to fire like others, whose weights and biases are 0.5 away in logarithms, drawn up and down."""
    own, x = layer(10, 20, i_weight_ahp=None, recurrent_ampa=None, recurrent_gaba=None), inputs(250, 2, 20)
    module = DPINeuron(own, learn=("weights", "i_dc"))
    teacher = DPINeuron(own)
    shift = torch.where(torch.arange(10) % 2 == 0, 0.25, -0.25)
    with torch.no_grad():
        teacher.ln_weight_ampa += shift[:, None]
        teacher.ln_i_dc += shift
        target = teacher(x).mean(dim=(0, 1)) * 250
    optimiser = torch.optim.Adam(module.parameters())
    losses = []
    for _ in range(250):
        optimiser.zero_grad()
        counts = module(x).mean(dim=(0, 1)) * 250
        loss = (counts - target).square().mean()
        loss.backward()
        if not losses:
            assert 1e-2 < max(p.grad.abs().max().item() for p in module.parameters()) < 1e2
        losses.append(loss.item())
        optimiser.step()
    assert min(losses[-20:]) < 0.1 * losses[0], losses[::25]


def test_stacked_populations_learn_through_each_other() -> None:
    first, second = DPINeuron(layer()), DPINeuron(layer(2, 6))
    second(first(inputs())).sum().backward()
    assert first.ln_weight_ampa.grad.abs().sum() > 0


def test_what_is_not_there_stays_away() -> None:
    weight = np.array([[100e-9, 0.0], [0.0, 100e-9]])
    module = DPINeuron(ns.DPINeuron(weight_ampa=weight, i_dc=50e-12))
    module(inputs(100, 2, 2)).sum().backward()
    assert (module.ln_weight_ampa.grad[torch.tensor(weight == 0)] == 0).all()
    np.testing.assert_allclose(module.to_layer().weight_ampa, weight, rtol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: DPINeuron(ns.DPINeuron()), "how many neurons"),
    (lambda: DPINeuron(layer(), learn=("beta",)), "cannot learn beta"),
    (lambda: DPINeuron(layer(noise_dc=1e-13)), "noise_dc cannot be trained with"),
    (lambda: DPINeuron(layer())(torch.zeros(5, 8)), r"the input has shape \[5, 8\]"),
    (lambda: DPINeuron(layer())(torch.full((5, 1, 8), 0.5)), "the input is not spikes"),
])
def test_refusals(make, message: str) -> None:
    with pytest.raises(NeurosimError, match=message):
        make()


def test_an_attack_reaches_the_currents_that_vary() -> None:
    """Signed steps in units of a lognormal spread, on leaks, gains, thresholds and weights: more harm than chance."""
    own, x = layer(10, 20, i_weight_ahp=None), inputs(150, 2, 20)
    module = DPINeuron(own, learn=("weights", "i_tau_mem", "i_gain_mem", "i_threshold", "i_tau_ampa"))
    clean = {name: value.detach() for name, value in module.named_parameters()}
    wanted = module(x).detach().sum(dim=0)
    reach = {name: Within(torch.full_like(value, 0.1)) for name, value in clean.items()}

    def harm(deviation: dict[str, torch.Tensor]) -> torch.Tensor:
        return (functional_call(module, moved(clean, deviation, reach), (x,)).sum(dim=0) - wanted).square().mean()

    generator = torch.Generator().manual_seed(0)
    chance = max(harm(corners(clean, reach, 1.0, generator)).item() for _ in range(5))
    u = {name: (0.01 * torch.randn(value.shape, generator=generator)).requires_grad_() for name, value in clean.items()}
    for _ in range(5):
        grads = torch.autograd.grad(-(functional_call(module, moved(clean, u, reach), (x,)).sum()), list(u.values()))
        u = {name: (value + 0.2 * grad.sign()).clamp(-1, 1).detach().requires_grad_()
             for (name, value), grad in zip(u.items(), grads, strict=True)}
        assert all(grad.abs().sum() > 0 for grad in grads)
    assert harm(u).item() > 2 * chance
