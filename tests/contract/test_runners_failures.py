"""Every runner: futures inside of containers, and what a failure leads to."""

from __future__ import annotations

import functools
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dataflow import allow_failure, exponential_backoff, task, unmapped
from dataflow.exceptions import CrashedRun, UpstreamTaskError
from tests.dask_support import open_gate, pass_gate
from tests.runner_support import Play, note, noted


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def same(x: Any) -> Any:
    return x


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@dataclass
class Pair:
    left: Any
    right: Any = None


class Model(BaseModel):
    left: Any
    right: Any = None


# futures inside of containers


def test_futures_are_found_in_every_container_at_any_depth(play: Play) -> None:
    def body() -> list[Any]:
        one, key, many = add.submit(1), same.submit("k"), add.map([1, 2])
        given = [
            [one, 5], (one, 5), {one}, frozenset({one}), {"a": one}, {key: one},
            Pair(one, [one]), Model(left=one, right={"x": [one]}), [[{"a": (one, [one])}]],
            {"m": many, "l": [many]}, Pair(Model(left=[Pair(one)])), {(key, 1): 2},
        ]
        return [same.submit(value).result() for value in given] + [
            same(value) for value in given]

    expected = [
        [2, 5], (2, 5), {2}, frozenset({2}), {"a": 2}, {"k": 2}, Pair(2, [2]),
        Model(left=2, right={"x": [2]}), [[{"a": (2, [2])}]], {"m": [2, 3], "l": [[2, 3]]},
        Pair(Model(left=[Pair(2)])), {("k", 1): 2},
    ]
    assert play(body) == expected * 2


def test_futures_inside_of_mapped_items_and_constants_are_found(play: Play) -> None:
    def body() -> Any:
        one = add.submit(1)
        return (same.map([[one], {"a": one}, Pair(one), 7]).result(),
                same.map([1, 2], wait_for=[{"a": [one]}]).result(),
                add.map([[0], [1]], y=[[one], [5, one]]).result())

    assert play(body) == ([[2], {"a": 2}, Pair(2), 7], [1, 2], [[0, 2], [1, 5, 2]])


def test_failure_inside_of_a_container_keeps_the_task_from_running(play: Play) -> None:
    def body() -> Any:
        bad = boom.submit(1)
        names = []
        for value in ([bad], {"a": bad}, Pair(bad), Model(left=[bad])):
            future = same.submit(value)
            with pytest.raises(UpstreamTaskError, match="boom 1"):
                future.result()
            names.append(future.state.name)
        allowed = same.submit({"a": allow_failure(bad), "b": [allow_failure(add.submit(1))]})
        return names, repr(allowed.result())

    assert play(body) == (["NotReady"] * 4, "{'a': ValueError('boom 1'), 'b': [2]}")


