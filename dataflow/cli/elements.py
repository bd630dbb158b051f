"""Which task run is meant: by a reference, or by flow run, task and map index.

Lives here: what the options of ``task-run`` commands come to. Does not live
here: the options (``options.py``), what is shown.
"""

from __future__ import annotations

import click

from dataflow.exceptions import RunNotFound
from dataflow.store import FlowRunRow, Store, TaskRunRow


def listed(
    store: Store, run: FlowRunRow | None, task: str | None, state: str | None,
    map_index: int | None, limit: int,
) -> list[TaskRunRow]:
    """Return the task runs that the options leave; None: of any flow run."""
    if run is None:
        return store.task_runs(state=state, map_index=map_index, limit=limit)
    if task is None:
        return store.task_runs(run.id, state=state, map_index=map_index, limit=limit)
    rows: list[TaskRunRow] = []
    for run_id, call in _calls_of(store, run, task):
        if len(rows) < limit:
            rows += store.task_runs(
                run_id, state=state, call=call, map_index=map_index, limit=limit - len(rows)
            )
    return rows


def _calls_of(store: Store, run: FlowRunRow, task: str) -> list[tuple[str, int]]:
    calls = store.calls(run.id, nested=True)
    found = [(call.run_id, call.call) for call in calls if call.task_name == task]
    if not found:
        names = ", ".join(sorted({call.task_name for call in calls})) or "none"
        raise RunNotFound(
            f"Flow run {run.name} called no task {task!r}; it called: {names}.",
            ref=task, matches=[],
        )
    return found


def chosen(
    store: Store, ref: str | None, flow_run: str | None, map_index: int | None, task: str | None
) -> TaskRunRow:
    """Return the one task run that the arguments mean.

    Raises
    ------
    RunNotFound
        None answers to them, or several do.
    """
    if ref is not None:
        if map_index is not None or task is not None:
            raise click.UsageError("Give either REF or --map-index and --task, not both.")
        run_id = None if flow_run is None else store.find_flow_run(flow_run).id
        return store.find_task_run(ref, run_id)
    if map_index is None and task is None:
        raise click.UsageError("Name a task run: by REF, or by --flow-run with --map-index.")
    run = store.find_flow_run(flow_run or "last")
    rows = listed(store, run, task, None, map_index, limit=20)
    if len(rows) == 1:
        return rows[0]
    asked = " ".join(
        part
        for part in (
            f"of task {task!r}" if task is not None else "",
            f"with map index {map_index}" if map_index is not None else "",
        )
        if part
    )
    if not rows:
        raise RunNotFound(
            f"Flow run {run.name} has no task run {asked} with an outcome.", ref=asked, matches=[]
        )
    lines = "\n".join(f"  {row.id}  {row.name}" for row in rows)
    raise RunNotFound(
        f"Flow run {run.name} has several task runs {asked}; give an id, or more of "
        f"--task and --map-index:\n{lines}",
        ref=asked, matches=[row.id for row in rows],
    )
