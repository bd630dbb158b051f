"""A run that goes on: a call takes over what is recorded of the very same call, in any order."""

from __future__ import annotations

import os
import shutil
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


def test_further_map_of_a_task_is_not_said_to_be_another_one(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def load(x):
        return x

    @flow(task_runner=RUNNER)
    def main():
        first_map = load.map(range(3)).result()
        die(3)
        return [first_map, load.map(range(10, 13)).result(), load.map(range(20, 23)).result()]
    """)
    assert value == [[0, 1, 2], [10, 11, 12], [20, 21, 22]]
    assert "not the one that was recorded" not in case.output


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_value_that_is_computed_again_is_said_to_be_gone_only_where_it_was_kept(
        case: Case, kept: bool) -> None:
    case.write("""
    @task(persist_result=KEPT_THERE)
    def load(x):
        return x

    @flow(task_runner=RUNNER, persist_result=False)
    def main():
        loaded, one = load.map(range(3)), load(5)
        loaded.wait()
        if first():
            die(4)
        return [*loaded.result(), one]
    """.replace("KEPT_THERE", str(kept)))
    assert case.go("start") is None
    shutil.rmtree(Path(os.environ["DATAFLOW_HOME"]) / "results", ignore_errors=True)
    assert case.go("resume") == [0, 1, 2, 5], case.output
    why = "were kept, and cannot be read any more" if kept else "are not kept"
    assert (f"4 task runs that had completed were computed again for their values, which {why}: 4 "
            "of task 'load'.") in case.output, case.output
    assert case.output.count("computed again") == 1


def test_another_function_under_the_name_of_a_task_begins_anew_with_what_depends_on_it(
        case: Case) -> None:
    value = case.died_then("""
    if first():
        @task(**KEPT, name="load")
        def load(x):
            done(f"load {x}")
            return x + 1
    else:
        @task(**KEPT, name="load")
        def load_better(x):
            done(f"load_better {x}")
            return x + 100
        load = load_better

    @task
    def clean(x):
        done(f"clean {x}")
        return 2 * x

    @flow(task_runner=RUNNER)
    def main():
        loaded = load.map(range(2))
        cleaned = [clean.map(loaded), clean.submit(loaded[0]), clean.submit(load.submit(7))]
        cleaned[0].wait(), cleaned[1].wait(), cleaned[2].wait()
        die(7)
        return [loaded.result(), cleaned[0].result(), cleaned[1].result(), cleaned[2].result()]
    """)
    assert value == [[100, 101], [200, 202], 200, 214]
    assert case.after == Counter({
        "load_better 0": 1, "load_better 1": 1, "load_better 7": 1, "clean 100": 2,
        "clean 101": 1, "clean 107": 1})
    assert case.output.count("Calls of task 'load' are not those that were recorded") == 1
    assert "are kept as they are" not in case.output
