"""Whether an alert's conditions hold: states, names, durations, shares, schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataflow.alerts import Alert, History, RunEvent, judge, matches

NOW = 1_000_000.0
RUN = RunEvent(
    flow_run_id="r1", flow_run_name="swift-heron", flow_name="etl", deployment_name="nightly",
    tags=("prod", "eu"), state_type="FAILED", state_name="Failed", occurred_s=NOW,
    scheduled_s=NOW - 130, started_s=NOW - 100, ended_s=NOW)
ELEMENT = replace(RUN, task_name="load", map_index=7)


def run(**changes: Any) -> RunEvent:
    return replace(RUN, **changes)


def in_state(kind: str, name: str | None = None, **changes: Any) -> RunEvent:
    return run(state_type=kind, state_name=name or kind.title(), **changes)


def why(alert: Alert, event: RunEvent, history: History | None = None) -> str | None:
    found = matches(alert, event, history or History())
    return None if found is None else found.why


@pytest.mark.parametrize("on, event, said", [
    ("failed", RUN, "failed"),
    ("failed", in_state("FAILED", "TimedOut"), "failed"),
    ("timed_out", in_state("FAILED", "TimedOut"), "timed out"),
    ("timed_out", RUN, None),
    ("failed", in_state("CRASHED"), None),
    (["failed", "crashed"], in_state("CRASHED"), "crashed"),
    ("cancelled", in_state("CANCELLED"), "was cancelled"),
    ("completed", in_state("COMPLETED"), "completed"),
    ("late", in_state("SCHEDULED", "Late"), "is late"),
    ("late", in_state("SCHEDULED"), None),
    ("retrying", in_state("SCHEDULED", "AwaitingRetry"), "failed and is tried again"),
    ("running", in_state("RUNNING"), "is running"),
    ("paused", in_state("PAUSED"), "is paused"),
    ("any", in_state("CANCELLED"), "was cancelled"),
    ("any", in_state("RUNNING"), None),
])
def test_states(on: Any, event: RunEvent, said: str | None) -> None:
    assert why(Alert(on=on), event) == said


@pytest.mark.parametrize("match, holds", [
    ("tag:prod", True), ("tag:dev", False), ("tag:pr*", True), ("flow:etl", True),
    ("flow:e?l", True), ("flow:nightly", False), ("deployment:nightly", True),
    ("deployment:etl/nightly", True), ("deployment:etl/*", True), ("name:swift-*", True),
    ("etl", True), ("nightly", True), ("etl/night*", True), ("swift-heron", False), ("*", True),
    ("tag:prod & flow:etl", True), ("tag:prod & flow:other", False),
    (["tag:dev", "flow:etl"], True), (["tag:dev", "flow:other"], False), ("TAG:prod", None),
    ("flow:ETL", False), ("task:load", False),
])
def test_names_and_tags(match: Any, holds: bool | None) -> None:
    if holds is None:
        with pytest.raises(ValueError, match="nothing to match"):
            Alert(match=match)
        return
    assert (matches(Alert(match=match), RUN) is not None) is holds


def test_task_runs_are_told_of_only_where_a_task_is_named() -> None:
    assert matches(Alert(), ELEMENT) is None
    assert matches(Alert(match="tag:prod"), ELEMENT) is None
    assert matches(Alert(match="task:load"), ELEMENT) is not None
    assert matches(Alert(match="task:load & tag:dev"), ELEMENT) is None
    assert matches(Alert(match="task:save"), ELEMENT) is None


@pytest.mark.parametrize("limit, history, event, said", [
    (99, (), RUN, "took 100 s, longer than 99 s"),
    (100, (), RUN, None),
    ("1m", (), RUN, "took 100 s, longer than 60 s"),
    (99, (), in_state("RUNNING", ended_s=None), "has been running for 100 s, longer than 99 s"),
    (99, (), in_state("PENDING", ended_s=None), None),
    (99, (), run(started_s=None), None),
    ("2x median", (40, 49, 90), RUN, "took 100 s, longer than 2 × its median of 49 s"),
    ("2 x median", (40, 50, 90), RUN, None),
    ("2x median", (1, 1), RUN, None),
    ("1.5× median", (60, 60, 60, 60), RUN, "took 100 s, longer than 1.5 × its median of 60 s"),
])
def test_durations(limit: Any, history: Any, event: RunEvent, said: str | None) -> None:
    assert why(Alert(longer_than=limit), event, History(durations_s=history)) == said


@pytest.mark.parametrize("counts, said", [
    ({"FAILED": 4, "CRASHED": 1, "COMPLETED": 95}, "5 of 100 elements failed (5.0%)"),
    ({"FAILED": 4, "COMPLETED": 96}, None),
    ({"FAILED": 1_000, "COMPLETED": 9_000}, "1,000 of 10,000 elements failed (10.0%)"),
    ({}, None),
    ({"COMPLETED": 5}, None),
])
def test_share_of_failed_elements(counts: dict[str, int], said: str | None) -> None:
    alert = Alert(failed_share=0.05)
    assert why(alert, in_state("COMPLETED", counts=counts)) == said
    assert why(alert, in_state("RUNNING", counts=counts)) is None


@pytest.mark.parametrize("event, said", [
    (in_state("RUNNING"), "began 30 s after its time"),
    (in_state("SCHEDULED", "Late", started_s=None, ended_s=None),
     "has not begun 130 s after its time"),
    (in_state("CANCELLED", started_s=None), None),
    (in_state("RUNNING", scheduled_s=None), None),
    (in_state("RUNNING", started_s=NOW - 130), None),
])
def test_a_schedule_that_is_not_kept(event: RunEvent, said: str | None) -> None:
    assert why(Alert(late_by_seconds=29), event) == said


def test_all_conditions_must_hold() -> None:
    alert = Alert(on="completed", longer_than=50, failed_share=0.5)
    event = in_state("COMPLETED", counts={"FAILED": 1, "COMPLETED": 1})
    assert why(alert, event) == (
        "completed, took 100 s, longer than 50 s, 1 of 2 elements failed (50.0%)")
    assert why(alert, replace(event, started_s=NOW - 10)) is None
    assert why(alert, replace(event, state_type="FAILED")) is None


@pytest.mark.parametrize("before, said", [
    (("FAILED", "COMPLETED"), "completed after 1 failure"),
    (("CRASHED", "FAILED", "COMPLETED", "FAILED"), "completed after 2 failures"),
    (("CANCELLED", "FAILED"), "completed after 1 failure"),
    (("COMPLETED", "FAILED"), None), (("CANCELLED", "COMPLETED"), None), ((), None),
])
def test_a_flow_has_recovered_where_the_last_runs_failed(
    before: tuple[str, ...], said: str | None
) -> None:
    alert, history = Alert(on="recovered"), History(ended=before)
    assert why(alert, in_state("COMPLETED"), history) == said
    assert why(alert, RUN, history) is None


def test_a_completed_run_resolves_what_the_alert_tells_of() -> None:
    notice = judge(Alert(match="tag:prod"), in_state("COMPLETED"))
    assert notice is not None and (notice.resolved, notice.why) == (True, "completed")
    assert judge(Alert(match="tag:dev"), in_state("COMPLETED")) is None
    assert judge(Alert(resolved=False), in_state("COMPLETED")) is None
    assert judge(Alert(), in_state("RUNNING")) is None
    assert judge(Alert(on="recovered"), in_state("COMPLETED")) is None
    assert judge(Alert(match="task:load"), replace(ELEMENT, state_type="COMPLETED")) is None
    of_tasks = judge(Alert(match="task:load & tag:prod"), in_state("COMPLETED"))
    assert of_tasks is not None and of_tasks.resolved


def test_lateness_is_over_when_a_run_begins_in_time() -> None:
    alert = Alert(on="late")
    began = judge(alert, in_state("RUNNING"))
    assert began is not None and began.resolved and began.why == "began"
    late = judge(Alert(late_by_seconds=10), in_state("RUNNING"))
    assert late is not None and not late.resolved


def test_a_run_that_takes_too_long_is_noticed_once_however_often_it_is_looked_at() -> None:
    alert = Alert(longer_than=10)
    looks = [in_state("RUNNING", ended_s=None, occurred_s=NOW + more) for more in (0, 60)]
    looks.append(in_state("COMPLETED", occurred_s=NOW + 90, ended_s=NOW + 90))
    assert len({notice.id for each in looks if (notice := matches(alert, each))}) == 1
