"""kill -9 of the driver around the block of a transaction: each execution is ended once.

The ledger tells what was executed, committed and undone, in order, before and after. A task run
that was committed has no part in the second life; one that was left in a block that had not
ended is ended with it, and its hooks find what it set; one that was undone is done again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.test_resume_kinds import Case
from tests.nursery import Nursery
from tests.run_support import recorded

TASKS = """
    from dataflow.transactions import get_transaction, transaction

    def hooked(name, **options):
        def commits(txn):
            done(f"commit {name} {txn.get('value', '-')}")

        def undoes(txn):
            done(f"undo {name} {txn.get('value', '-')}")

        @task(name=name, on_commit=[commits], on_rollback=[undoes], **options)
        def work(x):
            done(f"run {name} {x}")
            if get_transaction() is not None:
                get_transaction().set("value", x)
            if x == "fail":
                raise ValueError(x)
            return x

        return work

    one, two, three = (hooked(name, **OPTIONS) for name in ("one", "two", "three"))

    def committed(least):
        store = open_store()
        try:
            return sum(call.committed for run in store.flow_runs(limit=None)
                       for call in store.calls(run.id)) >= least
        finally:
            store.close()

    def undone(least):
        store = open_store()
        try:
            return len(store.task_runs(state="RolledBack")) >= least
        finally:
            store.close()

    def until(true):
        if first():
            wait_until(true, "what the transaction did is recorded", 5)
"""


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture(params=["threads", "inline"])
def case(nursery: Nursery, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(nursery, tmp_path, request.param)


def lines(case: Case) -> list[str]:
    return Path(case.book).read_text().split("\n")[:-1]


@pytest.fixture(params=[True, False], ids=["kept", "not kept"])
def kept(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def lives(case: Case, kept: bool, text: str, how: str = "resume") -> tuple[list[str], list[str]]:
    """Return what was done before the death and after it, the end of the flow last."""
    case.died_then(f"""
    OPTIONS = dict(persist_result={kept})
{TASKS}
    @flow(task_runner=RUNNER)
    def main():
{text}
        return "end"
    """, how)
    count = sum(case.before.values())
    return lines(case)[:count], lines(case)[count:]


def test_what_was_left_in_a_block_is_committed_with_it(case: Case) -> None:
    before, after = lives(case, True, """
        with transaction():
            one(1)
            two.submit(2).wait()
            two.map([3, 4]).wait()
            die(4)
            one(5)
    """)
    assert sorted(before) == ["run one 1", "run two 2", "run two 3", "run two 4"]
    assert after == ["run one 5", "commit one 1", "commit two -", "commit two -", "commit two -",
                     "commit one 5"]


def test_what_was_left_in_a_block_is_undone_with_it(case: Case) -> None:
    before, after = lives(case, True, """
        try:
            with transaction():
                one(1)
                two.submit(2).wait()
                die(2)
                three("fail")
        except ValueError:
            done("caught")
    """)
    assert before == ["run one 1", "run two 2"]
    assert after == ["run three fail", "undo two -", "undo one 1", "caught"]
    assert recorded().counts == {
        "one": {"RolledBack": 1}, "two": {"RolledBack": 1}, "three": {"Failed": 1}}


def test_what_was_committed_has_no_part_in_the_block_any_more(case: Case) -> None:
    before, after = lives(case, True, """
        with transaction():
            one(1)
            two.submit(2).wait()
            two.map([3, 4]).wait()
        until(lambda: committed(3))
        die(4)
        with transaction():
            one(5)
    """)
    assert before[-4:] == ["commit one 1", "commit two -", "commit two -", "commit two -"]
    assert after == ["run one 5", "commit one 5"]


def test_what_was_committed_stays_where_the_block_fails_in_the_second_life(case: Case) -> None:
    _, after = lives(case, True, """
        try:
            with transaction(commit_mode="EAGER"):
                one(1)
                until(lambda: committed(1))
                two.submit(2).wait()
                die(2)
                three("fail")
        except ValueError:
            done("caught")
    """)
    assert after == ["run three fail", "commit two -", "caught"]


@pytest.mark.parametrize("left", ["committed", "undone"])
def test_what_is_executed_again_for_its_value_takes_part_again(case: Case, left: str) -> None:
    third = repr("fail" if left == "undone" else 3)
    _, after = lives(case, False, f"""
        try:
            with transaction():
                found = one(1), two.submit(2).result()
                die(2)
                three({third})
        except ValueError:
            done("caught")
        """)
    end = "commit" if left == "committed" else "undo"
    ends = [f"{end} one 1", f"{end} two -"]
    if left == "committed":
        assert after == ["run one 1", "run two 2", "run three 3", *ends, "commit three 3"]
    else:
        assert after == ["run one 1", "run two 2", "run three fail", *ends[::-1], "caught"]


def test_what_is_executed_again_after_its_commit_is_committed_again(case: Case) -> None:
    _, after = lives(case, False, """
        with transaction():
            one(1), two.submit(2).result()
        until(lambda: committed(2))
        die(2)
    """)
    assert after == ["run one 1", "run two 2", "commit one 1", "commit two -"]


def test_task_runs_without_a_block_are_committed_once(case: Case) -> None:
    before, after = lives(case, True, """
        one(1)
        two.submit(2).wait()
        three.map([3, 4]).wait()
        until(lambda: committed(1))
        die(4)
        one(5)
    """)
    assert sum(line.startswith("commit") for line in before) == 4
    assert after == ["run one 5", "commit one 5"]


@pytest.mark.parametrize("how", ["resume", "retry"])
def test_what_was_undone_before_the_death_is_done_again(case: Case, kept: bool, how: str) -> None:
    before, after = lives(case, kept, """
        try:
            with transaction():
                one(1)
                two.map([2, 3]).wait()
                if first():
                    raise ValueError
        except ValueError:
            done("caught")
        until(lambda: undone(3))
        die()
    """, how)
    assert before[-4:] == ["undo two -", "undo two -", "undo one 1", "caught"]
    assert sorted(after[:3]) == ["run one 1", "run two 2", "run two 3"]
    assert after[3:] == ["commit one 1", "commit two -", "commit two -"]
