"""Wire resistance in a tile whose devices do not follow Ohm's law: Newton's method around the linear solution.

The nodes and segments are those of `wires`. A device is two functions of its conductance g and the voltage over it:
`current(g, v)` and `slope(g, v)`, the derivative in v. No effective matrix exists: currents are found for each input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from neurosim.devices.wires import checked, without_islands
from neurosim.engine.wires import eliminate_word_line, solve_chains, solve_word_lines
from neurosim.errors import NeurosimError

Law = Callable[[np.ndarray, np.ndarray], np.ndarray]
_ROUNDS, _CLOSE = 200, 1e-12


@dataclass(frozen=True, eq=False)
class DeviceLaw:
    """The current-voltage curve of a device type: ``current(g, v)`` in A and its derivative ``slope(g, v)`` in S.

    g and v are arrays of one shape. The current must rise with v.
    """

    current: Law
    slope: Law

    def steepest(self, g: np.ndarray, largest: float) -> np.ndarray:
        """The largest slope between -largest and +largest volt, looked for at 33 voltages."""
        return np.max([self.slope(g, np.full_like(g, v)) for v in np.linspace(-largest, largest, 33)], axis=0)


def nonlinear_currents(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None, v: np.ndarray,
                       law: DeviceLaw) -> np.ndarray:
    """Currents into the amplifiers, `[batch, n]` in A, for driver voltages v `[batch, m]` in V; all rows are driven.

    With ideal word lines every input has its own Newton iteration (tridiagonal). With two-sided wires the Jacobian is
    kept at the steepest slope of each device within the applied voltages, so that it is factored once for all inputs:
    as no device is ever steeper, each round takes away a fixed share of the error (simplified Newton method).

    Raises
    ------
    NeurosimError
        No solution within 200 rounds.
    """
    g, row, column = checked(g, row, column)
    v = np.ascontiguousarray(v, np.float64)
    if row is None and column is None:
        across = np.broadcast_to(v[:, :, None], (*v.shape, g.shape[1]))
        return law.current(np.broadcast_to(g, across.shape), across).sum(axis=1)
    if column is None:
        return np.stack([_word_lines(g, row, one, law) for one in v])
    if row is None:
        return np.stack([_chains(g, column, one, law, np.abs(one).max(initial=0))[1] for one in v])
    g, row, column = without_islands(g, row, column)
    return _two_sided(g, row, column, v, law)


def _chains(g: np.ndarray, below: np.ndarray, rail: np.ndarray, law: DeviceLaw,
            scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Chains of nodes, open at the head and ending in 0 V; devices lead into them from `rail`, a voltage a row.

    Gives the voltages over the devices `[m, n]` and the currents out of the chains `[n]`.
    """
    nodes, scratch, step = np.zeros_like(g), np.empty_like(g), np.empty_like(g)
    for _ in range(_ROUNDS):
        across = rail[:, None] - nodes
        down = below * (nodes - np.vstack([nodes[1:], np.zeros((1, g.shape[1]))]))
        residual = law.current(g, across) - down
        residual[1:] += down[:-1]
        solve_chains(law.slope(g, across), below, residual, scratch, step)
        nodes += step
        if np.abs(step).max(initial=0) <= _CLOSE * scale:
            return rail[:, None] - nodes, below[-1] * nodes[-1]
    raise _no_solution()


def _word_lines(g: np.ndarray, row: np.ndarray, v: np.ndarray, law: DeviceLaw) -> np.ndarray:
    """Ideal bit lines: a word line is such a chain, seen from its driver (its 0 V), from its open end to there."""
    seen = DeviceLaw(lambda c, x: -law.current(c, v - x), lambda c, x: law.slope(c, v - x))
    across, _ = _chains(np.ascontiguousarray(g[:, ::-1].T), np.ascontiguousarray(row[:, ::-1].T), np.zeros(g.shape[1]),
                        seen, np.abs(v).max(initial=0))
    return law.current(g, (v - across).T[:, ::-1]).sum(axis=0)


def _two_sided(g: np.ndarray, row: np.ndarray, column: np.ndarray, v: np.ndarray, law: DeviceLaw) -> np.ndarray:
    """Fixed-point form of the simplified Newton step: with K the equations of devices g0, ``K x = source + j``, where
    ``j = g0 u - I(u)`` flows beside each device."""
    steep = law.steepest(g, np.abs(v).max(initial=0))
    solve = _factored(steep, row, column)
    m, n = g.shape
    devices = np.ascontiguousarray(np.broadcast_to(g[:, :, None], (m, n, v.shape[0])))
    beside = np.zeros_like(devices)
    source = (row[:, 0] * v).T
    before = None
    for _ in range(_ROUNDS):
        into = beside.copy()
        into[:, 0] += source
        word, bit = solve(into, -beside)
        across = word - bit
        now = column[-1] * bit[-1].T
        beside = steep[:, :, None] * across - law.current(devices, across)
        scale = np.abs(now).max(initial=0)
        if before is not None and np.abs(now - before).max(initial=0) <= _CLOSE * scale:
            return now
        before = now
    raise _no_solution()


def _factored(g: np.ndarray, row: np.ndarray,
              column: np.ndarray) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A solver of the tile's equations for currents into any node: the elimination of `wires`, its factors kept.

    It takes currents `[m, n, batch]` into word-line and bit-line nodes and gives their voltages.
    """
    m, n = g.shape
    behind, ahead, drive = np.empty(n), np.empty(n), np.empty(n)
    inverse, above, held, factors = np.zeros((n, n)), np.zeros(n), np.zeros(n), []
    for i in range(m):
        schur = np.empty((n, n))
        eliminate_word_line(g[i], row[i], behind, ahead, inverse, above, held, column[i], schur, drive)
        factor, info = lapack.dpotrf(schur.T, lower=0, clean=0)
        if info:
            raise NeurosimError(f"the equations of a tile are singular at row {i}", where="wires")
        inverse = lapack.dpotri(factor, lower=0)[0].T
        held = column[i] * lapack.dpotrs(factor, drive + held, lower=0)[0]
        factors.append(factor)
        above = column[i]

    def solve(word_in: np.ndarray, bit_in: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scratch, word = np.empty((m, n)), np.empty_like(word_in)
        solve_word_lines(g, row, word_in, scratch, word)
        right = bit_in + g[:, :, None] * word
        bit = np.empty_like(right)
        for i in range(m):
            if i:
                right[i] += column[i - 1][:, None] * bit[i - 1]
            bit[i] = lapack.dpotrs(factors[i], right[i], lower=0)[0]
        for i in range(m - 2, -1, -1):
            bit[i] += lapack.dpotrs(factors[i], column[i][:, None] * bit[i + 1], lower=0)[0]
        solve_word_lines(g, row, word_in + g[:, :, None] * bit, scratch, word)
        return word, bit

    return solve


def _no_solution() -> NeurosimError:
    return NeurosimError(f"the currents of a tile were not found in {_ROUNDS} rounds", where="wires",
                         hint="a device's current must rise with its voltage")
