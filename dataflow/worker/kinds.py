"""Functions of any kind, called in one of two ways: blocking, or awaited.

Lives here: what makes a generator's items a list, and a coroutine something
that a thread can wait for. Does not live here: attempts (``attempt.py``,
``async_attempt.py``), generators that are consumed as they run
(``dataflow.streams``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from dataflow.batch import TaskCode
from dataflow.worker.spare_threads import Job, put_back, take

T = TypeVar("T")


def blocking(task: TaskCode) -> Callable[..., Any]:
    """Return what gives the value of a task's function in the calling thread.

    A generator's value is the list of its items; a coroutine runs on an event
    loop of its own.
    """
    fn = task.fn
    match task.kind:
        case "generator":
            return lambda *args, **kwargs: list(fn(*args, **kwargs))
        case "async" | "async_generator":
            coroutine = awaitable(task)
            return lambda *args, **kwargs: on_own_loop(coroutine(*args, **kwargs))
        case _:
            return fn


def awaitable(task: TaskCode) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return what gives the value of an async function, or the items of an async generator."""
    fn = task.fn
    if task.kind == "async_generator":
        async def items(*args: Any, **kwargs: Any) -> list[Any]:
            return [item async for item in fn(*args, **kwargs)]

        return items
    return fn


def on_own_loop(made: Awaitable[Any]) -> Any:
    """Run a coroutine on a loop of its own and return its value, also where a loop is running."""
    return outside_loops(lambda: asyncio.run(_main(made)))


async def _main(made: Awaitable[Any]) -> Any:
    return await made


def outside_loops(fn: Callable[[], Any]) -> Any:
    """Call ``fn`` where no event loop runs: here, else in a helper thread with the same context."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return fn()
    helper, job = take(), Job(fn, (), {})
    helper.give(job)
    job.wait()
    put_back(helper)
    return job.outcome()


async def beside(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call what blocks in a helper thread, in the same context, while the loop goes on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    helper = take()

    def told() -> None:
        if not done.done():
            done.set_result(None)

    def call() -> T:
        try:
            return fn(*args, **kwargs)
        finally:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(told)

    job = Job(call, (), {})
    helper.give(job)
    try:
        await done
    except BaseException:
        helper.leave_behind(lambda: None)
        raise
    job.done.wait()  # a moment: the call has ended
    put_back(helper)
    value: T = job.outcome()
    return value
