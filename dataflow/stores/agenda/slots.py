"""Statements on the slots of schedules: which runs stand for them.

Lives here: asking by slot. Does not live here: making runs of slots (``schedules.py``,
``queue.py``).

A run that a schedule made names the schedule; one that was made in its place, by a
backfill, names the slug in ``slot_of``, so that a slot may have several of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from dataflow.agenda import SlotRun
from dataflow.stores.agenda.queue import Addition
from dataflow.stores.agenda.schema import queued_runs, schedules
from dataflow.stores.schema import flow_runs

_F, _Q, _S = flow_runs.c, queued_runs.c, schedules.c
_AT_ONCE = 500  # values in one statement


def runs_of(connection: Connection, deployment: int, from_s: float, to_s: float) -> list[SlotRun]:
    """Return the runs of a deployment's slots within a span; see the port."""
    return [
        SlotRun(slot_s=row.slot_s, schedule=row.slug, flow_run_id=row.flow_run_id,
                state_type=row.state_type, state_name=row.state_name,
                parent_flow_run_id=row.parent_flow_run_id)
        for row in connection.execute(
            select(_Q.slot_s, func.coalesce(_S.slug, _Q.slot_of).label("slug"), _Q.flow_run_id,
                   _F.state_type, _F.state_name, _F.parent_flow_run_id)
            .join(flow_runs, _F.id == _Q.flow_run_id)
            .outerjoin(schedules, _S.key == _Q.schedule)
            .where(_Q.deployment == deployment, _Q.slot_s >= from_s, _Q.slot_s < to_s)
            .order_by(_Q.slot_s, _Q.key))]


def taken(
    connection: Connection, slugs: Mapping[int, str], wanted: Sequence[Addition]
) -> set[tuple[int | None, float | None]]:
    """Return the (schedule, slot) of wanted runs for which another run stands already.

    Parameters
    ----------
    slugs
        Key of a schedule → its slug.
    """
    found: set[tuple[int | None, float | None]] = set()
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at:at + _AT_ONCE]
        since = min(each.run.slot_s or 0.0 for each in some)
        found.update((row.schedule, row.slot_s) for row in connection.execute(
            select(_Q.schedule, _Q.slot_s).where(
                _Q.schedule.in_({each.schedule for each in some}), _Q.slot_s >= since)))
        in_place = {(row.deployment, row.slot_of, row.slot_s) for row in connection.execute(
            select(_Q.deployment, _Q.slot_of, _Q.slot_s).where(
                _Q.deployment.in_({each.key for each in some}), _Q.slot_s >= since,
                _Q.slot_of.is_not(None)))}
        found.update(
            (each.schedule, each.run.slot_s) for each in some
            if (each.key, slugs.get(each.schedule or 0), each.run.slot_s) in in_place)
    return found
