"""Every runner: the options of a map that bound, prefer and forgive, and cancelling."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow import allow_failure, task
from dataflow.exceptions import CancelledRun, MapGivenUp, UpstreamTaskError
from tests.dask_support import open_gate, pass_gate, wait_at_gate, wait_until
from tests.runner_support import Busy, Play, note, noted


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def shown(xs: Any) -> list[str]:
    return [repr(x) for x in xs]


@task
def third_fails(x: int) -> int:
    if x % 3 == 0:
        raise ValueError(f"third {x}")
    return x


# bounds


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_batch_size_changes_no_outcome(play: Play, size: int) -> None:
    work = third_fails.with_options(batch_size=size)

    def body() -> Any:
        many = work.map(range(20))
        after = add.with_options(batch_size=7).map(many)
        after.wait()
        return (many.result(raise_on_failure=False)[1:3], [f.state.name for f in after])

    good = ["NotReady" if n % 3 == 0 else "Completed" for n in range(20)]
    assert play(body) == ([1, 2], good)


@pytest.mark.parametrize("bound", [1, 2])
def test_no_more_than_max_in_flight_run_at_once(
        play: Play, tmp_path: Path, bound: int) -> None:
    busy = Busy(tmp_path)

    @task(max_in_flight=bound)
    def work(x: int) -> int:
        busy.work(0.02)
        return x

    assert play(lambda: work.map(range(12)).result()) == list(range(12))
    assert len(busy.spans()) == 12
    assert busy.most() <= bound


def test_max_in_flight_is_reached_where_there_are_slots(
        play_along: Play, tmp_path: Path) -> None:
    busy = Busy(tmp_path)

    @task(max_in_flight=2)
    def work(x: int) -> int:
        busy.work(0.15)
        return x

    play_along(lambda: work.map(range(8)).result())
    assert busy.most() == 2


def test_max_in_flight_holds_also_with_batches_retries_and_downstream(
        play_along: Play, tmp_path: Path) -> None:
    busy, folder = Busy(tmp_path), str(tmp_path)

    @task(max_in_flight=2, batch_size=5, retries=1, retry_delay_seconds=0.01)
    def work(x: int) -> int:
        busy.work(0.01)
        if note(folder, f"try{x}") == 1 and x % 4 == 0:
            raise ValueError("again")
        return x

    assert play_along(lambda: add.map(work.map(range(20))).result()) == list(range(1, 21))
    assert len(busy.spans()) == 25
    assert busy.most() <= 2


def test_tasks_of_one_map_use_all_slots(play_along: Play, tmp_path: Path) -> None:
    busy = Busy(tmp_path)

    @task
    def work(x: int) -> int:
        busy.work(0.25)
        return x

    play_along(lambda: work.map(range(8)).result())
    assert busy.most() >= 2


# failures that are forgiven, or are too many


def test_one_failure_too_many_gives_the_map_up_and_cancels_the_rest(play: Play) -> None:
    @task(max_failures=2, max_in_flight=1)
    def fails(x: int) -> int:
        if x < 100:
            raise ValueError(f"number {x}")
        return x

    def body() -> Any:
        many = fails.map(range(20_000))
        with pytest.raises(MapGivenUp, match="max_failures") as caught:
            many.result()
        assert isinstance(caught.value.__cause__, ValueError)
        gone = shown.submit(many)
        with pytest.raises(UpstreamTaskError):
            gone.result()
        many.wait()
        return many.counts(), add.submit(1).result()

    counts, fine = play(body)
    assert fine == 2 and set(counts) == {"Failed", "Cancelled"}
    assert counts["Failed"] >= 3 and counts["Cancelled"] >= 19_000


def test_failures_within_the_limit_change_nothing(play: Play) -> None:
    def body() -> Any:
        many = third_fails.with_options(max_failures=4).map(range(12))
        many.wait()
        with pytest.raises(ValueError, match="third"):
            many.result()
        return many.counts()

    assert play(body) == {"Completed": 8, "Failed": 4}


def test_no_failure_at_all_is_allowed_where_max_failures_is_zero(play: Play) -> None:
    @task(max_failures=0)
    def fails(x: int) -> int:
        raise ValueError("always")

    def body() -> Any:
        many = fails.map(range(50))
        with pytest.raises(MapGivenUp):
            many.result()
        many.wait()
        return many.done()

    assert play(body) is True


def test_endless_map_that_is_given_up_ends(play: Play) -> None:
    import itertools

    def body() -> Any:
        many = third_fails.with_options(max_failures=3).map(itertools.count())
        with pytest.raises(MapGivenUp):
            many.result(timeout=30)
        many.wait(timeout=30)
        return many.done()

    assert play(body) is True


def test_failures_within_the_ratio_stand_as_none_in_their_places(play: Play) -> None:
    tolerant = third_fails.with_options(min_success_ratio=0.6)

    def body() -> Any:
        many = tolerant.map(range(6))
        after = add.map(many)
        return (many.result(), shown.submit(many).result(),
                shown.submit(allow_failure(many)).result(), shown([many])[0],
                shown(many), shown.submit(xs=many).result(),
                [f.state.name for f in after] if after.wait() is None else None)

    nones = ["None", "1", "2", "None", "4", "5"]
    errors = ["ValueError('third 0')", "1", "2", "ValueError('third 3')", "4", "5"]
    got = play(body)
    assert got[0] == [None, 1, 2, None, 4, 5]
    assert got[1] == nones and got[2] == errors and got[3] == repr([None, 1, 2, None, 4, 5])
    assert got[4] == nones and got[5] == nones
    assert got[6] == ["NotReady", "Completed", "Completed"] * 2


def test_ratio_that_is_missed_keeps_downstream_from_running(play: Play) -> None:
    strict = third_fails.with_options(min_success_ratio=0.7)

    def body() -> Any:
        many = strict.map(range(6))
        gone = shown.submit(many)
        with pytest.raises(UpstreamTaskError, match="third"):
            gone.result()
        with pytest.raises(ValueError, match="third"):
            many.result()
        return shown.submit(allow_failure(many)).result()[1], gone.state.name

    assert play(body) == ("1", "NotReady")


def test_ratio_of_zero_forgives_everything(play: Play) -> None:
    @task(min_success_ratio=0)
    def fails(x: int) -> int:
        raise ValueError("always")

    assert play(lambda: shown.submit(fails.map([1, 2])).result()) == ["None", "None"]


# placement


def test_resources_priority_and_workers_that_nobody_needs_change_nothing(play: Play) -> None:
    work = add.with_options(priority=5)
    assert play(lambda: (work.map([1, 2]).result(), work.submit(1).result())) == ([2, 3], 2)


def test_higher_priority_goes_first_where_one_slot_is_left(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated(x: int) -> None:
        pass_gate(folder, f"gate{x}")

    @task
    def mark(name: str) -> None:
        time.sleep(0.02)
        Path(folder, f"done.{name}").write_text(str(time.time()))

    def body() -> None:
        held = [gated.submit(n) for n in range(2)]
        for n in range(2):
            wait_at_gate(tmp_path, f"gate{n}")
        low = mark.with_options(priority=0).submit("low")
        high = mark.with_options(priority=10).submit("high")
        time.sleep(0.1)
        open_gate(tmp_path, "gate0")
        open_gate(tmp_path, "gate1")
        for future in (*held, low, high):
            future.result(timeout=20)

    play_along(body)
    low, high = (float((tmp_path / f"done.{name}").read_text()) for name in ("low", "high"))
    assert high <= low + 0.05


# cancelling


def test_cancelled_future_does_not_run_nor_does_what_follows(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> int:
        pass_gate(folder, "gate")
        return 1

    @task
    def mark(x: Any) -> Any:
        note(folder)
        return x

    def body() -> Any:
        held = gated.submit()
        behind = mark.submit(held)
        after, more = mark.submit(behind), mark.map([behind, 2])
        assert behind.cancel() is True
        assert behind.cancel() is False
        open_gate(tmp_path, "gate")
        with pytest.raises(CancelledRun):
            behind.result()
        with pytest.raises(UpstreamTaskError, match="was cancelled") as caught:
            after.result()
        assert isinstance(caught.value.__cause__, CancelledRun)
        more.wait()
        assert held.result(timeout=20) == 1 and held.cancel() is False
        return behind.state.name, after.state.name, [f.state.name for f in more]

    assert play_along(body) == ("Cancelled", "NotReady", ["NotReady", "Completed"])
    assert noted(tmp_path) == 1


def test_cancelled_map_keeps_what_is_done_and_begins_no_more(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(max_in_flight=1)
    def gated(x: int) -> int:
        if x == 3:
            pass_gate(folder, "gate")
        note(folder)
        return x

    def body() -> Any:
        many = gated.map(range(50))
        after = add.map(many)
        wait_at_gate(tmp_path, "gate")
        wait_until(lambda: many[2].done(), "the elements before are done")
        threading.Timer(0.2, lambda: open_gate(tmp_path, "gate")).start()
        assert many.cancel() is True
        many.wait(timeout=20)
        after.wait(timeout=20)
        assert many.cancel() is False
        with pytest.raises(CancelledRun):
            many.result()
        return [f.state.name for f in many], [f.state.name for f in after], add.submit(1).result()

    first, after, fine = play_along(body)
    assert first[:3] == ["Completed"] * 3 and first[4:] == ["Cancelled"] * 46
    assert first[3] in ("Completed", "Cancelled") and fine == 2
    assert after[:3] == ["Completed"] * 3 and after[4:] == ["NotReady"] * 46
    assert noted(tmp_path) <= 4


def test_one_element_of_a_map_can_be_cancelled(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(max_in_flight=1)
    def gated(x: int) -> int:
        if x == 0:
            pass_gate(folder, "gate")
        note(folder, f"x{x}")
        return x

    def body() -> Any:
        many = gated.map(range(4))
        wait_at_gate(tmp_path, "gate")
        assert many[2].cancel() is True
        open_gate(tmp_path, "gate")
        many.wait(timeout=20)
        return [f.state.name for f in many], many[1:3].result(raise_on_failure=False)[0]

    assert play_along(body) == (["Completed", "Completed", "Cancelled", "Completed"], 1)
    assert noted(tmp_path, "x2") == 0


def test_element_that_waits_for_its_retry_can_be_cancelled(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task(retries=3, retry_delay_seconds=30)
    def fails(x: int) -> int:
        note(folder, f"x{x}")
        raise ValueError("later")

    def body() -> Any:
        many = fails.map([0, 1])
        after = add.map(many)
        wait_until(lambda: all(f.state.name == "AwaitingRetry" for f in many), "both wait")
        assert many[0].cancel() is True
        assert many[0].state.name == "Cancelled"
        assert many.cancel() is True
        after.wait(timeout=20)
        return [f.state.name for f in many], [f.state.name for f in after]

    began = time.monotonic()
    assert play(body) == (["Cancelled"] * 2, ["NotReady"] * 2)
    assert time.monotonic() - began < 15
    assert noted(tmp_path, "x0") == 1


def test_running_task_that_is_cancelled_ends_in_a_final_state(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> int:
        pass_gate(folder, "gate")
        return 1

    def body() -> Any:
        held = gated.submit()
        after = add.submit(held)
        wait_at_gate(tmp_path, "gate")
        assert held.cancel() is True
        assert held.done() and held.state.name == "Cancelled"
        with pytest.raises(UpstreamTaskError):
            after.result(timeout=20)
        open_gate(tmp_path, "gate")
        return add.submit(5).result(timeout=20)

    assert play_along(body) == 6
    assert play_along.records.states("gated") == ["Cancelled"]


def test_cancelled_elements_under_allow_failure_let_downstream_run(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> int:
        pass_gate(folder, "gate")
        return 1

    def body() -> Any:
        held = gated.submit()
        behind = add.submit(held)
        told = shown.submit([allow_failure(behind)])
        behind.cancel()
        got = told.result(timeout=20)
        open_gate(tmp_path, "gate")
        return got

    assert "CancelledRun" in play_along(body)[0]
