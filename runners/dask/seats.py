"""The slots that batches occupy on a Dask worker, and leaving one while a client is used.

Lives here: :class:`Seat`, one for each batch that runs in this process, and how
the running code finds its own. Does not live here: the thread pool
(``pool_threads.py``), clients (``clients.py``).

A batch's elements may run in another thread than the worker's, and the one at
hand may outlast its batch, so that a later batch waits for it: the seat is then
the later batch's slot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

from dataflow.batch import Batch, RunInfo
from runners.dask.pool_threads import PoolThread


class Seat:
    """One batch's slot: given up while code of it waits for the cluster.

    Attributes
    ----------
    worker
        The Dask worker.
    """

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._thread: PoolThread | None = None
        self._waiting = 0

    def take(self, thread: PoolThread) -> None:
        """Be held by a thread of the worker."""
        with self._lock:
            self._thread = thread
            if self._waiting:
                thread.leave()

    def give_up(self) -> None:
        """Be held by no thread any more; called by the thread that holds it."""
        with self._lock:
            if self._thread is not None:
                self._thread.end()
            self._thread = None

    def rank(self) -> tuple[bool, int]:
        """Return what is small for a seat that is to be left next."""
        return self._thread is None, self._waiting

    @contextmanager
    def left(self) -> Iterator[None]:
        """Let the slot be used by others inside of the block."""
        with self._lock:
            self._waiting += 1
            if self._waiting == 1 and self._thread is not None:
                self._thread.leave()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting and self._thread is not None:
                    self._thread.come_back()


_current: ContextVar[Seat | None] = ContextVar("dataflow_dask_seat", default=None)
_by_batch: WeakValueDictionary[tuple[str, int], Seat] = WeakValueDictionary()
_lock = threading.Lock()


@contextmanager
def seated(batch: Batch, run: RunInfo, worker: Any) -> Iterator[None]:
    """Run a batch in the calling thread of a worker."""
    seat: Seat | None = None
    if batch.collect is not None:
        seat = _by_batch.get((run.flow_run_id, batch.collect))
    if seat is None:
        seat = Seat(worker)
        with _lock:
            _by_batch[run.flow_run_id, batch.id] = seat
    seat.take(PoolThread(worker))
    token = _current.set(seat)
    try:
        yield
    finally:
        _current.reset(token)
        seat.give_up()


def seat_here() -> Seat | None:
    """Return the seat of the running code, None where it does not know of one."""
    return _current.get()


def seat_of_run(run: RunInfo) -> Seat | None:
    """Return a seat of a flow run in this process, None where there is none.

    Threads that a task run was given for what it submits do not know theirs; a
    worker has one for each of its threads. Those that are held come first, and
    of these one that nobody has left yet.
    """
    wanted = {run.flow_run_id, run.outer_flow_run_id}
    with _lock:
        found = [each for (flow_run_id, _), each in _by_batch.items() if flow_run_id in wanted]
    return min(found, key=Seat.rank, default=None)
