"""What follows from events for alerts: messages, and what is remembered until the next look.

Lives here: from changes of state and the time to :class:`.Findings`; reads of the
store, no writes. Does not live here: the rules (``dataflow.alerts``), what is looked at
by time (``alert_looks.py``), who writes it down (the watcher), who delivers
(``alert_delivery.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dataflow.alerts.alert import Alert
from dataflow.alerts.events import History, RunEvent
from dataflow.alerts.grouping import fold
from dataflow.alerts.notices import Notice
from dataflow.alerts.outbox import parcels
from dataflow.alerts.rules import concerns, judge
from dataflow.event_log import EventLog, EventRow, Findings, Pending, RunFacts
from dataflow.exceptions import RunNotFound
from dataflow.flow_moves import ENDS
from dataflow.service.alert_kinds import about_tasks, needs_history
from dataflow.service.alert_looks import Looks, history_of
from dataflow.service.alert_memory import NAME, AlertMemory, memory_of
from dataflow.service.alert_sources import AlertSources
from dataflow.service.alert_tasks import task_notices
from dataflow.service.run_events import bare_event, with_times
from dataflow.service.run_failures import elements_of, errors_of, own_error
from dataflow.store import FlowRunRow, Store

STALE_S = 86_400.0
"""What happened longer ago is no news: nobody is told."""

_TYPES = frozenset({*ENDS, "RUNNING", "PAUSED"})
_NAMES = frozenset({"Late", "AwaitingRetry"})


class AlertJudge:
    """Judges events and the time for alerts; for one thread.

    Parameters
    ----------
    store
        Of the runs; it is only read.
    sources
        Which alerts there are.
    """

    def __init__(self, store: Store, sources: AlertSources | None = None) -> None:
        self._store = store
        self._log: EventLog = store.events()
        self._sources = sources or AlertSources()
        self._looks = Looks(store, self._log, self._sources)
        self._last: tuple[str | None, AlertMemory] | None = None

    def judge(self, pending: Pending, now_s: float) -> Findings:
        """Return the messages that are due, and what is to be remembered with them.

        Raises
        ------
        StoreError
            The store could not be read; judge the same events again later.
        """
        self._sources.refresh(now_s)
        before = pending.memory.get(NAME)
        last, self._last = self._last, None  # should this fail, nothing half-changed is kept
        memory = last[1] if last is not None and last[0] == before else memory_of(before)
        events = [each for each in pending.events if is_news(each, now_s)]
        due_s = memory.groups.next_s
        if not events and not self._looks.are_due(now_s) and (due_s is None or now_s < due_s):
            self._last = before, memory
            return Findings()
        facts = self._log.facts(list(dict.fromkeys(
            each.flow_run_id or "" for each in events))) if events else {}
        notices: list[Notice] = []
        for event in events:
            known = facts.get(event.flow_run_id or "")
            if known is not None:
                notices += self._of_change(event, known, memory)
        notices += self._looks.notices(memory, now_s)
        memory.groups, messages = fold(memory.groups, notices, now_s)
        after = memory.to_text()
        self._last = after, memory
        return Findings(
            parcels=[parcel for each in messages for parcel in parcels(each, now_s)],
            memory={} if after == before else {NAME: after})

    def _of_change(self, row: EventRow, facts: RunFacts, memory: AlertMemory) -> list[Notice]:
        """Return the notices of one change of state."""
        if not facts.alerts and not self._sources.files.alerts:
            self._looks.learn(row, facts, (), memory)
            return []
        event = bare_event(row, facts)
        alerts = tuple(each for each in self._sources.of_run(
            facts.alerts, row.deployment or f"flow {row.flow_name!r}")
            if concerns(each, event, whose_task=False))
        self._looks.learn(row, facts, alerts, memory)
        told = memory.told.pop(event.flow_run_id, {}) if event.is_final else {}
        if not alerts:
            return []
        try:
            run = self._store.find_flow_run(event.flow_run_id)
        except RunNotFound:
            return []
        event = with_times(event, run)
        history = history_of(
            self._log, event.flow_name, row.deployment, event.occurred_s, event.flow_run_id,
        ) if any(map(needs_history, alerts)) else History()
        notices = _judged(alerts, event, history)
        if not event.is_final or not _needs_elements(alerts, notices):
            return notices
        return self._of_end(event, run, alerts, history, told)

    def _of_end(self, event: RunEvent, run: FlowRunRow, alerts: Sequence[Alert],
                history: History, told: dict[str, dict[str, int]]) -> list[Notice]:
        """Return the notices of a run that has ended, with what its elements came to."""
        elements = elements_of(self._store, run.id)
        event = replace(event, counts=elements.by_type)
        errors = errors_of(self._store, run.id, elements) if event.failed_elements else ()
        if run.state_type == event.state_type:
            errors = (*errors, *own_error(run, errors))
        of_tasks, _ = task_notices(self._store, event, alerts, told, elements)
        return [*of_tasks, *_judged(alerts, replace(event, errors=errors), history)]


def _judged(alerts: Sequence[Alert], event: RunEvent, history: History) -> list[Notice]:
    return [found for each in alerts if (found := judge(each, event, history)) is not None]


def _needs_elements(alerts: Sequence[Alert], notices: Sequence[Notice]) -> bool:
    """Tell whether the elements of a run that has ended are to be read."""
    return any(not each.resolved for each in notices) or any(
        each.failed_share is not None or about_tasks(each) for each in alerts)


def is_news(event: EventRow, now_s: float) -> bool:
    """Tell whether an event may be told of: a change of state, not too long ago."""
    return (event.flow_run_id is not None and event.flow_name is not None
            and (event.state_type in _TYPES or event.state_name in _NAMES)
            and event.occurred_s > now_s - STALE_S)
