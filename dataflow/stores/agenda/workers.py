"""Statements on workers, work pools and their queues.

Lives here: who takes runs, and where they wait. Does not live here: the runs
(``queue.py``, ``taking.py``), limits over all of them (``limits.py``).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dataflow.agenda import PoolRow, QueueRow, WorkerRow
from dataflow.stores.agenda.schema import pools, queues, workers


def put_worker(connection: Connection, worker: WorkerRow) -> None:
    """Put a worker in the place of the one of that name."""
    values = asdict(worker)
    values["run_limit"] = values.pop("limit")
    _put(connection, workers, {"name": values.pop("name")}, values)


def seen(connection: Connection, worker: str, now_s: float) -> None:
    """Note that a worker lives."""
    connection.execute(
        update(workers).where(workers.c.name == worker).values(seen_s=now_s))


def every_worker(connection: Connection) -> list[WorkerRow]:
    """Return the workers, the last one seen first."""
    return [
        WorkerRow(name=row.name, pool=row.pool, kind=row.kind, limit=row.run_limit,
                  host=row.host, pid=row.pid, started_s=row.started_s, seen_s=row.seen_s,
                  status=row.status)
        for row in connection.execute(select(workers).order_by(workers.c.seen_s.desc()))]


def put_pool(connection: Connection, pool: PoolRow) -> None:
    """Make a pool, or change it."""
    _put(connection, pools, {"name": pool.name}, {
        "run_limit": pool.limit, "paused": int(pool.paused), "kind": pool.kind,
        "template": None if pool.template is None else json.dumps(pool.template)})


def every_pool(connection: Connection) -> list[PoolRow]:
    """Return the pools by name."""
    return [
        PoolRow(name=row.name, limit=row.run_limit, paused=bool(row.paused), kind=row.kind,
                template=None if row.template is None else json.loads(row.template))
        for row in connection.execute(select(pools).order_by(pools.c.name))]


def delete_pool(connection: Connection, name: str) -> bool:
    """Take away what is said of a pool and its queues."""
    said = [connection.execute(queues.delete().where(queues.c.pool == name)),
            connection.execute(pools.delete().where(pools.c.name == name))]
    return any(each.rowcount for each in said)


def put_queue(connection: Connection, queue: QueueRow) -> None:
    """Say how a queue stands among those of its pool."""
    _put(connection, queues, {"pool": queue.pool, "name": queue.name},
         {"priority": queue.priority, "run_limit": queue.limit})


def every_queue(connection: Connection, pool: str | None = None) -> list[QueueRow]:
    """Return queues by pool and name."""
    query = select(queues).order_by(queues.c.pool, queues.c.name)
    if pool is not None:
        query = query.where(queues.c.pool == pool)
    return [QueueRow(pool=row.pool, name=row.name, priority=row.priority, limit=row.run_limit)
            for row in connection.execute(query)]


def _put(connection: Connection, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    where = [table.c[name] == value for name, value in key.items()]
    done = connection.execute(update(table).where(*where).values(**values))
    if not done.rowcount:
        connection.execute(insert(table).values(**key, **values))
