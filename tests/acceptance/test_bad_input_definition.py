"""Bad input at definition and at the call: refused there and then, naming what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import flow, task, unmapped
from dataflow.exceptions import (
    CallError,
    DataflowError,
    DefinitionError,
    ForeignFuture,
    GraphCycle,
    MappingLengthMismatch,
    MappingMissingIterable,
    MissingContextError,
    ParameterBindError,
    ReservedArgumentError,
)
from dataflow.retry import exponential_backoff
from dataflow.stores import open_store
from dataflow.tasks import Task
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.run_support import ledger, note, recorded


@task
def add(left: int, right: int = 0) -> int:
    return left + right


@pytest.fixture(params=["inline", "threads", pytest.param("dask", marks=pytest.mark.dask)])
def runner(request: pytest.FixtureRequest) -> Any:
    if request.param == "dask":
        return DaskTaskRunner(cluster=request.getfixturevalue("dask_cluster"))
    return request.param


def nothing_was_submitted() -> bool:
    return not recorded().task_runs


# at definition

OPTIONS: dict[str, list[Any]] = {
    "retries": [-1, math.inf, math.nan, -math.inf, 1.5, "1", True, [1]],
    "retry_delay_seconds": [-1, math.inf, math.nan, "1", [0, -1], [math.inf], [math.nan], True,
                            lambda n: [-1.0], lambda n: math.inf],
    "retry_jitter_factor": [-0.1, math.inf, math.nan, "0.5", True],
    "timeout_seconds": [0, -1, math.inf, math.nan, "1", True],
    "batch_size": [0, -1, 1.5, math.inf, "2", True],
    "max_in_flight": [0, -1, 1.5, math.inf, "2", True],
    "max_failures": [-1, 1.5, math.inf, math.nan, "2", True],
    "min_success_ratio": [-0.01, 1.01, math.nan, math.inf, "1", True],
    "isolation": ["container", "", 1, True],
    "resources": [{"GPU": 0}, {"GPU": -1}, {"GPU": math.inf}, {"GPU": math.nan}, ["GPU"]],
    "priority": [1.5, "high", math.inf],
    "workers": [1, [1], {"a": 1}.values()],
    "retry_condition_fn": [1, "always"],
    "name": [1, b"x"], "tags": ["one", 1, [1]], "log_prints": ["yes", 1],
    "task_run_name": [1], "description": [1], "version": [1],
}


@pytest.mark.parametrize("option, value", [(o, v) for o, vs in OPTIONS.items() for v in vs])
@pytest.mark.parametrize("how", ["decorator", "with_options"])
def test_option_of_a_task_that_cannot_be_meant_is_refused_by_name(
    option: str, value: Any, how: str
) -> None:
    given_options: Any = {option: value}
    if option in ("retry_delay_seconds", "retry_jitter_factor"):
        given_options["retries"] = 3
    with pytest.raises(DefinitionError) as caught:
        if how == "decorator":
            task(**given_options)(lambda x: x)
        else:
            add.with_options(**given_options)
    assert option in str(caught.value)
    assert caught.value.option == option
    assert isinstance(caught.value, ValueError)


numbers = st.one_of(st.integers(-3, 10**9), st.floats(allow_nan=True, allow_infinity=True),
                    st.booleans(), st.none(), st.text(max_size=3), st.just(10**400))
delays = st.one_of(numbers, st.lists(numbers, max_size=4), st.just(exponential_backoff(2)))


@given(retries=numbers, retry_delay_seconds=delays, retry_jitter_factor=numbers,
       timeout_seconds=numbers)
def test_any_retries_delays_and_timeouts_are_accepted_or_refused_naming_the_option(
    **options: Any
) -> None:
    try:
        made = task(lambda x: x, **options)
    except DefinitionError as error:
        assert error.option in options and error.option in str(error)
        return
    settings = {**options}
    assert settings["retries"] is None or (
        isinstance(settings["retries"], int) and settings["retries"] >= 0)
    timeout = settings["timeout_seconds"]
    assert timeout is None or (math.isfinite(timeout) and timeout > 0)
    again = made.with_options(name="again")
    assert isinstance(again, Task)


@given(st.dictionaries(
    st.sampled_from(["batch_size", "max_in_flight", "max_failures", "min_success_ratio",
                     "priority"]), numbers))
def test_any_sizes_and_ratios_are_accepted_or_refused_naming_the_option(
    options: dict[str, Any]
) -> None:
    try:
        task(lambda x: x, **options)
    except DefinitionError as error:
        assert error.option in options and error.option in str(error)


@pytest.mark.parametrize("make", [task, flow])
@pytest.mark.parametrize("name", ["wait_for", "return_state"])
def test_reserved_parameter_is_refused_by_name(make: Callable[..., Any], name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def fn(x, {name}=None): return x", namespace)
    with pytest.raises(ReservedArgumentError, match=name):
        make(namespace["fn"])


@pytest.mark.parametrize("make", [task, flow])
@pytest.mark.parametrize("thing", [5, "text", object()])
def test_what_cannot_be_called_is_refused(make: Callable[..., Any], thing: Any) -> None:
    with pytest.raises(TypeError) as caught:
        made = make(thing)
        made(lambda: None)
    assert type(thing).__name__ in str(caught.value) or repr(thing) in str(caught.value)


@pytest.mark.parametrize("option, value", [
    ("on_exit", "stop"), ("on_exit", 1), ("name", "a/b"), ("name", 5), ("log_prints", "yes"),
    ("validate_parameters", 1), ("task_runner", 5), ("flow_run_name", 5), ("version", 1),
])
def test_option_of_a_flow_that_cannot_be_meant_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises((DefinitionError, TypeError)) as caught:
        flow(lambda: None, **{option: value})  # type: ignore[call-overload]
    assert option in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, math.inf, math.nan, "4", True])
def test_threads_of_zero_or_less_are_refused_by_name(value: Any) -> None:
    with pytest.raises(DefinitionError, match="max_workers"):
        ThreadPoolTaskRunner(max_workers=value)


@pytest.mark.parametrize("retries, base", [(math.nan, 1), (1, -1), (1, math.inf), (1, math.nan)])
def test_backoff_that_cannot_be_meant_is_refused(retries: Any, base: Any) -> None:
    with pytest.raises((DefinitionError, ValueError, TypeError)):
        task(lambda: None, retries=retries, retry_delay_seconds=exponential_backoff(base))


# at the call, inside of a flow: nothing is submitted, and the flow may go on

def refused(runner: Any, call: Callable[[], Any], kind: type[BaseException]) -> str:
    """Return the text of the error that a call raises; nothing was submitted."""
    texts: list[str] = []

    @flow(task_runner=runner)
    def tries() -> str:
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, DataflowError)
        texts.append(str(caught.value))
        return "went on"

    assert tries() == "went on"
    assert nothing_was_submitted()
    return texts[0]


@pytest.mark.parametrize("call", [
    lambda: add.submit(), lambda: add.submit(1, 2, 3), lambda: add.submit(1, wrong=2),
    lambda: add(1, left=2), lambda: add.map([1], wrong=[2]),
], ids=["missing", "too many", "unknown", "twice", "map"])
def test_wrong_arguments_are_refused_with_the_signature(
    runner: Any, call: Callable[[], Any]
) -> None:
    text = refused(runner, call, ParameterBindError)
    assert "add" in text and "left" in text


def test_map_without_an_iterable_is_refused(runner: Any) -> None:
    text = refused(runner, lambda: add.map(1, unmapped([1, 2])), MappingMissingIterable)
    assert "add" in text


def test_map_over_unequal_lengths_names_both(runner: Any) -> None:
    text = refused(runner, lambda: add.map([1, 2, 3], [1, 2]), MappingLengthMismatch)
    assert all(part in text for part in ("left", "right", "3", "2"))


def test_map_over_lengths_that_turn_out_unequal_names_both_and_fails_the_map(runner: Any) -> None:
    @task
    def numbers_to(n: int) -> list[int]:
        return list(range(n))

    @flow(task_runner=runner)
    def late() -> str:
        uneven = add.map(numbers_to.submit(3), numbers_to.submit(2))
        uneven.wait(20)
        with pytest.raises(MappingLengthMismatch) as caught:
            uneven.result()
        return str(caught.value)

    text = late()
    assert all(part in text for part in ("left", "right", "3", "2"))


def test_map_over_a_future_that_turns_out_to_be_no_iterable_fails_the_map(runner: Any) -> None:
    @flow(task_runner=runner)
    def late() -> str:
        wrong = add.map(add.submit(1), 5)
        wrong.wait(20)
        with pytest.raises(MappingMissingIterable) as caught:
            wrong.result()
        return str(caught.value)

    text = late()
    assert "add" in text and "left" in text


def test_generator_that_raises_fails_the_map_and_what_came_before_is_kept(
    runner: Any, tmp_path: Path
) -> None:
    book = tmp_path / "book"

    @task
    def take(x: int) -> int:
        note(book, x)
        return x

    def breaks() -> Any:
        yield from range(7)
        raise OSError("the file ended in the middle")

    @flow(task_runner=runner)
    def broken() -> str:
        taken = take.map(breaks())
        taken.wait(20)
        with pytest.raises(OSError, match="in the middle"):
            taken.result()
        return "went on"

    assert broken() == "went on"
    story = recorded()
    assert story.counts["take"].get("Completed", 0) == len(ledger(book))
    assert set(ledger(book)) <= {str(x) for x in range(7)}


@pytest.mark.parametrize("verb", ["submit", "map"])
def test_submit_outside_of_a_flow_is_refused(verb: str) -> None:
    with pytest.raises(MissingContextError) as caught:
        getattr(add, verb)([1])
    assert "flow" in str(caught.value) and "add" in str(caught.value)


def test_future_of_a_run_that_has_ended_is_refused(runner: Any) -> None:
    kept: list[Any] = []

    @flow(task_runner=runner)
    def first() -> None:
        kept.append(add.submit(1))

    first()
    text = refused(runner, lambda: add.submit(kept[0]), ForeignFuture)
    assert "add" in text
    refused(runner, lambda: add.submit(1, wait_for=[kept[0]]), ForeignFuture)
    refused(runner, lambda: add.map([kept[0]]), ForeignFuture)


def test_cycle_through_wait_for_is_refused() -> None:
    """A call that waits for its own future cannot be written; a list that grows later can."""
    @flow
    def knots() -> list[int]:
        waits: list[Any] = []
        first = add.submit(1, wait_for=waits)
        waits.append(first)  # too late to change what was asked for
        second = add.submit(2, wait_for=waits)
        return [first.result(timeout=10), second.result(timeout=10)]

    assert knots() == [1, 2]
    assert issubclass(GraphCycle, CallError)


def test_a_task_that_waits_for_its_own_future_does_not_hang_the_flow() -> None:
    box: list[Any] = []

    @task
    def waits_for_itself() -> Any:
        while not box:
            pass
        return box[0].result(timeout=0.3)

    @flow(task_runner=ThreadPoolTaskRunner(2))
    def knots() -> Any:
        box.append(waits_for_itself.submit())
        box[0].wait(10)
        return [box[0].result(raise_on_failure=False)]

    [error] = knots()
    assert isinstance(error, (TimeoutError, GraphCycle)), repr(error)


def test_flow_arguments_that_do_not_fit_make_no_run() -> None:
    @flow
    def typed(n: int) -> int:
        return n

    for call in (lambda: typed(), lambda: typed(1, 2), lambda: typed(m=1)):
        with pytest.raises(ParameterBindError, match="typed"):
            call()
    store = open_store()
    assert store.flow_runs() == []
    store.close()


def test_times_beyond_what_the_platform_can_wait_are_waited_for_all_the_same(runner: Any) -> None:
    @task(retries=1, retry_delay_seconds=1e300)
    def fails() -> None:
        raise ValueError

    timed = task(abs, timeout_seconds=1e300)

    @flow(task_runner=runner)
    def patient() -> Any:
        good = timed.map([-1, -2])
        assert good[0].result(timeout=1e300) == 1
        late = fails.submit()
        with pytest.raises(TimeoutError):
            late.result(timeout=0.3)
        late.cancel()
        return [good.result(), late.state.name]

    assert patient() == [[1, 2], "Cancelled"]
