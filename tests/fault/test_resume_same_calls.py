"""A run that goes on: a call takes over what is recorded of the very same call, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nursery import Nursery
from tests.resume_support import Case

KEPT = ["dict(persist_result=True, cache_policy=NO_CACHE)", "{}"]


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture
def case(nursery: Nursery, tmp_path: Path) -> Case:
    return Case(nursery, tmp_path, "threads")


def test_map_over_another_list_takes_along_maps_and_waiters_that_keep_nothing(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def load(x):
        done(f"load {x}")
        return x + 1

    @task
    def clean(x):
        done(f"clean {x}")
        return 3 * x

    @task
    def write(x):
        done(f"write {x}")

    @task
    def merge(name):
        done(f"merge {name}")

    @task
    def beside(x):
        done(f"beside {x}")

    @flow(task_runner=RUNNER)
    def main():
        items = [0, 1] if first() else [10, 11]
        written = write.map(clean.map(load.map(items)))
        merge.submit("all", wait_for=[written]).wait()
        beside.map([1, 2]).wait()
        die(9)
        return 1
    """)
    assert value == 1
    assert case.after == Counter({
        "load 10": 1, "load 11": 1, "clean 11": 1, "clean 12": 1, "write 33": 1, "write 36": 1,
        "merge all": 1})


@pytest.mark.parametrize("kept", KEPT, ids=["kept", "not kept"])
def test_calls_that_come_in_another_order_get_their_own_outcomes(case: Case, kept: str) -> None:
    value = case.died_then("""
    K = {kept}

    @task(**KEPT)
    def load(x):
        return x

    @task(**K)
    def use(value):
        done(f"use {str(value)[-30:]}")
        return str(value)

    @flow(task_runner=RUNNER)
    def main():
        loaded = [load.submit(i) for i in range(4)]
        makers = [lambda i: [loaded[i], loaded[3 - i]], lambda i: {"a": i}, lambda i: [i, i],
                  lambda i: 80 * "s" + str(i), lambda i: (loaded[i], "x"),
                  lambda i: {"deep": [{"f": loaded[i]}]}]
        order = [2, 0] if first() else [0, 1, 2, 3]
        out = {(n, i): use.submit(make(i)) for n, make in enumerate(makers) for i in order}
        for future in out.values():
            future.wait()
        die(16)
        want = {key: str(makers[key[0]](key[1])) for key in out if key[0] in (1, 2, 3)}
        assert all(out[key].result() == text for key, text in want.items())
        return [out[0, i].result() for i in order] + [out[4, i].result() for i in order]
    """.replace("{kept}", kept))
    assert value == ["[0, 3]", "[1, 2]", "[2, 1]", "[3, 0]",
                     *(f"({i}, 'x')" for i in range(4))], case.output
    read_again = 0 if kept == KEPT[0] else 10  # outcomes stand whose values were not kept
    assert sum(case.done.values()) == 24 + read_again


def test_maps_over_lists_in_another_order_begin_anew(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def load(x):
        return x

    @task(**KEPT)
    def use(x):
        return x

    @flow(task_runner=RUNNER)
    def main():
        loaded = [load.submit(i) for i in range(4)]
        order = [2, 0, 1, 3] if first() else [0, 1, 2, 3]
        maps = [use.map([loaded[i] for i in order]), use.map([{"f": loaded[i]} for i in order]),
                use.map([{"k": i} for i in order]), use.map([i for i in (0, *order, 3)])]
        for each in maps:
            each.wait()
        die(22)
        return [each.result() for each in maps]
    """)
    assert value == [[0, 1, 2, 3], [{"f": i} for i in range(4)], [{"k": i} for i in range(4)],
                     [0, 0, 1, 2, 3, 3]]
