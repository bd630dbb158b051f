"""How task runs join the transaction around them.

Lives here: what is to be called when a task run completes, and when one is
submitted. Does not live here: who calls it (``direct.py``, ``tasks.py``,
``worker/``).

A direct call, and a run that no transaction is around, has a transaction of its
own, opened around it::

    with Transaction() as own:      # get_transaction() in the task is this one
        value = ...                 # an exception rolls back what is around too
        task_completed(task, value, own)

What is submitted in a block joins the block's transaction at its end. A task run that is
Cached joins none: another run did its work, and committed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.transaction_state import BaseTransaction, Followed, TransactionState


def task_completed(task: Any, value: Any, own: BaseTransaction,
                   rolled_back: Callable[[], Any] | None = None) -> None:
    """Stage a completed task run in its own transaction.

    Parameters
    ----------
    task
        Its ``on_commit_hooks`` and ``on_rollback_hooks`` are taken over.
    value
        What it returned.
    own
        Opened around the run. Inside of another it commits when that one does, with
        mode EAGER at its own end; alone it commits at its own end.
    rolled_back
        Called after the hooks of a rollback: to record the state RolledBack, and to take
        back a result that was kept, since what it stands for is undone.
    """
    own.stage(value, list(task.on_rollback_hooks), list(task.on_commit_hooks))
    own.when_rolled_back = rolled_back


def task_failed(own: BaseTransaction) -> None:
    """Say that a task run did not complete where no exception leaves its transaction's block.

    What is around is rolled back when the block ends.
    """
    if own.state != TransactionState.COMMITTED:
        own.state = TransactionState.ROLLED_BACK


def task_submitted(task: Any, futures: Any, around: BaseTransaction,
                   rolled_back: Callable[[Any], Any] | None = None) -> None:
    """Let what was submitted in a block join it at its end, when all of it is final.

    Parameters
    ----------
    futures
        A Future, or the FutureList of a map: each completed element joins, in their order.
    around
        The transaction whose block it is.
    rolled_back
        Called with the state of each task run that is rolled back, after its hooks.

    Notes
    -----
    The end of the block waits for it. Where one did not complete, the block is rolled back.
    """
    around.followed.append(Followed(
        futures, tuple(task.on_commit_hooks), tuple(task.on_rollback_hooks), rolled_back))
