"""A thread of a Dask worker that leaves the worker's pool for a while.

Lives here: doing from any thread what ``distributed.secede`` and ``rejoin`` do
for their own: a batch waits in the worker's thread while its elements run in
another. All of it is private to distributed (tried on 2026.8); where it looks
different, the thread keeps its slot. Does not live here: who leaves and when
(``seats.py``).
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Any

logger = logging.getLogger("dataflow.runners.dask")


class PoolThread:
    """The calling thread of a Dask worker, and the Dask task that it runs.

    A thread that has left and finds its place taken at the end of its task
    ends; the one that took the place stays.

    Parameters
    ----------
    worker
        The worker.
    """

    __slots__ = (
        "_away", "_entry", "_executor", "_has_left", "_key", "_started_s", "_thread", "_worker",
    )

    def __init__(self, worker: Any) -> None:
        from distributed import threadpoolexecutor
        from distributed import worker as workers

        task = getattr(workers, "thread_state", None)
        self._worker = worker
        self._thread = threading.current_thread()
        self._executor: Any = getattr(threadpoolexecutor.thread_state, "executor", None)
        self._key: Any = getattr(task, "key", None)
        self._started_s = getattr(task, "start_time", 0.0)
        self._away = self._has_left = False
        self._entry: tuple[threading.Thread, threading.Event] | None = None  # wants to come back

    def leave(self) -> None:
        """Let the worker run something else meanwhile, in a thread more."""
        if self._withdrawn():
            self._away = True
            return
        try:
            self._away = self._leave_pool()
            if self._away:
                self._has_left = True
                self._tell_worker()
        except (AttributeError, ImportError, TypeError) as error:
            logger.warning("A Dask worker's slot stays occupied while a task of it uses a client: "
                           "this version of distributed looks different (%s: %s)",
                           type(error).__name__, error)

    def come_back(self) -> None:
        """Ask for the place back: a thread of the pool that has nothing to do ends for it.

        This does not wait, so the worker may run one task too many for a while.
        """
        if not self._away:
            return
        self._away = False
        self._entry = (self._thread, threading.Event())
        with self._executor._rejoin_lock:
            self._executor._rejoin_list.append(self._entry)
        with suppress(RuntimeError):  # a pool that is shutting down
            self._executor.submit(_nothing)

    def end(self) -> None:
        """Say that the task has ended; called by the thread itself."""
        if not self._has_left:
            return
        from distributed.threadpoolexecutor import thread_state

        replaced = self._withdrawn() or self._away
        self._away = False
        # Dask's Client.get secedes too, fails at that, and leaves a thread behind that would end
        thread_state.proceed = not replaced

    def _withdrawn(self) -> bool:
        """Take back the wish to come back; False where there is none, or it has come true."""
        entry, self._entry = self._entry, None
        if entry is None:
            return False
        with self._executor._rejoin_lock:
            if entry not in self._executor._rejoin_list:
                return False
            self._executor._rejoin_list.remove(entry)
        return True

    def _leave_pool(self) -> bool:
        from distributed.threadpoolexecutor import threads_lock

        executor = self._executor
        if executor is None or not hasattr(executor, "_rejoin_list"):
            return False  # a pool of the user's, or no worker's thread
        with threads_lock:
            if self._thread not in executor._threads:
                return False  # it has left already
            executor._threads.remove(self._thread)
            executor._adjust_thread_count()
        return True

    def _tell_worker(self) -> None:
        from distributed.worker_state_machine import SecedeEvent

        event = SecedeEvent(key=self._key, compute_duration=time.time() - self._started_s,
                            stimulus_id=f"secede-{time.time()}")
        self._worker.loop.add_callback(self._worker.handle_stimulus, event)


def _nothing() -> None:
    """Wake a thread of the pool."""
