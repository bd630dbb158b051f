"""A task called like a function: it runs here and now, in the calling thread.

Lives here: direct calls inside a flow (recorded) and outside of one. Does not
live here: the attempts themselves (``worker/attempt.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.annotations import Annotation, allow_failure, flatten, opaque, quote
from dataflow.arguments import Extraction, allows, described, wait_for_deps
from dataflow.batch import CallCode, RunInfo
from dataflow.context import FlowRunContext, LogSink, current_task, current_transaction
from dataflow.failures import describe, exception_of
from dataflow.futures import Future, FutureList
from dataflow.graph import CallSpec, CallView
from dataflow.handles import CallHandle
from dataflow.outcomes import STATE_OF, SUCCEEDED, Code
from dataflow.resolve import has_marker, substitute
from dataflow.states import State
from dataflow.unnesting import flattened

if TYPE_CHECKING:
    from dataflow.transaction_state import BaseTransaction  # loaded with the first one
    from dataflow.worker.attempt import Outcome  # loaded with the first call


def call_in_flow(
    flow_run: FlowRunContext, code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any],
    task_key: str, return_state: bool, wait_for: Any, own: BaseTransaction | None = None,
) -> Any:
    """Run a direct call of a flow; return its value or state.

    ``own``: the transaction opened around it, where it is to have one.
    """
    if own is None and joins(code):
        from dataflow.transactions import Transaction

        with Transaction() as own:
            return call_in_flow(flow_run, code, args, kwargs, task_key, return_state, wait_for, own)
    if wait_for is not None or has_marker(args) or has_marker(kwargs):
        found = Inputs(flow_run)
        args, kwargs = found.values(args), found.values(kwargs)
        found.after(wait_for)
        if found.failed:
            return not_ready(flow_run, code, found, task_key, return_state, own)
    view, value = flow_run.driver.direct(code, args, kwargs, task_key, flow_run)
    if own is not None:
        from dataflow.task_transactions import call_ended

        call_ended(own, flow_run.driver, code, view, value)
    return result_of(flow_run, view, value, return_state)


def joins(code: CallCode) -> bool:
    """Tell whether a direct call is to have a transaction of its own."""
    return code.task.effects is not None or current_transaction.get() is not None


def result_of(flow_run: FlowRunContext, view: CallView, value: Any, return_state: bool) -> Any:
    """Return the value or state of a direct call that has ended, or raise its error."""
    handle = CallHandle(flow_run, view)
    if return_state:
        state = handle.state(0, None)
        handle.consume(0)
        state.keep(value if handle.succeeded(0) else _not_ctrl_c(handle.error(0)))
        return state
    if handle.succeeded(0):
        return value
    raise handle.error(0)


class Inputs:
    """Waits for the futures among the arguments of a call and takes their values.

    Attributes
    ----------
    failed
        Futures and states that did not complete where that is not allowed.
    """

    def __init__(self, flow_run: FlowRunContext) -> None:
        self._flow_run = flow_run
        self._wanted = True
        self.failed: list[Any] = []

    def values(self, value: Any) -> Any:
        """Return ``value`` with values in the place of futures, states and annotations."""
        return substitute(value, lambda marker: self._value(marker))

    def after(self, wait_for: Any) -> None:
        """Wait for the futures of ``wait_for``; their values stay where they are."""
        self._wanted = False
        try:
            self.values(wait_for)
        finally:
            self._wanted = True

    def _value(self, marker: Any, allow: bool = False) -> Any:
        match marker:
            case Future():
                return self._future(marker, allow)
            case FutureList():
                return self._list(marker, allow)
            case State():
                if not marker.is_completed() and not allow:
                    self.failed.append(marker)
                    return None
                return None if marker.name == "NotReady" else marker.result(raise_on_failure=False)
            case flatten():
                return self._flat(marker, allow)
            case allow_failure():
                return substitute(marker.value, lambda inner: self._value(inner, allow=True))
            case quote():
                return marker.value
            case opaque():
                inner = marker.value
                return self._value(inner) if has_marker(inner) and not isinstance(
                    inner, (list, tuple, set, dict)) else inner
            case Annotation():
                return self.values(marker.value)
            case _:
                return marker

    def _flat(self, marker: flatten[Any], allow: bool) -> Any:
        inner = substitute(marker.value, lambda found: self._value(found, allow))
        if self.failed:
            return None
        return flattened(inner, described(marker), allow or allows(marker))

    def _future(self, future: Future[Any], allow: bool) -> Any:
        if future.handle.flow_run is not self._flow_run:
            Extraction(self._flow_run, allow).one(future)  # raises where it is of no use here
        future.wait()
        if not allow and not future.handle.succeeded(future.index):
            self.failed.append(future)
            return None
        if not self._wanted:
            return None
        result = future.result(raise_on_failure=False)
        if allow and future.state.name == "NotReady":
            return None
        return result

    def _list(self, futures: FutureList[Any], allow: bool) -> Any:
        futures.wait()
        handle, fault, indexes = futures.handle, futures.fault, futures.known()
        bad = [index for index in indexes if not handle.succeeded(index)]
        if not allow and (fault is not None or handle.view.given_up is not None):
            self.failed.append(futures)
        elif not allow and bad and 1 - len(bad) / len(indexes) < handle.min_success_ratio:
            first = next((i for i in handle.view.failed_order if i in indexes), bad[0])
            self.failed.append(Future(handle, first))
        elif self._wanted and allow and (bad or fault is not None):
            values = [self._future(Future(handle, index), allow) for index in indexes]
            return values if fault is None else [*values, fault]
        elif self._wanted:
            return futures.result()
        return None


def not_ready(
    flow_run: FlowRunContext, code: CallCode, found: Inputs, task_key: str, return_state: bool,
    own: BaseTransaction | None = None,
) -> Any:
    """Let the graph record that the call does not run, and why."""
    if own is not None:
        from dataflow.task_transactions import task_failed

        task_failed(own)
    deps = wait_for_deps(flow_run, found.failed)  # raises for a state of another run
    spec = CallSpec(code, "direct", task_key, deps=tuple(deps))
    future: Future[Any] = Future(CallHandle(flow_run, flow_run.driver.add(spec)))
    future.wait()
    return future.state if return_state else future.result()


def call_outside(
    code: CallCode, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool,
    own: BaseTransaction | None = None,
) -> Any:
    """Run a call that belongs to no flow; nothing is recorded."""
    if own is None and joins(code):
        from dataflow.transactions import Transaction

        with Transaction() as own:
            return call_outside(code, args, kwargs, return_state, own)
    from dataflow.worker.attempt import run_here

    run, logs, index = surroundings()
    outcome = run_here(code, *resolved(args, kwargs), run, logs, index=index)
    if own is not None:
        from dataflow.task_transactions import call_ended_outside

        call_ended_outside(own, code, outcome)
    return result_outside(outcome, return_state)


def surroundings() -> tuple[RunInfo | None, LogSink | None, int]:
    """Return the flow run, the log and the index of the task run around, where there is one."""
    around = current_task.get()
    return (None, None, 0) if around is None else (around.run, around.logs, around.index)


def result_outside(outcome: Outcome, return_state: bool) -> Any:
    """Return the value or state of a call that belongs to no flow, or raise its error."""
    kind, name = STATE_OF[Code(outcome.code)]
    message = None
    if outcome.said is not None:
        message, name = outcome.said.message, outcome.said.state_name or name
    if outcome.code in SUCCEEDED:
        if return_state:
            return State(kind, name, message, outcome.value)
        return outcome.value
    assert outcome.error is not None  # what did not complete raised
    error = exception_of(outcome.error)
    if return_state:
        _not_ctrl_c(error)
        text = message or f"Task run encountered an exception {describe(outcome.error)}"
        return State(kind, name, text, error)
    raise error


def _not_ctrl_c(error: BaseException) -> BaseException:
    """Raise Ctrl-C, which no state may swallow."""
    from dataflow.worker.ctrl_c import is_ctrl_c

    if is_ctrl_c(error):
        raise error
    return error


def resolved(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Take the results of states and futures where no flow run is around."""
    if not (has_marker(args) or has_marker(kwargs)):
        return args, kwargs

    def value(marker: Any) -> Any:
        if isinstance(marker, (Future, FutureList, State)):
            return marker.result()
        inner = substitute(getattr(marker, "value", marker), value)
        return flattened(inner, described(marker)) if isinstance(marker, flatten) else inner

    return substitute(args, value), substitute(kwargs, value)
