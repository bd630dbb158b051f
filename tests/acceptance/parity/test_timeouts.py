"""Timeouts of tasks and flows: said within about a second, on every runner."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.acceptance.parity.face import flow, runtime, task
from tests.acceptance.parity.support import note, notes

LONG_S = 8.0
NOT_ENFORCED = "not enforced in a worker or thread: it runs to its end"


@task(timeout_seconds=0.3)
def too_long(x: Any = 0) -> Any:
    time.sleep(LONG_S)
    return x


@task(timeout_seconds=0.3)
async def too_long_async(x: Any = 0) -> Any:
    await asyncio.sleep(LONG_S)
    return x


@task(timeout_seconds=10)
def in_time(x: Any) -> Any:
    return x


@task
def inc(x: int) -> int:
    return x + 1


@pytest.mark.differs(NOT_ENFORCED)
def test_a_task_that_takes_too_long_times_out_and_says_so(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        began = time.monotonic()
        future = too_long.submit()
        future.wait()
        took = time.monotonic() - began
        state = future.state
        return {"found": (state.type.value, state.name, state.message, took < LONG_S - 1)}

    assert run() == {"found": (
        "FAILED", "TimedOut", "Task run exceeded timeout of 0.3 second(s)", True)}


def test_a_timeout_raises_a_timeout_error(runner: Any) -> None:
    @task(timeout_seconds=0.2)
    def sleeps() -> None:
        for _ in range(100):
            time.sleep(0.01)

    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(TimeoutError):
            sleeps.submit().result()
        return 1

    assert run() == 1


def test_a_direct_call_times_out() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        too_long()
    assert time.monotonic() - began < LONG_S - 1


@pytest.mark.parametrize("how", ["submit", "map"])
def test_an_async_task_times_out(runner: Any, how: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        began = time.monotonic()
        future = too_long_async.submit(1) if how == "submit" else too_long_async.map([1])[0]
        future.wait()
        return {"found": (future.state.name, time.monotonic() - began < LONG_S - 1)}

    assert run() == {"found": ("TimedOut", True)}


def test_what_ends_in_time_is_not_touched(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": in_time.map([1, 2]).result()}

    assert run() == {"found": [1, 2]}


def test_a_timeout_takes_part_in_retries(runner: Any, ledger: str) -> None:
    @task(timeout_seconds=0.3, retries=1)
    def second_is_quick(path: str) -> Any:
        note(path, "ran")
        if runtime.task_run.run_count == 1:
            time.sleep(1.5)
        return runtime.task_run.run_count

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": second_is_quick.submit(ledger).result()}

    assert run() == {"found": 2}
    assert len(notes(ledger)) == 2


def test_siblings_of_a_timeout_complete_and_downstream_is_not_ready(runner: Any) -> None:
    @task(timeout_seconds=0.5)
    def one_is_slow(x: int) -> int:
        time.sleep(1.5 if x == 1 else 0)
        return x

    @flow(task_runner=runner)
    def run() -> Any:
        mapped = one_is_slow.map([0, 1, 2])
        after = inc.map(mapped)
        after.wait()
        return {"found": ([f.state.name for f in mapped], [f.state.name for f in after])}

    assert run() == {"found": (["Completed", "TimedOut", "Completed"],
                               ["Completed", "NotReady", "Completed"])}


# flows

@pytest.mark.parametrize("loop", ["one sleep", "many"])
def test_a_flow_that_takes_too_long_times_out(runner: Any, loop: str) -> None:
    @flow(task_runner=runner, timeout_seconds=0.5)
    def run() -> Any:
        if loop == "one sleep":
            time.sleep(LONG_S)
        for _ in range(int(LONG_S * 100)):
            time.sleep(0.01)

    began = time.monotonic()
    state = run(return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "TimedOut")
    assert "0.5 second(s)" in state.message
    assert time.monotonic() - began < LONG_S - 1
    with pytest.raises(TimeoutError):
        state.result()


@pytest.mark.differs("the wait for the task is not interrupted", on="dask-processes",
                     sometimes=True)
def test_a_flow_that_waits_for_a_task_times_out(pooled: Any, ledger: str) -> None:
    @task
    def waits(path: str) -> None:
        for _ in range(300):
            if notes(path):
                return
            time.sleep(0.01)

    @flow(task_runner=pooled, timeout_seconds=0.5)
    def run() -> Any:
        try:
            waits.submit(ledger).result()
        finally:
            note(ledger, "left")

    with pytest.raises(TimeoutError):
        run()


def test_an_async_flow_times_out(runner: Any) -> None:
    @flow(task_runner=runner, timeout_seconds=0.5)
    async def run() -> Any:
        await asyncio.sleep(LONG_S)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert time.monotonic() - began < LONG_S - 1


def test_a_flow_in_time_is_not_touched(runner: Any) -> None:
    @flow(task_runner=runner, timeout_seconds=20)
    def run() -> Any:
        return {"found": inc.map([1, 2]).result()}

    assert run() == {"found": [2, 3]}


def test_a_timeout_of_a_flow_takes_part_in_its_retries(ledger: str) -> None:
    @flow(timeout_seconds=0.5, retries=1)
    def run() -> Any:
        if note(ledger, "ran") == 1:
            for _ in range(500):
                time.sleep(0.01)
        return "second"

    assert run() == "second"
