"""Cron expressions: what is read, what is refused and in which words, what they say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dataflow.exceptions import DefinitionError, ScheduleError
from dataflow.schedules import Cron

THURSDAY = datetime(2026, 1, 1, tzinfo=UTC)


def dates(cron: str, count: int, **options: bool) -> list[str]:
    return [f"{each:%m-%d}" for each in Cron(cron, **options).after(THURSDAY, count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("cron, field, value, words", [
    ("61 * * * *", "minute", "61", "minute field '61': 61 is out of range; allowed are 0 to 59"),
    ("0 24 * * *", "hour", "24", "hour field '24': 24 is out of range; allowed are 0 to 23"),
    ("0 0 0 * *", "day-of-month", "0", "day-of-month field '0': 0 is out of range"),
    ("0 0 32W * *", "day-of-month", "32W", "32 is out of range; allowed are 1 to 31"),
    ("0 0 1 13 *", "month", "13", "month field '13': 13 is out of range; allowed are 1 to 12 or j"),
    ("0 0 * * 8", "day-of-week", "8", "day-of-week field '8': 8 is out of range; allowed are 0 to"),
    ("0 0 * * Monday", "day-of-week", "Monday", "'monday' cannot be read"),
    ("0 0 * * mon#6", "day-of-week", "mon#6", "'mon#6' cannot be read; allowed are 0 to 7"),
    ("0 0 * * mon#6", "day-of-week", "mon#6", "mon#1 to mon#5 (the first to the fifth Monday)"),
    ("0 0 * * mon#0", "day-of-week", "mon#0", "'mon#0' cannot be read"),
    ("0 0 * * fri-mon#2", "day-of-week", "fri-mon#2", "'fri-mon#2' cannot be read"),
    ("0 0 * * mon#2/2", "day-of-week", "mon#2/2", "'mon#2/2' cannot be read"),
    ("0 0 * * day#2", "day-of-week", "day#2", "'day#2' cannot be read"),
    ("0 0 * * L8", "day-of-week", "L8", "'l8' cannot be read"),
    ("0 0 * * L", "day-of-week", "L", "'l' cannot be read"),
    ("0 0 31-L * *", "day-of-month", "31-L", "'31-l' cannot be read"),
    ("0 0 15W/2 * *", "day-of-month", "15W/2", "'15w/2' cannot be read"),
    ("0 0 * jul-smarch *", "month", "jul-smarch", "'jul-smarch' cannot be read"),
    ("0 0 0-5 * *", "day-of-month", "0-5", "0-5 is out of range; allowed are 1 to 31"),
    ("61/5 * * * *", "minute", "61/5", "61/5 is out of range; allowed are 0 to 59"),
    ("? * * * *", "minute", "?", "'?' cannot be read"),
    ("0 0 ?,5 * *", "day-of-month", "?,5", "'?' cannot be read"),
    ("5,x * * * *", "minute", "5,x", "minute field '5,x': 'x' cannot be read"),
    ("5,,6 * * * *", "minute", "5,,6", "minute field '5,,6': '' cannot be read"),
    ("*-5 * * * *", "minute", "*-5", "'*-5' cannot be read"),
    ("*/0 * * * *", "minute", "*/0", "step '0' is out of range; allowed are steps of 1 to 60"),
    ("*/90 * * * *", "minute", "*/90", "step '90' is out of range"),
    ("0 */x * * *", "hour", "*/x", "hour field '*/x': step 'x' is out of range"),
    ("-1 * * * *", "minute", "-1", "'-1' cannot be read"),
    ("1.5 * * * *", "minute", "1.5", "'1.5' cannot be read"),
    ("٣ * * * *", "minute", "٣", "cannot be read"),
    ("*/" + "9" * 5000 + " * * * *", "minute", "*/" + "9" * 5000, "is out of range"),
    ("9" * 5000 + " * * * *", "minute", "9" * 5000, "is out of range"),
    ("H * * * *", "minute", "H", "minute field 'H': hashed and random fields (H, R) are not supp"),
    ("0 R(1-3) * * *", "hour", "R(1-3)", "hashed and random fields"),
    ("0 0 * * H/2", "day-of-week", "H/2", "hashed and random fields"),
    ("0 0 31 2 *", "day-of-month", "31", "month field '2' and day-of-week field '*' leave no day"),
    ("0 0 31 apr,jun *", "day-of-month", "31", "so this would never run"),
    ("* * * *", "cron", "* * * *", "has 4 fields, 5 are needed: minute hour day-of-month month"),
    ("", "cron", "", "cron '' has 0 fields, 5 are needed"),
    ("0 0 9 * * *", "cron", "0 0 9 * * *", "has 6 fields, 5 are allowed"),
    ("0 9 * * * * 2026", "cron", "0 9 * * * * 2026", "seconds and years have no field"),
    ("@reboot", "cron", "@reboot", "cron '@reboot' is not known: @yearly"),
])
def test_bad_expression_is_refused_with_its_field_and_what_is_allowed(
    cron: str, field: str, value: str, words: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        Cron(cron)
    assert words in str(caught.value)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert isinstance(caught.value, DefinitionError) and isinstance(caught.value, ValueError)


def test_expression_that_is_no_text_is_refused() -> None:
    with pytest.raises(ScheduleError, match="cron 5 is not a cron expression such as"):
        Cron(5)  # type: ignore[arg-type]


def test_date_that_never_comes_by_both_days_together_is_refused() -> None:
    with pytest.raises(ScheduleError, match="leave no day"):
        Cron("0 0 1 * tue#2", day_or=False)
    assert Cron("0 0 1 * tue#2").after(THURSDAY)


@pytest.mark.parametrize("cron, same", [
    ("0 0 * * 0", "0 0 * * 7"), ("0 0 * * sun", "0 0 * * SUN"),
    ("0 0 * * fri-mon", "0 0 * * 5-7,1"),
    ("0 22-2 * * *", "0 22,23,0,1,2 * * *"), ("0 9-9 * * *", "0 9 * * *"),
    ("0 0 ? * mon", "0 0 * * mon"), ("0 0 1 NOV-feb *", "0 0 1 11,12,1,2 *"),
    ("5/20 * * * *", "5,25,45 * * * *"), ("@daily", "0 0 * * *"), ("@HOURLY", "0 * * * *"),
    ("59/15 * * * *", "59 * * * *"), ("0 */24 * * *", "0 0 * * *"),
    ("0 22-3/3 * * *", "0 22,1 * * *"), ("0 0 * * 7-7", "0 0 * * 0"),
    ("0 09-9 * * *", "0 9 * * *"), ("0 0 * * 0-7", "0 0 * * *"), ("0 0 * * mon-1", "0 0 * * 1"),
    ("0 07-7 * * *", "0 7 * * *"), ("0 0 * * sun-7", "0 0 * * *"),
    ("59-59/5 23/2 * * *", "59 23 * * *"), ("0 0 1 jul *", "0 0 1 7 *"),
    ("0 0 * * 7#1", "0 0 * * sun#1"), ("0 0 * * L7", "0 0 * * sunL"),
    ("0 0 * * 1-7/2", "0 0 * * 1,3,5,0"),
    ("0 0 * * L5", "0 0 * * friL"), ("0 0 1-31 * *", "0 0 * * *"), ("  0\t0 * *  *", "0 0 * * *"),
])
def test_two_spellings_are_the_same_times(cron: str, same: str) -> None:
    assert Cron(cron).after(THURSDAY, 60) == Cron(same).after(THURSDAY, 60)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 24])
def test_every_range_of_hours_is_counted_over_midnight(step: int) -> None:
    for low in range(24):
        for high in range(24):
            hours = [(low + n) % 24 for n in range(0, (high - low) % 24 + 1, step)]
            assert Cron(f"0 {low}-{high}/{step} * * *").fields.hours == tuple(sorted(hours))


@pytest.mark.parametrize("field, names, numbers, attribute", [
    (3, "jan feb mar apr may jun jul aug sep oct nov dec", range(1, 13), "months"),
    (4, "sun mon tue wed thu fri sat", range(7), "weekdays"),
])
def test_every_name_is_its_number(
    field: int, names: str, numbers: range, attribute: str
) -> None:
    for name, number in zip(names.split(), numbers, strict=True):
        texts = ["0", "0", "*", "*", "*"]
        texts[field] = name
        read = Cron(" ".join(texts)).fields
        assert getattr(read if field == 3 else read.days, attribute) == (number,)


@pytest.mark.parametrize("cron, expected", [
    ("0 0 L * *", ["01-31", "02-28", "03-31", "04-30"]),
    ("0 0 LW * *", ["01-30", "02-27", "03-31", "04-30"]),
    ("0 0 15W * *", ["01-15", "02-16", "03-16", "04-15"]),
    ("0 0 1W * *", ["02-02", "03-02", "04-01", "05-01"]),
    ("0 0 31W * *", ["01-30", "03-31", "05-29", "07-31"]),
    ("0 0 15,L * *", ["01-15", "01-31", "02-15", "02-28"]),
    ("0 0 * * mon#2", ["01-12", "02-09", "03-09", "04-13"]),
    ("0 0 * * friL", ["01-30", "02-27", "03-27", "04-24"]),
    ("0 0 * * thu#5", ["01-29", "04-30", "07-30", "10-29"]),
    ("0 0 * * sun,mon#1", ["01-04", "01-05", "01-11", "01-18"]),
])
def test_days_counted_within_a_month_are_those_of_the_calendar(
    cron: str, expected: list[str]
) -> None:
    assert dates(cron, 4) == expected


def test_two_restricted_days_take_either_or_both_as_day_or_says() -> None:
    assert dates("0 0 13 * fri", 4) == ["01-02", "01-09", "01-13", "01-16"]
    assert dates("0 0 13 * fri", 3, day_or=False) == ["02-13", "03-13", "11-13"]
    assert dates("0 0 */10 * mon", 4) == ["01-05", "01-11", "01-12", "01-19"]
    assert dates("0 0 */10 * mon", 2, day_or=False) == ["05-11", "06-01"]


def test_leap_day_comes_every_four_years_and_not_in_2100() -> None:
    times = Cron("0 0 29 2 *").after(datetime(2090, 1, 1, tzinfo=UTC), 3)
    assert [each.year for each in times] == [2092, 2096, 2104]


def test_leap_day_on_a_monday_is_found_across_forty_years() -> None:
    times = Cron("0 0 29 2 mon", day_or=False).after(datetime(2072, 3, 1, tzinfo=UTC), 2)
    assert [each.year for each in times] == [2112, 2140]


def test_times_end_with_the_calendar() -> None:
    assert Cron("0 0 1 1 *").after(datetime(9998, 1, 1, 1, tzinfo=UTC), 5) == [
        datetime(9999, 1, 1, tzinfo=UTC)]
    assert Cron("* * * * *").after(datetime.max.replace(tzinfo=UTC)) == []


@pytest.mark.parametrize("cron, words", [
    ("0 9 * * mon-fri", "at 09:00 on Monday to Friday"),
    ("0 9 * * *", "at 09:00 every day"),
    ("* * * * *", "every minute"),
    ("*/15 * * * *", "every 15 minutes"),
    ("0 * * * *", "every hour"),
    ("5 * * * *", "at minute 5 of every hour"),
    ("0,7 * * * *", "at minutes 0 and 7 of every hour"),
    ("*/7 * * * *", "at minutes */7 of every hour"),
    ("0 */2 * * *", "every 2 hours"),
    ("30 */2 * * *", "every 2 hours at minute 30"),
    ("0 9,17 * * *", "at 09:00 and 17:00 every day"),
    ("30 8-18 * * 1-5", "every hour from 08:30 to 18:30 on Monday to Friday"),
    ("*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45"),
    ("* 9-10 * * *", "every minute from 09:00 to 10:59"),
    ("3,9 1,5,7,20 * * *", "at minutes 3 and 9 of hours 1, 5, 7 and 20"),
    ("0 0 1 * *", "at 00:00 on day 1 of the month"),
    ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"),
    ("0 0 */2 * *", "at 00:00 on days */2 of the month"),
    ("0 0 L * *", "at 00:00 on the last day of the month"),
    ("0 0 15W,LW * *",
     "at 00:00 on the working day nearest to day 15 and the last working day of the month"),
    ("0 0 * * sat,sun", "at 00:00 on Saturday and Sunday"),
    ("0 0 * * mon#2,friL",
     "at 00:00 on the 2nd Monday of the month and the last Friday of the month"),
    ("0 0 13 * fri", "at 00:00 on day 13 of the month or on Friday"),
    ("0 0 1 1-3,7 *", "at 00:00 on day 1 of the month in January to March and July"),
    ("0 0 * 1 *", "at 00:00 in January"),
])
def test_expression_is_told_in_words(cron: str, words: str) -> None:
    assert Cron(cron, timezone="Europe/Berlin").describe() == f"{words}, Europe/Berlin"


def test_words_say_that_both_days_must_match() -> None:
    assert Cron("0 0 13 * fri", day_or=False).describe() == (
        "at 00:00 on day 13 of the month if also on Friday, UTC")
