"""Schedules: when a deployment runs. Values and rules only; nobody waits here.

Lives here: the public names, each imported from its module on first use. Does not
live here: who makes the runs and keeps what was handled.

Time is passed in everywhere. A schedule is a frozen value; it answers ``after`` and
``times`` (the next slots, aware, in its zone), ``describe`` (in words) and ``to_json``.
``due`` says which slots to run now, ``overlap_action`` what to do beside a run that is
still active.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "At": "at",
    "Cron": "cron",
    "Due": "missed",
    "Interval": "interval",
    "PassedOver": "missed",
    "RRule": "rrule",
    "Schedule": "schedule",
    "due": "missed",
    "overlap_action": "overlap",
    "schedule_from_json": "wire",
}
_AS_PREFECT_HAS_IT = {
    "CronSchedule": "Cron", "IntervalSchedule": "Interval", "RRuleSchedule": "RRule",
}

__all__ = [
    "At",
    "Cron",
    "CronSchedule",
    "Due",
    "Interval",
    "IntervalSchedule",
    "PassedOver",
    "RRule",
    "RRuleSchedule",
    "Schedule",
    "due",
    "overlap_action",
    "schedule_from_json",
]

if TYPE_CHECKING:
    from dataflow.schedules.at import At
    from dataflow.schedules.cron import Cron
    from dataflow.schedules.cron import Cron as CronSchedule
    from dataflow.schedules.interval import Interval
    from dataflow.schedules.interval import Interval as IntervalSchedule
    from dataflow.schedules.missed import Due, PassedOver, due
    from dataflow.schedules.overlap import overlap_action
    from dataflow.schedules.rrule import RRule
    from dataflow.schedules.rrule import RRule as RRuleSchedule
    from dataflow.schedules.schedule import Schedule
    from dataflow.schedules.wire import schedule_from_json


def __getattr__(name: str) -> Any:
    real = _AS_PREFECT_HAS_IT.get(name, name)
    if real not in _HOME_OF:
        raise AttributeError(f"module 'dataflow.schedules' has no attribute {name!r}")
    value = getattr(import_module(f"dataflow.schedules.{_HOME_OF[real]}"), real)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
