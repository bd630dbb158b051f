"""Where clocks are changed: times that do not exist, that exist twice, and laws that change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from dataflow.schedules import At, Cron, Interval, RRule, Schedule

BERLIN = "Europe/Berlin"


def shown(schedule: Schedule, begin: str, end: str) -> list[str]:
    """Return the slots in (begin, end], which are UTC, as the zone's clock and offset show them."""
    after, until = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begin, end))
    return [each.isoformat(" ", "minutes") for each in schedule.times(after=after, until=until)]


def hours(schedule: Schedule, begin: str, end: str) -> list[str]:
    return [each[11:] for each in shown(schedule, begin, end)]


def test_nine_stays_nine_on_both_sides_of_a_change() -> None:
    assert shown(Cron("0 9 * * *", timezone=BERLIN), "2026-03-28", "2026-03-30") == [
        "2026-03-28 09:00+01:00", "2026-03-29 09:00+02:00"]
    assert shown(Cron("0 9 * * *", timezone=BERLIN), "2026-10-24", "2026-10-26") == [
        "2026-10-24 09:00+02:00", "2026-10-25 09:00+01:00"]


@pytest.mark.parametrize("schedule", [
    Cron("30 2 * * *", timezone=BERLIN),
    RRule("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", timezone=BERLIN),
    Interval(timedelta(days=1), anchor="2020-01-01T02:30", timezone=BERLIN),
], ids=lambda each: each.kind)
def test_fixed_time_runs_once_where_it_exists_twice_and_right_after_where_it_does_not(
    schedule: Schedule
) -> None:
    assert shown(schedule, "2026-10-24 12:00", "2026-10-26 12:00") == [
        "2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]
    assert shown(schedule, "2026-03-28 12:00", "2026-03-30 12:00") == [
        "2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"]


def test_question_from_the_second_of_two_hours_does_not_run_the_first_again() -> None:
    schedule = Cron("30 2 * * *", timezone=BERLIN)
    between = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)  # 02:05 for the second time
    assert schedule.after(between)[0].isoformat() == "2026-10-26T02:30:00+01:00"


def test_hourly_is_every_real_hour() -> None:
    schedule = Cron("0 * * * *", timezone=BERLIN)
    assert hours(schedule, "2026-10-24 22:30", "2026-10-25 02:00") == [
        "01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"]
    assert hours(schedule, "2026-03-28 23:30", "2026-03-29 02:00") == [
        "01:00+01:00", "03:00+02:00", "04:00+02:00"]
    year = in_utc(schedule, "2026-01-01", "2027-01-01")
    assert len(year) == 365 * 24
    assert {later - sooner for sooner, later in pairwise(year)} == {
        timedelta(hours=1)}


def in_utc(schedule: Schedule, begin: str, end: str) -> list[datetime]:
    after, until = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (begin, end))
    return [each.astimezone(UTC) for each in schedule.times(after=after, until=until)]


@pytest.mark.parametrize("cron", ["0 0-23 * * *", "0 */1 * * *"])
def test_all_hours_are_every_real_hour_however_they_are_written(cron: str) -> None:
    span = "2026-10-24", "2026-10-26"
    assert in_utc(Cron(cron, timezone=BERLIN), *span) == in_utc(
        Cron("0 * * * *", timezone=BERLIN), *span)


def test_quarters_of_a_named_hour_run_once_each_and_are_one_run_where_none_exists() -> None:
    schedule = Cron("*/15 2 * * *", timezone=BERLIN)
    assert hours(schedule, "2026-10-24 22:00", "2026-10-25 12:00") == [
        "02:00+02:00", "02:15+02:00", "02:30+02:00", "02:45+02:00"]
    assert hours(schedule, "2026-03-28 22:00", "2026-03-29 12:00") == ["03:00+02:00"]


def test_hours_by_a_step_go_by_real_time() -> None:
    schedule = Cron("0 */2 * * *", timezone=BERLIN)
    assert hours(schedule, "2026-10-24 21:00", "2026-10-25 04:00") == [
        "00:00+02:00", "02:00+02:00", "02:00+01:00", "04:00+01:00"]
    assert hours(schedule, "2026-03-28 22:00", "2026-03-29 04:00") == [
        "00:00+01:00", "04:00+02:00", "06:00+02:00"]


def test_midnight_that_does_not_exist_runs_at_one() -> None:
    assert shown(Cron("0 0 * * *", timezone="America/Sao_Paulo"), "2018-11-03 12:00",
                 "2018-11-05 12:00") == ["2018-11-04 01:00-02:00", "2018-11-05 00:00-02:00"]


def test_midnight_that_exists_twice_runs_at_the_first() -> None:
    assert shown(Cron("0 0 * * *", timezone="America/Havana"), "2026-10-31 12:00",
                 "2026-11-02 12:00") == ["2026-11-01 00:00-04:00", "2026-11-02 00:00-05:00"]


