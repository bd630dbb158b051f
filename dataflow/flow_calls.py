"""What a call of a flow gives: a value or state, an awaitable, or a generator, by its kind.

Lives here: going through a run's plan in the way that the kind asks for. Does
not live here: the plan (``flow_run.py``), the ways (``flow_steps.py``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from dataflow.flow_run import FlowRun
from dataflow.flow_steps import perform, perform_later, stream, stream_later
from dataflow.states import State


def started(run: FlowRun, kind: str, return_state: bool) -> Any:
    """Return what a call of a flow gives: the value or state, awaitable or iterable by kind."""
    if kind.startswith("async"):
        if kind == "async_generator" and not return_state:
            return _items_later(run)
        later: Any = _awaited(run, return_state)
        later.__qualname__ = run.flow.name  # for "coroutine ... was never awaited"
        return later
    if kind == "generator" and not return_state:
        return _items(run)
    state = perform(run.plan())
    return state if return_state else state.result()


async def _awaited(run: FlowRun, return_state: bool) -> Any:
    state = await perform_later(run.plan())
    return state if return_state else state.result()


def _items(run: FlowRun) -> Generator[Any, None, Any]:
    state = yield from stream(run.plan())
    return state.result()


async def _items_later(run: FlowRun) -> AsyncGenerator[Any, None]:
    ends: list[State] = []
    items = stream_later(run.plan(), ends.append)
    try:
        async for item in items:
            yield item
    finally:
        await items.aclose()
    ends[0].result()
