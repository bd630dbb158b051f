"""Transactions: what commits, what is rolled back, in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.parity.face import (
    CommitMode,
    IsolationLevel,
    LocalFileSystem,
    ResultStore,
    atransaction,
    flow,
    get_transaction,
    task,
    transaction,
)
from tests.acceptance.parity.support import note, notes


def told(ledger: str, name: str) -> Any:
    """Return a hook that notes a name."""
    def hook(txn: Any) -> None:
        note(ledger, name)

    return hook


def noted(ledger: str, name: str, **options: Any) -> Any:
    """Return a task with a hook of each kind; it fails where it is asked to."""
    @task(name=name, **options)
    def does(fails: bool = False) -> str:
        note(ledger, name)
        if fails:
            raise ValueError(name)
        return name

    does.on_commit(told(ledger, f"commit-{name}"))
    does.on_rollback(told(ledger, f"rb-{name}"))
    return does


def store_in(folder: Path) -> Any:
    """Return a store of results in a folder."""
    return ResultStore(result_storage=LocalFileSystem(basepath=str(folder)))


def state_of(runner: Any, body: Any, **options: Any) -> Any:
    """Run a function as a flow and return its state."""
    return flow(task_runner=runner, **options)(body)(return_state=True)


def test_hooks_of_a_commit_are_called_at_the_end_of_the_block(runner: Any, ledger: str) -> None:
    a, b = noted(ledger, "a"), noted(ledger, "b")

    def body() -> int:
        with transaction():
            a()
            b()
            note(ledger, "end")
        return 1

    assert state_of(runner, body).is_completed()
    assert notes(ledger) == ["a", "b", "end", "commit-a", "commit-b"]


def test_a_failure_rolls_back_from_the_last_to_the_first(runner: Any, ledger: str) -> None:
    a, b, c = (noted(ledger, name) for name in "abc")

    def body() -> None:
        with transaction():
            a()
            b()
            c(fails=True)

    assert state_of(runner, body).is_failed()
    assert notes(ledger) == ["a", "b", "c", "rb-b", "rb-a"]


def test_an_error_of_the_block_itself_rolls_back(runner: Any, ledger: str) -> None:
    a = noted(ledger, "a")

    def body() -> None:
        with transaction():
            a()
            raise ValueError("of the block")

    assert state_of(runner, body).is_failed()
    assert notes(ledger) == ["a", "rb-a"]


def test_a_task_run_without_a_block_commits_at_its_end(runner: Any, ledger: str) -> None:
    a = noted(ledger, "a")

    def body() -> int:
        a()
        a.submit().wait()
        a(fails=True, return_state=True)
        return 1

    state_of(runner, body)
    assert notes(ledger) == ["a", "commit-a", "a", "commit-a", "a"]


@pytest.mark.differs("@task does not take them, Task and with_options do")
def test_hooks_can_be_given_to_the_decorator(local: Any, ledger: str) -> None:
    @task(on_commit=[told(ledger, "commit")], on_rollback=[told(ledger, "rb")])
    def a() -> None:
        pass

    def body() -> None:
        with transaction():
            a()
        with transaction():
            a()
            raise ValueError

    state_of(local, body)
    assert notes(ledger) == ["commit", "rb"]


def test_values_are_handed_to_hooks_and_inner_blocks(runner: Any, ledger: str) -> None:
    @task
    def writes() -> None:
        get_transaction().set("own", 1)

    @writes.on_rollback
    def undo(txn: Any) -> None:
        note(ledger, (txn.get("path"), txn.get("own")))

    def body() -> None:
        with transaction() as txn:
            txn.set("path", "here")
            with transaction() as inner:
                assert inner.get("path") == "here"
                assert inner.get("none", None) is None
                with pytest.raises(ValueError):
                    inner.get("none")
            writes()
            raise ValueError

    assert state_of(runner, body).is_failed()
    assert notes(ledger) == ["('here', 1)"]


def test_what_is_set_is_copied(runner: Any) -> None:
    def body() -> Any:
        with transaction() as txn:
            txn.set("paths", ["a"])
            with transaction() as inner:
                inner.get("paths").append("b")
            return {"found": txn.get("paths")}

    assert state_of(runner, body).result() == {"found": ["a"]}


def test_an_inner_block_commits_with_the_one_around(runner: Any, ledger: str) -> None:
    a, b = noted(ledger, "a"), noted(ledger, "b")

    def body() -> int:
        with transaction():
            with transaction():
                a()
            b()
            note(ledger, "end")
        return 1

    state_of(runner, body)
    assert notes(ledger) == ["a", "b", "end", "commit-a", "commit-b"]


def test_an_eager_block_commits_each_at_once(runner: Any, ledger: str) -> None:
    a, b = noted(ledger, "a"), noted(ledger, "b")

    def body() -> int:
        with transaction(commit_mode=CommitMode.EAGER):
            a()
            b()
            note(ledger, "end")
        return 1

    state_of(runner, body)
    assert notes(ledger) == ["a", "commit-a", "b", "commit-b", "end"]


def test_what_an_eager_block_committed_stays(runner: Any, ledger: str) -> None:
    a, b = noted(ledger, "a"), noted(ledger, "b")

    def body() -> None:
        with transaction(commit_mode=CommitMode.EAGER):
            a()
            b(fails=True)

    state_of(runner, body)
    assert notes(ledger) == ["a", "commit-a", "b"]


def test_a_block_that_is_off_is_rolled_back_unless_somebody_commits(
    runner: Any, ledger: str
) -> None:
    a = noted(ledger, "a")

    def body() -> int:
        with transaction(commit_mode=CommitMode.OFF):
            a()
        return 1

    state_of(runner, body)
    assert notes(ledger) == ["a", "rb-a"]


def test_a_failing_hook_of_a_commit_rolls_its_task_run_back(runner: Any, ledger: str) -> None:
    def fails(txn: Any) -> None:
        raise ValueError("hook")

    a = noted(ledger, "a")
    a.on_commit(fails)

    def body() -> int:
        with transaction():
            a()
        return 1

    assert state_of(runner, body).is_completed()
    assert notes(ledger)[-1] == "rb-a"


def test_a_key_commits_once(runner: Any, tmp_path: Path, ledger: str) -> None:
    def body() -> Any:
        found = []
        for _ in range(2):
            with transaction(key="day-1", store=store_in(tmp_path)) as txn:
                found.append(txn.is_committed())
                if not txn.is_committed():
                    note(ledger, "ran")
                    txn.stage({"rows": 3})
        return {"found": found}

    assert state_of(runner, body).result() == {"found": [False, True]}
    assert notes(ledger) == ["ran"]


def test_overwriting_does_not_look_for_a_record(runner: Any, tmp_path: Path) -> None:
    def body() -> Any:
        found = []
        for _ in range(2):
            with transaction(key="k", store=store_in(tmp_path),
                             overwrite=True) as txn:
                found.append(txn.is_committed())
                txn.stage(1)
        return {"found": found}

    assert state_of(runner, body).result() == {"found": [False, False]}


@pytest.mark.differs("needs a lock manager")
def test_serializable_needs_nothing_else(runner: Any, tmp_path: Path) -> None:
    def body() -> Any:
        with transaction(key="k", store=store_in(tmp_path),
                         isolation_level=IsolationLevel.SERIALIZABLE) as txn:
            txn.stage(1)
        return {"found": txn.is_committed()}

    assert state_of(runner, body).result() == {"found": True}


def test_async_blocks_commit_and_roll_back(runner: Any, ledger: str) -> None:
    @task
    async def a() -> None:
        note(ledger, "a")

    @a.on_rollback
    async def undo(txn: Any) -> None:
        note(ledger, "rb")

    a.on_commit(told(ledger, "commit"))

    @flow(task_runner=runner)
    async def run() -> None:
        async with atransaction():
            await a()
        async with atransaction():
            await a()
            raise ValueError

    assert asyncio.run(run(return_state=True)).is_failed()
    assert notes(ledger) == ["a", "commit", "a", "rb"]


@pytest.mark.differs("each attempt that fails rolls the block back")
def test_only_the_last_attempt_rolls_back(runner: Any, ledger: str) -> None:
    a = noted(ledger, "a")

    @task(retries=1)
    def fails_once() -> None:
        if note(ledger, "try") == 2:
            raise ValueError

    def body() -> int:
        with transaction():
            a()
            fails_once()
        return 1

    state_of(runner, body)
    assert notes(ledger) == ["a", "try", "try", "commit-a"]


@pytest.mark.differs("the block does not wait for it, and on Dask does not know of it",
                     sometimes=True)
def test_what_is_submitted_takes_part_in_the_block(runner: Any, ledger: str) -> None:
    a, b = noted(ledger, "a"), noted(ledger, "b")

    def body() -> None:
        with transaction():
            a.submit()
            b.map([False])
            raise ValueError

    assert state_of(runner, body).is_failed()
    assert notes(ledger)[2:] == ["rb-b", "rb-a"]


def test_what_was_undone_is_executed_again(runner: Any, tmp_path: Path, ledger: str) -> None:
    a = noted(ledger, "a", persist_result=True, result_storage=tmp_path / "results")

    def body() -> Any:
        try:
            with transaction(commit_mode=CommitMode.LAZY):
                a()
                raise ValueError
        except ValueError:
            pass
        with transaction():
            return {"found": a(return_state=True).name}

    assert state_of(runner, body).result() == {"found": "Completed"}
    assert notes(ledger) == ["a", "rb-a", "a", "commit-a"]
