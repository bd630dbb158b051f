"""Queries on flow runs, calls, attempts and logs.

Lives here: selects that give back the values of the port. Does not live here:
elements (``elements.py``), what a user's reference means (``finding.py``),
connections and errors (``sql.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from dataflow.outcomes import Attempt, LogLine
from dataflow.store import CallRow, FlowRunRow, TaskRunRow
from dataflow.stores import schema
from dataflow.stores.elements import element_at, elements
from dataflow.stores.packing import codes_of
from dataflow.stores.rows import CallHead, attempt_of, call_row, flow_run_row, task_run_row

_RUNS = schema.flow_runs
NEWEST_FIRST = (_RUNS.c.created_s.desc(), _RUNS.c.key.desc())


def flow_runs(
    connection: Connection, limit: int, state: str | None, flow: str | None
) -> list[FlowRunRow]:
    """Return flow runs, newest first."""
    statement = select(_RUNS).order_by(*NEWEST_FIRST).limit(limit)
    if state is not None:
        wanted = state.casefold()
        statement = statement.where(
            or_(func.lower(_RUNS.c.state_type) == wanted, func.lower(_RUNS.c.state_name) == wanted)
        )
    if flow is not None:
        statement = statement.where(_RUNS.c.flow_name == flow)
    return [flow_run_row(row) for row in connection.execute(statement)]


def calls(connection: Connection, flow_run_id: str) -> list[CallRow]:
    """Return the calls of a run in the order they were made."""
    table = schema.calls
    statement = (
        select(table)
        .join(_RUNS, _RUNS.c.key == table.c.run)
        .where(_RUNS.c.id == flow_run_id)
        .order_by(table.c.call)
    )
    return [call_row(row) for row in connection.execute(statement)]


def heads(
    connection: Connection, run: int, flow_run_id: str, call: int | None = None
) -> dict[int, CallHead]:
    """Return what elements need of their calls, by call."""
    table = schema.calls
    statement = (
        select(table.c.call, table.c.task_name, table.c.task_key, table.c.kind)
        .where(table.c.run == run)
        .order_by(table.c.call)
    )
    if call is not None:
        statement = statement.where(table.c.call == call)
    return {row.call: CallHead(flow_run_id, run, *row) for row in connection.execute(statement)}


def run_keys(
    connection: Connection, flow_run_id: str | None, limit: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (key, id) of one flow run, or of all, newest first."""
    statement = select(_RUNS.c.key, _RUNS.c.id).order_by(*NEWEST_FIRST)
    if flow_run_id is not None:
        statement = statement.where(_RUNS.c.id == flow_run_id)
    for row in connection.execute(statement.limit(limit)).all():
        yield row.key, row.id


def task_runs(
    connection: Connection,
    flow_run_id: str | None,
    *,
    state: str | None,
    call: int | None,
    map_index: int | None,
    limit: int | None,
) -> list[TaskRunRow]:
    """Return elements in call and index order, of the newest run first."""
    codes = None if state is None else codes_of(state)
    found: list[TaskRunRow] = []
    if codes is not None and not codes:
        return found
    for run, run_id in run_keys(connection, flow_run_id):
        known = heads(connection, run, run_id, call)
        if map_index is None:
            stream = elements(connection, run, call=call, codes=codes)
        else:
            stream = (
                element
                for head in known.values()
                if head.kind == "map"
                if (element := element_at(connection, run, head.call, map_index)) is not None
                if codes is None or element.code in codes
            )
        for element in stream:
            if limit is not None and len(found) >= limit:
                return found
            if element.call in known:
                found.append(task_run_row(known[element.call], element))
    return found


def attempts(connection: Connection, flow_run_id: str, call: int, index: int) -> list[Attempt]:
    """Return the executions of an element that were followed by a retry."""
    table, texts = schema.attempts, schema.texts
    columns = [column for column in table.columns if column.name != "index"]
    statement = (
        select(
            *columns, table.c.index.label("index_"), texts.c.text.label("traceback_text")
        )
        .join(_RUNS, _RUNS.c.key == table.c.run)
        .outerjoin(
            texts, and_(texts.c.run == table.c.run, texts.c.digest == table.c.traceback)
        )
        .where(_RUNS.c.id == flow_run_id, table.c.call == call, table.c.index == index)
        .order_by(table.c.attempt)
    )
    return [attempt_of(row) for row in connection.execute(statement)]


def logs(
    connection: Connection, flow_run_id: str, call: int | None, index: int | None, limit: int | None
) -> list[LogLine]:
    """Return log lines in time order, the first ``limit`` of them."""
    table = schema.logs
    statement: Any = (
        select(
            table.c.call, table.c.index.label("index_"), table.c.attempt, table.c.time_s,
            table.c.level, table.c.logger, table.c.message,
        )
        .join(_RUNS, _RUNS.c.key == table.c.run)
        .where(_RUNS.c.id == flow_run_id)
        .order_by(table.c.time_s, table.c.position, table.c.call, table.c.index)
        .limit(limit)
    )
    if call is not None:
        statement = statement.where(table.c.call == call)
    if index is not None:
        statement = statement.where(table.c.index == index)
    return [LogLine(*row) for row in connection.execute(statement)]
