"""Claims that this process holds: whose result is being computed here.

Lives here: taking claims for many threads in one transaction, and the thread that
renews them while they are held. Does not live here: where claims are kept
(``dataflow.claims``), what is done with a key that somebody else computes
(``keeping.py``).

Threads that ask at the same time are served together: the first of them takes
one claim for the keys of all. It ends when the last of them lets go. What one of
them has let go meanwhile is free for this process, and soon for the others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from dataflow.claims import Claims, claims_at, owner_of_this_process
from dataflow.exceptions import StoreError
from dataflow.locking.protocol import LockManager

LEASE_S = 30.0
"""A claim whose process has gone without a word counts for so long, in seconds."""

RENEW_S = 10.0
_SHRINK_S = 0.5  # keys that were let go stay claimed for other processes no longer than that
logger = logging.getLogger("dataflow.task_runs")


class _Together:
    """One claim in the store, for the keys of all who asked at the same time."""

    __slots__ = ("free", "held", "id", "shrunk_s")

    def __init__(self, number: int) -> None:
        self.id = number
        self.held: set[bytes] = set()
        self.free: set[bytes] = set()  # let go of, and still claimed
        self.shrunk_s = time.monotonic()


_Parts = dict[_Together, set[bytes]]
"""Keys that one thread holds, by the claim that they are part of."""


class _Asked:
    """What one thread wants to claim, and what it got."""

    __slots__ = ("denied", "done", "keys", "parts")

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = keys
        self.denied: frozenset[int] = frozenset()
        self.parts: _Parts = {}
        self.done = threading.Event()


class _Desk:
    """Claims of one partition in this process."""

    def __init__(self, claims: Claims, partition: str) -> None:
        self.claims = claims
        self._partition = partition
        self._turn = threading.Lock()
        self._queue: list[_Asked] = []
        self._serving = False
        self._together: set[_Together] = set()
        self._free: dict[bytes, _Together] = {}

    def take(self, keys: Sequence[bytes]) -> _Asked:
        asked = _Asked(keys)
        with self._turn:
            self._queue.append(asked)
            first = not self._serving
            self._serving = True
        if not first:
            asked.done.wait()
            return asked
        try:
            while True:
                with self._turn:
                    queue, self._queue = self._queue, []
                    if not queue:
                        self._serving = False
                        return asked
                self._serve(queue)
        except BaseException:  # Ctrl-C, a fault of ours: nobody is left waiting
            with self._turn:
                queue, self._queue = self._queue, []
                self._serving = False
            for other in queue:
                other.done.set()
            raise

    def _serve(self, queue: list[_Asked]) -> None:
        try:
            with self._turn:
                new = self._from_free(queue)
            if new:
                self._from_store(new)
        except StoreError as error:
            _say_once(f"Nobody is asked who computes what, results may be computed twice: {error}")
        finally:
            for asked in queue:
                asked.done.set()

    def _from_free(self, queue: list[_Asked]) -> list[tuple[_Asked, Sequence[int]]]:
        """Give out keys that this process has let go of; return the positions of the rest."""
        if not self._free:
            return [(asked, range(len(asked.keys))) for asked in queue]
        new: list[tuple[_Asked, Sequence[int]]] = []
        for asked in queue:
            left = []
            for at, key in enumerate(asked.keys):
                together = self._free.pop(key, None)
                if together is None:
                    left.append(at)
                else:
                    together.free.discard(key)
                    together.held.add(key)
                    asked.parts.setdefault(together, set()).add(key)
            if left:
                new.append((asked, left))
        return new

    def _from_store(self, new: list[tuple[_Asked, Sequence[int]]]) -> None:
        keys = [asked.keys[at] for asked, places in new for at in places]
        grant = self.claims.take(self._partition, keys, owner_of_this_process(),
                                 now_s=time.time(), lease_s=LEASE_S)
        together = None if grant.id is None else _Together(grant.id)
        begin = 0
        with self._turn:
            for asked, places in new:
                numbers = range(begin, begin + len(places))
                begin += len(places)
                if together is None:
                    asked.denied = frozenset(places)
                    continue
                granted = set(keys[numbers.start : numbers.stop])
                if grant.denied:
                    asked.denied = frozenset(at for number, at in zip(numbers, places, strict=True)
                                             if number in grant.denied)
                    granted = {keys[number] for number in numbers if number not in grant.denied}
                if granted:
                    asked.parts[together] = granted
                    together.held |= granted
            if together is not None:
                self._together.add(together)
        if together is not None:
            _renewal.ensure()

    def let_go(self, parts: _Parts, keys: Sequence[bytes] | None) -> None:
        """Let go of some keys, or of all; what nobody holds any more is given back."""
        ended = []
        with self._turn:
            for together, mine in list(parts.items()):
                gone = mine.copy() if keys is None else mine.intersection(keys)
                mine -= gone
                if not mine:
                    del parts[together]
                together.held -= gone
                if not together.held:
                    ended.append(together)
                    self._forget(together)
                elif gone:
                    together.free |= gone
                    self._free.update(dict.fromkeys(gone, together))
        for together in ended:
            self._release(together)

    def _forget(self, together: _Together) -> None:
        self._together.discard(together)
        for key in together.free:
            self._free.pop(key, None)

    def _release(self, together: _Together) -> None:
        try:
            self.claims.release(together.id)
        except StoreError as error:
            _say_once(f"A claim could not be given back and runs out in {LEASE_S:.0f} s: {error}")

    def shrink(self) -> bool:
        """Give back to others what was let go a while ago; return whether anything is held."""
        now = time.monotonic()
        with self._turn:
            due = [each for each in self._together
                   if each.free and now - each.shrunk_s > _SHRINK_S]
            for together in due:
                for key in together.free:
                    self._free.pop(key, None)
                together.free.clear()
                together.shrunk_s = now
                with suppress(StoreError):
                    grant = self.claims.take(
                        self._partition, sorted(together.held), owner_of_this_process(),
                        now_s=time.time(), lease_s=LEASE_S, replacing=together.id)
                    if grant.id is not None:
                        together.id = grant.id
            return bool(self._together)

    def is_holding(self) -> bool:
        """Tell whether anything is held."""
        return bool(self._together)

    def renew(self) -> None:
        with self._turn:
            numbers = [together.id for together in self._together]
        if numbers:
            try:
                self.claims.renew(numbers, time.time() + LEASE_S)
            except StoreError as error:
                _say_once(f"Claims could not be renewed: {error}")


class HeldClaim:
    """Results that this process computes while nobody else does.

    Attributes
    ----------
    denied
        Positions of the keys that somebody else has claimed.
    """

    def __init__(self, desk: _Desk | None, keys: Sequence[bytes],
                 locks: LockManager | None) -> None:
        self.denied: frozenset[int] = frozenset()
        self._desk = desk
        self._parts: _Parts = {}
        self._locks = locks
        self._holder = f"{owner_of_this_process()}-{id(self)}"
        self._locked: set[bytes] = set()
        if desk is not None and keys:
            asked = desk.take(keys)
            self.denied, self._parts = asked.denied, asked.parts
        if locks is not None:
            self._lock(locks, keys)

    def narrow(self, keys: Sequence[bytes]) -> None:
        """Let go of all but some keys."""
        kept = set(keys)
        self.let_go([key for key in self._all() if key not in kept])

    def let_go(self, keys: Sequence[bytes]) -> None:
        """Let go of some keys; of those that are not held, nothing happens."""
        if self._locked:
            self._unlock([key for key in keys if key in self._locked])
        if self._desk is not None and self._parts:
            self._desk.let_go(self._parts, keys)

    def release(self) -> None:
        """Let go of all of it."""
        if self._locked:
            self._unlock(list(self._locked))
        if self._desk is not None and self._parts:
            self._desk.let_go(self._parts, None)

    def _all(self) -> set[bytes]:
        return self._locked.union(*self._parts.values())

    def _lock(self, locks: LockManager, keys: Sequence[bytes]) -> None:
        """Take the user's locks of what was granted; what is locked elsewhere is denied."""
        denied = set(self.denied)
        for at, key in enumerate(keys):
            if at not in denied:
                if locks.acquire_lock(key.hex(), self._holder, acquire_timeout=0):
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


