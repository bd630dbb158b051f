"""One run in memory: what is written into it, and how it is read back.

Lives here: entries of dicts, and their translation. Does not live here: the
store (``memory.py``), anything that has to be fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dataflow.outcomes import (
    EVENTS,
    FIRST_FINAL,
    ROLLED_BACK,
    SUCCEEDED,
    Attempt,
    Code,
    ErrorRecord,
    LogLine,
)
from dataflow.store import (
    RANGE_ERRORS,
    CallRecord,
    CallRow,
    CallUsage,
    ElementRecord,
    FlowRunRecord,
    FlowRunRow,
    Gulp,
    RangeRecord,
    RecordedCall,
    SpanRecord,
)
from dataflow.stores.packing import PackedSpan, pack_span, pickle_local, pickled_of
from dataflow.stores.rows import (
    CallHead,
    Element,
    RunHead,
    counts_by_name,
    counts_with,
    is_estimate,
    moment,
    origin_of,
    parent_of,
    run_head,
)

Place = tuple[int, int]


@dataclass(slots=True)
class MemoryRun:
    """What is kept of one run."""

    record: FlowRunRecord
    calls: dict[int, CallRecord] = field(default_factory=dict)
    widths: dict[int, int] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)
    txn_values: dict[int, bytes] = field(default_factory=dict)
    counts: dict[int, dict[int, int]] = field(default_factory=dict)
    rows: dict[Place, Element] = field(default_factory=dict)
    spans: dict[Place, Element] = field(default_factory=dict)
    span_usage: dict[tuple[int, int, float], tuple[float | None, int | None]] = field(
        default_factory=dict)  # by call, first element, start
    ranges: dict[Place, Element] = field(default_factory=dict)
    stretches: dict[Place, RangeRecord] = field(default_factory=dict)
    attempts: dict[tuple[int, int, int], Attempt] = field(default_factory=dict)
    logs: dict[tuple[LogLine, int], LogLine] = field(default_factory=dict)
    pickles: dict[Place, bytes] = field(default_factory=dict)
    inputs: bytes | None = None

    def elements(self) -> dict[Place, Element]:
        """Return each element's last word: its row, else a span, else a range."""
        return {**self.ranges, **self.spans, **self.rows}


def write_calls(run: MemoryRun, gulp: Gulp) -> None:
    """Take the calls of a gulp."""
    for call in gulp.calls:
        run.calls[call.call] = _with_code_of(run.calls.get(call.call, call), call)
    run.widths.update(gulp.widths)
    run.faults.update(gulp.faults)
    run.committed.update(gulp.committed)
    run.txn_values.update(gulp.txn_values)
    for number, counts in gulp.counts.items():
        run.counts[number] = dict(counts)


def write_elements(run: MemoryRun, gulp: Gulp) -> None:
    """Take what a gulp says of elements."""
    for span in gulp.spans:
        packed = pack_span(span.span, span.started_s)
        if packed is None:
            continue
        run.span_usage.setdefault((span.span.call, packed.first, packed.started_s),
                                  (packed.cpu_s, packed.peak_bytes))
        for element in _unpacked(span, packed):
            run.spans.setdefault((element.call, element.index), element)
    for stretch in gulp.ranges:
        run.stretches.setdefault((stretch.call, stretch.start), stretch)
        for element in _of_range(stretch):
            run.ranges.setdefault((element.call, element.index), element)
    pickle_local(record.error for record in gulp.elements)
    for record in gulp.elements:
        place = record.call, record.index
        there = run.rows.get(place)
        if there is None or there.code < FIRST_FINAL:
            run.rows[place] = _element(record)
            run.pickles.pop(place, None)
            if (pickled := pickled_of(record.error)) is not None:
                run.pickles[place] = pickled
    for attempt in gulp.attempts:
        kept = attempt._replace(error=_text_only(attempt.error))
        run.attempts.setdefault((attempt.call, attempt.index, attempt.attempt), kept)


def write_undone(run: MemoryRun, undone: dict[int, set[int]]) -> None:
    """Let completed elements be rolled back; the counts of their calls go along."""
    elements = run.elements() if undone else {}
    for call, indexes in undone.items():
        for index in indexes:
            there = elements.get((call, index))
            if there is not None and there.code == Code.COMPLETED:
                run.rows[call, index] = there._replace(
                    code=int(Code.ROLLED_BACK), message=ROLLED_BACK.message,
                    cpu_estimated=is_estimate(there.cpu_s, there.started_s, there.ended_s))
        many = sum(place[0] == call and row.code == Code.ROLLED_BACK
                   for place, row in run.rows.items())
        if call in run.counts:
            run.counts[call] = counts_with(run.counts[call], many)


