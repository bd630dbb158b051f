"""Routes on events, and on the messages of alerts.

Lives here: lists, putting an event down, a stream of what comes. Does not live here:
what follows from an event (``service/watcher.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dataflow.event_following import EventFollower
from dataflow.event_log import EventLog
from dataflow.events import new_event
from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.event_streams import event
from dataflow.server.paths import run_id
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import happened


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
    """Events as they come, as they are sent."""

    def __init__(self, log: EventLog, asked: happened.EventStreamQuery,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._follower = EventFollower(
            log, name=asked.name, resource=asked.resource, flow_run_id=_run(asked),
            after=asked.after, clock=clock)
        self.ended = False

    def step(self) -> Sequence[bytes]:
        """Return events that are new."""
        return [event("event", happened.event_shape(row), id=str(row.key))
                for row in self._follower.step()]


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
