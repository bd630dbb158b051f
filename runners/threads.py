"""Threads of the flow's own process: the default runner, no server, no Dask.

Lives here: the pool and its session. Values are never copied: a task gets the
very object that another returned.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue

from dataflow.batch import Batch, Block, RunInfo
from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.outcomes import Code
from dataflow.runner import (
    BatchDone,
    BatchLost,
    Capacity,
    Handle,
    RunnerSession,
    Sink,
    TaskRunner,
    ThreadBudget,
)
from dataflow.worker.batch import run_batch
from dataflow.worker.control import Control
from dataflow.worker.isolate import end_busy_children, end_idle_children
from dataflow.worker.spare_threads import Job, put_back, take
from dataflow.worker.splitting import stop_left_running, wait_for_left_running

UNBOUNDED = 1000
"""Threads at most where ``max_workers`` is not given."""

_Job = Callable[[], None]


class ThreadPoolTaskRunner(TaskRunner):
    """Runs tasks in threads of this process.

    Parameters
    ----------
    max_workers
        Threads at most. By default as many as tasks that wait (for a network,
        a disk, a lock) can use, while computing tasks get one per core.

    Raises
    ------
    DefinitionError
        ``max_workers`` is no whole number above zero.
    """

    name = "threads"
    local = True

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None:
            if type(max_workers) is not int:
                raise DefinitionTypeError(
                    f"max_workers must be a whole number, got {max_workers!r}",
                    option="max_workers",
                )
            if max_workers < 1:
                raise DefinitionError(
                    f"max_workers must be 1 or more, got {max_workers}", option="max_workers"
                )
        self.max_workers = max_workers
        self._pool: _Pool | None = None

    def __repr__(self) -> str:
        return f"ThreadPoolTaskRunner(max_workers={self.max_workers})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ThreadPoolTaskRunner) and other.max_workers == self.max_workers

    def __hash__(self) -> int:
        return hash((type(self), self.max_workers))

    def duplicate(self) -> ThreadPoolTaskRunner:
        """Return an unstarted runner with the same settings."""
        return ThreadPoolTaskRunner(self.max_workers)

    def start(self) -> None:
        """Make the pool; threads begin as they are needed."""
        self._pool = _Pool(self.max_workers or UNBOUNDED, self.budget)

    def session(self, run: RunInfo, sink: Sink) -> RunnerSession:
        """Open a session for one flow run."""
        assert self._pool is not None
        cores = os.cpu_count() or 1
        ceiling = self.max_workers or UNBOUNDED
        return _Session(self._pool, Capacity(min(cores, ceiling), ceiling), run, sink)

    def close(self, *, cancelled: bool = False) -> None:
        """Let the threads end; one that is in user code ends with it and delays nobody."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self.budget is None:  # else others of this process go on
            end_idle_children()


class _Pool:
    """Daemon threads made on demand: an interpreter's exit does not wait for them."""

    def __init__(self, limit: int, budget: ThreadBudget | None = None) -> None:
        self._limit = limit
        self._budget = budget
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # threads waiting for a job, less the jobs waiting for a thread

    def run(self, job: _Job) -> None:
        """Run a job in some thread."""
        with self._lock:
            self._free -= 1
            if self._free < 0 and self._threads < self._limit and self._may_grow():
                self._threads += 1
                self._free += 1
                name = f"dataflow-thread-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def _may_grow(self) -> bool:
        return self._budget is None or self._budget.take(owed=self._threads == 0)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
                del job
                with self._lock:
                    self._free += 1
        finally:
            if self._budget is not None:
                self._budget.give_back()

    def close(self) -> None:
        """End each thread after the job it is at."""
        for _ in range(self._threads):
            self._jobs.put(None)


def _run_beside(job: _Job) -> None:
    helper = take()

    def run() -> None:
        job()
        put_back(helper)

    helper.give(Job(run, (), {}))


class _Session(RunnerSession):
    def __init__(self, pool: _Pool, capacity: Capacity, run: RunInfo, sink: Sink) -> None:
        self._pool = pool
        self._capacity = capacity
        self._run = run
        self._sink = sink
        self._controls: dict[int, Control] = {}
        self._holding: dict[int, _Job | None] = {}  # split batches: what collects the rest
        self._lock = threading.Lock()
        self._closed = False

    def capacity(self) -> Capacity:
        """Return the capacity, which never changes."""
        return self._capacity

    def submit(self, batch: Batch, inputs: Sequence[Handle]) -> None:
        """Queue a batch; its inputs are the blocks themselves."""
        control = self._controls[batch.id] = Control()
        if batch.collect is not None:
            control.on_stop(partial(stop_left_running, self._run.flow_run_id, batch.collect))

        def job() -> None:
            event = self._event_of(batch, inputs, control)
            self._controls.pop(batch.id, None)
            outlasted = isinstance(event, BatchDone) and not batch.at_once and any(
                Code.RUNNING in span.codes for span in event.report.spans
            )
            if outlasted:
                with self._lock:
                    self._holding[batch.id] = None
            if not self._closed:
                self._sink(event)
            if outlasted:
                self._hold_place(batch.id)

        if batch.collect is not None and batch.at_once:
            _run_beside(job)  # what waits on an event loop needs no thread of the pool
            return
        if batch.collect is not None:
            with self._lock:
                if batch.collect in self._holding:  # the thread it waits for will run it
                    self._holding[batch.collect] = job
                    return
        self._pool.run(job)

    def _event_of(self, batch: Batch, inputs: Sequence[Handle],
                  control: Control) -> BatchDone | BatchLost:
        try:
            report, block = run_batch(
                batch, [Block({}) if i is None else i for i in inputs], self._run,
                worker=self._name(), control=control, remote=False,
            )
        except Exception:  # a fault of ours: told, since a batch must come to an end
            return BatchLost(batch.id,
                             f"the thread could not run it:\n{traceback.format_exc()}")
        return BatchDone(batch.id, report, block)

    def _name(self) -> str:
        """Return how the thread at hand is called in the records."""
        thread, around = threading.current_thread().name, self._run.worker
        return thread if around is None else f"{around} {thread}"

    def _hold_place(self, batch: int) -> None:
        """Occupy this thread as long as an element runs that outlasted its batch."""
        wait_for_left_running(self._run.flow_run_id, batch)
        with self._lock:
            collecting = self._holding.pop(batch)
        if collecting is not None:
            collecting()

    def fetch(self, handles: Sequence[Handle], timeout_s: float | None = None) -> list[Block]:
        """Return the blocks, which are here already."""
        return list(handles)

    def release(self, handles: Iterable[Handle]) -> None:
        """Nothing to do: a block goes with its last reference."""

    def cancel(self, batches: Sequence[int]) -> None:
        """Stop batches before their next element."""
        for batch in batches:
            control = self._controls.get(batch)
            if control is not None:
                control.stop()

    def close(self, *, cancelled: bool = False) -> None:
        """Stop what runs and report nothing any more."""
        self._closed = True
        for control in list(self._controls.values()):
            control.stop()
        if cancelled:
            end_busy_children(self._run.flow_run_id)
