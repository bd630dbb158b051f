"""A flow called in a flow: the call that stands for it in the run around, and what is left of
a run that has ended.

Lives here: the record of that call, what it depends on, the driver of code
that goes on after its run. Does not live here: the run itself (``flow_run.py``).
"""

from __future__ import annotations

import time
from typing import Any

from dataflow.annotations import Annotation
from dataflow.context import FlowRunContext
from dataflow.exceptions import MissingContextError, UpstreamTaskError
from dataflow.futures import Future, FutureList
from dataflow.ids import task_run_id
from dataflow.outcomes import Code, ErrorRecord
from dataflow.resolve import Marker, has_marker, substitute
from dataflow.states import Pending, State, StateType
from dataflow.store import CallRecord, ElementRecord, Store

KIND = "flow"
"""Kind of the call that stands for a flow."""

_CODES = {
    StateType.COMPLETED: Code.COMPLETED, StateType.CRASHED: Code.CRASHED,
    StateType.CANCELLED: Code.CANCELLED, StateType.PENDING: Code.NOT_READY,
}


class StandIn:
    """The call of the run around that stands for a flow called in it.

    Parameters
    ----------
    parent
        The run around.
    flow_name
        The flow that is called.
    upstream
        Calls of the run around whose futures are among the arguments.
    parameters
        Its parameters as they are recorded.

    Attributes
    ----------
    call
        Its number.
    """

    def __init__(self, parent: FlowRunContext, flow_name: str, upstream: tuple[int, ...],
                 parameters: str = "{}") -> None:
        self._driver = parent.driver
        self._flow_name = flow_name
        self._upstream = upstream
        self.call = _number(parent, flow_name, parameters)
        self._began_s = time.time()
        self.name: str | None = None
        self.task_run_id = task_run_id(parent.run.flow_run_id, self.call, 0)

    def begin(self) -> None:
        """Record that the flow runs."""
        self._driver.record_subflow(
            CallRecord(call=self.call, task_name=self._flow_name, task_key=self._flow_name,
                       kind=KIND, width=1, upstream=self._upstream, created_s=self._began_s),
            ElementRecord(self.call, 0, Code.RUNNING, self._began_s, None, 1, "flow", self.name))

    def end(self, state: State, error: ErrorRecord | None) -> None:
        """Record how it ended."""
        code = _CODES.get(state.type, Code.FAILED)
        if state.name == "TimedOut":
            code = Code.TIMED_OUT
        ran = code != Code.NOT_READY
        self._driver.record_subflow(None, ElementRecord(
            self.call, 0, code, self._began_s if ran else None, time.time(), int(ran),
            "flow" if ran else None, self.name, error,
            state.message if error is None else None))


def _number(parent: FlowRunContext, flow_name: str, parameters: str) -> int:
    """Return the number of the call; of one that was recorded with such parameters, its own."""
    driver: Any = parent.driver
    store = parent.store
    number: int
    if getattr(driver, "resumption", None) is None or not isinstance(store, Store):
        number = driver.next_call(flow_name, KIND)
        return number

    def fits(call: int) -> bool:
        rows = store.flow_runs(parent=task_run_id(parent.run.flow_run_id, call, 0), limit=1)
        return not rows or rows[0].parameters == parameters

    number = driver.next_flow(flow_name, KIND, fits)
    return number


class Ended:
    """The driver of code whose run has ended or gone on without it: it takes no calls."""

    def __init__(self, driver: Any, why: str) -> None:
        self._driver = driver
        self._why = why

    def next_call(self, task_name: str = "", kind: str = "") -> int:
        """Refuse a call.

        Raises
        ------
        MissingContextError
            Always.
        """
        raise MissingContextError(
            f"{self._why}: this code goes on after it and can call, submit and map nothing in it")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def upstream_calls(flow_run: FlowRunContext, *values: Any) -> tuple[int, ...]:
    """Return the calls of a run whose futures and states stand in values, at any depth."""
    calls: set[int] = set()

    def note(marker: Marker) -> Marker:
        future = marker.future if isinstance(marker, State) else marker
        if isinstance(future, (Future, FutureList)) and future.handle.flow_run is flow_run:
            calls.add(future.handle.call)
        elif isinstance(marker, Annotation):
            look(marker.value)
        return marker

    def look(value: Any) -> None:
        if has_marker(value):
            substitute(value, note)

    for value in values:
        look(value)
    return tuple(sorted(calls))


def not_ready(flow_name: str, failed: Any) -> State:
    """Return the state of a flow that does not run because of an argument."""
    whole = isinstance(failed, FutureList)
    cause = failed.fault if whole else failed.result(raise_on_failure=False)
    name = failed.handle.view.task_name if whole else getattr(failed, "name", "?")
    kind = "map of task" if whole else "task run"
    message = f"Upstream {kind} {name!r} did not reach a 'COMPLETED' state."
    error = UpstreamTaskError(f"Flow {flow_name!r} did not run: {message}",
                              upstream_task_run_name=name)
    error.__cause__ = cause
    return Pending("NotReady", message=message, data=error)
