"""Runs of flows over every task runner: attempts, deadlines, kinds of functions, flows in flows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow import Flow, State, flow, runtime, task
from dataflow.exceptions import (
    FailedRun,
    FlowRunTimeoutError,
    MissingContextError,
    UpstreamTaskError,
)
from dataflow.futures import Future
from dataflow.states import Completed, Failed
from dataflow.stores import open_store
from tests.runner_support import Play, Records, note, noted

SOON_S = 15.0  # far less than what is waited for would take, far more than a busy machine needs


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def boom(x: Any = None) -> None:
    raise ValueError(f"boom {x}")


@task
def noting(folder: str, name: str) -> str:
    note(folder, name)
    return name


@task
def attempt_of_flow() -> int:
    return runtime.flow_run.run_count


@task
def time_taking(seconds: float) -> None:
    time.sleep(seconds)


@task
def held(gate: str) -> None:
    until = time.monotonic() + 60
    while not noted(gate, "open") and time.monotonic() < until:
        time.sleep(0.02)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[str]:
    """Return what holds task runs until the test is over: workers are free then."""
    folder = tmp_path / "gate"
    folder.mkdir()
    yield str(folder)
    note(folder, "open")


@pytest.fixture
def on(runner: Any) -> Any:
    """Return what puts a flow on the runner at hand."""
    def put(some: Flow[..., Any], **options: Any) -> Flow[..., Any]:
        return some.with_options(task_runner=runner, **options)

    return put


# attempts


def test_failed_flow_runs_again_as_a_whole(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def body() -> Any:
        noting.submit(folder, "task")
        counts = runtime.flow_run.run_count, attempt_of_flow.submit().result(), attempt_of_flow()
        if note(folder, "flow") < 3:
            raise ValueError("not yet")
        return counts

    assert play(body, retries=2) == (3, 3, 3)
    assert (noted(folder, "task"), noted(folder, "flow")) == (3, 3)
    records = play.records
    assert (records.run.run_count, records.run.state_name) == (3, "Completed")
    assert records.states("noting") == ["Completed"] * 3
    assert len({row.id for row in records.rows}) == len(records.rows) == 9


def test_retries_that_are_spent_end_with_the_last_failure(play: Play, tmp_path: Path) -> None:
    def body() -> None:
        raise ValueError(f"attempt {note(tmp_path)}")

    with pytest.raises(ValueError, match="attempt 2"):
        play(body, retries=1, retry_delay_seconds=0.05)
    assert play.records.run.message == (
        "Flow run encountered an exception: ValueError: attempt 2")


def test_states_that_fail_the_flow_are_tried_again(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def second_time() -> int:
        if note(folder) < 2:
            raise ValueError("first")
        return 5

    state = play.state(lambda: second_time.submit(), retries=1)
    assert state.is_completed() and play.records.states("second_time") == ["Failed", "Completed"]


def test_what_a_failed_attempt_submitted_has_ended_when_the_next_begins(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def slow() -> None:
        time.sleep(0.3)
        note(folder, "slow")

    def body() -> int:
        before = noted(folder, "slow")
        slow.submit()
        if note(folder) < 2:
            raise ValueError("x")
        return before

    assert play_along(body, retries=1) == 1


def test_attempts_of_a_flow_that_cancels_on_exit_leave_nothing_open(
        play_along: Play, tmp_path: Path) -> None:
    def body() -> str:
        time_taking.with_options(max_in_flight=1).map([0.05] * 400)
        if note(tmp_path) < 2:
            raise ValueError("x")
        return "done"

    assert play_along(body, retries=1, on_exit="cancel") == "done"
    assert play_along.records.states("time_taking").count("Cancelled") > 500


# deadlines


def timed_out(some: Flow[..., Any], *args: Any) -> tuple[FlowRunTimeoutError, float]:
    began = time.monotonic()
    with pytest.raises(FlowRunTimeoutError) as caught:
        if some.isasync:
            asyncio.run(some(*args))
        else:
            some(*args)
    return caught.value, time.monotonic() - began


def test_flow_that_blocks_is_given_up_at_its_deadline(on: Any) -> None:
    @flow(timeout_seconds=0.5)
    def blocks() -> None:
        add.map([0, 0])
        time.sleep(60)

    error, took = timed_out(on(blocks))
    assert took < SOON_S and isinstance(error, TimeoutError)
    assert str(error) == "Flow run exceeded timeout of 0.5 second(s)"
    run = Records().run
    assert (run.state_type, run.state_name, run.message) == ("FAILED", "TimedOut", str(error))
    state = on(blocks)(return_state=True)
    assert (state.name, state.type.value) == ("TimedOut", "FAILED")


def test_open_task_runs_are_cancelled_at_the_deadline(on: Any, gate: str) -> None:
    @flow(timeout_seconds=1)
    def waits() -> None:
        quick = add.submit(1)
        quick.wait()
        held.submit(gate).wait()

    _, took = timed_out(on(waits))
    records = Records()
    records.check()
    assert took < SOON_S
    assert (records.states("add"), records.states("held")) == (["Completed"], ["Cancelled"])


def test_async_flow_is_cancelled_at_its_deadline(on: Any) -> None:
    @flow(timeout_seconds=0.5)
    async def sleeps() -> None:
        await asyncio.sleep(60)

    _, took = timed_out(on(sleeps))
    assert took < SOON_S and Records().run.state_name == "TimedOut"


def test_async_flow_that_blocks_in_a_wait_is_given_up_at_its_deadline(
        background: Any, gate: str) -> None:
    @flow(timeout_seconds=0.5, task_runner=background)
    async def waits() -> None:
        held.submit(gate).result()

    _, took = timed_out(waits)
    assert took < SOON_S and Records().states("held") == ["Cancelled"]


def test_timed_out_attempt_is_tried_again(on: Any, tmp_path: Path, gate: str) -> None:
    @flow(timeout_seconds=0.5, retries=1)
    def second_time() -> int:
        if note(tmp_path) == 1:
            held.submit(gate).wait()
        return add(1)

    assert on(second_time)() == 2
    assert Records().run.run_count == 2


def test_function_left_behind_can_add_nothing(on: Any) -> None:
    errors: list[BaseException] = []
    go_on, over = threading.Event(), threading.Event()

    @flow(timeout_seconds=0.3)
    def goes_on() -> None:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:  # it holds on to its life
            go_on.wait(30)
        try:
            add.submit(1)
        except BaseException as error:
            errors.append(error)
        over.set()

    timed_out(on(goes_on))
    go_on.set()
    assert over.wait(SOON_S)
    assert isinstance(errors[0], MissingContextError) and "timeout" in str(errors[0])


def test_deadline_ends_the_flows_inside_too(on: Any, gate: str) -> None:
    @flow
    def child() -> None:
        held.submit(gate).wait()

    @flow(timeout_seconds=1)
    def parent() -> None:
        child()

    _, took = timed_out(on(parent))
    rows = {row.flow_name: row.state_name for row in open_store(None).flow_runs()}
    assert rows == {"parent": "TimedOut", "child": "Cancelled"} and took < SOON_S


def test_flow_in_time_is_not_disturbed_by_its_deadline(play: Play) -> None:
    assert play(lambda: add.map([1, 2]).result(), timeout_seconds=60) == [2, 3]


# async


def test_async_flow_awaits_and_submits(on: Any) -> None:
    @flow
    async def body(x: int) -> Any:
        await asyncio.sleep(0)
        return add.submit(x), add.map([x, x])

    one, many = asyncio.run(on(body)("4"))
    assert one.result() == 5 and [state.result() for state in many] == [5, 5]
    state = asyncio.run(on(body)(1, return_state=True))
    assert state.is_completed() and Records().run.state_name == "Completed"


def test_async_flow_fails_as_a_plain_one(on: Any) -> None:
    @flow
    async def body() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        asyncio.run(on(body)())
    assert Records().run.state_name == "Failed"
    assert asyncio.run(on(body, retries=1)(return_state=True)).is_failed()
    assert Records().run.run_count == 2


def test_flows_in_an_async_flow_run_side_by_side(on: Any) -> None:
    inside, both = [0], asyncio.Event()

    @flow
    async def child(x: int) -> Any:
        inside[0] += 1
        if inside[0] == 2:
            both.set()
        await asyncio.wait_for(both.wait(), SOON_S)
        return add.submit(x).result()

    @flow
    async def parent() -> list[int]:
        return await asyncio.gather(child(1), child(2))

    assert asyncio.run(on(parent)()) == [2, 3]
    rows = {row.id: row for row in open_store(None).flow_runs()}
    mother = next(row for row in rows.values() if row.flow_name == "parent")
    assert [row.parent_flow_run_id for row in rows.values()].count(mother.id) == 2


def test_plain_flow_in_an_async_flow_runs_in_place(on: Any) -> None:
    @flow
    def plain() -> int:
        return add.submit(1).result()

    @flow
    async def outer() -> list[int]:
        return [plain(), plain()]

    assert asyncio.run(on(outer)()) == [2, 2]


def test_async_flow_called_by_a_plain_one_is_a_coroutine_that_it_may_run(on: Any) -> None:
    @flow
    async def child(x: int) -> int:
        return add.submit(x).result()

    @flow
    def parent() -> int:
        return asyncio.run(child(1))

    assert on(parent)() == 2
    rows = {row.flow_name: row for row in open_store(None).flow_runs()}
    assert rows["child"].parent_flow_run_id == rows["parent"].id


def test_flow_waits_for_flows_that_it_began_and_did_not_await(on: Any) -> None:
    @flow
    async def child(begun: asyncio.Event) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        add.submit(1)

    @flow
    async def parent() -> None:
        begun = asyncio.Event()
        kept.append(asyncio.ensure_future(child.with_options(validate_parameters=False)(begun)))
        await begun.wait()

    kept: list[Any] = []

    async def main() -> str:
        await on(parent)()
        rows = {row.flow_name: row.state_name for row in open_store(None).flow_runs()}
        return rows["child"]

    assert asyncio.run(main()) == "Completed"


def test_loop_goes_on_while_an_async_flow_drains(background: Any, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> None:
        note(folder, "begun")
        until = time.monotonic() + 30
        while not noted(folder, "gate") and time.monotonic() < until:
            time.sleep(0.01)

    @flow(task_runner=background)
    async def drains() -> None:
        gated.submit()

    async def opens() -> None:
        while not noted(folder, "begun"):
            await asyncio.sleep(0.02)
        note(folder, "gate")

    async def both() -> None:
        await asyncio.wait_for(asyncio.gather(drains(), opens()), 25)

    asyncio.run(both())
    assert Records().states("gated") == ["Completed"]


def test_cancelled_async_flow_cancels_its_task_runs(background: Any, gate: str) -> None:
    @flow(task_runner=background)
    async def waits(submitted: asyncio.Event) -> None:
        held.submit(gate)
        submitted.set()
        await asyncio.sleep(60)

    async def main() -> None:
        submitted = asyncio.Event()
        run = asyncio.ensure_future(waits(submitted))
        await asyncio.wait_for(submitted.wait(), 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    records = Records()
    assert records.run.state_name == "Cancelled" and set(records.states("held")) <= {"Cancelled"}


# generators


def test_generator_flow_streams_its_items(on: Any) -> None:
    seen: list[str] = []

    @flow
    def counts(n: int) -> Iterator[int]:
        for i in range(n):
            seen.append(f"made {i}")
            yield add.submit(i).result()

    stream = on(counts)("3")
    assert seen == []
    for item in stream:
        seen.append(f"got {item}")
    assert seen == ["made 0", "got 1", "made 1", "got 2", "made 2", "got 3"]
    assert Records().run.state_name == "Completed"
    assert on(counts)(2, return_state=True).result() == [1, 2]


def test_async_generator_flow_streams_its_items(on: Any) -> None:
    @flow
    async def counts(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield add.submit(i).result()

    async def main() -> Any:
        return [item async for item in on(counts)(3)], await on(counts)(2, return_state=True)

    items, state = asyncio.run(main())
    assert items == [1, 2, 3] and state.result() == [1, 2]


def test_generator_flow_that_raises_fails_after_its_items(on: Any, tmp_path: Path) -> None:
    @flow(retries=2)
    def breaks() -> Iterator[int]:
        note(tmp_path)
        yield 1
        raise KeyError("k")

    stream = on(breaks)()
    assert next(stream) == 1
    with pytest.raises(KeyError):
        next(stream)
    assert Records().run.state_name == "Failed" and noted(tmp_path) == 1


def test_generator_flow_that_is_closed_completes(on: Any) -> None:
    ended: list[str] = []

    @flow
    def endless() -> Iterator[int]:
        try:
            while True:
                yield add(1)
        finally:
            ended.append("closed")

    stream = on(endless)()
    assert next(stream) == 2
    stream.close()
    assert ended == ["closed"] and Records().run.state_name == "Completed"


def test_generator_flow_does_not_leave_its_run_to_the_consumer(on: Any) -> None:
    @flow
    def some() -> Iterator[int]:
        yield 1
        yield 2

    for _ in on(some)():
        assert runtime.flow_run.id is None


# flows in flows


def test_flow_in_a_flow_stands_as_a_call_in_the_run_around(on: Any) -> None:
    @flow
    def child(x: int) -> int:
        return x + 1

    @flow
    def parent() -> int:
        return child(add.submit(1))

    assert on(parent)() == 3
    store = open_store(None)
    runs = {row.flow_name: row for row in store.flow_runs()}
    records = Records(runs["parent"].id)
    records.check()
    calls = {call.task_name: call for call in records.calls}
    assert (calls["child"].kind, calls["child"].upstream) == ("flow", (calls["add"].call,))
    assert records.states("child") == ["Completed"]
    assert records.of("child")[0].name == runs["child"].name
    assert runs["child"].parent_flow_run_id == runs["parent"].id


def test_state_of_a_flow_inside_can_be_handed_on(on: Any) -> None:
    @flow
    def child(x: int) -> int:
        return x

    @flow
    def parent() -> Any:
        good = child(1, return_state=True)
        after = add.submit(good), add.map([good, good]), add.submit(1, wait_for=[good])
        return {"found": [add(good), after[0].result(), after[1].result(), after[2].result()],
                "run": good.state_details.flow_run_id}

    found = on(parent)()
    rows = {row.id: row.flow_name for row in open_store(None).flow_runs()}
    assert found["found"] == [2, 2, [2, 2], 2] and rows[found["run"]] == "child"


def test_flows_in_a_flow_share_its_runner_or_bring_their_own(on: Any) -> None:
    @flow
    def child() -> int:
        return add.submit(1).result()

    @flow
    def parent() -> list[int]:
        own: int = child.with_options(task_runner="inline")()
        return [child(), child(), own]

    assert on(parent)() == [2, 2, 2]
    rows = open_store(None).flow_runs()
    runners = [row.runner for row in rows if row.flow_name == "child"]
    mother = next(row.runner for row in rows if row.flow_name == "parent")
    assert sorted(map(str, runners)) == sorted([str(mother), str(mother), "inline"])


def test_failure_of_a_flow_inside_is_raised_or_returned(on: Any) -> None:
    @flow
    def child() -> None:
        boom.submit("x").result()

    @flow
    def parent() -> State:
        with pytest.raises(ValueError, match="boom x"):
            child()
        return child(return_state=True)

    state = on(parent)(return_state=True)
    assert (state.name, state.message) == ("Failed", "1/1 states failed.")
    assert isinstance(state.result(raise_on_failure=False), ValueError)


def test_prints_of_a_flow_inside_are_logged_as_the_flow_around_says(on: Any) -> None:
    @flow
    def child() -> None:
        print("said by the child")

    @flow(log_prints=True)
    def parent() -> None:
        child()
        child.with_options(log_prints=False)()

    on(parent)()
    store = open_store(None)
    said = [any(line.message == "said by the child" for line in store.logs(row.id))
            for row in store.flow_runs() if row.flow_name == "child"]
    assert sorted(said) == [False, True]


def test_flow_inside_waits_for_what_it_is_told_to(on: Any) -> None:
    @flow
    def child() -> int:
        return 1

    @flow
    def parent() -> tuple[int, str]:
        good = child(wait_for=[add.submit(1)])
        return good, child(wait_for=[boom.submit()], return_state=True).name

    assert on(parent)() == (1, "NotReady")
    with pytest.raises(UpstreamTaskError):
        flow(lambda: child(wait_for=boom.submit()), name="outer")()


# strict


def test_strict_flow_does_not_complete_with_failures_that_nobody_took(play: Play) -> None:
    def body() -> int:
        boom.submit("a")
        boom.submit("seen").result(raise_on_failure=False)
        return 1

    assert play(body) == 1
    with pytest.raises(FailedRun, match="1 task run did not complete") as caught:
        play(body, strict=True)
    assert "boom a" in str(caught.value) and "seen" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert play.records.run.state_name == "Failed"


def test_strict_flow_completes_where_everything_was_taken(play: Play) -> None:
    def body() -> list[bool]:
        return [f.state.is_failed() for f in (boom.submit(), add.submit(1)) if not f.wait()]

    assert play(body, strict=True) == [True, False]


# states made by hand and returned futures


def test_structure_of_what_is_returned_is_kept(play: Play) -> None:
    def body() -> Any:
        good, bad = add.submit(1), boom.submit("x")
        return {"one": good, "many": [good, bad], "plain": 3}

    found = play(body)
    assert found["one"].result() == 2 and found["plain"] == 3
    assert [state.type.value for state in found["many"]] == ["COMPLETED", "FAILED"]
    assert play.state(lambda: Completed(message="by hand", data=4)).message == "by hand"
    assert play.state(lambda: [add.submit(1), Failed()]).message == "1/2 states failed."


def test_future_of_an_earlier_attempt_tells_its_state(play: Play, tmp_path: Path) -> None:
    held: list[Future[int]] = []

    def body() -> str:
        held.append(add.submit(1))
        held[0].wait()
        if note(tmp_path) == 1:
            raise ValueError("x")
        return held[0].state.name

    assert play(body, retries=1) == "Completed"
