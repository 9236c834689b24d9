"""Streams: the published Philox vectors, the right distributions, and no two streams alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from neurosim.errors import NeurosimError
from neurosim.streams import DieKey, Effect, ProgramKey, PulseKey, ReadKey, normal, uniform
from neurosim.streams.draws import to_normals
from neurosim.streams.philox import fill_words, philox4x32

KEY = DieKey(seed=20, die=3, array=1, effect=Effect.MISMATCH)
MILLION = 1_000_000


def words(key: DieKey, blocks: int) -> np.ndarray:
    out = np.empty((4, blocks), np.uint32)
    fill_words(0, blocks, *(np.uint64(word) for word in (*key.counter, *key.key)), out)
    return out


# kat_vectors of Random123, the code that came with Salmon et al., SC 2011: counter, key, result
VECTORS = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_philox_gives_the_published_words(counter, key, result):
    given_words = [np.uint64(int(word, 16)) for word in f"{counter} {key}".split()]
    assert " ".join(f"{int(word):08x}" for word in philox4x32(*given_words)) == result
    out = np.empty((4, 3), np.uint32)
    fill_words(int(given_words[0]), 3, *given_words[1:], out)
    assert " ".join(f"{word:08x}" for word in out[:, 0]) == result


def test_the_lowest_counter_word_counts_blocks():
    found = words(KEY, 5)
    for block in range(5):
        one = philox4x32(np.uint64(block), *(np.uint64(word) for word in (*KEY.counter, *KEY.key)))
        assert [int(word) for word in one] == found[:, block].tolist()


def test_normal_has_the_moments_of_a_normal():
    x = normal(KEY, MILLION).astype(np.float64)
    for value, expected, variance in ((x.mean(), 0, 1), (x.std(), 1, 1 / 2), (stats.skew(x), 0, 6),
                                      (stats.kurtosis(x), 0, 24)):
        assert abs(value - expected) < 3 * np.sqrt(variance / MILLION)


def test_normal_passes_a_kolmogorov_smirnov_test():
    for die in range(5):
        x = normal(DieKey(1, die, 0, Effect.MISMATCH), 200_000)
        assert stats.kstest(x, stats.norm.cdf).pvalue > 0.01


def test_the_tails_are_there():
    x = np.abs(normal(DieKey(2, 0, 0, Effect.MISMATCH), 4 * MILLION))
    for z in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(z) * x.size
        assert abs((x > z).sum() - expected) < 3 * np.sqrt(expected)
    assert x.max() < 6.77


def test_four_numbers_of_a_block_are_independent():
    x = normal(KEY, MILLION).reshape(-1, 4)
    for power in (1, 2):
        correlation = np.corrcoef((x**power).T)
        assert np.abs(correlation - np.eye(4)).max() < 4 / np.sqrt(len(x))


def box_muller(u: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius `[n]` and the pairs of normals `[2, n]`, in float64."""
    radius = np.sqrt(-2 * np.log(u.astype(np.float64)))
    angle = 2 * np.pi * turns.astype(np.float64)
    return radius, radius * np.stack([np.cos(angle), np.sin(angle)])


