"""Reads of crossbar tiles against their slow twin (tests/reference/read_twin.py), for every kind of converter."""

from __future__ import annotations

import numpy as np
import pytest
import read_twin

from neurosim import engine
from neurosim.engine import Tiles
from neurosim.engine.neurons import RESET_CODES

INPUTS, OUTPUTS, STEPS = 13, 11, 40
BITS, LOW, HIGH = 4, -8, 7
BOUNDS = np.array([0, 6, 12, 13])
KINDS = ("exact", *engine.CONVERTERS)


def make(kind: str, noisy: bool, offset: bool, half: float = 0.5, ideal: bool = False) -> tuple[Tiles, np.ndarray]:
    """Tiles in float64, and noise; converters with errors of their own unless ideal."""
    rng = np.random.default_rng(3)
    tiles, width = BOUNDS.size - 1, 16

    def padded(values: np.ndarray) -> np.ndarray:
        out = np.zeros((*values.shape[:-1], width))
        out[..., :OUTPUTS] = values
        return out

    codes = (2**BITS - 1, 4 * (BITS - 1), BITS)
    count = dict(zip(("ramp", "pipeline", "sar"), codes, strict=True)).get(kind, 0)
    error = 0.0 if ideal else 1.0
    table = np.zeros((tiles, count, OUTPUTS))
    if kind == "sar":
        table += 2.0 ** np.arange(BITS)[:, None] * (1 + error * rng.normal(0, 0.1, table.shape))
    if kind == "ramp":
        table = np.cumsum(1 + error * rng.uniform(-0.5, 0.5, table.shape), axis=1)
    if kind == "pipeline":
        table += error * rng.normal(0, 0.05, table.shape)
    none = np.empty((0, 0))
    found = Tiles(
        rows=padded(rng.normal(0, 2, (INPUTS, OUTPUTS))),
        variance=padded(rng.uniform(0, 1, (INPUTS, OUTPUTS))) if noisy else none,
        floor=padded(rng.uniform(0, 1, (tiles, OUTPUTS))) if noisy else none, bounds=BOUNDS,
        worth=padded(rng.uniform(0.5, 1, (tiles, OUTPUTS))),
        offset=padded(rng.normal(0, 1, (tiles, OUTPUTS))) if offset else none,
        gain=padded(rng.uniform(0.5, 1.5, (tiles, OUTPUTS))), shift=padded(rng.normal(0, 1, (tiles, OUTPUTS))),
        table=padded(table), codes=np.array([KINDS.index(kind), LOW, HIGH]), half=half)
    return found, rng.normal(size=(STEPS, tiles * width)) if noisy else none


def by_read(noise: np.ndarray) -> np.ndarray:
    return noise[:, None] if noise.size else np.empty((0, 0, 0))


