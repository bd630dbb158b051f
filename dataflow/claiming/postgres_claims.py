"""Claims in the PostgreSQL database of the run store: for workers on any machine.

Lives here: the table, one connection per process, a lock per partition. Does
not live here: which keys are granted (``deciding.py``), SQLAlchemy.

Commits here are not waited for (``synchronous_commit = off``): a server that
crashes may lose the claims of its last second, and nothing else.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from dataflow.claim import Claims, Grant
from dataflow.claiming.deciding import (
    Kept,
    KeySets,
    dead_among,
    denied_of,
    granted_of,
    is_over,
)
from dataflow.exceptions import StoreError
from dataflow.postgres import driver, plain_url, shown

if TYPE_CHECKING:
    from psycopg import Connection

_Answer = TypeVar("_Answer")
_SPACE = 0x64665F63  # of our advisory locks, to stay clear of other people's
_TRIES = 3
_CREATE = """
    CREATE TABLE IF NOT EXISTS claims (
        id BIGINT PRIMARY KEY, partition TEXT NOT NULL, owner TEXT NOT NULL,
        until_s DOUBLE PRECISION NOT NULL, keys BYTEA NOT NULL);
    CREATE INDEX IF NOT EXISTS claims_partition ON claims (partition);
"""
_open: weakref.WeakSet[PostgresClaims] = weakref.WeakSet()
_left_behind: list[Any] = []  # connections of the parent process: never to be used or closed


class PostgresAddress:
    """Claims in a database. The password travels along where the URL has one, and is not shown."""

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        self.url = url

    def reached(self) -> Claims:
        """Return the claims; they are connected to when they are used."""
        return PostgresClaims(self.url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PostgresAddress) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"PostgresAddress({shown(self.url)!r})"


class PostgresClaims(Claims):
    """Claims in the database of a URL.

    Raises
    ------
    StoreError
        The server cannot be reached; the text has no password in it.
    """

    def __init__(self, url: str) -> None:
        self._url = plain_url(url)
        self._turn = threading.RLock()
        self._connection: Connection[Any] | None = None
        self._sets = KeySets()
        _open.add(self)

    def take(
        self, partition: str, keys: Sequence[bytes], owner: str, *, now_s: float, lease_s: float,
        replacing: int | None = None,
    ) -> Grant:
        partition = partition.replace("\x00", "\ufffd")

        def taking(connection: Connection[Any]) -> Grant:
            # all that takes time is done before the lock is taken: others wait for it
            dead = dead_among((each.owner for each in self._look(connection, partition)), owner)
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
                                   (_SPACE, partition))
                there = self._look(connection, partition)
                over = [each.id for each in there if is_over(each, now_s, dead, replacing)]
                if over:
                    connection.execute("DELETE FROM claims WHERE id = ANY(%s)", (over,))
                live = [each for each in there if each.id not in over]
                denied = denied_of(keys, self._sets.of(partition, live))
                granted = granted_of(keys, denied)
                if not granted:
                    return Grant(None, denied)
                number = secrets.randbits(62)
                connection.execute(
                    "INSERT INTO claims VALUES (%s, %s, %s, %s, %s)",
                    (number, partition, owner, now_s + lease_s, b"".join(granted)))
            return Grant(number, denied)

        return self._ask("write to", taking)

    def release(self, claim_id: int) -> None:
        self._ask("write to", lambda connection: connection.execute(
            "DELETE FROM claims WHERE id = %s", (claim_id,)))

    def renew(self, claim_ids: Iterable[int], until_s: float) -> None:
        ids = list(claim_ids)
        self._ask("write to", lambda connection: connection.execute(
            "UPDATE claims SET until_s = %s WHERE id = ANY(%s)", (until_s, ids)))

    @property
    def address(self) -> PostgresAddress:
        return PostgresAddress(self._url)

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def leave_behind(self) -> None:
        """Begin anew in a forked process, where the parent's connection must not be used."""
        self._turn = threading.RLock()
        if self._connection is not None:
            _left_behind.append(self._connection)
        self._connection = None

    def _look(self, connection: Connection[Any], partition: str) -> list[Kept]:
        """Return the claims of a partition, and learn the keys of new ones."""
        there = [Kept(*row) for row in connection.execute(
            "SELECT id, owner, until_s FROM claims WHERE partition = %s", (partition,))]
        unknown = self._sets.unknown(partition, there)
        if unknown:
            for number, blob in connection.execute(
                    "SELECT id, keys FROM claims WHERE id = ANY(%s)", (unknown,), binary=True):
                self._sets.learn(partition, number, blob)
        return there

    def _ask(self, doing: str, question: Callable[[Connection[Any]], _Answer]) -> _Answer:
        """Ask on the connection, on a fresh one where it was lost: asking twice does no harm."""
        psycopg = driver()
        with self._turn:
            for left in reversed(range(_TRIES)):
                try:
                    if self._connection is None:
                        self._connection = self._connected()
                    return question(self._connection)
                except psycopg.Error as error:
                    self.close()
                    if not left or not isinstance(error, psycopg.OperationalError):
                        where = shown(self._url)
                        raise StoreError(
                            f"Cannot {doing} the claims in the run store {where}: {error}. "
                            "Nothing was changed. What to do: see to the server and its network.",
                            path=where, reason="failed",
                        ) from error
        raise AssertionError("unreachable")

    def _connected(self) -> Connection[Any]:
        connection: Connection[Any] = driver().connect(self._url, autocommit=True)
        connection.execute("SET synchronous_commit = off")
        if connection.execute("SELECT to_regclass('claims')").fetchone() == (None,):
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_SPACE,))
                connection.execute(_CREATE)
        return connection


def _after_fork() -> None:
    for claims in list(_open):
        claims.leave_behind()


os.register_at_fork(after_in_child=_after_fork)
