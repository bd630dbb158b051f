"""A flow run that goes on: after a crash, a cancel, a lost cluster, or its failures alone.

Lives here: finding the run, refusing what cannot go on, its parameters, the
lease. Does not live here: which recorded outcome belongs to which call
(``resumption.py``), the run itself (``flow_run.py``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dataflow import run_lease
from dataflow.exceptions import ResumeError, RunNotFound
from dataflow.outcomes import Code
from dataflow.pickling import kept_pickle, load_pickle
from dataflow.resumption import Resumption
from dataflow.store import FlowRunRow, Store

INPUTS_BYTES = 64 << 20
"""Parameters of a run are kept up to this size, pickled."""

_REOPENED = (Code.CRASHED, Code.CANCELLED, Code.NOT_READY, Code.ROLLED_BACK)
_FAILURES = (Code.FAILED, Code.TIMED_OUT)


@dataclass(slots=True)
class ResumePoint:
    """Where a run goes on."""

    row: FlowRunRow
    epoch: int | None  # of a run with a lease of its own
    resumption: Resumption
    store: Store
    retry: bool

    @property
    def begins(self) -> bool:
        """Tell whether the run was only scheduled so far: no process has written of it."""
        return self.row.state_type == "SCHEDULED" and self.row.pid is None


def resume_point(flow_name: str, ref: str, *, retry: bool, store: Store,
                 take_over: bool = False) -> ResumePoint:
    """Take a run and what is recorded of it.

    Raises
    ------
    RunNotFound
        No run answers to that name.
    RunOwned
        Another process drives it; the text names that one.
    ResumeError
        It is no run of this flow, has completed, or belongs to a run around it.
    """
    row = _row_of(flow_name, ref, store)
    _check(row, flow_name, retry)
    epoch = run_lease.take(store, row.id, take_over=take_over)
    return taken(store, store.find_flow_run(row.id), epoch, retry=retry)


def taken(store: Store, row: FlowRunRow, epoch: int | None, *, retry: bool) -> ResumePoint:
    """Return the point where a run goes on that this process has the lease of."""
    resumption = Resumption(store, row.id, row.first_call, retry=retry)
    codes = (*_REOPENED, *_FAILURES) if retry else _REOPENED
    store.reopen(row.id, codes, resumption.taken_along, fence=epoch)
    return ResumePoint(row, epoch, resumption, store, retry)


def child_point(parent_driver: Any, stand_in: str, store: Any) -> ResumePoint | None:
    """Return where a flow goes on that was called in a run which goes on itself.

    Parameters
    ----------
    parent_driver
        Of the run around.
    stand_in
        Id of the task run that stands for the flow in it.
    store
        Where both are recorded.
    """
    resumption: Resumption | None = getattr(parent_driver, "resumption", None)
    if resumption is None or not isinstance(store, Store):
        return None
    rows = store.flow_runs(parent=stand_in, limit=1)
    if not rows:
        return None
    return taken(store, rows[0], None, retry=resumption.retry)  # the run at the top has the lease


def parameters_of(point: ResumePoint) -> dict[str, Any]:
    """Return the parameters that a run was started with.

    Raises
    ------
    ResumeError
        They were not kept, or cannot be unpickled here; the text says what to do.
    """
    row = point.row
    blob = point.store.inputs(row.id)
    hint = f"Pass them: .resume({row.id[:8]!r}, parameters={{...}})."
    if blob is None:
        raise ResumeError(
            f"The parameters of flow run {row.name!r} were not kept: they could not be pickled or "
            f"were larger than {INPUTS_BYTES >> 20} MiB. {hint}", flow_run_id=row.id)
    try:
        parameters: dict[str, Any] = load_pickle(blob)
    except Exception as error:  # user code: what a pickle of values calls
        raise ResumeError(
            f"The parameters of flow run {row.name!r} cannot be read here: "
            f"{type(error).__name__}: {error}. {hint}", flow_run_id=row.id) from error
    return parameters


def pickled_inputs(parameters: dict[str, Any]) -> bytes | None:
    """Return parameters as they are kept, None where they cannot be or are too large."""
    try:
        blob = kept_pickle(parameters)
    except Exception:  # user values: __reduce__ may raise anything
        return None
    return blob if len(blob) <= INPUTS_BYTES else None


def _row_of(flow_name: str, ref: str, store: Store) -> FlowRunRow:
    if ref != "last":
        return store.find_flow_run(ref)
    rows = [row for row in store.flow_runs(flow=flow_name, limit=20)
            if row.parent_task_run_id is None]
    if not rows:
        raise RunNotFound(f"Flow {flow_name!r} has no runs yet.", ref=ref)
    return rows[0]


def _check(row: FlowRunRow, flow_name: str, retry: bool) -> None:
    verb = "retry" if retry else "resume"
    if row.flow_name != flow_name:
        raise ResumeError(
            f"Flow run {row.name!r} is of flow {row.flow_name!r}, not of {flow_name!r}.",
            flow_run_id=row.id)
    if row.parent_task_run_id is not None and not _on_its_own(row):
        raise ResumeError(
            f"Flow run {row.name!r} was called in flow run {row.parent_flow_run_id}: "
            f"{verb} that one, it brings this one along.", flow_run_id=row.id)
    if row.state_type == "COMPLETED" and not retry:
        raise ResumeError(
            f"Flow run {row.name!r} is COMPLETED: there is nothing to resume. Call the flow for a "
            "new run, or .retry() it if task runs in it failed.", flow_run_id=row.id)


def _on_its_own(row: FlowRunRow) -> bool:
    """Tell whether a run with a parent has, or is to have, a process and a lease of its own.

    A deployment made it. A flow that was called in a run goes by the lease of that one.
    """
    return row.epoch > 0 or (row.state_type == "SCHEDULED" and row.pid is None)


def since(row: FlowRunRow) -> str:
    """Return how long ago a run began, for messages."""
    seconds = max(0.0, time.time() - row.created.timestamp())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
