"""Transactions over a store in memory: what is called in which order, and what is kept."""

import asyncio
import logging
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataflow.exceptions import DefinitionTypeError
from dataflow.storages import open_storage
from dataflow.task_transactions import task_completed, task_failed, task_submitted
from dataflow.transaction_state import Ended
from dataflow.transaction_store import ResultRecordStore, TransactionRecord, store_of
from dataflow.transactions import (
    AsyncTransaction,
    BaseTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    atransaction,
    get_transaction,
    transaction,
)


class Store:
    """Records in memory, and what was asked of it."""

    def __init__(self, **records):
        self.records = records
        self.asked = []
        self.fails = None

    def exists(self, key):
        self.asked.append(f"exists {key}")
        return key in self.records

    def read(self, key):
        return TransactionRecord(key, self.records[key]) if key in self.records else None

    def write(self, key, value):
        self.asked.append(f"write {key}")
        if self.fails:
            raise self.fails
        self.records[key] = value

    def acquire_lock(self, key, holder):
        self.asked.append(f"lock {key}")
        return True

    def release_lock(self, key, holder):
        self.asked.append(f"unlock {key}")


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def called():
    return []


@pytest.fixture
def hook(called):
    def named(name, error=None):
        def hook(txn):
            called.append(name)
            if error is not None:
                raise error

        hook.__name__ = name
        return hook

    return named


def staged(hook, name, **options):
    """Open a transaction inside of the one around, with a hook of either kind."""
    with transaction(**options) as txn:
        txn.stage(name, [hook(f"undo {name}")], [hook(f"commit {name}")])
    return txn


class Broken(Exception):
    pass


# ---- one transaction


def test_there_is_a_transaction_within_its_block_alone():
    assert get_transaction() is None
    with transaction() as txn:
        assert get_transaction() is txn is Transaction.get_active()
        with transaction() as inner:
            assert get_transaction() is inner
            assert inner.get_parent() is txn
        assert get_transaction() is txn
    assert get_transaction() is None


def test_the_end_of_the_block_commits(store):
    with transaction(key="a", store=store) as txn:
        assert txn.is_active()
        txn.stage(1)
        assert txn.is_staged()
        assert store.records == {}
    assert txn.is_committed()
    assert store.records == {"a": 1}
    assert txn.read() == TransactionRecord("a", 1)
    assert store.asked == ["exists a", "write a"]


def test_an_error_in_the_block_rolls_back_and_goes_on(store, hook, called):
    with pytest.raises(Broken):
        with transaction(key="a", store=store) as txn:
            txn.stage(1, [hook("one"), hook("two")], [hook("never")])
            raise Broken
    assert txn.is_rolled_back()
    assert (store.records, called) == ({}, ["two", "one"])
    assert get_transaction() is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_block_that_is_stopped_is_rolled_back(hook, called, kind):
    with pytest.raises(kind):
        with transaction() as txn:
            txn.stage(1, [hook("undo")])
            raise kind
    assert called == ["undo"]


def test_a_record_that_is_there_commits_from_the_start(hook, called):
    store = Store(a=1)
    with transaction(key="a", store=store) as txn:
        assert txn.is_committed()
        assert txn.read().result == 1
        txn.stage(2, [hook("undo")], [hook("commit")])
    assert (store.records, called) == ({"a": 1}, [])


def test_a_record_that_is_there_stays_where_the_block_fails(hook, called):
    store = Store(a=1)
    with pytest.raises(Broken):
        with transaction(key="a", store=store) as txn:
            staged(hook, "inner")
            raise Broken
    assert txn.is_committed()
    assert (store.records, called) == ({"a": 1}, ["undo inner"])


def test_overwrite_does_not_look_for_a_record():
    store = Store(a=1)
    with transaction(key="a", store=store, overwrite=True) as txn:
        assert not txn.is_committed()
        txn.stage(2)
    assert (store.records, store.asked) == ({"a": 2}, ["write a"])


def test_nothing_is_written_where_it_is_not_to_be(store):
    with transaction(key="a", store=store, write_on_commit=False) as txn:
        txn.stage(1)
    assert txn.is_committed()
    assert store.records == {}


def test_hooks_of_a_commit_come_in_order_before_the_record(store, called, hook):
    with transaction(key="a", store=store) as txn:
        txn.stage(1, None, [hook("one"), lambda txn: called.append(dict(store.records))])
        txn.stage(2, None, [hook("three")])
    assert (called, store.records) == (["one", {}, "three"], {"a": 2})


