"""Events, and messages of alerts, as they are answered.

Lives here: their fields, and what asks for them. Does not live here: what follows from
an event (``triggers/``, ``alerts/``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dataflow.event_log import EventRow, ParcelRow, ParcelStatus
from dataflow.server.shapes.moments import Moment, Number, Since
from dataflow.server.shapes.pages import Page, PageQuery, Shape
from dataflow.server.shapes.shown import moment, shown

_Glob = Annotated[str | None, Field(
    min_length=1, max_length=500,
    description="`*` stands for anything, `?` for one character.")]


class EventShape(Shape):
    """What happened."""

    key: Annotated[int, Field(description="Rises from event to event.")]
    id: str
    name: str
    resource: str | None
    occurred: datetime
    payload: Annotated[dict[str, Any], Field(description="Secrets in it are masked.")]
    flow_run_id: str | None
    flow_run_name: str | None
    flow_name: str | None
    deployment: str | None
    tags: list[str]
    state_type: str | None
    state_name: str | None
    message: str | None
    run_count: int | None


class Events(Page[EventShape]):
    """Some of the events, the newest first."""


class AlertShape(Shape):
    """A message for one channel, and what became of it."""

    id: str
    alert: str
    channel: Annotated[str, Field(description="Without its secrets.")]
    status: ParcelStatus
    title: str
    body: str
    severity: str
    created: datetime
    due: Annotated[datetime | None, Field(description="When it is tried next.")]
    ended: datetime | None
    attempts: int
    error: Annotated[str | None, Field(description="What the last try ended with.")]


class Alerts(Page[AlertShape]):
    """Some of the messages, the newest first."""


class EventFilters(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Glob = None
    resource: _Glob = None
    flow_run: Annotated[str | None, Field(max_length=36, description="Id of the run.")] = None


class EventsQuery(PageQuery, EventFilters):
    """Which events, page by page."""

    since: Annotated[Since | None, Field(
        description="Occurred at this moment or later.")] = None


class EventStreamQuery(EventFilters):
    """Which events a stream shows."""

    after: Annotated[Number | None, Field(
        ge=0, lt=1 << 62, description="Key of the last event that is known; those from now on "
                                      "where it is missing.")] = None


class AlertsQuery(PageQuery):
    """Which messages."""

    status: ParcelStatus | None = None


class NewEventBody(BaseModel):
    """An event that is to be put down."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=1024)]
    resource: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    payload: dict[str, Any] = {}
    id: Annotated[str | None, Field(
        min_length=1, max_length=200, description="The same id again is the same event.")] = None
    occurred: Annotated[Moment | None, Field(
        description="Now where it is missing. Without an offset: UTC.")] = None


class Emitted(Shape):
    """What became of an event."""

    id: str
    new: Annotated[bool, Field(description="false: it was there already.")]


def event_shape(row: EventRow) -> EventShape:
    """Return an event."""
    facts = {name: getattr(row, name) for name in EventShape.model_fields if name != "occurred"}
    return EventShape(**{**facts, "occurred": moment(row.occurred_s), "tags": list(row.tags),
                         "payload": shown(row.payload, "payload")})


def alert_shape(row: ParcelRow) -> AlertShape:
    """Return a message."""
    parcel = row.parcel
    return AlertShape(
        id=parcel.id, alert=parcel.alert, channel=parcel.shown_channel, status=row.status,
        title=shown(parcel.text.title), body=shown(parcel.text.body),
        severity=parcel.text.severity, created=_at(parcel.created_s),
        due=moment(parcel.due_s) if row.status == "waiting" else None,
        ended=moment(row.ended_s), attempts=parcel.attempts, error=parcel.error)


def _at(seconds: float) -> datetime:
    found = moment(seconds)
    assert found is not None
    return found