def expected(x: np.ndarray, tiles: Tiles, noise: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    """By the twin, `[steps, outputs]`; and how many conversions were out of range."""
    outside = 0
    out = np.zeros((x.shape[0], OUTPUTS))
    for s in np.flatnonzero(x.any(axis=1)):  # what nothing drives is not read
        for n in range(OUTPUTS):
            def convert(tile: int, current: float, n: int = n) -> float:
                nonlocal outside
                if kind == "exact":
                    return current
                value = tiles.gain[tile, n] * current + tiles.shift[tile, n] + tiles.half
                outside += value < LOW or value >= HIGH + 1
                table = tiles.table[tile, :, n]
                if kind == "pipeline":
                    return read_twin.pipeline(value, LOW, HIGH, tiles.half, table.reshape(-1, 4))
                return getattr(read_twin, kind)(value, LOW, HIGH, *(() if kind == "uniform" else (table,)))

            zero = np.zeros(INPUTS)
            out[s, n] = read_twin.read(
                x[s], tiles.rows[:, n], BOUNDS, tiles.worth[:, n], convert,
                noise[s, n::16] if noise.size else zero, tiles.variance[:, n] if noise.size else zero,
                tiles.floor[:, n] if noise.size else zero, tiles.offset[:, n] if tiles.offset.size else zero)
    return out, outside


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("half", [0.5, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_reads_are_those_of_the_twin(kind, half, noisy):
    """Events, dense ones and dense numbers; codes are whole, so one conversion that differs would show."""
    tiles, noise = make(kind, noisy, offset=noisy, half=half)
    rng = np.random.default_rng(8)
    spikes = (rng.random((STEPS, INPUTS)) < 0.3).astype(float)
    spikes[2] = 0
    bias = np.zeros(16)
    out, scratch, count = np.empty((STEPS, 16)), np.empty((3, 16)), np.zeros(1, np.int64)
    engine.gather_reads(*engine.to_events(spikes), tiles, noise, bias, scratch, out, count)
    wanted, outside = expected(spikes, tiles, noise, kind)
    np.testing.assert_allclose(out[:, :OUTPUTS], wanted, atol=1e-12)
    for x in (spikes, rng.normal(size=(STEPS, INPUTS))):
        dense, dense_count = np.zeros((STEPS, 16)), np.zeros(1, np.int64)
        engine.dense_reads(x, tiles, by_read(noise), 0, dense, dense_count, x.any(axis=1))
        wanted, outside = expected(x, tiles, noise, kind)
        np.testing.assert_allclose(dense[:, :OUTPUTS], wanted, atol=1e-12)

        assert dense_count[0] == outside
    assert count[0] > 0 or kind == "exact"


@pytest.mark.parametrize("half", [0.5, 0.0])
def test_converters_without_errors_are_uniform(half):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, INPUTS))
    found = []
    for kind in engine.CONVERTERS:
        tiles, noise = make(kind, noisy=False, offset=False, half=half, ideal=True)
        reference, _ = make("uniform", noisy=False, offset=False)
        table = np.broadcast_to({"sar": 2.0 ** np.arange(BITS), "ramp": np.arange(1.0, 2**BITS)}.get(
            kind, np.zeros(tiles.table.shape[1]))[None, :, None], tiles.table.shape)
        tiles = reference._replace(table=np.ascontiguousarray(table), codes=tiles.codes, half=half)
        out = np.zeros((500, 16))
        engine.dense_reads(x, tiles, by_read(noise), 0, out, np.zeros(1, np.int64), np.ones(500, bool))
        found.append(out)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_a_read_is_the_same_in_any_company():
    """As many vectors as are taken at a time and more, against the same a few at a time, bit for bit."""
    tiles, _ = make("exact", noisy=True, offset=True)
    rng, count = np.random.default_rng(4), np.zeros(1, np.int64)
    tiles = tiles._replace(**{name: value.astype(np.float32) for name, value in tiles._asdict().items()
                              if name not in ("bounds", "codes", "half")}, half=np.float32(0.5))
    vectors = (1 << 16) // 16 + 7
    x, noise = (rng.normal(size=shape).astype(np.float32) for shape in ((vectors, INPUTS), (vectors, 2, 48)))
    whole, parts = np.zeros((2, vectors, 16), np.float32)
    driven = np.ones(vectors, bool)
    engine.dense_reads(x, tiles, noise, 1, whole, count, driven)
    for first in range(0, vectors, 13):
        some = slice(first, first + 13)
        engine.dense_reads(x[some], tiles, noise[some], 1, parts[some], count, driven[some])
    np.testing.assert_array_equal(whole, parts)
    assert np.abs(whole[:, :OUTPUTS]).min(axis=1).all()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", ["exact", "uniform"])
def test_an_elman_network_on_tiles_is_the_one_whose_product_is_a_read(kind, relu):
    tiles, _ = make(kind, noisy=True, offset=True)
    rng, batch, times = np.random.default_rng(6), 21, 9
    tiles = tiles._replace(rows=tiles.rows[:OUTPUTS] / 4, variance=tiles.variance[:OUTPUTS] / 9,
                           bounds=np.array([0, 6, 10, OUTPUTS]), gain=tiles.gain * 8, worth=tiles.worth / 8)
    noise, drive = rng.normal(size=(batch, times, 48)), rng.normal(size=(batch, times, OUTPUTS))
    bias, buffer, wanted_count, count = rng.normal(size=OUTPUTS), np.empty((batch, 16)), *np.zeros((2, 1), np.int64)
    drive[5, :4] = -100.0  # a sample whose units are all silent for some steps, where they can be
    driven = np.zeros((times, batch), bool)

    def product(state: np.ndarray, step: int) -> np.ndarray:
        buffer[:] = 0
        if step:
            driven[step] = state.any(axis=1)
            engine.dense_reads(state, tiles, noise, step, buffer, wanted_count, driven[step])
        return buffer[:, :OUTPUTS]

    wanted, found = np.empty((2, batch, times, OUTPUTS))
    engine.rnn(drive, bias, product, relu, wanted)
    assert engine.rnn_reads(drive, bias, tiles, noise, relu, found, count) == np.count_nonzero(driven)
    assert driven.sum() == batch * (times - 1) - (4 if relu else 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert count == wanted_count
    assert (count > 0) == (kind == "uniform")


def test_vectors_of_a_step_are_driven_together():
    x = np.zeros((6, 3), np.float32)
    x[1, 2] = x[4, 0] = -1
    for positions, wanted in ((1, [0, 1, 0, 0, 1, 0]), (2, [1, 1, 0, 0, 1, 1]), (3, [1] * 6)):
        assert engine.driven_rows(x, positions).tolist() == wanted


@pytest.mark.parametrize("model", ["lif", "adaptive"])
def test_recurrent_reads_within_the_time_loop_are_the_same_step_by_step(model):
    """A population that reads its own spikes from tiles, against the same one with the read given as drive, one step
    later: the read of step t is that of the spikes of step t - 1."""
    rng = np.random.default_rng(2)
    n, batch, times = 16, 3, 20
    rows = rng.normal(0, 0.5, (n, n))
    none = np.empty((0, 0))
    tiles = Tiles(rows, np.abs(rows) * 0.05, np.full((2, n), 0.01), np.array([0, 7, n]), np.full((2, n), 0.25), none,
                  np.full((2, n), 4.0), rng.normal(0, 0.5, (2, n)), np.empty((2, 0, n)), np.array([1, -8, 7]), 0.5)
    noise = rng.normal(size=(batch * times, 2 * n))
    drive = rng.normal(0.3, 0.5, (batch, times, n))
    start = (np.zeros(1, np.int64), np.empty(0, np.int32), none)
    one, zero = np.ones(n), np.zeros(n)

    def run(drive: np.ndarray, recurrent: object) -> tuple[np.ndarray, np.ndarray]:
        given = (*start, drive, zero)
        if model == "lif":
            pointers, indices, _ = engine.lif(*given, one * 0.9, one, one, zero, recurrent, RESET_CODES["subtract"],
                                              True, batch, times)
        else:
            pointers, indices, _ = engine.adaptive_lif(*given, one * 0.9, one * 0.95, one, one * 0.5, one, recurrent, 2,
                                                       batch, times)
        return pointers, indices

    outside = np.zeros(1, np.int64)
    pointers, indices = run(drive, engine.Recurrence(tiles, noise, np.empty((3, n)), outside))
    own = np.zeros((batch * times, n))
    engine.gather_reads(pointers, indices, tiles, noise, zero, np.empty((3, n)), own, np.zeros(1, np.int64))
    later = np.zeros((batch, times, n))
    later[:, 1:] = own.reshape(batch, times, n)[:, :-1]
    again = run(drive + later, none)
    assert indices.size > 20
    assert outside[0] > 0
    np.testing.assert_array_equal(pointers, again[0])
    np.testing.assert_array_equal(indices, again[1])


def test_input_codes():
    x = np.array([-2.0, -0.6, 0.0, 0.2, 0.5, 1.2])
    codes, step, outside = engine.input_codes(x, 1.0, 3, True)
    np.testing.assert_array_equal(codes, [-3, -2, 0, 1, 2, 3])
    assert (round(step * 3, 12), outside) == (1.0, 2)
    codes, step, outside = engine.input_codes(x, 1.0, 3, False)
    np.testing.assert_array_equal(codes, [0, 0, 0, 1, 4, 7])
    assert outside == 3
