"""Our networks to NIR and back, what NIR cannot say, and files."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_cases import ODD, WEIGHT, chain, lif_node, random_spikes, run_all

import neurosim as ns
from neurosim.network import Node
from neurosim.network.forward import run
from neurosim.network.nir_files import from_nir, to_nir


def _assert_alike(network: ns.Network, again: ns.Network) -> None:
    """Equal shapes and settings, arrays to 2^-52 of their value (2^-53 for decays), and equal spikes."""
    assert [(n.name, type(n.layer), n.inputs) for n in again.nodes] == [
        (n.name, type(n.layer), n.inputs) for n in network.nodes]
    for node in network.nodes:
        arrays, others = node.layer.arrays(), again[node.name].arrays()
        assert arrays.keys() == others.keys(), node.name
        for name, value in arrays.items():
            assert (others[name].shape, others[name].dtype) == (value.shape, value.dtype), (node.name, name)
            if value.dtype == np.float32:
                np.testing.assert_array_equal(others[name], value, f"{node.name} {name}")
            np.testing.assert_allclose(others[name], value, rtol=4.5e-16, atol=1.2e-16)
    keep = tuple(node.name for node in network.nodes if hasattr(node.layer, "threshold"))
    inputs = random_spikes(network.input_shape)
    one, other = (run(net, inputs, dtype=np.float64, keep=keep) for net in (network, again))
    for name in keep:
        np.testing.assert_array_equal(one.kept[name], other.kept[name], name)
    np.testing.assert_allclose(other.output, one.output, rtol=1e-9, atol=1e-9)


@st.composite
def _networks(draw: st.DrawFn) -> ns.Network:
    """Networks that NIR can say, with all their kinds of parameters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype, n = draw(st.sampled_from([np.float32, np.float64])), draw(st.integers(1, 5))

    def of(low: float, high: float, maybe_scalar: bool = True) -> np.ndarray:
        shape = () if maybe_scalar and draw(st.booleans()) else (n,)
        return rng.uniform(low, high, shape).astype(dtype)

    def decay() -> np.ndarray:
        kind = draw(st.sampled_from(["any", "any", "none", "some"]))
        value = of(0.0, 1.0)
        return np.ones_like(value) if kind == "none" else np.where(value < 0.2, dtype(kind == "some"), value)

    def population(kind: str) -> object:
        recurrent = rng.normal(0, 0.5, (n, n)).astype(dtype) if draw(st.booleans()) else None
        bias = of(0.01, 0.3) if draw(st.booleans()) else None
        reset = draw(st.sampled_from(["zero", "none"]))
        fields = {"beta": decay(), "threshold": of(0.3, 2), "gain": of(0.2, 2), "recurrent": recurrent, "reset": reset,
                  "reset_delay": False, "v_reset": of(-0.2, 0.1) if reset == "zero" else 0.0}
        if kind == "lif":
            return ns.LIF(bias=bias, **fields)
        leak = of(0.01, 0.2) if draw(st.booleans()) else None
        return ns.CubaLIF(alpha=decay(), gain_syn=of(0.2, 2), bias=bias if recurrent is not None else None, leak=leak,
                          **fields)

    layers: dict[str, object] = {}
    for number in range(draw(st.integers(1, 3))):
        weight = rng.normal(0, 0.8, (n, n)).astype(dtype)
        layers[f"w{number}"] = ns.Linear(weight, of(-0.2, 0.2, False) if draw(st.booleans()) else None)
        layers[f"p{number}"] = population(draw(st.sampled_from(["lif", "cuba"])))
    if draw(st.booleans()):
        layers["out"] = ns.LeakyIntegrator(decay(), of(0.2, 2), of(0.01, 0.2) if draw(st.booleans()) else None)
    return ns.Network.sequential(layers, (n,), draw(st.sampled_from([1e-4, 1e-3, 0.7e-3])),
                                 draw(st.sampled_from(["sum", "max", "last"])))


