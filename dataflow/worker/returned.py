"""A function that returned a state: the task run becomes that state.

Lives here: from the :class:`dataflow.states.State` that a task's function
returned to a value, or to the failure that it stands for. Does not live here:
the final-state rule of flows (``final_state.py``).
"""

from __future__ import annotations

from typing import Any

from dataflow.exceptions import FailedRun, UnfinishedRun
from dataflow.outcomes import STATE_OF, Code, Said
from dataflow.states import State, StateType, aggregate, exception_in, is_state_group

_CODES = {
    StateType.FAILED: Code.FAILED, StateType.CRASHED: Code.CRASHED,
    StateType.CANCELLED: Code.CANCELLED,
}


class ReturnedState(Exception):
    """Raised for a returned state that is no success.

    Attributes
    ----------
    code
        What the attempt came to.
    error
        The exception that stands for it.
    said
        Its message and name.
    """

    def __init__(self, code: Code, error: BaseException, said: Said | None) -> None:
        super().__init__(code, said)
        self.code = code
        self.error = error
        self.said = said


def adopted(returned: Any, task: str) -> tuple[Any, Said | None]:
    """Return (value, what is said) of a task run whose function returned a state or several.

    What is no state, nor a list, tuple or set of nothing but states, is the value itself.

    Raises
    ------
    ReturnedState
        The state says that the run failed, crashed or was cancelled, or it is not final.
    """
    if isinstance(returned, State):
        state = returned
    elif _is_group(returned):
        state = aggregate(returned)
    else:
        return returned, None
    if state.type == StateType.COMPLETED:
        return (state.data if state.has_data() else None), _said_by(state, Code.COMPLETED)
    code = _CODES.get(state.type)
    if code is None:
        raise ReturnedState(Code.FAILED, UnfinishedRun(
            f"Task {task!r} returned the state {state}, which is not final: return a final "
            "state, or raise."), None)
    if state.name == "TimedOut":
        code = Code.TIMED_OUT
    raise ReturnedState(code, _error_of(state, task), _said_by(state, code))


def _is_group(returned: Any) -> bool:
    """Tell whether there is nothing but states; looks at the first member before all others."""
    if not returned or not isinstance(next(iter(returned)), State):
        return False
    return is_state_group(returned)


def _said_by(state: State, code: Code) -> Said | None:
    name = None if state.name == STATE_OF[code][1] else state.name
    return None if name is None and state.message is None else Said(state.message, name)


def _error_of(state: State, task: str) -> BaseException:
    try:
        return exception_in(state)
    except TypeError as error:
        return FailedRun(f"Task {task!r} returned the state {state}: {error}")
