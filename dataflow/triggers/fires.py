"""What it is that a trigger acts upon: an event, or that there was none.

Lives here: the value, and the facts of an event as JSON. Does not live here: what is
done (``consequences.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dataflow.event_log import EventRow
from dataflow.triggers.carried import Carried

SILENCE = "dataflow.trigger.Absence"
"""Name under which templates see what did not happen."""


@dataclass(frozen=True, slots=True)
class Fire:
    """A trigger acts.

    Attributes
    ----------
    carried
        Which one.
    key
        Tells this time from all others of the trigger.
    facts
        Of the event, as templates and the run see them.
    """

    carried: Carried
    key: str
    facts: Mapping[str, Any]

    @property
    def flow_run_id(self) -> str | None:
        """Return the run that the event is of."""
        found: str | None = self.facts.get("flow_run_id")
        return found


def facts_of(event: EventRow) -> dict[str, Any]:
    """Return an event as JSON."""
    return {
        "id": event.id, "name": event.name, "resource": event.resource,
        "occurred": moment(event.occurred_s), "payload": event.payload,
        "flow_run_id": event.flow_run_id, "flow_run_name": event.flow_run_name,
        "flow": event.flow_name, "deployment": event.deployment, "tags": list(event.tags),
        "state_type": event.state_type, "state_name": event.state_name,
        "message": event.message}


def brief_of(event: EventRow) -> dict[str, Any]:
    """Return what is remembered of an event: all but what it brought."""
    return {**facts_of(event), "payload": {}, "message": None}


def silence(since_s: float, missing: str, last: Mapping[str, Any] | None,
            value: str = "") -> dict[str, Any]:
    """Return the facts of what did not happen; of a run, where the event before it was."""
    before = dict(last or {})
    return {
        "id": None, "name": SILENCE, "resource": before.get("resource"),
        "occurred": moment(since_s),
        "payload": {"since": moment(since_s), "missing": missing, "value": value,
                    "last": before or None},
        **{name: before.get(name) for name in (
            "flow_run_id", "flow_run_name", "flow", "deployment", "state_type", "state_name")},
        "tags": before.get("tags") or [], "message": None}


def moment(time_s: float) -> str:
    """Return a moment in ISO 8601."""
    return datetime.fromtimestamp(time_s, UTC).isoformat()
