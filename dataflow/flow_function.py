"""The user's function as a step of a flow run: called, awaited or iterated, with a deadline.

Lives here: the four kinds of functions, each plain and async, and what a
timeout does to them. Does not live here: what follows from the outcome
(``flow_run.py``).

A plain function with a timeout runs in a helper thread, which is left behind
at the deadline; an async one is cancelled, and what blocks inside of the
framework raises at the deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any

from dataflow.context import FlowRunContext
from dataflow.exceptions import FlowRunTimeoutError
from dataflow.flow_steps import Step, Stream, inside
from dataflow.hooks import run_to_end
from dataflow.worker.deadline import call_with_deadline


class LeftBehind(BaseException):
    """Raised inside a flow function that is past its deadline, to end it; nobody catches it."""


class Call(Step):
    """The function of a flow that is no generator.

    Parameters
    ----------
    fn, args, kwargs
        The call.
    context
        The flow run.
    timeout_s
        Seconds it may take, None for any.

    Attributes
    ----------
    timed_out
        It was given up at its deadline.
    left_behind
        Its thread may still run.
    """

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
                 context: FlowRunContext, timeout_s: float | None) -> None:
        self.context: FlowRunContext = context
        self._fn, self._args, self._kwargs = fn, args, kwargs
        self._timeout_s = timeout_s
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self.timed_out = False
        self.left_behind = False

    def here(self) -> Any:
        """Call the function; a generator that it returns becomes a list."""
        return self._within(self._call)

    async def later(self) -> Any:
        """Await the function; a generator that it returns becomes a list."""
        return await self._await_within(self._await)

    def _call(self) -> Any:
        value = self._fn(*self._args, **self._kwargs)
        return list(value) if isinstance(value, Generator) else value

    async def _await(self) -> Any:
        value = await self._fn(*self._args, **self._kwargs)
        if isinstance(value, AsyncGenerator):
            return [item async for item in value]
        return list(value) if isinstance(value, Generator) else value

    def _within(self, fn: Callable[[], Any]) -> Any:
        """Call plain code, in a thread of its own where there is a deadline."""
        if self._until is None:
            return fn()
        error = self._error()
        try:
            return call_with_deadline(fn, (), {}, self._left_s(), error, LeftBehind)
        except BaseException as raised:
            if raised is error:
                self.timed_out = self.left_behind = True
            elif isinstance(raised, KeyboardInterrupt):
                self.left_behind = True
            raise

    async def _await_within(self, fn: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Await async code up to the deadline."""
        if self._until is None:
            return await fn()
        driver = self.context.driver
        driver.deadline = (self._until, self._error())
        try:
            async with asyncio.timeout(self._left_s()) as scope:
                value = await fn()
        except BaseException as raised:
            if scope.expired() or (isinstance(raised, Exception) and self._is_over()):
                self.timed_out = True
                raise self._error() from None
            raise
        finally:
            driver.deadline = None
        if self._is_over():  # it blocked the loop all the time
            self.timed_out = True
            raise self._error()
        return value

    def _left_s(self) -> float:
        assert self._until is not None
        return max(0.0, self._until - time.monotonic())

    def _is_over(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def _error(self) -> FlowRunTimeoutError:
        return FlowRunTimeoutError(
            f"Flow run exceeded timeout of {self._timeout_s} second(s)",
            timeout_seconds=self._timeout_s)


class Items(Call, Stream):
    """The function of a flow that is a generator.

    Attributes
    ----------
    yielded
        The consumer has got items: it cannot begin anew.
    """

    yielded = False
    _made: Any = None

    def here(self) -> list[Any]:
        """Return all items as a list."""
        return list(self.items())

    async def later(self) -> list[Any]:
        """Return all items as a list."""
        return [item async for item in self.later_items()]

    def items(self) -> Iterator[Any]:
        """Yield the items of a plain generator."""
        self._made = self._enter(lambda: self._fn(*self._args, **self._kwargs))
        while (item := self._enter(lambda: next(self._made, _END))) is not _END:
            self.yielded = True
            yield item

    async def later_items(self) -> AsyncGenerator[Any, None]:
        """Yield the items of an async generator."""
        self._made = self._fn(*self._args, **self._kwargs)
        while True:
            with inside(self.context):
                item = await self._await_within(lambda: anext(self._made, _END))
            if item is _END:
                return
            self.yielded = True
            yield item

    def close(self) -> None:
        """Close the generator: its ``finally`` blocks run."""
        if isinstance(self._made, AsyncGenerator):
            run_to_end(self._made.aclose())
        elif self._made is not None:
            self._made.close()

    async def later_close(self) -> None:
        """Close the generator: its ``finally`` blocks run."""
        if self._made is not None:
            await self._made.aclose()

    def _enter(self, fn: Callable[[], Any]) -> Any:
        with inside(self.context):
            return self._within(fn)


_END: Any = object()
