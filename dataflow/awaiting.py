"""Waiting for outcomes in a coroutine: the event loop goes on meanwhile.

Lives here: :func:`until` and :func:`off_loop`, which futures and lists of them
await. Does not live here: who is woken when (``watching.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dataflow.handles import CallHandle, Deadline
from dataflow.watching import Watch

T = TypeVar("T")
_TURN_S = 0.005  # a synchronous runner works in the waiter's thread, so long at a time


async def until(handle: CallHandle, index: int | None, done: Callable[[], bool],
                deadline: Deadline) -> bool:
    """Return once ``done()``; False when the time is up first.

    Parameters
    ----------
    index
        Of the element that ``done`` asks about; None where it asks about more.

    Raises
    ------
    BaseException
        What ended the run's loop.
    """
    if handle.wait(done, Deadline(0.0)):  # also sends what the flow has gathered
        return True
    driver = handle.flow_run.driver
    if driver.runner.synchronous:
        return await _in_turns(handle, done, deadline)
    import asyncio  # takes 30 ms, and most flows never need it

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(woken.set)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    watch = Watch(handle.call, index, done, wake)
    driver.watch(watch)
    try:
        await asyncio.wait_for(woken.wait(), deadline.left_s())
    except TimeoutError:
        return done()
    finally:
        driver.unwatch(watch)
    return handle.wait(done, Deadline(0.0))


async def _in_turns(handle: CallHandle, done: Callable[[], bool], deadline: Deadline) -> bool:
    import asyncio

    while True:
        left_s = deadline.left_s()
        turn_s = _TURN_S if left_s is None else min(_TURN_S, left_s)
        if handle.wait(done, Deadline(turn_s)):
            return True
        if left_s == 0:
            return False
        await asyncio.sleep(0)


async def off_loop(handle: CallHandle, fetch: Callable[[], T], *, nothing_to_fetch: bool) -> T:
    """Return ``fetch()``, in a thread where values come from elsewhere."""
    if nothing_to_fetch or handle.flow_run.driver.runner.local:
        return fetch()
    import asyncio

    return await asyncio.to_thread(fetch)
