"""Backfills: runs of a deployment for slots of its schedules that lie behind.

Lives here: what is asked for, brought together with what the agenda knows, and the call
of the flow that does it. Does not live here: the rules (``backfill_slots.py``), the flow
(``backfill_flow.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dataflow.agenda import DeploymentRow, ScheduleRow, SlotRun
from dataflow.context import current_flow
from dataflow.exceptions import BackfillError
from dataflow.schedules import Schedule
from dataflow.service.backfill_slots import (
    REPROCESS,
    Moment,
    PlannedSlot,
    Reprocess,
    Span,
    chosen,
    slots_within,
)
from dataflow.service.deploying import checked_parameters
from dataflow.service.slots import schedule_of
from dataflow.store import FlowRunRow, Store
from dataflow.stores import open_store

MAX_ACTIVE = 8
LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """What a backfill does, and what came of it.

    Attributes
    ----------
    deployment
        Its full name.
    slots
        All slots of the span, in the order in which they are run: see ``runs`` and ``why``.
    cut
        The span goes on into what is still to come, which was left out.
    asked
        The parameters of the flow ``backfill`` that does it.
    run
        That flow's run as it ended; None: nothing was run.
    """

    deployment: str
    slots: tuple[PlannedSlot, ...]
    cut: bool
    asked: Mapping[str, Any]
    run: FlowRunRow | None = None

    @property
    def chosen(self) -> tuple[PlannedSlot, ...]:
        """Return the slots that are run."""
        return tuple(slot for slot in self.slots if slot.runs)


def backfill(name: str, start: Moment, end: Moment, *, reprocess: Reprocess = "missing",
             schedule: str | None = None, parameters: Mapping[str, Any] | None = None,
             max_active: int = MAX_ACTIVE, newest_first: bool = False, limit: int | None = LIMIT,
             dry_run: bool = False) -> Backfill:
    """Run a deployment for the slots of its schedules in [start, end), and wait for all of them.

    One flow run, of the flow ``backfill``, whose map has an element per slot; each waits for
    a run of the deployment, which a worker has to take. Resume it where it was cut off
    (``dataflow flow-run resume``): no slot is run twice. Called in a flow, it is a part of it;
    in a dry run of a flow nothing is made.

    Parameters
    ----------
    name
        ``flow/deployment``, the second part alone where that is unique, or its id. It may be
        paused.
    start, end
        Datetimes, dates or ISO 8601 texts; without an offset in the zone of each schedule, a
        date is its midnight there. What is still to come is left out.
    reprocess
        ``"missing"``: slots without a run, of the schedule or an earlier backfill;
        ``"failed"``: those whose latest run did not complete; ``"all"``. A slot whose run
        waits or goes on is left alone.
    schedule
        Slug of the only one that counts; by default all that do not rest.
    parameters
        Over those of the deployment and the schedule; checked before anything is made.
    max_active
        Runs at the same time.
    newest_first
        The newest slot goes first.
    limit
        More slots in the span are refused; None: any number.
    dry_run
        Make no run; the answer says what would happen to each slot.

    Raises
    ------
    DeploymentNotFound
        No deployment or schedule answers to that name.
    BackfillError
        There is no schedule, or the span or an option cannot be meant.
    ParameterTypeError
        The parameters do not fit.
    """
    store = open_store(None)
    try:
        plan = planned(store, name, start, end, reprocess=reprocess, schedule=schedule,
                       parameters=parameters, max_active=max_active, newest_first=newest_first,
                       limit=limit)
        around = current_flow.get()
        if around is not None and around.dry is not None:
            around.dry.asked(around, f"backfill {plan.deployment}", parameters)
            return plan
        if dry_run or not plan.chosen:
            return plan
        return replace(plan, run=store.find_flow_run(performed(plan.asked)))
    finally:
        store.close()


def performed(asked: Mapping[str, Any], begun: Callable[[str], object] = lambda run: None) -> str:
    """Run a backfill to its end; return the id of its flow run.

    Parameters
    ----------
    asked
        See :class:`Backfill`.
    begun
        Called with the id of the flow run when that goes on.
    """
    from dataflow.service.backfill_flow import backfill_flow

    ids: list[str] = []

    def noted(flow: Any, flow_run: Any, state: Any) -> None:
        ids.append(flow_run.id)
        begun(flow_run.id)

    state: Any = backfill_flow.with_options(on_running=[noted])(**asked, return_state=True)
    return ids[0] if ids else str(state.state_details.flow_run_id)


def planned(store: Store, name: str, start: Moment, end: Moment, *, reprocess: Reprocess,
            schedule: str | None, parameters: Mapping[str, Any] | None, max_active: int,
            newest_first: bool, limit: int | None) -> Backfill:
    """Return what a backfill does; nothing is made. Raises as :func:`backfill` does."""
    _check(reprocess, max_active, limit)
    agenda = store.agenda()
    deployment = agenda.deployment(name)
    schedules = _schedules(deployment, agenda.schedules(deployment.name), schedule)
    own = {slug: {**each.parameters, **(parameters or {})} for slug, each in schedules.items()}
    for given in own.values():
        checked_parameters(deployment, given)
    span = slots_within(schedules, start, end, datetime.fromtimestamp(time.time(), UTC), limit)
    slots = chosen(span.slots, _runs(store, deployment, span), reprocess,
                   newest_first=newest_first)
    asked = {
        "deployment": deployment.name, "start": str(start), "end": str(end),
        "reprocess": reprocess, "parameters": own, "max_active": max_active,
        "slots": [(slot.schedule, slot.at.isoformat()) for slot in slots if slot.runs]}
    return Backfill(deployment=deployment.name, slots=tuple(slots), cut=span.cut, asked=asked)


def _check(reprocess: Any, max_active: Any, limit: Any) -> None:
    if reprocess not in REPROCESS:
        raise BackfillError(
            f"reprocess {reprocess!r} is not one of {', '.join(REPROCESS)}. No run was made.")
    for what, number in (("max_active", max_active), ("limit", 1 if limit is None else limit)):
        if type(number) is not int or number < 1:
            raise BackfillError(
                f"{what} {number!r} is not a whole number of at least 1. No run was made.")


def _runs(store: Store, deployment: DeploymentRow, span: Span) -> list[SlotRun]:
    if not span.slots:
        return []
    first, last = span.slots[0].at.timestamp(), span.slots[-1].at.timestamp()
    return store.agenda().slots(deployment.name, first, last + 1e-6)


def _schedules(deployment: DeploymentRow, rows: list[ScheduleRow],
               slug: str | None) -> dict[str, Schedule]:
    """Return the schedules that are meant, by slug."""
    known = ", ".join(row.slug for row in rows)
    if not rows:
        raise BackfillError(
            f"Deployment {deployment.name!r} has no schedule, so that it has no slots. No run was "
            f"made. One run of it: dataflow deployment run {deployment.name}")
    if slug is not None:
        rows = [row for row in rows if row.slug == slug]
        if not rows:
            raise BackfillError(f"Deployment {deployment.name!r} has no schedule {slug!r}: it has "
                                f"{known}. No run was made.")
    else:
        rows = [row for row in rows if row.active]
        if not rows:
            raise BackfillError(
                f"All schedules of deployment {deployment.name!r} rest ({known}). No run was made. "
                "Name the one that is meant: --schedule, or schedule= in code.")
    return {row.slug: schedule_of(row.spec) for row in rows}
