"""Tasks that call, submit and map tasks and flows, at any depth."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    allow_failure,
    as_completed,
    flow,
    runtime,
    task,
    wait,
)
from tests.acceptance.parity.support import await_notes, note

DEADLOCK = pytest.mark.differs("parents take the slots their children need",
                               on="dask-processes", run=False)


@task
def inc(x: int) -> int:
    return x + 1


@task
def add(x: int, y: int) -> int:
    return x + y


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def calls(x: int) -> int:
    return inc(inc(x))


@task
def submits(x: int) -> int:
    return inc.submit(inc.submit(x)).result()


@task
def maps(n: int) -> int:
    return sum(inc.map(range(n)).result())


@task
def fib(n: int) -> int:
    if n < 2:
        return n
    return add(fib.submit(n - 1).result(), fib.submit(n - 2).result())


@flow
def small_flow(x: int) -> Any:
    return {"small": inc.submit(x).result()}


@task
def runs_a_flow(x: int) -> Any:
    return small_flow(x)


def test_a_task_calls_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (calls(1), calls.submit(1).result(), calls.map([1, 2]).result())}

    assert run() == {"found": (3, 3, [3, 4])}


@DEADLOCK
def test_a_task_submits_and_maps_tasks(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (submits(1), submits.submit(1).result(), maps.submit(3).result())}

    assert run() == {"found": (3, 3, 6)}


@DEADLOCK
def test_more_parents_than_slots_do_not_deadlock(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (submits.map(range(6)).result(), maps.map([2, 3, 2, 3]).result())}

    assert run() == {"found": ([2, 3, 4, 5, 6, 7], [3, 6, 3, 6])}


@DEADLOCK
def test_recursion_of_tasks_goes_deep(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": fib.submit(5).result()}

    assert run() == {"found": 5}


@DEADLOCK
def test_a_task_runs_a_flow(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (runs_a_flow(1), runs_a_flow.submit(2).result(),
                          runs_a_flow.map([3, 4]).result())}

    assert run() == {"found": ({"small": 2}, {"small": 3}, [{"small": 4}, {"small": 5}])}


@DEADLOCK
def test_the_exception_of_a_nested_task_comes_up_through_its_parents(runner: Any) -> None:
    @task
    def middle(x: int) -> Any:
        return boom.submit(x).result()

    @task
    def outer(x: int) -> Any:
        return middle.submit(x).result()

    @flow(task_runner=runner)
    def run() -> Any:
        future = outer.submit(7)
        with pytest.raises(ValueError, match="boom 7"):
            future.result()
        return {"found": future.state.name}

    assert run() == {"found": "Failed"}


@DEADLOCK
def test_a_parent_may_catch_what_its_child_raised(runner: Any) -> None:
    @task
    def catches(x: int) -> str:
        try:
            boom.submit(x).result()
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": catches.map([1, 2]).result()}

    assert run() == {"found": ["caught boom 1", "caught boom 2"]}


@DEADLOCK
def test_a_nested_task_that_fails_first_is_retried(runner: Any, ledger: str) -> None:
    @task(retries=1)
    def second(path: str) -> str:
        if note(path, "ran") == 1:
            raise ValueError("first")
        return "second"

    @task
    def parent(path: str) -> str:
        return str(second.submit(path).result())

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(ledger).result()}

    assert run() == {"found": "second"}


@DEADLOCK
def test_nested_tasks_know_their_own_run_and_the_flows(runner: Any) -> None:
    @task
    def told() -> Any:
        return runtime.task_run.task_name, runtime.flow_run.flow_name

    @task
    def parent() -> Any:
        inner = told.submit().result()
        return inner, runtime.task_run.task_name

    @flow(task_runner=runner, name="the-flow")
    def run() -> Any:
        return {"found": parent.submit().result()}

    assert run() == {"found": (("told", "the-flow"), "parent")}


@DEADLOCK
def test_chains_and_maps_of_maps_within_a_task(runner: Any) -> None:
    @task
    def graph(n: int) -> list[int]:
        first = inc.map(range(n))
        return inc.map(inc.map(first)).result()

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(graph.submit(3)).result()}

    assert run() == {"found": [4, 5, 6]}


@DEADLOCK
def test_nested_children_run_while_other_work_goes_on(pooled: Any, ledger: str) -> None:
    """The parent waits for its child, the child for a task that the flow submits later."""
    @task
    def awaits(path: str) -> int:
        await_notes(path)
        return 1

    @task
    def parent(path: str) -> int:
        return awaits.submit(path).result()

    @task
    def writes(path: str) -> None:
        note(path, "go")

    @flow(task_runner=pooled)
    def run() -> Any:
        waiting = parent.submit(ledger)
        writes.submit(ledger).wait()
        return {"found": waiting.result()}

    assert run() == {"found": 1}


@DEADLOCK
def test_what_a_task_submits_and_does_not_wait_for_is_run(runner: Any, ledger: str) -> None:
    @task
    def writes(path: str, x: int) -> None:
        note(path, x)

    @task
    def parent(path: str) -> int:
        writes.map(path, [1, 2, 3])
        return 1

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(ledger).result()}

    assert run() == {"found": 1}
    assert sorted(await_notes(ledger, 3)) == ["1", "2", "3"]


@DEADLOCK
def test_a_task_within_a_task_takes_futures_and_containers(runner: Any) -> None:
    @task
    def total(xs: Any) -> int:
        return sum(xs["a"])

    @task
    def parent(x: int) -> int:
        one = inc.submit(x)
        return total.submit({"a": [one, inc(one), 5]}).result()

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.map([1, 2]).result()}

    assert run() == {"found": [10, 12]}


@DEADLOCK
def test_three_levels_of_maps_in_many_parents_do_not_deadlock(runner: Any) -> None:
    @task
    def third(x: int) -> int:
        return x

    @task
    def second(n: int) -> int:
        return sum(third.map(range(n)).result())

    @task
    def first(n: int) -> int:
        return sum(second.map(range(n)).result())

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": first.map([3, 4, 5] * 3).result()}

    assert run() == {"found": [1, 4, 10] * 3}


@DEADLOCK
def test_states_of_nested_tasks_follow_the_same_rules(runner: Any) -> None:
    @task
    def parent() -> Any:
        failed = boom.submit(1, return_state=True)
        not_run = inc.submit(boom.submit(2))
        not_run.wait()
        allowed = inc.submit(allow_failure(inc.submit(1))).result()
        return failed.name, not_run.state.name, allowed

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit().result()}

    assert run() == {"found": ("Failed", "NotReady", 3)}


@DEADLOCK
def test_wait_and_as_completed_work_within_a_task(runner: Any) -> None:
    @task
    def parent(n: int) -> Any:
        futures = inc.map(range(n))
        done, not_done = wait(futures)
        return len(done), len(not_done), sorted(f.result() for f in as_completed(list(futures)))

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(3).result()}

    assert run() == {"found": (3, 0, [1, 2, 3])}


@DEADLOCK
def test_a_parent_that_is_tried_again_runs_its_children_again(
    runner: Any, ledger: str
) -> None:
    @task
    def child(path: str) -> int:
        return note(path, "child")

    @task(retries=1)
    def parent(path: str) -> int:
        count = child.submit(path).result()
        if count < 2:
            raise ValueError("first")
        return int(count)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(ledger).result()}

    assert run() == {"found": 2}


@DEADLOCK
def test_a_parent_that_waits_for_a_child_times_out(runner: Any) -> None:
    @task
    def slow() -> None:
        time.sleep(2.5)

    @task(timeout_seconds=0.4)
    def parent() -> None:
        slow.submit().result()

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(return_state=True).name}

    assert run() == {"found": "TimedOut"}


@DEADLOCK
def test_an_async_task_awaits_gathers_submits_and_calls_tasks(runner: Any) -> None:
    @task
    async def ainc(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @task
    async def parent(x: int) -> Any:
        gathered = await asyncio.gather(*(ainc(i) for i in range(3)))
        return await ainc(x), inc(x), ainc.submit(x).result(), gathered

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.map([1, 2]).result()}

    assert run() == {"found": [(2, 2, 2, [1, 2, 3]), (3, 3, 3, [1, 2, 3])]}


@DEADLOCK
def test_generator_tasks_stream_within_a_task(runner: Any) -> None:
    @task
    def count(n: int) -> Any:
        yield from range(n)

    @task
    def parent(n: int) -> list[int]:
        streamed = [x * 10 for x in count(n)]
        return streamed + list(count.submit(n).result()) + inc.map(count(n)).result()

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit(2).result()}

    assert run() == {"found": [0, 10, 0, 1, 1, 2]}


@DEADLOCK
def test_a_flow_that_fails_within_a_task_raises_there(runner: Any) -> None:
    @flow
    def bad() -> Any:
        boom.submit(9).result()

    @task
    def parent() -> Any:
        state = bad(return_state=True)
        try:
            bad()
        except ValueError as error:
            return state.name, str(error)

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": parent.submit().result()}

    assert run() == {"found": ("Failed", "boom 9")}


@DEADLOCK
def test_an_async_flow_runs_within_a_task(runner: Any) -> None:
    @flow
    async def inner(x: int) -> Any:
        await asyncio.sleep(0)
        return {"v": inc.submit(x).result()}

    @task
    async def parent(x: int) -> Any:
        return await inner(x)

    @task
    def plain_parent(x: int) -> Any:
        return asyncio.run(inner(x))

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (parent.submit(1).result(), plain_parent.submit(2).result())}

    assert run() == {"found": ({"v": 2}, {"v": 3})}
