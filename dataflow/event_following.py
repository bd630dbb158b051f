"""Following events: what comes from a moment on, each once.

Lives here: reading on from a key without passing over what is written late. Does not live here:
how events are shown (``cli/events.py``, ``server/``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from dataflow.event_log import EventLog, EventRow

SETTLED_S = 5.0
"""An event whose transaction ends so much later than one with a greater key is found still."""

_AT_ONCE = 500


class EventFollower:
    """Gives events as they come.

    Keys are given when an event is written, and seen when its transaction ends: of what came
    lately, each step reads again what it may have passed over.

    Parameters
    ----------
    log
        Where the events are.
    name, resource, flow_run_id
        Which, as :meth:`.EventLog.events` takes them.
    after
        Beyond this key; None: what comes from now on.
    clock
        Gives seconds of a clock that nobody sets.
    """

    def __init__(self, log: EventLog, *, name: str | None = None, resource: str | None = None,
                 flow_run_id: str | None = None, after: int | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._name, self._resource, self._run = name, resource, flow_run_id
        self._clock = clock
        self._after = self._newest() if after is None else after
        self._marks: deque[tuple[float, int]] = deque()  # when all was given up to a key
        self._given: set[int] = set()  # behind ``_after``

    def step(self) -> list[EventRow]:
        """Return events that are new, some at a time."""
        now_s, newest = self._clock(), self._newest()
        while self._marks and self._marks[0][0] <= now_s - SETTLED_S:
            self._after = max(self._after, self._marks.popleft()[1])
        self._given = {key for key in self._given if key > self._after}
        fresh, whole = self._beyond()
        if whole:
            self._marks.append((now_s, newest))
        self._given.update(row.key for row in fresh)
        return fresh

    def _newest(self) -> int:
        return next((row.key for row in self._log.events(limit=1)), 0)

    def _beyond(self) -> tuple[list[EventRow], bool]:
        """Return some of the events that were not given, and whether these are all."""
        after = self._after
        while True:
            rows = self._log.events(name=self._name, resource=self._resource,
                                    flow_run_id=self._run, after=after, limit=_AT_ONCE)
            fresh = [row for row in rows if row.key not in self._given]
            if fresh or len(rows) < _AT_ONCE:
                return fresh, len(rows) < _AT_ONCE
            after = rows[-1].key
