"""Recurrent cells whose weights are read from crossbar tiles at each step: converters, read noise, many dies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurosim as ns
from neurosim.deployment import find_ranges
from neurosim.network.forward import run

RNG = np.random.default_rng(5)
UNITS, STEPS, BATCH = 7, 6, 4
CELLS = {"rnn": (ns.RNN, nn.RNNCell), "gru": (ns.GRU, nn.GRUCell), "lstm": (ns.LSTM, nn.LSTMCell)}
CHIP = ns.load_profile("ideal").with_values({
    "family": "crossbar", "crossbar": {"g_min": 0.0, "g_max": 25e-6, "rows": 4, "columns": 10,
                                       "programming": {"sigma": 0.0}}})
READS = {
    "adc": {"adc.bits": 5, "adc.range": "data"},
    "columns": {"adc.bits": 6, "adc.range": "data", "adc.converts": "column"},
    "adc and dac": {"adc.bits": 6, "adc.range": "percentile", "dac.v_read": 0.2, "dac.bits": 5},
    "serial": {"adc.bits": 6, "adc.range": "data", "dac.v_read": 0.2, "dac.bits": 5, "dac.serial": True},
}


def alone(kind: str) -> ns.Network:
    """A cell that is driven by the input itself."""
    rng = np.random.default_rng(8)
    cell = CELLS[kind][0]
    return ns.Network.sequential({"cell": cell(rng.normal(size=(cell.gates * UNITS, UNITS)) * 0.4,
                                               rng.normal(size=cell.gates * UNITS) * 0.2)},
                                 (cell.gates * UNITS,), 1e-3)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", CELLS)
def test_each_step_reads_the_state_as_a_linear_layer_would(kind: str, reads: str) -> None:
    """torch's own cell, its recurrent product from a Linear on the same tiles."""
    network, profile = alone(kind), CHIP.with_values(READS[reads])
    mapped = ns.map_network(network, profile)
    drive = RNG.normal(size=(STEPS, BATCH, network.input_shape[0]))
    ranges = find_ranges(mapped, drive)
    parameters, how = ns.Dies(mapped, 3, ranges=ranges).as_run(0, np.float64)
    assert list(how) == ["cell/recurrent"]
    found = run(network, drive, parameters, reads=how, dtype=np.float64)
    exact = run(network, drive, dtype=np.float64).output
    assert 1e-3 < np.abs(found.output - exact).max() < 0.7

    layer = network["cell"]
    dense = ns.Network.sequential({"fc": ns.Linear(layer.recurrent)}, (UNITS,), 1e-3)
    dense_dies = ns.Dies(ns.map_network(dense, profile), 3, ranges={"fc/weight": ranges["cell/recurrent"]})
    flat = dense_dies.as_run(0, np.float64)
    width = network.input_shape[0]
    cell = CELLS[kind][1](width, width // layer.gates, dtype=torch.float64)
    own = {"weight_ih": np.eye(width), "weight_hh": np.zeros(layer.recurrent.shape), "bias_ih": np.zeros(width)}
    for name, value in own.items():
        setattr(cell, name, nn.Parameter(torch.as_tensor(value)))
    state, states = None, []
    for step in range(STEPS):
        before = np.zeros((1, BATCH, UNITS)) if state is None else states[-1][None]
        product = run(dense, before, flat[0], reads=flat[1], dtype=np.float64).output[0] + layer.bias
        with torch.no_grad():
            if kind == "gru":  # its last gate weighs the product with the reset: it goes in as three biases
                state = torch.stack([_with_bias(cell, drive[step, b], product[b], None if state is None else state[b])
                                     for b in range(BATCH)])
            else:
                cell.bias_hh.zero_()
                state = cell(torch.as_tensor(drive[step] + product), state)
        states.append((state[0] if kind == "lstm" else state).numpy().copy())
    np.testing.assert_allclose(found.output, np.stack(states), rtol=0, atol=1e-9)
    # the state before the first step is nothing that is read
    planes = UNITS * layer.gates * (2 if reads == "columns" else 1) * 2  # two tiles share the 7 inputs
    passes = 4 if reads == "serial" else 1
    most = (STEPS - 1) * BATCH * passes
    count = found.drives["cell/recurrent"].reads
    assert found.saturation["cell/recurrent"].currents[0] == count * planes
    assert most * 0.9 < count <= most, "slices of a state that are all 0 are not read"
    assert reads == "serial" or count == most


def _with_bias(cell: nn.GRUCell, drive: np.ndarray, product: np.ndarray, state: torch.Tensor | None) -> torch.Tensor:
    cell.bias_hh.copy_(torch.as_tensor(product))
    return cell(torch.as_tensor(drive)[None], None if state is None else state[None])[0]


def test_read_noise_within_the_time_loop_has_the_variance_of_every_device() -> None:
    """Against reads of single devices; fresh at each step and for each sample."""
    samples, reads = 6000, 3000
    profile = ns.load_profile("pcm_hermes").with_values({"crossbar.rows": 3, "crossbar.columns": 8})
    network = ns.Network.sequential({"cell": ns.RNN(RNG.normal(size=(UNITS, UNITS)), nonlinearity="relu")}, (UNITS,),
                                    1e-3)
    mapped = ns.map_network(network, profile)
    dies = ns.Dies(mapped, 2, time=3600.0)
    drive = np.full((3, samples, UNITS), 50.0)  # far above 0: the state is the sum itself
    drive[0], drive[2] = np.linspace(0.2, 1.4, UNITS), 1000.0
    parameters, how = dies.as_run(1, np.float64)
    out = run(network, drive, parameters, reads=how, dtype=np.float64).output
    assert (out > 0).all()
    (array,) = mapped.arrays
    weights = np.stack([array.weight(dies.read(1, "cell/recurrent", sample=k)) for k in range(reads)])
    single = weights @ drive[0, 0]
    ratio = (out[1] - 50).std(axis=0) / single.std(axis=0)
    assert abs(ratio.mean() - 1) < 0.02
    np.testing.assert_allclose((out[1] - 50).mean(axis=0), single.mean(axis=0), atol=5 * single.std() / np.sqrt(reads))
    weight = array.weight(dies.conductances(1, "cell/recurrent"))
    noise = [out[t] - drive[t] - out[t - 1] @ weight.T for t in (1, 2)]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 4 / np.sqrt(samples * UNITS)
    neighbours = np.corrcoef(noise[0][:-1].ravel(), noise[0][1:].ravel())[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(samples * UNITS)


@pytest.mark.parametrize("kind", CELLS)
def test_a_die_that_is_read_is_the_same_alone_in_any_chunk_and_thread_count(kind: str) -> None:
    rng = np.random.default_rng(9)
    cell = CELLS[kind][0]
    width = cell.gates * UNITS
    network = ns.Network.sequential({
        "cell.input": ns.Linear(rng.normal(size=(width, 5))), "cell": cell(rng.normal(size=(width, UNITS)) / 2),
        "out": ns.Linear(rng.normal(size=(4, UNITS)))}, (5,), 1e-3, "last")
    inputs = rng.normal(size=(STEPS, 40, 5))
    labels = run(network, inputs).prediction
    profile = ns.load_profile("pcm_hermes").with_values({
        "adc.bits": 8, "adc.range": "percentile", "adc.gain": {"value": 1.0, "cv": 0.02}, "crossbar.rows": 4})
    mapped = ns.map_network(network, profile)

    def deployed(dies: object, **options: object) -> xr.Dataset:
        return ns.deploy(mapped, inputs, labels, dies, seed=5, time=3600.0, keep_predictions=True, progress=False,
                         **options).dataset

    whole = deployed(8, threads=2)
    for other in (deployed(8, threads=1, chunk=3), deployed(8, threads=5)):
        xr.testing.assert_identical(whole.drop_attrs(), other.drop_attrs())
    xr.testing.assert_identical(whole.sel(die=[6]).drop_attrs(), deployed([6], threads=3).drop_attrs())
    assert 0.6 < whole["accuracy"].mean() < 1
    assert set(whole["array"].values) == {"cell.input/weight", "cell/recurrent", "out/weight"}
    assert (whole["conversions"].sel(array="cell/recurrent") == (STEPS - 1) * 40 * width * 2).all()
