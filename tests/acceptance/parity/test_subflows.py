"""Flows that call flows."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    Completed,
    ParameterTypeError,
    ThreadPoolTaskRunner,
    allow_failure,
    flow,
    runtime,
    tags,
    task,
)
from tests.acceptance.parity.support import note, notes


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@flow
def child(x: Any) -> Any:
    return {"child": inc.submit(x).result()}


@flow
def failing_child(x: Any = 1) -> Any:
    boom.submit(x).result()


@flow
def told() -> Any:
    return {"id": runtime.flow_run.id, "parent": runtime.flow_run.parent_flow_run_id,
            "root": runtime.flow_run.root_flow_run_id, "name": runtime.flow_run.flow_name}


def test_a_subflow_runs_in_place_and_returns_its_value(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (child(1), inc.submit(5).result())}

    assert run() == {"found": ({"child": 2}, 6)}


def test_a_subflow_knows_its_parent_and_its_root(runner: Any) -> None:
    @flow(task_runner=runner)
    def middle() -> Any:
        return {"id": runtime.flow_run.id, "inner": told()}

    @flow(task_runner=runner)
    def run() -> Any:
        return {"id": runtime.flow_run.id, "middle": middle()}

    found = run()
    inner = found["middle"]["inner"]
    assert inner["name"] == "told"
    assert str(inner["parent"]) == str(found["middle"]["id"]) != str(found["id"])
    assert str(inner["root"]) == str(found["id"])
    assert len({str(each) for each in (found["id"], found["middle"]["id"], inner["id"])}) == 3


def test_a_subflow_that_fails_raises_in_the_parent(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(ValueError, match="boom 3"):
            failing_child(3)
        return {"found": failing_child(4, return_state=True).is_failed()}

    assert run() == {"found": True}


def test_a_failing_subflow_that_nobody_catches_fails_the_parent(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        failing_child(3)

    state = run(return_state=True)
    assert state.is_failed()
    with pytest.raises(ValueError, match="boom 3"):
        state.result()


def test_future_arguments_of_a_subflow_are_resolved(runner: Any) -> None:
    @flow
    def takes(x: int, many: list[int]) -> Any:
        return {"got": (x, many)}

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": takes(inc.submit(1), many=[inc.submit(2), 5])}

    assert run() == {"found": {"got": (2, [3, 5])}}


def test_a_failed_future_argument_keeps_a_subflow_from_running(
    runner: Any, ledger: str
) -> None:
    @flow
    def takes(x: Any) -> Any:
        note(ledger, "ran")

    @flow(task_runner=runner)
    def run() -> Any:
        state = takes(boom.submit(), return_state=True)
        return {"found": (state.type.value, state.name)}

    assert run() == {"found": ("PENDING", "NotReady")}
    assert notes(ledger) == []


def test_allow_failure_passes_a_failure_to_a_subflow(runner: Any) -> None:
    @flow
    def takes(x: Any) -> Any:
        return {"got": repr(x)}

    @flow(task_runner=runner)
    def run() -> Any:
        return takes(allow_failure(boom.submit(1)))

    assert run() == {"got": "ValueError('boom 1')"}


def test_a_subflow_waits_for_what_it_is_told_to(runner: Any, ledger: str) -> None:
    @task
    def write(path: str) -> None:
        note(path, "task")

    @flow
    def after() -> Any:
        note(ledger, "subflow")
        return {"a": 1}

    @flow(task_runner=runner)
    def run() -> Any:
        after(wait_for=[write.submit(ledger)])
        return {"found": after(wait_for=[boom.submit()], return_state=True).name}

    assert run() == {"found": "NotReady"}
    assert notes(ledger) == ["task", "subflow"]


def test_states_of_subflows_take_part_in_the_final_state(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return [child(1, return_state=True), failing_child(return_state=True), inc.submit(1)]

    state = run(return_state=True)
    assert (state.name, state.message) == ("Failed", "1/3 states failed.")


def test_a_subflow_that_returns_futures_gives_states_to_the_parent(runner: Any) -> None:
    @flow
    def gives() -> Any:
        return inc.map([1, 2])

    @flow(task_runner=runner)
    def run() -> Any:
        states = gives()
        return {"found": ([s.result() for s in states], inc.map(states).result())}

    assert run() == {"found": ([2, 3], [3, 4])}


def test_a_subflow_may_have_a_runner_of_its_own(runner: Any) -> None:
    @task
    def pid() -> int:
        return os.getpid()

    @flow(task_runner=ThreadPoolTaskRunner())
    def here() -> Any:
        return {"pid": pid.submit().result()}

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": (here()["pid"] == os.getpid(), inc.submit(1).result())}

    assert run() == {"found": (True, 2)}


@pytest.mark.differs("a subflow without a runner gets threads", on="dask-processes")
def test_a_subflow_without_a_runner_shares_its_parents(runner: Any) -> None:
    @task
    def pid() -> int:
        return os.getpid()

    @flow
    def there() -> Any:
        return {"pid": pid.submit().result()}

    @flow(task_runner=runner)
    def run() -> Any:
        return {"pids": [there()["pid"]] + [pid.submit().result() for _ in range(8)]}

    first, *others = run()["pids"]
    if os.getpid() not in others:
        assert first != os.getpid()


def test_subflows_run_concurrently_from_async_flows(runner: Any) -> None:
    @flow
    async def part(n: int) -> Any:
        await asyncio.sleep(0.02)
        return {"got": (n, inc.submit(n).result(), runtime.flow_run.parent_flow_run_id)}

    @flow(task_runner=runner)
    async def run() -> Any:
        me = runtime.flow_run.id
        found = await asyncio.gather(*(part(n) for n in range(3)))
        return {"found": [(each["got"][0], each["got"][1], str(each["got"][2]) == str(me))
                          for each in found]}

    assert asyncio.run(run()) == {"found": [(0, 1, True), (1, 2, True), (2, 3, True)]}


def test_an_async_flow_calls_a_sync_subflow(runner: Any) -> None:
    @flow(task_runner=runner)
    async def run() -> Any:
        return {"found": child(1)}

    assert asyncio.run(run()) == {"found": {"child": 2}}


def test_a_flow_calls_itself(runner: Any) -> None:
    @flow(task_runner=runner)
    def down(n: int) -> Any:
        if n == 0:
            return {"sum": 0}
        return {"sum": down(n - 1)["sum"] + inc.submit(n - 1).result()}

    assert down(3) == {"sum": 6}


def test_parameters_of_a_subflow_are_checked(runner: Any) -> None:
    @flow
    def typed(x: int) -> Any:
        return {"x": x}

    @flow(task_runner=runner)
    def run() -> Any:
        with pytest.raises(ParameterTypeError):
            typed("no")
        return typed("4")

    assert run() == {"x": 4}


def test_a_subflow_has_retries_of_its_own(runner: Any, ledger: str) -> None:
    @flow(retries=2)
    def flaky() -> Any:
        if note(ledger, "ran") < 3:
            raise ValueError("again")
        return {"a": inc.submit(1).result()}

    @flow(task_runner=runner)
    def run() -> Any:
        return flaky()

    assert run() == {"a": 2}


def test_tags_reach_into_subflows(runner: Any) -> None:
    @task
    def seen() -> Any:
        return sorted(runtime.task_run.tags)

    @flow
    def tagged() -> Any:
        return {"found": (sorted(runtime.flow_run.tags), seen.submit().result())}

    @flow(task_runner=runner)
    def run() -> Any:
        with tags("a", "b"):
            return tagged()

    assert run() == {"found": (["a", "b"], ["a", "b"])}


def test_a_state_by_hand_from_a_subflow(runner: Any) -> None:
    @flow
    def by_hand() -> Any:
        return Completed(message="by hand", data=3)

    @flow(task_runner=runner)
    def run() -> Any:
        state = by_hand(return_state=True)
        return {"found": (by_hand(), state.message)}

    assert run() == {"found": (3, "by hand")}


def test_futures_of_the_parent_live_on_after_a_subflow(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        before = inc.submit(1)
        child(5)
        return {"found": (before.result(), inc.submit(before).result())}

    assert run() == {"found": (2, 3)}


def test_subflows_in_threads_of_the_parent(runner: Any) -> None:
    """A flow in a plain thread is a flow of its own: the context stays with its thread."""
    @flow(task_runner=runner)
    def run() -> Any:
        with ThreadPoolExecutor(2) as pool:
            return {"found": list(pool.map(child, [1, 2]))}

    assert run() == {"found": [{"child": 2}, {"child": 3}]}


def test_the_state_of_a_subflow_is_an_argument_of_tasks(runner: Any) -> None:
    @task
    def same(x: Any) -> Any:
        return x

    @flow(task_runner=runner)
    def run() -> Any:
        state = child(1, return_state=True)
        bad = failing_child(return_state=True)
        good, not_run = same.submit(state), same.submit(bad)
        not_run.wait()
        return {"found": (good.result(), not_run.state.name)}

    assert run() == {"found": ({"child": 2}, "NotReady")}


def test_waiting_for_the_state_of_a_failed_subflow_keeps_tasks_from_running(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        bad = failing_child(return_state=True)
        one, many = inc.submit(1, wait_for=[bad]), inc.map([1], wait_for=[bad])
        one.wait()
        many.wait()
        return {"found": (one.state.name, many[0].state.name)}

    assert run() == {"found": ("NotReady", "NotReady")}
