"""Flows on the inline runner with records in memory: parameters, final states, what comes back."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from dataflow import Flow, State, flow, get_run_logger, runtime, tags, task
from dataflow.exceptions import (
    DefinitionError,
    DefinitionTypeError,
    FailedRun,
    MissingContextError,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgumentError,
    SettingsError,
    UpstreamTaskError,
)
from dataflow.futures import Future
from dataflow.states import Cancelled, Completed, Failed
from dataflow.store import FlowRunRow
from dataflow.stores.memory import MemoryStore
from runners import InlineTaskRunner


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryStore]:
    store = MemoryStore()
    monkeypatch.setattr("dataflow.stores.open_store", lambda location=None: store)
    monkeypatch.setattr(store, "close", lambda: None)
    monkeypatch.setenv("DATAFLOW_TASK_RUNNER", "inline")
    yield store


def last(store: MemoryStore) -> FlowRunRow:
    return store.find_flow_run("last")


@task
def same(x: Any) -> Any:
    return x


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


# definition


def test_flow_takes_name_and_description_of_its_function() -> None:
    @flow
    def my_flow(x: int) -> int:
        """Do it."""
        return x

    assert (my_flow.name, my_flow.description, my_flow.fn(3)) == ("my-flow", "Do it.", 3)
    assert list(inspect.signature(my_flow).parameters) == ["x"]
    assert (Flow(my_flow.fn).name, flow(name="n")(my_flow.fn).name) == ("my-flow", "n")


@pytest.mark.parametrize("option, value, error", [
    ("name", "a/b", DefinitionError), ("name", 5, TypeError), ("on_exit", "now", DefinitionError),
    ("task_runner", 5, TypeError), ("flow_run_name", 5, TypeError), ("log_prints", 1, TypeError),
    ("validate_parameters", "no", TypeError), ("retries", -1, DefinitionError),
    ("retries", "2", TypeError), ("retry_delay_seconds", -1, DefinitionError),
    ("retry_delay_seconds", [1, 2], TypeError), ("timeout_seconds", 0, DefinitionError),
    ("timeout_seconds", "1", TypeError), ("strict", "yes", TypeError),
    ("on_failure", len, TypeError), ("on_running", [len, 3], TypeError),
    ("on_crashed", 5, TypeError), ("on_cancellation", "text", TypeError),
])
def test_option_that_cannot_be_meant_is_refused_by_name(
        option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=option):
        flow(lambda: 1, **{option: value})  # type: ignore[call-overload]


@pytest.mark.parametrize("option", [
    "persist_result", "result_storage", "result_serializer", "cache_result_in_memory"])
def test_result_keyword_of_a_wrong_type_is_refused_by_name(option: str) -> None:
    with pytest.raises(DefinitionTypeError, match=option):
        flow(lambda: 1, **{option: object()})  # type: ignore[call-overload]


def test_reserved_name_is_refused() -> None:
    with pytest.raises(ReservedArgumentError):
        flow(lambda wait_for: 1)


def test_with_options_changes_a_copy_only() -> None:
    base = flow(lambda: 1, name="a", log_prints=True, on_failure=[print])
    new = base.with_options(name="b")
    assert (base.name, new.name, new.log_prints) == ("a", "b", True)
    assert new.on_failure_hooks == [print]


OPTIONS: dict[str, Any] = {
    "version": "2", "flow_run_name": "r", "description": "d", "retries": 3,
    "retry_delay_seconds": 1.5, "timeout_seconds": 9.0, "log_prints": True, "strict": True,
    "on_exit": "cancel", "task_runner": "inline",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_with_options_changes_every_option(option: str) -> None:
    base = flow(lambda: 1, name="a")
    new = base.with_options(**{option: OPTIONS[option]})
    assert getattr(new, option) == OPTIONS[option] != getattr(base, option)
    assert getattr(new.with_options(name="b"), option) == OPTIONS[option]
    assert new.with_options(retries=0).retries == 0


def test_retries_are_by_the_settings_where_the_flow_does_not_say(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_FLOWS_DEFAULT_RETRIES", "1")
    tries: list[int] = []

    def fn() -> None:
        tries.append(1)
        raise ValueError("x")

    with pytest.raises(ValueError):
        flow(fn)()
    assert len(tries) == 2
    with pytest.raises(ValueError):
        flow(fn, retries=0)()
    assert len(tries) == 3


def test_method_can_be_a_flow() -> None:
    class Shop:
        rate = 3

        @flow
        def price(self, x: int) -> int:
            return x * self.rate

        @classmethod
        @flow
        def twice(cls, x: int) -> int:
            return 2 * x

        @flow
        @classmethod
        def rated(cls, x: int) -> int:
            return x * cls.rate

        @flow
        @staticmethod
        def alone(x: int) -> int:
            return x

        @flow
        async def later(self, x: int) -> int:
            return x + self.rate

    assert Shop().price("2") == 6 and Shop.price(Shop(), "2") == 6
    assert (Shop.rated("2"), Shop().rated(2), Shop.alone("2"), Shop().alone(2)) == (6, 6, 2, 2)
    assert Shop.twice(2) == Shop().twice(2) == 4
    assert asyncio.run(Shop().later("1")) == 4
    assert Shop().price.with_options(name="other")(2) == 6
    assert list(Shop().price.parameters.properties) == ["x"]


@pytest.mark.parametrize("how, error, text", [
    ("f-{z}", DefinitionError, "parameter 'z'; there are: x, y"),
    ("f-{x.name}-{0}", DefinitionError, "parameter '0'"),
    ("f-{x", DefinitionError, "no template"),
    (lambda x: "n", TypeError, "this one takes x"),
])
def test_run_name_that_can_never_be_made_is_refused_at_definition(
        how: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        flow(lambda x, y=1: 1, name="shop", flow_run_name=how)
    assert "flow_run_name of flow 'shop'" in str(caught.value)


def test_run_name_that_cannot_be_made_says_why_at_the_call(store: MemoryStore) -> None:
    with pytest.raises(DefinitionError, match="'shop' cannot be filled in: AttributeError"):
        flow(lambda x: 1, name="shop", flow_run_name="{x.nothing}")(5)
    with pytest.raises(TypeError, match="'shop' returned int"):
        flow(lambda x: 1, name="shop", flow_run_name=lambda: 5)(5)  # type: ignore[arg-type]
    flow(lambda **rest: 1, name="shop", flow_run_name="n-{a}")(a=3)
    assert last(store).name == "n-3"


# parameters


class Item(BaseModel):
    n: int


def test_parameters_are_coerced_by_their_annotations() -> None:
    @flow
    def f(x: int, item: Item, copy: str = "c", *more: float, json: Any = 5, **rest: int) -> Any:
        return x, item.n, copy, more, json, rest

    assert f("3", {"n": "4"}) == (3, 4, "c", (), 5, {})
    assert f("3", {"n": 4}, "d", "1.5", z="2") == (3, 4, "d", (1.5,), 5, {"z": 2})


def test_parameters_are_passed_as_they_are_without_validation() -> None:
    @flow(validate_parameters=False)
    def f(x: int) -> Any:
        return x

    assert f("3") == "3"


def test_invalid_parameter_fails_a_run_that_is_recorded(store: MemoryStore) -> None:
    @flow
    def f(x: int) -> int:
        raise AssertionError("must not be called")

    with pytest.raises(ParameterTypeError, match="x: Input should be a valid integer"):
        f("three")
    row = last(store)
    assert (row.state_type, row.flow_name, json.loads(row.parameters)) == (
        "FAILED", "f", {"x": "three"})
    assert (row.message or "").startswith("Validation of flow parameters failed with error: ")
    assert f("three", return_state=True).is_failed()


def test_arguments_that_do_not_fit_make_no_run(store: MemoryStore) -> None:
    with pytest.raises(ParameterBindError, match="unexpected keyword argument 'y'"):
        flow(lambda x: x, name="f")(1, y=1)
    assert store.flow_runs() == []


# how it ends


@pytest.mark.parametrize("value", [7, None, [], {"a": 1}, [1, "a"], "text"])
def test_plain_value_comes_back_and_completes(store: MemoryStore, value: Any) -> None:
    f = flow(lambda: value, name="f")
    assert f() == value
    state = f(return_state=True)
    assert (state.type.value, state.message, state.data) == ("COMPLETED", None, value)
    assert last(store).state_type == "COMPLETED" and last(store).end_time is not None


def test_exception_fails_the_run_and_is_raised(store: MemoryStore) -> None:
    @flow
    def f() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        f()
    row = last(store)
    assert (row.state_type, row.message) == (
        "FAILED", "Flow run encountered an exception: ValueError: x")
    assert row.error_type == "ValueError" and "test_flows.py" in (row.traceback or "")
    assert "flow_run.py" not in (row.traceback or "")


def test_traceback_of_a_failed_flow_leads_from_the_call_to_the_function() -> None:
    @flow
    def f() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError) as caught:
        f()
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_traceback_of_a_failed_flow_leads_from_the_call_to_the_function"
    assert names[-1] == "f" and not {"perform", "_attempt", "plan"} & set(names)


@pytest.mark.parametrize("state, outcome", [
    (Completed(data=7, message="m"), 7), (Completed(), None), (Failed(message="m"), FailedRun),
    (Failed(data=KeyError("k")), KeyError), (Cancelled(message="m"), Exception)])
def test_state_made_by_hand_is_the_final_state(store: MemoryStore, state: State,
                                               outcome: Any) -> None:
    f = flow(lambda: state, name="f")
    assert f(return_state=True) is state
    if isinstance(outcome, type):
        with pytest.raises(outcome):
            f()
    else:
        assert f() == outcome
    assert (last(store).state_type, last(store).message) == (state.type.value, state.message)


def test_returned_futures_come_back_as_states_in_the_same_structure() -> None:
    @flow
    def f(how: str) -> Any:
        one, many = same.submit(1), same.map([2, 3])
        return {"one": one, "list": [one, many[0]], "dict": {"a": one, "b": (5, many)},
                "map": many}[how]

    assert f("one").result() == 1
    assert [s.result() for s in f("list")] == [1, 2]
    assert [s.result() for s in f("map")] == [2, 3]
    found = f("dict")
    assert found["a"].data == 1 and [s.data for s in found["b"][1]] == [2, 3]


@pytest.mark.parametrize("how, kind, message", [
    ("all", "COMPLETED", "All states completed."), ("mixed", "FAILED", "1/2 states failed."),
    ("downstream", "FAILED", "1/1 states are not final."), ("dict", "COMPLETED", None),
    ("with_value", "COMPLETED", None), ("unreturned", "COMPLETED", None),
])
def test_returned_futures_decide_how_the_flow_ends(store: MemoryStore, how: str, kind: str,
                                                   message: str | None) -> None:
    @flow
    def f() -> Any:
        good, bad = same.submit(1), boom.submit()
        return {"all": [good], "mixed": (good, bad), "downstream": same.submit(bad),
                "dict": {"a": bad}, "with_value": [bad, 5], "unreturned": None}[how]

    state = f(return_state=True)
    assert (state.type.value, state.message) == (kind, message)
    assert last(store).state_type == kind
    if kind == "FAILED":
        with pytest.raises((ValueError, UpstreamTaskError), match="boom"):
            f()


def test_future_of_an_ended_flow_answers_its_state_only(store: MemoryStore) -> None:
    held: list[Future[Any]] = []

    @flow
    def f() -> None:
        held.append(same.submit(1))

    f()
    assert held[0].state.is_completed()


def test_failures_that_nobody_looked_at_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def f() -> None:
        boom.submit("seen").result(raise_on_failure=False)
        boom.map(["a", "b"])
        boom.submit("c")

    with caplog.at_level(logging.INFO):
        f()
    warning = next(r for r in caplog.records if r.levelno == logging.WARNING).getMessage()
    assert warning.startswith("3 task runs did not complete")
    assert "boom a and 1 more of this map" in warning and "boom c" in warning
    assert "seen" not in warning


def test_interrupt_cancels_the_run_and_is_raised_again(store: MemoryStore) -> None:
    @flow
    def f() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f()
    assert (last(store).state_type, last(store).message) == ("CANCELLED", "Interrupted")
    with pytest.raises(MissingContextError):
        same.submit(1)


def test_exit_crashes_the_run(store: MemoryStore) -> None:
    with pytest.raises(SystemExit):
        flow(lambda: exit(3), name="f")()
    assert last(store).state_type == "CRASHED"


# context


def test_runtime_tells_flow_and_task_who_they_are() -> None:
    @task(tags=["t"], task_run_name="t-{x}")
    def inner(x: int, y: int = 2) -> Any:
        run = runtime.task_run
        return (run.name, run.task_name, run.tags, run.parameters, run.run_count,
                runtime.flow_run.name)

    @flow(flow_run_name="f-{d}", version="3")
    def f(d: int) -> Any:
        run = runtime.flow_run
        return run.name, run.flow_name, run.flow_version, run.parameters, run.tags, inner(1)

    with tags("outer"):
        found = f(5)
    assert found == ("f-5", "f", "3", {"d": 5}, ["outer"], (
        "t-1", "inner", ["outer", "t"], {"x": 1, "y": 2}, 1, "f-5"))
    assert (runtime.task_run.id, runtime.flow_run.name, runtime.flow_run.tags) == (None, None, [])


def test_flow_run_name_by_callable_gets_parameters_where_it_wants_them(
        store: MemoryStore) -> None:
    flow(lambda x: x, name="f", flow_run_name=lambda: "plain")(1)
    assert last(store).name == "plain"
    flow(lambda x: x, name="f", flow_run_name=lambda parameters: f"p{parameters['x']}")(1)
    assert last(store).name == "p1"

    def by_runtime() -> str:
        run = runtime.flow_run
        return f"{run.flow_name} {run.parameters['x']}"

    flow(lambda x: x, name="f", flow_run_name=by_runtime)(7)
    assert last(store).name == "f 7"


def test_lines_and_prints_reach_the_record_and_the_standard_loggers(
        store: MemoryStore, caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def speak() -> None:
        print("from", "task")

    @flow(log_prints=True)
    def f() -> None:
        get_run_logger().info("n=%d", 5, extra={"more": 1})
        print("printed")
        speak()
        speak.submit().wait()

    with caplog.at_level(logging.INFO):
        f()
    print("not logged")
    lines = [(line.call, line.message) for line in store.logs(last(store).id)]
    assert {(-1, "n=5"), (-1, "printed"), (0, "from task"), (1, "from task")} <= set(lines)
    assert capsys.readouterr().out == "not logged\n"
    record = next(r for r in caplog.records if r.getMessage() == "n=5")
    assert (record.name, record.more, record.flow_name) == (  # type: ignore[attr-defined]
        "dataflow.flow_runs", 1, "f")


def test_run_logger_outside_of_a_run_is_refused() -> None:
    with pytest.raises(MissingContextError, match="get_run_logger"):
        get_run_logger()


# flows in flows, runners


def test_flow_in_a_flow_is_recorded_as_a_child_and_shares_the_runner(store: MemoryStore) -> None:
    @flow
    def child(x: int) -> Any:
        return same.submit(x), runtime.flow_run.root_flow_run_id

    @flow
    def parent() -> Any:
        state, root = child(same.submit(4))
        return state.result(), root, runtime.flow_run.id

    value, root, own = parent()
    rows = {row.flow_name: row for row in store.flow_runs()}
    assert (value, root) == (4, own) and rows["child"].parent_flow_run_id == own
    assert rows["child"].state_type == rows["parent"].state_type == "COMPLETED"


def test_flows_in_a_flow_write_to_the_store_that_is_open(
        store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def open_store(location: Any = None) -> MemoryStore:
        opened.append(location)
        return store

    monkeypatch.setattr("dataflow.stores.open_store", open_store)
    child = flow(lambda: 1, name="child")
    flow(lambda: [child(), child()], name="parent", retries=1)()
    assert len(opened) == 1
    assert sorted(row.flow_name for row in store.flow_runs()) == ["child", "child", "parent"]


def test_failed_argument_keeps_a_flow_in_a_flow_from_running(store: MemoryStore) -> None:
    @flow
    def child(x: Any) -> None:
        raise AssertionError("must not be called")

    @flow
    def parent() -> None:
        child(boom.submit())

    with pytest.raises(UpstreamTaskError, match="boom"):
        parent()
    rows = {row.flow_name: row for row in store.flow_runs()}
    assert (rows["child"].state_name, rows["parent"].state_type) == ("NotReady", "FAILED")


def test_failure_of_a_flow_in_a_flow_is_raised_in_the_parent(store: MemoryStore) -> None:
    @flow
    def child() -> None:
        raise KeyError("k")

    @flow
    def parent() -> str:
        with pytest.raises(KeyError):
            child()
        return child(return_state=True).name

    assert parent() == "Failed"


@pytest.mark.parametrize("runner", ["inline", InlineTaskRunner, InlineTaskRunner()])
def test_runner_is_taken_as_name_class_or_instance(store: MemoryStore, runner: Any) -> None:
    assert flow(lambda: same.submit(1).result(), name="f", task_runner=runner)() == 1
    assert last(store).runner == "inline"


def test_unknown_runner_is_refused_with_the_names_there_are(
        monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match="'nobody'; known are dask, inline, threads"):
        flow(lambda: 1, name="f", task_runner="nobody")
    monkeypatch.setenv("DATAFLOW_TASK_RUNNER", "nobody")
    with pytest.raises(SettingsError, match="inline"):
        flow(lambda: 1, name="f")()


def test_other_folder_in_the_place_of_runners_is_named(
        monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    other = ModuleType("runners")
    other.__file__ = "/home/me/project/runners/__init__.py"
    monkeypatch.setitem(__import__("sys").modules, "runners", other)
    monkeypatch.delitem(__import__("sys").modules, "runners.inline")
    monkeypatch.setattr("dataflow.runner_choice._loaded", {})
    with pytest.raises(SettingsError, match=r"/home/me/project/runners/__init__\.py"):
        flow(lambda: 1, name="f", task_runner="inline")()


def test_a_forgotten_await_is_told_with_the_name_of_the_flow() -> None:
    @flow
    async def nightly() -> int:
        return 1

    with pytest.warns(RuntimeWarning, match="'nightly' was never awaited"):
        nightly()