def test_a_hook_is_given_its_transaction():
    seen = []
    with transaction() as txn:
        txn.set("path", "here")
        txn.stage(1, None, [lambda found: seen.append((found, found.get("path")))])
    assert seen == [(txn, "here")]


def test_a_failing_hook_of_a_commit_rolls_back_and_is_logged(store, hook, called, caplog):
    with caplog.at_level(logging.ERROR):
        with transaction(key="a", store=store) as txn:
            txn.stage(1, [hook("undo")], [hook("commit", Broken("no")), hook("never")])
    assert txn.is_rolled_back()
    assert (store.records, called) == ({}, ["commit", "undo"])
    assert "An error was encountered while committing transaction <Transaction 'a'" in caplog.text
    assert "Broken: no" in caplog.text


def test_a_record_that_cannot_be_written_rolls_back(store, hook, called, caplog):
    store.fails = OSError("disk full")
    with transaction(key="a", store=store) as txn:
        txn.stage(1, [hook("undo")])
    assert (txn.is_rolled_back(), called) == (True, ["undo"])
    assert "disk full" in caplog.text


def test_a_failing_hook_of_a_rollback_is_logged_and_the_others_are_called(hook, called, caplog):
    with pytest.raises(Broken, match="of the block"):
        with transaction() as txn:
            txn.stage(1, [hook("one"), hook("two", Broken("in a hook"))])
            raise Broken("of the block")
    assert (called, txn.state) == (["two", "one"], TransactionState.ROLLED_BACK)
    assert "in a hook" in caplog.text


def test_an_async_hook_is_run_to_its_end(called):
    async def hook(txn):
        await asyncio.sleep(0)
        called.append("commit")

    with transaction() as txn:
        txn.stage(1, None, [hook])
    assert called == ["commit"]


def test_commit_and_rollback_may_be_asked_for_within_the_block(store, hook, called):
    with transaction(key="a", store=store) as txn:
        txn.stage(1, [hook("undo")], [hook("commit")])
        assert txn.commit()
        assert not txn.commit()
        assert not txn.rollback()
    with transaction(key="b", store=store) as txn:
        txn.stage(1, [hook("undo b")], [hook("commit b")])
        assert txn.rollback()
        assert not txn.rollback()
        assert not txn.commit()
    assert (store.records, called) == ({"a": 1}, ["commit", "undo b"])


def test_a_hook_that_asks_again_changes_nothing(called):
    with transaction() as txn:
        txn.stage(1, [], [lambda txn: called.append((txn.commit(), txn.rollback()))])
    assert (called, txn.state) == ([(False, False)], "COMMITTED")


def test_a_transaction_is_entered_once():
    txn = Transaction()
    with txn:
        with pytest.raises(RuntimeError, match="entered already"):
            txn.__enter__()
    with pytest.raises(RuntimeError, match="not entered"):
        txn.leave()


# ---- modes


def test_a_root_that_is_off_is_rolled_back_unless_somebody_commits(hook, called):
    staged(hook, "a", commit_mode=CommitMode.OFF)
    with transaction(commit_mode="OFF") as txn:
        txn.stage(1, [hook("undo b")], [hook("commit b")])
        txn.commit()
    assert called == ["undo a", "commit b"]


def test_lazy_children_commit_with_the_root_in_order(hook, called):
    with transaction() as txn:
        first = staged(hook, "a")
        staged(hook, "b")
        txn.stage(1, None, [hook("commit root")])
        assert (called, first.commit_mode, first.is_staged()) == ([], "LAZY", True)
    assert called == ["commit a", "commit b", "commit root"]
    assert first.is_committed()


def test_children_are_rolled_back_from_the_last_to_the_first(hook, called):
    with pytest.raises(Broken):
        with transaction() as txn:
            staged(hook, "a")
            staged(hook, "b")
            txn.stage(1, [hook("undo root")])
            raise Broken
    assert called == ["undo root", "undo b", "undo a"]


def test_eager_children_commit_at_once_and_stay(hook, called):
    with pytest.raises(Broken):
        with transaction(commit_mode=CommitMode.EAGER):
            staged(hook, "a")
            assert called == ["commit a"]
            staged(hook, "b", commit_mode=CommitMode.LAZY)
            raise Broken
    assert called == ["commit a", "undo b"]


def test_a_child_that_is_rolled_back_takes_its_parent_along(hook, called):
    with transaction() as txn:
        staged(hook, "a")
        with pytest.raises(Broken):
            with transaction():
                raise Broken
        assert txn.is_rolled_back()
        assert called == ["undo a"]
        staged(hook, "b")
    assert called == ["undo a", "undo b"]


