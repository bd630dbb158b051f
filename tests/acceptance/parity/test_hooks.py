"""Hooks of tasks and flows: when they are called, with what, where."""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest

from tests.acceptance.parity.face import Cancelled, Completed, flow, runtime, task
from tests.acceptance.parity.support import note, notes


class Hook:
    """Notes that it was called; a callable object with a name."""

    def __init__(self, path: str, label: str) -> None:
        self.path, self.label, self.__name__ = path, label, label

    def __call__(self, thing: Any, run: Any, state: Any) -> None:
        note(self.path, f"{self.label} {state.name}")


def hooks(path: str) -> dict[str, Any]:
    return {f"on_{kind}": [functools.partial(_write, path, kind)]
            for kind in ("running", "completion", "failure")}


def _write(path: str, kind: str, thing: Any, run: Any, state: Any) -> None:
    note(path, f"{kind} {state.type.value}")


@task
def inc(x: int) -> int:
    return x + 1


def fails(x: Any = None) -> Any:
    raise ValueError("v")


def gives(x: Any = 1) -> Any:
    return x


def run_of(runner: Any, body: Any, **options: Any) -> Any:
    @flow(task_runner=runner, **options)
    def run() -> Any:
        return body()

    return run(return_state=True)


# tasks

@pytest.mark.parametrize("how", ["submit", "map", "call"])
def test_hooks_follow_a_task_that_completes(runner: Any, ledger: str, how: str) -> None:
    hooked = task(gives, **hooks(ledger))

    def body() -> Any:
        if how == "call":
            hooked(1)
        else:
            (hooked.submit(1) if how == "submit" else hooked.map([1])).wait()

    run_of(runner, body)
    assert notes(ledger) == ["running RUNNING", "completion COMPLETED"]


def test_hooks_follow_a_task_that_fails(runner: Any, ledger: str) -> None:
    hooked = task(fails, **hooks(ledger))
    run_of(runner, lambda: hooked.submit(1).wait())
    assert notes(ledger) == ["running RUNNING", "failure FAILED"]


def test_on_running_comes_with_each_attempt_and_on_failure_once(
    runner: Any, ledger: str
) -> None:
    hooked = task(fails, retries=2, **hooks(ledger))
    run_of(runner, lambda: hooked.submit(1).wait())
    assert notes(ledger) == ["running RUNNING"] * 3 + ["failure FAILED"]


def test_on_failure_does_not_come_where_a_retry_succeeds(runner: Any, ledger: str) -> None:
    @task(retries=1, **hooks(ledger))
    def second(x: int) -> int:
        if runtime.task_run.run_count == 1:
            raise ValueError("first")
        return x

    run_of(runner, lambda: second.submit(1).wait())
    assert notes(ledger) == ["running RUNNING"] * 2 + ["completion COMPLETED"]


def test_a_map_calls_hooks_for_each_element(runner: Any, ledger: str) -> None:
    hooked = task(gives, on_completion=[functools.partial(_write, ledger, "completion")])
    run_of(runner, lambda: hooked.map(range(3)).wait())
    assert notes(ledger) == ["completion COMPLETED"] * 3


def test_a_task_that_does_not_run_calls_no_hook(runner: Any, ledger: str) -> None:
    hooked = task(gives, **hooks(ledger))
    run_of(runner, lambda: hooked.submit(task(fails).submit()).wait())
    assert notes(ledger) == []


def test_a_hook_is_given_task_run_and_state(runner: Any, ledger: str) -> None:
    def told(t: Any, run: Any, state: Any) -> None:
        note(ledger, f"{t.name}|{run.name}|{state.name}|{state.message}")
        note(ledger, f"{run.id}|{run.flow_run_id}|{run.run_count}")

    @task(name="watched", task_run_name="w-{x}", on_completion=[told])
    def watched(x: int) -> str:
        return f"{runtime.task_run.id}|{runtime.flow_run.id}|1"

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": watched.submit(5).result()}

    ids = run()["found"]
    first, second = notes(ledger)
    assert first.startswith("watched|w-5|Completed|")
    assert second == ids


def test_a_hook_can_read_the_result_and_the_exception(runner: Any, ledger: str) -> None:
    def value(t: Any, run: Any, state: Any) -> None:
        note(ledger, f"value {state.result()}")

    def error(t: Any, run: Any, state: Any) -> None:
        note(ledger, f"error {state.result(raise_on_failure=False)}")

    good, bad = task(gives, on_completion=[value]), task(fails, on_failure=[error])

    def body() -> None:
        good.submit(7).wait()
        bad.submit().wait()

    run_of(runner, body)
    assert notes(ledger) == ["value 7", "error v"]


def test_several_hooks_are_called_in_order_and_one_that_fails_stops_none(
    runner: Any, ledger: str
) -> None:
    def breaks(t: Any, run: Any, state: Any) -> None:
        note(ledger, "breaks")
        raise RuntimeError("in a hook")

    hooked = task(gives, on_completion=[
        Hook(ledger, "first"), breaks, Hook(ledger, "last")])
    found: list[Any] = []
    state = run_of(runner, lambda: found.append(hooked.submit(1).result()))
    assert state.is_completed() and found == [1]
    assert notes(ledger) == ["first Completed", "breaks", "last Completed"]


def test_hooks_are_added_by_decorators(runner: Any, ledger: str) -> None:
    hooked, bad = task(gives), task(fails)

    @hooked.on_running
    def begins(t: Any, run: Any, state: Any) -> None:
        note(ledger, "begins")

    @hooked.on_completion
    def ends(t: Any, run: Any, state: Any) -> None:
        note(ledger, "ends")

    @bad.on_failure
    def failed(t: Any, run: Any, state: Any) -> None:
        note(ledger, "failed")

    def body() -> None:
        hooked.submit(1).wait()
        bad.submit(1).wait()

    run_of(runner, body)
    assert notes(ledger) == ["begins", "ends", "failed"]
    assert callable(begins) and callable(ends) and callable(failed)


