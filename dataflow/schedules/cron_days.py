"""Which dates the two day fields of a cron expression allow together.

Lives here: the dates of a month. Does not live here: the grammar of the fields
(``cron_fields.py``).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DayRule:
    """The day-of-month and the day-of-week field.

    Parameters
    ----------
    dates
        Days of the month; None for all of them.
    last, last_working
        Whether the last day of the month is meant, or its last day from Monday to Friday.
    nearest
        Days of the month of which the nearest working day of that month is meant.
    weekdays
        0 (Sunday) to 6; None for all of them.
    nth
        Pairs of weekday and 1 to 5, or -1 for the last one of the month.
    either
        Whether a date that one field allows will do where both restrict it.
    """

    dates: tuple[int, ...] | None
    last: bool
    last_working: bool
    nearest: tuple[int, ...]
    weekdays: tuple[int, ...] | None
    nth: tuple[tuple[int, int], ...]
    either: bool

    def of(self, year: int, month: int) -> Sequence[int]:
        """Return the dates of that month that match, in order."""
        first, days = monthrange(year, month)
        first = (first + 1) % 7  # weekday of the 1st, Sunday is 0
        if self.dates is None:
            return range(1, days + 1) if self.weekdays is None else self._by_weekday(first, days)
        if self.weekdays is None:
            return self._by_date(first, days)
        by_date, by_weekday = set(self._by_date(first, days)), self._by_weekday(first, days)
        return sorted(by_date.union(by_weekday) if self.either
                      else by_date.intersection(by_weekday))

    def _by_date(self, first: int, days: int) -> list[int]:
        assert self.dates is not None
        found = [date for date in self.dates if date <= days]
        if not (self.last or self.last_working or self.nearest):
            return found
        more = set(found)
        if self.last:
            more.add(days)
        if self.last_working:
            more.add(_working(days, first, days))
        more.update(_working(date, first, days) for date in self.nearest if date <= days)
        return sorted(more)

    def _by_weekday(self, first: int, days: int) -> list[int]:
        assert self.weekdays is not None
        found = {date for weekday in self.weekdays
                 for date in range(1 + (weekday - first) % 7, days + 1, 7)}
        for weekday, which in self.nth:
            dates = range(1 + (weekday - first) % 7, days + 1, 7)
            if which <= len(dates):
                found.add(dates[which - 1 if which > 0 else -1])
        return sorted(found)


def _working(date: int, first: int, days: int) -> int:
    """Return the day from Monday to Friday nearest to a date, in the same month."""
    weekday = (first + date - 1) % 7
    if weekday == 6:  # Saturday
        return date - 1 if date > 1 else date + 2
    if weekday == 0:
        return date + 1 if date < days else date - 2
    return date
