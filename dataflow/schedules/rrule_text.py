"""The text of a recurrence rule (RFC 5545): taken apart and checked.

Lives here: its lines and parts, their errors, and times of it brought to the wall
clock of the schedule's zone. Does not live here: when the rule is due
(``rrule_pattern.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn
from zoneinfo import ZoneInfo

from dataflow.exceptions import ScheduleError
from dataflow.schedules.wall_clock import wall_of

FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
BELOW_A_DAY = FREQUENCIES[4:]
MOST_COUNTED = 10_000
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_RANGES = {  # of numbers; those below zero count from the end
    "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53), "BYSETPOS": (-366, 366), "BYHOUR": (0, 23), "BYMINUTE": (0, 59),
    "BYSECOND": (0, 59), "BYEASTER": (-366, 366),
}
_WITHOUT_ZERO = {"BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"}
_PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_RANGES)
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z)?)?")
_WEEKDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")


@dataclass(frozen=True, slots=True)
class RuleText:
    """A recurrence rule taken apart; all times are on the schedule's wall clock.

    ``parts`` are those of the line RRULE without FREQ, UNTIL and COUNT, in capitals.
    """

    text: str
    freq: str
    parts: Mapping[str, str]
    dtstart: datetime | None = None
    until: datetime | None = None
    count: int | None = None
    more: tuple[datetime, ...] = ()
    without: tuple[datetime, ...] = ()

    @property
    def interval(self) -> int:
        """Return how many periods one step is."""
        return int(self.parts.get("INTERVAL", "1"))


def read_rule(text: str, zone: ZoneInfo) -> RuleText:
    """Return the parts of a rule.

    Raises
    ------
    ScheduleError
        It cannot be read; the text names the part.
    """
    rule: RuleText | None = None
    dtstart: datetime | None = None
    dates: dict[str, list[datetime]] = {"RDATE": [], "EXDATE": []}
    for line in text.split():
        head, colon, body = line.upper().rpartition(":")
        name, *options = (head if colon else "RRULE").split(";")
        if name == "RRULE" and not options:
            if rule is not None:
                _refuse(text, "has two rules; give a schedule for each")
            rule = _rule(text, body, zone)
        elif name == "DTSTART" and dtstart is None:
            (dtstart,) = _times(text, name, options, line, zone)[:1]
        elif name in dates:
            dates[name] += _times(text, name, options, line, zone)
        else:
            _refuse(text, f"has {head or line!r}, which is not allowed here: allowed are one "
                          f"DTSTART and one RRULE, and RDATE and EXDATE")
    if rule is None:
        _refuse(text, "has no rule such as 'FREQ=WEEKLY;BYDAY=MO'")
    if rule.count is not None and dtstart is None:
        _refuse(text, "has COUNT but nothing to count from: put 'DTSTART:20260101T090000' and a "
                      "new line before it")
    return replace(rule, dtstart=dtstart, more=tuple(sorted(set(dates["RDATE"]))),
                   without=tuple(sorted(set(dates["EXDATE"]))))


def _refuse(text: str, why: str) -> NoReturn:
    raise ScheduleError(f"rrule {text!r} {why}", field="rrule", value=text)


def _times(text: str, name: str, options: list[str], line: str, zone: ZoneInfo) -> list[datetime]:
    """Return the times of a line such as ``DTSTART;TZID=Europe/Berlin:20260101T090000``."""
    for option in options:
        key, _, value = option.partition("=")
        if key == "TZID" and value == zone.key.upper():
            continue
        if key == "VALUE" and value in ("DATE", "DATE-TIME"):
            continue
        if key == "TZID":
            given = line[line.upper().index("TZID=") + 5:].partition(":")[0].partition(";")[0]
            _refuse(text, f"has TZID={given} in {name}, but the schedule's zone is {zone.key}: "
                          f"give timezone={given!r}")
        _refuse(text, f"has {option!r} in {name}; allowed are TZID and VALUE=DATE")
    return [_wall(text, name, each, zone) for each in line.upper().rpartition(":")[2].split(",")]


def _wall(text: str, name: str, value: str, zone: ZoneInfo) -> datetime:
    found = _TIME.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        numbers = [int(each or 0) for each in found.groups()[:6]]
        wall = datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001 - a wall time
        if not 2 <= wall.year <= 9998:
            raise ValueError
    except ValueError:
        _refuse(text, f"has {name} {value!r}, which is no time such as 20260101T090000 or "
                      f"20260101T080000Z")
    return wall_of(wall.replace(tzinfo=UTC), zone) if found[7] else wall


def _rule(text: str, body: str, zone: ZoneInfo) -> RuleText:
    parts: dict[str, str] = {}
    for part in body.strip(";").split(";"):
        name, equals, value = part.partition("=")
        if name not in _PARTS or not equals:
            _refuse(text, f"has {part!r}, which cannot be read; known parts are "
                          f"{', '.join(_PARTS)}")
        if name in parts:
            _refuse(text, f"has {name} twice")
        parts[name] = value
        _check(text, name, value)
    freq = parts.pop("FREQ", None)
    if freq is None:
        _refuse(text, f"has no FREQ, one of {', '.join(FREQUENCIES)}")
    if freq not in ("YEARLY", "MONTHLY", "WEEKLY") and "BYSETPOS" in parts:
        _refuse(text, f"has BYSETPOS with FREQ={freq}, which is not supported")
    if freq not in ("YEARLY", "MONTHLY") and re.search(r"\d", parts.get("BYDAY", "")):
        _refuse(text, f"has BYDAY={parts['BYDAY']}: numbered weekdays need FREQ=MONTHLY or YEARLY")
    if freq != "YEARLY" and "BYWEEKNO" in parts:
        _refuse(text, "has BYWEEKNO, which needs FREQ=YEARLY")
    _check_dates(text, parts)
    until, count = parts.pop("UNTIL", None), parts.pop("COUNT", None)
    if until is not None and count is not None:
        _refuse(text, "has UNTIL and COUNT; give one of them")
    return RuleText(text, freq, parts, count=None if count is None else int(count),
                    until=None if until is None else _until(text, until, zone))


def _until(text: str, value: str, zone: ZoneInfo) -> datetime:
    """Return the last wall time; a date without a time counts to its end."""
    wall = _wall(text, "UNTIL", value, zone)
    return wall if "T" in value else wall.replace(hour=23, minute=59, second=59)


def _check(text: str, name: str, value: str) -> None:
    """Refuse a value that its part cannot have."""
    if name == "FREQ" and value not in FREQUENCIES:
        _refuse(text, f"has FREQ={value}; allowed are {', '.join(FREQUENCIES)}")
    elif name == "WKST" and value not in _DAYS:
        _refuse(text, f"has WKST={value}; allowed are {', '.join(_DAYS)}")
    elif name in ("INTERVAL", "COUNT"):
        most = MOST_COUNTED if name == "COUNT" else 1_000_000
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= most:
            _refuse(text, f"has {name}={value}; allowed are 1 to {most:,}")
    elif name == "BYDAY":
        for each in value.split(","):
            found = _WEEKDAY.fullmatch(each)
            if found is None or (found[1] and not 1 <= abs(int(found[1])) <= 53):
                _refuse(text, f"has BYDAY={value}; {each!r} is none of {', '.join(_DAYS)}, also "
                              f"numbered as in 2MO or -1FR")
    elif name in _RANGES:
        low, high = _RANGES[name]
        for each in value.split(","):
            if (not re.fullmatch(r"[+-]?[0-9]{1,3}", each) or not low <= int(each) <= high
                    or (int(each) == 0 and name in _WITHOUT_ZERO)):
                _refuse(text, f"has {name}={value}; {each!r} is out of range, allowed are {low} "
                              f"to {high}{', but not 0' if name in _WITHOUT_ZERO else ''}")


def _check_dates(text: str, parts: Mapping[str, str]) -> None:
    """Refuse months that have none of the days, before a search for one takes centuries."""
    if "BYMONTH" in parts and "BYMONTHDAY" in parts:
        days = min(abs(int(each)) for each in parts["BYMONTHDAY"].split(","))
        if all(_MONTH_DAYS[int(month) - 1] < days for month in parts["BYMONTH"].split(",")):
            _refuse(text, f"has BYMONTHDAY={parts['BYMONTHDAY']}, which no month of BYMONTH="
                          f"{parts['BYMONTH']} has: it would never run")
