"""The runs of a backfill that is under way: asked for, waited for, cancelled.

Lives here: one run per slot, whatever dies in between; hearing that nobody takes the
runs. Does not live here: which slots there are (``backfill_slots.py``), the flow whose
elements they are (``backfill_flow.py``).

A run is queued under a key made of backfill, slot and a number. Who comes again finds
the run under that key; only where that one is to be replaced the next number is tried.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from dataflow.agenda import Agenda, NewRun
from dataflow.exceptions import StoreError
from dataflow.flow_moves import ENDS
from dataflow.ids import new_run_id
from dataflow.names import flow_run_name
from dataflow.service.deploying import checked_parameters
from dataflow.store import FlowRunRow, Store

POLL_S = 0.2
"""Between two looks at a run, in seconds."""

PATIENCE_S = 5.0
"""A run that waits for longer makes us look for a worker, in seconds."""

SILENT_S = 60.0
"""A worker that has not been heard of for so long is not counted on, in seconds."""

_TICK_S = 1e-6
_ONCE_S = 60.0  # between two words on the same trouble
_chance = random.Random()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillFacts:
    """What a backfill is asked to do, and how it goes on.

    Attributes
    ----------
    flow_run_id, name
        The backfill itself.
    deployment
        Whose runs are made.
    parameters
        Slug of a schedule → those of its runs, over the deployment's.
    only_missing
        A slot that has a run of somebody else's by now is left to that.
    replaced
        A run of an earlier time of this backfill that ended in such a type of state is run
        anew; any other end counts.
    """

    flow_run_id: str
    name: str
    deployment: str
    parameters: Mapping[str, Mapping[str, Any]]
    only_missing: bool
    replaced: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of the runs of a backfill that was stopped: names and ids."""

    cancelled: tuple[str, ...]
    going_on: tuple[str, ...]


class BackfillRuns:
    """Makes the runs of a backfill, and waits for them. Safe to use from several threads.

    Parameters
    ----------
    store, facts
        Where, and what.
    log
        Where trouble is told.
    clock
        Gives epoch seconds; ``monotonic`` seconds that nobody sets.
    """

    def __init__(self, store: Store, facts: BackfillFacts, log: logging.LoggerAdapter[Any], *,
                 clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._store = store
        self._agenda: Agenda = store.agenda()
        self._facts = facts
        self._log = log
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._stopped = False
        self._waited_for: set[str] = set()
        self._told: dict[str, float] = {}

    def begin(self, schedule: str, slot: datetime, task_run_id: str) -> str | None:
        """Queue the run of a slot, or find the one that was queued; return its id.

        None: the backfill was stopped.

        Raises
        ------
        DeploymentNotFound
            It was deleted.
        ParameterTypeError
            The parameters do not fit it any more.
        """
        with self._lock:
            if self._stopped:
                return None
            found = self._elses(schedule, slot) or self._queued(schedule, slot, task_run_id)
            self._waited_for.add(found)
            return found

    def _elses(self, schedule: str, slot: datetime) -> str | None:
        """Return the run that somebody else made for a slot that had none."""
        if not self._facts.only_missing:
            return None
        time_s = slot.timestamp()
        there = self._agenda.slots(self._facts.deployment, time_s, time_s + _TICK_S)
        return next((run.flow_run_id for run in there if run.schedule in (schedule, None)
                     and run.parent_flow_run_id != self._facts.flow_run_id), None)

    def _queued(self, schedule: str, slot: datetime, task_run_id: str) -> str:
        facts, time_s = self._facts, slot.timestamp()
        deployment = self._agenda.deployment(facts.deployment)
        parameters = checked_parameters(deployment, facts.parameters.get(schedule, {}))
        for number in count(1):
            now_s = self._clock()
            new = NewRun(
                flow_run_id=new_run_id(), name=flow_run_name(_chance), deployment=deployment.name,
                parameters=parameters, due_s=now_s, slot_s=time_s, schedule=schedule,
                idempotency_key=f"backfill {facts.flow_run_id} {schedule} {time_s!r} {number}",
                parent_flow_run_id=facts.flow_run_id, parent_task_run_id=task_run_id,
                cause=f"backfill {facts.name}")
            there = self._agenda.queue(new, now_s)
            if there == new.flow_run_id:
                return there
            if self._store.find_flow_run(there).state_type not in facts.replaced:
                return there
        raise AssertionError("there is always a next number")

    async def ended(self, flow_run_id: str) -> FlowRunRow:
        """Wait for the end of a run; a store that fails for a while is waited for."""
        since = self._monotonic()
        while True:
            row = self._look(flow_run_id)
            if row is not None and row.state_type in ENDS:
                with self._lock:
                    self._waited_for.discard(flow_run_id)
                return row
            if row is not None and row.state_type == "SCHEDULED" \
                    and self._monotonic() - since > PATIENCE_S:
                self._look_for_worker(flow_run_id)
            await asyncio.sleep(max(POLL_S, len(self._waited_for) * POLL_S / 20))

    def _look(self, flow_run_id: str) -> FlowRunRow | None:
        try:
            return self._store.find_flow_run(flow_run_id)
        except StoreError as error:
            self._tell(str(error))
            return None

    def _look_for_worker(self, flow_run_id: str) -> None:
        """Say that nobody takes the runs, where that is so."""
        try:
            run = self._agenda.queued(flow_run_id)
            workers = self._agenda.workers()
        except StoreError as error:
            self._tell(str(error))
            return
        if run is None or run.phase != "waiting":
            return
        now_s = self._clock()
        if not any(each.pool == run.pool and each.status == "online"
                   and now_s - each.seen_s < SILENT_S for each in workers):
            self._tell(f"Runs of {run.deployment} wait for a worker of pool {run.pool!r}, and "
                       f"there is none. {_remedy(run.pool)}")

    def _tell(self, text: str) -> None:
        """Say a trouble, and not too often the same one."""
        now = self._monotonic()
        with self._lock:
            if now - self._told.get(text, -_ONCE_S) < _ONCE_S:
                return
            self._told[text] = now
        self._log.warning("%s", text)

    def stop(self) -> Stopped:
        """Make no more runs; cancel those that wait, and leave alone those that go on."""
        with self._lock:
            self._stopped = True
            open_runs = sorted(self._waited_for)
        cancelled, going_on = [], []
        for flow_run_id in open_runs:
            done = self._agenda.ask_to_cancel(flow_run_id, self._clock(), only_waiting=True)
            row = self._store.find_flow_run(flow_run_id)
            if done:
                cancelled.append(row.name)
            elif row.state_type not in ENDS:
                going_on.append(f"{row.name} ({row.id[:8]})")
        return Stopped(tuple(cancelled), tuple(going_on))


def _remedy(pool: str) -> str:
    from dataflow.service.serving import SERVE_POOL

    if pool == SERVE_POOL:
        return "Start the process that serves it: .serve()"
    return f"Start one: dataflow worker start --pool {pool}"
