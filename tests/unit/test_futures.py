"""Futures: results, errors, timeouts, and the lazy list of a map's futures."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from dataflow import Task, as_completed, task, wait
from dataflow.exceptions import (
    CancelledRun,
    CrashedRun,
    MapGivenUp,
    MissingResult,
    UpstreamTaskError,
)
from dataflow.failures import record_of
from dataflow.futures import Future, FutureList, PrefectFuture
from dataflow.outcomes import Code
from tests.fake_driver import FakeDriver, flow_run


@task
def work(x: Any) -> Any:
    return x


@pytest.fixture
def driver() -> Iterator[FakeDriver]:
    driver = FakeDriver()
    with flow_run(driver):
        yield driver


def mapped(driver: FakeDriver, *values: Any, of: Task[..., Any] = work) -> FutureList[Any]:
    """Return a map whose elements have ended with these values or exceptions."""
    futures = of.map(list(values))
    for index, value in enumerate(values):
        if isinstance(value, BaseException):
            driver.fail(futures.handle.call, index, value)
        elif value is not ...:
            driver.end(futures.handle.call, index, value)
    return futures


# one future


def test_result_of_a_completed_task_is_its_value_and_fetched_once(driver: FakeDriver) -> None:
    future = work.submit(1)
    driver.end(0, 0, 7)
    assert future.result() == 7
    driver.found.clear()
    assert future.result(timeout=0) == 7 and future.done()
    assert isinstance(future, PrefectFuture)


def test_result_of_a_failed_task_is_raised_or_returned(driver: FakeDriver) -> None:
    error = ValueError("x")
    future = work.submit(1)
    driver.fail(0, 0, error)
    with pytest.raises(ValueError) as caught:
        future.result()
    assert caught.value is error is future.result(raise_on_failure=False)
    assert (str(future.state), future.state.data) == (
        "Failed('Task run encountered an exception ValueError: x')", error)


def test_task_that_did_not_run_names_and_chains_the_first_failure(driver: FakeDriver) -> None:
    first, second = work.submit(1), work.submit(2)
    error = ValueError("x")
    driver.fail(0, 0, error)
    driver.not_ready(1, 0, (0, 0))
    with pytest.raises(UpstreamTaskError, match=f"{first.name}.*ValueError: x") as caught:
        second.result()
    assert caught.value.__cause__ is error
    assert (second.state.type.value, second.state.name) == ("PENDING", "NotReady")
    assert second.state.message == (
        f"Upstream task run {first.name!r} did not reach a 'COMPLETED' state.")
    with pytest.raises(UpstreamTaskError):
        second.state.result()


@pytest.mark.parametrize("code, error", [
    (Code.CANCELLED, CancelledRun), (Code.CRASHED, CrashedRun)])
def test_task_without_exception_ends_with_the_error_of_its_state(
        driver: FakeDriver, code: Code, error: type[Exception]) -> None:
    future = work.submit(1)
    driver.fail(0, 0, None, code)
    with pytest.raises(error, match=future.name):
        future.result()


def test_timeout_is_told_and_the_task_goes_on(driver: FakeDriver) -> None:
    future = work.submit(1)
    with pytest.raises(TimeoutError, match=r"did not complete within 0\.1 seconds"):
        future.result(timeout=0.1)
    future.wait(timeout=0)
    assert not future.done() and future.state.is_pending()


@pytest.mark.parametrize("call", [
    lambda f: f.result(timeout=-1), lambda f: f.wait(timeout=-1), lambda f: wait([f], timeout=-1),
    lambda f: as_completed([f], timeout=-1),
])
def test_negative_timeout_is_refused(driver: FakeDriver, call: Any) -> None:
    with pytest.raises(ValueError, match="negative"):
        call(work.submit(1))


def test_after_the_run_only_fetched_values_are_there(driver: FakeDriver) -> None:
    kept, lost = work.submit(1), work.submit(2)
    driver.end(0, 0, 7)
    driver.end(1, 0, 8)
    kept.result()
    kept.handle.flow_run.ended = True
    assert (kept.result(), lost.state.is_completed(), lost.cancel()) == (7, True, False)
    with pytest.raises(MissingResult, match="has ended"):
        lost.result()
    kept.handle.flow_run.ended = False


def test_future_cannot_be_pickled_and_says_what_to_do(driver: FakeDriver) -> None:
    for what in (work.submit(1), work.map([1])):
        with pytest.raises(TypeError, match="argument"):
            pickle.dumps(what)


def test_done_callback_of_an_ended_task_runs_at_once_and_may_raise(driver: FakeDriver) -> None:
    future, seen = work.submit(1), []
    driver.end(0, 0, 7)
    future.add_done_callback(seen.append)
    future.add_done_callback(lambda future: 1 / 0)
    assert seen == [future]


def test_driver_hears_when_the_last_future_of_a_call_is_gone(driver: FakeDriver) -> None:
    futures = work.map([1, 2])
    one = futures[1]
    del futures
    gc.collect()
    assert driver.released == []
    del one
    gc.collect()
    assert driver.released == [0]


def test_futures_of_one_task_run_are_equal(driver: FakeDriver) -> None:
    futures = work.map([1, 2])
    assert futures[0] == futures[0] != futures[1]
    assert len({futures[0], futures[0], futures[1]}) == 2
    assert futures[0].name == futures[0].name and futures[0].name.endswith("[0]")
    assert futures[0].task_run_id != futures[1].task_run_id


# the list of a map


def test_results_come_in_input_order(driver: FakeDriver) -> None:
    futures = mapped(driver, 1, 2, 3)
    assert futures.result() == [1, 2, 3]
    assert futures[1:].result() == [2, 3] and futures[::-1].result() == [3, 2, 1]
    assert mapped(driver).result() == []


def test_first_to_fail_is_raised_before_the_others_have_ended(driver: FakeDriver) -> None:
    futures = work.map([1, 2, 3])
    driver.fail(0, 2, KeyError("first"))
    driver.fail(0, 0, ValueError("second"))
    with pytest.raises(KeyError, match="first"):
        futures.result()
    with pytest.raises(ValueError, match="second"):
        futures[:2].result()
    with pytest.raises(TimeoutError, match="within 0 seconds"):
        futures.result(timeout=0, raise_on_failure=False)


def test_failures_are_returned_in_their_places_when_asked(driver: FakeDriver) -> None:
    error = ValueError("x")
    assert mapped(driver, 1, error, 3).result(raise_on_failure=False) == [1, error, 3]


def test_success_ratio_reached_gives_none_in_the_places_of_failures(driver: FakeDriver) -> None:
    half = work.with_options(min_success_ratio=0.5)
    assert mapped(driver, 1, ValueError("x"), of=half).result() == [1, None]
    with pytest.raises(ValueError, match="first"):
        mapped(driver, 1, ValueError("first"), KeyError("y"), of=half).result()


def test_map_given_up_says_so_and_chains_the_first_failure(driver: FakeDriver) -> None:
    futures = mapped(driver, ValueError("x"), ...)
    futures.handle.view.given_up = "too many"
    with pytest.raises(MapGivenUp, match="too many") as caught:
        futures.result()
    assert isinstance(caught.value.__cause__, ValueError)


def test_fault_of_the_whole_map_is_raised_wherever_it_matters(driver: FakeDriver) -> None:
    futures = work.map(n for n in range(3))
    view = futures.handle.view
    view.codes.extend([Code.COMPLETED])
    view.fault = record_of(ValueError("the generator broke"), remote=False)
    seen = iter(futures)
    next(seen)
    for call in (lambda: next(seen), lambda: len(futures), futures.result):
        with pytest.raises(ValueError, match="the generator broke"):
            call()


def test_list_of_unknown_width_gives_what_is_known(driver: FakeDriver) -> None:
    futures = work.map(n for n in range(3))
    futures.handle.view.codes.extend(bytes(2))
    assert [f.index for f in (futures[0], futures[1])] == [0, 1]
    assert [f.index for f in futures[:2]] == [0, 1]
    assert bool(futures) and "? task runs" in repr(futures)


def test_list_behaves_like_a_list(driver: FakeDriver) -> None:
    futures, other = work.map([1, 2]), work.map([1, 2])
    assert len(futures) == 2 and futures[0] in futures and other[0] not in futures
    assert futures == list(futures) != other and futures[-1].index == 1
    assert futures + other == [*futures, *other] == list(futures) + other
    assert futures.index(futures[1]) == 1 and list(reversed(futures))[0].index == 1
    assert not work.map([])
    with pytest.raises(IndexError):
        futures[2]


def test_cancel_reaches_a_future_a_slice_and_a_map(driver: FakeDriver) -> None:
    futures = work.map([1, 2, 3])
    assert futures[1].cancel() and futures[:2].cancel() and futures.cancel()
    assert driver.cancelled == [(0, 1), (0, 0), (0, 1), (0, None)]


def test_states_of_a_map_are_in_order(driver: FakeDriver) -> None:
    futures = mapped(driver, 1, ValueError("x"), ...)
    assert [s.name for s in futures.states] == ["Completed", "Failed", "Pending"]


# several futures


def test_wait_tells_done_from_not_done(driver: FakeDriver) -> None:
    futures = mapped(driver, 1, ...)
    found = wait([futures[0], futures[1], futures[0]], timeout=0)
    assert (found.done, found.not_done) == ({futures[0]}, {futures[1]})
    assert wait(futures, timeout=0) == found


def test_as_completed_yields_each_once_and_says_what_is_left(driver: FakeDriver) -> None:
    futures = mapped(driver, 1, 2, ...)
    seen: list[Future[Any]] = []
    with pytest.raises(TimeoutError, match=r"1 \(of 3\) futures unfinished"):
        for future in as_completed([*futures, futures[0]], timeout=0):
            seen.append(future)
    assert seen == [futures[0], futures[1]]
    assert list(as_completed([])) == []


def test_a_timeout_that_is_no_number_is_refused(driver: FakeDriver) -> None:
    future, futures = work.submit(1), work.map([1])
    for waits in (future.result, future.wait, futures.result, futures.wait):
        with pytest.raises(TypeError, match="timeout must be a number of seconds or None, got str"):
            waits(timeout="soon")  # type: ignore[operator]


def test_what_holds_no_futures_cannot_be_waited_for() -> None:
    for waits in (wait, as_completed):
        with pytest.raises(TypeError, match="take futures, e.g. a list of them, got int 3"):
            waits(3)  # type: ignore[operator]
