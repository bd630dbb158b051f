"""Schedules against independent oracles: cronsim, dateutil, and a walk over real minutes.

Ten zones and all the changes of their clocks in forty years. Where our rule differs from
cronsim's, the difference is written down here, as narrow as it is:

- *fixed hours*: cronsim takes a job for one that goes by real time also where only its
  minute field is a star (``*/15 2 * * *``). Ours goes by its hour field. cronsim is given
  the minutes as a list.
- *both days restricted*: cron, and cronsim, take both fields where one begins with a
  star. Ours takes either, as Prefect does. cronsim is given the days as a list.
- cronsim goes over hours in whole hours, and so may pass over a slot behind a change by half
  an hour, or one at a minute past midnight: jobs by real time in zones that had such changes
  are held against the walk only.
- cronsim may answer a midnight that does not exist; it means the moment after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from dateutil.rrule import rrulestr
from hypothesis import assume, given
from hypothesis import strategies as st

from dataflow.exceptions import ScheduleError
from dataflow.schedules import Cron, Interval, RRule, due
from dataflow.schedules.missed import ON_TIME

ZONES = ("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Africa/Casablanca",
         "Europe/Moscow", "Pacific/Apia", "Australia/Lord_Howe", "Antarctica/Troll",
         "America/St_Johns", "Asia/Tehran")
ODD_CHANGES = {"Australia/Lord_Howe", "America/St_Johns"}
FIRST, LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@cache
def changes(name: str) -> tuple[datetime, ...]:
    """Return when the clocks of a zone were changed in forty years."""
    zone = ZoneInfo(name)

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    found = []
    day = FIRST
    while day < LAST:
        if offset(day) != offset(day + DAY):
            low, high = day, day + DAY
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                low, high = (middle, high) if offset(middle) == offset(day) else (low, middle)
            found.append(high)
        day += DAY
    return tuple(found)


def in_utc(times: Iterator[datetime] | list[datetime]) -> list[datetime]:
    return [each.astimezone(UTC) for each in times]


# ---------------------------------------------------------------- expressions, with their values

@dataclass(frozen=True)
class Part:
    """A field as text, and the values that it means, known without reading the text."""

    text: str
    values: frozenset[int]

    @property
    def listed(self) -> str:
        return ",".join(map(str, sorted(self.values)))


def parts(low: int, high: int) -> st.SearchStrategy[Part]:
    values = st.integers(low, high)
    whole = range(low, high + 1)
    star = st.just(Part("*", frozenset(whole)))
    step = st.integers(2, min(30, len(whole))).map(
        lambda n: Part(f"*/{n}", frozenset(whole[::n])))
    spans = st.tuples(values, values, st.integers(1, 7)).map(sorted_span)
    return st.one_of(star, star, step, listed(values), listed(values), spans)


def mostly_all(low: int, high: int) -> st.SearchStrategy[Part]:
    whole = st.just(Part("*", frozenset(range(low, high + 1))))
    return st.one_of(whole, whole, whole, parts(low, high))


def listed(values: st.SearchStrategy[int]) -> st.SearchStrategy[Part]:
    return st.sets(values, min_size=1, max_size=4).map(
        lambda some: Part(",".join(map(str, sorted(some))), frozenset(some)))


def walls(first: str, last: str) -> st.SearchStrategy[datetime]:
    """Return wall times: without a zone."""
    return st.datetimes(datetime.fromisoformat(first), datetime.fromisoformat(last))


def sorted_span(drawn: tuple[int, int, int]) -> Part:
    low, high = sorted(drawn[:2])
    step = drawn[2]
    if low == high:  # with a step, cronsim takes 5-5/2 for 5/2
        return Part(str(low), frozenset({low}))
    text = f"{low}-{high}" + (f"/{step}" if step > 1 else "")
    return Part(text, frozenset(range(low, high + 1, step)))


@dataclass(frozen=True)
class Expression:
    minute: Part
    hour: Part
    day: Part
    month: Part
    weekday: Part

    @property
    def text(self) -> str:
        return " ".join(part.text for part in
                        (self.minute, self.hour, self.day, self.month, self.weekday))

    @property
    def elapsed(self) -> bool:
        hours = self.hour
        return len(hours.values) == 24 or (hours.text.startswith("*") and len(hours.values) > 1)

    def on(self, wall: datetime) -> bool:
        """Return whether a minute of the wall clock matches."""
        by_date = wall.day in self.day.values
        by_weekday = wall.isoweekday() % 7 in self.weekday.values
        both = len(self.day.values) < 31 and len(self.weekday.values) < 7
        days = (by_date or by_weekday) if both else (by_date and by_weekday)
        return (days and wall.month in self.month.values and wall.hour in self.hour.values
                and wall.minute in self.minute.values)

    def for_cronsim(self) -> str:
        """Return the expression that means to cronsim what ours means here."""
        minute = self.minute.text if self.elapsed else self.minute.listed
        hour = self.hour.text if not self.elapsed or self.hour.text.startswith("*") else "*"
        if not self.elapsed and len(self.hour.values) == 1:
            hour = self.hour.listed
        day, weekday = self.day.text, self.weekday.text
        if len(self.day.values) < 31 and len(self.weekday.values) < 7:
            day, weekday = self.day.listed, self.weekday.listed
        day = "*" if len(self.day.values) == 31 else day
        weekday = "*" if len(self.weekday.values) == 7 else weekday
        return f"{minute} {hour} {day} {self.month.text} {weekday}"


EXPRESSIONS = st.builds(
    Expression, parts(0, 59).filter(lambda part: len(part.values) <= 12 or part.text == "*/2"),
    st.one_of(parts(0, 23), listed(st.integers(0, 3))), mostly_all(1, 31), mostly_all(1, 12),
    mostly_all(0, 6),
).filter(lambda drawn: is_possible(drawn))


def is_possible(drawn: Expression) -> bool:
    longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    return (len(drawn.weekday.values) < 7 or any(
        min(drawn.day.values) <= longest.get(month, 31) for month in drawn.month.values))


@st.composite
def windows(draw: st.DrawFn, days: int) -> tuple[str, datetime, datetime]:
    """Draw a zone and a span around one of its changes."""
    name = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(changes(name)))
    begin = change - timedelta(hours=draw(st.integers(30, 60))) + MINUTE * draw(st.integers(0, 59))
    return name, begin, begin + days * DAY


# ---------------------------------------------------------------- oracles

def by_cronsim(drawn: Expression, name: str, begin: datetime, end: datetime) -> list[datetime]:
    zone = ZoneInfo(name)
    times = CronSim(drawn.for_cronsim(), begin.astimezone(zone))
    found = []
    for time in takewhile(lambda each: each.astimezone(UTC) <= end, times):
        real = time.astimezone(UTC).astimezone(zone)
        imaginary = real.replace(tzinfo=None, fold=0) != time.replace(tzinfo=None, fold=0)
        if not imaginary or real.hour in drawn.hour.values:
            found.append(time.astimezone(UTC))
    return found


def by_walk(drawn: Expression, name: str, begin: datetime, end: datetime) -> list[datetime]:
    """Look at every minute, real ones or those on the wall, and apply the rule to the letter."""
    zone = ZoneInfo(name)
    real = [begin + MINUTE * n for n in range((end - begin) // MINUTE + 1)]
    walls = [each.astimezone(zone).replace(tzinfo=None, fold=0) for each in real]
    if drawn.elapsed:
        return [at for at, wall in zip(real, walls, strict=True) if at > begin and drawn.on(wall)]
    first: dict[datetime, datetime] = {}
    for at, wall in zip(real, walls, strict=True):
        first.setdefault(wall, at)
    found = {at for wall, at in first.items() if drawn.on(wall)}
    for before, after, at in zip(walls, walls[1:], real[1:], strict=False):
        left_out = [before + MINUTE * n for n in range(1, (after - before) // MINUTE)]
        if any(drawn.on(wall) for wall in left_out):
            found.add(at)
    return sorted(at for at in found if at > begin)


@given(EXPRESSIONS, windows(days=3))
def test_cron_is_what_cronsim_says_around_every_change(
    drawn: Expression, window: tuple[str, datetime, datetime]
) -> None:
    name, begin, end = window
    assume(not (drawn.elapsed and name in ODD_CHANGES))
    ours = in_utc(Cron(drawn.text, timezone=name).times(after=begin, until=end))
    assert ours == by_cronsim(drawn, name, begin, end)


@given(EXPRESSIONS, windows(days=3))
def test_cron_is_what_a_walk_over_all_minutes_finds(
    drawn: Expression, window: tuple[str, datetime, datetime]
) -> None:
    name, begin, end = window
    ours = in_utc(Cron(drawn.text, timezone=name).times(after=begin, until=end))
    assert ours == by_walk(drawn, name, begin, end)


@given(EXPRESSIONS, st.sampled_from(ZONES), walls("1990-01-01", "2029-01-01"))
def test_cron_far_from_any_change_is_what_cronsim_says(
    drawn: Expression, name: str, wall: datetime
) -> None:
    begin = wall.replace(second=0, microsecond=0, tzinfo=UTC)
    assume(not (drawn.elapsed and name in ODD_CHANGES))
    assume(begin.astimezone(ZoneInfo(name)).fold == 0)  # cronsim takes it for the first of two
    ours = in_utc(Cron(drawn.text, timezone=name).after(begin, 3))
    assert ours == by_cronsim(drawn, name, begin, ours[-1])


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("minute, hour", [
    ("30", "2"), ("0", "*"), ("*/20", "*/2"), ("0", "0"), ("15", "0-3"), ("*/15", "1"),
])
def test_every_change_of_forty_years_is_passed_as_cronsim_does(
    name: str, minute: str, hour: str
) -> None:
    read = {"*": range(24), "*/2": range(0, 24, 2), "0-3": range(4)}
    drawn = Expression(
        Part(minute, frozenset({"*/20": range(0, 60, 20), "*/15": range(0, 60, 15)}.get(
            minute, [int(minute) if minute.isdigit() else 0]))),
        Part(hour, frozenset(read[hour] if hour in read else [int(hour)])),
        *(Part("*", frozenset(range(low, high + 1))) for low, high in ((1, 31), (1, 12), (0, 6))))
    schedule = Cron(drawn.text, timezone=name)
    for change in changes(name):
        begin, end = change - DAY - HOUR, change + DAY + HOUR
        oracle = by_walk if drawn.elapsed and name in ODD_CHANGES else by_cronsim
        assert in_utc(schedule.times(after=begin, until=end)) == oracle(drawn, name, begin, end)


@given(EXPRESSIONS)
def test_fields_are_read_as_the_values_that_they_were_written_from(drawn: Expression) -> None:
    fields = Cron(drawn.text).fields
    read = [fields.minutes, fields.hours, fields.days.dates or range(1, 32), fields.months,
            range(7) if fields.days.weekdays is None else fields.days.weekdays]
    for values, part in zip(read, (drawn.minute, drawn.hour, drawn.day, drawn.month,
                                   drawn.weekday), strict=True):
        assert list(values) == sorted(part.values)


@given(st.text("0123456789*/,-#?LWHR monfrija@", max_size=20))
def test_any_text_is_read_or_refused_with_a_schedule_error(text: str) -> None:
    try:
        schedule = Cron(text)
    except ScheduleError as error:
        assert error.field and str(error)
    else:
        assert schedule.after(datetime(2026, 1, 1, tzinfo=UTC), 1) and schedule.describe()


# ---------------------------------------------------------------- rules and intervals

BY_PART = {
    "BYDAY": st.sets(st.sampled_from("MO TU WE TH FR SA SU".split()), min_size=1, max_size=3),
    "BYMONTH": st.sets(st.integers(1, 12), min_size=1, max_size=3),
    "BYMONTHDAY": st.sets(st.integers(1, 28) | st.integers(-28, -1), min_size=1, max_size=3),
    "BYHOUR": st.sets(st.integers(0, 23), min_size=1, max_size=3),
    "BYMINUTE": st.sets(st.integers(0, 59), min_size=1, max_size=3),
}


@st.composite
def rules(draw: st.DrawFn) -> str:
    freq = draw(st.sampled_from("YEARLY MONTHLY WEEKLY DAILY HOURLY MINUTELY".split()))
    written = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 5))}"]
    for name in sorted(draw(st.sets(st.sampled_from(sorted(BY_PART)), max_size=2))):
        values = draw(BY_PART[name])
        written.append(f"{name}={','.join(sorted(map(str, values)))}")
    if draw(st.booleans()):
        written.append(f"WKST={draw(st.sampled_from(['MO', 'SU']))}")
    return ";".join(written)


@given(rules(), walls("2024-01-01", "2024-12-31"),
       st.timedeltas(timedelta(0), timedelta(days=60)))
def test_rule_begun_anew_is_the_rule_counted_through(
    rule: str, start: datetime, later: timedelta
) -> None:
    start = start.replace(microsecond=0)
    after = (start + later).replace(microsecond=0)
    try:
        ours = RRule(f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{rule}")
    except ScheduleError:
        assume(False)  # parts that exclude each other
    whole = rrulestr(rule, dtstart=start)
    theirs = [each.replace(tzinfo=UTC) for each in whole.xafter(after, count=4)]
    assert in_utc(ours.after(after.replace(tzinfo=UTC), 4)) == theirs


@given(windows(days=3), st.integers(0, 23), st.integers(0, 59))
def test_days_of_an_interval_a_rule_and_cron_are_the_same_slots(
    window: tuple[str, datetime, datetime], hour: int, minute: int
) -> None:
    name, begin, end = window
    cron = Cron(f"{minute} {hour} * * *", timezone=name)
    interval = Interval(DAY, anchor=f"2001-01-01T{hour:02}:{minute:02}", timezone=name)
    rule = RRule(f"DTSTART:19890101T000000\nFREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}",
                 timezone=name)
    slots = in_utc(cron.times(after=begin, until=end))
    assert in_utc(interval.times(after=begin, until=end)) == slots
    assert in_utc(rule.times(after=begin, until=end)) == slots


# ---------------------------------------------------------------- a life of questions

@given(
    windows(days=6), st.sampled_from(["0 * * * *", "*/20 * * * *", "30 2 * * *", "*/15 2 * * *"]),
    st.lists(st.integers(-90, 1_000), min_size=1, max_size=40),
    st.sampled_from(["all", "latest", "none"]),
)
def test_no_slot_runs_twice_and_each_is_run_or_passed_over_whatever_the_clock_does(
    window: tuple[str, datetime, datetime], cron: str, steps: list[int], catch_up: str
) -> None:
    name, begin, _ = window
    schedule = Cron(cron, timezone=name, catch_up=catch_up,  # type: ignore[arg-type]
                    catch_up_limit=5)
    now = handled = latest = begin
    most = {"all": 5, "latest": 1, "none": 0}[catch_up]
    run: list[datetime] = []
    passed: list[datetime] = []
    for step in steps:  # minutes forward, or back
        now += MINUTE * step
        latest = max(latest, now)
        answer = due(schedule, handled, now)
        run += answer.run
        if answer.passed_over is not None:
            passed += in_utc(schedule.times(after=answer.passed_over.first - MINUTE / 60,
                                            until=answer.passed_over.last))
        missed = [slot for slot in answer.run if now - slot > ON_TIME]
        assert answer.handled >= handled and len(missed) <= most
        handled = answer.handled
    assert run == sorted(set(run)) and not set(run) & set(passed)
    assert sorted(run + passed) == in_utc(schedule.times(after=begin, until=latest))
