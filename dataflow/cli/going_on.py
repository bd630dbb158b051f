"""``dataflow flow-run cancel`` and ``dataflow flow-run watch``: runs that wait or go on.

Lives here: looking until a run has ended. Does not live here: who is asked to end it
(``service/cancelling.py``), the other commands on flow runs (``flow_runs.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from dataflow.cli.again import FAILED, OK
from dataflow.cli.options import Output, output_option
from dataflow.cli.records import flow_run_fields, moment_of, opened_store
from dataflow.cli.rendering import duration, print_json, printable
from dataflow.flow_moves import ENDS
from dataflow.service.cancelling import ask_for_the_end
from dataflow.store import FlowRunRow, Store

_LOOK_S = 0.2


@click.command()
@click.argument("ref", metavar="RUN", default="last")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 86400), default=0.0, metavar="SECONDS",
              help="Wait so long for its end.")
@output_option
def cancel(ref: str, wait_s: float, output: Output) -> int:
    """Cancel a flow run: one that waits never begins, one that goes on is interrupted.

    A run of a deployment is cancelled by its worker, on whatever host; one that was started by
    hand is interrupted as by Ctrl-C, which works on its own host.
    """
    with opened_store() as store:
        row = store.find_flow_run(ref)
        said = ask_for_the_end(store, row, time.time())
        row = _later(store, row, wait_s)
    if output == "json":
        print_json({**flow_run_fields(row), "asked": said is None})
    elif said is not None:
        click.echo(printable(said), err=True)
    else:
        click.echo(printable(f"Flow run {row.name} ({row.id}) is {row.state_name}"
                             + ("" if row.state_type in ENDS else ": asked to end")))
    return OK if said is None else FAILED


def _later(store: Store, row: FlowRunRow, wait_s: float) -> FlowRunRow:
    until = time.monotonic() + wait_s
    for now in _looks(store, row):
        row = now
        if row.state_type in ENDS or time.monotonic() >= until:
            break
    return row


@click.command()
@click.argument("ref", metavar="RUN", default="last")
@output_option
def watch(ref: str, output: Output) -> int:
    """Show the states and the log lines of a flow run as they come, until it has ended.

    Exit code 0 where it completes, 1 where it does not.
    """
    with opened_store() as store:
        row = store.find_flow_run(ref)
        shown: str | None = None
        lines = 0
        for now in _looks(store, row):
            row = now
            if output == "table":
                lines = _print_lines(store, row, lines)
                if row.state_name != shown:
                    shown = row.state_name
                    message = f": {row.message}" if row.message else ""
                    click.echo(printable(f"{row.name} is {shown}{message}"))
            if row.state_type in ENDS:
                break
    if output == "json":
        print_json(flow_run_fields(row))
    else:
        took = duration(row.start_time, row.end_time)
        if took:
            click.echo(f"It took {took}.")
    return OK if row.state_type == "COMPLETED" else FAILED


def _print_lines(store: Store, row: FlowRunRow, shown: int) -> int:
    """Print log lines that are new; return how many there are."""
    for number, (_, line) in enumerate(store.nested_logs(row.id)):
        if number >= shown:
            moment = moment_of(line.time_s).astimezone()
            click.echo(printable(f"{moment:%H:%M:%S} | {line.message}"))
            shown = number + 1
    return shown


def _looks(store: Store, row: FlowRunRow) -> Iterator[FlowRunRow]:
    """Yield a run as it stands, again and again."""
    while True:
        yield row
        time.sleep(_LOOK_S)
        row = store.find_flow_run(row.id)
