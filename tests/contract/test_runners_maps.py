"""Every runner: what can be mapped over, and the list of futures that a map gives."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataflow import allow_failure, as_completed, flatten, flow, quote, task, unmapped, wait
from dataflow.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    UpstreamTaskError,
)
from tests.dask_support import open_gate, pass_gate, wait_at_gate
from tests.runner_support import Play, note, noted


@task
def double(x: Any) -> Any:
    return x * 2


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@task
def total(xs: Any) -> Any:
    return sum(xs)


@task
def same(x: Any) -> Any:
    return x


@task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


# what is mapped over


@pytest.mark.parametrize("items", [
    [1, 2, 3], (1, 2, 3), range(1, 4), {1: "a", 2: "b", 3: "c"}, {1, 2, 3}, frozenset({1, 2, 3}),
    np.array([1, 2, 3]), pd.Series([1, 2, 3], index=list("abc")), {1: 0, 2: 0, 3: 0}.keys(),
], ids=lambda items: type(items).__name__)
def test_map_takes_every_kind_of_iterable(play: Play, items: Any) -> None:
    assert play(lambda: double.map(items).result()) == [2, 4, 6]
    assert play.records.states("double") == ["Completed"] * 3


def test_map_takes_iterators_once_and_in_order(play: Play) -> None:
    def count() -> Iterator[int]:
        yield from range(50)

    def body() -> Any:
        return (double.map(count()).result(), double.map(iter([1, 2])).result(),
                double.map(x for x in "ab").result(), double.map(map(int, "12")).result(),
                double.map(zip([1], [2], strict=True)).result())

    assert play(body) == ([2 * n for n in range(50)], [2, 4], ["aa", "bb"], [2, 4], [(1, 2, 1, 2)])


def test_rows_of_an_array_and_dates_arrive_as_they_are(play: Play) -> None:
    table = np.arange(6).reshape(3, 2)
    days = pd.Series(pd.date_range("2024-01-01", periods=2))

    def body() -> Any:
        return same.map(table).result(), same.map(days).result()

    rows, dates = play(body)
    assert [row.tolist() for row in rows] == [[0, 1], [2, 3], [4, 5]]
    assert dates == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]


def test_texts_bytes_and_scalars_are_the_same_for_all(play: Play) -> None:
    def body() -> Any:
        return (add.map(["a", "b"], "xy").result(), add.map([b"a"], b"xy").result(),
                add.map([1, 2], 10).result(), add.map(x=[1], y=5).result())

    assert play(body) == (["axy", "bxy"], [b"axy"], [11, 12], [6])


def test_defaults_are_never_mapped_and_keywords_are_one_by_one(play: Play) -> None:
    @task
    def keep(x: int, ys: Any = (1, 2, 3), **more: Any) -> Any:
        return x, ys, more

    assert play(lambda: keep.map([1, 2], a=["p", "q"], b="same").result()) == [
        (1, (1, 2, 3), {"a": "p", "b": "same"}), (2, (1, 2, 3), {"a": "q", "b": "same"})]


def test_unmapped_is_the_same_for_every_element_and_may_hold_futures(play: Play) -> None:
    def body() -> Any:
        many = double.map([1, 2])
        return (add.map([[1], [2]], unmapped([9])).result(),
                add.map([1, 2], unmapped(add.submit(1))).result(),
                add.map([[0], [1]], unmapped([add.submit(1), 5])).result(),
                add.map([[0]], unmapped(many)).result())

    assert play(body) == ([[1, 9], [2, 9]], [3, 4], [[0, 2, 5], [1, 2, 5]], [[0, 2, 4]])


def test_quoted_items_are_not_looked_into(play: Play) -> None:
    def body() -> Any:
        return same.submit(quote([1, [2]])).result(), same.map(quote([[1], [2]])).result()

    assert play(body) == ([1, [2]], [[1], [2]])


def test_nothing_iterable_or_unequal_lengths_are_refused_at_the_call(play: Play) -> None:
    def body() -> None:
        with pytest.raises(MappingMissingIterable):
            double.map(5)
        with pytest.raises(MappingMissingIterable):
            double.map(unmapped([1]))
        with pytest.raises(MappingLengthMismatch, match=r"'x' has 2.*'y' has 3"):
            add.map([1, 2], [1, 2, 3])
        with pytest.raises(MappingLengthMismatch):
            add.map([1, 2], [1])
        with pytest.raises(MappingLengthMismatch):
            add.map(double.map([1, 2]), [1])

    play(body)
    assert [call.task_name for call in play.records.calls] == ["double"]


def test_map_over_nothing_is_an_empty_list_also_downstream(play: Play) -> None:
    def body() -> Any:
        none = double.map([])
        late = double.map(numbers.submit(0))
        never = double.map(x for x in ())
        assert (len(none), len(late), len(never)) == (0, 0, 0)
        assert not none and not late and list(never) == []
        none.wait()
        return (none.result(), double.map(none).result(), late.result(), double.map(late).result(),
                never.result(), total.submit(none).result(), total.submit(late).result(),
                double.map(flatten(late)).result())

    assert play(body) == ([], [], [], [], [], 0, 0, [])
    assert play.records.run.state_name == "Completed"


# what exists only at run time


def test_map_over_a_future_has_as_many_elements_as_its_value(play: Play) -> None:
    def body() -> Any:
        many = double.map(numbers.submit(4))
        return many.result(), len(many), add.map(numbers.submit(2), numbers.submit(2)).result()

    assert play(body) == ([0, 2, 4, 6], 4, [0, 2])
    assert [c.width for c in play.records.calls if c.task_name == "double"] == [4]


@pytest.mark.parametrize("value", [
    (1, 2), {1, 2}, {1: "a", 2: "b"}, range(1, 3), np.array([1, 2]),
    pd.Series([1, 2], index=[5, 9]),
], ids=lambda value: type(value).__name__)
def test_map_over_a_future_takes_every_kind_of_value(play: Play, value: Any) -> None:
    assert play(lambda: double.map(same.submit(quote(value))).result()) == [2, 4]


def test_map_over_a_map_goes_element_by_element(play: Play) -> None:
    def body() -> Any:
        return add.map(double.map(double.map(range(5))), double.map(range(5))).result()

    assert play(body) == [6 * n for n in range(5)]


def test_map_over_lists_of_futures_of_any_origin(play: Play) -> None:
    def body() -> Any:
        many = double.map([1, 2, 3])
        mixed = [many[2], add.submit(1), 7]
        part = double.map(many[1:])
        return (double.map(mixed).result(), part.result(), double.map(list(many)).result(),
                double.map([*many, *many]).result(), add.map(tuple(many), mixed).result(),
                double.map(many[::-1]).result(), double.map([[many[0], 1], [2]]).result())

    assert play(body) == ([12, 4, 14], [8, 12], [4, 8, 12], [4, 8, 12] * 2, [8, 6, 13],
                          [12, 8, 4], [[2, 1] * 2, [2, 2]])


def test_map_over_a_state_takes_its_value(play: Play) -> None:
    def body() -> Any:
        return double.map(numbers.submit(2, return_state=True)).result()

    assert play(body) == [0, 2]


def test_map_over_a_future_that_is_no_iterable_fails_and_says_so(play: Play) -> None:
    def body() -> Any:
        many = double.map(add.submit(1))
        with pytest.raises(MappingMissingIterable, match="'x'"):
            many.result()
        with pytest.raises(MappingMissingIterable):
            len(many)
        return total.submit(many)

    state = play.state(body)
    assert state.is_failed()


def test_lengths_known_late_that_differ_fail_the_map_and_name_both(play: Play) -> None:
    def body() -> Any:
        many = add.map(numbers.submit(2), numbers.submit(3))
        with pytest.raises(MappingLengthMismatch, match=r"'x'.*2.*'y'.*3"):
            many.result()
        after = double.map(many)
        with pytest.raises((MappingLengthMismatch, UpstreamTaskError)):
            after.result()
        also = add.map(numbers.submit(2), [1])
        with pytest.raises(MappingLengthMismatch):
            also.result()
        generated = add.map((n for n in range(3)), [1, 2])
        with pytest.raises(MappingLengthMismatch):
            generated.result()
        return add.submit(1).result()

    assert play(body) == 2


def test_map_over_a_failed_future_does_not_run_and_chains_its_error(play: Play) -> None:
    def body() -> Any:
        many = double.map(odd_fails.submit(1))
        with pytest.raises(UpstreamTaskError, match="odd 1") as caught:
            many.result()
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(UpstreamTaskError):
            total.submit(many).result()
        return add.submit(1).result()

    assert play(body) == 2
    assert play.records.run_counts("double") in ([], [0])


def test_map_returns_before_anything_has_run(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> list[int]:
        pass_gate(folder, "gate")
        return [1, 2, 3]

    def body() -> Any:
        many = total.submit(double.map(double.map(flatten([gated.submit()]))))
        assert not many.done()
        with pytest.raises(TimeoutError, match="did not complete within"):
            many.result(timeout=0.01)
        open_gate(tmp_path, "gate")
        return many.result(timeout=20)

    assert play_along(body) == 24


def test_elements_go_downstream_while_their_siblings_still_run(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated(x: int) -> int:
        if x == 0:
            pass_gate(folder, "first")
        return x

    def body() -> Any:
        first = gated.map([0, 1, 2])
        after = double.map(first)
        assert after[2].result(timeout=20) == 4
        assert not first[0].done()
        open_gate(tmp_path, "first")
        return after.result(timeout=20)

    assert play_along(body) == [0, 2, 4]


# generators


def test_endless_generator_is_consumed_a_bounded_way_ahead_and_ends_when_cancelled(
        play: Play) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield n

    def body() -> Any:
        many = double.map(endless())
        first = [many[i].result(timeout=30) for i in range(20)]
        assert many[3:6].result() == [6, 8, 10]
        seen = [future.result() for future, _ in zip(many, range(5), strict=False)]
        assert many.cancel()
        many.wait(timeout=30)
        assert many.done()
        return first, seen, len(many)

    first, seen, width = play(body)
    assert (first, seen) == ([2 * n for n in range(20)], [0, 2, 4, 6, 8])
    assert width <= taken <= width + 10_000
    states = play.records.states("double")
    assert set(states) <= {"Completed", "Cancelled"} and states.count("Completed") >= 20


def test_consumption_stops_where_no_element_ends(play_along: Play, tmp_path: Path) -> None:
    folder, taken = str(tmp_path), 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield n

    @task
    def gated(x: int) -> int:
        if x < 1_000_000:
            pass_gate(folder, "gate")
        return x

    def body() -> int:
        many = gated.with_options(max_in_flight=2).map(endless())
        before = -1
        while taken != before or not taken:
            before = taken
            time.sleep(0.2)
        held = taken
        open_gate(tmp_path, "gate")
        assert many[5].result(timeout=30) == 5
        many.cancel()
        return held

    assert play_along(body) <= 1000


def test_generator_that_raises_fails_the_map_and_keeps_what_came_before(play: Play) -> None:
    def breaks() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("no more")

    def body() -> Any:
        many = double.map(breaks())
        with pytest.raises(KeyError, match="no more"):
            many.result()
        assert many[1].result() == 4
        return add.submit(1).result()

    assert play(body) == 2
    assert play.records.states("double")[:2] == ["Completed", "Completed"]


def test_generator_downstream_and_beside_others(play: Play) -> None:
    def body() -> Any:
        stream = double.map(n for n in range(30))
        return (total.submit(stream).result(), double.map(stream).result()[-1],
                add.map((n for n in range(3)), [1, 2, 3]).result(),
                add.map((n for n in range(3)), double.map([1, 2, 3])).result())

    assert play(body) == (2 * sum(range(30)), 4 * 29, [1, 3, 5], [2, 5, 8])


def test_generator_left_behind_by_the_flow_is_drained(play: Play) -> None:
    def body() -> None:
        double.map(n for n in range(40))

    play(body)
    assert play.records.states("double") == ["Completed"] * 40


# the list of futures


def test_list_of_futures_reads_like_a_list(play: Play) -> None:
    def body() -> None:
        many = double.map([1, 2, 3, 4])
        assert (len(many), bool(many)) == (4, True)
        assert many[0].result() == 2 and many[-1].result() == 8
        assert [future.result() for future in many] == [2, 4, 6, 8]
        assert many[1:3].result() == [4, 6] and many[::-2].result() == [8, 4]
        assert many[1] in many and many[1] == many[1] and many[0] != many[1]
        assert many == list(many) and many + many[:1] == [*many, many[0]]
        assert len({*many, *many}) == 4 and [f.result() for f in reversed(many)] == [8, 6, 4, 2]
        with pytest.raises(IndexError):
            many[4]
        with pytest.raises(IndexError):
            many[-5]
        assert many.index(many[2]) == 2
        assert isinstance(many[0].task_run_id, str)
        assert len({future.task_run_id for future in many}) == 4

    play(body)


def test_list_of_futures_of_unknown_length_can_be_read(play: Play) -> None:
    def body() -> Any:
        return ([f.result() for f in double.map(numbers.submit(3))],
                double.map(numbers.submit(3))[-1].result(),
                double.map(numbers.submit(3))[1].result(),
                len(double.map(numbers.submit(3))), bool(double.map(numbers.submit(0))))

    assert play(body) == ([0, 2, 4], 4, 2, 3, False)


def test_result_of_a_list_takes_timeouts_and_gives_exceptions_when_asked(play: Play) -> None:
    def body() -> None:
        many = odd_fails.map([0, 1, 2, 3])
        got = many.result(raise_on_failure=False)
        assert [got[0], got[2]] == [0, 2]
        assert [repr(got[1]), repr(got[3])] == ["ValueError('odd 1')", "ValueError('odd 3')"]
        with pytest.raises(ValueError, match="odd"):
            many.result()
        with pytest.raises(ValueError, match="negative"):
            many.result(timeout=-1)
        with pytest.raises(ValueError, match="negative"):
            many[0].result(timeout=-1)
        assert many[0].result(timeout=0) == 0
        assert [state.name for state in many.states] == ["Completed", "Failed"] * 2

    play(body)


def test_waiting_for_a_list_ends_at_its_timeout_without_an_error(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated(x: int) -> int:
        pass_gate(folder, "gate")
        return x

    def body() -> Any:
        many = gated.map([1, 2])
        assert many.wait(timeout=0.05) is None and not many.done()
        assert many[0].wait(timeout=0.01) is None
        with pytest.raises(TimeoutError, match=r"did not complete within|not every task run"):
            many.result(timeout=0.05)
        done, not_done = wait(many, timeout=0.05)
        assert (done, not_done) == (set(), set(many))
        with pytest.raises(TimeoutError, match=r"2 \(of 2\) futures unfinished"):
            list(as_completed(many, timeout=0.05))
        assert many[0].state.name in {"Pending", "Running"}
        open_gate(tmp_path, "gate")
        return many.result(timeout=20)

    assert play_along(body) == [1, 2]


def test_list_raises_the_first_to_fail_before_the_others_have_ended(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def fails(x: int) -> int:
        if x == 0:
            pass_gate(folder, "gate")
        raise ValueError(f"number {x}")

    def body() -> Any:
        many = fails.map([0, 1])
        with pytest.raises(ValueError, match="number 1"):
            many.result(timeout=20)
        assert not many[0].done()
        open_gate(tmp_path, "gate")
        many.wait()
        with pytest.raises(ValueError, match="number 1"):
            many.result()
        return [state.name for state in many.states]

    assert play_along(body) == ["Failed", "Failed"]


def test_as_completed_and_wait_give_each_future_once(play: Play) -> None:
    def body() -> Any:
        many, one = double.map([1, 2, 3]), add.submit(1)
        came = list(as_completed([*many, one, one, many[0]]))
        assert len(came) == 4 and set(came) == {*many, one}
        done, not_done = wait([*many, one, one])
        assert (done, not_done) == ({*many, one}, set())
        assert wait([]) == (set(), set()) and list(as_completed([])) == []
        return sorted(future.result() for future in came)

    assert play(body) == [2, 2, 4, 6]


@pytest.mark.parametrize("own_first", [True, False])
def test_as_completed_takes_futures_of_two_flow_runs(play_along: Play, tmp_path: Path,
                                                     own_first: bool) -> None:
    @task
    def wait_for(name: str) -> str:
        pass_gate(str(tmp_path), name)
        return name

    def body() -> list[str]:
        outer = wait_for.submit("outer")

        @flow
        def inner() -> list[str]:
            own = wait_for.submit("inner")
            names = []
            wait_at_gate(tmp_path, "outer")
            wait_at_gate(tmp_path, "inner")
            first = "outer" if own_first else "inner"
            threading.Timer(0.3, open_gate, (tmp_path, first)).start()
            for future in as_completed([own, outer] if own_first else [outer, own], timeout=30):
                names.append(future.result())
                open_gate(tmp_path, "inner")
                open_gate(tmp_path, "outer")
            return names

        return inner()

    began = time.monotonic()
    names = play_along(body)
    assert names == (["outer", "inner"] if own_first else ["inner", "outer"])
    assert time.monotonic() - began < 10


def test_as_completed_gives_who_ends_first_first(play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated(x: int) -> int:
        if x == 0:
            pass_gate(folder, "gate")
        return x

    def body() -> Any:
        futures = [gated.submit(0), gated.submit(1)]
        order = []
        for future in as_completed(futures, timeout=30):
            order.append(future.result())
            open_gate(tmp_path, "gate")
        return order

    assert play_along(body) == [1, 0]


# flatten


def test_flatten_takes_one_level_away_without_a_gather(play: Play) -> None:
    def body() -> Any:
        nested = numbers.map([2, 0, 3])
        return (double.map(flatten(nested)).result(),
                double.map(flatten([[1], [], [2, 3]])).result(),
                double.map(flatten(same.submit(quote([[1, 2], [3]])))).result(),
                double.map(flatten([numbers.submit(2), [5], numbers.submit(1)])).result(),
                add.map(flatten(nested), flatten(nested)).result(),
                double.map(flatten(nested[:1])).result(),
                add.map(flatten(nested), 10).result(),
                total.submit(double.map(flatten(nested))).result(),
                double.map(flatten(numbers.map(numbers.submit(3)))).result())

    assert play(body) == (
        [0, 2, 0, 2, 4], [2, 4, 6], [2, 4, 6], [0, 2, 10, 0], [0, 2, 0, 2, 4], [0, 2],
        [10, 11, 10, 11, 12], 8, [0, 0, 2])


def test_flatten_twice_takes_two_levels_away(play: Play) -> None:
    def body() -> Any:
        deep = same.map([[[1], [2, 3]], [[4]]])
        once = same.map(flatten(deep))
        return once.result(), double.map(flatten(once)).result()

    assert play(body) == ([[1], [2, 3], [4]], [2, 4, 6, 8])


def test_flatten_of_a_map_with_a_failure_does_not_run(play: Play) -> None:
    @task
    def lists(x: int) -> list[int]:
        if x == 1:
            raise ValueError("one")
        return [x, x]

    def body() -> Any:
        many = double.map(flatten(lists.map([0, 1, 2])))
        with pytest.raises(UpstreamTaskError, match="one"):
            many.result()
        return add.submit(1).result()

    assert play(body) == 2


# allow_failure


def test_allowed_failures_arrive_as_exceptions_and_what_did_not_run_as_none(play: Play) -> None:
    @task
    def kind(x: Any) -> Any:
        return repr(x)

    @task
    def kinds(xs: Any) -> Any:
        return [repr(x) for x in xs]

    def body() -> Any:
        many = odd_fails.map([0, 1, 2])
        after = double.map(many)
        bad = odd_fails.submit(3)
        return (kind.map(allow_failure(many)).result(),
                kind.map(allow_failure(after)).result(),
                kind.submit(allow_failure(bad)).result(),
                kind.submit(allow_failure(double.submit(bad))).result(),
                kinds.submit(allow_failure(many)).result(),
                kinds.submit([allow_failure(bad), add.submit(1)]).result(),
                kinds.submit(allow_failure([bad, add.submit(1)])).result(),
                kind.map([1, 2], wait_for=[allow_failure(many)]).result(),
                add.map([1, 2], unmapped(allow_failure(add.submit(1)))).result(),
                kind(allow_failure(bad)))

    odd_1, odd_3 = "ValueError('odd 1')", "ValueError('odd 3')"
    assert play(body) == (
        ["0", odd_1, "2"], ["0", "None", "4"], odd_3, "None", ["0", odd_1, "2"], [odd_3, "2"],
        [odd_3, "2"], ["1", "2"], [3, 4], odd_3)


def test_execution_happens_once_per_element(play: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def mark(x: int) -> int:
        note(folder, f"x{x}")
        return x

    @task
    def mark_again(x: int) -> int:
        note(folder, f"y{x}")
        return x

    def body() -> Any:
        return mark_again.map(mark.map(range(30)))

    play(body)
    assert [noted(folder, f"{side}{n}") for side in "xy" for n in range(30)] == [1] * 60
    assert play.records.run_counts("mark") == [1] * 30


def test_flow_that_returns_a_map_without_elements_since_it_failed_is_failed(play: Play) -> None:
    def body() -> Any:
        return double.map(add.submit(1))

    state = play.state(body)
    assert (state.is_failed(), state.message) == (True, "1/1 states failed.")
    with pytest.raises(MappingMissingIterable):
        state.result()


def test_maps_that_follow_a_failed_one_fail_alike_whenever_they_were_made(
        play_along: Play, tmp_path: Path) -> None:
    folder = str(tmp_path)

    @task
    def gated() -> int:
        pass_gate(folder, "gate")
        return 5

    def breaks() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    def body() -> Any:
        many = double.map(gated.submit())
        before = double.map(double.map(many))
        open_gate(tmp_path, "gate")
        with pytest.raises(UpstreamTaskError, match="not to be a sequence") as caught:
            before.result()
        assert isinstance(caught.value.__cause__, MappingMissingIterable)
        with pytest.raises(UpstreamTaskError):
            list(double.map(many))
        stream = double.map(breaks())
        after = double.map(stream)
        with pytest.raises(UpstreamTaskError, match="no more"):
            after.result()
        late = double.map(stream)
        with pytest.raises(UpstreamTaskError, match="no more"):
            late.result()
        return [f.result() for f in stream[:1]], after[0].result(), late[0].result()

    assert play_along(body) == ([2], 4, 4)


def test_failed_map_that_nobody_looked_at_is_told_at_the_end(
        play: Play, caplog: pytest.LogCaptureFixture) -> None:
    def body() -> None:
        double.map(add.submit(1))

    play(body)
    assert any("map of task 'double'" in m for m in play.records.messages())


def test_map_that_failed_as_a_whole_is_on_record_and_arrives_where_failures_are_allowed(
    play: Play,
) -> None:
    @task
    def five() -> int:
        return 5

    @task
    def double(x: int) -> int:
        return 2 * x

    @task
    def kinds(xs: list[Any]) -> list[str]:
        return [type(x).__name__ for x in xs]

    def run() -> Any:
        broken = double.map(five.submit())
        return kinds.submit(allow_failure(broken)).result()

    assert play(run) == ["MappingMissingIterable"]
    faults = [call.fault for call in play.records.calls if call.fault is not None]
    assert len(faults) == 1
    assert "maps over 'x'" in faults[0]


@pytest.mark.parametrize("make", [
    lambda: iter(range(5)), lambda: (n for n in range(1000)), itertools.count,
], ids=["five", "thousand", "endless"])
def test_generator_beside_a_shorter_list_fails_its_map_and_nothing_else(
    play: Play, make: Any
) -> None:
    def run() -> Any:
        broken = add.map(make(), [1, 2, 3])
        with pytest.raises(MappingLengthMismatch, match="'y' has 3"):
            broken.result()
        return double.map([1]).result()

    assert play(run) == [2]


def test_map_over_the_allowed_failure_of_one_future_says_that_it_is_no_sequence(
    play: Play,
) -> None:
    @task
    def bad() -> list[int]:
        raise ValueError("no list")

    def run() -> Any:
        with pytest.raises(MappingMissingIterable, match="maps over 'x'"):
            same.map(allow_failure(bad.submit())).result(timeout=20)
        return 1

    assert play(run) == 1


@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (1, 3), (5, 0)])
def test_table_that_a_task_returns_is_mapped_by_its_columns(
    play: Play, rows: int, columns: int
) -> None:
    @task
    def table() -> pd.DataFrame:
        return pd.DataFrame({f"c{n}": range(rows) for n in range(columns)})

    assert play(lambda: same.map(table.submit()).result()) == [f"c{n}" for n in range(columns)]


def test_values_come_in_the_order_of_the_futures_asked_for(play: Play) -> None:
    def run() -> Any:
        many = double.map(range(20))
        few = double.map([1, 2])
        few.wait()
        return many[::-1].result(), many[2:19:3].result(), [
            state.result() for state in (few[1].state, few[0].state, few[1].state)]

    assert play(run) == ([2 * n for n in reversed(range(20))], [2 * n for n in range(2, 19, 3)],
                         [4, 2, 4])


def test_map_over_a_generator_behind_a_failure_is_no_empty_map(play: Play) -> None:
    @task
    def bad() -> int:
        raise ValueError("first")

    def run() -> Any:
        behind = double.map((n for n in range(3)), wait_for=[bad.submit()])
        with pytest.raises(UpstreamTaskError, match="ValueError: first"):
            behind.result()
        total = same.submit(behind)
        total.wait()
        return total.state.name

    assert play(run) == "NotReady"
