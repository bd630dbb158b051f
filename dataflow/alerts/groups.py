"""What is remembered of one alert, flow and state between two messages.

Lives here: the value, taking a notice in, the messages it makes. Does not live
here: when they are due together with others (``grouping.py``).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from dataflow.alerts.alert import Alert, alert_from_json
from dataflow.alerts.events import ErrorGroup, RunEvent, error_of, merged
from dataflow.alerts.index_ranges import compacted, holds
from dataflow.alerts.messages import Message
from dataflow.alerts.notices import Notice, notice_of
from dataflow.state import StateType

RUNS = 20
"""So many runs are named in a message; the others are counted."""
SEEN = 500
"""So many notices are known again when they come twice."""
ERRORS = 50
"""So many kinds of errors are told apart; others are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Notices of one alert, flow and state.

    Parameters
    ----------
    alert
        The latest form of it.
    subject
        The flow, or ``flow/deployment``.
    first
        First notice that nobody was told of yet; None: there is none.
    waiting_s
        When it was taken in.
    runs, run_count, element_count, errors, since_s, last_s
        Of the notices that wait, as in a message; ``last_s`` of the latest ever.
    sent_s
        When the latest message was made.
    number
        Messages since it began.
    open
        Somebody was told, and not yet that it is over.
    resolution
        The notice that it is over, while others wait.
    seen
        Ids of the latest notices.
    """

    alert: Alert
    subject: str
    first: Notice | None = None
    waiting_s: float = 0.0
    runs: tuple[tuple[str, str], ...] = ()
    run_count: int = 0
    element_count: int = 0
    errors: tuple[ErrorGroup, ...] = ()
    since_s: float = 0.0
    last_s: float = 0.0
    sent_s: float | None = None
    number: int = 0
    open: bool = False
    resolution: Notice | None = None
    seen: tuple[str, ...] = ()

    @property
    def due_s(self) -> float | None:
        """Return when the next message is due; None: nothing waits."""
        if self.first is None:
            return None
        due = self.waiting_s + self.alert.group_seconds
        if self.sent_s is not None:
            due = max(due, self.sent_s + self.alert.throttle_seconds)
        return due

    def message(self) -> Message:
        """Return the message about the notices that wait; there must be one."""
        assert self.first is not None
        over = self.resolution.event.occurred_s if self.resolution is not None else None
        return Message(notice=self.first, runs=self.runs, run_count=self.run_count, over_s=over,
                       element_count=self.element_count, errors=self.errors,
                       since_s=self.since_s, until_s=self.last_s, number=self.number)

    def end(self) -> Message:
        """Return the message that it is over; somebody must have said so."""
        assert self.resolution is not None
        event = self.resolution.event
        return Message(notice=self.resolution, resolved=True, over_s=event.occurred_s,
                       runs=_runs((), event), run_count=int(bool(event.flow_run_id)),
                       since_s=self.since_s, until_s=self.last_s, number=self.number)

    def told(self, now_s: float) -> Group:
        """Return the group once its message was made; it is closed where that told its end."""
        return replace(self, first=None, runs=(), run_count=0, element_count=0, errors=(),
                       sent_s=now_s, number=self.number + 1, open=self.resolution is None)

    def to_dict(self) -> dict[str, Any]:
        """Return the group as a JSON object."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "alert": json.loads(self.alert.to_json()),
            "first": self.first.to_dict() if self.first else None,
            "resolution": self.resolution.to_dict() if self.resolution else None,
            "errors": [asdict(each) for each in self.errors],
        }


_PLAIN = ("subject", "waiting_s", "runs", "run_count", "element_count", "since_s", "last_s",
          "sent_s", "number", "open", "seen")


def group_of(table: dict[str, Any]) -> Group:
    """Return the group that :meth:`Group.to_dict` wrote."""
    first, resolution = table["first"], table["resolution"]
    return Group(**{
        **table, "alert": alert_from_json(table["alert"]), "seen": tuple(table["seen"]),
        "first": notice_of(first) if first else None,
        "resolution": notice_of(resolution) if resolution else None,
        "runs": tuple((run_id, name) for run_id, name in table["runs"]),
        "errors": tuple(error_of(each) for each in table["errors"]),
    })


def taken(group: Group | None, notice: Notice, now_s: float) -> Group:
    """Return a group with one more notice; the same group where it was taken before."""
    event = notice.event
    if group is None:
        group = Group(alert=notice.alert, subject=event.subject)
    if _is_known(group, notice):
        return group
    fresh = group.first is None
    is_element = event.task_name is not None
    runs = _runs(group.runs, event)
    new_run = is_element and runs != group.runs
    return replace(
        group, alert=notice.alert, runs=runs, resolution=None,
        first=notice if fresh else group.first, waiting_s=now_s if fresh else group.waiting_s,
        run_count=group.run_count + (new_run if is_element else bool(event.flow_run_id)),
        element_count=group.element_count + (_elements(event) if is_element else 0),
        errors=merged(*group.errors, *_errors(event))[:ERRORS],
        since_s=event.occurred_s if fresh else group.since_s,
        last_s=max(group.last_s, event.occurred_s),
        seen=group.seen if is_element else (*group.seen, notice.id)[-SEEN:],
    )


def _elements(event: RunEvent) -> int:
    """Return how many elements an event of task runs tells of: one, or as many as its errors."""
    return sum(each.count for each in event.errors) or 1


def _is_known(group: Group, notice: Notice) -> bool:
    """Tell whether a notice was taken before; of elements, those are known that wait."""
    event = notice.event
    if event.task_name is None:
        return notice.id in group.seen
    return event.map_index is not None and group.runs[-1:] == (
        (event.flow_run_id, event.flow_run_name),) and any(
        error.task_name == event.task_name and holds(error.indexes, event.map_index)
        for error in group.errors)


def _runs(runs: tuple[tuple[str, str], ...], event: RunEvent) -> tuple[tuple[str, str], ...]:
    one = (event.flow_run_id, event.flow_run_name)
    if not event.flow_run_id or one in runs or len(runs) >= RUNS:
        return runs
    return (*runs, one)


def _errors(event: RunEvent) -> tuple[ErrorGroup, ...]:
    """Return the errors of an event; of an element without any, its state's text."""
    if event.errors or event.task_name is None:
        return event.errors
    indexes = () if event.map_index is None else compacted([event.map_index])
    kind = event.state_name if event.state_type in StateType.__members__ else "Error"
    return (ErrorGroup(error_type=kind, message=event.message or "", task_name=event.task_name,
                       indexes=indexes),)
