"""`from_torch` for modules that do not spike: RNN, GRU, LSTM and their cells, plain CNNs and MLPs.

The proof inside `from_torch` is not trusted here: the module's own forward runs, in float64 and in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch import nn
from torch.nn import functional
from torch_nets import draw, names, refused, seeded

import neurosim as ns
from neurosim.network import forward

TIME, BATCH, INPUTS, UNITS = 9, 4, 5, 6
KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
SAMPLE = draw(3, TIME, BATCH, INPUTS) * 4 - 2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Reader(nn.Module):
    """A recurrent module and a readout; what is read is each test's own."""

    def __init__(self, rnn: nn.Module, read: Callable, classes: int = 3) -> None:
        super().__init__()
        self.rnn, self.fc = rnn, nn.Linear(rnn.hidden_size, classes)
        self.read = read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self, x)


def check(module: nn.Module, sample: torch.Tensor = SAMPLE, time_axis: int | None = 0,
          after: Callable | None = None, **options: object) -> ns.Network:
    """The network gives what the module's own forward gives, in both precisions; `after`: what that does at its end."""
    network = ns.Network.from_torch(module, sample, **options)
    for dtype, kind, tolerance in ((torch.float64, np.float64, 1e-10), (torch.float32, np.float32, 2e-5)):
        with torch.no_grad():
            own = copy.deepcopy(module).eval().to(dtype)(sample.to(dtype)).numpy()
        inputs = sample.numpy()[None] if time_axis is None else np.moveaxis(sample.numpy(), time_axis, 0)
        result = forward.run(network, inputs.astype(kind), dtype=kind)
        found = {"last": result.output[-1], "sum": result.output.sum(0), "max": result.output.max(0)}[network.readout]
        found = after(found) if after else found
        if own.ndim == 3:
            found = np.moveaxis(result.output, 0, time_axis or 0)
        assert found.shape == own.shape
        assert np.abs(found - own).max() <= tolerance * max(np.abs(own).max(), 1)
    return network


# ---- recurrent modules


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "relu"])
def test_every_recurrent_module(kind: str, batch_first: bool, layers: int, bias: bool) -> None:
    options = {"num_layers": layers, "batch_first": batch_first, "bias": bias, "dropout": 0.3 if layers > 1 else 0}
    rnn = nn.RNN(INPUTS, UNITS, nonlinearity="relu", **options) if kind == "relu" else KINDS[kind](INPUTS, UNITS,
                                                                                                  **options)
    axis = 1 if batch_first else 0
    module = seeded(Reader(rnn, lambda self, x: self.fc(self.rnn(x)[0].select(axis, -1))), 2)
    network = check(module, SAMPLE.transpose(0, axis), axis)
    stack = ["rnn"] if layers == 1 else [f"rnn.{k}" for k in range(layers)]
    inner = [f"{one}{part}" for one in stack for part in (".input", "")]
    assert names(network) == [*inner, "fc"]
    assert network.readout == "last"
    assert (network[inner[-1]].bias is not None) == bias
    assert np.array_equal(network[inner[-1]].recurrent,
                          getattr(rnn, f"weight_hh_l{layers - 1}").detach().numpy())
    assert "1 layers of recurrent cells equal, output equal" in str(network.provenance["proof"])
    assert network.provenance["from"] == f"torch {torch.__version__}"


