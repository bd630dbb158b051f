"""Routes on workers, pools, limits and the queue.

Lives here: lists, setting a limit. Does not live here: what a worker does (``service/worker.py``).
"""

from __future__ import annotations

from dataflow.exceptions import RequestRefused
from dataflow.server.cursors import cursor_of, parts_of
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import deployed


def workers(call: Call) -> deployed.Workers:
    """List workers."""
    return deployed.Workers(
        items=[deployed.worker_shape(row) for row in call.store.agenda().workers()])


def pools(call: Call) -> deployed.Pools:
    """List pools."""
    return deployed.Pools(
        items=[deployed.pool_shape(row) for row in call.store.agenda().pools()])


def limits(call: Call) -> deployed.Limits:
    """List limits."""
    return deployed.Limits(
        items=[deployed.limit_shape(row) for row in call.store.agenda().limits()])


def set_limit(call: Call) -> deployed.LimitShape:
    """Set a limit, or take it away."""
    body, agenda = call.given(deployed.LimitBody), call.store.agenda()
    if body.kind == "queue" and not all(body.name.partition("/")):
        raise RequestRefused(
            f"{body.name!r} names no queue.", status=422,
            what_to_do="A queue is named with its pool: pool/queue.")
    agenda.set_limit(body.kind, body.name, body.limit)
    name = agenda.deployment(body.name).name if body.kind == "deployment" else body.name
    found = (row for row in agenda.limits() if (row.kind, row.name) == (body.kind, name))
    row = next(found, None)
    return deployed.limit_shape(row) if row is not None else deployed.LimitShape(
        kind=body.kind, name=name, limit=None, running=0)


def queue(call: Call) -> deployed.QueuedRuns:
    """List what waits or was taken."""
    asked = call.asked(deployed.QueueQuery)
    after = None if asked.cursor is None else parts_of(asked.cursor, float, str)
    rows = call.store.agenda().in_queue(
        pool=asked.pool, phase=asked.phase, limit=asked.limit + 1,
        after=None if after is None else (after[0], after[1]))
    page = rows[:asked.limit]
    last = page[-1] if len(rows) > len(page) else None
    return deployed.QueuedRuns(
        items=[deployed.queued_run_shape(each) for each in page],
        next=None if last is None else cursor_of(float(last.due_s), last.flow_run_id))


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/workers", name="workers", view=workers,
          gives=deployed.Workers, about="Workers, the last one seen first."),
    Route(method="GET", path=f"{PREFIX}/pools", name="pools", view=pools,
          gives=deployed.Pools, about="Work pools, by name."),
    Route(method="GET", path=f"{PREFIX}/limits", name="limits", view=limits,
          gives=deployed.Limits, about="Limits of tags, queues, pools and deployments."),
    Route(method="POST", path=f"{PREFIX}/limits", name="set_limit", view=set_limit,
          gives=deployed.LimitShape, takes=deployed.LimitBody, errors=(404,),
          about="Set how many runs may go on at the same time; null takes the limit away."),
    Route(method="GET", path=f"{PREFIX}/queue", name="queue", view=queue,
          gives=deployed.QueuedRuns, query=deployed.QueueQuery,
          about="Runs that wait or were taken, the first due first."),
)
