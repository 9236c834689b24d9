"""Recurrent cells, squashing layers and batch norms: shapes, refusals, what is run, what is folded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurosim as ns
from neurosim.network import Node
from neurosim.network.activity import value_drive
from neurosim.network.forward import run

RNG = np.random.default_rng(0)
CELLS = (ns.RNN, ns.GRU, ns.LSTM)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def cell_network(kind: type, units: int = 4, **options: object) -> ns.Network:
    width = kind.gates * units
    return ns.Network.sequential({"in": ns.Linear(normal(width, 3), normal(width)),
                                  "cell": kind(normal(width, units) / 2, normal(width)),
                                  "out": ns.Linear(normal(2, units))}, (3,), 1e-3, **options)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: ns.LSTM(np.ones((6, 2))), r"of a LSTM has shape \(6, 2\) \(allowed: \[4 \* units, units\]"),
    (lambda: ns.GRU(np.ones((4, 4))), r"of a GRU has shape \(4, 4\) \(allowed: \[3 \* units, units\]"),
    (lambda: ns.RNN(np.ones((4, 3))), r"of a RNN has shape \(4, 3\) \(allowed: \[units, units\]"),
    (lambda: ns.GRU(np.ones((6, 2)), np.ones(2)), "bias .* does not fit"),
    (lambda: ns.RNN(np.ones((2, 2)), nonlinearity="sin"), "nonlinearity is 'sin' .*tanh, relu"),
    (lambda: ns.RNN(np.full((2, 2), np.nan)), "NaN"),
    (lambda: ns.RNN("none"), r"is a str \(allowed: an array of real numbers\)"),
    (lambda: ns.RNN([[1.0, 2.0], [3.0]]), r"is a list \(allowed: an array of real numbers\)"),
    (lambda: ns.RNN(np.eye(2) + 1j), r"is a ndarray \(allowed: an array of real numbers\)"),
    (lambda: ns.Network.sequential([ns.LSTM(np.ones((8, 2)))], (5,), 1e-3), "layer lstm: a LSTM of 2 units gets shape"),
    (lambda: ns.BatchNorm(np.ones(2), np.ones(3), np.ones(2), np.ones(2)), "the shapes differ"),
    (lambda: ns.BatchNorm(np.ones(1), [-0.1], np.ones(1), np.ones(1)), "variance reaches down to -0.1"),
    (lambda: ns.BatchNorm(np.ones(1), [0.0], np.ones(1), np.ones(1), eps=0), "not both 0"),
    (lambda: ns.Network.sequential([ns.BatchNorm(*np.ones((4, 2)))], (3, 2, 2), 1e-3), "of 2 channels gets shape"),
])
def test_what_cannot_be_is_refused(make: Callable, said: str) -> None:
    with pytest.raises(ns.NeurosimError, match=said):
        make()


def test_parameters_of_a_torch_module_are_taken() -> None:
    module = torch.nn.Linear(3, 2)
    layer = ns.Linear(module.weight, module.bias)
    assert np.array_equal(layer.weight, module.weight.detach().numpy())
    assert not np.shares_memory(layer.weight, module.weight.detach().numpy())


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_in_a_network(kind: type, tmp_path: object) -> None:
    network = cell_network(kind, readout="last")
    assert network.shapes["cell"] == (4,)
    assert f"cell: {kind.__name__}(recurrent=[{4 * kind.gates}, 4]" in repr(network)
    assert "threshold" not in repr(network)
    other = network.replace_arrays(lambda layer, name, value: value * (2 if (layer, name) == ("cell", "bias") else 1))
    assert other.hash != network.hash
    network.save(tmp_path / "net.h5")
    assert ns.Network.load(tmp_path / "net.h5").hash == network.hash
    with pytest.raises(ns.NeurosimError, match=f"cell: NIR has no {kind.__name__}"):
        network.to_nir()
    result = run(network, normal(5, 3, 3))
    assert result.output.shape == (5, 3, 2)
    assert np.array_equal(result.scores, result.output[-1])


def test_rows_that_a_cell_drives_are_those_that_are_not_zero() -> None:
    """A ReLU network that stays silent for the first steps, and in one unit for ever."""
    network = ns.Network.sequential({"cell": ns.RNN(np.eye(3), nonlinearity="relu")}, (3,), 1e-3)
    inputs = np.zeros((6, 2, 3))
    inputs[2, 0, 0], inputs[4, 1, 1], inputs[:, :, 2] = 1, 1, -1
    assert run(network, inputs).drives["cell/recurrent"].active.tolist() == [3, 1, 0]


@pytest.mark.parametrize("kind", CELLS)
def test_spikes_as_events_drive_a_cell(kind: type) -> None:
    network = cell_network(kind)
    spikes = (RNG.random((7, 4, 3)) < 0.5).astype(float)
    whole = run(network, spikes, dtype=np.float64).output
    parts = run(network, spikes + 1e-13, dtype=np.float64).output  # no longer 0 and 1: dense
    assert np.allclose(whole, parts, rtol=0, atol=1e-10)


def test_tanh_sigmoid_and_batch_norm() -> None:
    values = normal(2, 3, 4, 2, 2) * 30
    for layer, wanted in ((ns.Tanh(), np.tanh(values)), (ns.Sigmoid(), torch.sigmoid(torch.tensor(values)).numpy())):
        network = ns.Network.sequential([layer], (4, 2, 2), 1e-3)
        assert np.allclose(run(network, values, dtype=np.float64).output, wanted, rtol=0, atol=1e-15)
    mean, variance, scale, shift = normal(4), np.abs(normal(4)), normal(4), normal(4)
    network = ns.Network.sequential([ns.BatchNorm(mean, variance, scale, shift, 1e-3)], (4, 2, 2), 1e-3)
    own = torch.nn.functional.batch_norm(torch.tensor(values.reshape(6, 4, 2, 2)), *map(torch.tensor, (
        mean, variance, scale, shift)), eps=1e-3).numpy()
    assert np.allclose(run(network, values, dtype=np.float64).output.reshape(own.shape), own, rtol=1e-12, atol=1e-12)


def norm(channels: int) -> ns.BatchNorm:
    return ns.BatchNorm(normal(channels), np.abs(normal(channels)) + 0.1, normal(channels), normal(channels))


@given(st.booleans(), st.booleans(), st.integers(1, 3), st.booleans())
def test_folding_changes_nothing_but_the_layers(bias: bool, conv: bool, norms: int, behind: bool) -> None:
    ins, outs = (2, 3) if conv else (5, 3)
    if conv:
        layer, shape = ns.Conv2d(normal(3, 2, 2, 2), normal(3) if bias else None, padding=int(behind)), (2, 4, 4)
    else:
        layer, shape = ns.Linear(normal(3, 5), normal(3) if bias else None), (5,)
    layers = [layer, *(norm(outs) for _ in range(norms))] if behind else [*(norm(ins) for _ in range(norms)), layer]
    network = ns.Network.sequential([ns.Tanh(), *layers, ns.Sigmoid()], shape, 1e-3)
    folded = network.folded()
    assert [type(node.layer) for node in folded.nodes] == [ns.Tanh, type(layer), ns.Sigmoid]
    inputs = normal(2, 3, *shape)
    assert np.allclose(run(network, inputs, dtype=np.float64).output, run(folded, inputs, dtype=np.float64).output,
                       rtol=0, atol=1e-10)


def test_a_norm_that_cannot_be_folded_stays() -> None:
    nodes = (Node("fc", ns.Linear(normal(3, 3)), ("input",)), Node("norm", norm(3), ("fc",)),
             Node("sum", ns.Sum(), ("norm", "fc")), Node("after", norm(3), ("sum",)))
    network = ns.Network(nodes, (3,), 1e-3)
    assert [node.name for node in network.folded().nodes] == ["fc", "norm", "sum", "after"]
    padded = ns.Network.sequential([norm(1), ns.Conv2d(normal(2, 1, 3, 3), padding=1)], (1, 4, 4), 1e-3)
    assert len(padded.folded().nodes) == 2, "the zeros around the map would not be zeros any more"
    with pytest.raises(ns.NeurosimError, match="norm: NIR has no BatchNorm; no layer next to it"):
        network.to_nir()
    chain = ns.Network.sequential({"fc": ns.Linear(normal(3, 3)), "norm": norm(3), "lif": ns.LIF(0.9, reset="zero")},
                                  (3,), 1e-3)
    assert set(chain.to_nir().nodes) == {"input", "fc", "lif", "output"}
    with pytest.raises(ns.NeurosimError, match=r"layer norm: the chip has no BatchNorm .*Network.folded\(\)"):
        ns.map_network(chain, ns.load_profile("dynap_se2"))
    ns.map_network(chain.folded(), ns.load_profile("dynap_se2"))


@given(st.integers(0, 5), st.integers(1, 9), st.sampled_from([np.float32, np.float64, np.uint8]))
def test_what_drives_a_layer_is_counted(steps: int, inputs: int, dtype: type) -> None:
    values = (RNG.normal(size=(steps, inputs)) * (RNG.random((steps, inputs)) < 0.4) * 9).astype(np.int8).astype(dtype)
    drive = value_drive(values)
    wide = values.astype(np.float64)
    assert np.array_equal(drive.active, np.count_nonzero(values, axis=0))
    assert np.allclose(drive.magnitudes, np.abs(wide).sum(axis=0), rtol=1e-12)
    assert np.allclose(drive.squares, (wide**2).sum(axis=0), rtol=1e-12)
    assert drive.peak == np.abs(wide).max(initial=0)
    assert drive.reads == np.count_nonzero(wide.any(axis=1))