READS = {
    "last step": (lambda self, x: self.fc(self.rnn(x)[0][-1]), "last"),
    "all steps": (lambda self, x: self.fc(self.rnn(x)[0]), "sum"),
    "sum": (lambda self, x: self.fc(self.rnn(x)[0]).sum(0), "sum"),
    "maximum": (lambda self, x: self.fc(self.rnn(x)[0]).amax(dim=0), "max"),
    "squashed": (lambda self, x: torch.sigmoid(self.fc(torch.tanh(self.rnn(x)[0]))).max(0).values, "max"),
    "mean before the layer": (lambda self, x: self.fc(self.rnn(x)[0].mean(0)), "sum"),
    "softmax": (lambda self, x: functional.softmax(self.fc(self.rnn(x)[0][-1]), dim=-1), "last"),
    "softmax of a mean": (lambda self, x: self.fc(self.rnn(x)[0]).mean(0).log_softmax(1), "sum"),
    "softmax module": (lambda self, x: nn.LogSoftmax(dim=1)(self.fc(self.rnn(x)[0][-1])), "last"),
    "dropped out": (lambda self, x: self.fc(functional.dropout(self.rnn(x)[0][-1], 0.5, self.training)), "last"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_ways_to_read_out(kind: str, read: str) -> None:
    how, rule = READS[read]
    ends = {"softmax": lambda x: softmax(x, 1), "softmax module": lambda x: log_softmax(x, 1),
            "softmax of a mean": lambda x: log_softmax(x / TIME, 1), "mean before the layer": lambda x: x / TIME}
    network = check(seeded(Reader(KINDS[kind](INPUTS, UNITS), how), 3), after=ends.get(read))
    assert network.readout == rule
    assert "output equal" in str(network.provenance["proof"])


def last_state(self: Reader, x: torch.Tensor) -> torch.Tensor:
    ends = self.rnn(x)[1]
    return ends[0] if isinstance(ends, tuple) else ends


@pytest.mark.parametrize("how", [
    lambda self, x: self.fc(last_state(self, x)[-1]),
    lambda self, x: self.fc(last_state(self, x)).select(0, -1),
    lambda self, x: self.fc(last_state(self, x).unbind(0)[-1]),
])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_states_of_all_layers(kind: str, layers: int, how: Callable) -> None:
    network = check(seeded(Reader(KINDS[kind](INPUTS, UNITS, layers), how), 4))
    assert network.readout == "last"
    first = Reader(KINDS[kind](INPUTS, UNITS, 2), lambda self, x: self.fc(last_state(self, x)[0]))
    assert names(check(seeded(first, 4))) == ["rnn.0.input", "rnn.0", "fc"]


@pytest.mark.parametrize("how", [
    last_state, lambda self, x: self.fc(last_state(self, x)), lambda self, x: torch.tanh(self.fc(last_state(self, x))),
    lambda self, x: functional.log_softmax(self.fc(last_state(self, x)), -1)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_states_of_one_layer_are_the_last_step(kind: str, how: Callable) -> None:
    module = seeded(Reader(KINDS[kind](INPUTS, UNITS), how), 4)
    network = ns.Network.from_torch(module, SAMPLE)
    assert network.readout == "last"
    assert names(network)[:2] == ["rnn.input", "rnn"]
    with torch.no_grad():
        own = module(SAMPLE)[0].numpy()
    scores = forward.run(network, SAMPLE.numpy()).scores
    assert np.allclose(log_softmax(scores, -1) if own.max() < 0 else scores, own, atol=1e-5)
    more = refused(seeded(Reader(KINDS[kind](INPUTS, UNITS, 2), how), 4), SAMPLE)
    assert "'last states of all layers' between" in more
    assert "h_n[-1] is the last layer's" in more


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_module_alone(kind: str) -> None:
    for axis in (0, 1):
        module = seeded(KINDS[kind](INPUTS, UNITS, 2, batch_first=bool(axis)))
        network = ns.Network.from_torch(module, SAMPLE.transpose(0, axis))
        assert names(network) == [f"{kind.lower()}.{k}{part}" for k in (0, 1) for part in (".input", "")]
        with torch.no_grad():
            own = module(SAMPLE.transpose(0, axis))[0].transpose(0, axis).numpy()
        assert np.allclose(forward.run(network, SAMPLE.numpy()).output, own, atol=1e-5)
        inner = ns.Network.from_torch(module, SAMPLE.transpose(0, axis), output=f"{kind.lower()}.0")
        assert names(inner) == [f"{kind.lower()}.0.input", f"{kind.lower()}.0"]


def test_two_modules_one_behind_the_other_and_a_residual_connection() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.one, self.two = nn.Linear(INPUTS, UNITS), nn.GRU(UNITS, UNITS), nn.LSTM(UNITS, UNITS)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x).relu()
            y, _ = self.one(x, torch.zeros(1, x.size(1), UNITS, dtype=x.dtype))
            return self.two(x + y)[0]

    network = check(seeded(Two()))
    assert names(network) == ["embed", "relu", "one.input", "one", "sum", "two.input", "two"]


CELLS = {"RNN": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}


@pytest.mark.parametrize("start", ["none", "zeros"])
@pytest.mark.parametrize("kind", CELLS)
def test_a_loop_over_cells(kind: str, start: str) -> None:
    def loop(self: Reader, x: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(x.size(1), UNITS, dtype=x.dtype)
        state = None if start == "none" else (zeros, zeros.clone()) if kind == "LSTM" else zeros
        out = []
        for now in x:
            state = self.rnn(now, state)
            out.append(self.fc(state[0] if kind == "LSTM" else state))
        return torch.stack(out)

    module = seeded(Reader(CELLS[kind](INPUTS, UNITS), loop), 5)
    network = check(module)
    assert names(network) == ["rnn.input", "rnn", "fc"]
    module.read = lambda self, x: loop(self, x.transpose(0, 1))[-1]
    assert check(module, SAMPLE.transpose(0, 1), 1).readout == "last"


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(1, 7), st.integers(1, 5), st.integers(1, 9), st.integers(1, 13),
       st.booleans(), st.integers(0, 1000))
def test_any_shape(kind: str, time: int, batch: int, inputs: int, units: int, batch_first: bool, seed: int) -> None:
    axis = 1 if batch_first else 0
    module = Reader(KINDS[kind](inputs, units, batch_first=batch_first),
                    lambda self, x: self.fc(self.rnn(x)[0].select(axis, -1)))
    check(seeded(module, seed), draw(seed, *((batch, time) if axis else (time, batch)), inputs) * 2 - 1, axis)


def test_spikes_drive_cells_and_cells_drive_neurons() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(INPUTS, 8), snntorch.Leaky(beta=0.8)
            self.cell, self.fc2, self.lif2 = nn.GRUCell(8, UNITS), nn.Linear(UNITS, 7), snntorch.Leaky(beta=0.7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mem1, mem2, state, out = self.lif1.reset_mem(), self.lif2.reset_mem(), None, []
            for now in x:
                spikes, mem1 = self.lif1(self.fc1(now), mem1)
                state = self.cell(spikes, state)
                spikes, mem2 = self.lif2(self.fc2(state), mem2)
                out.append(spikes)
            return torch.stack(out)

    network = ns.Network.from_torch(seeded(Mixed()), SAMPLE * 2)
    assert names(network) == ["fc1", "lif1", "cell.input", "cell", "fc2", "lif2"]
    assert "spikes of 2 populations identical, 1 layers of recurrent cells equal" in str(network.provenance["proof"])
    assert int(str(network.provenance["proof"]).split()[0]) > 0


class Video(nn.Module):
    """Convolutions on each frame, then an LSTM: batch and time are one dimension in between."""

    def __init__(self, batch_first: bool, module: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2)
        self.fc, self.flat, self.module = nn.Linear(75, 8), nn.Flatten(), module
        self.lstm, self.out = nn.LSTM(8, UNITS, batch_first=batch_first), nn.Linear(UNITS, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outer = x.shape[:2]
        frames = x.flatten(0, 1) if self.module else x.view(-1, *x.shape[2:])
        frames = self.pool(torch.relu(self.norm(self.conv(frames))))
        features = torch.tanh(self.fc(self.flat(frames)))
        features = features.unflatten(0, outer) if self.module else features.reshape(*outer, -1)
        return self.out(self.lstm(features)[0])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("module", [True, False])
def test_frames_of_a_video_as_one_batch(batch_first: bool, module: bool) -> None:
    axis = 1 if batch_first else 0
    module = with_statistics(seeded(Video(batch_first, module), 8))
    for batch in (BATCH, 5):  # fewer samples than steps, and as many
        sample = draw(12, 5, batch, 1, 12, 12).transpose(0, axis).contiguous()
        network = check(module, sample, axis)
    assert names(network) == ["conv", "norm", "relu", "pool", "flat", "fc", "tanh", "lstm.input", "lstm", "out"]
    assert network.input_shape == (1, 12, 12)


def test_batch_and_time_that_stay_one_dimension() -> None:
    module = seeded(Reader(nn.GRU(INPUTS, UNITS), lambda self, x: self.fc(self.rnn(x)[0].flatten(0, 1))))
    assert "'merging of batch and time' between fc and the output" in refused(module, SAMPLE)
    spiking = seeded(Reader(nn.GRU(INPUTS, UNITS), lambda self, x: self.lif(self.rnn(x)[0].flatten(0, 1))[0]))
    spiking.lif = snntorch.Leaky(beta=0.9)
    assert "lif gets all time steps of rnn at once" in refused(spiking, SAMPLE)


# ---- refusals


def reader(how: Callable, kind: str = "LSTM", **options: object) -> nn.Module:
    return seeded(Reader(KINDS[kind](INPUTS, UNITS, **options), how), 6)


@pytest.mark.parametrize(("module", "said"), [
    (reader(lambda self, x: self.rnn(x)[0], bidirectional=True), "rnn: bidirectional=True"),
    (reader(lambda self, x: self.rnn(x)[0], proj_size=2), "rnn: proj_size is 2"),
    (reader(lambda self, x: self.fc(self.rnn(x)[1][1][-1])), "the cell state of rnn drives fc"),
    (reader(lambda self, x: self.rnn(x, (torch.ones(1, x.size(1), UNITS),) * 2)[0]), "starts with a state that is not"),
    (reader(lambda self, x: self.fc(self.rnn(x)[0].sum(0))), "rnn, added up over time, drives fc"),
    (reader(lambda self, x: self.fc(self.rnn(x)[0].amax(0))), "rnn, added up over time, drives fc"),
    (reader(lambda self, x: self.fc(torch.relu(self.rnn(x)[0].mean(0)))), "rnn, added up over time, drives relu"),
    (reader(lambda self, x: self.rnn(x.flip(0))[0]), "'flip' between the input and rnn"),
    (reader(lambda self, x: self.fc(self.rnn(x)[0][2])), "'choice of steps' between fc and the output"),
    (reader(lambda self, x: self.rnn(self.rnn(x)[0][..., :INPUTS])[0]), "'__getitem__' between rnn and rnn"),
    (reader(lambda self, x: torch.cat([self.rnn(x)[0], self.rnn(x)[0]], 2), "GRU"), "rnn is called twice"),
    (reader(lambda self, x: self.rnn(x[0])[0], "RNN"), "rnn gets the input of shape [4, 5] (allowed: all steps"),
    (reader(lambda self, x: torch.softmax(self.fc(self.rnn(x)[0]), 2).sum(0)), "elsewhere, take it out"),
    (reader(lambda self, x: torch.softmax(self.fc(self.rnn(x)[0][-1]), 0)), "elsewhere, take it out"),
    (reader(lambda self, x: self.rnn(nn.utils.rnn.pack_padded_sequence(x, [TIME] * BATCH))[1][0][-1]),
     "between the input and rnn has no counterpart"),
    (reader(lambda self, x: self.rnn(self.rnn(x)[1][0].expand(TIME, -1, -1)[..., :INPUTS])[0]), "between rnn and rnn"),
])
def test_what_is_refused(module: nn.Module, said: str) -> None:
    assert said in refused(module, SAMPLE)


def cells(how: Callable, kind: type = nn.GRUCell) -> nn.Module:
    def loop(self: Reader, x: torch.Tensor) -> torch.Tensor:
        state, out = torch.zeros(x.size(1), UNITS), []
        for step, now in enumerate(x):
            state = how(self, now, state, step)
            out.append(state)
        return torch.stack(out)

    return seeded(Reader(kind(INPUTS, UNITS), loop))


@pytest.mark.parametrize(("how", "said"), [
    (lambda self, x, h, t: self.rnn(x, h * 0.5), "at step 1 the state of rnn is mul of rnn"),
    (lambda self, x, h, t: self.rnn(x), "at step 1 the state of rnn is another tensor"),
    (lambda self, x, h, t: self.rnn(x, torch.ones_like(h)), "rnn starts with a state that is not zero"),
    (lambda self, x, h, t: self.rnn(x + x if t == 4 else x, h), "at step 4 rnn is driven by"),
    (lambda self, x, h, t: self.rnn(x.sigmoid() if t else x, h), "at step 1 rnn is driven by"),
])
def test_loops_that_are_refused(how: Callable, said: str) -> None:
    assert said in refused(cells(how), SAMPLE)


def test_a_recurrence_out_of_linear_layers_is_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i2h, self.h2h = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, UNITS)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(x.size(1), UNITS)
            for now in x:
                h = torch.tanh(self.i2h(now) + self.h2h(h))
            return h

    for sample in (SAMPLE, draw(1, 400, 2, INPUTS)):
        message = refused(Own(), sample)
        assert "'recurrence through tanh' between i2h and h2h" in message
        assert "in a loop an RNNCell" in message


# ---- plain networks, without time


IMAGES = draw(7, BATCH, 1, 12, 12) * 2 - 0.5
FLAT = draw(8, BATCH, 10)


def with_statistics(module: nn.Module) -> nn.Module:
    for i, part in enumerate(module.modules()):
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.copy_(draw(40 + i, part.num_features) - 0.5)
            part.running_var.copy_(draw(60 + i, part.num_features) + 0.5)
            if part.affine:
                part.weight.data = draw(80 + i, part.num_features) + 0.5
    return module


PLAIN = {
    "MLP": (nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 7), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(7, 3)),
            FLAT),
    "norms": (nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3),
                            nn.BatchNorm1d(3, affine=False)), FLAT),
    "CNN": (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(4, 6, 3, groups=2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)),
            IMAGES),
    "depthwise": (nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.Conv2d(6, 6, 3, groups=6, bias=False), nn.ReLU(),
                                nn.AdaptiveAvgPool2d((3, 1)), nn.Flatten(), nn.Linear(18, 3)), IMAGES),
    "softmax": (nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(dim=1)), FLAT),
    "flat images": (nn.Sequential(nn.Flatten(), nn.Linear(144, 9), nn.ReLU(), nn.Linear(9, 3)), IMAGES),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks(name: str) -> None:
    module, sample = PLAIN[name]
    network = check(with_statistics(seeded(module, 9)), sample, None,
                    (lambda x: log_softmax(x, 1)) if name == "softmax" else None)
    assert network.input_shape == tuple(sample.shape[1:])
    assert network.readout == "last"
    assert network.provenance["input"] == "without time: one step, [1, batch, ...]"
    assert str(network.provenance["proof"]) == f"output equal over 1 steps of {BATCH} samples, in float64"


