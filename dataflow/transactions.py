"""Work that stands or falls together: blocks whose effects are committed or rolled back.

Lives here: ``with transaction()`` and its async twin. Does not live here: what a
transaction is (``transaction_state.py``), the order of what happens at its end
(``transaction_steps.py``), records under a key (``transaction_store.py``), how a
task run joins (``task_transactions.py``).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self

from dataflow import transaction_steps as steps
from dataflow.hooks import finished
from dataflow.transaction_state import BaseTransaction as BaseTransaction
from dataflow.transaction_state import CommitMode as CommitMode
from dataflow.transaction_state import IsolationLevel as IsolationLevel
from dataflow.transaction_state import TransactionState as TransactionState
from dataflow.transaction_state import get_transaction as get_transaction
from dataflow.transaction_steps import Steps
from dataflow.transaction_store import TransactionRecord
from dataflow.worker.kinds import beside


class Transaction(BaseTransaction):
    """A transaction of blocking code; see :func:`transaction`."""

    def __enter__(self) -> Self:
        self.enter()
        try:
            self.begin()
        except BaseException:
            self.forget()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            _done(steps.end(self, failed=error is not None))
        finally:
            around = self.leave()
            if around is not None:
                _done(steps.take_along(around))

    def begin(self) -> None:
        """Take the lock where there is to be one; see whether there is a record."""
        _done(steps.begin(self))

    def read(self) -> TransactionRecord | None:
        """Return the record under the key, None where there is none."""
        return None if self.store is None or not self.key else self.store.read(self.key)

    def commit(self) -> bool:
        """Commit now: children, hooks, the record. Return whether it did.

        What was submitted in the block is waited for.
        """
        return bool(_done(steps.commit(self)))

    def rollback(self) -> bool:
        """Roll back now: hooks, then children, from the last to the first. Return whether it did.

        What was submitted in the block is waited for. What is committed already stays.
        """
        return bool(_done(steps.rollback(self)))


class AsyncTransaction(BaseTransaction):
    """A transaction of async code; see :func:`atransaction`."""

    async def __aenter__(self) -> Self:
        self.enter()
        try:
            await self.begin()
        except BaseException:
            self.forget()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        try:
            await _awaited(steps.end(self, failed=error is not None))
        finally:
            around = self.leave()
            if around is not None:
                await _awaited(steps.take_along(around))

    async def begin(self) -> None:
        """Take the lock where there is to be one; see whether there is a record."""
        await _awaited(steps.begin(self))

    async def read(self) -> TransactionRecord | None:
        """Return the record under the key, None where there is none."""
        if self.store is None or not self.key:
            return None
        return await beside(self.store.read, self.key)

    async def commit(self) -> bool:
        """Commit now: children, hooks, the record. Return whether it did.

        What was submitted in the block is waited for.
        """
        return bool(await _awaited(steps.commit(self)))

    async def rollback(self) -> bool:
        """Roll back now: hooks, then children, from the last to the first. Return whether it did.

        What was submitted in the block is waited for. What is committed already stays.
        """
        return bool(await _awaited(steps.rollback(self)))


@contextmanager
def transaction(
    key: str | None = None, store: Any = None, commit_mode: CommitMode | str | None = None,
    isolation_level: IsolationLevel | str | None = None, overwrite: bool = False,
    write_on_commit: bool = True,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> Iterator[Transaction]:
    """Commit at the end what the block does; where it fails, roll back and let the error go on.

    Task runs that complete in the block belong to it: their ``on_commit`` hooks are
    called when it commits, in the order of the calls, their ``on_rollback`` hooks, from the
    last to the first, when it does not. What is submitted in the block is waited for at its
    end. A task run that fails rolls the block back, also where its exception is caught: at
    once, or at the block's end where something was submitted that is to be undone before.

    Parameters
    ----------
    key, store, commit_mode, isolation_level, overwrite, write_on_commit, logger
        See :class:`BaseTransaction`.

    Examples
    --------
    >>> with transaction(key="day-1") as txn:
    ...     if not txn.is_committed():
    ...         txn.stage(load("day-1"))
    """
    with Transaction(key, store, commit_mode, isolation_level, overwrite, write_on_commit,
                     logger) as txn:
        yield txn


@asynccontextmanager
async def atransaction(
    key: str | None = None, store: Any = None, commit_mode: CommitMode | str | None = None,
    isolation_level: IsolationLevel | str | None = None, overwrite: bool = False,
    write_on_commit: bool = True,
    logger: logging.Logger | logging.LoggerAdapter[Any] | None = None,
) -> AsyncIterator[AsyncTransaction]:
    """Do as :func:`transaction` in async code: hooks may be async, nothing holds up the loop."""
    async with AsyncTransaction(key, store, commit_mode, isolation_level, overwrite,
                                write_on_commit, logger) as txn:
        yield txn


def _done(sequence: Steps) -> Any:
    """Make the calls of a sequence of steps; return what the sequence returns."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = sequence.send(answer) if error is None else sequence.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            answer = finished(step.call())
        except BaseException as raised:  # the sequence says what becomes of it
            error = raised


async def _awaited(sequence: Steps) -> Any:
    """Make the calls of a sequence of steps, awaited where they can be."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = sequence.send(answer) if error is None else sequence.throw(error)
        except StopIteration as end:
            return end.value
        answer = error = None
        try:
            if step.twin is not None:
                answer = step.twin()
            else:
                answer = await beside(step.call) if step.blocks else step.call()
            if inspect.isawaitable(answer):
                answer = await answer
        except BaseException as raised:  # the sequence says what becomes of it
            error = raised
