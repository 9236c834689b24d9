"""What `from_torch` makes of modules as people write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import snntorch
import torch
from snntorch import utils
from torch import nn
from torch.nn import functional
from torch_nets import BATCH, IMAGES, SPIKES, TIME, Base, base, draw, loop_over, names, refused, seeded, take

import neurosim as ns
from neurosim.network import forward


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- ways to write a net


def test_the_loop_is_in_the_forward() -> None:
    network = take(base())
    assert names(network) == ["fc1", "lif1", "fc2", "lif2"]
    assert network.readout == "sum"
    assert network.dt == 1e-3
    assert network.provenance["from"] == f"snntorch {snntorch.__version__}"
    assert network.provenance["module"] == "Net"


def test_the_same_input_at_every_step() -> None:
    """Tutorial 5: the loop gives the whole input to the first layer, again and again."""

    def forward_(self: Base, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(25):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)

    network = take(base(forward=forward_), SPIKES[0])
    assert network.input_shape == (10,)
    assert "25 steps" in str(network.provenance["input"])
    message = refused(base(forward=forward_), SPIKES)  # [time, batch, 10] is one input of shape [batch, 10] for it
    assert "shape (3, 10)" in message


def test_a_current_computed_once_for_all_steps() -> None:
    def before(self: Base, x: torch.Tensor) -> torch.Tensor:
        current, mem, out = self.fc1(x), self.lif1.reset_mem(), []
        for _ in range(9):
            spk, mem = self.lif1(current, mem)
            out.append(spk)
        return torch.stack(out)

    assert names(take(base(forward=before), SPIKES[0])) == ["fc1", "lif1"]

    def series(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, out = self.lif1.reset_mem(), []
        for current in self.fc1(x):
            spk, mem = self.lif1(current, mem)
            out.append(spk)
        return torch.stack(out)

    assert names(take(base(forward=series))) == ["fc1", "lif1"]


@pytest.mark.parametrize(("axis", "cut"), [
    (0, list),
    (0, lambda x: [x[t, :, :] for t in range(len(x))]),
    (0, lambda x: [x[t, ...] for t in range(x.size(0))]),
    (0, lambda x: list(x.unbind(0))),
    (0, lambda x: [part.squeeze(0) for part in x.split(1)]),
    (0, lambda x: [part.squeeze(0) for part in torch.chunk(x, len(x), dim=0)]),
    (0, lambda x: [x.select(0, t) for t in range(len(x))]),
    (1, lambda x: [x[:, t] for t in range(x.size(1))]),
    (1, lambda x: [x[:, t, :] for t in range(x.size(1))]),
    (1, lambda x: list(x.permute(1, 0, 2))),
    (1, lambda x: list(x.transpose(0, 1).contiguous())),
    (1, lambda x: list(torch.movedim(x, 1, 0))),
    (1, lambda x: list(torch.unbind(x, dim=1))),
    (2, lambda x: [x[..., t] for t in range(x.size(-1))]),
])
def test_the_time_axis_is_the_one_that_the_loop_indexes(axis: int, cut: Callable) -> None:
    network = take(loop_over(axis, cut), SPIKES.movedim(0, axis))
    assert network.input_shape == (10,)
    assert str(network.provenance["input"]).startswith(f"time on axis {axis}")
    assert f"{TIME} steps of {BATCH} samples" in str(network.provenance["proof"])


def test_batch_first_can_be_said() -> None:
    by_batch, sample = loop_over(1, lambda x: list(x.unbind(1))), SPIKES.transpose(0, 1)
    assert str(take(by_batch, sample, batch_first=True).provenance["input"]).startswith("time on axis 1")
    assert "the operation 'unbind' between the input and fc1" in refused(by_batch, sample, batch_first=False)
    steps = seeded(nn.Sequential(nn.Linear(10, 8), snntorch.Leaky(beta=0.9, init_hidden=True)))
    assert "12 steps of 3 samples" in str(take(steps, sample, batch_first=True).provenance["proof"])


def test_a_sequential_with_hidden_states() -> None:
    module = seeded(nn.Sequential(
        nn.Linear(10, 16), snntorch.Leaky(beta=0.9, init_hidden=True), nn.Dropout(0.5), nn.Linear(16, 12),
        snntorch.RLeaky(beta=0.8, linear_features=12, init_hidden=True), nn.Identity(), nn.Linear(12, 5),
        snntorch.Synaptic(alpha=0.5, beta=0.7, init_hidden=True, output=True)))
    assert names(take(module)) == ["0", "1", "3", "4", "6", "7"]


def test_one_step_in_the_forward() -> None:
    class Hidden(Base):
        def __init__(self) -> None:
            super().__init__()
            self.lif1 = snntorch.Leaky(beta=0.9, init_hidden=True)
            self.lif2 = snntorch.RSynaptic(alpha=0.5, beta=0.8, linear_features=14, init_hidden=True, output=True)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.lif2(self.fc2(self.lif1(self.fc1(x))))

    class Kept(Base):
        def __init__(self) -> None:
            super().__init__()
            self.mem1, self.mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spk, self.mem1 = self.lif1(self.fc1(x), self.mem1)
            spk, self.mem2 = self.lif2(self.fc2(spk), self.mem2)
            return spk

    for cls in (Hidden, Kept):
        assert names(take(seeded(cls()))) == ["fc1", "lif1", "fc2", "lif2"]
    wide = take(seeded(Kept()), draw(3, TIME, BATCH, 10), time_loop=False)
    assert names(wide) == ["fc1", "lif1", "fc2", "lif2"]


def test_states_are_reset_in_the_forward() -> None:
    def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
        utils.reset(self)
        return torch.stack([self.lif1(self.fc1(now)) for now in x])

    module = base(forward=forward_)
    module.lif1 = snntorch.Leaky(beta=0.9, init_hidden=True)
    assert names(take(module)) == ["fc1", "lif1"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("pool_first", [True, False])
def test_a_convolutional_net(pool_first: bool) -> None:
    """Tutorial 6, written with functions, and as a Sequential."""

    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.lif1 = nn.Conv2d(1, 4, 5), snntorch.Leaky(beta=0.5)
            self.conv2, self.lif2 = nn.Conv2d(4, 6, 3, padding=1), snntorch.Leaky(beta=0.5, threshold=0.7)
            self.fc1, self.lif3 = nn.Linear(24, 5), snntorch.Leaky(beta=0.5, threshold=0.5)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
            out = []
            for step in range(x.size(0)):
                if pool_first:
                    spk1, mem1 = self.lif1(functional.max_pool2d(self.conv1(x[step]), 2), mem1)
                    spk2, mem2 = self.lif2(functional.avg_pool2d(functional.relu(self.conv2(spk1)), 2, stride=2), mem2)
                else:
                    spk1, mem1 = self.lif1(self.conv1(x[step]), mem1)
                    spk1 = functional.max_pool2d(spk1, kernel_size=2)
                    spk2, mem2 = self.lif2(self.conv2(spk1), mem2)
                    spk2 = functional.avg_pool2d(spk2, 2)
                spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(1), -1)), mem3)
                out.append(spk3)
            return torch.stack(out), mem3

    network = take(seeded(Conv()), IMAGES)
    first = ["max_pool2d", "lif1"] if pool_first else ["lif1", "max_pool2d"]
    assert names(network)[:4] == ["conv1", *first, "conv2"]
    assert names(network)[-3:] == ["flatten", "fc1", "lif3"]
    sequential = seeded(nn.Sequential(
        nn.Conv2d(1, 4, (5, 3), stride=(1, 2), padding=(2, 0), dilation=(1, 2)),
        snntorch.Leaky(beta=0.5, init_hidden=True), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 6, 4, padding="same", groups=2), nn.AvgPool2d(2, padding=1),
        snntorch.Leaky(beta=0.5, init_hidden=True), nn.Flatten(), nn.Linear(48, 5),
        snntorch.Leaky(beta=0.5, init_hidden=True, output=True)))
    assert take(sequential, IMAGES)["3"].weight.shape == (6, 4, 4, 4)


@pytest.mark.parametrize("where", ["linear", "conv"])
def test_batch_norm_is_a_layer_until_it_is_folded(where: str) -> None:
    lif = snntorch.Leaky(beta=0.8, init_hidden=True, threshold=0.3)
    if where == "linear":
        module = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), lif)
    else:
        module = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False), lif)
    seeded(module)
    module[1].running_mean[:] = draw(5, 8) * 0.2
    module[1].running_var[:] = draw(6, 8) + 0.5
    sample = SPIKES if where == "linear" else IMAGES
    network = take(module, sample)
    assert names(network) == ["0", "1", "2"]
    assert np.array_equal(network["1"].mean, module[1].running_mean.numpy())
    folded = network.folded()
    assert names(folded) == ["0", "2"]
    spikes = [forward.run(net, sample.numpy(), dtype=np.float64).output for net in (network, folded)]
    assert np.array_equal(*spikes)
    assert 0 < spikes[0].mean() < 1
    assert module[1].running_mean.equal(draw(5, 8) * 0.2)


def test_batch_norm_without_a_shift_or_a_scale() -> None:
    """`BatchNormTT1d` of snnTorch has norms without a shift."""
    lif = snntorch.Leaky(beta=0.8, init_hidden=True, threshold=0.3)
    module = seeded(nn.Sequential(nn.Linear(10, 8), snntorch.BatchNormTT1d(8, TIME)[0], lif))
    module[1].running_mean[:] = draw(5, 8) * 0.2
    assert module[1].bias is None
    norm = take(module)["1"]
    assert np.array_equal(norm.scale, module[1].weight.detach().numpy())
    assert not norm.shift.any()
    module[1].register_parameter("weight", None)
    assert np.array_equal(take(module)["1"].scale, np.ones(8))


def test_batch_norm_behind_a_relu_is_folded_into_the_layer_that_it_feeds() -> None:
    lif = snntorch.Leaky(beta=0.8, init_hidden=True, threshold=0.3)
    module = seeded(nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 6), lif))
    module[2].running_mean[:] = draw(5, 8) * 0.2
    module[2].running_var[:] = draw(6, 8) + 0.5
    assert names(take(module, SPIKES).folded()) == ["0", "1", "3", "4"]


def test_a_residual_connection_is_a_sum() -> None:
    network = take(base(between=lambda self, x: self.fc2(x) + x))
    assert names(network) == ["fc1", "lif1", "fc2", "sum", "lif2"]
    assert network.nodes[3].inputs == ("fc2", "lif1")
    three = take(base(between=lambda self, x: torch.add(x, self.fc2(x)).add(functional.relu(self.fc2(x)))))
    assert next(node for node in three.nodes if node.name == "sum").inputs == ("lif1", "fc2", "relu")


def test_glue_that_means_nothing_is_folded_away() -> None:
    def drive(self: Base, x: torch.Tensor) -> torch.Tensor:
        x = functional.dropout(x.float().to("cpu").clone().detach().contiguous(), 0.3, self.training)
        return self.fc1(x.unsqueeze(1).squeeze(1).reshape(x.shape[0], 2, 5).flatten(1))

    assert names(take(base(drive=drive))) == ["fc1", "lif1", "fc2", "lif2"]


def test_a_shape_given_to_the_input_becomes_the_networks() -> None:
    def drive(self: Base, x: torch.Tensor) -> torch.Tensor:
        return self.fc1(self.conv(x.view(-1, 1, 12, 12)).flatten(1))

    module = base(drive=drive)
    module.conv, module.fc1 = nn.Conv2d(1, 2, 5, stride=3), nn.Linear(18, 14)
    network = take(seeded(module), IMAGES.flatten(2))
    assert network.input_shape == (1, 12, 12)
    assert names(network)[:3] == ["conv", "flatten", "fc1"]


def test_a_linear_layer_called_as_a_function() -> None:
    module = base(drive=lambda self, x: functional.linear(x, self.fc1.weight * self.mask, self.fc1.bias))
    module.mask = (draw(9, 14, 10) < 0.7).float()
    network = take(module)
    assert names(network) == ["linear", "lif1", "fc2", "lif2"]
    assert np.array_equal(network["linear"].weight == 0, module.mask.numpy() == 0)


def test_a_layer_used_twice_becomes_two() -> None:
    module = base(drive=lambda self, x: self.relu(self.fc1(x)), between=lambda self, x: self.relu(self.fc2(x)))
    module.relu = nn.ReLU(inplace=True)
    assert names(take(module)) == ["fc1", "relu", "lif1", "fc2", "relu_2", "lif2"]


def test_parametrized_weights_are_read_as_they_act() -> None:
    module = base()
    nn.utils.parametrizations.weight_norm(module.fc2)
    assert np.allclose(take(module)["fc2"].weight, module.fc2.weight.detach().numpy())


# ---- recurrence written by hand


def recurrent(step: Callable, bias: bool = True, kind: str = "Leaky") -> nn.Module:
    def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
        spk, mem, out = torch.zeros(x.size(1), 14), torch.zeros(x.size(1), 14), []
        for now in x:
            spk, mem = step(self, now, spk, mem)
            out.append(spk)
        return torch.stack(out)

    module = base(forward=forward_)
    module.rec = nn.Linear(14, 14, bias=bias)
    if kind == "RLeaky":
        module.lif1 = snntorch.RLeaky(beta=0.9, linear_features=14)
    return seeded(module, 4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_own_spikes_through_a_linear_become_the_recurrence(bias: bool, turned: bool) -> None:
    module = recurrent(lambda self, x, spk, mem: self.lif1(
        self.rec(spk) + self.fc1(x) if turned else self.fc1(x) + self.rec(spk), mem), bias)
    network = take(module)
    assert names(network) == ["fc1", "lif1"]
    assert np.array_equal(network["lif1"].recurrent, module.rec.weight.detach().numpy())
    assert (network["lif1"].bias is not None) == bias


def test_other_recurrences_are_refused() -> None:
    plain = recurrent(lambda self, x, spk, mem: self.lif1(self.fc1(x) + spk, mem))
    assert "lif1 is used 1 steps late" in refused(plain)
    twice = recurrent(lambda self, x, spk, mem: self.lif1(self.fc1(x) + self.rec(spk) + self.fc2(spk), mem))
    assert "lif1 is used 1 steps late" in refused(twice)
    both = recurrent(lambda self, x, spk, mem: self.lif1(self.fc1(x) + self.rec(spk), spk, mem), kind="RLeaky")
    assert "gets its own spikes back through one more Linear" in refused(both)

    def loop(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, back, out = self.lif1.reset_mem(), self.lif2.reset_mem(), torch.zeros(x.size(1), 14), []
        for now in x:
            spk, mem1 = self.lif1(self.fc1(now) + back, mem1)
            spk, mem2 = self.lif2(self.fc2(spk), mem2)
            back = spk
            out.append(spk)
        return torch.stack(out)

    message = refused(base(forward=loop))
    assert "lif1" in message
    assert "lif2" in message


def test_a_bias_that_is_missing_at_the_first_step_is_refused() -> None:
    def loop(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, back, out = self.lif1.reset_mem(), torch.zeros(x.size(1), 14), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now) + back, mem)
            back = self.fc2(spk)
            out.append(spk)
        return torch.stack(out)

    module = base(forward=loop)
    assert "at step 1 lif1 is driven by" in refused(module)
    module.fc2 = nn.Linear(14, 14, bias=False)
    recurrent = take(seeded(module))["lif1"].recurrent
    np.testing.assert_array_equal(recurrent, module.fc2.weight.detach().numpy())


# ---- the output


@pytest.mark.parametrize(("give", "readout"), [
    (lambda self, spikes, membranes: spikes.sum(0), "sum"),
    (lambda self, spikes, membranes: spikes.mean(dim=0), "sum"),
    (lambda self, spikes, membranes: torch.sum(spikes, dim=0) / spikes.shape[0], "sum"),
    (lambda self, spikes, membranes: spikes.max(0).values, "max"),
    (lambda self, spikes, membranes: spikes.amax(dim=0), "max"),
    (lambda self, spikes, membranes: spikes[-1], "last"),
    (lambda self, spikes, membranes: {"spikes": spikes, "membrane": [membranes]}, "sum"),
    (lambda self, spikes, membranes: (spikes.sum(0), membranes.mean()), None),
])
def test_the_readout_is_what_the_module_does_over_time(give: Callable, readout: str | None) -> None:
    module = base(give=give)
    if readout is None:
        assert "the operation 'mean' between the membrane of lif2 and the output" in refused(module)
        assert take(module, output="lif2").readout == "sum"
    else:
        assert take(module).readout == readout
        assert take(module, readout="max").readout == "max"


@pytest.mark.parametrize(("give", "noted"), [
    (lambda self, spikes, membranes: spikes, {}),
    (lambda self, spikes, membranes: spikes[-1], {}),
    (lambda self, spikes, membranes: spikes.sum(0), {"readout": "sum", "scale": 1.0}),
    (lambda self, spikes, membranes: spikes.mean(0), {"readout": "mean"}),
    (lambda self, spikes, membranes: (spikes, spikes.sum(0) / TIME), {"readout": "mean"}),
    (lambda self, spikes, membranes: functional.softmax(spikes.sum(0) * 0.5, -1), {"readout": "sum", "scale": 0.5}),
    (lambda self, spikes, membranes: spikes.amax(0) / 4, {"readout": "max", "scale": 0.25}),
])
def test_what_the_module_multiplies_its_readout_by_is_noted(give: Callable, noted: dict[str, object]) -> None:
    provenance = take(base(give=give)).provenance
    assert {name: provenance[name] for name in ("readout", "scale") if name in provenance} == noted


def test_ways_to_collect_the_output() -> None:
    def collect(how: Callable) -> nn.Module:
        def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
            mem, kept = self.lif1.reset_mem(), None
            for step in range(len(x)):
                spk, mem = self.lif1(self.fc1(x[step]), mem)
                kept = how(kept, spk, step, len(x))
            return kept

        return base(forward=forward_)

    def filled(kept: torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        kept = torch.zeros(steps, *spk.shape) if kept is None else kept
        kept[step] = spk
        return kept

    def filled_batch_first(kept: torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        kept = torch.zeros(spk.shape[0], steps, spk.shape[1]) if kept is None else kept
        kept[:, step] = spk
        return kept

    def added(kept: torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        return spk if kept is None else kept + spk

    def added_in_place(kept: torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        kept = torch.zeros_like(spk) if kept is None else kept
        kept += spk
        return kept

    def joined(kept: torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> torch.Tensor:
        return spk[None] if kept is None else torch.cat([kept, spk.unsqueeze(0)])

    def joined_batch_first(kept: list | torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> object:
        kept = [*(kept or []), spk.unsqueeze(1)]
        return torch.cat(kept, dim=1) if step == steps - 1 else kept

    def summed(kept: list | torch.Tensor | None, spk: torch.Tensor, step: int, steps: int) -> object:
        kept = [*(kept or []), spk]
        return sum(kept) if step == steps - 1 else kept

    def listed(kept: list | None, spk: torch.Tensor, step: int, steps: int) -> list:
        return [*(kept or []), spk]

    for how in (filled, filled_batch_first, added, added_in_place, joined, joined_batch_first, summed, listed):
        network = take(collect(how))
        assert names(network) == ["fc1", "lif1"]
        assert network.readout == "sum"
    assert take(collect(lambda kept, spk, step, steps: spk)).readout == "last"


def test_a_linear_readout_is_proved_by_value() -> None:
    def logits(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, out = self.lif1.reset_mem(), []
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem)
            out.append(self.fc2(spk))
        return torch.stack(out).mean(0)

    network = take(base(forward=logits))
    assert names(network) == ["fc1", "lif1", "fc2"]
    assert "output equal" in str(network.provenance["proof"])


@pytest.mark.parametrize("rule", ["sum", "max", "last"])
def test_the_membrane_of_a_neuron_without_reset(rule: str) -> None:
    module = base(give=lambda self, spikes, membranes: membranes)
    assert "Leaky with reset 'subtract' is the readout" in refused(module, readout=rule)
    module.lif2 = snntorch.Leaky(beta=0.8, reset_mechanism="none", threshold=1e9)
    assert "say readout='sum', 'max' or 'last'" in refused(module)
    network = take(module, readout=rule)
    assert isinstance(network["lif2"], ns.LeakyIntegrator)
    result = forward.run(network, SPIKES.numpy())
    with torch.no_grad():
        over_time = {"sum": lambda v: v.sum(0), "max": lambda v: v.amax(0), "last": lambda v: v[-1]}[rule]
        assert np.allclose(result.scores, over_time(module(SPIKES)).numpy(), atol=1e-5)
    both = base()
    both.lif2 = snntorch.Leaky(beta=0.8, reset_mechanism="none")
    assert isinstance(take(both)["lif2"], ns.LIF)
    assert isinstance(take(both, output="lif2.mem", readout="last")["lif2"], ns.LeakyIntegrator)


def test_an_output_that_is_not_one_place_must_be_named() -> None:
    def two(self: Base, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2, a, b = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for now in x:
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc1(now), mem2)
            a.append(spk1)
            b.append(spk2)
        return torch.stack(a), torch.stack(b)

    assert "lif1, lif2" in refused(base(forward=two))
    assert names(take(base(forward=two), output="lif2")) == ["fc1", "lif2"]
    assert "output is 'lif3' (allowed: lif1, lif2)" in refused(base(forward=two), output="lif3")
    assert "nothing that comes from its input" in refused(base(give=lambda self, spikes, membranes: torch.ones(3)))
    softmax = base(give=lambda self, spikes, membranes: functional.log_softmax(spikes.sum(0), -1))
    assert take(softmax).readout == "sum"
    steps = base(give=lambda self, spikes, membranes: functional.log_softmax(spikes, -1))
    assert "the operation 'log_softmax' between lif2 and the output" in refused(steps)
