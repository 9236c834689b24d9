"""The parts of a crossbar's nodal equations that are no BLAS: word lines eliminated, bit lines as chains.

A tile has m rows (word lines) and n columns (bit lines) of devices g. Segment conductances: `row[i, j]` leads into cell
(i, j) from the driver's side, `column[i, j]` out of it towards the sense amplifier. All arrays float64, C-ordered.

Nothing is subtracted: a node's diagonal is never formed from conductances that lie decades apart and then taken apart
again, but what lies behind a segment is added in series, and what is joined at a node in parallel. So digits are not
lost where a good wire hangs on a bad device (the idea of Grassmann, Taksar, Heyman, Oper. Res. 33, 1107 (1985)).
"""

from __future__ import annotations

from neurosim.engine.compiling import kernel, part


@part
def _series(a, b):
    return a * b / (a + b) if a > 0.0 else 0.0


@part
def _over(a, b):
    return a / b if b > 0.0 else 0.0


@kernel
def eliminate_word_line(g, row, behind, ahead, inverse, above, held, below, schur, drive):
    """A row of cells after its word line, and the bit-line rows before it, are eliminated: the matrix of its bit nodes.

    The word line's matrix is ``T + D`` with T the chain of `row` (driver at its head) and D = diag(g); with P its
    inverse the bit-line nodes of this row see ``D - D P D``, and

        ``schur = diag(above + below) + D - D P D - diag(above) inverse diag(above)``

    with `inverse` that of the row before (only lower triangles are read and written). Its entries off the diagonal are
    all negative; the diagonal is their sum, and what holds the node besides: ``drive = D P row[0] e_0`` (the
    driver, as ``(D - D P D) 1 = drive``), `held` (the drivers of the rows before) and `below`. P is written with the
    conductances seen from each node, `behind` it (towards the driver) and `ahead`,

        ``P[j, j] = 1 / (behind_j + g_j + ahead_j)``,  ``P[k, j] = P[k-1, j] row[k] / (row[k] + g_k + ahead_k)``, k > j
    """
    n = g.size
    for j in range(n):
        behind[j] = row[0] if j == 0 else _series(row[j], behind[j - 1] + g[j - 1])
    for j in range(n - 1, -1, -1):
        ahead[j] = 0.0 if j + 1 == n else _series(row[j + 1], g[j + 1] + ahead[j + 1])
    for j in range(n):
        schur[j, j] = 0.0
    for j in range(n):
        value = _over(1.0, behind[j] + g[j] + ahead[j])
        if j == 0:
            drive[0] = row[0] * value * g[0]
        for k in range(j + 1, n):
            value *= _over(row[k], row[k] + g[k] + ahead[k])
            if j == 0:
                drive[k] = row[0] * value * g[k]
            joint = g[k] * value * g[j] + above[k] * inverse[k, j] * above[j]
            schur[k, j] = -joint
            schur[j, j] += joint
            schur[k, k] += joint
    for j in range(n):
        schur[j, j] += drive[j] + held[j] + below[j]
        if schur[j, j] == 0.0:  # a node without any conductance stands at 0 V
            schur[j, j] = 1.0


@kernel
def solve_chains(g, below, right, held, out):
    """Solve the chain of every bit line for its voltages: ``(C + D) out = right``, all `[m, n]`.

    C: the chain of `below`, open at its head, ending in ground; D = diag(g). A node without any conductance stands
    at 0 V. held: scratch `[m, n]`, what holds a node from itself and from above.
    """
    m, n = g.shape
    for i in range(m):
        for j in range(n):
            held[i, j] = g[i, j] + (_series(below[i - 1, j], held[i - 1, j]) if i > 0 else 0.0)
            before = _over(below[i - 1, j], held[i - 1, j] + below[i - 1, j]) * out[i - 1, j] if i > 0 else 0.0
            out[i, j] = right[i, j] + before
    for i in range(m - 1, -1, -1):
        for j in range(n):
            after = below[i, j] * out[i + 1, j] if i + 1 < m else 0.0
            out[i, j] = _over(out[i, j] + after, held[i, j] + below[i, j])


@kernel
def solve_word_lines(g, row, right, held, out):
    """Solve every word line for several right sides, ``(T + D) out = right``: g, row, held (scratch) `[m, n]`; right,
    out `[m, n, batch]`."""
    m, n = g.shape
    for i in range(m):
        for j in range(n):
            held[i, j] = g[i, j] + (row[i, 0] if j == 0 else _series(row[i, j], held[i, j - 1]))
            share = _over(row[i, j], held[i, j - 1] + row[i, j]) if j > 0 else 0.0
            for b in range(right.shape[2]):
                out[i, j, b] = right[i, j, b] + (share * out[i, j - 1, b] if j > 0 else 0.0)
        for j in range(n - 1, -1, -1):
            after = row[i, j + 1] if j + 1 < n else 0.0
            for b in range(right.shape[2]):
                beyond = after * out[i, j + 1, b] if j + 1 < n else 0.0
                out[i, j, b] = _over(out[i, j, b] + beyond, held[i, j] + after)
