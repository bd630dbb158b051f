"""The table of routes: all that can be asked.

Lives here: the list, of the routes of each matter. Does not live here: any route
(``views/``). A new matter is a module there and a line here.
"""

from __future__ import annotations

from dataflow.server.routes import Route
from dataflow.server.views import (
    deployments,
    events,
    flow_runs,
    logs,
    process,
    task_runs,
    webhooks,
    workers,
)

ROUTES: tuple[Route, ...] = (
    *process.ROUTES,
    *flow_runs.ROUTES,
    *task_runs.ROUTES,
    *logs.ROUTES,
    *deployments.ROUTES,
    *workers.ROUTES,
    *events.ROUTES,
    *webhooks.ROUTES,
)
