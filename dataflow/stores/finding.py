"""Which run a user's reference means, looked up in the tables.

Lives here: ids, prefixes, names and ``last``. Does not live here: the reading
of a reference and the choice among candidates (``refs.py``, shared by all
stores).

Ids of task runs are computed and stored nowhere, so a prefix is compared with
the computed ids of recent runs, rows before packed elements, up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, or_, select

from dataflow.exceptions import RunNotFound
from dataflow.ids import parse_task_run_id, run_tail, task_run_id
from dataflow.store import FlowRunRow, TaskRunRow
from dataflow.stores import refs, schema
from dataflow.stores.elements import element_at, last_started, places
from dataflow.stores.packing import clean
from dataflow.stores.reading import (
    HEAD,
    IS_FLOW,
    NEWEST_FIRST,
    head_of,
    heads,
    of_flow_run,
    run_heads,
)
from dataflow.stores.rows import RunHead, flow_run_row, task_run_row

_RECENT_RUNS = 50  # searched for a prefix
_SEARCHED_CALLS = 20_000  # of a task, for a default name
_SEARCHED_ELEMENTS = 1_000_000  # whose ids are computed for a prefix: some 3 s
_RUNS = schema.flow_runs

Place = tuple[RunHead, int, int]
"""The run, its call, index."""


def flow_run(connection: Connection, ref: str) -> FlowRunRow:
    """Find a flow run. Raises RunNotFound."""
    ref = clean(ref)
    statement = select(_RUNS.c.id, _RUNS.c.name).where(IS_FLOW).order_by(*NEWEST_FIRST)
    if ref == refs.LAST:
        statement = statement.limit(1)
    elif (whole := refs.full_id(ref)) is not None:
        statement = statement.where(_RUNS.c.id == whole)
    else:
        prefix = refs.id_prefix(ref)
        named = _RUNS.c.name == ref
        if prefix is None:
            statement = statement.where(named)
        else:
            statement = statement.where(or_(named, _RUNS.c.id.startswith(prefix)))
    matches = [(row.id, row.name) for row in connection.execute(statement)]
    id = refs.only("flow run", ref, matches)
    return flow_run_row(connection.execute(select(_RUNS).where(_RUNS.c.id == id)).one())


def task_run(connection: Connection, ref: str, flow_run_id: str | None) -> TaskRunRow:
    """Find a task run, of one flow run or of any. Raises RunNotFound."""
    ref = clean(ref)
    if ref == refs.LAST:
        candidates = _last(connection, flow_run_id)
    elif (whole := refs.full_id(ref)) is not None:
        candidates = _by_id(connection, whole, flow_run_id)
    else:
        candidates = _by_name(connection, ref, flow_run_id)
        if not candidates and (prefix := refs.id_prefix(ref)) is not None:
            candidates = _by_prefix(connection, prefix, flow_run_id)
    found = [row for place in candidates if (row := _row(connection, place)) is not None]
    chosen = refs.only("task run", ref, [(row.id, row.name) for row in found])
    return next(row for row in found if row.id == chosen)


def _row(connection: Connection, place: Place) -> TaskRunRow | None:
    run, call, index = place
    head = heads(connection, run, call).get(call)
    element = element_at(connection, run.key, call, index)
    return None if head is None or element is None else task_run_row(head, element)


def _last(connection: Connection, flow_run_id: str | None) -> list[Place]:
    for run in run_heads(connection, flow_run_id, _RECENT_RUNS, nested=False):
        element = last_started(connection, run.key)
        if element is not None:
            return [(run, element.call, element.index)]
    return []


def _by_id(connection: Connection, id: str, flow_run_id: str | None) -> list[Place]:
    statement = select(*HEAD).where(_RUNS.c.tail == run_tail(id))
    if flow_run_id is not None:
        statement = statement.where(of_flow_run(flow_run_id))
    places: list[Place] = []
    for row in connection.execute(statement).all():
        try:
            places.append((head_of(row), *parse_task_run_id(id, row.id)))
        except ValueError:  # a uuid with the same tail that is no task run's
            continue
    return places


def _by_name(connection: Connection, name: str, flow_run_id: str | None) -> list[Place]:
    rows = schema.task_runs
    statement = (
        select(*HEAD, rows.c.call, rows.c.index.label("index_"))
        .join(_RUNS, _RUNS.c.key == rows.c.run)
        .where(rows.c.name == name)
        .order_by(*NEWEST_FIRST, rows.c.call, rows.c.index)
        .limit(100)
    )
    if flow_run_id is not None:
        statement = statement.where(of_flow_run(flow_run_id))
    chosen: list[Place] = [
        (head_of(row), row.call, row.index_) for row in connection.execute(statement)
    ]
    return chosen or list(_by_default_name(connection, name, flow_run_id))


def _by_default_name(
    connection: Connection, name: str, flow_run_id: str | None
) -> Iterator[Place]:
    parts = refs.default_name(name)
    if parts is None:
        return
    table = schema.calls
    statement = (
        select(*HEAD, table.c.call, table.c.kind.label("call_kind"))
        .join(table, table.c.run == _RUNS.c.key)
        .where(table.c.task_name == parts.task_name)
        .order_by(*NEWEST_FIRST, table.c.call)
        .limit(_SEARCHED_CALLS)
    )
    if flow_run_id is not None:
        statement = statement.where(of_flow_run(flow_run_id))
    for row in connection.execute(statement).all():
        if (row.call_kind == "map") != (parts.index is not None):
            continue
        if not task_run_id(row.id, row.call, 0).startswith(parts.front):
            continue
        place = (head_of(row), row.call, parts.index or 0)
        found = _row(connection, place)
        if found is not None and found.name == name:
            yield place


def _by_prefix(connection: Connection, prefix: str, flow_run_id: str | None) -> list[Place]:
    found: dict[str, Place] = {}
    searched = 0
    for run in run_heads(connection, flow_run_id, _RECENT_RUNS):
        if _tail_differs(prefix, run.id):
            continue
        for call, indexes in places(connection, run.key):
            for index in indexes:
                id = task_run_id(run.id, call, index)
                if id.startswith(prefix):
                    found[id] = (run, call, index)
                searched += 1
                if searched >= _SEARCHED_ELEMENTS:
                    return _bounded(prefix, found)
    return list(found.values())


def _bounded(prefix: str, found: dict[str, Place]) -> list[Place]:
    if not found:
        raise RunNotFound(
            f"No task run answers to {prefix!r} among the last {_SEARCHED_ELEMENTS:,} elements. "
            "Give the whole id, or name the element by its flow run and its map index.",
            ref=prefix, matches=[],
        )
    return list(found.values())


def _tail_differs(prefix: str, run_id: str) -> bool:
    """Tell from a long prefix that it is of another run: the last 62 bits are the run's."""
    return len(prefix) > 20 and not run_id[20:].startswith(prefix[20:])

