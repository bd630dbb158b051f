"""A direct call whose result is kept: found, waited for, or computed here.

Lives here: :class:`KeptCall`, the life of one such call in the thread that makes
it. Does not live here: many elements at once (``keeping.py``), the attempts
(``attempt.py``).
"""

from __future__ import annotations

from typing import Any

from dataflow.batch import CallCode, RunInfo
from dataflow.context import LogSink, TaskRunContext
from dataflow.outcomes import SUCCEEDED, Code, Said
from dataflow.worker.attempt import Attempts, Outcome
from dataflow.worker.keeping import Keeper, cached_message, keeper_of
from dataflow.worker.shelves import shelf_for
from dataflow.worker.step import log_of


class KeptCall:
    """One direct call.

    Parameters
    ----------
    attempts
        Runs it.
    code, run, index, logs
        The call, where it is made, which element it is, where its log goes.
    args, kwargs
        Its arguments.

    Attributes
    ----------
    outcome
        What was found; None where it has to run.
    """

    def __init__(self, attempts: Attempts, code: CallCode, run: RunInfo | None, index: int,
                 logs: LogSink | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._attempts, self._code, self._run = attempts, code, run
        self._index, self._logs = index, logs
        self._arguments = (args, kwargs)
        self._shelf = shelf_for(code)
        self._keeper: Keeper | None = None
        self.outcome: Outcome | None = None

    def look(self) -> float | None:
        """Look the result up, claim it where it is not there.

        Returns
        -------
        float or None
            Seconds after which to look again: somebody else computes it. None: go on, with
            :attr:`outcome` where there is one.
        """
        keeper = self._keeper = keeper_of(
            self._code, self._run, (self._index,), self._shelf, self._log)
        keeper.prepare(lambda position, index: self._arguments)
        wait_s = keeper.waits(0)
        if wait_s is not None:
            keeper.settle()
        elif keeper.found(0):
            origin = keeper.origin(0)
            self.outcome = self._attempts.cached(
                self._index, 0, keeper.value(0), cached_message(origin), lambda: self._arguments)
            self.outcome.origin = None if origin is None else origin.run_id
            self.outcome.key = keeper.keys_of(slice(None))
            keeper.settle()
        return wait_s

    def end(self, outcome: Outcome | None) -> None:
        """Keep what it came to, and let the next one have the claim; None: it did not end."""
        keeper = self._keeper
        if keeper is None or self.outcome is not None:
            return
        if outcome is not None and outcome.code == Code.COMPLETED:
            keeper.keep(0, self._index, outcome.value)
            why = keeper.reasons.get(self._index)
            if why is not None and outcome.said is None:
                outcome.said = Said(why, None)
        keeper.settle()
        if outcome is not None and outcome.code in SUCCEEDED:
            outcome.key = keeper.keys_of(slice(None))

    def _log(self, index: int, level: int, text: str) -> None:
        log_of(TaskRunContext(self._run, self._code, index, 0, self._logs, (), {}), level, text)
