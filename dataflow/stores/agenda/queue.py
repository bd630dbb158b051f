"""Statements on the queue of runs: waiting, taken, ended.

Lives here: adding, holding, ending, cancelling, who has what. Does not live
here: which run is taken next (``taking.py``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, insert, or_, select, tuple_, update

from dataflow.agenda import DeploymentRow, NewRun, Phase, QueuedRun, QueueLength, RunClaim
from dataflow.flow_moves import ENDS
from dataflow.stores.agenda.schema import (
    ENDED,
    PHASES,
    TAKEN,
    WAITING,
    deployments,
    queued_runs,
    schedules,
    tag_text,
    versions,
)
from dataflow.stores.schema import flow_runs

_D, _F, _Q, _S, _V = deployments.c, flow_runs.c, queued_runs.c, schedules.c, versions.c
_ENDS = tuple(sorted(ENDS))
_AT_ONCE = 500  # values in one statement


@dataclass(frozen=True, slots=True)
class Addition:
    """A run on its way into the queue."""

    run: NewRun
    key: int  # of its deployment
    deployment: DeploymentRow
    schedule: int | None = None

    def values(self) -> dict[str, Any]:
        """Return its row."""
        run, deployment = self.run, self.deployment
        return {
            "flow_run_id": run.flow_run_id, "deployment": self.key,
            "version": deployment.version, "schedule": self.schedule, "slot_s": run.slot_s,
            "slot_of": run.schedule,
            "idempotency_key": run.idempotency_key,
            "parameters": json.dumps(dict(run.parameters)), "pool": deployment.pool,
            "queue": deployment.queue,
            "priority": deployment.priority if run.priority is None else run.priority,
            "due_s": run.due_s, "phase": WAITING, "serial": int(run.serial), "tries": 0,
            "cancel": 0, "cause": run.cause,
            "tags": tag_text({*deployment.spec.get("tags", ()), *run.tags}),
            "trigger": None if run.trigger is None else json.dumps(dict(run.trigger)),
        }


def same_key(connection: Connection, deployment: int, key: str | None) -> str | None:
    """Return the run that was queued before with the same idempotency key."""
    if key is None:
        return None
    found: str | None = connection.execute(select(_Q.flow_run_id).where(
        _Q.deployment == deployment, _Q.idempotency_key == key)).scalar_one_or_none()
    return found


def known_keys(connection: Connection,
               wanted: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of some (deployment, idempotency key) of which a run was queued before."""
    found: set[tuple[int, str]] = set()
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at:at + _AT_ONCE]
        found.update((row.deployment, row.idempotency_key) for row in connection.execute(
            select(_Q.deployment, _Q.idempotency_key).where(
                _Q.deployment.in_({key for key, _ in some}),
                _Q.idempotency_key.in_({key for _, key in some}))))
    return found


def add(connection: Connection, additions: Sequence[Addition]) -> None:
    """Put runs into the queue."""
    if additions:
        connection.execute(insert(queued_runs), [each.values() for each in additions])


def selected() -> Any:
    """Return the query of queued runs with what their deployments say."""
    return select(
        queued_runs, _D.name.label("deployment_name"), _D.id.label("deployment_id"),
        _D.on_crash, _V.spec, _S.slug.label("schedule_slug"),
    ).join(deployments, _D.key == _Q.deployment).join(
        versions, and_(_V.deployment == _Q.deployment, _V.number == _Q.version)
    ).outerjoin(schedules, _S.key == _Q.schedule)


def row_of(row: Any) -> QueuedRun:
    """Return the value of a row of :func:`selected`."""
    return QueuedRun(
        flow_run_id=row.flow_run_id, deployment=row.deployment_name,
        deployment_id=row.deployment_id, version=row.version,
        spec=json.loads(row.spec), parameters=json.loads(row.parameters), pool=row.pool,
        queue=row.queue, priority=row.priority, due_s=row.due_s, slot_s=row.slot_s,
        schedule=row.schedule_slug or row.slot_of, phase=PHASES[row.phase], worker=row.worker,
        taken_until_s=row.taken_until_s, tries=row.tries, cancel=bool(row.cancel),
        on_crash=row.on_crash, cause=row.cause, retry=bool(row.retry),
        trigger=None if row.trigger is None else json.loads(row.trigger))


