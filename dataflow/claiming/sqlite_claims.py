"""Claims in a file of their own beside the run store, so that its one writer is not held up.

Lives here: the file, its one table, one connection per process. Does not live
here: which keys are granted (``deciding.py``).

Nothing is ever synced to the disk: a claim has to outlive its process, not the
machine. After a power cut the file may be damaged; it is then put aside.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataflow.claim import Claims, Grant
from dataflow.claiming.deciding import (
    Kept,
    KeySets,
    dead_among,
    denied_of,
    granted_of,
    is_over,
)
from dataflow.claims import this_machine
from dataflow.sqlite_files import identity, make_file, use_wal
from dataflow.store_errors import sqlite_translated

_BUSY_S = 30.0
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TABLES = (
    """CREATE TABLE IF NOT EXISTS claims (
        id INTEGER PRIMARY KEY, partition TEXT NOT NULL, owner TEXT NOT NULL,
        until_s REAL NOT NULL, keys BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS claims_partition ON claims (partition)",
    "CREATE TABLE IF NOT EXISTS token (id INTEGER PRIMARY KEY, token TEXT NOT NULL)",
)
_open: weakref.WeakSet[SqliteClaims] = weakref.WeakSet()
_left_behind: list[sqlite3.Connection] = []  # of the parent process: never to be used or closed


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """Claims in a file: where it is, and what stands in it."""

    machine: str
    path: str
    token: str

    def reached(self) -> Claims | None:
        """Open the file; None on another machine, or where this process does not see it."""
        if self.machine != this_machine() or not os.path.exists(self.path):
            return None
        claims = SqliteClaims(self.path)
        if claims.address == self:
            return claims
        claims.close()
        return None


class SqliteClaims(Claims):
    """Open the claims in ``path``; the file is made, for its owner alone, at the first use.

    Raises
    ------
    StoreError
        It cannot be opened or written: the text says why.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = os.path.abspath(path)
        self._turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._token = ""
        self._sets = KeySets()
        _open.add(self)

    def take(
        self, partition: str, keys: Sequence[bytes], owner: str, *, now_s: float, lease_s: float,
        replacing: int | None = None,
    ) -> Grant:
        with self._using("write to") as connection:
            # all that takes time is done before the lock is taken: others wait for it
            there = self._look(connection, partition)
            dead = dead_among((claim.owner for claim in there), owner)
            blob = b"".join(keys)
            with _writing(connection):
                live: list[Kept] = []
                for claim in self._look(connection, partition):
                    if is_over(claim, now_s, dead, replacing):
                        connection.execute("DELETE FROM claims WHERE id = ?", (claim.id,))
                    else:
                        live.append(claim)
                denied = denied_of(keys, self._sets.of(partition, live))
                if denied:
                    blob = b"".join(granted_of(keys, denied))
                if not blob:
                    return Grant(None, denied)
                number = secrets.randbits(62)  # never used again, not even in another file
                connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?)",
                                   (number, partition, owner, now_s + lease_s, blob))
            return Grant(number, denied)

    def release(self, claim_id: int) -> None:
        with self._using("write to") as connection:
            connection.execute("DELETE FROM claims WHERE id = ?", (claim_id,))

    def renew(self, claim_ids: Iterable[int], until_s: float) -> None:
        with self._using("write to") as connection, _writing(connection):
            connection.executemany("UPDATE claims SET until_s = ? WHERE id = ?",
                                   [(until_s, number) for number in claim_ids])

    @property
    def address(self) -> SqliteAddress:
        with self._using("open"):
            return SqliteAddress(this_machine(), self._path, self._token)

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

    def _look(self, connection: sqlite3.Connection, partition: str) -> list[Kept]:
        """Return the claims of a partition, and learn the keys of new ones."""
        there = [Kept(*row) for row in connection.execute(
            "SELECT id, owner, until_s FROM claims WHERE partition = ?", (partition,))]
        for number in self._sets.unknown(partition, there):
            row = connection.execute("SELECT keys FROM claims WHERE id = ?", (number,)).fetchone()
            if row is not None:
                self._sets.learn(partition, number, row[0])
        return there

    @contextmanager
    def _using(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._turn, sqlite_translated(self._path, doing):
            if self._connection is not None and identity(self._path) != self._file:
                self._connection.close()  # deleted or replaced meanwhile: who comes now sees that
                self._connection = None
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection

    def _opened(self) -> sqlite3.Connection:
        make_file(Path(self._path))
        try:
            connection, self._token = _connect(self._path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BROKEN:
                raise
            _put_aside(self._path)
            make_file(Path(self._path))
            connection, self._token = _connect(self._path)
        self._file = identity(self._path)
        return connection


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _connect(path: str) -> tuple[sqlite3.Connection, str]:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None,
                                 check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        return connection, _set_up(connection)
    except BaseException:
        connection.close()
        raise


def _set_up(connection: sqlite3.Connection) -> str:
    """Make the tables where they are missing; return the token that stands in the file."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        use_wal(connection)
    try:
        found = connection.execute("SELECT token FROM token").fetchone()
    except sqlite3.OperationalError:
        found = None
    if found is None:
        with _writing(connection):
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO token VALUES (1, ?)",
                               (secrets.token_hex(16),))
            found = connection.execute("SELECT token FROM token").fetchone()
    return str(found[0])


def _put_aside(path: str) -> None:
    os.replace(path, f"{path}.broken")
    for tail in ("-wal", "-shm"):
        Path(path + tail).unlink(missing_ok=True)


def _after_fork() -> None:
    for claims in list(_open):
        claims.leave_behind()


os.register_at_fork(after_in_child=_after_fork)
