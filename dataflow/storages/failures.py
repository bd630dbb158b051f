"""The border at which the errors of a place become ResultStorageError.

Lives here: the translation, once for all storages. Does not live here: what is
refused for whose it is (``privacy.py``).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from dataflow.exceptions import DataflowError, ResultStorageError

_ELSEWHERE = "name a place that can be written (result_storage=, DATAFLOW_HOME)"
_KNOWN: dict[int | None, tuple[str, str, str]] = {
    errno.ENOSPC: ("full", "the disk is full",
                   "free some space (`dataflow cache gc --max-size 1G` drops old results)"),
    errno.EDQUOT: ("full", "your disk quota is used up",
                   "free some space (`dataflow cache gc` drops old results)"),
    errno.EFBIG: ("full", "the file would be larger than is allowed", _ELSEWHERE),
    errno.EROFS: ("read-only", "its file system is read-only", _ELSEWHERE),
    errno.EACCES: ("read-only", "permission is denied", _ELSEWHERE),
    errno.EPERM: ("read-only", "permission is denied", _ELSEWHERE),
    errno.ENOTDIR: ("not a folder", "a part of its path is a file, not a folder", _ELSEWHERE),
    errno.EEXIST: ("not a folder", "a part of its path is a file, not a folder", _ELSEWHERE),
    errno.EISDIR: ("not a file", "a folder has the name of the file", "choose another name"),
    errno.ENAMETOOLONG: ("name", "its path is too long", "choose a shorter one"),
    errno.ELOOP: ("refused file", "it is a symbolic link, which is not followed",
                  "put the file itself in its place"),
    errno.ENOENT: ("gone", "a folder of it cannot be made, or a link leads nowhere",
                   "mount it or make it, or " + _ELSEWHERE),
    errno.ESTALE: ("gone", "the network file system has lost it", "mount it again"),
}


@contextmanager
def translated(location: str, doing: str, *foreign: type[BaseException]) -> Iterator[None]:
    """Raise what a place raises inside as ResultStorageError; FileNotFoundError stays.

    Parameters
    ----------
    doing
        ``"read"``, ``"write to"``, … for the text.
    foreign
        Kinds of errors beside OSError that the place's library raises.
    """
    try:
        yield
    except (DataflowError, FileNotFoundError):
        raise
    except _kinds(foreign) as error:
        raise storage_error(location, doing, error) from error


def _kinds(foreign: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    return (OSError, *foreign)


def storage_error(location: str, doing: str, error: BaseException) -> ResultStorageError:
    """Return the error that says what happened where, and what to do."""
    known = _KNOWN.get(error.errno) if isinstance(error, OSError) else None
    reason, what, advice = known or ("failed", "it failed", "look at the place and the way to it")
    text = f"{type(error).__name__}: {error}"
    return ResultStorageError(
        f"Cannot {doing} the result storage {location}: {what} ({text[:500]}). "
        f"What to do: {advice}.", location=location, reason=reason)
