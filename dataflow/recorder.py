"""The one writer of a flow run's records: a thread that writes in gulps.

Lives here: gathering gulps, writing them about four times a second, and
holding on to them while the store cannot be written. Does not live here: what
a record says (``store.py``, ``engine/``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from dataflow.exceptions import RunFenced, StoreError
from dataflow.outcomes import EVENTS, FIRST_FINAL
from dataflow.settings import get_settings
from dataflow.store import FlowRunRecord, Gulp, Store

GULP_S = 0.25
"""Seconds between writes: what a killed process may lose."""

_PATIENCE_S = 5.0  # at the end: how long a store that fails is tried again
_BACKOFF_S = 0.5
_PRESSURE = 200_000  # rows waiting: the caller is held back until they are written

logger = logging.getLogger("dataflow.recorder")


class Sink(Protocol):
    """Where the records of a run go."""

    def put(self, gulp: Gulp, flow_run_id: str | None = None) -> None:
        """Take a gulp, of another run where that is named."""

    def flush(self) -> None:
        """Do not wait for more before what was put is written."""

    def close(self) -> None:
        """Take no more; raise StoreError for what could not be written."""


class Gathered:
    """Records that are kept in memory until they are sent to the process that writes them.

    Stands where a store stands on workers, which write none: for the inside of
    a task run and for the flows called in it. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._gulps: list[tuple[str, Gulp]] = []

    def write(self, flow_run_id: str, gulp: Gulp) -> None:
        """Keep a gulp."""
        self._gulps.append((flow_run_id, gulp))

    def close(self) -> None:
        """Do nothing: what there is goes on its way with :meth:`taken`."""

    def taken(self) -> list[tuple[str, Gulp]]:
        """Return what was kept, one gulp per run, and begin anew."""
        gulps, self._gulps = self._gulps, []
        return list(by_run(gulps).items())


class Gatherer:
    """The writer of one run whose records are gathered."""

    def __init__(self, gathered: Gathered, flow_run_id: str) -> None:
        self._gathered = gathered
        self._run = flow_run_id

    def put(self, gulp: Gulp, flow_run_id: str | None = None) -> None:
        """Keep a gulp."""
        if gulp:
            self._gathered.write(flow_run_id or self._run, gulp)

    def flush(self) -> None:
        """It goes on its way with the report of the task run around."""

    def close(self) -> None:
        """Nothing is left to be written."""


def recorder_of(store: Store | Gathered, flow_run_id: str) -> Sink:
    """Return what a run hands its records to."""
    if isinstance(store, Gathered):
        return Gatherer(store, flow_run_id)
    return Recorder(store, flow_run_id)


