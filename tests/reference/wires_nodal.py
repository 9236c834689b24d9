"""A crossbar's nodal equations as one sparse system, solved by SuperLU: slow, obvious, nothing of neurosim in it.

Nodes: the 2 m n crossings of word lines and bit lines, and m driver terminals where a row may be left floating. Every
conductance between two nodes is stamped as in modified nodal analysis: +G on both diagonals, -G between.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu


def stamped(m, n, g, row, column):
    """The matrix over word nodes i n + j and bit nodes m n + i n + j; drivers and amplifiers are ground."""
    word = np.arange(m * n).reshape(m, n)
    bit = word + m * n
    pairs = [(word, bit, g), (word[:, :-1], word[:, 1:], row[:, 1:]), (bit[:-1], bit[1:], column[:-1])]
    a = np.concatenate([p[0].ravel() for p in pairs])
    b = np.concatenate([p[1].ravel() for p in pairs])
    value = np.concatenate([p[2].ravel() for p in pairs])
    ground = np.concatenate([word[:, 0], bit[-1]])
    to_ground = np.concatenate([row[:, 0], column[-1]])
    i = np.concatenate([a, b, a, b, ground])
    j = np.concatenate([a, b, b, a, ground])
    matrix = csc_array((np.concatenate([value, value, -value, -value, to_ground]), (i, j)), shape=(2 * m * n,) * 2)
    joined = csc_array((np.where(value > 0, 1.0, 0.0), (a, b)), shape=matrix.shape)
    joined.eliminate_zeros()
    count, part = connected_components(joined, directed=False)
    held = np.bincount(part[ground], to_ground, minlength=count) > 0
    if held.all():
        return matrix
    # nodes that nothing holds: where they float does not matter, so one of each island is tied to ground
    first = np.array([np.flatnonzero(part == island)[0] for island in np.flatnonzero(~held)])
    return (matrix + csc_array((np.ones(first.size), (first, first)), shape=matrix.shape)).tocsc()


def refined(lu, v, right, g, row, column):
    """Iterative refinement in long double, the residual from the currents through each conductance: the matrix itself
    has lost the digits of a small conductance that was added to a large one."""
    m, n = g.shape
    v = v.astype(np.longdouble)
    for _ in range(4):
        word, bit = v.reshape(2, m, n, -1)
        into = right.astype(np.longdouble).reshape(2, m, n, -1)
        through = g[:, :, None] * (word - bit)
        into[0] -= through
        into[1] += through
        into[0, :, 0] -= row[:, :1] * word[:, 0]
        along = row[:, 1:, None] * (word[:, :-1] - word[:, 1:])
        into[0, :, :-1] -= along
        into[0, :, 1:] += along
        down = column[:-1, :, None] * (bit[:-1] - bit[1:])
        into[1, :-1] -= down
        into[1, 1:] += down
        into[1, -1] -= column[-1][:, None] * bit[-1]
        v += lu.solve(into.reshape(v.shape).astype(np.float64))
    return v


def nodal(g, row, column):
    """G_eff [m, n] and the port matrix Y [m, m], by one right-hand side for each driver."""
    m, n = g.shape
    lu = splu(stamped(m, n, g, row, column))
    right = np.zeros((2 * m * n, m))
    right[np.arange(m) * n, np.arange(m)] = row[:, 0]
    v = lu.solve(right)
    v = refined(lu, v, right, g, row, column)
    effective = (column[-1][:, None] * v[2 * m * n - n:]).T
    return effective, row[:, :1] * (np.eye(m) - v[np.arange(m) * n])


def effective_by_adjoint(g, row, column):
    """G_eff [m, n] by one right-hand side for each amplifier."""
    m, n = g.shape
    lu = splu(stamped(m, n, g, row, column))
    right = np.zeros((2 * m * n, n))
    right[2 * m * n - n + np.arange(n), np.arange(n)] = column[-1]
    return row[:, :1] * lu.solve(right)[np.arange(m) * n]


def currents(g, row, column, v, driven, off):
    """Currents into the amplifiers for driver voltages v; rows not driven are `grounded`, `floating` or `gated`."""
    m, n = g.shape
    row, g = row.copy(), g.copy()
    if off == "floating":
        row[~driven, 0] = 0
    if off == "gated":
        g[~driven] = 0
    v = np.where(driven, v, 0)
    right = np.zeros(2 * m * n)
    right[np.arange(m) * n] = row[:, 0] * v
    return column[-1] * splu(stamped(m, n, g, row, column)).solve(right)[2 * m * n - n:]


def nonlinear_currents(current, slope, row, column, v, shape, rounds=50):
    """Currents by Newton's method on all nodes; current(u), slope(u): of every device at its voltage [m, n]."""
    m, n = shape
    nothing = stamped(m, n, np.zeros(shape), row, column)
    x = np.zeros(2 * m * n)
    right = np.zeros(2 * m * n)
    right[np.arange(m) * n] = row[:, 0] * v
    for _ in range(rounds):
        u = (x[:m * n] - x[m * n:]).reshape(m, n)
        through = current(u).ravel()
        residual = nothing @ x + np.concatenate([through, -through]) - right
        step = splu(stamped(m, n, slope(u), row, column)).solve(-residual)
        x += step
        if np.abs(step).max() < 1e-14 * max(np.abs(x).max(), 1e-300):
            return column[-1] * x[2 * m * n - n:]
    raise AssertionError("no convergence")
