"""What was to be completed by a time of day, and was not. Pure.

Lives here: the last deadline before a moment, whether it was missed. Does not
live here: conditions on events (``rules.py``), who asks each minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dataflow.alerts import conditions
from dataflow.alerts.alert import Alert
from dataflow.alerts.events import History, RunEvent
from dataflow.alerts.notices import Notice
from dataflow.alerts.rules import concerns


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A flow or deployment, of which runs are expected.

    ``known_since_s`` is when it began to be: no deadline before that is missed.
    """

    flow_name: str
    deployment_name: str | None = None
    tags: tuple[str, ...] = ()
    known_since_s: float = 0.0


def missed(alert: Alert, subject: Subject, history: History, now_s: float) -> Notice | None:
    """Return the notice of a deadline that has passed without a completed run.

    A run counts that completed after the deadline of the day before and not after this one.
    The same deadline gives the same notice each time it is asked, which :func:`.fold` knows;
    where a run completed after its deadline, it gives a resolved one.

    Parameters
    ----------
    alert
        One without ``not_completed_by`` gives None.
    subject
        The alert's ``match`` must hold for it.
    history
        Of it; only ``last_completed_s`` counts.
    now_s
        The time, epoch seconds.
    """
    if alert.not_completed_by is None:
        return None
    due_s = last_deadline(alert, now_s)
    event = RunEvent(
        flow_run_id="", flow_run_name="", flow_name=subject.flow_name, tags=subject.tags,
        deployment_name=subject.deployment_name, state_type="SCHEDULED", state_name="Missed",
        occurred_s=now_s, scheduled_s=due_s)
    if due_s is None or subject.known_since_s > due_s or not concerns(alert, event):
        return None
    completed_s = history.last_completed_s
    since_s = _at(alert, datetime.fromtimestamp(due_s, ZoneInfo(alert.timezone)).date()
                  - timedelta(days=1))
    if completed_s is None or completed_s <= since_s:
        return Notice(alert=alert, event=event, state="MISSED",
                      why=f"was not completed by {_text(alert, due_s)}")
    if completed_s > due_s and alert.resolved:
        return Notice(alert=alert, event=event, state="resolved", resolved=True,
                      why=f"completed at {_text(alert, completed_s)}, after its time")
    return None


def last_deadline(alert: Alert, now_s: float) -> float | None:
    """Return the latest deadline that is not after a moment; None where none of its days is."""
    days = conditions.weekdays(alert.days) if alert.days else frozenset(range(7))
    today = datetime.fromtimestamp(now_s, ZoneInfo(alert.timezone)).date()
    for back in range(8):
        day = today - timedelta(days=back)
        if day.weekday() in days and (at := _at(alert, day)) <= now_s:
            return at
    return None


def _at(alert: Alert, day: date) -> float:
    """Return the moment of the deadline on a day.

    A time that does not exist is as much later as the clock was put forward; of a time that
    exists twice it is the first.
    """
    hour, minute = conditions.time_of_day(alert.not_completed_by)
    wall = datetime.combine(day, time(hour, minute), ZoneInfo(alert.timezone))
    return wall.astimezone(UTC).timestamp()


def _text(alert: Alert, moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, ZoneInfo(alert.timezone)).strftime("%Y-%m-%d %H:%M %Z")
