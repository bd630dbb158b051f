"""Locks between the threads of one process.

Lives here: :class:`MemoryLockManager`. Does not live here: locks between
processes (``filesystem.py``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from dataflow.locking.asking import AskingLockManager, not_held


class LockTable:
    """Who holds which lock until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float | None]] = {}
        self._turn = threading.Lock()

    def holder(self, key: str) -> str | None:
        """Return who holds a lock, None where it is free."""
        with self._turn:
            return self._holder(key)

    def take(self, key: str, holder: str, hold_s: float | None) -> bool:
        """Take a lock that is free or the holder's own."""
        with self._turn:
            if self._holder(key) not in (None, holder):
                return False
            self._held[key] = holder, None if hold_s is None else self._clock() + hold_s
            return True

    def release(self, key: str, holder: str) -> bool:
        """Give a lock back; return whether the holder had it."""
        with self._turn:
            if self._holder(key) != holder:
                return False
            del self._held[key]
            return True

    def _holder(self, key: str) -> str | None:
        holder, until = self._held.get(key, (None, None))
        if until is not None and until <= self._clock():
            del self._held[key]
            return None
        return holder


class MemoryLockManager(AskingLockManager):
    """Locks between the threads of a process: all of these managers in it share them.

    Processes do not see each other's: on Dask use
    :class:`~dataflow.locking.filesystem.FileSystemLockManager`.
    """

    _table = LockTable()

    def try_lock(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        """Take the lock if it is free or the holder's own; never wait."""
        return self._table.take(key, holder, hold_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back. Raises ValueError where the holder does not have it."""
        if not self._table.release(key, holder):
            raise not_held(key, holder)

    def is_locked(self, key: str) -> bool:
        """Tell whether anybody has the lock."""
        return self._table.holder(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Tell whether this holder has the lock."""
        return self._table.holder(key) == holder

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "MemoryLockManager()"


def _new_table() -> None:
    MemoryLockManager._table = LockTable()  # a child has none of its parent's threads


os.register_at_fork(after_in_child=_new_table)
