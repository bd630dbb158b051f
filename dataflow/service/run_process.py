"""The process of one run: it gets an order on its stdin.

Lives here: getting ready before the order comes, loading the flow, driving the
run, the exit code. Does not live here: who starts the process (``processes.py``).

It is started ahead of time: what a run needs is imported when the order comes,
so that a run begins some 10 ms after it is due, not 700.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from pathlib import Path
from typing import Any

from dataflow.deployed_run import DeployedRun, drive
from dataflow.exceptions import DataflowError, RunFenced, RunOwned, StoreError
from dataflow.service.orders import (
    COMPLETED,
    NO_STORE,
    NOT_BEGUN,
    NOT_COMPLETED,
    NOT_OURS,
    Order,
)

_AHEAD = (
    "dataflow.flow_run", "dataflow.driver", "dataflow.entrypoints", "dataflow.flow_resume",
    "dataflow.stores.sqlite", "dataflow.stores.reuse", "dataflow.tasks", "runners.threads",
    "dataflow.settings_sources", "dataflow.deployments.code_sources", "dataflow.flow_calls",
    "dataflow.flow_result", "dataflow.packs", "dataflow.storages", "dataflow.flow_graph",
)


def main() -> int:
    """Wait for an order and perform it; an end of the input without one is the end."""
    from importlib import import_module

    for name in _AHEAD:
        import_module(name)
    line = sys.stdin.readline()
    if not line:
        return COMPLETED
    return perform(Order.of(line))


def perform(order: Order) -> int:
    """Drive the run of an order in this process; return the exit code."""
    os.environ.update(order.environment)
    time.tzset()
    drive(DeployedRun(flow_run_id=order.flow_run_id, **order.deployment))
    try:
        flow = _flow(order)
    except Exception as error:  # of ours, or what options of a runner raise
        print(error, file=sys.stderr)  # noqa: T201 - the worker's log takes it
        return _not_begun(order, error)
    try:
        go_on = flow.retry if order.retry else flow.resume
        state = go_on(order.flow_run_id, parameters=dict(order.parameters), return_state=True)
        if inspect.isawaitable(state):
            state = asyncio.run(_awaited(state))
    except (RunOwned, RunFenced) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_OURS
    except StoreError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NO_STORE
    except DataflowError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return _not_begun(order, error)
    except KeyboardInterrupt:  # the run is recorded as cancelled
        return NOT_COMPLETED
    return COMPLETED if state.is_completed() else NOT_COMPLETED


async def _awaited(state: Any) -> Any:
    return await state


def _flow(order: Order) -> Any:
    from dataflow.deployments import Source
    from dataflow.entrypoints import load_flow
    from dataflow.runner_choice import runner_class
    from dataflow.settings import get_settings

    folder = Path.cwd()
    if order.source is not None:
        folder = Source.parse(order.source).fetch(get_settings().home).folder
        os.chdir(folder)
    _look_there_first(folder)
    flow = load_flow(order.entrypoint, folder)
    options = dict(order.options)
    if order.task_runner is not None:
        options["task_runner"] = runner_class(order.task_runner["name"])(
            **order.task_runner.get("options", {}))
    if order.flow_name is not None and flow.name != order.flow_name:
        options["name"] = order.flow_name
    return flow.with_options(**options) if options else flow


def _look_there_first(folder: Path) -> None:
    """Have modules of the code's folder found before those of any other one."""
    where = str(folder)
    if where in sys.path:
        sys.path.remove(where)
    sys.path.insert(0, where)


def _not_begun(order: Order, error: Exception) -> int:
    """Record why the run could not begin."""
    from dataflow.stores import open_store

    store = open_store(None)
    try:
        store.agenda().crash(
            order.flow_run_id, f"The run could not begin: {error}", time.time())
    finally:
        store.close()
    return NOT_BEGUN


if __name__ == "__main__":
    sys.exit(main())
