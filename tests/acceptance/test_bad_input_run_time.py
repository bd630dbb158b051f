"""Bad input at run time: it becomes a state and an error that say which task and which argument."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dataflow import flow, task
from dataflow.exceptions import (
    MissingModule,
    RemoteError,
    UnpicklableArgument,
    UnpicklableResult,
    UnpicklableTask,
    WorkerLost,
)
from runners import DaskTaskRunner, ThreadPoolTaskRunner
from tests.run_support import Recorded, ledger, note, recorded

if TYPE_CHECKING:
    from distributed import LocalCluster

N = 40
ODD_ONE = 17


@pytest.fixture(params=["threads", pytest.param("dask", marks=pytest.mark.dask)])
def runner(request: pytest.FixtureRequest) -> Any:
    if request.param == "threads":
        return ThreadPoolTaskRunner(max_workers=4)
    return DaskTaskRunner(cluster=request.getfixturevalue("dask_cluster"))


@pytest.fixture
def dask(dask_cluster: LocalCluster) -> DaskTaskRunner:
    return DaskTaskRunner(cluster=dask_cluster)


class NeedsTwo(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"code {code}: {reason}")
        self.code, self.reason = code, reason


class KeywordsOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class NoPickle(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class NotEvenText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Unpicklable:
    def __init__(self) -> None:
        self.lock = threading.Lock()


def raise_two() -> None:
    raise NeedsTwo(7, "closed")
def raise_keywords() -> None:
    raise KeywordsOnly(code=9)
def raise_no_pickle() -> None:
    raise NoPickle("the text survives")
def raise_no_text() -> None:
    raise NoText()
def raise_not_even_text() -> None:
    raise NotEvenText()
def raise_group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), NoPickle("two")])
def recurse(depth: int = 10_000) -> int:
    return 0 if depth == 0 else 1 + recurse(depth - 1)
def leave() -> None:
    sys.exit(3)
def interrupt() -> None:
    raise KeyboardInterrupt
def stop_generator() -> None:
    raise GeneratorExit
def stop_iteration() -> None:
    raise StopIteration(5)
def raise_from_class_made_here() -> None:
    class Local(Exception):
        pass

    raise Local("made in a function")


def run_odd_one(runner: Any, odd: Callable[[], Any], book: Path, **options: Any) -> Recorded:
    """Run a map of which one element does something odd; the others must complete."""
    @task(**options)
    def element(x: int) -> int:
        note(book, x)
        if x == ODD_ONE:
            odd()
        return x

    @flow(task_runner=runner)
    def odd_flow() -> str:
        found = element.map(range(N))
        found.wait(30)
        return "through"

    began = time.monotonic()
    assert odd_flow() == "through"
    assert time.monotonic() - began < 30
    story = recorded()
    assert story.run.state_type == "COMPLETED"
    assert story.with_state("Completed") == set(range(N)) - {ODD_ONE}
    assert set(ledger(book)) == {str(x) for x in range(N)}
    return story


@pytest.mark.parametrize("odd, state, type_name, text", [
    (raise_two, "Failed", "NeedsTwo", "code 7: closed"),
    (raise_keywords, "Failed", "KeywordsOnly", "code 9"),
    (raise_no_pickle, "Failed", "NoPickle", "the text survives"),
    (raise_no_text, "Failed", "NoText", "whose text cannot be made"),
    (raise_not_even_text, "Failed", "NotEvenText", "whose text cannot be made"),
    (raise_group, "Failed", "ExceptionGroup", "several"),
    (raise_from_class_made_here, "Failed", "Local", "made in a function"),
    (recurse, "Failed", "RecursionError", "maximum recursion depth"),
    (stop_iteration, "Failed", "StopIteration", "5"),
    (leave, "Crashed", "SystemExit", "3"),
    (interrupt, "Crashed", "KeyboardInterrupt", ""),
    (stop_generator, "Crashed", "GeneratorExit", ""),
], ids=lambda value: value.__name__ if callable(value) else None)
def test_odd_exception_of_one_element_is_its_state_and_its_siblings_complete(
    runner: Any, tmp_path: Path, odd: Callable[[], Any], state: str, type_name: str, text: str
) -> None:
    story = run_odd_one(runner, odd, tmp_path / "book")
    [row] = [row for row in story.task_runs if row.map_index == ODD_ONE]
    assert row.state_name == state
    assert row.error_type is not None and row.error_type.endswith(type_name)
    assert text in (row.error_message or "")
    assert odd.__name__ in (row.traceback or ""), "the traceback leads to user code"
    assert row.run_count == 1


@pytest.mark.parametrize("odd", [raise_no_text, raise_no_pickle, raise_two, recurse],
                         ids=lambda odd: odd.__name__)
def test_odd_exception_is_retried_like_any_other(
    runner: Any, tmp_path: Path, odd: Callable[[], Any]
) -> None:
    asked = tmp_path / "asked"

    def condition(_task: Any, run: Any, state: Any) -> bool:
        note(asked, run.run_count)
        return True

    story = run_odd_one(runner, odd, tmp_path / "book", retries=2, retry_condition_fn=condition)
    [row] = [row for row in story.task_runs if row.map_index == ODD_ONE]
    assert (row.state_name, row.run_count) == ("Failed", 3)
    assert ledger(tmp_path / "book")[str(ODD_ONE)] == 3
    assert set(ledger(asked)) == {"1", "2"}


@pytest.mark.parametrize("odd", [leave, interrupt], ids=lambda odd: odd.__name__)
def test_leaving_the_process_is_no_failure_and_uses_no_retry(
    runner: Any, tmp_path: Path, odd: Callable[[], Any]
) -> None:
    story = run_odd_one(runner, odd, tmp_path / "book", retries=3)
    [row] = [row for row in story.task_runs if row.map_index == ODD_ONE]
    assert row.state_name == "Crashed"


@pytest.mark.parametrize("odd, kind, text", [
    (raise_two, NeedsTwo, "code 7: closed"), (raise_keywords, KeywordsOnly, "code 9"),
    (raise_no_text, NoText, None), (recurse, RecursionError, "maximum recursion"),
    (leave, SystemExit, "3"), (interrupt, KeyboardInterrupt, ""),
], ids=lambda value: value.__name__ if callable(value) else None)
def test_result_raises_the_very_exception_wherever_it_was_raised(
    runner: Any, odd: Callable[[], Any], kind: type[BaseException], text: str | None
) -> None:
    single = task(odd)

    @flow(task_runner=runner)
    def asks() -> Any:
        future = single.submit()
        future.wait(20)
        return [future.result(raise_on_failure=False)]

    [error] = asks()
    assert type(error).__name__ == kind.__name__
    if text is not None:
        assert text in str(error)
    if kind is NeedsTwo:
        assert (error.code, error.reason) == (7, "closed")


def test_exception_that_cannot_be_pickled_keeps_text_and_traceback(dask: DaskTaskRunner) -> None:
    class Stubborn(Exception):
        def __init__(self, one: Any, two: Any) -> None:
            self.one, self.two = one, two
            super().__init__("text", threading.Lock())

        def __str__(self) -> str:
            return "my own text"

    @task
    def stubborn() -> None:
        raise Stubborn(1, 2)

    @flow(task_runner=dask)
    def asks() -> Any:
        return [stubborn.submit().result(raise_on_failure=False)]

    [error] = asks()
    assert isinstance(error, RemoteError)
    assert "Stubborn" in str(error) and "my own text" in str(error)
    assert "in stubborn" in "".join(error.__notes__)
    [row] = recorded().task_runs
    assert row.error_type is not None and row.error_type.endswith("Stubborn")
    assert row.error_message == "my own text"
    assert "raise Stubborn(1, 2)" in (row.traceback or "")


@pytest.mark.parametrize("odd", [raise_no_text, raise_not_even_text, raise_no_pickle, recurse],
                         ids=lambda odd: odd.__name__)
def test_odd_exception_of_a_flow_fails_its_run(odd: Callable[[], Any]) -> None:
    state = flow(odd)(return_state=True)
    assert state.is_failed()
    story = recorded()
    assert story.run.state_type == "FAILED"
    assert "Flow run encountered an exception" in (story.run.message or "")
    assert odd.__name__ in (story.run.traceback or "")


def test_odd_exception_of_a_direct_call_is_recorded_and_raised() -> None:
    broken = task(raise_no_text, retries=1)

    @flow
    def calls() -> str:
        with pytest.raises(NoText):
            broken()
        return "through"

    assert calls() == "through"
    [row] = recorded().task_runs
    assert (row.state_name, row.run_count) == ("Failed", 2)


# pickling

@task
def take(x: int, tool: Any = None) -> int:
    return x


def test_unpicklable_argument_fails_its_task_naming_both(dask: DaskTaskRunner) -> None:
    @flow(task_runner=dask)
    def sends() -> Any:
        good = take.submit(1)
        bad = take.submit(2, tool={"deep": [Unpicklable()]})
        mapped = take.map([1, 2, 3], tool=Unpicklable())
        return [good.result(), bad.result(raise_on_failure=False),
                mapped[1].result(raise_on_failure=False)]

    good, bad, mapped = sends()
    assert good == 1
    for error in (bad, mapped):
        assert isinstance(error, UnpicklableArgument)
        assert "'take'" in str(error) and "'tool'" in str(error) and "lock" in str(error)
    story = recorded()
    assert story.counts["take"] == {"Completed": 1, "Failed": 4}
    assert story.run.state_type == "COMPLETED"


def test_unpicklable_item_of_a_map_fails_alone(dask: DaskTaskRunner) -> None:
    items: list[Any] = list(range(N))
    items[ODD_ONE] = Unpicklable()

    @task
    def identify(x: Any) -> str:
        return str(x)

    @flow(task_runner=dask)
    def sends() -> Any:
        found = identify.map(items)
        found.wait(20)
        return [found[ODD_ONE].result(raise_on_failure=False)]

    [error] = sends()
    assert isinstance(error, UnpicklableArgument)
    assert "'identify'" in str(error) and "'x'" in str(error)
    story = recorded()
    assert story.with_state("Failed") == {ODD_ONE}
    assert story.with_state("Completed") == set(range(N)) - {ODD_ONE}


def test_unpicklable_function_fails_naming_the_task(dask: DaskTaskRunner) -> None:
    lock = threading.Lock()

    @task(name="locked")
    def closed_over(x: int) -> Any:
        return (x, lock)

    @flow(task_runner=dask)
    def sends() -> Any:
        ok = take.map(range(5))
        return [closed_over.submit(1).result(raise_on_failure=False), ok.result()]

    error, others = sends()
    assert isinstance(error, UnpicklableTask) and "'locked'" in str(error)
    assert others == list(range(5))
    assert recorded().counts == {"take": {"Completed": 5}, "locked": {"Failed": 1}}


def test_unpicklable_result_fails_its_element_and_what_follows_says_why(
    dask: DaskTaskRunner
) -> None:
    @task
    def make(x: int) -> Any:
        return Unpicklable() if x == ODD_ONE else x

    @task
    def use(x: Any) -> Any:
        return x

    @flow(task_runner=dask)
    def sends() -> Any:
        made = make.map(range(N))
        made.wait(20)
        used = use.map(made)
        used.wait(20)
        return [made[ODD_ONE].result(raise_on_failure=False),
                used[ODD_ONE].result(raise_on_failure=False), used[0].result()]

    error, follows, first = sends()
    assert isinstance(error, UnpicklableResult)
    assert "'make'" in str(error) and "Unpicklable" in str(error)
    assert "make" in str(follows)
    assert first == 0
    story = recorded()
    assert story.counts == {"make": {"Completed": N - 1, "Failed": 1},
                            "use": {"Completed": N - 1, "NotReady": 1}}


def test_result_nested_ten_thousand_deep_fails_its_element_and_nobody_hangs(
    dask: DaskTaskRunner
) -> None:
    @task
    def nest(x: int) -> Any:
        out: list[Any] = []
        for _ in range(10_000 if x == 3 else 1):
            out = [out]
        return out

    @flow(task_runner=dask)
    def sends() -> Any:
        found = nest.map(range(6))
        found.wait(20)
        return [found[3].result(raise_on_failure=False), found[2].result()]

    error, other = sends()
    assert isinstance(error, UnpicklableResult) and "recursion" in str(error)
    assert other == [[]]
    assert recorded().with_state("Failed") == {3}


def test_argument_nested_ten_thousand_deep_fails_naming_it(dask: DaskTaskRunner) -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    @flow(task_runner=dask)
    def sends() -> Any:
        return [take.submit(1, tool=deep).result(raise_on_failure=False)]

    [error] = sends()
    assert isinstance(error, UnpicklableArgument)
    assert "'take'" in str(error) and "'tool'" in str(error)


def test_object_that_breaks_when_unpickled_is_named(dask: DaskTaskRunner) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return functools.partial(_never_made, "no such thing"), ()

    @flow(task_runner=dask)
    def sends() -> Any:
        good = take.map(range(5))
        bad = take.submit(1, tool=Broken())
        bad.wait(20)
        return [bad.result(raise_on_failure=False), good.result()]

    error, others = sends()
    assert "'take'" in str(error) and "no such thing" in str(error)
    assert others == list(range(5))
    assert sum(recorded().counts["take"].get(s, 0) for s in ("Failed", "Crashed")) == 1


def _never_made(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize("what", ["argument", "result", "function"])
def test_unpicklable_things_with_a_process_of_their_own_are_named(what: str) -> None:
    lock = threading.Lock()

    def plain(x: int, tool: Any = None) -> Any:
        return threading.Lock() if what == "result" else x

    def locked(x: int, tool: Any = None) -> Any:
        return lock

    apart = task(locked if what == "function" else plain, isolation="process", name="apart")

    @flow
    def sends() -> Any:
        future = apart.submit(1, tool=lock if what == "argument" else None)
        future.wait(20)
        return [future.result(raise_on_failure=False)]

    [error] = sends()
    kind = {"argument": UnpicklableArgument, "result": UnpicklableResult,
            "function": UnpicklableTask}[what]
    assert isinstance(error, kind), repr(error)
    assert "'apart'" in str(error)
    [row] = recorded().task_runs
    assert row.state_name == "Failed"


@pytest.mark.parametrize("odd, state, type_name", [
    (raise_two, "Failed", "NeedsTwo"), (raise_no_pickle, "Failed", "NoPickle"),
    (raise_no_text, "Failed", "NoText"), (recurse, "Failed", "RecursionError"),
    (leave, "Crashed", ""), (interrupt, "Crashed", ""),
], ids=lambda value: value.__name__ if callable(value) else None)
def test_odd_exception_in_a_process_of_its_own_is_the_same(
    tmp_path: Path, odd: Callable[[], Any], state: str, type_name: str
) -> None:
    story = run_odd_one(ThreadPoolTaskRunner(2), odd, tmp_path / "book", isolation="process")
    [row] = [row for row in story.task_runs if row.map_index == ODD_ONE]
    assert row.state_name == state
    assert (row.error_type or "").endswith(type_name)


@pytest.mark.parametrize("end, how", [("os._exit(9)", "exit code 9"),
                                      ("os.kill(os.getpid(), 11)", "SIGSEGV")])
def test_death_in_a_process_of_its_own_is_told_with_its_way(
    tmp_path: Path, end: str, how: str
) -> None:
    def die() -> None:
        exec(f"import os; {end}")

    story = run_odd_one(ThreadPoolTaskRunner(2), die, tmp_path / "book", isolation="process",
                        retries=5)
    [row] = [row for row in story.task_runs if row.map_index == ODD_ONE]
    assert row.state_name == "Crashed"
    assert row.error_type == f"{WorkerLost.__module__}.{WorkerLost.__name__}"
    assert how in (row.error_message or "") and "'element'" in (row.error_message or "")
    assert ledger(tmp_path / "book")[str(ODD_ONE)] <= 4


# modules

def test_module_missing_on_the_worker_is_named(
    dask: DaskTaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"  # installed here, so by reference; the workers lack it
    site.mkdir()
    (site / "only_in_the_driver.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(site))
    import only_in_the_driver  # type: ignore[import-not-found]

    @task
    def use(x: int) -> int:
        import only_in_the_driver

        return int(only_in_the_driver.double(x))

    by_reference = task(only_in_the_driver.double, name="imported")

    @flow(task_runner=dask)
    def sends() -> Any:
        imported, inside = by_reference.submit(1), use.submit(1)
        return [imported.result(raise_on_failure=False), inside.result(raise_on_failure=False)]

    imported, inside = sends()
    assert isinstance(imported, MissingModule)
    assert "'only_in_the_driver'" in str(imported) and "'imported'" in str(imported)
    assert isinstance(inside, ModuleNotFoundError) and "only_in_the_driver" in str(inside)
    story = recorded()
    assert story.counts == {"imported": {"Crashed": 1}, "use": {"Failed": 1}}


def test_local_module_of_the_flow_reaches_the_workers_by_value(
    dask: DaskTaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local_maths.py").write_text(
        "FACTOR = 3\n\ndef triple(x):\n    return FACTOR * x\n\n"
        "class Pair:\n    def __init__(self, a):\n        self.a = triple(a)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import local_maths  # type: ignore[import-not-found]

    @task
    def use(x: int) -> Any:
        return local_maths.triple(x)

    @task
    def pair(x: int) -> Any:
        return local_maths.Pair(x)

    mapped = task(local_maths.triple)

    @flow(task_runner=dask)
    def sends() -> Any:
        return [use.map(range(20)).result(), mapped.map(range(20)).result(),
                pair.submit(4).result().a]

    triples = [3 * x for x in range(20)]
    assert sends() == [triples, triples, 12]
