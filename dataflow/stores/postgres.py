"""The run store in a PostgreSQL database.

Lives here: what PostgreSQL alone needs: connections, snapshots for readers,
conflicts between writers, COPY for many rows. Does not live here: statements
and tables, which SQLite shares; the meaning of its errors (``errors.py``).

A commit is as durable as the server makes it. What is lost with a connection is
written again by the recorder: every write may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from dataflow.claim import Claims
from dataflow.claiming.postgres_claims import PostgresClaims
from dataflow.postgres import driver, plain_url, shown
from dataflow.stores.sql import SqlStore
from dataflow.stores.writing import GulpWriter, Values

_Answer = TypeVar("_Answer")
_SPACE = 0x64665F73  # of our advisory locks, to stay clear of other people's
_COPIED = 100  # rows from which on COPY is the faster way
_CONFLICTS = {"40001", "40P01"}  # serialization failure, deadlock
_TRIES = 4
_PAUSE_S = 0.01


class PostgresStore(SqlStore):
    """Open the store in a database; its tables are made where there are none.

    Parameters
    ----------
    url
        ``postgresql://user:password@host:port/database``, or any other form that
        libpq reads. The database must be there, and empty or a store.

    Raises
    ------
    StoreError
        It cannot be reached, psycopg is missing, or other tables are there. No
        text has the password in it.
    StoreVersionError
        It was written by a newer version; nothing was touched.
    """

    def __init__(self, url: str) -> None:
        psycopg, plain, where = driver(), plain_url(url), shown(url)
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(plain, application_name="dataflow"),
            paramstyle="format",  # rows go as tuples
            pool_pre_ping=True, pool_size=2, max_overflow=14,
        )
        super().__init__(engine, where, insert, PostgresGulpWriter)
        # several statements of one question see the same moment
        self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
        self._claims = PostgresClaims(plain)
        try:
            self.bring_up()
        except BaseException:
            engine.dispose()
            raise

    def claims(self) -> Claims:
        """Return the claims, in a table of the same database."""
        return self._claims

    def close(self) -> None:
        """Give the connections back."""
        self._claims.close()
        super().close()

    def _transact(self, change: Callable[[Connection], _Answer]) -> _Answer:
        """Write; once more where another writer was in the way, or the connection was lost."""
        for left in reversed(range(_TRIES)):
            try:
                return super()._transact(change)
            except DBAPIError as error:
                conflict = getattr(error.orig, "sqlstate", None) in _CONFLICTS
                if not left or not (conflict or error.connection_invalidated):
                    raise
            time.sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    def _lock_tables(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, 0)", (_SPACE,))


class PostgresGulpWriter(GulpWriter):
    """Writes many rows by COPY into a table of the connection's own, and from there."""

    def _many(self, connection: Connection, statement: str, rows: list[Values]) -> None:
        super()._many(connection, statement, rows)
