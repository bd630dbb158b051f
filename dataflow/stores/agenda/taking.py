"""Which waiting runs a worker gets, and that nobody else gets them.

Lives here: order, limits, the claim, in one transaction. Does not live here:
what is done with a run that was taken (``service/``).

In PostgreSQL two workers of a pool take turns on the pool's row, so that both
count the same; rows that somebody else holds are passed over. In SQLite a
transaction that writes is alone anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from dataflow.agenda import QueuedRun
from dataflow.stores.agenda import queue
from dataflow.stores.agenda.schema import (
    ENDED,
    TAKEN,
    WAITING,
    deployments,
    pools,
    queued_runs,
)

_D, _P, _Q = deployments.c, pools.c, queued_runs.c
_FULL = "The deployment's limit of runs at the same time is reached"


def take(
    connection: Connection, pool: str, worker: str, room: int, *, now_s: float, until_s: float,
    queues: Collection[str] | None,
) -> list[QueuedRun]:
    """Take runs; see the port."""
    row = connection.execute(
        select(pools).where(_P.name == pool).with_for_update()).one_or_none()
    if row is None:  # a row to take turns on; whoever makes it too comes again
        connection.execute(insert(pools).values(name=pool, paused=0))
    elif row.paused:
        return []
    elif row.run_limit is not None:
        room = min(room, row.run_limit - _count(connection, _Q.pool == pool))
    taken: list[Any] = []
    while room > len(taken):
        found = _candidates(connection, pool, queues, now_s, room - len(taken))
        chosen = _within_limits(connection, found, now_s)
        if not chosen:
            break
        connection.execute(update(queued_runs).where(
            _Q.key.in_([each.key for each in chosen])).values(
                phase=TAKEN, worker=worker, taken_until_s=until_s, tries=_Q.tries + 1))
        taken += chosen
    if not taken:
        return []
    keys = [each.key for each in taken]
    rows = {each.key: each for each in connection.execute(
        queue.selected().where(_Q.key.in_(keys)))}
    return [queue.row_of(rows[key]) for key in keys]


def any_due(connection: Connection, pool: str, now_s: float) -> bool:
    """Tell whether a run of a pool waits that is due; without the lock that taking one needs."""
    return connection.execute(select(_Q.key).where(
        _Q.phase == WAITING, _Q.pool == pool, _Q.due_s <= now_s).limit(1)).first() is not None


def _count(connection: Connection, which: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(queued_runs).where(
        _Q.phase == TAKEN, which)).scalar_one())


def _candidates(connection: Connection, pool: str, queues: Collection[str] | None, now_s: float,
                many: int) -> list[Any]:
    """Return due runs whose deployment and schedule have room for one more at least."""
    others = queued_runs.alias()
    beside = select(func.count()).select_from(others).where(
        others.c.phase == TAKEN, others.c.deployment == _Q.deployment).scalar_subquery()
    before = select(others.c.key).where(
        others.c.phase == TAKEN, others.c.schedule == _Q.schedule).exists()
    query = select(
        _Q.key, _Q.flow_run_id, _Q.deployment, _Q.schedule, _Q.serial, _D.run_limit,
        _D.collision, beside.label("beside"),
    ).join(deployments, _D.key == _Q.deployment).where(
        _Q.phase == WAITING, _Q.pool == pool, _Q.due_s <= now_s,
        or_(_D.run_limit.is_(None), beside < _D.run_limit, _D.collision == "CANCEL_NEW"),
        or_(_Q.serial == 0, ~before),
    ).order_by(_Q.priority.desc(), _Q.due_s, _Q.key).limit(many).with_for_update(
        of=queued_runs, skip_locked=True)
    if queues is not None:
        query = query.where(_Q.queue.in_(list(queues)))
    return list(connection.execute(query))


def _within_limits(connection: Connection, found: list[Any], now_s: float) -> list[Any]:
    """Return those that may begin beside each other; cancel what there is no room for."""
    chosen: list[Any] = []
    running: Counter[int] = Counter()
    begun: set[int] = set()
    refused: list[str] = []
    for row in found:
        if row.serial and row.schedule in begun:
            continue
        if row.run_limit is not None and row.beside + running[row.deployment] >= row.run_limit:
            if row.collision == "CANCEL_NEW":
                refused.append(row.flow_run_id)
            continue
        running[row.deployment] += 1
        begun.add(row.schedule)
        chosen.append(row)
    if refused:
        connection.execute(update(queued_runs).where(and_(
            _Q.flow_run_id.in_(refused), _Q.phase == WAITING)).values(phase=ENDED))
        queue.end_undriven(connection, refused, "CANCELLED", "Cancelled", _FULL, now_s)
    return chosen
