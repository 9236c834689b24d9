"""Small NIR graphs, inputs and a loop over time: shared by the tests of NIR."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import nir
import numpy as np

import neurosim as ns
from neurosim.network.forward import run

TIMES, BATCH = 100, 3
WEIGHT = np.random.default_rng(1).normal(0, 0.7, (4, 4))
ODD = np.random.default_rng(2).uniform(0.5, 0.99, 4)
Step = Callable[[np.ndarray], np.ndarray]


def random_spikes(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((TIMES, BATCH, *shape)) < 0.4).astype(np.float64)


def run_all(network: ns.Network, inputs: np.ndarray) -> np.ndarray:
    """The output over all steps, in float64."""
    return run(network, inputs, dtype=np.float64).output


def follow(step: Step, inputs: np.ndarray) -> np.ndarray:
    return np.stack([step(now) for now in inputs])


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...] = (4,), type_check: bool = True, **metadata: object
           ) -> nir.NIRGraph:
    """A chain of nodes called n0, n1, ..."""
    named = {"input": nir.Input(np.array(shape)), **{f"n{i}": node for i, node in enumerate(nodes)},
             "output": nir.Output(None)}
    names = list(named)
    return nir.NIRGraph(named, list(pairwise(names)), dict(metadata), type_check=type_check)


def lif_node(n: int = 4, **fields: float) -> nir.LIF:
    given = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.2, "v_reset": 0.0, **fields}
    return nir.LIF(**{name: np.full(n, value) for name, value in given.items()})
