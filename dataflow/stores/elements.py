"""Elements read back in order from the three ways in which they are kept.

Lives here: the merge of rows, packed spans and ranges into one ordered stream,
and the look-up of one element. Does not live here: ids and names
(``finding.py``, ``rows.py``), any other table (``reading.py``).

The last word on an element is its row; else the first span that has an outcome
of it; else a range.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select, tuple_

from dataflow.store import RANGE_ERRORS
from dataflow.stores import schema
from dataflow.stores.packing import PackedElement, PackedSpan
from dataflow.stores.rows import Element, element_of, origin_of

Place = tuple[int, int]
"""Call and index."""

_CHUNK = 200  # rows fetched at once: a short listing reads no more than it shows


def elements(
    connection: Connection,
    run: int,
    *,
    call: int | None = None,
    codes: Collection[int] | None = None,
    after: Place | None = None,
) -> Iterator[Element]:
    """Yield a run's elements by call and index; cost grows with what is taken.

    Parameters
    ----------
    run
        Key of the flow run.
    codes
        Only elements in one of these states.
    after
        Only elements behind this one; what comes before it is not unpacked but for the span that
        it is in.
    """
    # spans of other codes are passed over, unless they may hide what a range says
    ranged = connection.execute(_ranges(run, call, codes).limit(1)).first() is not None
    spanned = None if ranged else codes
    streams = (
        (element_of(row) for row in _stream(connection, _task_runs(run, call, after))),
        _from_spans(_stream(connection, _spans(run, call, spanned, after)), spanned),
        _from_ranges(_stream(connection, _ranges(run, call, codes, after)), after),
    )
    shown: tuple[int, int] | None = None
    for element in heapq.merge(*streams, key=_place):  # stable: rows come before spans
        place = _place(element)
        if place != shown:
            shown = place
            if after is not None and place <= after:
                continue
            if codes is None or element.code in codes:
                yield element


def element_at(connection: Connection, run: int, call: int, index: int) -> Element | None:
    """Return one element, None where nothing is recorded of it."""
    rows = _task_runs(run, call).where(schema.task_runs.c.index == index)
    row = connection.execute(rows).one_or_none()
    if row is not None:
        return element_of(row)
    table = schema.spans
    holding = _spans(run, call, None).where(table.c.first <= index, table.c.last >= index)
    for row in connection.execute(holding.order_by(None).order_by(table.c.id)):
        packed = _packed(row).element(index)
        if packed is not None:
            return _unpacked(row, packed)
    ranges = schema.ranges
    row = connection.execute(
        _ranges(run, call, None).where(ranges.c.start <= index, ranges.c.stop > index)
    ).first()
    return None if row is None else _of_range(row, index)


def last_started(connection: Connection, run: int) -> Element | None:
    """Return the element of a run that was started last, of those with an outcome."""
    rows, spans = schema.task_runs, schema.spans
    found: list[Element] = []
    newest = _task_runs(run, None).where(rows.c.started_s.is_not(None)).order_by(None)
    row = connection.execute(newest.order_by(rows.c.started_s.desc()).limit(1)).one_or_none()
    if row is not None:
        found.append(element_of(row))
    newest = _spans(run, None, None).order_by(None)
    row = connection.execute(newest.order_by(spans.c.started_s.desc()).limit(1)).one_or_none()
    if row is not None:
        packed = max(_packed(row).elements(), key=lambda element: element.started_s)
        found.append(
            element_at(connection, run, row.call, packed.index) or _unpacked(row, packed)
        )
    return max(found, key=lambda element: element.started_s or 0.0, default=None)


def places(connection: Connection, run: int) -> Iterator[tuple[int, Iterable[int]]]:
    """Yield (call, indexes) of what a run has recorded, rows first; some may come twice."""
    rows = schema.task_runs
    statement = select(rows.c.call, rows.c.index.label("index_")).where(rows.c.run == run)
    for row in _stream(connection, statement):
        yield row.call, (row.index_,)
    for row in _stream(connection, _spans(run, None, None)):
        yield row.call, _packed(row).indexes()
    for row in _stream(connection, _ranges(run, None, None)):
        yield row.call, range(row.start, row.stop)


def _place(element: Element) -> Place:
    return element.call, element.index


def _from_spans(rows: Iterable[Any], codes: Collection[int] | None) -> Iterator[Element]:
    """Merge spans that may overlap: a retried batch fills the gaps of an earlier one."""
    waiting: list[tuple[int, int, int, Any, PackedElement, Iterator[PackedElement]]] = []

    def advance() -> Element:
        call, _, number, row, packed, rest = waiting[0]
        following = next(rest, None)
        if following is None:
            heapq.heappop(waiting)
        else:
            heapq.heapreplace(waiting, (call, following.index, number, row, following, rest))
        return _unpacked(row, packed)

    for row in rows:
        while waiting and waiting[0][:2] < (row.call, row.first):
            yield advance()
        rest = _packed(row).elements(codes)
        packed = next(rest, None)
        if packed is not None:
            heapq.heappush(waiting, (row.call, packed.index, row.id, row, packed, rest))
    while waiting:
        yield advance()


def _from_ranges(rows: Iterable[Any], after: Place | None = None) -> Iterator[Element]:
    call = reached = -1
    for row in rows:
        reached = reached if row.call == call else -1
        if after is not None and row.call == after[0]:
            reached = max(reached, after[1] + 1)
        for index in range(max(row.start, reached), row.stop):
            yield _of_range(row, index)
        call, reached = row.call, max(reached, row.stop)


def _packed(row: Any) -> PackedSpan:
    return PackedSpan(
        row.first, row.last, row.count_, row.code, row.index_size, row.started_s, row.packed,
        row.keys_, row.cpu_s, row.peak_bytes,
    )


def _unpacked(row: Any, packed: PackedElement) -> Element:
    origin = None if row.origins is None else origin_of(packed.code, json.loads(row.origins))
    return Element(
        row.call, packed.index, packed.code, packed.started_s, packed.ended_s, 1, row.worker_text,
        key=packed.key, origin=origin, cpu_s=packed.cpu_s, cpu_estimated=packed.cpu_estimated,
        peak_bytes=row.peak_bytes,
    )


def _of_range(row: Any, index: int) -> Element:
    return Element(
        row.call, index, row.code, None, row.time_s, 0, None,
        error_type=RANGE_ERRORS.get(row.code), message=row.message,
        cause=None if row.cause_call is None else (row.cause_call, row.cause_index),
    )


def _stream(connection: Connection, statement: Select[Any]) -> Iterable[Any]:
    return connection.execute(statement.execution_options(yield_per=_CHUNK))


def _task_runs(run: int, call: int | None, after: Place | None = None) -> Select[Any]:
    rows = schema.task_runs
    worker, traceback = schema.texts.alias("worker_texts"), schema.texts.alias("tracebacks")
    columns = [c for c in rows.columns if c.name not in ("index", "run", "pickled")]
    statement = (
        select(
            *columns,
            rows.c.index.label("index_"),  # a row is a tuple, which has an index of its own
            worker.c.text.label("worker_text"),
            traceback.c.text.label("traceback_text"),
        )
        .outerjoin(worker, and_(worker.c.run == rows.c.run, worker.c.digest == rows.c.worker))
        .outerjoin(
            traceback,
            and_(traceback.c.run == rows.c.run, traceback.c.digest == rows.c.traceback),
        )
        .where(rows.c.run == run)
        .order_by(rows.c.call, rows.c.index)
    )
    if after is not None:
        statement = statement.where(tuple_(rows.c.call, rows.c.index) > after)
    return statement if call is None else statement.where(rows.c.call == call)


def _spans(run: int, call: int | None, codes: Collection[int] | None,
           after: Place | None = None) -> Select[Any]:
    spans, worker = schema.spans, schema.texts
    columns = [  # a row is a tuple, which has a count; and a mapping of a kind, which has keys
        column.label(f"{column.name}_") if column.name in ("count", "keys") else column
        for column in spans.columns
    ]
    statement = (
        select(*columns, worker.c.text.label("worker_text"))
        .outerjoin(worker, and_(worker.c.run == spans.c.run, worker.c.digest == spans.c.worker))
        .where(spans.c.run == run)
        .order_by(spans.c.call, spans.c.first, spans.c.id)
    )
    if call is not None:
        statement = statement.where(spans.c.call == call)
    if codes is not None:
        statement = statement.where(or_(spans.c.code.is_(None), spans.c.code.in_(sorted(codes))))
    if after is not None:
        statement = statement.where(tuple_(spans.c.call, spans.c.last) > after,
                                    spans.c.call >= after[0])
    return statement


def _ranges(run: int, call: int | None, codes: Collection[int] | None,
            after: Place | None = None) -> Select[Any]:
    ranges = schema.ranges
    statement = select(ranges).where(ranges.c.run == run).order_by(ranges.c.call, ranges.c.start)
    if call is not None:
        statement = statement.where(ranges.c.call == call)
    if codes is not None:
        statement = statement.where(ranges.c.code.in_(sorted(codes)))
    if after is not None:
        statement = statement.where(tuple_(ranges.c.call, ranges.c.stop - 1) > after,
                                    ranges.c.call >= after[0])
    return statement