def test_levels_are_taken_over_from_the_transaction_around(store):
    with transaction(isolation_level=IsolationLevel.SERIALIZABLE, commit_mode="EAGER"):
        with transaction(key="a", store=store) as inner:
            assert (inner.isolation_level, inner.commit_mode) == ("SERIALIZABLE", "EAGER")
        with transaction(isolation_level="READ_COMMITTED", commit_mode="LAZY") as inner:
            assert (inner.isolation_level, inner.commit_mode) == ("READ_COMMITTED", "LAZY")
    assert store.asked == ["lock a", "exists a", "write a", "unlock a"]


@pytest.mark.parametrize("option", ["commit_mode", "isolation_level"])
def test_a_mode_that_does_not_exist_is_refused(option):
    with pytest.raises(DefinitionTypeError, match="'sometimes': it is one of"):
        with transaction(**{option: "sometimes"}):
            pass
    assert get_transaction() is None


@pytest.mark.parametrize(("options", "text"), [
    ({"key": 3}, "key of a transaction must be a str, got int 3"),
    ({"key": "a", "store": 3}, "store of a transaction must be a result storage"),
])
def test_what_is_no_key_or_store_is_refused(options, text):
    with pytest.raises(DefinitionTypeError, match=text):
        with transaction(**options):
            pass


# ---- locks


@pytest.mark.parametrize(("fails", "asked"), [
    (False, ["lock a", "exists a", "write a", "unlock a"]),
    (True, ["lock a", "exists a", "unlock a"]),
])
def test_a_serializable_transaction_holds_its_lock_to_the_end(store, fails, asked):
    try:
        with transaction(key="a", store=store, isolation_level="SERIALIZABLE"):
            if fails:
                raise Broken
    except Broken:
        pass
    assert store.asked == asked


