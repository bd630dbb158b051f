"""Retries of tasks: how often, when, and whether."""

from __future__ import annotations

import functools
import itertools
import time
from typing import Any

import pytest

from tests.acceptance.parity.face import exponential_backoff, flow, runtime, task
from tests.acceptance.parity.support import await_notes, note, notes


@task(retries=2)
def third_time(path: str, x: Any = 0) -> Any:
    count = runtime.task_run.run_count
    note(path, f"{x}:{count}")
    if count < 3:
        raise ValueError(f"attempt {count}")
    return count


@task
def inc(x: int) -> int:
    return x + 1


class Refuse:
    """A callable object for a condition."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer

    def __call__(self, task: Any, task_run: Any, state: Any) -> bool:
        return self.answer


def always(answer: bool, task: Any, task_run: Any, state: Any) -> bool:
    return answer


def not_key_errors(task: Any, task_run: Any, state: Any) -> bool:
    return state.is_failed() and not isinstance(state.data, KeyError)


def raises(task: Any, task_run: Any, state: Any) -> bool:
    raise RuntimeError("in the condition")


def test_n_retries_are_n_plus_one_executions(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": third_time.submit(ledger).result()}

    assert run() == {"found": 3}
    assert notes(ledger) == ["0:1", "0:2", "0:3"]


def test_a_direct_call_is_retried_too(ledger: str) -> None:
    @flow
    def run() -> Any:
        return third_time(ledger)

    assert run() == 3
    assert third_time(ledger) == 3
    assert len(notes(ledger)) == 6


def test_spent_retries_fail_with_the_last_exception(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        future = third_time.with_options(retries=1).submit(ledger)
        error = future.result(raise_on_failure=False)
        return {"found": (future.state.name, str(error), len(notes(ledger)))}

    assert run() == {"found": ("Failed", "attempt 2", 2)}


def test_retries_zero_by_with_options_overrides(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        third_time.with_options(retries=0).submit(ledger).wait()
        return len(notes(ledger))

    assert run() == 1


def test_only_the_elements_that_failed_are_retried(runner: Any, ledger: str) -> None:
    @task(retries=1)
    def one_fails_once(path: str, x: int) -> int:
        note(path, x)
        if x == 1 and runtime.task_run.run_count == 1:
            raise ValueError("once")
        return x

    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.map(one_fails_once.map(ledger, [0, 1, 2])).result()}

    assert run() == {"found": [1, 2, 3]}
    assert sorted(notes(ledger)) == ["0", "1", "1", "2"]


@pytest.mark.parametrize("delays, expected", [
    (0.2, [0.2, 0.2]),
    ([0.1, 0.3], [0.1, 0.3]),
    ([0.2], [0.2, 0.2]),
    (lambda retries: [0.1] * retries, [0.1, 0.1]),
], ids=["number", "list", "the last repeats", "callable"])
def test_delays_are_waited_for(runner: Any, ledger: str, delays: Any, expected: Any) -> None:
    @task(retries=2, retry_delay_seconds=delays)
    def timed(path: str) -> None:
        note(path, time.time())
        raise ValueError("again")

    @flow(task_runner=runner)
    def run() -> Any:
        timed.submit(ledger).wait()
        return 1

    run()
    times = [float(each) for each in notes(ledger)]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert len(waits) == 2
    for waited, asked in zip(waits, expected, strict=True):
        assert asked - 0.02 <= waited < asked + 5


def test_exponential_backoff_doubles() -> None:
    assert exponential_backoff(10)(3) == [10, 20, 40]
    made = task(retries=3, retry_delay_seconds=exponential_backoff(backoff_factor=2))(inc.fn)
    assert list(made.retry_delay_seconds) == [2, 4, 8]


def test_jitter_spreads_the_delays(runner: Any, ledger: str) -> None:
    @task(retries=1, retry_delay_seconds=0.2, retry_jitter_factor=0.9)
    def jittered(path: str, x: int) -> None:
        note(path, f"{x} {time.time()}")
        raise ValueError("again")

    @flow(task_runner=runner)
    def run() -> Any:
        jittered.map(ledger, range(6)).wait()
        return 1

    run()
    times: dict[str, list[float]] = {}
    for line in notes(ledger):
        x, at = line.split()
        times.setdefault(x, []).append(float(at))
    waits = sorted(after - before for before, after in times.values())
    assert len(waits) == 6 and waits[-1] - waits[0] > 0.005 and waits[0] < 0.5


# conditions

@pytest.mark.parametrize("condition, runs", [
    (lambda *a: True, 2), (lambda *a: False, 1), (raises, 1),
], ids=["yes", "no", "raises"])
def test_a_condition_decides(runner: Any, ledger: str, condition: Any, runs: int) -> None:
    @task(retries=1, retry_condition_fn=condition)
    def fails(path: str) -> None:
        note(path, "ran")
        raise ValueError("v")

    @flow(task_runner=runner)
    def run() -> Any:
        future = fails.submit(ledger)
        future.wait()
        return {"found": (future.state.name, str(future.result(raise_on_failure=False)))}

    assert run() == {"found": ("Failed", "v")}
    assert len(notes(ledger)) == runs


def test_a_condition_is_given_the_failed_state_with_its_exception(
    runner: Any, ledger: str
) -> None:
    @task(retries=1, retry_condition_fn=not_key_errors)
    def fails(path: str, kind: str) -> None:
        note(path, kind)
        raise {"key": KeyError, "value": ValueError}[kind]("x")

    @flow(task_runner=runner)
    def run() -> Any:
        fails.map(ledger, ["key", "value"]).wait()
        return 1

    run()
    assert sorted(notes(ledger)) == ["key", "value", "value"]


@pytest.mark.differs("callable objects and partials are never retried")
@pytest.mark.parametrize("make", [Refuse, lambda answer: functools.partial(always, answer)],
                         ids=["object", "partial"])
def test_a_condition_may_be_any_callable(runner: Any, ledger: str, make: Any) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        for answer in (True, False):
            third_time.with_options(retry_condition_fn=make(answer)).submit(
                ledger, answer).wait()
        return 1

    run()
    assert notes(ledger) == ["True:1", "True:2", "True:3", "False:1"]


def test_a_condition_may_be_async(runner: Any, ledger: str) -> None:
    async def refuses(task: Any, task_run: Any, state: Any) -> bool:
        return False

    @flow(task_runner=runner)
    def run() -> Any:
        third_time.with_options(retry_condition_fn=refuses).submit(ledger).wait()
        return len(notes(ledger))

    assert run() == 1


# what waits

@pytest.mark.differs("the delay sleeps in the slot", on="dask-processes")
def test_a_task_that_awaits_its_retry_holds_no_slot(pooled: Any, ledger: str) -> None:
    """As many tasks as there are slots, and more, await a retry; another one goes through."""
    @task(retries=1, retry_delay_seconds=2.5)
    def waits(path: str, x: int) -> int:
        if runtime.task_run.run_count == 1:
            note(path, "waits")
            raise ValueError("later")
        note(path, "again")
        return x

    @flow(task_runner=pooled)
    def run() -> Any:
        first = waits.map(ledger, range(3))
        await_notes(ledger, 3, 20)
        inc.submit(1).result()
        return {"found": ("again" in notes(ledger), first.result())}

    assert run() == {"found": (False, [0, 1, 2])}


def test_downstream_of_a_retried_task_waits_for_it(runner: Any, ledger: str) -> None:
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": inc.submit(third_time.submit(ledger)).result()}

    assert run() == {"found": 4}


# defaults

def test_the_default_of_retries_comes_from_the_settings(
    runner: Any, ledger: str, monkeypatch: Any
) -> None:
    from contextlib import nullcontext

    from tests.acceptance.parity.face import PREFECT

    if PREFECT:
        from prefect.settings import PREFECT_TASK_DEFAULT_RETRIES, temporary_settings

        settings: Any = temporary_settings({PREFECT_TASK_DEFAULT_RETRIES: 2})
    else:
        monkeypatch.setenv("DATAFLOW_TASKS_DEFAULT_RETRIES", "2")
        settings = nullcontext()

    with settings:
        @task
        def default(path: str) -> Any:
            note(path, "ran")
            raise ValueError("again")

        @task(retries=0)
        def none(path: str) -> Any:
            note(path, "none")
            raise ValueError("no more")

        @flow(task_runner=runner)
        def run() -> Any:
            default.submit(ledger).wait()
            none.submit(ledger).wait()
            return 1

        run()
    assert sorted(notes(ledger)) == ["none", "ran", "ran", "ran"]
