"""States: types, names, predicates, text, results."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    AwaitingRetry,
    Cancelled,
    CancelledRun,
    Cancelling,
    Completed,
    Crashed,
    CrashedRun,
    Failed,
    FailedRun,
    MissingResult,
    Paused,
    PausedRun,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateType,
    UnfinishedRun,
    flow,
    task,
)

TYPES = ("SCHEDULED PENDING RUNNING PAUSED CANCELLING COMPLETED FAILED CRASHED CANCELLED").split()
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


def test_there_are_nine_types() -> None:
    assert sorted(t.value for t in StateType) == sorted(TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_predicates_tell_the_type_and_whether_it_is_final(kind: str) -> None:
    state = State(type=StateType(kind))
    told = {name: getattr(state, f"is_{name.lower()}")() for name in TYPES}
    assert [name for name, true in told.items() if true] == [kind]
    assert state.is_final() is (kind in FINAL)


@pytest.mark.parametrize("kind", TYPES)
def test_the_name_defaults_to_the_type_in_plain_words(kind: str) -> None:
    assert State(type=StateType(kind)).name == kind.capitalize()


@pytest.mark.parametrize("make, kind, name", [
    (Completed, "COMPLETED", "Completed"), (Failed, "FAILED", "Failed"),
    (Cancelled, "CANCELLED", "Cancelled"), (Crashed, "CRASHED", "Crashed"),
    (Pending, "PENDING", "Pending"), (Running, "RUNNING", "Running"),
    (Scheduled, "SCHEDULED", "Scheduled"), (Paused, "PAUSED", "Paused"),
    (Cancelling, "CANCELLING", "Cancelling"), (AwaitingRetry, "SCHEDULED", "AwaitingRetry"),
    (Retrying, "RUNNING", "Retrying"),
])
def test_constructors_make_states_of_their_type_and_name(make: Any, kind: str, name: str) -> None:
    state = make()
    assert (state.type.value, state.name) == (kind, name)


def test_fields_are_there() -> None:
    state = Completed(message="m", data=1)
    assert uuid.UUID(str(state.id))
    assert state.timestamp.utcoffset() == timedelta(0)
    assert (state.message, state.name) == ("m", "Completed")
    assert state.state_details is not None


def test_two_states_have_two_ids() -> None:
    assert Completed().id != Completed().id


@pytest.mark.parametrize("make, text", [
    (lambda: Completed(), "Completed()"),
    (lambda: Failed(message="msg"), "Failed('msg')"),
    (lambda: Completed(name="Cached"), "Cached(type=COMPLETED)"),
    (lambda: Completed(name="Cached", message="m"), "Cached('m', type=COMPLETED)"),
    (lambda: Cancelled(), "Cancelled()"),
], ids=["plain", "message", "name", "both", "cancelled"])
def test_text_says_name_message_and_type_where_it_is_another(make: Any, text: str) -> None:
    assert str(make()) == text


def test_repr_says_message_type_and_result() -> None:
    text = repr(Completed(message="m", data=7))
    assert text == "Completed(message='m', type=COMPLETED, result=7)"


# result

def test_result_of_a_completed_state_is_its_data() -> None:
    assert Completed(data=[1]).result() == [1]


def test_result_of_a_completed_state_without_data_is_missing() -> None:
    with pytest.raises(MissingResult):
        State(type=StateType.COMPLETED).result()


@pytest.mark.parametrize("make", [Pending, Running, Scheduled, Cancelling], ids=str)
def test_result_of_an_unfinished_state(make: Any) -> None:
    with pytest.raises(UnfinishedRun):
        make().result()


def test_result_of_a_paused_state() -> None:
    with pytest.raises(PausedRun):
        Paused().result()


@pytest.mark.parametrize("make, kind", [
    (Failed, FailedRun), (Crashed, CrashedRun), (Cancelled, CancelledRun)])
def test_result_of_an_unsuccessful_state_raises_by_its_message_or_data(
    make: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="why"):
        make(message="why").result()
    with pytest.raises(kind, match="why"):
        make(data="why").result()
    with pytest.raises(ZeroDivisionError, match="own"):
        make(data=ZeroDivisionError("own")).result()
    assert isinstance(make(message="why").result(raise_on_failure=False), kind)


def test_result_of_a_state_that_holds_a_state_is_that_ones() -> None:
    with pytest.raises(ValueError, match="inner"):
        Failed(data=Failed(data=ValueError("inner"))).result()


def test_result_of_a_state_that_holds_states_is_the_first_failure() -> None:
    with pytest.raises(ValueError, match="second"):
        Failed(data=[Completed(data=1), Failed(data=ValueError("second"))]).result()


def test_result_of_a_failed_state_with_other_data_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Failed(data=7).result()


def test_failures_are_returned_where_they_are_not_raised() -> None:
    error = ValueError("e")
    assert Failed(data=error).result(raise_on_failure=False) is error


# states of runs

def test_states_of_task_runs_know_their_run(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = inc.submit(1)
        future.wait()
        state = future.state
        return {"found": (str(state.state_details.task_run_id) == str(future.task_run_id),
                          state.state_details.flow_run_id is not None)}

    assert run() == {"found": (True, True)}


def test_a_failed_task_says_with_what(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        state = boom.submit(1, return_state=True)
        return {"found": (state.name, "ValueError" in state.message, "boom 1" in state.message)}

    assert run() == {"found": ("Failed", True, True)}


def test_the_message_of_a_failed_task_is_prefects(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": boom.submit(1, return_state=True).message}

    assert run() == {
        "found": "Task run encountered an exception ValueError: boom 1"}


def test_states_cross_into_tasks_as_values_only(runner: Any) -> None:
    @task
    def told(x: Any) -> str:
        return repr(x)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": told.submit(inc.submit(1, return_state=True)).result()}

    assert run() == {"found": "2"}


def test_a_state_made_by_hand_is_resolved_as_an_argument(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (inc(Completed(data=1)), inc.submit(Completed(data=2)).result())}

    assert run() == {"found": (2, 3)}


def test_a_task_may_return_a_state(runner: Any) -> None:
    @task
    def by_hand(fail: bool) -> Any:
        return Failed(message="by hand") if fail else Completed(message="fine", data=5)

    @flow(task_runner=runner)
    def run() -> Any:
        good = by_hand.submit(False, return_state=True)
        bad = by_hand.submit(True, return_state=True)
        return {"found": (good.message, good.result(), bad.is_failed(), bad.message)}

    assert run() == {"found": ("fine", 5, True, "by hand")}


@pytest.mark.parametrize("make, kind", [
    (lambda: ExceptionGroup("g", [ValueError(1), KeyError("k")]), "ExceptionGroup"),
    (lambda: StopIteration("over"), "StopIteration"),
    (lambda: OSError(2, "No such file", "name"), "FileNotFoundError"),
    (lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "UnicodeDecodeError"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_exceptions_of_every_make_are_failures(runner: Any, make: Any, kind: str) -> None:
    @task
    def fails() -> None:
        raise make()

    @flow(task_runner=runner)
    def run() -> Any:
        future = fails.submit()
        error = future.result(raise_on_failure=False)
        return {"found": (future.state.name, type(error).__name__, str(error) == str(make()))}

    assert run() == {"found": ("Failed", kind, True)}


def test_an_exception_keeps_its_cause(runner: Any) -> None:
    @task
    def fails() -> None:
        try:
            _ = 1 / 0
        except ZeroDivisionError as error:
            raise KeyError("outer") from error

    @flow(task_runner=runner)
    def run() -> Any:
        error = fails.submit().result(raise_on_failure=False)
        return {"found": (type(error), type(error.__cause__))}

    assert run() == {"found": (KeyError, ZeroDivisionError)}


def test_states_returned_by_elements_of_a_map_are_theirs(runner: Any) -> None:
    @task
    def by_hand(x: int) -> Any:
        return Failed(message="no") if x else Completed(message="yes", data=5)

    @flow(task_runner=runner)
    def run() -> Any:
        futures = by_hand.map([0, 1])
        after = inc.map(futures)
        after.wait()
        return {"found": ([f.state.message for f in futures], futures[0].result(),
                          [f.state.name for f in after])}

    assert run() == {"found": (["yes", "no"], 5, ["Completed", "NotReady"])}
