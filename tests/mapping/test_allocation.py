"""Places, tags and words: what is found obeys the chip; what is not found is not there (brute force, small chips)."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neurosim.mapping.allocation import give_tags, give_words, good_words, place, share_halves


def fits_somehow(needed: list[list[int]], available: np.ndarray) -> bool:
    """Brute force: every way to give neurons to places, parts on cores of their own."""
    neurons = [(part, need) for part, needs in enumerate(needed) for need in needs]
    slots = list(np.ndindex(available.shape))
    for chosen in itertools.permutations(slots, len(neurons)):
        owner: dict[int, int] = {}
        if all(available[slot] >= need and owner.setdefault(slot[0], part) == part
               for slot, (part, need) in zip(chosen, neurons, strict=True)):
            return True
    return False


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=2), min_size=1, max_size=2),
       st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=3, max_size=3))
def test_places_are_found_where_there_are_some(needed, available):
    available = np.array(available)
    found = place([np.array(part) for part in needed], available)
    assert (found is not None) == fits_somehow(needed, available)
    if found is not None:
        cores = [set(where[:, 0]) for where in found]
        assert not set.intersection(*cores) or len(cores) == 1
        every = np.concatenate(found)
        assert len({tuple(slot) for slot in every}) == len(every)
        for part, where in zip(needed, found, strict=True):
            assert (available[tuple(where.T)] >= part).all()


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 8), st.integers(0, 999))
def test_a_tag_means_one_source_in_a_core(sources, cores, tags, seed):
    rng = np.random.default_rng(seed)
    reach = rng.random((sources, cores)) < 0.5
    found = give_tags(reach, None, tags)
    if found is None:
        # greedy in order needs at most the sources that share a core, which is more than there are tags
        assert max((reach & reach[s]).any(axis=1).sum() for s in range(sources)) > tags
        return
    assert ((found >= 0) == reach.any(axis=1)).all()
    for core in range(cores):
        here = found[reach[:, core]]
        assert np.unique(here).size == here.size


def test_tags_are_used_again_in_other_cores():
    assert give_tags(np.array([[True, False], [False, True], [True, True]]), None, 2).tolist() == [0, 0, 1]
    assert give_tags(np.array([[True], [True], [True]]), None, 2) is None
    assert give_tags(np.array([[True], [True]]), np.array([1, 0]), 4).tolist() == [2, 0]


@given(st.integers(0, 9999), st.integers(1, 3), st.integers(1, 6), st.integers(0, 8), st.integers(0, 8))
def test_words_are_good_for_their_tags_and_used_once(seed, places, words, low, high):
    """One place at a time, Hall's condition says whether there is a way; the words found are one."""
    rng = np.random.default_rng(seed)
    good = rng.random((places, words, 2)) < 0.7
    where = rng.integers(0, places, low + high)
    tags = np.concatenate([rng.integers(0, 8, low), rng.integers(8, 16, high)])
    found = give_words(where, tags, good, 16)
    possible = True
    for spot in range(places):
        n_low, n_high = ((where == spot) & (tags // 8 == half) for half in (0, 1))
        possible &= (n_low.sum() <= good[spot, :, 0].sum() and n_high.sum() <= good[spot, :, 1].sum()
                     and n_low.sum() + n_high.sum() <= good[spot].any(axis=1).sum())
    assert (found is not None) == possible
    if found is not None:
        assert good[where, found, tags // 8].all()
        assert len(set(zip(where, found, strict=True))) == where.size


def test_words_without_halves():
    good = np.array([[True, False, True, False]])
    assert give_words(np.array([0, 0]), np.array([5, 3]), good, 16).tolist() == [0, 2]
    assert give_words(np.array([0, 0, 0]), np.array([5, 3, 1]), good, 16) is None


def test_halves_follow_the_words_that_are_left():
    good = np.zeros((2, 4, 2), bool)
    good[0, :, 0] = good[1, :, 1] = True  # the first place hears the lower half only, the second the upper half
    half = share_halves(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), good, 3)
    assert half.tolist() == [0, 1, 0]


def test_the_safest_way_to_use_a_mask_comes_first():
    good = np.random.default_rng(0).random((2, 3, 4, 2)) < 0.5
    ways = list(good_words(good))
    assert [halves for _, halves in ways] == [(0, 1), (0,), (1,), (0, 1)]
    np.testing.assert_array_equal(ways[0][0], good.all(axis=3))
    np.testing.assert_array_equal(ways[3][0], good.any(axis=3))
