"""Whose files are trusted: what is kept here is unpickled, which runs what is in it.

Lives here: the check of owner and mode of a file and its folders. Does not live
here: reading them (``local.py``).
"""

from __future__ import annotations

import os
import stat

from dataflow.exceptions import ResultStorageError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def check_private(path: str, seen: os.stat_result) -> None:
    """Raise ResultStorageError unless only we (or root) could have written it.

    The field ``reason`` is ``"refused file"`` or ``"refused folder"``.
    """
    if seen.st_uid in (os.geteuid(), 0) and not seen.st_mode & _WRITABLE_BY_OTHERS:
        return
    kind = "folder" if stat.S_ISDIR(seen.st_mode) else "file"
    mode = stat.S_IMODE(seen.st_mode)
    if seen.st_uid not in (os.geteuid(), 0):
        why = f"it belongs to {_user(seen.st_uid)}, and you are {_user(os.geteuid())}"
        mend = "use a result storage of your own, or have its owner changed (chown)"
    else:
        why = f"others could write it (mode {mode:04o})"
        mend = f"if nobody did, chmod {mode & ~_WRITABLE_BY_OTHERS:04o} {path}"
    raise ResultStorageError(
        f"The {kind} {path} of results is refused: {why}, and reading results can run code "
        f"that is in them. What to do: {mend}.",
        location=path, reason=f"refused {kind}", owner=seen.st_uid, mode=mode)


def _user(number: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(number).pw_name!r} ({number})"
    except KeyError:
        return f"user {number}"
