"""The forward pass: fused equals unfused, counts are those of the dense signals, blocks change nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import neuron_twins as twins
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.network import forward
from neurosim.network.forward import Events, compile_inputs, compile_steps, run, run_block

TIME, BATCH = 15, 7


def dyadic(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Multiples of 1/16: sums of them are exact in any order."""
    return rng.integers(-16, 17, shape) / 16


def spiking_network(readout: str = "sum", last: str = "lif", seed: int = 0) -> ns.Network:
    rng = np.random.default_rng(seed)
    layers = {
        "in": ns.Linear(dyadic(rng, 20, 6), dyadic(rng, 20)),
        "hidden": ns.LIF(0.875, recurrent=dyadic(rng, 20, 20) / 4, bias=dyadic(rng, 20)),
        "middle": ns.Linear(dyadic(rng, 11, 20)),
        "cuba": ns.CubaLIF(0.5, 0.75, recurrent=dyadic(rng, 11, 11) / 4),
        "out": ns.Linear(dyadic(rng, 3, 11)),
        "last": ns.LIF(0.9) if last == "lif" else ns.LeakyIntegrator(0.9),
    }
    return ns.Network.sequential(layers, (6,), dt=1e-3, readout=readout)


def convolutional_network() -> ns.Network:
    rng = np.random.default_rng(3)
    layers = {
        "conv": ns.Conv2d(rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), padding=1),
        "spikes": ns.LIF(0.9),
        "pool": ns.MaxPool2d(2),
        "conv2": ns.Conv2d(rng.normal(size=(3, 4, 2, 2)), stride=2),
        "more": ns.LIF(0.8),
        "flat": ns.Flatten(),
        "out": ns.Linear(rng.normal(size=(5, 12))),
        "last": ns.LIF(0.9),
    }
    return ns.Network.sequential(layers, (2, 8, 8), dt=1e-3)


def spikes_in(*shape: int, rate: float = 0.3, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((TIME, BATCH, *shape)) < rate).astype(float)


