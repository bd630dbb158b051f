"""``dataflow task-run why``.

Lives here: which task run is asked about, and how the answer is shown. Does not
live here: the answer (``dataflow.explaining``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataflow.cli.elements import chosen
from dataflow.cli.options import Output, element_options, output_option
from dataflow.cli.records import moment_of, opened_store
from dataflow.cli.rendering import print_json, printable
from dataflow.exceptions import RunNotFound
from dataflow.store import Store, TaskRunRow

if TYPE_CHECKING:
    from dataflow.explaining import Explanation


@click.command()
@click.argument("ref", metavar="RUN", required=False)
@element_options
@output_option
def why(
    ref: str | None, flow_run: str | None, map_index: int | None, task: str | None, output: Output
) -> None:
    """Say why a task run ran, or why it did not: what changed since the nearest old result.

    RUN is a task run (id, the front of one, name), or, with --map-index or --task, the
    flow run it belongs to (`last` by default).
    """
    from dataflow.explaining import explain

    with opened_store() as store:
        row = _asked(store, ref, flow_run, map_index, task)
        told = explain(store, row)
    if output == "json":
        print_json(_fields(told, row))
    else:
        click.echo(printable(str(told)))


def _asked(store: Store, ref: str | None, flow_run: str | None, map_index: int | None,
           task: str | None) -> TaskRunRow:
    if ref is not None and (map_index is not None or task is not None):
        return chosen(store, None, flow_run or ref, map_index, task)
    if ref is None or flow_run is not None:
        return chosen(store, ref, flow_run, map_index, task)
    try:
        return chosen(store, ref, None, None, None)
    except RunNotFound as error:
        if getattr(error, "matches", None):
            raise
        return _only_one(store, ref, error)


def _only_one(store: Store, ref: str, error: RunNotFound) -> TaskRunRow:
    """Return the task run of a flow run that has one alone."""
    try:
        run = store.find_flow_run(ref)
    except RunNotFound:
        raise error from None
    rows = store.task_runs(run.id, limit=2)
    if len(rows) != 1:
        raise click.UsageError(
            f"Flow run {run.name} has {'several' if rows else 'no'} task runs: say which, by "
            "--task and --map-index.")
    return rows[0]


def _fields(told: Explanation, row: TaskRunRow) -> dict[str, Any]:
    origin = told.nearest
    return {
        "task_run_id": told.task_run_id, "name": told.name, "state_name": told.state,
        "verdict": told.verdict, "reasons": list(told.reasons),
        "key": row.key.hex() if row.key is not None else None,
        "nearest": None if origin is None else {
            "flow_run_id": origin.run_id or None, "flow_run_name": origin.run_name or None,
            "task_name": origin.task_name, "call": origin.call, "map_index": told.nearest_index,
            "created": moment_of(origin.created_s),
        },
    }
