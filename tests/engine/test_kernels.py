"""Kernels: equal to their numpy twins bit for bit, safe under threads and forks, compiled once."""

from __future__ import annotations

import copy
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import neuron_twins as twins
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim import engine
from neurosim.engine import neurons
from neurosim.engine.arrays import aligned
from neurosim.engine.neurons import RESET_CODES

#: a model and its rules: (reset, delay) or (refractory,)
MODELS = [*itertools.product(("lif", "cuba_lif"), RESET_CODES, (True, False)),
          *(("adaptive_lif", refractory) for refractory in (0, 1, 3))]
SOURCES = ("events", "dense", "both")
DTYPES = (np.float32, np.float64)


def time_first(values: np.ndarray, batch: int, time: int) -> np.ndarray:
    return values.reshape(batch, time, -1).swapaxes(0, 1)


@dataclass
class Case:
    """A population with random parameters and its input, as the kernels and as the twins take them."""

    neurons: int
    inputs: int = 9
    batch: int = 3
    time: int = 12
    source: str = "events"
    recurrent: bool = True
    dtype: type = np.float32
    activity: float = 0.3
    push: float = 0.0  # added to the bias: -1e3 silences all neurons, 1e3 fires them all
    live: int = 10_000  # neurons from here on have parameters and weights of zero, as padding leaves them
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, self.neurons, self.inputs])
        spikes = (self.rng.random((self.batch * self.time, self.inputs)) < self.activity).astype(np.uint8)
        weight = self.normal(0.8, self.neurons, self.inputs)
        drive = self.normal(0.5, self.batch * self.time, self.neurons)
        self.bias = self.normal(0.2, self.neurons) + self.dtype(self.push)
        self.rows_from = self.normal(0.4, self.neurons, self.neurons) if self.recurrent else None
        for array in (weight, drive.T, self.bias, *([self.rows_from] if self.recurrent else [])):
            array[self.live:] = 0
        self.twin = {"drive": None, "spikes": None, "weight": None}
        self.given = [np.zeros(1, np.int64), np.empty(0, np.int32), np.empty((0, 0), self.dtype),
                      np.empty((0, 0, 0), self.dtype), self.bias]
        if self.source != "dense":
            self.twin |= {"spikes": time_first(spikes, self.batch, self.time), "weight": weight}
            self.given[:3] = *engine.to_events(spikes), np.ascontiguousarray(weight.T)
        if self.source != "events":
            self.twin |= {"drive": time_first(drive, self.batch, self.time)}
            self.given[3] = drive.reshape(self.batch, self.time, self.neurons)

    def normal(self, scale: float, *shape: int) -> np.ndarray:
        return self.rng.normal(0, scale, shape).astype(self.dtype)

    def uniform(self, low: float, high: float) -> np.ndarray:
        return self.rng.uniform(low, high, self.neurons).astype(self.dtype)

    def parameters(self, model: str) -> dict[str, np.ndarray]:
        """Random parameters of a model, in the order in which its kernel takes them."""
        names = {"lif": "beta threshold gain v_reset",
                 "cuba_lif": "alpha beta threshold gain_syn gain leak v_reset",
                 "adaptive_lif": "beta beta_adaptation threshold adaptation gain"}[model].split()
        ranges = {"alpha": (0, 0.9), "gain": (0.5, 1.5), "gain_syn": (0.5, 1.5), "adaptation": (0, 2),
                  "v_reset": (-0.4, 0.6), "leak": (-0.2, 0.2)}
        own = {name: self.uniform(*ranges.get(name, (0.3, 1))) for name in names}
        for value in own.values():
            value[self.live:] = 0
        return own

    def kernel(self, model: str, own: dict[str, np.ndarray], rules: tuple[object, ...]) -> np.ndarray:
        """Spikes `[time, batch, neurons]`; rules: (reset, delay) or (refractory,)."""
        rows = np.empty((0, 0), self.dtype) if self.rows_from is None else np.ascontiguousarray(self.rows_from.T)
        codes = [RESET_CODES.get(rule, rule) for rule in rules]
        pointers, indices, counts = getattr(engine, model)(*self.given, *own.values(), rows, *codes, self.batch,
                                                           self.time)
        dense = np.empty((self.batch * self.time, self.neurons), self.dtype)
        engine.scatter(pointers, indices, dense)
        assert indices.size == dense.sum() == counts.sum()
        np.testing.assert_array_equal(counts, dense.sum(axis=0))
        return time_first(dense, self.batch, self.time)

    def run(self, model: str, *rules: object) -> tuple[np.ndarray, np.ndarray]:
        """Spikes `[time, batch, neurons]` by the kernel and by its twin."""
        own = self.parameters(model)
        step = getattr(twins, model)(*own.values(), *rules)
        return self.kernel(model, own, rules), twins.run(step, self.bias, recurrent=self.rows_from, **self.twin)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_spikes_are_those_of_the_twin(model, recurrent, source, dtype):
    found, expected = Case(19, source=source, recurrent=recurrent, dtype=dtype).run(*model)
    assert 0.02 < expected.mean() < 0.98
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("model", MODELS)
def test_traces_are_the_states_of_the_twin(model):
    case, seen = Case(11, source="both"), []
    own = case.parameters(model[0])
    step = getattr(twins, model[0])(*own.values(), *model[1:])

    def watched(state, current):
        out = step(state, current)
        seen.append((state.get("i", current), state["v"], state["limit"]))
        return out

    spikes = twins.run(watched, case.bias, recurrent=case.rows_from, **case.twin)
    trace = np.zeros((case.batch, case.time, len(neurons.TRACED), case.neurons), case.dtype)
    _, indices, _ = getattr(engine, model[0])(
        *case.given, *own.values(), np.ascontiguousarray(case.rows_from.T), *[RESET_CODES.get(r, r) for r in model[1:]],
        case.batch, case.time, trace)
    np.testing.assert_array_equal(trace, np.array(seen).reshape(trace.shape))
    assert indices.size == spikes.sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", MODELS)
