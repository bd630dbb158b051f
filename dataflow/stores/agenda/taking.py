"""Which waiting runs a worker gets, and that nobody else gets them.

Lives here: their order, the claim, in one transaction. Does not live here: limits
(``room.py``), what is done with a run that was taken (``service/``).

In PostgreSQL two workers of a pool take turns on the pool's row, and where tags have
limits all workers on the rows of those, so that all count the same; rows that somebody
else holds are passed over. In SQLite a transaction that writes is alone anyway.

Runs of one queue and priority are a lane: what is due in it stands in the index in
order. 100,000 that wait, or are due later, cost nothing so; that many which wait for a
limit are passed over in the index.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from sqlalchemy import Connection, and_, case, insert, literal, or_, select, update

from dataflow.agenda import QueuedRun
from dataflow.stores.agenda import queue
from dataflow.stores.agenda.room import Room
from dataflow.stores.agenda.schema import ENDED, TAKEN, WAITING, pools, queued_runs

_P, _Q = pools.c, queued_runs.c
_FULL = "The deployment's limit of runs at the same time is reached"
_PAGE = 50
_QUEUES = 100  # more of them are not looked at one by one
_REFUSED = 1000  # cancelled in one transaction


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
    counted = Room(connection, pool, alone=True)
    if row is not None and row.run_limit is not None:
        room = min(room, row.run_limit - counted.in_pool)
    chosen, refused = _chosen(connection, pool, queues, now_s, room, counted)
    _refuse(connection, refused, now_s)
    keys = _free(connection, [each.key for each in chosen])
    if not keys:
        return []
    connection.execute(update(queued_runs).where(_Q.key.in_(keys)).values(
        phase=TAKEN, worker=worker, taken_until_s=until_s, tries=_Q.tries + 1))
    rows = {each.key: each for each in connection.execute(
        queue.selected().where(_Q.key.in_(keys)))}
    return [queue.row_of(rows[key]) for key in keys]


def any_free(connection: Connection, pool: str, queues: Collection[str] | None,
             now_s: float) -> bool:
    """Tell whether :func:`take` would find something, without the locks that it needs."""
    due = connection.execute(select(_Q.key).where(
        _Q.phase == WAITING, _Q.pool == pool, _Q.due_s <= now_s).limit(1)).first()
    if due is None:
        return False
    row = connection.execute(select(pools).where(_P.name == pool)).one_or_none()
    if row is not None and row.paused:
        return False
    counted = Room(connection, pool, alone=False)
    if row is not None and row.run_limit is not None and counted.in_pool >= row.run_limit:
        return False
    return any(_chosen(connection, pool, queues, now_s, 1, counted, refuse=1))


def _chosen(connection: Connection, pool: str, queues: Collection[str] | None, now_s: float,
            room: int, counted: Room, refuse: int | None = None) -> tuple[list[Any], list[Any]]:
    """Return the runs that may begin beside each other, and those for which there is no room."""
    chosen: list[Any] = []
    refused: list[Any] = []
    if room <= 0:
        return chosen, refused
    for row in _in_order(connection, pool, queues, now_s, counted):
        answer = counted.answer(row)
        if answer == "yes":
            counted.take(row)
            chosen.append(row)
        elif answer == "never":
            refused.append(row)
        if len(chosen) >= room or len(refused) >= (_REFUSED if refuse is None else refuse):
            break
    return chosen, refused


def _in_order(connection: Connection, pool: str, queues: Collection[str] | None, now_s: float,
              counted: Room) -> Iterator[Any]:
    """Yield due runs by priority of the queue, of the run, and by time."""
    names = _queues(connection, pool) if queues is None else sorted(set(queues))
    if len(names) > _QUEUES:
        return _all_in_order(connection, pool, queues, now_s, counted)

    def rank(name: str) -> int:
        return -counted.priorities.get(name, 0)

    return chain.from_iterable(
        heapq.merge(*(_of_queue(connection, pool, name, now_s, counted) for name in beside),
                    key=lambda row: (-row.priority, row.due_s, row.key))
        for _, beside in groupby(sorted(names, key=rank), key=rank))


def _queues(connection: Connection, pool: str) -> list[str]:
    """Return the queues in which runs wait, each found by one look into the index."""
    found: list[str] = []
    while len(found) <= _QUEUES:
        query = select(_Q.queue).where(_Q.phase == WAITING, _Q.pool == pool)
        if found:
            query = query.where(_Q.queue > found[-1])
        name = connection.execute(query.order_by(_Q.queue).limit(1)).scalar_one_or_none()
        if name is None:
            break
        found.append(name)
    return found


def _of_queue(connection: Connection, pool: str, name: str, now_s: float,
              counted: Room) -> Iterator[Any]:
    """Yield the due runs of a queue by priority and time, as far as somebody asks for them."""
    where = [_Q.phase == WAITING, _Q.pool == pool, _Q.queue == name]
    lower: list[Any] = []
    while not counted.queue_is_full(name):
        priority = connection.execute(
            select(_Q.priority).where(*where, *lower).order_by(_Q.priority.desc()).limit(1)
        ).scalar_one_or_none()
        if priority is None:
            return
        yield from _of_lane(connection, [*where, _Q.priority == priority], now_s, counted)
        lower = [_Q.priority < priority]


def _of_lane(connection: Connection, where: Sequence[Any], now_s: float,
             counted: Room) -> Iterator[Any]:
    """Yield the due runs of one queue and priority in the order of time.

    Those of the moment at which a page ended come first, then what is later: SQLite finds
    neither of both at once in the index.
    """
    after: list[Any] = []
    alike = False
    while True:
        page = _page(connection, [*where, *after], [_Q.due_s, _Q.key], now_s, counted)
        yield from page
        if len(page) == _PAGE:
            last = page[-1]
            after, alike = [_Q.due_s == last.due_s, _Q.key > last.key], True
        elif alike:
            after, alike = [_Q.due_s > last.due_s], False
        else:
            return


def _all_in_order(connection: Connection, pool: str, queues: Collection[str] | None, now_s: float,
                  counted: Room) -> Iterator[Any]:
    """Yield the due runs of all lanes: each page is sorted out of all that waits."""
    first = case(counted.priorities, value=_Q.queue, else_=0) if counted.priorities else literal(0)
    order = [first.desc(), _Q.priority.desc(), _Q.due_s, _Q.key]
    where = [_Q.pool == pool] if queues is None else [
        _Q.pool == pool, _Q.queue.in_(sorted(set(queues)))]
    last: Any = None
    while True:
        after = []
        if last is not None:
            rank = counted.priorities.get(last.queue, 0)
            time = or_(_Q.due_s > last.due_s, and_(_Q.due_s == last.due_s, _Q.key > last.key))
            after = [or_(first < rank, and_(first == rank, or_(
                _Q.priority < last.priority, and_(_Q.priority == last.priority, time))))]
        page = _page(connection, [*where, *after], order, now_s, counted)
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1]


def _page(connection: Connection, where: Sequence[Any], order: Sequence[Any], now_s: float,
          counted: Room) -> list[Any]:
    page = list(connection.execute(
        select(_Q.key, _Q.queue, _Q.priority, _Q.due_s, _Q.deployment, _Q.schedule, _Q.serial,
               _Q.tags)
        .where(_Q.phase == WAITING, _Q.due_s <= now_s, *where, *counted.not_full())
        .order_by(*order).limit(_PAGE)))
    counted.learn({row.deployment for row in page})
    return page


def _free(connection: Connection, keys: Sequence[int]) -> list[int]:
    """Return those of the runs that still wait and that nobody else holds, in their order."""
    if not keys:
        return []
    free = set(connection.execute(select(_Q.key).where(
        _Q.key.in_(keys), _Q.phase + 0 == WAITING,  # as such it would lead SQLite through all
    ).with_for_update(skip_locked=True)).scalars())
    return [key for key in keys if key in free]


def _refuse(connection: Connection, refused: Sequence[Any], now_s: float) -> None:
    """Cancel runs that there is no room for."""
    keys = _free(connection, [each.key for each in refused])
    if keys:
        ids = list(connection.execute(update(queued_runs).where(_Q.key.in_(keys)).values(
            phase=ENDED).returning(_Q.flow_run_id)).scalars())
        queue.end_undriven(connection, ids, "CANCELLED", "Cancelled", _FULL, now_s)
