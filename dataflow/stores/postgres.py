"""The run store in a PostgreSQL database.

Lives here: what PostgreSQL alone needs: connections, snapshots for readers,
conflicts between writers, COPY for many rows. Does not live here: statements
and tables, which SQLite shares; the meaning of its errors (``errors.py``).

A commit is as durable as the server makes it. What is lost with a connection is
written again by the recorder: every write may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    create_engine,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from dataflow.claim import Claims
from dataflow.claiming.postgres_claims import PostgresClaims
from dataflow.postgres import driver, plain_url, shown
from dataflow.stores import schema
from dataflow.stores.errors import postgres_error
from dataflow.stores.sql import SqlStore
from dataflow.stores.writing import GulpWriter, Values

schema.named_task_runs.dialect_options["postgresql"]["where"] = text("name IS NOT NULL")

_Answer = TypeVar("_Answer")
_SPACE = 0x64665F73  # of our advisory locks, to stay clear of other people's
_COPIED = 100  # rows from which on COPY is the faster way
_CONFLICTS = {"40001", "40P01", "23505"}  # serialization failure, deadlock, a key that is there
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
        psycopg = driver()
        for left in reversed(range(_TRIES)):
            try:
                return super()._transact(change)
            except (DBAPIError, psycopg.Error) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                again = getattr(cause, "sqlstate", None) in _CONFLICTS or (
                    isinstance(error, DBAPIError) and error.connection_invalidated)
                if not left or not again:
                    raise postgres_error(self._where, "write to", cause) from error
            time.sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    def _lock_tables(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s, 0)", (_SPACE,))


class PostgresGulpWriter(GulpWriter):
    """Writes many rows by COPY into a table of the connection's own, and from there.

    10,000 log lines take 0.1 s this way and 0.5 s as statements of their own.
    """

    _copying = False  # while the second set of statements is made

    def __init__(self, dialect: Dialect, insert: Callable[[Table], Any]) -> None:
        super().__init__(dialect, insert)
        self._copying = True
        self._copied = {name: self._statement(made) for name, made in self._made().items()}

    def _values(self, table: Table, skip: Sequence[str]) -> Any:
        if not self._copying:
            return super()._values(table, skip)
        names = [column.name for column in table.columns if column.name not in skip]
        new = Table(f"new_{table.name}", MetaData(), *(
            Column(name, table.c[name].type) for name in names))
        return self._insert(table).from_select(names, select(new))

    def _put(self, connection: Connection, table: str, rows: list[Values]) -> None:
        if len(rows) < _COPIED or not _distinct(table, rows):
            super()._put(connection, table, rows)
            return
        columns = [column for column in schema.metadata.tables[table].columns
                   if (table, column.name) not in _LEFT_OUT]
        names = ", ".join(f'"{column.name}"' for column in columns)
        connection.exec_driver_sql(
            f"CREATE TEMP TABLE IF NOT EXISTS new_{table} ON COMMIT DROP AS "
            f"SELECT {names} FROM {table} WITH NO DATA")
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY new_{table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([_TYPES[type(column.type)] for column in columns])
            for row in rows:
                copy.write_row(row)
        connection.exec_driver_sql(self._copied[table])


_LEFT_OUT = {  # filled otherwise
    ("spans", "id"), ("flow_runs", "key"), ("calls", "fault"), ("calls", "committed"),
    ("calls", "txn_values")}
_TYPES = {Integer: "int4", BigInteger: "int8", SmallInteger: "int2", Double: "float8",
          Text: "text", LargeBinary: "bytea"}
_KEYS = {"calls": 2, "task_runs": 3}  # columns of the primary key, first in a row


def _distinct(table: str, rows: list[Values]) -> bool:
    """Tell whether one statement can take all rows: it can change none of them twice."""
    if table not in _KEYS:
        return True
    return len({row[: _KEYS[table]] for row in rows}) == len(rows)
