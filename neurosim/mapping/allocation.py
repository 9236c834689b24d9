"""Where neurons, tags and synapse words lie: around words that do not work, and never two sources on one tag.

Plain arrays in and out. A neuron needs as many good words as it has synapses. A source (an input or a neuron) sends its
tag to all cores where it has a synapse; within a core a tag means one source. Words may work for one half of
the tags only: `good [core, neuron, word, half]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, permutations

import numpy as np

_ORDERS = 24


def good_words(good: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Ways to use a mask, the safest first: the words to count on `[core, neuron, word]`, and the halves of the tags.

    Words good for all tags; then all words good for one half, with tags of that half; then every word that is good for
    anything, with the halves shared out.
    """
    if good.ndim == 3:
        yield good, (0, 1)
        return
    yield good.all(axis=3), (0, 1)
    yield good[..., 0], (0,)
    yield good[..., 1], (1,)
    yield good.any(axis=3), (0, 1)


def place(needed: Sequence[np.ndarray], available: np.ndarray) -> list[np.ndarray] | None:
    """A core and a neuron for every neuron of every part, int64 `[neurons, 2]` each; None where they do not fit.

    needed: words that the neurons of a part need, parts never share a core. available: `[core, neuron]`. Within a core
    the neuron with the most synapses gets the place with the most words; all orders of up to four cores are tried.
    """
    biggest_first = np.argsort([-words.size for words in needed], kind="stable")
    for order in islice(permutations(range(available.shape[0])), _ORDERS):
        cores, found = iter(order), {}
        for part in biggest_first:
            found[part] = _fill(needed[part], cores, available)
            if found[part] is None:
                break
        else:
            return [found[part] for part in range(len(needed))]
    return None


def _fill(needed: np.ndarray, cores: Iterator[int], available: np.ndarray) -> np.ndarray | None:
    placed = np.empty((needed.size, 2), np.int64)
    left = np.argsort(-needed, kind="stable")
    while left.size:
        core = next(cores, None)
        if core is None:
            return None
        slots, later, taken = np.argsort(-available[core], kind="stable"), [], 0
        for neuron in left:
            if taken < slots.size and available[core, slots[taken]] >= needed[neuron]:
                placed[neuron] = core, slots[taken]
                taken += 1
            else:
                later.append(neuron)
        left = np.array(later, np.int64)
    return placed


def share_halves(sources: np.ndarray, places: np.ndarray, good: np.ndarray, count: int) -> np.ndarray:
    """The half of the tags for every source, int64 `[count]`: where its targets have the most words left.

    sources, places: of every synapse its source and its target, as a row of `good [place, word, 2]`.
    """
    low, high = (good[..., half].sum(axis=1) for half in (0, 1))
    slack = np.stack([low, high])
    half = np.zeros(count, np.int64)
    order = np.argsort(sources, kind="stable")
    starts = np.searchsorted(sources[order], np.arange(count + 1))
    for source in np.argsort(starts[:-1] - starts[1:], kind="stable"):
        targets = places[order[starts[source]:starts[source + 1]]]
        if targets.size:
            half[source] = int(slack[1, targets].min() > slack[0, targets].min())
            np.subtract.at(slack[half[source]], targets, 1)
    return half


def give_tags(reach: np.ndarray, half: np.ndarray | None, tags: int) -> np.ndarray | None:
    """The smallest tag of each source that is free in all cores it reaches, int64 `[source]`, -1 where it reaches none.

    reach: bool `[source, core]`. half: which half of the tags each source must be from, or None. Gives None where the
    tags run out.
    """
    taken = np.zeros((reach.shape[1], tags), bool)
    given = np.full(reach.shape[0], -1, np.int64)
    for source in np.flatnonzero(reach.any(axis=1)):
        first, last = (0, tags) if half is None else (half[source] * (tags // 2), (half[source] + 1) * (tags // 2))
        free = np.flatnonzero(~taken[reach[source], first:last].any(axis=0))
        if not free.size:
            return None
        given[source] = first + free[0]
        taken[reach[source], given[source]] = True
    return given


def give_words(places: np.ndarray, tags: np.ndarray, good: np.ndarray, total: int) -> np.ndarray | None:
    """A good word for each synapse, int64 `[synapse]`; None where some neuron has not enough.

    places: rows of `good [place, word]` or `[place, word, 2]`; tags: of the synapses, below `total`. Words that are
    good for one half only are taken first, so that those good for both are left for either.
    """
    words = np.full(places.size, -1, np.int64)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(good.shape[0] + 1))
    for place_ in np.flatnonzero(np.diff(starts)):
        here = order[starts[place_]:starts[place_ + 1]]
        if good.ndim == 2:
            groups, both = [(here, np.empty(0, np.int64))], np.flatnonzero(good[place_])
        else:
            high = tags[here] >= total // 2
            low_only, high_only = (np.flatnonzero(good[place_, :, h] & ~good[place_, :, 1 - h]) for h in (0, 1))
            groups, both = [(here[~high], low_only), (here[high], high_only)], np.flatnonzero(good[place_].all(axis=1))
        for synapses, own in groups:
            first = synapses[:own.size]
            words[first] = own[:first.size]
            rest = synapses[own.size:]
            if rest.size > both.size:
                return None
            words[rest], both = both[:rest.size], both[rest.size:]
    return words
