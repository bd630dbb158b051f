"""Who waits for an outcome without a thread of its own: coroutines, above all.

Lives here: the table of what wakes whom. Does not live here: the event loop's
side of it (``awaiting.py``), callbacks of users (``callbacks.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """``wake`` is called once ``done()`` may hold; it must be short and never raise."""

    call: int
    index: int | None  # of an element; None: looked at whenever anything became final
    done: Callable[[], bool]
    wake: Callable[[], None]


class Watchers:
    """Those who wait for outcomes of one flow run. Safe to use from any thread."""

    def __init__(self) -> None:
        self._of_elements: dict[int, set[Watch]] = {}
        self._of_calls: set[Watch] = set()
        self._lock = threading.Lock()

    def add(self, watch: Watch) -> None:
        """Wake somebody once; at once where it is done already."""
        with self._lock:
            if not watch.done():
                if watch.index is None:
                    self._of_calls.add(watch)
                else:
                    self._of_elements.setdefault(watch.call, set()).add(watch)
                return
        watch.wake()

    def drop(self, watch: Watch) -> None:
        """Forget somebody who does not wait any more."""
        with self._lock:
            self._of_calls.discard(watch)
            self._forget(watch)

    def settled(self, calls: Iterable[int]) -> None:
        """Wake those who waited for what is final now; elements of ``calls`` became so."""
        if not (self._of_calls or self._of_elements):
            return
        with self._lock:
            asked = list(self._of_calls)
            for call in set(calls) & self._of_elements.keys():
                asked += self._of_elements[call]
            due = [watch for watch in asked if watch.done()]
            for watch in due:
                self._of_calls.discard(watch)
                self._forget(watch)
        for watch in due:
            watch.wake()

    def give_up(self) -> None:
        """Wake everybody: nothing will become final any more."""
        with self._lock:
            due = [*self._of_calls, *(w for ws in self._of_elements.values() for w in ws)]
            self._of_calls.clear()
            self._of_elements.clear()
        for watch in due:
            watch.wake()

    def _forget(self, watch: Watch) -> None:
        waiting = self._of_elements.get(watch.call)
        if waiting is not None:
            waiting.discard(watch)
            if not waiting:
                del self._of_elements[watch.call]
