"""``dataflow flow-run resume`` and ``dataflow flow-run retry``.

Lives here: from a run in the store to its flow, or back into the queue, and the exit
code. Does not live here: finding the flow (``dataflow.entrypoints``), going on with the run
(``dataflow.flow_resume``). The user's file is imported, so everything heavy is
imported when a command is called.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.records import flow_run_fields, opened_store
from dataflow.cli.rendering import print_json, printable
from dataflow.exceptions import ResumeError, RunNotFound, RunOwned
from dataflow.flow_moves import ENDS
from dataflow.store import FlowRunRow, Store

OK, FAILED = 0, 1


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        output_option,
        click.option("--here", is_flag=True,
                     help="In this process, also where a deployment made the run."),
        click.option("--watch", is_flag=True,
                     help="Wait for the end of a run that is put into the queue."),
        click.option("--take-over", is_flag=True,
                     help="Here, also where another process holds the run and may be alive."),
        click.argument("ref", metavar="[RUN]", default="last"),
    ):
        command = option(command)
    return command


@click.command()
@_options
def resume(ref: str, take_over: bool, here: bool, watch: bool, output: Output) -> int:
    """Go on with a flow run that did not complete: under its id, with its parameters.

    What completed or failed stands; what was under way, cancelled or not begun runs.
    RUN is an id, the front of one, a name, or `last` (the default).

    The run of a deployment is put into the queue once more, for a worker, with the version that
    it was made with. Any other run goes on in this process, which imports the file of its flow.
    Exit code 0 where the run completes, or waits; 1 where it does not complete.
    """
    return _again("resume", ref, output, here=here, watch=watch, take_over=take_over)


@click.command()
@_options
def retry(ref: str, take_over: bool, here: bool, watch: bool, output: Output) -> int:
    """Run again what failed in a flow run, with what depends on it; as `resume`, else."""
    return _again("retry", ref, output, here=here, watch=watch, take_over=take_over)


def _again(verb: str, ref: str, output: Output, *, here: bool, watch: bool,
           take_over: bool) -> int:
    with opened_store() as store:
        row = _run(store, ref)
        queued = not here and not take_over and store.agenda().queued(row.id) is not None
        if queued:
            _put_back(store, row, verb)
            row = _waited(store, row.id, watch)
    if not queued:
        row = _here(verb, row, take_over)
    if output == "json":
        print_json(flow_run_fields(row))
    else:
        message = f": {row.message}" if row.message else ""
        click.echo(printable(f"Flow run {row.name} ({row.id}) is {row.state_name}{message}"))
        if row.state_type not in ENDS:
            click.echo(f"Watch it: dataflow flow-run watch {row.id[:8]}")
    return OK if row.state_type == "COMPLETED" or row.state_type not in ENDS else FAILED


def _put_back(store: Store, row: FlowRunRow, verb: str) -> None:
    """Let the run of a deployment wait for a worker once more. Raises ResumeError."""
    if verb == "resume" and row.state_type == "COMPLETED":
        raise ResumeError(
            f"Flow run {row.name!r} is COMPLETED: there is nothing to resume. Retry it if task "
            "runs in it failed, or have its deployment run.", flow_run_id=row.id)
    if row.state_type not in ENDS or not store.agenda().again(
            row.id, time.time(), retry=verb == "retry"):
        raise ResumeError(
            f"Flow run {row.name!r} is {row.state_name}: it waits for a worker or goes on, nothing "
            f"was changed. Watch it: dataflow flow-run watch {row.id[:8]}", flow_run_id=row.id)


def _waited(store: Store, flow_run_id: str, watch: bool) -> FlowRunRow:
    from dataflow.service.asking import POLL_S, waited

    return waited(store, flow_run_id, None if watch else 0.0, POLL_S)


def _here(verb: str, row: FlowRunRow, take_over: bool) -> FlowRunRow:
    """Go on with a run in this process; return it as it ended."""
    from dataflow.entrypoints import load_flow

    if row.entrypoint is None:
        raise ResumeError(
            f"Flow run {row.name!r} does not say where its flow {row.flow_name!r} stands: it was "
            f"made in no file. Call the flow's .{verb}({row.id[:8]!r}) in a program that has it.",
            flow_run_id=row.id)
    flow = load_flow(row.entrypoint)
    if flow.name != row.flow_name:
        flow = flow.with_options(name=row.flow_name)
    try:
        state = getattr(flow, verb)(row.id, take_over=take_over, return_state=True)
        if inspect.isawaitable(state):
            state = asyncio.run(_awaited(state))
    except RunOwned as error:
        if take_over:
            raise
        raise RunOwned(f"{error} Or have it in any case: --take-over.",
                       flow_run_id=row.id, owner=error.owner, until_s=error.until_s) from None
    with opened_store() as store:
        return store.find_flow_run(row.id)


async def _awaited(state: Any) -> Any:
    return await state


def _run(store: Store, ref: str) -> FlowRunRow:
    """Return the run that is meant; ``last`` is one that no other run called."""
    if ref != "last":
        return store.find_flow_run(ref)
    row = next((row for row in store.flow_runs(limit=100) if row.parent_flow_run_id is None), None)
    if row is None:
        raise RunNotFound("There are no flow runs yet.", ref=ref, matches=[])
    return row
