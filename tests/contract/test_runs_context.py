"""What running code may ask about where it is, on every runner."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow import flow, runtime, tags, task
from dataflow.context import (
    FlowRunContext,
    TagsContext,
    TaskRunContext,
    get_run_context,
)
from dataflow.exceptions import MissingContextError
from dataflow.runtime import deployment, flow_run, task_run
from tests.runner_support import Play


@task
def where(x: int = 0, y: int = 4) -> dict[str, Any]:
    here, around = get_run_context(), FlowRunContext.get()
    assert isinstance(here, TaskRunContext) and around is not None
    assert TaskRunContext.get() is here
    run = here.task_run
    return {
        "task": here.task.name, "parameters": here.parameters, "name": run.name, "id": run.id,
        "tags": run.tags, "run_count": run.run_count, "map_index": run.map_index,
        "flow_run_id": run.flow_run_id, "flow": around.flow.name, "version": around.flow.version,
        "flow_run": around.flow_run.name, "flow_parameters": around.parameters,
        "same": (run.id, run.name) == (runtime.task_run.id, runtime.task_run.name),
    }


def test_contexts_say_in_tasks_who_runs(play: Play) -> None:
    @flow(name="contextual", version="v7", task_runner=play.runner)
    def body(n: int) -> Any:
        here = get_run_context()
        assert isinstance(here, FlowRunContext) and TaskRunContext.get() is None
        assert here is FlowRunContext.get() and here.parameters == {"n": 3}
        with tags("a"):
            many = where.map([1, 2])
            many.wait()
        many_said = many.result()
        return (here.flow_run.id, here.flow_run.name, here.flow.name, many_said,
                where.submit(x=5).result(), where())

    id, name, flow_name, many, single, direct = body(3)
    records = play.records
    assert (id, flow_name) == (records.run.id, "contextual")
    for said in (*many, single, direct):
        assert said["same"] and said["task"] == "where" and said["run_count"] == 1
        assert (said["flow_run_id"], said["flow_run"], said["flow"], said["version"]) == (
            id, name, "contextual", "v7")
        assert said["flow_parameters"] == {"n": 3}
    assert [s["parameters"] for s in (*many, single, direct)] == [
        {"x": 1, "y": 4}, {"x": 2, "y": 4}, {"x": 5, "y": 4}, {"x": 0, "y": 4}]
    assert [s["map_index"] for s in (*many, single, direct)] == [0, 1, None, None]
    assert [s["tags"] for s in (*many, single)] == [["a"], ["a"], []]
    assert [s["id"] for s in (*many, single, direct)] == [row.id for row in records.of("where")]


def test_tags_nest_and_reach_every_kind_of_run(play: Play) -> None:
    @task(tags={"own"})
    def tagged(x: int = 0) -> list[str]:
        return runtime.task_run.tags

    def body() -> Any:
        with tags("a"):
            with tags("b", "c") as together:
                assert together == TagsContext.get().current_tags == {"a", "b", "c"}
                inner = tagged.submit()
                mapped = tagged.map([1])
            return inner.result(), mapped.result()[0], tagged(), tagged.submit().result()

    every = ["a", "b", "c", "own"]
    assert play(body) == (every, every, ["a", "own"], ["a", "own"])
    assert TagsContext.get().current_tags == set()
    assert [set(call.tags) for call in play.records.calls] == [
        set(every), set(every), {"a", "own"}, {"a", "own"}]


def test_an_attempt_knows_its_number(play: Play) -> None:
    @task(retries=2)
    def third(x: int) -> tuple[int, int]:
        count = runtime.task_run.run_count
        if count < 3:
            raise ValueError(x)
        here = get_run_context()
        assert isinstance(here, TaskRunContext)
        return count, here.task_run.run_count

    assert play(lambda: (third.submit(1).result(), third.map([1]).result(), third(1))) == (
        (3, 3), [(3, 3)], (3, 3))


def test_flow_runs_in_flow_runs_know_parent_and_root(play: Play) -> None:
    @task
    def ask() -> dict[str, Any]:
        return {"id": flow_run.id, "parent": flow_run.parent_flow_run_id,
                "root": flow_run.root_flow_run_id, "flow": flow_run.flow_name,
                "deployment": flow_run.parent_deployment_id}

    @flow(task_runner=play.runner)
    def leaf() -> Any:
        return ask.submit().result(), ask.fn()

    @flow(task_runner=play.runner)
    def middle() -> Any:
        return flow_run.id, leaf()

    @flow(task_runner=play.runner)
    def root() -> Any:
        return ask.submit().result(), flow_run.id, middle()

    top, top_id, (middle_id, (in_task, in_flow)) = root()
    assert top == {"id": top_id, "parent": None, "root": top_id, "flow": "root",
                   "deployment": None}
    assert in_task == in_flow == {
        "id": in_task["id"], "parent": middle_id, "root": top_id, "flow": "leaf",
        "deployment": None}
    assert len({top_id, middle_id, in_task["id"]}) == 3


def test_start_times_are_those_of_the_flow_run(play: Play) -> None:
    @task
    def when() -> datetime:
        return runtime.flow_run.scheduled_start_time

    before = datetime.now(UTC)
    at, asked = play(lambda: (when.submit().result(), flow_run.scheduled_start_time))
    assert at == asked and before - timedelta(seconds=1) < at < datetime.now(UTC)


@pytest.mark.parametrize("attribute, text, value", [
    ("flow_run.name", "mocked", "mocked"), ("flow_run.id", "7", "7"),
    ("flow_run.run_count", "3", 3), ("flow_run.tags", '["a"]', ["a"]),
    ("flow_run.parameters", '{"x": 1}', {"x": 1}),
    ("flow_run.trigger", '{"payload": {"path": "/x"}}', {"payload": {"path": "/x"}}),
    ("flow_run.scheduled_start_time", "2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5,
                                                                       tzinfo=UTC)),
    ("task_run.name", "t", "t"), ("task_run.run_count", "2", 2), ("deployment.name", "d", "d"),
])
def test_attributes_are_mocked_by_the_environment_with_their_types(
    attribute: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, name = attribute.split(".")
    monkeypatch.setenv(f"DATAFLOW__RUNTIME__{group.upper()}__{name.upper()}", text)
    assert getattr(getattr(runtime, group), name) == value

    @flow
    def inside() -> Any:
        return getattr(getattr(runtime, group), name)

    assert inside() == value


@pytest.mark.parametrize("attribute, text", [
    ("run_count", "many"), ("tags", '{"a": 1}'), ("parameters", "{"),
])
def test_a_mock_that_cannot_be_read_names_its_variable(
    attribute: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"DATAFLOW__RUNTIME__FLOW_RUN__{attribute.upper()}"
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=f"{variable} = .* cannot be used"):
        getattr(flow_run, attribute)


def test_outside_of_runs_everything_is_empty_and_a_context_is_missing() -> None:
    empty = {name: getattr(flow_run, name) for name in dir(flow_run)
             if name != "scheduled_start_time"}
    assert set(map(repr, empty.values())) == {"None", "0", "[]", "{}"}
    assert abs(flow_run.scheduled_start_time - datetime.now(UTC)) < timedelta(seconds=5)
    assert {repr(getattr(task_run, name)) for name in dir(task_run)} == {"None", "0", "[]", "{}"}
    assert {repr(getattr(deployment, name)) for name in dir(deployment)} == {"None", "{}"}
    assert FlowRunContext.get() is None and TaskRunContext.get() is None
    with pytest.raises(MissingContextError, match="no flow run or task run here"):
        get_run_context()


def test_a_task_outside_of_flows_knows_itself_and_no_flow_run() -> None:
    @task(tags={"own"})
    def alone(x: int) -> Any:
        here = get_run_context()
        assert isinstance(here, TaskRunContext)
        return here.task_run.name, task_run.parameters, task_run.tags, flow_run.id, (
            FlowRunContext.get())

    assert alone(3) == ("alone", {"x": 3}, ["own"], None, None)


def test_async_elements_side_by_side_each_know_themselves(play: Play) -> None:
    @task(task_run_name="element-{x}")
    async def ask(x: int) -> Any:
        before = task_run.name, task_run.map_index, task_run.parameters
        await asyncio.sleep(0.01 * (5 - x))
        here = get_run_context()
        assert isinstance(here, TaskRunContext)
        assert (here.task_run.name, task_run.map_index, here.parameters) == before
        return before

    assert play(lambda: ask.map(range(5)).result()) == [
        (f"element-{x}", x, {"x": x}) for x in range(5)]


def test_a_task_in_a_process_of_its_own_knows_itself(play: Play) -> None:
    @flow(name="isolating", task_runner=play.runner)
    def body(n: int) -> Any:
        future = where.with_options(isolation="process", tags=["t"]).submit(x=n)
        return future.result(), future.task_run_id

    said, id = body(3)
    assert said["same"] and said["id"] == id and said["tags"] == ["t"]
    assert (said["parameters"], said["flow"], said["flow_parameters"]) == (
        {"x": 3, "y": 4}, "isolating", {"n": 3})


def test_a_flow_called_in_a_task_knows_itself_and_its_root(play: Play) -> None:
    @flow(name="inner-flow")
    def inner(n: int) -> Any:
        here = get_run_context()
        assert isinstance(here, FlowRunContext)
        return (here.flow.name, here.parameters, flow_run.id, flow_run.name == here.flow_run.name,
                flow_run.root_flow_run_id, task_run.id)

    @task
    def calls(n: int) -> Any:
        return inner(n), flow_run.id, task_run.parameters

    @flow(task_runner=play.runner)
    def outer() -> Any:
        return calls.submit(5).result(), flow_run.id

    ((name, parameters, inner_id, same, root, no_task), around, own), outer_id = outer()
    assert (name, parameters, same, no_task) == ("inner-flow", {"n": 5}, True, None)
    assert around == root == outer_id != inner_id and own == {"n": 5}
