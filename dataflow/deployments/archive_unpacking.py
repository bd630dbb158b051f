"""A zip of code into a folder, and nowhere else.

Lives here: what of a zip is refused, and the writing. Does not live here: where
the zip comes from (``archive_sources.py``).

Refused as a whole, before anything could be run: names that lead out of the
folder, links and other things that are no files, names that come twice, and what
unpacks to more than it may. What a zip says of its sizes is not believed.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dataflow.deployments.source_urls import refused
from dataflow.exceptions import CodeSourceError

UNPACKED_BYTES = 2 << 30
FILES = 100_000
_CHUNK_BYTES = 1 << 20
_ENCRYPTED = 0x1
_UNIX = 3


def unpack(file: Path, folder: Path, shown: str, *, limit_bytes: int = UNPACKED_BYTES) -> None:
    """Write the files of a zip into an empty folder; the owner alone can read them.

    Parameters
    ----------
    file
        The zip.
    folder
        Empty.
    shown
        What the zip is called in errors.
    limit_bytes
        Of all its files together.

    Raises
    ------
    CodeSourceError
        It is no zip, is damaged, or is refused; the folder may hold a part of it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            left = limit_bytes
            for info, name in _members(archive, shown):
                size = _write(archive, info, folder / name, left)
                if size > left:
                    raise refused(shown, f"{shown} is refused: it unpacks to more than "
                                  f"{limit_bytes >> 20} MB.", "too large")
                left -= size
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
            UnicodeError, ValueError) as error:
        if isinstance(error, CodeSourceError):
            raise
        raise refused(shown, f"{shown} is no zip that can be read: {error}.", "damaged") from error
    except OSError as error:
        if isinstance(error, CodeSourceError):
            raise
        raise refused(shown, f"{shown} cannot be unpacked: {error}.", "damaged") from error


def _members(archive: zipfile.ZipFile, shown: str) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Yield what is to be written, once all of it is known to be right."""
    infos = archive.infolist()
    if len(infos) > FILES:
        raise refused(shown, f"{shown} has {len(infos)} entries, at most {FILES} are unpacked.",
                      "too large")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _safe_name(info, shown)
        if name in found and not (info.is_dir() and found[name].is_dir()):
            raise refused(shown, f"{shown} has {info.filename!r} twice: it is refused.")
        found[name] = info
    yield from ((info, name) for name, info in found.items())


def _safe_name(info: zipfile.ZipInfo, shown: str) -> str:
    name = info.orig_filename
    path = PurePosixPath(name)
    if ("\\" in name or "\0" in name or ":" in name.partition("/")[0] or path.is_absolute()
            or ".." in path.parts or not path.parts):
        raise refused(shown, f"{shown} is refused: its entry {name!r} leads out of the folder "
                      "that it is unpacked in.")
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise refused(shown, f"{shown} is refused: its entry {name!r} is {what}. What to do: make "
                      "the zip of the files themselves.")
    if info.flag_bits & _ENCRYPTED:
        raise refused(shown, f"{shown} is refused: its entry {name!r} is encrypted.")
    return str(path)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path, left: int) -> int:
    """Write one entry, and return its size in bytes; it ends soon after it is above ``left``."""
    if info.is_dir():
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return 0
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    runs = info.create_system == _UNIX and info.external_attr >> 16 & stat.S_IXUSR
    size = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with (archive.open(info) as source,
          open(os.open(place, flags, 0o700 if runs else 0o600), "wb") as out):
        while size <= left and (chunk := source.read(_CHUNK_BYTES)):
            size += len(chunk)
            out.write(chunk)
    return size
