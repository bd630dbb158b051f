"""Claims that this process holds: whose result is being computed here.

Lives here: taking claims, and the thread that renews them while they are held.
Does not live here: where claims are kept (``dataflow.claims``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dataflow.claims import Claims, claims_at, owner_of_this_process
from dataflow.exceptions import StoreError
from dataflow.locking.protocol import LockManager

LEASE_S = 30.0
"""A claim whose process has gone without a word counts for so long, in seconds."""

_RENEW_S = 10.0
logger = logging.getLogger("dataflow.task_runs")


class HeldClaim:
    """Results that this process computes while nobody else does.

    Attributes
    ----------
    denied
        Positions of the keys that somebody else has claimed.
    """

    def __init__(self, claims: Claims | None, partition: str, keys: Sequence[bytes],
                 locks: LockManager | None = None) -> None:
        self._claims = claims
        self._partition = partition
        self._id: int | None = None
        self._locks = locks
        self._holder = f"{owner_of_this_process()}-{id(self)}"
        self._locked: set[bytes] = set()
        self.denied: frozenset[int] = frozenset()
        if claims is not None and keys:
            self._take(keys, None)
        if locks is not None:
            self._lock(keys)

    def _lock(self, keys: Sequence[bytes]) -> None:
        """Take the user's locks of what was granted; what is locked elsewhere is denied."""
        assert self._locks is not None
        denied = set(self.denied)
        for at, key in enumerate(keys):
            if at not in denied:
                if self._locks.acquire_lock(key.hex(), self._holder, acquire_timeout=0):
                    self._locked.add(key)
                else:
                    denied.add(at)
        if len(denied) > len(self.denied):
            self.denied = frozenset(denied)
            self.narrow([key for key in keys if key in self._locked])

    def _unlock(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self._locked.discard(key)
            if self._locks is not None:
                with suppress(ValueError):  # its time was up
                    self._locks.release_lock(key.hex(), self._holder)

    def _take(self, keys: Sequence[bytes], replacing: int | None) -> None:
        assert self._claims is not None
        try:
            grant = self._claims.take(
                self._partition, keys, owner_of_this_process(), now_s=time.time(),
                lease_s=LEASE_S, replacing=replacing)
        except StoreError as error:
            _say_once(f"Nobody is asked who computes what, results may be computed twice: {error}")
            return
        self.denied = grant.denied
        self._id = grant.id
        _held.put(self, self._id)

    @property
    def id(self) -> int | None:
        """Number of the claim, None where nothing was granted."""
        return self._id

    @property
    def claims(self) -> Claims | None:
        """Where it is kept."""
        return self._claims

    def narrow(self, keys: Sequence[bytes]) -> None:
        """Let go of all but some keys."""
        if self._locked:
            self._unlock([key for key in self._locked if key not in set(keys)])
        before = self._id
        if self._claims is None or before is None:
            return
        if not keys:
            self.release()
            return
        _held.drop(self)
        denied = self.denied
        self._take(keys, before)
        self.denied = denied

    def release(self) -> None:
        """Let go of all of it."""
        if self._locked:
            self._unlock(list(self._locked))
        before, self._id = self._id, None
        if before is None or self._claims is None:
            return
        _held.drop(self)
        try:
            self._claims.release(before)
        except StoreError as error:
            _say_once(f"A claim could not be given back and runs out in {LEASE_S:.0f} s: {error}")


def claim(address: Any, partition: str, keys: Sequence[bytes],
          locks: LockManager | None = None) -> HeldClaim:
    """Claim results; where this process does not reach the claims, all of them are granted.

    ``locks``: the cache policy's lock manager, whose locks are taken besides.
    """
    claims = None if address is None else claims_at(address)
    if claims is None and address is not None:
        _say_once("This process does not reach the run store: results that other machines are "
                  "computing at the same time may be computed here too.")
    return HeldClaim(claims, partition, keys, locks)


class _Held:
    """All claims of this process, renewed by one thread while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[HeldClaim, int] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def put(self, held: HeldClaim, number: int | None) -> None:
        if number is None:
            return
        with self._lock:
            self._held[held] = number
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._renew, name="dataflow-claims",
                                                daemon=True)
                self._thread.start()

    def drop(self, held: HeldClaim) -> None:
        with self._lock:
            self._held.pop(held, None)

    def _renew(self) -> None:
        while True:
            self._changed.wait(_RENEW_S)
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
                by_place: dict[Claims, list[int]] = {}
                for held, number in self._held.items():
                    if held.claims is not None:
                        by_place.setdefault(held.claims, []).append(number)
            for claims, numbers in by_place.items():
                try:
                    claims.renew(numbers, time.time() + LEASE_S)
                except StoreError as error:
                    _say_once(f"Claims could not be renewed: {error}")


_held = _Held()
_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said and len(_said) < 1000:
        _said.add(text)
        logger.warning("%s", text)
