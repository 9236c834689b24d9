"""What designers compare chips by, from energy, counts and pace."""

from __future__ import annotations

import numpy as np

from neurosim.energy.timing import Pace


def efficiency(joules: np.ndarray, sops: np.ndarray, dense: float, pace: Pace | None
               ) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """Figures of each die, as variables of an xarray Dataset: dimensions, values, attributes.

    Parameters
    ----------
    joules:
        Of a sample, `[die, bound]`, all components.
    sops:
        Synaptic operations of a sample, `[die]`: events times the synapses that they reach.
    dense:
        Synapses times steps of a sample, whatever they carry.
    pace:
        None where the profile has no timing.

    With E the energy of a sample, static energy included:

    energy_per_sop `[die, bound]`
        ``E / sops`` in joules; NaN where there are none. Source: Merolla et al., Science 345, 668 (2014).
    tops_per_watt `[die, bound]`
        ``2 dense / E / 10^12``: multiplications and additions of whole matrices, zeros included, as published for
        crossbars. Source: Khaddam-Aljameh et al., IEEE J. Solid-State Circuits 57, 1027 (2022).
    tops
        ``2 dense throughput / 10^12``, with a pace.
    edp `[die, bound]`
        ``E latency`` in joule seconds, with a pace. Source: Gonzalez, Horowitz, IEEE J. Solid-State Circuits 31, 1277
        (1996).

    >>> found = efficiency(np.array([[2e-9]]), np.array([100]), 1000, Pace(1e-3, 1e3))
    >>> [f"{found[name][1].item():.3g}" for name in ("energy_per_sop", "tops_per_watt", "edp", "tops")]
    ['2e-11', '1', '2e-12', '2e-06']
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        per_sop = np.where(sops[:, None] > 0, joules / sops[:, None], np.nan)
        per_watt = 2 * dense / joules / 1e12
    each = ("die", "bound")
    found = {"sops": (("die",), sops, {"long_name": "synaptic operations of a sample"}),
             "energy_per_sop": (each, per_sop, {"units": "J"}),
             "tops_per_watt": (each, per_watt, {"units": "1e12 / J"})}
    if pace is not None:
        found["edp"] = each, joules * pace.latency, {"units": "J s"}
        found["tops"] = (), np.array(2 * dense * pace.throughput / 1e12), {"units": "1e12 / s"}
    return found
