"""One call as its futures see it: reading outcomes, states and errors of its elements.

Lives here: :class:`CallHandle`, shared by all futures of a call, which tells
the driver when the last of them is gone. Does not live here: what users call
(``future.py``), any decision (``engine/``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from dataflow.context import FlowRunContext
from dataflow.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    UnfinishedRun,
    UpstreamTaskError,
)
from dataflow.failures import describe, exception_of
from dataflow.graph import CallOptions, CallView
from dataflow.ids import task_run_id
from dataflow.names import name_in, stands_for_all
from dataflow.outcomes import STATE_OF, SUCCEEDED, Code, ErrorRecord
from dataflow.states import State, StateDetails, StateType

_UNSUCCESSFUL = {
    Code.FAILED: FailedRun, Code.TIMED_OUT: FailedRun, Code.CRASHED: CrashedRun,
    Code.CANCELLED: CancelledRun,
}
_STATES = {code: (StateType(kind), name) for code, (kind, name) in STATE_OF.items()}


_FETCH_S = 5.0


def _is_number(given: Any) -> bool:
    return isinstance(given, Real)


class Deadline:
    """Time left of a timeout in seconds; None is no limit."""

    __slots__ = ("_end", "given")

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and not _is_number(timeout):
            raise TypeError(f"timeout must be a number of seconds or None, got "
                            f"{type(timeout).__name__} {timeout!r:.80}")
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative, got {timeout!r}")
        self.given = timeout
        self._end = None if timeout is None else time.monotonic() + timeout

    def left_s(self) -> float | None:
        """Return what is left, 0 when the time is up, None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


    def to_fetch(self) -> Deadline:
        """Return the deadline of bringing what exists: what is left, but not less than 5 s."""
        left_s = self.left_s()
        return self if left_s is None or left_s >= _FETCH_S else Deadline(_FETCH_S)


