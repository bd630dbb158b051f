"""Every runner: ``flatten`` at any depth, over anything, inside and outside of a map."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow import allow_failure, flatten, flow, opaque, quote, task, unmapped
from dataflow.exceptions import MappingMissingIterable, UpstreamTaskError
from tests.runner_support import Play


@task
def same(x: Any) -> Any:
    return x


@task
def shown(x: Any) -> str:
    return repr(x)


@task
def pair(x: Any, y: Any) -> Any:
    return x, y


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@task
def lists_or_fails(n: int) -> list[int]:
    if n == 1:
        raise ValueError("one")
    return [n, n]


def test_flatten_as_the_argument_of_a_submit_is_the_flat_list(play: Play) -> None:
    def body() -> Any:
        nested = numbers.map([2, 0, 3])
        return (same.submit(flatten(nested)).result(),
                same.submit(flatten([numbers.submit(2), [7], nested[2:]])).result(),
                same.submit(flatten(same.submit(quote([[1], [2, 3]])))).result(),
                same.submit(flatten([[1], (2,), range(3, 5)])).result(),
                same.submit(flatten(numbers.map(same.submit([1, 2])))).result(),
                same.submit({"all": flatten(nested), "n": [same.submit(1)]}).result())

    assert play(body) == ([0, 1, 0, 1, 2], [0, 1, 7, [0, 1, 2]], [1, 2, 3], [1, 2, 3, 4],
                          [0, 0, 1], {"all": [0, 1, 0, 1, 2], "n": [1]})


def test_flatten_as_the_argument_of_a_direct_call_is_the_flat_list(play: Play) -> None:
    @flow
    def inner(xs: list[Any]) -> list[Any]:
        return list(xs)

    def body() -> Any:
        nested = numbers.map([2, 0, 3])
        return (same(flatten(nested)), same(flatten(flatten(same.map([[[1], [2]], [[3]]])))),
                same([flatten([[1], [2]])]), inner(flatten(nested)))

    assert play(body) == ([0, 1, 0, 1, 2], [1, 2, 3], [[1, 2]], [0, 1, 0, 1, 2])


def test_flatten_outside_of_a_flow_takes_values_apart() -> None:
    assert same(flatten([[1], [2, 3]])) == [1, 2, 3]


def test_flatten_in_a_flatten_takes_a_level_more(play: Play) -> None:
    deep = [[[1], [2, 3]], [[4]], []]

    def body() -> Any:
        return (same.map(flatten(flatten(same.map(deep)))).result(),
                same.map(flatten(flatten(same.submit(deep)))).result(),
                same.map(flatten(flatten(deep))).result(),
                same.map(flatten(flatten([same.submit([[1]]), [[2], [3]]]))).result(),
                same.map(flatten(flatten(flatten(same.submit([deep]))))).result(),
                same.submit(flatten(flatten(same.map(deep)))).result())

    assert play(body) == ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4],
                          [1, 2, 3, 4])


def test_flatten_of_a_list_takes_whatever_stands_in_it_apart(play: Play) -> None:
    def body() -> Any:
        known, late = same.map([1, 2]), same.map(numbers.submit(3))
        state = numbers.submit(2, return_state=True)
        return (same.map(flatten([known, late, [7, same.submit(8)], state])).result(),
                same.map(flatten([known, known])).result(),
                same.map(flatten([late])).result(),
                same.map(flatten([numbers.map([1, 2])[:1], [5]])).result(),
                same.map(flatten([numbers.submit(2), numbers.submit(0)])).result(),
                same.map(flatten([])).result(),
                pair.map(flatten([known, late]), flatten(numbers.map([2, 3]))).result())

    assert play(body) == (
        [1, 2, 0, 1, 2, 7, 8, 0, 1], [1, 2, 1, 2], [0, 1, 2], [[0], 5], [0, 1], [],
        [(1, 0), (2, 1), (0, 0), (1, 1), (2, 2)])


def test_flatten_keeps_what_other_annotations_say(play: Play) -> None:
    def body() -> Any:
        nested = numbers.map([1, 2])
        kept = quote([[same.submit(1)]])
        return (pair.map([1, 2], unmapped(flatten(nested))).result(),
                pair.map([1, 2], flatten(unmapped(nested))).result(),
                [text.startswith("Future(") for text in shown.map(flatten(kept)).result()]
                if play.runner.name in ("inline", "threads") else [True],
                same.map(flatten(opaque(nested))).result())

    assert play(body) == ([(1, [0, 0, 1]), (2, [0, 0, 1])], [(1, [0, 0, 1]), (2, [0, 0, 1])],
                          [True], [0, 0, 1])


def test_failures_that_are_allowed_stand_for_themselves_in_a_flat_list(play: Play) -> None:
    def body() -> Any:
        many = lists_or_fails.map([0, 1, 2])
        after = same.map(many)
        bad = lists_or_fails.submit(1)
        return (shown.map(flatten(allow_failure(many))).result(),
                shown.map(allow_failure(flatten(many))).result(),
                shown.map(allow_failure(flatten(after))).result(),
                shown.map(flatten([allow_failure(bad), [5]])).result(),
                shown.map(flatten(allow_failure([bad, [5], same.submit([6])]))).result(),
                shown.map(allow_failure(flatten(bad))).result(),
                shown.submit(flatten(allow_failure(many))).result(),
                shown.submit(allow_failure(flatten(after))).result(),
                shown(flatten(allow_failure(many))))

    one = "ValueError('one')"
    assert play(body) == (
        ["0", "0", one, "2", "2"], ["0", "0", one, "2", "2"], ["0", "0", "None", "2", "2"],
        [one, "5"], [one, "5", "6"], [one], f"[0, 0, {one}, 2, 2]", "[0, 0, None, 2, 2]",
        f"[0, 0, {one}, 2, 2]")


def fault_of(futures: Any) -> Any:
    futures.wait()
    return futures.fault


def test_flatten_over_a_failure_does_not_run_and_names_it(play: Play) -> None:
    def body() -> Any:
        many = lists_or_fails.map([0, 1])
        return (same.submit(flatten(many), return_state=True),
                same.submit(flatten([many[1], [1]]), return_state=True),
                same(flatten(many), return_state=True),
                fault_of(same.map(flatten(many))), fault_of(same.map(flatten([many[1]]))))

    *states, wide, listed = play(lambda: quote(body())).value
    assert [state.name for state in states] == ["NotReady"] * 3
    for error in (*(state.result(raise_on_failure=False) for state in states), wide, listed):
        assert isinstance(error, UpstreamTaskError) and "ValueError: one" in str(error)


@pytest.mark.parametrize("twice", [False, True])
def test_flatten_of_what_is_not_iterable_fails_and_names_the_task_run(
    play: Play, twice: bool
) -> None:
    def body() -> Any:
        values = [[[1]], [2]] if twice else [[1], 5]
        nested = same.map(values)
        futures = same.map(flatten(flatten(nested)) if twice else flatten(nested))
        with pytest.raises(MappingMissingIterable) as caught:
            futures.result()
        return str(caught.value), nested[1].name

    text, name = play(body)
    assert repr(name) in text and "'same'" in text and "'x'" in text


def test_flatten_of_what_is_not_iterable_fails_a_submit_naming_the_item(play: Play) -> None:
    def body() -> Any:
        future = same.submit(flatten(same.map([[1], 5, "text"])))
        with pytest.raises(MappingMissingIterable) as caught:
            future.result()
        with pytest.raises(MappingMissingIterable, match="item 1 is of type int"):
            same.submit(flatten([[1], 2]))
        return str(caught.value)

    assert play(body) == ("flatten of the map of task 'same': item 1 is of type int, which is "
                          "not iterable")


def test_texts_are_not_flattened_into_letters(play: Play) -> None:
    def body() -> Any:
        with pytest.raises(MappingMissingIterable, match="str"):
            same.map(flatten(["ab", "c"]))
        with pytest.raises(MappingMissingIterable, match="not to be a sequence"):
            same.map(flatten(same.map(["ab", "c"]))).result()
        return same.map(flatten(same.map([["ab"], ["c"]]))).result()

    assert play(body) == ["ab", "c"]


def test_flat_values_do_not_pass_through_the_flow(play: Play, monkeypatch: Any) -> None:
    from dataflow.driver import Driver

    asked: list[int] = []
    values = Driver.values

    def noted(self: Driver, call: int, indexes: Any, timeout_s: float | None = None) -> Any:
        asked.append(call)
        return values(self, call, indexes, timeout_s)

    monkeypatch.setattr(Driver, "values", noted)

    def body() -> Any:
        nested = numbers.map([2, 3])
        return shown.submit(same.map(flatten(nested))).result(), asked[:]

    assert play(body) == ("[0, 1, 0, 1, 2]", [2])


def test_flatten_over_thousands_of_elements_and_empty_ones(play: Play) -> None:
    sizes = [n % 3 for n in range(3000)]

    def body() -> Any:
        return same.map(flatten(numbers.map(sizes))).result()

    assert play(body) == [i for n in sizes for i in range(n)]
