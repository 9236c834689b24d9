"""Circuits to train for a chip: the engine's spikes, one word per synapse, and plain Adam learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurosim as ns
from neurosim.devices import integrated
from neurosim.mapping import chip_fields
from neurosim.network.forward import run
from neurosim.training import build_circuit, circuit_network, train

SE2 = ns.load_profile("dynap_se2")
FIELDS = chip_fields(SE2)


def spikes(seed: int = 0, time: int = 30, batch: int = 12, channels: int = 16) -> np.ndarray:
    return (np.random.default_rng(seed).random((time, batch, channels)) < 0.3).astype(np.float32)


def test_forward_is_the_engine():
    model = circuit_network(16, 5, FIELDS, 1e-3, hidden=20, recurrent=True, unit=25e-9, unit_out=80e-9, seed=3)
    inputs = spikes()
    output, hidden = model(torch.tensor(inputs))
    found = run(model.to_network(1e-3), inputs, keep=("hidden",))
    np.testing.assert_array_equal(output.detach().numpy(), found.output)
    np.testing.assert_array_equal(hidden.detach().numpy(), found.kept["hidden"])
    assert 0.02 < hidden.mean() < 0.8


def test_gradients_are_of_order_one_and_reach_every_weight_that_is_there():
    model = circuit_network(16, 5, FIELDS, 1e-3, hidden=20, recurrent=True, fan_in=24, unit=25e-9, unit_out=80e-9,
                            seed=3)
    output, _ = model(torch.tensor(spikes()))
    torch.nn.functional.cross_entropy(output.sum(0), torch.arange(12) % 5).backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert 1e-5 < parameter.grad.abs().mean() < 10, name
    assert (model.hidden.recurrent.grad[model.hidden.there_recurrent == 0] == 0).all()


def test_fan_in_is_never_more_than_asked_for():
    model = circuit_network(16, 5, FIELDS, 1e-3, hidden=40, recurrent=True, fan_in=24, seed=1)
    layer = model.to_network(1e-3)["hidden"]
    synapses = sum(np.count_nonzero(weight, axis=1) for weight in layer.weights().values())
    assert synapses.max() <= 24
    assert np.count_nonzero(layer.recurrent_ampa) + np.count_nonzero(layer.recurrent_gaba) == 40 * 8
    ns.map_network(model.to_network(1e-3), SE2)


def test_gradients_do_not_explode_along_recurrent_connections():
    model = circuit_network(16, 5, FIELDS, 1 / 180, hidden=32, recurrent=True, unit=60e-9, unit_out=150e-9, seed=0)
    output, _ = model(torch.tensor(spikes(time=100)))
    torch.nn.functional.cross_entropy(output.sum(0), torch.arange(12) % 5).backward()
    assert 1e-3 < model.hidden.recurrent.grad.abs().mean() < 1e3


@pytest.mark.parametrize("name", ["dynap_se1", "dynap_se2"])
def test_initial_weights_do_the_same_to_a_synapse_of_every_chip(name):
    """ln I of a synapse far below its gain current rises by `growth` for a pulse of a weight of 1."""
    model = build_circuit("digits", 64, 10, 0, ns.load_profile(name), 1e-3, gain=30.0, growth=1.5, growth_out=0.5)
    for population, growth in ((model.hidden, 1.5), (model.out, 0.5)):
        layer = population.to_layer()
        tau, leak = layer.c_ampa * layer.thermal_voltage / (layer.kappa * layer.i_tau_ampa), layer.i_tau_ampa
        end = integrated(float(layer.i_0), population.unit, float(layer.t_pulse), i_tau=float(leak), i_gain=1e3 * leak,
                         tau=float(tau))
        assert np.log(end / layer.i_0) == pytest.approx(growth - layer.t_pulse / tau, rel=0.02)
        assert layer.i_gain_ampa == layer.i_gain_gaba == pytest.approx(30 * layer.i_0)


@pytest.mark.slow
def test_plain_adam_learns_the_digits_and_the_net_lands_on_the_chip():
    task = ns.load_task("digits", coding="rate")
    model = build_circuit("digits", 64, 10, 0, SE2, task.dt)
    trained = train(model, task.train.inputs, task.train.labels, epochs=7, batch_size=128, learning_rate=0.1, seed=0,
                    validation=(task.validation.inputs, task.validation.labels))
    assert trained.history["validation_accuracy"][-1] > 0.85
    mapped = ns.map_network(trained.model.to_network(task.dt), SE2)
    assert max(array.error for array in mapped.arrays) < 0.2
    found = ns.deploy(mapped, task.test.inputs, task.test.labels, dies=10, seed=1)
    assert found.ideal_accuracy > 0.8
    assert found.accuracy.mean() > 0.5


@pytest.mark.parametrize(("change", "said"), [
    ({"hidden": 0}, "hidden is 0"), ({"recurrent": True, "fan_in": 16}, "allowed: fan_in above 16"),
    ({"fan_in": 2.5}, "fan_in is 2.5"), ({"recurrent": "no"}, "recurrent is 'no' .allowed: true, false"),
])
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ns.NeurosimError, match=said):
        circuit_network(16, 4, FIELDS, 1e-3, **change)


def test_defaults_are_refused_by_name():
    with pytest.raises(ns.NeurosimError, match="no default model of circuits for the task 'speech'"):
        build_circuit("speech", 16, 4, 0, SE2, 1e-3)
    with pytest.raises(ns.NeurosimError, match="did you mean 'hidden'"):
        build_circuit("digits", 64, 10, 0, SE2, 1e-3, hiden=3)
