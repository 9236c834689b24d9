"""What `from_torch` refuses, by name and place; and that it leaves the module alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import snntorch
import torch
from snntorch import utils
from snntorch._neurons.neurons import SpikingNeuron
from torch import nn
from torch.nn import functional
from torch_nets import IMAGES, SPIKES, Base, base, loop_over, names, refused, seeded, take

import neurosim as ns


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- refusals: the operation or setting, and the place


@pytest.mark.parametrize(("between", "op"), [
    (lambda self, x: self.fc2(torch.erf(x)), "'erf' between lif1 and fc2"),
    (lambda self, x: torch.sin(self.fc2(x)), "'sin' between fc2 and lif2"),
    (lambda self, x: self.fc2(x) * x, "'mul' between fc2 and lif2"),
    (lambda self, x: self.fc2(x) * 0.5, "'mul' between fc2 and lif2"),
    (lambda self, x: self.fc2(x) - x, "'sub' between fc2 and lif2"),
    (lambda self, x: self.fc2(x) + 0.1, "'add' between fc2 and lif2"),
    (lambda self, x: self.fc2(x) + self.fc1.bias, "'add' between fc2 and lif2"),
    (lambda self, x: self.fc2(x).add_(x), "'add_' between fc2 and lif2"),
    (lambda self, x: self.fc2(x).flip(1), "'flip' between fc2 and lif2"),
    (lambda self, x: self.fc2(x.roll(1)), "'roll' between lif1 and fc2"),
    (lambda self, x: self.fc2(x[:, torch.arange(13, -1, -1)]), "'__getitem__' between lif1 and fc2"),
    (lambda self, x: functional.dropout(self.fc2(x), 0.1), "'dropout' between fc2 and lif2"),
    (lambda self, x: self.fc2(x).clamp(min=0), "'clamp' between fc2 and lif2"),
    (lambda self, x: nn.functional.gelu(self.fc2(x)), "'gelu' between fc2 and lif2"),
    (lambda self, x: self.fc2((x > 0).float()), "'gt' between lif1 and fc2"),
    (lambda self, x: self.fc2(x.long().float()), "'long' between lif1 and fc2"),
    (lambda self, x: self.fc2(x.t().t()), "'t' between lif1 and fc2"),
    (lambda self, x: self.act(self.fc2(x)), "'GELU (act)' between fc2 and lif2"),
    (lambda self, x: self.att(x, x, x)[0], "'MultiheadAttention (att)' between lif1 and lif2"),
    (lambda self, x: self.fc2(torch.from_numpy(x.numpy())), "fc2 is fed by a tensor that does not come from"),
])
def test_an_operation_without_counterpart_is_named_with_both_its_ends(between: Callable, op: str) -> None:
    module = base(between=between)
    module.act, module.att = nn.GELU(), nn.MultiheadAttention(14, 2)
    message = refused(module)
    assert op in message
    assert message.startswith("from_torch(Net)")


def test_an_operation_on_the_side_does_no_harm() -> None:
    def between(self: Base, x: torch.Tensor) -> torch.Tensor:
        self.rate = torch.sigmoid(x).mean() + torch.rand(1)
        return self.fc2(x)

    module = base(between=between)
    before = torch.get_rng_state()
    assert names(take(module)) == ["fc1", "lif1", "fc2", "lif2"]
    assert not hasattr(module, "rate")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("decide", "said"), [
    (lambda x: bool(x.sum() > 3), "out of sum of lif1 ('__bool__')"),
    (lambda x: x.sum().item() > 3, "out of sum of lif1 ('item')"),
    (lambda x: int(x[0, 0]), "out of __getitem__ of lif1 ('__int__')"),
    (lambda x: torch.equal(x, torch.zeros_like(x)), "out of lif1 ('equal')"),
    (lambda x: torch.allclose(x, torch.ones_like(x)), "out of lif1 ('allclose')"),
    (lambda x: torch.is_nonzero(x.sum()), "out of sum of lif1 ('is_nonzero')"),
    (lambda x: 1 in x, "out of lif1 ('__contains__')"),
    (lambda x: x.tolist()[0][0] == 1, "out of lif1 ('tolist')"),
])
def test_decisions_on_values_are_refused(decide: Callable, said: str) -> None:
    def between(self: Base, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(x) if decide(x) else self.fc2(x + x)

    assert f"the forward takes a number {said}" in refused(base(between=between))


def test_decisions_on_shapes_are_not() -> None:
    def between(self: Base, x: torch.Tensor) -> torch.Tensor:
        known = (x.is_floating_point() and not x.requires_grad and x.is_contiguous() and not torch.is_complex(x)
                 and x.dim() == x.ndim == 2 and len(x) == x.size(0) and x.numel() == x.nelement() and x.stride(1) == 1)
        return self.fc2(x) if known else self.fc2(x + x)

    assert names(take(base(between=between))) == ["fc1", "lif1", "fc2", "lif2"]


TURNED = torch.arange(13, -1, -1)


@pytest.mark.parametrize(("end", "op"), [
    (lambda p, q: (p + q) / 2, "'add'"), (lambda p, q: p - q, "'sub'"), (lambda p, q: 1 - p, "'__rsub__'"),
    (lambda p, q: -p.log(), "'log'"), (lambda p, q: p * 2, "'mul'"), (lambda p, q: p[:, TURNED], "'__getitem__'"),
    (lambda p, q: p[:, :2], "'__getitem__'"), (lambda p, q: p.flip(1), "'flip'"), (lambda p, q: p.long(), "'long'"),
    (lambda p, q: p.argmax(1), "'argmax'"), (lambda p, q: torch.stack([p, q]), "'stack'"),
    (lambda p, q: nn.GELU()(p), "'gelu'"), (lambda p, q: nn.Flatten(0)(p), "'flatten'"),
])
def test_what_follows_a_softmax_is_named(end: Callable, op: str) -> None:
    def give(self: Base, spikes: torch.Tensor, membranes: torch.Tensor) -> torch.Tensor:
        return end(functional.softmax(spikes.sum(0), -1), functional.softmax(self.fc2(spikes).mean(0), -1))

    assert f"the operation {op} between softmax of lif2 and the output" in refused(base(give=give))


@pytest.mark.parametrize(("forward_", "said"), [
    (lambda self, p: self.act(p), "'GELU (act)' between softmax of lif2 and the output"),
    (lambda self, p: self.flat(p), "'Flatten' between softmax of lif2 and the output"),
    (lambda self, p: self.twice(p), "'Softmax (twice)' between softmax of lif2 and the output"),
    (lambda self, p: self.fc2(p), "'softmax' between lif2 and fc2"),
    (lambda self, p: p.__setitem__((slice(None), 0), 0) or p, "'__setitem__' between softmax of lif2 and the output"),
])
def test_modules_behind_a_softmax_are_named(forward_: Callable, said: str) -> None:
    module = base(give=lambda self, spikes, membranes: forward_(self, functional.softmax(spikes.sum(0), -1)))
    module.act, module.flat, module.twice = nn.GELU(), nn.Flatten(0), nn.Softmax(-1)
    message = refused(module)
    assert said in message
    assert "class with the largest number stays" not in message


def test_a_softmax_of_each_step_is_refused() -> None:
    def loop(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, total = self.lif1.reset_mem(), 0
        for now in x:
            spk, mem = self.lif1(self.fc1(now), mem)
            total = functional.softmax(spk, -1) + total
        return total

    assert "'add' between softmax of lif1 and the output" in refused(base(forward=loop))
    steps = nn.Sequential(nn.Linear(10, 8), snntorch.Leaky(beta=0.9, init_hidden=True), nn.Softmax(-1))
    message = refused(seeded(steps))
    assert "'Softmax (2) of each step' between 1 and the output" in message
    assert "elsewhere, take it out" in message


def test_membranes_do_not_drive_layers() -> None:
    def loop(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for now in x:
            _, mem1 = self.lif1(self.fc1(now), mem1)
            spk, mem2 = self.lif2(self.fc2(mem1), mem2)
            out.append(spk)
        return torch.stack(out)

    assert "the membrane of lif1 drives fc2" in refused(base(forward=loop))
    late = base(give=lambda self, spikes, membranes: self.fc2(spikes.sum(0)))
    assert "lif2, added up over time, drives fc2" in refused(late)


def test_states_must_go_on() -> None:
    def loop(change: Callable, start: float = 0.0) -> nn.Module:
        def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
            mem, out = torch.full((x.size(1), 14), start), []
            for now in x:
                spk, mem = self.lif1(self.fc1(now), mem)
                mem = change(mem)
                out.append(spk)
            return torch.stack(out)

        return base(forward=forward_)

    assert "at step 1 the membrane of lif1 is mul of the membrane of lif1" in refused(loop(lambda mem: mem * 0.5))
    assert "at step 1 the membrane of lif1 is another tensor" in refused(loop(torch.zeros_like))
    assert "at step 1 the membrane of lif1 is mul_ of" in refused(loop(lambda mem: mem.mul_(0.5)))
    assert "lif1 starts with a membrane that is not zero" in refused(loop(lambda mem: mem, start=0.25))
    assert names(take(loop(lambda mem: mem.detach().clone()))) == ["fc1", "lif1"]

    def reset_each_step(self: Base, x: torch.Tensor) -> torch.Tensor:
        return self.lif1(self.fc1(x), self.lif1.reset_mem())[0]

    assert "at step 1 the membrane of lif1 is another tensor" in refused(base(forward=reset_each_step))


def test_a_graph_that_changes_between_steps_is_refused() -> None:
    def loop(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, out = self.lif1.reset_mem(), []
        for step, now in enumerate(x):
            spk, mem = self.lif1(self.fc1(now) if step != 5 else self.other(now), mem)
            out.append(spk)
        return torch.stack(out)

    module = base(forward=loop)
    module.other = nn.Linear(10, 14)
    assert "at step 5 lif1 is driven by other(the input), before by fc1(the input)" in refused(module)

    def late(self: Base, x: torch.Tensor) -> torch.Tensor:
        mem, out = self.lif1.reset_mem(), []
        for step in range(1, len(x)):
            spk, mem = self.lif1(self.fc1(x[step - 1] if step > 4 else x[step]), mem)
            out.append(spk)
        return torch.stack(out)

    assert "lif1 is driven by fc1(the input)" in refused(base(forward=late))
    shared = seeded(nn.Sequential(nn.Linear(10, 14), snntorch.Leaky(beta=0.9, init_hidden=True), nn.Linear(14, 14)))
    shared.append(shared[1])
    assert "1 is called 24 times in 12 steps" in refused(shared)


@pytest.mark.parametrize(("change", "said"), [
    (lambda lif: setattr(lif, "inhibition", True), "lif1: inhibition=True"),
    (lambda lif: setattr(lif, "state_quant", lambda state: state), "lif1: state_quant is set"),
    (lambda lif: lif.graded_spikes_factor.fill_(2), "lif1: graded_spikes_factor is not 1"),
    (lambda lif: setattr(lif, "spike_grad", torch.sigmoid), "lif1: its spike_grad does not give 1 above"),
    (lambda lif: setattr(lif, "reset_mechanism", "zero"), "lif1: it was built with reset 'subtract' and says 'zero'"),
])
def test_settings_of_a_neuron_that_are_refused(change: Callable, said: str) -> None:
    module = base()
    change(module.lif1)
    assert said in refused(module)


@pytest.mark.parametrize("kind", [kind for kind in ("Alpha", "Lapicque", "LeakyParallel", "StateLeaky", "SLSTM")
                                  if hasattr(snntorch, kind)])
def test_neurons_that_are_not_supported(kind: str) -> None:
    options = {"Alpha": {"alpha": 0.9, "beta": 0.8}, "Lapicque": {"beta": 0.9, "R": 1, "C": 10},
               "LeakyParallel": {"input_size": 14, "hidden_size": 14}, "StateLeaky": {"beta": 0.9, "channels": 14},
               "SLSTM": {"input_size": 14, "hidden_size": 14}}[kind]
    module = base()
    module.lif1 = getattr(snntorch, kind)(**options)
    message = refused(module)
    assert f"lif1: the neuron {kind} is not supported (allowed: Leaky, Synaptic, RLeaky, RSynaptic)" in message


def test_a_subclass_that_changes_the_dynamics_is_refused() -> None:
    class Odd(snntorch.Leaky):
        def fire(self, mem: torch.Tensor) -> torch.Tensor:
            return super().fire(mem * 2)

    class Preset(snntorch.Leaky):
        def __init__(self) -> None:
            super().__init__(beta=0.9)

    module = base()
    module.lif1 = Odd(beta=0.9)
    assert "lif1: Odd changes fire of its snnTorch base class" in refused(module)
    module.lif1 = Preset()
    assert names(take(module)) == ["fc1", "lif1", "fc2", "lif2"]


@pytest.mark.parametrize(("layer", "said"), [
    (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), "0: padding_mode is 'circular'"),
    (nn.AvgPool2d(2, ceil_mode=True), "0: ceil_mode=True"),
    (nn.AvgPool2d(2, divisor_override=3), "0: divisor_override is 3"),
    (nn.AvgPool2d(2, padding=1, count_include_pad=False), "0: count_include_pad=False with padding"),
    (nn.MaxPool2d(2, dilation=2), "0: return_indices is False, dilation 2"),
    (nn.BatchNorm2d(1, track_running_stats=False), "0: track_running_stats=False"),
    (nn.Unflatten(1, (1, 1)), "changes its shape from [1, 12, 12] to [1, 1, 12, 12]"),
    (nn.AdaptiveAvgPool2d(5), "0: it makes [5, 5] of [12, 12]: windows of different sizes"),
    (nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool2d(2)), "AdaptiveAvgPool2d takes [channel, height, width], gets"),
    (nn.AdaptiveMaxPool2d(2), "the operation 'AdaptiveMaxPool2d (0)' between the input and 1"),
])
def test_settings_of_a_layer_that_are_refused(layer: nn.Module, said: str) -> None:
    module = nn.Sequential(layer, snntorch.Leaky(beta=0.9, init_hidden=True))
    if isinstance(layer, nn.Unflatten):
        module.insert(0, nn.ReLU())
    assert said in refused(module, IMAGES)


def test_recurrence_by_convolution_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), snntorch.RLeaky(beta=0.9, conv2d_channels=2, kernel_size=3,
                                                              init_hidden=True))
    assert "1: recurrence over neurons of shape [2, 10, 10]" in refused(module, IMAGES)


def test_samples_and_modules_that_do_not_fit() -> None:
    module = seeded(nn.Sequential(nn.Linear(10, 8), snntorch.Leaky(beta=0.9, init_hidden=True)))
    assert "the sample has shape [3, 10] (allowed: [time, batch, *shape])" in refused(module, SPIKES[0])
    assert "module is a str" in refused("net")  # type: ignore[arg-type]
    assert "called step by step, it fails: RuntimeError" in refused(module, SPIKES[..., :9])
    one = loop_over(0, list)
    assert "say time_loop=True" in refused(one, SPIKES[:1])
    assert "1 steps of 3 samples" in str(ns.Network.from_torch(one, SPIKES[:1], time_loop=True).provenance["proof"])

    def states(self: Base, x: torch.Tensor, mem: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.lif1(self.fc1(x), mem)

    assert "needs a module around it that loops over time" in refused(base(forward=states))
    bad = SPIKES.clone()
    bad[0, 0, 0] = float("nan")
    assert "NaN" in refused(module, bad)
    for given, said in (((SPIKES, SPIKES), "the sample is a tuple"), (None, "the sample is a NoneType"),
                        (SPIKES + 1j, "the sample holds torch.complex64"),
                        (SPIKES.to_sparse(), "the sample holds torch.float32 in layout torch.sparse_coo")):
        assert f"from_torch(Sequential): {said}" in refused(module, given)
    for dt in (None, "1e-3"):
        assert f"dt is {dt!r}" in refused(module, dt=dt)
    assert "output is the int 1 (allowed: a name" in refused(module, output=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_are_named() -> None:
    part = nn.Sequential(torch.jit.script(nn.Linear(10, 5)), nn.ReLU())
    assert "from_torch(Sequential): 0: it is TorchScript" in refused(part, SPIKES[0])
    for whole in (torch.jit.script(nn.Linear(10, 5)), torch.jit.trace(nn.Linear(10, 5), SPIKES[0])):
        assert "it is TorchScript, which cannot be followed; give the module as it was" in refused(whole, SPIKES[0])


def test_the_proof_finds_what_is_hidden_from_the_trace() -> None:
    """A wrong network is not handed out: here the weights change while the module runs."""

    def between(self: Base, x: torch.Tensor) -> torch.Tensor:
        self.fc2.weight.data *= 0.8
        return self.fc2(x)

    message = refused(base(between=between))
    assert "lif2: the proof found another spike train: at step " in message
    assert names(ns.Network.from_torch(base(between=between), SPIKES, prove=False))[-1] == "lif2"


@pytest.mark.parametrize("change", [
    lambda self, spk: spk[:, :5].zero_(), lambda self, spk: spk.view(-1).mul_(0), lambda self, spk: spk.data.mul_(0),
    lambda self, spk: spk.detach().numpy().fill(0)])
def test_the_proof_finds_what_is_written_into_the_output(change: Callable) -> None:
    def give(self: Base, spikes: torch.Tensor, membranes: torch.Tensor) -> torch.Tensor:
        for step in spikes:
            change(self, step)
        return spikes

    message = refused(base(give=give))
    assert "lif2: the proof found other numbers: 1 away" in message
    assert "a view, .data" in message
    counted = base(give=lambda self, spikes, membranes: (spikes, give(self, spikes.clone(), membranes).sum(0)))
    assert "lif2: the proof found other numbers" in refused(counted)


def test_a_dropout_switched_on_and_a_rounded_mean_are_refused() -> None:
    module = base(give=lambda self, spikes, membranes: self.drop.train()(spikes))
    module.drop = nn.Dropout(0.5)
    assert "'Dropout (drop)' between lif2 and the output" in refused(module, prove=False)
    floor = base(give=lambda self, spikes, membranes: torch.div(spikes.sum(0), 5, rounding_mode="floor"))
    assert "'div' between lif2 and the output" in refused(floor, prove=False)


# ---- the module is left alone


def snapshot(module: nn.Module) -> dict[str, object]:
    registry = SpikingNeuron.instances
    taken: dict[str, object] = {"registry": (id(registry), list(map(id, registry))),
                                "random": torch.get_rng_state().tolist()}
    for name, part in module.named_modules():
        taken[f"{name}.training"] = part.training
        taken[f"{name}.hooks"] = [(k, list(v.items())) for k, v in vars(part).items() if k.endswith("_hooks") and v]
        tensors = {**part._parameters, **part._buffers, **{k: v for k, v in vars(part).items() if torch.is_tensor(v)}}
        for key, value in tensors.items():
            if value is not None:
                taken[f"{name}.{key}"] = (id(value), value.dtype, value.requires_grad, value.tolist())
    return taken


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_not_changed(training: bool) -> None:
    module = seeded(nn.Sequential(
        nn.Linear(10, 12), snntorch.Leaky(beta=0.9, init_hidden=True, learn_beta=True), nn.Dropout(0.5),
        nn.Linear(12, 6),
        snntorch.RLeaky(beta=0.8, linear_features=6, init_hidden=True, output=True)))
    module.train(training)
    seen: list[tuple[int, ...]] = []
    module[0].register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    other = snntorch.Leaky(beta=0.5, init_hidden=True)
    with torch.no_grad():
        other(torch.full((2, 2), 0.5))
    spikes, membrane = module(SPIKES[0])  # states are left behind, with their gradients
    (spikes.sum() + membrane.sum()).backward(retain_graph=True)
    graph, slopes = module[1].mem.grad_fn, [value.grad.clone() for value in module.parameters()]
    before, state = snapshot(module), copy.deepcopy(dict(module.state_dict()))
    take(module)
    assert snapshot(module) == before
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert other.mem.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert module[1].mem.grad_fn is graph
    (spikes.sum() + membrane.sum()).backward()  # through the graph as it was: each gradient a second time
    assert all(torch.equal(value.grad, 2 * slope) for value, slope in zip(module.parameters(), slopes, strict=True))


def test_a_reset_in_the_forward_does_not_reach_other_nets() -> None:
    def forward_(self: Base, x: torch.Tensor) -> torch.Tensor:
        utils.reset(self)
        return torch.stack([self.lif1(self.fc1(now)) for now in x])

    module, other = base(forward=forward_), snntorch.Leaky(beta=0.5, init_hidden=True)
    module.lif1 = snntorch.Leaky(beta=0.9, init_hidden=True)
    with torch.no_grad():
        other(torch.full((2, 2), 0.5))
    take(module)
    assert other.mem.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert module.lif1.mem.numel() == 0


def test_hooks_that_change_values_are_seen() -> None:
    module = base()
    handle = module.fc1.register_forward_hook(lambda module, args, out: out * 2)
    assert "the operation 'mul' between fc1 and lif1" in refused(module)
    handle.remove()
    take(module)


def test_a_module_that_cannot_be_copied_says_so() -> None:
    module = base()
    module.log = (line for line in ())
    assert "it cannot be copied: TypeError" in refused(module)
