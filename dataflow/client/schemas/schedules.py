"""Schedules under the names by which users of Prefect import them.

Lives here: other names of what ``dataflow.schedules`` has. Does not live here:
anything else.
"""

from __future__ import annotations

from dataflow.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

__all__ = ["CronSchedule", "IntervalSchedule", "RRuleSchedule"]
