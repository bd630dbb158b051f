"""Which slots a backfill has, and what happens to each."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from dataflow.agenda import SlotRun
from dataflow.exceptions import BackfillError
from dataflow.schedules import At, Cron, Interval, Schedule
from dataflow.service.backfill_slots import Slot, Span, chosen, slots_within

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAILY = Cron("0 4 * * *", timezone="Europe/Berlin")


def within(start: Any, end: Any, schedule: Schedule = DAILY, limit: int | None = None) -> Span:
    return slots_within({"s": schedule}, start, end, NOW, limit)


def times(span: Span) -> list[str]:
    return [slot.at.isoformat() for slot in span.slots]


def test_dates_are_midnight_in_the_zone_of_the_schedule_and_the_end_is_not_in_the_span():
    hourly = Cron("0 * * * *", timezone="Europe/Berlin")
    span = within("2026-05-01", "2026-05-02", hourly)
    assert times(span)[::23] == ["2026-05-01T00:00:00+02:00", "2026-05-01T23:00:00+02:00"]
    assert not span.cut
    assert within(date(2026, 5, 1), date(2026, 5, 2), hourly) == span
    assert within(datetime.fromisoformat("2026-05-01"), date(2026, 5, 2), hourly) == span
    assert within("2026-04-30T22:00:00Z", "2026-05-01T22:00:00+00:00", hourly) == span


def test_days_on_which_the_clock_changes_have_one_slot_each():
    assert times(within("2026-03-28", "2026-03-31")) == [
        "2026-03-28T04:00:00+01:00", "2026-03-29T04:00:00+02:00", "2026-03-30T04:00:00+02:00"]


def test_what_is_to_come_is_left_out_and_that_is_told():
    span = within("2026-05-31", "2026-07-01")
    assert times(span) == ["2026-05-31T04:00:00+02:00", "2026-06-01T04:00:00+02:00"]
    assert span.cut


@pytest.mark.parametrize(("start", "end", "said"), [
    ("2026-05-02", "2026-05-02", "is not later"),
    ("2026-05-02", "2026-05-01", "is not later"),
    ("2026-06-02", "2026-06-03", "still to come"),
    ("yesterday", "2026-05-01", "from 'yesterday' is no moment"),
    ("2026-05-01", "2026-05-32", "to '2026-05-32' is no moment"),
    (17, "2026-05-01", "from 17 is neither"),
])
def test_a_span_that_cannot_be_meant_is_refused(start: Any, end: Any, said: str):
    with pytest.raises(BackfillError, match=said) as caught:
        within(start, end)
    assert "No run was made" in str(caught.value)


def test_more_slots_than_allowed_are_refused_without_counting_them_all():
    with pytest.raises(BackfillError, match="more than 10,000 slots.*--limit"):
        within("2006-01-01", "2026-05-01", Interval(60), limit=10_000)
    assert len(within("2026-05-01", "2026-05-04", limit=3).slots) == 3
    with pytest.raises(BackfillError, match="more than 2 slots"):
        within("2026-05-01", "2026-05-04", limit=2)


def test_the_limit_is_on_all_schedules_together():
    both = {"a": DAILY, "b": Cron("0 5 * * *")}
    assert len(slots_within(both, "2026-05-01", "2026-05-03", NOW, 4).slots) == 4
    with pytest.raises(BackfillError, match="more than 3 slots"):
        slots_within(both, "2026-05-01", "2026-05-03", NOW, 3)


def test_slots_of_several_schedules_stand_in_order_of_time_each_span_in_its_zone():
    span = slots_within({"b": Cron("0 4 * * *"), "a": DAILY}, "2026-05-01", "2026-05-02", NOW, None)
    assert span.slots == (
        Slot(schedule="a", at=datetime(2026, 5, 1, 4, tzinfo=DAILY.zone)),
        Slot(schedule="b", at=datetime(2026, 5, 1, 4, tzinfo=Cron("* * * * *").zone)))


def test_start_and_end_of_a_schedule_hold_for_its_slots_too():
    ended = Cron("0 4 * * *", start="2026-05-02", end="2026-05-03T04:00")
    assert times(within("2026-05-01", "2026-05-09", ended)) == [
        "2026-05-02T04:00:00+00:00", "2026-05-03T04:00:00+00:00"]


def test_a_span_without_slots_is_empty():
    assert within("2026-05-01", "2026-05-09", At("2026-01-01T00:00")) == Span((), False)


DAYS = [Slot(schedule="s", at=datetime(2026, 5, day, 4, tzinfo=UTC)) for day in range(1, 7)]


def made(day: int, state: str, schedule: str | None = "s", name: str = "") -> SlotRun:
    return SlotRun(slot_s=DAYS[day - 1].at.timestamp(), schedule=schedule,
                   flow_run_id=name or f"run-of-{day}-{state}", state_type=state.upper(),
                   state_name=state, parent_flow_run_id=None)


RUNS = [made(2, "Completed"), made(3, "Failed"), made(4, "Completed"), made(4, "Crashed"),
        made(5, "Running"), made(6, "Failed"), made(6, "Completed")]


@pytest.mark.parametrize(("reprocess", "days"), [
    ("missing", [1]), ("failed", [3, 4]), ("all", [1, 2, 3, 4, 6]),
])
def test_which_slots_run_goes_by_their_latest_run(reprocess: Any, days: list[int]):
    planned = chosen(DAYS, RUNS, reprocess)
    assert [slot.at.day for slot in planned] == [1, 2, 3, 4, 5, 6]
    assert [slot.at.day for slot in planned if slot.runs] == days


def test_each_slot_says_why():
    planned = chosen(DAYS, RUNS, "missing")
    assert [(slot.why, slot.flow_run_id) for slot in planned[:3]] == [
        ("has no run", None), ("its run run-of-2 is Completed", "run-of-2-Completed"),
        ("its run run-of-3 is Failed", "run-of-3-Failed")]


def test_the_newest_first_where_that_is_asked():
    planned = chosen(DAYS, RUNS, "all", newest_first=True)
    assert [slot.at.day for slot in planned] == [6, 5, 4, 3, 2, 1]


def test_a_run_counts_for_its_own_schedule_and_for_any_where_its_schedule_is_gone():
    twins = [DAYS[0], Slot(schedule="t", at=DAYS[0].at), DAYS[1],
             Slot(schedule="t", at=DAYS[1].at)]
    planned = chosen(twins, [made(1, "Completed", "t"), made(2, "Completed", None)], "missing")
    assert [(slot.schedule, slot.at.day, slot.runs) for slot in planned] == [
        ("s", 1, True), ("t", 1, False), ("s", 2, False), ("t", 2, False)]


def test_slots_within_an_hour_that_comes_twice_are_told_apart():
    span = within("2025-10-26T00:30:00Z", "2025-10-26T02:00:00Z",
                  Interval(timedelta(minutes=30), timezone="Europe/Berlin"))
    first = next(slot for slot in span.slots if slot.at.fold == 0)
    planned = chosen(span.slots, [SlotRun(
        slot_s=first.at.timestamp(), schedule="s", flow_run_id="r" * 8, state_type="COMPLETED",
        state_name="Completed", parent_flow_run_id=None)], "missing")
    assert [slot.at.isoformat()[11:] for slot in planned if slot.runs] == [
        "02:00:00+01:00", "02:30:00+01:00"]
