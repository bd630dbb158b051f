"""The notice: an alert's conditions hold for a run, or what was told of is over.

Lives here: the value and its JSON. Does not live here: when there is one
(``rules.py``, ``deadlines.py``), how many make a message (``grouping.py``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from dataflow.alerts.alert import Alert, alert_from_json
from dataflow.alerts.events import RunEvent, event_of

CONDITION = "CONDITION"
"""State of a notice whose alert names no state: a run that takes too long is one, also when it
has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Somebody is to be told.

    Parameters
    ----------
    alert
        Whose conditions hold.
    event
        For which run; of a deadline that was missed, with an empty ``flow_run_id``.
    why
        In words: ``"failed"``, ``"has run 80 s, longer than 2 × its median of 30 s"``.
    state
        What notices that make one message have in common, beside alert and flow.
    resolved
        What was told of is over.
    """

    alert: Alert
    event: RunEvent
    why: str
    state: str
    resolved: bool = False

    @property
    def group(self) -> str:
        """Return the key of the notices that make one message."""
        return json.dumps([self.alert.key, self.event.subject, self.state], ensure_ascii=False)

    @property
    def id(self) -> str:
        """Return what is the same where the same thing is noticed twice."""
        event = self.event
        ended_s = None if self.state == CONDITION else event.ended_s
        parts = [self.group, event.flow_run_id, event.task_name, event.map_index, ended_s,
                 self.resolved, event.scheduled_s if not event.flow_run_id else None]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=6).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the notice as a JSON object."""
        return {"alert": json.loads(self.alert.to_json()), "event": self.event.to_dict(),
                "why": self.why, "state": self.state, "resolved": self.resolved}


def notice_of(table: dict[str, Any]) -> Notice:
    """Return the notice that :meth:`Notice.to_dict` wrote."""
    return Notice(alert=alert_from_json(table["alert"]), event=event_of(table["event"]),
                  why=table["why"], state=table["state"], resolved=table["resolved"])
