"""Intervals, recurrence rules, given moments: their times, and what each refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dataflow.exceptions import ScheduleError
from dataflow.schedules import At, Interval, RRule

BERLIN = "Europe/Berlin"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def shown(times: list[datetime]) -> list[str]:
    return [each.isoformat(" ", "minutes") for each in times]


# ---------------------------------------------------------------- intervals

@pytest.mark.parametrize("interval, expected", [
    (900, ["2026-01-01 00:15+00:00", "2026-01-01 00:30+00:00"]),
    (timedelta(hours=2), ["2026-01-01 02:00+00:00", "2026-01-01 04:00+00:00"]),
    (timedelta(days=1), ["2026-01-02 00:00+00:00", "2026-01-03 00:00+00:00"]),
    (timedelta(weeks=1), ["2026-01-05 00:00+00:00", "2026-01-12 00:00+00:00"]),
])
def test_interval_without_anchor_falls_on_round_times(
    interval: timedelta | float, expected: list[str]
) -> None:
    assert shown(Interval(interval).after(NEW_YEAR, 2)) == expected


def test_interval_is_counted_from_its_anchor_in_both_directions() -> None:
    schedule = Interval(3600, anchor="2030-06-01T00:20", timezone=BERLIN)  # type: ignore[arg-type]
    assert shown(schedule.after(NEW_YEAR, 2)) == [
        "2026-01-01 01:20+01:00", "2026-01-01 02:20+01:00"]


def test_anchor_date_is_the_anchor_under_its_other_name() -> None:
    anchor = datetime(2026, 1, 1, 5, tzinfo=UTC)
    schedule = Interval(timedelta(hours=7), anchor_date=anchor)
    assert schedule == Interval(timedelta(hours=7), anchor=anchor)
    assert schedule.anchor_date == schedule.anchor == anchor
    with pytest.raises(ScheduleError, match="anchor_date .* differs from anchor"):
        Interval(60, anchor=anchor, anchor_date=NEW_YEAR)


def test_interval_of_a_fraction_of_seconds_is_exact() -> None:
    schedule = Interval(1.5, anchor=NEW_YEAR)
    after = NEW_YEAR + timedelta(days=10_000)
    assert schedule.after(after, 1) == [after + timedelta(seconds=1.5)]


@pytest.mark.parametrize("interval, words", [
    (0, "interval 0 is out of range: at least 1 seconds"),
    (-5, "interval -5 is out of range"),
    (0.5, "interval 0.5 is out of range"),
    (timedelta(seconds=-1), "is out of range"),
    (float("nan"), "interval nan is no length of time"),
    (float("inf"), "interval inf is no length of time"),
    (1e300, "interval 1e+300 is no length of time"),
    (True, "interval True is neither a timedelta nor a number of seconds"),
    ("15m", "interval '15m' is neither a timedelta nor a number of seconds"),
])
def test_interval_that_cannot_be_waited_for_is_refused(interval: float, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        Interval(interval)
    assert words in str(caught.value) and caught.value.field == "interval"


@pytest.mark.parametrize("interval, words", [
    (60, "every minute"), (900, "every 15 minutes"), (90, "every 90 seconds"),
    (86400, "every day"), (14 * 86400, "every 2 weeks"), (1.5, "every 1.5 seconds"),
])
def test_interval_is_told_in_words(interval: float, words: str) -> None:
    assert Interval(interval, timezone=BERLIN).describe() == f"{words}, {BERLIN}"


def test_anchor_is_told_in_words() -> None:
    assert Interval(60, anchor=NEW_YEAR).describe() == (
        "every minute, counted from 2026-01-01 00:00:00+0000, UTC")


# ---------------------------------------------------------------- recurrence rules

@pytest.mark.parametrize("rule, expected", [
    ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17", ["2026-01-30 17:00+01:00", "2026-02-27 17:00+01:00"]),
    ("RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", ["2026-01-12 00:00+01:00", "2026-01-26 00:00+01:00"]),
    ("DTSTART:20251231T083000\nRRULE:FREQ=MONTHLY",
     ["2026-01-31 08:30+01:00", "2026-03-31 08:30+02:00"]),
    ("DTSTART:20240229T100000\nFREQ=YEARLY", ["2028-02-29 10:00+01:00", "2032-02-29 10:00+01:00"]),
    ("DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3",
     ["2026-01-05 09:00+01:00", "2026-01-06 09:00+01:00", "2026-01-07 09:00+01:00"]),
    ("DTSTART:20260105T080000Z\nRRULE:FREQ=DAILY;UNTIL=20260106T080000Z",
     ["2026-01-05 09:00+01:00", "2026-01-06 09:00+01:00"]),
    ("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;UNTIL=20260106",
     ["2026-01-05 09:00+01:00", "2026-01-06 09:00+01:00"]),
    (("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T090000\n"
      "RDATE:20260106T120000,20260105T090000"),
     ["2026-01-05 09:00+01:00", "2026-01-06 12:00+01:00", "2026-01-07 09:00+01:00"]),
    ("freq=yearly;bymonth=1;bymonthday=15;byhour=6",
     ["2026-01-15 06:00+01:00", "2027-01-15 06:00+01:00"]),
])
def test_rule_comes_when_it_says(rule: str, expected: list[str]) -> None:
    count = 3 if "COUNT" in rule or "UNTIL" in rule else 2
    assert shown(RRule(rule, timezone=BERLIN).after(NEW_YEAR, count)) == expected


def test_rule_without_dtstart_begins_at_start() -> None:
    schedule = RRule("FREQ=DAILY;INTERVAL=3", start="2026-01-02T07:45", timezone=BERLIN)  # type: ignore[arg-type]
    assert shown(schedule.after(NEW_YEAR, 2)) == [
        "2026-01-02 07:45+01:00", "2026-01-05 07:45+01:00"]


@pytest.mark.parametrize("rule, words", [
    ("", "has no rule such as 'FREQ=WEEKLY;BYDAY=MO'"),
    ("every day", "has 'EVERY', which cannot be read; known parts are FREQ, INTERVAL"),
    ("BYDAY=MO", "has no FREQ, one of YEARLY, MONTHLY"),
    ("FREQ=HOURLYISH", "has FREQ=HOURLYISH; allowed are YEARLY"),
    ("FREQ=DAILY;BYHOR=3", "has 'BYHOR=3', which cannot be read"),
    ("FREQ=DAILY;BYHOUR=24", "has BYHOUR=24; '24' is out of range, allowed are 0 to 23"),
    ("FREQ=MONTHLY;BYMONTHDAY=0", "allowed are -31 to 31, but not 0"),
    ("FREQ=WEEKLY;BYDAY=XX", "has BYDAY=XX; 'XX' is none of MO, TU"),
    ("FREQ=WEEKLY;BYDAY=2MO", "numbered weekdays need FREQ=MONTHLY or YEARLY"),
    ("FREQ=DAILY;INTERVAL=0", "has INTERVAL=0; allowed are 1 to 1,000,000"),
    ("FREQ=DAILY;COUNT=3", "has COUNT but nothing to count from"),
    ("DTSTART:20260101T000000\nFREQ=DAILY;COUNT=20000", "COUNT=20000; allowed are 1 to 10,000"),
    ("DTSTART:20260101\nFREQ=DAILY;COUNT=3;UNTIL=20270101", "has UNTIL and COUNT"),
    ("FREQ=DAILY;UNTIL=soon", "has UNTIL 'SOON', which is no time such as 20260101T090000"),
    ("FREQ=DAILY;FREQ=DAILY", "has FREQ twice"),
    ("FREQ=DAILY\nFREQ=WEEKLY", "has two rules; give a schedule for each"),
    ("EXRULE:FREQ=DAILY", "has 'EXRULE', which is not allowed here"),
    ("DTSTART;TZID=America/New_York:20260101T090000\nFREQ=DAILY",
     "TZID=America/New_York in DTSTART, but the schedule's zone is UTC: give timezone='America/N"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "which no month of BYMONTH=2 has: it would never run"),
    ("FREQ=MONTHLY;BYSETPOS=50;BYDAY=MO", "would never run: it has no time within 60 years"),
    ("FREQ=DAILY;BYSETPOS=1;BYHOUR=0,5", "has BYSETPOS with FREQ=DAILY, which is not supported"),
    ("FREQ=DAILY;UNTIL=20000101", "would never run"),
    ("FREQ=MONTHLY;BYWEEKNO=3", "has BYWEEKNO, which needs FREQ=YEARLY"),
    ("DTSTART:20260101T003000\nFREQ=HOURLY;INTERVAL=2;BYHOUR=3", "cannot be used"),
])
def test_bad_rule_is_refused_with_its_part(rule: str, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        RRule(rule)
    assert words in str(caught.value) and caught.value.field == "rrule"


def test_rule_is_told_with_its_beginning() -> None:
    assert RRule("DTSTART:20260105T090000\nRRULE:FREQ=DAILY", timezone=BERLIN).describe() == (
        "by the rule FREQ=DAILY from 2026-01-05 09:00:00, Europe/Berlin")


# ---------------------------------------------------------------- given moments

def test_moments_are_put_in_order_and_each_comes_once() -> None:
    schedule = At([NEW_YEAR + timedelta(hours=5), "2026-01-01T03:00", "2026-01-01T06:00+01:00"])  # type: ignore[list-item]
    assert shown(schedule.after(NEW_YEAR, 5)) == [
        "2026-01-01 03:00+00:00", "2026-01-01 05:00+00:00"]
    assert schedule.after(NEW_YEAR + timedelta(hours=5)) == []


def test_moment_alone_is_told_in_words() -> None:
    assert At("2026-03-29T09:00", timezone=BERLIN).describe() == (
        "once, at 2026-03-29 09:00+02:00, Europe/Berlin")
    assert At([f"2026-01-0{n}" for n in range(1, 6)]).describe() == (
        "5 times, at 2026-01-01 00:00+00:00, 2026-01-02 00:00+00:00, 2026-01-03 00:00+00:00 "
        "and 2 more, UTC")


def test_moment_of_another_zone_is_shown_in_the_schedules() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert At(datetime(2026, 1, 1, 9, tzinfo=tokyo), timezone=BERLIN).moments[0].isoformat() == (
        "2026-01-01T01:00:00+01:00")


@pytest.mark.parametrize("when, words", [
    ("tomorrow", "when 'tomorrow' is no moment in ISO 8601"),
    ("2026-02-30", "is no moment in ISO 8601"),
    ([], "has no moment: give one at least"),
    (5, "when 5 is neither a datetime, nor ISO 8601 text"),
    ([5], "when 5 is neither a datetime nor one as ISO 8601 text"),
    (b"2026-01-01", "is neither a datetime, nor ISO 8601 text"),
    ("0001-01-01", "is out of range: years 2 to 9998"),
])
def test_bad_moment_is_refused(when: str, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        At(when)
    assert words in str(caught.value) and caught.value.field == "when"