def test_spikes_are_those_of_the_twin_on_the_edge(model, dtype):
    """Each drive is aimed at a membrane within a few last places of threshold: another order of operations shows."""
    case = Case(2000, batch=1, time=8, source="dense", recurrent=False, dtype=dtype)
    own, state, near = case.parameters(model[0]), {}, 0
    step = getattr(twins, model[0])(*own.values(), *model[1:])
    case.bias[:] = 0

    def after(current: np.ndarray) -> dict[str, np.ndarray]:
        tried = copy.deepcopy(state)
        step(tried, current)
        return tried

    for t in range(case.time):
        drive, zero = case.given[3][0, t], np.zeros_like(case.bias)
        slope = after(zero + 1)["compared"] - after(zero)["compared"]
        aim = drive.copy()
        for _ in range(3):
            found = after(aim)
            missing = found["limit"] - found["compared"]
            aim += np.where(slope > 0.01, missing / np.maximum(slope, dtype(0.01)), 0).astype(dtype)
        drive[...] = np.where(case.rng.random(drive.size) < 0.5, aim, drive)
        found = after(drive)
        near += np.count_nonzero(np.abs(found["compared"] - found["limit"]) < 8 * np.spacing(found["limit"]))
        step(state, drive)
    assert near > 0.1 * case.neurons * case.time
    np.testing.assert_array_equal(case.kernel(model[0], own, model[1:]), twins.run(step, case.bias, case.twin["drive"]))


@pytest.mark.parametrize("refractory", range(6))
def test_a_refractory_neuron_is_silent(refractory):
    found, expected = Case(13, time=40, push=1.0).run("adaptive_lif", refractory)
    np.testing.assert_array_equal(found, expected)
    gaps = np.concatenate([np.diff(np.flatnonzero(found[:, b, n])) for b in range(3) for n in range(13)])
    assert gaps.min() == max(refractory, 1)


@settings(deadline=None, max_examples=60)
@given(model=st.sampled_from(MODELS), neurons=st.integers(1, 70), inputs=st.integers(1, 20), batch=st.integers(1, 4),
       time=st.integers(1, 10), source=st.sampled_from(SOURCES), recurrent=st.booleans(),
       dtype=st.sampled_from(DTYPES), activity=st.sampled_from([0.0, 0.1, 1.0]),
       push=st.sampled_from([0.0, -1e3, 1e3]), seed=st.integers(0, 999))
def test_any_size_and_any_activity(model, **case):
    found, expected = Case(**case).run(*model)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_threshold_is_strict(dtype):
    drive = np.array([1.0, np.nextafter(dtype(1), dtype(2))], dtype).reshape(1, 1, 2)
    nothing = [np.zeros(1, np.int64), np.empty(0, np.int32), np.empty((0, 0), dtype)]
    one, zero, none = np.ones(2, dtype), np.zeros(2, dtype), np.empty((0, 0), dtype)
    given = [*nothing, drive, zero]
    for reset, delay in itertools.product(RESET_CODES.values(), (True, False)):
        assert engine.lif(*given, zero, one, one, zero, none, reset, delay, 1, 1)[2].tolist() == [0, 1]
        assert engine.cuba_lif(*given, zero, zero, one, one, one, zero, zero, none, reset, delay, 1,
                               1)[2].tolist() == [0, 1]
    assert engine.adaptive_lif(*given, zero, zero, one, zero, one, none, 0, 1, 1)[2].tolist() == [0, 1]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("neurons", [1, 7, 8, 9, 64, 65])
