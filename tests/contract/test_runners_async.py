"""Every runner: async functions that are submitted and mapped, side by side on an event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dataflow import get_run_logger, runtime, task, unmapped
from dataflow.exceptions import TaskRunTimeoutError
from tests.dask_support import wait_until
from tests.runner_support import Play, note, noted

Times = tuple[float, float]


@task
async def double(x: Any) -> Any:
    await asyncio.sleep(0)
    return x * 2


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


async def _opened(folder: str, name: str = "gate") -> None:
    """Wait until a file is there; bounded, so that no test hangs."""
    until = time.monotonic() + 20
    while not Path(folder, name).exists() and time.monotonic() < until:
        await asyncio.sleep(0.01)


def most_at_once(times: list[Times]) -> int:
    edges = sorted([(begin, 1) for begin, _ in times] + [(end, -1) for _, end in times])
    now = most = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


async def waited(x: int) -> Times:
    begin = time.time()
    await asyncio.sleep(0.03)
    return begin, time.time()


# values

def test_async_task_is_submitted_and_mapped_like_any_other(play: Play) -> None:
    def body() -> Any:
        one, many = double.submit(4), double.map(range(50))
        return [one.result(), many.result(), add.map(many, unmapped(one)).result(),
                double.submit(add.submit(one)).result()]

    assert play(body) == [8, [2 * x for x in range(50)], [2 * x + 8 for x in range(50)], 18]


def test_chain_of_async_and_plain_maps_runs_element_by_element(play: Play) -> None:
    def body() -> Any:
        return double.map(add.map(double.map(double.map(range(40))))).result()

    assert play(body) == [(4 * x + 1) * 2 for x in range(40)]
    assert play.records.states("double") == ["Completed"] * 120


class Shop:
    def __init__(self, price: int) -> None:
        self.price = price

    @task
    async def method(self, x: int) -> int:
        return self.price * x

    @task
    @classmethod
    async def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @task
    @staticmethod
    async def static(x: int) -> int:
        return -x

    async def __call__(self, x: int) -> int:
        return self.price + x


async def raised(base: int, x: int) -> int:
    return int(base**x)


@pytest.mark.parametrize(("made", "value"), [
    (lambda: Shop(3).method, 6), (lambda: Shop(3).of_class, "Shop 2"), (lambda: Shop.static, -2),
    (lambda: task(Shop(5)), 7), (lambda: task(partial(raised, 3)), 9),
], ids=["method", "classmethod", "staticmethod", "callable object", "partial"])
def test_async_function_of_any_form_runs(play: Play, made: Callable[[], Any], value: Any) -> None:
    fn = made()

    def body() -> Any:
        return [fn.submit(2).result(), fn.map([2]).result(), asyncio.run(fn(2))]

    assert play(body) == [value, [value], value]


def test_async_generator_that_is_submitted_gives_the_list_of_its_items(play: Play) -> None:
    @task
    async def count(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    def body() -> Any:
        return [count.submit(3).result(), count.map([0, 2]).result()]

    assert play(body) == [[0, 1, 2], [[], [0, 1]]]


# side by side

def test_elements_of_an_async_map_wait_side_by_side(play: Play) -> None:
    def body() -> Any:
        return task(waited).map(range(80)).result()

    assert most_at_once(play(body)) >= 8


def test_submits_of_an_async_task_wait_side_by_side(play_along: Play) -> None:
    def body() -> Any:
        wait = task(waited)
        return [future.result() for future in [wait.submit(x) for x in range(80)]]

    assert most_at_once(play_along(body)) >= 8


def test_async_concurrency_of_one_runs_one_at_a_time_on_each_thread(play: Play) -> None:
    def body() -> Any:
        return task(waited, async_concurrency=1).map(range(8)).result()

    assert most_at_once(play(body)) <= 2  # no runner here has more than two


def test_max_in_flight_bounds_what_is_under_way_side_by_side(play: Play) -> None:
    def body() -> Any:
        return task(waited, max_in_flight=3).map(range(12)).result()

    assert 1 <= most_at_once(play(body)) <= 3


def test_thousand_waiting_submits_and_elements_all_end(play_along: Play) -> None:
    def body() -> Any:
        wait = task(waited)
        futures = [wait.submit(x) for x in range(500)]
        return len(wait.map(range(500)).result()) + len([f.result() for f in futures])

    began = time.monotonic()
    assert play_along(body) == 1000
    assert time.monotonic() - began < 60
    assert play_along.records.states("waited") == ["Completed"] * 1000


# outcomes, each element's own

def test_failures_retries_and_timeouts_belong_to_their_element(play: Play) -> None:
    @task(retries=2, retry_delay_seconds=0.05, timeout_seconds=0.5)
    async def fickle(x: int) -> int:
        count = runtime.task_run.run_count
        if x == 1 and count < 3:
            raise ValueError(f"{x} {count}")
        if x == 2:
            raise KeyError(x)
        if x == 3:
            await asyncio.sleep(20)
        return x * 10 + count

    def body() -> Any:
        futures = fickle.map(range(6))
        return [future.result(raise_on_failure=False) for future in futures]

    found = play(body)
    assert [found[0], found[1], found[4], found[5]] == [1, 13, 41, 51]
    assert isinstance(found[2], KeyError) and isinstance(found[3], TaskRunTimeoutError)
    assert str(found[3]) == "Task run exceeded timeout of 0.5 second(s)"
    assert play.records.states("fickle") == [
        "Completed", "Completed", "Failed", "TimedOut", "Completed", "Completed"]
    assert play.records.run_counts("fickle") == [1, 3, 3, 3, 1, 1]


def test_timeout_error_of_the_function_itself_is_a_failure(play: Play) -> None:
    @task(timeout_seconds=20)
    async def own() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)

    def body() -> Any:
        return own.submit().wait()

    play(body)
    assert play.records.states("own") == ["Failed"]


def test_context_logs_and_names_are_those_of_each_element(play: Play) -> None:
    @task(task_run_name="nr-{x}", log_prints=True)
    async def speak(x: int) -> Any:
        before = (runtime.task_run.name, runtime.task_run.parameters["x"])
        get_run_logger().info("first %d", x)
        await asyncio.sleep(0.01)
        print("second", x)
        await asyncio.sleep(0.01)
        return [before, (runtime.task_run.name, runtime.task_run.parameters["x"])]

    def body() -> Any:
        return speak.map(range(12)).result()

    assert play(body) == [[(f"nr-{x}", x)] * 2 for x in range(12)]
    records = play.records
    lines = [line for line in records.store.logs(records.run.id) if line.call >= 0]
    for x in range(12):
        assert [line.message for line in lines if line.index == x] == [f"first {x}", f"second {x}"]


def test_times_of_an_element_are_its_own(play: Play) -> None:
    @task
    async def nap(seconds: float) -> None:
        await asyncio.sleep(seconds)

    def body() -> None:
        nap.map([0.15, 0.0, 0.0]).wait()

    play(body)
    took = [(row.end_time - row.start_time).total_seconds() for row in play.records.of("nap")]
    assert took[0] >= 0.14 and max(took[1:]) < took[0]


def test_system_exit_in_one_element_crashes_it_alone(play: Play) -> None:
    @task
    async def leave(x: int) -> int:
        await asyncio.sleep(0)
        if x == 2:
            raise SystemExit(3)
        return x

    def body() -> None:
        leave.map(range(5)).wait()

    play(body)
    assert play.records.states("leave") == [
        "Completed", "Completed", "Crashed", "Completed", "Completed"]


def test_more_failures_than_allowed_give_the_map_up(play: Play) -> None:
    @task(max_failures=1)
    async def fail(x: int) -> None:
        if x < 40:
            raise ValueError(x)
        await asyncio.sleep(20)

    def body() -> None:
        fail.map(range(60)).wait()

    began = time.monotonic()
    play(body)
    states = play.records.states("fail")
    assert set(states) == {"Failed", "Cancelled"} and time.monotonic() - began < 15


def test_async_function_runs_in_a_process_of_its_own(play: Play) -> None:
    @task(isolation="process")
    async def where(x: int) -> int:
        await asyncio.sleep(0)
        return os.getpid()

    def body() -> Any:
        return [where.submit(1).result(), asyncio.run(where(1))]

    assert os.getpid() not in play(body)


# the loop

def test_loop_ends_as_asyncio_run_ends_one(play: Play, tmp_path: Path) -> None:
    """Tasks left behind are cancelled, generators left open are closed."""
    folder = str(tmp_path)

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note(folder, "cancelled")
            raise

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            note(folder, "closed")

    @task
    async def leave_open() -> int:
        asyncio.create_task(background())  # noqa: RUF006  # left behind on purpose
        opened = items()
        await asyncio.sleep(0)
        return await anext(opened)

    def body() -> Any:
        return leave_open.submit().result()

    assert play(body) == 1
    wait_until(lambda: noted(folder, "cancelled") == 1 and noted(folder, "closed") == 1,
               "the loop has been closed")


def test_async_flow_submits_and_maps_while_its_own_loop_runs(play: Play) -> None:
    async def body() -> Any:
        await asyncio.sleep(0)
        return [double.submit(3).result(), double.map(range(4)).result()]

    async def run() -> Any:
        from dataflow import flow

        return await flow(task_runner=play.runner)(body)()

    assert asyncio.run(run()) == [6, [0, 2, 4, 6]]


# what outlasts its batch

def test_slow_element_keeps_no_other_from_being_reported_and_used(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    @task
    async def some_wait(x: int) -> int:
        if x in (3, 7):
            await _opened(folder)
        return x

    def body() -> Any:
        waiting = some_wait.map(range(12))
        after = add.map(waiting)
        early = [after[x].result(timeout=15) for x in range(12) if x not in (3, 7)]
        states = [waiting[x].state.name for x in (3, 7)]
        Path(folder, "gate").touch()
        return [early, states, after.result()]

    early, states, all_of_them = play_along(body)
    assert early == [x + 1 for x in range(12) if x not in (3, 7)]
    assert states == ["Running", "Running"]
    assert all_of_them == [x + 1 for x in range(12)]


def test_elements_that_outlast_their_batch_are_told_as_they_end(
    play_along: Play, tmp_path: Path
) -> None:
    folder = str(tmp_path)

    @task
    async def each_its_gate(x: int) -> int:
        note(folder, "began")
        await _opened(folder, f"gate-{x}")
        return x

    def body() -> Any:
        waiting = each_its_gate.map(range(6))
        wait_until(lambda: noted(folder, "began") == 6, "all are under way")
        seen = []
        for x in (5, 0, 3, 1, 4, 2):
            Path(folder, f"gate-{x}").touch()
            seen.append(waiting[x].result(timeout=15))
        return seen

    assert play_along(body) == [5, 0, 3, 1, 4, 2]
    assert noted(folder, "began") == 6


def test_slow_async_elements_hold_up_no_other_task(play_along: Play, tmp_path: Path) -> None:
    """They wait on a loop, not in the slots of the runner."""
    folder = str(tmp_path)

    @task
    async def hold(x: int) -> int:
        note(folder, "began")
        await _opened(folder)
        return x

    def body() -> Any:
        slow = [hold.submit(x) for x in range(5)] + list(hold.map(range(40)))
        wait_until(lambda: noted(folder, "began") >= 30, "many wait")
        others = add.map(range(100)).result(timeout=20)
        Path(folder, "gate").touch()
        return [sum(others), sum(future.result() for future in slow)]

    assert play_along(body) == [5050, 790]


# cancelling

def test_cancelled_map_cancels_the_coroutines_that_run(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    async def endless(x: int) -> None:
        note(folder, "began")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note(folder, "cancelled")
            raise

    def body() -> Any:
        futures = endless.map(range(10))
        wait_until(lambda: noted(folder, "began") == 10, "all are under way")
        time.sleep(0.4)  # so that they are under way for the engine as well
        futures.cancel()
        wait_until(lambda: noted(folder, "cancelled") == 10, "all were cancelled")
        return futures[0].state.name

    assert play_along(body) == "Cancelled"
    assert play_along.records.states("endless") == ["Cancelled"] * 10


# functions that do not behave

def test_element_that_blocks_its_loop_is_timed_out_all_the_same(play_along: Play) -> None:
    @task(timeout_seconds=0.3)
    async def block(x: int) -> int:
        if x == 1:
            time.sleep(6)
        return x

    def body() -> Any:
        futures = block.map(range(3))
        began = time.monotonic()
        futures[1].wait(5)
        return [futures[1].state.name, time.monotonic() - began < 5]

    assert play_along(body) == ["TimedOut", True]
    assert play_along.records.states("block") == ["Completed", "TimedOut", "Completed"]


def test_failing_submit_leaves_the_others_of_its_batch_alone(play: Play) -> None:
    @task(max_failures=0)
    async def fail(x: int) -> int:
        if x == 2:
            raise ValueError(x)
        await asyncio.sleep(0.02)
        return x

    def body() -> Any:
        fail.submit(0).wait()
        for future in [fail.submit(x) for x in range(6)]:
            future.wait()

    play(body)
    assert play.records.states("fail") == ["Completed"] * 3 + ["Failed"] + ["Completed"] * 3


def test_hooks_of_side_by_side_elements_hold_up_no_other(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    async def hook(task: Any, task_run: Any, state: Any) -> None:
        await asyncio.sleep(0.2)
        note(folder, state.name)

    @task(on_completion=[hook], on_failure=[hook])
    async def work(x: int) -> Any:
        if x == 5:
            raise ValueError
        begin = time.time()
        await asyncio.sleep(0.05)
        return begin, time.time()

    def body() -> Any:
        futures = work.map(range(12))
        return [future.result(raise_on_failure=False) for future in futures]

    times = [found for found in play(body) if isinstance(found, tuple)]
    assert most_at_once(times) >= 4
    assert (noted(folder, "Completed"), noted(folder, "Failed")) == (11, 1)
