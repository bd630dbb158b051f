"""Every runner: containers, annotations, ``wait_for``; what is mapped over; where failures go."""

from __future__ import annotations

import dataclasses
from collections import deque, namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from dataflow import allow_failure, flow, opaque, quote, task, unmapped
from dataflow.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    UnpicklableArgument,
    UpstreamTaskError,
)
from tests.runner_support import Play

Pair = namedtuple("Pair", "p q")


@dataclasses.dataclass
class Holder:
    a: Any
    b: Any = 0


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: Any


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    a: Any


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


@task
def same(x: Any) -> Any:
    return x


@task
def shown(x: Any) -> str:
    return repr(x)


@task
def pair(x: Any, y: Any = (7, 8)) -> Any:
    return repr(x), repr(y)


@task
def every(*xs: Any, **more: Any) -> Any:
    return xs, more


@task
def boom(x: Any) -> Any:
    raise ValueError(f"boom {x}")


@task
def odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


# containers


def test_futures_in_containers_of_every_kind_arrive_as_values(play: Play) -> None:
    def body() -> Any:
        one, many = same.submit(1), same.map([2, 3])
        holders = [
            Holder(one, [many]), Frozen((one,)), Model(a={"k": [one]}), Pair(one, {many[0]}),
            {one: 2, (many[0],): one}, {frozenset([many[1], one])}, [[[[[one]]]]],
            {"deep": [Holder(Model(a=(one, {"x": many})))]},
        ]
        return ([shown.submit(holder).result() for holder in holders],
                shown.map(holders).result(), [shown(holder) for holder in holders])

    expected = [
        "Holder(a=1, b=[[2, 3]])", "Frozen(a=(1,))", "Model(a={'k': [1]})", "Pair(p=1, q={2})",
        "{1: 2, (2,): 1}", "{frozenset({1, 3})}", "[[[[[1]]]]]",
        "{'deep': [Holder(a=Model(a=(1, {'x': [2, 3]})), b=0)]}"]
    assert play(body) == (expected, expected, expected)


def test_futures_in_arbitrary_objects_are_left_alone_and_refused_where_they_cannot_travel(
    play: Play,
) -> None:
    @task
    def kind(x: Any) -> str:
        return type(x[0] if isinstance(x, deque) else x.value).__name__

    def body() -> Any:
        one, names = same.submit(1), []
        for holder in (deque([one]), Plain(one)):
            try:
                names.append(kind.submit(holder).result())
            except UnpicklableArgument as error:
                assert error.argument == "x" and "'kind'" in str(error)
                names.append("Future")
        return names

    assert play(body) == ["Future", "Future"]


def test_arguments_without_futures_are_the_very_same_objects_on_local_runners(
    play: Play,
) -> None:
    if not play.runner.local:
        pytest.skip("values cross a process border")
    kept = [[1, [2]], {"k": Holder(1)}, Model(a=[1]), Plain(1)]

    def body() -> Any:
        mixed = [same.submit(0), *kept]
        return (*(same.submit(x).result() for x in kept), *same.map(kept).result(),
                *same.submit(mixed).result()[1:])

    values = play(lambda: quote(body())).value
    assert [id(x) for x in values] == [id(x) for x in kept * 3]


# what is mapped over


def test_each_positional_of_a_variadic_task_is_an_argument_of_its_own(play: Play) -> None:
    def body() -> Any:
        return (every.map([1, 2], [3, 4]).result(), every.map([1, 2], 9, k="ab", l=[5, 6]).result())

    assert play(body) == ([((1, 3), {}), ((2, 4), {})],
                          [((1, 9), {"k": "ab", "l": 5}), ((2, 9), {"k": "ab", "l": 6})])


