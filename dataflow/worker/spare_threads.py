"""Threads that run one call for somebody who may not want to wait for its end.

Lives here: a pool of daemon threads, each of which can be left behind. Does not
live here: when to leave one behind (``deadline.py``, ``splitting.py``).
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

IDLE_LIMIT = 64
"""Threads without work that one process keeps; more are ended."""

_LOOK_UP_S = 0.5  # of the main thread: a signal that comes as a lock is about to block is not heard

_lock = threading.Lock()
_idle: list[Helper] = []


class Job:
    """One call: when it ended, what it gave or raised.

    Attributes
    ----------
    began
        A thread has taken it up.
    unwanted
        Nobody waits for it any more: a thread that takes it up does not call the function.
    """

    __slots__ = ("args", "began", "context", "done", "error", "fn", "kwargs", "unwanted", "value")

    def __init__(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self.context = contextvars.copy_context()
        self.began = self.unwanted = False
        self.done = threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, hearing signals; False when the time is up first."""
        if threading.current_thread() is not threading.main_thread():
            return self.done.wait(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.done.is_set():
            left = _LOOK_UP_S if until is None else min(_LOOK_UP_S, until - time.monotonic())
            if left <= 0:
                return False
            self.done.wait(left)
        return True

    def outcome(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            del self  # the error's frames would hold the job in a ring


class Helper(threading.Thread):
    """A daemon thread that runs one job at a time until it is left behind."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="dataflow-helper")
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._on_end: Callable[[], None] | None = None
        self.start()

    def run(self) -> None:
        """Run jobs until there is a None among them."""
        job: Job | None = None
        try:
            while (job := self._jobs.get()) is not None:
                try:
                    job.began = True
                    if not job.unwanted:
                        job.value = job.context.run(job.fn, *job.args, **job.kwargs)
                except BaseException as error:  # user code: raised again by Job.outcome
                    job.error = error
                job.done.set()
                job = None  # a thread that waits holds no values
        except BaseException:  # raised in here by somebody else, too late for the job it was for
            pass
        finally:
            if job is not None:
                job.done.set()
            if self._on_end is not None:
                self._on_end()

    def give(self, job: Job) -> None:
        """Run a job in this thread."""
        self._jobs.put(job)

    def leave_behind(self, on_end: Callable[[], None]) -> None:
        """Do not come back to the pool; ``on_end`` is called when the job at hand has ended."""
        self._on_end = on_end
        self.end()

    def end(self) -> None:
        """End when there is nothing left to do."""
        self._jobs.put(None)


def take() -> Helper:
    """Take a free thread out of the pool, or make one."""
    with _lock:
        helper = _idle.pop() if _idle else None
    return helper or Helper()


def put_back(helper: Helper) -> None:
    """Give a thread whose job has ended back to the pool; where that is full, it ends."""
    with _lock:
        full = len(_idle) >= IDLE_LIMIT
        if not full:
            _idle.append(helper)
    if full:
        helper.end()
