"""The ways in which people say when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dataflow.exceptions import ScheduleError
from dataflow.schedules import Cron
from dataflow.service.schedule_options import schedules_of


def kinds(**options: Any) -> list[tuple[str, str]]:
    return [(each["kind"], each["timezone"]) for each in schedules_of(**options)]


def test_one_or_several_of_a_kind_become_schedules_in_the_zone_given():
    assert kinds() == []
    assert kinds(cron="0 4 * * *", timezone="Europe/Berlin") == [("cron", "Europe/Berlin")]
    assert kinds(cron=["0 4 * * *", "0 5 * * *"], interval=timedelta(hours=1)) == [
        ("cron", "UTC"), ("cron", "UTC"), ("interval", "UTC")]
    assert kinds(interval=900, rrule="FREQ=DAILY", at="2030-01-01T00:00") == [
        ("interval", "UTC"), ("rrule", "UTC"), ("at", "UTC")]


def test_ready_made_schedules_and_their_json_keep_their_own_zone():
    made = Cron("0 4 * * *", timezone="Asia/Tokyo")
    assert kinds(schedule=made, schedules=[made.to_json(), {"interval": 60}]) == [
        ("cron", "Asia/Tokyo"), ("cron", "Asia/Tokyo"), ("interval", "UTC")]


def test_what_is_no_schedule_is_named():
    with pytest.raises(ScheduleError, match="is no schedule"):
        schedules_of(schedules=["0 4 * * *"])


def test_a_zone_without_anything_that_it_is_of_is_refused():
    with pytest.raises(ScheduleError, match="timezone 'Asia/Tokyo' is of cron="):
        schedules_of(timezone="Asia/Tokyo")
    with pytest.raises(ScheduleError, match="timezone"):
        schedules_of(schedule=Cron("0 4 * * *"), timezone="Asia/Tokyo")