def test_defaults_are_never_mapped_and_lengths_are_told(play: Play) -> None:
    def body() -> Any:
        with pytest.raises(MappingLengthMismatch, match="'x' has 2, 'y' has 3"):
            pair.map([1, 2], [1, 2, 3])
        with pytest.raises(MappingLengthMismatch, match="'x' has 2, 'y' has 1"):
            pair.map([1, 2], [1])
        for nothing in (5, "text", b"bytes", None, unmapped([1])):
            with pytest.raises(MappingMissingIterable, match="no iterable"):
                pair.map(nothing)
        return pair.map([1]).result(), same.map([]).result(), pair.map([], [], wait_for=[]).result()

    assert play(body) == ([("1", "(7, 8)")], [], [])


def test_maps_of_maps_and_their_lists_follow_as_they_are_nested(play: Play) -> None:
    def body() -> Any:
        rows = [same.map([n, n + 1]) for n in range(3)]
        futures = same.map(range(12))
        return (same.map(rows).result(), [same.map(row).result() for row in rows],
                same.map(same.map(same.map([1, 2]))).result(),
                same.map(futures[10:12]).result(), same.map(list(reversed(futures))[:2]).result(),
                same.map(sorted(futures[:3], key=lambda f: -f.index)).result(),
                same.map([futures[1], 5, [futures[2]], rows[0]]).result(),
                same.map(tuple(futures[:2])).result(),
                same.map({futures[3]: "value"}).result(),
                pair.map(futures[:2], {"a": 1, "b": 2}).result())

    assert play(body) == (
        [[0, 1], [1, 2], [2, 3]], [[0, 1], [1, 2], [2, 3]], [1, 2], [10, 11], [11, 10],
        [2, 1, 0], [1, 5, [2], [0, 1]], [0, 1], [3], [("0", "'a'"), ("1", "'b'")])


def test_objects_with_items_are_mapped_over_whatever_they_are(play: Play) -> None:
    @dataclasses.dataclass
    class Bag:
        items: list[int]

        def __iter__(self) -> Iterator[int]:
            return iter(self.items)

    assert play(lambda: same.map(Bag([1, 2])).result()) == [1, 2]


# annotations


def test_annotations_in_annotations_mean_both(play: Play) -> None:
    def body() -> Any:
        bad, many = boom.submit(1), odd.map([0, 1])
        after = same.submit(bad)
        return (pair.map([1], unmapped(allow_failure(bad))).result(),
                pair.map([1], allow_failure(unmapped(bad))).result(),
                pair.map([1], unmapped(allow_failure(many))).result(),
                pair.map([1], allow_failure(unmapped([bad, after]))).result(),
                shown.submit(allow_failure(opaque(bad))).result(),
                shown.submit(opaque(allow_failure(bad))).result(),
                shown.submit(allow_failure(allow_failure(after))).result(),
                shown.map(allow_failure(opaque([bad, 1]))).result(),
                shown(unmapped(allow_failure(bad))))

    error = "ValueError('boom 1')"
    assert play(body) == (
        [("1", error)], [("1", error)], [("1", "[0, ValueError('odd 1')]")],
        [("1", f"[{error}, None]")], error, error, "None", [error, "1"], error)


def test_allowed_failures_come_element_by_element_from_whatever_is_mapped_over(
    play: Play,
) -> None:
    def body() -> Any:
        many, bad = odd.map(range(4)), boom.submit(1)
        state = boom.submit(2, return_state=True)
        unready = same.submit(bad, return_state=True)
        return (shown.map(allow_failure(many)).result(),
                shown.map(allow_failure(many[2:])).result(),
                shown.map(allow_failure([bad, state, unready, 3])).result(),
                shown.map([allow_failure(bad), 3]).result(),
                shown.submit({"k": allow_failure(many)}).result(),
                shown.submit(allow_failure({"k": [bad, state]})).result(),
                [shown(allow_failure(x)) for x in (bad, state, unready, many)])

    one, two = "ValueError('boom 1')", "ValueError('boom 2')"
    odds = ["0", "ValueError('odd 1')", "2", "ValueError('odd 3')"]
    shown_odds = f"[{', '.join(odds)}]"
    assert play(body) == (
        odds, odds[2:], [one, two, "None", "3"], [one, "3"], f"{{'k': {shown_odds}}}",
        f"{{'k': [{one}, {two}]}}", [one, two, "None", shown_odds])


