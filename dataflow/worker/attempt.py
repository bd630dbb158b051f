"""One element: call the user's function, and again at once where a retry has no delay.

This is the one place where user code is called on a worker. Lives here: the
attempt, what an exception makes of it, and when hooks and
``retry_condition_fn`` are called. Does not live here: calling them
(``hooks.py``), waiting for a delay (the driver's timers), the order of elements
(``batch.py``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.context import (
    DirectCallContext,
    FlowRunContext,
    Inside,
    LogSink,
    TaskRunContext,
    current_task,
)
from dataflow.exceptions import CancelledRun, TaskRunTimeoutError, WorkerLost
from dataflow.failures import own_frames, record_of
from dataflow.hooks import failed_state, may_retry, tell_completed, tell_failed, tell_running
from dataflow.outcomes import Attempt, Code, ErrorRecord, Said
from dataflow.process_memory import peak_memory
from dataflow.retry import RetryPolicy
from dataflow.run_names import run_name
from dataflow.states import State
from dataflow.tree_notes import note_place
from dataflow.worker.ctrl_c import is_ctrl_c
from dataflow.worker.deadline import call_with_deadline
from dataflow.worker.isolate import IsolatedCrash, call_isolated
from dataflow.worker.kinds import blocking
from dataflow.worker.returned import ReturnedState, adopted
from dataflow.worker.usage import CpuMeter, measured

_clock = time.perf_counter
_rng = random.Random()
_NO_DELAY = RetryPolicy()
_FAILURES = frozenset({Code.FAILED, Code.TIMED_OUT})
MAY_BE_STATES = frozenset({State, list, tuple, set, frozenset})


class Outcome:
    """What one element came to; ``value`` means something only when COMPLETED or CACHED."""

    __slots__ = ("attempts", "code", "cpu_s", "error", "key", "name", "origin", "peak_bytes",
                 "retry_in_s", "said", "value")

    def __init__(self, code: int, value: Any = None, error: ErrorRecord | None = None,
                 attempts: int = 1, retry_in_s: float | None = None,
                 name: str | None = None, said: Said | None = None) -> None:
        self.code = code
        self.value = value
        self.error = error
        self.attempts = attempts
        self.retry_in_s = retry_in_s
        self.name = name
        self.said = said  # by a state that the function returned
        self.key: bytes | None = None  # under which the value is kept
        self.origin: str | None = None  # CACHED: id of the flow run that computed it
        self.cpu_s: float | None = None  # of a direct call: processor time, seconds
        self.peak_bytes: int | None = None  # of a direct call: memory of its process, at most


class Attempts:
    """Runs elements of one call; made once per call and batch.

    Parameters
    ----------
    code
        The call.
    run
        The flow run, None outside of one.
    logs
        Where the elements' log lines go.
    history
        Executions that were followed by another are appended here.
    remote
        Errors cross a process border.
    stopped
        Asked before an immediate retry.
    interrupted
        Told of a Ctrl-C that met an element.
    nested
        Records of what the elements ran themselves are appended here.
    caller
        The run that makes a direct call.
    meter
        Told what elements use in other threads and processes.

    Attributes
    ----------
    peak_bytes
        The most memory of child processes that elements ran in; None: not known.
    """

    def __init__(self, code: CallCode, run: RunInfo | None, logs: LogSink | None,
                 history: list[Attempt], *, remote: bool,
                 stopped: Callable[[], bool] = lambda: False,
                 interrupted: Callable[[BaseException], None] = lambda error: None,
                 nested: list[tuple[str, Any]] | None = None,
                 caller: FlowRunContext | None = None, meter: CpuMeter | None = None) -> None:
        self.meter = meter
        self.peak_bytes: int | None = None
        self.code = code
        self.task = code.task
        self.run = run
        self.logs = logs
        self.history = history
        self.remote = remote
        self.stopped = stopped
        self.nested: list[tuple[str, Any]] = [] if nested is None else nested
        self.context: Callable[..., TaskRunContext] = (
            TaskRunContext if caller is None
            else partial(DirectCallContext, caller, current_task.get()))
        self.fn = self._function()
        self.interrupted = interrupted
        self.plain = (
            not code.task.log_prints and code.task.timeout_s is None
            and code.task.isolation == "thread" and code.task.run_name is None
            and code.task.hooks is None
        )

    def _function(self) -> Callable[..., Any]:
        """Return what is called; it returns the element's value."""
        return blocking(self.task)

    def call(self, index: int, before: int, args: tuple[Any, ...],
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
                    value = self.fn(*args, **kwargs)
                else:
                    name = self._name(context)
                    if self.task.hooks is not None:
                        tell_running(context)
                    value = self._guarded(context, args, kwargs)
                if context.inside is not None:
                    value = context.inside.leave(value)
                    self._take(context.inside)
                if type(value) in MAY_BE_STATES:
                    value, said = adopted(value, self.task.name)
            except BaseException as error:  # user code may raise anything
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
                tell_completed(context, value, said, started)
            return Outcome(Code.COMPLETED, value, attempts=attempt, name=name, said=said)

    def cached(self, index: int, before: int, value: Any, message: str | None,
               arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]) -> Outcome:
        """Return the outcome of an element whose result was found; its function is not called.

        ``arguments`` is asked where the run is named by them or hooks are told.
        """
        said = None if message is None else Said(message, None)
        if self.task.hooks is None and self.task.run_name is None:
            return Outcome(Code.CACHED, value, attempts=before, said=said)
        context = self.context(self.run, self.code, index, before, self.logs, *arguments())
        current_task.set(context)
        name = self._name(context)
        context.end()
        if self.task.hooks is not None:
            tell_completed(context, value, Said(message, "Cached"), _clock())
        return Outcome(Code.CACHED, value, attempts=before, name=name, said=said)

    def _take(self, inside: Inside) -> None:
        """Take the records of what the task run ran itself."""
        self.nested += inside.records
        inside.records = []

    def _abandon(self, context: TaskRunContext, code: Code, error: BaseException) -> None:
        """Cancel what the task run ran itself, and let it run nothing any more."""
        inside = context.end()
        if inside is not None:
            inside.abandon(code, error)
            self._take(inside)

    def broken_input(self, index: int, error: BaseException) -> Outcome:
        """Return the outcome of an element whose arguments could not be put together."""
        return Outcome(Code.FAILED, error=_record(error, remote=self.remote))

    def _remember(self, index: int, attempt: int, started: float, code: Code,
                  error: ErrorRecord | None) -> None:
        assert error is not None
        elapsed = _clock() - started
        self.history.append(Attempt(
            self.code.call, index, attempt, time.time() - elapsed, elapsed, code, error))

    def _guarded(self, context: TaskRunContext, args: tuple[Any, ...],
                 kwargs: dict[str, Any]) -> Any:
        """Call the function with the options that cost something."""
        task = self.task
        if task.isolation == "process":
            return call_isolated(context, task.timeout_s, self.nested, self._used_by_child)
        fn = self.fn
        if task.log_prints:
            from dataflow.logging import prints_to_log

            fn = prints_to_log(fn)
        if task.timeout_s is not None:
            return self._in_time(fn, args, kwargs, task.timeout_s)
        return fn(*args, **kwargs)

    def _in_time(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
                 timeout_s: float) -> Any:
        """Call the function in another thread; what one that is left behind uses is unknown."""
        used: list[float] = []
        try:
            return call_with_deadline(measured(fn, used.append), args, kwargs, timeout_s)
        finally:
            if self.meter is not None:
                self.meter.add(used[0] if used else None)

    def _used_by_child(self, cpu_s: float | None, peak_bytes: int | None) -> None:
        """Take in what an element used in a child process."""
        if peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, peak_bytes)
        if self.meter is not None:
            self.meter.add_child(cpu_s)

    def _name(self, context: TaskRunContext) -> str | None:
        """Make the task run's name by the task's template or callable, once."""
        how = self.task.run_name
        if how is None or context.chosen_name is not None:
            return context.chosen_name
        context.chosen_name = run_name(
            how, context.parameters, "task_run_name", f"task {self.task.name!r}")
        return context.chosen_name

    def _failed(self, context: TaskRunContext, error: BaseException, name: str | None,
                started: float) -> tuple[Outcome, Code]:
        """Return the outcome, and the code of this attempt, which a retry may follow."""
        code, said = _code_of(error, stopped=self.stopped()), None
        if isinstance(error, ReturnedState):
            code, said, error = error.code, error.said, error.error
        elif is_ctrl_c(error):
            self.interrupted(error)
        self._abandon(context, code, error)
        note_place(error, context)
        record = _record(error, remote=self.remote)
        outcome = Outcome(code, error=record, attempts=context.attempt, name=name,
                          said=said)
        if code not in _FAILURES:
            return outcome, code
        more = context.attempt <= self.task.retries
        if self.task.hooks is not None or (more and self.task.retry_condition is not None):
            state = failed_state(context, code, error, record, said)
            if more and self.task.retry_condition is not None:
                more = may_retry(context, state, started)
            if not more and self.task.hooks is not None:
                tell_failed(context, state, started)
        if more:
            outcome.code = Code.AWAITING_RETRY
            policy = self.task.retry_delay or _NO_DELAY
            outcome.retry_in_s = policy.delay_s(context.attempt, _rng)
        return outcome, code