def forget_ranges(run: MemoryRun, codes: Sequence[int]) -> None:
    """Let elements begin anew that ended in a range with one of these codes."""
    run.stretches = {at: each for at, each in run.stretches.items() if each.code not in codes}
    run.ranges = {at: each for at, each in run.ranges.items() if each.code not in codes}


def begin_anew(run: MemoryRun, call: int, indexes: Sequence[int] | None) -> None:
    """Give elements a row that is PENDING; None: forget all of a map, and its width."""
    if indexes is not None:
        for index in indexes:
            there = run.rows.get((call, index)) or Element(
                call, index, int(Code.PENDING), None, None, 1, None)
            run.rows[call, index] = there._replace(code=int(Code.PENDING))
        return
    for kept in (run.rows, run.spans, run.ranges, run.stretches, run.pickles):
        for place in [place for place in kept if place[0] == call]:
            del kept[place]
    run.span_usage = {at: used for at, used in run.span_usage.items() if at[0] != call}
    run.widths.pop(call, None)
    run.calls[call] = replace(run.calls[call], width=None)


def write_logs(run: MemoryRun, lines: Iterable[LogLine]) -> None:
    """Take log lines; the same ones once. Events are not kept."""
    repeated: dict[LogLine, int] = {}
    for line in lines:
        if line.logger == EVENTS:
            continue
        n = repeated[line] = repeated.get(line, 0) + 1
        run.logs.setdefault((line, n), line)


def _unpacked(record: SpanRecord, packed: PackedSpan) -> list[Element]:
    call = record.span.call
    return [
        Element(call, e.index, e.code, e.started_s, e.ended_s, 1, record.worker,
                key=e.key, origin=origin_of(e.code, record.span.origins), cpu_s=e.cpu_s,
                cpu_estimated=e.cpu_estimated, peak_bytes=packed.peak_bytes)
        for e in packed.elements()
    ]


def _of_range(record: RangeRecord) -> list[Element]:
    return [
        Element(
            record.call, index, record.code, None, record.time_s, 0, None,
            error_type=RANGE_ERRORS.get(record.code), message=record.message, cause=record.cause,
        )
        for index in range(record.start, record.stop)
    ]


def _element(record: ElementRecord) -> Element:
    error = record.error
    return Element(
        record.call, record.index, record.code, record.started_s, record.ended_s,
        record.attempts, record.worker, record.name,
        error.type_name if error else None,
        error.message if error else None,
        error.traceback if error else None,
        record.message, record.cause, record.key, record.origin, record.due_s, record.cpu_s,
        is_estimate(record.cpu_s, record.started_s, record.ended_s), record.peak_bytes,
    )


def with_lease_of(there: FlowRunRecord, new: FlowRunRecord) -> FlowRunRecord:
    """Return a new record of a run with the lease that the old one has."""
    return replace(
        new, epoch=there.epoch, owner=there.owner, lease_until_s=there.lease_until_s)


def _with_code_of(there: CallRecord, new: CallRecord) -> CallRecord:
    told = {name: value for name in _OF_CODE if (value := getattr(new, name)) is not None}
    return replace(there, **told)


_OF_CODE = ("code", "partition", "policy", "storage", "constants")


def recorded_call(run: MemoryRun, call: int) -> RecordedCall:
    """Return what is recorded of a call, in columns."""
    row = call_row(run, call)
    whole = RecordedCall(record=row, codes=bytearray(row.width or 0))
    for (of, index), element in sorted(run.elements().items()):
        if of != call:
            continue
        whole.codes.extend(bytes(max(0, index + 1 - len(whole.codes))))
        if element.code >= FIRST_FINAL or element.code == Code.AWAITING_RETRY:
            whole.codes[index] = element.code
    for stretch in sorted(run.stretches.values(), key=lambda each: (each.call, each.start)):
        if stretch.call == call and stretch.message is not None:
            whole.range_messages.append((stretch.start, stretch.stop, stretch.message))
        if stretch.call == call and stretch.cause is not None:
            whole.causes.append((stretch.start, stretch.stop, stretch.cause))
    for (of, index), element in sorted(run.rows.items()):
        if of == call:
            _take_row(whole, run, index, element)
    whole.keyed = any(
        each.key is not None for kept in (run.rows, run.spans) for at, each in kept.items()
        if at[0] == call)
    return whole