def one(connection: Connection, flow_run_id: str) -> QueuedRun | None:
    """Return a run that is or was in the queue."""
    row = connection.execute(selected().where(_Q.flow_run_id == flow_run_id)).one_or_none()
    return None if row is None else row_of(row)


def of_deployment(
    connection: Connection, deployment: int, phase: Phase | None, limit: int,
    before: str | None = None,
) -> list[QueuedRun]:
    """Return runs of a deployment, the latest due first."""
    query = selected().where(_Q.deployment == deployment).order_by(
        _Q.due_s.desc(), _Q.key.desc()).limit(limit)
    if phase is not None:
        query = query.where(_Q.phase == PHASES.index(phase))
    if before is not None:
        last = queued_runs.alias("last")
        query = query.where(tuple_(_Q.due_s, _Q.key) < select(last.c.due_s, last.c.key).where(
            last.c.flow_run_id == before).scalar_subquery())
    return [row_of(row) for row in connection.execute(query)]


def in_queue(connection: Connection, pool: str | None, phase: Phase | None, limit: int,
             after: tuple[float, str] | None) -> list[QueuedRun]:
    """Return runs that wait or were taken, the first due first."""
    query = selected().order_by(_Q.due_s, _Q.flow_run_id).limit(limit)
    query = query.where(_Q.phase != ENDED if phase is None else _Q.phase == PHASES.index(phase))
    if pool is not None:
        query = query.where(_Q.pool == pool)
    if after is not None:
        query = query.where(tuple_(_Q.due_s, _Q.flow_run_id) > after)
    return [row_of(row) for row in connection.execute(query)]


def lengths(connection: Connection, now_s: float) -> list[QueueLength]:
    """Count what waits and what was taken, by pool and queue."""
    def counted(condition: Any) -> Any:
        return func.count(case((condition, 1)))

    waits = _Q.phase == WAITING
    return [
        QueueLength(pool=row.pool, queue=row.queue, waiting=row.waiting, due=row.due,
                    taken=row.taken)
        for row in connection.execute(
            select(_Q.pool, _Q.queue, counted(waits).label("waiting"),
                   counted(and_(waits, _Q.due_s <= now_s)).label("due"),
                   counted(_Q.phase == TAKEN).label("taken"))
            .where(_Q.phase.in_((WAITING, TAKEN)))
            .group_by(_Q.pool, _Q.queue).order_by(_Q.pool, _Q.queue))]


def hold(
    connection: Connection, worker: str, runs: Collection[str], until_s: float
) -> dict[str, bool]:
    """Move the end of a worker's claims on; return run → asked to cancel."""
    if not runs:
        return {}
    mine = and_(_Q.flow_run_id.in_(list(runs)), _Q.phase == TAKEN, _Q.worker == worker)
    connection.execute(update(queued_runs).where(mine).values(taken_until_s=until_s))
    return {row.flow_run_id: bool(row.cancel) for row in connection.execute(
        select(_Q.flow_run_id, _Q.cancel).where(mine))}


def end(connection: Connection, flow_run_id: str, worker: str | None) -> bool:
    """Take a run out of the queue; False where it is not this worker's, or is out."""
    mine = and_(_Q.flow_run_id == flow_run_id, _Q.phase != ENDED)
    if worker is not None:
        mine = and_(mine, _Q.worker == worker, _Q.phase == TAKEN)
    return bool(connection.execute(update(queued_runs).where(mine).values(
        phase=ENDED, taken_until_s=None)).rowcount)


def give_back(connection: Connection, flow_run_id: str, worker: str, due_s: float,
              gone: str | None) -> bool:
    """Let a run wait again that nobody wants cancelled; the lease of who is gone is over."""
    given = bool(connection.execute(update(queued_runs).where(
        _Q.flow_run_id == flow_run_id, _Q.phase == TAKEN, _Q.worker == worker, _Q.cancel == 0,
    ).values(phase=WAITING, worker=None, taken_until_s=None, due_s=due_s)).rowcount)
    if given and gone is not None:
        connection.execute(update(queued_runs).where(
            _Q.flow_run_id == flow_run_id).values(retry=0))  # that has begun: now it goes on
        connection.execute(update(flow_runs).where(
            _F.id == flow_run_id, _F.owner == gone,
        ).values(owner=None, lease_until_s=None, epoch=_F.epoch + 1))
    return given