@settings(max_examples=40, deadline=None)
@given(network=_networks(), convention=st.sampled_from(["euler", "exact", "impulse"]), data=st.data())
def test_what_nir_can_say_comes_back(network: ns.Network, convention: str, data: st.DataObject,
                                     tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("nir") / "net.nir" if data.draw(st.booleans()) else None
    graph = to_nir(network, path, convention=convention)
    again = from_nir(path or graph, network.dt)
    _assert_alike(network, again)
    assert again.readout == network.readout
    assert again.dt == network.dt


def test_a_float32_network_comes_back_with_its_hash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    f = lambda *shape: rng.uniform(0.3, 0.95, shape).astype(np.float32)
    net = ns.Network.sequential({
        "conv": ns.Conv2d(f(3, 2, 3, 3) - 0.6, f(3), padding=1),
        "lif": ns.LIF(f(3, 6, 6), np.float32(1), v_reset=f(3, 6, 6), reset="zero", reset_delay=False),
        "pool": ns.AvgPool2d(2), "flat": ns.Flatten(), "fc": ns.Linear(f(4, 27) - 0.5),
        "rec": ns.CubaLIF(f(4), np.float32(0.9), recurrent=f(4, 4) - 0.5, bias=f(4), reset="zero", reset_delay=False),
        "out": ns.LeakyIntegrator(np.float32(0.8))}, (2, 6, 6), 1e-3)
    net.to_nir(tmp_path / "net.nir")
    again = ns.Network.from_nir(str(tmp_path / "net.nir"), 1e-3)
    assert again.hash == net.hash
    inputs = random_spikes((2, 6, 6))
    np.testing.assert_array_equal(run_all(again, inputs), run_all(net, inputs))
    assert nir.read(tmp_path / "net.nir").nodes["rec"].tau_mem.shape == (4,)  # nir's own check of types is content


def test_a_value_reset_gives_the_same_spikes_with_and_without_delay() -> None:
    rng = np.random.default_rng(0)
    recurrent = rng.normal(0, 0.5, (4, 4))
    for layer in (ns.LIF(ODD, 0.5, bias=0.05, v_reset=-0.1, recurrent=recurrent, reset="zero"),
                  ns.CubaLIF(ODD[::-1], ODD, 2.0, v_reset=0.1, recurrent=recurrent, reset="zero")):
        delayed = ns.Network.sequential({"fc": ns.Linear(WEIGHT), "lif": layer}, (4,), 1e-3)
        again = from_nir(to_nir(delayed), 1e-3)
        assert again["lif"].reset_delay is False
        inputs = random_spikes((4,))
        assert 0.05 < run_all(delayed, inputs).mean() < 0.95
        np.testing.assert_array_equal(run_all(again, inputs), run_all(delayed, inputs))
    held = ns.Network.sequential({"fc": ns.Linear(WEIGHT), "lif": ns.LIF(ODD, 0.5, reset="hold", reset_delay=False)},
                                 (4,), 1e-3)
    np.testing.assert_array_equal(run_all(from_nir(to_nir(held), 1e-3), inputs), run_all(held, inputs))


def test_a_bias_of_the_synapse_goes_to_the_weights_in_front() -> None:
    net = ns.Network.sequential({"fc": ns.Linear(WEIGHT), "cuba": ns.CubaLIF(0.5, 0.8, bias=ODD, reset="zero")}, (4,),
                                1e-3)
    graph = to_nir(net)
    np.testing.assert_array_equal(graph.nodes["fc"].bias, ODD)
    inputs = random_spikes((4,))
    np.testing.assert_array_equal(run_all(from_nir(graph, 1e-3), inputs), run_all(net, inputs))
    alone = ns.Network.sequential({"cuba": ns.CubaLIF(0.5, 0.8, bias=ODD, reset="zero")}, (4,), 1e-3)
    with pytest.raises(ns.NeurosimError, match="cuba: the bias of its synapse"):
        to_nir(alone)
    assert to_nir(alone, lossy=True).metadata["neurosim_losses"].startswith("cuba: the bias")


def test_sums_are_edges() -> None:
    nodes = (Node("a", ns.Linear(WEIGHT), ("input",)), Node("lif", ns.LIF(0.8, reset="zero"), ("a",)),
             Node("b", ns.Linear(WEIGHT.T), ("lif",)), Node("add", ns.Sum(), ("b", "a")),
             Node("more", ns.Sum(), ("add", "input")), Node("out", ns.LIF(0.9, reset="zero"), ("more",)),
             Node("end", ns.Sum(), ("out", "lif")))
    net = ns.Network(nodes, (4,), 1e-3)
    graph = to_nir(net)
    assert sorted(edge[0] for edge in graph.edges if edge[1] == "out") == ["a", "b", "input"]
    again = from_nir(graph, 1e-3)
    assert [n.name for n in again.nodes if isinstance(n.layer, ns.Sum)] == ["out_sum", "output_sum"]
    inputs = random_spikes((4,))
    np.testing.assert_allclose(run_all(again, inputs), run_all(net, inputs), rtol=1e-12)
    twice = ns.Network((*nodes, Node("x", ns.Sum(), ("end", "lif"))), (4,), 1e-3)
    with pytest.raises(ns.NeurosimError, match="output: lif enters its sum 2 times"):
        to_nir(twice, lossy=True)


def test_names_of_ours_do_not_meet_names_of_nir() -> None:
    net = ns.Network.sequential({"output": ns.Linear(WEIGHT), "output_": ns.LIF(0.5, reset="none")}, (4,), 1e-3)
    graph = to_nir(net)
    assert set(graph.nodes) == {"input", "output", "output_", "output_.membrane", "output__"}
    assert [n.name for n in from_nir(graph, 1e-3).nodes] == ["output", "output_"]
    nodes = {"in": nir.Input(np.array([4])), "input": lif_node(), "a/b": lif_node(), "out": nir.Output(None)}
    odd = nir.NIRGraph(nodes, [("in", "input"), ("input", "a/b"), ("a/b", "out")])
    assert [n.name for n in from_nir(odd, 1e-3).nodes] == ["input_", "a.b"]


# ---------------------------------------------------------------- what NIR cannot say

def _unsayable() -> ns.Network:
    return ns.Network.sequential({
        "conv": ns.Conv2d(np.ones((2, 1, 3, 3))), "relu": ns.ReLU(), "pool": ns.MaxPool2d(2), "flat": ns.Flatten(),
        "fc": ns.Linear(np.ones((3, 8))), "soft": ns.LIF(0.9), "hold": ns.LIF(0.9, reset="hold"),
        "lsnn": ns.AdaptiveLIF(0.9, 0.9, 1.0, 1.0, recurrent=np.eye(3), refractory=2),
        "cuba": ns.CubaLIF(0.9, 0.9, bias=0.1, reset="subtract")}, (1, 6, 6), 1e-3)


REASONS = ("relu: ReLU", "pool: MaxPool2d", "soft: the soft reset (subtract) becomes a reset to 0",
           "hold: the reset that", "lsnn: AdaptiveLIF becomes LIF",
           "refractory period of 2 steps", "cuba: the bias", "cuba: the soft reset")


def test_everything_that_nir_cannot_say_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ns.NeurosimError) as caught:
        _unsayable().to_nir(tmp_path / "net.nir")
    assert all(reason in str(caught.value) for reason in REASONS), str(caught.value)
    assert "lossy=True" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_lossy_writes_what_is_near_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "neurosim"):
        graph = _unsayable().to_nir(tmp_path / "net.nir", lossy=True)
    assert all(reason in caplog.text for reason in REASONS)
    listed = nir.read(tmp_path / "net.nir").metadata["neurosim_losses"]
    assert listed == graph.metadata["neurosim_losses"]
    assert len(listed.splitlines()) == 7
    again = from_nir(tmp_path / "net.nir", 1e-3)
    assert {type(n.layer) for n in again.nodes} == {ns.Conv2d, ns.AvgPool2d, ns.Flatten, ns.Linear, ns.LIF, ns.CubaLIF}
    assert {again[name].reset for name in ("soft", "hold", "lsnn", "cuba")} == {"zero"}
    np.testing.assert_array_equal(again["lsnn"].recurrent, np.eye(3))
    # a sum pool is a mean times 4, which the weights behind it took
    np.testing.assert_array_equal(again["fc"].weight, np.full((3, 8), 4.0))


