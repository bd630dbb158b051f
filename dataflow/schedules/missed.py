"""Which slots of a schedule are to run now, and which were passed over.

Lives here: the rules of ``catch_up``. Does not live here: who keeps the last handled
slot, and who makes the runs.

All that is kept of a schedule is one moment in real time: up to there every slot was
handled. A slot is looked at only when it is later than that moment and not later
than now, and the moment never goes back; so no slot comes twice, whatever the
clock does, and none is forgotten, however long nobody looked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataflow.schedules.definition import refuse
from dataflow.schedules.schedule import Schedule

ON_TIME = timedelta(seconds=15)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Slots that do not run: all from ``first`` to ``last``, both included; in UTC."""

    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about a schedule now; all moments are in UTC.

    Parameters
    ----------
    run
        Slots to run now, oldest first.
    passed_over
        Slots that do not run, or None; they lie before those of ``run``.
    handled
        What to keep: the next question's ``last``.
    next
        The first slot that is not handled yet, or None: nothing is due before.
    """

    run: tuple[datetime, ...]
    passed_over: PassedOver | None
    handled: datetime
    next: datetime | None


def due(
    schedule: Schedule, last: datetime | None, now: datetime, *, on_time: timedelta = ON_TIME
) -> Due:
    """Return which slots later than ``last`` and not later than ``now`` are to run.

    Parameters
    ----------
    last
        Up to where slots were handled: ``handled`` of the previous answer, or when the
        schedule was made. None where nobody knows: what lies behind is not missed.
    now
        The present, aware.
    on_time
        A slot that is late by no more than this was not missed: it runs whatever
        ``catch_up`` says.

    Returns
    -------
    Due
        With ``catch_up="latest"`` the newest missed slot runs, unless one is on time;
        with ``"all"`` the newest ``catch_up_limit`` missed ones do; with ``"none"`` none.
        A schedule that is not active has none due and misses none.

    Notes
    -----
    Costs one look for the next slot where nothing is due, and some ten more where
    much was missed, however much.
    """
    present = _in_utc("now", now)
    if last is None:
        return Due((), None, present, _next(schedule, present))
    kept = _in_utc("last", last)
    if not schedule.active:
        handled = max(kept, present)
        return Due((), None, handled, None)
    first = schedule.next_slot(kept)
    if first is None or first > present:
        return Due((), None, kept, first)
    following = schedule.next_slot(first)
    if following is None or following > present:  # this one only
        late = schedule.catch_up == "none" and present - first > on_time
        return Due(() if late else (first,), PassedOver(first, first) if late else None,
                   first, following)
    missed = _Missed(schedule, kept, following - first)
    run = _chosen(missed, present, on_time)
    newest = run[-1] if run else missed.newest(present, 1)[-1]
    passed = None
    if not run:
        passed = PassedOver(first, newest)
    elif first < run[0]:
        passed = PassedOver(first, missed.newest(run[0] - _TICK, 1)[-1])
    return Due(run, passed, newest, schedule.next_slot(newest))


def _next(schedule: Schedule, moment: datetime) -> datetime | None:
    return schedule.next_slot(moment) if schedule.active else None


@dataclass(frozen=True, slots=True)
class _Missed:
    """The slots of a schedule later than ``after``; ``gap`` is what lies between the first two."""

    schedule: Schedule
    after: datetime
    gap: timedelta

    def between(self, begin: datetime, until: datetime) -> tuple[datetime, ...]:
        """Return the slots in (begin, until]."""
        times = self.schedule.times(after=max(begin, self.after), until=until)
        return tuple(slot.astimezone(UTC) for slot in times)

    def newest(self, until: datetime, most: int) -> tuple[datetime, ...]:
        """Return the newest ``most`` slots up to ``until``.

        Looks back over spans that double, so that ten years of minutes are not counted.
        """
        found: tuple[datetime, ...] = ()
        span, end = self.gap * min(most, 1_000), until
        while len(found) < most and end > self.after:
            begin = end - span if end - self.after > span else self.after
            found = self.between(begin, end) + found
            span, end = span * 2, begin
        return found[-most:]


def _chosen(missed: _Missed, now: datetime, on_time: timedelta) -> tuple[datetime, ...]:
    """Return the slots that run."""
    schedule = missed.schedule
    since = max(missed.after, now - on_time - _TICK)
    fresh = missed.between(since, now)
    if schedule.catch_up == "none" or (schedule.catch_up == "latest" and fresh):
        return fresh
    most = 1 if schedule.catch_up == "latest" else schedule.catch_up_limit
    return missed.newest(since, most) + fresh


def _in_utc(name: str, moment: object) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        refuse(name, moment, "has no time zone: give an aware datetime")
    return moment.astimezone(UTC)
