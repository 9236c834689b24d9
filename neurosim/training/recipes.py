"""The recipes by name.

    standard, dropout, forward_noise        one pass: the task, silenced neurons, noise on the parameters
    adversarial, hybrid                     resist an attack on the parameters; the same with noise
    awp, amp                                the gradient of an attacked place
    sam, asam, abcd, entropy_sgd            flat minima
    robust                                  ours
"""

from __future__ import annotations

from dataclasses import fields

from neurosim.errors import NeurosimError, did_you_mean
from neurosim.training.attack_recipes import AMP, AWP, Adversarial, Hybrid
from neurosim.training.flat_recipes import ABCD, ASAM, SAM, EntropySGD
from neurosim.training.noise_recipes import Dropout, ForwardNoise, Standard
from neurosim.training.recipe import Recipe
from neurosim.training.robust_recipe import Robust

RECIPES: dict[str, type[Recipe]] = {
    "standard": Standard, "dropout": Dropout, "forward_noise": ForwardNoise, "adversarial": Adversarial,
    "hybrid": Hybrid, "awp": AWP, "amp": AMP, "sam": SAM, "asam": ASAM, "abcd": ABCD, "entropy_sgd": EntropySGD,
    "robust": Robust,
}


def make_recipe(name: str, **settings: object) -> Recipe:
    """A recipe by its name, with settings in the place of its defaults.

    Raises
    ------
    NeurosimError
        There is no such recipe or setting, or the value is none that it may have.

    >>> make_recipe("hybrid", beta=0.2)
    Hybrid(beta=0.2, size=0.1, steps=10, start=0.001, distance='kl', restarts=1, eta=0.3)
    """
    if name not in RECIPES:
        raise NeurosimError(f"there is no recipe {name!r}", where="train", allowed=", ".join(RECIPES),
                            hint=did_you_mean(name, list(RECIPES)))
    known = settings_of(name)
    for setting in settings:
        if setting not in known:
            raise NeurosimError(f"there is no setting {setting!r}", where=f"recipe {name}",
                                allowed=", ".join(known) or "none", hint=did_you_mean(setting, known) if known else "")
    return RECIPES[name](**settings)


def settings_of(name: str) -> list[str]:
    """The names of a recipe's settings; none, if there is no such recipe."""
    return [setting.name for setting in fields(RECIPES[name])] if name in RECIPES else []


def name_of(recipe: Recipe) -> str:
    """The name a recipe goes by; that of its class for one that is not listed."""
    return next((name for name, listed in RECIPES.items() if listed is type(recipe)), type(recipe).__name__)
