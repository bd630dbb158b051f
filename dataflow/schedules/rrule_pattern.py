"""The wall times of a recurrence rule.

Lives here: the first wall time at or after a given one. Does not live here: the
text of the rule (``rrule_text.py``), what a wall time means in real time
(``wall_clock.py``).

A rule without COUNT is not counted through from its first day: it is begun anew a
little before the time that is asked for, a whole number of its steps from where it
began, with everything written out that it had from its first day.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dateutil.rrule import rrule, rrulestr

from dataflow.schedules.rrule_text import BELOW_A_DAY, RuleText

_STEPS = {"WEEKLY": timedelta(weeks=1), "DAILY": timedelta(days=1), "HOURLY": timedelta(hours=1),
          "MINUTELY": timedelta(minutes=1), "SECONDLY": timedelta(seconds=1)}
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DATES = ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYEASTER")
_SEARCHED_YEARS = 60  # 29 February on a given weekday comes every 40 years at the latest
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class RulePattern:
    """The wall times of a rule that begins at ``dtstart``."""

    rule: RuleText
    dtstart: datetime
    by_clock: bool = field(init=False)  # real time, hour by hour, where no hour is named
    _counted: tuple[datetime, ...] = field(init=False)
    _template: Any = field(init=False)

    def __post_init__(self) -> None:
        rule = self.rule
        counted: tuple[datetime, ...] = ()
        if rule.count is not None:
            counted = tuple(_made(rule, self.dtstart, f"COUNT={rule.count}"))
        object.__setattr__(self, "_counted", counted)
        object.__setattr__(self, "_template", _made(rule, self.dtstart, written_out(self)))
        object.__setattr__(self, "by_clock",
                           rule.freq in BELOW_A_DAY and "BYHOUR" not in rule.parts)

    def first_from(self, wall: datetime) -> datetime | None:
        """Return the first wall time at or after one; both without a zone."""
        if wall.microsecond:
            wall = wall.replace(microsecond=0) + _SECOND
        while True:
            found = self._of_rule(wall)
            at = bisect_left(self.rule.more, wall)
            if at < len(self.rule.more) and (found is None or self.rule.more[at] < found):
                found = self.rule.more[at]
            if found is None or found not in self.rule.without:
                return found
            wall = found + _SECOND

    def _of_rule(self, wall: datetime) -> datetime | None:
        if self.rule.count is not None:
            at = bisect_left(self._counted, wall)
            return self._counted[at] if at < len(self._counted) else None
        wall = max(wall, self.dtstart)
        last = _years_later(wall)
        if self.rule.until is not None:
            last = min(last, self.rule.until)
        if wall > last:
            return None
        anew = self._template.replace(dtstart=begun_before(self, wall), until=last)
        found: datetime | None = anew.after(wall, inc=True)
        return found


def begun_before(pattern: RulePattern, wall: datetime) -> datetime:
    """Return a day near ``wall``, at or before it, from which the rule goes on in step."""
    start, freq, interval = pattern.dtstart, pattern.rule.freq, pattern.rule.interval
    if freq == "YEARLY":
        years = (wall.year - 1 - start.year) // interval * interval
        return start if years <= 0 else start.replace(year=start.year + years, month=1, day=1)
    if freq == "MONTHLY":
        passed = (wall.year - start.year) * 12 + wall.month - start.month
        months = (passed - 1) // interval * interval
        if months <= 0:
            return start
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        return start.replace(year=year, month=month + 1, day=1)
    step = _STEPS[freq] * interval
    steps = (wall - start) // step - 1
    return start if steps <= 0 else start + step * steps


def written_out(pattern: RulePattern) -> str:
    """Return the parts that a rule without them takes from its first day."""
    rule, start = pattern.rule, pattern.dtstart
    parts: list[str] = []
    if not any(name in rule.parts for name in _DATES):
        if rule.freq == "YEARLY" and "BYMONTH" not in rule.parts:
            parts.append(f"BYMONTH={start.month}")
        if rule.freq in ("YEARLY", "MONTHLY"):
            parts.append(f"BYMONTHDAY={start.day}")
        elif rule.freq == "WEEKLY":
            parts.append(f"BYDAY={_DAYS[start.weekday()]}")
    if rule.freq not in BELOW_A_DAY and "BYHOUR" not in rule.parts:
        parts.append(f"BYHOUR={start.hour}")
    if rule.freq not in BELOW_A_DAY[1:] and "BYMINUTE" not in rule.parts:
        parts.append(f"BYMINUTE={start.minute}")
    if rule.freq != "SECONDLY" and "BYSECOND" not in rule.parts:
        parts.append(f"BYSECOND={start.second}")
    return ";".join(parts)


def _made(rule: RuleText, dtstart: datetime, more: str) -> rrule:
    """Return dateutil's rule; it raises ValueError for parts that exclude each other."""
    parts = [f"FREQ={rule.freq}", *(f"{name}={value}" for name, value in rule.parts.items())]
    return rrulestr(";".join([*parts, more]).strip(";"), dtstart=dtstart)


def _years_later(wall: datetime) -> datetime:
    year = min(wall.year + _SEARCHED_YEARS, 9998)
    return wall.replace(year=year, day=min(wall.day, monthrange(year, wall.month)[1]))
