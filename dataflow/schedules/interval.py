"""Schedules at a steady interval.

Lives here: the class and its arithmetic. Does not live here: the rules of the
wall clock that intervals of whole days keep (``wall_clock.py``).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from dataflow.schedules.definition import checked_length, checked_moment, refuse
from dataflow.schedules.remarks import remark_on
from dataflow.schedules.schedule import Schedule
from dataflow.schedules.wall_clock import next_fixed, wall_of

MONDAY = datetime(2001, 1, 1)  # noqa: DTZ001 - on the clock of whatever zone the schedule has
_DAY = timedelta(days=1)
_NOTHING = timedelta(0)
_PLURALS = (("week", 7 * _DAY), ("day", _DAY), ("hour", timedelta(hours=1)),
            ("minute", timedelta(minutes=1)), ("second", timedelta(seconds=1)))


@dataclass(frozen=True, slots=True)
class Interval(Schedule):
    """A schedule at a steady interval: ``Interval(timedelta(minutes=15))``, ``Interval(900)``.

    Parameters
    ----------
    interval : timedelta or seconds
        At least one second.
    anchor : datetime or ISO 8601 text, optional
        A moment from which is counted, in both directions; without an offset it is in
        the schedule's zone. Default: midnight of Monday 2001-01-01 there, so that a
        quarter of an hour falls on the quarters, a day on midnight, a week on Mondays.
    anchor_date
        The same under the name that Prefect has for it.
    timezone
        The zone whose clock days go by; default UTC.
    parameters, slug, active, start, end, jitter, catch_up, catch_up_limit, overlap
        As for every ``Schedule``.

    Notes
    -----
    Whole days keep the time on the wall clock when clocks are changed: one that does
    not exist comes right after the change, one that exists twice comes once, at the
    first. Any other interval is real time.
    """

    kind: ClassVar[str] = "interval"

    interval: timedelta | float
    anchor: datetime | None = field(default=None, kw_only=True)
    anchor_date: InitVar[datetime | None] = field(default=None, kw_only=True)

    def __post_init__(self, anchor_date: datetime | None) -> None:
        """Check the interval, and find where it is counted from."""
        Schedule.__post_init__(self)
        interval = checked_length("interval", self.interval, timedelta(seconds=1))
        anchors = {name: checked_moment(name, value, self.zone)
                   for name, value in (("anchor", self.anchor), ("anchor_date", anchor_date))
                   if value is not None}
        if len({moment.astimezone(UTC) for moment in anchors.values()}) == 2:
            refuse("anchor_date", anchor_date, f"differs from anchor {self.anchor!r}: give one")
        default = checked_moment("anchor", MONDAY, self.zone)
        self._set(interval=interval, anchor=next(iter(anchors.values()), default))

    def following(self, moment: datetime) -> datetime | None:
        """Return the first time later than ``moment`` whatever ``start`` and ``end``; in UTC."""
        assert isinstance(self.interval, timedelta) and self.anchor is not None
        if self.interval % _DAY == _NOTHING:
            return next_fixed(moment, self.zone, self._first_from)
        anchor = self.anchor.astimezone(UTC)
        return anchor + ((moment - anchor) // self.interval + 1) * self.interval

    def _first_from(self, wall: datetime) -> datetime:
        """Return the first wall time at or after one, for whole days."""
        assert isinstance(self.interval, timedelta) and self.anchor is not None
        anchor = self.anchor.replace(tzinfo=None, fold=0)
        return anchor - (anchor - wall) // self.interval * self.interval

    def own_fields(self) -> dict[str, Any]:
        """Return what makes the kind, for JSON."""
        assert isinstance(self.interval, timedelta) and self.anchor is not None
        seconds = self.interval.total_seconds()
        return {"interval": int(seconds) if seconds.is_integer() else seconds,
                "anchor": self.anchor.isoformat()}

    def describe(self) -> str:
        """Return the schedule in words: ``every 15 minutes, UTC``."""
        assert isinstance(self.interval, timedelta) and self.anchor is not None
        words = _length(self.interval)
        if wall_of(self.anchor, self.zone) != MONDAY:
            return f"{words}, counted from {self.anchor:%Y-%m-%d %H:%M:%S%z}, {self.timezone}"
        return f"{words}, {self.timezone}"

    def remark(self, slot: datetime) -> str | None:
        """Return what is odd about the clock at a slot, or None."""
        assert isinstance(self.interval, timedelta)
        fixed = self._first_from if self.interval % _DAY == _NOTHING else None
        return remark_on(slot, self.zone, fixed)


def _length(interval: timedelta) -> str:
    """Return a length in the largest unit that divides it."""
    for name, unit in _PLURALS:
        if interval % unit == _NOTHING:
            count = interval // unit
            return f"every {name}" if count == 1 else f"every {count:,} {name}s"
    return f"every {interval.total_seconds():g} seconds"


# where the class keeps the default of the parameter, an instance would show None
Interval.anchor_date = property(lambda self: self.anchor)  # type: ignore[attr-defined]