def test_uneven_padding() -> None:
    def net(padding: object, stride: int = 1) -> ns.Network:
        return ns.Network.sequential({"c": ns.Conv2d(np.ones((1, 1, 2, 4)), None, stride, padding)}, (1, 5, 5), 1e-3)

    same = net(((0, 1), (1, 2)))
    assert to_nir(same).nodes["c"].padding == "same"
    assert from_nir(to_nir(same), 1e-3)["c"].padding == ((0, 1), (1, 2))
    for other in (net(((1, 0), (1, 2))), net(((0, 1), (1, 2)), 2)):
        with pytest.raises(ns.NeurosimError, match=r"c: zeros .* differ from side to side"):
            to_nir(other, lossy=True)


def test_kernels_that_are_not_square(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """nir 1.0.8 infers their output wrong: the graph is written all the same, with a warning, and read by us."""
    rng = np.random.default_rng(0)
    net = ns.Network.sequential({"c": ns.Conv2d(rng.normal(size=(2, 1, 1, 3))), "l": ns.LIF(
        rng.uniform(0.5, 1, (2, 4, 2)), reset="zero")}, (1, 4, 4), 1e-3)
    with caplog.at_level(logging.WARNING, "neurosim"):
        net.to_nir(tmp_path / "net.nir")
    assert "type_check=False" in caplog.text
    _assert_alike(net, from_nir(tmp_path / "net.nir", 1e-3))



# ---------------------------------------------------------------- files

def test_files_by_text_and_by_path(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", chain(nir.Linear(WEIGHT), lif_node()))
    for path in (tmp_path / "net.nir", str(tmp_path / "net.nir")):
        assert ns.Network.from_nir(path, 1e-3)["n0"].weight.tobytes() == WEIGHT.tobytes()


def test_files_that_are_not_nir(tmp_path: Path) -> None:
    with pytest.raises(ns.NeurosimError, match=r"gone\.nir: there is no such file"):
        from_nir(tmp_path / "gone.nir", 1e-3)
    with pytest.raises(ns.NeurosimError, match="is a folder"):
        from_nir(tmp_path, 1e-3)
    (tmp_path / "text.nir").write_text("lif: tau = 10 ms")
    with pytest.raises(ns.NeurosimError, match=r"text\.nir: is not an HDF5 file .*allowed: a NIR file"):
        from_nir(tmp_path / "text.nir", 1e-3)
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["node"] = np.zeros(3)
    with pytest.raises(ns.NeurosimError, match=r"other\.nir: is HDF5, but not NIR"):
        from_nir(tmp_path / "other.nir", 1e-3)
    ns.Network.sequential([ns.LIF(0.5)], (2,), 1e-3).save(tmp_path / "model.nir")
    with pytest.raises(ns.NeurosimError, match="is HDF5, but not NIR"):
        from_nir(tmp_path / "model.nir", 1e-3)


def test_files_with_damaged_nodes(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, chain(nir.Linear(WEIGHT), chain(lif_node())))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n1/nodes/n0/type"]
        file["node/nodes/n1/nodes/n0/type"] = "DPI"
    with pytest.raises(ns.NeurosimError, match=r"net\.nir: it has nodes that are not NIR's: n1\.n0 \(DPI\)"):
        from_nir(path, 1e-3)
    nir.write(path, chain(lif_node()))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/n0/tau"]
    with pytest.raises(ns.NeurosimError, match=r"net\.nir: nir cannot read it: .*tau"):
        from_nir(path, 1e-3)
    nir.write(path, chain(nir.Delay(np.ones(4))))
    with pytest.raises(ns.NeurosimError, match=r"net\.nir, node n0 \(Delay\)"):
        from_nir(path, 1e-3)


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = ns.Network.sequential([ns.LIF(0.5, reset="zero")], (4,), 1e-3)
    net.to_nir(tmp_path / "net.nir")
    before = (tmp_path / "net.nir").read_bytes()

    def failing(path: Path, data: object) -> None:
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(ns.NeurosimError, match="cannot be written: No space left"):
        net.to_nir(tmp_path / "net.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["net.nir"]
    assert (tmp_path / "net.nir").read_bytes() == before
