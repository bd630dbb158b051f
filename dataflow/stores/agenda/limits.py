"""Statements on limits: how many runs may go on at the same time, and how many do.

Lives here: setting and listing those of tags, queues, pools, deployments. Does not
live here: who is kept waiting by them (``taking.py``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from dataflow.agenda import LimitKind, LimitRow
from dataflow.stores.agenda import deployments as _deployments
from dataflow.stores.agenda.schema import (
    TAKEN,
    deployments,
    pools,
    queued_runs,
    queues,
    tag_limits,
    tag_mark,
)

_D, _P, _Q, _T, _U = deployments.c, pools.c, queued_runs.c, tag_limits.c, queues.c


def put(connection: Connection, kind: LimitKind, name: str, limit: int | None) -> bool:
    """Set a limit, or take it away; False: it was so. Raises DeploymentNotFound."""
    if kind == "tag":
        return _put_tag(connection, name, limit)
    values: dict[str, Any]
    if kind == "deployment":
        key = _deployments.key_of(connection, name)
        table, which, values = deployments, [_D.key == key], {}
    elif kind == "pool":
        table, which, values = pools, [_P.name == name], {"name": name, "paused": 0}
    else:
        pool, _, queue = name.partition("/")
        table, which = queues, [_U.pool == pool, _U.name == queue]
        values = {"pool": pool, "name": queue, "priority": 0}
    row = connection.execute(select(table.c.run_limit).where(*which).with_for_update()).first()
    if row is None:
        if limit is None:
            return False
        connection.execute(insert(table).values(**values, run_limit=limit))
        return True
    connection.execute(update(table).where(*which).values(run_limit=limit))
    return bool(row.run_limit != limit)


def _put_tag(connection: Connection, tag: str, limit: int | None) -> bool:
    row = connection.execute(
        select(_T.run_limit).where(_T.tag == tag).with_for_update()).first()
    if limit is None:
        connection.execute(tag_limits.delete().where(_T.tag == tag))
    elif row is None:
        connection.execute(insert(tag_limits).values(tag=tag, run_limit=limit))
    else:
        connection.execute(update(tag_limits).where(_T.tag == tag).values(run_limit=limit))
    return (None if row is None else row.run_limit) != limit


def every(connection: Connection) -> list[LimitRow]:
    """Return all limits with what goes on within them."""
    running = {"tag": Counter[str](), "queue": Counter[str](), "pool": Counter[str](),
               "deployment": Counter[str]()}
    tags = {row.tag: row.run_limit for row in connection.execute(select(tag_limits))}
    for row in connection.execute(
            select(_Q.pool, _Q.queue, _Q.tags, _D.name, func.count().label("many"))
            .join(deployments, _D.key == _Q.deployment).where(_Q.phase == TAKEN)
            .group_by(_Q.pool, _Q.queue, _Q.tags, _D.name)):
        running["pool"][row.pool] += row.many
        running["queue"][f"{row.pool}/{row.queue}"] += row.many
        running["deployment"][row.name] += row.many
        running["tag"].update({tag: row.many for tag in tags if tag_mark(tag) in row.tags})
    found: list[tuple[LimitKind, str, int]] = [("tag", tag, limit) for tag, limit in tags.items()]
    found += [("queue", f"{row.pool}/{row.name}", row.run_limit) for row in connection.execute(
        select(queues).where(_U.run_limit.is_not(None)))]
    found += [("pool", row.name, row.run_limit) for row in connection.execute(
        select(pools).where(_P.run_limit.is_not(None)))]
    found += [("deployment", row.name, row.run_limit) for row in connection.execute(
        select(_D.name, _D.run_limit).where(_D.run_limit.is_not(None), _D.there == 1))]
    return [LimitRow(kind=kind, name=name, limit=limit, running=running[kind][name])
            for kind, name, limit in sorted(found)]
