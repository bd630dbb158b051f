"""What did not happen: silences, what was to follow, deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from dataflow.event_log import EventRow
from dataflow.triggers import Absence, OnEvent, OnState
from dataflow.triggers.judging import NothingKnown, next_s
from dataflow.triggers.silences import MOST_VALUES
from tests.unit.triggers.trigger_support import MADE_S, Turns, deployment, event, runs, state


def test_a_silence_is_due_at_its_time_and_once_until_the_next_event() -> None:
    turns = Turns([deployment(Absence("x", within="1h", parameters={
        "since": "{{ event.payload.since }}", "what": "{{ event.payload.missing }}"}))])
    turns.turn(at=1)
    assert turns.next == 3600
    assert turns.turn(event("y", 3599.5), at=3599.9).runs == []
    (run,) = turns.turn(at=3600).runs
    assert run.parameters == {
        "since": datetime.fromtimestamp(MADE_S, UTC).isoformat(),
        "what": "not within 3600 s: event x"}
    assert turns.next is None
    assert turns.turn(at=1e6).runs == []
    turns.turn(event("x", 1e6 + 5), at=1e6 + 5)
    assert turns.next == 1e6 + 3605
    assert len(turns.turn(at=1e6 + 3605).runs) == 1


def test_armed_by_the_first_event_nothing_is_due_before_it() -> None:
    turns = Turns([deployment(Absence(OnEvent("x"), within=60, armed="first"))])
    assert turns.turn(at=1e6).runs == []
    assert turns.next is None
    turns.turn(event("x", 1e6), at=1e6)
    assert turns.next == 1e6 + 60


def test_behind_events_that_wait_time_has_not_passed() -> None:
    turns = Turns([deployment(Absence("x", within=60))])
    assert turns.turn(event("y", 30), at=1000, more=True).runs == []
    assert turns.turn(event("x", 59), event("x", 118), at=1000, more=True).runs == []
    assert len(turns.turn(at=1000).runs) == 1


def test_what_is_just_being_written_is_waited_for() -> None:
    turns = Turns([deployment(Absence("x", within=60))])
    assert turns.turn(at=59.5).runs == []  # by the clock it is 60.5 already
    assert turns.turn(event("x", 59.9), at=60.5).runs == []


def test_an_event_that_is_put_down_late_ends_no_silence_that_began_after_it() -> None:
    turns = Turns([deployment(Absence("x", within=60))])
    turns.turn(event("x", 50), event("x", 20), at=51)
    assert turns.next == 110


def test_runs_that_take_too_long_are_cancelled_each_for_itself() -> None:
    turns = Turns([deployment(Absence(
        OnState("any", match="flow:load"), within="10m", action="cancel",
        after=OnState("running", match="flow:load"), for_each="resource"))])
    turns.turn(state("RUNNING", 10, run="r1"), state("RUNNING", 20, run="r2"),
               state("RUNNING", 30, run="r1"), at=40)
    turns.turn(state("COMPLETED", 500, run="r2"), at=500)
    assert turns.next == 610
    assert turns.turn(at=5000).cancel == ["r1"]
    assert turns.turn(state("CANCELLED", 5001, run="r1"), at=9000).cancel == []


def test_values_that_are_remembered_are_bounded() -> None:
    turns = Turns([deployment(Absence("x", within=60, for_each="who"))])
    turns.turn(*(event("x", 1, payload={"who": n}) for n in range(MOST_VALUES + 7)), at=1)
    assert len(turns.turn(at=100).runs) == MOST_VALUES
    turns = Turns([deployment(OnEvent("x", count=1000, within=60, for_each="who"))])
    turns.turn(*(event("x", 1, payload={"who": n}) for n in range(10_050)), at=1)
    (text,) = turns.memory.values()
    assert text.count(":[") == 10_000


def test_counts_that_are_over_are_forgotten() -> None:
    turns = Turns([deployment(OnEvent("x", count=3, within=60, for_each="who"))])
    turns.turn(event("x", 1, payload={"who": "a"}), at=1)
    assert "marks" in next(iter(turns.memory.values()))
    turns.turn(at=100)
    assert "marks" not in next(iter(turns.memory.values()))


# deadlines

NOON = datetime(1970, 1, 12, 12, 0, tzinfo=UTC).timestamp() - MADE_S
"""Before the trigger is made, at 13:46:40."""

DAY = 86_400.0


def deadline(**options: object) -> Turns:
    return Turns([deployment(Absence(not_completed_by="06:00", **options))])  # type: ignore[arg-type]


def six(days: int) -> float:
    """Return 06:00 some days later."""
    return NOON - 6 * 3600 + days * DAY


def test_a_deadline_that_is_missed_is_told_of_once() -> None:
    turns = deadline()
    assert turns.turn(at=1).runs == []
    assert turns.next == six(1)
    assert turns.turn(at=six(1) - 0.5).runs == []
    found = turns.turn(at=six(1))
    assert runs(found) == [f"trigger:absence:deadline:{MADE_S + six(1)!r}"]
    assert turns.turn(at=six(1) + 0.5).runs == []
    assert turns.next == six(2)


def own(at: float) -> EventRow:
    return state(at=at, flow="etl", deployment="etl/nightly")


@pytest.mark.parametrize("done, expected", [
    (own(six(1) - 1), 0), (own(six(1) + 1), 0),  # before it was looked at: nothing to be done
    (state(at=six(1) - 1), 1), (state("FAILED", six(1) - 1, deployment="etl/nightly"), 1),
])
def test_a_deadline_is_kept_by_a_completed_run_of_the_deployment(
        done: EventRow, expected: int) -> None:
    turns = deadline()
    turns.turn(at=1)
    assert len(turns.turn(done, at=six(1) + 2).runs) == expected


def test_yesterdays_run_keeps_no_deadline_of_today() -> None:
    turns = deadline(match="flow:load")
    turns.turn(state(at=six(1) - 1), at=six(1) - 1)
    assert turns.turn(at=six(1) + 1).runs == []
    assert len(turns.turn(at=six(2) + 1).runs) == 1


def test_what_was_completed_before_the_trigger_was_made_counts() -> None:
    class Before(NothingKnown):
        def completed_since(self, since_s: float) -> Sequence[EventRow]:
            return [each for each in (own(-3600.0), state(at=-60.0)) if each.occurred_s >= since_s]

    turns = deadline()
    assert turns.turn(at=1, known=Before()).runs == []
    assert turns.turn(at=six(1)).runs == []
    assert len(turns.turn(at=six(2)).runs) == 1


def test_deadlines_count_on_their_days_in_their_zone() -> None:
    turns = deadline(days="wed", timezone="Asia/Tokyo")  # made on a Monday evening there
    turns.turn(at=1)
    assert turns.next == six(2) - 9 * 3600
    assert len(turns.turn(at=turns.next + 1).runs) == 1
    assert turns.next == six(9) - 9 * 3600


def test_deadlines_around_a_change_of_the_clock_are_none_left_out() -> None:
    turns = deadline(timezone="America/New_York")
    turns.turn(at=1)
    found = []
    for _ in range(400):
        assert turns.next is not None
        found.append(turns.next)
        assert len(turns.turn(at=turns.next).runs) == 1
    lengths = {round(b - a) for a, b in pairwise(found)}
    assert lengths == {82_800, 86_400, 90_000}
    assert len(found) == 400


def test_what_others_remember_is_nothing_that_is_due() -> None:
    assert next_s({"alert:x": '{"due": 5}', "trigger:a:b": '{"digest":"d","since":1}'}) is None
