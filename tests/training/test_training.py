"""Training: models against their equations and the forward pass, recipes against formulas, repeats bit for bit."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.network import AdaptiveLIF, Linear, Network
from neurosim.network.forward import run
from neurosim.training import DEFAULTS, LSNN, RECIPES, as_network, build, spiking_mlp, to_network, train

ROOT = Path(__file__).resolve().parents[2]


def blobs(samples: int = 60, steps: int = 6, channels: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that drive different channels: inputs `[time, sample, channel]`, labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    centres = np.eye(3, channels)[labels] * 1.5
    inputs = np.clip(centres + rng.normal(0, 0.15, (samples, channels)), 0, None)
    return np.repeat(inputs[None], steps, axis=0).astype(np.float32), labels


def small(seed: int = 0) -> nn.Module:
    return spiking_mlp(8, 3, hidden=12, seed=seed)


def parameters(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


class Linear0(nn.Module):
    """``y_t = x_t W^T``, and the inputs as spikes: the tiny model whose gradient is written out below."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs @ self.weight.T, inputs


# models


def test_spiking_mlp_starts_from_its_seed_alone():
    state = torch.get_rng_state()
    first, again, other = small(3), small(3), small(4)
    assert (torch.get_rng_state() == state).all()
    for name, value in parameters(first).items():
        assert (value == parameters(again)[name]).all()
        assert (value != parameters(other)[name]).any()
        bound = 1 / math.sqrt(8 if name.startswith("fc1") else 12)
        assert abs(value).max() <= bound
        assert value.size < 50 or abs(value).max() > 0.9 * bound


