"""Weights of a core as a few currents: what a synapse of a DYNAP-SE class chip can be.

Two ways of making a weight. *mask*: a synapse adds up some of the core's base currents, ``w = sum_j m_j b_j``, m_j 0
or 1: with four base currents 16 sums. *repeat*: a synapse is written n times, ``w = n b``. Both are small problems, and
are solved as such: for given currents the nearest sum of each weight is exact (`masks_of`); the currents themselves
are found by least squares in turn with it, from many starts, then code by code on the chip's own table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STARTS, _MORE, _ROUNDS, _KEPT, _NEIGHBOURS = 96, 3000, 40, 6, 48


def masks_of(weights: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """The mask of base currents whose sum is nearest to each weight, uint8, in the shape of `weights`.

    Bit j stands for `bases[j]`. Of equal distances the smaller sum counts.

    >>> masks_of(np.array([0.0, 1.1, 2.6, 9.0]), np.array([1.0, 2.0])).tolist()
    [0, 1, 3, 3]
    """
    sums = _bits(bases.size) @ bases
    order = np.argsort(sums, kind="stable")
    edges = (sums[order][1:] + sums[order][:-1]) / 2
    return order[np.searchsorted(edges, weights)].astype(np.uint8)


def _bits(bases: int) -> np.ndarray:
    """`[2^bases, bases]` of 0 and 1: row m is mask m."""
    return (np.arange(1 << bases)[:, None] >> np.arange(bases) & 1).astype(np.float64)


@dataclass(frozen=True)
class _Weights:
    """Sorted weights, their running sums `[weight + 1]`, and the sum of their squares."""

    sorted: np.ndarray
    sums: np.ndarray
    square: float


def _in_order(weights: np.ndarray) -> _Weights:
    ordered = np.sort(np.asarray(weights, np.float64).reshape(-1))
    return _Weights(ordered, np.concatenate([[0.0], np.cumsum(ordered)]), float(np.sum(ordered**2)))


def _assign(weights: _Weights, bases: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For sets of currents `[set, base]`: how many weights each mask gets and their sum `[set, mask]`, and the squared
    error `[set]`; of each set in 2^bases log(weights)."""
    sums = bases @ _bits(bases.shape[1]).T
    order = np.argsort(sums, axis=1, kind="stable")
    ordered = np.take_along_axis(sums, order, 1)
    cuts = np.searchsorted(weights.sorted, (ordered[:, 1:] + ordered[:, :-1]) / 2)
    ends = np.zeros((sums.shape[0], 1), np.int64)
    cuts = np.concatenate([ends, cuts, ends + weights.sorted.size], axis=1)
    counts, totals = np.empty_like(sums), np.empty_like(sums)
    np.put_along_axis(counts, order, np.diff(cuts, axis=1).astype(np.float64), 1)
    np.put_along_axis(totals, order, np.diff(weights.sums[cuts], axis=1), 1)
    error = weights.square + (counts * sums**2 - 2 * totals * sums).sum(1)
    return counts, totals, error


