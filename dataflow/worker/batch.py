"""A batch on the worker: its elements one after another, depth first.

Lives here: the walk over groups and elements, and which values stay. Does not
live here: the columns of what comes out (``step.py``), calling user code
(``attempt.py``), finding arguments (``values.py``), splitting a batch
(``splitting.py``).

The walk never raises for an element. What it did not start, because it was
asked to stop or its time was up, it hands back as LEFT. When an element keeps
the others waiting past the batch's time, the batch is split: what has ended is
reported with its values, the element runs on (reported as RUNNING), and a later
batch on the same worker collects it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from dataflow.batch import Batch, Block, Column, Group, RunInfo
from dataflow.captured_logs import capture
from dataflow.context import current_task
from dataflow.outcomes import Attempt, Code, Report
from dataflow.process_memory import peak_memory
from dataflow.worker.claiming import looked_at
from dataflow.worker.control import Control, current_control
from dataflow.worker.logs import BatchLog
from dataflow.worker.splitting import (
    FirstPart,
    collect,
    run_splittable,
    second_part,
    with_size,
)
from dataflow.worker.step import Step, length_of, prepare_singles, settled
from dataflow.worker.usage import CpuMeter, share_out
from dataflow.worker.values import Absent, Values

_clock = time.perf_counter


def run_batch(
    batch: Batch, inputs: Sequence[Block], run: RunInfo, *, worker: str, control: Control,
    remote: bool, may_split: bool = True,
) -> tuple[Report, Block | None]:
    """Run a batch and return what happened and the values to keep.

    Parameters
    ----------
    batch
        What to run.
    inputs
        The blocks of ``batch.inputs``.
    run
        The flow run.
    worker
        How this worker is called in the records.
    control
        Polled before each element.
    remote
        The report will cross a process border: exceptions are pickled.
    may_split
        False keeps all in the calling thread, so that a debugger can follow.

    Returns
    -------
    Report, Block or None
        No block where no value is to be kept.

    Notes
    -----
    Ctrl-C, which only an inline runner's batch can meet, ends the batch; it is found in
    ``control.interrupt``, and for the caller to raise when the report is delivered.
    """
    if run.extra_loggers:
        capture(run.extra_loggers, run.log_level)
    if remote:
        control.worker = worker
    if batch.at_once:
        from dataflow.worker import async_splitting as side_by_side

        if batch.collect is not None:
            return side_by_side.collect(batch, run, worker, control, remote)
        return side_by_side.run(batch, inputs, run, worker, control, remote, may_split)
    if batch.collect is not None:
        return collect(batch, run, worker, control, remote)
    walk = _Walk(batch, inputs, run, worker, control, remote)
    if may_split and batch.budget_s is not None:
        return run_splittable(walk)
    task_token, control_token = current_task.set(None), current_control.set(None)
    try:
        with looked_at(walk.look):
            return walk.go()
    finally:
        current_task.reset(task_token)
        current_control.reset(control_token)


class _Walk:
    """One batch under way."""

    first_part: tuple[Report, Block | None]

    def __init__(self, batch: Batch, inputs: Sequence[Block], run: RunInfo, worker: str,
                 control: Control, remote: bool) -> None:
        self.batch = batch
        self.run = run
        self.control = control
        self.remote = remote
        self.values = Values(batch, inputs)
        self.logs = BatchLog(run.log_limit)
        self.attempts: list[Attempt] = []
        self.nested: list[tuple[str, Any]] = []  # records of what elements ran themselves
        self.missing: dict[tuple[int, int], None] = {}
        self.columns: dict[int, Column] = {}
        self.groups: list[list[Step]] = []  # that have ended, in order
        self.report = Report(batch.id, worker, time.time(), [], remote=remote)
        self.began = _clock()
        self.first = True
        self._prepared_s = 0.0
        self._preparing: float | None = None  # since when
        self._made: list[list[Step]] = []
        self._released = False
        self._seen: object = None  # the element at hand when it was last looked at
        self._border = threading.Lock()
        self._at: tuple[int, list[Step], int] | None = None  # group, steps, element at hand
        self._ended = False
        self._split = False
        self.meter = CpuMeter()
        self.peak_bytes: int | None = None

    def go(self) -> tuple[Report, Block | None]:
        current_control.set(self.control)
        self.meter.begin()  # in the thread that runs the elements
        for key in self.batch.lengths_of:
            self._length(*key)
        made = self._made = [[Step(self, part, group.indexes) for part in group.parts]
                             for group in self.batch.groups]
        if len(made) > 1:
            prepare_singles([steps[0] for steps in made if len(steps) == 1])
        for number, (group, steps) in enumerate(zip(self.batch.groups, made, strict=True)):
            self._group(number, group, steps)
        with self._border:
            self._ended = True
        if self._split:
            assert self._at is not None
            _, steps, position = self._at
            return second_part(self, steps, position)
        return self._close()

    def split(self) -> bool:
        """Report what has ended so far, called from another thread; False when all has."""
        with self._border:
            if self._ended or self._at is None:
                return False
            self._split = True
            number, steps, position = self._at
            # a group that was handed back as a whole may stand behind the one of the element
            before = [step for group in self.groups[:number] for step in group]
            self.first_part = FirstPart(self, before, number, steps, position).report()
        return True

    def look(self) -> None:
        """End the batch with the element at hand where that is slow; called from another thread.

        It may wait for a result that others compute, and they for one that is claimed here.
        """
        with self._border:
            at, seen, self._seen = self._at, self._seen, self._at
            if at is None or at is not seen or self._released:
                return
            if self._preparing is None and not self._ended:
                self._released = True
                self.release_rest(*at)

    def release_rest(self, number: int, steps: list[Step], position: int) -> None:
        """Let others compute what has not begun, and see what has ended."""
        for step in steps:
            if step.keeper is not None:
                step.keeper.flush()
                step.keeper.narrow([position])
        for later in self._made[number + 1 :]:
            for step in later:
                if step.keeper is not None:
                    step.keeper.narrow(())

    def left_s(self) -> float:
        """Return how long the elements may still take; what is done before they run is not theirs.

        Keys, look-ups and claims of all elements would else be made again for those that were
        handed back, and again.
        """
        budget = self.batch.budget_s
        if self._released:
            return -math.inf
        if budget is None:
            return math.inf
        now = self._preparing or _clock()
        return budget - (now - self.began - self._prepared_s)

    def _prepare(self, steps: list[Step]) -> None:
        self._preparing = _clock()
        for step in steps:
            step.prepare(wanted=step.part.keep or len(steps) > 1)
        self._prepared_s += _clock() - self._preparing
        self._preparing = None

    def _enter(self, number: int, steps: list[Step], position: int) -> bool:
        with self._border:
            if self._split:
                return False
            self._at = (number, steps, position)
            return True

    def _length(self, call: int, index: int, depth: int) -> None:
        try:
            self.report.lengths[call, index, depth] = length_of(self.values.get(call, index), depth)
        except Absent:
            self.missing[call, index] = None

    def _group(self, number: int, group: Group, steps: list[Step]) -> None:
        control = self.control
        if not control.stopped and (self.first or self.left_s() >= 0):
            self._prepare(steps)
        passing = [s for s in steps[:-1] if not s.part.keep and not s.single]
        done = 0
        if steps[0].keeper is not None and len(steps) == 1 and not control.stopped:
            with self._border:
                if self._split:
                    return
                if steps[0].take_all():
                    done = len(group.indexes)
        for position, index in enumerate(group.indexes[done:]):
            if control.stopped:
                break
            if not self.first and self.left_s() < 0:
                break
            if not self._enter(number, steps, position):
                return
            self.first = False
            for step in steps:
                step.element(position, index)
            done += 1
            if passing and not any(step.unfinished for step in steps):
                for step in passing:  # depth first: nothing piles up between the steps
                    step.fresh.pop(index, None)
            if any(step.over for step in steps):
                break
        for step in steps:
            step.close(done)
        self.groups.append(steps)

    def _close(self) -> tuple[Report, Block | None]:
        report = self.report
        report.logs = self.logs.close()
        steps = [step for group in self.groups for step in group]
        report.keeping_s = settled(steps)
        self.peak_bytes = peak_memory()
        report.spans = [step.span(slice(None)) for step in steps]
        report.cpu_s = self.meter.spent_s()
        share_out(report.spans, report.cpu_s)
        report.children_cpu_s = self.meter.children_s
        report.attempts = self.attempts
        report.nested = self.nested
        report.missing = list(self.missing)
        complete = all(min(step.codes, default=Code.COMPLETED) >= Code.COMPLETED
                       for step in steps)
        for step in steps:
            if step.part.keep or not complete:
                step.keep_in(self.columns, set())
        return with_size(report, self.columns)
