"""The five fields of a cron expression: put together, and searched.

Lives here: an expression as five fields, and the next wall time that matches. Does not
live here: what a term of a field means (``cron_terms.py``), which dates the two day
fields allow together (``cron_days.py``), what that means in real time
(``wall_clock.py``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from dataflow.exceptions import ScheduleError
from dataflow.schedules.cron_days import DayRule
from dataflow.schedules.cron_terms import FIELDS, Field, bad_field, counted_weekday, values_of

ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = FIELDS
_NEAREST = re.compile(r"(\d+)w|w(\d+)", re.ASCII)
_ONE_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class CronFields:
    """A cron expression that was read.

    ``texts`` are its five fields as they were written; ``every_hour`` says that it goes by
    real time (its hours are a star or a step, or all of them).
    """

    texts: tuple[str, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    days: DayRule
    every_hour: bool

    def first_from(self, wall: datetime) -> datetime | None:
        """Return the first wall time at or after one that matches; both without a zone."""
        if wall.second or wall.microsecond:
            wall = wall.replace(second=0, microsecond=0) + _ONE_MINUTE
        year, month = wall.year, wall.month
        day = wall.day
        if month in self.months:
            dates = self.days.of(year, month)
            at = bisect_left(dates, day)
            if at < len(dates) and dates[at] == day:
                found = self._first_of_day(wall)
                if found is not None:
                    return found
                at += 1
            if at < len(dates):
                return self._opening(wall, year, month, dates[at])
        while year < 9999:
            at = bisect_left(self.months, month + 1)
            if at == len(self.months):
                year, at = year + 1, 0
            month = self.months[at]
            dates = self.days.of(year, month)
            if dates:
                return self._opening(wall, year, month, dates[0])
        return None

    def _first_of_day(self, wall: datetime) -> datetime | None:
        hour = wall.hour
        at = bisect_left(self.hours, hour)
        if at == len(self.hours):
            return None
        if self.hours[at] == hour:
            minute = bisect_left(self.minutes, wall.minute)
            if minute < len(self.minutes):
                return wall.replace(minute=self.minutes[minute])
            at += 1
            if at == len(self.hours):
                return None
        return wall.replace(hour=self.hours[at], minute=self.minutes[0])

    def _opening(self, wall: datetime, year: int, month: int, day: int) -> datetime:
        """Return the first time of a date."""
        return wall.replace(year=year, month=month, day=day,
                            hour=self.hours[0], minute=self.minutes[0])


@lru_cache(maxsize=16_384)
def read_cron(text: str, day_or: bool) -> CronFields:
    """Return the fields of an expression.

    Parameters
    ----------
    day_or
        Where both days are restricted: True takes dates that either allows, False
        those that both do.

    Raises
    ------
    ScheduleError
        It cannot be read, or no date matches it ever; the text names the field.
    """
    texts = _split(text)
    minutes, hours, months = (_values(field, texts[field.at])
                              for field in (_MINUTE, _HOUR, _MONTH))
    days = _day_rule(texts[2], texts[4], day_or)
    if not any(days.of(year, month) for year in range(2000, 2400) for month in months):
        raise bad_field(_DAY, texts[2], (
            f"no such date: month field {texts[3]!r} and day-of-week field {texts[4]!r} leave "
            f"no day, so this would never run"))
    stepped = texts[1].startswith("*") and len(hours) > 1
    return CronFields(texts, minutes, hours, months, days, stepped or len(hours) == 24)


def _split(text: str) -> tuple[str, ...]:
    plain = text.strip()
    if plain.startswith("@") and plain.lower() not in ALIASES:
        raise ScheduleError(f"cron {text!r} is not known: {', '.join(ALIASES)} are",
                            field="cron", value=text)
    texts = tuple(ALIASES.get(plain.lower(), plain).split())
    if len(texts) == 5:
        return texts
    why = "are needed: minute hour day-of-month month day-of-week"
    if len(texts) in (6, 7):
        why = ("are allowed: minute hour day-of-month month day-of-week; seconds and years have "
               "no field (use Interval for seconds, start= and end= for years)")
    fields = f"{len(texts)} field" + ("" if len(texts) == 1 else "s")
    raise ScheduleError(f"cron {text!r} has {fields}, 5 {why}", field="cron", value=text)


def _values(field: Field, text: str) -> tuple[int, ...]:
    """Return the values of a field that has numbers, names, ranges and steps only."""
    values = {value for term in text.lower().split(",")
              for value in values_of(field, text, term)}
    return tuple(sorted(values))


def _day_rule(dates: str, weekdays: str, day_or: bool) -> DayRule:
    """Return which dates the two day fields allow."""
    by_date: set[int] = set()
    nearest: set[int] = set()
    last = last_working = False
    for term in dates.lower().split(","):
        if term == "l":
            last = True
        elif term == "lw":
            last_working = True
        elif found := _NEAREST.fullmatch(term):
            nearest.update(values_of(_DAY, dates, found[1] or found[2]))
        else:
            by_date.update(values_of(_DAY, dates, term))
    by_weekday: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for term in weekdays.lower().split(","):
        if (counted := counted_weekday(weekdays, term)) is not None:
            nth.add(counted)
        else:
            by_weekday.update(values_of(_WEEKDAY, weekdays, term))
    return DayRule(
        dates=None if len(by_date) == 31 else tuple(sorted(by_date)),
        last=last, last_working=last_working, nearest=tuple(sorted(nearest)),
        weekdays=None if len(by_weekday) == 7 else tuple(sorted(by_weekday)),
        nth=tuple(sorted(nth)), either=day_or,
    )
