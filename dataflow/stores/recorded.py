"""What is recorded of a run, in columns: for a run that goes on, and for looking up keys.

Lives here: filling a byte per element from spans, ranges and rows. Does not
live here: elements as rows (``elements.py``), what is done with them (the
driver).

The last word on an element is its row; else the first span that has an outcome
of it; else a range.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code
from dataflow.store import CallRow, RecordedCall
from dataflow.stores import schema
from dataflow.stores.packing import KEY_BYTES, PackedSpan
from dataflow.stores.reading import run_heads
from dataflow.stores.rows import call_row, error_of

_CHUNK = 1_000  # rows fetched at once
_SPANS_AT_ONCE = 100  # whose keys are fetched at once


def recorded(
    connection: Connection, flow_run_id: str, first_call: int
) -> Iterator[RecordedCall]:
    """Yield the calls of a run with what is recorded of their elements."""
    run = next(run_heads(connection, flow_run_id, nested=False), None)
    if run is None:
        return
    table = schema.calls
    statement = select(table).where(table.c.run == run.key, table.c.call >= first_call)
    calls = [
        call_row(row, run) for row in connection.execute(statement.order_by(table.c.call))
    ]
    spans, ranges, rows = (
        _ByCall(connection.execute(query.execution_options(yield_per=_CHUNK)))
        for query in (_spans(run.key, first_call), _ranges(run.key, first_call),
                      _rows(run.key, first_call))
    )
    for call in calls:
        yield _taken(call, spans.of(call.call), ranges.of(call.call), rows.of(call.call))


class _ByCall:
    """Rows in the order of their calls, given out call by call."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def of(self, call: int) -> Iterator[Any]:
        """Yield the rows of a call; those of calls before it are passed over."""
        while self._next is not None and self._next.call <= call:
            row = self._next
            self._next = next(self._rows, None)
            if row.call == call:
                yield row


def _taken(
    call: CallRow, spans: Iterable[Any], ranges: Iterable[Any], rows: Iterable[Any]
) -> RecordedCall:
    whole = RecordedCall(record=call, codes=bytearray(call.width or 0))
    for row in spans:
        _fill_span(whole.codes, row)
        whole.keyed = whole.keyed or bool(row.keyed)
    for row in ranges:
        fill(whole.codes, row.start, bytes((row.code,)) * (row.stop - row.start))
        if row.message is not None:
            whole.range_messages.append((row.start, row.stop, row.message))
        if row.cause_call is not None:
            whole.causes.append((row.start, row.stop, (row.cause_call, row.cause_index)))
    for row in rows:
        _take_row(whole, row)
    return whole


def _fill_span(codes: bytearray, row: Any) -> None:
    if row.index_size == 0:
        if row.code is not None:
            block = bytes((row.code,)) * row.count_
        else:
            block = row.packed[8 * row.count_ : 9 * row.count_]
        fill(codes, row.first, block)
        return
    span = PackedSpan(row.first, row.last, row.count_, row.code, row.index_size, 0.0, row.packed)
    _reach(codes, row.last + 1)
    for index, code in zip(span.indexes(), span.codes(), strict=True):
        if not codes[index]:
            codes[index] = code


def fill(codes: bytearray, start: int, block: bytes) -> None:
    """Put neighbouring codes where nothing stands yet."""
    stop = start + len(block)
    _reach(codes, stop)
    there = codes[start:stop]
    if there.count(0) == len(block):
        codes[start:stop] = block
    else:
        codes[start:stop] = bytes(
            old or new for old, new in zip(there, block, strict=True))


def _reach(codes: bytearray, length: int) -> None:
    if len(codes) < length:
        codes.extend(bytes(length - len(codes)))


def _take_row(whole: RecordedCall, row: Any) -> None:
    index, code = row.index_, row.code
    _reach(whole.codes, index + 1)
    waits = code == Code.AWAITING_RETRY
    whole.codes[index] = code if waits or code >= FIRST_FINAL else Code.PENDING
    if code not in SUCCEEDED:
        whole.rows.add(index)
    if waits and row.due_s is not None:
        whole.due[index] = row.due_s
    if (error := error_of(row)) is not None:
        whole.errors[index] = error
    if row.message is not None:
        whole.messages[index] = row.message
    if row.cause_call is not None:
        whole.causes.append((index, index + 1, (row.cause_call, row.cause_index)))
    if row.attempts != 1:
        whole.attempts[index] = row.attempts
    if row.name is not None:
        whole.names[index] = row.name
    whole.keyed = whole.keyed or row.key is not None


def keys(
    connection: Connection, flow_run_id: str, call: int, indexes: Iterable[int]
) -> dict[int, bytes]:
    """Return the cache keys of elements; a row's own before its span's."""
    wanted: Sequence[int] = indexes if isinstance(indexes, range) and indexes.step > 0 else sorted(
        set(indexes))
    run = next(run_heads(connection, flow_run_id, nested=False), None)
    if run is None or not wanted:
        return {}
    found: dict[int, bytes | None] = {}
    for span in _keyed_spans(connection, run.key, call, wanted):
        _find_keys(found, span, wanted)
    there = set(wanted)
    statement = _last_words(run.key, call).where(
        schema.task_runs.c.index.between(wanted[0], wanted[-1]))
    for row in connection.execute(statement):
        if row.index_ in there:
            found[row.index_] = row.key
    return {index: key for index, key in found.items() if key is not None}


