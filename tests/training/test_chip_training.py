"""Recipes and the trainer on a chip, and that it is worth it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from chip_cases import (
    BATCH,
    CHANNELS,
    STEPS,
    dies_of,
    everything,
    inputs,
    mlp,
    snntorch_net,
)
from torch import nn

from neurosim.deployment import deploy
from neurosim.errors import NeurosimError
from neurosim.mapping import map_network
from neurosim.profile import load_profile
from neurosim.tasks import load_task
from neurosim.training import (
    RECIPES,
    Attack,
    OnChip,
    build,
    robust_distance,
    robust_loss,
    to_network,
    train,
)
from neurosim.training.chip_objective import ChipObjective
from neurosim.training.monitoring import accuracy_on_dies
from neurosim.training.objective import output_of

# recipes and training


def samples(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that drive different channels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = np.clip(np.eye(3, CHANNELS)[labels] * 1.5 + rng.normal(0, 0.15, (count, CHANNELS)), 0, None)
    return np.repeat(x[None], STEPS, axis=0).astype(np.float32), labels


SETTINGS = {"entropy_sgd": {"steps": 2}, "hybrid": {"steps": 2}, "adversarial": {"steps": 2}, "awp": {"steps": 2},
            "robust": {"steps": 1}}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_on_a_chip(recipe):
    chip = OnChip(mlp(), everything(), samples()[0][:, :4], mode="sampled", dies=2, per_step=2)
    before = {name: value.detach().clone() for name, value in chip.named_parameters()}
    options = {name: value for name, value in SETTINGS.get(recipe, {}).items()
               if name in RECIPES[recipe].__dataclass_fields__}
    trained = train(chip, *samples(), recipe=recipe, epochs=2, batch_size=20, learning_rate=1e-3,
                    validation=samples(12, 1), **options)
    assert all(np.isfinite(trained.history["loss"]))
    assert len(trained.history["noisy_validation_accuracy"]) == 2
    assert all((value != before[name]).any() for name, value in chip.named_parameters())
    for name, value in chip.recipe_settings(recipe).items():
        assert trained.settings[name] == value
    network = to_network(trained, samples()[0][:, :4], 2e-3)
    assert network.dt == 2e-3
    assert network.provenance["on_chip"]["profile"] == "ideal"
    np.testing.assert_array_equal(network["fc1"].weight, chip.module.fc1.weight.detach().numpy())


def test_standard_training_on_a_chip_is_training_on_its_dies():
    """One step of gradient descent, written out: the gradient at die 0, taken to the module's own parameters."""
    chip = OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], dies=1)
    chip.train()
    x, y = torch.tensor(samples()[0]), torch.tensor(samples()[1])
    on = ChipObjective(chip, x, y)
    assert set(on.parameters) == {"fc1/weight", "fc1/bias", "fc2/weight", "fc2/bias"}
    on.loss(on.parameters).backward()
    found = {name: value.grad.clone() for name, value in chip.module.named_parameters()}
    twin = mlp()
    die = dies_of(chip).parameters(0)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            layer, parameter = name.split(".")
            value.copy_(torch.tensor(die[layer][parameter]))
    torch.nn.functional.cross_entropy(twin(x)[0].sum(0), y).backward()
    for name, value in twin.named_parameters():
        layer, parameter = name.split(".")
        factor = torch.tensor(die[layer][parameter]) / dict(chip.module.named_parameters())[name].detach()
        torch.testing.assert_close(found[name], value.grad * factor, rtol=1e-4, atol=1e-6)


