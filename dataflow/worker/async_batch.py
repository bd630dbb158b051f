"""A batch of async elements on a worker: side by side on one event loop.

Lives here: which element begins when, what is reported when the batch's time is
up while some still wait, how the others are collected, and the end of the loop.
Does not live here: one call's columns (``async_step.py``), one execution
(``async_attempt.py``), elements one after another (``batch.py``).

The loop runs in a helper thread of its own, so that neither the runner's thread
nor a loop that runs there is held up. An element is a chain of steps; whoever
reports sees it begun or ended as a whole. What ended is told once: first with
everything of the batch, later, by batches that collect, with what was RUNNING.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dataflow.batch import Batch, Block, Column, RunInfo
from dataflow.context import current_task
from dataflow.outcomes import Attempt, Code, Report
from dataflow.process_memory import peak_memory
from dataflow.worker.async_step import AsyncStep
from dataflow.worker.control import Control, current_control
from dataflow.worker.logs import BatchLog
from dataflow.worker.splitting import with_size
from dataflow.worker.step import settled
from dataflow.worker.usage import CpuMeter, share_out_side_by_side
from dataflow.worker.values import Values

_clock = time.perf_counter
_LOOK_S = 0.1  # how often a loop looks whether to stop
_STUCK_S = 1.0  # a loop that has not looked for so long is held up by an element
_WAITING, _RUNNING, _ENDED, _TOLD = range(4)

_Result = tuple[Report, Block | None]


class Lane:
    """Elements of one function, of which only so many run at once."""

    __slots__ = ("limit", "running", "todo")

    def __init__(self, limit: int, todo: Iterator[tuple[int, int]]) -> None:
        self.limit = limit
        self.running = 0
        self.todo = todo  # (group, position) that have not begun


class AsyncWalk:
    """One batch under way; parameters as for :func:`dataflow.worker.batch.run_batch`."""

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
        self._report = Report(batch.id, worker, time.time(), [], remote=remote)
        self.began = _clock()
        self.begun = threading.Event()
        """Keys are made and results looked up: from now on it is the elements that take time."""
        self.ended = threading.Event()
        """Every element has ended or was not begun; the loop may still be closing."""
        self.fault: BaseException | None = None
        self.meter = CpuMeter()  # not begun: elements that share a thread are not measured each
        self.peak_bytes: int | None = None
        self._groups = [[AsyncStep(self, part, group.indexes) for part in group.parts]
                        for group in batch.groups]
        self._marks = [bytearray(len(group.indexes)) for group in batch.groups]
        self._closed = False  # nothing more begins
        self._told = False  # a part was reported
        self._told_lines = self._told_attempts = self._told_nested = 0
        self._news = 0  # elements that ended and were not told
        self._border = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy_s = self._told_cpu_s = 0.0
        self._looked = self.began
        self._has_timeouts = any(step.part.code.task.timeout_s is not None
                                 for steps in self._groups for step in steps)

    # on the loop's thread

    def go(self) -> None:
        """Run the elements; returns when the loop is closed."""
        try:
            asyncio.run(self._main())
        except KeyboardInterrupt as error:  # told with the report, where elements met it
            if self.control.interrupt is None:
                self.control.interrupted(error)
        except BaseException as error:  # a fault of ours
            self.fault = error
            raise
        finally:
            self.begun.set()
            self.ended.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        current_task.set(None)
        current_control.set(self.control)
        self._context = contextvars.copy_context()
        self._cpu_began = time.thread_time()
        self._look()
        for steps in self._groups:
            for step in steps:
                step.prepare(wanted=step.part.keep or len(steps) > 1)
        self.begun.set()
        for lane in self._lanes():
            self._fill(lane)
        try:
            if self._tasks:
                await self._over
        except asyncio.CancelledError:  # Ctrl-C
            self.control.interrupted(KeyboardInterrupt())
            self._stop()
            await asyncio.wait(self._tasks)
            raise
        finally:
            self._looking.cancel()
        with self._border:
            self._closed = True
        self.ended.set()

    def _lanes(self) -> list[Lane]:
        """Return the elements by function; each has a limit of its own."""
        by_token: dict[str, list[int]] = {}
        for number, steps in enumerate(self._groups):
            by_token.setdefault(steps[0].part.code.task.token, []).append(number)
        lanes = []
        for numbers in by_token.values():
            tasks = [step.part.code.task for step in self._groups[numbers[0]]]
            limit = min(self.batch.at_once or 1, *(max(1, task.concurrency) for task in tasks))
            lanes.append(Lane(limit, iter([(number, position) for number in numbers
                                           for position in range(len(self._marks[number]))])))
        return lanes

    def _fill(self, lane: Lane) -> None:
        """Begin elements while the lane has room; each has a context of its own."""
        while lane.running < lane.limit and not self._closed and not self.control.stopped:
            at = next(lane.todo, None)
            if at is None:
                return
            lane.running += 1
            task = self._loop.create_task(self._element(*at), context=self._context.copy())
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._gone(lane, task), context=self._context)

    def _gone(self, lane: Lane, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        lane.running -= 1
        if not task.cancelled() and task.exception() is not None:
            self.fault = task.exception()
            self._closed = True
        self._fill(lane)
        if not self._tasks and not self._over.done():
            self._over.set_result(None)

    async def _element(self, number: int, position: int) -> None:
        steps, marks = self._groups[number], self._marks[number]
        with self._border:
            if self._closed:
                return
            marks[position] = _RUNNING
        index = steps[0].indexes[position]
        try:
            for step in steps:
                await step.arrive(position, index)
        except asyncio.CancelledError:  # in a hook, say: the function itself has ended
            for step in steps:
                if step.codes[position] == Code.LEFT:
                    step.codes[position] = Code.CANCELLED
        final = all(step.codes[position] >= Code.COMPLETED for step in steps)
        with self._border:
            if marks[position] != _RUNNING:  # told as past its time
                return
            marks[position] = _ENDED
            self._news += 1
            self._busy_s = time.thread_time() - self._cpu_began
            if final:
                for step in steps:
                    if not step.part.keep:
                        step.fresh.pop(index, None)
        if not steps[0].single and any(step.over for step in steps):
            self.control.stop()
            self._stop()

    def _look(self) -> None:
        """Note how much was computed, and whether to stop; again after a while."""
        self._looked = _clock()
        self._busy_s = time.thread_time() - self._cpu_began
        if self.control.stopped:
            self._stop()
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _stop(self) -> None:
        """Cancel what runs; what has not begun is handed back."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    # on the runner's thread

    def has_news(self) -> bool:
        """Tell whether an element has ended, or is past its time, that was not told."""
        return self._news > 0 or (self._is_stuck() and self._has_timeouts)

    def _is_stuck(self) -> bool:
        """Tell whether an element keeps the loop from going on: no timeout can end it."""
        return _clock() - self._looked > _STUCK_S

    def part(self, batch: int) -> _Result:
        """Report what was not told yet; what is under way stands there as RUNNING.

        Nothing more begins after the first time: it is handed back as LEFT.
        """
        with self._border:
            self._closed = True
            if self._has_timeouts and self._is_stuck():
                self._end_overdue()
            report = replace(
                self._report, batch=batch, spans=[], missing=[] if self._told else
                list(self.missing), wall_s=_clock() - self.began, busy_s=self._busy_s)
            columns: dict[int, Column] = {}
            self._keep_results(report)
            self.peak_bytes = peak_memory()
            for steps, marks in zip(self._groups, self._marks, strict=True):
                self._tell(steps, marks, report, columns)
            self._tell_cpu(report)
            self._news = 0
        over = self.ended.is_set()
        lines, attempts = self.logs.close() if over else self.logs.lines, self.attempts
        report.logs = lines[self._told_lines :]
        report.attempts = attempts[self._told_attempts :]
        report.nested = self.nested[self._told_nested :]
        self._told_lines += len(report.logs)
        self._told_attempts += len(report.attempts)
        self._told_nested += len(report.nested)
        self._told = True
        return with_size(report, columns)

    def _tell_cpu(self, report: Report) -> None:
        """Say what was computed since the last part, where something has ended in this one."""
        spans = [span for span in report.spans
                 if any(code not in (Code.LEFT, Code.RUNNING) for code in span.codes)]
        if spans:
            report.cpu_s, self._told_cpu_s = self._busy_s - self._told_cpu_s, self._busy_s
            share_out_side_by_side(
                spans, report.cpu_s, sum(len(marks) for marks in self._marks))

    def _keep_results(self, report: Report) -> None:
        """Write what is to be reported; claim no more than what still runs."""
        if self.ended.is_set():
            report.keeping_s = settled([step for steps in self._groups for step in steps])
            return
        for steps, marks in zip(self._groups, self._marks, strict=True):
            for step in steps:
                if step.keeper is not None:
                    step.keeper.flush()
                    step.keeper.narrow([at for at, mark in enumerate(marks) if mark == _RUNNING])

    def _end_overdue(self) -> None:
        """End elements past their time, since the loop does not come to it."""
        for steps, marks in zip(self._groups, self._marks, strict=True):
            for position, mark in enumerate(marks):
                if mark == _RUNNING and any(step.end_overdue(position) for step in steps):
                    marks[position] = _ENDED

    def _tell(self, steps: list[AsyncStep], marks: bytearray, report: Report,
              columns: dict[int, Column]) -> None:
        if self._told:
            told = [at for at, mark in enumerate(marks) if mark in (_RUNNING, _ENDED)]
            if not told:
                return
        else:
            told = list(range(len(marks)))
        running = [at for at in told if marks[at] == _RUNNING]
        ended = [at for at in told if marks[at] == _ENDED]
        for step in steps:
            report.spans.append(step.span_of(told, running))
            step.hand_over(columns, ended)
        for at in ended:
            marks[at] = _TOLD

    def last(self) -> _Result:
        """Report what was not told when all has ended. Raises a fault of ours."""
        if self.fault is not None:
            raise self.fault
        return self.part(self.batch.id)
