"""What alerts are told of a run: an event, its errors, what the runs before it came to.

Lives here: frozen values and their JSON. Does not live here: who makes them
from records, and what follows from them (``rules.py``). Times are epoch seconds.
Parameters of runs are left out: they may be anybody's data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from dataflow.alerts.index_ranges import Ranges, joined
from dataflow.state import TERMINAL, StateType

FAILURES = (StateType.FAILED, StateType.CRASHED)
_VARYING = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
                      r"|\d+(?:\.\d+)?|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Errors that are alike: the same type, and the same text but for numbers and names.

    Parameters
    ----------
    error_type
        Name of the exception's class.
    message
        Text of the first.
    count
        How many there are, 1 at least.
    task_name
        Of which task's elements; None: the flow's own.
    indexes
        Map indexes of the elements, as ranges.
    """

    error_type: str
    message: str = ""
    count: int = 1
    task_name: str | None = None
    indexes: Ranges = ()

    @property
    def likeness(self) -> tuple[str | None, str, str]:
        """Return what is the same in all errors of a group."""
        return self.task_name, self.error_type, _VARYING.sub("#", self.message[:500])

    def plus(self, other: ErrorGroup) -> ErrorGroup:
        """Return both as one; this one's text stays."""
        return replace(self, count=self.count + other.count,
                       indexes=joined((*self.indexes, *other.indexes)))


def merged(*groups: ErrorGroup) -> tuple[ErrorGroup, ...]:
    """Return errors with those that are alike as one, in the order in which they came."""
    found: dict[tuple[str | None, str, str], ErrorGroup] = {}
    for group in groups:
        before = found.get(group.likeness)
        found[group.likeness] = group if before is None else before.plus(group)
    return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """A run has come to a state, or is looked at while it is in one.

    Parameters
    ----------
    flow_run_id, flow_run_name, flow_name, deployment_name, tags
        Of the flow run.
    task_name, map_index
        Where the event is of a task run: its task and, in a map, its index.
    state_type, state_name, message
        The state, ``"FAILED"`` and ``"TimedOut"``.
    occurred_s
        When the state was reached, or the run was looked at.
    scheduled_s, started_s, ended_s
        Of the run; None where it does not apply.
    counts
        Elements of the run by type of their state; ``{}``: unknown.
    errors
        What its elements, or the flow itself, ended with; the first one first.
    next_retry_s
        When it is tried again; None: it is not.
    link
        Of a page about the run.
    """

    flow_run_id: str
    flow_run_name: str
    flow_name: str
    state_type: str
    state_name: str
    occurred_s: float
    deployment_name: str | None = None
    tags: tuple[str, ...] = ()
    task_name: str | None = None
    map_index: int | None = None
    message: str | None = None
    scheduled_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ErrorGroup, ...] = ()
    next_retry_s: float | None = None
    link: str | None = None

    @property
    def subject(self) -> str:
        """Return whose run it is: ``flow/deployment``, or the flow."""
        return f"{self.flow_name}/{self.deployment_name}" if self.deployment_name else (
            self.flow_name)

    @property
    def is_final(self) -> bool:
        """Tell whether the run has ended."""
        return self.state_type in TERMINAL

    @property
    def duration_s(self) -> float | None:
        """Return how long the run took, or has been running."""
        if self.started_s is None:
            return None
        return max(0.0, (self.occurred_s if self.ended_s is None else self.ended_s)
                   - self.started_s)

    @property
    def failed_elements(self) -> int:
        """Return how many elements failed or crashed."""
        return sum(self.counts.get(kind, 0) for kind in FAILURES)

    @property
    def elements(self) -> int:
        """Return how many elements there are."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the event as a JSON object, without what is not set."""
        return {name: value for name, value in asdict(self).items()
                if value not in (None, (), {})}


def event_of(table: Mapping[str, Any]) -> RunEvent:
    """Return the event that :meth:`RunEvent.to_dict` wrote; keys of newer versions are left out."""
    known = {each.name for each in fields(RunEvent)}
    kept = {name: value for name, value in table.items() if name in known}
    kept["tags"] = tuple(kept.get("tags", ()))
    kept["errors"] = tuple(error_of(each) for each in kept.get("errors", ()))
    return RunEvent(**kept)


def error_of(table: Mapping[str, Any]) -> ErrorGroup:
    """Return the errors that stand in an event's JSON."""
    indexes = tuple((low, high) for low, high in table.get("indexes", ()))
    return ErrorGroup(**{**table, "indexes": indexes})


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What earlier runs of the same flow or deployment came to.

    Parameters
    ----------
    durations_s
        Of completed runs, for their median; some 20 of the last are enough.
    ended
        Types of the final states, the latest first, without the run at hand.
    last_completed_s
        When the latest completed run ended.
    """

    durations_s: tuple[float, ...] = ()
    ended: tuple[str, ...] = ()
    last_completed_s: float | None = None

    @property
    def failures_in_a_row(self) -> int:
        """Return how many runs before this one failed or crashed without a completed one."""
        count = 0
        for kind in self.ended:
            if kind == StateType.COMPLETED:
                break
            count += kind in FAILURES
        return count