def test_no_spikes_and_all_spikes(model, neurons):
    silent, _ = Case(neurons, push=-1e6).run(*model)
    assert not silent.any()
    full, expected = Case(neurons, push=1e6).run(*model)
    np.testing.assert_array_equal(full, expected)
    assert full[0].all()
    if "none" in model or model == ("adaptive_lif", 0):
        assert full.all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("neurons", [1, 6, 33])
def test_leaky_integrator_is_its_twin(neurons, source, dtype):
    case = Case(neurons, source=source, recurrent=False, dtype=dtype)
    own = {"beta": case.uniform(0, 1), "gain": case.uniform(0.5, 1.5)}
    out = np.empty((case.batch, case.time, neurons), dtype)
    engine.leaky_integrator(*case.given, *own.values(), out)
    np.testing.assert_array_equal(out.swapaxes(0, 1), twins.run(twins.leaky_integrator(**own), case.bias, **case.twin))


@settings(deadline=None, max_examples=60)
@given(steps=st.integers(1, 30), neurons=st.integers(1, 40), activity=st.sampled_from([0.0, 0.2, 1.0]),
       dtype=st.sampled_from([np.uint8, np.float32, np.float64]), seed=st.integers(0, 999))
def test_events_there_and_back(steps, neurons, activity, dtype, seed):
    dense = (np.random.default_rng(seed).random((steps, neurons)) < activity).astype(dtype)
    pointers, indices = engine.to_events(dense)
    np.testing.assert_array_equal(np.diff(pointers), dense.sum(axis=1))
    np.testing.assert_array_equal(indices, np.nonzero(dense)[1])
    back = np.full_like(dense, 7)
    engine.scatter(pointers, indices, back)
    np.testing.assert_array_equal(back, dense)


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_tally_counts_each_sample(batch):
    dense = (np.random.default_rng(1).random((6 * 5, 11)) < 0.4).astype(np.float32)
    out = np.full((batch, 11), 7, np.float32)
    engine.tally(*engine.to_events(dense), out)
    np.testing.assert_array_equal(out, dense.reshape(batch, -1, 11).sum(axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activity", [0.0, 0.3, 1.0])
def test_gather_is_the_matrix_product(activity, dtype):
    rng = np.random.default_rng(2)
    dense = (rng.random((20, 13)) < activity).astype(dtype)
    rows, bias = rng.integers(-8, 9, (13, 21)).astype(dtype), rng.integers(-8, 9, 21).astype(dtype)
    out = np.empty((20, 21), dtype)
    engine.gather(*engine.to_events(dense), rows, bias, out)
    np.testing.assert_array_equal(out, dense @ rows + bias)  # whole numbers: exact in any order
    np.testing.assert_array_equal(engine.linear(dense, rows, bias), out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inputs", [1, 2, 8, 9, 40])
def test_a_linear_layer_of_few_and_of_many_inputs(inputs: int, dtype: type) -> None:
    rng = np.random.default_rng(inputs)
    x, rows, bias = (rng.normal(size=size).astype(dtype) for size in ((3000, inputs), (inputs, 24), 24))
    found = engine.linear(x, rows, bias)
    exact = x.astype(np.longdouble) @ rows.astype(np.longdouble) + bias
    assert found.dtype == dtype
    scale = np.abs(x.astype(float)) @ np.abs(rows.astype(float)) + np.abs(bias)
    assert (np.abs(found - exact) <= (inputs + 1) * np.finfo(dtype).eps * scale).all()
    kept = found.copy()
    engine.linear(x[:2900], rows, bias)
    np.testing.assert_array_equal(found, kept)  # what is held is not written to again


@settings(deadline=None, max_examples=40)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(5, 12), st.integers(5, 12)),
       out=st.integers(1, 3), kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
       stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
       padding=st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2), seed=st.integers(0, 999))
