"""Routes on events, and on the messages of alerts.

Lives here: lists, putting an event down, a stream of what comes. Does not live here:
what follows from an event (``service/watcher.py``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from dataflow.event_log import EventLog, EventRow
from dataflow.events import new_event
from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.event_streams import event
from dataflow.server.paths import run_id
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import happened

SETTLED_S = 5.0
"""An event whose transaction ends so much later than one with a greater key is shown still."""

_AT_ONCE = 500


def _run(filters: happened.EventFilters) -> str | None:
    return None if filters.flow_run is None else run_id(filters.flow_run, "flow run")


def events(call: Call) -> happened.Events:
    """List events."""
    asked = call.asked(happened.EventsQuery)
    rows = call.store.events().events(
        name=asked.name, resource=asked.resource, flow_run_id=_run(asked),
        since_s=None if asked.since is None else asked.since.timestamp(),
        before=None if asked.cursor is None else parts_of(asked.cursor, int)[0],
        limit=asked.limit + 1)
    page = rows[:asked.limit]
    return happened.Events(items=[happened.event_shape(row) for row in page],
                           next=cursor_of(page[-1].key) if len(rows) > len(page) else None)


def emit(call: Call) -> happened.Emitted:
    """Put an event down."""
    body = call.given(happened.NewEventBody)
    new = new_event(body.name, body.resource, body.payload, occurred=body.occurred, id=body.id)
    return happened.Emitted(id=new.id, new=bool(call.store.events().emit([new])))


class EventTail:
    """Events as they come.

    Keys are given when an event is written, and seen when its transaction ends: of what came
    lately, each step reads again what it may have passed over.
    """

    def __init__(self, log: EventLog, asked: happened.EventStreamQuery,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._asked = asked
        self._run = _run(asked)
        self._clock = clock
        self._after = self._newest() if asked.after is None else asked.after
        self._marks: deque[tuple[float, int]] = deque()  # when all was sent up to a key
        self._sent: set[int] = set()  # behind ``_after``
        self.ended = False

    def step(self) -> Sequence[bytes]:
        """Return events that are new."""
        now_s, newest = self._clock(), self._newest()
        while self._marks and self._marks[0][0] <= now_s - SETTLED_S:
            self._after = max(self._after, self._marks.popleft()[1])
        self._sent = {key for key in self._sent if key > self._after}
        fresh, whole = self._beyond()
        if whole:
            self._marks.append((now_s, newest))
        self._sent.update(row.key for row in fresh)
        return [event("event", happened.event_shape(row), id=str(row.key)) for row in fresh]

    def _newest(self) -> int:
        return next((row.key for row in self._log.events(limit=1)), 0)

    def _beyond(self) -> tuple[list[EventRow], bool]:
        """Return some of the events that were not sent, and whether these are all."""
        after = self._after
        while True:
            rows = self._log.events(
                name=self._asked.name, resource=self._asked.resource, flow_run_id=self._run,
                after=after, limit=_AT_ONCE)
            fresh = [row for row in rows if row.key not in self._sent]
            if fresh or len(rows) < _AT_ONCE:
                return fresh, len(rows) < _AT_ONCE
            after = rows[-1].key


def stream(call: Call) -> EventTail:
    """Stream events."""
    return EventTail(call.store.events(), call.asked(happened.EventStreamQuery))


def alerts(call: Call) -> happened.Alerts:
    """List messages."""
    asked = call.asked(happened.AlertsQuery)
    rows = call.store.events().parcels(
        asked.status, limit=asked.limit + 1,
        before=None if asked.cursor is None else parts_of(asked.cursor, str)[0])
    page = rows[:asked.limit]
    return happened.Alerts(items=[happened.alert_shape(row) for row in page],
                           next=cursor_of(page[-1].parcel.id) if len(rows) > len(page) else None)


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/events", name="events", view=events,
          gives=happened.Events, query=happened.EventsQuery, errors=(404,),
          about="What happened, the newest first: changes of state, and what others emitted."),
    Route(method="POST", path=f"{PREFIX}/events", name="emit_event", view=emit,
          gives=happened.Emitted, status=201, takes=happened.NewEventBody,
          about="Put an event down; triggers that wait for it start what follows."),
    Route(method="GET", path=f"{PREFIX}/events/stream", name="events_stream", view=stream,
          query=happened.EventStreamQuery, media="text/event-stream", errors=(404,),
          about="Events as they come (server-sent events `event`, with their key as id)."),
    Route(method="GET", path=f"{PREFIX}/alerts", name="alerts", view=alerts,
          gives=happened.Alerts, query=happened.AlertsQuery,
          about="Messages of alerts and what became of them, the newest first."),
)
