"""The torch bridge: models, recipes and the trainer. Torch is imported when a name below is first used.

Takes plain arrays; knows no task, no deployment, no file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_WHERE = {
    "CNN": "neurosim.training.cnn",
    **dict.fromkeys(("CircuitNetwork", "circuit_network"), "neurosim.training.circuit"),
    **dict.fromkeys(("LIF", "AdaptiveLIF", "CubaLIF", "LeakyIntegrator"), "neurosim.training.layers"),
    "DPINeuron": "neurosim.training.dpi",
    **dict.fromkeys(("SpikingNetwork", "Sum"), "neurosim.training.assembly"),
    "Surrogate": "neurosim.training.surrogates",
    **dict.fromkeys(("LSNN", "SpikingMLP", "spiking_mlp"), "neurosim.training.models"),
    **dict.fromkeys(("as_network", "to_network"), "neurosim.training.export"),
    **dict.fromkeys(("Attack", "attack", "robust_distance", "robust_loss"), "neurosim.training.attacks"),
    **dict.fromkeys(("Vulnerability", "vulnerability"), "neurosim.training.vulnerable"),
    **dict.fromkeys(("Landscape", "landscape"), "neurosim.training.landscapes"),
    **dict.fromkeys(("Within", "moved"), "neurosim.training.deviations"),
    "Objective": "neurosim.training.objective",
    **dict.fromkeys(("AMP", "AWP", "Adversarial", "Hybrid"), "neurosim.training.attack_recipes"),
    **dict.fromkeys(("ABCD", "ASAM", "EntropySGD", "SAM"), "neurosim.training.flat_recipes"),
    **dict.fromkeys(("Dropout", "ForwardNoise", "Standard"), "neurosim.training.noise_recipes"),
    "Robust": "neurosim.training.robust_recipe",
    **dict.fromkeys(("RECIPES", "make_recipe"), "neurosim.training.recipes"),
    **dict.fromkeys(("Moment", "Recipe"), "neurosim.training.recipe"),
    **dict.fromkeys(("OnChip", "Placement"), "neurosim.training.on_chip"),
    **dict.fromkeys(("Trained", "train"), "neurosim.training.trainer"),
    **dict.fromkeys(("CIRCUITS", "DEFAULTS", "Defaults", "build", "build_circuit", "circuit_defaults"),
                    "neurosim.training.defaults"),
}
__all__ = [
    "ABCD",
    "AMP",
    "ASAM",
    "AWP",
    "CIRCUITS",
    "CNN",
    "DEFAULTS",
    "LIF",
    "LSNN",
    "RECIPES",
    "SAM",
    "AdaptiveLIF",
    "Adversarial",
    "Attack",
    "CircuitNetwork",
    "CubaLIF",
    "DPINeuron",
    "Defaults",
    "Dropout",
    "EntropySGD",
    "ForwardNoise",
    "Hybrid",
    "Landscape",
    "LeakyIntegrator",
    "Moment",
    "Objective",
    "OnChip",
    "Placement",
    "Recipe",
    "Robust",
    "SpikingMLP",
    "SpikingNetwork",
    "Standard",
    "Sum",
    "Surrogate",
    "Trained",
    "Vulnerability",
    "Within",
    "as_network",
    "attack",
    "build",
    "build_circuit",
    "circuit_defaults",
    "circuit_network",
    "landscape",
    "make_recipe",
    "moved",
    "robust_distance",
    "robust_loss",
    "spiking_mlp",
    "to_network",
    "train",
    "vulnerability",
]

if TYPE_CHECKING:
    from neurosim.training.assembly import SpikingNetwork, Sum
    from neurosim.training.attack_recipes import AMP, AWP, Adversarial, Hybrid
    from neurosim.training.attacks import Attack, attack, robust_distance, robust_loss
    from neurosim.training.circuit import CircuitNetwork, circuit_network
    from neurosim.training.cnn import CNN
    from neurosim.training.defaults import CIRCUITS, DEFAULTS, Defaults, build, build_circuit, circuit_defaults
    from neurosim.training.deviations import Within, moved
    from neurosim.training.dpi import DPINeuron
    from neurosim.training.export import as_network, to_network
    from neurosim.training.flat_recipes import ABCD, ASAM, SAM, EntropySGD
    from neurosim.training.landscapes import Landscape, landscape
    from neurosim.training.layers import LIF, AdaptiveLIF, CubaLIF, LeakyIntegrator
    from neurosim.training.models import LSNN, SpikingMLP, spiking_mlp
    from neurosim.training.noise_recipes import Dropout, ForwardNoise, Standard
    from neurosim.training.objective import Objective
    from neurosim.training.on_chip import OnChip, Placement
    from neurosim.training.recipe import Moment, Recipe
    from neurosim.training.recipes import RECIPES, make_recipe
    from neurosim.training.robust_recipe import Robust
    from neurosim.training.surrogates import Surrogate
    from neurosim.training.trainer import Trained, train
    from neurosim.training.vulnerable import Vulnerability, vulnerability


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'neurosim.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
