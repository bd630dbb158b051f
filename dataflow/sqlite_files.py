"""Files of SQLite: made for their owner alone, turned to WAL, told from their successors.

Lives here: what the run store and the claims beside it do alike with a file.
Does not live here: tables, transactions, SQLAlchemy.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

_making = threading.Lock()
_WAL_PAUSE_S = 0.005


def identity(path: str | Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None where there is none."""
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def make_file(path: Path) -> None:
    """Make the file with its folders where it is missing; raise OSError where it cannot be used.

    A file that is there is never opened by us: closing it again would drop the
    locks that SQLite holds on it in this process (POSIX locks belong to the
    process), and another process could then delete the WAL under our feet.
    """
    with _making:
        missing = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            _check_file(path)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.R_OK | os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code))


def use_wal(connection: Any) -> None:
    """Turn WAL on. SQLite does not wait where several turn it on at once in a new file: we do."""
    (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    until = time.monotonic() + patience_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_WAL_PAUSE_S)


def _make_anew_after_fork() -> None:
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_make_anew_after_fork)