def test_logarithm_and_sine_are_right_to_the_last_bits():
    """From the same float32 uniforms: 3.1e-7 of the radius seen over 4e7 numbers (half a last place is 0.6e-7)."""
    w, found = words(KEY, MILLION // 4), normal(KEY, MILLION).reshape(-1, 4).T
    for first in (0, 2):
        u = (w[first].astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
        turns = w[first + 1].astype(np.int32).astype(np.float32) * np.float32(2.0**-32)
        radius, expected = box_muller(u, turns)
        assert (np.abs(found[first:first + 2] - expected) <= 4e-7 * radius).all()


def test_normals_are_those_of_the_whole_words():
    """1.04e-6 seen where the radius is above 0.05; below, u lies so near 1 that float32 has few values for it."""
    w, found = words(KEY, MILLION // 4), normal(KEY, MILLION).reshape(-1, 4).T
    for first in (0, 2):
        radius, expected = box_muller((w[first] + 0.5) * 2.0**-32, w[first + 1] * 2.0**-32)
        error = np.abs(found[first:first + 2] - expected)
        assert error[:, radius > 0.05].max() < 1.2e-6
        assert error.max() < 2.5e-4


def test_the_extreme_words_give_finite_numbers():
    ends = np.array([0, 1, 2**23, 2**24 - 1, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 2, 2**32 - 1], np.uint32)
    radius, angle = (np.ascontiguousarray(a.reshape(-1)) for a in np.meshgrid(ends, ends))
    normals = np.empty((4, radius.size), np.float32)
    njit(to_normals.py_func)(np.stack([radius, angle, radius, angle]), normals, radius.size)
    np.testing.assert_array_equal(normals[:2], normals[2:])
    length = np.hypot(normals[0].astype(np.float64), normals[1])
    np.testing.assert_allclose(length, np.sqrt(-2 * np.log((radius + 0.5) * 2.0**-32)), rtol=1e-6, atol=3e-4)
    assert length.max() < 6.77


@settings(deadline=None, max_examples=50)
@given(size=st.integers(0, 3000), seed=st.integers(0, 2**64 - 1), die=st.integers(0, 2**32 - 1),
       array=st.integers(0, 2**32 - 1), effect=st.sampled_from(Effect))
def test_the_first_numbers_do_not_depend_on_how_many(size, seed, die, array, effect):
    key = DieKey(seed, die, array, effect)
    for draw, dtype in ((normal, np.float32), (uniform, np.float64)):
        found = draw(key, size)
        assert (found.shape, found.dtype) == ((size,), dtype)
        np.testing.assert_array_equal(found, draw(key, 3001)[:size])


def test_streams_are_distinct():
    base = {"seed": 1, "die": 1, "array": 1, "effect": Effect.PROGRAMMING, "programming": 1}
    keys = [ProgramKey(**base)]
    for name, values in {"seed": (0, 2, 2**32 + 1, 2**63), "die": (0, 2, 2**31), "array": (0, 2, 2**31),
                         "effect": (Effect.MISMATCH, Effect.DRIFT), "programming": (2, 3, 2**31)}.items():
        keys += [ProgramKey(**{**base, name: value}) for value in values]
    # words that are exchanged between places: a weak key schedule gives these the same stream
    keys += [ProgramKey(2, 1, 1, Effect.PROGRAMMING, 0), ProgramKey(1, 2, 1, Effect.MISMATCH, 0)]
    keys += [PulseKey(**base, pulse=2)]
    keys += [ReadKey(**{**base, "effect": Effect.READ, **change}) for change in (
        {}, {"sample": 1}, {"sample": 2**31}, {"time": 1}, {"time": 2**31}, {"sample": 1, "time": 2},
        {"die": 0, "sample": 1}, {"programming": 0}, {"programming": 2})]
    n = 100_000
    x = np.stack([normal(key, n) for key in keys])
    correlation = np.corrcoef(x) - np.eye(len(keys))
    assert np.abs(correlation).max() < 4 / np.sqrt(n)
    shifted = [np.corrcoef(x[0, lag:], x[0, :-lag])[0, 1] for lag in (1, 2, 3, 4, 1024)]
    assert np.abs(shifted).max() < 4 / np.sqrt(n - 1024)


def test_a_die_key_is_the_first_programming():
    assert (normal(KEY, 10) == normal(ProgramKey(20, 3, 1, Effect.MISMATCH), 10)).all()


def test_ten_thousand_arrays_have_different_keys():
    keys = {DieKey(seed, 0, array, effect).key
            for seed, array, effect in itertools.product(range(10), range(400), Effect)}
    assert len(keys) == 10 * 400 * len(Effect)


def test_uniform_is_uniform_in_the_open_interval():
    u = uniform(KEY, MILLION)
    assert 0 < u.min() < 1e-5 < 1 - 1e-5 < u.max() < 1
    assert stats.kstest(u[:200_000], "uniform").pvalue > 0.01
    assert abs(u.mean() - 0.5) < 3 / np.sqrt(12 * MILLION)
    np.testing.assert_array_equal(u, (words(KEY, MILLION // 4).T.reshape(-1) + 0.5) / 2**32)
    ends = (np.array([0, 2**32 - 1], np.float64) + 0.5) * 2.0**-32
    assert 0 < ends[0] < ends[1] < 1


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("seed", 2**64), ("die", 2**32), ("array", 1.5),
                                             ("programming", True), ("programming", 2**32)])
def test_keys_out_of_range_are_refused(name, value):
    with pytest.raises(NeurosimError, match=f"{name} is "):
        ProgramKey(**{"seed": 0, "die": 0, "array": 0, "effect": Effect.MISMATCH, name: value})
    for key, own in ((PulseKey, "pulse"), (ReadKey, "sample"), (ReadKey, "time")):
        with pytest.raises(NeurosimError, match=f"{own} is -1"):
            key(0, 0, 0, Effect.READ, **{own: -1})


def test_known_numbers():
    """The numbers of a die must never change: a seed in a paper has to give the same dies for ever."""
    known = np.array([2560240786, 1501484216, 4163738262, 89112976])
    np.testing.assert_array_equal(words(KEY, 1)[:, 0], known)
    np.testing.assert_allclose(normal(KEY, 4), [-0.595778, 0.82446, 0.247007, 0.032385], atol=1e-6)
    np.testing.assert_array_equal(uniform(KEY, 4), (known + 0.5) / 2**32)
    other = ProgramKey(seed=2**40 + 7, die=3, array=1, effect=Effect.DRIFT, programming=5)
    np.testing.assert_allclose(normal(other, 3), [-1.014479, -0.943273, -0.370875], atol=1e-6)