def claim(address: Any, partition: str, keys: Sequence[bytes],
          locks: LockManager | None = None) -> HeldClaim:
    """Claim results; where this process does not reach the claims, all of them are granted.

    ``locks``: the cache policy's lock manager, whose locks are taken besides.
    """
    claims = None
    if address is not None:
        try:
            claims = claims_at(address)
        except StoreError as error:
            _say_once(f"Nobody is asked who computes what, results may be computed twice: {error}")
        else:
            if claims is None:
                _say_once("This process does not reach the run store: results that other machines "
                          "are computing at the same time may be computed here too.")
    return HeldClaim(None if claims is None else _desk_of(claims, partition), keys, locks)


_desks: dict[tuple[int, int, str], _Desk] = {}
_desking = threading.Lock()


def _desk_of(claims: Claims, partition: str) -> _Desk:
    place = (os.getpid(), id(claims), partition)
    with _desking:
        desk = _desks.get(place)
        if desk is None or desk.claims is not claims:
            desk = _desks[place] = _Desk(claims, partition)
        return desk


class _Renewal:
    """The one thread that renews the claims of this process while it holds any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._never = threading.Event()
        self.lookers: set[Callable[[], None]] = set()

    def ensure(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="dataflow-claims",
                                                daemon=True)
                self._thread.start()

    def _run(self) -> None:
        renewed = time.monotonic()
        while True:
            self._never.wait(_SHRINK_S)
            for look in list(self.lookers):
                look()
            with _desking:
                desks = list(_desks.values())
            held = [desk for desk in desks if desk.shrink()]
            if time.monotonic() - renewed > RENEW_S:
                renewed = time.monotonic()
                for desk in held:
                    desk.renew()
            if not held:
                with self._lock:
                    if not any(desk.is_holding() for desk in desks):
                        self._thread = None
                        return


@contextmanager
def looked_at(look: Callable[[], None]) -> Iterator[None]:
    """Call a function from another thread every 0.5 s while this process holds claims."""
    lookers = _renewal.lookers
    lookers.add(look)
    try:
        yield
    finally:
        lookers.discard(look)


_renewal = _Renewal()
_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said and len(_said) < 1000:
        _said.add(text)
        logger.warning("%s", text)


def _forget_after_fork() -> None:
    global _renewal, _desking
    _renewal, _desking = _Renewal(), threading.Lock()
    _desks.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
