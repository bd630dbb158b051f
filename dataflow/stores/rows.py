"""Rows of the tables as the values that a store gives back.

Lives here: pure translation, one function per kind of row. Does not live here:
statements (``reading.py``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dataflow.ids import task_run_id
from dataflow.names import element_name
from dataflow.outcomes import STATE_OF, Attempt, Code, ErrorRecord
from dataflow.store import OWN_CPU_FROM_S, CallRow, FlowRunRow, TaskRunRow
from dataflow.stores.packing import restore_traceback


class RunHead(NamedTuple):
    """A flow run, or the inside of a task run: what its calls need to become rows."""

    key: int  # 0 where rows have none
    id: str
    flow_run_id: str  # that users see: of an inside, the flow run around
    parent_task_run_id: str | None  # whose inside it is


class CallHead(NamedTuple):
    """What every element of a call needs to become a row."""

    run: RunHead
    call: int
    task_name: str
    task_key: str
    kind: str
    parent: int | None

    @property
    def parent_task_run_id(self) -> str | None:
        """Id of the task run that made the call, None where the flow did."""
        return parent_of(self.run, self.parent)


def parent_of(run: RunHead, parent: int | None) -> str | None:
    """Return the id of the task run that made a call of ``run``, None where the flow did."""
    return run.parent_task_run_id if parent is None else task_run_id(run.id, parent, 0)


def run_head(kind: str, id: str, parent_flow_run_id: str | None, parent_task_run_id: str | None,
             key: int = 0) -> RunHead:
    """Return the head of a run from its record."""
    if kind != "task":
        return RunHead(key, id, id, None)
    return RunHead(key, id, parent_flow_run_id or id, parent_task_run_id)


class Element(NamedTuple):
    """One element wherever it was kept: as a row, in a span, or in a range."""

    call: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    code: int
    started_s: float | None
    ended_s: float | None
    attempts: int
    worker: str | None
    name: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    message: str | None = None
    cause: tuple[int, int] | None = None
    key: bytes | None = None
    origin: str | None = None
    due_s: float | None = None
    cpu_s: float | None = None
    cpu_estimated: bool = False
    peak_bytes: int | None = None


def moment(seconds: float | None) -> datetime | None:
    """Return epoch seconds as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def flow_run_row(row: Any) -> FlowRunRow:
    """Translate a row of ``flow_runs``."""
    return FlowRunRow(
        id=row.id,
        name=row.name,
        flow_name=row.flow_name,
        flow_version=row.flow_version,
        state_type=row.state_type,
        state_name=row.state_name,
        message=row.message,
        parameters=row.parameters,
        tags=tuple(json.loads(row.tags)),
        created=datetime.fromtimestamp(row.created_s, UTC),
        start_time=moment(row.start_time_s),
        end_time=moment(row.end_time_s),
        run_count=row.run_count,
        parent_flow_run_id=row.parent_flow_run_id,
        parent_task_run_id=row.parent_task_run_id,
        runner=row.runner,
        dashboard_link=row.dashboard_link,
        host=row.host,
        pid=row.pid,
        error_type=row.error_type,
        error_message=row.error_message,
        traceback=row.traceback,
        entrypoint=row.entrypoint,
        first_call=row.first_call,
        epoch=row.epoch,
        owner=row.owner,
        lease_until_s=row.lease_until_s,
        resumed=row.resumed,
        result_key=row.result_key,
        alerts=row.alerts,
        result_place=row.result_place,
        cpu_s=row.cpu_s,
        peak_bytes=row.peak_bytes,
    )


def call_row(row: Any, run: RunHead) -> CallRow:
    """Translate a row of ``calls`` of a run."""
    return CallRow(
        call=row.call,
        task_name=row.task_name,
        task_key=row.task_key,
        kind=row.kind,
        width=row.width,
        tags=tuple(json.loads(row.tags)),
        upstream=tuple(json.loads(row.upstream)),
        created=datetime.fromtimestamp(row.created_s, UTC),
        counts=counts_by_name({int(code): n for code, n in json.loads(row.counts or "{}").items()}),
        fault=row.fault,
        run_id=run.id,
        parent_task_run_id=parent_of(run, row.parent),
        code=row.code,
        partition=row.partition,
        policy=row.policy,
        storage=row.storage,
        constants=row.constants,
        committed=bool(row.committed),
        txn_values=row.txn_values,
    )


