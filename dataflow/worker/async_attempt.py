"""One element of an async task: await the user's function, and again where it is to be retried.

Lives here: the awaited twin of ``attempt.py``: the attempt, its timeout, a
direct call that waits out its delays without blocking the loop. Does not live
here: what an exception means (``attempt.py``), many elements on one loop
(``async_batch.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.context import FlowRunContext, LogSink, TaskRunContext, current_task
from dataflow.exceptions import TaskRunTimeoutError
from dataflow.hooks import tell_completed, tell_running
from dataflow.outcomes import Attempt, Code, Said
from dataflow.worker.attempt import MAY_BE_STATES, Attempts, Outcome, run_here
from dataflow.worker.kinds import awaitable, beside
from dataflow.worker.returned import adopted

_clock = time.perf_counter
_LONGEST_SLEEP_S = 1e6  # a loop's own waits have a limit


class AsyncAttempts(Attempts):
    """Runs elements of one call of an async task; parameters as for :class:`Attempts`."""

    async def arrive(self, index: int, before: int, args: tuple[Any, ...],
                     kwargs: dict[str, Any]) -> Outcome:
        """Run an element until it completes, fails for good, or has to wait for its retry."""
        attempt = before + 1
        name: str | None = None
        said: Said | None = None
        while True:
            context = self.context(self.run, self.code, index, attempt, self.logs, args, kwargs)
            context.chosen_name = name
            current_task.set(context)
            started = _clock()
            try:
                if self.plain:
                    value = await self.fn(*args, **kwargs)
                else:
                    name = self._name(context)
                    if self.task.hooks is not None:
                        await beside(tell_running, context)
                    value = await self._timed(args, kwargs)
                if context.inside is not None:
                    leave = context.inside.leave
                    value = (leave(value) if context.inside.in_place
                             else await beside(leave, value))
                    self._take(context.inside)
                if type(value) in MAY_BE_STATES:
                    value, said = adopted(value, self.task.name)
            except BaseException as error:  # user code may raise anything
                if isinstance(error, asyncio.CancelledError) and self.stopped():
                    self._abandon(context, Code.CANCELLED, error)
                    return Outcome(Code.CANCELLED, attempts=attempt, name=name)
                if self._asks_others(context, error):
                    outcome, code = await beside(self._failed, context, error, name, started)
                else:
                    outcome, code = self._failed(context, error, name, started)
                if outcome.code != Code.AWAITING_RETRY:
                    return outcome
                self._remember(index, attempt, started, code, outcome.error)
                if outcome.retry_in_s or self.stopped():
                    return outcome
                attempt += 1
                continue
            if self.task.hooks is not None:
                context.end()  # a hook runs nothing inside of the task run any more
                await beside(tell_completed, context, value, said, started)
            return Outcome(Code.COMPLETED, value, attempts=attempt, name=name, said=said)

    def _function(self) -> Any:
        return awaitable(self.task)

    def _asks_others(self, context: TaskRunContext, error: BaseException) -> bool:
        """Tell whether a failure has consequences that would hold the loop up.

        Those are hooks, a condition, children to be cancelled. What is no
        Exception is not to be awaited in: the loop may be closing.
        """
        if not isinstance(error, Exception):
            return False
        inside = context.inside
        if inside is not None:
            return not inside.in_place
        return self.task.hooks is not None or self.task.retry_condition is not None

    def timed_out(self, index: int, before: int) -> Outcome:
        """Return the outcome of an element that is past its time and keeps its loop busy."""
        context = self.context(self.run, self.code, index, before + 1, self.logs, (), {})
        error = self._too_late()
        outcome, code = self._failed(context, error, None, _clock())
        if outcome.code == Code.AWAITING_RETRY:
            self._remember(index, before + 1, _clock(), code, outcome.error)
        return outcome

    def _too_late(self) -> TaskRunTimeoutError:
        limit = self.task.timeout_s
        return TaskRunTimeoutError(f"Task run exceeded timeout of {limit} second(s)",
                                   timeout_seconds=limit)

    async def _timed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Await the function with the options that cost something."""
        task = self.task
        if task.log_prints:
            from dataflow.logging import prints_to_log

            prints_to_log(print)
        if task.timeout_s is None:
            return await self.fn(*args, **kwargs)
        limit = asyncio.timeout(min(task.timeout_s, _LONGEST_SLEEP_S))
        try:
            async with limit:
                value = await self.fn(*args, **kwargs)
        except TimeoutError:
            if not limit.expired():
                raise
        if limit.expired():
            raise self._too_late()
        return value


async def arrive_here(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], run: RunInfo | None,
    logs: LogSink | None = None, history: list[Attempt] | None = None, index: int = 0,
    caller: FlowRunContext | None = None, nested: list[tuple[str, Any]] | None = None,
    before: int = 0, first_wait_s: float = 0.0,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Run a direct call on the caller's loop, waiting out its retry delays.

    ``index`` is that of the element it belongs to: 0, but inside another task.
    The outcome of a call that is cancelled from outside is CRASHED; its error
    is the ``asyncio.CancelledError``, for the caller to raise.
    """
    if code.task.isolation == "process":
        return await beside(run_here, code, args, kwargs, run, logs, history=history, index=index,
                            caller=caller, nested=nested, before=before,
                            first_wait_s=first_wait_s, told=told)
    attempts = AsyncAttempts(code, run, logs, [] if history is None else history, remote=False,
                             nested=nested, caller=caller)
    around = current_task.get()
    kept, outcome = None, None
    try:
        if code.task.caching is not None:
            from dataflow.worker.keeping_one import KeptCall

            kept = KeptCall(attempts, code, run, index, logs, args, kwargs)
            while (wait_s := await beside(kept.look)) is not None:
                await asyncio.sleep(wait_s)
            if kept.outcome is not None:
                return kept.outcome
        if first_wait_s > 0:
            await asyncio.sleep(min(first_wait_s, _LONGEST_SLEEP_S))
        outcome = await attempts.arrive(index, before, args, kwargs)
        while outcome.code == Code.AWAITING_RETRY:
            told(outcome)
            try:
                await asyncio.sleep(min(outcome.retry_in_s or 0.0, _LONGEST_SLEEP_S))
            except BaseException as error:  # cancelled while it waits
                crashed = attempts.broken_input(index, error)
                return Outcome(Code.CRASHED, error=crashed.error, attempts=outcome.attempts)
            outcome = await attempts.arrive(index, outcome.attempts, args, kwargs)
        return outcome
    finally:
        if kept is not None:
            kept.end(outcome)
        current_task.set(around)

