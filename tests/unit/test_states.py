"""States: text, predicates, results, and the rule of many."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from dataflow import states
from dataflow.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    UnfinishedRun,
)
from dataflow.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Running,
    Scheduled,
    State,
    StateType,
    aggregate,
    is_state_group,
)


@pytest.mark.parametrize("state, text", [
    (Completed(), "Completed()"),
    (Failed(message="no"), "Failed('no')"),
    (Completed("Cached"), "Cached(type=COMPLETED)"),
    (Pending("NotReady", message="m"), "NotReady('m', type=PENDING)"),
])
def test_text_of_a_state_shows_the_type_where_the_name_does_not(state: State, text: str) -> None:
    assert str(state) == text


def test_repr_shows_message_type_and_result() -> None:
    assert repr(Completed(message="m", data=3)) == (
        "Completed(message='m', type=COMPLETED, result=3)")


@pytest.mark.parametrize("kind", list(StateType))
def test_one_predicate_is_true_per_type(kind: StateType) -> None:
    state = State(kind)
    true = [name for name in dir(State) if name.startswith("is_") and name != "is_final"
            and getattr(state, name)()]
    assert true == [f"is_{kind.value.lower()}"]
    assert state.is_final() == (kind in states.TERMINAL)


def test_not_ready_is_final_since_it_never_moves_again() -> None:
    assert Pending("NotReady").is_final() and not Pending().is_final()


def test_default_name_is_the_type_in_plain_words() -> None:
    assert (State("CANCELLING").name, State("COMPLETED").name) == ("Cancelling", "Completed")


def test_state_does_not_change() -> None:
    state = Completed()
    with pytest.raises(AttributeError, match="does not change"):
        state.name = "other"
    assert state.name == "Completed"


@pytest.mark.parametrize("state, error", [
    (Failed(message="m"), FailedRun), (Crashed(message="m"), CrashedRun),
    (Cancelled(message="m"), CancelledRun), (Paused(message="m"), PausedRun),
    (Running(), UnfinishedRun), (Scheduled(), UnfinishedRun), (Completed(), MissingResult),
    (Failed(data="why"), FailedRun), (Failed(data=ValueError("x")), ValueError),
    (Failed(data=Failed(data=KeyError("k"))), KeyError),
    (Failed(data=[Completed(data=1), Failed(data=KeyError("k"))]), KeyError),
    (Failed(data=5), TypeError),
])
def test_result_raises_what_the_state_stands_for(state: State, error: type[Exception]) -> None:
    with pytest.raises(error):
        state.result()


def test_result_without_raising_returns_the_exception_or_the_states() -> None:
    error, group = ValueError("x"), [Failed(message="m")]
    assert Failed(data=error).result(raise_on_failure=False) is error
    assert Failed(data=group).result(raise_on_failure=False) is group
    assert Completed(data=None).result() is None


@pytest.mark.parametrize("group, kind, message", [
    ([Completed(), Completed()], "COMPLETED", "All states completed."),
    ([Completed(), Cancelled()], "CANCELLED", "1/2 states cancelled."),
    ([Completed(), Paused(), Failed()], "PAUSED", "1/3 states paused."),
    ([Completed(), Failed(), Failed()], "FAILED", "2/3 states failed."),
    ([Completed(), Pending("NotReady")], "FAILED", "1/2 states are not final."),
    (Failed(), "FAILED", "1/1 states failed."),
])
def test_many_states_sum_up_to_one(group: Any, kind: str, message: str) -> None:
    state = aggregate(group)
    assert (state.type.value, state.message, state.data) == (kind, message, group)


def test_group_is_states_only_and_not_empty() -> None:
    assert is_state_group(Completed()) and is_state_group((Completed(),))
    assert not any(map(is_state_group, ([], [Completed(), 1], {"a": Completed()}, 1)))


def test_state_survives_pickle_with_its_data_and_id() -> None:
    state = Completed(message="m", data=[1])
    again = pickle.loads(pickle.dumps((state, state.id)))
    assert (again[0].data, again[0].message, again[0].id) == ([1], "m", again[1])


def test_value_of_a_future_is_fetched_when_first_asked_for() -> None:
    class Once:
        asked = 0

        def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
            self.asked += 1
            return 7

    future = Once()
    state = State("COMPLETED", future=future)
    assert state.future is future and future.asked == 0
    assert (state.data, state.data, state.result(), state.future) == (7, 7, 7, None)
    assert future.asked == 1
