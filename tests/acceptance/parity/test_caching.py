"""Cache policies, keys, expiry, refreshing: what is executed again and what is not."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
    flow,
    task,
    task_input_hash,
)
from tests.acceptance.parity.support import names, note, notes


def found_by(runner: Any, body: Any, *args: Any, **options: Any) -> Any:
    """Run a function as a flow and return what it returned, no state."""
    @flow(task_runner=runner, **options)
    def run(*args: Any) -> Any:
        return {"found": body(*args)}

    return run(*args)["found"]


def noting(ledger: str, **options: Any) -> Any:
    """Return a task that notes its argument, with a storage beside the notes."""
    options.setdefault("result_storage", Path(f"{ledger}-results"))

    @task(**options)
    def noted(x: Any = None, other: Any = None) -> Any:
        note(ledger, x)
        return x

    return noted


def states(noted: Any, *xs: Any) -> list[str]:
    """Call a task with each value, one after another; return the names of its states."""
    return names([noted(x, return_state=True) for x in xs])


# what is kept at all

def test_without_persisting_the_same_call_is_executed_twice(runner: Any, ledger: str) -> None:
    @task
    def noted(x: int) -> int:
        note(ledger, x)
        return x

    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Completed"]
    assert notes(ledger) == ["1", "1"]


def test_persisting_caches_within_a_run_and_not_beyond(runner: Any, ledger: str) -> None:
    noted = noting(ledger, persist_result=True)

    def body() -> list[str]:
        return states(noted, 1, 1, 2)

    assert [found_by(runner, body) for _ in range(2)] == 2 * [
        ["Completed", "Cached", "Completed"]]
    assert notes(ledger) == ["1", "2", "1", "2"]


@pytest.mark.parametrize("options", [
    {"cache_policy": INPUTS}, {"cache_key_fn": lambda context, parameters: str(parameters["x"])},
    {"cache_policy": TASK_SOURCE + INPUTS},
], ids=["INPUTS", "cache_key_fn", "TASK_SOURCE + INPUTS"])
def test_a_policy_or_a_key_turns_persisting_on(
    runner: Any, ledger: str, options: dict[str, Any]
) -> None:
    noted = noting(ledger, **options)

    def body() -> list[str]:
        return states(noted, 1, 2)

    assert [found_by(runner, body) for _ in range(2)] == [
        ["Completed", "Completed"], ["Cached", "Cached"]]


@pytest.mark.parametrize("policy", [NO_CACHE, NONE], ids=["NO_CACHE", "NONE"])
def test_no_cache_executes_every_time(runner: Any, ledger: str, policy: Any) -> None:
    noted = noting(ledger, cache_policy=policy, persist_result=True)
    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Completed"]


def test_persist_result_false_turns_caching_off(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS, persist_result=False)
    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Completed"]


def test_tasks_persist_as_their_flow_says(runner: Any, ledger: str) -> None:
    @task
    def noted(x: int) -> int:
        note(ledger, x)
        return x

    assert found_by(runner, lambda: states(noted, 1, 1), persist_result=True,
                    result_storage=Path(f"{ledger}-results")) == ["Completed", "Cached"]


# submits and maps

def test_what_is_submitted_is_cached(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)

    def body() -> Any:
        first = noted.submit(1)
        assert first.result() == 1
        second = noted.submit(1)
        return second.result(), second.state.name

    assert found_by(runner, body) == (1, "Cached")
    assert notes(ledger) == ["1"]


def test_a_map_executes_what_is_new(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)

    def body() -> Any:
        noted.map([1, 2]).result()
        futures = noted.map([2, 3, 1])
        return futures.result(), names([future.state for future in futures])

    assert found_by(runner, body) == ([2, 3, 1], ["Cached", "Completed", "Cached"])
    assert sorted(notes(ledger)) == ["1", "2", "3"]


def test_what_depends_on_a_cached_run_gets_its_value(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)

    @task
    def inc(x: int) -> int:
        return x + 1

    def body() -> Any:
        noted(1)
        return inc.submit(noted.submit(1)).result()

    assert found_by(runner, body) == 2


# inputs

@pytest.mark.parametrize("value", [
    1, "a", None, 2.5, True, b"b", (1, 2), [1, {"a": [2]}], {"k": {"n": None}}, {1, 2},
], ids=repr)
def test_equal_inputs_are_one_key(runner: Any, ledger: str, value: Any) -> None:
    noted = noting(ledger, cache_policy=INPUTS)

    def body() -> Any:
        return states(noted, value), states(noted, value)

    assert found_by(runner, body) == (["Completed"], ["Cached"])


def test_defaults_positions_and_keywords_are_one_key(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)

    def body() -> list[str]:
        return names([noted(1, return_state=True), noted(x=1, return_state=True),
                      noted(1, None, return_state=True), noted(1, other=2, return_state=True)])

    assert found_by(runner, body) == ["Completed", "Cached", "Cached", "Completed"]


def test_an_input_can_be_left_out(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS - "other")

    def body() -> list[str]:
        return names([noted(1, "a", return_state=True), noted(1, "b", return_state=True),
                      noted(2, "a", return_state=True)])

    assert found_by(runner, body) == ["Completed", "Cached", "Completed"]


def test_what_has_no_key_runs_and_is_not_cached(local: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)
    lock = threading.Lock()

    def body() -> list[str]:
        return names([noted(x, lock, return_state=True) for x in (1, 1)])

    assert found_by(local, body) == ["Completed", "Completed"]
    assert notes(ledger) == ["1", "1"]


@pytest.mark.differs("one gets the record of the other")
def test_two_tasks_with_equal_inputs_never_share_a_record(runner: Any, ledger: str) -> None:
    storage = Path(f"{ledger}-results")

    @task(cache_policy=INPUTS, result_storage=storage)
    def one(x: int) -> str:
        return f"one {x}"

    @task(cache_policy=INPUTS, result_storage=storage)
    def two(x: int) -> str:
        return f"two {x}"

    assert found_by(runner, lambda: (one(1), two(1))) == ("one 1", "two 1")


def test_inputs_of_a_function_without_parameters_do_not_cache(runner: Any, ledger: str) -> None:
    @task(cache_policy=INPUTS, result_storage=Path(f"{ledger}-results"))
    def noted() -> int:
        return note(ledger, "ran")

    assert found_by(runner, lambda: (noted(), noted())) == (1, 2)


# the other parts

def test_flow_parameters_tell_runs_apart(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=FLOW_PARAMETERS)

    def body(parameter: int) -> list[str]:
        return states(noted, 1, 2)

    @flow(task_runner=runner)
    def run(parameter: int) -> Any:
        return {"found": states(noted, 1, 2)}

    assert [run(parameter)["found"] for parameter in (1, 1, 2)] == [
        ["Completed", "Cached"], ["Cached", "Cached"], ["Completed", "Cached"]]


def test_the_run_id_alone_caches_within_a_run(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=RUN_ID)
    assert [found_by(runner, lambda: states(noted, 1, 2)) for _ in range(2)] == 2 * [
        ["Completed", "Cached"]]


def test_default_is_inputs_source_and_run(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=DEFAULT)
    assert [found_by(runner, lambda: states(noted, 1, 2, 1)) for _ in range(2)] == 2 * [
        ["Completed", "Completed", "Cached"]]


@pytest.mark.differs("the code of helpers does not count")
def test_the_source_of_helpers_counts(runner: Any, ledger: str, monkeypatch: Any) -> None:
    assert found_by(runner, lambda: _told_by_helper(ledger)) == "first"
    monkeypatch.setattr(f"{__name__}.helper", other_helper)
    assert found_by(runner, lambda: _told_by_helper(ledger)) == "other"


def helper() -> str:
    return "first"


def other_helper() -> str:
    return "other"


def _told_by_helper(ledger: str) -> Any:
    @task(cache_policy=TASK_SOURCE, result_storage=Path(f"{ledger}-results"))
    def told() -> str:
        return helper()

    return told()


def test_taking_no_cache_away_or_adding_it_changes_nothing(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS + NO_CACHE)
    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Cached"]


def test_two_storages_do_not_add_up() -> None:
    with pytest.raises(ValueError):
        INPUTS.configure(key_storage="/tmp/a") + RUN_ID.configure(key_storage="/tmp/b")


# keys of one's own

class Halves(CachePolicy):
    """The half of x."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any],
                    flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        return f"{task_ctx.task.name}-{inputs['x'] // 2}"


