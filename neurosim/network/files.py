"""Model files: a network in HDF5, exactly.

Layout, version 2 (no pickle, nothing that runs when it is read):

    /                   attributes: format, format_version, neurosim, dt, readout, input_shape, hash
    /provenance         JSON text
    /ranges             JSON text, where ranges of converters were learnt; a file without is of version 1
    /layers/NAME        attributes: position, type, inputs, settings, arrays (the last three are JSON)
    /layers/NAME/ARRAY  dtype and shape as in the layer

There are no time stamps in it: the same network gives the same bytes. What never enters: what a layer means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from neurosim import __version__
from neurosim.errors import NeurosimError, did_you_mean
from neurosim.network.layers import LAYERS, Layer
from neurosim.network.network import Network, Node
from neurosim.network.ranges import LearntRanges
from neurosim.writing import made_in_memory

if TYPE_CHECKING:
    import h5py

FORMAT, FORMAT_VERSION = "neurosim-model", 2


@contextmanager
def opened_hdf5(path: str | os.PathLike[str], kind: str) -> Iterator[h5py.File]:
    """An HDF5 file open for reading; `kind` ("a model file") is named where it is not one."""
    import h5py

    where = str(path)
    if not os.path.exists(path):
        raise NeurosimError("there is no such file", where=where)
    if os.path.isdir(path):
        raise NeurosimError("is a folder", where=where, allowed=kind)
    try:
        with open(path, "rb") as start:
            signed = start.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError as error:
        raise NeurosimError(f"cannot be read: {error.strerror}", where=where) from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        message = f"is damaged or cut short: {error}" if signed else "is not an HDF5 file"
        raise NeurosimError(message, where=where, allowed=kind) from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:  # what h5py says of damage
            raise NeurosimError(f"is damaged: {error}", where=where, allowed=kind) from error


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network as a model file; an old file of that name is replaced when the new one is whole.

    Raises
    ------
    NeurosimError
        A folder is missing or not writable, the provenance holds what JSON cannot say, or a layer has a name
        that HDF5 cannot hold.

    >>> import tempfile, numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.5)], (2,), dt=1e-3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(net, f"{folder}/net.h5")
    ...     load(f"{folder}/net.h5").hash == net.hash
    True
    """
    import h5py

    provenance = _json(dict(network.provenance), str(path), "provenance")
    for node in network.nodes:
        if node.name == "." or "\0" in node.name or not node.name.isprintable():
            raise NeurosimError(f"a file cannot hold the layer name {node.name!r}", where=str(path),
                                allowed="printable characters, and not '.' alone")
    with made_in_memory(path) as stream, h5py.File(stream, "w") as file:
        _describe(file, {
            "format": FORMAT, "format_version": FORMAT_VERSION if network.ranges.arrays else 1, "neurosim": __version__,
            "dt": float(network.dt), "readout": network.readout,
            "input_shape": np.array(network.input_shape, np.int64), "hash": network.hash})
        file.create_dataset("provenance", data=np.bytes_(provenance))  # an attribute would end at 64 KiB
        if network.ranges.arrays:
            file.create_dataset("ranges", data=np.bytes_(_json(network.ranges.as_plain(), str(path), "ranges")))
        layers = file.create_group("layers")
        for position, node in enumerate(network.nodes):
            group, arrays = layers.create_group(node.name), node.layer.arrays()
            _describe(group, {
                "position": position, "type": type(node.layer).__name__, "inputs": json.dumps(node.inputs),
                "settings": _json(node.layer.settings(), str(path), node.name), "arrays": json.dumps(list(arrays))})
            for name, array in arrays.items():
                group.create_dataset(name, data=array, track_times=False)


def _describe(item: h5py.Group, attributes: Mapping[str, object]) -> None:
    """Write attributes; text (ASCII) in fixed length, as the heap that HDF5 keeps other text on breaks easily."""
    for name, value in attributes.items():
        item.attrs[name] = np.bytes_(value) if isinstance(value, str) else value


