"""How a transaction begins and ends, one step at a time, for blocking and async code alike.

Lives here: the order of hooks, children and records at a commit, a rollback, an
end. Each step is a call that whoever runs the steps makes, and waits for or
awaits. Does not live here: the classes users see (``transactions.py``), the
place of records (``transaction_store.py``).

The rules
---------
- Both wait first for what was submitted in the block: it is among the children in the place
  where it was submitted, those of a map by their index.
- A commit goes through the children first, in the order in which they began, then through
  the own hooks, then writes the record. Whatever of it raises is logged and rolls back.
- A rollback calls the own hooks from the last to the first, then rolls back the
  children in the reverse of the order in which they would commit. A hook that raises is
  logged; the others are called all the same. What is committed stays.
- A transaction that was rolled back takes the one around it along: at once where nothing was
  submitted in that one's block, else at the block's end. The code in the block, which may
  have to end what was submitted, does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from dataflow.signatures import name_of
from dataflow.transaction_state import (
    BaseTransaction,
    CommitMode,
    Followed,
    IsolationLevel,
    TransactionState,
)


class Step(NamedTuple):
    """One call of a sequence of steps; what it returns or raises is given back to them."""

    call: Callable[[], Any]
    blocks: bool = False  # on disk, a lock, other runs
    twin: Callable[[], Any] | None = None  # to be awaited in the place of a call that blocks


Steps = Generator[Step, Any, Any]

_OVER = (TransactionState.COMMITTED, TransactionState.ROLLED_BACK)


def begin(txn: BaseTransaction) -> Steps:
    """Take the lock, if there is to be one, and look for the record."""
    txn.state = TransactionState.ACTIVE
    store, key = txn.store, txn.key
    if store is None or not key:
        return
    if txn.isolation_level == IsolationLevel.SERIALIZABLE and not _held_around(txn):
        txn.logger.debug("Waiting for the lock of transaction %r", key)
        yield Step(lambda: store.acquire_lock(key, txn.holder), blocks=True)
        txn.locked = True
    if txn.overwrite:
        return
    try:
        there = yield Step(lambda: store.exists(key), blocks=True)
    except BaseException:
        yield from _unlock(txn)
        raise
    if there:
        txn.state = TransactionState.COMMITTED


def end(txn: BaseTransaction, failed: bool) -> Steps:
    """Do what the end of the block asks for, by mode and outcome."""
    try:
        if not (yield from _gather(txn, at_the_end=True)):
            failed = True
    except BaseException:
        yield from rollback(txn)
        raise
    if failed or txn.fails or txn.state == TransactionState.ROLLED_BACK:
        yield from rollback(txn)
    elif txn.commit_mode == CommitMode.EAGER:
        yield from commit(txn)
    elif txn.parent is None:  # else that one says when
        yield from (rollback if txn.commit_mode == CommitMode.OFF else commit)(txn)
    elif txn.state in _OVER:
        yield from _unlock(txn)


def commit(txn: BaseTransaction) -> Steps:
    """Commit; return whether it did. Of what is committed already, the children that are not."""
    if txn.ending or txn.state == TransactionState.ROLLED_BACK:
        yield from _unlock(txn)
        return False
    now, txn.ending = txn.state != TransactionState.COMMITTED, True
    try:
        if not (yield from _gather(txn)) or txn.fails:
            txn.ending = False
            yield from rollback(txn)
            return False
        for child in txn.in_turn():
            yield from commit(child)
        if now:
            yield from _confirm(txn)
            txn.state = TransactionState.COMMITTED
            if txn.when_committed is not None:
                yield Step(txn.when_committed)
    except BaseException as error:  # user code, or a value that cannot be stored
        txn.logger.error("An error was encountered while committing transaction %s; it is rolled "
                         "back", txn, exc_info=error)
        txn.ending = now = False
        yield from rollback(txn)
        if not isinstance(error, Exception):
            raise
    finally:
        txn.ending = False
    yield from _unlock(txn)
    return now


def rollback(txn: BaseTransaction) -> Steps:
    """Roll back; return whether it did. What is committed stays, but for what is not in it."""
    if txn.ending:
        return False
    now, txn.ending = txn.state not in _OVER, True
    try:
        yield from _gather(txn)
        if now:
            yield from _undo(txn)
            txn.state = TransactionState.ROLLED_BACK
        for child in reversed(txn.in_turn()):
            yield from rollback(child)
    finally:
        txn.ending = False
    yield from _unlock(txn)
    return now


def take_along(txn: BaseTransaction) -> Steps:
    """Roll back since a transaction inside was: all in one go with what is under way."""
    if txn.followed:
        txn.fails = True
    else:
        yield from rollback(txn)


def _confirm(txn: BaseTransaction) -> Steps:
    for hook in txn.on_commit_hooks:
        yield from _call(txn, hook, "commit")
    store, key = txn.store, txn.key
    if store is not None and key and txn.write_on_commit:
        yield Step(lambda: store.write(key, txn.staged_value), blocks=True)


def _undo(txn: BaseTransaction) -> Steps:
    for hook in reversed(txn.on_rollback_hooks):
        try:
            yield from _call(txn, hook, "rollback")
        except Exception:  # user code: the others are called all the same
            txn.logger.exception(
                "An error was encountered while rolling back transaction %s", txn)
    if txn.when_rolled_back is not None:
        yield Step(txn.when_rolled_back)


def _call(txn: BaseTransaction, hook: Callable[[Any], Any], kind: str) -> Steps:
    txn.logger.info("Running %s hook %r", kind, name_of(hook))
    yield Step(lambda: hook(txn))


def _gather(txn: BaseTransaction, at_the_end: bool = False) -> Steps:
    """Wait for what was submitted in the block; return whether all of it completed.

    What its code has in hand, as a generator, is left alone before the block's end.
    """
    completed = True
    followed, txn.followed = txn.followed, []
    for run in followed:
        twin = getattr(run.runs, "wait_async", None)
        yield Step(run.runs.wait, blocks=True, twin=twin)
        ended = yield Step(run.runs.ended, blocks=True)
        if ended.in_hand and not at_the_end:
            txn.followed.append(run)
            continue
        if ended.failed is not None and completed:
            txn.logger.warning("Transaction %s is rolled back: a task run submitted in it did not "
                               "complete: %s", txn, ended.failed)
        completed = completed and ended.failed is None
        yield from _join(txn, run, ended.joined)
    return completed


def _join(txn: BaseTransaction, run: Followed, joined: Sequence[int]) -> Steps:
    """Let task runs that completed be children, in the place where they were submitted.

    After them comes one without hooks, which says that all of them are committed.
    """
    for indexes in run.groups(joined):
        child = txn.new_child(run.turn)
        child.stage(None, run.on_rollback, run.on_commit)
        if run.rolled_back is not None:
            child.when_rolled_back = _told(run.rolled_back, indexes)
        if txn.commit_mode == CommitMode.EAGER:
            yield from commit(child)
    if joined and run.committed is not None:
        last = txn.new_child(run.turn)
        last.when_committed = run.committed
        if txn.commit_mode == CommitMode.EAGER:
            yield from commit(last)


def _told(fn: Callable[[Sequence[int]], Any], indexes: Sequence[int]) -> Callable[[], Any]:
    return lambda: fn(indexes)


def _held_around(txn: BaseTransaction) -> bool:
    around = txn.parent
    while around is not None:
        if around.locked and around.key == txn.key:
            return True
        around = around.parent
    return False


def _unlock(txn: BaseTransaction) -> Steps:
    store, key = txn.store, txn.key
    if txn.locked and store is not None and key:
        txn.locked = False
        yield Step(lambda: store.release_lock(key, txn.holder), blocks=True)