def test_a_policy_of_ones_own_is_asked(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=Halves())
    assert found_by(runner, lambda: states(noted, 2, 3, 4)) == [
        "Completed", "Cached", "Completed"]


def test_a_key_function_gets_context_and_values(runner: Any, ledger: str) -> None:
    def key(context: Any, parameters: dict[str, Any]) -> str:
        return f"{context.task.name}-{parameters['x']}-{parameters['other']}"

    noted = noting(ledger, cache_key_fn=key)

    @task
    def two() -> int:
        return 2

    def body() -> Any:
        noted(2)
        future = noted.submit(two.submit())
        future.wait()
        return future.state.name

    assert found_by(runner, body) == "Cached"


def test_a_key_of_none_is_not_cached(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_key_fn=lambda context, parameters: None)
    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Completed"]


def test_tasks_that_return_one_key_share_the_record(runner: Any, ledger: str) -> None:
    storage = Path(f"{ledger}-results")

    def key(context: Any, parameters: dict[str, Any]) -> str:
        return "the same"

    @task(cache_key_fn=key, result_storage=storage)
    def one() -> int:
        return 1

    @task(cache_key_fn=key, result_storage=storage)
    def two() -> int:
        return 2

    assert found_by(runner, lambda: (one(), two())) == (1, 1)


