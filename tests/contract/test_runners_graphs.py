"""Every runner: large and odd shapes of graphs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dataflow import flatten, task, unmapped
from dataflow.exceptions import UpstreamTaskError
from tests.runner_support import Play


@task
def one() -> int:
    return 1


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def link(x: int, bad: bool = False) -> int:
    if bad:
        raise ValueError(f"link {x}")
    return x + 1


@task
def total(xs: Any) -> Any:
    return sum(xs)


@task
def some_fail(x: int) -> int:
    if x % 5 == 3:
        raise ValueError(f"no {x}")
    return x


def test_chain_of_a_thousand_submits(play: Play) -> None:
    def body() -> int:
        future = link.submit(0)
        for _ in range(999):
            future = link.submit(future)
        return future.result(timeout=60)

    assert play(body) == 1000
    assert play.records.states("link") == ["Completed"] * 1000


def test_chain_of_a_thousand_submits_with_a_failure_in_the_middle(play: Play) -> None:
    def body() -> Any:
        future = link.submit(0)
        for n in range(1, 1000):
            future = link.submit(future, bad=n == 500)
        with pytest.raises(UpstreamTaskError, match="link 500") as caught:
            future.result(timeout=60)
        return repr(caught.value.__cause__)

    assert play(body) == "ValueError('link 500')"
    assert play.records.states("link") == (
        ["Completed"] * 500 + ["Failed"] + ["NotReady"] * 499)


def test_reduction_by_a_tree(play: Play) -> None:
    def body() -> int:
        level: list[Any] = [link.submit(n) for n in range(256)]
        while len(level) > 1:
            level = [add.submit(level[n], level[n + 1]) for n in range(0, len(level), 2)]
        return level[0].result(timeout=60)

    assert play(body) == sum(range(1, 257))


def test_pipelines_made_in_a_loop(play: Play) -> None:
    def body() -> Any:
        ends = [add.submit(link.submit(link.submit(n)), y=n) for n in range(100)]
        return [end.result() for end in ends], total.submit(ends).result()

    values = [2 * n + 2 for n in range(100)]
    assert play(body) == (values, sum(values))


def test_diamond_over_two_maps_and_its_failures(play: Play) -> None:
    def body() -> Any:
        top = add.map(range(10))
        left, right = some_fail.map(top), link.map(top)
        bottom = add.map(left, right)
        bottom.wait()
        names = [f.state.name for f in bottom]
        good = [f.result() for f in bottom if f.state.is_completed()]
        return names, good, add.map(top, top).result()

    names, good, twice = play(body)
    assert names == ["NotReady" if n in (3, 8) else "Completed" for n in range(1, 11)]
    assert good == [2 * n + 1 for n in range(1, 11) if n not in (3, 8)]
    assert twice == [2 * n for n in range(1, 11)]


def test_future_used_twice_in_one_call_and_in_many(play: Play) -> None:
    def body() -> Any:
        base = add.submit(1)
        many = add.map([1, 2, 3])
        return (add.submit(base, base).result(), add.submit(base, y=base).result(),
                add.map(many, many).result(), add.map(many, unmapped(base)).result(),
                total.submit([base, base, *many, *many]).result(),
                add.map([base, base], [base, 1]).result(),
                add.submit(many[0], many[2]).result())

    assert play(body) == (4, 4, [4, 6, 8], [4, 5, 6], 22, [4, 3], 6)


def test_deep_chain_of_maps(play: Play) -> None:
    def body() -> Any:
        many = add.map(range(20))
        for _ in range(20):
            many = add.map(many)
        return many.result(timeout=60)

    assert play(body) == [n + 21 for n in range(20)]


def test_wide_map_with_everything_in_the_middle(play: Play) -> None:
    def body() -> Any:
        first = add.map(range(2000))
        middle = some_fail.with_options(min_success_ratio=0.5).map(first)
        last = add.map(middle, 10)
        last.wait()
        good = [f for f in last if f.state.is_completed()]
        return last.counts(), total.submit(good).result(), len(middle)

    counts, summed, width = play(body)
    good = [n for n in range(1, 2001) if n % 5 != 3]
    assert counts == {"Completed": len(good), "NotReady": 400} and width == 2000
    assert summed == sum(n + 10 for n in good)
    assert {c.task_name: c.counts for c in play.records.calls}["some_fail"] == {
        "Completed": 1600, "Failed": 400}


def test_map_fans_out_in_and_out_again(play: Play) -> None:
    @task
    def upto(n: int) -> list[int]:
        return list(range(n))

    def body() -> Any:
        wide = link.map(flatten(upto.map(upto.submit(6))))
        again = add.map(upto.submit(total.submit(wide)), unmapped(total.submit(wide)))
        return wide.result(), len(again), again[0].result()

    wide = [n + 1 for m in range(6) for n in range(m)]
    assert play(body) == (wide, sum(wide), sum(wide))


def test_many_kinds_of_calls_side_by_side(play: Play) -> None:
    def body() -> int:
        futures: list[Any] = []
        for n in range(60):
            futures.append(add.submit(n))
            futures.extend(add.map([n, n + 1])[:])
            if n % 10 == 0:
                assert add(n) == n + 1
        return sum(future.result(timeout=60) for future in futures)

    assert play(body) == sum((n + 1) * 2 + n + 2 for n in range(60))


def test_several_flows_at_once_do_not_disturb_each_other(play: Play) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from dataflow import flow

    @flow(task_runner=play.runner)
    def work(n: int) -> int:
        return total.submit(add.map(range(n))).result()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(20, 24))) == [
            sum(range(1, n + 1)) for n in range(20, 24)]


def test_chain_goes_on_behind_a_link_that_outlasts_its_slice(play: Play) -> None:
    @task
    def uneven(x: int, slow: bool = False) -> int:
        if slow:
            time.sleep(0.6)
        return x + 1

    def body() -> Any:
        for _ in range(30):  # known as quick
            uneven.submit(0)
        uneven.submit(0).wait()
        ends = []
        for _ in range(3):
            future = uneven.submit(0)
            for n in range(1, 100):
                future = uneven.submit(future, slow=n == 50)
            ends.append(future)
        return [end.result(timeout=60) for end in ends]

    assert play(body) == [100] * 3