def test_a_module_that_reads_out_itself_on_several_dies_of_a_step():
    class ReadOut(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x).sum(dim=0)

    x, _ = samples(10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = snntorch_net()
    results = [OnChip(module, everything(), x[:, :4], per_step=3).train()(torch.tensor(x)) for module in
               (ReadOut(net), net)]
    assert results[0].shape == (10, 3)
    assert torch.equal(results[0], results[1].sum(dim=0))


def test_dropout_on_several_dies_of_a_step():
    """Each die has its share of the samples, and masks of its own; p = 0 is no dropout at all."""
    def chip() -> OnChip:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return OnChip(snntorch_net(), everything(), samples()[0][:, :4], per_step=2)

    losses = [train(chip(), *samples(), recipe=recipe, epochs=2, batch_size=7, **settings).history["loss"]
              for recipe, settings in (("standard", {}), ("dropout", {"p": 0.0}), ("dropout", {"p": 0.5}))]
    assert losses[0] == losses[1] != losses[2]


def test_the_robust_loss_of_a_chip_attacks_its_devices():
    chip = OnChip(mlp(), everything(), inputs().numpy(), mode="nominal")
    chip.train()
    how, generators = Attack(0.5, 2), [torch.Generator().manual_seed(3) for _ in range(2)]
    loss = robust_loss(chip, inputs(1), how, generator=generators[0])
    placement = chip.place()
    expected = robust_distance(lambda devices: output_of(chip.run(placement, devices, inputs(1))).sum(0),
                               placement.devices, how, generator=generators[1], reach=placement.reach)
    assert torch.equal(loss, expected)
    loss.backward()
    assert all(value.grad.abs().sum() > 0 for value in chip.parameters())


def test_an_objective_names_the_devices_of_several_dies_and_leaves_some_alone():
    chip = OnChip(mlp(), everything(), inputs().numpy(), dies=3, per_step=3)
    chip.train()
    on = ChipObjective(chip, inputs(1), torch.arange(BATCH) % 3, untouched=("fc2/*", "*/threshold"))
    assert {name.split(":")[0] for name in on.parameters} == {"0", "1", "2"}
    assert {name.split(":")[1] for name in on.reach} == {"fc1/weight", "fc1/bias", "lif1/beta", "lif2/beta"}
    torch.testing.assert_close(on.logits(on.parameters), torch.cat([
        output_of(chip.run(chip.place(k), chip.place(k).devices, inputs(1)[:, 2 * k:2 * k + 2])).sum(0)
        for k in range(3)]))
    assert replace(on, inputs=inputs(2)).placements is on.placements  # the same dies for other inputs
    assert int(chip.steps) == 1


def test_the_same_call_trains_the_same_chip_and_noisy_validation_has_dies_of_its_own():
    results = []
    for _ in range(2):
        chip = OnChip(mlp(), load_profile("pcm_hermes"), samples()[0][:, :4], mode="noise", per_step=2)
        results.append(train(chip, *samples(), recipe="forward_noise", epochs=2, learning_rate=1e-3,
                             validation=samples(12, 1), mismatch_draws=2))
    for a, b in zip(results[0].model.parameters(), results[1].model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert results[0].history == results[1].history
    seen = []
    chip.shown_as, shown = lambda die, seed: seen.append((die, seed)) or shown(die, seed), chip.shown_as
    accuracy_on_dies(chip, dict(chip.named_parameters()), (torch.tensor(samples()[0]), torch.tensor(samples()[1])),
                     "sum", 3, 77)
    assert seen == [(0, 77), (1, 77), (2, 77)]


def test_an_interrupted_training_goes_on_with_the_dies_that_come_next(tmp_path):
    def chip() -> OnChip:
        return OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], mode="noise", per_step=2)

    def stop(epoch: int, epochs: int, found: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    options = {"recipe": "hybrid", "epochs": 4, "steps": 2, "batch_size": 20, "validation": samples(12, 1)}
    whole = train(chip(), *samples(), **options)
    with pytest.raises(KeyboardInterrupt):
        train(chip(), *samples(), **options, checkpoint=tmp_path / "c", progress=stop)
    other = OnChip(mlp(), load_profile("mismatch"), samples()[0][:, :4], mode="noise", per_step=3)
    with pytest.raises(NeurosimError, match="chip"):
        train(other, *samples(), **options, checkpoint=tmp_path / "c", resume=True)
    resumed = train(chip(), *samples(), **options, checkpoint=tmp_path / "c", resume=True)
    assert resumed.history == whole.history
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.mark.slow
def test_training_on_the_chip_is_worth_it():
    """Digits on a PCM crossbar with 4 levels: accuracy of 40 dies that neither network has seen."""
    task = load_task("digits", steps=12)
    profile = load_profile("pcm_hermes").with_values({"crossbar.levels": 4})
    accuracies = {}
    for way in ("alone", "on chip"):
        model = build("digits", 64, 10, seed=0)
        if way == "on chip":
            model = OnChip(model, profile, task.validation.inputs[:, :8], mode="noise", per_step=2, seed=1)
        trained = train(model, task.train.inputs, task.train.labels, epochs=20, batch_size=128, seed=0,
                        learning_rate=[(16, 5e-3), (4, 1e-3)],
                        validation=(task.validation.inputs, task.validation.labels), mismatch_draws=2,
                        selection="noisy" if way == "on chip" else "clean")
        network = to_network(trained, task.test.inputs[:, :4], task.dt)
        run_on_dies = deploy(map_network(network, profile), task.test.inputs, task.test.labels, dies=40, seed=99)
        accuracies[way] = run_on_dies.accuracy.values
    assert accuracies["on chip"].mean() > accuracies["alone"].mean() + 0.02
    assert accuracies["on chip"].min() > accuracies["alone"].min()
