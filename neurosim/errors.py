"""The one exception that neurosim raises for its user, and nothing else.

It is at the top of the house: every package may import it, it imports none.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real


class NeurosimError(Exception):
    """Something the user can mend: where it is, what was found, what is allowed, what to do.

    Parameters
    ----------
    message:
        What is wrong, in one sentence, with the value that was found.
    where:
        File, key, layer, array or die that it is about; printed in front.
    allowed:
        What would have been accepted.
    hint:
        What to do now.

    >>> print(NeurosimError("0 dies asked for", where="deploy", allowed="1 or more"))
    deploy: 0 dies asked for (allowed: 1 or more)
    """

    def __init__(self, message: str, *, where: str = "", allowed: str = "", hint: str = "") -> None:
        self.message, self.where, self.allowed, self.hint = message, where, allowed, hint
        text = f"{where}: {message}" if where else message
        if allowed:
            text += f" (allowed: {allowed})"
        if hint:
            text += f"; {hint}"
        super().__init__(text)


def whole(name: str, value: object, where: str = "", least: int = 1, bits: int | None = None) -> int:
    """The value as an int, a whole number from `least` up, of at most so many bits; neither a truth value nor a text.

    >>> whole("dies", 3.0, "deploy")
    3
    >>> whole("seed", "x", "train", 0, 64)
    Traceback (most recent call last):
    neurosim.errors.NeurosimError: train: seed is 'x' (allowed: a whole number from 0 to 2^64 - 1)
    """
    if isinstance(value, bool) or not isinstance(value, Real) or value % 1 != 0 or value < least or (
            bits is not None and value >= 1 << bits):
        most = "up" if bits is None else f"to 2^{bits} - 1"
        raise NeurosimError(f"{name} is {value!r}", where=where, allowed=f"a whole number from {least} {most}")
    return int(value)


def true_or_false(name: str, value: object, where: str) -> bool:
    """The value, which is a truth value: the text "no" would count as true.

    >>> true_or_false("reads", False, "OnChip")
    False
    """
    if not isinstance(value, bool):
        raise NeurosimError(f"{name} is {value!r}", where=where, allowed="true, false")
    return value


def did_you_mean(found: str, known: Sequence[str]) -> str:
    """A hint that names the known word nearest to `found`, or lists all of them.

    >>> did_you_mean("drfit", ["drift", "programming"])
    "did you mean 'drift'?"
    """
    from difflib import get_close_matches

    near = get_close_matches(found, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(sorted(known))
