"""The run store in a file: SQLite in WAL mode.

Lives here: what SQLite alone needs (making the file, settings of a connection,
how transactions begin). Does not live here: statements and tables, which
another database would share.

A commit costs no fsync (``synchronous=NORMAL``): it survives ``kill -9`` of the
process at any moment; a power cut may take the last commits, never the file.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects.sqlite import insert

from dataflow.exceptions import StoreError
from dataflow.store import Gulp
from dataflow.stores.errors import translated
from dataflow.stores.sql import SqlStore

_making = threading.Lock()
_WAL_PAUSE_S = 0.005
_WAL_LIMIT_BYTES = 16 * 1024 * 1024  # the WAL file is cut back to this after a checkpoint


class SqliteStore(SqlStore):
    """Open the store in ``path``; make it where there is none.

    Parameters
    ----------
    path
        The file. Missing folders are made for the owner alone (0700), and so
        is the file (0600); what is there keeps its mode.
    busy_timeout_s
        How long to wait for another process that writes, before StoreError.

    Raises
    ------
    StoreError
        It cannot be opened: the text says why and what to do.
    StoreVersionError
        It was written by a newer version; nothing was touched.
    """

    def __init__(self, path: str | Path, *, busy_timeout_s: float = 20.0) -> None:
        self.path = Path(path).absolute()
        where = str(self.path)
        with translated(where, "open"):
            _make_file(self.path)
            engine = create_engine(
                URL.create("sqlite", database=where),
                connect_args={"timeout": busy_timeout_s, "cached_statements": 64},
            )
            event.listen(engine, "connect", _set_up)
            event.listen(engine, "begin", _begin)
        super().__init__(engine, where, insert)
        try:
            self.bring_up()
        except BaseException:
            engine.dispose()
            raise
        self._file = _identity(self.path)

    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        """Write a gulp; see the port. A file that was moved or deleted is noticed here."""
        self._check()
        super().write(flow_run_id, gulp)

    def write_all(self, gulps: Sequence[tuple[str, Gulp]]) -> None:
        """Write gulps in one transaction; see :meth:`write`."""
        self._check()
        super().write_all(gulps)

    def _check(self) -> None:
        """Raise where the file has no name any more: SQLite would go on writing into it."""
        if _identity(self.path) != self._file:
            raise StoreError(
                f"Cannot write to the run store {self.path}: the file was moved, deleted or "
                "replaced while it was in use. Nothing was changed. What to do: put it back; "
                "its records so far are in the file that was moved.",
                path=str(self.path), reason="moved",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _make_file(path: Path) -> None:
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


def _set_up(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # sqlite3 begins nothing by itself: _begin does
    _use_wal(connection)
    for setting in (
        "synchronous = NORMAL",
        f"journal_size_limit = {_WAL_LIMIT_BYTES}",
        "cache_size = -8192",  # KiB
    ):
        connection.execute(f"PRAGMA {setting}")


def _use_wal(connection: Any) -> None:
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


def _begin(connection: Connection) -> None:
    """Begin by hand. A writer takes the lock at once: one that reads first cannot wait for it."""
    writes = connection.get_execution_options().get("dataflow_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
