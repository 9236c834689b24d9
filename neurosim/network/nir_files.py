"""Networks from and to NIR, the exchange format of neuromorphic frameworks, on the `nir` package alone.

NIR describes neurons in continuous time and leaves open how they step: that choice is an argument here
(`neurosim.network.nir_steps`). A network that NIR cannot describe is refused, with all the reasons.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurosim import __version__
from neurosim.errors import NeurosimError
from neurosim.network.files import opened_hdf5
from neurosim.network.network import Network
from neurosim.network.nir_graph import plain
from neurosim.network.nir_read import KNOWN, network_of
from neurosim.network.nir_steps import Steps
from neurosim.network.nir_write import written
from neurosim.writing import made_in_memory

if TYPE_CHECKING:
    import nir

_log = logging.getLogger(__name__)


def from_nir(graph: nir.NIRGraph | str | os.PathLike[str], dt: float, *, convention: str | None = None,
             time_unit: float | None = None, synapse: str = "ode", readout: str | None = None,
             input_shape: Sequence[int] | None = None) -> Network:
    """Read a NIR graph, or a file with one.

    Weights from a population back to itself become its `recurrent` weights, which see the spikes of the step
    before; several edges into a node become a `Sum`; graphs in graphs are taken apart; scales go into the weights
    beside them. Neurons start at v = 0, and reset at their spike (`reset="zero", reset_delay=False`).

    Parameters
    ----------
    dt:
        Time step of the network in seconds. NIR does not say one, so it must be given. A file that carries
        another one as an annotation is refused.
    convention:
        How the ODE becomes a step: `"euler"`, `"exact"` or `"impulse"`, see `neurosim.network.nir_steps`.
        None takes what neurosim noted when it wrote the file, and else `"euler"`. If both are there, the argument
        holds: notes never decide against it.
    time_unit:
        Seconds per unit of the file's time constants. None: seconds, and time constants of 1 s or more, which may be
        milliseconds or time steps, are refused; 1.0 says that they are seconds, however long.
    synapse:
        `"ode"`: `w_in` weighs the input of the current's equation, as NIR says. `"jump"`: it is what one spike
        adds to the current.
    readout:
        As in `Network`. None takes the noted one, and else `"sum"`.
    input_shape:
        In the place of the Input node's, for writers that leave it out or put batch and time in.

    Notes
    -----
    What gives each writer's own steps back, for a network that ran with the step dt:

    ================================  =========================================================
    neurosim                          nothing more: it is noted
    snnTorch                          `time_unit=dt / 1e-4` (it always writes for 1e-4 s)
    SpikingJelly                      nothing more, with the dt it was exported with
    Sinabs, `norm_input=True`         `convention="exact", time_unit=dt` (it writes time steps)
    Norse, LIFBox, LIBox              `time_unit=1 / dt` (it writes dt tau)
    Norse, LIF                        `time_unit=1 / dt, synapse="jump"`
    Rockpool, ExpSynTorch             `convention="impulse"`
    ================================  =========================================================

    What their files have lost stays lost: soft resets (snnTorch, Sinabs, Rockpool), `norm_input=False`. Rockpool's
    LIFNeuronTorch runs with gain 1 and writes exp(-dt/tau).

    Raises
    ------
    NeurosimError
        There is no such file, it is not NIR, or a node cannot be a layer: the node is named.

    >>> import nir, numpy as np
    >>> graph = nir.NIRGraph.from_list(
    ...     nir.Linear(np.ones((2, 3))), nir.LIF(*np.array([[0.01] * 2, [10.0] * 2, [0.0] * 2, [1.0] * 2])))
    >>> net = from_nir(graph, dt=1e-3)
    >>> net["lif"].beta, net["lif"].gain
    (array([0.9, 0.9]), array([1., 1.]))
    """
    where, origin = "NIR graph", {"source": "NIR"}
    if isinstance(graph, (str, os.PathLike)):
        where, origin["file"] = str(graph), os.path.basename(graph)
        graph = _read(graph)
    if type(graph).__name__ != "NIRGraph":
        raise NeurosimError(f"it is a {type(graph).__name__}", where=where, allowed="a nir.NIRGraph, or a path")
    notes = _notes(graph, dt, where)
    noted = notes.get("convention")
    if convention and noted and convention != noted:
        _log.warning("%s was written for the convention %s; it is read as %s", where, noted, convention)
    unit = 1.0 if time_unit is None and noted else time_unit
    try:
        steps = Steps(dt, convention or (str(noted) if noted else "euler"), unit, synapse)
        provenance = {**origin, "convention": steps.convention, "synapse": synapse,
                      "time_unit": 1.0 if unit is None else float(unit)}
        return network_of(plain(graph), steps, readout or str(notes.get("readout", "sum")), provenance,
                          None if input_shape is None else tuple(int(n) for n in input_shape))
    except NeurosimError as error:
        raise NeurosimError(error.message, where=f"{where}, {error.where}" if error.where else where,
                            allowed=error.allowed, hint=error.hint) from None


def _notes(graph: nir.NIRGraph, dt: float, where: str) -> Mapping[str, object]:
    """What neurosim noted about the whole graph; a dt that contradicts the one asked for is refused."""
    metadata = graph.metadata if isinstance(graph.metadata, Mapping) else {}
    notes = metadata.get("neurosim", {})
    notes = notes if isinstance(notes, Mapping) else {}
    noted = notes.get("dt", metadata.get("dt"))
    if isinstance(noted, (int, float, np.number)) and not np.isclose(float(noted), float(dt), rtol=1e-6, atol=0):
        raise NeurosimError(f"dt is {dt!r} s, and its metadata say {float(noted):g} s", where=where,
                            hint=f"pass dt={float(noted):g}; or, if you mean another step for the same time "
                                 "constants, remove dt from the metadata of the graph (nir.read gives you one)")
    return notes


def _read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """A graph from a file, without nir's check of types: it takes all kernels for square ones."""
    import h5py
    import nir

    with opened_hdf5(path, "a NIR file") as file:
        root = file.get("node")
        if not isinstance(root, h5py.Group) or "type" not in root:
            raise NeurosimError("is HDF5, but not NIR", where=str(path), allowed="a group 'node' that has a type")
        unknown: list[str] = []

        def look(group: h5py.Group, prefix: str) -> None:
            kind = group["type"][()] if isinstance(group.get("type"), h5py.Dataset) else "?"
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            nodes = group.get("nodes") if kind == "NIRGraph" else None
            if kind != "NIRGraph" and not hasattr(nir, kind):
                unknown.append(f"{prefix[:-1]} ({kind})")
            for name, inner in nodes.items() if isinstance(nodes, h5py.Group) else ():
                if isinstance(inner, h5py.Group):
                    look(inner, f"{prefix}{name}.")

        look(root, "")
        if unknown:
            raise NeurosimError(f"it has nodes that are not NIR's: {', '.join(unknown)}", where=str(path),
                                allowed=", ".join(KNOWN))
    try:
        return nir.read(path, type_check=False)
    except Exception as error:  # nir's checks are asserts and bare KeyErrors
        raise NeurosimError(f"nir cannot read it: {type(error).__name__}: {error}", where=str(path),
                            hint="a field of a node is missing or has a shape of its own") from error


