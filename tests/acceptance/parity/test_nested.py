"""Tasks that call, submit and map tasks and flows, at any depth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.parity.face import flow, runtime, task
from tests.acceptance.parity.support import await_notes, note

DEADLOCK = pytest.mark.differs("parents take the slots their children need: 3.7 (f)",
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
