"""A batch of async elements that outlasts its time is told piece by piece.

Lives here: the runner's side of such a batch: how long it is waited for, and
the register of those whose elements go on until a later batch collects them.
Does not live here: the loop and the elements (``async_batch.py``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from dataflow.batch import Batch, Block, RunInfo
from dataflow.outcomes import Report
from dataflow.worker.async_batch import AsyncWalk
from dataflow.worker.control import Control
from dataflow.worker.kinds import outside_loops
from dataflow.worker.spare_threads import Helper, Job, put_back, take

_POLL_S = 0.05  # how often a batch that waits for elements looks whether to stop
_PIECE_S = 0.2  # what ended meanwhile is told so often
_CLOSING_S = 0.05  # a loop that closes is waited for so long
_STOPPING_S = 1.0  # elements that were cancelled are waited for so long
_UNCOLLECTED_LIMIT = 1000  # batches that ended kept for a batch that collects them
_Result = tuple[Report, Block | None]

_lock = threading.Lock()
_going_on: dict[tuple[str, int], AsyncWalk] = {}


def run(batch: Batch, inputs: Sequence[Block], run: RunInfo, worker: str, control: Control,
        remote: bool, may_split: bool) -> _Result:
    """Run a batch; where its time is up first, return what has ended and leave the rest running.

    Without ``may_split`` it runs to its end in the calling thread, or beside it
    where an event loop runs there.
    """
    walk = AsyncWalk(batch, inputs, run, worker, control, remote)
    if not may_split:
        outside_loops(walk.go)
        return walk.last()
    helper, job = take(), Job(walk.go, (), {})
    helper.give(job)
    walk.begun.wait()
    if not walk.ended.wait(batch.budget_s):
        key = (run.flow_run_id, batch.id)
        with _lock:
            _going_on[key] = walk
        helper.leave_behind(_forget_later)
        return walk.part(batch.id)
    _give_back(helper, job)
    return walk.last()


def _give_back(helper: Helper, job: Job) -> None:
    """Put a helper back whose loop is closed, or leave one behind that takes its time for it."""
    if job.done.wait(_CLOSING_S):
        put_back(helper)
    else:
        helper.leave_behind(lambda: None)


def _forget_later() -> None:
    """Drop the oldest batches that ended and that nobody came for."""
    with _lock:
        ended = [key for key, walk in _going_on.items() if walk.ended.is_set()]
        for old in ended[:-_UNCOLLECTED_LIMIT]:
            del _going_on[old]


def collect(batch: Batch, run: RunInfo, worker: str, control: Control, remote: bool) -> _Result:
    """Wait for elements that an earlier batch left running, and report those that ended.

    The others stand in the report as RUNNING, to be collected again.
    """
    assert batch.collect is not None
    key = (run.flow_run_id, batch.collect)
    with _lock:
        walk = _going_on.get(key)
    if walk is None:  # not here: it ran on a worker that is gone
        return Report(batch.id, worker, time.time(), [], remote=remote), None
    until = time.monotonic() + _PIECE_S
    while not walk.ended.wait(_POLL_S):
        if control.stopped:
            walk.control.stop()
            walk.ended.wait(_STOPPING_S)
            break
        if walk.has_news() and time.monotonic() > until:
            break
    if walk.ended.is_set():
        with _lock:
            _going_on.pop(key, None)
        if walk.fault is not None:
            return Report(batch.id, worker, time.time(), [], remote=remote), None
    return walk.part(batch.id)
