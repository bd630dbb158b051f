"""A generator task called like a function: its items come as they are made.

Lives here: one run of a generator or async generator while somebody consumes
it, its record inside a flow, its retries. Does not live here: generators that
are submitted, whose value is the list of their items (``worker/kinds.py``).

The run begins with the first item asked for. It is COMPLETED when the generator
ends or is closed, FAILED when it raises; it begins anew, where it may be tried
again, as long as nothing was handed out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context, copy_context
from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.context import (
    FlowRunContext,
    LogSink,
    TaskRunContext,
    current_task,
    current_transaction,
)
from dataflow.direct import Inputs, not_ready, resolved, surroundings
from dataflow.direct_async import inputs_of, resolved_beside
from dataflow.exceptions import CallError, TaskRunTimeoutError
from dataflow.handles import CallHandle
from dataflow.hooks import tell_completed, tell_running
from dataflow.logging import prints_to_log
from dataflow.outcomes import Attempt, Code
from dataflow.resolve import has_marker
from dataflow.worker.attempt import Attempts, Outcome
from dataflow.worker.deadline import call_with_deadline

_clock = time.perf_counter
_LONGEST_SLEEP_S = 1e6  # a platform's own waits have a limit


def call_in_flow(
    flow_run: FlowRunContext, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
    task_key: str, return_state: bool, wait_for: Any,
) -> Any:
    """Return the generator of a direct call of a flow; its run is recorded."""
    _refuse_state(code, return_state)
    marked = wait_for is not None or has_marker(args) or has_marker(kwargs)
    stream = _Recorded(flow_run, code, task_key)
    if code.task.kind == "async_generator":
        return _async_items(stream, args, kwargs, wait_for, marked)
    return _items(stream, args, kwargs, wait_for, marked)


def call_outside(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool
) -> Any:
    """Return the generator of a call outside of a flow or inside a task."""
    _refuse_state(code, return_state)
    stream = _Stream(code, *surroundings())
    if code.task.kind == "async_generator":
        return _async_items_outside(stream, args, kwargs)
    return _items_outside(stream, args, kwargs)


def _refuse_state(code: CallCode, return_state: bool) -> None:
    if return_state:
        raise CallError(
            f"task {code.task.name!r} is a generator: a call of it returns its items, so that "
            "return_state=True cannot be meant; submit it to get a state")


def _items(stream: _Recorded, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Any,
           marked: bool) -> Generator[Any, Any, Any]:
    if marked:
        found = Inputs(stream.flow_run)
        args, kwargs = found.values(args), found.values(kwargs)
        found.after(wait_for)
        if found.failed:
            return not_ready(stream.flow_run, stream.code, found, stream.task_key, False)
    return (yield from stream.items(args, kwargs))


def _items_outside(stream: _Stream, args: tuple[Any, ...],
                   kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
    args, kwargs = resolved(args, kwargs)
    return (yield from stream.items(args, kwargs))


def _async_items(stream: _Recorded, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Any,
                 marked: bool) -> AsyncGenerator[Any, Any]:
    async def take() -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not marked:
            return args, kwargs
        found, taken, named = await inputs_of(stream.flow_run, args, kwargs, wait_for)
        if found.failed:
            not_ready(stream.flow_run, stream.code, found, stream.task_key, False)
        return taken, named

    return stream.async_items(take)


def _async_items_outside(stream: _Stream, args: tuple[Any, ...],
                         kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    async def take() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return await resolved_beside(args, kwargs)

    return stream.async_items(take)


class _Stream:
    """One run of a generator task while it is consumed."""

    def __init__(self, code: CallCode, run: RunInfo | None, logs: LogSink | None,
                 index: int, caller: FlowRunContext | None = None) -> None:
        self.code = code
        self.history: list[Attempt] = []
        self._attempts = Attempts(code, run, logs, self.history, remote=False, caller=caller)
        self._index = index
        self._around = current_task.get()
        self._transaction = current_transaction.get()  # in whose block it is called
        self.outcome: Outcome | None = None
        self._attempt = 0
        self._started = 0.0
        self._inside_s = 0.0  # time spent in the generator itself, of this attempt
        self._handed_out = False

    def began(self) -> None:
        """The first item was asked for."""

    def ended(self, outcome: Outcome) -> None:
        """The run has ended."""

    def _first(self) -> None:
        self.began()
        if self._transaction is not None:
            from dataflow.transaction_runs import consumed

            consumed(self._transaction, self.code, self, self.rolled_back)

    def _last(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended(outcome)
        effects = self.code.task.effects
        if outcome.code == Code.COMPLETED and effects is not None and self._transaction is None:
            from dataflow.task_transactions import commit_alone

            commit_alone(effects)

    def rolled_back(self) -> None:
        """The transaction in whose block it was called was rolled back."""

    # one attempt

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any],
               before: TaskRunContext | None) -> TaskRunContext:
        self._attempt += 1
        self._started, self._inside_s = _clock(), 0.0
        attempts = self._attempts
        context = attempts.context(attempts.run, self.code, self._index, self._attempt,
                                 attempts.logs, args, kwargs)
        context.chosen_name = before.chosen_name if before is not None else None
        return context

    def _prepare(self, context: TaskRunContext) -> None:
        self._attempts._name(context)
        if self.code.task.hooks is not None:
            tell_running(context)
        if self.code.task.log_prints:
            prints_to_log(print)

    def _complete(self, context: TaskRunContext) -> None:
        if self.code.task.hooks is not None:
            tell_completed(context, None, None, self._started)
        self._last(Outcome(Code.COMPLETED, attempts=self._attempt, name=context.chosen_name))

    def _fail(self, context: TaskRunContext, error: BaseException) -> float | None:
        """Return the delay before the generator begins anew, None where it has failed."""
        outcome, code = self._attempts._failed(context, error, context.chosen_name, self._started)
        if outcome.code == Code.AWAITING_RETRY and not self._handed_out:
            self._attempts._remember(self._index, self._attempt, self._started, code,
                                     outcome.error)
            return min(outcome.retry_in_s or 0.0, _LONGEST_SLEEP_S)
        outcome.code, outcome.retry_in_s = code, None
        self._last(outcome)
        return None

    def _left_s(self) -> float | None:
        limit = self.code.task.timeout_s
        return None if limit is None else max(0.0, limit - self._inside_s)

    def _too_late(self) -> TaskRunTimeoutError:
        limit = self.code.task.timeout_s
        return TaskRunTimeoutError(f"Task run exceeded timeout of {limit} second(s)",
                                   timeout_seconds=limit)

    # a generator

    def items(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """Yield what the generator yields; what is sent or thrown reaches it."""
        self._first()
        context: TaskRunContext | None = None
        while True:
            context = self._begin(args, kwargs, context)
            inside = copy_context()
            inside.run(current_task.set, context)
            try:
                inside.run(self._prepare, context)
                value = yield from self._drive(inside, args, kwargs)
            except GeneratorExit:
                self._complete(context)
                raise
            except BaseException as error:  # user code may raise anything
                delay_s = self._fail(context, error)
                if delay_s is None:
                    raise
            else:
                self._complete(context)
                return value
            time.sleep(delay_s)

    def _drive(self, inside: Context, args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """Run the generator in its own context, however it is consumed."""
        inner = inside.run(self.code.task.fn, *args, **kwargs)
        step, given = inner.send, None
        while True:
            try:
                item = self._step(inside, step, given)
            except StopIteration as stop:
                return stop.value
            self._handed_out = True
            try:
                step, given = inner.send, (yield item)
            except GeneratorExit:
                inside.run(inner.close)
                raise
            except BaseException as thrown:  # whatever the consumer throws
                step, given = inner.throw, thrown

    def _step(self, inside: Context, step: Callable[[Any], Any], given: Any) -> Any:
        left_s = self._left_s()
        if left_s is None:
            return inside.run(step, given)
        began = _clock()
        try:
            return call_with_deadline(_stepped, (inside, step, given), {}, left_s)()
        except TaskRunTimeoutError as error:
            if error.timeout_seconds != left_s:
                raise
            raise self._too_late() from None
        finally:
            self._inside_s += _clock() - began

    # an async generator

    async def async_items(self, take: Callable[[], Any]) -> AsyncGenerator[Any, Any]:
        """Yield what the async generator yields; what is sent or thrown reaches it."""
        args, kwargs = await take()
        self._first()
        context: TaskRunContext | None = None
        while True:
            context = self._begin(args, kwargs, context)
            try:
                self._prepare(context)
                inner = self.code.task.fn(*args, **kwargs)
                step, given = inner.asend, None
                while True:
                    item = await self._async_step(context, step, given)
                    self._handed_out = True
                    try:
                        step, given = inner.asend, (yield item)
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as thrown:  # whatever the consumer throws
                        step, given = inner.athrow, thrown
            except (GeneratorExit, StopAsyncIteration) as end:
                self._complete(context)
                if isinstance(end, GeneratorExit):
                    raise
                return
            except BaseException as error:  # user code may raise anything
                delay_s = self._fail(context, error)
                if delay_s is None:
                    raise
            await asyncio.sleep(delay_s)

    async def _async_step(self, context: TaskRunContext, step: Callable[[Any], Any],
                          given: Any) -> Any:
        limit = asyncio.timeout(self._left_s())
        began = _clock()
        current_task.set(context)
        try:
            async with limit:
                return await step(given)
        except TimeoutError:
            if limit.expired():
                raise self._too_late() from None
            raise
        finally:
            current_task.set(self._around)
            self._inside_s += _clock() - began


def _stepped(inside: Context, step: Callable[[Any], Any], given: Any) -> Callable[[], Any]:
    """Take a step; a StopIteration is raised by who asks for the item, not in this thread."""
    try:
        item = inside.run(step, given)
    except StopIteration as stop:
        ended = stop

        def end() -> Any:
            raise ended

        return end
    return lambda: item


class _Recorded(_Stream):
    """A run of a generator task inside a flow."""

    def __init__(self, flow_run: FlowRunContext, code: CallCode, task_key: str) -> None:
        super().__init__(code, flow_run.run, flow_run.logs, 0, flow_run)
        self.flow_run = flow_run
        self.task_key = task_key
        self._began_s = 0.0

    def began(self) -> None:
        """Record that it is RUNNING."""
        self._began_s = time.time()
        self.flow_run.driver.stream_began(self.code, self.task_key, self._began_s)

    def ended(self, outcome: Outcome) -> None:
        """Record how it ended; who consumes it sees a failure."""
        view = self.flow_run.driver.stream_ended(
            self.code, self.task_key, self._began_s, outcome, self.history)
        if outcome.code != Code.COMPLETED:
            CallHandle(self.flow_run, view).consume(0)

    def rolled_back(self) -> None:
        """Say so in the records."""
        self.flow_run.driver.rolled_back(self.code.call, (0,))
