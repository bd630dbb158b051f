"""``dataflow flow-run resume`` and ``dataflow flow-run retry``.

Lives here: from a run in the store to its flow, and its exit code. Does not
live here: finding the flow (``dataflow.entrypoints``), going on with the run
(``dataflow.flow_resume``). The user's file is imported, so everything heavy is
imported when a command is called.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.records import flow_run_fields, opened_store
from dataflow.cli.rendering import print_json, printable
from dataflow.exceptions import ResumeError, RunNotFound, RunOwned
from dataflow.store import FlowRunRow, Store

OK, FAILED = 0, 1


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        output_option,
        click.option("--take-over", is_flag=True,
                     help="Also where another process holds the run and may be alive."),
        click.argument("ref", metavar="RUN", default="last"),
    ):
        command = option(command)
    return command


@click.command()
@_options
def resume(ref: str, take_over: bool, output: Output) -> int:
    """Go on with a flow run that did not complete: under its id, with its parameters.

    What completed or failed stands; what was under way, cancelled or not begun runs.
    RUN is an id, the front of one, a name, or `last` (the default). The file of the flow
    is imported. Exit code 0 where the run completes, 1 where it does not.
    """
    return _again("resume", ref, take_over, output)


@click.command()
@_options
def retry(ref: str, take_over: bool, output: Output) -> int:
    """Run again what failed in a flow run, with what depends on it; as `resume`, else."""
    return _again("retry", ref, take_over, output)


def _again(verb: str, ref: str, take_over: bool, output: Output) -> int:
    from dataflow.entrypoints import load_flow

    with opened_store() as store:
        row = _run(store, ref)
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
        row = store.find_flow_run(row.id)
    if output == "json":
        print_json(flow_run_fields(row))
    else:
        message = f": {row.message}" if row.message else ""
        click.echo(printable(f"Flow run {row.name} ({row.id}) is {row.state_name}{message}"))
    return OK if state.is_completed() else FAILED


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
