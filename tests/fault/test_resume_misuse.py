"""What a resume refuses or says: the wrong run, lost parameters, another list, other code."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from dataflow.exceptions import ResumeError, RunNotFound
from dataflow.stores import open_store
from tests.run_support import ledger, note, recorded


class Breaks(Exception):
    """What a flow function raises the first time."""


def flow_of(book: Path, body: Any, name: str = "main", **options: Any) -> Any:
    return flow(name=name, task_runner="inline", **options)(body)


def counted(book: Path, persist: bool = True) -> Any:
    @task(persist_result=persist, name="step")
    def step(x: Any) -> Any:
        note(book, f"step {x}")
        return x

    return step


def runs() -> list[Any]:
    store = open_store()
    try:
        return store.flow_runs(limit=None)
    finally:
        store.close()


def failing_once(book: Path, **options: Any) -> Any:
    step = counted(book)

    @flow(name="main", task_runner="inline", **options)
    def main(xs: list[int]) -> int:
        total = sum(step.map(xs).result())
        if not Path(f"{book}.failed").exists():
            Path(f"{book}.failed").touch()
            raise Breaks("the first time")
        return total

    return main


def test_a_completed_run_is_not_resumed_and_nothing_changes(tmp_path: Path) -> None:
    main = flow_of(tmp_path, lambda: 5)
    main()
    before = runs()
    with pytest.raises(ResumeError, match="COMPLETED"):
        main.resume("last")
    assert runs() == before


def test_a_run_of_another_flow_or_of_no_flow_is_refused(tmp_path: Path) -> None:
    main = failing_once(tmp_path / "book")
    other = flow_of(tmp_path, lambda: 6, "other")
    with pytest.raises(RunNotFound, match="'main'"):
        main.resume("last")
    other()
    with pytest.raises(RunNotFound):
        main.resume("last")
    with pytest.raises(ResumeError, match="of flow 'other', not of 'main'"):
        main.resume(runs()[0].id)
    with pytest.raises(RunNotFound):
        main.resume("0123456789")
    assert [row.state_type for row in runs()] == ["COMPLETED"]


def test_a_subflows_run_is_resumed_by_the_run_around_it(tmp_path: Path) -> None:
    child = failing_once(tmp_path / "book")
    around = flow_of(tmp_path, lambda: child([1, 2]), "around")
    with pytest.raises(Breaks):
        around()
    (row,) = [row for row in runs() if row.flow_name == "main"]
    with pytest.raises(ResumeError, match=str(row.parent_flow_run_id)):
        child.resume(row.id)
    assert around.resume() == 3
    assert ledger(tmp_path / "book") == {"step 1": 1, "step 2": 1}


class Unpicklable:
    """A parameter that cannot be kept."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not me")


def test_parameters_that_could_not_be_kept_have_to_be_passed(tmp_path: Path) -> None:
    step, book = counted(tmp_path / "book"), tmp_path / "book"

    @flow(name="main", task_runner="inline", validate_parameters=False)
    def main(x: int, how: Any) -> int:
        got: int = step(x)
        if not Path(f"{book}.failed").exists():
            Path(f"{book}.failed").touch()
            raise Breaks
        return got

    with pytest.raises(Breaks):
        main(4, Unpicklable())
    before = runs()
    with pytest.raises(ResumeError, match="parameters="):
        main.resume()
    (row,) = runs()
    assert (row.state_type, row.owner, row.resumed) == (before[0].state_type, None, 0)
    assert main.resume(parameters={"x": 4, "how": Unpicklable()}) == 4
    assert ledger(book) == {"step 4": 1}


def test_parameters_are_those_that_the_run_was_started_with(tmp_path: Path) -> None:
    main = failing_once(tmp_path / "book")
    given = [1, 2, 3]
    with pytest.raises(Breaks):
        main(given)
    given.append(100)
    assert main.resume() == 6


def test_a_list_of_another_length_or_content_runs_anew_and_it_is_said(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for parameters, total in (([1, 2, 3, 4], 10), ([7, 8, 9], 24)):
        book = tmp_path / f"book{total}"
        main = failing_once(book)
        with pytest.raises(Breaks):
            main([1, 2, 3])
        with caplog.at_level(logging.WARNING):
            assert main.resume(parameters={"xs": parameters}) == total
        assert "A call of task 'step' is not the one that was recorded" in caplog.text
        caplog.clear()
        assert sum(ledger(book).values()) <= 3 + len(parameters)
        assert set(ledger(book)) == {f"step {x}" for x in {1, 2, 3, *parameters}}


def test_an_edited_task_keeps_what_is_recorded_and_it_is_said(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = tmp_path / "book"

    def flow_with(step: Any) -> Any:
        @flow(name="main", task_runner="inline")
        def main() -> list[int]:
            got = step.map([1, 2]).result()
            if not Path(f"{book}.failed").exists():
                Path(f"{book}.failed").touch()
                raise Breaks
            return [*got, step.submit(3).result()]

        return main

    @task(persist_result=True)
    def step(x: int) -> int:
        note(book, f"old {x}")
        return x

    old = step

    @task(persist_result=True)  # type: ignore[no-redef]
    def step(x: int) -> int:
        note(book, f"new {x}")
        return 100 * x

    with pytest.raises(Breaks):
        flow_with(old)()
    with caplog.at_level(logging.WARNING):
        assert flow_with(step).resume() == [1, 2, 300]
    assert caplog.text.count("The code of task 'step' has changed since the run began") == 1
    assert ledger(book) == {"old 1": 1, "old 2": 1, "new 3": 1}
    assert len(recorded().task_runs) == 3


def test_a_retry_of_a_completed_run_runs_its_failures_alone(tmp_path: Path) -> None:
    book = tmp_path / "book"

    @task(persist_result=True)
    def step(x: int) -> int:
        note(book, f"step {x}")
        if x == 2 and not Path(f"{book}.good").exists():
            raise ValueError("no 2")
        return x

    @flow(name="main", task_runner="inline")
    def main() -> int:
        return sum(f.result(raise_on_failure=False) for f in step.map([1, 2, 3])
                   if f.state.is_completed())

    assert main() == 4
    with pytest.raises(ResumeError):
        main.resume()
    Path(f"{book}.good").touch()
    assert main.retry() == 6
    assert ledger(book) == {"step 1": 1, "step 2": 2, "step 3": 1}
    story = recorded()
    assert story.counts == {"step": {"Completed": 3}}
    assert {row.state_name for row in story.task_runs} == {"Completed"}
    assert main.retry() == 6
    assert sum(ledger(book).values()) == 4


def test_a_flow_function_that_makes_fewer_calls_now_leaves_the_others_recorded(
        tmp_path: Path) -> None:
    book, step = tmp_path / "book", counted(tmp_path / "book")

    @flow(name="main", task_runner="inline")
    def main() -> int:
        calls = 1 if Path(f"{book}.failed").exists() else 3
        got = [step(x) for x in range(calls)]
        if calls == 3:
            Path(f"{book}.failed").touch()
            raise Breaks
        return len(got)

    with pytest.raises(Breaks):
        main()
    assert main.resume() == 1
    assert len(recorded().task_runs) == 3
    assert sum(ledger(book).values()) == 3
