"""Where published files lie, and the proof that they are the published ones.

They are looked for in the folder that the environment variable NEUROSIM_DATA names: unpacked, or as the
archives that are published. Else they are downloaded from the publisher. Archives are unpacked once, into the
user's cache (NEUROSIM_CACHE in its place), beside the final name, and renamed only when every checksum holds.
Knows nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from neurosim.errors import NeurosimError
from neurosim.writing import made_folder, written_beside

ARCHIVES = (".zip", ".tar.xz", ".tar.gz")
#: what reading a damaged archive may raise
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Publication:
    """Files as their publisher gives them out.

    Parameters
    ----------
    folder:
        Name of the folder that the archive holds, and of the archive without its suffix.
    url:
        Where the archive is downloaded.
    size:
        Bytes of the download, about.
    files:
        The files that are used, by name in the folder.
    sums:
        The publisher's list of SHA-256 sums in that folder, one `sum name` a line.
    sums_sha256:
        The SHA-256 of that list, so that the list cannot change either.
    """

    folder: str
    url: str
    size: int
    files: tuple[str, ...]
    sums: str
    sums_sha256: str


@dataclass(frozen=True)
class PublishedFile:
    """One file as its publisher gives it out: `name` in `folder`, at `url`, `size` bytes, with its SHA-256."""

    folder: str
    name: str
    url: str
    size: int
    sha256: str


def cache_folder() -> Path:
    """Where unpacked and prepared data are kept: NEUROSIM_CACHE, else the user's cache folder."""
    given = os.environ.get("NEUROSIM_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("neurosim"))


def data_folder() -> Path | None:
    """The folder that NEUROSIM_DATA names, if it is set."""
    given = os.environ.get("NEUROSIM_DATA")
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise NeurosimError(f"there is no folder {folder}", where="environment variable NEUROSIM_DATA",
                            hint="name the folder that holds the data, or unset it to download")
    return folder


def locate(publication: Publication) -> Path | None:
    """The folder or the archive that `obtain` would take, or None where it would download."""
    given, unpacked = _given(publication), cache_folder() / publication.folder
    if unpacked.is_dir() and not (given and given.is_dir()):
        return unpacked
    return given


def _given(publication: Publication) -> Path | None:
    """The folder or the archive in NEUROSIM_DATA."""
    data = data_folder()
    if data is None:
        return None
    folders = [f for f in (data, data / publication.folder) if (f / publication.sums).is_file()]
    archives = [data / f"{publication.folder}{suffix}" for suffix in ARCHIVES]
    return next((path for path in folders + archives if path.exists()), None)


def obtain(publication: Publication) -> Path:
    """The folder with the publisher's files, every one of them checked; unpacks or downloads where it must.

    Raises
    ------
    NeurosimError
        A file is missing, an archive cannot be read, a checksum is another one, or there is no network.
    """
    found, unpacked = locate(publication), cache_folder() / publication.folder
    if found == unpacked:
        try:
            verify(publication, unpacked)
        except NeurosimError:
            shutil.rmtree(unpacked)  # our own copy is no longer whole: make it anew
            found = _given(publication)
        else:
            return unpacked
    if found is None:
        with tempfile.TemporaryDirectory(prefix=f".{publication.folder}-", dir=_writable(cache_folder())) as folder:
            return unpack(publication, _download(publication.url, Path(folder)))
    if found.is_dir():
        verify(publication, found)
        return found
    return unpack(publication, found)


def locate_file(file: PublishedFile) -> Path | None:
    """The file that `obtain_file` would take, or None where it would download."""
    data = data_folder()
    places = [*([data, data / file.folder] if data else []), cache_folder() / file.folder]
    return next((place / file.name for place in places if (place / file.name).is_file()), None)


def obtain_file(file: PublishedFile) -> Path:
    """A published file, checked: from NEUROSIM_DATA, there or in a folder of its name, from the cache, or downloaded.

    Raises
    ------
    NeurosimError
        Its checksum is another one, or there is no network.
    """
    found, kept = locate_file(file), cache_folder() / file.folder / file.name
    if found == kept:
        try:
            _check(kept, file.sha256)
        except NeurosimError:
            kept.unlink()  # our own copy is no longer whole: fetch it anew
            found = None
    if found is None:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=_writable(kept.parent)) as folder:
            fetched = _download(file.url, Path(folder))
            _check(fetched, file.sha256)
            os.replace(fetched, kept)
        return kept
    _check(found, file.sha256)
    return found


