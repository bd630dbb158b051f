"""Flow runs, calls, task runs and log lines as they are answered.

Lives here: their fields, named as ``dataflow … --output json`` names them. Does not
live here: deployments and the queue (``deployed.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from dataflow.ids import task_run_id
from dataflow.outcomes import STATE_OF, Attempt, Code, LogLine
from dataflow.records import CallRow, CallUsage, FlowRow, FlowRunRow, TaskRunRow
from dataflow.server.shapes.deployed import QueuedRunShape
from dataflow.server.shapes.moments import Number, Since
from dataflow.server.shapes.pages import Page, PageQuery, Shape
from dataflow.server.shapes.shown import moment, shown_parameters

StateText = Annotated[str, Field(
    min_length=1, max_length=50,
    description="A type (FAILED) or a name (TimedOut) of a state, in any case.")]


class FlowShape(Shape):
    """A flow that has runs."""

    name: str
    counts: Annotated[dict[str, int], Field(description="State type → runs.")]
    last_created: datetime


class Flows(Page[FlowShape]):
    """Some of the flows, by name."""


class FlowRunShape(Shape):
    """A flow run."""

    id: str
    name: str
    state_type: str
    state_name: str
    start_time: datetime | None
    end_time: datetime | None
    flow_name: str
    flow_version: str | None
    created: datetime
    run_count: int
    message: str | None
    parameters: Annotated[Any, Field(
        description="An object; a text where they were cut. Secrets are masked.")]
    tags: list[str]
    parent_flow_run_id: str | None
    parent_task_run_id: str | None
    runner: str | None
    dashboard_link: str | None
    host: str | None
    pid: int | None
    error_type: str | None
    error_message: str | None
    entrypoint: str | None
    resumed: int
    owner: str | None
    lease_until: datetime | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None


class FlowRuns(Page[FlowRunShape]):
    """Some of the flow runs, the newest first."""


class CallShape(Shape):
    """A submit, map or direct call, with its elements counted."""

    call: int
    run_id: str
    parent_task_run_id: str | None
    task_name: str
    task_key: str
    kind: str
    width: Annotated[int | None, Field(description="null while it is unknown.")]
    tags: list[str]
    upstream: list[int]
    created: datetime
    counts: Annotated[dict[str, int], Field(description="State name → elements.")]
    fault: Annotated[str | None, Field(description="Why it failed as a whole.")]
    committed: bool
    cpu_seconds: Annotated[float | None, Field(description="Of its elements together.")]
    peak_memory_bytes: Annotated[int | None, Field(
        description="The most memory of a process that one of them ran in.")]


class FlowRunDetails(FlowRunShape):
    """All that is known of a flow run but its elements and lines."""

    traceback: str | None
    deployment: QueuedRunShape | None
    calls: list[CallShape]
    calls_left_out: Annotated[int, Field(description="How many calls are not in the list.")]


class TaskRunShape(Shape):
    """A task run: an element of a map, or a single call."""

    id: str
    name: str
    state_type: str
    state_name: str
    start_time: datetime | None
    end_time: datetime | None
    task_name: str
    task_key: str
    flow_run_id: str
    parent_task_run_id: str | None
    call: int
    map_index: int | None
    run_count: int
    message: str | None
    worker: str | None
    error_type: str | None
    error_message: str | None
    cause: Annotated[str | None, Field(description="Id of the task run that failed first.")]
    key: Annotated[str | None, Field(description="Cache key, hexadecimal.")]
    origin: str | None
    due: datetime | None
    cpu_seconds: float | None
    cpu_is_estimate: Annotated[bool, Field(description="It is a share of its batch's.")]
    peak_memory_bytes: int | None


class TaskRuns(Page[TaskRunShape]):
    """Some of a run's elements, by call and index."""


class AttemptShape(Shape):
    """An execution that was followed by a retry."""

    attempt: int
    state_type: str
    state_name: str
    start_time: datetime
    end_time: datetime
    error_type: str | None
    error_message: str | None
    traceback: str | None


class TaskRunDetails(TaskRunShape):
    """All that is known of a task run."""

    traceback: str | None
    attempts: list[AttemptShape]


class LogLineShape(Shape):
    """A log line of a flow run, or of a task run of it."""

    time: datetime
    level: int
    level_name: str
    logger: str
    message: str
    flow_run_id: str
    task_run_id: str | None
    task_name: str | None
    map_index: int | None
    attempt: int


