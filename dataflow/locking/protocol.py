"""What a lock manager does.

Lives here: :class:`LockManager`. Does not live here: its implementations
(``memory.py``, ``filesystem.py``).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class LockManager(Protocol):
    """Locks by key, held by a holder until released or until their time is up.

    A manager of one's own must be picklable where it is part of a cache policy, for
    it is used where tasks run. Times are in seconds.
    """

    def acquire_lock(self, key: str, holder: str, acquire_timeout: float | None = None,
                     hold_timeout: float | None = None) -> bool:
        """Take the lock of a key; its holder may take it again.

        Parameters
        ----------
        acquire_timeout
            How long to wait for it; 0: not at all, None: for ever.
        hold_timeout
            After so long it is free again; None: never. Taken again, it runs anew.

        Returns
        -------
        bool
            Whether the holder has it.
        """
        ...

    async def aacquire_lock(self, key: str, holder: str, acquire_timeout: float | None = None,
                            hold_timeout: float | None = None) -> bool:
        """Take the lock as :meth:`acquire_lock`, without holding up the event loop."""
        ...

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back. Raises ValueError where the holder does not have it."""
        ...

    def is_locked(self, key: str) -> bool:
        """Tell whether anybody has the lock."""
        ...

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Tell whether this holder has the lock."""
        ...

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody has the lock; return False when the time is up first."""
        ...

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait as :meth:`wait_for_lock`, without holding up the event loop."""
        ...
