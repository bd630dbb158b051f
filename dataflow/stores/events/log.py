"""Statements on events: putting them down, reading them, letting go of old ones.

Lives here: the table of events and what watches have seen. Does not live here: changes of
state, which the database puts down by itself (``state_triggers.py``), what follows from
events (``settling.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, func, select, update

from dataflow.event_log import FILE_WATCH, EventRow, NewEvent
from dataflow.stores.agenda.schema import deployments, queued_runs
from dataflow.stores.events.schema import WAITING, events, parcels, sightings
from dataflow.stores.packing import clean
from dataflow.stores.schema import flow_runs

_E, _F, _Q, _D, _P, _S = (
    events.c, flow_runs.c, queued_runs.c, deployments.c, parcels.c, sightings.c)


def emit(connection: Connection, new: Iterable[NewEvent]) -> int:
    """Put events down; one whose id is there, or that was seen already, is passed over."""
    insert = _insert(connection)
    rows = [_values(each) for each in new
            if each.sighting is None or _sees(connection, insert, *each.sighting)]
    if not rows:
        return 0
    return int(connection.execute(
        insert(events).on_conflict_do_nothing(), rows,
        execution_options={"preserve_rowcount": True}).rowcount)


def _insert(connection: Connection) -> Any:
    """Return the dialect's insert, the one with ``on_conflict_do_…``."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert


def _values(event: NewEvent) -> dict[str, Any]:
    return {
        "id": event.id, "name": clean(event.name), "occurred_s": event.occurred_s,
        "resource": None if event.resource is None else clean(event.resource),
        "flow_run_id": event.flow_run_id, "pending": 1,
        "payload": json.dumps(event.payload) if event.payload else None}


def _sees(connection: Connection, insert: Any, watch: str, thing: str, mark: str) -> bool:
    """Remember that a watch saw a thing; False: it had seen it so before."""
    made = insert(sightings).values(watch=watch, thing=thing, mark=mark)
    return bool(connection.execute(
        made.on_conflict_do_update(
            index_elements=["watch", "thing"], set_={"mark": mark}, where=_S.mark != mark),
        execution_options={"preserve_rowcount": True}).rowcount)


def seen(connection: Connection, watch: str) -> dict[str, str]:
    """Return what a watch has seen: thing → mark."""
    return {row.thing: row.mark for row in connection.execute(
        select(_S.thing, _S.mark).where(_S.watch == watch))}


def forget_watches(connection: Connection, deployment_id: str) -> None:
    """Let go of what the watches of a deployment have seen: it is gone."""
    connection.execute(delete(sightings).where(
        _S.watch.startswith(f"{FILE_WATCH}{deployment_id}:", autoescape=True)))


def found(
    connection: Connection, *, name: str | None, resource: str | None, flow_run_id: str | None,
    since_s: float | None, after: int | None, before: int | None, limit: int,
) -> list[EventRow]:
    """Return events, the newest first; beyond ``after`` the oldest first."""
    query = _selected().limit(limit).order_by(_E.key if after is not None else _E.key.desc())
    for column, pattern in ((_E.name, name), (_E.resource, resource)):
        if pattern is not None:
            query = query.where(_like(connection, column, pattern))
    for wanted in (
            flow_run_id is not None and _E.flow_run_id == flow_run_id,
            since_s is not None and and_(_E.occurred_s >= since_s, _E.key >= _first(since_s)),
            after is not None and _E.key > after,
            before is not None and _E.key < before):
        if wanted is not False:
            query = query.where(wanted)
    return [_row(row) for row in connection.execute(query)]


def _first(since_s: float) -> Any:
    """Return the key from which on events may have occurred since a moment: as keys rise nearly
    with time, those before it need not be looked at. By the index of times: ``+ 0``."""
    other = events.alias("other")
    return select(func.min(other.c.key + 0)).where(other.c.occurred_s >= since_s).scalar_subquery()


def pending(connection: Connection, limit: int) -> list[EventRow]:
    """Return events whose consequences nobody has drawn, the oldest first."""
    return [_row(row) for row in connection.execute(
        _selected().where(_E.pending == 1).order_by(_E.key).limit(limit))]


def handle(connection: Connection, keys: Sequence[int]) -> None:
    """Take events off the list of those that wait."""
    for at in range(0, len(keys), 500):
        connection.execute(update(events).where(
            _E.key.in_(list(keys[at:at + 500]))).values(pending=None))


def pass_over(connection: Connection, before_s: float) -> int:
    """Take all events off the list that occurred before a moment; return how many."""
    return int(connection.execute(update(events).where(
        _E.pending == 1, _E.occurred_s < before_s).values(pending=None)).rowcount)


def forget(connection: Connection, before_s: float, limit: int) -> int:
    """Remove what occurred before a moment and has no consequences any more."""
    old = select(_E.key).where(
        _E.occurred_s < before_s, _E.pending.is_(None)).limit(limit).scalar_subquery()
    gone = connection.execute(delete(events).where(_E.key.in_(old))).rowcount
    ended = select(_P.key).where(
        _P.status != WAITING, _P.ended_s < before_s).limit(limit).scalar_subquery()
    return int(gone + connection.execute(delete(parcels).where(_P.key.in_(ended))).rowcount)


def _selected() -> Any:
    """Return the query of events with whose runs they are of."""
    return select(
        events, _F.name.label("flow_run_name"), _F.flow_name, _F.tags,
        _D.name.label("deployment"),
    ).outerjoin(flow_runs, _F.id == _E.flow_run_id).outerjoin(
        queued_runs, _Q.flow_run_id == _E.flow_run_id
    ).outerjoin(deployments, _D.key == _Q.deployment)


def _row(row: Any) -> EventRow:
    return EventRow(
        key=row.key, id=row.id or f"s{row.key}", name=row.name, resource=row.resource,
        occurred_s=row.occurred_s, payload=json.loads(row.payload) if row.payload else {},
        flow_run_id=row.flow_run_id, state_type=row.state_type, state_name=row.state_name,
        message=row.message, run_count=row.run_count, flow_run_name=row.flow_run_name,
        flow_name=row.flow_name, tags=tuple(json.loads(row.tags)) if row.tags else (),
        deployment=row.deployment)


def _like(connection: Connection, column: Any, pattern: str) -> Any:
    """Return the condition that a glob of ``*`` and ``?`` holds, capitals being capitals."""
    if connection.dialect.name == "sqlite":  # LIKE takes capitals for small letters there
        return column.op("GLOB")(pattern.replace("[", "[[]"))
    for special in "\\%_":
        pattern = pattern.replace(special, "\\" + special)
    return column.like(pattern.replace("*", "%").replace("?", "_"), escape="\\")
