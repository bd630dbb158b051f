"""Transactions of runs that go on: what was undone is done again, and each end comes once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from dataflow.transactions import transaction
from tests.ledger import Broken, Ledger
from tests.runner_support import Play, Records


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


@pytest.fixture(params=[True, False], ids=["kept", "not kept"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return options of tasks whose results are kept, and of tasks whose are not."""
    kept = {"persist_result": True, "result_storage": f"{tmp_path}/results"}
    return kept if request.param else {}


def resume(run: Any) -> Any:
    return run.resume("last")


def retry(run: Any) -> Any:
    return run.retry("last")


VERBS = [resume, retry]


def breaks_once(ledger: Ledger) -> Callable[[], None]:
    """Return what raises when it is called for the first time."""
    def check() -> None:
        if "broke" not in ledger.lines:
            ledger.add("broke")
            raise Broken

    return check


def states(task_name: str) -> list[str]:
    return Records().states(task_name)


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_rolled_back_is_done_again_and_committed(
    play: Play, ledger: Ledger, options: dict[str, Any], verb: Callable[[Any], Any]
) -> None:
    names = "abc"
    a, b, c = (ledger.task(name, **options) for name in names)
    check = breaks_once(ledger)

    @flow(task_runner=play.runner)
    def run() -> int:
        with transaction():
            a(1)
            b.submit(2).wait()
            c.map([3, 4]).wait()
            check()
        return 1

    done = ["run a", "run b", "run c", "run c"]
    assert run(return_state=True).is_failed()
    assert ledger.lines == [*done, "broke", "undo c", "undo c", "undo b", "undo a"]
    records = Records()
    records.check()
    assert [row.state_type for row in records.rows] == ["COMPLETED"] * 4
    assert [row.state_name for row in records.rows] == ["RolledBack"] * 4
    before = len(ledger.lines)
    assert verb(run) == 1
    assert ledger.lines[before:] == [
        *done, "commit a", "commit b", "commit c", "commit c"]
    Records().check()
    assert [states(name) for name in names] == [
        ["Completed"], ["Completed"], ["Completed"] * 2]


def test_a_rollback_that_was_done_is_done_again_only_for_what_is_done_again(
    play: Play, ledger: Ledger, options: dict[str, Any]
) -> None:
    a, b, bad = (ledger.task(name, **options) for name in ("a", "b", "bad"))
    check = breaks_once(ledger)

    @flow(task_runner=play.runner)
    def run() -> int:
        with pytest.raises(Broken), transaction():
            a(1)
            b.submit(2).wait()
            bad("fail")
        check()
        return 1

    assert run(return_state=True).is_failed()
    assert run.resume("last") == 1
    for name in "ab":
        assert ledger.lines.count(f"undo {name}") == ledger.lines.count(f"run {name}") == 2
        assert states(name) == ["RolledBack"]
    assert not any(line.startswith("commit") for line in ledger.lines)


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_flow_did_in_the_block_of_another_is_done_again(
    play: Play, ledger: Ledger, options: dict[str, Any], verb: Callable[[Any], Any]
) -> None:
    a, b = ledger.task("a", **options), ledger.task("b", **options)
    check = breaks_once(ledger)

    @flow
    def inner() -> None:
        a(1)
        b.map([2, 3]).wait()

    @flow(task_runner=play.runner)
    def run() -> int:
        with transaction():
            inner()
            check()
        return 1

    assert run(return_state=True).is_failed()
    child = Records()  # the newest run
    child.check()
    assert [row.state_name for row in child.rows] == ["RolledBack"] * 3
    before = len(ledger.lines)
    assert verb(run) == 1
    assert ledger.lines[before:] == ["run a", "run b", "run b", "commit a", "commit b", "commit b"]


@pytest.mark.parametrize("verb", VERBS)
def test_what_another_run_did_is_still_there_for_a_resumed_one(
    play: Play, ledger: Ledger, tmp_path: Path, verb: Callable[[Any], Any]
) -> None:
    a = ledger.task("a", cache_policy=INPUTS, result_storage=tmp_path / "results")
    check = breaks_once(ledger)

    @flow(task_runner=play.runner)
    def run() -> int:
        with transaction():
            a(1)
            a.submit(1).wait()
            check()
        return 1

    flow(task_runner=play.runner)(lambda: a(1))()
    assert run(return_state=True).is_failed()
    assert states("a") == ["Cached", "Cached"]
    assert verb(run) == 1
    assert ledger.lines == ["run a", "commit a", "broke"]


def test_a_run_whose_commit_failed_runs_again(
    play: Play, ledger: Ledger, options: dict[str, Any]
) -> None:
    check, ends = breaks_once(ledger), breaks_once(Ledger(Path(ledger.path).parent / "flow"))

    def commits(txn: Any) -> None:
        check()
        ledger.add("commit")

    @task(on_commit=[commits], on_rollback=[ledger.hook("undo")], **options)
    def works() -> None:
        ledger.add("run")

    @flow(task_runner=play.runner)
    def run() -> int:
        works.submit().wait()
        ends()
        return 1

    assert run(return_state=True).is_failed()
    Records().check()
    assert states("works") == ["RolledBack"]
    assert run.resume("last") == 1
    assert ledger.lines == ["run", "broke", "undo", "run", "commit"]
    assert states("works") == ["Completed"]


@pytest.mark.parametrize("verb", VERBS)
def test_calls_of_a_task_run_that_was_rolled_back_are_made_again_with_it(
    play: Play, ledger: Ledger, options: dict[str, Any], verb: Callable[[Any], Any]
) -> None:
    inner, other = ledger.task("inner", **options), ledger.task("other", **options)
    check = breaks_once(ledger)

    @task(on_rollback=[ledger.hook("undo outer")], **options)
    def outer() -> None:
        ledger.add("run outer")
        inner()
        other.submit().wait()

    @flow(task_runner=play.runner)
    def run() -> int:
        with transaction():
            outer()
            check()
        return 1

    assert run(return_state=True).is_failed()
    assert ledger.lines[-3:] == ["undo outer", "undo other", "undo inner"]
    before = len(ledger.lines)
    assert verb(run) == 1
    assert ledger.lines[before:] == [
        "run outer", "run inner", "run other", "commit inner", "commit other"]
