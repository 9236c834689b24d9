"""How fast are exact wires? The effective conductances of a tile: `devices.wires` against scipy's sparse LU.

One tile of n x n devices, uniform in 0 to 25 uS, wire segments of 0.35 ohm in both directions, one thread, float64. The
job is the whole matrix G_eff. scipy does it with SuperLU, one right-hand side for each amplifier (the cheaper of the
two ways; the assembly of the matrix is not counted). badcrossbar, which solves for given inputs, is given all
unit inputs at once, so that it gives the same matrix. Before anything is timed all must agree within 1e-10.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu
from threadpoolctl import threadpool_limits

from benchmarks import harness
from neurosim.devices.wires import effective, segments

SIZES, QUICK = (64, 128, 256), (64, 128)
LARGEST, RESISTANCE, CLOSE = 25e-6, 0.35, 1e-10


def nodal_matrix(g: np.ndarray, conductance: float) -> csc_array:
    """The equations of the 2 n n nodes; word lines first."""
    m, n = g.shape
    word = np.arange(m * n).reshape(m, n)
    bit = word + m * n
    wire = np.full((m, n), conductance)
    pairs = [(word, bit, g), (word[:, :-1], word[:, 1:], wire[:, 1:]), (bit[:-1], bit[1:], wire[1:])]
    a, b, value = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in range(3))
    ends = np.concatenate([word[:, 0], bit[-1]])
    entries = np.concatenate([value, value, -value, -value, np.full(ends.size, conductance)])
    places = (np.concatenate([a, b, a, b, ends]), np.concatenate([a, b, b, a, ends]))
    return csc_array((entries, places), shape=(2 * m * n,) * 2)


def sparse_lu(matrix: csc_array, m: int, n: int, conductance: float) -> np.ndarray:
    """G_eff by the adjoint equations: one right-hand side for each amplifier."""
    right = np.zeros((2 * m * n, n))
    right[2 * m * n - n + np.arange(n), np.arange(n)] = conductance
    return conductance * splu(matrix).solve(right)[np.arange(m) * n]


def contestants(size: int, with_peer: bool) -> dict[str, Callable[[], np.ndarray]]:
    g = np.random.default_rng(size).uniform(0, LARGEST, (size, size))
    wire = segments(RESISTANCE, g.shape)
    matrix = nodal_matrix(g, 1 / RESISTANCE)
    found: dict[str, Callable[[], np.ndarray]] = {
        "neurosim": lambda: effective(g, wire, wire),
        "scipy_sparse_lu": lambda: sparse_lu(matrix, size, size, 1 / RESISTANCE),
    }
    if with_peer:
        import badcrossbar

        logging.getLogger("badcrossbar").setLevel(logging.WARNING)

        def peer() -> np.ndarray:
            with np.errstate(divide="ignore"):
                solved = badcrossbar.compute(np.eye(size), 1 / g, RESISTANCE, node_voltages=False, all_currents=False)
            return np.asarray(solved.currents.output)

        found["badcrossbar"] = peer
    return found


def measure(quick: bool) -> dict[str, object]:
    missing = harness.missing("badcrossbar", "pathvalidate")  # the second: what the first needs and may lack
    result = {
        "name": "ir_drop", "machine": harness.machine(), "versions": harness.versions("numpy", "scipy", "badcrossbar"),
        "settings": {"threads": 1, "ohm_per_segment": RESISTANCE, "siemens": [0.0, LARGEST], "precision": "float64",
                     "rounds": 5}, "results": [], "bars": [], "missing": missing,
    }
    with threadpool_limits(1):
        for size in QUICK if quick else SIZES:
            runs = contestants(size, not missing and size <= 128)
            answers = {name: run() for name, run in runs.items()}
            scale = np.abs(answers["neurosim"]).max()
            error = max(float(np.abs(answer - answers["neurosim"]).max() / scale) for answer in answers.values())
            if error > CLOSE:
                raise SystemExit(f"{size} x {size}: the solutions differ by {error:.1e}: nothing to compare")
            times = harness.seconds(runs, 5)
            entry = {"size": size, "largest_difference": error}
            entry["ms"] = {name: harness.spread(found, 1e-3) for name, found in times.items()}
            entry["ratio"] = {name: value["median"] / entry["ms"]["neurosim"]["median"]
                              for name, value in entry["ms"].items()}
            result["results"].append(entry)
            if size == 128:
                result["bars"].append(harness.bar("128 x 128: times faster than scipy's sparse LU",
                                                  entry["ratio"]["scipy_sparse_lu"], at_least=5))
    return result


def table(result: Mapping[str, object]) -> list[list[str]]:
    rows = [["tile", "who", "ms", "least", "largest", "neurosim is faster"]]
    for entry in result["results"]:
        for name, value in entry["ms"].items():
            times = [f"{value[key]:.1f}" for key in ("median", "least", "largest")]
            rows.append([f"{entry['size']} x {entry['size']}", name.replace("_", " "), *times,
                         f"{entry['ratio'][name]:.1f} times"])
    return rows


if __name__ == "__main__":
    sys.exit(harness.run(__doc__, measure, table))
