"""Records to write into a store under test, short to write down.

Lives here: makers of records, nothing that asserts. Does not live here: the
tests (the other modules of this folder).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from dataflow.outcomes import Code, ErrorRecord, Span
from dataflow.store import (
    CallRecord,
    ElementRecord,
    FlowRunRecord,
    Gulp,
    RecordedCall,
    SpanRecord,
    Store,
)

RUN = "11111111-2222-4333-8444-555555555555"
T0 = 1_700_000_000.0


def flow_run(id: str = RUN, **changes: object) -> FlowRunRecord:
    values: dict[str, object] = {
        "id": id, "name": "swift-heron", "flow_name": "delays", "created_s": T0,
        "state_type": "RUNNING", "state_name": "Running",
    }
    return FlowRunRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def call(number: int = 0, kind: str = "map", task: str = "load", **changes: object) -> CallRecord:
    values: dict[str, object] = {
        "call": number, "task_name": task, "task_key": f"flights.{task}", "kind": kind,
        "width": None, "created_s": T0 + number,
    }
    return CallRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def span(
    indexes: Sequence[int], codes: Sequence[int] | int = Code.COMPLETED, *,
    call: int = 0, at_s: float = T0, worker: str = "tcp://127.0.0.1:40001",
) -> SpanRecord:
    each = [codes] * len(indexes) if isinstance(codes, int) else codes
    started = array("f", [position * 0.25 for position in range(len(indexes))])
    elapsed = array("f", [0.5] * len(indexes))
    return SpanRecord(Span(call, indexes, bytearray(each), started, elapsed), at_s, worker)


def error(message: str = "no air time") -> ErrorRecord:
    text = f'Traceback (most recent call last):\n  File "f.py", line 3\nValueError: {message}\n'
    return ErrorRecord("ValueError", message, text)


def failed(index: int, *, call: int = 0, **changes: object) -> ElementRecord:
    values: dict[str, object] = {
        "call": call, "index": index, "code": int(Code.FAILED), "started_s": T0, "attempts": 1,
        "ended_s": T0 + 1, "worker": "w", "error": error(f"flight {index} has no air time"),
    }
    return ElementRecord(**{**values, **changes})  # type: ignore[arg-type]  # a test's shorthand


def with_map(store: Store, *gulps: Gulp) -> Store:
    store.write(RUN, Gulp(flow_run=flow_run(), calls=[call()]))
    for gulp in gulps:
        store.write(RUN, gulp)
    return store


def states(store: Store, **asked: object) -> list[tuple[int | None, str]]:
    rows = store.task_runs(RUN, limit=None, **asked)  # type: ignore[arg-type]  # a test's shorthand
    return [(row.map_index, row.state_name) for row in rows]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def only(store: Store) -> RecordedCall:
    (found,) = store.recorded(RUN)
    return found