def test_spiking_mlp_fits_64_synapses_and_gives_spikes():
    model = build("digits", 64, 10, seed=0)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "fc1.weight": (64, 64), "fc1.bias": (64,), "fc2.weight": (10, 64), "fc2.bias": (10,)}
    output, spikes = model(torch.rand(12, 5, 64, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (12, 5, 10)
    assert spikes.shape == (12, 5, 64)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}


def lsnn_twin(model: LSNN, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Section by section as published, one sample and one neuron at a time: mean logits and spikes."""
    w_in, w_rec, w_out, b_out = (p.detach().numpy().astype(np.float64) for p in model.parameters())
    steps, batch, units = *inputs.shape[:2], w_rec.shape[0]
    rv, rb = math.exp(-1 / 20), math.exp(-1 / 98)
    spikes = np.zeros((steps, batch, units))
    for s in range(batch):
        v, z, b, r = (np.zeros(units) for _ in range(4))
        for t in range(steps):
            before = z.copy()
            for n in range(units):
                b[n] = rb * b[n] + (1 - rb) * before[n]
                limit = 0.01 + 2.0 * b[n]
                current = inputs[t, s] @ w_in[:, n] + before @ w_rec[:, n]
                v[n] = rv * v[n] + (1 - rv) * current - before[n] * limit
                z[n] = float(r[n] <= 0.1 and v[n] > limit)
                r[n] = min(max(r[n] + 2 * z[n] - 1, 0), 2)
            spikes[t, s] = z
    return spikes.mean(axis=0) @ w_out + b_out, spikes


def lsnn_case(steps: int = 60, batch: int = 4, units: int = 30, seed: int = 5) -> tuple[LSNN, np.ndarray]:
    model = LSNN(3, 4, units=units, seed=seed)
    with torch.no_grad():
        model.w_rec *= 3  # spikes that make spikes
        model.b_out += torch.tensor([0.1, -0.2, 0.3, 0.0])
    return model, np.random.default_rng(seed).normal(0, 1, (steps, batch, 3))


def test_lsnn_follows_its_equations():
    model, inputs = lsnn_case()
    logits, spikes = lsnn_twin(model, inputs)
    output, z = model.double()(torch.tensor(inputs))
    assert 0.02 < spikes.mean() < 0.4
    np.testing.assert_array_equal(z.numpy(force=True), spikes)
    np.testing.assert_allclose(output.mean(dim=0).numpy(force=True), logits, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_lsnn_as_a_network_gives_the_same_spikes(seed):
    model, inputs = lsnn_case(steps=100, batch=6, units=64, seed=seed)
    network = model.double().to_network(1 / 180)
    assert [type(node.layer) for node in network.nodes] == [Linear, AdaptiveLIF, Linear]
    result = run(network, inputs, dtype=np.float64, keep=("neurons",))
    output, z = model(torch.tensor(inputs))
    np.testing.assert_array_equal(result.kept["neurons"], z.numpy(force=True))
    assert result.kept["neurons"].sum() > 1000
    np.testing.assert_allclose(result.scores, 100 * output.mean(dim=0).numpy(force=True), rtol=1e-9, atol=1e-12)
    assert (result.prediction == output.mean(dim=0).argmax(dim=1).numpy()).all()
    assert network.dt == 1 / 180


def test_lsnn_surrogate_is_the_triangle_through_all_paths():
    """One neuron, one step: u = (v - B) / B, v = (1 - rho) w x, B = 0.01, so ds/dw = 0.3 (1 - |u|) (1 - rho) x / B."""
    model = LSNN(1, 1, units=1)
    gain = 1 - math.exp(-1 / 20)
    for u in (-1.5, -0.5, 0.25, 0.9, 1.2):
        with torch.no_grad():
            model.w_in.fill_((1 + u) * 0.01 / gain)
        model.zero_grad()
        model(torch.ones(1, 1, 1))[1].sum().backward()
        assert model.w_in.grad.item() == pytest.approx(0.3 * max(0, 1 - abs(u)) * gain / 0.01, rel=1e-4, abs=1e-6)


def test_lsnn_starts_as_published():
    model = LSNN(40, 8, seed=1)
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "w_in": (40, 256), "w_rec": (256, 256), "w_out": (256, 8), "b_out": (8,)}
    spread = 0.8796  # of a normal number cut off at two sigma
    others = ~np.eye(256, dtype=bool)
    for values, scale in ((model.w_in, math.sqrt(2 / 296) / spread), (model.w_rec, math.sqrt(1 / 256) / spread),
                          (model.w_out, 0.01)):
        values = values.detach().numpy()
        values = values[others] if values.shape == others.shape else values
        assert abs(values).max() <= 2 * scale * (1 + 1e-6)
        assert values.std() == pytest.approx(spread * scale, rel=5 * 0.75 / math.sqrt(values.size))
        assert abs(values.mean()) < 5 * scale / math.sqrt(values.size)
    assert (np.diag(model.w_rec.detach()) == 0).all()
    assert (parameters(LSNN(40, 8, seed=1))["w_in"] == parameters(model)["w_in"]).all()
    assert (parameters(LSNN(40, 8, seed=2))["w_in"] != parameters(model)["w_in"]).any()


def test_lsnn_keeps_its_diagonal_at_zero():
    inputs, labels = blobs()
    model = LSNN(8, 3, units=16)
    before = parameters(model)["w_rec"]
    train(model, inputs, labels, epochs=2, batch_size=20, learning_rate=1e-2, readout="mean", recipe="forward_noise")
    after = parameters(model)["w_rec"]
    assert (after != before).any()
    assert (np.diag(after) == 0).all()

# trainer


def test_a_model_may_return_its_output_alone():
    inputs, labels = blobs()
    model = nn.Linear(8, 3)
    result = train(model, inputs, labels, epochs=20, batch_size=20, learning_rate=0.05)
    assert result.history["train_accuracy"][-1] == 1
    with pytest.raises(NeurosimError, match="rate_penalty: the model returns its output only"):
        train(model, inputs, labels, epochs=1, rate_penalty=0.1)


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_the_same_call_gives_the_same_parameters(recipe):
    inputs, labels = blobs(24)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - must not change
    runs = [train(small(), inputs, labels, recipe=recipe, epochs=2, batch_size=16, learning_rate=1e-2, seed=seed,
                  validation=blobs(30, seed=1)) for seed in (7, 7, 8)]
    assert (torch.get_rng_state() == torch_state).all()
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    first, again, other = (parameters(r.model) for r in runs)
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
    assert runs[0].history == runs[1].history
    assert runs[0].data_hash == runs[2].data_hash


def test_recipes_see_the_same_batches():
    inputs, labels = blobs()
    seen = {}
    for recipe in ("standard", "forward_noise"):
        model = Linear0(np.zeros((3, 8)))
        seen[recipe] = []
        model.register_forward_hook(lambda m, i, o, into=seen[recipe]: into.append(i[0].numpy().copy()))
        train(model, inputs, labels, recipe=recipe, epochs=1, batch_size=16, learning_rate=1e-9, seed=5)
    for one, other in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_sample_is_seen_once_an_epoch():
    inputs, labels = blobs(50)
    seen = []
    model = Linear0(np.zeros((3, 8)))
    model.register_forward_hook(lambda m, i, o: seen.append(i[0].numpy().copy()) if m.training else None)
    train(model, inputs, labels, epochs=2, batch_size=16)
    assert [batch.shape[1] for batch in seen] == [16, 16, 16, 2] * 2
    for epoch in (seen[:4], seen[4:]):
        rows = np.concatenate(epoch, axis=1)[0]
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(inputs[0], axis=0))
    assert (seen[0] != seen[4]).any()


def test_the_best_epoch_is_that_of_the_best_validation_and_the_later_of_equals():
    inputs, labels = blobs(90)
    other = blobs(30, seed=1)
    calls = []
    result = train(small(), inputs, labels, epochs=6, batch_size=30, learning_rate=2e-2, validation=other,
                   progress=lambda *call: calls.append(call))
    accuracies = np.array(result.history["validation_accuracy"])
    assert result.best_epoch == np.flatnonzero(accuracies == accuracies.max())[-1] + 1
    network = as_network(result.model, inputs[:, :3], 1e-3)
    assert (run(network, other[0], dtype=np.float64).prediction == other[1]).mean() == accuracies.max()
    assert [call[:2] for call in calls] == [(epoch, 6) for epoch in range(1, 7)]
    assert [call[2]["loss"] for call in calls] == list(result.history["loss"])
    assert train(small(), inputs, labels, epochs=3).best_epoch == 3
    assert not result.model.training


def test_schedules():
    inputs, labels = blobs()

    def rates(**options: object) -> list[float]:
        return list(train(Linear0(np.zeros((3, 8))), inputs, labels, **options).history["learning_rate"])

    assert rates(learning_rate=[(2, 1e-2), (1, 1e-3)]) == [1e-2, 1e-2, 1e-3]
    assert rates(learning_rate=[(20, 1e-2), (10, 1e-3)], epochs=6) == [1e-2] * 4 + [1e-3] * 2
    assert rates(learning_rate=5e-3, epochs=2) == [5e-3] * 2


@pytest.mark.parametrize(("changes", "message"), [
    ({"recipe": "forward_nois"}, "did you mean 'forward_noise'"),
    ({"eta": 0.1}, "recipe standard: there is no setting 'eta'"),
    ({"learning_rte": 0.1}, "there is no setting 'learning_rte'; did you mean 'learning_rate'"),
    ({"learning_rate": [1e-3, 1e-4]}, r"learning_rate: the schedule holds 0.001 .*\[\(epochs, rate\), ...\]"),
    ({"inputs": np.zeros((60, 6, 8))}, r"time comes first: inputs.swapaxes\(0, 1\)"),
    ({"labels": np.eye(3)[np.arange(60) % 3]}, r"take labels.argmax\(axis=1\)"),
    ({"validation": np.zeros((6, 4, 8))}, "validation: it is a ndarray .*a pair: inputs, labels"),
    ({"untouched": ["fc*", "lif*"]}, r"untouched: no parameter is called 'lif\*' .*fc1.weight"),
    ({"recipe": "forward_noise", "eta": -0.1}, "eta is -0.1"),
    ({"rate_penalty": float("nan")}, "rate_penalty is nan"),
    ({"readout": "first"}, "allowed: sum, mean, last"),
    ({"epochs": 0}, "epochs is 0"),
    ({"epochs": None}, "epochs is missing"),
    ({"learning_rate": []}, "schedule of learning rates is empty"),
    ({"learning_rate": [(1, -1.0)]}, "at the learning rate -1.0"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"device": "abacus"}, "allowed: cpu, cuda"),
    ({"inputs": np.zeros((4, 3))}, r"inputs: arrays \[4, 3\]"),
    ({"labels": np.zeros(60)}, "whole numbers"),
    ({"inputs": np.full((6, 60, 8), np.inf)}, "inputs: holds NaN or infinity"),
    ({"validation": (np.zeros((4, 3, 8)), np.zeros(2, int))}, "validation: arrays"),
    ({"labels": np.arange(60) % 5}, "inputs: labels from 0 to 4.*allowed: 0 to 2"),
    ({"inputs": np.zeros((6, 60, 5))}, "the model does not take .*60, 5"),
])
def test_what_cannot_be_trained_is_refused(changes, message):
    inputs, labels = blobs()
    given = {"inputs": inputs, "labels": labels, "epochs": 1, **changes}
    with pytest.raises(NeurosimError, match=message):
        train(small(), given.pop("inputs"), given.pop("labels"), **given)


@pytest.mark.parametrize(("model", "message"), [
    (nn.Linear, "the model is Linear .*a torch.nn.Module.*give an instance"), (None, "the model is NoneType"),
    (nn.Linear(8, 3).requires_grad_(False), "no parameter to train")])
def test_what_is_no_model_is_refused(model, message):
    with pytest.raises(NeurosimError, match=message):
        train(model, *blobs(), epochs=1)


class Tutorial(nn.Module):
    """As in snnTorch's tutorials: spikes and membranes of the last layer; or what it makes of them itself."""

    def __init__(self, read: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.net, self.read = small(), read

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2, out = self.net.lif1.init_leaky(), self.net.lif2.init_leaky(), []
        for step in x:
            spikes, mem1 = self.net.lif1(self.net.fc1(step), mem1)
            spikes, mem2 = self.net.lif2(self.net.fc2(spikes), mem2)
            out.append((spikes, mem2))
        spikes, membranes = map(torch.stack, zip(*out, strict=True))
        return (spikes, membranes) if self.read is None else self.read(spikes)


def test_membranes_are_not_taken_for_spikes():
    assert len(train(Tutorial(), *blobs(), epochs=1).history["loss"]) == 1
    with pytest.raises(NeurosimError, match=r"rate_penalty: the second that the model returns is no spikes"):
        train(Tutorial(), *blobs(), epochs=1, rate_penalty=1e-3)


def test_a_model_may_read_out_itself():
    """Logits [sample, class] instead of an output over time: trained the same, and deployed the same."""
    options = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-2, "validation": blobs(30, seed=1)}
    for recipe, more in (("hybrid", {"steps": 2}), ("dropout", {})):
        found = [train(Tutorial(read), *blobs(), recipe=recipe, **more, **options)
                 for read in (lambda spikes: spikes.sum(dim=0), None)]
        assert found[0].history == found[1].history
    networks = [to_network(one, blobs()[0][:, :4], 1e-3) for one in found]
    assert networks[0].hash == networks[1].hash


class Reader(nn.Module):
    """A recurrent network that is read at the last step, and has numbers of double precision."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.rnn, self.fc = nn.GRU(8, 6, dtype=torch.float64), nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x)[0][-1])


def test_the_last_step_is_read_out_as_the_model_does():
    inputs, labels = blobs()
    result = train(Reader(), inputs, labels, epochs=4, batch_size=20, learning_rate=2e-2)
    network = to_network(result, inputs[:, :4], 1e-3)
    assert network.readout == "last"
    with torch.no_grad():
        logits = result.model(torch.tensor(inputs, dtype=torch.float64))
    np.testing.assert_allclose(run(network, inputs, dtype=np.float64).scores, logits.numpy(), atol=1e-9)


def test_a_result_says_what_it_is():
    found = train(small(), *blobs(), recipe="robust", epochs=2, validation=blobs(30, seed=1), seed=3)
    assert re.fullmatch(r"Trained\(SpikingMLP, recipe robust, seed 3: best epoch [12] of 2, loss [\d.]+, "
                        r"accuracy in train [\d.]+%, in validation [\d.]+%, in noisy validation [\d.]+%\)", repr(found))


def test_a_device_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NeurosimError, match=r"there is no CUDA device.*device='cpu'"):
        train(small(), *blobs(), epochs=1, device="cuda")


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(NeurosimError, match=r"the loss is nan in epoch 1.*try a learning rate below"):
        train(Linear0(np.full((3, 8), np.nan)), *blobs(), epochs=3)


# networks and their provenance


def test_a_trained_network_says_where_it_comes_from():
    inputs, labels = blobs()
    result = train(small(), inputs, labels, recipe="forward_noise", epochs=4, batch_size=20, learning_rate=1e-2, seed=9,
                   validation=blobs(30, seed=1), eta=0.2)
    network = to_network(result, inputs[:, :4], 2e-3, task="blobs")
    assert isinstance(network, Network)
    assert network.readout == "sum"
    assert network.dt == 2e-3
    said = json.loads(json.dumps(dict(network.provenance)))
    assert said["recipe"] == "forward_noise"
    assert said["settings"] == {
        "readout": "sum", "rate_penalty": 0.0, "eta": 0.2, "batch_size": 20, "epochs": 4, "learning_rate": [[4, 1e-2]],
        "optimiser": "adam", "weight_decay": 0.0, "untouched": [], "average": 0.0, "selection": "clean",
        "mismatch": 0.3, "mismatch_draws": 3}
    assert (said["seed"], said["task"], said["data_hash"]) == (9, "blobs", result.data_hash)
    assert said["at_best_epoch"]["validation_accuracy"] == result.history["validation_accuracy"][said["best_epoch"] - 1]
    assert {"neurosim", "torch", "snntorch"} <= set(said)
    with torch.no_grad():
        expected = result.model(torch.tensor(inputs))[0].numpy()
    assert (run(network, inputs).output == expected).mean() > 0.999  # in float32 the order of additions may decide


def test_defaults_are_complete_and_sizes_can_be_changed():
    assert set(DEFAULTS) == {"digits", "ecg", "fmnist", "speech"}
    assert isinstance(build("ecg", 2, 4, 0), LSNN)
    assert build("digits", 64, 10, 0, hidden=20).fc1.out_features == 20
    with pytest.raises(NeurosimError, match="did you mean 'hidden'"):
        build("digits", 64, 10, 0, hiden=20)
    with pytest.raises(NeurosimError, match="allowed: digits, ecg"):
        build("mnist", 64, 10, 0)
    with pytest.raises(NeurosimError, match="hidden is 0"):
        build("digits", 64, 10, 0, hidden=0)
    with pytest.raises(NeurosimError, match=r"beta is 1\.5"):
        build("digits", 64, 10, 0, beta=1.5)


def test_torch_is_imported_on_first_use():
    code = ("import sys, neurosim.training as t; before = 'torch' in sys.modules; t.train; "
            "print(before, 'torch' in sys.modules, 'train' in dir(t))")
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "False True True"
    import neurosim.training

    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        neurosim.training.trian  # noqa: B018


# on data


def digits(steps: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The digits of scikit-learn as constant drive."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = np.repeat(pixels[None] / 16, steps, axis=0).astype(np.float32)
    order = np.random.default_rng(0).permutation(labels.size)
    return {name: (inputs[:, part], labels[part]) for name, part in
            (("train", order[:1100]), ("validation", order[1100:1300]), ("test", order[1300:]))}


def test_digits_are_learnt_in_a_few_epochs():
    data = digits(steps=10)
    result = train(build("digits", 64, 10, seed=0), *data["train"], epochs=6, batch_size=64, learning_rate=5e-3,
                   validation=data["validation"])
    network = to_network(result, data["test"][0][:, :4], 1e-3)
    accuracy = (run(network, data["test"][0]).prediction == data["test"][1]).mean()
    assert accuracy > 0.9
    assert result.history["loss"][-1] < 0.3 * result.history["loss"][0]


def under_mismatch(network: Network, data: tuple[np.ndarray, np.ndarray], spread: float, draws: int) -> np.ndarray:
    """Accuracy of `draws` copies whose weights and biases are times ``1 + spread N(0, 1)``."""
    rng, accuracies = np.random.default_rng(0), []
    for _ in range(draws):
        changed = {name: {key: value * (1 + spread * rng.standard_normal(value.shape))
                          for key, value in network[name].arrays().items()} for name in ("fc1", "fc2")}
        accuracies.append((run(network, data[0], changed).prediction == data[1]).mean())
    return np.array(accuracies)


@pytest.mark.slow
def test_forward_noise_makes_digits_robust_to_mismatch():
    data = digits(steps=15)
    accuracies = {}
    for recipe in ("standard", "forward_noise"):
        result = train(build("digits", 64, 10, seed=0), *data["train"], recipe=recipe, batch_size=128, seed=0,
                       learning_rate=[(25, 5e-3), (5, 1e-3)], validation=data["validation"])
        network = to_network(result, data["test"][0][:, :4], 1e-3)
        accuracies[recipe] = {z: under_mismatch(network, data["test"], z, 30) for z in (0.0, 0.5)}
    for accuracy in accuracies.values():
        assert accuracy[0.0].min() > 0.94
    assert accuracies["forward_noise"][0.5].mean() > accuracies["standard"][0.5].mean() + 0.02
