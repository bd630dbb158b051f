"""What a flow run waits for, one step after another, and the four ways to go through them.

A run is a *plan*: a generator that yields steps and gets back what each came
to. The order of things stands once, in the plan; whether a step blocks the
calling thread or is awaited is the performer's business.

Lives here: steps that know nothing of flows, :func:`perform` and its three
relatives. Does not live here: the plan (``flow_run.py``), the user's function
as a step (``flow_function.py``).
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, TypeVar

from dataflow.context import FlowRunContext, current_flow, current_task
from dataflow.worker.spare_threads import Job, put_back, take

T = TypeVar("T")


class Step(abc.ABC):
    """Something that takes its time.

    Attributes
    ----------
    context
        The flow run that the code in it belongs to; None: as it is outside.
    """

    context: FlowRunContext | None = None

    @abc.abstractmethod
    def here(self) -> Any:
        """Do it in the calling thread."""

    @abc.abstractmethod
    async def later(self) -> Any:
        """Do it without blocking the event loop."""


Plan = Generator[Step, Any, T]


class Blocking(Step):
    """A call that blocks its thread.

    Parameters
    ----------
    fn
        Called without arguments.
    context
        See :class:`Step`.
    in_place
        It has to be done by the thread of the flow (a runner without threads).
    to_its_end
        An async flow that is cancelled meanwhile waits for it all the same.
    """

    def __init__(self, fn: Callable[[], Any], context: FlowRunContext | None = None, *,
                 in_place: bool = False, to_its_end: bool = False) -> None:
        self._fn = fn
        self.context = context
        self._in_place = in_place
        self._to_its_end = to_its_end

    def here(self) -> Any:
        """Call it."""
        return self._fn()

    async def later(self) -> Any:
        """Call it in a helper thread."""
        return self._fn() if self._in_place else await in_thread(self._fn, self._to_its_end)


class Pause(Step):
    """Some seconds without anything."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def here(self) -> None:
        """Sleep."""
        time.sleep(self._seconds)

    async def later(self) -> None:
        """Sleep."""
        await asyncio.sleep(self._seconds)


class Stream(Step):
    """A step that hands out items on its way.

    Attributes
    ----------
    closed
        The consumer wants no more.
    """

    closed = False

    @abc.abstractmethod
    def items(self) -> Iterator[Any]:
        """Yield the items, each made when it is asked for."""

    @abc.abstractmethod
    def later_items(self) -> AsyncGenerator[Any, None]:
        """Yield the items, each made when it is asked for."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ask for no more; raises what the function makes of that."""

    @abc.abstractmethod
    async def later_close(self) -> None:
        """Ask for no more; raises what the function makes of that."""


@contextlib.contextmanager
def inside(context: FlowRunContext | None) -> Iterator[None]:
    """Make the code inside part of a flow run."""
    if context is None:
        yield
        return
    token, task_token = current_flow.set(context), current_task.set(None)
    try:
        yield
    finally:
        current_flow.reset(token)
        current_task.reset(task_token)


def perform(plan: Plan[T], raised: BaseException | None = None) -> T:
    """Go through a plan in the calling thread; ``raised`` is thrown into it first."""
    advance: Callable[[Any], Step] = plan.send if raised is None else plan.throw
    given: Any = raised
    try:
        while True:
            step = advance(given)
            try:
                with inside(step.context):
                    given = step.here()
                advance = plan.send
            except BaseException as error:  # the plan decides
                advance, given = plan.throw, error
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value


async def perform_later(plan: Plan[T]) -> T:
    """Go through a plan without blocking the event loop."""
    advance: Callable[[Any], Step] = plan.send
    given: Any = None
    try:
        while True:
            step = advance(given)
            try:
                with inside(step.context):
                    given = await step.later()
                advance = plan.send
            except GeneratorExit as error:  # the coroutine is thrown away: nothing can be awaited
                perform(plan, error)
                raise
            except BaseException as error:  # the plan decides
                advance, given = plan.throw, error
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value


def stream(plan: Plan[T]) -> Generator[Any, None, T]:
    """Go through a plan in the calling thread, handing out the items of its streams."""
    advance: Callable[[Any], Step] = plan.send
    given: Any = None
    try:
        while True:
            step = advance(given)
            try:
                if isinstance(step, Stream):
                    given = None
                    try:
                        yield from step.items()
                    except GeneratorExit:  # the consumer wants no more: no error
                        step.closed = True
                        with inside(step.context):
                            step.close()
                else:
                    with inside(step.context):
                        given = step.here()
                advance = plan.send
            except BaseException as error:  # the plan decides
                advance, given = plan.throw, error
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value


async def stream_later(plan: Plan[T], end: Callable[[T], None]) -> AsyncGenerator[Any, None]:
    """Go through a plan without blocking, handing out items; ``end`` gets what it returns."""
    advance: Callable[[Any], Step] = plan.send
    given: Any = None
    try:
        while True:
            step = advance(given)
            try:
                if isinstance(step, Stream):
                    given, items = None, step.later_items()
                    try:
                        async for item in items:
                            yield item
                    except GeneratorExit:  # the consumer wants no more: no error
                        step.closed = True
                        await items.aclose()
                        with inside(step.context):
                            await step.later_close()
                else:
                    with inside(step.context):
                        given = await step.later()
                advance = plan.send
            except BaseException as error:  # the plan decides
                advance, given = plan.throw, error
    except StopIteration as stop:
        end(stop.value)


async def in_thread(fn: Callable[[], Any], to_its_end: bool = False) -> Any:
    """Call a blocking function in a helper thread and await its end.

    Parameters
    ----------
    fn
        Called without arguments, in a copy of this context.
    to_its_end
        Where this task is cancelled, wait for the end before raising
        CancelledError; else the thread goes on by itself.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def call() -> Any:
        try:
            return fn()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
                loop.call_soon_threadsafe(_wake, done)

    helper, job = take(), Job(call, (), {})
    helper.give(job)
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = error
            if not to_its_end:
                helper.leave_behind(lambda: None)
                raise
    job.done.wait()  # its thread is about to say so
    put_back(helper)
    if cancelled is not None:
        raise cancelled
    return job.outcome()


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