def verify(publication: Publication, folder: Path) -> None:
    """Compare every file in `folder` that the task uses with its published SHA-256."""
    listed = _check(folder / publication.sums, publication.sums_sha256)
    sums = {line.split(maxsplit=1)[1]: line.split()[0] for line in listed.decode().splitlines() if line.strip()}
    for name in publication.files:
        _check(folder / name, sums[name])


def _check(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise NeurosimError(problem, where=str(path), hint="take the data from their publisher again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise NeurosimError(f"its SHA-256 is {found}", where=str(path), allowed=expected,
                            hint="it is not the published file; take the data from their publisher again")
    return content


def unpack(publication: Publication, archive: Path) -> Path:
    """Unpack what is used of an archive into the cache, check it, and give it its name; returns the folder."""
    final = cache_folder() / publication.folder
    with _beside(final) as folder:
        wanted = {publication.sums, *publication.files}
        try:
            for name, stream in members(archive):
                # only plain files that the task knows by name are written: no path in an archive can lead astray
                parts = PurePosixPath(name).parts
                if len(parts) == 2 and parts[0] == publication.folder and parts[1] in wanted:
                    with open(folder / parts[1], "wb") as out:
                        shutil.copyfileobj(stream, out)
        except DAMAGED as error:
            raise cannot_unpack(archive, error) from error
        try:
            verify(publication, folder)
        except NeurosimError as error:
            at = f"{archive}, {Path(error.where).name}"
            raise NeurosimError(error.message, where=at, allowed=error.allowed, hint=error.hint) from None
    return final


def cannot_unpack(archive: Path, error: Exception) -> NeurosimError:
    """What is said of an archive that cannot be read to its end."""
    return NeurosimError(f"cannot be unpacked: {error}", where=str(archive),
                         hint="the archive is damaged or cut short (download it again), or the disk is full")


def members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file in an archive; raises one of `DAMAGED` where it cannot be read."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as package:
            for entry in package.infolist():
                if not entry.is_dir():
                    with package.open(entry) as stream:
                        yield entry.filename, stream
    else:
        with tarfile.open(archive, "r|*") as package:
            for entry in package:
                if entry.isfile():
                    yield entry.name, package.extractfile(entry)


def _writable(folder: Path) -> Path:
    return made_folder(folder, "set NEUROSIM_CACHE to a folder where you may write")


@contextmanager
def _beside(final: Path) -> Iterator[Path]:
    """A new folder next to `final` that becomes `final` when the block ends well, and vanishes when it does not."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=_writable(final.parent)))
    try:
        yield temporary
        try:
            os.replace(temporary, final)
        except OSError:
            if not final.is_dir():  # else another process was first, with the same checked files
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Write a file of the cache: `fill` writes into one beside it, which then takes its name."""
    _writable(path.parent)
    with written_beside(path) as temporary, open(temporary, "wb") as out:
        fill(out)


def _download(url: str, folder: Path) -> Path:
    import pooch

    fetched = folder / url.rsplit("/", 1)[-1]
    download = pooch.HTTPDownloader(chunk_size=1 << 20, timeout=60)
    try:
        download(url, str(fetched), None)
    except Exception as error:  # of the network, the server or the disk: each library has its own kinds
        raise NeurosimError(f"the download failed: {error}", where=url,
                            hint=f"put {fetched.name} into a folder and name that folder in NEUROSIM_DATA") from error
    return fetched