def test_zone_that_gave_summer_time_up_keeps_nine_at_nine() -> None:
    schedule = Cron("0 9 15 * *", timezone="America/Sao_Paulo")
    assert shown(schedule, "2018-12-01", "2020-01-20")[::6] == [
        "2018-12-15 09:00-02:00", "2019-06-15 09:00-03:00", "2019-12-15 09:00-03:00"]


def test_zone_that_changed_its_law_twice_follows_it() -> None:
    schedule = Cron("0 9 1 1,7 *", timezone="Europe/Moscow")
    assert shown(schedule, "2010-01-01", "2015-02-01") == [
        "2010-01-01 09:00+03:00", "2010-07-01 09:00+04:00", "2011-01-01 09:00+03:00",
        "2011-07-01 09:00+04:00", "2012-01-01 09:00+04:00", "2012-07-01 09:00+04:00",
        "2013-01-01 09:00+04:00", "2013-07-01 09:00+04:00", "2014-01-01 09:00+04:00",
        "2014-07-01 09:00+04:00", "2015-01-01 09:00+03:00"]


def test_clock_put_back_for_good_runs_a_fixed_time_once() -> None:
    assert hours(Cron("30 1 * * *", timezone="Europe/Moscow"), "2014-10-25 12:00",
                 "2014-10-26 12:00") == ["01:30+04:00"]


def test_date_that_a_zone_left_out_runs_right_after_it() -> None:
    schedule = Cron("0 9 * * *", timezone="Pacific/Apia")
    assert shown(schedule, "2011-12-29", "2012-01-01") == [
        "2011-12-29 09:00-10:00", "2011-12-31 00:00+14:00", "2011-12-31 09:00+14:00",
        "2012-01-01 09:00+14:00"]
    assert hours(Cron("0 */6 * * *", timezone="Pacific/Apia"), "2011-12-30 03:00",
                 "2011-12-30 16:30") == ["18:00-10:00", "00:00+14:00", "06:00+14:00"]


def test_zone_with_winter_time_in_ramadan_keeps_nine_at_nine() -> None:
    times = shown(Cron("0 9 * * *", timezone="Africa/Casablanca"), "2025-02-20", "2025-04-10")
    assert len(times) == 49 and {each[11:] for each in times} == {"09:00+00:00", "09:00+01:00"}


def test_change_by_half_an_hour_leaves_out_nothing_real() -> None:
    assert hours(Cron("*/30 * * * *", timezone="Australia/Lord_Howe"), "2026-04-04 14:00",
                 "2026-04-04 16:00") == [
        "01:30+11:00", "01:30+10:30", "02:00+10:30", "02:30+10:30"]


def test_short_interval_is_real_time() -> None:
    schedule = Interval(timedelta(hours=1), timezone=BERLIN)
    assert hours(schedule, "2026-10-24 22:30", "2026-10-25 02:00") == [
        "01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"]
    day_and_half = Interval(timedelta(hours=36), anchor="2026-10-24T12:00", timezone=BERLIN)
    assert shown(day_and_half, "2026-10-24", "2026-10-26")[1:] == ["2026-10-25 23:00+01:00"]


def test_moments_without_offset_follow_the_same_rules() -> None:
    schedule = At(["2026-03-29T02:30", "2026-10-25T02:30", "2026-10-25T02:30+01:00"],
                  timezone=BERLIN)
    assert shown(schedule, "2026-01-01", "2027-01-01") == [
        "2026-03-29 03:00+02:00", "2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00"]


def test_hourly_rule_is_every_real_hour() -> None:
    assert hours(RRule("FREQ=HOURLY", timezone=BERLIN), "2026-10-24 22:30",
                 "2026-10-25 02:00") == ["01:00+02:00", "02:00+02:00", "02:00+01:00",
                                         "03:00+01:00"]


@pytest.mark.parametrize("cron, moment, remark", [
    ("30 2 * * *", "2026-03-28T12:00+00:00",
     "02:30 does not exist: runs right after the change"),
    ("0 3 * * *", "2026-03-28T12:00+00:00", "the clock was just put forward from 02:00"),
    ("30 2 * * *", "2026-10-24T12:00+00:00", "02:30 exists twice: this is the first"),
    ("30 * * * *", "2026-10-25T01:00+00:00", "02:30 exists twice: this is the second"),
    ("30 2 * * *", "2026-06-01T12:00+00:00", None),
])
def test_oddity_of_the_clock_is_remarked(cron: str, moment: str, remark: str | None) -> None:
    schedule = Cron(cron, timezone=BERLIN)
    assert schedule.remark(schedule.after(datetime.fromisoformat(moment))[0]) == remark


def test_date_that_was_left_out_is_remarked_with_its_date() -> None:
    schedule = Cron("0 9 30 12 *", timezone="Pacific/Apia")
    slot = schedule.after(datetime(2011, 12, 1, tzinfo=UTC))[0]
    assert schedule.remark(slot) == (
        "2011-12-30 09:00 does not exist: runs right after the change")
