"""The trainer: interrupted runs, running averages, choosing under mismatch, metrics, and what stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training import LSNN, Hybrid, SpikingNetwork, as_network, spiking_mlp, train
from neurosim.training.deviations import relative
from neurosim.training.monitoring import Voices, accuracy, noisy_accuracy


def blobs(samples: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that drive different channels: inputs `[6, sample, 8]`, labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    inputs = np.clip(np.eye(3, 8)[labels] * 1.5 + rng.normal(0, 0.15, (samples, 8)), 0, None)
    return np.repeat(inputs[None], 6, axis=0).astype(np.float32), labels


class Readout(nn.Module):
    """``y_t = x_t W^T + b``."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 8), start))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight.T + self.bias


class Interrupted(Exception):
    """Stands for the end of the process."""


def interrupt_after(epoch: int):
    def progress(now: int, epochs: int, metrics: dict[str, float]) -> None:
        if now == epoch:
            raise Interrupted
    return progress


OPTIONS = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "seed": 5, "validation": blobs(24, 1),
           "recipe": "robust", "steps": 1}


@pytest.mark.parametrize(("options", "model"), [
    (OPTIONS, lambda: spiking_mlp(8, 3, hidden=12)),
    ({**OPTIONS, "recipe": "entropy_sgd", "steps": 2, "optimiser": "sgd"}, lambda: spiking_mlp(8, 3, hidden=12)),
    ({**OPTIONS, "recipe": "hybrid", "average": 0.9, "readout": "mean", "rate_penalty": 1e-3},
     lambda: LSNN(8, 3, units=12)),
])
def test_a_run_that_is_resumed_ends_as_one_that_was_not_interrupted(tmp_path, options, model):
    whole = train(model(), *blobs(), **options)
    file = tmp_path / "run.checkpoint"
    metrics = tmp_path / "run.jsonl"
    for epoch in (1, 3):
        with pytest.raises(Interrupted):
            train(model(), *blobs(), checkpoint=file, resume=True, progress=interrupt_after(epoch), metrics=metrics,
                  **options)
        assert len(metrics.read_text().splitlines()) == epoch
    parts = train(model(), *blobs(), checkpoint=file, resume=True, metrics=metrics, **options)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    assert parts.history == whole.history
    assert parts.best_epoch == whole.best_epoch
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {name: tuple(row[name] for row in rows) for name in whole.history} == whole.history
    again = train(model(), *blobs(), checkpoint=file, resume=True, **options)  # killed before the model was written
    assert all(torch.equal(value, whole.model.state_dict()[n]) for n, value in again.model.state_dict().items())


def test_an_unfinished_run_is_not_overwritten_and_not_mixed(tmp_path):
    file = tmp_path / "run.checkpoint"
    given = {"epochs": 2, "validation": blobs(24, 1), "checkpoint": file, "batch_size": 16}
    with pytest.raises(Interrupted):
        train(Readout(), *blobs(), progress=interrupt_after(1), **given)
    with pytest.raises(NeurosimError, match=r"an unfinished training run lies here.*--resume"):
        train(Readout(), *blobs(), **given)
    for change, message in (
            ({"learning_rate": 2e-3}, "learning_rate: .*0.001.*0.002"), ({"seed": 1}, "seed: 0 there, 1"),
            ({"recipe": "forward_noise"}, "recipe: 'standard' there, 'forward_noise' here"),
            ({"model": Readout(1.0)}, "start: "), ({"samples": blobs(51)}, "data: ")):
        options = {**given, "resume": True, **change}
        with pytest.raises(NeurosimError, match=f"run.checkpoint: belongs to another run .*{message}"):
            train(options.pop("model", Readout()), *options.pop("samples", blobs()), **options)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(NeurosimError, match="is no checkpoint of this version"):
        train(Readout(), *blobs(), resume=True, **given)
    torch.save({"anything": 1}, file)
    with pytest.raises(NeurosimError, match="is no checkpoint of this version"):
        train(Readout(), *blobs(), resume=True, **given)


COMMAND = [sys.executable, "-c", "from neurosim.cli import main; main()", "train", "digits", "--recipe", "robust",
           "--epochs", "5", "--size", "hidden=10", "--setting", "steps=1", "--setting", "batch_size=256"]


