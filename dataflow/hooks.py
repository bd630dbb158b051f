"""Hooks of tasks: which a task has, what they are given, how they are called.

Lives here: calling hooks (and ``retry_condition_fn``, which is given the same
three things) around an attempt, in the process where the attempt runs. Does not
live here: when an attempt begins or ends (``worker/attempt.py``), checks of what
was given (``options.py``), hooks of flows.

A hook is called as ``hook(task, task_run, state)``. Async hooks run to their end
on an event loop of their own. One that raises is logged with the task run and
changes nothing: the other hooks are called, the outcome is what it was. What the
engine decides without a worker (cancelled, NotReady, CRASHED since the worker
died) calls no hook.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dataflow.context import TaskRunContext
from dataflow.failures import describe, text_of
from dataflow.outcomes import STATE_OF, Code, ErrorRecord, Said
from dataflow.run_views import TaskRunView
from dataflow.states import State, StateDetails
from dataflow.worker.ctrl_c import is_ctrl_c
from dataflow.worker.kinds import on_own_loop

Hook = Callable[[Any, Any, State], Any]

HOOKS = ("on_running", "on_completion", "on_failure")
"""The kinds of hooks, which are also the keywords of ``@task``."""


@dataclass(frozen=True, slots=True)
class TaskHooks:
    """The hooks of a task, each kind in the order in which they are called."""

    on_running: tuple[Hook, ...] = ()
    on_completion: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.on_running or self.on_completion or self.on_failure)


def tell_running(context: TaskRunContext) -> None:
    """Call the hooks of an attempt that begins: Running, from the second on Retrying."""
    hooks: TaskHooks = context.code.task.hooks
    if hooks.on_running:
        name = "Running" if context.attempt == 1 else "Retrying"
        _call(hooks.on_running, context, State("RUNNING", name, state_details=_details(context)))


def tell_completed(context: TaskRunContext, value: Any, said: Said | None,
                   started_s: float) -> None:
    """Call the hooks of a task run that completed with ``value``."""
    hooks: TaskHooks = context.code.task.hooks
    if hooks.on_completion:
        message, name = said or (None, None)
        state = State("COMPLETED", name, message, value, state_details=_details(context))
        _call(hooks.on_completion, context, state, started_s)


def tell_failed(context: TaskRunContext, state: State, started_s: float) -> None:
    """Call the hooks of a task run that failed for good."""
    hooks: TaskHooks = context.code.task.hooks
    if hooks.on_failure:
        _call(hooks.on_failure, context, state, started_s)


def failed_state(context: TaskRunContext, code: Code, error: BaseException,
                 record: ErrorRecord, said: Said | None) -> State:
    """Return the state of an attempt that failed, with its exception as data."""
    kind, name = STATE_OF[code]
    message = None
    if said is not None:
        message, name = said.message, said.state_name or name
    if message is None:
        message = record.message if code == Code.TIMED_OUT else (
            f"Task run encountered an exception {describe(record)}")
    return State(kind, name, message, error, state_details=_details(context))


def may_retry(context: TaskRunContext, state: State, started_s: float) -> bool:
    """Ask the task's ``retry_condition_fn``; one that raises is logged and means no."""
    task = context.code.task
    assert task.retry_condition is not None
    try:
        view = _view(context, state, started_s)
        return bool(finished(task.retry_condition(task.owner or task, view, state)))
    except Exception as broken:  # user code: a failing condition means no retry
        _log(context, f"retry_condition_fn of task {task.name!r} raised "
             f"{type(broken).__name__}: {text_of(broken)}; not retried", broken)
        return False


def finished(answer: Any) -> Any:
    """Return what a callable of the user's returned; a coroutine is run to its end first."""
    return run_to_end(answer) if inspect.iscoroutine(answer) else answer


def run_to_end(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on an event loop of its own, also where a loop is running already."""
    return on_own_loop(coroutine)


def _call(hooks: tuple[Hook, ...], context: TaskRunContext, state: State,
          started_s: float | None = None) -> None:
    task = context.code.task
    view = _view(context, state, started_s)
    for hook in hooks:
        try:
            finished(hook(task.owner or task, view, state))
        except BaseException as broken:  # user code: a failing hook changes nothing
            if is_ctrl_c(broken):
                raise
            from dataflow.signatures import name_of

            _log(context, f"Hook {name_of(hook)!r} of task {task.name!r} raised "
                 f"{type(broken).__name__}: {text_of(broken)} in response to state "
                 f"{state.name!r}; the task run goes on as if it had not", broken)


def _view(context: TaskRunContext, state: State, started_s: float | None) -> TaskRunView:
    """Return the view of an attempt that began at ``started_s`` of the performance counter."""
    elapsed_s = 0.0 if started_s is None else time.perf_counter() - started_s
    return TaskRunView(context, state, datetime.fromtimestamp(time.time() - elapsed_s, UTC))


def _details(context: TaskRunContext) -> StateDetails:
    if context.run is None:
        return StateDetails()
    return StateDetails(context.run.flow_run_id, (context.code.call, context.index))


def _log(context: TaskRunContext, text: str, error: BaseException) -> None:
    from dataflow.logging import task_logger

    task_logger(context).error("%s", text, exc_info=error)
