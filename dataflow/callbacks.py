"""Functions that want to be called when an element is final.

Lives here: who waits for what, and the thread that calls them: user code must
not hold up the driver's loop. Does not live here: when an element is final.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue

from dataflow.graph import CallView

Callback = Callable[[], None]

logger = logging.getLogger("dataflow.driver")


class Callbacks:
    """The callbacks of one flow run.

    Parameters
    ----------
    views
        The calls' columns.
    called
        Told after each callback.
    """

    def __init__(self, views: Mapping[int, CallView], called: Callback) -> None:
        self._views = views
        self._called = called
        self._waiting: dict[int, dict[int, list[Callback]]] = {}
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Callback | None] | None = None

    def add(self, call: int, index: int, fn: Callback) -> None:
        """Call ``fn`` once when an element is final; at once if it is."""
        with self._lock:
            if not self._views[call].is_done(index):
                self._waiting.setdefault(call, {}).setdefault(index, []).append(fn)
                return
        self._call([fn])

    def settled(self, calls: Iterable[int]) -> None:
        """Call those who wait for elements that are final now; elements of ``calls`` became so."""
        with self._lock:  # also to see that nobody waits: one may be about to
            due = [fn for call in set(calls) for fn in self._take(call)] if self._waiting else []
        self._call(due)

    def close(self) -> None:
        """End the thread after what it has been given."""
        with self._lock:
            if self._queue is not None:
                self._queue.put(None)

    def _take(self, call: int) -> list[Callback]:
        waiting = self._waiting.get(call)
        if waiting is None:
            return []
        view = self._views[call]
        out = [fn for i in [i for i in waiting if view.is_done(i)] for fn in waiting.pop(i)]
        if not waiting:
            del self._waiting[call]
        return out

    def _call(self, due: list[Callback]) -> None:
        if not due:
            return
        with self._lock:
            if self._queue is None:
                self._queue = SimpleQueue()
                threading.Thread(target=self._serve, args=(self._queue,),
                                 name="dataflow-callbacks", daemon=True).start()
            for fn in due:
                self._queue.put(fn)

    def _serve(self, queue: SimpleQueue[Callback | None]) -> None:
        while (fn := queue.get()) is not None:
            try:
                fn()
            except Exception:  # a user's callback may raise anything
                logger.exception("a done callback raised")
            self._called()