class Residual(nn.Module):
    """A small residual network, as papers draw it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.stem(x)))
        y = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(x + self.norm2(self.conv2(y)))
        return self.fc(self.pool(functional.adaptive_avg_pool2d(x, 6)).flatten(1))


def test_a_residual_network() -> None:
    network = check(with_statistics(seeded(Residual(), 3)), IMAGES, None)
    assert next(node for node in network.nodes if node.name == "sum").inputs == ("relu", "norm2")
    folded = network.folded()
    assert not any(isinstance(node.layer, ns.BatchNorm) for node in folded.nodes)
    same = [forward.run(net, IMAGES.numpy()[None], dtype=np.float64).output for net in (network, folded)]
    assert np.allclose(*same, rtol=1e-12, atol=1e-12)


class PaperCNN(nn.Module):
    """The F-MNIST network of Buechel, Faber, Muir (ICLR 2022), its two normalisations with fixed statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(1, affine=False)
        self.conv1, self.conv2 = nn.Conv2d(1, 64, 4, padding="same"), nn.Conv2d(64, 64, 4)
        self.fc1, self.fc2, self.fc3 = nn.Linear(1600, 256), nn.Linear(256, 64), nn.Linear(64, 10)
        self.norm2 = nn.BatchNorm1d(64, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(torch.relu(self.conv1(self.norm1(x))), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc2(torch.relu(self.fc1(x.view(-1, 1600)))))
        return self.fc3(self.norm2(x))


def test_the_papers_convolutional_network() -> None:
    module = with_statistics(seeded(PaperCNN(), 1))
    network = check(module, draw(2, 3, 1, 28, 28), None)
    assert sum(array.size for node in network.nodes for array in node.layer.arrays().values()
               if node.name.startswith(("conv", "fc"))) == sum(p.numel() for p in module.parameters())
    assert names(network) == ["norm1", "conv1", "relu", "max_pool2d", "conv2", "relu_2", "max_pool2d_2", "flatten",
                              "fc1", "relu_3", "fc2", "relu_4", "norm2", "fc3"]
    mapped = ns.map_network(network, ns.load_profile("pcm_hermes"))
    assert {array.layer: array.tiles for array in mapped.weights} == {
        "conv1": 1, "conv2": 4, "fc1": 7, "fc2": 1, "fc3": 1}


def test_a_plain_network_over_time_is_what_it_was() -> None:
    module = seeded(nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, 3)))
    network = check(module)
    assert network.input_shape == (INPUTS,)
    assert network.provenance["input"] == "one step at a time"
    assert check(module, SAMPLE[0], None).provenance["input"].startswith("without time")


@pytest.mark.parametrize(("module", "sample", "said"), [
    (nn.Sequential(nn.Linear(10, 3), nn.Softmax(0)), FLAT, "the operation 'Softmax (1)' between 0 and the output"),
    (nn.Sequential(nn.Linear(10, 3), nn.Softmax(1), nn.Linear(3, 3)), FLAT, "'Softmax (1)' between 0 and 2"),
    (nn.Sequential(nn.Linear(10, 3), nn.GELU(), nn.Linear(3, 3)), FLAT, "'GELU (1)' between 0 and 2"),
    (nn.Sequential(nn.Linear(10, 3), nn.LayerNorm(3), nn.Linear(3, 3)), FLAT, "'LayerNorm (1)' between 0 and 2"),
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(18, 2)), IMAGES,
     "1: it makes [3, 3] of [10, 10]"),
    (nn.Sequential(nn.Linear(9, 3)), FLAT, "shapes cannot be multiplied"),
])
def test_plain_networks_that_are_refused(module: nn.Module, sample: torch.Tensor, said: str) -> None:
    assert said in refused(module, sample)
