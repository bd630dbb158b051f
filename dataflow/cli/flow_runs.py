"""``dataflow flow-run``: ls, inspect, logs, graph, cancel, watch, resume, retry, perform.

Lives here: what is asked of the store and what of it is shown. Does not live
here: ``cancel`` and ``watch`` (``going_on.py``), ``resume`` and ``retry`` (``again.py``),
keys of JSON and log lines (``records.py``), layout (``rendering.py``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from dataflow.agenda import QueuedRun
from dataflow.cli.again import resume, retry
from dataflow.cli.agenda_rows import queued_fields
from dataflow.cli.going_on import cancel, watch
from dataflow.cli.options import FLOW_RUN_STATES, Output, limit_option, output_option, state_option
from dataflow.cli.performing import perform
from dataflow.cli.records import (
    chosen_lines,
    flow_run_fields,
    moment_of,
    opened_store,
    print_logs,
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
from dataflow.cli.usage_rows import Usages, cpu_text, memory_text, together, usages_of
from dataflow.store import CallRow, FlowRunRow, Store

_COUNTED_FAILURES = 50_000  # elements of a state read to group them: some 2 s
_SHOWN_GROUPS = 10
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@click.group()
def flow_run() -> None:
    """Look at flow runs; go on with one that did not complete."""


flow_run.add_command(cancel)
flow_run.add_command(perform)
flow_run.add_command(watch)
flow_run.add_command(resume)
flow_run.add_command(retry)


@flow_run.command()
@limit_option(20, "flow runs")
@state_option(FLOW_RUN_STATES)
@click.option("--flow", metavar="NAME", help="Only of the flow of this name.")
@output_option
def ls(limit: int, state: str | None, flow: str | None, output: Output) -> None:
    """List flow runs, newest first."""
    with opened_store() as store:
        rows = store.flow_runs(limit=limit, state=state, flow=flow)
    if output == "json":
        print_json([flow_run_fields(row) for row in rows])
        return
    print_table(
        ("id", "name", "flow", "state", "started", "took"),
        [
            (
                row.id[:8], row.name, row.flow_name, row.state_name, local_time(row.start_time),
                duration(row.start_time, row.end_time),
            )
            for row in rows
        ],
        states=[row.state_type for row in rows],
    )


@flow_run.command()
@click.argument("ref", default="last")
@output_option
def inspect(ref: str, output: Output) -> None:
    """Show a flow run: its tasks with counts by state, its failures grouped by error.

    REF is an id, the front of one, a name, or `last` (the default).
    """
    with opened_store() as store:
        run = store.find_flow_run(ref)
        calls = store.calls(run.id, nested=True)
        failures = _failures(store, run.id)
        usages = usages_of(store, run.id)
        queued = store.agenda().queued(run.id)
    if output == "json":
        print_json({
            **flow_run_fields(run),
            "deployment": None if queued is None else queued_fields(queued, run),
            "traceback": run.traceback,
            "calls": [_call_fields(call, usages) for call in calls],
            "failures": [failure._asdict() for failure in failures],
        })
        return
    _print_head(run, queued)
    _print_calls(calls, usages)
    _print_faults(calls)
    _print_failures(failures)
    if run.traceback:
        print_section("Error of the flow")
        click.echo(printable(run.traceback.rstrip()))


@flow_run.command()
@click.argument("ref", default="last")
@limit_option(None, "lines")
@click.option("--tail", is_flag=True, help="With --limit: the last lines, not the first.")
@click.option(
    "--level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
                                 case_sensitive=False),
    help="Only lines at or above this level.",
)
@output_option
def logs(ref: str, limit: int | None, tail: bool, level: str | None, output: Output) -> None:
    """Show the log lines of a flow run and its task runs, in time order."""
    with opened_store() as store:
        run = store.find_flow_run(ref)
        at_once = None if tail or level else limit
        lines = store.nested_logs(run.id, limit=at_once)
        print_logs(store, run, chosen_lines(lines, level, limit, tail), output)


@flow_run.command()
@click.argument("ref", default="last")
@click.option("--mermaid", is_flag=True, help="As a Mermaid flowchart.")
@output_option
def graph(ref: str, mermaid: bool, output: Output) -> None:
    """Show what the calls of a flow run take from each other; a map is one line.

    REF is an id, the front of one, a name, or `last` (the default).
    """
    from dataflow.flow_graph import recorded_graph

    with opened_store() as store:
        drawn = recorded_graph(store, store.find_flow_run(ref))
    if output == "json":
        print_json({
            "title": drawn.title,
            "nodes": [{"name": node.name, "kind": node.kind, "elements": node.elements,
                       "counts": dict(node.counts)} for node in drawn.nodes],
            "edges": [list(edge) for edge in drawn.edges]})
        return
    click.echo(printable(drawn.mermaid() if mermaid else drawn.text()))


class _Failure(NamedTuple):
    """Failures that read alike: numbers in a message make no difference."""

    task_name: str
    error_type: str | None
    message: str
    elements: int
    example: str  # a task run's id


def _failures(store: Store, flow_run_id: str) -> list[_Failure]:
    counts: Counter[tuple[str, str | None, str]] = Counter()
    first: dict[tuple[str, str | None, str], tuple[str, str]] = {}
    for state in ("FAILED", "CRASHED"):
        for row in store.task_runs(flow_run_id, state=state, limit=_COUNTED_FAILURES):
            message = row.error_message or row.message or ""
            group = row.task_name, row.error_type, _NUMBER.sub("#", message)
            counts[group] += 1
            first.setdefault(group, (message, row.id))
    return [
        _Failure(group[0], group[1], first[group][0] if n == 1 else group[2], n, first[group][1])
        for group, n in counts.most_common()
    ]


def _call_fields(call: CallRow, usages: Usages) -> dict[str, Any]:
    cpu_s, peak_bytes = together(usages, [call])
    return {
        "call": call.call,
        "parent_task_run_id": call.parent_task_run_id,
        "task_name": call.task_name,
        "task_key": call.task_key,
        "kind": call.kind,
        "width": call.width,
        "counts": call.counts,
        "fault": call.fault,
        "upstream": list(call.upstream),
        "tags": list(call.tags),
        "created": call.created,
        "cpu_seconds": cpu_s,
        "peak_memory_bytes": peak_bytes,
    }


def _print_head(run: FlowRunRow, queued: QueuedRun | None) -> None:
    print_fields({
        "flow run": run.name,
        "state": run.state_name,
        "message": run.message,
        "id": run.id,
        "flow": run.flow_name + (f" {run.flow_version}" if run.flow_version else ""),
        "created": local_time(run.created),
        "started": local_time(run.start_time),
        "ended": local_time(run.end_time),
        "took": duration(run.start_time, run.end_time),
        "CPU": cpu_text(run.cpu_s),
        "peak memory": memory_text(run.peak_bytes),
        "run count": run.run_count if run.run_count > 1 else None,
        "resumed": f"{run.resumed} times" if run.resumed > 1 else "once" if run.resumed else None,
        "runner": run.runner,
        "dashboard": run.dashboard_link,
        "process": f"{run.pid} on {run.host}" if run.pid is not None else None,
        "driven by": _owner(run),
        "entry point": run.entrypoint,
        "deployment": _deployment(queued),
        "parent": run.parent_flow_run_id,
        "parent task run": run.parent_task_run_id,
        "tags": ", ".join(run.tags),
        "parameters": run.parameters if run.parameters != "{}" else None,
    })


def _deployment(queued: QueuedRun | None) -> str | None:
    """Return which deployment made a run, why, and who has it."""
    if queued is None:
        return None
    facts = [f"{queued.deployment}, version {queued.version}", queued.cause or "",
             f"due {local_time(moment_of(queued.due_s))}",
             f"worker {queued.worker}" if queued.worker else queued.phase]
    return ", ".join(fact for fact in facts if fact)


def _owner(run: FlowRunRow) -> str | None:
    """Return who holds the run, and until when unless that one goes on."""
    if run.owner is None:
        return None
    until = "" if run.lease_until_s is None else (
        f", lease until {local_time(moment_of(run.lease_until_s))}")
    return f"{run.owner}{until}"


def _print_calls(calls: Sequence[CallRow], usages: Usages) -> None:
    """Print one row per map, and one per task for all its single calls; then what tasks ran."""
    _print_tasks("Tasks", [call for call in calls if call.parent_task_run_id is None], True,
                 usages)
    _print_tasks("Inside of task runs",
                 [call for call in calls if call.parent_task_run_id is not None], False, usages)


def _print_tasks(title: str, calls: Sequence[CallRow], each_map: bool, usages: Usages) -> None:
    rows: dict[tuple[str, str, int | None], list[CallRow]] = {}
    for call in calls:
        number = call.call if each_map and call.kind == "map" else None
        rows.setdefault((call.task_name, call.kind, number), []).append(call)
    if rows:
        print_section(title)
        print_table(
            ("task", "kind", "elements", "CPU", "peak memory", "states"),
            [(task, kind, *_call_cells(calls, usages)) for (task, kind, _), calls in rows.items()],
        )


def _call_cells(calls: Sequence[CallRow], usages: Usages) -> tuple[str, ...]:
    widths = [call.width for call in calls]
    counts: Counter[str] = Counter()
    for call in calls:
        counts.update(call.counts)
    cpu_s, peak_bytes = together(usages, calls)
    return (
        "?" if None in widths else f"{sum(width or 0 for width in widths):,}", cpu_text(cpu_s),
        memory_text(peak_bytes), ", ".join(f"{name} {n:,}" for name, n in counts.items()),
    )


def _print_faults(calls: Sequence[CallRow]) -> None:
    """Print the maps that failed as a whole, and so have no element to say it."""
    faulty = [(call.task_name, call.fault) for call in calls if call.fault is not None]
    if faulty:
        print_section("Maps that failed as a whole")
        print_table(("task", "error"), faulty)


def _print_failures(failures: Sequence[_Failure]) -> None:
    if not failures:
        return
    counted = sum(each.elements for each in failures)
    some = f" (of the first {counted:,})" if counted >= _COUNTED_FAILURES else ""
    print_section("Failures by error" + some)
    print_table(
        ("elements", "task", "error", "one of them"),
        [
            (
                f"{each.elements:,}", each.task_name,
                ": ".join(part for part in (each.error_type, each.message) if part)[:200],
                each.example,
            )
            for each in failures[:_SHOWN_GROUPS]
        ],
    )
    if len(failures) > _SHOWN_GROUPS:
        rest = sum(each.elements for each in failures[_SHOWN_GROUPS:])
        click.echo(f"and {rest:,} more with {len(failures) - _SHOWN_GROUPS} other errors")
