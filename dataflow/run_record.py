"""What is recorded of one flow run: its row, its own log lines, its direct calls.

Lives here: making these records and handing them to the writer. Does not live
here: the records of submitted and mapped elements (``engine/``), the writing
(``recorder.py``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow import run_lease
from dataflow.batch import CallCode, RunInfo
from dataflow.context import LogSink
from dataflow.exceptions import RunFenced, StoreError
from dataflow.flow_moves import ENDS, check_flow_move
from dataflow.outcomes import Attempt, Code, ErrorRecord, LogLine
from dataflow.recorder import Gathered, Recorder, Sink, recorder_of
from dataflow.run_lease import RunLease
from dataflow.run_usage import RunUsage
from dataflow.store import CallRecord, ElementRecord, FlowRunRecord, Gulp, Store
from dataflow.worker.attempt import Outcome
from dataflow.worker.logs import LogBound

logger = logging.getLogger("dataflow.recorder")


@dataclass(slots=True)
class DirectCall:
    """A direct call under way."""

    code: CallCode
    task_key: str
    began_s: float
    parent: int | None  # the direct call whose task run makes it
    facts: dict[str, Any]  # of its record: how it is cached, what its arguments are
    history: list[Attempt] = field(default_factory=list)
    nested: list[tuple[str, Any]] = field(default_factory=list)
    clock_s: float = field(default_factory=time.perf_counter)


class RunRecord(LogSink):
    """The record of one flow run while it grows.

    Parameters
    ----------
    row
        The flow run's row.
    run
        What tasks may ask about the run.
    store
        Where records go, None to keep none.
    """

    __slots__ = (
        "_bound", "_closed", "_fence", "_lease", "_recorder", "_row", "_run", "_store", "fenced",
        "usage")

    def __init__(self, row: FlowRunRecord, run: RunInfo, store: Store | Gathered | None) -> None:
        self._row = row
        self._run = run
        self._store = store
        self._recorder: Sink | None = None
        self._bound = LogBound(run.log_limit)
        self._closed = False
        self._fence: int | None = None
        self._lease: RunLease | None = None
        self.fenced: Callable[[RunFenced], None] = lambda error: None
        """Called when another process has taken the run over."""
        self.usage: RunUsage | None = None  # of a run that has begun and is recorded

    @classmethod
    def nowhere(cls, run: RunInfo) -> RunRecord:
        """Return a record that keeps nothing."""
        return cls(FlowRunRecord(id=run.flow_run_id, name="", flow_name=""), run, None)

    def attempt(self, run: RunInfo) -> None:
        """Go on with another attempt of the same run."""
        self._run = run

    def start(self, inputs: bytes | None = None) -> None:
        """Write the row, so that a store that cannot be written is known at once.

        ``inputs``: the parameters, pickled, to be kept with it.
        """
        store, run_id = self._store, self._run.flow_run_id
        if store is None:
            return
        self.usage = RunUsage(run_id, self._row.parent_flow_run_id, self._row.cpu_s,
                              in_task_run=isinstance(store, Gathered))
        owns = isinstance(store, Store) and self._row.parent_flow_run_id is None
        if owns:
            self._fence = self._run.fence = self._row.epoch or run_lease.begin(self._row)
        elif isinstance(store, Store):
            self._fence = self._run.fence  # of the run at the top, which has the lease
        store.write(run_id, Gulp(flow_run=self._row, inputs=inputs, fence=self._fence))
        self._recorder = recorder_of(store, run_id)
        if isinstance(self._recorder, Recorder):
            self._recorder.on_fenced = lambda error: self.fenced(error)
        if owns and isinstance(store, Store) and self._fence is not None:
            self._lease = RunLease(store, run_id, self._fence, lambda error: self.fenced(error))

    def put(self, gulp: Gulp) -> None:
        """Hand records to the writer."""
        if self._recorder is not None:
            gulp.fence = self._fence
            self._recorder.put(gulp)

    def put_nested(self, gulps: Iterable[tuple[str, Gulp]]) -> None:
        """Hand over records of what task runs ran themselves: (run id, gulp) each."""
        if self._recorder is not None:
            for flow_run_id, gulp in gulps:
                gulp.fence = self._fence
                self._recorder.put(gulp, flow_run_id)

    def change(self, **changes: Any) -> None:
        """Change fields of the row."""
        self._row = replace(self._row, **changes)
        self.put(Gulp(flow_run=self._row))

    def state(self, state_type: str, state_name: str, message: str | None,
              error: ErrorRecord | None) -> None:
        """Record a state of the flow run; start and end times follow from it.

        Raises
        ------
        IllegalStateMove
            It cannot follow the state that the run is in. Nothing is recorded.
        """
        check_flow_move(self._row.state_type, state_type, self._run.flow_run_name)
        now = time.time()
        times: dict[str, Any] = {}
        if state_type == "RUNNING":
            times["start_time_s"] = self._row.start_time_s or now
            times["run_count"] = self._run.run_count
        elif state_type in ENDS:
            times["end_time_s"] = now
        if state_type != "RUNNING" and self.usage is not None:
            times["cpu_s"], peak = self.usage.so_far()
            times["peak_bytes"] = max(self._row.peak_bytes or 0, peak or 0) or None
        self.change(state_type=state_type, state_name=state_name, message=message, error=error,
                    **times)

    def line(self, line: LogLine) -> None:
        """Record a log line of the flow or of a direct call, up to a bound."""
        kept = self._bound.admit(line)
        if kept is not None:
            self.put(Gulp(logs=[kept]))

    def add(self, call: int, index: int, attempt: int, time_s: float, level: int,
            logger: str, message: str, extra: tuple[tuple[str, Any], ...] = ()) -> None:
        """As :meth:`line`, for code that logs."""
        self.line(LogLine(call, index, attempt, time_s, level, logger, message, extra))

    @property
    def _here(self) -> str:
        """Where a direct call runs: beside the flow, or on the worker of the task run around."""
        return self._run.worker or "flow"

    def direct(self, call: DirectCall, outcome: Outcome) -> None:
        """Record a direct call that has ended."""
        ended_s = call.began_s + (time.perf_counter() - call.clock_s)
        number = call.code.call
        if self.usage is not None and call.parent is None:
            self.usage.called(outcome.cpu_s)
        self.put(Gulp(
            calls=[self._direct_call(call)],
            elements=[ElementRecord(number, 0, outcome.code, call.began_s, ended_s,
                                    outcome.attempts, self._here, outcome.name, outcome.error,
                                    outcome.said.message if outcome.said else None,
                                    key=outcome.key, origin=outcome.origin, cpu_s=outcome.cpu_s,
                                    peak_bytes=outcome.peak_bytes)],
            attempts=call.history,
            counts={number: {int(outcome.code): 1}},
        ))

    def put_soon(self, gulp: Gulp) -> None:
        """Record what a transaction did, without waiting for more; also when the run has ended.

        A flow that was called in the block of a transaction ends before the block does.
        """
        if not self._closed:
            self.put(gulp)
            if self._recorder is not None:
                self._recorder.flush()
        elif self._store is not None:
            gulp.fence = self._fence
            try:
                self._store.write(self._run.flow_run_id, gulp)
            except StoreError as error:
                logger.error("It is not recorded what a transaction did with task runs of flow "
                             "run %r: %s", self._run.flow_run_name, error)

    def direct_waits(self, call: DirectCall, outcome: Outcome) -> None:
        """Record that a direct call waits for its next attempt."""
        due_s, number = time.time() + (outcome.retry_in_s or 0.0), call.code.call
        self.put(Gulp(
            calls=[self._direct_call(call)],
            elements=[ElementRecord(number, 0, Code.AWAITING_RETRY, call.began_s, None,
                                    outcome.attempts, self._here, outcome.name, outcome.error,
                                    due_s=due_s)],
            counts={number: {int(Code.AWAITING_RETRY): 1}},
        ))

    def direct_began(self, call: DirectCall) -> None:
        """Record a direct call that is under way: a generator, or one that makes calls itself."""
        number = call.code.call
        self.put(Gulp(
            calls=[self._direct_call(call)],
            elements=[ElementRecord(number, 0, Code.RUNNING, call.began_s, None, 1, self._here)],
            counts={number: {int(Code.RUNNING): 1}},
        ))

    @staticmethod
    def _direct_call(call: DirectCall) -> CallRecord:
        code = call.code
        return CallRecord(call=code.call, task_name=code.task.name, task_key=call.task_key,
                          kind="direct", width=1, tags=tuple(sorted(code.tags)),
                          created_s=call.began_s, parent=call.parent, **call.facts)

    def subflow(self, call: CallRecord | None, element: ElementRecord) -> None:
        """Record the call that stands for a flow called in this one: made, or ended."""
        self.put(Gulp(calls=[] if call is None else [call], elements=[element],
                      counts={element.call: {int(element.code): 1}}))

    def close(self, last: Gulp) -> None:
        """Write what is left and stop. Raises StoreError when that cannot be done."""
        self._closed = True
        if self.usage is not None:
            self.usage.end()
        if self._recorder is None:
            return
        self.put(last)
        self.put(Gulp(logs=self._bound.close()))
        try:
            self._recorder.close()
        finally:
            if self._lease is not None:
                self._lease.give_back()
