"""Every runner: tasks that return a state, and tasks that crash."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import task
from dataflow.exceptions import CancelledRun, CrashedRun, FailedRun, UnfinishedRun
from dataflow.states import (
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Paused,
    Running,
    State,
)
from runners import InlineTaskRunner
from tests.runner_support import Play, note, noted


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def give(make: Any) -> Any:
    return make()


# a returned state


def test_returned_completed_state_gives_its_data_and_message(play: Play) -> None:
    @task
    def cached(x: int) -> State:
        return Completed(data=x * 10, message=f"found {x}")

    def body() -> Any:
        one, many = cached.submit(1), cached.map([2, 3])
        state = cached(5, return_state=True)
        return (one.result(), many.result(), cached(4), add.submit(one).result(),
                add.map(many).result(), [f.state.message for f in (one, *many)],
                state.result(), state.message)

    assert play(body) == (10, [20, 30], 40, 11, [21, 31], ["found 1", "found 2", "found 3"],
                          50, "found 5")
    assert play.records.states("cached") == ["Completed"] * 5


def test_returned_completed_state_without_data_gives_none(play: Play) -> None:
    def body() -> Any:
        return give.submit(lambda: Completed(message="nothing to do")).result(), give(Completed)

    assert play(body) == (None, None)


@pytest.mark.parametrize("make, kind, error, text", [
    (lambda: Failed(message="no good"), "Failed", FailedRun, "no good"),
    (lambda: Failed(data=ValueError("mine"), message="said"), "Failed", ValueError, "mine"),
    (lambda: Failed(data="as text"), "Failed", FailedRun, "as text"),
    (lambda: Failed(name="TimedOut", message="late"), "TimedOut", FailedRun, "late"),
    (lambda: Crashed(message="went away"), "Crashed", CrashedRun, "went away"),
    (lambda: Cancelled(message="not needed"), "Cancelled", CancelledRun, "not needed"),
    (lambda: [Completed(data=1), Failed(message="one of two")], "Failed", FailedRun,
     "one of two"),
], ids=["message", "exception", "text", "timed-out", "crashed", "cancelled", "several"])
def test_returned_state_becomes_the_state_of_the_task_run(
        play: Play, make: Any, kind: str, error: type[Exception], text: str) -> None:
    def body() -> Any:
        one, many = give.submit(make), give.map([make, make])
        after = add.submit(one)
        for future in (one, *many):
            with pytest.raises(error, match=text):
                future.result()
        with pytest.raises(error, match=text):
            give(make)
        state = give(make, return_state=True)
        after.wait()
        return [f.state.name for f in (one, *many)], state.name, after.state.name

    assert play(body) == ([kind] * 3, kind, "NotReady")
    assert play.records.states("give") == [kind] * 5


def test_name_of_a_returned_state_is_what_its_future_and_hooks_show(
        play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def hook(task: Any, run: Any, state: Any) -> None:
        note(folder, state.name)

    work = give.with_options(on_completion=[hook], on_failure=[hook])
    skipped, stale = lambda: Completed(name="Skipped"), lambda: Failed(name="Stale", message="s")

    def body() -> Any:
        futures = [work.submit(skipped), *work.map([skipped, stale])]
        for future in futures:
            future.wait()
        direct = work(skipped, return_state=True), work(stale, return_state=True)
        return [(s.name, s.type) for s in (*(f.state for f in futures), *direct)]

    good, bad = ("Skipped", "COMPLETED"), ("Stale", "FAILED")
    assert play(body) == [good, good, bad, good, bad]
    assert (noted(tmp_path, "Skipped"), noted(tmp_path, "Stale")) == (3, 2)
    assert (work(skipped, return_state=True).name, work(stale, return_state=True).name) == (
        "Skipped", "Stale")


def test_message_of_a_returned_failure_is_kept(play: Play) -> None:
    def make() -> State:
        return Failed(data=ValueError("mine"), message="said")

    def body() -> Any:
        one = give.submit(make)
        one.wait()
        return one.state.message, give(make, return_state=True).message

    assert play(body) == ("said", "said")
    assert [row.message for row in play.records.of("give")] == ["said", "said"]


def test_returned_states_that_all_completed_are_the_value(play: Play) -> None:
    states = play(lambda: give.submit(lambda: [Completed(data=1), Completed(data=2)]).result())
    assert [state.result() for state in states] == [1, 2]


@pytest.mark.parametrize("make", [Running, Paused])
def test_returned_state_that_is_not_final_fails_the_run(play: Play, make: Any) -> None:
    def body() -> str:
        future = give.submit(make)
        with pytest.raises(UnfinishedRun, match=r"'give' returned the state .* not final"):
            future.result()
        return future.state.name

    assert play(body) == "Failed"


def test_returned_failure_is_retried_and_asked_about(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def asked(task: Any, run: Any, state: Any) -> bool:
        note(folder, f"asked-{state.message}")
        return True

    @task(retries=2, retry_condition_fn=asked)
    def second(x: str) -> State:
        return Failed(message="not yet") if note(folder, x) < 3 else Completed(data=x)

    assert play(lambda: (second.submit("a").result(), second.map(["b"]).result(),
                         second("c"))) == ("a", ["b"], "c")
    assert play.records.run_counts("second") == [3, 3, 3]
    assert noted(tmp_path, "asked-not yet") == 6


def test_hooks_see_a_returned_state(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def failed(task: Any, run: Any, state: Any) -> None:
        note(folder, f"{state.name}-{state.message}-{type(state.data).__name__}")

    def done(task: Any, run: Any, state: Any) -> None:
        note(folder, f"{state.name}-{state.message}-{state.data}")

    work = give.with_options(on_failure=[failed], on_completion=[done])

    def body() -> None:
        work.submit(lambda: Failed(message="bad")).wait()
        work.submit(lambda: Completed(message="good", data=3)).wait()

    play(body)
    assert (noted(tmp_path, "Failed-bad-FailedRun"), noted(tmp_path, "Completed-good-3")) == (1, 1)


def test_states_inside_other_values_are_values(play: Play) -> None:
    def make() -> Any:
        return {"state": Failed(message="kept")}

    got = play(lambda: give.submit(make).result())
    assert got["state"].message == "kept"


# crashes


CRASHES = [SystemExit, KeyboardInterrupt, GeneratorExit]


@pytest.mark.parametrize("kind", CRASHES)
def test_task_that_leaves_crashes_soon_and_its_siblings_go_on(
        play: Play, tmp_path: Path, kind: type[BaseException]) -> None:
    folder = str(tmp_path)

    @task(retries=3)
    def leaves(x: int) -> int:
        if x == 2:
            note(folder)
            raise kind("out")
        return x

    def body() -> Any:
        many, one = leaves.map(range(5)), leaves.submit(2)
        began = time.monotonic()
        one.wait()
        many.wait()
        assert time.monotonic() - began < 10
        with pytest.raises(kind):
            one.result()
        with pytest.raises(kind):
            many.result()
        after = add.submit(one)
        after.wait()
        return [f.state.name for f in many], one.state.type, after.state.name

    names, state_type, after = play(body)
    assert names == ["Completed", "Completed", "Crashed", "Completed", "Completed"]
    assert (state_type, after) == ("CRASHED", "NotReady")
    assert noted(tmp_path) == 2  # a crash uses up no retry


def test_ctrl_c_in_a_task_of_the_inline_runner_reaches_the_flow_and_costs_one_element() -> None:
    @task
    def leaves(x: int) -> int:
        if x == 2:
            signal.raise_signal(signal.SIGINT)
        return x

    def body() -> str:
        with pytest.raises(KeyboardInterrupt):
            leaves.map(range(5))
        return "went on"

    play = Play(InlineTaskRunner())
    assert play(body) == "went on"
    assert play.records.states("leaves") == [
        "Completed", "Completed", "Crashed", "Completed", "Completed"]


def test_ctrl_c_in_a_direct_call_is_recorded_and_never_made_a_state() -> None:
    @task
    def leaves() -> None:
        signal.raise_signal(signal.SIGINT)

    def body() -> Any:
        with pytest.raises(KeyboardInterrupt):
            leaves(return_state=True)
        return give(lambda: 1)

    play = Play(InlineTaskRunner())
    assert play(body) == 1
    assert play.records.states("leaves") == ["Crashed"]
    with pytest.raises(KeyboardInterrupt):
        leaves(return_state=True)


@pytest.mark.parametrize("kind", CRASHES)
def test_direct_call_that_leaves_is_recorded_as_crashed_and_raises_on(
        play: Play, kind: type[BaseException]) -> None:
    @task
    def leaves() -> None:
        raise kind("out")

    def body() -> str:
        with pytest.raises(kind):
            leaves()
        return "went on"

    assert play(body) == "went on"
    assert play.records.states("leaves") == ["Crashed"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_flow_raises_what_made_its_task_crash(play: Play, kind: type[BaseException]) -> None:
    @task
    def leaves() -> None:
        raise kind("out")

    with pytest.raises(kind):
        play(lambda: leaves.submit().result())
    assert play.records.states("leaves") == ["Crashed"]
    ended = "CANCELLED" if kind is KeyboardInterrupt else "CRASHED"  # as after Ctrl-C
    assert play.records.run.state_type == ended
