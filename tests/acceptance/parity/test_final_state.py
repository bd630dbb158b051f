"""The final state of a flow by what it returns, and what its caller gets."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    Cancelled,
    CancelledRun,
    Completed,
    Crashed,
    CrashedRun,
    Failed,
    FailedRun,
    Paused,
    Pending,
    Running,
    State,
    flow,
    task,
)
from tests.acceptance.parity.support import await_notes, note, notes


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


def final(runner: Any, body: Any, **options: Any) -> Any:
    """Run a function as a flow and return its final state."""
    @flow(task_runner=runner, **options)
    def run() -> Any:
        return body()

    return run(return_state=True)


def what(state: Any) -> tuple[str, str, str | None]:
    return state.type.value, state.name, state.message


# raising

def test_a_flow_that_raises_is_failed_and_says_with_what(runner: Any) -> None:
    def body() -> Any:
        inc.submit(1)
        raise ValueError("as it is")

    state = final(runner, body)
    assert what(state) == (
        "FAILED", "Failed", "Flow run encountered an exception: ValueError: as it is")
    with pytest.raises(ValueError, match="^as it is"):
        state.result()


def test_the_caller_of_a_flow_that_raises_gets_that_very_exception(local: Any) -> None:
    error = KeyError("mine")

    @flow(task_runner=local)
    def run() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        run()
    assert caught.value is error


def test_a_failure_waited_for_and_not_caught_fails_the_flow(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        boom.submit(1).result()

    with pytest.raises(ValueError, match="boom 1"):
        run()


# states made by hand

@pytest.mark.parametrize("make, expected", [
    (lambda: Completed(message="well done", data=7), ("COMPLETED", "Completed", "well done")),
    (lambda: Failed(message="no good"), ("FAILED", "Failed", "no good")),
    (lambda: Cancelled(message="off"), ("CANCELLED", "Cancelled", "off")),
    (lambda: Completed(name="Skipped", data=1), ("COMPLETED", "Skipped", None)),
])
def test_a_state_made_by_hand_is_the_final_state(make: Any, expected: Any) -> None:
    assert what(final(None, make)) == expected


def test_the_data_of_a_completed_state_is_what_the_caller_gets() -> None:
    @flow
    def run() -> Any:
        return Completed(data=7)

    assert run() == 7


def test_a_failed_state_with_an_exception_raises_it() -> None:
    @flow
    def run() -> Any:
        return Failed(data=KeyError("inside"))

    with pytest.raises(KeyError, match="inside"):
        run()


@pytest.mark.parametrize("make, kind", [
    (lambda: Failed(message="no good"), FailedRun),
    (lambda: Crashed(message="no good"), CrashedRun),
    (lambda: Cancelled(message="no good"), CancelledRun),
    (lambda: Failed(data="no good"), FailedRun),
])
def test_an_unsuccessful_state_without_an_exception_raises_one_of_its_own(
    make: Any, kind: type[Exception]
) -> None:
    @flow
    def run() -> Any:
        return make()

    with pytest.raises(kind, match="no good"):
        run()


# futures and states returned

def test_a_completed_future_completes_the_flow_and_is_its_result(runner: Any) -> None:
    state = final(runner, lambda: inc.submit(1))
    assert what(state) == ("COMPLETED", "Completed", "All states completed.")
    assert state.result().result() == 2


def test_a_failed_future_makes_the_flow_fail(runner: Any) -> None:
    state = final(runner, lambda: boom.submit(1))
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    with pytest.raises(ValueError, match="boom 1"):
        state.result()


def test_a_future_returned_is_its_state_for_the_caller(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return inc.submit(1)

    found = run()
    assert isinstance(found, State) and found.result() == 2


def test_a_list_of_completed_futures_completes(runner: Any) -> None:
    state = final(runner, lambda: [inc.submit(1), inc.submit(2)])
    assert what(state) == ("COMPLETED", "Completed", "All states completed.")


@pytest.mark.parametrize("kind", [list, tuple])
def test_any_failure_in_a_list_of_futures_fails_and_counts(runner: Any, kind: Any) -> None:
    state = final(runner, lambda: kind([inc.submit(1), boom.submit(1), boom.submit(2)]))
    assert what(state) == ("FAILED", "Failed", "2/3 states failed.")
    with pytest.raises(ValueError, match=r"boom [12]"):
        state.result()


def test_a_map_returned_is_all_of_its_states(runner: Any) -> None:
    @flow(task_runner=runner)
    def run(bad: bool) -> Any:
        return (boom if bad else inc).map([1, 2])

    found = run(False)
    assert isinstance(found, list) and [s.result() for s in found] == [2, 3]
    assert what(run(True, return_state=True)) == ("FAILED", "Failed", "2/2 states failed.")


def test_states_of_an_aggregate_are_listed_where_failures_are_not_raised(runner: Any) -> None:
    state = final(runner, lambda: [inc.submit(1), boom.submit(1)])
    found = state.result(raise_on_failure=False)
    assert [s.is_completed() for s in found] == [True, False]
    assert found[0].result() == 2


def test_not_run_futures_are_not_final(runner: Any) -> None:
    def body() -> Any:
        bad = boom.submit()
        return [inc.submit(1), inc.submit(bad)]

    state = final(runner, body)
    assert what(state) == ("FAILED", "Failed", "1/2 states are not final.")


@pytest.mark.parametrize("make, expected", [
    (lambda: [Completed(), Cancelled()], ("CANCELLED", "1/2 states cancelled.")),
    (lambda: [Failed(), Cancelled()], ("CANCELLED", "1/2 states cancelled.")),
    (lambda: [Completed(), Failed()], ("FAILED", "1/2 states failed.")),
    (lambda: (Completed(), Completed()), ("COMPLETED", "All states completed.")),
    (lambda: [Completed(), Running()], ("FAILED", "1/2 states are not final.")),
    (lambda: [Pending(), Running()], ("FAILED", "2/2 states are not final.")),
    (lambda: [Crashed(), Completed()], ("FAILED", "1/2 states failed.")),
])
def test_states_in_a_list_are_summed_up(make: Any, expected: Any) -> None:
    state = final(None, make)
    assert (state.type.value, state.message) == expected


def test_a_paused_state_in_a_list_pauses() -> None:
    state = final(None, lambda: [Completed(), Paused()])
    assert state.type.value == "PAUSED"


# anything else completes

@pytest.mark.parametrize("make", [
    lambda: {"a": inc.submit(1), "b": boom.submit()},
    lambda: [boom.submit(), 1],
    lambda: [[boom.submit()]],
    lambda: boom.submit() and None,
    list,
    lambda: {"a": Failed()},
    lambda: {"a": []},
], ids=["a dict", "future and value", "nested list", "not returned", "empty", "dict of states",
        "dict of empty"])
def test_anything_else_completes_whatever_failed(runner: Any, make: Any) -> None:
    assert what(final(runner, make))[0] == "COMPLETED"


def test_futures_become_states_in_the_same_structure(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"a": inc.submit(1), "b": [boom.submit(7), 5], "c": (inc.submit(2),),
                "d": {"e": inc.map([1, 2])}}

    found = run()
    assert found["a"].result() == 2
    assert found["b"][0].is_failed() and found["b"][1] == 5
    assert isinstance(found["c"], tuple) and found["c"][0].result() == 3
    assert [s.result() for s in found["d"]["e"]] == [2, 3]


def test_plain_values_come_back_as_they_are(local: Any) -> None:
    thing = {"a": [object()]}

    @flow(task_runner=local)
    def run() -> Any:
        return thing

    assert run()["a"][0] is thing["a"][0]


def test_a_caught_failure_leaves_the_flow_completed(runner: Any) -> None:
    def body() -> Any:
        try:
            boom.submit(1).result()
        except ValueError:
            return "caught"

    state = final(runner, body)
    assert (state.name, state.result()) == ("Completed", "caught")


# the end of a flow

@pytest.mark.differs("submitted tasks are lost in silence at the end",
                     on="dask-processes", sometimes=True)
def test_what_was_submitted_and_not_waited_for_runs_to_its_end(runner: Any, ledger: str) -> None:
    @task
    def write(x: int) -> None:
        note(ledger, x)

    @flow(task_runner=runner)
    def run() -> int:
        write.map(range(6))
        return 1

    assert run() == 1
    assert sorted(notes(ledger)) == list("012345")


@pytest.mark.differs("there is no strict")
def test_strict_fails_on_failures_that_nobody_saw(runner: Any) -> None:
    def body() -> Any:
        boom.submit(1)
        return "fine"

    state = final(runner, body, strict=True)
    assert state.is_failed()
    with pytest.raises(Exception, match="boom"):
        state.result()


@pytest.mark.differs("there is no strict")
def test_strict_is_content_where_failures_were_seen(runner: Any) -> None:
    def body() -> Any:
        try:
            boom.submit(1).result()
        except ValueError:
            return inc.submit(1).result()

    state = final(runner, body, strict=True)
    assert (state.name, state.result()) == ("Completed", 2)


@pytest.mark.differs("says nothing of them (#16373)")
def test_failures_that_nobody_saw_are_listed_in_a_warning(runner: Any, caplog: Any) -> None:
    def body() -> Any:
        boom.submit(1)
        return "fine"

    with caplog.at_level("WARNING"):
        assert final(runner, body).is_completed()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("boom" in text and "ValueError" in text for text in warnings), warnings


@pytest.mark.differs("there is no way to cancel what is left at the end (#17867)")
def test_a_flow_may_cancel_what_is_left_at_its_end(pooled: Any, ledger: str) -> None:
    @task
    def slow(path: str, x: int) -> None:
        note(path, "began")
        for _ in range(400):
            time.sleep(0.01)
        note(path, "ended")

    @flow(task_runner=pooled, on_exit="cancel")
    def run() -> Any:
        slow.map(ledger, range(3))
        await_notes(ledger, 1)
        return {"a": 1}

    assert run() == {"a": 1}
    assert "ended" not in notes(ledger)
