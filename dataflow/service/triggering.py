"""The judge of triggers, as the watcher calls it.

Lives here: what triggers are judged with: the deployments that carry some, what is known of
runs. Does not live here: what follows from an event (``triggers/judging.py``), the loop
(``watcher.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from dataflow.agenda import DeploymentRow
from dataflow.event_log import STATE_EVENTS, EventLog, EventRow, Findings, Pending
from dataflow.exceptions import DeploymentNotFound
from dataflow.service.deploying import checked_parameters
from dataflow.service.watcher import BATCH
from dataflow.store import Store
from dataflow.triggers.consequences import failures_said
from dataflow.triggers.judging import judge, next_s
from dataflow.triggers.remembering import TRIGGER_FAILED

GLANCE_S = 1.0
"""Triggers that others put are seen within so long, in seconds, where nothing happens."""

_MOST_COMPLETED = 10_000

logger = logging.getLogger("dataflow.triggers")


class TriggerJudge:
    """Says what follows by the triggers of deployments.

    Parameters
    ----------
    store
        Where the deployments are.
    """

    def __init__(self, store: Store) -> None:
        self._agenda = store.agenda()
        self._known = KnownFromLog(store.events())
        self._look_s = 0.0
        self._settled: list[DeploymentRow] | None = None  # of which nothing followed any more

    def judge(self, pending: Pending, now_s: float) -> Findings:
        """Return what follows."""
        for said in failures_said(
                [each for each in pending.events if each.name == TRIGGER_FAILED]):
            logger.error("%s", said)
        rests = not pending.events and _nothing_is_due(pending, now_s)
        if rests and 0 <= now_s - self._look_s < GLANCE_S:  # else the clock was set back
            return Findings()
        self._look_s = now_s
        rows = self._agenda.with_triggers()
        if rests and rows == self._settled:
            return Findings()
        found = judge(pending, rows, now_s, known=self._known, fit=checked_parameters,
                      there=self._there, more=len(pending.events) >= BATCH)
        self._settled = None if replace(found, handled=()).anything else rows
        return found

    def _there(self, name: str) -> str | None:
        """Return why a name means no deployment; None: it means one."""
        try:
            self._agenda.deployment(name)
        except DeploymentNotFound as error:
            return str(error)
        return None


def _nothing_is_due(pending: Pending, now_s: float) -> bool:
    due_s = next_s(pending.memory)
    return due_s is None or now_s < due_s


class KnownFromLog:
    """What is known of runs, from the event log of a store."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def depths(self, flow_run_ids: Collection[str]) -> Mapping[str, int]:
        """Return how many runs made by triggers each run follows from."""
        return {run: facts.depth
                for run, facts in self._log.facts(sorted(flow_run_ids)).items()}

    def completed_since(self, since_s: float) -> Sequence[EventRow]:
        """Return the events of completed flow runs since a moment; the newest ones."""
        return self._log.events(name=f"{STATE_EVENTS}Completed", since_s=since_s,
                                limit=_MOST_COMPLETED)
