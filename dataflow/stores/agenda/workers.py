"""Statements on workers and work pools.

Lives here: who takes runs, and where they wait. Does not live here: the runs
(``queue.py``, ``taking.py``).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert, select, update

from dataflow.agenda import PoolRow, WorkerRow
from dataflow.stores.agenda.schema import pools, workers


def put_worker(connection: Connection, worker: WorkerRow) -> None:
    """Put a worker in the place of the one of that name."""
    values = asdict(worker)
    values["run_limit"] = values.pop("limit")
    _put(connection, workers, workers.c.name, values)


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
    _put(connection, pools, pools.c.name,
         {"name": pool.name, "run_limit": pool.limit, "paused": int(pool.paused)})


def every_pool(connection: Connection) -> list[PoolRow]:
    """Return the pools by name."""
    return [PoolRow(name=row.name, limit=row.run_limit, paused=bool(row.paused))
            for row in connection.execute(select(pools).order_by(pools.c.name))]


def _put(connection: Connection, table: Any, key: Any, values: dict[str, Any]) -> None:
    done = connection.execute(update(table).where(key == values[key.name]).values(**values))
    if not done.rowcount:
        connection.execute(insert(table).values(**values))