def counts_by_name(counts: dict[int, int]) -> dict[str, int]:
    """Return counts by state name, in the order of the codes."""
    named: dict[str, int] = {}
    for code, n in sorted(counts.items()):
        if n:
            name = STATE_OF[Code(code)][1]
            named[name] = named.get(name, 0) + n
    return named


def counts_with(counts: dict[int, int], undone: int) -> dict[int, int]:
    """Return the counts of a call, by code, of whose completed elements so many were undone."""
    completed, before = int(Code.COMPLETED), int(Code.ROLLED_BACK)
    good = counts.get(completed, 0) + counts.get(before, 0)
    return {**counts, completed: max(0, good - undone), before: undone}


def element_of(row: Any) -> Element:
    """Translate a row of ``task_runs``, with its texts in ``worker_text``, ``traceback_text``."""
    return Element(
        call=row.call,
        index=row.index_,
        code=row.code,
        started_s=row.started_s,
        ended_s=row.ended_s,
        attempts=row.attempts,
        worker=row.worker_text,
        name=row.name,
        error_type=row.error_type,
        error_message=row.error_message,
        traceback=restore_traceback(row.traceback_text, row.error_message),
        message=row.message,
        cause=None if row.cause_call is None else (row.cause_call, row.cause_index),
        key=row.key,
        origin=row.origin,
        due_s=row.due_s,
        cpu_s=row.cpu_s,
        cpu_estimated=is_estimate(row.cpu_s, row.started_s, row.ended_s),
        peak_bytes=row.peak_bytes,
    )


def is_estimate(cpu_s: float | None, started_s: float | None, ended_s: float | None) -> bool:
    """Tell whether the processor time of an element with a row is but a share of its batch's."""
    if cpu_s is None or started_s is None or ended_s is None:
        return False
    return ended_s - started_s <= OWN_CPU_FROM_S


def error_of(row: Any) -> ErrorRecord | None:
    """Return the error of a row of ``task_runs``, with ``pickled`` and ``traceback_text``."""
    if row.error_type is None:
        return None
    traceback = restore_traceback(row.traceback_text, row.error_message)
    return ErrorRecord(row.error_type, row.error_message, traceback or "", row.pickled)


def origin_of(code: int, origins: Sequence[str]) -> str | None:
    """Return the run that a cached element of a span comes from, where it can be one only."""
    return origins[0] if code == Code.CACHED and len(origins) == 1 else None


def attempt_of(row: Any) -> Attempt:
    """Translate a row of ``attempts``, with its traceback in ``traceback_text``."""
    traceback = restore_traceback(row.traceback_text, row.error_message)
    return Attempt(
        call=row.call,
        index=row.index_,
        attempt=row.attempt,
        started_s=row.started_s,
        elapsed_s=row.elapsed_s,
        code=row.code,
        error=ErrorRecord(row.error_type, row.error_message, traceback or ""),
    )


def task_run_row(call: CallHead, element: Element) -> TaskRunRow:
    """Give an element its id, its name and its state's names."""
    mapped, run_id = call.kind == "map", call.run.id
    state_type, state_name = STATE_OF[Code(element.code)]
    return TaskRunRow(
        id=task_run_id(run_id, call.call, element.index),
        name=element.name
        or element_name(run_id, call.call, element.index, call.task_name, mapped),
        flow_run_id=call.run.flow_run_id,
        run_id=run_id,
        parent_task_run_id=call.parent_task_run_id,
        task_name=call.task_name,
        task_key=call.task_key,
        call=call.call,
        map_index=element.index if mapped else None,
        state_type=state_type,
        state_name=state_name,
        message=element.message,
        start_time=moment(element.started_s),
        end_time=moment(element.ended_s),
        run_count=element.attempts,
        worker=element.worker,
        error_type=element.error_type,
        error_message=element.error_message,
        traceback=element.traceback,
        cause=None if element.cause is None else task_run_id(run_id, *element.cause),
        kind=call.kind,
        key=element.key,
        origin=element.origin,
        due_s=element.due_s if element.code == Code.AWAITING_RETRY else None,
        cpu_s=element.cpu_s,
        cpu_estimated=element.cpu_estimated and call.kind != "direct",
        peak_bytes=element.peak_bytes,
    )
