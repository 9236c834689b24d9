"""Model files: what is loaded is what was saved, to the bit; whatever else lies there is refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim as ns
from neurosim.network import Node
from neurosim.writing import written_beside


def _network(seed: int = 0, **kwargs: object) -> ns.Network:
    rng = np.random.default_rng(seed)
    layers = {"fc": ns.Linear(rng.normal(size=(4, 3)), rng.normal(size=4).astype(np.float32)),
              "lif": ns.LIF(0.9, rng.uniform(0.5, 1, 4), recurrent=rng.normal(size=(4, 4)), reset="zero"),
              "out": ns.LeakyIntegrator(np.float32(0.5))}
    return ns.Network.sequential(layers, (3,), 1e-3, **kwargs)


# ---------------------------------------------------------------- round trip

DTYPES = st.sampled_from([np.float32, np.float64])
DECAYS = st.floats(0, 1, width=32)
NUMBERS = st.floats(-(2.0**99), 2.0**99, width=32)


@st.composite
def _array(draw: st.DrawFn, shape: tuple[int, ...], numbers: st.SearchStrategy[float] = NUMBERS) -> np.ndarray:
    size = int(np.prod(shape))
    values = draw(st.lists(numbers, min_size=size, max_size=size))
    return np.array(values, draw(DTYPES)).reshape(shape)


@st.composite
def _population(draw: st.DrawFn, shape: tuple[int, ...]) -> object:
    def one(numbers: st.SearchStrategy[float] = NUMBERS) -> np.ndarray:
        return draw(_array(draw(st.sampled_from([(), shape])), numbers))

    def maybe(make: object) -> np.ndarray | None:
        return make() if draw(st.booleans()) else None

    recurrent = draw(_array(2 * shape)) if len(shape) == 1 and draw(st.booleans()) else None
    kind = draw(st.sampled_from([ns.LIF, ns.CubaLIF, ns.AdaptiveLIF, ns.LeakyIntegrator]))
    fields: dict[str, object] = {"beta": one(DECAYS), "bias": maybe(one)}
    if kind is ns.CubaLIF:
        fields |= {"alpha": one(DECAYS), "leak": maybe(one), "gain_syn": one()}
    if kind is ns.AdaptiveLIF:
        fields |= {"beta_adaptation": one(DECAYS), "adaptation": one(), "refractory": draw(st.integers(0, 5))}
    if kind is not ns.LeakyIntegrator:
        fields |= {"threshold": one(), "recurrent": recurrent}
    if kind in (ns.LIF, ns.CubaLIF):
        fields |= {"reset": draw(st.sampled_from(["subtract", "zero", "hold", "none"])), "v_reset": one(),
                   "reset_delay": draw(st.booleans())}
    return kind(**fields)


@st.composite
def _networks(draw: st.DrawFn) -> ns.Network:
    """Every layer type: maps first, then one axis, with a residual connection at the end."""
    channels, features = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pad = st.tuples(st.integers(0, 1), st.integers(0, 2))
    conv = ns.Conv2d(draw(_array((2, channels, 2, 1))), draw(st.none() | _array((2,))), draw(st.integers(1, 2)),
                     draw(st.tuples(pad, pad)), (1, 2))
    shape = conv.output_shape((channels, 6, 6))
    norm = ns.BatchNorm(draw(_array((2,))), np.abs(draw(_array((2,)))), draw(_array((2,))), draw(_array((2,))), 1e-3)
    middle = draw(st.one_of(_population(shape), st.sampled_from([ns.ReLU(), ns.Tanh(), ns.Sigmoid(), norm])))
    pool = draw(st.sampled_from([ns.AvgPool2d, ns.MaxPool2d]))(draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    nodes = []
    for number, layer in enumerate((conv, middle, pool, ns.Flatten())):
        nodes.append(Node(f"l{number}", layer, (nodes[-1].name if nodes else "input",)))
    shape = ns.Flatten().output_shape(pool.output_shape(shape))
    names = draw(st.lists(st.text(st.characters(whitelist_categories=("L", "N", "P")), min_size=1), min_size=3,
                          max_size=3, unique=True).filter(
        lambda names: not any("/" in n or n in (".", "input") or n.startswith("l") for n in names)))
    nodes += [Node(names[0], ns.Linear(draw(_array((features, *shape))), draw(st.none() | _array((features,)))),
                   (nodes[-1].name,)),
              Node(names[1], draw(_population((features,))), (names[0],)),
              Node(names[2], ns.Sum(), (names[0], names[1]))]
    cell = draw(st.sampled_from([ns.RNN, ns.GRU, ns.LSTM, None]))
    if cell is not None:
        width, more = cell.gates * 2, {"nonlinearity": "relu"} if cell is ns.RNN and draw(st.booleans()) else {}
        bias = draw(st.none() | _array((width,)))
        nodes += [Node("l input", ns.Linear(draw(_array((width, features)))), (names[2],)),
                  Node("l cell", cell(draw(_array((width, 2))), bias, **more), ("l input",))]
    return ns.Network(tuple(nodes), (channels, 6, 6), draw(st.floats(1e-6, 1)),
                      draw(st.sampled_from(["sum", "max", "last"])),
                      draw(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans()))))


@settings(max_examples=35, deadline=None)
@given(network=_networks())
def test_any_network_survives(network: ns.Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "net.h5"
    network.save(path)
    again = ns.Network.load(str(path))
    assert again.hash == network.hash
    assert [(n.name, type(n.layer), n.inputs, n.layer.settings()) for n in again.nodes] == [
        (n.name, type(n.layer), n.inputs, n.layer.settings()) for n in network.nodes]
    for node in network.nodes:
        for name, array in node.layer.arrays().items():
            other = again[node.name].arrays()[name]
            assert other.dtype == array.dtype
            assert other.shape == array.shape
            assert other.tobytes() == array.tobytes()
    assert again.provenance == network.provenance
    assert (again.dt, again.readout, again.input_shape) == (network.dt, network.readout, network.input_shape)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a.h5", "b.h5", "c.h5"))
    _network(provenance={"seed": 3, "recipe": "plain"}).save(first)
    _network(provenance={"recipe": "plain", "seed": 3}).save(second)
    ns.Network.load(first).save(third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    _network(1).save(second)
    assert first.read_bytes() != second.read_bytes()


def test_nothing_of_time_or_place_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    _network().save(path)
    assert str(tmp_path).encode() not in path.read_bytes()
    with h5py.File(path) as file:
        assert dict(file.attrs).keys() == {"format", "format_version", "neurosim", "dt", "readout", "input_shape",
                                           "hash"}


def test_numpy_numbers_in_settings_do_not_change_the_hash(tmp_path: Path) -> None:
    layer = ns.AdaptiveLIF(0.9, 0.9, 1.0, 1.0, refractory=np.int64(2))
    net = ns.Network((Node("a", ns.LIF(0.5, reset_delay=np.bool_(False)), ["input"]), Node("b", layer, ["a"])), (2,),
                     np.float32(0.5))
    net.save(tmp_path / "net.h5")
    assert ns.Network.load(tmp_path / "net.h5").hash == net.hash


def test_provenance_comes_back_as_plain_values(tmp_path: Path) -> None:
    given = {"seed": np.int64(7), "loss": np.array([1.0, 0.5], np.float32), "of": {"data": ("a", None)},
             "long": "x" * 100_000, "umlaut": "ü"}
    _network(provenance=given).save(tmp_path / "net.h5")
    assert ns.Network.load(tmp_path / "net.h5").provenance == {
        "seed": 7, "loss": [1.0, 0.5], "of": {"data": ["a", None]}, "long": "x" * 100_000, "umlaut": "ü"}


# ---------------------------------------------------------------- saving that fails

def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("owner", "name", "failure"), [
    (os, "fsync", OSError(28, "No space left on device")), (os, "replace", KeyboardInterrupt()),
    (h5py.Group, "create_dataset", RuntimeError("no"))])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            owner: object, name: str, failure: BaseException) -> None:
    path = tmp_path / "net.h5"
    _network().save(path)
    before = path.read_bytes()

    def failing(*arguments: object, **options: object) -> None:
        raise failure

    monkeypatch.setattr(owner, name, failing)
    expected = ns.NeurosimError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        _network(1).save(path)
    assert _left(tmp_path) == ["net.h5"]
    assert path.read_bytes() == before
    with pytest.raises(expected):
        _network(1).save(tmp_path / "new.h5")
    assert _left(tmp_path) == ["net.h5"]


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.h5").symlink_to(tmp_path / "there" / "net.h5")
    _network().save(tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    assert ns.Network.load(tmp_path / "there" / "net.h5").hash == _network().hash


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ns.NeurosimError, match=r"net\.h5: there is no folder .*nowhere"):
        _network().save(tmp_path / "nowhere" / "net.h5")
    with pytest.raises(ns.NeurosimError, match="is a folder"):
        _network().save(tmp_path)
    with pytest.raises(ns.NeurosimError, match="cannot be written: No such file"), written_beside(tmp_path / "x.h5"):
        pass  # nothing was written
    assert _left(tmp_path) == []


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ns.NeurosimError, match=r"net\.h5, provenance: .*it holds a object"):
        _network(provenance={"who": object()}).save(tmp_path / "net.h5")
    with pytest.raises(ns.NeurosimError, match="provenance"):
        _network(provenance={("a", 1): 2}).save(tmp_path / "net.h5")
    for name in (".", "a\0b"):
        with pytest.raises(ns.NeurosimError, match="layer name"):
            ns.Network.sequential({name: ns.LIF(0.5)}, (2,), 1e-3).save(tmp_path / "net.h5")
    assert _left(tmp_path) == []


# ---------------------------------------------------------------- loading that must be refused

def test_what_is_not_a_model_file(tmp_path: Path) -> None:
    with pytest.raises(ns.NeurosimError, match=r"gone\.h5: there is no such file"):
        ns.Network.load(tmp_path / "gone.h5")
    with pytest.raises(ns.NeurosimError, match="is a folder"):
        ns.Network.load(tmp_path)
    (tmp_path / "text.h5").write_text("not HDF5 at all")
    with pytest.raises(ns.NeurosimError, match=r"text\.h5: is not an HDF5 file"):
        ns.Network.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(ns.NeurosimError, match=r"other\.h5: is HDF5, but no model file"):
        ns.Network.load(tmp_path / "other.h5")
    _network().save(tmp_path / "short.h5")
    os.truncate(tmp_path / "short.h5", 5000)
    with pytest.raises(ns.NeurosimError, match=r"short\.h5: is damaged or cut short"):
        ns.Network.load(tmp_path / "short.h5")


def _set(key: str, value: object, at: str = "/") -> object:
    return lambda file: file[at].attrs.__setitem__(key, value)


def _replace(key: str, value: object) -> object:
    def change(file: h5py.File) -> None:
        del file[key]
        if value is not None:
            file[key] = value
    return change


DAMAGES = {
    "newer": (_set("format_version", 3), "format_version is 3, written by neurosim .*allowed: up to 2.*newer neurosim"),
    "version 0": (_set("format_version", 0), "format_version is 0"),
    "version text": (_set("format_version", "one"), "format_version is one"),
    "no hash": (lambda f: f.attrs.__delitem__("hash"), "hash: the attribute is missing"),
    "other hash": (_set("hash", "ab"), "changed or damaged"),
    "dt": (_set("dt", 2e-3), "changed or damaged"),
    "dt in milliseconds": (_set("dt", 1e4), r"dt is 10000.0 s .*not milliseconds"),
    "dt text": (_set("dt", "fast"), "dt or input_shape"),
    "input shape": (_set("input_shape", [4]), "layer fc: Linear takes 3 inputs"),
    "readout": (_set("readout", "mean"), "readout is 'mean'.*allowed: sum, max, last"),
    "type": (_set("type", "LIFF", "layers/lif"), "layers/lif: unknown layer type 'LIFF'; did you mean 'LIF'"),
    "no type": (lambda f: f["layers/lif"].attrs.__delitem__("type"), "layers/lif/type: the attribute is missing"),
    "settings": (_set("settings", "{", "layers/lif"), "layers/lif, settings: is '{'"),
    "settings of another": (_set("settings", '{"stride": 1}', "layers/lif"), "layers/lif: LIF cannot be made"),
    "reset": (_set("settings", '{"reset": "soft"}', "layers/lif"), "layers/lif: reset is 'soft'"),
    "inputs": (_set("inputs", '["nobody"]', "layers/lif"), "layer lif: its input is .'nobody'"),
    "position": (_set("position", 0, "layers/lif"), "layers: positions of the layers are 0, 2.*allowed: 0 to 2"),
    "no layers": (_replace("layers", None), "layers: the group is missing"),
    "layers as data": (_replace("layers", np.zeros(2)), "layers: the group is of the wrong kind"),
    "no layer": (_replace("layers/lif", None), "positions"),
    "array missing": (_replace("layers/fc/bias", None), "layers/fc/bias: the array is missing"),
    "array added": (lambda f: f.__setitem__("layers/fc/gain", 1.0), "layers/fc: Linear has no array 'gain'"),
    "array of integers": (_replace("layers/lif/gain", np.ones(4, int)), "layers/lif/gain: the array holds int64"),
    "array of text": (_replace("layers/lif/gain", "x"), "layers/lif/gain: the array holds bytes"),
    "array as group": (lambda f: (f.__delitem__("layers/lif/gain"), f.create_group("layers/lif/gain")), "wrong kind"),
    "NaN": (lambda f: f["layers/fc/weight"].__setitem__((0, 0), np.nan), "layers/fc: weight holds NaN or infinity"),
    "decay": (_replace("layers/lif/beta", 1.5), "layers/lif: decay beta reaches from 1.5"),
    "shape": (_replace("layers/fc/bias", np.ones(5)), "layers/fc: bias .5,. does not fit weight"),
    "value": (lambda f: f["layers/fc/weight"].__setitem__((0, 0), 0.125), "changed or damaged after it was saved"),
    "dtype": (_replace("layers/out/beta", np.float64(0.5)), "changed or damaged after it was saved"),
    "provenance": (_replace("provenance", "[1]"), "provenance: is b'.1.'.*allowed: JSON, a dict"),
    "no provenance": (_replace("provenance", None), "provenance: the dataset is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "net.h5"
    change, message = DAMAGES[damage]
    _network().save(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ns.NeurosimError, match=message) as caught:
        ns.Network.load(path)
    assert str(caught.value).startswith(str(path))


def test_no_flipped_bit_goes_unseen(tmp_path: Path) -> None:
    """Every damaged file is refused, or the bit lay where nothing is: the network is the one that was saved."""
    rng, path = np.random.default_rng(5), tmp_path / "net.h5"
    network = _network()
    network.save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        damaged[rng.integers(whole.size)] ^= 1 << rng.integers(8)
        path.write_bytes(damaged.tobytes())
        try:
            found = ns.Network.load(path).hash
        except ns.NeurosimError as error:
            found, refused = error.where.startswith(str(path)) and network.hash, refused + 1
        assert found == network.hash
    assert 20 < refused < 150
