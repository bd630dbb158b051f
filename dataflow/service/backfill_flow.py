"""A backfill as a flow: its slots are the elements of a map, each waits for a run.

Lives here: the flow and its task, so that counts, cancelling, resuming and the graph are
those of any flow. Does not live here: which slots (``backfill_slots.py``), making runs
and waiting for them (``backfill_runs.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from dataflow.cache_policies import NO_CACHE
from dataflow.context import current_flow, current_task
from dataflow.exceptions import CancelledRun, DeploymentNotFound
from dataflow.flows import flow
from dataflow.logging import get_run_logger
from dataflow.service.backfill_runs import BackfillFacts, BackfillRuns, Stopped
from dataflow.state import State, StateType
from dataflow.states import Cancelled, Completed, Failed
from dataflow.store import Store
from dataflow.stores import open_store
from dataflow.tasks import task

_RESUMED = ("CRASHED", "CANCELLED")
_RETRIED = (*_RESUMED, "FAILED")
"""Ends of runs that are run anew: where the backfill is resumed, and where it is retried."""

_under_way: dict[str, BackfillRuns] = {}  # by the flow run id of the backfill


@task(name="slot", task_run_name="{schedule} {slot}", cache_policy=NO_CACHE, persist_result=False)
async def run_slot(schedule: str, slot: str) -> State:
    """Have the deployment run for a slot; end as that run does."""
    around = current_task.get()
    assert around is not None and around.run is not None and around.id is not None
    runs = _under_way[around.run.flow_run_id]
    flow_run_id = runs.begin(schedule, datetime.fromisoformat(slot), around.id)
    if flow_run_id is None:
        return Cancelled(message="The backfill was stopped before this slot",
                         data=CancelledRun("The backfill was stopped before this slot."))
    row = await runs.ended(flow_run_id)
    said = f"Flow run {row.name} ({row.id}) is {row.state_name}"
    if row.state_type == "COMPLETED":
        get_run_logger().info("%s", said)
        return Completed(message=said, data=row.id)
    said += f": {row.message}" if row.message else ""
    get_run_logger().error("%s", said)
    return State(StateType(row.state_type), None if row.state_type != "FAILED" else row.state_name,
                 said)


@flow(name="backfill", task_runner="threads", persist_result=False)
def backfill_flow(deployment: str, start: str, end: str, reprocess: str,
                  slots: list[tuple[str, str]], parameters: dict[str, dict[str, Any]],
                  max_active: int) -> State:
    """Run a deployment for slots of its schedules, at most so many at once.

    Parameters
    ----------
    deployment
        Its name.
    start, end, reprocess
        What was asked for, for the reader.
    slots
        Slug of the schedule and ISO time of each, in the order in which they are run.
    parameters
        Slug → parameters of its runs, over the deployment's.
    max_active
        Runs at the same time.
    """
    with _opened(deployment, reprocess, parameters) as (store, runs):
        at_once = run_slot.with_options(max_in_flight=_width(store, deployment, max_active))
        futures = at_once.map([schedule for schedule, _ in slots], [slot for _, slot in slots])
        try:
            futures.wait()
        except BaseException:
            _tell_stopped(runs.stop())
            raise
        futures.handle.consume(None)  # the message tells what failed, and so does each element
        counts = futures.counts()
    said = f"{len(slots)} slots: " + ", ".join(
        f"{many} {name}" for name, many in sorted(counts.items()))
    if counts.get("Completed", 0) == len(slots):
        return Completed(message=said)
    return Failed(message=said)


def _width(store: Store, deployment: str, max_active: int) -> int:
    """Return how many runs there may be at once without some being cancelled for it."""
    try:
        row = store.agenda().deployment(deployment)
    except DeploymentNotFound:  # each slot says so
        return max_active
    if row.limit is not None and row.collision == "CANCEL_NEW":
        return min(row.limit, max_active)
    return max_active


@contextmanager
def _opened(deployment: str, reprocess: str, parameters: dict[str, dict[str, Any]]
            ) -> Iterator[tuple[Store, BackfillRuns]]:
    around = current_flow.get()
    assert around is not None
    flow_run_id, log = around.run.flow_run_id, get_run_logger()
    resumption: Any = getattr(around.driver, "resumption", None)
    replaced = () if resumption is None else _RETRIED if resumption.retry else _RESUMED
    facts = BackfillFacts(
        flow_run_id=flow_run_id, name=around.run.flow_run_name, deployment=deployment,
        parameters=parameters, only_missing=reprocess == "missing", replaced=replaced)
    store = open_store(None)
    try:
        runs = _under_way[flow_run_id] = BackfillRuns(
            store, facts, log, clock=time.time, monotonic=time.monotonic)
        yield store, runs
    finally:
        _under_way.pop(flow_run_id, None)
        store.close()


def _tell_stopped(stopped: Stopped) -> None:
    log = get_run_logger()
    if stopped.cancelled:
        log.warning("%d waiting run(s) of the backfill were cancelled", len(stopped.cancelled))
    if stopped.going_on:
        log.warning("%d run(s) of the backfill go on: %s. Cancel one: dataflow flow-run cancel RUN",
                    len(stopped.going_on), ", ".join(stopped.going_on))