def run_here(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], run: RunInfo | None,
    logs: LogSink | None = None, sleep: Callable[[float], None] = time.sleep,
    history: list[Attempt] | None = None, caller: FlowRunContext | None = None,
    nested: list[tuple[str, Any]] | None = None, index: int = 0, before: int = 0,
    first_wait_s: float = 0.0, told: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Run a direct call in the calling thread, waiting out its retry delays.

    ``caller`` is the run that makes the call, ``told`` hears of each delay before it
    begins; ``before`` executions were recorded elsewhere, and the next is due in
    ``first_wait_s``. The caller's context is as it was when this returns.
    """
    meter = CpuMeter()
    meter.begin()
    attempts = Attempts(code, run, logs, [] if history is None else history, remote=False,
                        nested=nested, caller=caller, meter=meter)
    token = current_task.set(None)
    kept, outcome = None, None
    try:
        if code.task.caching is not None:
            from dataflow.worker.keeping_one import KeptCall

            kept = KeptCall(attempts, code, run, index, logs, args, kwargs)
            while (wait_s := kept.look()) is not None:
                sleep(wait_s)
            if kept.outcome is not None:
                return kept.outcome
        if first_wait_s > 0:
            sleep(min(first_wait_s, 1e9))
        outcome = attempts.call(index, before, args, kwargs)
        while outcome.code == Code.AWAITING_RETRY:
            told(outcome)
            sleep(min(outcome.retry_in_s or 0.0, 1e9))  # a platform's own waits have a limit
            outcome = attempts.call(index, outcome.attempts, args, kwargs)
        outcome.cpu_s = None if meter.unknown else meter.spent_s()
        outcome.peak_bytes = (
            attempts.peak_bytes if code.task.isolation == "process" else peak_memory())
        return outcome
    finally:
        if kept is not None:
            kept.end(outcome)
        current_task.reset(token)


def _code_of(error: BaseException, *, stopped: bool) -> Code:
    """Return the code of an attempt that raised."""
    if isinstance(error, TaskRunTimeoutError):
        return Code.TIMED_OUT
    if isinstance(error, IsolatedCrash) or not isinstance(error, Exception):
        return Code.CRASHED
    if stopped and isinstance(error, CancelledRun):  # what the task run ran itself was cancelled
        return Code.CANCELLED
    return Code.FAILED


def _record(error: BaseException, *, remote: bool) -> ErrorRecord:
    """Make a record whose traceback begins in user code."""
    record = getattr(error, "record", None)
    if isinstance(error, IsolatedCrash):
        if isinstance(record, ErrorRecord):
            return record
        error = WorkerLost(str(error), exit=error.exit)
    return record_of(error, remote=remote, skip_frames=own_frames(error, "dataflow.worker."))
