"""How every file of neurosim is written: beside its place, then renamed into it. What fails leaves nothing behind."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurosim.errors import NeurosimError


def refuse_place(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Raise where no file can be, or where one of the inputs lies: before long work, whose result it is to hold."""
    final = Path(os.path.realpath(path))
    if final.exists() and any(final == Path(os.path.realpath(one)) for one in inputs if one is not None):
        raise NeurosimError("is one of the inputs", where=str(path), hint="choose another output")
    if final.is_dir():
        raise NeurosimError("is a folder", where=str(path), allowed="the name of a file")
    if not final.parent.is_dir():
        raise NeurosimError(f"there is no folder {Path(path).parent}", where=str(path), hint="make it first")


def made_folder(path: str | os.PathLike[str], hint: str = "is there a file, or is the folder above yours?") -> Path:
    """The folder, made where it is missing, with those above it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NeurosimError(f"this folder cannot be made: {error.strerror}", where=str(path), hint=hint) from error
    return folder


@contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name in the folder of `path`; what is there when the block ends takes the place of `path`.

    If the block fails, the temporary file is removed and `path` stays as it was. A link is followed.

    Raises
    ------
    NeurosimError
        There is no such folder, `path` is a folder, or the disk says no.
    """
    refuse_place(path)
    where, final = str(path), Path(os.path.realpath(path))
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except OSError as error:
        raise NeurosimError(f"cannot be written: {error.strerror or error}", where=where,
                            hint="is the disk full, the folder yours?") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def made_in_memory(path: str | os.PathLike[str]) -> Iterator[io.BytesIO]:
    """A file in memory; what is in it when the block ends is written as by `written_beside`.

    For HDF5 and torch, which do not survive a disk that is full under a file that they have open.
    """
    refuse_place(path)
    stream = io.BytesIO()
    yield stream
    with written_beside(path) as temporary:
        temporary.write_bytes(stream.getbuffer())