def tensors(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_bits(tmp_path):
    """SIGKILL at any moment: here after the first epoch, in the middle of the third, and never."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    subprocess.run([*COMMAND, "--out", whole], check=True, env=environment, stdout=subprocess.DEVNULL)
    kills = 0
    for epochs_seen, delay in ((1, 0.0), (2, 0.05)):
        process = subprocess.Popen([*COMMAND, "--out", parts, "--resume"], env=environment, stdout=subprocess.DEVNULL)
        metrics, deadline = tmp_path / "parts.metrics.jsonl", time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and len(metrics.read_text().splitlines()) >= epochs_seen:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert not parts.exists()
    assert (tmp_path / "parts.h5.checkpoint").exists()
    subprocess.run([*COMMAND, "--out", parts, "--resume"], check=True, env=environment, stdout=subprocess.DEVNULL)
    one, other = tensors(whole), tensors(parts)
    assert len(one) >= 4
    assert one.keys() == other.keys()
    for name in one.keys() - {"provenance"}:  # that has the command itself, with and without --resume
        np.testing.assert_array_equal(one[name], other[name])
    assert (tmp_path / "whole.metrics.jsonl").read_text() == (tmp_path / "parts.metrics.jsonl").read_text()
    assert not (tmp_path / "parts.h5.checkpoint").exists()


def test_the_running_average_is_what_is_kept():
    """Followed by hand: factor min(0.8, (1 + t) / (10 + t)) after update t = 1, 2, ..."""
    seen = []

    class Watched(Readout):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(self.weight.detach().clone())
            return super().forward(inputs)

    inputs, labels = blobs()
    result = train(Watched(0.1), inputs, labels, epochs=2, batch_size=16, learning_rate=0.05, average=0.8)
    plain = train(Readout(0.1), inputs, labels, epochs=2, batch_size=16, learning_rate=0.05)
    average = seen[0]
    for step, after in enumerate([*seen[1:], plain.model.weight.detach()], start=1):
        keep = min(0.8, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * after
    assert len(seen) == 6
    torch.testing.assert_close(result.model.weight.detach(), average)
    assert (result.model.weight - plain.model.weight).abs().max() > 1e-3


def test_noisy_accuracy_is_the_mean_over_the_same_draws():
    model, samples = spiking_mlp(8, 3, hidden=12), tuple(torch.as_tensor(a) for a in blobs())
    parameters = dict(model.named_parameters())
    generator, found = torch.Generator().manual_seed(3), []
    for _ in range(4):
        changed = {name: value.detach() + 0.5 * value.detach().abs() * torch.randn(value.shape, generator=generator)
                   for name, value in parameters.items()}
        found.append(accuracy(model, changed, samples, "sum"))
    assert len(set(found)) > 1
    assert noisy_accuracy(model, parameters, samples, "sum", dict.fromkeys(parameters, relative), 0.5, 4, 3) == (
        pytest.approx(np.mean(found)))
    assert model.training


def test_noisy_validation_chooses_where_it_is_asked_to():
    inputs, labels = blobs(90)
    options = {"epochs": 8, "batch_size": 30, "learning_rate": 3e-2, "validation": blobs(30, 1), "mismatch": 0.7}
    results = {how: train(spiking_mlp(8, 3, hidden=12), inputs, labels, selection=how, **options)
               for how in ("clean", "noisy")}
    assert results["clean"].history == results["noisy"].history
    for how, name in (("clean", "validation_accuracy"), ("noisy", "noisy_validation_accuracy")):
        found = np.array(results[how].history[name])
        assert results[how].best_epoch == np.flatnonzero(found == found.max())[-1] + 1
    assert results["clean"].history["noisy_validation_accuracy"] != results["clean"].history["validation_accuracy"]
    assert "noisy_validation_accuracy" not in train(Readout(), *blobs(), epochs=1, validation=blobs(24, 1),
                                                    mismatch_draws=0).history


def test_a_recipe_may_be_an_object_and_is_named():
    found = train(Readout(0.1), *blobs(), epochs=1, recipe=Hybrid(beta=0.2, steps=2))
    assert found.recipe == "hybrid"
    assert (found.settings["beta"], found.settings["steps"], found.settings["eta"]) == (0.2, 2, 0.3)
    with pytest.raises(NeurosimError, match="settings beta beside a recipe"):
        train(Readout(), *blobs(), epochs=1, recipe=Hybrid(), beta=0.1)


def test_batch_statistics_belong_to_what_is_kept():
    """The statistics of the best epoch come back with its weights."""

    class Normal(Readout):
        def __init__(self) -> None:
            super().__init__(0.1)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(self.norm(inputs.reshape(-1, 8)).reshape(inputs.shape))

    result = train(Normal(), *blobs(), epochs=5, batch_size=16, learning_rate=0.05, validation=blobs(24, 1),
                   recipe="adversarial", steps=2, untouched="norm.*")
    assert result.model.norm.num_batches_tracked == 3 * result.best_epoch
    x, y = (torch.as_tensor(a) for a in blobs(24, 1))
    assert (result.model(x).sum(0).argmax(1) == y).float().mean() == max(result.history["validation_accuracy"])


def test_a_tick_after_every_batch():
    ticks = []
    train(Readout(), *blobs(), epochs=2, batch_size=20, tick=lambda *now: ticks.append(now))
    assert ticks == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize(("scale", "bias", "message"), [
    (0.0, -5.0, r"layer lif1: no neuron has fired in 3 epochs, the last of them epoch 3.*larger initial weights"),
    (0.0, 50.0, r"layer lif1: every sample makes the same spikes in 3 epochs.*smaller initial weights"),
])
def test_a_layer_that_says_nothing_stops_the_training(scale, bias, message):
    model = spiking_mlp(8, 3, hidden=12)
    with torch.no_grad():
        model.fc1.weight *= scale
        model.fc1.bias.fill_(bias)
    with pytest.raises(NeurosimError, match=message):
        train(model, *blobs(), epochs=5, batch_size=16, learning_rate=1e-6)


def test_neurosims_own_layers_are_listened_to():
    model = SpikingNetwork.from_network(as_network(spiking_mlp(8, 3, hidden=12), blobs()[0][:, :4], 1e-3),
                                        dtype=torch.float32, returns_spikes=True)
    voices = Voices(model)
    with voices.listening():
        _, spikes = model(torch.tensor(blobs()[0]))
    assert torch.equal(voices.counts["layers.lif1"], spikes.sum(dim=0))
    assert voices.mute() == {}
    with torch.no_grad():
        model["fc1"].weight.zero_()
        model["fc1"].bias.fill_(-1)
    with pytest.raises(NeurosimError, match=r"layer layers\.lif1: no neuron has fired"):
        train(model, *blobs(), epochs=3, learning_rate=1e-9)


def test_a_run_that_cannot_go_on_leaves_no_checkpoint(tmp_path):
    model = LSNN(8, 3, units=12)
    with torch.no_grad():
        model.w_in.zero_()
    with pytest.raises(NeurosimError, match="no neuron has fired"):
        train(model, *blobs(), epochs=3, learning_rate=1e-9, checkpoint=tmp_path / "c", metrics=tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert len((tmp_path / "m").read_text().splitlines()) == 2


def test_the_hidden_neurons_of_an_lsnn_are_listened_to():
    model = LSNN(8, 3, units=12)
    with torch.no_grad():
        model.w_in.zero_()
    with pytest.raises(NeurosimError, match="layer hidden neurons: no neuron has fired"):
        train(model, *blobs(), epochs=3, learning_rate=1e-9)


def test_a_loss_that_is_no_number_says_where():
    model = Readout()
    with torch.no_grad():
        model.bias[1] = float("nan")
    with pytest.raises(NeurosimError, match=r"the loss is nan in epoch 1, batch 1; bias is the first parameter that "
                                            r"holds NaN or infinity.*try a learning rate below 0\.001"):
        train(model, *blobs(), epochs=3)
    with pytest.raises(NeurosimError, match=r"the loss is (nan|inf) in epoch 1, batch 2.*below 3e\+37"):
        train(Readout(0.1), *blobs(), epochs=3, batch_size=16, learning_rate=3e37)


@pytest.mark.parametrize(("given", "message"), [
    ({"optimiser": "lion"}, "optimiser is 'lion'.*adam, sgd"), ({"selection": "best"}, "clean, noisy"),
    ({"average": 1.0}, "average is 1.0.*0 to below 1"), ({"mismatch": -1}, "mismatch is -1"),
    ({"mismatch_draws": -1}, "mismatch_draws is -1"), ({"weight_decay": "x"}, "weight_decay is 'x'"),
    ({"selection": "noisy", "mismatch_draws": 0}, "noisy validation chooses"),
    ({"batch_size": 1.5}, "batch_size is 1.5"),
])
def test_what_is_no_plan_is_refused(given, message):
    with pytest.raises(NeurosimError, match=message):
        train(Readout(), *blobs(), epochs=1, **given)
