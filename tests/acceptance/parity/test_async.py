"""Async tasks and flows: awaited, gathered, submitted, mapped."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest

from tests.acceptance.parity.face import ParameterTypeError, flow, runtime, task
from tests.acceptance.parity.support import note, notes


@task
async def ainc(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@task
async def aboom(x: Any = None) -> Any:
    await asyncio.sleep(0)
    raise ValueError(f"boom {x}")


@task
def inc(x: int) -> int:
    return x + 1


class Holder:
    """Async methods as tasks."""

    by = 2

    @task
    async def times(self, x: int) -> int:
        await asyncio.sleep(0)
        return x * self.by


class AsyncCallable:
    """An object whose call is async."""

    async def __call__(self, x: int) -> int:
        await asyncio.sleep(0)
        return x + 1


# in async flows

def test_an_async_task_is_awaited_in_an_async_flow(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        return {"found": (await ainc(1), await ainc(x=5))}

    assert asyncio.run(run()) == {"found": (2, 6)}


def test_awaited_tasks_raise_their_exception(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        with pytest.raises(ValueError, match="boom 1"):
            await aboom(1)
        state = await aboom(2, return_state=True)
        return {"found": state.is_failed()}

    assert asyncio.run(run()) == {"found": True}


def test_gathered_tasks_run_side_by_side(runner: Any) -> None:
    @task
    async def meets(x: int, together: Any) -> int:
        await asyncio.wait_for(together.wait(), 10)
        return x

    @task
    async def opens(together: Any) -> int:
        await asyncio.sleep(0.01)
        together.set()
        return 9

    @flow(task_runner=runner)
    async def run() -> Any:
        gate = asyncio.Event()
        return {"found": await asyncio.gather(meets(1, gate), meets(2, gate), opens(gate))}

    assert asyncio.run(run()) == {"found": [1, 2, 9]}


def test_submit_and_map_stay_sync_in_async_flows(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        future, many = ainc.submit(1), ainc.map([1, 2])
        return {"found": (inc.submit(future).result(), many.result(), inc.map(many).result())}

    assert asyncio.run(run()) == {"found": (3, [2, 3], [3, 4])}


def test_an_async_flow_calls_sync_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        return {"found": (inc(1), inc.submit(2).result(), inc.map([3]).result())}

    assert asyncio.run(run()) == {"found": (2, 3, [4])}


def test_futures_are_resolved_for_awaited_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        return {"found": await ainc(inc.submit(ainc.submit(1)))}

    assert asyncio.run(run()) == {"found": 4}


@pytest.mark.differs("futures of tasks are not awaitable")
def test_futures_are_awaited(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        one, many = ainc.submit(1), inc.map([1, 2])
        return {"found": (await one, await asyncio.gather(*many))}

    assert asyncio.run(run()) == {"found": (2, [2, 3])}


@pytest.mark.differs("futures of tasks are not awaitable")
def test_an_awaited_future_that_failed_raises(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        with pytest.raises(ValueError, match="boom 1"):
            await aboom.submit(1)
        return 1

    assert asyncio.run(run()) == 1


def test_the_final_state_of_an_async_flow_follows_the_rule(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run(bad: bool) -> Any:
        return [ainc.submit(1), aboom.submit(1) if bad else ainc.submit(2)]

    assert [s.result() for s in asyncio.run(run(False))] == [2, 3]
    state = asyncio.run(run(True, return_state=True))
    assert (state.name, state.message) == ("Failed", "1/2 states failed.")


def test_an_async_flow_that_raises_raises(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        raise KeyError("async")

    with pytest.raises(KeyError, match="async"):
        asyncio.run(run())


def test_parameters_of_an_async_flow_are_checked_and_coerced() -> None:
    @flow
    async def run(x: int) -> Any:
        return {"x": x}

    assert asyncio.run(run("3")) == {"x": 3}
    with pytest.raises(ParameterTypeError):
        asyncio.run(run("three"))


def test_the_loop_turns_while_an_async_flow_awaits(runner: Any) -> None:
    async def main() -> Any:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        @flow(task_runner=runner)
        async def run() -> Any:
            await asyncio.sleep(0.3)
            return {"a": await ainc(1)}

        ticking = asyncio.create_task(tick())
        found = await run()
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(main())
    assert found == {"a": 2} and ticks >= 5


def test_two_async_flows_run_side_by_side_and_keep_apart(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run(n: int) -> Any:
        await asyncio.sleep(0.05)
        first = runtime.flow_run.id
        value = await ainc(n)
        await asyncio.sleep(0)
        return {"found": (value, runtime.flow_run.id == first, first)}

    async def main() -> Any:
        return await asyncio.gather(run(1), run(2), run(3))

    found = [each["found"] for each in asyncio.run(main())]
    assert [(v, same) for v, same, _ in found] == [(2, True), (3, True), (4, True)]
    assert len({each[2] for each in found}) == 3


def test_an_async_flow_is_retried(ledger: str) -> None:
    @flow(retries=1)
    async def run() -> Any:
        if note(ledger, "ran") == 1:
            raise ValueError("first")
        return {"ran": await ainc(1)}

    assert asyncio.run(run()) == {"ran": 2}
    assert len(notes(ledger)) == 2


# in sync flows

def test_a_sync_flow_submits_and_maps_async_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (ainc.submit(1).result(), ainc.map(range(3)).result(),
                          inc.submit(ainc.submit(1)).result())}

    assert run() == {"found": (2, [1, 2, 3], 3)}


def test_failures_of_async_tasks_are_failures(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = aboom.submit(1)
        after = inc.submit(future)
        after.wait()
        return {"found": (future.state.name, after.state.name,
                          str(future.result(raise_on_failure=False)))}

    assert run() == {"found": ("Failed", "NotReady", "boom 1")}


def test_async_tasks_are_retried_with_their_run_count(runner: Any) -> None:
    @task(retries=2, retry_delay_seconds=0.05)
    async def third() -> int:
        await asyncio.sleep(0)
        if runtime.task_run.run_count < 3:
            raise ValueError("again")
        return int(runtime.task_run.run_count)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": third.submit().result()}

    assert run() == {"found": 3}


def test_async_methods_and_callable_objects_are_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (Holder().times.submit(4).result(), Holder().times.map([1, 2]).result())}

    assert run() == {"found": (8, [2, 4])}


@pytest.mark.differs("objects with an async call and partials of async functions count as sync")
def test_async_partials_and_callable_objects_are_async_tasks(runner: Any) -> None:
    by_object = task(AsyncCallable(), name="object")
    by_partial = task(functools.partial(ainc.fn, 1), name="partial")

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (by_object.submit(1).result(), by_partial.submit().result())}

    assert run() == {"found": (2, 2)}


def test_a_sync_flow_calls_an_async_task_and_gets_what_to_await() -> None:
    @flow
    def run() -> Any:
        return {"found": asyncio.run(ainc(1))}

    assert run() == {"found": 2}


def test_an_async_task_is_awaited_outside_a_flow() -> None:
    assert asyncio.run(ainc(1)) == 2

    async def gathered() -> Any:
        return await asyncio.gather(*(ainc(x) for x in range(3)))

    assert asyncio.run(gathered()) == [1, 2, 3]
    with pytest.raises(ValueError, match="boom"):
        asyncio.run(aboom())


def test_fn_of_an_async_task_is_the_raw_function() -> None:
    assert asyncio.run(ainc.fn(1)) == 2


def test_async_tasks_find_their_context(runner: Any) -> None:
    @task(tags=["a"])
    async def told(x: int) -> Any:
        before = runtime.task_run.id
        await asyncio.sleep(0.01)
        return (runtime.task_run.id == before, runtime.task_run.parameters,
                sorted(runtime.task_run.tags))

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": told.map([1, 2]).result()}

    assert run() == {"found": [(True, {"x": 1}, ["a"]), (True, {"x": 2}, ["a"])]}


@pytest.mark.differs("an element takes a slot while it awaits", on="dask-processes")
def test_many_async_elements_await_at_once_on_few_slots(runner: Any) -> None:
    """Forty sleeps of 0.25 s on two slots would take 5 s one after another."""
    @task
    async def sleeps(x: int) -> int:
        await asyncio.sleep(0.25)
        return x

    @flow(task_runner=runner)
    def run() -> Any:
        sleeps.map([0, 1]).wait()
        began = time.monotonic()
        found = sleeps.map(range(40)).result()
        return {"found": (found == list(range(40)), time.monotonic() - began < 4)}

    assert run() == {"found": (True, True)}


def test_async_tasks_of_one_map_share_a_loop_where_they_meet(pooled: Any) -> None:
    @task
    async def loop_of(x: int) -> bool:
        return asyncio.get_running_loop().is_running()

    @flow(task_runner=pooled)
    def run() -> Any:
        return {"found": loop_of.map(range(4)).result()}

    assert run() == {"found": [True] * 4}


def test_subflows_of_both_kinds_are_gathered_and_called(runner: Any) -> None:
    @flow
    def plain(n: int) -> Any:
        return {"v": inc.map(range(n)).result()}

    @flow
    async def later(n: int) -> Any:
        return {"v": await asyncio.gather(*(ainc(x) for x in range(n)))}

    @flow(task_runner=runner)
    async def run() -> Any:
        gathered = await asyncio.gather(later(1), later(2))
        return {"found": (plain(2), *gathered)}

    assert asyncio.run(run()) == {"found": ({"v": [1, 2]}, {"v": [1]}, {"v": [1, 2]})}


def test_an_awaited_task_that_is_cancelled_leaves_the_flow_whole(pooled: Any) -> None:
    @task
    async def sleeps() -> None:
        await asyncio.sleep(30)

    @flow(task_runner=pooled)
    async def run() -> Any:
        waiting = asyncio.create_task(sleeps())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return {"found": await ainc(1)}

    assert asyncio.run(run()) == {"found": 2}
