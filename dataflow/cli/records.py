"""Rows of the store as the command line shows them.

Lives here: the keys of JSON output, the columns of tables that two commands
share, and opening the store. Does not live here: layout (``rendering.py``).
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from dataflow.cli.rendering import iso, local_time, print_json, printable
from dataflow.ids import task_run_id
from dataflow.names import element_name
from dataflow.outcomes import STATE_OF, Attempt, Code, LogLine
from dataflow.store import CallRow, FlowRunRow, Store, TaskRunRow
from dataflow.stores import open_store


@contextmanager
def opened_store() -> Iterator[Store]:
    """Open the store of the settings and close it again."""
    store = open_store()
    try:
        yield store
    finally:
        store.close()


def flow_run_fields(row: FlowRunRow) -> dict[str, Any]:
    """Return a flow run's keys in JSON."""
    return {
        "id": row.id,
        "name": row.name,
        "state_type": row.state_type,
        "state_name": row.state_name,
        "start_time": _time(row.start_time),
        "end_time": _time(row.end_time),
        "flow_name": row.flow_name,
        "flow_version": row.flow_version,
        "created": _time(row.created),
        "run_count": row.run_count,
        "message": row.message,
        "parameters": _parsed(row.parameters),
        "tags": list(row.tags),
        "parent_flow_run_id": row.parent_flow_run_id,
        "parent_task_run_id": row.parent_task_run_id,
        "runner": row.runner,
        "dashboard_link": row.dashboard_link,
        "host": row.host,
        "pid": row.pid,
        "error_type": row.error_type,
        "error_message": row.error_message,
        "entrypoint": row.entrypoint,
        "resumed": row.resumed,
        "owner": row.owner,
        "lease_until": _moment(row.lease_until_s),
        "cpu_seconds": row.cpu_s,
        "peak_memory_bytes": row.peak_bytes,
    }


def task_run_fields(row: TaskRunRow) -> dict[str, Any]:
    """Return a task run's keys in JSON."""
    return {
        "id": row.id,
        "name": row.name,
        "state_type": row.state_type,
        "state_name": row.state_name,
        "start_time": _time(row.start_time),
        "end_time": _time(row.end_time),
        "task_name": row.task_name,
        "task_key": row.task_key,
        "flow_run_id": row.flow_run_id,
        "parent_task_run_id": row.parent_task_run_id,
        "map_index": row.map_index,
        "run_count": row.run_count,
        "message": row.message,
        "worker": row.worker,
        "error_type": row.error_type,
        "error_message": row.error_message,
        "cause": row.cause,
        "key": None if row.key is None else row.key.hex(),
        "origin": row.origin,
        "due": _moment(row.due_s),
        "cpu_seconds": row.cpu_s,
        "cpu_is_estimate": row.cpu_estimated,
        "peak_memory_bytes": row.peak_bytes,
    }


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """Return the keys in JSON of an execution that was followed by a retry."""
    state_type, state_name = STATE_OF[Code(attempt.code)]
    return {
        "attempt": attempt.attempt,
        "state_type": state_type,
        "state_name": state_name,
        "start_time": iso(moment_of(attempt.started_s)),
        "end_time": iso(moment_of(attempt.started_s + attempt.elapsed_s)),
        "error_type": attempt.error.type_name,
        "error_message": attempt.error.message,
        "traceback": attempt.error.traceback,
    }


def moment_of(seconds: float) -> datetime:
    """Return epoch seconds as a datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


Line = tuple[str, LogLine]
"""A log line with the id of the run that its call belongs to."""
Calls = Mapping[tuple[str, int], CallRow]


def calls_by_place(store: Store, run: FlowRunRow) -> Calls:
    """Return the calls of a flow run, of every depth, by run id and number."""
    return {(call.run_id, call.call): call for call in store.calls(run.id, nested=True)}


def log_fields(run: FlowRunRow, calls: Calls, at: Line) -> dict[str, Any]:
    """Return a log line's keys in JSON."""
    run_id, line = at
    call = calls.get((run_id, line.call))
    return {
        "time": iso(moment_of(line.time_s)),
        "level": line.level,
        "level_name": logging.getLevelName(line.level),
        "logger": line.logger,
        "message": line.message,
        "flow_run_id": run.id,
        "task_run_id": None if call is None else task_run_id(run_id, line.call, line.index),
        "task_name": None if call is None else call.task_name,
        "map_index": line.index if call is not None and call.kind == "map" else None,
        "attempt": line.attempt,
    }


def print_logs(
    store: Store, run: FlowRunRow, lines: Iterable[Line], output: str
) -> None:
    """Print log lines, each with the run it belongs to."""
    calls = calls_by_place(store, run)
    if output == "json":
        print_json([log_fields(run, calls, line) for line in lines])
        return
    for run_id, line in lines:
        call = calls.get((run_id, line.call))
        name = run.name if call is None else element_name(
            run_id, line.call, line.index, call.task_name, call.kind == "map"
        )
        moment = moment_of(line.time_s)
        stamp = f"{local_time(moment)}.{moment.microsecond // 1000:03d}"
        level = logging.getLevelName(line.level)
        click.echo(f"{stamp} | {level:<7} | {printable(name)} - {printable(line.message)}")


def chosen_lines(
    lines: Iterable[Line], level: str | None, limit: int | None, tail: bool
) -> list[Line]:
    """Return the first lines at or above a level, or with ``tail`` the last ones."""
    floor = 0 if level is None else logging.getLevelNamesMapping()[level.upper()]
    wanted = (line for line in lines if line[1].level >= floor)
    if tail:
        return list(deque(wanted, maxlen=limit))
    return [line for line, _ in zip(wanted, range(limit), strict=False)] if limit else list(wanted)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else iso(moment_of(seconds))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # cut at its limit: shown as it is
        return text
