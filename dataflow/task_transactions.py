"""How task runs join the transaction around them.

Lives here: what a task run brings into a transaction, and what is undone of it when
that one is rolled back. Does not live here: who calls it (``direct.py``, ``worker/``), what
was submitted or consumed in a block (``transaction_runs.py``), transactions themselves.

A direct call in a block, and a run of a task with hooks that no block is around, has a
transaction of its own, opened around all of its attempts::

    with Transaction() as own:      # get_transaction() in the task is this one
        value = ...                 # an exception rolls back what is around too
        task_completed(effects, value, own)

What is submitted in a block joins the block's transaction at its end. A task run that is
Cached joins none: another run did its work, and committed it.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dataflow.context import LogSink, RunDriver
from dataflow.exceptions import ResultStorageError
from dataflow.outcomes import ROLLED_BACK, SUCCEEDED, Code
from dataflow.transaction_state import BaseTransaction, TransactionState
from dataflow.transactions import Transaction

if TYPE_CHECKING:
    from dataflow.batch import CallCode
    from dataflow.caching import Caching
    from dataflow.graph import CallView
    from dataflow.worker.attempt import Outcome

VALUES_BYTES = 64 << 10
"""What a task sets in its transaction is kept for a resumed run up to this size, pickled."""

logger = logging.getLogger("dataflow.transactions")


class Effects(NamedTuple):
    """The hooks of a task for transactions, each kind in the order in which they were given."""

    on_commit_hooks: tuple[Callable[[Any], Any], ...] = ()
    on_rollback_hooks: tuple[Callable[[Any], Any], ...] = ()


NO_EFFECTS = Effects()


def task_completed(effects: Any, value: Any, own: BaseTransaction,
                   rolled_back: Callable[[], Any] | None = None,
                   committed: Callable[[], Any] | None = None) -> None:
    """Stage a completed task run in its own transaction.

    Parameters
    ----------
    effects
        Its ``on_commit_hooks`` and ``on_rollback_hooks`` are taken over.
    value
        What it returned.
    own
        Opened around the run. Inside of another it commits when that one does, with
        mode EAGER at its own end; alone it commits at its own end.
    rolled_back
        Called after the hooks of a rollback: to record the state RolledBack, and to take
        back a result that was kept, since what it stands for is undone.
    committed
        Called after the hooks of a commit: to record that it has no part in a transaction
        any more when its run goes on elsewhere.
    """
    own.stage(value, effects.on_rollback_hooks, effects.on_commit_hooks)
    own.when_rolled_back, own.when_committed = rolled_back, committed


def task_failed(own: BaseTransaction) -> None:
    """Say that a task run did not complete where no exception leaves its transaction's block.

    What is around is rolled back when the block ends.
    """
    if own.state != TransactionState.COMMITTED:
        own.state = TransactionState.ROLLED_BACK


def task_submitted(effects: Any, runs: Any, around: BaseTransaction,
                   rolled_back: Callable[[Sequence[int]], Any] | None = None,
                   committed: Callable[[], Any] | None = None) -> None:
    """Let what was submitted in a block join it at its end, when all of it is final.

    Parameters
    ----------
    effects
        The hooks: as for :func:`task_completed`.
    runs
        To wait for, as those of ``transaction_runs.py``: each that completed joins, in their
        order, in the place where they were submitted.
    around
        The transaction whose block it is.
    rolled_back
        Called with the indexes of task runs that are rolled back, after their hooks.
    committed
        Called when all of them are committed.

    Notes
    -----
    The end of the block waits for it. Where one did not complete, the block is rolled back.
    """
    around.follow(
        runs, tuple(effects.on_commit_hooks), tuple(effects.on_rollback_hooks), rolled_back,
        committed)


def call_ended(own: BaseTransaction, driver: RunDriver, code: CallCode, view: CallView,
               value: Any) -> None:
    """Let a direct call of a flow that has ended join the transaction around it.

    One that another process committed has no part in it any more; one that it left in a block
    that had not ended has, with what it set there.
    """
    state = view.code(0)
    if state == Code.COMPLETED and view.takes_part(0):
        _carry_values(own, driver, view)
        inside = own.parent is not None
        task_completed(code.task.effects or NO_EFFECTS, value, own,
                       lambda: driver.rolled_back(code.call, (0,)),
                       lambda: driver.committed(code.call, soon=inside))
    elif state not in SUCCEEDED:
        task_failed(own)


def _carry_values(own: BaseTransaction, driver: RunDriver, view: CallView) -> None:
    """Keep what a call set in its transaction, or set what it did in another process."""
    import cloudpickle

    try:
        if view.txn_values is not None:
            own.own_values.update(pickle.loads(view.txn_values))
        elif own.own_values:
            blob = cloudpickle.dumps(own.own_values)
            if len(blob) <= VALUES_BYTES:
                driver.keep_txn_values(view.call, blob)
                return
            logger.debug("What task %r set in its transaction is too large to be there when the "
                         "run goes on after a crash", view.task_name)
    except Exception as error:  # user values: __reduce__ and what a pickle calls may raise
        logger.log(logging.WARNING if view.txn_values else logging.DEBUG,
                   "What task %r set in its transaction is not there when the run goes on after "
                   "a crash: %s: %s", view.task_name, type(error).__name__, error)


def call_ended_outside(own: BaseTransaction, code: CallCode, outcome: Outcome) -> None:
    """Do as :func:`call_ended` for a call that belongs to no flow."""
    if outcome.code == Code.COMPLETED:
        keys = [] if outcome.key is None else [outcome.key]
        task_completed(code.task.effects or NO_EFFECTS, outcome.value, own,
                       lambda: _forget(code.task.caching, keys))
    elif outcome.code not in SUCCEEDED:
        task_failed(own)


def commit_alone(effects: Effects) -> None:
    """Commit a task run that has completed and that no transaction is around."""
    with Transaction() as own:
        task_completed(effects, None, own)


def undone(view: CallView, indexes: Sequence[int], logs: LogSink) -> None:
    """Say of completed task runs that they were rolled back; their results count no more."""
    text = ROLLED_BACK.message or ""
    for index in indexes:
        view.take(index, ROLLED_BACK)
        view.undone[index] = None
        logs.add(view.call, index, view.attempts.get(index, 1), time.time(), logging.INFO,
                 "dataflow.task_runs", text)
    _forget(view.caching, [key for index in indexes if (key := view.key_of(index)) is not None])


def _forget(caching: Caching | None, keys: Sequence[bytes]) -> None:
    """Let nobody find results again: what they stand for is undone."""
    if caching is None or not keys:
        return
    try:
        if caching.named is not None:
            _delete_named(caching, frozenset(keys))
            return
        from dataflow.packs import results_at

        results_at(caching.storage).forget(caching.place, keys, now_s=time.time())
    except ResultStorageError as error:
        logger.error("What was rolled back is still kept, and would be taken for done: %s", error)


def _delete_named(caching: Caching, keys: frozenset[bytes]) -> None:
    """Delete the files that a user's template names, found by their names' keys."""
    from dataflow.cache_keys import user_key

    assert caching.named is not None
    folder = caching.named.partition("{")[0].rpartition("/")[0]
    for found in list(caching.storage.list(folder, deep=True)):
        if user_key(found.name) in keys:
            caching.storage.delete(found.name)
