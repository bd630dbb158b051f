"""The port between packs of results and the place where they are kept.

Lives here: what a place has to do, and which names it takes. Does not live here:
adapters, and which one a path or URL asks for (``storages/``), what is in a file
(``packs/``), when results are written or looked for.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import NamedTuple

from dataflow.exceptions import ResultStorageError

__all__ = ["Found", "ResultStorage", "checked_name"]


class Found(NamedTuple):
    """A file of a storage. Names are relative to its root, folders parted by ``/``."""

    name: str
    size_bytes: int
    modified_s: float  # epoch seconds


class ResultStorage(abc.ABC):
    """A place for files that are written once, whole, and then only read.

    It travels to workers, so it has to pickle; equal ones name the same place.
    All methods may be called from any thread.

    Each raises :class:`dataflow.exceptions.ResultStorageError` where the place
    fails or refuses, with the location, why, and what to do; nothing was written.
    FileNotFoundError stands for a name that is not there.

    Attributes
    ----------
    location
        The place as a user reads it: a path or URL, never a password.
    shared
        Whether any machine that may use it sees the same files. False for a folder:
        only a look from there tells (:meth:`probe`, :meth:`sees`).
    block_bytes
        Reading so many bytes too many costs less than asking twice.
    """

    location: str
    shared: bool = False
    block_bytes: int = 1 << 16

    @abc.abstractmethod
    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file; a negative ``start`` counts from its end.

        Fewer come where the file is shorter. FileNotFoundError: it is not there.
        """

    @abc.abstractmethod
    def write(self, name: str, data: Sequence[bytes]) -> None:
        """Write a file of these parts; until it is whole nobody sees it under its name.

        A file of that name is replaced. Missing folders are made.
        """

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""

    @abc.abstractmethod
    def move(self, old: str, new: str) -> None:
        """Give a file another name. FileNotFoundError: it is not there."""

    @abc.abstractmethod
    def list(self, prefix: str = "", *, deep: bool = False) -> Iterator[Found]:
        """Yield the files in a folder (``""``: the root), in any order; none where there is none.

        ``deep``: also those in folders below. Names that begin with ``.`` are left out.
        """

    def names(self, prefix: str) -> Sequence[str]:
        """Return the names of the files in a folder, without the folder."""
        skip = len(prefix) + 1 if prefix else 0
        return [found.name[skip:] for found in self.list(prefix)]

    def changed(self, prefix: str) -> object:
        """Return what stays equal while no file of a folder comes or goes, at little cost.

        None where only listing tells.
        """
        return None

    def sweep(self, before_s: float) -> int:
        """Delete what writers that died before then have left half-written; return how many."""
        return 0

    def probe(self) -> str:
        """Leave a mark, and return the token by which :meth:`sees` finds it elsewhere.

        Also tells at the start whether the place can be written at all.
        """
        token = token_hex(8)
        self.write(_mark(token), [token.encode()])
        return token

    def sees(self, token: str) -> bool:
        """Tell whether the mark that :meth:`probe` left is seen from here."""
        try:
            return self.read(_mark(token)) == token.encode()
        except FileNotFoundError:
            return False

    def unprobe(self, token: str) -> None:
        """Take the mark away."""
        self.delete(_mark(token))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"


def _mark(token: str) -> str:
    if not token.isalnum():
        raise ValueError(f"{token!r} is no token of probe()")
    return f".shared-{token}"


def checked_name(name: str) -> str:
    """Return a user's name of a file in a storage, or refuse it.

    Raises
    ------
    ResultStorageError
        It is empty, absolute, leads out of the storage (``..``), has a drive, a part that
        begins with ``.``, or lies where the storage keeps its own files.
    """
    parts = name.split("/")
    why = None
    if not name or not all(parts):
        why = "it is empty, absolute, or has an empty part"
    elif any(part.startswith(".") for part in parts):
        why = "a part of it begins with a dot"
    elif "\\" in name or name[1:2] == ":" or not name.isprintable():
        why = "it has a backslash, a drive, or control characters"
    elif parts[0] == "quarantine" or name == "pins.json":
        why = "that is where the storage keeps its own files"
    elif len(parts[-1].encode()) > 240:
        why = "it is too long"
    if why is not None:
        raise ResultStorageError(
            f"Cannot keep a result under the name {name!r}: {why}. Choose a result_storage_key "
            "such as 'out/{parameters[x]}.pkl'.", location=name, reason="name")
    return name