def test_conv2d_is_that_of_torch(shape, out, kernel, stride, dilation, padding, seed):
    rng = np.random.default_rng(seed)
    x, weight, bias = rng.normal(size=shape), rng.normal(size=(out, shape[1], *kernel)), rng.normal(size=out)
    (top, bottom), (left, right) = padding
    padded = torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    expected = torch.nn.functional.conv2d(padded, torch.from_numpy(weight), torch.from_numpy(bias), stride, 0, dilation)
    np.testing.assert_allclose(engine.conv2d(x, weight, bias, stride, padding, dilation), expected.numpy(),
                               rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(4, 12), st.integers(4, 12)),
       kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)), stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
       pad=st.tuples(st.integers(0, 2), st.integers(0, 2)), seed=st.integers(0, 999))
def test_pools_are_those_of_torch(shape, kernel, stride, pad, seed):
    pad = tuple(min(p, k // 2) for p, k in zip(pad, kernel, strict=True))
    x = np.random.default_rng(seed).normal(size=shape) - 5  # all below the zeros of the padding
    mean = torch.nn.functional.avg_pool2d(torch.from_numpy(x), kernel, stride, pad)
    np.testing.assert_allclose(engine.avg_pool(x, kernel, stride, pad), mean.numpy(), rtol=1e-12)
    largest = torch.nn.functional.max_pool2d(torch.from_numpy(x), kernel, stride, pad)
    np.testing.assert_array_equal(engine.max_pool(x, kernel, stride, pad), largest.numpy())


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (17,), (5, 3), (0, 4)])
def test_aligned_arrays_begin_on_a_cache_line(shape, dtype):
    array = aligned(shape, dtype)
    assert array.ctypes.data % 64 == 0
    assert (array.shape, array.dtype, array.flags.c_contiguous) == (shape, dtype, True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("to", "sources"), [(1, 1), (6, 256), (8, 3), (17, 40), (100, 9)])
def test_padding_puts_zeros_behind(to, sources, dtype):
    weight = np.random.default_rng(0).normal(size=(to, sources))
    for given_weight in (weight, np.asfortranarray(weight), weight.astype(np.float32), weight[::-1][::-1]):
        rows = engine.padded_rows(given_weight, dtype)
        assert (rows.dtype, rows.ctypes.data % 64, rows.shape[1] % 8) == (dtype, 0, 0)
        np.testing.assert_array_equal(rows[:, :to], given_weight.T.astype(dtype))
        assert rows.shape[1] - to < 8
        assert not rows[:, to:].any()
    for value in (0.5, weight):
        line = engine.padded(value, (to, sources), dtype)
        np.testing.assert_array_equal(line[: to * sources],
                                      np.broadcast_to(value, weight.shape).astype(dtype).reshape(-1))
        assert not line[to * sources:].any()


@pytest.mark.parametrize("model", MODELS)
def test_padded_neurons_stay_silent(model):
    found, expected = Case(16, source="both", push=1.0, live=5).run(*model)
    np.testing.assert_array_equal(found, expected)
    assert found[..., :5].any()
    assert not found[..., 5:].any()


def test_four_threads_at_once_give_what_one_gives():
    def spikes(seed: int) -> np.ndarray:
        return Case(50, batch=8, time=40, seed=seed).run(*MODELS[seed])[0]

    alone = [spikes(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(spikes, range(12)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


NETWORK = """
import numpy as np, neurosim as ns
from neurosim.network.forward import run
rng = np.random.default_rng(0)
network = ns.Network.sequential([ns.Linear(rng.normal(size=(30, 5))), ns.LIF(0.9, recurrent=rng.normal(size=(30, 30))),
                                 ns.Linear(rng.normal(size=(3, 30))), ns.LIF(0.9)], (5,), dt=1e-3)
inputs = (rng.random((20, 4, 5)) < 0.3).astype(float)
"""


def python(code: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", NETWORK + code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_forked_workers_run_kernels_after_their_parent_did():
    assert python("""
import multiprocessing, threading
from concurrent.futures import ThreadPoolExecutor
work = lambda _: run(network, inputs).scores.tolist()
with ThreadPoolExecutor(2) as threads:
    expected = list(threads.map(work, range(2)))[0]
def worker(_):
    return run(network, inputs).scores.tolist()
with multiprocessing.get_context("fork").Pool(3) as pool:
    found = pool.map_async(worker, range(6)).get(timeout=60)
print(all(scores == expected for scores in found), len(found))
""") == "True 6\n"


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    code = """
from neurosim.engine import events, neurons
run(network, inputs)
used = neurons._integrate_and_fire, events._count, events._fill, events.tally, events.scatter
print(sum(sum(k.stats.cache_hits.values()) for k in used), sum(sum(k.stats.cache_misses.values()) for k in used))
"""
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "0 5\n"
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == "5 0\n"
