"""One state of a run: :class:`State`, its type, and what its result is.

Lives here: the value. Does not live here: its details (``state_details.py``),
how users make states and what is said of many (``states.py``), the moves
between states (``outcomes.py``, ``flow_moves.py``, ``engine/``).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self, cast

from dataflow.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    UnfinishedRun,
)
from dataflow.resolve import Marker
from dataflow.state_details import StateDetails, moment


class StateType(StrEnum):
    """What a state means to the rules; names are labels within a type."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"


TERMINAL = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}
)
_UNSUCCESSFUL = {
    StateType.FAILED: FailedRun, StateType.CRASHED: CrashedRun, StateType.CANCELLED: CancelledRun,
}
_UNSET: Any = object()
_put = object.__setattr__
_NO_DETAILS = StateDetails()


class Fetching(Protocol):
    """A future, as far as a state needs it."""

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """Return the value, or the exception."""


class State(Marker):
    """A state of a flow run or task run. Does not change once made.

    Parameters
    ----------
    type
        A :class:`StateType` or its name.
    name
        Label; by default the type's name in plain words.
    message
        For people.
    data
        The value of a completed run, the exception of a failed one, or the
        states that this one sums up.

    Attributes
    ----------
    id
        Of the state; not of the run.
    timestamp
        In UTC: when the state was made, or read from a future. A state made
        later has a later one.
    state_details
        Which run it belongs to, and more: :class:`StateDetails`.
    """

    __slots__ = ("_data", "_future", "_id", "message", "name", "state_details", "timestamp", "type")

    type: StateType
    name: str
    message: str | None
    timestamp: datetime
    state_details: StateDetails
    _data: Any
    _future: Fetching | None
    _id: uuid.UUID | None

    def __init__(self, type: StateType | str, name: str | None = None,
                 message: str | None = None, data: Any = _UNSET, *,
                 timestamp: datetime | None = None, state_details: StateDetails = _NO_DETAILS,
                 future: Fetching | None = None, id: uuid.UUID | None = None) -> None:
        put = _put
        kind = type if isinstance(type, StateType) else StateType(type)
        put(self, "type", kind)
        put(self, "name", name or kind.value.replace("_", " ").capitalize())
        put(self, "message", message)
        put(self, "timestamp", timestamp or moment())
        put(self, "state_details", state_details)
        put(self, "_data", data)
        put(self, "_future", future)
        put(self, "_id", id)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a State does not change; make a new one to set {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.__slots__}
        return {**state, "_data": None if self._data is _UNSET else (self._data,), "_future": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data = state.pop("_data")
        for name, value in state.items():
            _put(self, name, value)
        _put(self, "_data", _UNSET if data is None else data[0])

    @property
    def id(self) -> uuid.UUID:
        """Id of this state, made when first asked for; of a task run's the same each time."""
        if self._id is None:
            run = self.state_details.task_run_id
            _put(self, "_id", uuid.uuid4() if run is None else
                 uuid.uuid5(uuid.NAMESPACE_OID, f"{run} {self.type} {self.name}"))
        return cast(uuid.UUID, self._id)

    @property
    def future(self) -> Any:
        """The future this state was read from, while its value is not fetched; else None."""
        return self._future if self._data is _UNSET else None

    @property
    def data(self) -> Any:
        """Value, exception or nested states; fetched when first asked for; None without any."""
        if self._data is _UNSET and self._future is not None:
            self.keep(self._future.result(raise_on_failure=False))
        return None if self._data is _UNSET else self._data

    def keep(self, data: Any) -> None:
        """Hold the value from now on instead of the way to it."""
        _put(self, "_data", data)
        _put(self, "_future", None)

    def has_data(self) -> bool:
        """Tell whether there is a value or exception, here or to be fetched."""
        return self._data is not _UNSET or self._future is not None

    def copy(self, *, update: dict[str, Any] | None = None) -> Self:
        """Return a state with some fields changed, a new id and the time of now."""
        fields = {"type": self.type, "name": self.name, "message": self.message,
                  "data": self._data, "future": self._future,
                  "state_details": self.state_details, "id": uuid.uuid4(), **(update or {})}
        return type(self)(**fields)

    def result(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
        """Return the value of a completed run.

        Parameters
        ----------
        raise_on_failure
            False: return the exception of an unsuccessful run instead of raising it.
        retry_result_failure
            Without meaning here: values do not lie in files that come late.

        Raises
        ------
        Exception
            The run's own, where it failed or crashed with one.
        FailedRun, CrashedRun, CancelledRun
            The run ended so and left no exception.
        PausedRun, UnfinishedRun
            The run has not ended.
        MissingResult
            The run completed and its value is not here.
        """
        if self._data is _UNSET and self._future is not None:
            return self._future.result(raise_on_failure=raise_on_failure)
        if self.type == StateType.PAUSED:
            return _raised(PausedRun(self.message or "The run is paused."), raise_on_failure)
        if self.type in _UNSUCCESSFUL:
            if not raise_on_failure and states_in(self._data):
                return self._data
            return _raised(exception_in(self), raise_on_failure)
        if self.type != StateType.COMPLETED:
            error = self._data if isinstance(self._data, BaseException) else UnfinishedRun(
                f"Run is in {self.name} state, its results are not available.")
            return _raised(error, raise_on_failure)
        if self._data is _UNSET:
            raise MissingResult("The state has no value: it was not kept, or never there.")
        return self._data

    async def aresult(self, raise_on_failure: bool = True,
                      retry_result_failure: bool = True) -> Any:
        """As :meth:`result`, for async code; a value that is far away does not block the loop."""
        if self.future is None:
            return self.result(raise_on_failure)
        import asyncio  # 30 ms that nothing else of a flow needs

        return await asyncio.to_thread(self.result, raise_on_failure)

    def is_scheduled(self) -> bool:
        """Tell whether the type is SCHEDULED."""
        return self.type == StateType.SCHEDULED

    def is_pending(self) -> bool:
        """Tell whether the type is PENDING."""
        return self.type == StateType.PENDING

    def is_running(self) -> bool:
        """Tell whether the type is RUNNING."""
        return self.type == StateType.RUNNING

    def is_paused(self) -> bool:
        """Tell whether the type is PAUSED."""
        return self.type == StateType.PAUSED

    def is_cancelling(self) -> bool:
        """Tell whether the type is CANCELLING."""
        return self.type == StateType.CANCELLING

    def is_completed(self) -> bool:
        """Tell whether the type is COMPLETED."""
        return self.type == StateType.COMPLETED

    def is_failed(self) -> bool:
        """Tell whether the type is FAILED."""
        return self.type == StateType.FAILED

    def is_crashed(self) -> bool:
        """Tell whether the type is CRASHED."""
        return self.type == StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Tell whether the type is CANCELLED."""
        return self.type == StateType.CANCELLED

    def is_final(self) -> bool:
        """Tell whether the run will never move again.

        True also for PENDING named NotReady: the engine decides once that a
        run cannot start, since an upstream's final state never changes, and
        whoever polls ``is_final()`` would otherwise wait for ever.
        """
        return self.type in TERMINAL or self.name == "NotReady"

    def __str__(self) -> str:
        parts = [] if self.message is None else [repr(self.message)]
        if self.name.upper().replace(" ", "_") != self.type.value:
            parts.append(f"type={self.type.value}")
        return f"{self.name}({', '.join(parts)})"

    def __repr__(self) -> str:
        shown = "<not fetched>" if self._data is _UNSET and self._future else repr(
            None if self._data is _UNSET else self._data)
        parts = [] if self.message is None else [f"message={self.message!r}"]
        parts += [f"type={self.type.value}", f"result={shown[:200]}"]
        return f"{self.name}({', '.join(parts)})"


def _raised(error: BaseException, raise_on_failure: bool) -> BaseException:
    if raise_on_failure:
        raise error
    return error


def states_in(data: Any) -> Sequence[State]:
    """Return the states of a non-empty list, tuple or set of nothing but states."""
    if isinstance(data, (list, tuple, set, frozenset)) and data:
        members = list(data)
        if all(isinstance(member, State) for member in members):
            return members
    return ()


def exception_in(state: State) -> BaseException:
    """Return the exception to raise for an unsuccessful state.

    Raises
    ------
    TypeError
        The state's data is nothing that stands for an exception.
    """
    data = state.data if state.has_data() else None
    wrapper = _UNSUCCESSFUL.get(state.type, UnfinishedRun)
    if isinstance(data, BaseException):
        return data
    if data is None:
        default = f"Run is in {state.name} state."
        return wrapper(state.message or default)
    if isinstance(data, str):
        return wrapper(data)
    if isinstance(data, State):
        return exception_in(data)
    for member in states_in(data):
        if not member.is_completed():
            return exception_in(member)
    raise TypeError(
        f"The data of a {state.name} state must be an exception, a text or states, "
        f"got {type(data).__name__}"
    )