def again(connection: Connection, flow_run_id: str, now_s: float, retry: bool) -> bool:
    """Let a run wait once more that has ended, also among the flow runs.

    Its worker may not have seen that yet, and finds that it is not its any more.
    """
    has_ended = select(_F.key).where(
        _F.id == _Q.flow_run_id, _F.state_type.in_(_ENDS)).exists()
    waits = connection.execute(update(queued_runs).where(
        _Q.flow_run_id == flow_run_id, or_(_Q.phase == ENDED, _Q.phase == TAKEN), has_ended,
    ).values(phase=WAITING, worker=None, taken_until_s=None, tries=0, cancel=0, due_s=now_s,
             retry=int(retry))).rowcount
    if waits:
        connection.execute(update(flow_runs).where(_F.id == flow_run_id).values(
            state_type="SCHEDULED", state_name="Scheduled",
            message="To be retried" if retry else "To be resumed", end_time_s=None,
            error_type=None, error_message=None, traceback=None,
            owner=None, lease_until_s=None, epoch=_F.epoch + 1))
    return bool(waits)


def ask_to_cancel(connection: Connection, flow_run_id: str, now_s: float,
                  message: str = "Cancelled before it began", *,
                  only_waiting: bool = False) -> bool:
    """Cancel a run that waits; tell the worker of one that was taken, unless only those are meant.
    """
    row = connection.execute(select(_Q.phase).where(
        _Q.flow_run_id == flow_run_id).with_for_update()).one_or_none()
    if row is None or row.phase == ENDED or (only_waiting and row.phase != WAITING):
        return False
    if row.phase == WAITING:
        end(connection, flow_run_id, None)
        end_undriven(connection, [flow_run_id], "CANCELLED", "Cancelled", message, now_s)
    else:
        connection.execute(update(queued_runs).where(
            _Q.flow_run_id == flow_run_id).values(cancel=1))
    return True


def end_undriven(connection: Connection, runs: Sequence[str], state_type: str, state_name: str,
                 message: str, now_s: float, gone: str | None = None) -> int:
    """Record the end of flow runs that no process drives; one that has ended keeps its end.

    Whoever still drives one finds its writes refused.
    """
    return int(connection.execute(update(flow_runs).where(
        _F.id.in_(list(runs)), _F.state_type.not_in(_ENDS),
        or_(_F.lease_until_s.is_(None), _F.lease_until_s < now_s, _F.owner == gone),
    ).values(state_type=state_type, state_name=state_name, message=message, end_time_s=now_s,
             owner=None, lease_until_s=None, epoch=_F.epoch + 1)).rowcount)


def claims(connection: Connection) -> list[RunClaim]:
    """Return who has the runs that were taken."""
    return [
        RunClaim(flow_run_id=row.flow_run_id, worker=row.worker, until_s=row.taken_until_s,
                 tries=row.tries, owner=row.owner, lease_until_s=row.lease_until_s)
        for row in connection.execute(
            select(_Q.flow_run_id, _Q.worker, _Q.taken_until_s, _Q.tries, _F.owner,
                   _F.lease_until_s)
            .join(flow_runs, _F.id == _Q.flow_run_id)
            .where(_Q.phase == TAKEN).order_by(_Q.key))]


def any_late(connection: Connection, before_s: float) -> bool:
    """Tell whether there is a run that is to be named Late."""
    return connection.execute(select(_F.key).where(_late(before_s)).limit(1)).first() is not None


def mark_late(connection: Connection, before_s: float) -> int:
    """Name runs Late that wait and were due before a moment."""
    return int(connection.execute(
        update(flow_runs).where(_late(before_s)).values(state_name="Late")).rowcount)


def _late(before_s: float) -> Any:
    waiting = select(_Q.flow_run_id).where(
        _Q.phase == WAITING, _Q.due_s < before_s, _Q.slot_of.is_(None)).scalar_subquery()
    return and_(
        _F.id.in_(waiting), _F.state_type == "SCHEDULED", _F.state_name == "Scheduled")


def waiting_of(connection: Connection, deployment: int) -> list[str]:
    """Return the runs of a deployment that wait."""
    return list(connection.execute(select(_Q.flow_run_id).where(
        _Q.deployment == deployment, _Q.phase == WAITING)).scalars())


def next_due_s(connection: Connection, pool: str) -> float | None:
    """Return when the next run of a pool is due."""
    found: float | None = connection.execute(select(func.min(_Q.due_s)).where(
        _Q.phase == WAITING, _Q.pool == pool)).scalar_one()
    return found
