"""What an error of SQLite or of the system means for a store, in words a user can act on.

Lives here: error codes, the texts for them, the StoreError made of both; for all
that keeps records in files. Does not live here: errors of other databases and of
SQLAlchemy (``stores/errors.py``), which workers never load.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from dataflow.exceptions import StoreError

_ELSEWHERE = "set DATAFLOW_HOME (or DATAFLOW_STORE) to a place that can be written"

_SQLITE: dict[int, tuple[str, str, str]] = {
    sqlite3.SQLITE_FULL: (
        "full", "the disk is full",
        "free some space: what could not be written can be written again",
    ),
    sqlite3.SQLITE_READONLY: ("read-only", "it cannot be written", _ELSEWHERE),
    sqlite3.SQLITE_PERM: ("read-only", "access is denied", _ELSEWHERE),
    sqlite3.SQLITE_AUTH: ("read-only", "access is denied", _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("unopenable", "the file cannot be opened", _ELSEWHERE),
    sqlite3.SQLITE_BUSY: (
        "locked", "another process holds a lock on it",
        "find the process that keeps it open (a copy or a backup?), or use another file",
    ),
    sqlite3.SQLITE_LOCKED: (
        "locked", "another connection holds a lock on it",
        "find the process that keeps it open, or use another file",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "corrupt", "the file is damaged",
        "rescue what is in it with `sqlite3 FILE .recover`, and move it away",
    ),
    sqlite3.SQLITE_NOTADB: (
        "corrupt", "the file is not an SQLite database, or its head is damaged",
        "move it away, or name another file",
    ),
    sqlite3.SQLITE_IOERR: (
        "i/o", "the disk reports an error",
        "check the disk, its space and (on a network file system) the connection",
    ),
}

_SYSTEM: dict[int | None, tuple[str, str, str]] = {
    errno.ENOSPC: _SQLITE[sqlite3.SQLITE_FULL],
    errno.EDQUOT: ("full", "your disk quota is used up", "free some space and write again"),
    errno.EROFS: ("read-only", "its file system is read-only", _ELSEWHERE),
    errno.EACCES: ("read-only", "permission is denied", _ELSEWHERE),
    errno.EPERM: ("read-only", "permission is denied", _ELSEWHERE),
    errno.ENOTDIR: ("not a folder", "a part of its path is a file, not a folder", _ELSEWHERE),
    errno.EEXIST: ("not a folder", "its folder's path is a file, not a folder", _ELSEWHERE),
    errno.EISDIR: ("not a file", "it is a folder, not a file", "name a file inside of it"),
    errno.ENAMETOOLONG: ("unopenable", "its path is too long", "choose a shorter one"),
}


def store_error(path: str, doing: str, cause: BaseException) -> StoreError:
    """Return the error to raise for what SQLite or the system raised.

    Parameters
    ----------
    path
        The file.
    doing
        ``"open"``, ``"read"``, ``"write to"`` or ``"close"``, for the text.
    """
    if isinstance(cause, OSError):
        known = _SYSTEM.get(cause.errno)
    else:
        known = _SQLITE.get(getattr(cause, "sqlite_errorcode", -1) & 0xFF)
    reason, what, advice = known or ("failed", "it failed", "look at the file and its disk")
    return StoreError(
        f"Cannot {doing} the run store {path}: {what} ({cause}). Nothing was changed. "
        f"What to do: {advice}.",
        path=path, reason=reason,
    )


@contextmanager
def sqlite_translated(path: str, doing: str) -> Iterator[None]:
    """Raise what SQLite or the system raises inside as StoreError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StoreError):
            raise
        raise store_error(path, doing, error) from error