def test_value_shared_by_many_is_computed_once(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def make() -> list[int]:
        note(folder)
        return list(range(1000))

    @task
    def pick(xs: list[int], n: int) -> int:
        return xs[n]

    def body() -> Any:
        shared = make.submit()
        first = [pick.submit(shared, n) for n in range(20)]
        mapped = pick.map(unmapped(shared), range(20))
        return (sum(f.result() for f in first), sum(mapped.result()),
                same.submit([shared, shared]).result() == [list(range(1000))] * 2,
                add.submit(shared, y=shared).result() == list(range(1000)) * 2)

    assert play(body) == (190, 190, True, True)
    assert noted(tmp_path) == 1


# failures


def test_downstream_of_a_failure_does_not_run_and_names_who_failed_first(play: Play) -> None:
    def body() -> Any:
        bad = boom.submit(7)
        one = add.submit(bad)
        two = add.submit(one)
        three = same.submit([add.submit(1), two])
        for future in (one, two, three):
            with pytest.raises(UpstreamTaskError) as caught:
                future.result()
            assert bad.name in str(caught.value) and "ValueError: boom 7" in str(caught.value)
            assert isinstance(caught.value.__cause__, ValueError)
            assert str(caught.value.__cause__) == "boom 7"
            assert isinstance(future.result(raise_on_failure=False), UpstreamTaskError)
            state = future.state
            assert (state.type.value, state.name) == ("PENDING", "NotReady")
            assert state.message == (
                f"Upstream task run '{bad.name}' did not reach a 'COMPLETED' state.")
        return bad.state.message

    assert play(body) == "Task run encountered an exception ValueError: boom 7"
    records = play.records
    assert sorted(records.states("add")) == ["Completed", "NotReady", "NotReady"]
    root = records.of("boom")[0]
    assert {row.cause for row in records.rows if row.state_name == "NotReady"} == {root.id}
    assert (root.error_type, root.error_message) == ("ValueError", "boom 7")
    assert "in boom" in root.traceback and "dataflow/worker" not in root.traceback


def test_failed_elements_hold_back_their_own_followers_alone(play: Play) -> None:
    def body() -> Any:
        first = odd_fails.map(range(6))
        second = add.map(first)
        third = add.map(second)
        third.wait()
        assert [f.state.name for f in third] == ["Completed", "NotReady"] * 3
        with pytest.raises(UpstreamTaskError, match=r"odd_fails.*odd") as caught:
            third.result()
        assert isinstance(caught.value.__cause__, ValueError)
        gone = same.submit(third)
        with pytest.raises(UpstreamTaskError, match="odd"):
            gone.result()
        return [f.result() for f in third[::2]]

    assert play(body) == [2, 4, 6]
    records = play.records
    assert records.states("odd_fails") == ["Completed", "Failed"] * 3
    assert records.states("add") == ["Completed", "NotReady"] * 6
    assert records.run_counts("add") == [1, 0] * 6


class Custom(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


def test_exceptions_arrive_as_they_are_with_cause_and_attributes(play: Play) -> None:
    @task
    def custom() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise Custom(5, reason="outer") from error

    def body() -> Any:
        with pytest.raises(Custom) as caught:
            custom.submit().result()
        error = caught.value
        return error.code, error.reason, str(error), repr(error.__cause__)

    assert play(body) == (5, "outer", "5: outer", "KeyError('inner')")


def test_exit_of_a_task_is_a_crash_of_that_task_alone(play: Play) -> None:
    @task
    def leave(x: int) -> int:
        if x == 1:
            raise SystemExit(3)
        return x

    def body() -> Any:
        many = leave.map([0, 1, 2])
        many.wait()
        after = add.submit(many[1])
        with pytest.raises(UpstreamTaskError):
            after.result()
        return [f.state.type.value for f in many], add.submit(1).result()

    assert play(body) == (["COMPLETED", "CRASHED", "COMPLETED"], 2)


def test_nothing_that_fails_stops_the_flow(play: Play) -> None:
    def body() -> Any:
        boom.submit(1)
        boom.map([1, 2])
        return add.submit(1).result()

    assert play(body) == 2
    assert play.records.states("boom") == ["Failed"] * 3
    assert any("did not complete" in m for m in play.records.messages())


# retries


def flaky(folder: str, fails: int) -> Any:
    """Return a function that fails so many times per argument."""
    def run(x: int = 0) -> int:
        if note(folder, f"try{x}") <= fails:
            raise ValueError(f"try of {x}")
        return x

    return run


def test_failing_task_is_tried_again_and_each_attempt_is_recorded(
        play: Play, tmp_path: Path) -> None:
    work = task(flaky(str(tmp_path), 2), name="work", retries=3)

    def body() -> Any:
        direct = work(100)
        return work.submit(1).result(), work.map([2, 3]).result(), direct

    assert play(body) == (1, [2, 3], 100)
    records = play.records
    assert records.run_counts("work") == [3] * 4
    for row in records.of("work"):
        attempts = records.store.attempts(records.run.id, row.call, row.map_index or 0)
        assert [a.attempt for a in attempts] == [1, 2]
        assert {a.error.type_name for a in attempts} == {"ValueError"}


def test_exhausted_retries_fail_with_the_last_exception(play: Play, tmp_path: Path) -> None:
    work = task(flaky(str(tmp_path), 99), name="work", retries=2, retry_delay_seconds=0.01)

    def body() -> Any:
        many = work.map([1, 2])
        many.wait()
        with pytest.raises(ValueError, match="try of 5"):
            work(5)
        return [f.state.name for f in many]

    assert play(body) == ["Failed", "Failed"]
    assert play.records.run_counts("work") == [3, 3, 3]
    assert (noted(tmp_path, "try1"), noted(tmp_path, "try2")) == (3, 3)


@pytest.mark.parametrize("delay", [
    0, 0.02, [0.01, 0.03], lambda retries: [0.01] * retries, exponential_backoff(0.01),
], ids=["zero", "number", "list", "callable", "backoff"])
def test_every_form_of_delay_leads_to_the_next_attempt(
        play: Play, tmp_path: Path, delay: Any) -> None:
    work = task(flaky(str(tmp_path), 3), name="work", retries=3, retry_delay_seconds=delay,
                retry_jitter_factor=0.5)
    assert play(lambda: work.map([1, 2]).result()) == [1, 2]
    assert play.records.run_counts("work") == [4, 4]


def test_delays_are_kept_and_the_last_one_repeats(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(retries=3, retry_delay_seconds=[0.05, 0.2])
    def timed() -> None:
        Path(folder, f"{time.time()}").touch()
        raise ValueError("again")

    play(lambda: timed.submit().wait())
    times = sorted(float(path.name) for path in tmp_path.iterdir())
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert [gap >= least for gap, least in zip(gaps, (0.05, 0.2, 0.2), strict=True)] == [True] * 3


class Condition:
    def __call__(self, task: Any, run: Any, state: Any) -> bool:
        return "again" in str(state.result(raise_on_failure=False))


def condition(word: str, task: Any, run: Any, state: Any) -> bool:
    return state.is_failed() and word in str(state.data)


def broken(task: Any, run: Any, state: Any) -> bool:
    raise RuntimeError("no answer")


@pytest.mark.parametrize("asked, again", [
    (Condition(), True), (functools.partial(condition, "again"), True),
    (functools.partial(condition, "never"), False), (lambda task, run, state: True, True),
    (lambda task, run, state: run.run_count < 2, True), (lambda *rest: False, False),
    (broken, False),
], ids=["object", "partial", "partial-no", "lambda", "run-count", "no", "raises"])
def test_retry_condition_of_any_kind_decides(
        play: Play, tmp_path: Path, asked: Any, again: bool) -> None:
    folder = str(tmp_path)

    @task(retries=1, retry_condition_fn=asked)
    def work() -> None:
        note(folder)
        raise ValueError("try again")

    def body() -> str:
        future = work.submit()
        future.wait()
        return future.state.name

    assert play(body) == "Failed"
    assert noted(tmp_path) == (2 if again else 1)
    assert play.records.run_counts("work") == [2 if again else 1]


def test_delay_of_a_retry_holds_no_slot(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(retries=1, retry_delay_seconds=1.5)
    def waits(x: int) -> int:
        if note(folder, f"try{x}") == 1:
            raise ValueError("later")
        return x

    def body() -> Any:
        waiting = waits.map(range(8))
        while sum(noted(tmp_path, f"try{n}") for n in range(8)) < 8:
            time.sleep(0.01)
        others = add.map(range(20)).result(timeout=20)
        assert not any(f.done() for f in waiting)
        return others, waiting.result(timeout=30)

    assert play_along(body) == (list(range(1, 21)), list(range(8)))
    assert play_along.records.run_counts("waits") == [2] * 8


def test_elements_are_retried_alone_and_their_followers_wait(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(retries=2, retry_delay_seconds=0.02)
    def middle(x: int) -> int:
        if x % 3 == 0 and note(folder, f"m{x}") < 3:
            raise ValueError("not yet")
        if x == 4:
            raise ValueError("never")
        return x

    def body() -> Any:
        last = add.map(middle.map(add.map(range(9))), 10)
        last.wait()
        return last.result(raise_on_failure=False)

    got = play(body)
    assert [value for value in got if isinstance(value, int)] == [
        n + 10 for n in range(1, 10) if n != 4]
    assert isinstance(got[3], UpstreamTaskError) and "never" in str(got[3])
    assert play.records.run_counts("middle") == [
        3 if n % 3 == 0 or n == 4 else 1 for n in range(1, 10)]


# timeouts and processes


def test_soft_timeout_is_reported_in_time_and_the_slot_is_free_again(play: Play) -> None:
    @task(timeout_seconds=0.2)
    def slow(x: int) -> int:
        if x == 1:
            time.sleep(3)
        return x

    def body() -> Any:
        began = time.monotonic()
        many = slow.map([0, 1, 2])
        many.wait()
        assert time.monotonic() - began < 2.5
        assert add.map(range(4)).result(timeout=10) == [1, 2, 3, 4]
        assert time.monotonic() - began < 2.9
        state = many[1].state
        assert (state.type.value, state.name) == ("FAILED", "TimedOut")
        assert state.message == "Task run exceeded timeout of 0.2 second(s)"
        with pytest.raises(TimeoutError, match="exceeded timeout"):
            many[1].result()
        with pytest.raises(TimeoutError):
            slow(1)
        with pytest.raises(UpstreamTaskError):
            add.submit(many[1]).result()
        return many[0].result(), many[2].result()

    assert play(body) == (0, 2)
    assert play.records.states("slow") == ["Completed", "TimedOut", "Completed", "TimedOut"]


def test_timeout_takes_part_in_retries(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(timeout_seconds=0.2, retries=1)
    def slow() -> str:
        if note(folder) == 1:
            time.sleep(2)
        return "in time"

    assert play(lambda: slow.submit().result()) == "in time"
    assert play.records.run_counts("slow") == [2]


def test_task_in_a_process_of_its_own_gives_values_exceptions_and_logs(play: Play) -> None:
    import os

    @task(isolation="process", log_prints=True)
    def apart(x: int) -> int:
        print("from the child", x)
        if x == 1:
            raise ValueError("odd one")
        return os.getpid()

    def body() -> Any:
        many = apart.map([0, 1, 2])
        with pytest.raises(ValueError, match="odd one"):
            many.result()
        return many[0].result()

    assert play(body) != os.getpid()
    assert {f"from the child {n}" for n in range(3)} <= set(play.records.messages())


def test_task_in_a_process_is_killed_at_its_timeout(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(isolation="process", timeout_seconds=0.5)
    def slow() -> None:
        time.sleep(2.0)
        note(folder)

    def body() -> str:
        began = time.monotonic()
        future = slow.submit()
        future.wait()
        assert time.monotonic() - began < 1.9
        time.sleep(max(0.0, 2.5 - (time.monotonic() - began)))
        return future.state.name

    assert play(body) == "TimedOut"
    assert noted(tmp_path) == 0


def test_child_process_that_dies_crashes_its_task_and_says_how(play: Play) -> None:
    import os
    import signal

    @task(isolation="process")
    def dies(x: int) -> int:
        if x == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def body() -> Any:
        many = dies.map([0, 1, 2])
        many.wait()
        state = many[1].state
        assert state.type.value == "CRASHED" and "SIGKILL" in state.message
        with pytest.raises(CrashedRun):
            many[1].result()
        return many[0].result(), many[2].result(), add.submit(1).result()

    assert play(body) == (0, 2, 2)
    assert play.records.states("dies") == ["Completed", "Crashed", "Completed"]


# one slot


def test_work_goes_on_behind_a_task_that_waits_for_another(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> int:
        pass_gate(folder, "gate")
        return 1

    def body() -> Any:
        held = gated.submit()
        after = add.submit(held)
        free = add.map(range(50)).result(timeout=20)
        assert not after.done()
        open_gate(tmp_path, "gate")
        return sum(free), after.result(timeout=20)

    assert play_along(body) == (1275, 2)
