"""Soft timeouts: user code in a helper thread that is left behind at the deadline.

Python cannot stop a thread. At the deadline the caller goes on with a
:class:`TaskRunTimeoutError`; the thread gets the same error raised inside it at
its next bytecode (which ends Python loops, not a blocking C call) and its value
is dropped. Threads left behind are counted and capped.

Lives here: the deadline. Does not live here: the threads (``spare_threads.py``), hard
timeouts (``isolate.py``).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from dataflow.exceptions import TaskRunTimeoutError
from dataflow.worker.spare_threads import Helper, Job, put_back, take

ABANDONED_LIMIT = 64
"""Threads past their deadline that one process tolerates; the next one is waited for."""

_lock = threading.Lock()
_abandoned: set[Helper] = set()


def call_with_deadline(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], timeout_s: float,
    error: BaseException | None = None, inside: type[BaseException] = TaskRunTimeoutError,
) -> Any:
    """Call ``fn`` and return its value, or raise at the deadline.

    Parameters
    ----------
    fn, args, kwargs
        The call.
    timeout_s
        Seconds it may take.
    error
        Raised at the deadline; by default a TaskRunTimeoutError.
    inside
        What is raised inside the thread that is left behind, at its next bytecode.

    Raises
    ------
    TaskRunTimeoutError
        ``fn`` did not return within ``timeout_s`` seconds. It may still run.
    """
    helper = take()
    job = Job(fn, args, kwargs)
    helper.give(job)
    try:
        in_time = job.wait(timeout_s)
    except BaseException:  # Ctrl-C
        _leave_behind(helper, job, inside, wait=False)
        raise
    if not in_time:
        _leave_behind(helper, job, inside)
        raise error or TaskRunTimeoutError(
            f"Task run exceeded timeout of {timeout_s} second(s)", timeout_seconds=timeout_s
        )
    put_back(helper)
    return job.outcome()


def _leave_behind(helper: Helper, job: Job, inside: type[BaseException], *,
                  wait: bool = True) -> None:
    with _lock:
        _abandoned.add(helper)
        full = len(_abandoned) > ABANDONED_LIMIT
    job.unwanted = True
    if job.began and not job.done.is_set() and helper.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(helper.ident), ctypes.py_object(inside)
        )
    # after the exception, so that it cannot come between the helper's end and the call it owes
    helper.leave_behind(lambda: _gone(helper))
    if full and wait:
        job.done.wait()


def _gone(helper: Helper) -> None:
    with _lock:
        _abandoned.discard(helper)