def test_a_key_function_counts_more_than_a_policy(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS, cache_key_fn=lambda context, parameters: "one")
    assert found_by(runner, lambda: states(noted, 1, 2)) == ["Completed", "Cached"]


def test_task_input_hash_is_a_key(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_key_fn=task_input_hash)
    assert found_by(runner, lambda: states(noted, 1, 1, 2)) == [
        "Completed", "Cached", "Completed"]


# how long, and again

def test_an_expired_result_is_executed_again(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS, cache_expiration=timedelta(seconds=0.5))

    def body() -> list[str]:
        found = states(noted, 1)
        time.sleep(0.7)
        return found + states(noted, 1, 1)

    assert found_by(runner, body) == ["Completed", "Completed", "Cached"]


def test_a_result_counts_until_it_expires(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    assert found_by(runner, lambda: states(noted, 1, 1)) == ["Completed", "Cached"]


def test_refreshing_executes_and_replaces(runner: Any, ledger: str) -> None:
    @task(cache_policy=INPUTS, result_storage=Path(f"{ledger}-results"))
    def noted(x: int) -> int:
        return note(ledger, x)

    def body() -> list[int]:
        again = noted.with_options(refresh_cache=True)
        return [noted(1), noted(1), again(1), noted(1)]

    assert found_by(runner, body) == [1, 1, 2, 2]


# what is never, and always, cached

def test_failures_are_not_cached(runner: Any, ledger: str) -> None:
    @task(cache_policy=INPUTS, result_storage=Path(f"{ledger}-results"))
    def fails_once(x: int) -> int:
        if note(ledger, x) == 1:
            raise ValueError("boom")
        return x

    assert found_by(runner, lambda: states(fails_once, 1, 1, 1)) == [
        "Failed", "Completed", "Cached"]


def test_none_is_a_result(runner: Any, ledger: str) -> None:
    noted = noting(ledger, cache_policy=INPUTS)
    assert found_by(runner, lambda: states(noted, None, None)) == ["Completed", "Cached"]


def test_hooks_of_completion_are_called_for_a_cached_run(local: Any, ledger: str) -> None:
    told: list[str] = []
    noted = noting(ledger, cache_policy=INPUTS,
                   on_completion=[lambda task, run, state: told.append(state.name)])
    found_by(local, lambda: states(noted, 1, 1))
    assert told == ["Completed", "Cached"]


# many at once

@pytest.mark.differs("each computes", sometimes=True)
def test_what_asks_for_one_key_at_once_is_executed_once(pooled: Any, ledger: str) -> None:
    @task(cache_policy=INPUTS - "other", result_storage=Path(f"{ledger}-results"))
    def slow(x: int, other: int) -> int:
        note(ledger, x)
        time.sleep(0.3)
        return x

    assert found_by(pooled, lambda: [
        future.result() for future in [slow.submit(1, other) for other in range(4)]]) == [1] * 4
    assert notes(ledger) == ["1"]


@pytest.mark.differs("hashed as a pickle or not at all", sometimes=True)
def test_arrays_and_tables_count_by_content(runner: Any, ledger: str) -> None:
    np = pytest.importorskip("numpy")
    noted = noting(ledger, cache_policy=INPUTS)

    def body() -> list[str]:
        whole = np.arange(12.0).reshape(3, 4)
        return states(noted, whole, np.asfortranarray(whole), whole + 1)

    assert found_by(runner, body) == ["Completed", "Cached", "Completed"]
