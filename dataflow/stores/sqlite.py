"""The run store in a file: SQLite in WAL mode.

Lives here: what SQLite alone needs (making the file, settings of a connection,
how transactions begin). Does not live here: statements and tables, which
another database would share.

A commit costs no fsync (``synchronous=NORMAL``): it survives ``kill -9`` of the
process at any moment; a power cut may take the last commits, never the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects.sqlite import insert

from dataflow.claiming.sqlite_claims import SqliteClaims
from dataflow.claims import Claims
from dataflow.exceptions import StoreError
from dataflow.sqlite_files import identity, make_file, use_wal
from dataflow.store import Gulp
from dataflow.stores.errors import translated
from dataflow.stores.sql import SqlStore

_WAL_LIMIT_BYTES = 16 * 1024 * 1024  # the WAL file is cut back to this after a checkpoint
CLAIMS = "claims.db"
"""Name of the file beside the store's in which claims are kept."""


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
            make_file(self.path)
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
        self._file = identity(self.path)
        self._claims = SqliteClaims(self.path.with_name(CLAIMS))

    def rest(self) -> bool:
        """Copy all into the file itself, so that it may be copied, moved or replaced; see the port.

        Where others read at the moment it stays in the WAL, as it does while they have it open.
        """
        with translated(self._where, "write to"), self._engine.connect() as connection:
            _copy_wal_back(connection.connection.driver_connection)
        self._forget_runs()
        return True

    def use_again(self) -> None:
        """See the port."""
        with translated(self._where, "open"):
            make_file(self.path)
        self._check()
        self.bring_up()

    def claims(self) -> Claims:
        """Return the claims in a file of their own, made beside the store's at the first use."""
        return self._claims

    def close(self) -> None:
        """Give the connections back."""
        self._claims.close()
        super().close()

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
        if identity(self.path) != self._file:
            raise StoreError(
                f"Cannot write to the run store {self.path}: the file was moved, deleted or "
                "replaced while it was in use. Nothing was changed. What to do: put it back; "
                "its records so far are in the file that was moved.",
                path=str(self.path), reason="moved",
            )


def _set_up(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # sqlite3 begins nothing by itself: _begin does
    use_wal(connection)
    for setting in (
        "synchronous = NORMAL",
        f"journal_size_limit = {_WAL_LIMIT_BYTES}",
        "cache_size = -8192",  # KiB
    ):
        connection.execute(f"PRAGMA {setting}")


def _copy_wal_back(connection: Any) -> None:
    (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")


def _begin(connection: Connection) -> None:
    """Begin by hand. A writer takes the lock at once: one that reads first cannot wait for it."""
    writes = connection.get_execution_options().get("dataflow_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
