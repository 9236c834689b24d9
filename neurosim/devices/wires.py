"""Wire resistance in a crossbar tile: what the sense amplifiers of a linear tile see, exactly.

A tile has m rows (word lines), driven at their left ends, and n device columns (bit lines), held at 0 V by sense
amplifiers at their lower ends. A segment of wire has a conductance: `row[i, j]` leads into cell (i, j) from the left
(`row[i, 0]` from the driver), `column[i, j]` out of it downwards (`column[m-1, j]` into the amplifier). With device
conductances `g[i, j]` the whole is a linear network, so the currents are ``I = G_eff^T v``: solved once for a die, used
for every input and time step. Infinite conductance is an ideal wire, 0 an open one.

The nodal equations are those of every circuit text (Kirchhoff's current law at 2 m n nodes); eliminating word lines,
then bit-line rows, is block Gaussian elimination: O(m n^3 + m^2 n^2) on dense BLAS. `tests/reference/wires_nodal.py`
solves the same network once more, as one sparse system.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import blas, lapack
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from neurosim.engine.wires import eliminate_word_line, solve_chains
from neurosim.errors import NeurosimError


def segments(resistance: float | np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Conductances of wire segments from resistances in ohm, broadcast to `[m, n]`: 0 ohm is inf, inf ohm is 0."""
    resistance = np.asarray(resistance, np.float64)
    if not (resistance >= 0).all():
        raise NeurosimError("a wire segment has a resistance below 0 ohm, or none", where="wires",
                            allowed="0 ohm (ideal) to inf (open)")
    with np.errstate(divide="ignore"):
        return np.ascontiguousarray(np.broadcast_to(1 / resistance, shape))


def effective(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None) -> np.ndarray:
    """Effective conductances `G_eff [m, n]` of a tile with all rows driven, in the unit of g; ``I = G_eff^T v``.

    row, column: segment conductances `[m, n]`; None for ideal wires. With one of them ideal every line of the other is
    a chain of its own (level `column`), else the network is two-sided (level `full`).

    >>> g = np.array([[1.0], [1.0]])
    >>> effective(g, None, np.ones((2, 1)))  # 1 ohm, twice: the lower cell is worth 1 / (1 + 1 || 2) of its current
    array([[0.2],
           [0.4]])
    """
    return _solved(*checked(g, row, column), ports=False)[0]


