"""The ways in which people say when a deployment runs, as schedules.

Lives here: ``cron=``, ``interval=``, ``rrule=``, ``at=``, ``schedule(s)=`` brought into one form.
Does not live here: the schedules (``schedules/``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from dataflow.exceptions import ScheduleError
from dataflow.schedules import At, Cron, Interval, RRule, Schedule
from dataflow.service.slots import schedule_of

Many = Any  # one of a kind, or several


def schedules_of(*, cron: Many = None, interval: Many = None, rrule: Many = None,
                 at: Many = None, schedule: Any = None, schedules: Iterable[Any] | None = None,
                 timezone: str | None = None) -> list[dict[str, Any]]:
    """Return schedules as JSON.

    Parameters
    ----------
    cron, interval, rrule
        One or several: cron expressions; timedeltas or seconds; rules of RFC 5545.
    at
        One or several moments.
    schedule, schedules
        Ready-made ones, or their JSON.
    timezone
        Of those that are not ready-made; default UTC.

    Raises
    ------
    ScheduleError
        One cannot be meant; the text says which part.
    """
    zone = "UTC" if timezone is None else timezone
    found: list[Schedule] = [Cron(each, timezone=zone) for each in _several(cron)]
    found += [Interval(each, timezone=zone) for each in _several(interval)]
    found += [RRule(each, timezone=zone) for each in _several(rrule)]
    if at is not None:
        found.append(At(at, timezone=zone))
    ready = [] if schedule is None else [schedule]
    for each in [*ready, *(schedules or ())]:
        if isinstance(each, Mapping):
            each = schedule_of(each)
        if not isinstance(each, Schedule):
            raise ScheduleError(
                f"{each!r} is no schedule: give Cron(…), Interval(…), RRule(…) or At(…) of "
                "dataflow.schedules", field="schedules", value=each)
        found.append(each)
    if timezone is not None and not (cron or interval or rrule or at):
        raise ScheduleError(
            f"timezone {timezone!r} is of cron=, interval=, rrule= or at=, none of which is given: "
            "ready-made schedules have their own", field="timezone", value=timezone)
    return [each.to_json() for each in found]


def _several(given: Many) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, (str, int, float, timedelta, datetime)):
        return [given]
    return list(given)
