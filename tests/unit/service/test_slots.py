"""What becomes of slots that have come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from dataflow.agenda import Decision, DeploymentRow, ScheduleRow
from dataflow.deployments import DeploymentSpec
from dataflow.schedules import At, Cron, Interval, Schedule
from dataflow.service.schedule_options import schedules_of
from dataflow.service.slots import decide, first_slot_s, schedule_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def at(minutes: float) -> float:
    return (NOON + timedelta(minutes=minutes)).timestamp()


def owner(parameters: Mapping[str, Any] | None = None) -> DeploymentRow:
    return DeploymentRow(
        id="i", name="etl/nightly", flow_name="etl", version=1, label=None, digest="d",
        spec={"parameters": dict(parameters or {})}, provenance={}, paused=False,
        pool="default", queue="default", priority=0, limit=None, collision="ENQUEUE",
        on_crash="crash", created_s=at(-1000), updated_s=at(-1000))


def row(schedule: Schedule, handled: float | None = 0, made: float = -1000) -> ScheduleRow:
    return ScheduleRow(
        key=7, deployment="etl/nightly", slug="s", spec=schedule.to_json(), active=True,
        paused=False, made_s=at(made), handled_s=None if handled is None else at(handled),
        next_s=None)


def decided(schedule: Schedule, now: float, *, handled: float | None = 0, active: int = 0,
            made: float = -1000, parameters: Mapping[str, Any] | None = None) -> Decision:
    ids = count()
    return decide(row(schedule, handled, made), owner(parameters), active, now_s=at(now),
                  new_id=lambda: f"run-{next(ids)}")


HOURLY = "0 * * * *"


def slots(decision: Decision) -> list[float]:
    return [(run.slot_s - at(0)) / 60 for run in decision.runs if run.slot_s is not None]


def test_a_slot_that_has_come_makes_a_run_and_the_next_one_is_known():
    decision = decided(Cron(HOURLY), 60)
    (run,) = decision.runs
    assert (run.flow_run_id, run.deployment, run.due_s, run.slot_s, run.serial) == (
        "run-0", "etl/nightly", at(60), at(60), True)
    assert run.cause == "schedule s"
    assert (decision.handled_s, decision.next_s) == (at(60), at(120))


def test_nothing_is_made_before_the_slot():
    decision = decided(Cron(HOURLY), 59)
    assert not decision.runs
    assert (decision.handled_s, decision.next_s) == (at(0), at(60))


def test_what_was_due_before_the_schedule_was_made_is_not_missed():
    decision = decided(Cron(HOURLY, catch_up="all"), 60, handled=None, made=30)
    assert slots(decision) == [60]


def test_missed_slots_run_as_the_schedule_says():
    def caught_up(**options: Any) -> list[float]:
        return slots(decided(Cron(HOURLY, overlap="allow", **options), 60 * 5 + 30))

    assert caught_up(catch_up="latest") == [300]
    assert caught_up(catch_up="all") == [60, 120, 180, 240, 300]
    assert caught_up(catch_up="all", catch_up_limit=2) == [240, 300]
    assert caught_up(catch_up="none") == []


def test_a_clock_that_was_set_back_makes_no_slot_again():
    late = decided(Cron(HOURLY), 61)
    again = decided(Cron(HOURLY), 1, handled=60)
    assert slots(late) == [60]
    assert not again.runs and again.next_s == at(120)


def test_a_run_that_is_due_beside_another_is_left_out_or_waits_or_takes_its_place():
    def beside(overlap: Any) -> tuple[list[float], bool, list[bool]]:
        decision = decided(Cron(HOURLY, overlap=overlap), 60, active=1)
        return slots(decision), decision.cancel_active, [run.serial for run in decision.runs]

    assert beside("queue") == ([60], False, [True])
    assert beside("skip") == ([], False, [])
    assert beside("cancel_running") == ([60], True, [True])
    assert beside("allow") == ([60], False, [False])


def test_a_slot_that_was_left_out_is_handled():
    decision = decided(Cron(HOURLY, overlap="skip"), 60, active=1)
    assert (decision.handled_s, decision.next_s) == (at(60), at(120))


def test_of_several_missed_slots_that_would_cancel_each_other_the_newest_runs():
    decision = decided(Cron(HOURLY, overlap="cancel_running", catch_up="all"), 190)
    assert slots(decision) == [180]
    assert decision.cancel_active


def test_parameters_of_the_schedule_stand_over_those_of_the_deployment():
    schedule = Cron(HOURLY, parameters={"region": "eu"})
    decision = decided(schedule, 60, parameters={"region": "us", "day": 1})
    assert decision.runs[0].parameters == {"region": "eu", "day": 1}


def test_jitter_moves_the_start_and_not_the_slot():
    schedule = Cron(HOURLY, jitter=600)
    decision = decided(schedule, 60)
    (run,) = decision.runs
    assert run.slot_s == at(60) and at(60) <= run.due_s < at(70)
    assert decided(schedule, 60).runs[0].due_s == run.due_s


def test_a_schedule_that_is_over_has_no_next_slot():
    schedule = Interval(3600, anchor=NOON, end=NOON + timedelta(hours=1))
    decision = decided(schedule, 61)
    assert slots(decision) == [60] and decision.next_s is None
    assert first_slot_s(schedule, at(61)) is None
    assert first_slot_s(schedule, at(0)) == at(60)


def test_moments_are_a_schedule_under_either_of_their_names() -> None:
    later = at(60)
    for spec in ({"at": [NOON.isoformat()]}, {"when": [NOON.isoformat()]},
                 At(NOON).to_json()):
        assert first_slot_s(schedule_of(spec), at(-1)) == at(0)
        assert first_slot_s(schedule_of(spec), later) is None


def test_a_deployment_takes_moments_as_schedules_write_themselves() -> None:
    spec = DeploymentSpec(name="d", flow_name="f", entrypoint="f.py:f",
                          schedules=tuple(schedules_of(at=NOON)))
    assert [first_slot_s(schedule_of(each), at(-1)) for each in spec.schedules] == [at(0)]