def _json(value: object, where: str, key: str) -> str:
    """As JSON text; numpy's numbers and arrays as plain ones."""
    def plain(item: object) -> object:
        if isinstance(item, (np.ndarray, np.generic)):
            return item.tolist()
        if isinstance(item, Mapping):
            return dict(item)
        if isinstance(item, os.PathLike):
            return os.fspath(item)
        raise TypeError(f"it holds a {type(item).__name__}")

    try:
        return json.dumps(value, default=plain, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise NeurosimError(f"cannot be written as JSON: {error}", where=f"{where}, {key}",
                            allowed="numbers, text, true and false, lists and mappings of them") from None


def load(path: str | os.PathLike[str]) -> Network:
    """Read a model file. What is read is what was saved: the hash of the network is compared with the stored one.

    Raises
    ------
    NeurosimError
        There is no such file, it is not a model file, a newer neurosim wrote it, a layer or an array is missing
        or not allowed, or the content is not what was written.
    """
    with opened_hdf5(path, "a model file") as file:
        where = str(path)
        if _text(file.attrs.get("format")) != FORMAT:
            raise NeurosimError("is HDF5, but no model file", where=where, allowed=f"the attribute format={FORMAT!r}")
        version = _attribute(file, "format_version", where)
        if not isinstance(version, (int, np.integer)) or version < 1:
            raise NeurosimError(f"format_version is {version}", where=where, allowed=f"1 to {FORMAT_VERSION}")
        if version > FORMAT_VERSION:
            raise NeurosimError(f"format_version is {version}, written by neurosim {_text(file.attrs.get('neurosim'))}",
                                where=where, allowed=f"up to {FORMAT_VERSION}", hint="install a newer neurosim")
        stored = _attribute(file, "hash", where)
        layers = _member(file, "layers", where, group=True)
        groups = {name: _member(layers, name, where, group=True) for name in layers}
        found = {str(_attribute(group, "position", where)): name for name, group in groups.items()}
        if set(found) != {str(n) for n in range(len(groups))}:
            raise NeurosimError(f"positions of the layers are {', '.join(sorted(found))}", where=f"{where}, layers",
                                allowed=f"0 to {len(groups) - 1}, each once", hint="the file is damaged")
        nodes = [_node(groups[found[str(n)]], found[str(n)], where) for n in range(len(groups))]
        provenance = _parsed(_member(file, "provenance", where)[()], dict, f"{where}, provenance")
        try:
            ranges = LearntRanges.from_plain(_parsed(_member(file, "ranges", where)[()], dict, f"{where}, ranges")
                                             ) if "ranges" in file else LearntRanges()
            network = Network(tuple(nodes), tuple(np.atleast_1d(_attribute(file, "input_shape", where)).tolist()),
                              float(_attribute(file, "dt", where)), str(_attribute(file, "readout", where)), provenance,
                              ranges)
        except NeurosimError as error:
            raise _at(error, where) from None
        except (TypeError, ValueError) as error:
            raise NeurosimError(f"dt or input_shape is not one: {error}", where=where, hint="the file is damaged"
                                ) from None
    if network.hash != stored:
        raise NeurosimError(f"its content has the hash {network.hash[:16]}..., stored is {str(stored)[:16]}...",
                            where=where, hint="the file was changed or damaged after it was saved")
    return network


def _node(group: h5py.Group, name: str, where: str) -> Node:
    at = f"{where}, layers/{name}"
    kind = str(_attribute(group, "type", where))
    if kind not in LAYERS:
        raise NeurosimError(f"unknown layer type {kind!r}", where=at, hint=did_you_mean(kind, list(LAYERS)))
    settings = _parsed(_attribute(group, "settings", where), dict, f"{at}, settings")
    names = _parsed(_attribute(group, "arrays", where), list, f"{at}, arrays")
    inputs = _parsed(_attribute(group, "inputs", where), list, f"{at}, inputs")
    arrays = {}
    for array in sorted({*names, *group}, key=str):
        if array not in group:
            raise NeurosimError("the array is missing", where=f"{at}/{array}", hint="the file is damaged")
        if array not in names or array not in LAYERS[kind].parameters:
            raise NeurosimError(f"{kind} has no array {array!r}", where=at, allowed=", ".join(LAYERS[kind].parameters))
        value = _member(group, array, where)[()]
        if not isinstance(value, (np.ndarray, np.generic)) or value.dtype not in (np.float32, np.float64):
            raise NeurosimError(f"the array holds {getattr(value, 'dtype', type(value).__name__)}",
                                where=f"{at}/{array}", allowed="float32, float64")
        arrays[array] = np.asarray(value)
    layer: type[Layer] = LAYERS[kind]
    try:
        return Node(name, layer(**arrays, **settings), tuple(map(str, inputs)))
    except NeurosimError as error:
        raise _at(error, at) from None
    except TypeError as error:  # a field is missing or too many
        raise NeurosimError(f"{kind} cannot be made from what is there: {error}", where=at,
                            hint="the file is damaged") from None


def _at(error: NeurosimError, where: str) -> NeurosimError:
    """The same error, with the file in front."""
    return NeurosimError(error.message, where=f"{where}, {error.where}" if error.where else where,
                         allowed=error.allowed, hint=error.hint)


def _key(item: h5py.Group, key: str, where: str) -> str:
    return f"{where}, {item.name.strip('/')}/{key}" if item.name != "/" else f"{where}, {key}"


def _attribute(item: h5py.Group, key: str, where: str) -> object:
    if key not in item.attrs:
        raise NeurosimError("the attribute is missing", where=_key(item, key, where), hint="the file is damaged")
    return _text(item.attrs[key])


def _text(value: object) -> object:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _member(item: h5py.Group, key: str, where: str, group: bool = False) -> h5py.Group | h5py.Dataset:
    """The data set or group of that name."""
    import h5py

    wanted = h5py.Group if group else h5py.Dataset
    found = item.get(key)
    if not isinstance(found, wanted):
        what = "missing" if found is None else "of the wrong kind"
        raise NeurosimError(f"the {wanted.__name__.lower()} is {what}", where=_key(item, key, where),
                            hint="the file is damaged")
    return found


def _parsed(text: object, kind: type, where: str) -> object:
    """What the JSON says, if it is a `kind`."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, kind):
        raise NeurosimError(f"is {text!r:.40}", where=where, allowed=f"JSON, a {kind.__name__}",
                            hint="the file is damaged")
    return value
