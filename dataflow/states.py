"""States as users make and read them: constructors, questions, the rule of many.

Lives here: everything that people import from ``dataflow.states``. Does not
live here: :class:`State` itself (``state.py``), the moves between states
(``outcomes.py``, ``flow_moves.py``, ``engine/``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from dataflow.failures import text_of, type_name
from dataflow.state import TERMINAL, State, StateType, exception_in, states_in
from dataflow.state_details import StateDetails, moment

__all__ = [
    "TERMINAL", "TERMINAL_STATES", "AwaitingConcurrencySlot", "AwaitingRetry", "Cancelled",
    "Cancelling", "Completed", "Crashed", "Failed", "InfrastructurePending", "Late", "Paused",
    "Pending", "Retrying", "Running", "Scheduled", "State", "StateDetails", "StateGroup",
    "StateType", "Submitting", "Suspended",
    "aggregate", "exception_in", "exception_to_crashed_state", "exception_to_failed_state",
    "get_state_exception", "is_state", "is_state_group", "is_state_iterable",
    "raise_state_exception",
]

TERMINAL_STATES = TERMINAL


def is_state(value: Any) -> TypeGuard[State]:
    """Tell whether a value is a state."""
    return isinstance(value, State)


def is_state_iterable(value: Any) -> TypeGuard[Iterable[State]]:
    """Tell whether a value is a non-empty list, tuple or set of nothing but states."""
    return bool(states_in(value))


def is_state_group(value: Any) -> bool:
    """Tell whether a value is a state or a non-empty list, tuple or set of only states."""
    return isinstance(value, State) or bool(states_in(value))


class StateGroup:
    """Several states, counted.

    Parameters
    ----------
    states
        The states.
    """

    def __init__(self, states: Iterable[State]) -> None:
        self.states = list(states)
        self.total_count = len(self.states)
        self.type_counts = Counter(state.type for state in self.states)
        self.cancelled_count = self.type_counts[StateType.CANCELLED]
        self.final_count = sum(self.type_counts[kind] for kind in TERMINAL)
        self.not_final_count = self.total_count - self.final_count
        self.paused_count = self.type_counts[StateType.PAUSED]

    @property
    def fail_count(self) -> int:
        """How many FAILED or CRASHED."""
        return self.type_counts[StateType.FAILED] + self.type_counts[StateType.CRASHED]

    def all_completed(self) -> bool:
        """Tell whether every one is COMPLETED."""
        return self.type_counts[StateType.COMPLETED] == self.total_count

    def any_cancelled(self) -> bool:
        """Tell whether one is CANCELLED."""
        return self.cancelled_count > 0

    def any_failed(self) -> bool:
        """Tell whether one is FAILED or CRASHED."""
        return self.fail_count > 0

    def any_paused(self) -> bool:
        """Tell whether one is PAUSED."""
        return self.paused_count > 0

    def all_final(self) -> bool:
        """Tell whether every one has ended."""
        return self.final_count == self.total_count

    def counts_message(self) -> str:
        """Return the counts as a text: ``total=3 'COMPLETED'=2 'FAILED'=1``."""
        parts = [f"total={self.total_count}"]
        parts += [f"'{kind.value}'={count}" for kind, count in sorted(self.type_counts.items())]
        return " ".join(parts)

    def summed_up(self) -> tuple[StateType, str]:
        """Return type and message of the one state that stands for all."""
        total = self.total_count
        if self.all_completed():
            return StateType.COMPLETED, "All states completed."
        if self.any_cancelled():
            return StateType.CANCELLED, f"{self.cancelled_count}/{total} states cancelled."
        if self.any_paused():
            return StateType.PAUSED, f"{self.paused_count}/{total} states paused."
        if self.any_failed():
            return StateType.FAILED, f"{self.fail_count}/{total} states failed."
        return StateType.FAILED, f"{self.not_final_count}/{total} states are not final."


def aggregate(value: Any) -> State:
    """Return the state that sums up a state or a group of them, which becomes its data."""
    states = [value] if isinstance(value, State) else states_in(value)
    kind, message = StateGroup(states).summed_up()
    return State(kind, message=message, data=value)


def get_state_exception(state: State) -> BaseException:
    """Return the exception of a state that did not complete.

    Raises
    ------
    ValueError
        The state is neither FAILED nor CRASHED nor CANCELLED, or only pending or running.
    TypeError
        Its data is nothing that stands for an exception.
    """
    if not (state.is_failed() or state.is_crashed() or state.is_cancelled()):
        raise ValueError(f"Expected failed or crashed state got {state!r}.")
    return exception_in(state)


def raise_state_exception(state: State) -> None:
    """Raise the exception of a FAILED, CRASHED or CANCELLED state; else do nothing."""
    if state.is_failed() or state.is_crashed() or state.is_cancelled():
        raise exception_in(state)


def exception_to_failed_state(error: BaseException, message: str | None = None,
                              **fields: Any) -> State:
    """Return a FAILED state of an exception; its text follows the message."""
    return Failed(message=_with_text(message, error), data=error, **fields)


def exception_to_crashed_state(error: BaseException, message: str | None = None,
                               **fields: Any) -> State:
    """Return a CRASHED state of an exception; its text follows the message."""
    return Crashed(message=_with_text(message, error), data=error, **fields)


def _with_text(message: str | None, error: BaseException) -> str:
    text = f"{type_name(type(error))}: {text_of(error)}"
    return text if message is None else f"{message} {text}"


def _with_details(fields: dict[str, Any], **details: Any) -> dict[str, Any]:
    """Return the fields of a state with some details more. Raises ValueError for one said twice."""
    known = fields.get("state_details")
    given = {} if known is None else known.given()
    twice = sorted(name for name in details if name in given)
    if twice:
        raise ValueError(f"An extra {twice[0]} was provided in state_details")
    made = {name: value for name, value in details.items() if value not in (None, False)}
    return {**fields, "state_details": StateDetails(**{**given, **made})}


def Scheduled(name: str | None = None, scheduled_time: datetime | None = None,
              **fields: Any) -> State:
    """Return a SCHEDULED state; without a time, for now."""
    fields = _with_details(fields, scheduled_time=scheduled_time or moment())
    return State(StateType.SCHEDULED, name, **fields)


def Late(name: str = "Late", scheduled_time: datetime | None = None, **fields: Any) -> State:
    """Return a SCHEDULED state whose time is over."""
    return Scheduled(name, scheduled_time, **fields)


def AwaitingRetry(name: str = "AwaitingRetry", scheduled_time: datetime | None = None,
                  **fields: Any) -> State:
    """Return a SCHEDULED state that waits for its next attempt."""
    return Scheduled(name, scheduled_time, **fields)


def AwaitingConcurrencySlot(name: str = "AwaitingConcurrencySlot",
                            scheduled_time: datetime | None = None, **fields: Any) -> State:
    """Return a SCHEDULED state that waits for others to end."""
    return Scheduled(name, scheduled_time, **fields)


def Pending(name: str | None = None, **fields: Any) -> State:
    """Return a PENDING state."""
    return State(StateType.PENDING, name, **fields)


def Submitting(name: str = "Submitting", **fields: Any) -> State:
    """Return a PENDING state of a run that is handed to what will run it."""
    return State(StateType.PENDING, name, **fields)


def InfrastructurePending(name: str = "InfrastructurePending", **fields: Any) -> State:
    """Return a PENDING state of a run whose infrastructure is being made."""
    return State(StateType.PENDING, name, **fields)


def Running(name: str | None = None, **fields: Any) -> State:
    """Return a RUNNING state."""
    return State(StateType.RUNNING, name, **fields)


def Retrying(name: str = "Retrying", **fields: Any) -> State:
    """Return a RUNNING state of another attempt."""
    return State(StateType.RUNNING, name, **fields)


def Paused(name: str | None = None, timeout_seconds: float | None = None,
           pause_expiration_time: datetime | None = None, reschedule: bool = False,
           pause_key: str | None = None, **fields: Any) -> State:
    """Return a PAUSED state.

    Parameters
    ----------
    timeout_seconds, pause_expiration_time
        When the pause is given up: one of them, or none for never.
    reschedule
        The run ends meanwhile and is made again.
    pause_key
        Names the pause; a run pauses once for each.

    Raises
    ------
    ValueError
        Both times are given.
    """
    if timeout_seconds is not None and pause_expiration_time is not None:
        raise ValueError(
            "Cannot supply both of pause_expiration_time and timeout_seconds: give one.")
    if timeout_seconds is not None:
        pause_expiration_time = moment() + timedelta(seconds=timeout_seconds)
    fields = _with_details(fields, pause_timeout=pause_expiration_time,
                           pause_reschedule=reschedule, pause_key=pause_key)
    return State(StateType.PAUSED, name, **fields)


def Suspended(name: str = "Suspended", timeout_seconds: float | None = None,
              pause_expiration_time: datetime | None = None, pause_key: str | None = None,
              **fields: Any) -> State:
    """Return a PAUSED state whose run has ended meanwhile and is made again."""
    return Paused(name, timeout_seconds, pause_expiration_time, True, pause_key, **fields)


def Cancelling(name: str | None = None, **fields: Any) -> State:
    """Return a CANCELLING state."""
    return State(StateType.CANCELLING, name, **fields)


def Completed(name: str | None = None, **fields: Any) -> State:
    """Return a COMPLETED state; ``data`` is the value."""
    return State(StateType.COMPLETED, name, **fields)


def Failed(name: str | None = None, **fields: Any) -> State:
    """Return a FAILED state; ``data`` is the exception."""
    return State(StateType.FAILED, name, **fields)


def Crashed(name: str | None = None, **fields: Any) -> State:
    """Return a CRASHED state; ``data`` is the exception."""
    return State(StateType.CRASHED, name, **fields)


def Cancelled(name: str | None = None, **fields: Any) -> State:
    """Return a CANCELLED state."""
    return State(StateType.CANCELLED, name, **fields)
