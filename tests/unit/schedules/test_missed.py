"""Which slots run after nobody looked for a while, and when the clock is moved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow.exceptions import ScheduleError
from dataflow.schedules import At, Cron, Due, Interval, PassedOver, due

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
T0 = datetime(2026, 6, 1, 9, tzinfo=UTC)
DAILY = Cron("0 9 * * *")


def test_nothing_due_costs_nothing_and_moves_nothing() -> None:
    assert due(DAILY, T0, T0 + HOUR) == Due((), None, T0, T0 + DAY)


def test_slot_on_time_runs_whatever_catch_up_says() -> None:
    now = T0 + DAY + timedelta(seconds=15)
    for catch_up in ("latest", "all", "none"):
        schedule = replace(DAILY, catch_up=catch_up)
        assert due(schedule, T0, now) == Due((T0 + DAY,), None, T0 + DAY, T0 + 2 * DAY)


@pytest.mark.parametrize("catch_up, limit, run, passed", [
    ("latest", 100, [10], (1, 9)),
    ("all", 100, range(1, 11), None),
    ("all", 4, [7, 8, 9, 10], (1, 6)),
    ("none", 100, [], (1, 10)),
])
def test_downtime_of_ten_days_is_caught_up_as_stated(
    catch_up: Any, limit: int, run: list[int], passed: tuple[int, int] | None
) -> None:
    schedule = replace(DAILY, catch_up=catch_up, catch_up_limit=limit)
    now = T0 + 10 * DAY + HOUR
    left = None if passed is None else PassedOver(T0 + passed[0] * DAY, T0 + passed[1] * DAY)
    answer = due(schedule, T0, now)
    assert answer == Due(tuple(T0 + n * DAY for n in run), left, T0 + 10 * DAY, T0 + 11 * DAY)
    assert due(schedule, answer.handled, now) == Due((), None, T0 + 10 * DAY, T0 + 11 * DAY)


def test_downtime_that_ends_at_a_slot_runs_that_one_only() -> None:
    now = T0 + 10 * DAY
    assert due(DAILY, T0, now) == Due(
        (now,), PassedOver(T0 + DAY, T0 + 9 * DAY), now, now + DAY)
    none = replace(DAILY, catch_up="none")
    assert due(none, T0, now).run == (now,)


def test_all_with_a_slot_on_time_runs_the_missed_ones_before_it() -> None:
    schedule = replace(DAILY, catch_up="all", catch_up_limit=2)
    now = T0 + 5 * DAY
    assert due(schedule, T0, now) == Due(
        (T0 + 3 * DAY, T0 + 4 * DAY, now), PassedOver(T0 + DAY, T0 + 2 * DAY), now, now + DAY)


def test_several_slots_on_time_all_run() -> None:
    schedule = Interval(5, anchor=T0)
    answer = due(schedule, T0, T0 + timedelta(seconds=12))
    assert answer.run == (T0 + timedelta(seconds=5), T0 + timedelta(seconds=10))


def test_clock_set_back_an_hour_runs_no_slot_again_and_forgets_none() -> None:
    hourly = Cron("0 * * * *")
    first = due(hourly, T0, T0 + HOUR)
    assert first.run == (T0 + HOUR,)
    back = due(hourly, first.handled, T0 + timedelta(minutes=10))
    assert back == Due((), None, T0 + HOUR, T0 + 2 * HOUR)
    again = due(hourly, back.handled, T0 + HOUR)
    assert again == back
    assert due(hourly, again.handled, T0 + 2 * HOUR).run == (T0 + 2 * HOUR,)


def test_hour_that_exists_twice_runs_twice_hourly_and_once_daily() -> None:
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    end = begin + 12 * HOUR
    hourly = Cron("30 * * * *", timezone="Europe/Berlin", catch_up="all")
    daily = Cron("30 2 * * *", timezone="Europe/Berlin", catch_up="all")
    assert len(due(hourly, begin, end).run) == 12
    assert due(daily, begin, end).run == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC),)


def test_unknown_past_is_not_missed() -> None:
    now = T0 + HOUR
    assert due(DAILY, None, now) == Due((), None, now, T0 + DAY)
    assert due(replace(DAILY, active=False), None, now) == Due((), None, now, None)


def test_pause_misses_nothing() -> None:
    paused = replace(DAILY, active=False, catch_up="all")
    now = T0 + 10 * DAY + HOUR
    answer = due(paused, T0, now)
    assert answer == Due((), None, now, None)
    assert due(replace(paused, active=True), answer.handled, now + HOUR).run == ()
    assert due(paused, now, T0).handled == now


def test_schedule_that_ended_has_no_next() -> None:
    once = At(T0)
    assert due(once, T0 - DAY, T0 + DAY) == Due((T0,), None, T0, None)
    assert due(once, T0, T0 + DAY) == Due((), None, T0, None)
    ended = replace(DAILY, end=T0 + 2 * DAY, catch_up="all")
    assert due(ended, T0, T0 + 9 * DAY) == Due((T0 + DAY, T0 + 2 * DAY), None, T0 + 2 * DAY, None)


def test_ten_years_of_minutes_are_not_counted_through() -> None:
    asked: list[datetime] = []

    class Counting(Cron):
        def following(self, moment: datetime) -> datetime | None:
            asked.append(moment)
            return Cron.following(self, moment)

    now = T0 + 3650 * DAY + timedelta(seconds=30)
    minutely = Counting("* * * * *")
    answer = due(minutely, T0, now)
    newest = now - timedelta(seconds=30)
    assert answer.run == (newest,) and len(asked) < 100
    assert answer.passed_over == PassedOver(
        T0 + timedelta(minutes=1), newest - timedelta(minutes=1))


@pytest.mark.parametrize("name, last, now", [
    ("last", T0.replace(tzinfo=None), T0), ("now", T0, T0.replace(tzinfo=None))])
def test_moment_without_zone_is_refused(name: str, last: datetime, now: datetime) -> None:
    with pytest.raises(ScheduleError, match=f"{name} .* has no time zone"):
        due(DAILY, last, now)
