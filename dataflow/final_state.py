"""How a flow run ended, from what its function returned or raised.

Lives here: futures in a return value made into states with their values, the
rule of many states, the list of failures that nobody looked at. Does not live
here: running the function (``flow_run.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.context import FlowRunContext
from dataflow.exceptions import DataflowError, FailedRun
from dataflow.failures import describe, exception_of, text_of, type_name
from dataflow.futures import Future, FutureList
from dataflow.graph import CallView
from dataflow.handles import CallHandle, Deadline
from dataflow.names import name_in
from dataflow.outcomes import STATE_OF, ErrorRecord
from dataflow.resolve import Marker, substitute
from dataflow.states import (
    Cancelled,
    Crashed,
    Failed,
    State,
    StateType,
    aggregate,
    is_state_group,
)


def wait_for_futures(value: Any) -> None:
    """Wait for every future in a return value."""
    def wait(marker: Marker) -> Marker:
        if isinstance(marker, (Future, FutureList)):
            marker.wait()
        return marker

    substitute(value, wait)


class Returned:
    """A return value with states in the place of its futures, values fetched.

    Attributes
    ----------
    lost
        What went wrong while values were fetched.
    """

    def __init__(self, value: Any) -> None:
        self._pending: dict[int, tuple[CallHandle, list[tuple[int, State]]]] = {}
        self.lost: list[str] = []
        self.value = substitute(value, self._state_of)
        for handle, states in self._pending.values():
            self._fetch(handle, states)

    def _state_of(self, marker: Marker) -> Any:
        match marker:
            case Future():
                return self._one(marker)
            case FutureList():
                return self._many(marker)
            case State() if isinstance(marker.future, Future):
                self._note(marker.future, marker)
        return marker

    def _many(self, futures: FutureList[Any]) -> list[State]:
        """Return the states of a map's elements, and one more where it failed as a whole."""
        fault = futures.fault
        states = [self._one(Future(futures.handle, index)) for index in futures.known()]
        if fault is not None:
            states.append(Failed(message=f"{type_name(type(fault))}: {fault}", data=fault))
        return states

    def _one(self, future: Future[Any]) -> State:
        state = future.state
        self._note(future, state)
        return state

    def _note(self, future: Future[Any], state: State) -> None:
        handle = future.handle
        if future.fetched:
            state.keep(future.result())
        elif state.is_final():
            self._pending.setdefault(id(handle), (handle, []))[1].append((future.index, state))

    def _fetch(self, handle: CallHandle, states: list[tuple[int, State]]) -> None:
        good = [(index, state) for index, state in states if state.is_completed()]
        for index, state in states:
            if not state.is_completed():
                state.keep(handle.error(index))
        try:
            values = handle.values([index for index, _ in good], Deadline(None))
        except DataflowError as error:
            self.lost.append(str(error))
            return
        for (_, state), value in zip(good, values, strict=True):
            state.keep(value)

    def state(self) -> State:
        """Return the final state of a flow run that returned this."""
        value = self.value
        if isinstance(value, State) and value.state_details.is_empty():
            if value.is_completed() and not value.has_data():
                value.keep(None)
            return value
        if is_state_group(value):
            return aggregate(value)
        return State(StateType.COMPLETED, data=value)


def failed(error: Exception) -> State:
    """Return the state of a run whose function raised."""
    return Failed(message=f"Flow run encountered an exception: {_text(error)}", data=error)


def aborted(error: BaseException) -> State:
    """Return the state of a run that was ended by something else than an Exception."""
    match error:
        case KeyboardInterrupt():
            return Cancelled(message="Interrupted")
        case SystemExit():
            return Crashed(message="Execution was aborted by Python system exit call.", data=error)
    if type(error).__name__ == "CancelledError":
        return Cancelled(message="Execution was cancelled by the runtime environment.")
    if isinstance(error, GeneratorExit):
        return Cancelled(message="The coroutine of the flow was closed before its end.")
    return Crashed(message=f"Execution was aborted: {_text(error)}", data=error)


def _text(error: BaseException) -> str:
    text = text_of(error)
    return f"{type_name(type(error))}: {text}" if text else type_name(type(error))


@dataclass(frozen=True, slots=True)
class Unseen:
    """Failures of task runs that nobody has looked at.

    Attributes
    ----------
    text
        How many, and one line for each call.
    first
        Exception of the first of them.
    """

    text: str
    first: BaseException | None

    def error(self) -> FailedRun:
        """Return the error of a flow run that must not have any."""
        error = FailedRun(self.text)
        error.__cause__ = self.first
        return error


def unseen_failures(flow_run: FlowRunContext) -> Unseen | None:
    """Return the failures that nobody has looked at, None where there are none."""
    lines, count, seen = [], 0, flow_run.consumed
    first: ErrorRecord | None = None
    views = {view.call: view for view, _ in flow_run.driver.failures()}
    for call, view in views.items():
        if (call, None) in seen:
            continue
        unseen = [index for index in list(view.failed_order) if (call, index) not in seen]
        if view.fault is not None and view.cause_of(len(view.codes)) is None:
            unseen.append(len(view.codes))  # stands for the call as a whole
        if unseen:
            count += len(unseen)
            lines.append(_line(flow_run.run.flow_run_id, view, unseen[0], len(unseen) - 1))
            first = first or view.errors.get(unseen[0]) or view.fault
    if not lines:
        return None
    what = "1 task run" if count == 1 else f"{count} task runs"
    return Unseen(
        f"{what} did not complete, and the flow neither took nor returned the result:\n"
        + "\n".join(lines), exception_of(first) if first is not None else None)


def _line(flow_run_id: str, view: CallView, index: int, others: int) -> str:
    name = name_in(view, flow_run_id, index)
    record = view.errors.get(index) or view.fault
    if index >= len(view.codes):
        name = f"map of task {view.task_name!r}"
    why = describe(record) if record else STATE_OF[view.code(index)][1]
    more = f" and {others} more of this map" if others > 0 else ""
    return f"  {name}: {why}{more}"
