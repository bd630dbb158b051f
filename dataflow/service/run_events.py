"""What happened to a run, in the words of alerts: from rows of the store to :class:`.RunEvent`.

Lives here: changes of state, looks at runs that go on, task runs that came to something.
Does not live here: what follows (``alerting.py``), errors (``run_failures.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from dataflow.alerts.events import ErrorGroup, RunEvent
from dataflow.event_log import EventRow, RunFacts
from dataflow.retry_words import due_s_in
from dataflow.service.run_failures import Elements, type_of
from dataflow.store import FlowRunRow


def bare_event(event: EventRow, facts: RunFacts) -> RunEvent:
    """Return a change of state, as far as it can be told without the run's row."""
    return RunEvent(
        flow_run_id=event.flow_run_id or "", flow_run_name=event.flow_run_name or "",
        flow_name=event.flow_name or "", deployment_name=_short(event.deployment),
        tags=event.tags, state_type=event.state_type or "", state_name=event.state_name or "",
        occurred_s=event.occurred_s, message=event.message, scheduled_s=facts.due_s,
        next_retry_s=due_s_in(event.message) if event.state_name == "AwaitingRetry" else None)


def with_times(event: RunEvent, row: FlowRunRow) -> RunEvent:
    """Return a change of state with the times of the run: as they were, whatever came since."""
    return replace(event, started_s=_seconds(row.start_time),
                   ended_s=event.occurred_s if event.is_final else None)


def look_at(row: FlowRunRow, facts: RunFacts, now_s: float) -> RunEvent:
    """Return a run as it is at the moment, which has not ended."""
    return RunEvent(
        flow_run_id=row.id, flow_run_name=row.name, flow_name=row.flow_name,
        deployment_name=_short(facts.deployment), tags=row.tags, state_type=row.state_type,
        state_name=row.state_name, occurred_s=now_s, message=row.message,
        scheduled_s=facts.due_s, started_s=_seconds(row.start_time))


def element_events(event: RunEvent, elements: Elements,
                   told: Mapping[str, Mapping[str, int]]) -> Iterator[RunEvent]:
    """Yield what task runs came to since the last look: an event for each task and state.

    Parameters
    ----------
    event
        Of the flow run.
    told
        Task → name of a state → elements that were told of.
    """
    for task, counts in elements.by_task.items():
        for name, count in counts.items():
            new = count - told.get(task, {}).get(name, 0)
            if new > 0:
                yield replace(
                    event, task_name=task, state_type=type_of(name), state_name=name,
                    message=None, started_s=None, ended_s=None, scheduled_s=None, counts={},
                    next_retry_s=None,
                    errors=(ErrorGroup(error_type=name, task_name=task, count=new),))


def _short(deployment: str | None) -> str | None:
    """Return a deployment's own part of ``flow/deployment``."""
    return None if deployment is None else deployment.partition("/")[2]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
