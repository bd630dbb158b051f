"""Statements on schedules: which are due, and what was decided on their slots.

Lives here: one turn, in one transaction. Does not live here: the decision, which
is handed in; the runs that it makes (``queue.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, tuple_, update

from dataflow.agenda import Decide, ScheduleRow
from dataflow.exceptions import DeploymentNotFound
from dataflow.stores.agenda import deployments as _deployments
from dataflow.stores.agenda import queue, slots
from dataflow.stores.agenda.schema import ENDED, deployments, queued_runs, schedules

_D, _S, _Q = deployments.c, schedules.c, queued_runs.c


def _selected() -> Any:
    return select(
        schedules, _D.name.label("deployment_name"), _D.paused
    ).join(deployments, _D.key == _S.deployment).where(_D.deleted_s.is_(None))


def _row(row: Any) -> ScheduleRow:
    return ScheduleRow(
        key=row.key, deployment=row.deployment_name, slug=row.slug, spec=json.loads(row.spec),
        active=bool(row.active), paused=bool(row.paused), made_s=row.made_s,
        handled_s=row.handled_s, next_s=row.next_s)


def every(connection: Connection, deployment: int | None, limit: int | None = None,
          after: tuple[str, str] | None = None) -> list[ScheduleRow]:
    """Return schedules by deployment and slug."""
    query = _selected().order_by(_D.name, _S.slug).limit(limit)
    if after is not None:
        query = query.where(tuple_(_D.name, _S.slug) > after)
    if deployment is not None:
        query = query.where(_S.deployment == deployment)
    return [_row(row) for row in connection.execute(query)]


def pause(connection: Connection, deployment: int, slug: str, paused: bool,
          now_s: float) -> None:
    """Let a schedule rest, or go on from now. Raises DeploymentNotFound."""
    row = connection.execute(select(_S.key, _S.active).where(
        _S.deployment == deployment, _S.slug == slug)).one_or_none()
    if row is not None and row.active == int(paused):
        since: dict[str, float] = {} if paused else {
            "made_s": now_s, "handled_s": now_s, "next_s": now_s}
        connection.execute(update(schedules).where(_S.key == row.key).values(
            active=int(not paused), **since))
    if row is None:
        known = ", ".join(connection.execute(
            select(_S.slug).where(_S.deployment == deployment)).scalars())
        raise DeploymentNotFound(
            f"The deployment has no schedule {slug!r}. "
            + (f"It has: {known}." if known else "It has none."), name=slug)


def next_slot_s(connection: Connection) -> float | None:
    """Return when the next slot of an active schedule comes."""
    found: float | None = connection.execute(
        select(func.min(_S.next_s)).join(deployments, _D.key == _S.deployment).where(
            _S.active == 1, _D.paused == 0, _D.deleted_s.is_(None))).scalar_one()
    return found


def turn(
    connection: Connection, now_s: float, decide: Decide, limit: int,
    cancel: Callable[[str], object],
) -> list[queue.Addition]:
    """Decide on the schedules whose slot has come; return the runs that are to be made.

    Another process that does the same at the same time passes over what is locked here,
    and finds it handled afterwards.
    """
    due = connection.execute(
        _selected().where(_S.next_s <= now_s, _S.active == 1, _D.paused == 0)
        .order_by(_S.next_s).limit(limit).with_for_update(of=schedules, skip_locked=True)).all()
    if not due:
        return []
    owners = _deployments.by_key(connection, sorted({row.deployment for row in due}))
    active = _active(connection, [row.key for row in due])
    wanted: list[queue.Addition] = []
    changes: list[dict[str, Any]] = []
    for row in due:
        going_on = active.get(row.key, [])
        owner = owners[row.deployment]
        decision = decide(_row(row), owner, len(going_on))
        if decision.cancel_active:
            for flow_run_id in going_on:
                cancel(flow_run_id)
        wanted += [queue.Addition(run, row.deployment, owner, row.key)
                   for run in decision.runs]
        changes.append({"of": row.key, "handled": decision.handled_s, "next": decision.next_s})
    connection.execute(_CHANGE, changes)
    there = slots.taken(connection, {row.key: row.slug for row in due}, wanted)
    return [each for each in wanted if (each.schedule, each.run.slot_s) not in there]


_CHANGE = update(schedules).where(_S.key == bindparam("of")).values(
    handled_s=bindparam("handled"), next_s=bindparam("next"))


def _active(connection: Connection, keys: list[int]) -> dict[int, list[str]]:
    """Return the runs of schedules that wait or go on."""
    found: dict[int, list[str]] = {}
    for row in connection.execute(select(_Q.schedule, _Q.flow_run_id).where(
            _Q.schedule.in_(keys), _Q.phase != ENDED)):
        found.setdefault(row.schedule, []).append(row.flow_run_id)
    return found
