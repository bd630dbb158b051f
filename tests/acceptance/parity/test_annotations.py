"""``allow_failure``, ``quote``, ``opaque`` and ``unmapped``, alone and within each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.parity.face import allow_failure, flow, opaque, quote, task, unmapped
from tests.acceptance.parity.support import names

ON_DASK = pytest.mark.differs(
    "lost: the task does not run, or gets a tuple", on="dask-processes")


@task
def inc(x: int) -> int:
    return x + 1


@task
def boom(x: Any = None) -> Any:
    raise ValueError(f"boom {x}")


@task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@task
def told(x: Any, y: Any = None) -> str:
    return repr(x) if y is None else f"{x!r} {y!r}"


@task
def same(x: Any) -> Any:
    return x


def found_by(runner: Any, body: Any) -> Any:
    """Run a function as a flow and return what it returned, no state."""
    @flow(task_runner=runner)
    def run() -> Any:
        return {"found": body()}

    return run()["found"]


# allow_failure

@ON_DASK
def test_allow_failure_hands_over_the_value_where_there_is_one(runner: Any) -> None:
    assert found_by(runner, lambda: told.submit(allow_failure(inc.submit(1))).result()) == "2"


@ON_DASK
def test_allow_failure_hands_over_the_exception_of_a_failure(runner: Any) -> None:
    assert found_by(runner, lambda: told.submit(allow_failure(boom.submit(1))).result()) == (
        "ValueError('boom 1')")


@ON_DASK
def test_allow_failure_hands_over_none_for_what_did_not_run(runner: Any) -> None:
    assert found_by(
        runner, lambda: told.submit(allow_failure(inc.submit(boom.submit()))).result()) == "None"


@ON_DASK
def test_allow_failure_of_a_container_holds_for_all_in_it(runner: Any) -> None:
    assert found_by(runner, lambda: told.submit(
        allow_failure([inc.submit(1), boom.submit(2), {"k": boom.submit(3)}])).result()) == (
            "[2, ValueError('boom 2'), {'k': ValueError('boom 3')}]")


@ON_DASK
def test_allow_failure_in_a_container_holds_for_its_own_only(runner: Any) -> None:
    def body() -> Any:
        fine = told.submit([allow_failure(boom.submit(1)), inc.submit(1)])
        not_run = told.submit([allow_failure(boom.submit(1)), boom.submit(2)])
        fine.wait()
        not_run.wait()
        return names([fine.state, not_run.state])

    assert found_by(runner, body) == ["Completed", "NotReady"]


def test_allow_failure_holds_for_a_direct_call(runner: Any) -> None:
    assert found_by(runner, lambda: told(allow_failure(boom.submit(1)))) == "ValueError('boom 1')"


def test_allow_failure_of_one_argument_leaves_the_other_strict(runner: Any) -> None:
    def body() -> Any:
        future = told.submit(allow_failure(boom.submit(1)), boom.submit(2))
        future.wait()
        return future.state.name

    assert found_by(runner, body) == "NotReady"


@ON_DASK
def test_allow_failure_of_a_state(runner: Any) -> None:
    assert found_by(runner, lambda: told.submit(
        allow_failure(boom.submit(1, return_state=True))).result()) == "ValueError('boom 1')"


def test_allow_failure_of_a_plain_value_hands_it_over(runner: Any) -> None:
    assert found_by(runner, lambda: told(allow_failure([1, 2]))) == "[1, 2]"


@ON_DASK
def test_allow_failure_of_a_map_reduces_over_all_of_it(runner: Any) -> None:
    assert found_by(runner, lambda: told.submit(
        allow_failure(odd_fails.map([0, 1, 2]))).result()) == "[0, ValueError('odd 1'), 2]"


@ON_DASK
def test_allow_failure_maps_not_run_elements_as_none(runner: Any) -> None:
    assert found_by(runner, lambda: told.map(
        allow_failure(inc.map(odd_fails.map([0, 1])))).result()) == ["1", "None"]


@ON_DASK
def test_unmapped_and_allow_failure_go_together_either_way(runner: Any) -> None:
    def body() -> Any:
        bad = boom.submit(1)
        return [told.map([1, 2], unmapped(allow_failure(bad))).result(),
                told.map([1, 2], allow_failure(unmapped(bad))).result()]

    expected = ["1 ValueError('boom 1')", "2 ValueError('boom 1')"]
    assert found_by(runner, body) == [expected, expected]


@ON_DASK
def test_wait_for_allows_failure(runner: Any) -> None:
    def body() -> Any:
        return [told.submit(1, wait_for=[allow_failure(boom.submit())]).result(),
                told.map([1], wait_for=allow_failure([boom.submit()])).result(),
                told(1, wait_for=allow_failure(boom.submit()))]

    assert found_by(runner, body) == ["1", ["1"], "1"]


# quote

def test_quote_gives_back_what_it_holds() -> None:
    thing = [1]
    assert quote(thing).unquote() is thing


@ON_DASK
def test_quote_hands_over_plain_data_as_it_is(runner: Any) -> None:
    assert found_by(runner, lambda: same.submit(quote({"a": [1]})).result()) == {"a": [1]}


def test_quote_hands_over_plain_data_in_a_direct_call(runner: Any) -> None:
    assert found_by(runner, lambda: same(quote([1]))) == [1]


def test_quote_keeps_futures_in_it_from_being_resolved(local: Any) -> None:
    def body() -> Any:
        future = inc.submit(1)
        got = same(quote([future]))
        future.wait()
        return got[0] is future

    assert found_by(local, body) is True


def test_quote_keeps_the_very_object_on_local_runners(local: Any) -> None:
    thing = [object()]

    @task
    def is_it(x: Any) -> bool:
        return x is thing

    assert found_by(local, lambda: [is_it(quote(thing)), is_it.submit(quote(thing)).result()]) == [
        True, True]


def test_quote_within_unmapped_is_a_constant_of_a_map(local: Any) -> None:
    assert found_by(local, lambda: told.map([1, 2], unmapped(quote([7, 8]))).result()) == [
        "1 [7, 8]", "2 [7, 8]"]


# opaque

@ON_DASK
def test_opaque_hands_over_plain_data_as_it_is(runner: Any) -> None:
    assert found_by(runner, lambda: same.submit(opaque([1, {"a": 2}])).result()) == [1, {"a": 2}]


def test_opaque_hands_over_plain_data_in_a_direct_call(runner: Any) -> None:
    assert found_by(runner, lambda: same(opaque([1, {"a": 2}]))) == [1, {"a": 2}]


@ON_DASK
def test_opaque_resolves_the_future_it_wraps(runner: Any) -> None:
    assert found_by(runner, lambda: same.submit(opaque(inc.submit(1))).result()) == 2


def test_opaque_does_not_look_inside(local: Any) -> None:
    def body() -> Any:
        future = inc.submit(1)
        got = same(opaque([future]))
        future.wait()
        return got[0] is future

    assert found_by(local, body) is True


# unmapped outside a map

def test_unmapped_outside_a_map_is_its_value(runner: Any) -> None:
    assert found_by(runner, lambda: same(unmapped([1]))) == [1]