def assert_same(one: forward.Forward, other: forward.Forward) -> None:
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.output, other.output)
    assert one.drives.keys() == other.drives.keys()
    for name, drive in one.drives.items():
        for part, value in vars(drive).items():
            np.testing.assert_array_equal(value, getattr(other.drives[name], part))
    for name in ("spikes", "kept"):
        assert getattr(one, name).keys() == getattr(other, name).keys()
        for key, value in getattr(one, name).items():
            np.testing.assert_array_equal(value, getattr(other, name)[key], err_msg=f"{name} {key}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fused_equals_unfused(dtype):
    network, inputs = spiking_network(), spikes_in(6)
    assert [step.fused is not None for step in compile_steps(network)] == [True] * 3
    fused = run(network, inputs, dtype=dtype, keep=("hidden", "cuba", "last"))
    apart = run(network, inputs, dtype=dtype, keep=("hidden", "cuba", "last", "in", "middle", "out"))
    assert 0 < fused.output.mean() < 1
    for name in ("in", "middle", "out"):
        apart.kept.pop(name)
    assert_same(fused, apart)


def test_the_layers_are_those_of_the_twins():
    network, inputs = spiking_network(), spikes_in(6)
    got = run(network, inputs, dtype=np.float64, keep=("hidden", "cuba", "last"))

    def full(layer: str, name: str, default: float = 0.0) -> np.ndarray:
        value = getattr(network[layer], name, None)
        return np.array(np.broadcast_to(default if value is None else value, network.shapes[layer]), float)

    signal = inputs
    for linear, name in (("in", "hidden"), ("middle", "cuba"), ("out", "last")):
        model = {"hidden": twins.lif, "cuba": twins.cuba_lif, "last": twins.lif}[name]
        keys = ("alpha", "gain_syn", "leak") if name == "cuba" else ()
        own = {key: full(name, key) for key in (*keys, "beta", "threshold", "gain", "v_reset")}
        signal = twins.run(model(**own, reset="subtract", delay=True), full(name, "bias") + full(linear, "bias"),
                           spikes=signal, weight=network[linear].weight, recurrent=network[name].recurrent)
        assert 0 < signal.mean() < 1
        np.testing.assert_array_equal(got.kept[name], signal)
    np.testing.assert_array_equal(got.scores, signal.sum(axis=0))


@pytest.mark.parametrize(("network", "shape"), [(spiking_network(), (6,)), (spiking_network(last="leaky"), (6,)),
                                                (convolutional_network(), (2, 8, 8))], ids=["lif", "leaky", "conv"])
def test_counts_are_those_of_the_dense_signals(network, shape):
    inputs = spikes_in(*shape)
    result = run(network, inputs, keep=tuple(node.name for node in network.nodes))
    signals = {"input": inputs, **result.kept}
    for name, count in result.spikes.items():
        np.testing.assert_array_equal(count, signals[name].sum(axis=(0, 1)).reshape(-1))
        assert count.dtype == np.int64
    weighted = {node.name: node.inputs[0] for node in network.nodes if isinstance(node.layer, (ns.Linear, ns.Conv2d))}
    weighted |= {f"{node.name}/recurrent": node.name for node in network.nodes
                 if getattr(node.layer, "recurrent", None) is not None}
    assert result.drives.keys() == weighted.keys()
    for name, source in weighted.items():
        given = signals[source][:-1] if name.endswith("/recurrent") else signals[source]  # fed back in the next step
        np.testing.assert_array_equal(result.drives[name].active,
                                      np.count_nonzero(given, axis=(0, 1)).reshape(-1))
        assert result.drives[name].reads == given.reshape(*given.shape[:2], -1).any(axis=2).sum()
    np.testing.assert_array_equal(result.output, signals[network.nodes[-1].name])


@pytest.mark.parametrize("readout", ["sum", "max", "last"])
@pytest.mark.parametrize("last", ["lif", "leaky"])
def test_the_readout_rules(readout, last):
    result = run(spiking_network(readout, last), spikes_in(6), dtype=np.float64)
    rule = {"sum": lambda x: x.sum(axis=0), "max": lambda x: x.max(axis=0), "last": lambda x: x[-1]}[readout]
    np.testing.assert_allclose(result.scores, rule(result.output), rtol=1e-14)
    np.testing.assert_array_equal(result.prediction, result.scores.argmax(axis=1))


@settings(deadline=None, max_examples=15)
@given(values=st.integers(1, 3000), last=st.sampled_from(["lif", "leaky"]), dense=st.booleans())
def test_blocks_change_nothing(values, last, dense):
    network, inputs = spiking_network(last=last), spikes_in(6) * (0.5 if dense else 1)
    whole = run(network, inputs, keep=("hidden",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "_BLOCK_VALUES", values)
        blocks = compile_inputs(network, inputs)
        assert len(blocks) == -(-BATCH // max(1, min(BATCH, values // (TIME * 20))))
        assert_same(run(network, inputs, keep=("hidden",)), whole)


def test_blocks_of_a_convolutional_network_change_nothing(monkeypatch):
    network, inputs = convolutional_network(), spikes_in(2, 8, 8)
    whole = run(network, inputs)
    monkeypatch.setattr(forward, "_BLOCK_VALUES", 2 * TIME * 256)
    assert len(compile_inputs(network, inputs)) == 4
    assert_same(run(network, inputs), whole)


def test_spikes_come_as_events_and_other_inputs_do_not():
    network, inputs = spiking_network(), spikes_in(6)
    assert isinstance(compile_inputs(network, inputs)[0].signal, Events)
    assert isinstance(compile_inputs(network, inputs * 0.5)[0].signal, np.ndarray)
    assert isinstance(compile_inputs(convolutional_network(), spikes_in(2, 8, 8))[0].signal, np.ndarray)
    for same in (inputs.astype(bool), inputs.astype(np.int8), inputs.astype(np.float32)):
        assert_same(run(network, same), run(network, inputs))
    zero_weighted = run(network, np.zeros_like(inputs))
    assert zero_weighted.drives["in"].active.tolist() == [0] * 6


def test_a_graph_with_a_sum_and_a_branch():
    rng = np.random.default_rng(5)
    node = forward.Node
    weights = {name: dyadic(rng, 8, 8) for name in ("a", "b", "c")}
    layers = {name: ns.Linear(weight) for name, weight in weights.items()}
    nodes = (node("a", layers["a"], ("input",)), node("first", ns.LIF(0.5), ("a",)), node("b", layers["b"], ("first",)),
             node("c", layers["c"], ("input",)), node("sum", ns.Sum(), ("b", "c", "first")),
             node("last", ns.LIF(0.5), ("sum",)))
    inputs = spikes_in(8)
    result = run(ns.Network(nodes, (8,), dt=1e-3), inputs, dtype=np.float64, keep=("first", "sum"))
    first = result.kept["first"]
    assert 0 < first.mean() < 1
    np.testing.assert_array_equal(result.kept["sum"], first @ weights["b"].T + inputs @ weights["c"].T + first)
    np.testing.assert_array_equal(result.drives["c"].active, inputs.sum(axis=(0, 1)))


def test_a_die_replaces_what_it_names():
    network, inputs = spiking_network(), spikes_in(6)
    own = {"in": {"weight": network["in"].weight * 0.5}, "hidden": {"threshold": np.linspace(0.5, 1.5, 20)}}

    def changed(layer: str, name: str, value: np.ndarray) -> np.ndarray:
        return own.get(layer, {}).get(name, value)

    die = run(network, inputs, own)
    assert_same(die, run(network.replace_arrays(changed), inputs))
    assert (die.spikes["hidden"] != run(network, inputs).spikes["hidden"]).any()


def test_compiled_steps_are_copies_and_blocks_can_be_used_again():
    network, inputs = spiking_network(), spikes_in(6)
    parameters = {"in": {"weight": np.array(network["in"].weight)}}
    steps, (block,) = compile_steps(network, parameters), compile_inputs(network, inputs)
    before = run_block(network, steps, block)
    parameters["in"]["weight"][:] = 0
    with ThreadPoolExecutor(4) as pool:
        for after in pool.map(lambda _: run_block(network, steps, block), range(8)):
            np.testing.assert_array_equal(after.scores, before.scores)
            np.testing.assert_array_equal(after.drives["in"].active, before.drives["in"].active)
    assert before.output is None
    np.testing.assert_array_equal(before.scores, run(network, inputs).scores)


@pytest.mark.parametrize(("inputs", "found"), [
    (np.zeros((TIME, 6)), "[15, 6]"),
    (np.zeros((TIME, BATCH, 5)), "[15, 7, 5]"),
    (np.zeros((0, BATCH, 6)), "[0, 7, 6]"),
    (np.full((TIME, BATCH, 6), np.nan), "630 NaN or infinite values"),
    (np.full((TIME, BATCH, 6), "spike"), "not numbers"),
])
def test_inputs_that_cannot_be_are_refused(inputs, found):
    with pytest.raises(ns.NeurosimError) as error:
        run(spiking_network(), inputs)
    assert found in str(error.value)
    assert str(error.value).startswith("inputs: ")


def test_an_unknown_layer_cannot_be_kept():
    with pytest.raises(ns.NeurosimError, match=r"no layer 'hiden'.*hidden"):
        run(spiking_network(), spikes_in(6), keep=("hiden",))
