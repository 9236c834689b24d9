"""What an attack makes large and robust training makes small: how far the attacked logits are from the clean ones.

Each is `distance(clean, attacked, labels) -> scalar` with logits `[batch, class]`, p = softmax(clean) and
q = softmax(attacked), averaged over the batch. The published runs have ``KL(p || q)`` (Buechel, Faber and Muir, ICLR
2022; after TRADES, Zhang et al., ICML 2019), in their code with q not below 1e-6: that is `kl_floor`. `kl` needs no
floor, as it takes the logarithm of the softmax itself, and still has a gradient where q is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy, log_softmax, softmax

from neurosim.errors import NeurosimError, did_you_mean

Distance = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def kl(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """``KL(p || q) = sum_c p (log p - log q)``.

    >>> round(kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]])).item(), 4)
    0.1438
    """
    log_p, log_q = log_softmax(clean, dim=1), log_softmax(attacked, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def kl_floor(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """``KL(p || max(q, 1e-6))``, as published.

    >>> round(kl_floor(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]])).item(), 4) == round(math.log(1e6), 4)
    True
    """
    log_p, q = log_softmax(clean, dim=1), softmax(attacked, dim=1)
    return (log_p.exp() * (log_p - q.clamp(min=1e-6).log())).sum(dim=1).mean()


def reverse_kl(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """``KL(q || p)``."""
    return kl(attacked, clean)


def js(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """Jensen and Shannon's ``(KL(p || m) + KL(q || m)) / 2``, m = (p + q) / 2; log 2 at most."""
    log_p, log_q = log_softmax(clean, dim=1), log_softmax(attacked, dim=1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1).mean()


def l2(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """Euclidean distance of the logits."""
    return torch.linalg.vector_norm(attacked - clean, dim=1).mean()


def task(clean: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy of the attacked logits with the labels."""
    if labels is None:
        raise NeurosimError("the task's loss needs labels", where="attack", hint="give labels, or another loss")
    return cross_entropy(attacked, labels)


DISTANCES: dict[str, Distance] = {
    "kl": kl, "kl_floor": kl_floor, "reverse_kl": reverse_kl, "js": js, "l2": l2, "task": task}


def distance(name: str) -> Distance:
    """The distance of a name.

    Raises
    ------
    NeurosimError
        There is none of this name.
    """
    if name not in DISTANCES:
        raise NeurosimError(f"there is no loss {name!r}", where="attack", allowed=", ".join(DISTANCES),
                            hint=did_you_mean(name, list(DISTANCES)))
    return DISTANCES[name]
