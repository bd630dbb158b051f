"""Async tasks that are awaited, and generators that are consumed as they run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from dataflow import flow, get_run_logger, runtime, tags, task
from dataflow.context import current_task
from dataflow.exceptions import (
    CallError,
    ParameterBindError,
    TaskRunTimeoutError,
    UpstreamTaskError,
)
from dataflow.states import State
from runners import InlineTaskRunner
from tests.runner_support import Play, Records

pytestmark = pytest.mark.contract


@task
async def double(x: Any) -> Any:
    await asyncio.sleep(0)
    return x * 2


@task
def fail(x: Any = None) -> None:
    raise ValueError("upstream")


def in_async_flow(body: Callable[[], Any], runner: Any = None, **options: Any) -> Any:
    """Run an async function as a flow; return what it returns."""
    return asyncio.run(flow(task_runner=runner or InlineTaskRunner(), **options)(body)())


# awaited

def test_awaited_task_runs_on_the_callers_loop_and_is_recorded() -> None:
    @task
    async def where() -> Any:
        return asyncio.get_running_loop(), threading.current_thread()

    async def body() -> Any:
        loop, thread = await where()
        return [loop is asyncio.get_running_loop(), thread is threading.current_thread()]

    assert in_async_flow(body) == [True, True]
    records = Records()
    records.check()
    assert [(row.task_name, row.state_name) for row in records.rows] == [("where", "Completed")]


def test_gathered_calls_run_at_one_time_each_in_its_own_context() -> None:
    together = asyncio.Event()
    count = 0

    @task
    async def meet(x: int) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            together.set()
        await asyncio.wait_for(together.wait(), 10)
        get_run_logger().info("met %d", x)
        return runtime.task_run.parameters["x"], sorted(runtime.task_run.tags)

    async def tagged(name: str, x: int) -> Any:
        with tags(name):
            return await meet(x)

    async def body() -> Any:
        met = await asyncio.gather(tagged("a", 1), tagged("b", 2), meet(3))
        return [list(met), current_task.get()]

    assert in_async_flow(body) == [[(1, ["a"]), (2, ["b"]), (3, [])], None]
    assert sorted(Records().messages())[-3:] == ["met 1", "met 2", "met 3"]


def test_await_works_outside_of_a_flow_and_inside_of_another_async_task() -> None:
    @task
    async def outer(x: int) -> Any:
        inner = await asyncio.gather(double(x), double(x + 1))
        return [*inner, runtime.task_run.parameters]

    assert asyncio.run(outer(1)) == [2, 4, {"x": 1}]

    async def body() -> Any:
        return await outer(5)

    assert in_async_flow(body) == [10, 12, {"x": 5}]


def test_arguments_that_do_not_fit_are_refused_at_the_call_itself() -> None:
    with pytest.raises(ParameterBindError):
        double(1, 2)  # type: ignore[call-arg]  # that is the point


def test_retries_of_an_awaited_task_wait_without_holding_up_the_loop() -> None:
    @task(retries=2, retry_delay_seconds=0.2)
    async def fickle() -> int:
        if runtime.task_run.run_count < 3:
            raise ValueError
        return runtime.task_run.run_count

    async def body() -> Any:
        ticks = 0
        waiting = asyncio.ensure_future(fickle())
        while not waiting.done():
            await asyncio.sleep(0.02)
            ticks += 1
        return [await waiting, ticks >= 5]

    assert in_async_flow(body) == [3, True]
    assert Records().run_counts("fickle") == [3]


def test_awaited_task_past_its_timeout_is_timed_out() -> None:
    @task(timeout_seconds=0.1)
    async def slow() -> None:
        await asyncio.sleep(30)

    async def body() -> Any:
        with pytest.raises(TaskRunTimeoutError, match=r"exceeded timeout of 0\.1 second"):
            await slow()
        return [(await slow(return_state=True)).name]

    assert in_async_flow(body) == ["TimedOut"]


def test_return_state_of_an_awaited_task_never_raises() -> None:
    @task
    async def broken() -> None:
        raise ValueError("no")

    async def body() -> Any:
        good: State = await double(2, return_state=True)
        bad: State = await broken(return_state=True)
        return [good.result(), bad.name, str(bad.result(raise_on_failure=False))]

    assert in_async_flow(body) == [4, "Failed", "no"]


def test_futures_among_the_arguments_are_waited_for_while_the_loop_goes_on(
    play_along: Play,
) -> None:
    @task
    def late(x: int) -> int:
        time.sleep(0.3)
        return x

    async def body() -> Any:
        first, second = late.submit(1), late.submit(2)
        waiting = asyncio.ensure_future(double([first, second], wait_for=[late.submit(3)]))
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return [await waiting, ticks > 5]

    assert in_async_flow(body, play_along.runner) == [[1, 2, 1, 2], True]


def test_awaited_task_whose_input_failed_does_not_run(play: Play) -> None:
    async def body() -> Any:
        with pytest.raises(UpstreamTaskError):
            await double(fail.submit())
        return [(await double(fail.submit(), return_state=True)).name]

    assert in_async_flow(body, play.runner) == ["NotReady"]
    assert Records().states("double") == ["NotReady", "NotReady"]


def test_call_cancelled_from_outside_is_crashed_and_the_cancellation_goes_on() -> None:
    @task(retries=3)
    async def slow() -> None:
        await asyncio.sleep(30)

    async def body() -> Any:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 0.05)
        return [current_task.get()]

    assert in_async_flow(body) == [None]
    assert (Records().states("slow"), Records().run_counts("slow")) == (["Crashed"], [1])


# generators

@task
def count(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def acount(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


def test_generator_gives_its_items_as_they_are_made() -> None:
    made: list[int] = []

    @task
    def make() -> Iterator[int]:
        for i in range(3):
            made.append(i)
            yield i

    def body() -> Any:
        seen = []
        for i in make():
            seen.append((i, list(made), current_task.get()))
        return [seen]

    assert flow(body)()[0] == [(i, list(range(i + 1)), None) for i in range(3)]
    Records().check()
    assert Records().states("make") == ["Completed"]


def test_generators_work_outside_of_a_flow() -> None:
    async def consume() -> list[int]:
        return [item async for item in acount(3)]

    assert (list(count(3)), asyncio.run(consume())) == ([0, 1, 2], [0, 1, 2])


def test_async_generator_is_consumed_in_an_async_flow() -> None:
    async def body() -> Any:
        return [item + 1 async for item in acount(3)]

    assert in_async_flow(body) == [1, 2, 3]
    assert Records().states("acount") == ["Completed"]


def test_generator_knows_its_run_and_nobody_else_does() -> None:
    @task
    def ask(n: int) -> Iterator[Any]:
        for _ in range(2):
            get_run_logger().info("from inside")
            yield runtime.task_run.parameters

    def body() -> Any:
        return [(item, runtime.task_run.parameters) for item in ask(7)]

    assert flow(body)() == [({"n": 7}, {})] * 2
    assert Records().messages().count("from inside") == 2


def test_generator_that_raises_has_failed_and_what_it_gave_stays_given() -> None:
    @task(retries=2)
    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    def body() -> Any:
        seen = []
        with pytest.raises(ValueError, match="after one"):
            for item in breaks():
                seen.append(item)
        return seen

    assert flow(body)() == [1]
    records = Records()
    assert (records.states("breaks"), records.run_counts("breaks")) == (["Failed"], [1])


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_generator_that_raises_before_its_first_item_begins_anew(is_async: bool) -> None:
    tries = []

    def attempt() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError

    @task(retries=2)
    def fickle() -> Iterator[int]:
        attempt()
        yield len(tries)

    @task(retries=2, name="fickle")
    async def afickle() -> AsyncIterator[int]:
        attempt()
        yield len(tries)

    def body() -> Any:
        return list(fickle())

    async def abody() -> Any:
        return [item async for item in afickle()]

    assert (in_async_flow(abody) if is_async else flow(body)()) == [3]
    records = Records()
    assert (records.states("fickle"), records.run_counts("fickle")) == (["Completed"], [3])


def test_generator_that_is_closed_early_has_completed() -> None:
    closed = []

    @task
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    def body() -> Any:
        running = endless()
        first = next(running)
        running.close()
        return [first]

    assert (flow(body)(), closed) == ([1], [True])
    assert Records().states("endless") == ["Completed"]


def test_async_generator_that_is_closed_early_has_completed() -> None:
    @task
    async def endless() -> AsyncIterator[int]:
        while True:
            yield 1

    async def body() -> Any:
        running: Any = endless()
        first = await anext(running)
        await running.aclose()
        return [first]

    assert in_async_flow(body) == [1]
    assert Records().states("endless") == ["Completed"]


def test_what_is_sent_to_and_thrown_into_a_generator_reaches_it() -> None:
    @task
    def echo() -> Any:
        heard = []
        try:
            while True:
                heard.append((yield len(heard)))
        except KeyError:
            return heard

    def run() -> Any:
        running = echo()
        next(running)
        running.send("a")
        running.send("b")
        try:
            running.throw(KeyError("stop"))
        except StopIteration as stop:
            return stop.value

    assert run() == ["a", "b"]
    assert flow(run)() == ["a", "b"]


def test_generator_past_its_timeout_is_timed_out_whoever_consumes_it() -> None:
    @task(timeout_seconds=0.2)
    def slow() -> Iterator[int]:
        yield 1
        time.sleep(20)
        yield 2

    def body() -> Any:
        running = slow()
        first = next(running)
        time.sleep(0.3)  # the consumer's own time does not count
        with pytest.raises(TaskRunTimeoutError, match=r"timeout of 0\.2 second"):
            next(running)
        return [first]

    assert flow(body)() == [1]
    assert Records().states("slow") == ["TimedOut"]


def test_generator_takes_values_of_futures_and_none_of_failed_ones(play: Play) -> None:
    def body() -> Any:
        items = list(count(double.submit(2)))
        with pytest.raises(UpstreamTaskError):
            next(count(fail.submit()))
        return items

    assert play(body) == [0, 1, 2, 3]
    assert play.records.states("count") == ["Completed", "NotReady"]


def test_call_of_a_generator_has_no_state_to_return() -> None:
    with pytest.raises(CallError, match="'count' is a generator"):
        count(3, return_state=True)


def test_generator_that_is_submitted_gives_the_list_of_its_items(play: Play) -> None:
    def body() -> Any:
        return [count.submit(3).result(), count.map([0, 2]).result()]

    assert play(body) == [[0, 1, 2], [[], [0, 1]]]
