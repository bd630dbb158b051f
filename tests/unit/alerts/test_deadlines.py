"""Not completed by a time of day: zones, days, the clock put forward and back."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dataflow.alerts import Alert, History, missed
from dataflow.alerts.deadlines import Subject, last_deadline
from dataflow.alerts.notices import Notice

BERLIN = "Europe/Berlin"
ALERT = Alert(not_completed_by="06:00", timezone=BERLIN, match="etl", channels=["a"])
ETL = Subject(flow_name="etl")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).timestamp()


def asked(now: str, completed: str | None, alert: Alert = ALERT) -> Notice | None:
    last = None if completed is None else at(completed)
    return missed(alert, ETL, History(last_completed_s=last), at(now))


@pytest.mark.parametrize("now, completed, outcome", [
    ("2026-03-10 06:01", "2026-03-10 05:59", None),
    ("2026-03-10 06:01", "2026-03-09 06:01", None),  # after yesterday's time: it counts for today
    ("2026-03-10 06:01", "2026-03-09 05:59", "missed"),
    ("2026-03-10 05:59", "2026-03-09 05:59", None),
    ("2026-03-10 06:01", None, "missed"),
    ("2026-03-11 05:00", "2026-03-10 07:00", "resolved"),
    ("2026-03-10 23:00", "2026-03-08 07:00", "missed"),
])
def test_a_run_must_complete_between_two_deadlines(
    now: str, completed: str | None, outcome: str | None
) -> None:
    found = asked(now, completed)
    assert (found and ("resolved" if found.resolved else "missed")) == outcome


def test_the_same_deadline_gives_the_same_notice_and_the_next_another() -> None:
    first, again, next_day = (asked(now, None) for now in (
        "2026-03-10 06:01", "2026-03-10 18:00", "2026-03-11 06:01"))
    assert first and again and next_day
    assert first.id == again.id != next_day.id
    assert first.why == "was not completed by 2026-03-10 06:00 CET"


def test_days_that_do_not_count_have_no_deadline() -> None:
    alert = Alert(not_completed_by="06:00", timezone=BERLIN, days="mon-fri")
    assert last_deadline(alert, at("2026-03-08 12:00")) == at("2026-03-06 06:00")  # a Sunday
    assert asked("2026-03-08 12:00", "2026-03-06 05:00", alert) is None
    monday = asked("2026-03-09 06:00", "2026-03-06 05:00", alert)
    assert monday is not None and not monday.resolved


def test_a_time_that_does_not_exist_or_exists_twice_comes_once() -> None:
    alert = Alert(not_completed_by="02:30", timezone=BERLIN)
    spring = datetime.fromisoformat("2026-03-29T03:30:00+02:00").timestamp()
    assert last_deadline(alert, spring - 1) == at("2026-03-28 02:30")
    assert last_deadline(alert, spring) == spring
    autumn = datetime.fromisoformat("2026-10-25T02:30:00+02:00").timestamp()
    assert last_deadline(alert, autumn + 3600) == last_deadline(alert, autumn) == autumn


def test_what_does_not_concern_the_alert_or_is_younger_misses_nothing() -> None:
    now = at("2026-03-10 06:01")
    assert missed(ALERT, Subject(flow_name="other"), History(), now) is None
    young = Subject(flow_name="etl", known_since_s=at("2026-03-10 06:00") + 1)
    assert missed(ALERT, young, History(), now) is None
    assert missed(Alert(), ETL, History(), now) is None