def test_async_hooks_are_run_too(runner: Any, ledger: str) -> None:
    async def later(t: Any, run: Any, state: Any) -> None:
        note(ledger, "async")

    run_of(runner, lambda: task(gives, on_completion=[later]).submit(1).wait())
    assert notes(ledger) == ["async"]


def test_hooks_of_tasks_run_in_the_process_of_the_task(dask: Any, ledger: str) -> None:
    def where(t: Any, run: Any, state: Any) -> None:
        note(ledger, os.getpid())

    @task(on_completion=[where])
    def pid() -> int:
        return os.getpid()

    @flow(task_runner=dask)
    def run() -> Any:
        return {"found": pid.submit().result()}

    assert run() == {"found": int(notes(ledger)[0])}


def test_hooks_outside_a_flow_are_called_too(ledger: str) -> None:
    assert task(gives, **hooks(ledger))(3) == 3
    assert notes(ledger) == ["running RUNNING", "completion COMPLETED"]


def test_with_options_sets_other_hooks(runner: Any, ledger: str) -> None:
    base = task(gives, on_completion=[Hook(ledger, "base")])

    def body() -> None:
        base.with_options(on_completion=[Hook(ledger, "other")]).submit(1).wait()
        base.submit(1).wait()

    run_of(runner, body)
    assert notes(ledger) == ["other Completed", "base Completed"]


# flows

KINDS = ("running", "completion", "failure", "cancellation", "crashed")


def all_flow_hooks(path: str) -> dict[str, Any]:
    return {f"on_{kind}": [functools.partial(_write, path, kind)] for kind in KINDS}


def raising(error: BaseException) -> Any:
    def body() -> Any:
        raise error

    return body


@pytest.mark.parametrize("body, expected", [
    (lambda: 1, ["running RUNNING", "completion COMPLETED"]),
    (raising(ValueError("v")), ["running RUNNING", "failure FAILED"]),
    (lambda: Cancelled(), ["running RUNNING"]),
    (lambda: Completed(data=1), ["running RUNNING", "completion COMPLETED"]),
], ids=["completes", "fails", "cancelled by hand", "completed by hand"])
def test_hooks_follow_a_flow(runner: Any, ledger: str, body: Any, expected: list[str]) -> None:
    run_of(runner, body, **all_flow_hooks(ledger))
    found = [line for line in notes(ledger) if "cancellation" not in line]
    assert found == expected


def test_on_crashed_follows_an_exit(runner: Any, ledger: str) -> None:
    with pytest.raises(SystemExit):
        run_of(runner, raising(SystemExit(2)), **all_flow_hooks(ledger))
    assert notes(ledger) == ["running RUNNING", "crashed CRASHED"]


def test_hooks_of_a_flow_see_flow_run_and_state(runner: Any, ledger: str) -> None:
    def told(f: Any, run: Any, state: Any) -> None:
        note(ledger, f"{f.name}|{run.name}|{state.name}")
        note(ledger, run.id)

    @flow(task_runner=runner, name="watched", flow_run_name="r-{x}", on_completion=[told])
    def run(x: int) -> Any:
        inc.submit(x).wait()
        return {"id": runtime.flow_run.id}

    found = run(3)
    assert notes(ledger) == ["watched|r-3|Completed", str(found["id"])]


def test_hooks_of_a_flow_run_after_its_retries_are_spent(ledger: str) -> None:
    run_of(None, raising(ValueError("v")), retries=1, **all_flow_hooks(ledger))
    found = notes(ledger)
    assert found.count("failure FAILED") == 1 and found[-1] == "failure FAILED"
    assert found.count("running RUNNING") == 2


def test_a_failing_hook_of_a_flow_changes_nothing(ledger: str) -> None:
    def breaks(f: Any, run: Any, state: Any) -> None:
        raise RuntimeError("in a hook")

    state = run_of(None, lambda: {"a": 1}, on_completion=[breaks, Hook(ledger, "after")])
    assert state.result() == {"a": 1}
    assert notes(ledger) == ["after Completed"]


def test_hooks_of_a_flow_are_added_by_decorators(ledger: str) -> None:
    @flow
    def good() -> Any:
        return {"a": 1}

    @flow
    def bad() -> Any:
        raise ValueError("v")

    @good.on_completion
    def completed(f: Any, run: Any, state: Any) -> None:
        note(ledger, "completed")

    @good.on_running
    def running(f: Any, run: Any, state: Any) -> None:
        note(ledger, "running")

    @bad.on_failure
    def failed(f: Any, run: Any, state: Any) -> None:
        note(ledger, "failed")

    good()
    bad(return_state=True)
    assert notes(ledger) == ["running", "completed", "failed"]


def test_hooks_of_a_flow_run_in_its_own_process(runner: Any, ledger: str) -> None:
    seen: list[Any] = []

    def where(f: Any, run: Any, state: Any) -> None:
        seen.append(os.getpid())

    run_of(runner, lambda: inc.submit(1).result(), on_completion=[where])
    assert seen == [os.getpid()]


@pytest.mark.parametrize("options", [
    {"on_failure": [1]}, {"on_completion": 1}, {"on_crashed": ["x"]}, {"on_running": [None]},
    {"on_cancellation": 3}], ids=str)
def test_hooks_that_cannot_be_called_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        flow(gives, **options)