def key_column(
    connection: Connection, flow_run_id: str, call: int, width: int
) -> bytearray:
    """Return the cache keys of the first elements of a call, one after another."""
    column = bytearray(KEY_BYTES * width)
    run = next(run_heads(connection, flow_run_id, nested=False), None)
    if run is None or not width:
        return column
    for span in _keyed_spans(connection, run.key, call, range(width)):
        _put_keys(column, span)
    statement = _last_words(run.key, call).where(schema.task_runs.c.index < width)
    for row in connection.execute(statement):
        column[KEY_BYTES * row.index_ : KEY_BYTES * (row.index_ + 1)] = row.key or bytes(KEY_BYTES)
    return column


def _last_words(run: int, call: int) -> Select[Any]:
    """Return the keys of rows; None where an element was computed anew and is not kept now."""
    rows = schema.task_runs
    return select(rows.c.index.label("index_"), rows.c.key).where(
        rows.c.run == run, rows.c.call == call,
        or_(rows.c.key.is_not(None), rows.c.code.in_([int(code) for code in SUCCEEDED])))


def _put_keys(column: bytearray, span: PackedSpan) -> None:
    """Put the keys of a span where none stands yet."""
    keys = span.keys or b""
    begin, end = KEY_BYTES * span.first, KEY_BYTES * (span.last + 1)
    if span.index_size == 0 and end <= len(column) and column.count(0, begin, end) == end - begin:
        column[begin:end] = keys
        return
    for at, index in enumerate(span.indexes()):
        begin, end = KEY_BYTES * index, KEY_BYTES * (index + 1)
        if end <= len(column) and not any(column[begin:end]):
            column[begin:end] = keys[KEY_BYTES * at : KEY_BYTES * (at + 1)]


def _find_keys(found: dict[int, bytes | None], span: PackedSpan, wanted: Sequence[int]) -> None:
    indexes = span.indexes()
    for index in wanted[bisect_left(wanted, span.first) : bisect_left(wanted, span.last + 1)]:
        at = bisect_left(indexes, index)
        if index not in found and at < len(indexes) and indexes[at] == index:
            if (key := span.key(at)) is not None:
                found[index] = key


def _keyed_spans(
    connection: Connection, run: int, call: int, wanted: Sequence[int]
) -> Iterator[PackedSpan]:
    """Yield the spans in which wanted elements may lie, in the order of their recording."""
    spans = schema.spans
    near = select(spans.c.id, spans.c.first, spans.c.last).where(
        spans.c.run == run, spans.c.call == call, func.length(spans.c["keys"]) > 0,
        spans.c.first <= wanted[-1], spans.c.last >= wanted[0])
    holding = sorted(
        row.id for row in connection.execute(near)
        if bisect_left(wanted, row.first) < bisect_left(wanted, row.last + 1))
    for begin in range(0, len(holding), _SPANS_AT_ONCE):
        ids = holding[begin : begin + _SPANS_AT_ONCE]
        statement = select(
            spans.c.first, spans.c.last, spans.c.count.label("count_"), spans.c.code,
            spans.c.index_size, _packed_if(spans.c.index_size > 0), spans.c["keys"].label("keys_"),
        ).where(spans.c.id.in_(ids)).order_by(spans.c.id)
        for row in connection.execute(statement):
            yield PackedSpan(row.first, row.last, row.count_, row.code, row.index_size, 0.0,
                             row.packed or b"", row.keys_)


def _spans(run: int, first_call: int) -> Select[Any]:
    spans = schema.spans
    return select(
        spans.c.call, spans.c.first, spans.c.last, spans.c.count.label("count_"), spans.c.code,
        spans.c.index_size, (func.length(spans.c["keys"]) > 0).label("keyed"),
        _packed_if(or_(spans.c.code.is_(None), spans.c.index_size > 0)),
    ).where(spans.c.run == run, spans.c.call >= first_call).order_by(spans.c.call, spans.c.id)


def _packed_if(needed: Any) -> Any:
    """Return the blob as a column only where it is needed: it is what takes time to read."""
    return case((needed, schema.spans.c.packed), else_=None).label("packed")


def _ranges(run: int, first_call: int) -> Select[Any]:
    ranges = schema.ranges
    return select(ranges).where(
        ranges.c.run == run, ranges.c.call >= first_call
    ).order_by(ranges.c.call, ranges.c.start)


def _rows(run: int, first_call: int) -> Select[Any]:
    rows, texts = schema.task_runs, schema.texts
    return select(
        rows.c.call, rows.c.index.label("index_"), rows.c.code, rows.c.attempts, rows.c.name,
        rows.c.error_type, rows.c.error_message, rows.c.message, rows.c.cause_call,
        rows.c.cause_index, rows.c.key, rows.c.due_s, rows.c.pickled,
        texts.c.text.label("traceback_text"),
    ).outerjoin(
        texts, and_(texts.c.run == rows.c.run, texts.c.digest == rows.c.traceback)
    ).where(
        rows.c.run == run, rows.c.call >= first_call
    ).order_by(rows.c.call, rows.c.index)