class LogLines(Page[LogLineShape]):
    """Some of a run's log lines, by time."""


class CancelAnswer(Shape):
    """What became of the wish to end a run."""

    flow_run_id: str
    state_type: str
    state_name: str
    asked: Annotated[Literal[True], Field(
        description="It was cancelled, or who drives it was asked to end it.")] = True


class FlowRunsQuery(PageQuery):
    """Which flow runs."""

    state: StateText | None = None
    flow: Annotated[str | None, Field(max_length=500, description="Name of the flow.")] = None
    deployment: Annotated[str | None, Field(max_length=500, description="flow/name.")] = None
    tag: Annotated[str | None, Field(max_length=500)] = None
    since: Annotated[Since | None, Field(
        description="Made at this moment or later.")] = None


class TaskRunsQuery(PageQuery):
    """Which elements of a run."""

    state: StateText | None = None
    call: Annotated[Number | None, Field(ge=0, lt=1 << 24, description="Of this call of the run's "
                                                                    "own only.")] = None
    map_index: Annotated[Number | None, Field(ge=0, lt=1 << 36)] = None


def flow_shape(row: FlowRow) -> FlowShape:
    """Return a flow."""
    return FlowShape.model_validate(row)


_MADE = {"lease_until", "due", "cpu_seconds", "cpu_is_estimate", "peak_memory_bytes"}
"""Fields that rows have under other names."""


def _plain(row: FlowRunRow | TaskRunRow | CallRow, shape: type[Shape]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in shape.model_fields if name not in _MADE}


def flow_run_facts(row: FlowRunRow) -> dict[str, Any]:
    """Return the fields of a flow run."""
    return {**_plain(row, FlowRunShape), "parameters": shown_parameters(row.parameters),
            "tags": list(row.tags), "lease_until": moment(row.lease_until_s),
            "cpu_seconds": row.cpu_s, "peak_memory_bytes": row.peak_bytes}


def flow_run_shape(row: FlowRunRow) -> FlowRunShape:
    """Return a flow run."""
    return FlowRunShape(**flow_run_facts(row))


def call_shape(row: CallRow, used: CallUsage | None) -> CallShape:
    """Return a call, with what its elements used."""
    return CallShape(**{**_plain(row, CallShape), "tags": list(row.tags),
                        "upstream": list(row.upstream),
                        "cpu_seconds": None if used is None else used.cpu_s,
                        "peak_memory_bytes": None if used is None else used.peak_bytes})


def task_run_facts(row: TaskRunRow) -> dict[str, Any]:
    """Return the fields of a task run."""
    return {**_plain(row, TaskRunShape), "key": None if row.key is None else row.key.hex(),
            "due": moment(row.due_s), "cpu_seconds": row.cpu_s,
            "cpu_is_estimate": row.cpu_estimated, "peak_memory_bytes": row.peak_bytes}


def task_run_shape(row: TaskRunRow) -> TaskRunShape:
    """Return a task run."""
    return TaskRunShape(**task_run_facts(row))


def attempt_shape(attempt: Attempt) -> AttemptShape:
    """Return an execution that was followed by a retry."""
    state_type, state_name = STATE_OF[Code(attempt.code)]
    return AttemptShape(
        attempt=attempt.attempt, state_type=state_type, state_name=state_name,
        start_time=_at(attempt.started_s), end_time=_at(attempt.started_s + attempt.elapsed_s),
        error_type=attempt.error.type_name, error_message=attempt.error.message,
        traceback=attempt.error.traceback)


Calls = Mapping[tuple[str, int], CallRow]
"""Run id and number → call."""


def log_line_shape(flow_run_id: str, calls: Calls, run_id: str, line: LogLine) -> LogLineShape:
    """Return a log line, with the task run that wrote it."""
    call = calls.get((run_id, line.call))
    return LogLineShape(
        time=_at(line.time_s), level=line.level, level_name=logging.getLevelName(line.level),
        logger=line.logger, message=line.message, flow_run_id=flow_run_id,
        task_run_id=None if call is None else task_run_id(run_id, line.call, line.index),
        task_name=None if call is None else call.task_name,
        map_index=line.index if call is not None and call.kind == "map" else None,
        attempt=line.attempt)


def _at(seconds: float) -> datetime:
    found = moment(seconds)
    assert found is not None
    return found