class Recorder:
    """Writes what it is given, in order, in the background.

    Where the settings say that log lines are not kept, they are left out; events are kept.
    """

    def __init__(self, store: Store, flow_run_id: str) -> None:
        self._store = store
        self._keeps_logs = get_settings().logging_to_store
        self._run = flow_run_id
        self._pending: list[tuple[str, Gulp]] = []
        self._rows = 0
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._relief = threading.Event()
        self._relief.set()
        self._closing = False
        self._failing: StoreError | None = None
        self._fenced: RunFenced | None = None
        self.on_fenced: Callable[[RunFenced], None] = lambda error: None
        self._thread = threading.Thread(target=self._run_loop, name="dataflow-recorder",
                                        daemon=True)
        self._thread.start()

    def put(self, gulp: Gulp, flow_run_id: str | None = None) -> None:
        """Take a gulp; it is written within :data:`GULP_S` seconds or so.

        It is of another run, one inside this one's task runs, where that is named.
        """
        if gulp.logs and not self._keeps_logs:
            gulp.logs = [line for line in gulp.logs if line.logger == EVENTS]
        if not gulp or self._fenced is not None:
            return
        with self._lock:
            self._pending.append((flow_run_id or self._run, gulp))
            self._rows += len(gulp.spans) + len(gulp.elements) + len(gulp.logs)
            if self._rows > _PRESSURE and self._failing is None:
                self._relief.clear()
                self._wake.set()
        self._relief.wait()

    def flush(self) -> None:
        """Ask that what was put be written soon."""
        self._wake.set()

    def close(self) -> None:
        """Write everything and stop.

        Raises
        ------
        StoreError
            The store could not be written for some seconds; says how many records are missing.
        RunFenced
            Another process has taken the run over.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        if self._fenced is not None:
            raise self._fenced
        if self._failing is not None:
            with self._lock:
                missing = sum(elements_in(gulp) for _, gulp in self._pending)
            raise StoreError(
                f"{missing} task run records and the end of flow run {self._run} could not be "
                f"written: {self._failing}", missing=missing,
            ) from self._failing

    def _run_loop(self) -> None:
        give_up_at: float | None = None
        while True:
            self._wake.wait(GULP_S if self._failing is None else _BACKOFF_S)
            self._wake.clear()
            written = self._write()
            if self._closing:
                give_up_at = give_up_at or time.monotonic() + _PATIENCE_S
                if written or time.monotonic() > give_up_at:
                    with self._lock:
                        if written and self._pending:
                            continue
                    return

    def _fence(self, error: RunFenced) -> None:
        """Write nothing any more: the run is another's."""
        self._fenced = error
        with self._lock:
            self._pending.clear()
        self._relief.set()
        self.on_fenced(error)

    def _write(self) -> bool:
        """Write what is pending in one transaction; keep it when that fails."""
        with self._lock:
            gulps, self._pending = self._pending, []
            rows, self._rows = self._rows, 0
        if not gulps:
            return True
        whole = list(by_run(gulps).items())
        try:
            if len(whole) == 1:
                self._store.write(*whole[0])
            else:
                self._store.write_all(whole)
        except RunFenced as fenced:
            self._fence(fenced)
            return True
        except Exception as cause:  # whatever a store raises: what was not written is kept
            error = cause if isinstance(cause, StoreError) else _unexpected(cause)
            with self._lock:
                self._pending[:0] = whole
                self._rows += rows
            if self._failing is None:
                logger.error("records of flow run %s cannot be written and are kept in memory "
                             "until they can: %s", self._run, error)
            self._failing = error
            self._relief.set()
            return False
        if self._failing is not None:
            logger.warning("records of flow run %s are written again", self._run)
            self._failing = None
        self._relief.set()
        return True


def elements_in(gulp: Gulp) -> int:
    """Count the elements whose outcome a gulp tells; a failure stands in a span and in a row."""
    ended = {(row.call, row.index) for row in gulp.elements if row.code >= FIRST_FINAL}
    for record in gulp.spans:
        span = record.span
        ended.update((span.call, index)
                     for index, code in zip(span.indexes, span.codes, strict=True)
                     if code >= FIRST_FINAL)
    return len(ended) + sum(each.stop - each.start for each in gulp.ranges)


def _unexpected(cause: Exception) -> StoreError:
    error = StoreError(f"the run store raised {type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


def by_run(gulps: list[tuple[str, Gulp]]) -> dict[str, Gulp]:
    """Return one gulp per run, in the order in which the runs come first."""
    grouped: dict[str, list[Gulp]] = {}
    for flow_run_id, gulp in gulps:
        grouped.setdefault(flow_run_id, []).append(gulp)
    return {flow_run_id: merged(of_run) for flow_run_id, of_run in grouped.items()}


def merged(gulps: list[Gulp]) -> Gulp:
    """Return one gulp that says what several said one after another."""
    if len(gulps) == 1:
        return gulps[0]
    whole = Gulp()
    for gulp in gulps:
        if gulp.flow_run is not None:
            if _left(whole.flow_run, gulp.passed[0] if gulp.passed else gulp.flow_run):
                whole.passed.append(whole.flow_run)  # type: ignore[arg-type]  # there is one
            whole.passed += gulp.passed
            whole.flow_run = gulp.flow_run
        whole.fence = whole.fence if gulp.fence is None else gulp.fence
        whole.calls += gulp.calls
        whole.spans += gulp.spans
        whole.ranges += gulp.ranges
        whole.elements += gulp.elements
        whole.attempts += gulp.attempts
        whole.logs += gulp.logs
        whole.counts.update(gulp.counts)
        whole.widths.update(gulp.widths)
        whole.faults.update(gulp.faults)
        for call, indexes in gulp.undone.items():
            whole.undone[call] = whole.undone.get(call, set()) | indexes
        whole.committed.update(gulp.committed)
        whole.txn_values.update(gulp.txn_values)
    return whole


def _left(before: FlowRunRecord | None, after: FlowRunRecord) -> bool:
    """Tell whether a flow run is in another state than before."""
    return before is not None and before.kind == "flow" and (
        (before.state_type, before.state_name) != (after.state_type, after.state_name))
