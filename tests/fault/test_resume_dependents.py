"""A run that goes on: what begins anew takes along what depends on it, and nothing else does."""

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


def again(case: Case, how: str) -> Counter[str]:
    """Go on with the run, and return what that executed."""
    before = case.done
    case.go(how)
    return case.done - before


CONSUMERS = """
    K = HOW_KEPT

    @task(persist_result=True, min_success_ratio=0.5)
    def parse(x):
        done(f"parse {x}")
        if x == 2 and first():
            raise ValueError(x)
        return 10 * x

    def show(value):
        return "bad" if isinstance(value, Exception) else value

    @task(**K)
    def mean(values):
        done(f"mean {values}")
        return sum(v for v in values if v is not None)

    @task(**K)
    def more(value):
        done(f"more {value}")
        return value + 1

    @task(**K)
    def each(value):
        done(f"each {show(value)}")

    @task(**K)
    def one(value):
        done(f"one {show(value)}")

    @task(**K)
    def several(values):
        done(f"several {[show(v) for v in values['all']]}")

    @task(**K)
    def store(value):
        done(f"store {value}")

    @task(**K)
    def after(name):
        done(f"after {name}")

    @flow(task_runner=RUNNER, on_exit="wait")
    def main():
        p = parse.map(range(4))
        m = mean.submit(p)
        n = more.submit(m)
        each.map(allow_failure(p))
        one.map([allow_failure(p[i]) for i in (3, 2, 1)])
        one.submit(allow_failure(p[2]))
        one.submit(allow_failure(p[0]))
        several.submit({"all": [allow_failure(p[1]), allow_failure(p[2])]})
        several.map([{"all": [p[0]]}, {"all": [allow_failure(p[2])]}])
        store.submit({"total": m.result()})
        store.submit([m.result()])
        store.map([{"total": m.result()}])
        after.submit("one that stands", wait_for=[p[0]])
        out = [m.result(), n.result()]
        wait_until(lambda: len(Path(BOOK).read_text().split("\\n")) >= 22, "all ran", 10)
        Path(BOOK + ".died").touch()
        return out
"""


@pytest.mark.parametrize("kept", KEPT, ids=["kept", "not kept"])
def test_retry_begins_anew_what_had_the_failure_among_its_arguments(case: Case, kept: str) -> None:
    case.write(CONSUMERS.replace("HOW_KEPT", kept))
    assert case.go("start") == [40, 41], case.output
    first = case.done
    assert sum(first.values()) == 22 and first["each bad"] == 1
    assert again(case, "retry") == Counter({
        "parse 2": 1, "mean [0, 10, 20, 30]": 1, "more 60": 1, "each 20": 1, "one 20": 2,
        "several [10, 20]": 1, "several [20]": 1, "store {'total': 60}": 2, "store [60]": 1})


def test_resume_begins_anew_what_had_a_crash_among_its_arguments(case: Case) -> None:
    value = case.died_then("""
    @task(**KEPT)
    def parse(x):
        done(f"parse {x}")
        if x == 2 and first():
            raise SystemExit(3)
        return 10 * x

    @task(**KEPT)
    def report(value):
        done(f"report {value if isinstance(value, int) else 'bad'}")
        return value if isinstance(value, int) else -1

    @task(**KEPT)
    def total(values):
        done(f"total {values}")
        return sum(values)

    @flow(task_runner=RUNNER)
    def main():
        p = [parse.submit(x) for x in range(4)]
        reports = [report.submit(allow_failure(future)) for future in p]
        whole = total.submit(reports)
        whole.wait()
        die(9)
        return [whole.result()]
    """)
    assert value == [60]
    assert case.after == Counter({"parse 2": 1, "report 20": 1, "total [0, 10, 20, 30]": 1})


def test_failure_that_stands_takes_nothing_along(case: Case) -> None:
    value = case.died_then("""
    @task
    def parse(x):
        done(f"parse {x}")
        if x == 2:
            raise ValueError(x)

    @task
    def report(value):
        done(f"report {value}")

    @flow(task_runner=RUNNER)
    def main():
        p = parse.map(range(4))
        r = report.map(allow_failure(p))
        r.wait()
        die(8)
        return len(r)
    """)
    assert value == 4
    assert case.after == Counter()


def test_retry_that_dies_before_what_depends_on_a_failure_ran_still_lets_it_run(
        case: Case) -> None:
    case.write("""
    @task(**KEPT, min_success_ratio=0.5)
    def parse(x):
        done(f"parse {x}")
        if x == 2 and first():
            raise ValueError(x)
        return 10 * x

    @task(**KEPT)
    def mean(values):
        done(f"mean {values}")
        return sum(v for v in values if v is not None)

    @task
    def twice(value, by):
        done(f"twice {value} {by}")
        return 2 * value

    @flow(task_runner=RUNNER)
    def main():
        p = parse.map(range(4))
        p.wait()
        if not first() and not Path(BOOK + ".again").exists():
            time.sleep(1)  # what ended is recorded
            Path(BOOK + ".again").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        m = mean.submit(p)
        t = twice.map(unmapped(m), range(3))
        t.wait()
        Path(BOOK + ".died").touch()
        return [m.result(), len(t)]
    """)
    assert case.go("start") == [40, 3], case.output
    assert again(case, "retry") == Counter({"parse 2": 1})
    assert again(case, "resume") == Counter(
        {"mean [0, 10, 20, 30]": 1, **{f"twice 60 {by}": 1 for by in range(3)}})
    assert again(case, "retry") == Counter()  # nothing failed: nothing begins anew


def test_map_over_a_value_that_begins_anew_has_the_length_of_the_new_one(case: Case) -> None:
    case.write("""
    @task(min_success_ratio=0.5)
    def parse(x):
        if x == 1 and first():
            raise ValueError(x)
        return x

    @task
    def good(values):
        return [v for v in values if v is not None]

    @task
    def use(x):
        done(f"use {x}")
        return x

    @task
    def follow(x):
        done(f"follow {x}")
        return x

    @flow(task_runner=RUNNER)
    def main():
        used = use.map(good.submit(parse.map(range(4))))
        out = follow.map(used).result()
        Path(BOOK + ".died").touch()
        return out
    """)
    assert case.go("start") == [0, 2, 3], case.output
    assert case.go("retry") == [0, 1, 2, 3], case.output
    assert case.story.counts == {
        "parse": {"Completed": 4}, "good": {"Completed": 1}, "use": {"Completed": 4},
        "follow": {"Completed": 4}}