class CallHandle:
    """A call of a flow run, held by its futures.

    Parameters
    ----------
    flow_run
        The flow run that made the call.
    view
        Its live columns.
    options
        Of a map: ``min_success_ratio`` and ``max_failures`` say when its result is known.
    width
        As far as the call itself told it: known before the engine has heard of the call.
    """

    __slots__ = ("__weakref__", "call", "flow_run", "mapped", "max_failures",
                 "min_success_ratio", "view", "width")

    def __init__(self, flow_run: FlowRunContext, view: CallView,
                 options: CallOptions = CallOptions(), width: int | None = None) -> None:
        self.flow_run = flow_run
        self.view = view
        self.call = view.call
        self.mapped = view.kind == "map"
        self.min_success_ratio = options.min_success_ratio
        self.max_failures = options.max_failures
        self.width = width

    def __del__(self) -> None:
        if not self.flow_run.ended and self.view.kind != "direct":  # a direct call leaves no value
            self.flow_run.driver.release(self.call)

    def id_of(self, index: int) -> str:
        """Return an element's task run id."""
        return task_run_id(self.flow_run.run.flow_run_id, self.call, index)

    def name_of(self, index: int) -> str:
        """Return an element's task run name."""
        return name_in(self.view, self.flow_run.run.flow_run_id, index)

    def wait(self, done: Callable[[], bool], deadline: Deadline) -> bool:
        """Block until ``done()``; return False when the time is up first."""
        return done() or self.flow_run.driver.wait(done, deadline.left_s())

    def values(self, indexes: Sequence[int], deadline: Deadline) -> list[Any]:
        """Return the values of completed elements.

        Raises
        ------
        MissingResult
            The flow run has ended and the values were not fetched before.
        """
        if not len(indexes):
            return []
        if self.flow_run.ended:
            kept = self._kept(indexes)
            if kept is not None:
                return kept
            raise MissingResult(
                f"The value of task run {self.name_of(indexes[0])!r} is gone: flow run "
                f"{self.flow_run.run.flow_run_name!r} has ended. Return the future from the "
                "flow, or call .result() while the flow runs.",
                task_run_id=self.id_of(indexes[0]),
            )
        return self.flow_run.driver.values(self.call, indexes, deadline.left_s())

    def _kept(self, indexes: Sequence[int]) -> list[Any] | None:
        """Return values from the result storage, None unless all of them are there."""
        view = self.view
        keys = [key for index in indexes if (key := view.key_of(index)) is not None]
        if view.caching is None or len(keys) < len(indexes):
            return None
        from dataflow.worker.keeping import NOWHERE, read_back

        values = read_back(view.caching, keys)
        return None if any(value is NOWHERE for value in values) else values

    def succeeded(self, index: int) -> bool:
        """Tell whether an element completed."""
        return self.view.code(index) in SUCCEEDED

    def fault(self) -> BaseException | None:
        """Return what made the call fail as a whole."""
        record, view = self.view.fault, self.view
        if record is None:
            return None
        self.consume(None)
        if view.cause_of(len(view.codes)) is not None:
            return self._upstream_error(len(view.codes), f"Map of task {view.task_name!r}")
        return exception_of(record)

    def consume(self, index: int | None) -> None:
        """Note that somebody has seen the failure of an element, with None of all."""
        self.flow_run.consumed.add((self.call, index))

    def error(self, index: int) -> BaseException:
        """Return the exception of an element that is final and did not complete."""
        self.consume(index)
        view, code = self.view, self.view.code(index)
        if code == Code.NOT_READY:
            return self._upstream_error(index)
        return _error_in(view, index, self.name_of(index))

    def _upstream_error(self, index: int, who: str | None = None) -> BaseException:
        """Return the error of what did not run, with the first failure chained."""
        name, root = self.name_of(index), self._root(index)
        who = who or f"Task run {name!r}"
        if root is None:
            return UpstreamTaskError(self.message(index) or f"{who} did not run.",
                                     task_run_name=name, upstream_task_run_name=None)
        view, at, first = root
        cause = _error_in(view, at, first)
        record = view.error_of(at) or view.fault
        what = f"failed with {describe(record)}" if record else _ended(view.code(at))
        whole = stands_for_all(view, at)
        upstream = f"map of task {view.task_name!r}" if whole else f"task run {first!r}"
        error = UpstreamTaskError(
            f"{who} did not run: upstream {upstream} {what}",
            task_run_name=name, upstream_task_run_name=None if whole else first,
        )
        error.__cause__ = cause
        return error

    def _root(self, index: int) -> tuple[CallView, int, str] | None:
        """Return (columns, index, name) of the element that failed first upstream."""
        root = self.view.cause_of(index)
        if root is None:
            return None
        view = self.flow_run.driver.view(root[0])
        return view, root[1], name_in(view, self.flow_run.run.flow_run_id, root[1])

    def message(self, index: int) -> str | None:
        """Return the message of an element's state."""
        view = self.view
        said = view.message_of(index)
        if said is not None:
            return said
        code = view.code(index)
        if code == Code.NOT_READY:
            root = self._root(index)
            if root is not None and stands_for_all(root[0], root[1]):
                return (f"Upstream map of task {root[0].task_name!r} did not reach a "
                        "'COMPLETED' state.")
            name = root[2] if root else "?"
            return f"Upstream task run {name!r} did not reach a 'COMPLETED' state."
        record = _record(view, index)
        if record is None:
            return None
        if code == Code.TIMED_OUT:
            return record.message
        return f"Task run encountered an exception {describe(record)}"

    def state(self, index: int, future: Any) -> State:
        """Return the state of an element as it is now."""
        code = self.view.code(index)
        if code < Code.COMPLETED and self.view.fault is not None and self.view.is_done(index):
            code = Code.FAILED
        kind, name = _STATES[code]
        name = self.view.state_names.get(index, name)
        run = self.flow_run.run
        return State(
            kind, name,
            self.view.messages.get(index) if code in SUCCEEDED else self.message(index),
            state_details=StateDetails(
                run.shown_flow_run_id, (self.call, index) if run.outer_flow_run_id is None
                else (self.call, index, run.flow_run_id)),
            future=future if code >= Code.COMPLETED else None,
        )


def _record(view: CallView, index: int) -> ErrorRecord | None:
    record = view.error_of(index)
    if record is None and view.code(index) < Code.COMPLETED:
        return view.fault
    return record


def _error_in(view: CallView, index: int, name: str) -> BaseException:
    """Return the exception that an element left, or one that says how it ended."""
    record = _record(view, index)
    if record is not None:
        return exception_of(record)
    code = view.code(index)
    kind = _UNSUCCESSFUL.get(code, UnfinishedRun)
    text = view.message_of(index) or f"Task run {name!r} {_ended(code)}."
    return kind(text, task_run_name=name)


def _ended(code: Code) -> str:
    match code:
        case Code.CANCELLED:
            return "was cancelled"
        case Code.CRASHED:
            return "crashed"
        case Code.FAILED | Code.TIMED_OUT:
            return "failed"
        case _:
            return f"is {STATE_OF[code][1]}"
