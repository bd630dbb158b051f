"""A batch whose element at hand keeps the others waiting is split.

Lives here: the first part (what has ended, reported with its values while the
slow element runs on), the second part (that element, collected by a later batch
on the same worker), and the register of what was left running. Does not live
here: the walk over the elements (``batch.py``).
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from dataflow.batch import Batch, Block, Column, RunInfo
from dataflow.outcomes import SHARED_CPU, Code, Report, Span
from dataflow.process_memory import peak_memory
from dataflow.worker.control import Control
from dataflow.worker.sizes import column_bytes
from dataflow.worker.spare_threads import Job, put_back, take
from dataflow.worker.step import Step, settled
from dataflow.worker.step import Walk as StepWalk
from dataflow.worker.usage import share_out

_POLL_S = 0.1  # how often a batch that waits for an element looks whether to stop
_LOOK_AGAIN_S = 0.01  # how often a batch is looked at that has not begun its elements
_UNCOLLECTED_LIMIT = 64  # ended elements kept for a batch that collects them
_Result = tuple[Report, Block | None]

_lock = threading.Lock()
_left_running: dict[tuple[str, int], tuple[Job, Control]] = {}


class Walk(StepWalk, Protocol):
    """What splitting needs of a batch."""

    report: Report
    first_part: _Result

    def go(self) -> _Result:
        """Run the batch."""

    def left_s(self) -> float:
        """Return how long its elements may still take."""

    def release_rest(self, number: int, steps: list[Step], position: int) -> None:
        """Let others compute what has not begun, and see what has ended."""

    def split(self) -> bool:
        """Make the first part, called from another thread; False when all has ended."""


def run_splittable(walk: Walk) -> tuple[Report, Block | None]:
    """Run a batch in a helper thread, and go on without its last element if that one is slow."""
    helper, job = take(), Job(walk.go, (), {})
    helper.give(job)
    while not job.done.wait(max(walk.left_s(), _LOOK_AGAIN_S)):
        if walk.left_s() > 0 or not walk.split():
            continue
        key = (walk.run.flow_run_id, walk.batch.id)
        with _lock:
            _left_running[key] = job, walk.control
        helper.leave_behind(partial(_forget_later, key))
        return walk.first_part
    put_back(helper)
    result: tuple[Report, Block | None] = job.outcome()
    return result


def _forget_later(key: tuple[str, int]) -> None:
    """Drop the oldest elements that ended and that nobody came for."""
    with _lock:
        ended = [k for k, (job, _) in _left_running.items() if job.done.is_set()]
        for old in ended[:-_UNCOLLECTED_LIMIT]:
            del _left_running[old]


def collect(batch: Batch, run: RunInfo, worker: str, control: Control,
             remote: bool) -> tuple[Report, Block | None]:
    """Wait for the element that an earlier batch left running and report it."""
    assert batch.collect is not None
    key = (run.flow_run_id, batch.collect)
    with _lock:
        job = _left_running.get(key, (None,))[0]
    control.on_stop(lambda: stop_left_running(*key))
    while job is not None and not job.done.wait(_POLL_S):
        if control.stopped:
            job = None
    if job is None or job.error is not None:  # not here: it ran on a worker that is gone
        return Report(batch.id, worker, time.time(), [], remote=remote), None
    with _lock:
        _left_running.pop(key, None)
    report, block = job.value
    report.batch = batch.id
    return report, block


def wait_for_left_running(flow_run_id: str, batch: int) -> None:
    """Wait until the element that a batch left running has ended; at once if there is none."""
    with _lock:
        left = _left_running.get((flow_run_id, batch))
    if left is not None:
        left[0].done.wait()


def stop_left_running(flow_run_id: str, batch: int) -> None:
    """Stop the element that a batch left running, which nobody wants any more."""
    with _lock:
        left = _left_running.get((flow_run_id, batch))
    if left is not None:
        left[1].stop()


def second_part(walk: Walk, steps: list[Step], position: int) -> _Result:
    """Return the report and the value of the element that ran on."""
    first = walk.first_part[0]
    lines, history, nested = len(first.logs), len(first.attempts), len(first.nested)
    report = replace(walk.report, spans=[], logs=walk.logs.close()[lines:],
                     attempts=walk.attempts[history:], nested=walk.nested[nested:], missing=[])
    columns: dict[int, Column] = {}
    settled(steps)
    walk.peak_bytes = peak_memory()
    for step in steps:
        index = step.indexes[position]
        report.spans.append(step.span(slice(position, position + 1)))
        if index in step.fresh:
            columns[step.call] = Column([index], [step.fresh[index]])
    report.cpu_s = walk.meter.spent_s()
    share_out(report.spans, report.cpu_s)
    report.children_cpu_s = walk.meter.children_s
    return with_size(report, columns)


class FirstPart:
    """What has ended of a batch whose element at hand runs on."""

    def __init__(self, walk: Walk, before: list[Step], number: int, steps: list[Step],
                 position: int) -> None:
        self.walk = walk
        self.before = before  # of groups that have ended
        self.number = number
        self.steps = steps
        self.position = position

    def report(self) -> tuple[Report, Block | None]:
        """Return the report and the values of what has ended."""
        walk = self.walk
        report = replace(
            walk.report, spans=[], logs=list(walk.logs.lines), attempts=list(walk.attempts),
            missing=list(walk.missing), nested=list(walk.nested),
        )
        columns: dict[int, Column] = {}
        report.keeping_s = settled(self.before)
        walk.peak_bytes = peak_memory()
        walk.release_rest(self.number, self.steps, self.position)
        for step in self.before:
            report.spans.append(step.span(slice(None)))
            step.keep_in(columns, set())
        for step in self.steps:
            report.spans.append(self._cut(step))
            step.keep_in(columns, {step.indexes[self.position]})
        report.cpu_s = walk.meter.noted_s()
        share_out(report.spans, report.cpu_s)
        later = walk.batch.groups[self.number + 1 :]
        report.spans += [_left(p.code.call, g.indexes) for g in later for p in g.parts]
        return with_size(report, columns)

    def _cut(self, step: Step) -> Span:
        """Return a step's span: ended, then RUNNING, then LEFT."""
        span = step.span(slice(0, self.position))
        rest = len(step.indexes) - self.position
        span.indexes = step.indexes
        span.codes += bytes([Code.RUNNING]) + bytes([Code.LEFT]) * (rest - 1)
        span.started.extend([0.0] * rest)
        span.elapsed.extend([0.0] * rest)
        if span.own_cpu is not None:
            span.own_cpu.extend([SHARED_CPU] * rest)
        if span.keys is not None:
            span.keys += bytes(16 * rest)
        return span


def _left(call: int, indexes: Sequence[int]) -> Span:
    count = len(indexes)
    zeros = array("f", bytes(4 * count))
    return Span(call, indexes, bytearray([Code.LEFT]) * count, zeros, array("f", zeros))


def with_size(report: Report, columns: dict[int, Column]) -> _Result:
    """Return a report that knows the size of its values, and the block of them."""
    if not columns:
        return report, None
    report.size_bytes = sum(column_bytes(c.values) for c in columns.values())
    return report, Block(columns, report.size_bytes)