def fit_bases(weights: np.ndarray, currents: np.ndarray, bases: int = 4) -> np.ndarray:
    """Indices into `currents` of the base currents that make the weights best, int64 `[bases]`, in rising current.

    Parameters
    ----------
    weights:
        Magnitudes, any shape, 0 or more, in the unit of `currents`. What is nearer to 0 than to any sum gets mask 0: no
        synapse.
    currents:
        What a base current can be, `[code]`, in any order, not negative.
    bases:
        How many base currents a core has.

    The squared error ``sum_i (w_i - sum_j m_ij b_j)^2`` is made small in three steps: least squares for b with the
    masks held, the nearest masks with b held, in turn, from 96 or more starts that do not depend on chance; the best
    go to the nearest of the currents; then one base at a time moves among its nearest codes until no move helps.
    """
    found = _in_order(weights)
    largest = found.sorted[-1] if found.sorted.size else 0.0
    order = np.argsort(currents, kind="stable")
    ladder = np.asarray(currents, np.float64)[order]
    if largest <= 0:
        return order[:bases]
    few = max(1, min(_MORE // _STARTS, 4096 // found.sorted.size))  # a small problem can afford more starts
    fitted = _least_squares(found, _starts(found.sorted, bases, few * _STARTS), ladder[-1])
    rungs = np.searchsorted((ladder[1:] + ladder[:-1]) / 2, np.sort(fitted, axis=1))
    rungs = np.unique(rungs, axis=0)
    rungs = rungs[np.argsort(_assign(found, ladder[rungs])[2], kind="stable")]
    best, least = None, np.inf
    for start in rungs[:min(few, 4) * _KEPT]:
        codes, error = _on_the_ladder(found, ladder, start)
        if error < least:
            best, least = codes, error
    return order[np.sort(best)]


def _starts(ordered: np.ndarray, bases: int, starts: int) -> np.ndarray:
    """Sets of currents to begin with: powers of a ratio below the largest weight, quantiles of the weights, and, where
    there are more starts, the currents that make some of the weights exactly with some masks."""
    ratios = np.linspace(1.15, 2.6, _STARTS // 2)
    powers = ratios[:, None] ** np.arange(bases)
    powers *= (ordered[-1] / powers.sum(1))[:, None]
    points = _even_points(_STARTS - ratios.size, bases)
    quantiles = ordered[(points * ordered.size).astype(np.int64)]
    quantiles[1::2] *= points[1::2, ::-1]  # half of them: parts of weights, where weights are sums
    points = _even_points(starts - _STARTS, 2 * bases)
    different = np.unique(ordered)
    chosen = different[(points[:, :bases] * different.size).astype(np.int64)]
    masks = _bits(bases)[1 + (points[:, bases:] * ((1 << bases) - 1)).astype(np.int64)]  # [start, weight, base]
    normal = np.einsum("sni,snj->sij", masks, masks) + 1e-6 * np.eye(bases)
    made = np.linalg.solve(normal, np.einsum("sni,sn->si", masks, chosen)[..., None])[..., 0]
    found = np.concatenate([powers, quantiles, made])
    return np.clip(found, ordered[-1] * 1e-3, ordered[-1])


def _even_points(count: int, dimensions: int) -> np.ndarray:
    """Points that fill the unit cube evenly: Kronecker's sequence on the root of x^(d+1) = x + 1, `[count, d]`."""
    root = np.roots([1.0, *[0.0] * (dimensions - 1), -1.0, -1.0]).real.max()
    return (0.5 + np.arange(1, count + 1)[:, None] * root ** -np.arange(1.0, dimensions + 1)) % 1


def _least_squares(found: _Weights, bases: np.ndarray, largest: float) -> np.ndarray:
    """Lloyd's two steps in turn for all starts at once; the sets of currents, best first."""
    bits = _bits(bases.shape[1])
    pairs = bits[:, :, None] * bits[:, None, :]
    best, least = bases, np.full(bases.shape[0], np.inf)
    for _ in range(_ROUNDS):
        counts, totals, error = _assign(found, bases)
        better = error < least * (1 - 1e-12)
        if not better.any():
            break
        best, least = np.where(better[:, None], bases, best), np.where(better, error, least)
        # a base that no weight uses stays where it is: a small pull towards the last value
        pull = 1e-9 * counts.sum(1)[:, None]
        matrix = np.tensordot(counts, pairs, 1) + pull[:, :, None] * np.eye(bases.shape[1])
        right = totals @ bits + pull * bases
        bases = np.clip(np.linalg.solve(matrix, right[:, :, None])[:, :, 0], 0.0, largest)
    return best[np.argsort(least, kind="stable")]


def _on_the_ladder(found: _Weights, ladder: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, float]:
    """One base at a time to its best code nearby, until none moves."""
    codes, error = codes.copy(), np.inf
    while True:
        before = error
        for j in range(codes.size):
            near = np.arange(max(0, codes[j] - _NEIGHBOURS // 2), min(ladder.size, codes[j] + _NEIGHBOURS // 2 + 1))
            trial = np.repeat(ladder[codes][None], near.size, axis=0)
            trial[:, j] = ladder[near]
            errors = _assign(found, trial)[2]
            if errors.min() < error:
                error, codes[j] = float(errors.min()), near[errors.argmin()]
        if not error < before:
            return codes, error


def fit_repeats(weights: np.ndarray, most: int) -> tuple[float, np.ndarray]:
    """One current b and whole numbers n such that ``n b`` is nearest to the weights; each row sums to `most` or less.

    weights: magnitudes `[neuron, synapse]`. Returns b and n, int64 `[neuron, synapse]`.

    Exact among roundings: as b falls, one n after the other rises by one, at ``b = w / (n + 1/2)``; for given n the
    best b is ``sum n w / sum n^2``, the squared error ``sum w^2 - (sum n w)^2 / sum n^2``; all are tried in order.
    """
    flat = np.asarray(weights, np.float64).reshape(-1)
    if not flat.size or flat.max() <= 0:
        return 0.0, np.zeros(np.shape(weights), np.int64)
    used = np.flatnonzero(flat > 0)
    step = np.arange(1, most + 1)
    at = (flat[used, None] / (step - 0.5)).reshape(-1)
    order = np.argsort(-at, kind="stable")
    gain_w = np.repeat(flat[used], most)[order]
    gain_n = np.tile(2 * step - 1, used.size)[order].astype(np.float64)
    row = np.repeat(used // np.shape(weights)[-1], most)[order]
    taken = np.empty(order.size, np.int64)  # how many words the neuron of this entry has then
    for neuron in np.unique(row):
        here = row == neuron
        taken[here] = np.arange(1, here.sum() + 1)
    over = np.flatnonzero(taken > most)
    end = over[0] if over.size else order.size
    score = np.cumsum(gain_w[:end]) ** 2 / np.cumsum(gain_n[:end])
    last = int(np.flatnonzero(score >= score.max() * (1 - 1e-9))[0])  # of equal ones that with the fewest words
    counts = np.bincount(np.repeat(used, most)[order[:last + 1]], minlength=flat.size)
    base = float(counts @ flat / np.sum(counts.astype(np.float64) ** 2))
    return base, counts.reshape(np.shape(weights))
