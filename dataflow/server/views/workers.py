"""Routes on workers, pools and the queue.

Lives here: lists. Does not live here: what a worker does (``service/worker.py``).
"""

from __future__ import annotations

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
    Route(method="GET", path=f"{PREFIX}/queue", name="queue", view=queue,
          gives=deployed.QueuedRuns, query=deployed.QueueQuery,
          about="Runs that wait or were taken, the first due first."),
)
