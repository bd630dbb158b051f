"""Options of all schedules, the way as JSON and back, jitter, overlap, and the cost of it all."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import dataflow.schedules
from dataflow.exceptions import ScheduleError
from dataflow.schedules import (
    At,
    Cron,
    Interval,
    RRule,
    Schedule,
    overlap_action,
    schedule_from_json,
)

BERLIN = "Europe/Berlin"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ALL = [
    Cron("0 9 * * mon-fri", timezone=BERLIN, day_or=False, parameters={"x": (1, {"y": None})},
         slug="morning", active=False, start=NEW_YEAR, end=NEW_YEAR + timedelta(days=9), jitter=90,
         catch_up="all", catch_up_limit=7, overlap="allow"),
    Interval(timedelta(minutes=15), anchor=NEW_YEAR, jitter=timedelta(seconds=0.25)),
    Interval(1.5),
    RRule("DTSTART:20260101T090000\nRRULE:FREQ=WEEKLY;BYDAY=MO", timezone="America/New_York"),
    At(["2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00"], timezone=BERLIN),
]


@pytest.mark.parametrize("options, field, words", [
    ({"timezone": "Europe/Berln"}, "timezone", "'Europe/Berln' is not known: did you mean Eur"),
    ({"timezone": "berlin"}, "timezone", "did you mean Europe/Berlin?"),
    ({"timezone": "Mars"}, "timezone", "give a name of the IANA database such as"),
    ({"timezone": "../etc/passwd"}, "timezone", "is not known"),
    ({"timezone": ""}, "timezone", "timezone '' is not known"),
    ({"timezone": "right/UTC"}, "timezone", "is not known"),
    ({"timezone": "localtime"}, "timezone", "is not known"),
    ({"timezone": "Europe"}, "timezone", "is not known"),
    ({"timezone": 1}, "timezone", "timezone 1 is not the name of a time zone"),
    ({"parameters": ["x"]}, "parameters", "is not a mapping of parameter names"),
    ({"parameters": {1: 2}}, "parameters", "has a name that is not a text: 1"),
    ({"parameters": {"x": {1}}}, "parameters['x']", "cannot be written as JSON"),
    ({"parameters": {"x": float("nan")}}, "parameters['x']", "cannot be written as JSON"),
    ({"slug": " "}, "slug", "slug ' ' is not a name"),
    ({"slug": "a\nb"}, "slug", "is not a name"),
    ({"active": "yes"}, "active", "active 'yes' is neither True nor False"),
    ({"start": "soon"}, "start", "start 'soon' is no moment in ISO 8601"),
    ({"end": 5}, "end", "end 5 is neither a datetime nor one as ISO 8601 text"),
    ({"start": "2026-02-01", "end": "2026-01-01"}, "end", "is before start"),
    ({"jitter": -1}, "jitter", "jitter -1 is out of range: at least 0 seconds"),
    ({"jitter": "1m"}, "jitter", "is neither a timedelta nor a number of seconds"),
    ({"catch_up": "al"}, "catch_up", "not one of 'latest', 'all', 'none'; did you mean 'all'?"),
    ({"catch_up": None}, "catch_up", "is not one of"),
    ({"catch_up_limit": 0}, "catch_up_limit", "is not a whole number of at least 1"),
    ({"catch_up_limit": True}, "catch_up_limit", "is not a whole number"),
    ({"overlap": "wait"}, "overlap", "is not one of 'queue', 'skip', 'cancel_running', 'allow'"),
    ({"day_or": 1}, "day_or", "day_or 1 is neither True nor False"),
])
def test_bad_option_is_refused_with_its_name_value_and_what_is_allowed(
    options: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        Cron("0 9 * * *", **options)
    assert words in str(caught.value) and caught.value.field == field


def test_defaults_are_as_stated() -> None:
    schedule = Cron("0 9 * * *")
    assert (schedule.timezone, schedule.parameters, schedule.slug, schedule.active) == (
        "UTC", {}, None, True)
    assert (schedule.catch_up, schedule.catch_up_limit, schedule.overlap, schedule.jitter) == (
        "latest", 100, "queue", timedelta(0))


def test_zone_may_be_none_or_a_zone() -> None:
    assert Cron("0 9 * * *", timezone=None) == Cron("0 9 * * *")  # type: ignore[arg-type]
    assert Cron("0 9 * * *", timezone=ZoneInfo(BERLIN)).timezone == BERLIN  # type: ignore[arg-type]


def test_schedule_cannot_be_changed() -> None:
    given = {"x": [1]}
    schedule = Cron("0 9 * * *", parameters=given)
    given["x"].append(2)
    assert schedule.parameters == {"x": [1]}
    with pytest.raises(FrozenInstanceError):
        schedule.cron = "0 8 * * *"  # type: ignore[misc]


def test_bare_schedule_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Schedule()  # type: ignore[abstract]


def test_start_and_end_are_included_and_naive_ones_are_in_the_zone() -> None:
    schedule = Cron("0 * * * *", timezone=BERLIN, start="2026-03-29T01:00", end="2026-03-29T04:00")  # type: ignore[arg-type]
    assert [f"{each:%H:%M%z}" for each in schedule.times(after=NEW_YEAR)] == [
        "01:00+0100", "03:00+0200", "04:00+0200"]
    assert schedule.next_slot(datetime(2026, 4, 1, tzinfo=UTC)) is None


def test_question_about_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ScheduleError, match="has no time zone: give an aware datetime"):
        Cron("0 9 * * *").after(NEW_YEAR.replace(tzinfo=None))


# ---------------------------------------------------------------- JSON, copies

@pytest.mark.parametrize("schedule", ALL, ids=lambda each: each.kind)
def test_schedule_comes_back_from_json_pickle_and_copy(schedule: Schedule) -> None:
    after = datetime(2025, 12, 31, tzinfo=UTC)
    for again in (schedule_from_json(json.loads(json.dumps(schedule.to_json()))),
                  pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule),
                  replace(schedule)):
        assert again == schedule and type(again) is type(schedule)
        assert hash(again) == hash(schedule) and again.to_json() == schedule.to_json()
        assert [each.isoformat() for each in again.after(after, 3)] == [
            each.isoformat() for each in schedule.after(after, 3)]


def test_json_of_a_schedule_is_all_of_it() -> None:
    assert Cron("0 9 * * *", timezone=BERLIN, start="2026-01-01", jitter=30).to_json() == {  # type: ignore[arg-type]
        "kind": "cron", "cron": "0 9 * * *", "day_or": True, "timezone": BERLIN, "parameters": {},
        "slug": None, "active": True, "start": "2026-01-01T00:00:00+01:00", "end": None,
        "jitter": 30, "catch_up": "latest", "catch_up_limit": 100, "overlap": "queue"}


def test_short_json_written_by_hand_is_read() -> None:
    assert schedule_from_json({"cron": "0 9 * * *"}) == Cron("0 9 * * *")
    assert schedule_from_json({"interval": 60, "anchor_date": "2026-01-01"}) == Interval(
        60, anchor=NEW_YEAR)
    assert schedule_from_json({"at": "2026-01-01"}) == At(NEW_YEAR)


def test_moments_are_at_in_json_and_when_is_read_too() -> None:
    moments = At("2026-01-01").to_json()
    assert moments["at"] == ["2026-01-01T00:00:00+00:00"] and "when" not in moments
    assert schedule_from_json({"kind": "at", "when": moments["at"]}) == At(NEW_YEAR)
    assert schedule_from_json({"when": "2026-01-01"}) == At(NEW_YEAR)


@pytest.mark.parametrize("value, words", [
    ({"cron": "0 9 * * *", "timezon": "UTC"},
     "'timezon' is no option of a schedule of kind cron; did you mean 'timezone'?"),
    ({"cron": "0 9 * * *", "anchor": "2026-01-01"}, "'anchor' is no option of a schedule of kind"),
    ({"kind": "crown"}, "kind 'crown' is not one of cron, interval, rrule, at"),
    ({"kind": "cron"}, "a schedule of kind cron needs 'cron'"),
    ({"timezone": "UTC"}, "has no kind: give exactly one of cron, interval, rrule, at"),
    ({"at": "2026-01-01", "when": "2026-01-01"}, "'when' is no option of a schedule of kind at"),
    ({"kind": "at"}, "a schedule of kind at needs 'at'"),
    ({"kind": "cron", "cron": "0 9 * * *", "when": "2026-01-01"},
     "'when' is no option of a schedule of kind cron"),
    ({"cron": "0 9 * * *", "interval": 5}, "give exactly one of"),
    (["0 9 * * *"], "is not a mapping such as"),
    ({"cron": "61 * * * *"}, "minute field '61'"),
])
def test_bad_json_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        schedule_from_json(value)
    assert words in str(caught.value)


def test_next_times_of_ten_thousand_schedules_take_less_than_a_second() -> None:
    schedules: list[Schedule] = [
        Cron(f"{n % 60} {n // 60 % 24} * * {n % 7}", timezone=BERLIN) for n in range(6_000)]
    schedules += [Cron(f"{n % 60} 3 29 2 *", timezone=BERLIN) for n in range(1_000)]
    schedules += [Cron(f"{n % 60} * * * *", timezone=BERLIN) for n in range(1_000)]
    schedules += [Interval(60 + n, timezone=BERLIN) for n in range(2_000)]
    begin = time.process_time()
    slots = [schedule.next_slot(NEW_YEAR) for schedule in schedules]
    assert time.process_time() - begin < 1.0  # takes some 0.15 s
    assert None not in slots


def test_names_of_prefect_are_the_same_classes() -> None:
    from dataflow.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    assert (CronSchedule, IntervalSchedule, RRuleSchedule) == (Cron, Interval, RRule)
    assert CronSchedule(cron="0 9 * * *", timezone=BERLIN) == Cron("0 9 * * *", timezone=BERLIN)


def test_every_name_is_there_and_loads_late() -> None:
    assert [name for name in dataflow.schedules.__all__
            if not hasattr(dataflow.schedules, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Corn'"):
        _ = dataflow.schedules.Corn
    script = ("import sys, dataflow, dataflow.schedules as s; s.Cron; "
              "print(*(name in sys.modules for name in "
              "('dateutil', 'croniter', 'dataflow.schedules.rrule'))); "
              "s.Cron('0 9 * * *'); print('croniter' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)
    assert done.stdout.split() == ["False", "False", "False", "True"]


# ---------------------------------------------------------------- jitter, overlap

def test_jitter_is_the_same_for_everybody_and_leaves_the_slot() -> None:
    schedule = Cron("0 9 * * *", timezone=BERLIN, jitter=timedelta(minutes=10))
    (slot,) = schedule.after(NEW_YEAR)
    start = schedule.starts_at(slot, "nightly/morning")
    assert start == schedule.starts_at(slot.astimezone(UTC), "nightly/morning")
    assert start.astimezone(UTC).isoformat() == "2026-01-01T08:03:20.684451+00:00"
    assert schedule.after(NEW_YEAR) == [slot]


def test_jitter_is_spread_evenly_over_slots_and_names() -> None:
    schedule = Interval(60, jitter=100)
    late = sorted((schedule.starts_at(slot, key) - slot).total_seconds()
                  for slot in schedule.after(NEW_YEAR, 500) for key in ("a", "b"))
    assert 0 <= late[0] < 1 and 99 < late[-1] < 100
    assert all(abs(late[n] - n / 10) < 6 for n in range(0, 1000, 50))
    assert len(set(late)) == 1000


def test_no_jitter_starts_at_the_slot() -> None:
    assert Cron("0 9 * * *").starts_at(NEW_YEAR, "x") == NEW_YEAR


@pytest.mark.parametrize("overlap, active, limit, expected", [
    ("queue", 0, 1, "start"), ("queue", 1, 1, "queue"), ("queue", 7, 1, "queue"),
    ("queue", 1, 2, "start"), ("queue", 2, 2, "queue"), ("queue", 9, None, "start"),
    ("skip", 0, 1, "start"), ("skip", 1, 1, "skip"), ("cancel_running", 0, 1, "start"),
    ("cancel_running", 1, 1, "cancel_running"), ("allow", 5, 1, "start"),
])
def test_overlap_decides_beside_active_runs(
    overlap: Any, active: int, limit: int | None, expected: str
) -> None:
    assert overlap_action(overlap, active=active, limit=limit) == expected


@pytest.mark.parametrize("counts", [{"active": -1}, {"active": 0, "limit": 0}])
def test_overlap_refuses_impossible_counts(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        overlap_action("queue", **counts)
