"""What becomes of the slots of a schedule that have come: runs, or nothing.

Lives here: the decision, pure but for fresh ids. Does not live here: when slots
come and which were missed (``schedules/``), the transaction (``stores/agenda/``).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from dataflow.agenda import Decision, DeploymentRow, NewRun, ScheduleRow
from dataflow.ids import new_run_id
from dataflow.names import flow_run_name
from dataflow.schedules import Schedule, due, overlap_action, schedule_from_json

_chance = random.Random()


def decide(row: ScheduleRow, deployment: DeploymentRow, active: int, *, now_s: float,
           new_id: Callable[[], str] = new_run_id) -> Decision:
    """Return which runs are made of a schedule now.

    Parameters
    ----------
    row, deployment
        As they stand.
    active
        Runs of the schedule that wait or go on.
    now_s
        Epoch seconds.
    new_id
        Gives ids of flow runs.
    """
    schedule = schedule_of(row.spec)
    since = row.made_s if row.handled_s is None else row.handled_s
    answer = due(schedule, _moment(since), _moment(now_s))
    runs: list[NewRun] = []
    cancels = False
    for slot in answer.run:
        action = overlap_action(schedule.overlap, active=active + len(runs))
        if action == "skip":
            continue
        cancels |= action == "cancel_running"
        if action == "cancel_running":
            runs.clear()  # of the same turn: the newest takes the place of all
        runs.append(NewRun(
            flow_run_id=new_id(), name=flow_run_name(_chance),
            deployment=deployment.name, serial=schedule.overlap != "allow",
            parameters={**deployment.spec.get("parameters", {}), **schedule.parameters},
            due_s=schedule.starts_at(slot, f"{deployment.name}/{row.slug}").timestamp(),
            slot_s=slot.timestamp(), cause=f"schedule {row.slug}"))
    return Decision(
        runs=runs, handled_s=answer.handled.timestamp(), cancel_active=cancels,
        next_s=None if answer.next is None else answer.next.timestamp())


def first_slot_s(schedule: Schedule, now_s: float) -> float | None:
    """Return when the first run of a schedule is due that is made now."""
    slot = schedule.next_slot(_moment(now_s))
    return None if slot is None else slot.timestamp()


def schedule_of(spec: Mapping[str, Any]) -> Schedule:
    """Return the schedule that a spec describes, in which ``at`` may stand for ``when``.

    Raises
    ------
    ScheduleError
        It cannot be meant; the text says which part.
    """
    if "at" in spec and "when" not in spec:  # as project files say it
        spec = {("when" if name == "at" else name): value for name, value in spec.items()}
    return _schedule(json.dumps(spec, sort_keys=True))


@lru_cache(maxsize=16_384)
def _schedule(text: str) -> Schedule:
    return schedule_from_json(json.loads(text))


def _moment(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)
