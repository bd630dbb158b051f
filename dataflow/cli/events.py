"""``dataflow event``: ls, emit, stream.

Lives here: the options, and what is shown of an event. Does not live here: events
(``events.py``, the store's event log).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from dataflow.cli.options import Output, limit_option, output_option, parameter
from dataflow.cli.records import moment_of, opened_store
from dataflow.cli.rendering import iso, local_time, print_json, print_table, printable
from dataflow.event_following import EventFollower
from dataflow.event_log import EventLog, EventRow

_POLL_S = 0.25
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@click.group()
def event() -> None:
    """What happened: changes of state, and what flows and others emitted."""


def _filters(command: Any) -> Any:
    for option in (
        click.option("--run", "flow_run", metavar="REF",
                     help="Only of this flow run: id, beginning of it, name, or last."),
        click.option("--resource", "-r", metavar="GLOB", help="Only of these resources."),
        click.option("--name", "-e", metavar="GLOB",
                     help="Only events of these names, e.g. 'orders.*' or '*.Failed'."),
    ):
        command = option(command)
    return command


@event.command()
@_filters
@click.option("--since", metavar="TIME",
              help="Only later ones: 90s, 10m, 2h, 3d ago, or a time as ISO 8601.")
@limit_option(50, "events")
@output_option
def ls(name: str | None, resource: str | None, flow_run: str | None, since: str | None,
       limit: int, output: Output) -> None:
    """List events, the newest first."""
    with opened_store() as store:
        run_id = None if flow_run is None else store.find_flow_run(flow_run).id
        rows = store.events().events(
            name=name, resource=resource, flow_run_id=run_id, since_s=_since_s(since),
            limit=limit)
    if output == "json":
        print_json([event_fields(row) for row in rows])
        return
    print_table(
        ("time", "event", "resource", "flow run", "details"),
        [(local_time(moment_of(row.occurred_s)), row.name, _resource(row),
          row.flow_run_name or "", _details(row)) for row in rows],
        states=[row.state_type or "" for row in rows])


@event.command()
@click.argument("name")
@click.option("--resource", "-r", metavar="ID", help="What it happened to.")
@click.option("--payload", "-p", "pairs", multiple=True, metavar="NAME=VALUE",
              help="One field of the payload, JSON or a text; may be repeated.")
@click.option("--id", "event_id", metavar="ID",
              help="The same id again is the same event: it is put down once.")
@output_option
def emit(name: str, resource: str | None, pairs: tuple[str, ...], event_id: str | None,
         output: Output) -> None:
    """Put an event down; triggers that wait for it start what follows."""
    from dataflow.events import emit_event

    made = emit_event(name, resource, dict(map(parameter, pairs)), id=event_id)
    if output == "json":
        print_json({"id": made.id, "name": made.name, "resource": made.resource,
                    "payload": made.payload})
    else:
        click.echo(f"{printable(made.name, newlines=False)}  {made.id}")


@event.command()
@_filters
@click.option("--count", "-n", type=click.IntRange(1), help="End after so many.")
@click.option("--seconds", type=click.FloatRange(0.0), help="End after so long.")
@output_option
def stream(name: str | None, resource: str | None, flow_run: str | None, count: int | None,
           seconds: float | None, output: Output) -> None:
    """Show events as they come, until Ctrl-C; with --output json one object a line."""
    until = None if seconds is None else time.monotonic() + seconds
    with opened_store() as store:
        run_id = None if flow_run is None else store.find_flow_run(flow_run).id
        for number, row in enumerate(
                _coming(store.events(), until, name=name, resource=resource,
                        flow_run_id=run_id), 1):
            _show(row, output)
            if number == count:
                return


def _coming(log: EventLog, until: float | None, **wanted: Any) -> Iterator[EventRow]:
    """Yield events that are put down from now on."""
    follower = EventFollower(log, **wanted)
    while True:
        yield from follower.step()
        if until is not None and time.monotonic() >= until:
            return
        time.sleep(_POLL_S)


def _show(row: EventRow, output: Output) -> None:
    if output == "json":
        click.echo(json.dumps(event_fields(row), ensure_ascii=False))
        return
    shown = (local_time(moment_of(row.occurred_s)), row.name, _resource(row), _details(row))
    click.echo("  ".join(printable(each, newlines=False) for each in shown if each))


def event_fields(row: EventRow) -> dict[str, Any]:
    """Return an event as JSON."""
    fields = {
        "id": row.id, "key": row.key, "name": row.name, "occurred": iso(moment_of(row.occurred_s)),
        "resource": row.resource, "payload": row.payload, "flow_run_id": row.flow_run_id,
        "flow_run_name": row.flow_run_name, "flow_name": row.flow_name,
        "deployment": row.deployment, "tags": list(row.tags)}
    if row.state_type is not None:
        fields |= {"state_type": row.state_type, "state_name": row.state_name,
                   "message": row.message, "run_count": row.run_count}
    return fields


def _resource(row: EventRow) -> str:
    return "" if row.state_type is not None else row.resource or ""


def _details(row: EventRow) -> str:
    text = row.message or (json.dumps(row.payload, ensure_ascii=False) if row.payload else "")
    return text if len(text) <= 80 else text[:79] + "…"


def _since_s(text: str | None) -> float | None:
    if text is None:
        return None
    span = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if span:
        return time.time() - float(span[1]) * _UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: write 90s, 10m, 2h, 3d, or 2026-11-28T09:00.",
            param_hint="--since") from None
    return moment.timestamp()  # without an offset it is of this machine's zone, as it is shown
