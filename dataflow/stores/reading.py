"""Queries on calls, elements, attempts and logs of runs.

Lives here: selects that give back the values of the port. Does not live here:
lists of flow runs (``listing.py``), how
elements are kept (``elements.py``), what a user's reference means (``finding.py``),
connections and errors (``sql.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, tuple_, union_all

from dataflow.outcomes import Attempt, LogLine
from dataflow.store import CallRow, CallUsage, TaskRunRow
from dataflow.stores import schema
from dataflow.stores.elements import element_at, elements
from dataflow.stores.packing import codes_of
from dataflow.stores.rows import (
    CallHead,
    RunHead,
    attempt_of,
    call_row,
    run_head,
    task_run_row,
)

_RUNS = schema.flow_runs
HEAD = (_RUNS.c.key, _RUNS.c.kind, _RUNS.c.id, _RUNS.c.parent_flow_run_id,
         _RUNS.c.parent_task_run_id)
IS_FLOW = _RUNS.c.kind == "flow"
NEWEST_FIRST = (_RUNS.c.created_s.desc(), _RUNS.c.key.desc())


def calls(connection: Connection, flow_run_id: str, nested: bool) -> list[CallRow]:
    """Return the calls of a run in the order they were made, with those of its insides last."""
    table = schema.calls
    runs = {run.key: run for run in run_heads(connection, flow_run_id, nested=nested)}
    statement = (
        select(table)
        .join(_RUNS, _RUNS.c.key == table.c.run)
        .where(of_flow_run(flow_run_id) if nested else _RUNS.c.id == flow_run_id)
        .order_by(~IS_FLOW, _RUNS.c.created_s, _RUNS.c.key, table.c.call)
    )
    return [
        call_row(row, runs[row.run]) for row in connection.execute(statement) if row.run in runs
    ]


def heads(
    connection: Connection, run: RunHead, call: int | None = None, first: int = 0
) -> dict[int, CallHead]:
    """Return what elements need of their calls, by call, from ``first`` on."""
    table = schema.calls
    statement = (
        select(table.c.call, table.c.task_name, table.c.task_key, table.c.kind, table.c.parent)
        .where(table.c.run == run.key)
        .order_by(table.c.call)
    )
    if call is not None:
        statement = statement.where(table.c.call == call)
    if first:
        statement = statement.where(table.c.call >= first)
    return {row.call: CallHead(run, *row) for row in connection.execute(statement)}


def run_heads(
    connection: Connection, flow_run_id: str | None, limit: int | None = None, *,
    nested: bool = True, codes: Collection[int] | None = None, since: str | None = None,
) -> Iterator[RunHead]:
    """Yield one run, or all flow runs, newest first, each with its insides after it.

    Parameters
    ----------
    limit
        Flow runs, and insides of each, at most.
    nested
        False: no insides.
    codes
        Only insides that may have elements in one of these states.
    since
        Id of the run or inside with which to begin, where ``flow_run_id`` is given.
    """
    first = select(*HEAD).order_by(*NEWEST_FIRST)
    first = first.where(IS_FLOW if flow_run_id is None else _RUNS.c.id == flow_run_id)
    for row in connection.execute(first.limit(limit)).all():
        if since is None or since == row.id:
            yield head_of(row)
        if not nested:
            continue
        insides = (
            select(*HEAD)
            .where(_RUNS.c.parent_flow_run_id == row.id, ~IS_FLOW)
            .order_by(_RUNS.c.created_s, _RUNS.c.key)
        )
        if codes is not None:
            insides = insides.where(_may_have(codes))
        if since is not None and since != row.id:
            insides = insides.where(_from(since))
        for inside in connection.execute(insides.limit(limit and limit * limit)).all():
            yield head_of(inside)


def _from(run_id: str) -> ColumnElement[bool]:
    """Return the condition that an inside comes not before another; of no run, none does."""
    first = select(_RUNS.c.created_s, _RUNS.c.key).where(_RUNS.c.id == run_id)
    return tuple_(_RUNS.c.created_s, _RUNS.c.key) >= first.scalar_subquery()


def head_of(row: Any) -> RunHead:
    """Return the head of a run from the columns of :data:`HEAD`."""
    return run_head(row.kind, row.id, row.parent_flow_run_id, row.parent_task_run_id, row.key)


def _may_have(codes: Collection[int]) -> ColumnElement[bool]:
    """Return the condition that a run may have elements in one of these states."""
    rows, spans, ranges = schema.task_runs, schema.spans, schema.ranges
    wanted = sorted(codes)
    return or_(
        exists().where(rows.c.run == _RUNS.c.key, rows.c.code.in_(wanted)),
        exists().where(spans.c.run == _RUNS.c.key,
                       or_(spans.c.code.is_(None), spans.c.code.in_(wanted))),
        exists().where(ranges.c.run == _RUNS.c.key, ranges.c.code.in_(wanted)),
    )


def of_flow_run(flow_run_id: str) -> ColumnElement[bool]:
    """Return the condition that a run is this flow run or inside of one of its task runs."""
    return or_(_RUNS.c.id == flow_run_id,
               and_(_RUNS.c.parent_flow_run_id == flow_run_id, ~IS_FLOW))


def task_runs(
    connection: Connection,
    flow_run_id: str | None,
    *,
    state: str | None,
    call: int | None,
    map_index: int | None,
    limit: int | None,
    after: tuple[str, int, int] | None = None,
) -> list[TaskRunRow]:
    """Return elements in call and index order, of the newest run first."""
    codes = None if state is None else codes_of(state)
    found: list[TaskRunRow] = []
    if codes is not None and not codes:
        return found
    since = None if after is None else after[0]
    for run in run_heads(connection, flow_run_id, nested=call is None, codes=codes, since=since):
        last = after[1:] if after is not None and after[0] == run.id else None
        known = heads(connection, run, call, 0 if last is None else last[0])
        if map_index is None:
            stream = elements(connection, run.key, call=call, codes=codes, after=last)
        else:
            stream = (
                element
                for head in known.values()
                if head.kind == "map"
                if last is None or (head.call, map_index) > last
                if (element := element_at(connection, run.key, head.call, map_index)) is not None
                if codes is None or element.code in codes
            )
        for element in stream:
            if limit is not None and len(found) >= limit:
                return found
            if element.call in known:
                found.append(task_run_row(known[element.call], element))
    return found


def children(
    connection: Connection, task_run: TaskRunRow, limit: int | None
) -> list[TaskRunRow]:
    """Return the task runs that a task run made itself."""
    of_inside = and_(_RUNS.c.parent_task_run_id == task_run.id, ~IS_FLOW)
    statement = (
        select(*HEAD)
        .where(or_(_RUNS.c.id == task_run.run_id, of_inside))
        .order_by(_RUNS.c.created_s, _RUNS.c.key)
    )
    found: list[TaskRunRow] = []
    for run in map(head_of, connection.execute(statement).all()):
        own = [head for head in heads(connection, run).values()
               if head.parent_task_run_id == task_run.id]
        for head in own:
            for element in elements(connection, run.key, call=head.call):
                if limit is not None and len(found) >= limit:
                    return found
                found.append(task_run_row(head, element))
    return found


def usage(connection: Connection, flow_run_id: str) -> list[CallUsage]:
    """Return what the calls of a run used; elements of maps are in spans, others have rows."""
    spans, rows, table = schema.spans, schema.task_runs, schema.calls
    of_maps = select(
        spans.c.run.label("run"), spans.c.call.label("call"), spans.c.cpu_s, spans.c.peak_bytes)
    of_others = select(rows.c.run, rows.c.call, rows.c.cpu_s, rows.c.peak_bytes).join(
        table, and_(table.c.run == rows.c.run, table.c.call == rows.c.call, table.c.kind != "map"))
    keys = select(_RUNS.c.key).where(of_flow_run(flow_run_id))
    both = union_all(of_maps.where(spans.c.run.in_(keys)),
                     of_others.where(rows.c.run.in_(keys))).subquery()
    statement = (
        select(_RUNS.c.id, both.c.call, func.sum(both.c.cpu_s), func.max(both.c.peak_bytes))
        .join(_RUNS, _RUNS.c.key == both.c.run)
        .group_by(_RUNS.c.id, _RUNS.c.kind, _RUNS.c.created_s, both.c.call)
        .having(or_(func.count(both.c.cpu_s) > 0, func.count(both.c.peak_bytes) > 0))
        .order_by(~IS_FLOW, _RUNS.c.created_s, _RUNS.c.id, both.c.call)
    )
    return [CallUsage(*row) for row in connection.execute(statement)]


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


def nested_logs(
    connection: Connection, flow_run_id: str, limit: int | None, since_s: float | None = None
) -> list[tuple[str, LogLine]]:
    """Return log lines of a run and its insides in time order, each with the id of its run."""
    table = schema.logs
    statement: Any = (
        select(
            _RUNS.c.id, table.c.call, table.c.index.label("index_"), table.c.attempt,
            table.c.time_s, table.c.level, table.c.logger, table.c.message,
        )
        .join(_RUNS, _RUNS.c.key == table.c.run)
        .where(of_flow_run(flow_run_id))
        .order_by(table.c.time_s, table.c.position, table.c.run, table.c.call, table.c.index)
        .limit(limit)
    )
    if since_s is not None:
        statement = statement.where(table.c.time_s >= since_s)
    return [(row[0], LogLine(*row[1:])) for row in connection.execute(statement)]


def inputs(connection: Connection, flow_run_id: str) -> bytes | None:
    """Return the parameters that a run was started with, pickled."""
    table = schema.inputs
    statement = select(table.c.parameters).join(_RUNS, _RUNS.c.key == table.c.run)
    found = connection.execute(statement.where(_RUNS.c.id == flow_run_id)).scalar()
    return None if found is None else bytes(found)


def code(connection: Connection, digest: str) -> str | None:
    """Return the description of a task's code."""
    table = schema.codes
    found = connection.execute(select(table.c.text).where(table.c.digest == digest)).scalar()
    return None if found is None else str(found)
