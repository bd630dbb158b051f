"""Every runner: one task run, its call, its name, its logs, and what it may ask of its run."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

from dataflow import allow_failure, flow, get_run_logger, runtime, tags, task
from dataflow.exceptions import (
    DefinitionError,
    ForeignFuture,
    MissingContextError,
    ParameterBindError,
    ParameterTypeError,
    UpstreamTaskError,
)
from tests.runner_support import Play


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def who() -> dict[str, Any]:
    run, around = runtime.task_run, runtime.flow_run
    return {
        "id": run.id, "name": run.name, "task_name": run.task_name, "tags": list(run.tags),
        "run_count": run.run_count, "parameters": run.parameters,
        "flow_id": around.id, "flow_run": around.name, "flow": around.flow_name,
        "flow_parameters": around.parameters, "flow_tags": list(around.tags),
    }


def test_called_submitted_and_mapped_task_gives_the_same(play: Play) -> None:
    def body() -> Any:
        return add(1, y=2), add.submit(1, y=2).result(), add.map([1], y=2).result(), add.fn(1, 2)

    assert play(body) == (3, 3, [3], 3)
    assert [call.kind for call in play.records.calls] == ["direct", "submit", "map"]
    assert play.records.states("add") == ["Completed"] * 3


def test_default_arguments_and_keywords_arrive(play: Play) -> None:
    @task
    def spread(a: int, *rest: int, b: int = 5, **more: int) -> tuple[Any, ...]:
        return a, rest, b, more

    assert play(lambda: spread.submit(1, 2, 3, c=4).result()) == (1, (2, 3), 5, {"c": 4})


def test_return_state_waits_and_raises_nothing(play: Play) -> None:
    def body() -> Any:
        good, bad = add.submit(1, return_state=True), boom.submit(return_state=True)
        direct = boom(return_state=True)
        assert good.is_completed() and good.result() == 2
        assert bad.is_failed() and direct.is_failed()
        with pytest.raises(ValueError, match="boom"):
            bad.result()
        assert isinstance(bad.result(raise_on_failure=False), ValueError)
        mapped = boom.map([1, 2], return_state=True)
        return [state.name for state in mapped]

    assert play(body) == ["Failed", "Failed"]


def test_task_outside_a_flow_runs_when_called_and_refuses_submit_and_map() -> None:
    assert add(1) == 2
    with pytest.raises(MissingContextError):
        add.submit(1)
    with pytest.raises(MissingContextError):
        add.map([1])


def test_arguments_that_do_not_fit_are_refused_before_anything_runs(play: Play) -> None:
    def body() -> None:
        for call in (add, add.submit, add.map):
            with pytest.raises(ParameterBindError):
                call([1], [2], [3])
            with pytest.raises(ParameterBindError):
                call([1], z=1)

    play(body)
    assert play.records.calls == []


def test_with_options_makes_another_task_and_leaves_the_first(play: Play) -> None:
    other = add.with_options(name="plus", tags=["t"], retries=2)
    assert (add.name, add.retries, set(add.tags)) == ("add", 0, set())
    assert (other.name, other.retries, set(other.tags)) == ("plus", 2, {"t"})
    assert play(lambda: (other.submit(1).result(), add.submit(2).result())) == (2, 3)
    assert [call.task_name for call in play.records.calls] == ["plus", "add"]
    assert [call.tags for call in play.records.calls] == [("t",), ()]


def test_wait_for_holds_a_task_back_until_others_have_ended(play: Play) -> None:
    seen: list[str] = []

    @task
    def first() -> str:
        return "first"

    def body() -> Any:
        one = first.submit()
        two = add.submit(1, wait_for=[one])
        two.wait()
        seen.append(one.state.name)
        three = add.submit(2, wait_for=one)
        many = add.map([1, 2], wait_for=[one, three])
        return two.result(), three.result(), many.result(), add(5, wait_for=[three])

    assert play(body) == (2, 3, [2, 3], 6)
    assert seen == ["Completed"]


def test_wait_for_a_failure_keeps_the_task_from_running(play: Play) -> None:
    def body() -> Any:
        bad = boom.submit(1)
        after, many = add.submit(1, wait_for=[bad]), add.map([1, 2], wait_for=[bad])
        fine = add.submit(1, wait_for=[allow_failure(bad)])
        with pytest.raises(UpstreamTaskError, match="boom"):
            add(1, wait_for=[bad])
        with pytest.raises(UpstreamTaskError) as caught:
            after.result()
        assert isinstance(caught.value.__cause__, ValueError)
        many.wait()
        return after.state.name, [state.name for state in many.states], fine.result()

    assert play(body) == ("NotReady", ["NotReady", "NotReady"], 2)
    assert play.records.states("add").count("Completed") == 1


def test_wait_for_one_element_of_a_map_waits_for_that_alone(play: Play) -> None:
    @task
    def odd(x: int) -> int:
        if x == 1:
            raise ValueError("one")
        return x

    def body() -> Any:
        many = odd.map([0, 1, 2])
        good, bad = add.submit(1, wait_for=[many[2]]), add.submit(1, wait_for=[many[1]])
        whole = add.submit(1, wait_for=[many])
        bad.wait()
        whole.wait()
        return good.result(), bad.state.name, whole.state.name

    assert play(body) == (2, "NotReady", "NotReady")


def test_runtime_says_who_runs(play: Play) -> None:
    @flow(name="who-flow", flow_run_name="run-{n}", task_runner=play.runner)
    def body(n: int) -> Any:
        with tags("outer"):
            future = who.with_options(tags=["own"]).submit()
        mapped = who.map(n=[]) if False else who.submit()
        return future.result(), mapped.result(), future.task_run_id, future.name, who()

    with tags("run"):
        said, plain, id, name, direct = body(7)
    records = play.records
    assert said == {
        "id": id, "name": name, "task_name": "who", "tags": ["outer", "own", "run"],
        "run_count": 1, "parameters": {}, "flow_id": records.run.id, "flow_run": "run-7",
        "flow": "who-flow", "flow_parameters": {"n": 7}, "flow_tags": ["run"],
    }
    assert plain["tags"] == direct["tags"] == ["run"]
    assert [row.id for row in records.of("who")][0] == id
    assert direct["id"] == records.of("who")[2].id
    assert runtime.task_run.id is None and runtime.flow_run.id is None


def test_map_elements_know_their_index_and_parameters(play: Play) -> None:
    @task
    def ask(x: int, y: int = 4) -> Any:
        return runtime.task_run.map_index, runtime.task_run.parameters

    assert play(lambda: ask.map([5, 6]).result()) == [
        (0, {"x": 5, "y": 4}), (1, {"x": 6, "y": 4})]


def test_task_runs_are_named_by_template_or_callable(play: Play) -> None:
    @task(task_run_name="add-{x}-{y}")
    def named(x: int, y: int = 3) -> str | None:
        return runtime.task_run.name

    def chosen(parameters: dict[str, Any]) -> str:
        return f"by-{parameters['x']}"

    def body() -> Any:
        one = named.submit(1)
        many = named.map([1, 2], y=[5, 6])
        two = named.with_options(task_run_name=chosen).submit(9)
        three = named.with_options(task_run_name=lambda: "fixed").submit(9)
        out = [one.result(), *many.result(), two.result(), three.result(), named(8)]
        assert [one.name, *(future.name for future in many), two.name, three.name] == out[:-1]
        return out

    names = ["add-1-3", "add-1-5", "add-2-6", "by-9", "fixed", "add-8-3"]
    assert play(body) == names
    assert [row.name for row in play.records.of("named")] == names


def test_name_template_that_does_not_fit_fails_the_task_run(play: Play) -> None:
    @task(task_run_name="{nothing}")
    def named(x: int, **more: int) -> int:
        return x

    def body() -> str:
        future = named.submit(1)
        with pytest.raises(DefinitionError, match=r"named.*no \{nothing\}.*'x', 'more'"):
            future.result()
        return future.state.name

    assert play(body) == "Failed"


def test_runs_are_named_after_their_task_by_default(play: Play) -> None:
    def body() -> Any:
        return add.submit(1).name, add.map([1, 2])[1].name

    single, element = play(body)
    assert single.startswith("add-") and element.startswith("add-") and single != element


def test_log_lines_of_tasks_and_flow_are_kept_with_the_run(play: Play) -> None:
    @task
    def talk(x: int) -> None:
        get_run_logger().info("task says %s", x)
        get_run_logger().debug("not this")

    def body() -> None:
        get_run_logger().warning("flow says hello")
        talk.map([1, 2]).wait()
        talk.submit(3).wait()
        talk(4)

    play(body)
    records = play.records
    said = [m for m in records.messages() if "says" in m]
    assert sorted(said) == ["flow says hello", *(f"task says {n}" for n in (1, 2, 3, 4))]
    mapped = records.calls[0]
    assert [line.message for line in records.store.logs(records.run.id, call=mapped.call, index=1)
            ] == ["task says 2"]
    assert "not this" not in records.messages()


def test_task_called_inside_another_is_a_task_run_of_its_own(play: Play) -> None:
    @task(retries=1)
    def inner(x: int) -> tuple[str | None, int | None]:
        get_run_logger().info("inner says %s", x)
        if runtime.task_run.run_count == 1:
            raise ValueError(x)
        return runtime.task_run.id, runtime.task_run.map_index

    @task
    def outer(x: int) -> tuple[Any, Any]:
        return (runtime.task_run.id, runtime.task_run.map_index), inner(x)

    def body() -> Any:
        add(1, 2)
        return outer.map([5, 6]).result(), outer.submit(7).result()

    both, one = play(body)
    assert [index for (_, index), _ in (*both, one)] == [0, 1, None]
    rows = {row.id: row for row in play.records.rows}
    for (around, _), (inside, index) in (*both, one):
        assert rows[inside].parent_task_run_id == around
        assert (rows[inside].run_count, index) == (2, None)
        assert rows[around].parent_task_run_id is None
    records = play.records
    for (_, _), (inside, _) in (*both, one):
        row = rows[inside]
        lines = [line.message for line in records.store.logs(row.run_id, call=row.call)]
        assert [line[:10] for line in lines] == ["inner says"] * 2

def test_prints_go_to_the_log_where_the_task_or_its_flow_says_so(
        play: Play, capfd: pytest.CaptureFixture[str]) -> None:
    @task(log_prints=True)
    def loud(x: int) -> None:
        print("loud", x)

    @task
    def as_flow(x: int) -> None:
        print("flow-says", x)

    @task(log_prints=False)
    def silent(x: int) -> None:
        print("silent", x)

    def body() -> None:
        loud.map([1, 2]).wait()
        as_flow.submit(3).wait()
        silent.submit(4).wait()
        print("flow itself")

    play(body, log_prints=True)
    lines = play.records.messages()
    assert {"loud 1", "loud 2", "flow-says 3", "flow itself"} <= set(lines)
    assert "silent 4" not in lines
    play(body)
    lines = play.records.messages()
    assert {"loud 1", "loud 2"} <= set(lines)
    assert not {"flow-says 3", "silent 4", "flow itself"} & set(lines)


def test_logger_outside_of_a_run_is_refused() -> None:
    with pytest.raises(MissingContextError):
        get_run_logger()


def test_log_lines_reach_standard_logging_where_the_process_is_the_same(
        play: Play, caplog: pytest.LogCaptureFixture) -> None:
    @task
    def talk() -> None:
        get_run_logger().error("heard")

    with caplog.at_level(logging.INFO, logger="dataflow"):
        play(lambda: talk.submit().wait())
    assert "heard" in play.records.messages()


class Point(BaseModel):
    x: int
    y: int = 0


def test_flow_parameters_are_coerced_and_reach_the_tasks(play: Play) -> None:
    @flow(task_runner=play.runner)
    def coerced(n: int, point: Point, names: list[str] | None = None) -> Any:
        return add.submit(n, point.x).result(), point, names

    assert coerced("3", {"x": "4"}) == (7, Point(x=4), None)  # type: ignore[arg-type]
    play.records.check()


def test_flow_parameters_that_do_not_fit_fail_the_run(play: Play) -> None:
    @flow(task_runner=play.runner)
    def coerced(n: int) -> Any:
        return add.submit(n).result()

    state = coerced("no number", return_state=True)
    assert state.is_failed()
    assert state.message.startswith("Validation of flow parameters failed with error: ")
    with pytest.raises(ParameterTypeError):
        coerced("no number")  # type: ignore[arg-type]
    with pytest.raises(ParameterBindError):
        coerced(1, 2)  # type: ignore[call-arg]
    assert play.records.run.state_name == "Failed" and play.records.calls == []
    assert coerced.with_options(validate_parameters=False)(1.5) == 2.5  # type: ignore[arg-type]


def test_task_arguments_are_not_coerced(play: Play) -> None:
    @task
    def kind(x: int) -> str:
        return type(x).__name__

    assert play(lambda: (kind.submit("5").result(), kind("5"))) == ("str", "str")


def test_flow_called_in_a_flow_runs_in_place_on_the_same_runner(play: Play) -> None:
    @flow
    def inner(x: int) -> Any:
        return add.submit(x).result()

    @flow
    def failing() -> Any:
        return boom.submit(3)

    def body() -> Any:
        future = add.submit(1)
        got = inner(future)
        assert failing(return_state=True).is_failed()
        with pytest.raises(ValueError, match="boom 3"):
            failing()
        return got, add.submit(got).result()

    assert play(body, name="outer") == (3, 4)
    store = play.records.store
    runs = {row.flow_name: row for row in store.flow_runs()}
    assert runs["inner"].parent_flow_run_id == runs["outer"].id
    assert (runs["outer"].state_name, runs["inner"].state_name) == ("Completed", "Completed")
    assert runs["failing"].state_name == "Failed"


def test_flow_called_with_a_failed_future_does_not_run(play: Play) -> None:
    @flow
    def inner(x: Any) -> Any:
        return x

    def body() -> Any:
        state = inner(boom.submit(1), return_state=True)
        return state.type.value, state.name

    assert play(body) == ("PENDING", "NotReady")


def test_state_of_a_flow_inside_is_an_argument_like_a_future(play: Play) -> None:
    @flow
    def inner() -> int:
        return 5

    def body() -> Any:
        state = inner(return_state=True)
        return add.submit(state).result(), add.map([1, 2], y=add.submit(1, return_state=True)
                                                   ) if False else None

    assert play(body) == (6, None)


def test_task_called_inside_a_task_runs_there(play: Play) -> None:
    @task
    def outer(x: int) -> int:
        return add(x) + add(x, y=10)

    assert play(lambda: outer.map([1, 2]).result()) == [13, 15]


def test_future_of_a_run_that_has_ended_is_refused_unless_its_value_is_here(play: Play) -> None:
    kept: dict[str, Any] = {}

    def before() -> None:
        kept["taken"] = add.submit(1)
        kept["taken"].result()
        kept["open"] = add.submit(2)
        kept["failed"] = boom.submit(5)

    def after() -> Any:
        with pytest.raises(ForeignFuture, match="add"):
            add.submit(kept["open"])
        with pytest.raises(ForeignFuture, match="add"):
            add.map([kept["open"]])
        behind = add.submit(kept["failed"])
        error = behind.result(raise_on_failure=False)
        assert behind.state.name == "NotReady" and str(error.__cause__) == "boom 5"
        return add.submit(kept["taken"]).result()

    play(before)
    assert kept["open"].state.name == "Completed"
    assert kept["failed"].state.name == "Failed"
    with pytest.raises(ValueError, match="boom 5"):
        kept["failed"].result()
    assert play(after) == 3


def test_methods_and_callable_objects_are_tasks(play: Play) -> None:
    class Scale:
        def __init__(self, by: int) -> None:
            self.by = by

        @task
        def apply(self, x: int) -> int:
            return x * self.by

        @task
        @staticmethod
        def fixed(x: int) -> int:
            return x * 100

        @task
        @classmethod
        def named(cls, x: int) -> str:
            return f"{cls.__name__}{x}"

    class Plus:
        def __call__(self, x: int) -> int:
            return x + 7

    def body() -> Any:
        three = Scale(3)
        return (three.apply.submit(2).result(), three.apply.map([1, 2]).result(),
                three.fixed.submit(1).result(), Scale.named.submit(1).result(),
                task(Plus()).submit(1).result(), task(lambda x: -x).map([1, 2]).result())

    assert play(body) == (6, [3, 6], 100, "Scale1", 8, [-1, -2])


def test_done_callbacks_come_once_with_the_future(play: Play) -> None:
    import threading

    got: list[Any] = []
    came = threading.Event()

    def body() -> None:
        def call(future: Any) -> None:
            got.append(future.result(raise_on_failure=False))
            if len(got) == 4:
                came.set()

        good, bad = add.submit(1), boom.submit(2)
        good.add_done_callback(call)
        bad.add_done_callback(lambda future: call(future) or 1 / 0)
        good.wait()
        good.add_done_callback(call)
        add.map([7])[0].add_done_callback(call)
        assert came.wait(10)

    play(body)
    assert sorted(map(repr, got)) == ["2", "2", "8", "ValueError('boom 2')"]
