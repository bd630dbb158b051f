"""Elements whose task has hooks for transactions, and that no transaction is around.

Lives here: attempts with a transaction of their own, which commits at the end of the
element, where it ran. Does not live here: transactions (``dataflow.transactions``), elements
that were submitted in the block of one (``dataflow.task_transactions``), direct calls.

The transaction begins anew after a delay between two attempts, which may be elsewhere.
"""

from __future__ import annotations

from typing import Any

from dataflow.context import current_task
from dataflow.logging import task_logger
from dataflow.outcomes import ROLLED_BACK, SUCCEEDED, Code
from dataflow.task_transactions import task_completed, task_failed
from dataflow.transaction_state import BaseTransaction, TransactionState
from dataflow.transactions import AsyncTransaction, Transaction
from dataflow.worker.async_attempt import AsyncAttempts
from dataflow.worker.attempt import Attempts, Outcome


class CommittingAttempts(Attempts):
    """Runs elements of one call, each in a transaction of its own."""

    def call(self, index: int, before: int, args: tuple[Any, ...],
             kwargs: dict[str, Any]) -> Outcome:
        """Run an element as :meth:`Attempts.call` does, and commit what it came to."""
        with Transaction() as own:
            outcome = super().call(index, before, args, kwargs)
            _ended(own, self.task.effects, outcome)
        return _told(own, outcome)


class CommittingAsyncAttempts(AsyncAttempts):
    """Runs elements of one call of an async task, each in a transaction of its own."""

    async def arrive(self, index: int, before: int, args: tuple[Any, ...],
                     kwargs: dict[str, Any]) -> Outcome:
        """Run an element as :meth:`AsyncAttempts.arrive` does, and commit what it came to."""
        async with AsyncTransaction() as own:
            outcome = await super().arrive(index, before, args, kwargs)
            _ended(own, self.task.effects, outcome)
        return _told(own, outcome)


def _ended(own: BaseTransaction, effects: Any, outcome: Outcome) -> None:
    context = current_task.get()
    if context is not None:  # a hook logs for the element, and runs nothing inside of it
        own.logger = task_logger(context)
        context.end()
    if outcome.code in SUCCEEDED:
        task_completed(effects, outcome.value, own)
    else:
        task_failed(own)


def _told(own: BaseTransaction, outcome: Outcome) -> Outcome:
    """Say so where a hook of the commit failed: the result is not to be kept."""
    if outcome.code == Code.COMPLETED and own.state == TransactionState.ROLLED_BACK:
        outcome.said = ROLLED_BACK
    return outcome
