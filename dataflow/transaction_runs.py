"""Task runs that a transaction waits for at its end: submitted in its block, or consumed there.

Lives here: what a transaction asks of them. Does not live here: direct calls and what is
undone at a rollback (``task_transactions.py``), who calls it (``tasks.py``, ``streams.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.batch import CallCode
from dataflow.context import RunDriver
from dataflow.future import Future
from dataflow.future_list import FutureList
from dataflow.outcomes import STATE_OF, SUCCEEDED, Code
from dataflow.task_transactions import NO_EFFECTS, task_submitted
from dataflow.transaction_state import BaseTransaction, Ended


def submitted(around: BaseTransaction, driver: RunDriver, code: CallCode,
              futures: Future[Any] | FutureList[Any]) -> None:
    """Let what a ``submit`` or ``map`` returned join the transaction whose block made it."""
    task_submitted(code.task.effects or NO_EFFECTS, Submitted(futures), around,
                   lambda indexes: driver.rolled_back(code.call, indexes),
                   lambda: driver.committed(code.call, soon=True))


def consumed(around: BaseTransaction, code: CallCode, stream: Any,
             rolled_back: Callable[[], Any]) -> None:
    """Let a generator join that is consumed in a block; it is to end before the block does."""
    task_submitted(code.task.effects or NO_EFFECTS, _Consumed(code.task.name, stream), around,
                   lambda indexes: rolled_back())


class _Consumed:
    """What a transaction asks of a generator that was consumed in its block."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._stream = name, stream

    def wait(self) -> None:
        """Nothing to wait for: its items are asked for by code in the block."""

    def ended(self) -> Ended:
        """Return whether it completed."""
        outcome = self._stream.outcome
        if outcome is None:
            return Ended((), f"generator {self._name!r} has not ended: consume or close it",
                         in_hand=True)
        if outcome.code == Code.COMPLETED:
            return Ended((0,), None)
        return Ended((), f"generator {self._name!r}: {STATE_OF[outcome.code][1]}")


class Submitted:
    """What a transaction asks of task runs that were submitted in its block.

    Parameters
    ----------
    futures
        Of the whole call. That it did not complete is not taken for looked at: a flow
        that shall fail for it still does.
    """

    def __init__(self, futures: Future[Any] | FutureList[Any]) -> None:
        self._futures = futures
        self.wait = futures.wait
        self.wait_async = futures.wait_async

    def ended(self) -> Ended:
        """Return which completed, and the state of the first that did not."""
        handle = self._futures.handle
        view = handle.view
        codes = bytes(view.codes)
        joined = [index for index, code in enumerate(codes)
                  if code == Code.COMPLETED and view.takes_part(index)]
        bad = len(codes) - codes.count(Code.COMPLETED) - codes.count(Code.CACHED)
        if view.fault is not None:
            return Ended(joined, view.fault.message)
        if not bad or (handle.mapped and 1 - bad / len(codes) >= handle.min_success_ratio):
            return Ended(joined, None)
        first = next(index for index, code in enumerate(codes) if code not in SUCCEEDED)
        return Ended(joined, f"{handle.name_of(first)}: {handle.state(first, None)}")