def test_a_lazy_child_holds_its_lock_until_the_root_has_ended(store):
    with transaction():
        with transaction(key="a", store=store, isolation_level="SERIALIZABLE"):
            pass
        assert "unlock a" not in store.asked
    assert store.asked[-2:] == ["write a", "unlock a"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_lock_is_given_back_where_the_record_was_there(fails):
    store = Store(a=1)
    try:
        with transaction():
            with transaction(key="a", store=store, isolation_level="SERIALIZABLE"):
                pass
            if fails:
                raise Broken
    except Broken:
        pass
    assert store.asked == ["lock a", "exists a", "unlock a"]


def test_a_lock_is_given_back_where_the_store_fails(store):
    def exists(key):
        raise OSError("no disk")

    store.exists = exists
    with pytest.raises(OSError, match="no disk"):
        with transaction(key="a", store=store, isolation_level="SERIALIZABLE"):
            pass
    assert store.asked == ["lock a", "unlock a"]
    assert get_transaction() is None


def test_a_transaction_does_not_wait_for_the_one_around(store):
    with transaction(key="a", store=store, isolation_level="SERIALIZABLE"):
        with transaction(key="a", store=store):
            pass
    assert store.asked.count("lock a") == store.asked.count("unlock a") == 1


# ---- values


def test_values_are_seen_inside_and_copied():
    with transaction() as txn:
        txn.set("paths", ["a"])
        with transaction() as inner:
            inner.get("paths").append("b")
            assert inner.get("paths") == ["a"]
            inner.set("paths", ["c"])
            assert inner.get("paths") == ["c"]
        assert txn.get("paths") == ["a"]


def test_a_value_that_nobody_set_has_a_default():
    with transaction() as txn:
        assert txn.get("a", None) is None
        assert txn.get("a", default=3) == 3
        with pytest.raises(ValueError, match="Could not retrieve value for unknown key"):
            txn.get("a")


# ---- async


def test_an_async_transaction_rolls_back_what_is_in_it(hook, called):
    async def undo(txn):
        called.append("undo async")

    async def main():
        async with atransaction() as txn:
            staged(hook, "a")
            async with atransaction() as inner:
                inner.stage(1, [undo])
            txn.stage(1, [hook("undo root")])
            raise Broken

    with pytest.raises(Broken):
        asyncio.run(main())
    assert called == ["undo root", "undo async", "undo a"]


def test_async_transactions_side_by_side_do_not_meet():
    async def one(name):
        async with atransaction() as txn:
            txn.set("name", name)
            await asyncio.sleep(0)
            return get_transaction().get("name"), txn.get_parent()

    async def main():
        async with atransaction() as outer:
            found = await asyncio.gather(one("a"), one("b"))
            return found == [("a", outer), ("b", outer)]

    assert asyncio.run(main())


def test_an_async_hook_of_a_commit_is_awaited(called):
    async def hook(txn):
        await asyncio.sleep(0)
        called.append(txn.get("path"))

    async def main():
        async with atransaction() as txn:
            assert get_transaction() is txn
            assert isinstance(txn, AsyncTransaction) and isinstance(txn, BaseTransaction)
            txn.set("path", "here")
            txn.stage(1, None, [hook])
            return await txn.commit(), await txn.rollback(), await txn.commit()

    assert (asyncio.run(main()), called) == ((True, False, False), ["here"])


# ---- task runs


def a_task(hook, name):
    return SimpleNamespace(
        on_commit_hooks=[hook(f"commit {name}")], on_rollback_hooks=[hook(f"undo {name}")])


def run(task, rolled_back=None, error=None):
    with Transaction() as own:
        if error is not None:
            raise error
        task_completed(task, 1, own, rolled_back)
    return own


def test_hooks_of_task_runs_are_called_when_the_block_commits(hook, called):
    with transaction():
        run(a_task(hook, "a"))
        run(a_task(hook, "b"))
        assert called == []
    assert called == ["commit a", "commit b"]


def test_task_runs_are_rolled_back_in_reverse_and_told_last(hook, called):
    with pytest.raises(Broken):
        with transaction():
            run(a_task(hook, "a"), lambda: called.append("RolledBack a"))
            run(a_task(hook, "b"), lambda: called.append("RolledBack b"))
            raise Broken
    assert called == ["undo b", "RolledBack b", "undo a", "RolledBack a"]


def test_a_task_run_that_fails_rolls_back_the_others_but_not_itself(hook, called):
    with transaction() as txn:
        run(a_task(hook, "a"))
        with pytest.raises(Broken):
            run(a_task(hook, "b"), error=Broken())
    assert (called, txn.state) == (["undo a"], "ROLLED_BACK")


def test_a_task_run_that_failed_without_raising_rolls_back_the_others(hook, called):
    with transaction() as txn:
        run(a_task(hook, "a"))
        with Transaction() as own:
            task_failed(own)
    assert (called, txn.state) == (["undo a"], "ROLLED_BACK")


def test_a_task_run_alone_commits_at_its_end(hook, called):
    own = run(a_task(hook, "a"))
    assert (called, own.state) == (["commit a"], "COMMITTED")
    with pytest.raises(Broken):
        run(a_task(hook, "b"), error=Broken())
    assert called == ["commit a"]


def test_a_hook_of_a_task_sees_what_the_task_set(called):
    task = SimpleNamespace(
        on_commit_hooks=[], on_rollback_hooks=[lambda txn: called.append(
            (txn.get("file"), txn.get("folder")))])
    with pytest.raises(Broken):
        with transaction() as txn:
            txn.set("folder", "here")
            with Transaction() as own:
                get_transaction().set("file", "a")
                task_completed(task, 1, own)
            raise Broken
    assert called == [("a", "here")]


class Runs:
    """Stands for what was submitted in a block."""

    def __init__(self, called, *kinds):
        self.called = called
        self.kinds = kinds

    def wait(self):
        self.called.append("waited")

    def ended(self):
        joined = [index for index, kind in enumerate(self.kinds) if kind == "COMPLETED"]
        return Ended(joined, "boom" if "FAILED" in self.kinds else None)


class AwaitedRuns(Runs):
    async def wait_async(self):
        self.called.append("awaited")


def mixed(hook, called, txn):
    """Submit and call in turn; return what commits, in the order of the calls."""
    task_submitted(a_task(hook, "m"), Runs(called, "COMPLETED", "COMPLETED"), txn)
    run(a_task(hook, "a"))
    task_submitted(a_task(hook, "s"), AwaitedRuns(called, "COMPLETED"), txn)
    with transaction() as inner:
        task_submitted(a_task(hook, "i"), Runs(called, "COMPLETED"), inner)
        run(a_task(hook, "b"))
    called.clear()
    return ["m", "m", "a", "s", "i", "b"]


def test_what_is_submitted_commits_where_it_was_submitted(hook, called):
    with transaction() as txn:
        order = mixed(hook, called, txn)
    assert called == ["waited", "waited", *(f"commit {name}" for name in order)]


@pytest.mark.parametrize("how", ["block", "call", "caught call", "asked"])
def test_what_is_submitted_is_undone_where_it_was_submitted(hook, called, how):
    with suppress(Broken), transaction() as txn:
        order = mixed(hook, called, txn)
        if how == "block":
            raise Broken
        if how == "asked":
            assert txn.rollback()
        else:
            with suppress(Broken) if how == "caught call" else nullcontext():
                run(a_task(hook, "c"), error=Broken())
            assert called == [], "not before what was submitted has ended"
    assert called == ["waited", "waited", *(f"undo {name}" for name in reversed(order))]
    assert txn.is_rolled_back()


def test_a_commit_within_the_block_takes_along_what_was_submitted(hook, called):
    with transaction(commit_mode="OFF") as txn:
        order = mixed(hook, called, txn)
        assert txn.commit()
    assert called == ["waited", "waited", *(f"commit {name}" for name in order)]


def test_a_commit_within_the_block_is_refused_where_something_submitted_failed(hook, called):
    with transaction() as txn:
        run(a_task(hook, "a"))
        task_submitted(a_task(hook, "s"), Runs(called, "FAILED"), txn)
        assert not txn.commit()
    assert (called, txn.state) == (["waited", "undo a"], "ROLLED_BACK")


def test_calls_side_by_side_are_undone_in_the_reverse_of_their_calls(hook, called):
    async def one(name, seconds):
        async with AsyncTransaction() as own:
            await asyncio.sleep(seconds)
            task_completed(a_task(hook, name), 1, own)

    async def main():
        async with atransaction():
            await asyncio.gather(one("a", 0.02), one("b", 0.01), one("c", 0))
            raise Broken

    with pytest.raises(Broken):
        asyncio.run(main())
    assert called == ["undo c", "undo b", "undo a"]


def test_what_is_submitted_and_completes_is_rolled_back_with_the_block(hook, called):
    with pytest.raises(Broken):
        with transaction() as txn:
            runs = Runs(called, "COMPLETED", "FAILED", "COMPLETED")
            task_submitted(a_task(hook, "m"), runs, txn, called.append)
            raise Broken
    assert called == ["waited", "undo m", (2,), "undo m", (0,)]


def test_a_map_without_hooks_is_rolled_back_in_one(called):
    task = SimpleNamespace(on_commit_hooks=[], on_rollback_hooks=[])
    with pytest.raises(Broken):
        with transaction() as txn:
            task_submitted(task, Runs(called, "COMPLETED", "CACHED", "COMPLETED"), txn,
                           called.append)
            raise Broken
    assert called == ["waited", [0, 2]]


def test_what_is_cached_has_no_part_in_the_block(hook, called):
    with pytest.raises(Broken):
        with transaction() as txn:
            task_submitted(a_task(hook, "m"), Runs(called, "CACHED", "COMPLETED"), txn)
            raise Broken
    assert called == ["waited", "undo m"]


def test_what_is_submitted_and_fails_rolls_back_the_block(hook, called, caplog):
    with transaction() as txn:
        run(a_task(hook, "a"))
        task_submitted(a_task(hook, "s"), AwaitedRuns(called, "FAILED"), txn)
    assert (called, txn.state) == (["waited", "undo a"], "ROLLED_BACK")
    assert "is rolled back: a task run submitted in it did not complete" in caplog.text


def test_what_is_submitted_commits_at_the_end_of_an_eager_block(hook, called):
    with transaction(commit_mode="EAGER") as txn:
        task_submitted(a_task(hook, "s"), AwaitedRuns(called, "COMPLETED"), txn)
    assert called == ["waited", "commit s"]


def test_an_async_block_awaits_what_is_submitted(hook, called):
    async def main():
        async with atransaction() as txn:
            task_submitted(a_task(hook, "s"), AwaitedRuns(called, "COMPLETED"), txn)

    asyncio.run(main())
    assert called == ["awaited", "commit s"]


def test_a_block_that_is_stopped_while_it_waits_is_rolled_back(hook, called):
    runs = AwaitedRuns(called, "COMPLETED")

    def wait():
        raise KeyboardInterrupt

    runs.wait = wait
    with pytest.raises(KeyboardInterrupt):
        with transaction() as txn:
            run(a_task(hook, "a"))
            task_submitted(a_task(hook, "s"), runs, txn)
    assert called == ["undo a"]


# ---- stores


def test_a_store_is_made_of_what_is_given(store):
    folder = Path("somewhere")
    assert store_of(store) is store
    for given in (None, "s3://somewhere", folder, open_storage(folder)):
        assert isinstance(store_of(given), ResultRecordStore)


def test_a_store_of_ones_own_without_locks_gets_ours():
    bare = SimpleNamespace(exists=lambda key: False, read=lambda key: None,
                           write=lambda key, value: None)
    found = store_of(bare)
    assert (found.exists("a"), found.read("a"), found.write("a", 1)) == (False, None, None)
    assert callable(found.acquire_lock)
