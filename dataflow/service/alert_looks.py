"""What no event tells of alerts: runs that take too long or wait, elements that failed
meanwhile, deadlines that have passed.

Lives here: looking, every some seconds. Does not live here: what changes of state
tell (``alerting.py``), the rules (``dataflow.alerts``).

A run is looked at from the event that says it runs or is Late until the one that says
it has ended, and only where an alert of it needs that: where there are none, nothing
is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dataflow.alerts.alert import Alert
from dataflow.alerts.deadlines import Subject, last_deadline, missed
from dataflow.alerts.events import History, RunEvent
from dataflow.alerts.notices import Notice
from dataflow.alerts.rules import concerns, matches
from dataflow.event_log import EventLog, EventRow, RunFacts
from dataflow.exceptions import RunNotFound
from dataflow.flow_moves import ENDS
from dataflow.service.alert_kinds import by_time, deadlines, has_deadline, needs_history
from dataflow.service.alert_memory import AlertMemory
from dataflow.service.alert_sources import AlertSources
from dataflow.service.alert_tasks import task_notices
from dataflow.service.run_events import look_at
from dataflow.store import FlowRunRow, Store

LOOK_S = 10.0
"""Between two looks at runs that go on."""

DEADLINES_S = 60.0
"""Between two looks at deadlines."""

GRACE_S = 5.0
"""A run that completed in time may be recorded so much later."""

WATCHED = 500
"""So many runs are looked at; of others their events tell."""

_GIVEN_UP_S = 7 * 86_400.0
_NEWEST = 500  # runs among which those are found that a new alert is about


class Looks:
    """Looks by time; for one thread.

    Parameters
    ----------
    store, log
        Where runs and deployments are.
    sources
        Which alerts there are.
    """

    def __init__(self, store: Store, log: EventLog, sources: AlertSources) -> None:
        self._store, self._log, self._sources = store, log, sources
        self._look_at: float | None = None
        self._deadlines_at: float | None = None
        self._known: frozenset[str] = frozenset()

    def learn(self, event: EventRow, facts: RunFacts, alerts: Iterable[Alert],
              memory: AlertMemory) -> None:
        """Take in what an event says of what is to be looked at."""
        run_id, flow = event.flow_run_id or "", event.flow_name or ""
        if event.state_type in ENDS:
            memory.watched.pop(run_id, None)
            if not facts.alerts and not self._sources.files.alerts:
                memory.told.pop(run_id, None)
        elif run_id not in memory.watched and any(map(by_time, alerts)) and (
                len(memory.watched) < WATCHED):
            memory.watched[run_id] = event.occurred_s
        if event.deployment is not None:
            return
        own = [dict(each) for each in facts.alerts if has_deadline(each)]
        if own:
            memory.own[flow] = own
        else:
            memory.own.pop(flow, None)
        if own or deadlines(self._sources.files.alerts):
            memory.flows.setdefault(flow, event.occurred_s)

    def are_due(self, now_s: float) -> bool:
        """Tell whether it is time for one."""
        return _is_time(self._look_at, now_s, LOOK_S)

    def notices(self, memory: AlertMemory, now_s: float) -> list[Notice]:
        """Return what looks tell, where it is time for one; the memory is brought up to date."""
        found: list[Notice] = []
        if _is_time(self._look_at, now_s, LOOK_S):
            self._look_at = now_s
            self._seed(memory, now_s)
            all_facts = self._log.facts(list(memory.watched))
            for run_id in list(memory.watched):
                found += self._of_run(run_id, all_facts.get(run_id), memory, now_s)
        if _is_time(self._deadlines_at, now_s, DEADLINES_S):
            self._deadlines_at = now_s
            found += self._of_deadlines(memory, now_s)
        return found

    def _seed(self, memory: AlertMemory, now_s: float) -> None:
        """Where the files have alerts that they had not before, find what these are about."""
        alerts = self._sources.files.alerts
        keys = frozenset(each.key for each in alerts)
        if keys <= self._known:
            return
        self._known = keys
        if not any(map(by_time, alerts)) and not deadlines(alerts):
            return
        for row in self._store.flow_runs(limit=_NEWEST):
            if row.state_type == "RUNNING" and len(memory.watched) < WATCHED:
                memory.watched.setdefault(row.id, now_s)
            began = row.created.timestamp()
            memory.flows[row.flow_name] = min(memory.flows.get(row.flow_name, began), began)

    # runs that go on

    def _of_run(self, run_id: str, facts: RunFacts | None, memory: AlertMemory,
                now_s: float) -> Iterator[Notice]:
        try:
            row = self._store.find_flow_run(run_id)
        except RunNotFound:
            facts = None
        if facts is None or now_s - memory.watched[run_id] > _GIVEN_UP_S:
            _forget(memory, run_id)
            return
        if row.state_type in ENDS:
            return  # its event tells, and ends this
        event = look_at(row, facts, now_s)
        whose = facts.deployment or f"flow {row.flow_name!r}"
        alerts = [each for each in self._sources.of_run(facts.alerts, whose)
                  if by_time(each) and concerns(each, event, whose_task=False)]
        if not alerts:
            _forget(memory, run_id)
            return
        history = self._history(row, facts, now_s) if any(map(needs_history, alerts)) else (
            History())
        for alert in alerts:
            if alert.longer_than is not None or alert.late_by_seconds is not None:
                found = matches(alert, event, history)
                if found is not None:
                    yield found
        yield from self._of_tasks(event, alerts, memory)

    def _of_tasks(self, event: RunEvent, alerts: list[Alert],
                  memory: AlertMemory) -> Iterator[Notice]:
        told = memory.told.get(event.flow_run_id, {})
        found, counts = task_notices(self._store, event, alerts, told)
        if counts:
            memory.told[event.flow_run_id] = counts
        yield from found

    def _history(self, row: FlowRunRow, facts: RunFacts, now_s: float) -> History:
        return history_of(self._log, row.flow_name, facts.deployment, now_s, row.id)

    # deadlines

    def _of_deadlines(self, memory: AlertMemory, now_s: float) -> Iterator[Notice]:
        looked: dict[str, float] = {}
        for each in self._expected(memory):
            due_s = last_deadline(each.alert, now_s - GRACE_S)
            if due_s is None:
                continue
            key = f"{each.alert.key} {each.name}"
            looked[key] = due_s
            if memory.deadlines.get(key) == due_s:
                continue
            history = history_of(self._log, each.subject.flow_name, each.deployment, now_s)
            found = missed(each.alert, each.subject, history, now_s - GRACE_S)
            if found is not None:
                yield found
        memory.deadlines = looked

    def _expected(self, memory: AlertMemory) -> Iterator[_Expected]:
        """Yield each alert with a deadline, with each flow or deployment that it may be about."""
        of_files = deadlines(self._sources.files.alerts)
        deployed: set[str] = set()
        agenda = self._store.agenda()
        all_count = of_files or memory.flows  # to read 10,000 takes more than a second
        for row in agenda.deployments() if all_count else agenda.with_deadlines():
            deployed.add(row.flow_name)
            if row.paused:
                continue
            tables = [each for each in row.spec.get("alerts", ()) if has_deadline(each)]
            subject = Subject(
                flow_name=row.flow_name, deployment_name=row.name.partition("/")[2],
                tags=tuple(row.spec.get("tags", ())), known_since_s=row.created_s)
            for alert in (*of_files, *self._sources.own(tables, f"deployment {row.name!r}")):
                yield _Expected(alert, subject)
        for flow, since_s in memory.flows.items():
            if flow in deployed:
                continue  # its deployments are what is expected
            subject = Subject(flow_name=flow, known_since_s=since_s)
            for alert in (*of_files, *self._sources.own(
                    memory.own.get(flow, ()), f"flow {flow!r}")):
                yield _Expected(alert, subject)


@dataclass(frozen=True, slots=True)
class _Expected:
    """A flow or deployment that is to complete by a time of day."""

    alert: Alert
    subject: Subject

    @property
    def name(self) -> str:
        return self.deployment or self.subject.flow_name

    @property
    def deployment(self) -> str | None:
        short = self.subject.deployment_name
        return None if short is None else f"{self.subject.flow_name}/{short}"


def history_of(log: EventLog, flow: str, deployment: str | None, before_s: float,
               without: str = "") -> History:
    """Return what the runs of a flow, or of a deployment, came to up to a moment."""
    past = log.past(flow, deployment, before_s, without)
    return History(durations_s=tuple(past.durations_s), ended=tuple(past.ended),
                   last_completed_s=past.last_completed_s)


def _forget(memory: AlertMemory, run_id: str) -> None:
    memory.watched.pop(run_id, None)
    memory.told.pop(run_id, None)


def _is_time(last_s: float | None, now_s: float, every_s: float) -> bool:
    """Tell whether it is so long ago, or the clock was set back."""
    return last_s is None or not 0 <= now_s - last_s < every_s
