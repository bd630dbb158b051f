"""Routes on task runs: the elements of a flow run, and one of them.

Lives here: lists and details. Does not live here: their log lines (``logs.py``).
"""

from __future__ import annotations

from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.paths import run_id
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import runs
from dataflow.server.views.flow_runs import flow_run_of


def task_runs(call: Call) -> runs.TaskRuns:
    """List the elements of a flow run."""
    asked = call.asked(runs.TaskRunsQuery)
    row = flow_run_of(call)
    after = None if asked.cursor is None else parts_of(asked.cursor, str, int, int)
    rows = call.store.task_runs(
        row.id, state=asked.state, call=asked.call, map_index=asked.map_index,
        limit=asked.limit + 1, after=None if after is None else (after[0], after[1], after[2]))
    page = rows[:asked.limit]
    last = page[-1] if len(rows) > len(page) else None
    return runs.TaskRuns(
        items=[runs.task_run_shape(each) for each in page],
        next=None if last is None else cursor_of(last.run_id, last.call, last.map_index or 0))


def task_run(call: Call) -> runs.TaskRunDetails:
    """Show a task run."""
    row = call.store.find_task_run(run_id(call.path["id"], "task run"))
    attempts = call.store.attempts(row.run_id, row.call, row.map_index or 0)
    return runs.TaskRunDetails(
        **runs.task_run_facts(row), traceback=row.traceback,
        attempts=[runs.attempt_shape(each) for each in attempts])


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/flow-runs/{{id}}/task-runs", name="task_runs",
          view=task_runs, gives=runs.TaskRuns, query=runs.TaskRunsQuery,
          about="Elements of a flow run, by call and index; those of task runs after its own."),
    Route(method="GET", path=f"{PREFIX}/task-runs/{{id}}", name="task_run", view=task_run,
          gives=runs.TaskRunDetails, about="One task run, with its executions."),
)
