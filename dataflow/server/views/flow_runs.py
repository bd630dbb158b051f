"""Routes on flows and flow runs.

Lives here: lists, details, cancelling. Does not live here: elements
(``task_runs.py``), log lines (``logs.py``).
"""

from __future__ import annotations

from dataflow.exceptions import RequestRefused, RunNotFound, StoreError
from dataflow.records import FlowRunRow
from dataflow.server.cursors import bad_cursor, cursor_of, parts_of
from dataflow.server.paths import run_id
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import runs
from dataflow.server.shapes.deployed import QueuedRunShape, queued_run_shape
from dataflow.server.shapes.pages import PageQuery
from dataflow.service.cancelling import ask_for_the_end

CALLS_SHOWN = 1_000


def flow_run_of(call: Call) -> FlowRunRow:
    """Return the flow run whose id stands in the path. Raises RunNotFound."""
    return call.store.find_flow_run(run_id(call.path["id"], "flow run"))


def flows(call: Call) -> runs.Flows:
    """List flows that have runs."""
    asked = call.asked(PageQuery)
    after = None if asked.cursor is None else parts_of(asked.cursor, str)[0]
    rows = call.store.flows(limit=asked.limit + 1, after=after)
    page = rows[:asked.limit]
    return runs.Flows(items=[runs.flow_shape(row) for row in page],
                      next=cursor_of(page[-1].name) if len(rows) > len(page) else None)


def flow_runs(call: Call) -> runs.FlowRuns:
    """List flow runs."""
    asked = call.asked(runs.FlowRunsQuery)
    before = None if asked.cursor is None else parts_of(asked.cursor, str)[0]
    try:
        rows = call.store.flow_runs(
            limit=asked.limit + 1, state=asked.state, flow=asked.flow,
            deployment=asked.deployment, tag=asked.tag, before=before,
            since_s=None if asked.since is None else asked.since.timestamp())
    except RunNotFound:
        raise bad_cursor() from None
    return flow_runs_page(rows, asked.limit)


def flow_runs_page(rows: list[FlowRunRow], limit: int) -> runs.FlowRuns:
    """Return a page of flow runs; ``rows`` has one more where another page follows."""
    page = rows[:limit]
    return runs.FlowRuns(items=[runs.flow_run_shape(row) for row in page],
                         next=cursor_of(page[-1].id) if len(rows) > len(page) else None)


def flow_run(call: Call) -> runs.FlowRunDetails:
    """Show a flow run."""
    row = flow_run_of(call)
    calls = call.store.calls(row.id, nested=True)
    used = {(each.run_id, each.call): each for each in call.store.usage(row.id)}
    return runs.FlowRunDetails(
        **runs.flow_run_facts(row), traceback=row.traceback, deployment=_queued(call, row.id),
        calls=[runs.call_shape(each, used.get((each.run_id, each.call)))
               for each in calls[:CALLS_SHOWN]],
        calls_left_out=max(0, len(calls) - CALLS_SHOWN))


def _queued(call: Call, flow_run_id: str) -> QueuedRunShape | None:
    try:
        found = call.store.agenda().queued(flow_run_id)
    except StoreError as error:
        if vars(error).get("reason") != "no agenda":
            raise
        return None
    return None if found is None else queued_run_shape(found)


def cancel(call: Call) -> runs.CancelAnswer:
    """Ask for the end of a flow run."""
    row = flow_run_of(call)
    said = ask_for_the_end(call.store, row, call.now_s)
    if said is not None:
        raise RequestRefused(said, status=409, what_to_do="Look at the run: its state says why.")
    now = call.store.find_flow_run(row.id)
    return runs.CancelAnswer(flow_run_id=now.id, state_type=now.state_type,
                             state_name=now.state_name)


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/flows", name="flows", view=flows, gives=runs.Flows,
          about="Flows that have runs.", query=PageQuery),
    Route(method="GET", path=f"{PREFIX}/flow-runs", name="flow_runs", view=flow_runs,
          gives=runs.FlowRuns, about="Flow runs, the newest first.", query=runs.FlowRunsQuery),
    Route(method="GET", path=f"{PREFIX}/flow-runs/{{id}}", name="flow_run", view=flow_run,
          gives=runs.FlowRunDetails, about="One flow run, with its calls counted."),
    Route(method="POST", path=f"{PREFIX}/flow-runs/{{id}}/cancel", name="cancel_flow_run",
          view=cancel, gives=runs.CancelAnswer, status=202, errors=(409,),
          about="Cancel a run that waits; ask for the end of one that goes on."),
)
