"""States: text, predicates, results, and the rule of many."""

from __future__ import annotations

import asyncio
import pickle
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dataflow import states
from dataflow.client.schemas import objects
from dataflow.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    UnfinishedRun,
)
from dataflow.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    InfrastructurePending,
    Late,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateDetails,
    StateGroup,
    StateType,
    Submitting,
    Suspended,
    aggregate,
    exception_to_crashed_state,
    exception_to_failed_state,
    get_state_exception,
    is_state,
    is_state_group,
    is_state_iterable,
    raise_state_exception,
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


RUN = "0badcafe-0000-4000-8000-000000000001"


@pytest.mark.parametrize("make, kind, name", [
    (Scheduled, "SCHEDULED", "Scheduled"), (Late, "SCHEDULED", "Late"),
    (AwaitingRetry, "SCHEDULED", "AwaitingRetry"),
    (AwaitingConcurrencySlot, "SCHEDULED", "AwaitingConcurrencySlot"),
    (Pending, "PENDING", "Pending"), (Submitting, "PENDING", "Submitting"),
    (InfrastructurePending, "PENDING", "InfrastructurePending"), (Running, "RUNNING", "Running"),
    (Retrying, "RUNNING", "Retrying"), (Paused, "PAUSED", "Paused"),
    (Suspended, "PAUSED", "Suspended"), (Cancelling, "CANCELLING", "Cancelling"),
    (Completed, "COMPLETED", "Completed"), (Failed, "FAILED", "Failed"),
    (Crashed, "CRASHED", "Crashed"), (Cancelled, "CANCELLED", "Cancelled"),
])
def test_constructors_give_type_and_name(make: Any, kind: str, name: str) -> None:
    state = make(message="m")
    assert (state.type.value, state.name, state.message) == (kind, name, "m")
    assert make(name="Other").name == "Other"
    assert isinstance(state.id, uuid.UUID) and state.id == state.id != make().id


def test_timestamps_are_in_utc_and_each_is_later_than_the_one_before() -> None:
    moments = [Running().timestamp for _ in range(1_000)]
    assert moments[0].utcoffset() == timedelta(0)
    assert all(before < after for before, after in pairwise(moments))


def test_scheduled_states_know_when_and_are_told_once() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert Late(scheduled_time=at).state_details.scheduled_time == at
    assert Scheduled().state_details.scheduled_time <= datetime.now(UTC) + timedelta(seconds=1)
    with pytest.raises(ValueError, match="extra scheduled_time"):
        AwaitingRetry(scheduled_time=at, state_details=StateDetails(scheduled_time=at))


def test_paused_states_know_until_when_and_how() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    paused = Suspended(pause_expiration_time=at, pause_key="k").state_details
    assert (paused.pause_timeout, paused.pause_key, paused.pause_reschedule) == (at, "k", True)
    assert Paused(timeout_seconds=60).state_details.pause_timeout > datetime.now(UTC)
    assert Paused().state_details.pause_timeout is None
    with pytest.raises(ValueError, match="Cannot supply both"):
        Paused(timeout_seconds=1, pause_expiration_time=at)


def test_details_are_none_or_false_where_nothing_is_known() -> None:
    details = Completed().state_details
    names = ("flow_run_id task_run_id child_flow_run_id scheduled_time cache_key cache_expiration "
             "deferred untrackable_result pause_timeout pause_reschedule pause_key "
             "run_input_keyset refresh_cache retriable transition_id task_parameters_id "
             "traceparent deployment_concurrency_lease_id").split()
    assert {getattr(details, name) for name in names} == {None, False}
    with pytest.raises(AttributeError, match="no detail 'colour'"):
        _ = details.colour
    with pytest.raises(TypeError, match="no detail 'colour'"):
        StateDetails(colour=1)


def test_details_compare_by_their_fields_and_survive_pickle() -> None:
    one, two = (StateDetails(RUN, (3, 7), cache_key="k") for _ in range(2))
    assert one == two == pickle.loads(pickle.dumps(one)) != StateDetails(RUN)
    assert one.task_run_id == StateDetails(RUN, (3, 7)).task_run_id is not None
    assert StateDetails(RUN, task_run_id="t").task_run_id == "t"
    assert repr(StateDetails(RUN)) == f"StateDetails(flow_run_id={RUN!r})"


def test_state_of_a_task_run_has_the_same_id_each_time_it_is_read() -> None:
    one, two = (State("COMPLETED", state_details=StateDetails(RUN, (0, 1))) for _ in range(2))
    assert one.id == two.id != State("FAILED", state_details=StateDetails(RUN, (0, 1))).id


def test_copy_changes_what_is_said_and_is_another_state() -> None:
    state = Completed(message="m", data=3, state_details=StateDetails(RUN, (0, 1)))
    other = state.copy(update={"name": "Cached"})
    assert (other.name, other.message, other.data, other.state_details) == (
        "Cached", "m", 3, state.state_details)
    assert other.id != state.id and other.timestamp > state.timestamp and state.name == "Completed"


def test_result_is_awaited_in_async_code() -> None:
    async def body() -> Any:
        with pytest.raises(KeyError):
            await Failed(data=KeyError("k")).aresult()
        return await Completed(data=3).aresult(), await Failed(data="no").aresult(
            raise_on_failure=False)

    value, error = asyncio.run(body())
    assert value == 3 and isinstance(error, FailedRun)


def test_questions_about_states() -> None:
    error = ValueError("x")
    assert is_state(Completed()) and not is_state([Completed()])
    assert is_state_iterable([Completed()]) and not is_state_iterable([])
    assert get_state_exception(Crashed(data=error)) is error
    assert raise_state_exception(Completed()) is None  # type: ignore[func-returns-value]
    with pytest.raises(CancelledRun, match="m"):
        raise_state_exception(Cancelled(message="m"))
    with pytest.raises(ValueError, match="Expected failed or crashed"):
        get_state_exception(Running())


def test_group_counts_its_states() -> None:
    group = StateGroup([Completed(), Failed(), Crashed(), Paused(), Cancelled(), Running()])
    assert (group.total_count, group.fail_count, group.cancelled_count, group.paused_count,
            group.final_count, group.not_final_count) == (6, 2, 1, 1, 4, 2)
    assert group.any_failed() and group.any_paused() and group.any_cancelled()
    assert not group.all_completed() and not group.all_final()
    assert StateGroup([Completed()] * 2).counts_message() == "total=2 'COMPLETED'=2"


@pytest.mark.parametrize("make, kind", [
    (exception_to_failed_state, "FAILED"), (exception_to_crashed_state, "CRASHED"),
])
def test_exceptions_become_states(make: Any, kind: str) -> None:
    error = ValueError("x")
    state = make(error, "It broke:")
    assert (state.type.value, state.message, state.data) == (kind, "It broke: ValueError: x", error)


def test_types_are_found_where_hooks_are_annotated_from() -> None:
    assert (objects.State, objects.StateType) == (State, StateType)
    assert objects.TERMINAL_STATES is states.TERMINAL
    assert {objects.FlowRun.__name__, objects.TaskRun.__name__} == {"FlowRunView", "TaskRunView"}
