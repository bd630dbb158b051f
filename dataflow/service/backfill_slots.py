"""Which slots of a span a backfill has, and what happens to each.

Lives here: the rules, pure; time is passed in. Does not live here: when slots come
(``schedules/``), which runs they have (the agenda), making runs (``backfill_runs.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any, Literal

from dataflow.agenda import SlotRun
from dataflow.exceptions import BackfillError, ScheduleError
from dataflow.flow_moves import ENDS
from dataflow.schedules import Schedule
from dataflow.schedules.definition import checked_moment

Reprocess = Literal["missing", "failed", "all"]
REPROCESS = ("missing", "failed", "all")
Moment = datetime | date | str
"""Without an offset it is in the zone of the schedule; a date is its midnight there."""

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot of a schedule: ``at`` is aware, in the schedule's zone."""

    schedule: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSlot:
    """A slot, and what a backfill does about it.

    Attributes
    ----------
    schedule, at
        Slug of the schedule, and the slot in its zone.
    runs
        Whether it is run; else it is left as it is.
    why
        In words.
    flow_run_id
        The latest run that it has so far, None: it has none.
    """

    schedule: str
    at: datetime
    runs: bool
    why: str
    flow_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """The slots from one moment on and before another; ``cut``: the rest is still to come."""

    slots: tuple[Slot, ...]
    cut: bool


def slots_within(schedules: Mapping[str, Schedule], start: Moment, end: Moment, now: datetime,
                 limit: int | None) -> Span:
    """Return the slots of schedules in [start, end), the oldest first; none that is to come.

    Parameters
    ----------
    schedules
        By slug.
    limit
        More slots are refused; None: any number.

    Raises
    ------
    BackfillError
        The span is empty or to come, a moment cannot be read, or there are more slots.
    """
    found: list[Slot] = []
    cut = False
    for slug, schedule in schedules.items():
        first, last = _span(schedule, start, end)
        if first.astimezone(UTC) >= now:
            raise BackfillError(
                f"The backfill begins at {first.isoformat()}, which is still to come: schedule "
                f"{slug!r} makes these runs itself. No run was made.")
        if last.astimezone(UTC) > now:
            last, cut = now.astimezone(schedule.zone), True
        times = schedule.times(after=_before(first), until=_before(last))
        room = None if limit is None else limit - len(found) + 1
        found += [Slot(schedule=slug, at=each) for each in islice(times, room)]
        if limit is not None and len(found) > limit:
            raise BackfillError(
                f"There are more than {limit:,} slots from {first.isoformat()} on and before "
                f"{last.isoformat()}. No run was made. What to do: backfill a shorter span, or "
                "allow more of them (--limit, or limit= in code).")
    return Span(tuple(sorted(found, key=_order)), cut)


def _before(moment: datetime) -> datetime:
    """Return the last moment before, in real time: the clock of a zone may stand in a change."""
    return moment.astimezone(UTC) - _TICK


def _order(slot: Slot | PlannedSlot) -> tuple[datetime, str]:
    return slot.at.astimezone(UTC), slot.schedule


def _span(schedule: Schedule, start: Moment, end: Moment) -> tuple[datetime, datetime]:
    first, last = (_moment(name, given, schedule)
                   for name, given in (("from", start), ("to", end)))
    if first.astimezone(UTC) >= last.astimezone(UTC):
        raise BackfillError(
            f"The backfill is to go from {first.isoformat()} to {last.isoformat()}, which is not "
            "later. No run was made. The slot at the end itself does not belong to the span.")
    return first, last


def _moment(name: str, given: Any, schedule: Schedule) -> datetime:
    if isinstance(given, date) and not isinstance(given, datetime):
        given = datetime.combine(given, time())
    try:
        return checked_moment(name, given, schedule.zone)
    except ScheduleError as error:
        raise BackfillError(f"{error}. No run was made.") from None


def chosen(slots: Iterable[Slot], runs: Sequence[SlotRun], reprocess: Reprocess, *,
           newest_first: bool = False) -> list[PlannedSlot]:
    """Return what happens to each slot, in the order in which they are run.

    Parameters
    ----------
    runs
        Of these slots, those of one slot in the order in which they were made. A run of a
        schedule that is gone counts for whichever has a slot at that time.
    reprocess
        ``"missing"``: slots without a run; ``"failed"``: those whose latest run has ended and
        did not complete; ``"all"``. A slot whose run waits or goes on is left alone.
    """
    latest = {(run.schedule, run.slot_s): run for run in runs}
    planned = []
    for slot in slots:
        time_s = slot.at.timestamp()
        run = latest.get((slot.schedule, time_s)) or latest.get((None, time_s))
        again, why = _judged(run, reprocess)
        planned.append(PlannedSlot(schedule=slot.schedule, at=slot.at, runs=again, why=why,
                                   flow_run_id=None if run is None else run.flow_run_id))
    return sorted(planned, key=_order, reverse=newest_first)


def _judged(run: SlotRun | None, reprocess: Reprocess) -> tuple[bool, str]:
    """Return whether a slot is run whose latest run is this one, and why."""
    if run is None:
        return reprocess != "failed", "has no run"
    why = f"its run {run.flow_run_id[:8]} is {run.state_name}"
    if run.state_type not in ENDS:
        return False, why
    bad = reprocess == "failed" and run.state_type != "COMPLETED"
    return reprocess == "all" or bad, why
