"""``dataflow task-run``: ls, inspect, logs, why.

Lives here: what is asked of the store, what of it is shown. Does not live here:
which element is meant (``elements.py``), ``why`` (``why.py``), keys of JSON and
log lines (``records.py``), layout (``rendering.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from dataflow.cli.elements import chosen, listed
from dataflow.cli.options import (
    TASK_RUN_STATES,
    Output,
    element_options,
    limit_option,
    output_option,
    state_option,
)
from dataflow.cli.records import (
    Line,
    attempt_fields,
    calls_by_place,
    flow_run_fields,
    log_fields,
    moment_of,
    opened_store,
    print_logs,
    task_run_fields,
)
from dataflow.cli.rendering import (
    duration,
    local_time,
    print_fields,
    print_json,
    print_section,
    print_table,
    printable,
)
from dataflow.cli.usage_rows import cpu_text, host_of, memory_text
from dataflow.cli.why import why
from dataflow.exceptions import RunNotFound
from dataflow.outcomes import STATE_OF, Attempt, Code
from dataflow.store import FlowRunRow, Store, TaskRunRow

_SHOWN_CHILDREN = 50


@click.group()
def task_run() -> None:
    """Look at task runs: the elements of maps, and single calls."""


task_run.add_command(why)


@task_run.command()
@limit_option(50, "task runs")
@state_option(TASK_RUN_STATES)
@element_options
@output_option
def ls(
    limit: int, state: str | None, flow_run: str | None, map_index: int | None, task: str | None,
    output: Output,
) -> None:
    """List task runs by call and map index, the newest flow run's first.

    With --task and no --flow-run: those of the last flow run.
    """
    with opened_store() as store:
        run = store.find_flow_run(flow_run or "last") if flow_run or task else None
        rows = listed(store, run, task, state, map_index, limit)
    if output == "json":
        print_json([task_run_fields(row) for row in rows])
        return
    print_table(
        ("id", "name", "state", "started", "took", "runs", "error"),
        [
            (
                row.id[:13], row.name, row.state_name, local_time(row.start_time),
                duration(row.start_time, row.end_time), str(row.run_count), _why(row)[:120],
            )
            for row in rows
        ],
        states=[row.state_type for row in rows],
    )


@task_run.command()
@click.argument("ref", required=False)
@element_options
@output_option
def inspect(
    ref: str | None, flow_run: str | None, map_index: int | None, task: str | None, output: Output
) -> None:
    """Show all that is known of one task run: attempts, times, error, worker, logs.

    REF is an id, the front of one, a name, or `last`. In its place, --map-index
    names an element of a map of --flow-run (the last one by default); --task
    says of which, where several maps have it.
    """
    with opened_store() as store:
        story = _story(store, chosen(store, ref, flow_run, map_index, task))
        if output == "json":
            _print_story_json(store, story)
        else:
            _print_story(store, story)


@task_run.command()
@click.argument("ref", required=False)
@element_options
@limit_option(None, "lines")
@output_option
def logs(
    ref: str | None, flow_run: str | None, map_index: int | None, task: str | None,
    limit: int | None, output: Output,
) -> None:
    """Show the log lines of one task run, named as for `inspect`."""
    with opened_store() as store:
        row = chosen(store, ref, flow_run, map_index, task)
        run = store.find_flow_run(row.flow_run_id)
        lines = store.logs(row.run_id, call=row.call, index=row.map_index or 0, limit=limit)
        print_logs(store, run, [(row.run_id, line) for line in lines], output)


class _Story(NamedTuple):
    row: TaskRunRow
    run: FlowRunRow
    attempts: Sequence[Attempt]
    lines: list[Line]
    parent: TaskRunRow | None
    children: list[TaskRunRow]  # task runs that it made itself
    flows: list[FlowRunRow]  # that it called


def _story(store: Store, row: TaskRunRow) -> _Story:
    index = row.map_index or 0
    children = store.children(row, limit=None)
    callers = [row, *children]  # a flow is called by the task run that stands for it
    return _Story(
        row,
        store.find_flow_run(row.flow_run_id),
        store.attempts(row.run_id, row.call, index),
        [(row.run_id, line) for line in store.logs(row.run_id, call=row.call, index=index)],
        _parent(store, row),
        children,
        [run for each in callers if each.kind == "flow"
         for run in store.flow_runs(parent=each.id, limit=None)],
    )


def _parent(store: Store, row: TaskRunRow) -> TaskRunRow | None:
    """Return the task run around, None where there is none or it has no outcome yet."""
    if row.parent_task_run_id is None:
        return None
    try:
        return store.find_task_run(row.parent_task_run_id, row.flow_run_id)
    except RunNotFound:
        return None


def _print_story_json(store: Store, story: _Story) -> None:
    calls = calls_by_place(store, story.run)
    print_json({
        **task_run_fields(story.row),
        "flow_run_name": story.run.name,
        "flow_name": story.run.flow_name,
        "host": host_of(story.row, story.run.host),
        "traceback": story.row.traceback,
        "children": [task_run_fields(child) for child in story.children],
        "flow_runs": [flow_run_fields(run) for run in story.flows],
        "attempts": [attempt_fields(attempt) for attempt in story.attempts],
        "logs": [log_fields(story.run, calls, line) for line in story.lines],
    })


def _print_story(store: Store, story: _Story) -> None:
    row, run = story.row, story.run
    print_fields({
        "task run": row.name,
        "state": row.state_name,
        "message": row.message,
        "id": row.id,
        "task": f"{row.task_name} ({row.task_key})",
        "map index": row.map_index,
        "flow run": f"{run.name} ({run.id})",
        "parent": f"{story.parent.name} ({story.parent.id})" if story.parent is not None
        else row.parent_task_run_id,
        "started": local_time(row.start_time),
        "ended": local_time(row.end_time),
        "took": duration(row.start_time, row.end_time),
        "executions": row.run_count,
        "CPU": cpu_text(row.cpu_s, estimated=row.cpu_estimated),
        "peak memory": memory_text(row.peak_bytes)
        + (" (of its process)" if row.peak_bytes is not None else ""),
        "worker": row.worker,
        "host": host_of(row, run.host),
        "failed first": row.cause,
        "cache key": row.key.hex() if row.key is not None else None,
        "result of": row.origin,
        "retry due": local_time(moment_of(row.due_s)) if row.due_s is not None else None,
        "error": _error(row.error_type, row.error_message),
    })
    if story.attempts:
        print_section("Executions before the last")
        print_table(
            ("n", "state", "started", "took", "error"),
            [_attempt_cells(attempt) for attempt in story.attempts],
        )
    _print_children(story)
    if row.traceback:
        print_section("Traceback")
        click.echo(printable(row.traceback.rstrip()))
    if story.lines:
        print_section("Logs")
        print_logs(store, run, story.lines, "table")


def _print_children(story: _Story) -> None:
    if story.children:
        shown, count = story.children[:_SHOWN_CHILDREN], len(story.children)
        print_section(f"Task runs inside ({count:,})")
        print_table(
            ("id", "name", "state", "started", "took", "error"),
            [
                (child.id[:13], child.name, child.state_name, local_time(child.start_time),
                 duration(child.start_time, child.end_time), _why(child)[:120])
                for child in shown
            ],
            states=[child.state_type for child in shown],
        )
        if count > len(shown):
            click.echo(f"and {count - len(shown):,} more: dataflow task-run ls --flow-run "
                       f"{story.run.id[:8]}")
    if story.flows:
        print_section("Flow runs inside")
        print_table(
            ("id", "name", "flow", "state"),
            [(run.id[:8], run.name, run.flow_name, run.state_name) for run in story.flows],
            states=[run.state_type for run in story.flows],
        )


def _attempt_cells(attempt: Attempt) -> tuple[str, ...]:
    started, ended = moment_of(attempt.started_s), moment_of(attempt.started_s + attempt.elapsed_s)
    return (
        str(attempt.attempt), STATE_OF[Code(attempt.code)][1], local_time(started),
        duration(started, ended), _error(attempt.error.type_name, attempt.error.message),
    )


def _why(row: TaskRunRow) -> str:
    return _error(row.error_type, row.error_message) or row.message or ""


def _error(type_name: str | None, message: str | None) -> str:
    return ": ".join(part for part in (type_name, message) if part)
