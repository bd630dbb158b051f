"""What a task run calls, submits and maps itself: its *inside*.

Lives here: where the calls of the running code go (:func:`run_around`), and the
two kinds of inside. Does not live here: the runner of an inside
(``nested_runner.py``), calling the task (``worker/attempt.py``), the way of the
records (``recorder.py``, ``driver.py``).

A task run on a runner has an inside of its own, made at its first call: a run
with a driver, whose runner is never the one that the task run occupies a place
of, so that nobody waits for a place that its own parent holds. A task that was
called directly adds to the run that called it: it occupies no place.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import replace
from typing import Any

from dataflow.batch import RunInfo
from dataflow.context import (
    FlowFacts,
    FlowRunContext,
    Inside,
    RunDriver,
    TaskRunContext,
    current_flow,
    current_task,
    entering,
    has_ended,
)
from dataflow.exceptions import CancelledRun
from dataflow.failures import describe, own_frames, record_of
from dataflow.final_state import Returned, unseen_failures
from dataflow.futures import Future, FutureList
from dataflow.logging import task_logger
from dataflow.nested_runner import runner_of_insides
from dataflow.outcomes import STATE_OF, Code, ErrorRecord
from dataflow.recorder import Gathered
from dataflow.resolve import Marker, has_marker, substitute
from dataflow.states import State
from dataflow.store import FlowRunRecord
from dataflow.worker.control import Control, current_control

_ENDED = "the task run around it ended"

logger = logging.getLogger("dataflow.driver")


def run_around() -> FlowRunContext | None:
    """Return the run that calls of the running code go to, None outside of any.

    Raises
    ------
    MissingContextError
        The task run that this code belongs to has ended.
    CancelledRun
        It was cancelled.
    """
    task_run = current_task.get()
    if task_run is None:
        return current_flow.get()
    if task_run.run is None:
        return None
    inside = task_run.inside
    if inside is None:
        inside = _inside_of(task_run, task_run.run)
    return inside.enter()


def within(task_run: TaskRunContext | None, flow_run: FlowRunContext | None, name: str) -> str:
    """Return where the task runs of a flow run stand that is called here, for messages."""
    if task_run is not None and task_run.run is not None:
        return f" of flow run {name!r} of task run {task_run.name!r}{task_run.run.place}"
    return f" of flow run {name!r}{flow_run.run.within}" if (
        flow_run is not None and flow_run.run.within) else ""


def _inside_of(task_run: TaskRunContext, run: RunInfo) -> Inside:
    """Make the inside of a task run, or return the one it has by now."""
    with entering:
        if task_run.inside is None:
            if task_run.caller is not None:
                task_run.inside = DirectInside(task_run, task_run.caller)
            else:
                task_run.inside = OwnInside(task_run, run)
        return task_run.inside


class DirectInside(Inside):
    """What a task run that was called directly runs itself: calls of the run that called it."""

    def __init__(self, task_run: TaskRunContext, caller: FlowRunContext) -> None:
        self.records: list[tuple[str, Any]] = []
        self._task_run = task_run
        self._caller = caller
        self._ended = False
        self.in_place = caller.runner is None or caller.runner.synchronous

    def enter(self) -> FlowRunContext:
        """Return the run that the task was called in."""
        if self._ended:
            raise has_ended(f"Task run {self._task_run.name!r}")
        return self._caller

    def leave(self, value: Any) -> Any:
        """Resolve futures; what is not awaited goes on until the run ends."""
        return _resolved(value)

    def abandon(self, code: Code, error: BaseException) -> None:
        """Cancel what the task run made and has not ended."""
        self._ended = True
        self._caller.driver.cancel_children(self._task_run.code.call)


class OwnInside(Inside):
    """The inside of a task run on a runner: a run with an id, a driver and a runner of its own.

    Parameters
    ----------
    task_run
        Whose inside it is: this attempt of it.
    run
        The run that the task run belongs to.
    """

    def __init__(self, task_run: TaskRunContext, run: RunInfo) -> None:
        from dataflow.driver import Driver

        task_run_id = task_run.id
        assert task_run_id is not None
        self.records: list[tuple[str, Any]] = []
        self._task_run = task_run
        self._stopped = self._ended = False
        self._gathered = Gathered()
        self._began_s = time.time()
        around = self._around = current_control.get()
        info = replace(
            run,
            flow_run_id=str(uuid.uuid5(uuid.UUID(task_run_id), str(task_run.attempt))),
            outer_flow_run_id=run.shown_flow_run_id, parent_task_run_id=task_run_id,
            key=task_run.key,
            within=f" of task run {task_run.name!r}{run.place}",
            worker=around.worker if around is not None and around.worker else run.worker,
        )
        runner = runner_of_insides()
        self.in_place = runner.synchronous
        driver: RunDriver = Driver(
            record=FlowRunRecord(
                kind="task", id=info.flow_run_id, name=task_run.name,
                flow_name=task_run.code.task.name, state_type="RUNNING", state_name="Running",
                created_s=self._began_s, start_time_s=self._began_s, run_count=task_run.attempt,
                parent_flow_run_id=info.outer_flow_run_id, parent_task_run_id=task_run_id,
            ),
            run=info, runner=runner, store=self._gathered, owns_runner=True,
        )
        driver.start()
        context = FlowRunContext(info, driver, FlowFacts(run.flow_name, run.flow_version),
                                 task_run.code.task.log_prints, task_run.logs, runner,
                                 run.root_flow_run_id or info.outer_flow_run_id)
        context.tags = task_run.code.tags - task_run.code.task.tags
        context.records = self._gathered
        context.control = Control()
        self._context = context
        if around is not None:
            around.on_stop(self._stop)

    def enter(self) -> FlowRunContext:
        """Return the run that calls go to."""
        if self._ended:
            raise has_ended(f"Task run {self._task_run.name!r}")
        if self._stopped:
            raise CancelledRun(f"Task run {self._task_run.name!r} was cancelled: it can call, "
                               "submit or map nothing any more.")
        return self._context

    def leave(self, value: Any) -> Any:
        """Resolve futures, wait for what was submitted and never awaited, close."""
        value = _resolved(value)
        for flow_run in list(self._context.children):
            flow_run.ended.wait()
        self._context.driver.finish(cancel=False)
        self._warn()
        self._close(Code.COMPLETED, None)
        return value

    def abandon(self, code: Code, error: BaseException) -> None:
        """Cancel what has not ended, and close. Never raises."""
        if self._ended:
            return
        try:
            self._context.driver.stop(_ENDED)
            for flow_run in list(self._context.children):
                flow_run.stop(_ENDED)
            self._context.driver.finish(cancel=True)
        except BaseException:  # what ended the driver's loop was raised to the task already
            logger.debug("the inside of a task run could not be cancelled", exc_info=True)
        finally:
            self._close(code, error)

    def _stop(self) -> None:
        """Be told to stop, from any thread."""
        self._stopped = True
        self._context.driver.stop("the task run around it was cancelled")
        if self._context.control is not None:
            self._context.control.stop()

    def _warn(self) -> None:
        unseen = unseen_failures(self._context)
        if unseen is not None:
            task_logger(self._task_run).warning(
                "%s", unseen.text.replace("the flow neither", "the task neither"))

    def _close(self, code: Code, error: BaseException | None) -> None:
        with entering:
            ended, self._ended = self._ended, True
        if ended:
            return
        if self._around is not None:
            self._around.forget(self._stop)
        record: ErrorRecord | None = None
        if error is not None:
            record = record_of(error, remote=False, skip_frames=own_frames(error, "dataflow."))
        driver = self._context.driver
        driver.record_state(*STATE_OF[code], None if record is None else describe(record), record)
        driver.close(cancelled=code != Code.COMPLETED)
        self._context.ended = True
        self.records = self._gathered.taken()


def _resolved(value: Any) -> Any:
    """Return what a task returned with results in the place of futures; states keep theirs.

    Raises
    ------
    Exception
        Of a future that did not complete.
    """
    if not has_marker(value):
        return value

    def result(marker: Marker) -> Any:
        if isinstance(marker, (Future, FutureList)):
            return marker.result()
        if isinstance(marker, State) and isinstance(marker.future, Future):
            Returned(marker)
        return marker

    return substitute(value, result)
