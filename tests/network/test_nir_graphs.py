"""Graphs that are not chains of layers: loops, sums, scales, graphs in graphs; and what is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Callable

import nir
import numpy as np
import pytest
from nir_cases import BATCH, ODD, TIMES, WEIGHT, chain, follow, lif_node, random_spikes, run_all

import neurosim as ns
from neurosim.network.nir_files import from_nir, to_nir


def test_loops_of_all_kinds() -> None:
    nodes = {"input": nir.Input(np.array([4])), "lif": lif_node(), "w": nir.Affine(WEIGHT, ODD), "d": nir.Scale(ODD),
             "output": nir.Output(None)}
    edges = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "d"), ("d", "lif"), ("lif", "lif")]
    layer = from_nir(nir.NIRGraph(nodes, [*edges, ("lif", "output")]), 1e-3)["lif"]
    np.testing.assert_allclose(layer.recurrent, WEIGHT + np.diag(ODD) + np.eye(4), rtol=1e-15)
    np.testing.assert_array_equal(layer.bias, ODD)
    # weights back that somebody else listens to stay, as a layer of their own
    del nodes["d"]
    shared = from_nir(nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w"), ("w", "lif"), ("w", "output")]), 1e-3)
    assert [n.name for n in shared.nodes] == ["lif", "w"]
    np.testing.assert_array_equal(shared["lif"].recurrent, WEIGHT)


def test_a_loop_over_two_populations_is_refused() -> None:
    nodes = {"input": nir.Input(np.array([4])), "a": lif_node(), "w": nir.Linear(WEIGHT), "b": lif_node(),
             "u": nir.Linear(WEIGHT), "output": nir.Output(None)}
    edges = [("input", "a"), ("a", "w"), ("w", "b"), ("b", "u"), ("u", "a"), ("b", "output")]
    with pytest.raises(ns.NeurosimError, match=r"a -> w -> b -> u -> a: a loop that is not one"):
        from_nir(nir.NIRGraph(nodes, edges), 1e-3)


@pytest.mark.parametrize("where", ["weights before", "weights behind", "neurons", "alone", "flatten", "channels",
                                   "pixels", "ones"])
def test_scales_do_not_change_what_is_computed(where: str) -> None:
    rng = np.random.default_rng(3)
    scale, linear, lif = rng.uniform(0.5, 2, 4), nir.Affine(WEIGHT, ODD), lif_node(tau=2e-3, v_threshold=0.3)
    image = nir.Scale(np.repeat(rng.uniform(0.5, 2, (2, 1)), 4, 1).reshape(2, 2, 2))
    conv = nir.Conv2d((2, 2), rng.normal(size=(2, 2, 1, 1)), 1, 0, 1, 1, np.ones(2))
    graphs = {
        "weights before": chain(linear, nir.Scale(scale), lif),
        "weights behind": chain(lif, nir.Scale(scale), linear),
        "neurons": chain(nir.Scale(scale), lif), "alone": chain(lif, nir.Scale(scale)),
        "flatten": chain(image, nir.Flatten(None, 0), nir.Affine(rng.normal(size=(4, 8)), ODD), lif, shape=(2, 2, 2)),
        "channels": chain(lif_node((2, 2, 2)), nir.Scale(rng.uniform(0.5, 2, (2, 1, 1))),
                          nir.Flatten(np.array([2, 2, 2]), 0), nir.Affine(rng.normal(size=(4, 8)), ODD), lif,
                          shape=(2, 2, 2), type_check=False),
        "pixels": chain(image, conv, nir.Flatten(None, 0), nir.Scale(np.full(8, 3.0)), lif_node(8), shape=(2, 2, 2)),
        "ones": chain(lif, nir.Scale(np.ones(4)))}
    graph = graphs[where]
    net = from_nir(graph, 1e-3)
    layers = {"weights before": 2, "weights behind": 2, "neurons": 1, "alone": 2, "flatten": 3, "channels": 4,
              "pixels": 3, "ones": 1}
    assert len(net.nodes) == layers[where]
    inputs = random_spikes(net.input_shape)
    now, v = inputs, None
    for node in list(graph.nodes.values())[1:-1]:
        if isinstance(node, nir.Scale):
            now = now * node.scale
        elif isinstance(node, nir.Affine):
            now = now @ node.weight.T + node.bias
        elif isinstance(node, nir.Conv2d):
            now = np.einsum("oi,tbihw->tbohw", node.weight[:, :, 0, 0], now) + 1
        elif isinstance(node, nir.Flatten):
            now = now.reshape(TIMES, BATCH, -1)
        else:
            v, out = 0.0, []
            for x in now:
                v = v + 1e-3 / node.tau * (x - v)
                out.append((v > node.v_threshold) * 1.0)
                v = np.where(v > node.v_threshold, 0, v)
            now = np.stack(out)
    assert now.any()
    np.testing.assert_allclose(run_all(net, inputs), now, rtol=1e-12)


def test_sum_pools_thresholds_integrators_and_cuba_li() -> None:
    rng = np.random.default_rng(4)
    inputs = random_spikes((1, 4, 4))
    pooled = inputs.reshape(TIMES, BATCH, 2, 2, 2, 2).sum((3, 5)).reshape(TIMES, BATCH, 4)
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    net = from_nir(chain(pool, nir.Flatten(None, 0), nir.Linear(WEIGHT), shape=(1, 4, 4)), 1e-3)
    assert [type(n.layer) for n in net.nodes] == [ns.AvgPool2d, ns.Flatten, ns.Linear]
    np.testing.assert_allclose(run_all(net, inputs), pooled @ WEIGHT.T, rtol=1e-12)
    bare = from_nir(chain(pool, shape=(1, 4, 4)), 1e-3)
    np.testing.assert_allclose(run_all(bare, inputs).reshape(pooled.shape), pooled, rtol=1e-12)

    flat = random_spikes((4,))
    threshold = from_nir(chain(nir.Linear(WEIGHT), nir.Threshold(np.full(4, 0.3))), 1e-3)
    np.testing.assert_array_equal(run_all(threshold, flat), flat @ WEIGHT.T > 0.3)
    integrator = from_nir(chain(nir.I(np.full(4, 250.0))), 1e-3)
    np.testing.assert_allclose(run_all(integrator, flat), np.cumsum(flat, 0) * 0.25, rtol=1e-12)
    membrane = from_nir(chain(nir.I(np.full(4, 250.0)), nir.Threshold(np.ones(4))), 1e-3)
    assert membrane["n1"].reset == "none"
    np.testing.assert_array_equal(run_all(membrane, flat), np.cumsum(flat, 0) * 0.25 > 1)

    parameters = {"tau_syn": rng.uniform(2e-3, 9e-3, 4), "tau_mem": rng.uniform(2e-3, 9e-3, 4),
                  "r": rng.uniform(1, 2, 4), "w_in": rng.uniform(1, 2, 4), "v_leak": rng.uniform(0.1, 0.2, 4)}
    i, v = np.zeros((2, BATCH, 4))

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal i, v
        p = parameters
        i = i + 1e-3 / p["tau_syn"] * (p["w_in"] * x - i)
        v = v + 1e-3 / p["tau_mem"] * (p["v_leak"] - v + p["r"] * i)
        return v

    cuba = from_nir(chain(nir.CubaLI(**parameters)), 1e-3)
    assert [n.name for n in cuba.nodes] == ["n0.current", "n0"]
    np.testing.assert_allclose(run_all(cuba, flat), follow(step, flat), rtol=1e-10)


def test_scalars_are_broadcast_and_shapes_of_channels() -> None:
    scalar = nir.LIF(*(np.array(value) for value in (0.01, 10.0, 0.0, 0.5)))
    net = from_nir(chain(nir.Linear(WEIGHT), scalar, type_check=False), 1e-3)
    assert net["n1"].beta.shape == ()
    channels = nir.LIF(*(np.full((2, 1, 1), value) for value in (0.01, 10.0, 0.0, 0.5)))
    net = from_nir(chain(channels, shape=(2, 3, 3), type_check=False), 1e-3)
    assert net["n0"].threshold.shape == (2, 3, 3)
    with pytest.raises(ns.NeurosimError, match=r"node n0 \(LIF\): tau has shape .3,.*allowed: \(4,\), or one value"):
        from_nir(chain(lif_node(3), type_check=False), 1e-3)


def test_graphs_in_graphs_in_graphs() -> None:
    inner = chain(lif_node())
    outer = chain(nir.Linear(WEIGHT), chain(inner, nir.Linear(WEIGHT)), lif_node())
    net = from_nir(outer, 1e-3)
    assert [n.name for n in net.nodes] == ["n0", "n1.n0.n0", "n1.n1", "n2"]
    plain = from_nir(chain(nir.Linear(WEIGHT), lif_node(), nir.Linear(WEIGHT), lif_node()), 1e-3)
    np.testing.assert_array_equal(run_all(net, random_spikes((4,))), run_all(plain, random_spikes((4,))))


# ---------------------------------------------------------------- what is refused

def _image(*nodes: nir.NIRNode) -> nir.NIRGraph:
    return chain(*nodes, shape=(2, 4, 4), type_check=False)


def _conv(**fields: object) -> nir.Conv2d:
    given = {"input_shape": None, "weight": np.ones((2, 2, 3, 3)), "stride": 1, "padding": 0, "dilation": 1,
             "groups": 1, "bias": np.zeros(2)}
    return nir.Conv2d(**{**given, **fields})


REFUSED: dict[str, tuple[Callable[[], nir.NIRGraph], str]] = {
    "delay": (lambda: chain(nir.Delay(np.ones(4))), r"node n0 \(Delay\): neurosim has no layer for it"),
    "conv1d": (lambda: chain(nir.Conv1d(4, np.ones((1, 1, 2)), 1, 0, 1, 1, np.zeros(1)), shape=(1, 4)), "Conv1d"),
    "groups": (lambda: _image(_conv(groups=2)), r"node n0 \(Conv2d\): groups is 2"),
    "same, stride 2": (lambda: _image(_conv(padding="same", stride=2)), "padding is 'same' with stride"),
    "kernel too large": (lambda: _image(_conv(weight=np.ones((2, 2, 9, 9)))), r"node n0 \(Conv2d\): the kernel"),
    "flatten some": (lambda: _image(nir.Flatten(None)), r"flattens axes 1 to -1 .*counted the batch"),
    "linear on a map": (lambda: _image(nir.Linear(np.eye(4))), r"node n0 \(Linear\): Linear takes 4 inputs"),
    "linear of 3 axes": (lambda: _image(nir.Linear(np.ones((2, 4, 4)))), r"weight has shape \(2, 4, 4\)"),
    "scale of pixels": (lambda: _image(nir.Scale(np.arange(32.0).reshape(2, 4, 4))), "scales single values"),
    "tau of 0": (lambda: chain(lif_node(tau=0)), r"node n0 \(LIF\), tau: time constant 0 .*more than 0"),
    "tau below dt": (lambda: chain(lif_node(tau=5e-4)), "shorter than the time step 0.001; .*convention='exact'"),
    "tau in ms": (lambda: chain(lif_node(tau=5.0)), r"up to 5 s \(allowed: less than 1 s, .*look like milliseconds"),
    "some tau in ms": (lambda: chain(_odd(lif_node(), tau=np.array([0.5, 5.0, 10.0, 20.0]))), "up to 20 s"),
    "NaN": (lambda: chain(lif_node(r=np.nan)), r"node n0 \(LIF\): r holds NaN"),
    "leak without r": (lambda: chain(lif_node(r=0.0, v_leak=0.1)), "v_leak is not 0 where r is"),
    "text": (lambda: chain(_odd(lif_node(), r="much")), "r is 'much'"),
    "no nodes between": (lambda: chain(), "a network without layers"),
    "loop of a map": (lambda: _looped(nir.LIF(*np.full((4, 1, 2, 2), 0.1)), nir.Scale(np.ones((1, 2, 2))), (1, 2, 2)),
                      "back to itself"),
    "loop of other size": (lambda: _looped(lif_node(), nir.Linear(np.ones((3, 3))), (4,)), r"have shape \(3, 3\)"),
    "a second output": (lambda: _edges([("a", "y")], y=nir.Output(np.array([4]))), "2 nodes of type Output"),
    "no input": (lambda: _edges([], ("input",)), "0 nodes of type Input"),
    "an edge twice": (lambda: _edges([("input", "a")]), "input -> a: the edge stands there 2 times"),
    "an edge to nowhere": (lambda: _edges([("a", "b")]), "a -> b: there is no node 'b'"),
    "a dead end": (lambda: _edges([("a", "b")], b=lif_node()), "node b: it leads nowhere"),
    "a source of nothing": (lambda: _edges([("b", "output")], b=lif_node()), "node b: nothing leads there"),
    "sum of shapes": (lambda: _edges([("input", "b"), ("b", "output")], b=nir.Linear(np.ones((3, 4)))),
                      r"node output \(Output\): it sums shapes \[\(4,\), \(3,\)\]"),
    "pass in a circle": (lambda: _edges([("g", "g"), ("g", "output")], g=nir.NIRGraph(
        {"i": nir.Input(np.array([4])), "o": nir.Output(np.array([4]))}, [("i", "o")])), "a loop without a neuron"),
}


def _odd(node: nir.NIRNode, **fields: object) -> nir.NIRNode:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _looped(lif: nir.NIRNode, back: nir.NIRNode, shape: tuple[int, ...]) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array(shape)), "lif": lif, "w": back, "output": nir.Output(None)}
    return nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")], type_check=False)


def _edges(more: list[tuple[str, str]], without: tuple[str, ...] = (), **nodes: nir.NIRNode) -> nir.NIRGraph:
    """input -> a -> output, and more."""
    named = {"input": nir.Input(np.array([4])), "a": lif_node(), "output": nir.Output(np.array([4])), **nodes}
    edges = [("input", "a"), ("a", "output"), *more]
    return nir.NIRGraph({n: v for n, v in named.items() if n not in without},
                        [e for e in edges if not set(e) & set(without)], type_check=False)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_layer_is_named(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ns.NeurosimError, match=message) as caught:
        from_nir(make(), 1e-3)
    assert "NIR graph" in str(caught.value) or case == "no nodes between"


def test_arguments_are_checked() -> None:
    graph = chain(lif_node())
    for fields, message in (({"convention": "midpoint"}, "convention is 'midpoint' .*euler, exact, impulse"),
                            ({"synapse": "delta"}, "synapse is 'delta'"), ({"time_unit": 0}, "time_unit is 0"),
                            ({"readout": "mean"}, "readout is 'mean'")):
        with pytest.raises(ns.NeurosimError, match=message):
            from_nir(graph, 1e-3, **fields)
    for dt in (0, -1e-3, np.nan, "1 ms"):
        with pytest.raises(ns.NeurosimError, match="dt is"):
            from_nir(graph, dt)
    with pytest.raises(TypeError):
        from_nir(graph)  # a time step is never guessed
    with pytest.raises(ns.NeurosimError, match="it is a LIF"):
        from_nir(lif_node(), 1e-3)
    with pytest.raises(ns.NeurosimError, match="convention"):
        to_nir(ns.Network.sequential([ns.LIF(0.5, reset="zero")], (4,), 1e-3), convention="midpoint")


def test_the_shape_of_the_input_can_be_given() -> None:
    batched = chain(nir.Linear(WEIGHT), shape=(16, 4), type_check=False)
    with pytest.raises(ns.NeurosimError, match="Linear takes 4 inputs, gets shape"):
        from_nir(batched, 1e-3)
    assert from_nir(batched, 1e-3, input_shape=(4,)).input_shape == (4,)


def test_notes_annotate_and_arguments_decide(caplog: pytest.LogCaptureFixture) -> None:
    net = ns.Network.sequential([ns.LIF(np.full(4, 0.5), reset="zero")], (4,), 1e-3, readout="last")
    graph = to_nir(net, convention="exact")
    assert from_nir(graph, 1e-3).readout == "last"
    assert from_nir(graph, 1e-3, readout="max").readout == "max"
    with pytest.raises(ns.NeurosimError, match=r"dt is 0.002 s, and its metadata say 0.001 s; pass dt=0.001"):
        from_nir(graph, 2e-3)
    with pytest.raises(ns.NeurosimError, match=r"its metadata say 0\.0001 s"):
        from_nir(chain(lif_node(), dt=1e-4), 1e-3)
    with caplog.at_level(logging.WARNING, "neurosim"):
        other = from_nir(graph, 1e-3, convention="euler")
    assert "was written for the convention exact; it is read as euler" in caplog.text
    np.testing.assert_allclose(other["lif"].beta, 1 + np.log(0.5), rtol=1e-15)
    # without any notes the meaning is the same, as soon as the convention is said
    for node in (graph, *graph.nodes.values()):
        node.metadata = {}
    bare = from_nir(graph, 1e-3, convention="exact")
    np.testing.assert_allclose(bare["lif"].beta, 0.5, rtol=1e-15)
    np.testing.assert_array_equal(bare["lif"].gain, 1)
    assert bare.provenance == {"source": "NIR", "convention": "exact", "synapse": "ode", "time_unit": 1.0}


