"""Cron expressions in words.

Lives here: the words. Does not live here: what an expression means
(``cron_fields.py``, ``cron_days.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.schedules.cron_fields import CronFields

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August",
           "September", "October", "November", "December")
_LISTED = 6  # a longer list is shown as it was written


def in_words(fields: CronFields) -> str:
    """Return an expression in words: ``at 09:00 on Monday to Friday``."""
    days, months = _days(fields), _months(fields)
    time = _time(fields)
    if not days and not months and time.startswith("at ") and ":" in time:
        days = "every day"
    return " ".join(part for part in (time, days, months) if part)


def _time(fields: CronFields) -> str:
    minutes, hours = fields.minutes, fields.hours
    if len(hours) == 24:
        return _within_an_hour(fields)
    if len(minutes) * len(hours) <= _LISTED:
        return "at " + _joined([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    step = _even(hours, 24)
    if len(minutes) == 1 and step is not None:
        past = "" if minutes == (0,) else f" at minute {minutes[0]}"
        return f"every {step} hours{past}"
    if hours[-1] - hours[0] == len(hours) - 1:
        span = f"from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[-1]:02}"
        if len(minutes) == 1:
            return f"every hour {span}"
        if len(minutes) == 60 or _even(minutes, 60) is not None:
            return f"{_within_an_hour(fields)} {span}"
    each = _listed("minute", minutes, fields.texts[0])
    return f"{each} of {_listed('hour', hours, fields.texts[1]).removeprefix('at ')}"


def _within_an_hour(fields: CronFields) -> str:
    minutes = fields.minutes
    if len(minutes) == 60:
        return "every minute"
    step = _even(minutes, 60)
    if step is not None:
        return f"every {step} minutes"
    if minutes == (0,):
        return "every hour"
    return f"{_listed('minute', minutes, fields.texts[0])} of every hour"


def _even(values: Sequence[int], whole: int) -> int | None:
    """Return the step of values that divide the whole evenly from 0 on, if they do."""
    if len(values) < 2 or whole % len(values):
        return None
    step = whole // len(values)
    return step if tuple(values) == tuple(range(0, whole, step)) else None


def _listed(name: str, values: Sequence[int], text: str) -> str:
    if len(values) == 1:
        return f"at {name} {values[0]}"
    if len(values) > _LISTED:
        return f"at {name}s {text}"
    return f"at {name}s {_joined([str(value) for value in values])}"


def _days(fields: CronFields) -> str:
    dates, weekdays = _dates(fields), _weekdays(fields)
    if dates and weekdays:
        return f"{dates} {'or' if fields.days.either else 'if also'} {weekdays}"
    return dates or weekdays


def _dates(fields: CronFields) -> str:
    days = fields.days
    if days.dates is None:
        return ""
    parts = [f"the working day nearest to day {date}" for date in days.nearest]
    if days.last:
        parts.append("the last day")
    if days.last_working:
        parts.append("the last working day")
    if len(days.dates) > _LISTED and not parts:
        return f"on days {fields.texts[2]} of the month"
    if days.dates:
        word = "day" if len(days.dates) == 1 else "days"
        parts.insert(0, f"{word} {_joined([str(date) for date in days.dates])}")
    return f"on {_joined(parts)} of the month"


def _weekdays(fields: CronFields) -> str:
    days = fields.days
    if days.weekdays is None:
        return ""
    parts = _runs(_WEEKDAYS, sorted((day - 1) % 7 for day in days.weekdays))
    parts += [f"the {_nth(which)} {_WEEKDAYS[day - 1]} of the month" for day, which in days.nth]
    return f"on {_joined(parts)}"


def _nth(which: int) -> str:
    return {-1: "last", 1: "1st", 2: "2nd", 3: "3rd"}.get(which, f"{which}th")


def _months(fields: CronFields) -> str:
    if len(fields.months) == 12:
        return ""
    return f"in {_joined(_runs(_MONTHS, [month - 1 for month in fields.months]))}"


def _runs(names: Sequence[str], values: Sequence[int]) -> list[str]:
    """Return names, with three or more that follow each other as ``first to last``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        if len(run) > 2:
            parts.append(f"{names[run[0]]} to {names[run[-1]]}")
        else:
            parts += [names[value] for value in run]
    return parts


def _joined(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