def to_nir(network: Network, path: str | os.PathLike[str] | None = None, lossy: bool = False, *,
           convention: str = "euler") -> nir.NIRGraph:
    """Write a network as a NIR graph, and as a file where a path is given.

    `from_nir` gives the same network back: equal spikes, equal arrays up to the last bit of a decay (sums and
    scales are NIR's own, so a `Sum` has another name then). The time step, the convention and the readout, which NIR
    has no words for, are noted in the metadata under "neurosim".

    Parameters
    ----------
    lossy:
        Write what NIR cannot say as near as possible, instead of refusing. What is lost is logged as a warning
        and listed in `graph.metadata["neurosim_losses"]`.
    convention:
        Which step of the ODE the decays are, as in `from_nir`; "euler" is what most frameworks read.

    Raises
    ------
    NeurosimError
        NIR cannot say it: a soft reset, a reset that holds for a step, adaptation, MaxPool2d, ReLU, zeros around
        a map that differ from side to side, a recurrent cell. All reasons are listed.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5, reset="zero")], (2,), dt=1e-3)
    >>> to_nir(net).nodes["lif"].tau
    array([0.002, 0.002])
    """
    import nir

    steps = Steps(network.dt, convention, 1.0)
    sheet = written(network, steps)
    refused = sheet.refusals + ([] if lossy else sheet.losses)
    if refused:
        more = "; lossy=True writes the rest as near as possible" if sheet.refusals and sheet.losses else (
            "" if sheet.refusals else "; lossy=True writes it as near as possible")
        raise NeurosimError(f"NIR cannot say this: {'; '.join(refused)}", where="to_nir",
                            hint=f"keep the network with Network.save{more}")
    notes: dict[str, object] = {"neurosim": {"version": __version__, "dt": float(network.dt),
                                             "convention": convention, "readout": network.readout}}
    for loss in sheet.losses:
        _log.warning("to_nir: %s", loss)
    if sheet.losses:
        notes["neurosim_losses"] = "\n".join(sheet.losses)
    try:
        graph = nir.NIRGraph(sheet.nodes, sheet.edges, notes)
    except ValueError as error:
        _log.warning("to_nir: nir's check of types fails (%s); others read this with type_check=False", error)
        graph = nir.NIRGraph(sheet.nodes, sheet.edges, notes, type_check=False)
    if path is not None:
        with made_in_memory(path) as stream:
            nir.write(stream, graph)
    return graph