def test_quoted_values_are_not_looked_into_and_quoted_lists_are_mapped_item_by_item(
    play: Play,
) -> None:
    def body() -> Any:
        return (same.submit(quote([1, [2]])).result(), same.map(quote([[1], [2]])).result(),
                same(quote({"k": 1})), quote(5).unquote(),
                pair.map([1, 2], unmapped(quote([3]))).result())

    assert play(body) == ([1, [2]], [[1], [2]], {"k": 1}, 5, [("1", "[3]"), ("2", "[3]")])


# wait_for


def test_wait_for_takes_futures_states_and_any_nesting_of_them(play: Play) -> None:
    @flow
    def inner(x: int) -> int:
        return x

    def body() -> Any:
        one, many = same.submit(1), same.map([1, 2])
        state = same.submit(1, return_state=True)
        return [same.submit(5, wait_for=what).result() for what in (
            one, [one], (one, many), {"k": [one, {many[0]}]}, many, many[1:], state, [], None,
            {one: 1}.keys(), (f for f in (one, state)), [None, 3, one])] + [
            same(5, wait_for=many), inner(5, wait_for=[one, many]),
            *same.map([5], wait_for=iter([many])).result()]

    assert play(body) == [5] * 15


@pytest.mark.parametrize("what", [7, "future", b"x", 2.5, object()])
def test_wait_for_something_that_cannot_be_waited_for_is_refused(play: Play, what: Any) -> None:
    @flow
    def inner() -> int:
        return 1

    def body() -> Any:
        for call in (lambda: same.submit(1, wait_for=what), lambda: same(1, wait_for=what),
                     lambda: same.map([1], wait_for=what), lambda: inner(wait_for=what)):
            with pytest.raises(TypeError, match="wait_for takes futures, states or a list"):
                call()
        return 1

    assert play(body) == 1


def test_waiting_for_a_failure_keeps_from_running_unless_it_is_allowed(play: Play) -> None:
    def body() -> Any:
        bad, many = boom.submit(1), odd.map([0, 1])
        state = boom.submit(1, return_state=True)
        names = []
        for what in (bad, many, [many[1]], {"k": state}):
            names += [same.submit(5, wait_for=what, return_state=True).name,
                      same(5, wait_for=what, return_state=True).name,
                      same.map([5], wait_for=what, return_state=True)[0].name,
                      same.submit(5, wait_for=allow_failure(what)).result(),
                      same(5, wait_for=[allow_failure(what)])]
        return names

    assert play(body) == ["NotReady", "NotReady", "NotReady", 5, 5] * 4


def test_waiting_does_not_bring_values_here(play: Play, monkeypatch: Any) -> None:
    from dataflow.driver import Driver

    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError("a value was fetched")

    def body() -> Any:
        one, many = same.submit(1), same.map([1, 2])
        with monkeypatch.context() as patch:
            patch.setattr(Driver, "values", refuse)
            return same(5, wait_for=[one, many])

    assert play(body) == 5


# failures of a whole map


def test_what_follows_a_map_whose_generator_raised_names_the_map(play: Play) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the source broke")

    def body() -> Any:
        many = same.map(broken())
        after, direct = shown.submit(many), shown(many, return_state=True)
        follows = shown.map(many)
        after.wait()
        follows.wait()
        return quote((after.state, direct, after.result(raise_on_failure=False), follows.fault,
                      shown.submit(allow_failure(many)).result(), shown(allow_failure(many))))

    state, direct, error, fault, *allowed = play(body).value
    assert state.name == direct.name == "NotReady"
    assert state.message == direct.message == (
        "Upstream map of task 'same' did not reach a 'COMPLETED' state.")
    for each in (error, fault):
        assert isinstance(each, UpstreamTaskError) and isinstance(each.__cause__, OSError)
        assert "upstream map of task 'same' failed with OSError: the source broke" in str(each)
    assert allowed == ["[1, OSError('the source broke')]"] * 2
