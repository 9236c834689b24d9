"""How results lie on disk: netCDF (HDF5) that `xarray.open_dataset` opens, and what each kind of them must hold."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import xarray as xr

from neurosim.errors import NeurosimError
from neurosim.writing import made_in_memory


def write_results(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write as netCDF, beside and renamed."""
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    with made_in_memory(path) as stream, h5netcdf.File(stream, "w") as file:
        dataset.dump_to_store(H5NetCDFStore(file))


def read_results(path: str | os.PathLike[str], kind: str, command: str, variables: Sequence[str],
                 attributes: Sequence[str], texts: Sequence[str]) -> xr.Dataset:
    """Read what `write_results` wrote.

    Parameters
    ----------
    kind, command:
        Such as "run", and the command that writes it: what errors say.
    variables, attributes:
        What must be in it.
    texts:
        Those attributes that hold JSON, where they are there.

    Raises
    ------
    NeurosimError
        There is no such file, it is none of these, or it is damaged.
    """
    where, hint = str(path), f"a file of `neurosim {command}`"
    if not os.path.isfile(path):
        raise NeurosimError("there is no such file", where=where, hint=hint)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            found = dataset.load()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise NeurosimError(f"not a netCDF or HDF5 file ({str(error).splitlines()[0]})", where=where,
                            hint=hint) from None
    missing = [name for name in variables if name not in found]
    missing += [name for name in attributes if name not in found.attrs]
    if missing:
        raise NeurosimError(f"not a neurosim {kind}: it has no {', '.join(missing)}", where=where, hint=hint)
    for name in texts:
        try:
            good = isinstance(json.loads(found.attrs.get(name, "{}")), (dict, list))
        except (TypeError, ValueError):
            good = False
        if not good:
            raise NeurosimError(f"the file is damaged: its {name} is no JSON", where=where, hint="write it again")
    return found
