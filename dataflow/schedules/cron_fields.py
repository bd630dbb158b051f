"""The five fields of a cron expression: read, checked, and searched.

Lives here: the grammar of each field, its errors, and the next wall time that
matches. Does not live here: which dates the two day fields allow together
(``cron_days.py``), what that means in real time (``wall_clock.py``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from dataflow.exceptions import ScheduleError
from dataflow.schedules.cron_days import DayRule

ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun",
          "jul", "aug", "sep", "oct", "nov", "dec")


class Field(NamedTuple):
    """What a field may hold."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()  # names of low, low + 1, ...
    alias: int | None = None  # of low: 7 is Sunday as well
    extra: str = ""  # more that is allowed, for errors


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day-of-month", 1, 31, extra=", L (the last day), LW (its last working day), "
                                       "15W (the working day nearest to the 15th)"),
    Field("month", 1, 12, MONTHS),
    Field("day-of-week", 0, 6, WEEKDAYS, alias=7,
          extra=", mon#2 (the second Monday), friL (the last Friday)"),
)
_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = FIELDS

_TERM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\w+))?", re.ASCII)
_HASHED = re.compile(r"[hr](\(.*\))?(/\w+)?", re.ASCII)
_ONE_MINUTE = timedelta(minutes=1)
_MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}


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
    sets = [_values(field, each) for field, each in zip(FIELDS, texts, strict=True)
            if field not in (_DAY, _WEEKDAY)]
    minutes, hours, months = (tuple(sorted(values)) for values in sets)
    days = _day_rule(texts[2], texts[4], day_or)
    if not any(days.of(year, month) for year in range(2000, 2400) for month in months):
        raise _bad(_DAY, texts[2], (
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


def _bad(field: Field, text: str, why: str) -> ScheduleError:
    return ScheduleError(f"{field.name} field {text!r}: {why}", field=field.name, value=text)


def _allowed(field: Field) -> str:
    words = f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
    high = field.high if field.alias is None else field.alias
    return (f"allowed are {field.low} to {high}{words}, *, ranges (a-b), steps (*/n, a-b/n) and "
            f"lists (a,b){field.extra}")


def _values(field: Field, text: str) -> set[int]:
    """Return the values of a field that has terms only."""
    values: set[int] = set()
    for term in text.lower().split(","):
        values |= _term(field, text, term)
    return values


def _term(field: Field, text: str, term: str) -> set[int]:
    if _HASHED.fullmatch(term):
        raise _bad(field, text, (
            "hashed and random fields (H, R) are not supported: write a number, and spread runs "
            "with jitter="))
    found = _TERM.fullmatch(term)
    if found is None or (found["low"] == "*" and found["high"]):
        raise _bad(field, text, f"{term!r} cannot be read; {_allowed(field)}")
    step = 1 if found["step"] is None else _step(field, text, found["step"])
    if found["low"] == "*":
        return set(range(field.low, field.high + 1, step))
    low = _number(field, text, found["low"])
    if found["high"] is None:
        last = low if found["step"] is None else max(low, field.high)
        return {_canonical(field, value) for value in range(low, last + 1, step)}
    high = _number(field, text, found["high"])
    if high < low:  # over the end: fri-mon, 22-2
        high += field.high - field.low + 1
    return {_canonical(field, value) for value in range(low, high + 1, step)}


def _canonical(field: Field, value: int) -> int:
    return value if value <= field.high else value - (field.high - field.low + 1)


def _step(field: Field, text: str, step: str) -> int:
    most = field.high - field.low + 1
    if not step.isdecimal() or not 1 <= int(step) <= most:
        raise _bad(field, text, f"step {step!r} is out of range; allowed are steps of 1 to {most}")
    return int(step)


def _number(field: Field, text: str, value: str) -> int:
    if value in field.words:
        return field.low + field.words.index(value)
    if not value.isdecimal():
        raise _bad(field, text, f"{value!r} cannot be read; {_allowed(field)}")
    number = int(value)
    if number != field.alias and not field.low <= number <= field.high:
        raise _bad(field, text, f"{value} is out of range; {_allowed(field)}")
    return number


def _day_rule(dates: str, weekdays: str, day_or: bool) -> DayRule:
    """Return which dates the two day fields allow."""
    by_date: set[int] = set()
    nearest: set[int] = set()
    last = last_working = False
    for term in ("*" if dates == "?" else dates.lower()).split(","):
        if term == "l":
            last = True
        elif term == "lw":
            last_working = True
        elif found := re.fullmatch(r"(\d+)w|w(\d+)", term, re.ASCII):
            nearest.add(_number(_DAY, dates, found[1] or found[2]))
        else:
            by_date |= _term(_DAY, dates, term)
    by_weekday: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for term in ("*" if weekdays == "?" else weekdays.lower()).split(","):
        if found := re.fullmatch(r"(\w+)#(\w+)", term, re.ASCII):
            nth.add((_number(_WEEKDAY, weekdays, found[1]) % 7, _ordinal(weekdays, found[2])))
        elif found := re.fullmatch(r"l(\d)|(\d|[a-z]{3})l", term, re.ASCII):
            nth.add((_number(_WEEKDAY, weekdays, found[1] or found[2]) % 7, -1))
        else:
            by_weekday |= _term(_WEEKDAY, weekdays, term)
    return DayRule(
        dates=None if len(by_date) == 31 else tuple(sorted(by_date)),
        last=last, last_working=last_working, nearest=tuple(sorted(nearest)),
        weekdays=None if len(by_weekday) == 7 else tuple(sorted(by_weekday)),
        nth=tuple(sorted(nth)), either=day_or,
    )


def _ordinal(text: str, number: str) -> int:
    if number not in ("1", "2", "3", "4", "5"):
        raise _bad(_WEEKDAY, text, f"#{number} is out of range; allowed are #1 to #5")
    return int(number)
