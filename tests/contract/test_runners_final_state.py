"""Every runner: how a flow run ends, what its caller gets, and that nothing is lost at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow import State, task
from dataflow.exceptions import CancelledRun, FailedRun, MissingResult
from dataflow.states import Cancelled, Completed, Failed
from tests.dask_support import open_gate, pass_gate, wait_at_gate
from tests.runner_support import Play, note, noted


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


def two_of_three() -> list[Any]:
    return [boom.submit(1), add.submit(1), boom.submit(2)]


CASES: list[tuple[str, Callable[[], Any], str, str | None]] = [
    ("value", lambda: 5, "Completed", None),
    ("nothing", lambda: None, "Completed", None),
    ("future", lambda: add.submit(1), "Completed", "All states completed."),
    ("futures", lambda: [add.submit(1), add.submit(2)], "Completed", "All states completed."),
    ("tuple", lambda: (add.submit(1), add.submit(2)), "Completed", "All states completed."),
    ("set", lambda: {add.submit(1), add.submit(2)}, "Completed", "All states completed."),
    ("map", lambda: add.map([1, 2]), "Completed", "All states completed."),
    ("failed-future", lambda: boom.submit(1), "Failed", "1/1 states failed."),
    ("two-of-three", two_of_three, "Failed", "2/3 states failed."),
    ("failed-map", lambda: boom.map([1, 2]), "Failed", "2/2 states failed."),
    ("states", lambda: [boom.submit(1, return_state=True), add.submit(1, return_state=True)],
     "Failed", "1/2 states failed."),
    ("not-ready", lambda: [add.submit(boom.submit(1)), add.submit(1)], "Failed",
     "1/2 states are not final."),
    ("dict", lambda: {"a": boom.submit(1)}, "Completed", None),
    ("mixed", lambda: [boom.submit(1), 5], "Completed", None),
    ("nested", lambda: [[boom.submit(1)]], "Completed", None),
    ("empty-list", list, "Completed", None),
    ("empty-map", lambda: add.map([]), "Completed", None),
    ("unreturned", lambda: boom.submit(1) and None, "Completed", None),
    ("manual", lambda: Completed(message="by hand", data=7), "Completed", "by hand"),
    ("manual-failed", lambda: Failed(message="no good"), "Failed", "no good"),
    ("manual-name", lambda: Completed(name="Odd"), "Odd", None),
    ("manual-cancelled", lambda: Cancelled(message="stopped"), "Cancelled", "stopped"),
    ("some-cancelled", lambda: [Cancelled(), Completed(data=1)], "Cancelled",
     "1/2 states cancelled."),
]


@pytest.mark.parametrize("body, name, message", [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_final_state_follows_from_what_is_returned(
        play: Play, body: Callable[[], Any], name: str, message: str | None) -> None:
    state = play.state(body)
    assert (state.name, state.message) == (name, message)
    run = play.records.run
    assert (run.state_name, run.message) == (name, message)


def test_exception_of_the_flow_fails_it_and_reaches_the_caller(play: Play) -> None:
    def body() -> Any:
        add.submit(1)
        raise ValueError("flow went wrong")

    state = play.state(body)
    assert state.name == "Failed"
    assert state.message == (
        "Flow run encountered an exception: ValueError: flow went wrong")
    with pytest.raises(ValueError, match="flow went wrong"):
        play(body)
    assert play.records.states("add") == ["Completed"]
    assert play.records.run.error_type == "ValueError"


def test_unhandled_exception_of_a_task_is_the_flows(play: Play) -> None:
    state = play.state(lambda: boom.submit(3).result())
    assert state.message == "Flow run encountered an exception: ValueError: boom 3"
    with pytest.raises(ValueError, match="boom 3"):
        state.result()


def test_caller_gets_states_in_the_place_of_futures(play: Play) -> None:
    def body() -> Any:
        return {"one": add.submit(1), "many": [add.submit(2), 5], "map": add.map([1, 2])}

    got = play(body)
    assert isinstance(got["one"], State) and got["one"].result() == 2
    assert got["many"][0].result() == 3 and got["many"][1] == 5
    assert [state.result() for state in got["map"]] == [2, 3]
    single = play(lambda: add.submit(1))
    assert isinstance(single, State) and single.result() == 2
    many = play(lambda: add.map([1, 2]))
    assert [state.result() for state in many] == [2, 3]
    assert play(lambda: (add.submit(1), add.submit(1)))[1].result() == 2
    assert play(lambda: Completed(data=7)) == 7


def test_caller_of_a_failed_flow_gets_the_first_failure_or_the_states(play: Play) -> None:
    with pytest.raises(ValueError, match="boom 1"):
        play(two_of_three)
    state = play.state(two_of_three)
    with pytest.raises(ValueError, match="boom 1"):
        state.result()
    states = state.result(raise_on_failure=False)
    assert [s.name for s in states] == ["Failed", "Completed", "Failed"]
    assert states[1].result() == 2
    with pytest.raises(FailedRun, match="no good"):
        play(lambda: Failed(message="no good"))
    with pytest.raises(CancelledRun):
        play(lambda: Cancelled(message="stopped"))
    dict_state = play.state(lambda: {"a": boom.submit(1)})
    assert dict_state.result()["a"].is_failed()


def test_generator_that_is_returned_arrives_as_a_list(play: Play) -> None:
    got = play(lambda: (add.submit(n) if n else n for n in range(2)))
    assert got[0] == 0 and got[1].result() == 2


def test_values_not_returned_are_gone_after_the_run(play: Play) -> None:
    kept: list[Any] = []

    def body() -> Any:
        kept.extend([add.submit(1), add.submit(2), add.submit(3)])
        kept[0].result()
        return kept[1]

    play(body)
    assert kept[0].result() == 2
    assert [future.state.name for future in kept] == ["Completed"] * 3
    with pytest.raises(MissingResult, match="has ended"):
        kept[2].result()


# the end of a flow


def test_what_was_submitted_and_forgotten_is_drained(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def mark(x: Any) -> Any:
        note(folder)
        return x

    def body() -> str:
        mark.map(mark.map(range(20)))
        kept = mark.submit(1)
        mark.submit(kept)
        del kept
        mark.map(mark.submit([1, 2, 3]))
        return "early"

    assert play(body) == "early"
    assert noted(tmp_path) == 46
    assert set(play.records.states("mark")) == {"Completed"}


def test_futures_dropped_at_once_lose_no_work(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def mark(x: Any) -> Any:
        note(folder)
        return x

    def body() -> Any:
        for n in range(30):
            future = mark.submit(mark.submit(n))
            del future
        many = mark.map(range(30))
        after = add.map(many)
        del many
        return after.result()

    assert play(body) == [n + 1 for n in range(30)]
    assert noted(tmp_path) == 90


def test_retries_are_waited_for_at_the_end(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(retries=1, retry_delay_seconds=0.3)
    def late(x: int) -> int:
        if note(folder, f"x{x}") == 1:
            raise ValueError("not yet")
        return x

    play(lambda: late.map([1, 2]) and None)
    assert play.records.states("late") == ["Completed"] * 2


def test_end_cancels_what_has_not_begun_where_the_flow_says_so(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated(x: int) -> int:
        note(folder)
        if x == 0:
            pass_gate(folder, "gate")
        else:
            time.sleep(0.05)
        return x

    def body() -> Any:
        many = gated.with_options(max_in_flight=1).map(range(200))
        add.map(many)
        wait_at_gate(tmp_path, "gate")
        import threading

        threading.Timer(0.3, lambda: open_gate(tmp_path, "gate")).start()
        return "gone"

    assert play_along(body, on_exit="cancel") == "gone"
    assert noted(tmp_path) < 200
    records = play_along.records
    assert set(records.states("gated")) <= {"Completed", "Cancelled"}
    assert records.states("gated").count("Cancelled") >= 190
    assert records.states("add").count("Completed") <= records.states("gated").count("Completed")
    assert records.run.state_name == "Completed"


def test_end_that_cancels_waits_for_what_is_returned(play: Play) -> None:
    def body() -> Any:
        return add.submit(add.submit(1)), add.map([1, 2])

    one, many = play(body, on_exit="cancel")
    assert one.result() == 3 and [state.result() for state in many] == [2, 3]


def test_endless_map_left_behind_is_cancelled_at_the_end(play: Play) -> None:
    import itertools

    def body() -> int:
        many = add.map(itertools.count())
        return many[10].result(timeout=30)

    assert play(body, on_exit="cancel") == 11
    assert set(play.records.states("add")) <= {"Completed", "Cancelled"}


def test_ended_runs_leave_the_runner_usable(play: Play) -> None:
    assert [play(lambda: add.submit(1).result()) for _ in range(3)] == [2, 2, 2]
