"""Where task runs inside of task runs are run: in threads of the same process, bounded.

Lives here: the choice of an inside's runner, and how many threads all of a
process have together. Does not live here: the threads themselves (``runners``).
"""

from __future__ import annotations

import threading
from functools import cache

from dataflow.context import current_flow
from dataflow.runner import TaskRunner, ThreadBudget
from dataflow.runner_choice import new_runner

NESTED_THREADS = 128
"""Threads of one process for what task runs submit and map. When they are all in use, an inside
that begins runs what it submits at once, in the thread of its task run; one that has begun goes
on with those it has, at least one."""


class Budget(ThreadBudget):
    """Counts threads up to a limit; a runner that is owed one takes it all the same."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> bool:
        """Tell whether there is none left."""
        return self._taken >= self._limit

    def take(self, *, owed: bool = False) -> bool:
        """Take a thread; False where there is none left and none is ``owed``."""
        with self._lock:
            if self._taken >= self._limit and not owed:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Give a thread back that has ended."""
        with self._lock:
            self._taken -= 1


_budget = Budget(NESTED_THREADS)


def runner_of_insides() -> TaskRunner:
    """Return an unstarted runner for one inside.

    Under the inline runner it is inline too, so that a debugger can follow.
    """
    flow_run = current_flow.get()
    inline = flow_run is not None and flow_run.runner is not None and flow_run.runner.synchronous
    runner = _pattern("inline" if inline or _budget.spent else "threads").duplicate()
    runner.budget = _budget
    return runner


@cache
def _pattern(name: str) -> TaskRunner:
    return new_runner(name)