def with_ports(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """`G_eff [m, n]`, and the port matrix `Y [m, m]` of the drivers: the currents into the rows are ``Y v``."""
    return _solved(*checked(g, row, column), ports=True)


def floating_rows(ports: np.ndarray, v: np.ndarray, driven: np.ndarray) -> np.ndarray:
    """Driver voltages `[m]` when only the rows `driven` (bool `[m]`) are driven and all others are left floating.

    A floating row takes no current, ``Y_off,off v_off + Y_off,on v_on = 0``: what it floats at drives sneak currents
    through its devices. The currents are then ``G_eff^T v`` as ever; they are no linear function of the inputs,
    because which rows float depends on them.
    """
    out = np.where(driven, v, 0.0)
    off = np.flatnonzero(~driven)
    alive = off[np.diag(ports)[off] > 0]  # an open row, or one without devices, stays where it is
    if alive.size and driven.any():
        right = -ports[np.ix_(alive, np.flatnonzero(driven))] @ out[driven]
        out[alive] = np.linalg.solve(ports[np.ix_(alive, alive)], right)
    return out


def gated(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None,
          driven: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """The tile that is left when the access transistors of all rows but `driven` (bool `[m]`) are off.

    A gated row is not there; the segments of the bit lines between the rows that are left add in series.
    """
    rows = np.flatnonzero(driven)
    if column is not None:
        with np.errstate(divide="ignore"):
            series = 1 / column
            series = np.add.reduceat(series, rows, axis=0) if rows.size else series[:0]
            column = 1 / series
    return g[rows], None if row is None else row[rows], column


def without_islands(g: np.ndarray, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same network with all that is connected to no driver and no amplifier taken out: it carries no current.

    Open segments cut wires into pieces; pieces are joined by devices that conduct.
    """
    if (row > 0).all() and (column > 0).all():
        return g, row, column
    m, n = g.shape
    word = np.cumsum((np.arange(n) == 0) | (row == 0), axis=1) - 1 + np.arange(m)[:, None] * n
    bit = np.cumsum((np.arange(m) == 0)[:, None] | (np.vstack([column[:1], column[:-1]]) == 0), axis=0) - 1
    bit = bit + np.arange(n) * m + m * n
    at = g > 0
    outside = 2 * m * n
    driver, sense = word[row[:, 0] > 0, 0], bit[-1, column[-1] > 0]
    a = np.concatenate([word[at], driver, sense])
    b = np.concatenate([bit[at], np.full(driver.size + sense.size, outside)])
    _, part = connected_components(coo_array((np.ones(a.size), (a, b)), shape=(outside + 1,) * 2), directed=False)
    held_word, held_bit = part[word] == part[outside], part[bit] == part[outside]
    return np.where(held_word, g, 0.0), np.where(held_word, row, 0.0), np.where(held_bit, column, 0.0)


def checked(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None) -> tuple[np.ndarray | None, ...]:
    """A tile as the solvers take it: float64, its wires None where they are ideal; refuses what is no tile."""
    g = np.ascontiguousarray(g, np.float64)
    if g.ndim != 2 or not (g >= 0).all() or not np.isfinite(g).all():
        raise NeurosimError("device conductances are no finite matrix of numbers from 0 on", where="wires")
    for name, wire in (("row", row), ("column", column)):
        if wire is not None and (wire.shape != g.shape or not (wire >= 0).all()):
            raise NeurosimError(f"the {name} segments are no conductances of shape {list(g.shape)}", where="wires")
    ideal = [wire is None or bool(np.isinf(wire).all()) for wire in (row, column)]
    for name, wire, all_ideal in (("row", row, ideal[0]), ("column", column, ideal[1])):
        if not all_ideal and np.isinf(wire).any():
            raise NeurosimError(f"some {name} segments have no resistance, others do", where="wires",
                                allowed="0 ohm for all segments of a direction, or for none")
    return g, *(None if none else np.ascontiguousarray(wire, np.float64)
                for wire, none in zip((row, column), ideal, strict=True))


def _solved(g: np.ndarray, row: np.ndarray | None, column: np.ndarray | None,
            ports: bool) -> tuple[np.ndarray, np.ndarray]:
    m, n = g.shape
    if 0 in g.shape or (row is None and column is None):
        return g.copy(), np.diag(g.sum(axis=1)) if ports else np.empty((0, 0))
    if row is None:
        return _bit_lines(g, column, ports)
    if column is None:
        # every word line is a chain: the same with the roles exchanged, read from the amplifiers' side
        found = np.ascontiguousarray(_turned(_bit_lines(_turned(g), _turned(row), False)[0]))
        return found, np.diag(found.sum(axis=1)) if ports else np.empty((0, 0))
    g, row, column = without_islands(g, row, column)
    if not ports and m < n:
        # by reciprocity drivers and amplifiers may change places: the blocks then are m x m
        return np.ascontiguousarray(_turned(_two_sided(_turned(g), _turned(column), _turned(row), False)[0])), g[:0]
    return _two_sided(g, row, column, ports)


def _turned(matrix: np.ndarray) -> np.ndarray:
    """Rows and columns exchanged, each counted from its other end: drivers become amplifiers."""
    return np.ascontiguousarray(matrix[::-1, ::-1].T)


def _bit_lines(g: np.ndarray, column: np.ndarray, ports: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ideal word lines: a bit line is a chain with a tridiagonal matrix K, ``G_eff = g K^-1 (column_last e_last)``."""
    m, n = g.shape
    right, scratch, out = np.zeros((m, n)), np.empty((m, n)), np.empty((m, n))
    right[-1] = column[-1]
    solve_chains(g, column, right, scratch, out)
    admittance = np.empty((0, 0))
    if ports:  # Y = diag(sum_j g) - sum_j g_j K_j^-1 g_j
        admittance = np.diag(g.sum(axis=1))
        inner = np.empty((m, n))
        for i in range(m):
            right[:] = 0
            right[i] = g[i]
            solve_chains(g, column, right, scratch, inner)
            admittance[i] -= (inner * g).sum(axis=1)
    return g * out, admittance


def _two_sided(g: np.ndarray, row: np.ndarray, column: np.ndarray, ports: bool) -> tuple[np.ndarray, np.ndarray]:
    """Block elimination over the bit-line rows, from the head to the amplifiers.

    After row i, with S its Schur complement, ``carried = S^-1 Z`` are the voltages of its nodes for 1 V at each driver
    so far, the rows below taken away; ``Z = [column S^-1 Z of the row before, drive of row i]``, and the port matrix
    loses ``Z^T S^-1 Z``. In the end ``G_eff = column_last S^-1 Z``; the diagonal of the port matrix follows from the
    currents that leave, which are as large as those that enter (a difference of conductances would lose its digits).
    """
    m, n = g.shape
    behind, ahead, drive = np.empty(n), np.empty(n), np.empty(n)
    inverse, held = np.zeros((n, n)), np.zeros(n)
    carried = np.empty((m, n))  # a driver a line, so that what is carried stays in one piece
    admittance = np.zeros((m, m)) if ports else np.empty((0, 0))
    above = np.zeros(n)
    for i in range(m):
        schur = np.empty((n, n))
        eliminate_word_line(g[i], row[i], behind, ahead, inverse, above, held, column[i], schur, drive)
        carried[:i] *= above
        carried[i] = drive
        if ports:
            before = carried[:i + 1].copy()
        # the lower triangle in C order is the upper one to LAPACK; its view needs no copy
        factor, info = lapack.dpotrf(schur.T, lower=0, clean=0, overwrite_a=1)
        if info == 0:  # together these are dpotri, of which OpenBLAS has a slower one
            factor, info = lapack.dtrtri(factor, lower=0, overwrite_c=1)
            factor, _ = lapack.dlauum(factor, lower=0, overwrite_c=1)
        if info:
            raise NeurosimError(f"the equations of a tile are singular at row {i}", where="wires",
                                hint="conductances and wire resistances lie too many decades apart")
        inverse = factor.T
        held = column[i] * blas.dsymv(1.0, factor, drive + held, lower=0)
        carried[:i + 1] = blas.dsymm(1.0, factor, carried[:i + 1].T, side=0, lower=0).T
        if ports:
            admittance[:i + 1, :i + 1] -= before @ carried[:i + 1].T
        above = column[i]
    found = carried * above
    if ports:
        np.fill_diagonal(admittance, 0)
        np.fill_diagonal(admittance, found.sum(axis=1) - admittance.sum(axis=1))
    return found, admittance
