"""Flows: how they are made, named, run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    Flow,
    ParameterTypeError,
    ThreadPoolTaskRunner,
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
def add(x: int, y: int) -> int:
    return x + y


@flow
def my_daily_flow(n: int = 3) -> Any:
    """Count up.

    And down.
    """
    return {"sum": sum(inc.map(range(n)).result())}


@flow(name="Named", version="v7", description="Told.", retries=1, retry_delay_seconds=0,
      timeout_seconds=30, log_prints=True, flow_run_name="run-{n}")
def with_all(n: int) -> Any:
    return {"found": (runtime.flow_run.name, runtime.flow_run.flow_name,
                      runtime.flow_run.flow_version)}


class Report:
    """Flows as methods."""

    scale = 10

    def __init__(self, base: int) -> None:
        self.base = base

    @flow
    def plain(self, x: int) -> Any:
        return {"found": add.submit(x, self.base).result()}

    @classmethod
    @flow
    def of_class(cls, x: int) -> Any:
        return {"found": inc.submit(x * cls.scale).result()}

    @staticmethod
    @flow
    def static(x: int) -> Any:
        return {"found": inc.submit(x).result()}


# making

def test_the_name_is_the_functions_with_dashes() -> None:
    assert my_daily_flow.name == "my-daily-flow"
    assert my_daily_flow.description.startswith("Count up.")
    assert (with_all.name, with_all.version, with_all.description) == ("Named", "v7", "Told.")


def test_a_flow_is_made_by_decorator_by_call_and_by_class() -> None:
    def f(x: int) -> Any:
        return {"x": x}

    assert flow(f)(1) == Flow(f, name="other")(1) == flow()(f)(1) == {"x": 1}
    assert Flow(f, name="other").name == "other"


def test_fn_is_the_raw_function() -> None:
    def f(x: int) -> Any:
        return x

    assert flow(f).fn is f and flow(f).fn("not checked") == "not checked"


def test_the_flow_keeps_its_functions_name_and_doc() -> None:
    assert (my_daily_flow.__name__, my_daily_flow.__module__) == ("my_daily_flow", __name__)
    assert my_daily_flow.__doc__.startswith("Count up.")


def test_a_name_that_is_no_str_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        flow(name=7)(lambda: None)


@pytest.mark.parametrize("char", ["/", "%", "&", ">", "<"])
def test_names_with_banned_characters_are_refused(char: str) -> None:
    with pytest.raises(ValueError):
        flow(name=f"a{char}b")(inc.fn)


def test_every_keyword_of_prefect_is_accepted() -> None:
    def hook(f: Any, run: Any, state: Any) -> None: ...

    made = flow(
        name="n", version="1", flow_run_name="r", retries=0, retry_delay_seconds=0,
        task_runner=ThreadPoolTaskRunner(), description="d", timeout_seconds=10,
        validate_parameters=True, persist_result=None, result_storage=None,
        result_serializer=None, cache_result_in_memory=True, log_prints=True,
        on_completion=[hook], on_failure=[hook], on_cancellation=[hook], on_crashed=[hook],
        on_running=[hook])(inc.fn)
    assert made(1) == 2


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="retrys"):
        flow(retrys=3)(inc.fn)


def test_with_options_changes_a_copy() -> None:
    other = with_all.with_options(name="Other", retries=0, flow_run_name="x")
    assert (other.name, other.retries, other.version) == ("Other", 0, "v7")
    assert (with_all.name, with_all.retries) == ("Named", 1)
    assert other(1)["found"][0] == "x"


# running

def test_a_flow_runs_and_returns_plain_values(runner: Any) -> None:
    assert my_daily_flow.with_options(task_runner=runner)(4) == {"sum": 10}


def test_the_runner_may_be_a_class_or_an_instance_or_left_out() -> None:
    assert my_daily_flow() == {"sum": 6}
    assert my_daily_flow.with_options(task_runner=ThreadPoolTaskRunner)() == {"sum": 6}
    assert my_daily_flow.with_options(
        task_runner=ThreadPoolTaskRunner(max_workers=1))() == {"sum": 6}


def test_a_flow_runs_in_the_calling_thread(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"same": threading.get_ident() == me}

    me = threading.get_ident()
    assert run() == {"same": True}


def test_arguments_are_the_very_objects_where_nothing_is_coerced(local: Any) -> None:
    thing = object()

    @flow(task_runner=local)
    def run(x: Any) -> Any:
        return {"same": x is thing}

    assert run(thing) == {"same": True}


def test_run_names_come_from_template_callable_or_two_words(runner: Any) -> None:
    def by_parameters(parameters: Any = None) -> str:
        return f"called-{runtime.flow_run.parameters['n']}"

    @flow(task_runner=runner)
    def run(n: int = 5) -> Any:
        return {"found": runtime.flow_run.name}

    words = run()["found"].split("-")
    assert len(words) == 2 and all(words)
    assert run.with_options(flow_run_name="r-{n}")()["found"] == "r-5"
    assert run.with_options(flow_run_name=lambda: "fixed")()["found"] == "fixed"


def test_a_run_name_that_is_no_str_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        flow(flow_run_name=lambda: 3)(inc.fn)(1)


def test_all_options_together_work_as_told() -> None:
    assert with_all(9) == {"found": ("run-9", "Named", "v7")}


def test_methods_classmethods_and_staticmethods_are_flows() -> None:
    assert Report(5).plain(1) == {"found": 6}
    assert Report.of_class(1) == {"found": 11}
    assert Report.static(1) == Report(1).static(1) == {"found": 2}


def test_a_flow_of_a_lambda_with_a_name() -> None:
    assert flow(lambda x: inc.submit(x).result(), name="small")(1) == 2


def test_concurrent_runs_of_one_flow_keep_apart(runner: Any) -> None:
    @flow(task_runner=runner)
    def run(n: int) -> Any:
        values = inc.map([n] * 5).result()
        return {"found": (values, runtime.flow_run.parameters["n"], runtime.flow_run.id)}

    with ThreadPoolExecutor(3) as pool:
        found = [each["found"] for each in pool.map(run, range(3))]
    assert [f[0] for f in found] == [[n + 1] * 5 for n in range(3)]
    assert [f[1] for f in found] == [0, 1, 2]
    assert len({f[2] for f in found}) == 3


def test_one_flow_runs_again_and_again(runner: Any) -> None:
    run = my_daily_flow.with_options(task_runner=runner)
    assert [run(n)["sum"] for n in (1, 2, 3)] == [1, 3, 6]


def test_a_flow_that_failed_runs_again(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        if note(ledger, "ran") == 1:
            raise ValueError("first time")
        return {"found": inc.submit(1).result()}

    with pytest.raises(ValueError):
        run()
    assert run() == {"found": 2}


def test_return_state_gives_a_state_and_never_raises(runner: Any) -> None:
    run = my_daily_flow.with_options(task_runner=runner)
    state = run(2, return_state=True)
    assert state.is_completed() and state.result() == {"sum": 3}


def test_tasks_submitted_by_threads_of_the_flow_are_not_needed(runner: Any) -> None:
    """Recursion of plain functions that submit is the usual way to build graphs."""
    def tree(depth: int) -> Any:
        return inc.submit(depth) if depth == 0 else add.submit(tree(depth - 1), tree(depth - 1))

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": tree(3).result()}

    assert run() == {"found": 8}


def test_a_runner_is_a_context_too(runner: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        with tags("x"):
            return {"found": inc.map([1]).result()}

    assert run() == {"found": [2]}


# retries of flows

def test_retries_run_the_whole_function_again(runner: Any, ledger: str) -> None:
    @task
    def write(x: str) -> None:
        note(ledger, x)

    @flow(task_runner=runner, retries=2)
    def run() -> Any:
        write.submit(f"task {runtime.flow_run.run_count}").wait()
        if runtime.flow_run.run_count < 3:
            raise ValueError("again")
        return {"found": runtime.flow_run.run_count}

    assert run() == {"found": 3}
    assert notes(ledger) == ["task 1", "task 2", "task 3"]


def test_retries_that_are_spent_raise_the_last_exception(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner, retries=1, retry_delay_seconds=0.05)
    def run() -> Any:
        raise ValueError(f"attempt {note(ledger, 'ran')}")

    with pytest.raises(ValueError, match="attempt 2"):
        run()
    assert len(notes(ledger)) == 2


@pytest.mark.differs("the run stops in AwaitingRetry where a state of failure is returned")
def test_retries_follow_a_failed_final_state_too(runner: Any, ledger: str) -> None:
    @task
    def boom() -> None:
        note(ledger, "ran")
        raise ValueError("boom")

    @flow(task_runner=runner, retries=1)
    def run() -> Any:
        return boom.submit()

    assert run(return_state=True).is_failed()
    assert len(notes(ledger)) == 2


def test_a_flow_that_completes_is_not_tried_again(ledger: str) -> None:
    @flow(retries=3)
    def run() -> Any:
        note(ledger, "ran")
        return 1

    assert run() == 1 and len(notes(ledger)) == 1


def test_bad_parameters_are_not_tried_again(ledger: str) -> None:
    @flow(retries=2)
    def run(x: int) -> Any:
        note(ledger, "ran")

    with pytest.raises(ParameterTypeError):
        run("no")
    assert notes(ledger) == []
