"""What an alert needs to be judged by: the run's end alone, looks by time, its task runs.

Lives here: pure questions about an alert. Does not live here: whether it holds
(``alerts/rules.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dataflow.alerts import conditions
from dataflow.alerts.alert import Alert


def about_tasks(alert: Alert) -> bool:
    """Tell whether an alert may be about task runs."""
    return any(part.kind == "task" for parts in conditions.patterns(alert.match) for part in parts)


def needs_history(alert: Alert) -> bool:
    """Tell whether earlier runs count."""
    return "recovered" in alert.on or (
        alert.longer_than is not None
        and conditions.longer_than(alert.longer_than).medians is not None)


def by_time(alert: Alert) -> bool:
    """Tell whether an alert may hold for a run that goes on, or waits, without an event."""
    return (alert.longer_than is not None or alert.late_by_seconds is not None
            or about_tasks(alert))


def has_deadline(table: dict[str, Any] | Any) -> bool:
    """Tell whether the JSON of an alert has a deadline."""
    return isinstance(table, dict) and table.get("not_completed_by") is not None


def deadlines(alerts: Iterable[Alert]) -> list[Alert]:
    """Return those that have a deadline."""
    return [each for each in alerts if each.not_completed_by is not None]