def _take_row(whole: RecordedCall, run: MemoryRun, index: int, element: Element) -> None:
    place = element.call, index
    if element.code not in SUCCEEDED:
        whole.rows.add(index)
    if element.code == Code.AWAITING_RETRY and element.due_s is not None:
        whole.due[index] = element.due_s
    if element.error_type is not None:
        whole.errors[index] = ErrorRecord(
            element.error_type, element.error_message or "", element.traceback or "",
            run.pickles.get(place))
    if element.message is not None:
        whole.messages[index] = element.message
    if element.cause is not None:
        whole.causes.append((index, index + 1, element.cause))
    if element.attempts != 1:
        whole.attempts[index] = element.attempts
    if element.name is not None:
        whole.names[index] = element.name


def _text_only(error: ErrorRecord) -> ErrorRecord:
    return ErrorRecord(error.type_name, error.message, error.traceback)


def key_of(run: MemoryRun, call: int, index: int) -> bytes | None:
    """Return an element's key; what was computed anew has no longer that of its span."""
    row, span = run.rows.get((call, index)), run.spans.get((call, index))
    if row is not None and (row.key is not None or row.code in SUCCEEDED):
        return row.key
    return None if span is None else span.key


def call_head(run: MemoryRun, call: int) -> CallHead:
    """Return what elements need of their call."""
    record = run.calls[call]
    return CallHead(
        _run_head(run), call, record.task_name, record.task_key, record.kind, record.parent
    )


def _run_head(run: MemoryRun) -> RunHead:
    record = run.record
    return run_head(record.kind, record.id, record.parent_flow_run_id, record.parent_task_run_id)


def call_row(run: MemoryRun, call: int) -> CallRow:
    """Return a call as it is read back."""
    record = run.calls[call]
    created = moment(record.created_s)
    assert created is not None
    return CallRow(
        call=call,
        task_name=record.task_name,
        task_key=record.task_key,
        kind=record.kind,
        width=run.widths.get(call, record.width),
        tags=record.tags,
        upstream=record.upstream,
        created=created,
        counts=counts_by_name(run.counts.get(call, {})),
        fault=run.faults.get(call),
        run_id=run.record.id,
        parent_task_run_id=parent_of(_run_head(run), record.parent),
        code=record.code,
        partition=record.partition,
        policy=record.policy,
        storage=record.storage,
        constants=record.constants,
        committed=call in run.committed,
        txn_values=run.txn_values.get(call),
    )


def usage_of(run: MemoryRun, call: int) -> CallUsage | None:
    """Return what a call used; elements of maps are in spans, others have rows."""
    if run.calls[call].kind == "map":
        used = [used for place, used in run.span_usage.items() if place[0] == call]
    else:
        used = [(row.cpu_s, row.peak_bytes) for place, row in run.rows.items() if place[0] == call]
    cpu = [cpu_s for cpu_s, _ in used if cpu_s is not None]
    peaks = [peak for _, peak in used if peak is not None]
    if not cpu and not peaks:
        return None
    return CallUsage(run.record.id, call, sum(cpu) if cpu else None, max(peaks, default=None))


def flow_run_row(record: FlowRunRecord) -> FlowRunRow:
    """Return a flow run as it is read back."""
    created = moment(record.created_s)
    assert created is not None
    return FlowRunRow(
        id=record.id,
        name=record.name,
        flow_name=record.flow_name,
        flow_version=record.flow_version,
        state_type=record.state_type,
        state_name=record.state_name,
        message=record.message,
        parameters=record.parameters,
        tags=tuple(record.tags),
        created=created,
        start_time=moment(record.start_time_s),
        end_time=moment(record.end_time_s),
        run_count=record.run_count,
        parent_flow_run_id=record.parent_flow_run_id,
        parent_task_run_id=record.parent_task_run_id,
        runner=record.runner,
        dashboard_link=record.dashboard_link,
        host=record.host,
        pid=record.pid,
        error_type=record.error.type_name if record.error else None,
        error_message=record.error.message if record.error else None,
        traceback=record.error.traceback if record.error else None,
        entrypoint=record.entrypoint,
        first_call=record.first_call,
        epoch=record.epoch,
        owner=record.owner,
        lease_until_s=record.lease_until_s,
        resumed=record.resumed,
        result_key=record.result_key,
        alerts=record.alerts,
        result_place=record.result_place,
        cpu_s=record.cpu_s,
        peak_bytes=record.peak_bytes,
    )
