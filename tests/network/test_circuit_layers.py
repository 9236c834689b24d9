"""DPINeuron: what it refuses, what shapes it has, that files and hashes keep it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import neurosim as ns
from neurosim.errors import NeurosimError

WEIGHT = np.full((3, 2), 1e-9)


def network(layer: ns.DPINeuron, width: int = 2) -> ns.Network:
    return ns.Network.sequential([layer], (width,), dt=1e-3)


def test_shapes_follow_the_weights() -> None:
    layer = ns.DPINeuron(weight_ampa=WEIGHT, recurrent_gaba=np.zeros((3, 3)), i_dc=[1e-12, 2e-12, 3e-12])
    assert network(layer).output_shape == (3,)
    assert layer.synapses() == ("ampa", "gaba")
    assert layer.inputs == 2
    assert network(ns.DPINeuron(), 5).output_shape == (5,)
    assert ns.DPINeuron().inputs is None


@pytest.mark.parametrize(("fields", "message"), [
    ({"weight_ampa": -WEIGHT}, "weight_ampa reaches down to -1e-09"),
    ({"weight_ampa": WEIGHT, "weight_gaba": np.zeros((4, 2))}, r"weights of shapes weight_ampa \[3, 2\]"),
    ({"weight_ampa": WEIGHT, "recurrent_ampa": np.zeros((2, 2))}, "weights of shapes"),
    ({"weight_ampa": WEIGHT, "c_mem": np.full(2, 1e-12)}, r"c_mem has shape \[2\], its population \[3\]"),
    ({"c_mem": 0.0}, "c_mem reaches down to 0"),
    ({"i_dc": np.nan}, "i_dc holds NaN"),
    ({"i_reset": 1e-6}, "i_reset is not below i_threshold"),
    ({"feedback": "quadratic"}, "feedback is 'quadratic'"),
    ({"synapse_model": "euler"}, "synapse_model is 'euler'"),
    ({"temperature": 27.0}, "temperature is 27"),
    ({"kappa": 1.5}, "kappa is 1.5"),
    ({"noise_seed": -1}, "noise_seed is -1"),
])
def test_refusals(fields: dict[str, object], message: str) -> None:
    with pytest.raises(NeurosimError, match=message):
        ns.DPINeuron(**fields)


@pytest.mark.parametrize(("layer", "width", "message"), [
    (ns.DPINeuron(weight_ampa=WEIGHT), 3, "takes 2 inputs"),
    (ns.DPINeuron(recurrent_ampa=np.zeros((3, 3))), 2, "3 neurons without input weights"),
    (ns.DPINeuron(i_dc=[1e-12, 1e-12]), 3, r"i_dc has shape \[2\]"),
])
def test_a_network_that_does_not_fit_is_refused(layer: ns.DPINeuron, width: int, message: str) -> None:
    with pytest.raises(NeurosimError, match=message):
        network(layer, width)


def test_a_file_keeps_it(tmp_path: Path) -> None:
    wanted = network(ns.DPINeuron(weight_nmda=WEIGHT, feedback="product", kappa=0.7, noise_seed=2**63))
    wanted.save(tmp_path / "net.h5")
    found = ns.Network.load(tmp_path / "net.h5")
    assert found.hash == wanted.hash
    assert found["dpineuron"].settings() == wanted["dpineuron"].settings()
