"""Waiting for a lock by asking again and again.

Lives here: the four methods that wait, for managers that can only try. Does not
live here: the trying (``memory.py``, ``filesystem.py``).
"""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Callable, Iterator

from dataflow.locking.protocol import LockManager

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.1


def pauses(timeout: float | None, clock: Callable[[], float]) -> Iterator[float]:
    """Yield how long to sleep before the next question, growing; end when the time is up."""
    end = None if timeout is None else clock() + timeout
    pause = _FIRST_PAUSE_S
    while True:
        left = pause if end is None else end - clock()
        if left <= 0:
            return
        yield min(pause, left)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


class AskingLockManager(LockManager):
    """Base of lock managers that can take a lock or not, at once.

    Subclasses write :meth:`try_lock`, ``release_lock``, ``is_locked`` and ``is_lock_holder``.
    """

    @abc.abstractmethod
    def try_lock(self, key: str, holder: str, hold_timeout: float | None) -> bool:
        """Take the lock if it is free or the holder's own; never wait."""

    def acquire_lock(self, key: str, holder: str, acquire_timeout: float | None = None,
                     hold_timeout: float | None = None) -> bool:
        """Take the lock of a key; its holder may take it again."""
        if self.try_lock(key, holder, hold_timeout):
            return True
        for pause_s in pauses(acquire_timeout, time.monotonic):
            time.sleep(pause_s)
            if self.try_lock(key, holder, hold_timeout):
                return True
        return False

    async def aacquire_lock(self, key: str, holder: str, acquire_timeout: float | None = None,
                            hold_timeout: float | None = None) -> bool:
        """Take the lock as :meth:`acquire_lock`, without holding up the event loop."""
        if self.try_lock(key, holder, hold_timeout):
            return True
        for pause_s in pauses(acquire_timeout, time.monotonic):
            await asyncio.sleep(pause_s)
            if self.try_lock(key, holder, hold_timeout):
                return True
        return False

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody has the lock; return False when the time is up first."""
        if not self.is_locked(key):
            return True
        for pause_s in pauses(timeout, time.monotonic):
            time.sleep(pause_s)
            if not self.is_locked(key):
                return True
        return False

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait as :meth:`wait_for_lock`, without holding up the event loop."""
        if not self.is_locked(key):
            return True
        for pause_s in pauses(timeout, time.monotonic):
            await asyncio.sleep(pause_s)
            if not self.is_locked(key):
                return True
        return False


def not_held(key: str, holder: str) -> ValueError:
    """Return the error of a lock that is given back by somebody who does not have it."""
    return ValueError(f"{holder} does not hold the lock of {key!r}: it was never taken, was "
                      "given back already, or its time was up")
