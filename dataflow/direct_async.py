"""An async task called like a function: awaited, it runs on the caller's event loop.

Lives here: direct calls of async functions inside a flow (recorded) and outside
of one. Does not live here: generators (``streams.py``), calls of plain
functions (``direct.py``), the attempts (``worker/async_attempt.py``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dataflow.batch import CallCode
from dataflow.context import FlowRunContext
from dataflow.direct import (
    Inputs,
    joins,
    not_ready,
    resolved,
    result_of,
    result_outside,
    surroundings,
)
from dataflow.outcomes import ErrorRecord
from dataflow.resolve import has_marker

if TYPE_CHECKING:
    from dataflow.transaction_state import BaseTransaction  # loaded with the first one


def call_in_flow(
    flow_run: FlowRunContext, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
    task_key: str, return_state: bool, wait_for: Any,
) -> Any:
    """Return what runs a direct call of a flow: an awaitable, or a generator of either kind."""
    if code.task.kind == "async":
        later: Any = _await_in_flow(flow_run, code, args, kwargs, task_key, return_state, wait_for)
        later.__qualname__ = code.task.name  # for "coroutine ... was never awaited"
        return later
    from dataflow import streams

    return streams.call_in_flow(flow_run, code, args, kwargs, task_key, return_state, wait_for)


def call_outside(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool
) -> Any:
    """Return what runs a call outside of a flow or inside a task: nothing is recorded."""
    if code.task.kind == "async":
        later: Any = _await_outside(code, args, kwargs, return_state)
        later.__qualname__ = code.task.name
        return later
    from dataflow import streams

    return streams.call_outside(code, args, kwargs, return_state)


async def _await_in_flow(
    flow_run: FlowRunContext, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
    task_key: str, return_state: bool, wait_for: Any, own: BaseTransaction | None = None,
) -> Any:
    if own is None and joins(code):
        from dataflow.transactions import AsyncTransaction

        async with AsyncTransaction() as own:
            return await _await_in_flow(
                flow_run, code, args, kwargs, task_key, return_state, wait_for, own)
    if wait_for is not None or has_marker(args) or has_marker(kwargs):
        found, args, kwargs = await inputs_of(flow_run, args, kwargs, wait_for)
        if found.failed:
            return not_ready(flow_run, code, found, task_key, return_state, own)
    view, value = await flow_run.driver.direct_awaited(code, args, kwargs, task_key,
                                                        flow_run)
    if own is not None:
        from dataflow.task_transactions import call_ended

        call_ended(own, flow_run.driver, code, view, value)
    raise_cancellation(view.errors.get(0))
    return result_of(flow_run, view, value, return_state)


async def inputs_of(
    flow_run: FlowRunContext, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Any
) -> tuple[Inputs, tuple[Any, ...], dict[str, Any]]:
    """Wait for the futures among arguments while the loop goes on; return their values."""
    from dataflow.worker.kinds import beside

    found = Inputs(flow_run)

    def values() -> tuple[tuple[Any, ...], dict[str, Any]]:
        taken = found.values(args), found.values(kwargs)
        found.after(wait_for)
        return taken

    if flow_run.runner is not None and flow_run.runner.synchronous:
        taken, named = values()  # what it waits for runs in this thread
    else:
        taken, named = await beside(values)
    return found, taken, named


async def _await_outside(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool,
    own: BaseTransaction | None = None,
) -> Any:
    if own is None and joins(code):
        from dataflow.transactions import AsyncTransaction

        async with AsyncTransaction() as own:
            return await _await_outside(code, args, kwargs, return_state, own)
    from dataflow.worker.async_attempt import arrive_here

    run, logs, index = surroundings()
    args, kwargs = await resolved_beside(args, kwargs)
    outcome = await arrive_here(code, args, kwargs, run, logs, index=index)
    if own is not None:
        from dataflow.task_transactions import call_ended_outside

        call_ended_outside(own, code, outcome)
    raise_cancellation(outcome.error)
    return result_outside(outcome, return_state)


async def resolved_beside(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Take the results of states and futures where no flow run is around."""
    if not (has_marker(args) or has_marker(kwargs)):
        return args, kwargs
    from dataflow.worker.kinds import beside

    return await beside(resolved, args, kwargs)


def raise_cancellation(record: ErrorRecord | None) -> None:
    """Raise what ended a call from outside: it must reach who awaits."""
    if record is not None and isinstance(
        record.exception, (asyncio.CancelledError, GeneratorExit)
    ):
        raise record.exception


